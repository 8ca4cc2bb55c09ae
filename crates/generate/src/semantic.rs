//! Attention that finds its own clusters: tokens that mean alike, wherever they are, are read or left out together.
//!
//! Queries and, apart, keys of each head are clustered by k-means; of the pairs of clusters those are computed that carry most
//! of the weight, as their centroids tell ([`map`]); the kernel gathers a cluster's keys, and the result lies where the
//! queries lie. From one step of a sampler to the next tokens move little, so the centroids of the step before ([`cache`])
//! make two iterations do for fifty; without them clustering would take half as long as dense attention.
//! Source: *Sparse VideoGen2: Accelerate Video Generation with Sparse Attention via Semantic-Aware Permutation* (NeurIPS 2025).
//!
//! Cost: an iteration is (C_q + C_k) / 2n of dense attention, 0.9 % for 300 and 1,000 clusters of 69,120 tokens.
//!
//! What is here decides and attends, and tells what it did as values; it prints nothing and keeps nothing but the cache that it
//! is given.

pub mod cache;
mod file;
pub mod map;
mod text;

use std::time::Instant;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;
use tersor_data::{Array, Elements};
use tersor_kernels::attention::Attention;
use tersor_kernels::kmeans::{self, Clustering, Settings, lloyd};

use crate::Error;
use crate::attend::{self, Attended, Plan, Tensors};
use crate::clusters::{ClusterFile, ClusterMask, Groups, HeadMask};

pub use cache::{CentroidCache, Centroids, Site};
pub use file::CentroidFile;
pub use map::Budget;
pub use text::Text;

/// Queries of a cluster, on average, where no number of clusters is given.
pub const MEAN_QUERIES: usize = 250;
/// Keys of a cluster, on average, where no number of clusters is given.
pub const MEAN_KEYS: usize = 75;

/// How an attention clusters and what it reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SemanticAttention {
    /// Clusters of queries, C_q; without it as many as have [`MEAN_QUERIES`] queries on average.
    pub cq: Option<usize>,
    /// Clusters of keys, C_k; without it as many as have [`MEAN_KEYS`] keys on average.
    pub ck: Option<usize>,
    /// How much is read.
    pub budget: Budget,
    /// Iterations of k-means from random tokens, at most.
    pub iters_init: usize,
    /// Iterations of k-means from the centroids of the step before, at most.
    pub iters_step: usize,
    /// For the tokens that are the first centroids.
    pub seed: u64,
    /// Tokens behind the video, which are not clustered.
    pub text: Text,
    /// Whether means stand for the clusters of keys that are left out ([`means`](crate::means)); not so in the paper.
    pub means: bool,
}

impl Default for SemanticAttention {
    fn default() -> Self {
        let budget = Budget { top_p: 0.9, min_ratio: 0.1 };
        Self { cq: None, ck: None, budget, iters_init: 50, iters_step: 2, seed: 1, text: Text::default(), means: false }
    }
}

/// The clusters of one head's queries or keys.
#[derive(Debug, Clone, PartialEq)]
struct Side {
    labels: Vec<u32>,
    sizes: Vec<usize>,
    /// `[clusters, width]`.
    centroids: Vec<f32>,
}

/// The clusters of all heads: of them follows a plan for any budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustered {
    shape: Attention,
    text: Text,
    /// Of each head of queries.
    q: Vec<Side>,
    /// Of each head of keys.
    k: Vec<Side>,
}

/// What clustering took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Whether it began with cached centroids.
    pub warm: bool,
    /// Clusters of queries and of keys, without those of text.
    pub clusters: [usize; 2],
    /// Iterations of k-means, the most of any head.
    pub iterations: usize,
    /// Squared distances of queries to their centroids before the first update and before the last, over all heads.
    pub q_inertia: [f64; 2],
    /// The same of keys.
    pub k_inertia: [f64; 2],
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The clusters.
    pub found: Found,
    /// The share of pairs that were read, head by head; a mean counts as one.
    pub density: Vec<f64>,
    /// Seconds of clustering, of making the map, and of attention with its gathering.
    pub seconds: [f64; 3],
}

/// A line of a log of densities, one for each step and layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DensityLine {
    /// The time of the step, as the sampler counts it.
    pub timestep: f64,
    /// The layer.
    pub layer: usize,
    /// The mean over heads.
    pub avg_density: f64,
    /// The share of pairs that were read, head by head.
    pub density: Vec<f64>,
}

