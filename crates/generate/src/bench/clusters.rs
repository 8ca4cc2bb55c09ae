//! What clusters cost: k-means beside its bare product and scikit-learn, ragged attention beside dense, and a whole step of a
//! sampler beside PyTorch's dense attention.

use std::path::Path;
use std::time::Instant;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tersor_data::peer::Peers;
use tersor_data::{Array, Elements, npy};
use tersor_kernels::kmeans::{Settings, lloyd};

use super::{Row, Timed, in_turn};
use crate::Error;
use crate::attend::{Plan, Tensors, run};
use crate::clusters::{ClusterMask, Groups, HeadMask};
use crate::semantic::{Budget, CentroidCache, SemanticAttention, first_rows};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClusterCase {
    /// Iterations of k-means: points, width, clusters, iterations.
    Kmeans([usize; 4]),
    /// Attention over groups of 1 to 600 tokens drawn at random: heads, tokens, width. Its row tells dense attention by the same
    /// kernel as a peer.
    Ragged([usize; 3]),
    /// A step from warm centroids, everything included, on tokens of some hundred kinds: heads, tokens, width.
    Step([usize; 3]),
}

/// The share of pairs that ragged attention and a step read, nearly.
const DENSITY: f64 = 0.3;
/// Tokens of a group, at most.
const MOST: usize = 600;
/// Kinds of tokens.
const KINDS: usize = 300;
const SEED: u64 = 1;

impl ClusterCase {
    /// The shapes by which clusters are judged.
    pub const STANDARD: [Self; 6] = [
        Self::Kmeans([69_120, 128, 1000, 1]),
        Self::Kmeans([69_120, 128, 300, 1]),
        Self::Kmeans([16_384, 64, 218, 10]),
        Self::Ragged([2, 16_384, 64]),
        Self::Ragged([2, 16_384, 128]),
        Self::Step([2, 16_384, 64]),
    ];

    /// In the table.
    pub fn name(&self) -> String {
        match self {
            Self::Kmeans([n, width, clusters, iterations]) => {
                format!("k-means {n}x{width}, {clusters} clusters, {iterations} iterations")
            }
            Self::Ragged([heads, n, width]) => format!("ragged {heads}x{n}x{width}, groups of 1 to {MOST}"),
            Self::Step([heads, n, width]) => format!("clusters {heads}x{n}x{width}, a warm step with all it takes"),
        }
    }

    /// Measures the case in `rounds` rounds after one that warms up.
    ///
    /// # Errors
    /// As [`measure`](super::measure).
    pub fn measure(&self, rounds: usize, peers: Option<&mut Peers>, folder: &Path) -> Result<Row, Error> {
        match *self {
            Self::Kmeans(shape) => self.kmeans(shape, rounds, peers, folder),
            Self::Ragged(shape) => self.ragged(shape, rounds, peers, folder),
            Self::Step(shape) => self.step(shape, rounds, peers, folder),
        }
    }

    fn row(&self, pass: &'static str, density: f64, operations: f64, timed: Timed) -> Row {
        let Timed { seconds, peak_gigaflops, peers } = timed;
        let gigaflops = operations / seconds * 1e-9;
        Row { name: self.name(), pass, density, seconds, gigaflops, peak_gigaflops, peers }
    }

    fn kmeans(
        &self,
        [n, width, clusters, iterations]: [usize; 4],
        rounds: usize,
        peers: Option<&mut Peers>,
        folder: &Path,
    ) -> Result<Row, Error> {
        let points = kinds(n, width, SEED);
        let rows = first_rows(n, clusters, SEED)?;
        let first: Vec<f32> = rows.iter().flat_map(|row| &points[row * width..][..width]).copied().collect();
        let run = |iterations| {
            let found = lloyd(&points, width, &first, &Settings { iterations, tolerance: 0.0 });
            found.map_err(|why| Error::Clustering { what: "points", head: 0, why })
        };
        let mut wanted = Vec::new();
        if peers.is_some() {
            let request = json!({
                "threads": rayon::current_num_threads(),
                "iterations": iterations,
                "x": written(folder, "x", [n, width].to_vec(), &points)?,
                "init": written(folder, "init", [clusters, width].to_vec(), &first)?,
            });
            wanted.push(named("kmeans", &request));
            if iterations == 1 {
                wanted.push(named("matmul", &request));
            }
        }
        let timed = in_turn(wanted, rounds, peers, folder, |answer| {
            let Some((name, file)) = answer else {
                let start = Instant::now();
                run(iterations)?;
                return Ok(start.elapsed().as_secs_f64());
            };
            if name == "kmeans" {
                // Its inertia is that of the centroids after the last update.
                let ours = *run(iterations + 1)?.inertia.last().expect("an iteration at least");
                let theirs = npy::read(file)?.elements().as_f32().and_then(|x| x.first().copied()).unwrap_or(f32::NAN);
                let apart = (f64::from(theirs) - ours).abs() / ours;
                if apart.is_nan() || apart > 0.01 {
                    let why = format!("its inertia is {theirs:.4e}, ours {ours:.4e}");
                    return Err(Error::Peer { name: name.into(), why });
                }
            }
            Ok(0.0)
        })?;
        let operations = 2.0 * (n * width) as f64 * (clusters * iterations) as f64;
        Ok(self.row("k-means", 1.0, operations, timed))
    }

