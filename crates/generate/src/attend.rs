//! Attention that obeys a plan.
//!
//! The kernel skips what the plan leaves out; what it achieves is told beside what the plan predicts: the same kernel computes
//! a few queries densely, and what all would have taken is extrapolated from them.

use std::time::Instant;

use tersor_kernels::attention::{Attention, Clusters, Layout, Mask, Tensor, TensorMut};

use crate::Error;
use crate::clusters::{ClusterMask, HeadMask};
use crate::mask::{BlockMask, Reads};
use crate::means::{self, WithMeans};
use crate::radial::ExactMask;

/// Queries, keys and values of `[heads, rows, width]`. Heads of queries are a multiple of those of keys (grouped queries).
#[derive(Debug, Clone, Copy)]
pub struct Tensors<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    shape: Attention,
}

impl<'a> Tensors<'a> {
    /// Tensors with their shapes, and 1 / √width as the scale.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the tensor that does not fit.
    pub fn new(
        q: (&'a [f32], [usize; 3]),
        k: (&'a [f32], [usize; 3]),
        v: (&'a [f32], [usize; 3]),
    ) -> Result<Self, Error> {
        for (name, (numbers, shape)) in [("q", q), ("k", k), ("v", v)] {
            let count = shape.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis));
            if count != Some(numbers.len()) || count == Some(0) {
                return Err(mismatch(name, shape, format!("the shape of {} numbers, at least one", numbers.len())));
            }
        }
        let ([heads, queries, width], [kv_heads, keys, key_width], [value_heads, values, value_width]) =
            (q.1, k.1, v.1);
        if key_width != width || !heads.is_multiple_of(kv_heads) {
            return Err(mismatch("k", k.1, format!("heads that divide {heads}, any number of keys, width {width}")));
        }
        if (value_heads, values) != (kv_heads, keys) {
            return Err(mismatch("v", v.1, format!("{kv_heads} heads of {keys} values, as there are keys")));
        }
        let shape = Attention { kv_heads, value_width, ..Attention::new(heads, queries, keys, width) };
        Ok(Self { q: q.0, k: k.0, v: v.0, shape })
    }

    /// With another scale, if there is one.
    pub fn scaled(mut self, scale: Option<f32>) -> Self {
        self.shape.scale = scale.unwrap_or(self.shape.scale);
        self
    }

    /// Whose queries see the keys up to their own; the last query sees all.
    pub fn causal(mut self, causal: bool) -> Self {
        self.shape.causal = causal;
        self
    }

    /// Heads, counts and widths.
    pub fn shape(&self) -> &Attention {
        &self.shape
    }

    /// The queries of a head, `[queries, width]`.
    pub(crate) fn queries_of(&self, head: usize) -> &'a [f32] {
        let numbers = self.shape.queries * self.shape.width;
        &self.q[head * numbers..][..numbers]
    }

    /// The keys of a head of keys, `[keys, width]`.
    pub(crate) fn keys_of(&self, head: usize) -> &'a [f32] {
        let numbers = self.shape.keys * self.shape.width;
        &self.k[head * numbers..][..numbers]
    }

    /// The keys `[keys, width]` and values `[keys, value_width]` that a head of queries reads.
    pub(crate) fn keys_and_values_of(&self, head: usize) -> [&'a [f32]; 2] {
        let Attention { heads, kv_heads, keys, value_width, .. } = self.shape;
        let (head, numbers) = (head / (heads / kv_heads), keys * value_width);
        [self.keys_of(head), &self.v[head * numbers..][..numbers]]
    }

    /// Some queries of all heads.
    pub(crate) fn gather(&self, rows: &[usize]) -> Gathered {
        let (width, heads) = (self.shape.width, self.shape.heads);
        let row = |head: usize, row: usize| &self.queries_of(head)[row * width..][..width];
        let q = (0..heads).flat_map(|head| rows.iter().flat_map(move |&at| row(head, at))).copied().collect();
        Gathered { q, rows: rows.len() }
    }

    pub(crate) fn inputs(&self) -> [Tensor<'a>; 3] {
        let Attention { heads, kv_heads, queries, keys, width, value_width, .. } = self.shape;
        [
            Tensor { data: self.q, layout: Layout::heads_first(heads, queries, width) },
            Tensor { data: self.k, layout: Layout::heads_first(kv_heads, keys, width) },
            Tensor { data: self.v, layout: Layout::heads_first(kv_heads, keys, value_width) },
        ]
    }
}

/// Queries of all heads, `[heads, rows, width]`.
pub(crate) struct Gathered {
    q: Vec<f32>,
    rows: usize,
}

impl Gathered {
    /// These queries with the keys and values of `of`.
    pub fn tensors<'a>(&'a self, of: &Tensors<'a>) -> Tensors<'a> {
        Tensors { q: &self.q, shape: Attention { queries: self.rows, ..of.shape }, ..*of }
    }
}

fn mismatch(name: &str, found: [usize; 3], expected: String) -> Error {
    Error::Shape { what: name.into(), found: found.to_vec(), expected }
}

