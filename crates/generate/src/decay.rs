//! How attention decays with distance in time and in space, and how much of it a mask keeps.
//!
//! The weight that a query of frame `i` gives to a key of frame `j` falls about as `exp(−α·|i − j|)`, and with the
//! distance of their positions as `exp(−β·distance)`: *Radial Attention* (NeurIPS 2025), section 3. Where that holds, a
//! radial mask loses little. Given queries and keys, this file measures both curves, fits α and β, and adds up the
//! weight that a mask leaves in place.
//!
//! Weights are made a few rows at a time: `n × n` is never in memory. Cost: one product of queries and keys, `n²·d` for
//! each head, or less with fewer rows ([`Settings::rows`]). The result does not depend on the number of threads.
//!
//! Made-up queries and keys that obey the law: [`synthetic`].

pub mod synthetic;

use std::ops::Range;

use gemm::Parallelism;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::mask::Reads;
use crate::{Error, Grid};

/// Rows of weights that are made at once, at most, and the most weights.
const TILE: (usize, usize) = (32, 1 << 22);

/// The queries and keys of some heads, each `[heads, tokens, dim]`: finite, and of one shape.
#[derive(Debug, Clone, Copy)]
pub struct QueriesKeys<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    shape: [usize; 3],
}

impl<'a> QueriesKeys<'a> {
    /// Queries and keys with the shapes that they should have, `[heads, tokens, dim]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ, hold a 0 or another number of elements, [`Error::NotFinite`] naming the
    /// first that is no number.
    pub fn new(q: (&'a [f32], [usize; 3]), k: (&'a [f32], [usize; 3])) -> Result<Self, Error> {
        let shape = q.1;
        let unlike =
            |what: &str, found: Vec<usize>, expected: String| Error::Shape { what: what.into(), found, expected };
        if k.1 != shape {
            return Err(unlike("k", k.1.to_vec(), format!("{shape:?}, the shape of q")));
        }
        if shape.contains(&0) {
            return Err(unlike("q", shape.to_vec(), "[heads, tokens, dim], none of them 0".into()));
        }
        let count = shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
        for (what, (elements, _)) in [("q", q), ("k", k)] {
            if count != Some(elements.len()) {
                return Err(unlike(what, vec![elements.len()], format!("as many elements as {shape:?} has")));
            }
            if let Some(at) = elements.iter().position(|element| !element.is_finite()) {
                let [_, tokens, dim] = shape;
                let (head, token, dimension) = (at / dim / tokens, at / dim % tokens, at % dim);
                return Err(Error::NotFinite { what, head, token, dimension, value: elements[at] });
            }
        }
        Ok(Self { queries: q.0, keys: k.0, shape })
    }

    /// Heads, tokens, dimensions of a head.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The elements of `head`.
    fn head(&self, of: &'a [f32], head: usize) -> &'a [f32] {
        let [_, tokens, dim] = self.shape;
        &of[head * tokens * dim..][..tokens * dim]
    }
}

/// How to analyse.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    /// Tokens of text behind those of the video.
    pub text: usize,
    /// Products of a query and a key are multiplied by this; `1 / √dim` if not told.
    pub scale: Option<f32>,
    /// Draw so many queries of each head, the same in each; without it all are taken.
    pub rows: Option<usize>,
    /// For the draw.
    pub seed: u64,
}

/// How the attention of some heads decays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decay {
    /// Queries of each head that were looked at.
    pub rows: usize,
    /// Each head.
    pub heads: Vec<HeadDecay>,
    /// All heads as one.
    pub all: HeadDecay,
}

/// How the attention of a head decays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadDecay {
    /// Mean weight over the distance in frames, `|i − j|`; its rate is α.
    pub temporal: Curve,
    /// Mean weight over the distance of two positions in the plane of a frame, rounded to whole tokens, whatever their
    /// frames; its rate is β. In a grid of one row this is `|k − l|`.
    pub spatial: Curve,
    /// The weight that a query of the video gives to text.
    pub text: f64,
    /// The weight that a query gives to what the mask lets it read: 1 loses nothing. The attention that the mask
    /// renormalises differs from it by `2·(1 − recall)` in the sum of absolute values.
    pub recall: Option<f64>,
}

/// Mean weights by distance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The distances at which there are pairs, ascending.
    pub points: Vec<Point>,
    /// The exponential through them; `None` if fewer than two have a weight above 0.
    pub fit: Option<Fit>,
}

/// The pairs at a distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The distance, in frames or tokens.
    pub distance: usize,
    /// Their mean weight, after softmax.
    pub weight: f64,
    /// How many there are.
    pub pairs: u64,
}

/// `weight ≈ exp(level − rate·distance)`: least squares of logarithms, every pair counting alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fit {
    /// α or β.
    pub rate: f64,
    /// The logarithm of the weight at distance 0.
    pub level: f64,
    /// The share of the logarithms' variance that is explained, R²; 1 if there is none.
    pub r2: f64,
}

