//! Attention at work: GFLOP/s beside what the machine's multiply-adds reach at best in the same run. Only pairs that the
//! mask leaves count: 4 · width operations forward, 10 · width backward. Medians of 5.
//!
//!     cargo bench -p tersor-kernels --features training --bench attention -- [--threads 2] [--only NAME] [--runs 5]

use std::time::Instant;

use tersor_kernels::attention::{Attention, Blocks, Clusters, Layout, Mask, Tensor, TensorMut, peak};

/// Of the measurement of the machine's best.
const TURNS: usize = 2_000_000;
const HEADS: usize = 2;
/// Queries and keys, and the width of a head.
const SHAPES: [(usize, usize); 4] = [(4096, 64), (4096, 128), (16_384, 64), (16_384, 128)];
const DENSITIES: [f64; 2] = [0.1, 0.29];
/// Queries and keys of a block.
const BLOCKS: [(usize, usize); 2] = [(128, 128), (64, 64)];
/// Mean sizes of clusters of queries and of keys, as Sparse VideoGen2 has them.
const CLUSTERS: (usize, usize) = (250, 75);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let threads = value("--threads").and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let runs = value("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let only = value("--only").unwrap_or_default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        println!("{threads} threads, multiply-adds at best {:.0} GFLOP/s", peak(TURNS));
        println!(
            "{:<36} {:>7} {:>9} {:>8} {:>9} {:>8} {:>6}",
            "", "density", "ms", "GFLOP/s", "back ms", "GFLOP/s", "peak"
        );
        for (n, width) in SHAPES {
            let case = Case::new(n, width);
            let row = |name: String, mask: &Mask<'_>| {
                let name = format!("{name} {HEADS}x{n}x{width}");
                if name.contains(&only) {
                    case.row(&name, mask, runs);
                }
            };
            row("dense".into(), &Mask::All);
            for density in DENSITIES {
                for blocks in BLOCKS {
                    let list = List::blocks(n, blocks, density);
                    row(format!("blocks {}x{}", blocks.0, blocks.1), &Mask::Blocks(&[list.as_blocks(blocks)]));
                }
                let list = List::clusters(n, density);
                row(format!("clusters {}x{}", CLUSTERS.0, CLUSTERS.1), &Mask::Clusters(&[list.as_clusters()]));
            }
        }
    });
}

struct Case {
    shape: Attention,
    qkv: [Vec<f32>; 3],
    out_gradient: Vec<f32>,
}

impl Case {
    fn new(n: usize, width: usize) -> Self {
        let mut drawn = Drawn(7);
        let mut numbers = || (0..HEADS * n * width).map(|_| (drawn.share() * 4.0 - 2.0) as f32).collect();
        let qkv = [numbers(), numbers(), numbers()];
        Self { shape: Attention::new(HEADS, n, n, width), qkv, out_gradient: numbers() }
    }

    fn row(&self, name: &str, mask: &Mask<'_>, runs: usize) {
        let Self { shape, qkv, out_gradient } = self;
        let layout = Layout::heads_first(HEADS, shape.queries, shape.width);
        let [q, k, v] = [0, 1, 2].map(|which| Tensor { data: &qkv[which], layout });
        let (mut out, mut logarithms) = (vec![0.0; out_gradient.len()], vec![0.0; shape.rows()]);
        let forward = median(runs, || {
            let to = TensorMut { data: &mut out, layout };
            shape.forward([q, k, v], mask, to, Some(&mut logarithms)).expect("it fits");
        });
        let mut gradients = [0, 1, 2].map(|which| vec![0.0; qkv[which].len()]);
        let given = (Tensor { data: &out, layout }, &logarithms[..], Tensor { data: out_gradient, layout });
        let backward = median(runs, || {
            let to = gradients.each_mut().map(|data| TensorMut { data, layout });
            shape.backward([q, k, v], mask, given, to).expect("it fits");
        });
        let pairs = mask.pairs(shape) as f64;
        let operations = 4e-9 * pairs * shape.width as f64;
        println!(
            "{name:<36} {:>7.3} {:>9.2} {:>8.1} {:>9.2} {:>8.1} {:>6.0}",
            pairs / (HEADS * shape.queries * shape.keys) as f64,
            forward * 1e3,
            operations / forward,
            backward * 1e3,
            2.5 * operations / backward,
            peak(TURNS),
        );
    }
}

/// Once to warm up, then so many times.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_unstable_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

struct Drawn(u64);

impl Drawn {
    /// In [0, 1).
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Compressed rows; the diagonal is always there.
    fn rows(&mut self, rows: usize, columns: usize, density: f64) -> (Vec<usize>, Vec<u32>) {
        let (mut offsets, mut kept) = (vec![0], Vec::new());
        for row in 0..rows {
            kept.extend((0..columns as u32).filter(|&c| c as usize == row * columns / rows || self.share() < density));
            offsets.push(kept.len());
        }
        (offsets, kept)
    }

    /// Sizes from 1 to twice the mean, in an order without pattern.
    fn groups(&mut self, n: usize, mean: usize) -> (Vec<u32>, Vec<usize>) {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            order.swap(i, (self.share() * (i + 1) as f64) as usize);
        }
        let mut offsets = vec![0];
        while offsets[offsets.len() - 1] < n {
            let size = 1 + (self.share() * (2 * mean) as f64) as usize;
            offsets.push(n.min(offsets[offsets.len() - 1] + size));
        }
        // Within a group, as they lie.
        offsets.windows(2).for_each(|bounds| order[bounds[0]..bounds[1]].sort_unstable());
        (order, offsets)
    }
}

#[derive(Default)]
struct List {
    orders: [Vec<u32>; 2],
    groups: [Vec<usize>; 2],
    offsets: Vec<usize>,
    columns: Vec<u32>,
}

impl List {
    fn blocks(n: usize, (query_block, key_block): (usize, usize), density: f64) -> Self {
        let (offsets, columns) = Drawn(3).rows(n.div_ceil(query_block), n.div_ceil(key_block), density);
        Self { offsets, columns, ..Self::default() }
    }

    fn clusters(n: usize, density: f64) -> Self {
        let mut drawn = Drawn(5);
        let (query_order, query_offsets) = drawn.groups(n, CLUSTERS.0);
        let (key_order, key_offsets) = drawn.groups(n, CLUSTERS.1);
        let (offsets, columns) = drawn.rows(query_offsets.len() - 1, key_offsets.len() - 1, density);
        Self { orders: [query_order, key_order], groups: [query_offsets, key_offsets], offsets, columns }
    }

    fn as_blocks(&self, (query_block, key_block): (usize, usize)) -> Blocks<'_> {
        Blocks { query_block, key_block, offsets: &self.offsets, columns: &self.columns }
    }

    fn as_clusters(&self) -> Clusters<'_> {
        let ([query_order, key_order], [query_offsets, key_offsets]) = (&self.orders, &self.groups);
        Clusters { query_order, query_offsets, key_order, key_offsets, offsets: &self.offsets, columns: &self.columns }
    }
}