/// What is read.
#[derive(Debug, Clone, Copy)]
pub enum Plan<'a> {
    /// All.
    Dense,
    /// Blocks of keys.
    Blocks(&'a BlockMask),
    /// Single keys.
    Exact(&'a ExactMask),
    /// Groups of keys, the same in all heads or other ones in each.
    Clusters(&'a ClusterMask),
    /// Groups of keys, and the means of those that are left out.
    WithMeans(WithMeans<'a>),
}

/// An output and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    /// `[heads, queries, value_width]`.
    pub output: Vec<f32>,
    /// The logarithm of the sum of each row's exponentials, `[heads, queries]`; -∞ where nothing is read.
    pub logarithms: Vec<f32>,
    /// Rows that read nothing: their output is 0.
    pub empty: usize,
    /// Pairs that were read, over all heads.
    pub pairs: u64,
    /// Pairs of dense attention.
    pub dense_pairs: u64,
    /// Seconds.
    pub seconds: f64,
    /// Seconds that the dense form would take, from the first [`SAMPLED`] queries or a sixteenth of them; NaN from [`run`].
    pub dense_seconds: f64,
}

/// Queries by which dense attention is timed, at least.
pub const SAMPLED: usize = 512;

impl Attended {
    /// Arithmetic operations on pairs that were read, in billions a second: two products of `width` multiply-adds each.
    pub fn gigaflops(&self, shape: &Attention) -> f64 {
        2.0 * self.pairs as f64 * (shape.width + shape.value_width) as f64 / self.seconds / 1e9
    }

    /// The share of pairs that were read.
    pub fn density(&self) -> f64 {
        self.pairs as f64 / self.dense_pairs.max(1) as f64
    }

    /// How many times as fast as dense attention by the same kernel.
    pub fn speed_up(&self) -> f64 {
        self.dense_seconds / self.seconds
    }
}

/// Softmax(scale · q kᵀ) v over the pairs of the plan.
///
/// # Errors
/// [`Error::Tokens`] or [`Error::Unlike`] if the plan is of other tokens, [`Error::Attention`] if a number is not finite.
pub fn attend(tensors: &Tensors<'_>, plan: Plan<'_>) -> Result<Attended, Error> {
    let attended = run(tensors, plan)?;
    let dense_seconds = match plan {
        Plan::Dense => attended.seconds,
        _ => dense_seconds(tensors)?,
    };
    Ok(Attended { dense_seconds, ..attended })
}

/// As [`attend`], without timing the dense form: for samplers, which attend in each layer and step.
///
/// # Errors
/// As [`attend`].
pub fn run(tensors: &Tensors<'_>, plan: Plan<'_>) -> Result<Attended, Error> {
    let shape = &tensors.shape;
    let (exact, blocks, clusters): (_, _, Vec<_>);
    let mask = match plan {
        Plan::Dense => Mask::All,
        Plan::Blocks(mask) => {
            agree([mask.queries, mask.keys], shape)?;
            blocks = [mask.blocks()];
            Mask::Blocks(&blocks)
        }
        Plan::Exact(mask) => {
            agree(mask.tokens(), shape)?;
            exact = Singles::of(mask)?;
            clusters = vec![exact.clusters()];
            Mask::Clusters(&clusters)
        }
        Plan::Clusters(mask) => {
            agree(mask.tokens(), shape)?;
            if ![1, shape.heads].contains(&mask.heads().len()) {
                return Err(Error::Unlike { what: "heads", here: mask.heads().len(), there: shape.heads });
            }
            clusters = mask.heads().iter().map(HeadMask::clusters).collect();
            Mask::Clusters(&clusters)
        }
        Plan::WithMeans(plan) => return means::add(tensors, plan, run(tensors, Plan::Clusters(plan.mask))?),
    };
    let mut output = vec![0.0; shape.rows() * shape.value_width];
    let mut logarithms = vec![0.0; shape.rows()];
    let layout = Layout::heads_first(shape.heads, shape.queries, shape.value_width);
    let start = Instant::now();
    let out = TensorMut { data: &mut output, layout };
    let report = shape.forward(tensors.inputs(), &mask, out, Some(&mut logarithms))?;
    let seconds = start.elapsed().as_secs_f64();
    let (pairs, dense_pairs) = (mask.pairs(shape), Mask::All.pairs(shape));
    Ok(Attended { output, logarithms, empty: report.empty, pairs, dense_pairs, seconds, dense_seconds: f64::NAN })
}

fn agree(tokens: [usize; 2], shape: &Attention) -> Result<(), Error> {
    for (what, planned, given) in [("queries", tokens[0], shape.queries), ("keys", tokens[1], shape.keys)] {
        if planned != given {
            return Err(Error::Unlike { what, here: planned, there: given });
        }
    }
    Ok(())
}

/// What dense attention takes, from some of the queries: a sixteenth, but no fewer than [`SAMPLED`].
fn dense_seconds(tensors: &Tensors<'_>) -> Result<f64, Error> {
    let whole = tensors.shape;
    let queries = (whole.queries / 16).max(SAMPLED).min(whole.queries);
    let some = Attention { queries, causal: false, ..whole };
    let mut output = vec![0.0; some.rows() * some.value_width];
    let layout = Layout::heads_first(some.heads, queries, some.value_width);
    let start = Instant::now();
    some.forward(tensors.inputs(), &Mask::All, TensorMut { data: &mut output, layout }, None)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(seconds * Mask::All.pairs(&whole) as f64 / Mask::All.pairs(&some) as f64)
}

/// Pairs that an exact mask may read in attention: 256 MB of places.
const PAIRS: u64 = 1 << 26;

/// Each query and each key a group of its own.
struct Singles {
    order: Vec<u32>,
    bounds: Vec<usize>,
    offsets: Vec<usize>,
    columns: Vec<u32>,
}

impl Singles {
    fn of(mask: &ExactMask) -> Result<Self, Error> {
        if mask.pairs() > PAIRS {
            let hint = " by an exact mask; blocks have no such bound";
            return Err(Error::TooLarge { field: "pairs", value: mask.pairs().to_string(), most: PAIRS, hint });
        }
        let tokens = mask.video_tokens();
        let (mut offsets, mut columns, mut runs) = (vec![0], Vec::with_capacity(mask.pairs() as usize), Vec::new());
        for query in 0..tokens {
            mask.runs(query, &mut runs);
            columns.extend(runs.iter().flat_map(|run| run.start as u32..run.end as u32));
            offsets.push(columns.len());
        }
        Ok(Self { order: (0..tokens as u32).collect(), bounds: (0..=tokens).collect(), offsets, columns })
    }

    fn clusters(&self) -> Clusters<'_> {
        let Self { order, bounds, offsets, columns } = self;
        Clusters { query_order: order, query_offsets: bounds, key_order: order, key_offsets: bounds, offsets, columns }
    }
}

/// The largest difference of an output to the formula in f64, in `rows` queries of every head, spread evenly.
///
/// # Panics
/// If the plan is of other tokens.
pub fn verify(tensors: &Tensors<'_>, plan: Plan<'_>, attended: &Attended, rows: usize) -> f64 {
    let shape = &tensors.shape;
    let count = rows.clamp(1, shape.queries);
    let mut runs = Vec::new();
    let mut worst = 0.0f64;
    for sample in 0..count {
        let query = sample * shape.queries / count;
        let limit = if shape.causal {
            (query + 1 + shape.keys).saturating_sub(shape.queries).min(shape.keys)
        } else {
            shape.keys
        };
        for head in 0..shape.heads {
            match plan {
                Plan::Dense => {
                    runs.clear();
                    runs.push(0..shape.keys);
                }
                Plan::Blocks(mask) => mask.runs(query, &mut runs),
                Plan::Exact(mask) => mask.runs(query, &mut runs),
                Plan::Clusters(mask) | Plan::WithMeans(WithMeans { mask, .. }) => {
                    mask.head(head).runs(query, &mut runs);
                }
            }
            let keys: Vec<u32> =
                runs.iter().cloned().flatten().filter(|&key| key < limit).map(|key| key as u32).collect();
            let mut groups: Vec<&[u32]> = keys.chunks(1).collect();
            if let Plan::WithMeans(plan) = plan {
                let mask = plan.mask.head(head);
                let group = mask.queries().labels()[query] as usize;
                groups.extend(plan.left_out(head, group).map(|group| mask.keys().members(group)));
            }
            let expected = row(tensors, head, query, &groups);
            let from = (head * shape.queries + query) * shape.value_width;
            let found = &attended.output[from..][..shape.value_width];
            let apart = expected.iter().zip(found).map(|(a, &b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
            worst = worst.max(apart);
        }
    }
    worst
}

/// One row of the output, as the formula reads: of each group of keys the mean key and the mean value, as heavy as it has
/// keys. A single key is a group of its own.
fn row(tensors: &Tensors<'_>, head: usize, query: usize, groups: &[&[u32]]) -> Vec<f64> {
    let Attention { width, value_width, scale, .. } = tensors.shape;
    let [k, v] = tensors.keys_and_values_of(head);
    let q = &tensors.queries_of(head)[query * width..][..width];
    let (mut key, mut value) = (vec![0.0; width], vec![0.0; value_width]);
    let score = |group: &&[u32]| {
        mean(k, group, &mut key);
        f64::from(scale) * q.iter().zip(&key).map(|(&q, k)| f64::from(q) * k).sum::<f64>()
    };
    let scores: Vec<f64> = groups.iter().map(score).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut out) = (0.0, vec![0.0; value_width]);
    for (score, group) in scores.iter().zip(groups) {
        let weight = group.len() as f64 * (score - most).exp();
        sum += weight;
        mean(v, group, &mut value);
        out.iter_mut().zip(&value).for_each(|(out, v)| *out += weight * v);
    }
    if sum > 0.0 {
        out.iter_mut().for_each(|out| *out /= sum);
    }
    out
}

/// The mean of some rows of `x`, as wide as `mean`.
fn mean(x: &[f32], rows: &[u32], mean: &mut [f64]) {
    mean.fill(0.0);
    for &row in rows {
        let row = &x[row as usize * mean.len()..][..mean.len()];
        mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / rows.len() as f64);
    }
}