/// Measures how attention decays over the tokens of `grid`, and what `mask` keeps of it.
///
/// # Errors
/// [`Error::Tokens`] if there are not as many tokens as the grid and the text have, [`Error::Shape`] if the mask is of
/// others, [`Error::Parameter`] for a scale that is no finite number above 0 or no rows, [`Error::Overflow`].
pub fn analyze(
    input: &QueriesKeys,
    grid: &Grid,
    mask: Option<&(dyn Reads + Sync)>,
    settings: &Settings,
) -> Result<Decay, Error> {
    let [heads, tokens, dim] = input.shape;
    let (s, text) = (grid.tokens_per_frame()?, settings.text);
    if grid.tokens()?.checked_add(text) != Some(tokens) {
        return Err(Error::Tokens { what: "q", tokens, frames: grid.frames, tokens_per_frame: s, text });
    }
    if let Some(mask) = mask.filter(|mask| mask.tokens() != [tokens; 2]) {
        let found = mask.tokens().to_vec();
        return Err(Error::Shape { what: "the mask".into(), found, expected: format!("{:?}", [tokens; 2]) });
    }
    let scale = settings.scale.unwrap_or(1.0 / (dim as f32).sqrt());
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(Error::parameter("scale", scale, "a finite number above 0"));
    }
    let rows = rows(tokens, settings)?;
    let plane = Plane::new(grid);
    let height = (TILE.1 / tokens).clamp(1, TILE.0);
    let tiles: Vec<(usize, &[usize])> =
        (0..heads).flat_map(|head| rows.chunks(height).map(move |rows| (head, rows))).collect();
    let of_tile = |(head, rows): (usize, &[usize])| -> Result<(usize, Sums), Error> {
        let mut sums = Sums::new(grid, &plane);
        let mut tile = Tile { sums: &mut sums, grid, plane: &plane, mask, runs: Vec::new() };
        let weights = weights(input, head, rows, scale)?;
        for (&query, weights) in rows.iter().zip(weights.chunks_exact(tokens)) {
            tile.add(query, weights);
        }
        Ok((head, sums))
    };
    // Collected in order and added up in order: the same on any number of threads.
    let of_tiles: Vec<Result<(usize, Sums), Error>> = tiles.into_par_iter().map(of_tile).collect();
    let mut of_heads: Vec<Sums> = (0..heads).map(|_| Sums::new(grid, &plane)).collect();
    let mut all = Sums::new(grid, &plane);
    for of_tile in of_tiles {
        let (head, sums) = of_tile?;
        of_heads[head].merge(&sums);
        all.merge(&sums);
    }
    let told = |sums: &Sums| sums.told(mask.is_some());
    Ok(Decay { rows: rows.len(), heads: of_heads.iter().map(told).collect(), all: told(&all) })
}

/// The queries to look at, ascending.
fn rows(tokens: usize, settings: &Settings) -> Result<Vec<usize>, Error> {
    match settings.rows {
        Some(0) => Err(Error::zero("rows")),
        Some(rows) if rows < tokens => {
            let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
            let mut rows = index::sample(&mut random, tokens, rows).into_vec();
            rows.sort_unstable();
            Ok(rows)
        }
        _ => Ok((0..tokens).collect()),
    }
}

/// Softmax of the products of the queries `rows` with all keys of a head: `[rows, tokens]`.
fn weights(input: &QueriesKeys, head: usize, rows: &[usize], scale: f32) -> Result<Vec<f32>, Error> {
    let [_, tokens, dim] = input.shape;
    let (queries, keys) = (input.head(input.queries, head), input.head(input.keys, head));
    let gathered: Vec<f32> = rows.iter().flat_map(|row| &queries[row * dim..][..dim]).copied().collect();
    let mut weights = vec![0.0f32; rows.len() * tokens];
    // SAFETY: the strides below address `[rows, tokens]`, `[rows, dim]` and `[dim, tokens]` (the keys, read transposed)
    // within the three slices, of which the first is not otherwise borrowed.
    unsafe {
        gemm::gemm(
            rows.len(),
            tokens,
            dim,
            weights.as_mut_ptr(),
            1,
            tokens as isize,
            false,
            gathered.as_ptr(),
            1,
            dim as isize,
            keys.as_ptr(),
            dim as isize,
            1,
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
        return Err(Error::Overflow { head, query: rows[at / tokens], key: at % tokens, value: weights[at] });
    }
    weights.chunks_exact_mut(tokens).for_each(softmax);
    Ok(weights)
}

fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - most).exp());
    let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
    row.iter_mut().for_each(|value| *value = (f64::from(*value) / sum) as f32);
}

/// Distances in the plane of a frame.
struct Plane {
    /// By the difference of rows, then of columns.
    distance: Vec<usize>,
    width: usize,
    most: usize,
}

impl Plane {
    fn new(grid: &Grid) -> Self {
        let of = |down: usize, across: usize| (down as f64).hypot(across as f64).round() as usize;
        let distance = (0..grid.height).flat_map(|down| (0..grid.width).map(move |across| of(down, across))).collect();
        Self { distance, width: grid.width, most: of(grid.height - 1, grid.width - 1) }
    }

