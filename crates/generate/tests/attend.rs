//! Attention that obeys a plan: against published results, and against the formula row by row.

use tersor_data::testing::{Failure, Trials};
use tersor_data::{Elements, npz, shared};
use tersor_generate::attend::{Plan, Tensors, attend, verify};
use tersor_generate::{Block, BlockMask, Error, ExactMask, Family, Radial};
use tersor_kernels::attention::{Attention, Clusters, Layout, Mask, Tensor, TensorMut};

type Result<T = ()> = std::result::Result<T, Failure>;

const CAPTURED: &str = "generation/vdit_qkv_layer1_head0.npz";
const RAGGED: &str = "generation/variable_block_attention_reference.npz";

fn main() {
    Trials::new()
        .test("masked_attention_is_the_formula_at_any_resolution", formula)
        .test("grouped_queries_and_more_keys_than_queries_are_the_formula", shapes)
        .test("what_does_not_fit_is_refused_by_name", refusals)
        .test("a_nan_is_reported_and_spreads_nowhere", nan)
        .needs(&[CAPTURED])
        .test("a_real_head_is_attended_as_published", captured)
        .needs(&[RAGGED])
        .test("ragged_blocks_are_attended_as_published", ragged)
        .run()
}

/// Sums of four uniform numbers, about N(0, 1).
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| (0..4).map(|_| next()).sum::<f32>() * 0.866).collect()
}

fn formula() -> Result {
    for (frames, tokens, text, block) in
        [(5, 60, 0, 32), (3, 97, 40, 64), (1, 131, 0, 32), (5, 1, 0, 32), (4, 256, 7, 128)]
    {
        let (heads, width, n) = (2, 40, frames * tokens + text);
        let [q, k, v] = [1, 2, 3].map(|seed| noise(heads * n * width, seed));
        let shape = [heads, n, width];
        let tensors = Tensors::new((&q, shape), (&k, shape), (&v, shape))?;
        for family in [Family::Wan, Family::Hunyuan] {
            let radial =
                Radial { text, block: Block::square(block), family, decay: 0.5, ..Radial::new(frames, tokens) };
            let mask = radial.plan()?;
            let attended = attend(&tensors, Plan::Blocks(&mask))?;
            assert_eq!((attended.empty, attended.pairs), (0, mask.pairs() * heads as u64));
            let apart = verify(&tensors, Plan::Blocks(&mask), &attended, n);
            assert!(apart <= 2e-5, "{frames} frames of {tokens}, {family:?}: {apart}");
        }
        if text == 0 {
            let mask = ExactMask::new(frames, tokens, Family::Wan)?;
            let attended = attend(&tensors, Plan::Exact(&mask))?;
            let apart = verify(&tensors, Plan::Exact(&mask), &attended, n);
            assert!(apart <= 2e-5 && attended.pairs == mask.pairs() * heads as u64, "exact, {frames}: {apart}");
        }
    }
    Ok(())
}

fn shapes() -> Result {
    let (heads, kv_heads, queries, keys, width, value_width) = (6, 2, 37, 150, 24, 56);
    let q = noise(heads * queries * width, 1);
    let (k, v) = (noise(kv_heads * keys * width, 2), noise(kv_heads * keys * value_width, 3));
    let new = || {
        Tensors::new((&q, [heads, queries, width]), (&k, [kv_heads, keys, width]), (&v, [kv_heads, keys, value_width]))
    };
    for causal in [false, true] {
        let tensors = new()?.causal(causal).scaled(Some(0.3));
        let attended = attend(&tensors, Plan::Dense)?;
        let apart = verify(&tensors, Plan::Dense, &attended, queries);
        assert!(apart <= 2e-5 && attended.output.len() == heads * queries * value_width, "{apart}");
        let seen: usize = (0..queries).map(|query| if causal { query + 1 + keys - queries } else { keys }).sum();
        assert_eq!(attended.pairs, (heads * seen) as u64);
    }
    Ok(())
}

fn refusals() -> Result {
    let numbers = noise(2 * 64 * 8, 1);
    let shape = [2, 64, 8];
    for (q, k, v, named) in [
        ([3, 64, 8], shape, shape, "q"),
        (shape, [1, 64, 16], shape, "k"),
        ([1, 128, 8], shape, shape, "k"),
        (shape, shape, [2, 32, 16], "v"),
        ([0, 64, 8], shape, shape, "q"),
        ([usize::MAX, 64, 8], shape, shape, "q"),
    ] {
        let found = Tensors::new((&numbers, q), (&numbers, k), (&numbers, v));
        let Err(Error::Shape { what, .. }) = found else { return Err(format!("{q:?} {k:?} {v:?} passed").into()) };
        assert_eq!(what, named);
    }
    let tensors = Tensors::new((&numbers, shape), (&numbers, shape), (&numbers, shape))?;
    let other = BlockMask::full([1, 1], [32, 32])?;
    assert!(matches!(attend(&tensors, Plan::Blocks(&other)), Err(Error::Unlike { what: "queries", .. })));
    Ok(())
}