    fn ragged(
        &self,
        [heads, n, width]: [usize; 3],
        rounds: usize,
        peers: Option<&mut Peers>,
        folder: &Path,
    ) -> Result<Row, Error> {
        let qkv = [1, 2, 3].map(|seed| kinds(heads * n, width, seed));
        let shape = [heads, n, width];
        let tensors = Tensors::new((&qkv[0], shape), (&qkv[1], shape), (&qkv[2], shape))?;
        let mask = ragged(n)?;
        let wanted = if peers.is_some() { vec![sdpa(folder, shape, &qkv)?] } else { Vec::new() };
        let mut dense = Vec::new();
        let timed = in_turn(wanted, rounds, peers, folder, |answer| {
            if answer.is_some() {
                return Ok(0.0);
            }
            dense.push(run(&tensors, Plan::Dense)?.seconds);
            Ok(run(&tensors, Plan::Clusters(&mask))?.seconds)
        })?;
        let operations = 4.0 * mask.density() * (heads * n * n * width) as f64;
        let mut row = self.row("forward", mask.density(), operations, timed);
        // The first of each is the round that warms up.
        row.peers.insert(0, ("dense, ours".into(), super::median(dense.split_off(1))));
        Ok(row)
    }

    fn step(
        &self,
        [heads, n, width]: [usize; 3],
        rounds: usize,
        peers: Option<&mut Peers>,
        folder: &Path,
    ) -> Result<Row, Error> {
        let qkv = [1, 2, 3].map(|seed| kinds(heads * n, width, seed));
        let shape = [heads, n, width];
        let tensors = Tensors::new((&qkv[0], shape), (&qkv[1], shape), (&qkv[2], shape))?;
        let mut cache = CentroidCache::new();
        let semantic = SemanticAttention::default();
        let (clustered, _) = semantic.cluster(0, &tensors, &mut cache)?;
        let (budget, _) = clustered.mask_of_density(DENSITY)?;
        let semantic = SemanticAttention { budget: Budget { min_ratio: 0.0, ..budget }, ..semantic };
        let wanted = if peers.is_some() { vec![sdpa(folder, shape, &qkv)?] } else { Vec::new() };
        let (mut dense, mut clustering, mut density) = (Vec::new(), Vec::new(), 0.0);
        let timed = in_turn(wanted, rounds, peers, folder, |answer| {
            if answer.is_some() {
                return Ok(0.0);
            }
            dense.push(run(&tensors, Plan::Dense)?.seconds);
            // Each round begins at the same centroids, and leaves two iterations to be made.
            let mut cache = cache.clone();
            let start = Instant::now();
            let (_, stats) = semantic.step(0, &tensors, &mut cache)?;
            clustering.push(stats.seconds[0]);
            density = stats.density.iter().sum::<f64>() / heads as f64;
            Ok(start.elapsed().as_secs_f64())
        })?;
        let operations = 4.0 * density * (heads * n * n * width) as f64;
        let mut row = self.row("step", density, operations, timed);
        row.peers.insert(0, ("dense, ours".into(), super::median(dense.split_off(1))));
        row.peers.push(("its clustering".into(), super::median(clustering.split_off(1))));
        Ok(row)
    }
}

/// Tokens around centres, kinds mixed along the tokens.
fn kinds(tokens: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let centres: Vec<f32> = (0..KINDS * width).map(|_| normal(&mut draws)).collect();
    let mut numbers = Vec::with_capacity(tokens * width);
    for _ in 0..tokens {
        let centre = &centres[draws.random_range(0..KINDS) * width..][..width];
        numbers.extend(centre.iter().map(|centre| centre + 0.5 * normal(&mut draws)));
    }
    numbers
}

/// Of four uniform numbers the sum is normal enough.
fn normal(draws: &mut impl Rng) -> f32 {
    (0..4).map(|_| draws.random_range(-1.0..1.0f32)).sum::<f32>() * 0.866
}

/// Groups of 1 to [`MOST`] tokens from anywhere, and pairs of them at random.
fn ragged(tokens: usize) -> Result<ClusterMask, Error> {
    let mut draws = ChaCha8Rng::seed_from_u64(SEED);
    let mut groups = |field| {
        let order = rand::seq::index::sample(&mut draws, tokens, tokens).into_vec();
        let (mut labels, mut count, mut left) = (vec![0; tokens], 0, 0usize);
        for token in order {
            if left == 0 {
                (count, left) = (count + 1, draws.random_range(1..=MOST));
            }
            labels[token] = count as u32 - 1;
            left -= 1;
        }
        Groups::new(field, labels, count)
    };
    let (queries, keys) = (groups("queries")?, groups("keys")?);
    let pairs = queries.count() * keys.count();
    let map: Vec<bool> = (0..pairs).map(|_| draws.random_bool(DENSITY)).collect();
    ClusterMask::new(vec![HeadMask::new(queries, keys, &map)?])
}

fn named(kind: &str, request: &Value) -> (String, Value) {
    let mut request = request.clone();
    request["load"] = json!(kind);
    request["do"] = json!(kind);
    (kind.to_owned(), request)
}

fn sdpa(folder: &Path, [heads, n, width]: [usize; 3], qkv: &[Vec<f32>; 3]) -> Result<(String, Value), Error> {
    let mut request = json!({ "threads": rayon::current_num_threads() });
    for (name, numbers) in ["q", "k", "v"].into_iter().zip(qkv) {
        request[name] = json!(written(folder, name, vec![1, heads, n, width], numbers)?);
    }
    Ok(named("sdpa", &request))
}

/// Where an array was written.
fn written(folder: &Path, name: &str, shape: Vec<usize>, numbers: &[f32]) -> Result<std::path::PathBuf, Error> {
    let file = folder.join(format!("{name}.npy"));
    let array = Array::new(shape, Elements::F32(numbers.to_vec())).expect("as many numbers as the shape has");
    npy::write(&file, &array)?;
    Ok(file)
}
