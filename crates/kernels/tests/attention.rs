//! Every form of attention equals its formula in f64 over the pairs that its mask leaves, forward and backward.

use proptest::prelude::*;
use tersor_kernels::attention::{
    Attention, Blocks, Clusters, Error, Layout, Mask, Report, Storage, Tensor, TensorMut, merge, reference,
};

/// A generator of numbers, so that a failing case can be told by its seed.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// In [0, 1).
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }

    /// N(0, 1), by Box and Muller.
    fn normal(&mut self) -> f32 {
        let (a, b) = (1.0 - self.share(), self.share());
        ((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    }

    fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    fn shuffled(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// A mask that owns its lists.
#[derive(Debug)]
struct List {
    blocks: (usize, usize),
    orders: [Vec<u32>; 2],
    groups: [Vec<usize>; 2],
    offsets: Vec<usize>,
    columns: Vec<u32>,
}

impl List {
    /// Random rows, some of them empty.
    fn random(numbers: &mut Numbers, rows: usize, columns: usize, density: f64) -> (Vec<usize>, Vec<u32>) {
        let (mut offsets, mut kept) = (vec![0], Vec::new());
        for _ in 0..rows {
            let density = if numbers.share() < 0.2 { 0.0 } else { density };
            kept.extend((0..columns as u32).filter(|_| numbers.share() < density));
            offsets.push(kept.len());
        }
        (offsets, kept)
    }

    fn blocks(numbers: &mut Numbers, shape: &Attention, blocks: (usize, usize), density: f64) -> Self {
        let (rows, columns) = (shape.queries.div_ceil(blocks.0), shape.keys.div_ceil(blocks.1));
        let (offsets, columns) = Self::random(numbers, rows, columns, density);
        Self { blocks, orders: Default::default(), groups: Default::default(), offsets, columns }
    }

    /// Groups of 0 to `most` rows in a random order; a few rows are in none.
    fn clusters(numbers: &mut Numbers, shape: &Attention, most: usize, density: f64) -> Self {
        let mut grouped = |count: usize| {
            let mut order = numbers.shuffled(count);
            order.truncate(count - numbers.below(count.min(4) + 1));
            let mut offsets = vec![0];
            while offsets[offsets.len() - 1] < order.len() {
                offsets.push(order.len().min(offsets[offsets.len() - 1] + numbers.below(most + 1)));
            }
            (order, offsets)
        };
        let ((queries, query_groups), (keys, key_groups)) = (grouped(shape.queries), grouped(shape.keys));
        let (offsets, columns) = Self::random(numbers, query_groups.len() - 1, key_groups.len() - 1, density);
        Self { blocks: (0, 0), orders: [queries, keys], groups: [query_groups, key_groups], offsets, columns }
    }

    fn as_blocks(&self) -> Blocks<'_> {
        let (query_block, key_block) = self.blocks;
        Blocks { query_block, key_block, offsets: &self.offsets, columns: &self.columns }
    }

    fn as_clusters(&self) -> Clusters<'_> {
        let ([query_order, key_order], [query_offsets, key_offsets]) = (&self.orders, &self.groups);
        Clusters { query_order, query_offsets, key_order, key_offsets, offsets: &self.offsets, columns: &self.columns }
    }
}

/// A call with its tensors, `[batch, heads, rows, width]`.
#[derive(Debug)]
struct Case {
    shape: Attention,
    qkv: [Vec<f32>; 3],
    out_gradient: Vec<f32>,
}

/// What a call gives, `[batch, heads, rows, width]`.
#[derive(Debug, PartialEq)]
struct Results {
    out: Vec<f32>,
    logarithms: Vec<f32>,
    gradients: [Vec<f32>; 3],
    report: Report,
}

impl Case {
    fn new(shape: Attention, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let (keys, values) = (shape.batch * shape.kv_heads * shape.keys, shape.rows() * shape.value_width);
        let lengths = [shape.rows() * shape.width, keys * shape.width, keys * shape.value_width];
        Self { shape, qkv: lengths.map(|length| numbers.normals(length)), out_gradient: numbers.normals(values) }
    }

    /// Heads and rows of q, k, v and o, and the width of each.
    fn extents(&self) -> [[usize; 3]; 4] {
        let Attention { heads, kv_heads, queries, keys, width, value_width, .. } = self.shape;
        [[heads, queries, width], [kv_heads, keys, width], [kv_heads, keys, value_width], [heads, queries, value_width]]
    }

    /// Runs with tensors that lie as asked.
    fn run(&self, mask: &Mask<'_>, rows_first: bool) -> Results {
        let extents = self.extents();
        let layouts = extents.map(|[heads, rows, width]| {
            if rows_first { Layout::rows_first(heads, rows, width) } else { Layout::heads_first(heads, rows, width) }
        });
        let laid = |which: usize, data: &[f32]| moved(data, extents[which], layouts[which], true);
        let back = |which: usize, data: &[f32]| moved(data, extents[which], layouts[which], false);
        let [q, k, v] = [0, 1, 2].map(|which| laid(which, &self.qkv[which]));
        let gradient = laid(3, &self.out_gradient);
        let tensor = |which: usize, data| Tensor { data, layout: layouts[which] };
        let tensors = [tensor(0, &q), tensor(1, &k), tensor(2, &v)];
        let (mut out, mut logarithms) = (vec![f32::NAN; gradient.len()], vec![f32::NAN; self.shape.rows()]);
        let to = TensorMut { data: &mut out, layout: layouts[3] };
        let report = self.shape.forward(tensors, mask, to, Some(&mut logarithms)).expect("the call is well formed");
        let mut gradients = [&q, &k, &v].map(|x| vec![f32::NAN; x.len()]);
        let [dq, dk, dv] = &mut gradients;
        let to = [(dq, 0), (dk, 1), (dv, 2)].map(|(data, which)| TensorMut { data, layout: layouts[which] });
        self.shape
            .backward(tensors, mask, (tensor(3, &out), &logarithms, tensor(3, &gradient)), to)
            .expect("the call is well formed");
        let [dq, dk, dv] = &gradients;
        Results { out: back(3, &out), logarithms, gradients: [back(0, dq), back(1, dk), back(2, dv)], report }
    }

    fn expected(&self, mask: &Mask<'_>) -> (Vec<f64>, Vec<f64>, [Vec<f64>; 3]) {
        let [q, k, v] = [0, 1, 2].map(|which| wide(&self.qkv[which]));
        let (out, logarithms) = reference::forward(&self.shape, [&q, &k, &v], mask);
        let gradients = reference::backward(&self.shape, [&q, &k, &v], mask, &wide(&self.out_gradient));
        (out, logarithms, gradients)
    }

    fn equals_the_formula(&self, mask: &Mask<'_>) -> Result<(), TestCaseError> {
        let (out, logarithms, gradients) = self.expected(mask);
        for rows_first in [false, true] {
            let results = self.run(mask, rows_first);
            close("o", &results.out, &out, 2e-5)?;
            close("l", &results.logarithms, &logarithms, 2e-5)?;
            for (name, (ours, expected)) in ["dq", "dk", "dv"].iter().zip(results.gradients.iter().zip(&gradients)) {
                // Sums over all queries grow with their number.
                let largest = expected.iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
                close(name, ours, expected, 3e-5 * largest)?;
            }
            let empty = logarithms.iter().filter(|&&l| l == f64::NEG_INFINITY).count();
            prop_assert_eq!(results.report, Report { empty, overflowed: 0 });
        }
        Ok(())
    }
}

/// Between `[batch, heads, rows, width]` and a layout.
fn moved(data: &[f32], [heads, rows, width]: [usize; 3], layout: Layout, there: bool) -> Vec<f32> {
    let mut to = vec![0.0; data.len()];
    for (index, chunk) in (0..data.len() / width.max(1)).map(|index| (index, index * width)) {
        let (batch, head, row) = (index / rows / heads, index / rows % heads, index % rows);
        let laid = batch * layout.batch + head * layout.head + row * layout.row;
        let (source, target) = if there { (chunk, laid) } else { (laid, chunk) };
        to[target..][..width].copy_from_slice(&data[source..][..width]);
    }
    to
}

/// Whether inputs in halves give the bits that the same numbers give in f32, and an infinite one is refused.
fn same_in_halves<T: Storage>(case: &Case, mask: &Mask<'_>, narrow: fn(f32) -> T) -> Result<(), TestCaseError> {
    let mut halves = case.qkv.each_ref().map(|x| x.iter().copied().map(narrow).collect::<Vec<T>>());
    let singles = halves.each_ref().map(|x| {
        let mut wide = vec![0.0; x.len()];
        T::widen(x, &mut wide);
        wide
    });
    let extents = case.extents();
    let layouts = extents.map(|[heads, rows, width]| Layout::heads_first(heads, rows, width));
    fn run<T: Storage>(
        case: &Case,
        mask: &Mask<'_>,
        qkv: &[Vec<T>; 3],
        layouts: [Layout; 4],
    ) -> Result<Vec<f32>, Error> {
        let mut out = vec![f32::NAN; case.out_gradient.len()];
        let tensors = [0, 1, 2].map(|which| Tensor { data: &qkv[which][..], layout: layouts[which] });
        case.shape.forward(tensors, mask, TensorMut { data: &mut out, layout: layouts[3] }, None)?;
        Ok(out)
    }
    let bits = |out: Vec<f32>| out.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let same = (run(case, mask, &halves, layouts), run(case, mask, &singles, layouts));
    prop_assert_eq!(same.0.map(bits), same.1.map(bits));
    if let Some(last) = halves[1].last_mut() {
        *last = narrow(f32::INFINITY);
        let refused = run(case, mask, &halves, layouts);
        prop_assert!(matches!(refused, Err(Error::NotFinite { tensor: "k", .. })), "{:?}", refused);
    }
    Ok(())
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn close(name: &str, ours: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(ours.len(), expected.len());
    for (i, (&x, &y)) in ours.iter().zip(expected).enumerate() {
        prop_assert!(f64::from(x) == y || (f64::from(x) - y).abs() <= tolerance, "{name}[{i}] is {x}, not {y}");
    }
    Ok(())
}

/// Some heads, sizes around the tiles' edges, widths up to 128.
fn shapes(most: usize) -> impl Strategy<Value = Attention> {
    let rows = prop_oneof![Just(1), Just(5), Just(63), Just(64), Just(65), Just(128), Just(129), 1..most];
    let width = prop_oneof![1_usize..=128, Just(64), Just(80), Just(128)];
    let heads = prop_oneof![Just((1, 1)), Just((2, 2)), Just((4, 2)), Just((3, 1))];
    (1_usize..3, heads, rows.clone(), rows, width.clone(), width, any::<bool>()).prop_map(
        |(batch, (heads, kv_heads), queries, keys, width, value_width, causal)| Attention {
            batch,
            kv_heads,
            value_width,
            causal,
            ..Attention::new(heads, queries, keys, width)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn dense_equals_the_formula(shape in shapes(200), seed: u64) {
        Case::new(shape, seed).equals_the_formula(&Mask::All)?;
    }

    #[test]
    fn blocks_equal_the_formula(
        shape in shapes(300),
        seed: u64,
        blocks in prop_oneof![Just((32, 32)), Just((64, 64)), Just((128, 128)), Just((128, 64)), Just((7, 96))],
        density in 0.1..1.0,
        per_head: bool,
    ) {
        let mut numbers = Numbers::new(seed);
        let lists = if per_head { shape.heads } else { 1 };
        let lists: Vec<_> = (0..lists).map(|_| List::blocks(&mut numbers, &shape, blocks, density)).collect();
        let lists: Vec<_> = lists.iter().map(List::as_blocks).collect();
        Case::new(shape, seed).equals_the_formula(&Mask::Blocks(&lists))?;
    }

    /// Not nearly: bit for bit what the same numbers give in f32.
    #[test]
    fn halves_give_what_their_numbers_give(
        shape in shapes(200),
        seed: u64,
        density in 0.1..1.0,
        kind in 0..3,
    ) {
        let shape = Attention { causal: shape.causal && kind != 2, ..shape };
        let mut numbers = Numbers::new(seed);
        let list = match kind {
            2 => List::clusters(&mut numbers, &shape, 40, density),
            _ => List::blocks(&mut numbers, &shape, (64, 32), density),
        };
        let (blocks, clusters);
        let mask = match kind {
            0 => Mask::All,
            1 => { blocks = [list.as_blocks()]; Mask::Blocks(&blocks) }
            _ => { clusters = [list.as_clusters()]; Mask::Clusters(&clusters) }
        };
        let case = Case::new(shape, seed);
        same_in_halves(&case, &mask, half::f16::from_f32)?;
        same_in_halves(&case, &mask, half::bf16::from_f32)?;
    }

    #[test]
    fn clusters_equal_the_formula(
        shape in shapes(300),
        seed: u64,
        most in 1_usize..200,
        density in 0.1..1.0,
        per_head: bool,
    ) {
        let shape = Attention { causal: false, ..shape };
        let mut numbers = Numbers::new(seed);
        let lists = if per_head { shape.batch * shape.heads } else { 1 };
        let lists: Vec<_> = (0..lists).map(|_| List::clusters(&mut numbers, &shape, most, density)).collect();
        let lists: Vec<_> = lists.iter().map(List::as_clusters).collect();
        Case::new(shape, seed).equals_the_formula(&Mask::Clusters(&lists))?;
    }

    #[test]
    fn parts_over_different_keys_merge_to_the_whole(shape in shapes(200), seed: u64, share in 0.0..1.0) {
        let shape = Attention { causal: false, batch: 1, heads: 1, kv_heads: 1, ..shape };
        let case = Case::new(shape, seed);
        let some = (shape.keys as f64 * share) as usize;
        let part = |keys: std::ops::Range<usize>| {
            let [q, k, v] = &case.qkv;
            let k = &k[keys.start * shape.width..keys.end * shape.width];
            let v = &v[keys.start * shape.value_width..keys.end * shape.value_width];
            let case = Case {
                shape: Attention { keys: keys.len(), ..shape },
                qkv: [q.clone(), k.to_vec(), v.to_vec()],
                out_gradient: case.out_gradient.clone(),
            };
            case.run(&Mask::All, false)
        };
        let (mut first, second) = (part(0..some), part(some..shape.keys));
        merge(&mut first.out, &mut first.logarithms, &second.out, &second.logarithms);
        let (out, logarithms, _) = case.expected(&Mask::All);
        close("o", &first.out, &out, 2e-5)?;
        close("l", &first.logarithms, &logarithms, 2e-5)?;
    }

    #[test]
    fn gradients_of_the_formula_are_slopes(seed: u64, causal: bool) {
        let shape = Attention { kv_heads: 1, causal, value_width: 3, ..Attention::new(2, 6, 7, 4) };
        let mut numbers = Numbers::new(seed);
        let list = List::clusters(&mut numbers, &shape, 3, 0.6);
        let lists = [list.as_clusters()];
        let mask = if causal { Mask::All } else { Mask::Clusters(&lists) };
        let case = Case::new(shape, seed);
        let (_, _, gradients) = case.expected(&mask);
        let qkv = [0, 1, 2].map(|which| wide(&case.qkv[which]));
        for which in 0..3 {
            let v = wide(&numbers.normals(qkv[which].len()));
            let at = |step: f64| {
                let mut qkv = qkv.clone();
                qkv[which].iter_mut().zip(&v).for_each(|(x, v)| *x += step * v);
                let [q, k, v] = &qkv;
                let (out, _) = reference::forward(&shape, [q, k, v], &mask);
                out.iter().zip(&case.out_gradient).map(|(o, &g)| o * f64::from(g)).sum::<f64>()
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            let expected: f64 = gradients[which].iter().zip(&v).map(|(g, v)| g * v).sum();
            prop_assert!((slope - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{slope}, not {expected}");
        }
    }
}

#[test]
fn long_sequences_equal_the_formula() {
    for (queries, keys, width) in [(997, 997, 64), (65, 997, 128), (997, 63, 80)] {
        for causal in [false, true] {
            let shape = Attention { causal, ..Attention::new(1, queries, keys, width) };
            Case::new(shape, 7).equals_the_formula(&Mask::All).unwrap();
            let list = List::blocks(&mut Numbers::new(3), &shape, (128, 64), 0.5);
            Case::new(shape, 8).equals_the_formula(&Mask::Blocks(&[list.as_blocks()])).unwrap();
        }
    }
}

#[test]
fn results_are_the_same_bytes_on_any_number_of_threads() {
    let shape = Attention { kv_heads: 2, ..Attention::new(4, 500, 700, 48) };
    let mut numbers = Numbers::new(11);
    let (blocks, clusters) =
        (List::blocks(&mut numbers, &shape, (64, 64), 0.4), List::clusters(&mut numbers, &shape, 150, 0.5));
    let (blocks, clusters) = ([blocks.as_blocks()], [clusters.as_clusters()]);
    let causal = Attention { causal: true, ..shape };
    for (shape, mask) in
        [(shape, Mask::All), (causal, Mask::All), (shape, Mask::Blocks(&blocks)), (shape, Mask::Clusters(&clusters))]
    {
        let case = Case::new(shape, 5);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.run(&mask, true))
        };
        let one = on(1);
        assert!([2, 3].into_iter().all(|threads| on(threads) == one), "{shape:?}");
    }
}

#[test]
fn great_scores_neither_overflow_nor_vanish() {
    let mut case = Case::new(Attention::new(1, 70, 300, 16), 3);
    // Scores up to thousands: the softmax is nearly one key, and moves along the keys.
    case.qkv[0].iter_mut().for_each(|x| *x *= 300.0);
    let (out, _, _) = case.expected(&Mask::All);
    close("o", &case.run(&Mask::All, false).out, &out, 2e-2).unwrap();
    // All scores far below 0.
    case.shape.width = 1;
    case.qkv = [vec![1e3; 70], vec![-1e3; 300], case.qkv[2][..300 * 16].to_vec()];
    let (out, _, _) = case.expected(&Mask::All);
    close("o", &case.run(&Mask::All, false).out, &out, 2e-5).unwrap();
}

#[test]
fn scores_beyond_f32_are_told_and_never_nan() {
    let mut case = Case::new(Attention::new(1, 3, 40, 8), 3);
    case.qkv[0][8..16].fill(1e30);
    case.qkv[1][..8].fill(1e30);
    case.qkv[1][8..].fill(-1e30);
    let results = case.run(&Mask::All, false);
    assert_eq!(results.report.overflowed, 1);
    assert_eq!((&results.out[8..16], results.logarithms[1]), (&[0.0; 8][..], f32::INFINITY));
    assert!(results.out.iter().chain(results.gradients.iter().flatten()).all(|x| !x.is_nan()));
    // Below -f32::MAX, a key has no weight; without another the row is empty.
    case.qkv[1].fill(-1e30);
    let results = case.run(&Mask::All, false);
    assert_eq!((results.report.empty, results.logarithms[1]), (1, f32::NEG_INFINITY));
}

#[test]
fn what_cannot_be_attended_is_refused_by_name() {
    let shape = Attention::new(2, 3, 4, 5);
    let run = |shape: &Attention, mask: &Mask<'_>, lengths: [usize; 4], bad: Option<(usize, usize)>| {
        let mut data = lengths.map(|length| vec![0.0; length]);
        if let Some((tensor, at)) = bad {
            data[tensor][at] = f32::NAN;
        }
        let [q, k, v, out] = &mut data;
        let queries = Layout::heads_first(2, 3, 5);
        let keys = Layout::heads_first(2, 4, 5);
        let tensors = [(&*q, queries), (k, keys), (v, keys)].map(|(data, layout)| Tensor { data, layout });
        shape.forward(tensors, mask, TensorMut { data: out, layout: queries }, None).unwrap_err().to_string()
    };
    let whole = [30, 40, 40, 30];
    let says = |found: String, expected: &str| assert!(found.contains(expected), "{found}");
    says(run(&Attention { width: 0, ..shape }, &Mask::All, whole, None), "width is 0");
    says(run(&Attention { kv_heads: 3, ..shape }, &Mask::All, whole, None), "heads is 2, with 3 kv_heads");
    says(run(&Attention { scale: f32::NAN, ..shape }, &Mask::All, whole, None), "scale is NaN");
    says(run(&shape, &Mask::All, [30, 39, 40, 30], None), "k holds 39 numbers; its shape and layout need 40");
    says(run(&shape, &Mask::All, whole, Some((2, 38))), "v has a number that is not finite: sequence 0, head 1, row 3");
    let blocks = |key_block, offsets, columns| Blocks { query_block: 2, key_block, offsets, columns };
    let of_blocks = |blocks| run(&shape, &Mask::Blocks(&[blocks]), whole, None);
    says(of_blocks(blocks(33, &[0, 0, 0], &[])), "key_block is 33; expected a multiple of 32");
    says(of_blocks(blocks(32, &[0, 1], &[0])), "2 offsets for 2 rows; expected 3");
    says(of_blocks(blocks(32, &[0, 1, 2], &[0, 1])), "row 1: column 1 of 1");
    says(of_blocks(blocks(32, &[0, 2, 2], &[0, 0])), "row 0: its columns do not ascend");
    says(of_blocks(blocks(32, &[0, usize::MAX, 2], &[0, 0])), "offsets do not ascend from 0 to 2");
    says(run(&shape, &Mask::Blocks(&[]), whole, None), "0 masks for 2 heads");
    let clusters = Clusters {
        query_order: &[0, 1, 1],
        query_offsets: &[0, 3],
        key_order: &[0],
        key_offsets: &[0, 1],
        offsets: &[0, 1],
        columns: &[0],
    };
    says(run(&shape, &Mask::Clusters(&[clusters]), whole, None), "row 1 twice in query_order");
    let clusters = Clusters { query_order: &[0, 9], query_offsets: &[0, 2], ..clusters };
    says(run(&shape, &Mask::Clusters(&[clusters]), whole, None), "row 9 of 3 in query_order");

    // Rows of an output that lie on each other.
    let data = vec![0.0; 40];
    let layout = Layout::heads_first(2, 4, 5);
    let tensors = [Layout::heads_first(2, 3, 5), layout, layout].map(|layout| Tensor { data: &data, layout });
    let layout = Layout { batch: 0, head: 2, row: 4 };
    let found = shape.forward(tensors, &Mask::All, TensorMut { data: &mut [0.0; 30], layout }, None).unwrap_err();
    assert_eq!(found, Error::Overlap { tensor: "out", layout });
}

#[test]
fn pairs_are_counted() {
    let shape = Attention { causal: true, ..Attention::new(2, 5, 7, 4) };
    assert_eq!(Mask::All.pairs(&shape), 2 * (3 + 4 + 5 + 6 + 7));
    let mut numbers = Numbers::new(9);
    let shape = Attention { causal: false, ..Attention::new(1, 300, 400, 4) };
    let (blocks, clusters) =
        (List::blocks(&mut numbers, &shape, (64, 64), 0.4), List::clusters(&mut numbers, &shape, 50, 0.5));
    let (blocks, clusters) = ([blocks.as_blocks()], [clusters.as_clusters()]);
    for mask in [Mask::All, Mask::Blocks(&blocks), Mask::Clusters(&clusters)] {
        let seen = reference::seen(&shape, &mask, 0).concat().iter().filter(|seen| **seen).count();
        assert_eq!(mask.pairs(&shape), seen as u64);
    }
}