impl Stats {
    /// The line of the log.
    pub fn density_line(&self, timestep: f64, layer: usize) -> DensityLine {
        let avg_density = self.density.iter().sum::<f64>() / self.density.len().max(1) as f64;
        DensityLine { timestep, layer, avg_density, density: self.density.clone() }
    }
}

impl SemanticAttention {
    /// Clusters the tokens of a layer, from the cached centroids if there are any, attends, and leaves the new centroids in
    /// the cache.
    ///
    /// # Errors
    /// As [`SemanticAttention::cluster`] and [`attend`](crate::attend::attend).
    pub fn step(
        &self,
        site: impl Into<Site>,
        tensors: &Tensors<'_>,
        cache: &mut CentroidCache,
    ) -> Result<(Attended, Stats), Error> {
        let start = Instant::now();
        let (clustered, found) = self.cluster(site, tensors, cache)?;
        let clustering = start.elapsed().as_secs_f64();
        let mask = clustered.mask(self.budget)?;
        let mapping = start.elapsed().as_secs_f64() - clustering;
        let with_means = self.text.with_means(&mask);
        let plan = if self.means { Plan::WithMeans(with_means) } else { Plan::Clusters(&mask) };
        let attended = attend::run(tensors, plan)?;
        let of_head = |head| if self.means { with_means.density(head) } else { mask.head(head).density() };
        let density = (0..tensors.shape().heads).map(of_head).collect();
        let stats = Stats { found, density, seconds: [clustering, mapping, attended.seconds] };
        Ok((attended, stats))
    }

    /// Clusters the tokens of a layer, and leaves the centroids in the cache: during steps that stay dense, too, so that the
    /// first sparse one is warm.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the field out of range, such as `cq` above the number of tokens; [`Error::NotFinite`] naming
    /// the token; [`Error::Unlike`] if the cache is of other clusters or heads; [`Error::Tokens`] for text beyond the tokens.
    pub fn cluster(
        &self,
        site: impl Into<Site>,
        tensors: &Tensors<'_>,
        cache: &mut CentroidCache,
    ) -> Result<(Clustered, Found), Error> {
        let (shape, site) = (*tensors.shape(), site.into());
        self.budget.check()?;
        let [queries, keys] = self.video(&shape)?;
        let [cq, ck] = [("cq", self.cq, queries, MEAN_QUERIES), ("ck", self.ck, keys, MEAN_KEYS)]
            .map(|(field, given, tokens, mean)| clusters(field, given, tokens, mean));
        let (cq, ck) = (cq?, ck?);
        for (field, value) in [("iters_init", self.iters_init), ("iters_step", self.iters_step)] {
            if value == 0 {
                return Err(Error::zero(field));
            }
        }
        let width = shape.width;
        let cached = cache.get(site);
        if let Some(cached) = cached {
            agrees(cached, &shape, [cq, ck])?;
        }
        let of_head = |index: usize| -> Result<Clustering<f32>, Error> {
            let is_key = index >= shape.heads;
            let (what, head, count, tokens, points) = if is_key {
                let head = index - shape.heads;
                ("k", head, ck, keys, tensors.keys_of(head))
            } else {
                ("q", index, cq, queries, tensors.queries_of(index))
            };
            let points = &points[..tokens * width];
            let drawn;
            let (first, iterations) = match cached {
                Some(cached) => (if is_key { &cached.k[head] } else { &cached.q[head] }, self.iters_step),
                None => {
                    drawn = draw(points, width, count, self.seed, site, index);
                    (&drawn, self.iters_init)
                }
            };
            let settings = Settings { iterations, ..Settings::default() };
            lloyd(points, width, first, &settings).map_err(|why| told(why, what, head))
        };
        let found: Vec<_> = (0..shape.heads + shape.kv_heads).into_par_iter().map(of_head).collect();
        let mut q = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        let k = q.split_off(shape.heads);
        let inertia = |sides: &[Clustering<f32>]| {
            let sum = |at: fn(&[f64]) -> Option<&f64>| sides.iter().filter_map(|side| at(&side.inertia)).sum();
            [sum(|inertia| inertia.first()), sum(|inertia| inertia.last())]
        };
        let told = Found {
            warm: cached.is_some(),
            clusters: [cq, ck],
            iterations: q.iter().chain(&k).map(|side| side.inertia.len()).max().unwrap_or(0),
            q_inertia: inertia(&q),
            k_inertia: inertia(&k),
        };
        let sides = |found: Vec<Clustering<f32>>| -> Vec<Side> {
            found
                .into_iter()
                .map(|Clustering { labels, sizes, centroids, .. }| Side { labels, sizes, centroids })
                .collect()
        };
        let clustered = Clustered { shape, text: self.text, q: sides(q), k: sides(k) };
        let centroids = |sides: &[Side]| sides.iter().map(|side| side.centroids.clone()).collect();
        cache.put(site, Centroids { q: centroids(&clustered.q), k: centroids(&clustered.k), width });
        Ok((clustered, told))
    }