fn nan() -> Result {
    let numbers = noise(2 * 64 * 8, 1);
    let shape = [2, 64, 8];
    for (tensor, value) in [(0, f32::NAN), (1, f32::INFINITY), (2, f32::NAN)] {
        let mut of = [numbers.clone(), numbers.clone(), numbers.clone()];
        of[tensor][64 * 8 + 5 * 8 + 3] = value;
        let [q, k, v] = &of;
        let tensors = Tensors::new((q, shape), (k, shape), (v, shape))?;
        let Err(error) = attend(&tensors, Plan::Dense) else { return Err("it passed".into()) };
        let told = error.to_string();
        assert!(told.starts_with(["q", "k", "v"][tensor]) && told.contains("head 1, row 5"), "{told}");
    }
    Ok(())
}

fn numbers(file: &npz::Npz, name: &str) -> Result<Vec<f32>> {
    Ok(match file.read(name)?.into_elements() {
        Elements::F16(x) => x.into_iter().map(f32::from).collect(),
        Elements::F32(x) => x,
        other => return Err(format!("{name} holds {other:?}").into()),
    })
}

/// Every sixteenth row of a head of a real video transformer, computed densely.
fn captured() -> Result {
    let file = npz::open(shared::file(CAPTURED).ok_or("no file")?)?;
    let [q, k, v, expected] = ["q", "k", "v", "out_rows_every16"].map(|name| numbers(&file, name));
    let (q, k, v, expected) = (q?, k?, v?, expected?);
    let shape = [1, 4096, 64];
    let tensors = Tensors::new((&q, shape), (&k, shape), (&v, shape))?;
    let attended = attend(&tensors, Plan::Dense)?;
    for (row, expected) in expected.chunks_exact(64).enumerate() {
        let found = &attended.output[16 * row * 64..][..64];
        let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 2e-5, "row {}: {apart}", 16 * row);
    }
    Ok(())
}

/// Groups of queries and keys of any size, also empty ones, as the published implementation computes them.
fn ragged() -> Result {
    let file = npz::open(shared::file(RAGGED).ok_or("no file")?)?;
    let [q, k, v, expected] = ["q", "k", "v", "out"].map(|name| numbers(&file, name));
    let (q, k, v, expected) = (q?, k?, v?, expected?);
    let sizes = |name: &str| -> Result<Vec<usize>> {
        let Elements::I64(sizes) = file.read(name)?.into_elements() else { return Err("sizes are i64".into()) };
        Ok(sizes.into_iter().map(|size| size as usize).collect())
    };
    let (q_sizes, k_sizes) = (sizes("q_sizes")?, sizes("k_sizes")?);
    let Elements::Bool(map) = file.read("map")?.into_elements() else { return Err("the map is boolean".into()) };
    let (tokens, width, query_groups, key_groups) = (301, 32, 7, 23);
    let order: Vec<u32> = (0..tokens as u32).collect();
    let starts = |sizes: &[usize]| {
        std::iter::once(0)
            .chain(sizes.iter().scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            }))
            .collect::<Vec<_>>()
    };
    let heads: Vec<_> = (0..2)
        .map(|head| {
            let map = &map[head * query_groups * key_groups..][..query_groups * key_groups];
            let rows = map.chunks_exact(key_groups);
            let columns: Vec<Vec<u32>> =
                rows.map(|row| (0..key_groups as u32).filter(|&column| row[column as usize]).collect()).collect();
            let lengths: Vec<usize> = columns.iter().map(Vec::len).collect();
            let query_starts = starts(&q_sizes[head * query_groups..][..query_groups]);
            let key_starts = starts(&k_sizes[head * key_groups..][..key_groups]);
            (query_starts, key_starts, starts(&lengths), columns.concat())
        })
        .collect();
    let clusters: Vec<_> = heads
        .iter()
        .map(|(query_offsets, key_offsets, offsets, columns)| Clusters {
            query_order: &order,
            query_offsets,
            key_order: &order,
            key_offsets,
            offsets,
            columns,
        })
        .collect();
    let layout = Layout::heads_first(2, tokens, width);
    let mut out = vec![0.0; 2 * tokens * width];
    let tensors = [&q, &k, &v].map(|data| Tensor { data, layout });
    Attention::new(2, tokens, tokens, width).forward(
        tensors,
        &Mask::Clusters(&clusters),
        TensorMut { data: &mut out, layout },
        None,
    )?;
    let apart = out.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart <= 2e-5, "{apart}");
    Ok(())
}