    /// Between two positions.
    fn between(&self, k: usize, l: usize) -> usize {
        let w = self.width;
        self.distance[(k / w).abs_diff(l / w) * w + (k % w).abs_diff(l % w)]
    }
}

/// What is added up over queries.
struct Sums {
    /// Weight and pairs by distance in frames, and in the plane.
    temporal: Vec<(f64, u64)>,
    spatial: Vec<(f64, u64)>,
    text: f64,
    kept: f64,
    /// Queries of the video, and all.
    video: u64,
    rows: u64,
}

impl Sums {
    fn new(grid: &Grid, plane: &Plane) -> Self {
        let (temporal, spatial) = (vec![(0.0, 0); grid.frames], vec![(0.0, 0); plane.most + 1]);
        Self { temporal, spatial, text: 0.0, kept: 0.0, video: 0, rows: 0 }
    }

    fn merge(&mut self, other: &Self) {
        let pairs = self.temporal.iter_mut().zip(&other.temporal).chain(self.spatial.iter_mut().zip(&other.spatial));
        pairs.for_each(|(here, there)| *here = (here.0 + there.0, here.1 + there.1));
        self.text += other.text;
        self.kept += other.kept;
        self.video += other.video;
        self.rows += other.rows;
    }

    fn told(&self, masked: bool) -> HeadDecay {
        HeadDecay {
            temporal: Curve::of(&self.temporal),
            spatial: Curve::of(&self.spatial),
            text: self.text / self.video.max(1) as f64,
            recall: masked.then(|| self.kept / self.rows as f64),
        }
    }
}

/// Adds rows of weights to the sums.
struct Tile<'a> {
    sums: &'a mut Sums,
    grid: &'a Grid,
    plane: &'a Plane,
    mask: Option<&'a (dyn Reads + Sync)>,
    runs: Vec<Range<usize>>,
}

impl Tile<'_> {
    fn add(&mut self, query: usize, weights: &[f32]) {
        let sum = |weights: &[f32]| weights.iter().map(|&weight| f64::from(weight)).sum::<f64>();
        self.sums.rows += 1;
        if let Some(mask) = self.mask {
            mask.runs(query, &mut self.runs);
            self.sums.kept += self.runs.iter().map(|run| sum(&weights[run.clone()])).sum::<f64>();
        }
        let s = self.grid.height * self.grid.width;
        let (video, text) = weights.split_at(self.grid.frames * s);
        if query >= video.len() {
            return; // text has no place
        }
        self.sums.video += 1;
        self.sums.text += sum(text);
        let (frame, position) = (query / s, query % s);
        let mut by_position = vec![0.0; s];
        for (key_frame, weights) in video.chunks_exact(s).enumerate() {
            let (total, pairs) = &mut self.sums.temporal[frame.abs_diff(key_frame)];
            *total += sum(weights);
            *pairs += s as u64;
            by_position.iter_mut().zip(weights).for_each(|(sum, &weight)| *sum += f64::from(weight));
        }
        for (key, weight) in by_position.into_iter().enumerate() {
            let (total, pairs) = &mut self.sums.spatial[self.plane.between(position, key)];
            *total += weight;
            *pairs += self.grid.frames as u64;
        }
    }
}

impl Curve {
    fn of(sums: &[(f64, u64)]) -> Self {
        let found = sums.iter().enumerate().filter(|(_, (_, pairs))| *pairs > 0);
        let point =
            |(distance, &(sum, pairs)): (usize, &(f64, u64))| Point { distance, weight: sum / pairs as f64, pairs };
        let points: Vec<Point> = found.map(point).collect();
        Self { fit: Fit::of(&points), points }
    }
}

impl Fit {
    /// The exponential through the points whose weight is above 0.
    pub fn of(points: &[Point]) -> Option<Self> {
        let logs: Vec<[f64; 3]> = points
            .iter()
            .filter(|point| point.weight > 0.0)
            .map(|point| [point.distance as f64, point.weight.ln(), point.pairs as f64])
            .collect();
        if logs.len() < 2 {
            return None;
        }
        let all: f64 = logs.iter().map(|[.., pairs]| pairs).sum();
        let mean =
            |of: &dyn Fn(f64, f64) -> f64| logs.iter().map(|[x, y, pairs]| pairs * of(*x, *y)).sum::<f64>() / all;
        let (x, y) = (mean(&|x, _| x), mean(&|_, y| y));
        let slope = mean(&|a, b| (a - x) * (b - y)) / mean(&|a, _| (a - x).powi(2));
        let (explained, variance) = ((slope * slope) * mean(&|a, _| (a - x).powi(2)), mean(&|_, b| (b - y).powi(2)));
        let r2 = if variance > 0.0 { (explained / variance).min(1.0) } else { 1.0 };
        Some(Self { rate: -slope, level: y - slope * x, r2 })
    }

    /// The weight at a distance.
    pub fn weight(&self, distance: f64) -> f64 {
        (self.level - self.rate * distance).exp()
    }
}