    /// Clusters of neighbours instead, as even as can be, with their means as centroids: what meaning is compared with.
    ///
    /// # Errors
    /// As [`SemanticAttention::cluster`].
    pub fn by_position(&self, tensors: &Tensors<'_>) -> Result<Clustered, Error> {
        let shape = *tensors.shape();
        let [queries, keys] = self.video(&shape)?;
        let cq = clusters("cq", self.cq, queries, MEAN_QUERIES)?;
        let ck = clusters("ck", self.ck, keys, MEAN_KEYS)?;
        let q = (0..shape.heads).map(|head| neighbours(tensors.queries_of(head), shape.width, queries, cq)).collect();
        let k = (0..shape.kv_heads).map(|head| neighbours(tensors.keys_of(head), shape.width, keys, ck)).collect();
        Ok(Clustered { shape, text: self.text, q, k })
    }

    /// Queries and keys of the video.
    fn video(&self, shape: &Attention) -> Result<[usize; 2], Error> {
        if shape.causal {
            return Err(Error::parameter("causal", true, "false: clusters have no order"));
        }
        self.text.video([shape.queries, shape.keys])
    }
}

/// How many clusters of so many tokens.
fn clusters(field: &'static str, given: Option<usize>, tokens: usize, mean: usize) -> Result<usize, Error> {
    let count = given.unwrap_or(tokens / mean).max(usize::from(given.is_none()));
    if count == 0 || count > tokens {
        return Err(Error::parameter(field, format!("{count} for {tokens} tokens"), "from 1 to the number of tokens"));
    }
    Ok(count)
}

/// The first centroids: tokens drawn without replacement, of each head its own.
fn draw(points: &[f32], width: usize, count: usize, seed: u64, site: Site, head: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream((site.layer as u64) << 32 | (site.branch as u64) << 20 | head as u64);
    let rows = rows(&mut random, points.len() / width, count);
    rows.iter().flat_map(|row| &points[row * width..][..width]).copied().collect()
}

/// `count` of `tokens` tokens, ascending.
fn rows(random: &mut ChaCha8Rng, tokens: usize, count: usize) -> Vec<usize> {
    let mut rows = index::sample(random, tokens, count).into_vec();
    rows.sort_unstable();
    rows
}

/// The tokens that are the first centroids of `tokens` tokens: `count` of them without replacement, ascending.
///
/// # Errors
/// [`Error::Parameter`] if there are not as many tokens, or none are asked for.
pub fn first_rows(tokens: usize, count: usize, seed: u64) -> Result<Vec<usize>, Error> {
    let count = clusters("clusters", Some(count), tokens, 1)?;
    Ok(rows(&mut ChaCha8Rng::seed_from_u64(seed), tokens, count))
}

fn agrees(cached: &Centroids, shape: &Attention, [cq, ck]: [usize; 2]) -> Result<(), Error> {
    let width = cached.width.max(1);
    let clusters = |heads: &[Vec<f32>]| heads.first().map_or(0, |head| head.len() / width);
    for (what, here, there) in [
        ("width of the cached centroids", shape.width, cached.width),
        ("heads of the cached queries", shape.heads, cached.q.len()),
        ("heads of the cached keys", shape.kv_heads, cached.k.len()),
        ("cached clusters of queries", cq, clusters(&cached.q)),
        ("cached clusters of keys", ck, clusters(&cached.k)),
    ] {
        if here != there {
            return Err(Error::Unlike { what, here, there });
        }
    }
    Ok(())
}

/// An error of k-means with the tensor and head in which it was.
fn told(why: kmeans::Error, what: &'static str, head: usize) -> Error {
    match why {
        kmeans::Error::NotFinite { tensor: "points", row, column, value } => {
            Error::NotFinite { what, head, token: row, dimension: column, value: value as f32 }
        }
        why => Error::Clustering { what, head, why },
    }
}

/// Tokens `i·C / n` alike, with their mean.
fn neighbours(points: &[f32], width: usize, tokens: usize, count: usize) -> Side {
    let labels: Vec<u32> = (0..tokens).map(|token| (token * count / tokens) as u32).collect();
    let (mut sums, mut sizes) = (vec![0.0f64; count * width], vec![0; count]);
    for (token, &label) in points.chunks_exact(width).zip(&labels) {
        sums[label as usize * width..][..width].iter_mut().zip(token).for_each(|(sum, &x)| *sum += f64::from(x));
        sizes[label as usize] += 1;
    }
    let centroids = sums
        .chunks_exact(width)
        .zip(&sizes)
        .flat_map(|(sums, &size)| sums.iter().map(move |sum| (sum / f64::from(size)) as f32));
    Side { centroids: centroids.collect(), labels, sizes: sizes.into_iter().map(|size| size as usize).collect() }
}

impl Clustered {
    /// What is read with a budget.
    ///
    /// # Errors
    /// As [`map::top_p`].
    pub fn mask(&self, budget: Budget) -> Result<ClusterMask, Error> {
        let (shape, share) = (&self.shape, self.shape.heads / self.shape.kv_heads);
        let of_head = |head: usize| {
            let (q, k) = (&self.q[head], &self.k[head / share]);
            let centroids = (&q.centroids[..], &k.centroids[..], shape.width);
            let map = map::top_p(centroids, &k.sizes, shape.scale, budget)?;
            let ((q_labels, cq), (k_labels, ck)) = (self.text.labels(q), self.text.labels(k));
            let map = self.text.map(map, [q.sizes.len(), k.sizes.len()]);
            HeadMask::new(Groups::new("q_labels", q_labels, cq)?, Groups::new("k_labels", k_labels, ck)?, &map)
        };
        ClusterMask::new((0..shape.heads).into_par_iter().map(of_head).collect::<Result<_, _>>()?)
    }

    /// The budget without a least share of clusters whose plan reads as nearly the share `density` of all pairs as can be
    /// without exceeding it, and that plan. Clusters are read whole, so few of them reach few densities.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a density that is no share.
    pub fn mask_of_density(&self, density: f64) -> Result<(Budget, ClusterMask), Error> {
        if !(0.0..=1.0).contains(&density) {
            return Err(Error::parameter("density", density, "a number from 0 to 1"));
        }
        let of = |top_p| Budget { top_p, min_ratio: 0.0 };
        let (mut low, mut high) = (0.0, 1.0);
        let all = self.mask(of(high))?;
        if all.density() <= density {
            return Ok((of(high), all));
        }
        let mut best = self.mask(of(low))?;
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            let mask = self.mask(of(middle))?;
            if mask.density() <= density {
                (low, best) = (middle, mask);
            } else {
                high = middle;
            }
        }
        Ok((of(low), best))
    }

    /// The plan with a budget, as a file holds it.
    ///
    /// # Errors
    /// As [`Clustered::mask`].
    pub fn file(&self, budget: Budget) -> Result<ClusterFile, Error> {
        let share = self.shape.heads / self.shape.kv_heads;
        let array = |sides: Vec<&Side>| {
            let shape = [sides.len(), sides[0].sizes.len(), self.shape.width];
            let numbers = sides.into_iter().flat_map(|side| side.centroids.iter().copied()).collect();
            Array::new(shape, Elements::F32(numbers)).expect("as many numbers as the shape has")
        };
        let q = array(self.q.iter().collect());
        // A plan has keys for each head of queries.
        let k = array((0..self.shape.heads).map(|head| &self.k[head / share]).collect());
        Ok(ClusterFile { mask: self.mask(budget)?, centroids: Some([q, k]) })
    }
}

/// Halvings of the search for a density: the share is then known to 1e-6.
const HALVINGS: usize = 20;
