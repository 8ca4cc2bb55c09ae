//! Attention timed beside PyTorch's, on the same shapes and masks, in one run.
//!
//! Machines are noisy, so all are measured in turn, round by round; a figure is the median over rounds. The peers are a
//! server, `bench/peers/attention.py`: `scaled_dot_product_attention` computes all pairs, forward and backward; compiled
//! `flex_attention` is given the same blocks. Planning is apart: see the bench `mask`. Clusters are in `clusters`.

mod clusters;

use std::path::Path;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tersor_data::peer::{Peers, largest_difference};
use tersor_data::{Array, Elements, npy};
use tersor_kernels::attention::{Attention, Blocks, Layout, Mask, Tensor, TensorMut, peak};

use crate::{Block, BlockMask, Error, Radial};

pub use clusters::ClusterCase;

/// What is timed.
#[derive(Debug, Clone)]
pub struct Case {
    /// In the table.
    pub name: String,
    /// Heads, tokens, and numbers of a query.
    pub shape: [usize; 3],
    /// What is read; all without one.
    pub mask: Option<BlockMask>,
    /// Whether gradients are timed instead of outputs.
    pub backward: bool,
}

impl Case {
    fn dense(heads: usize, tokens: usize, width: usize, backward: bool) -> Self {
        let name = format!("dense {heads}x{tokens}x{width}");
        Self { name, shape: [heads, tokens, width], mask: None, backward }
    }

    fn radial(heads: usize, width: usize, radial: Radial, backward: bool) -> Result<Self, Error> {
        let Radial { frames, tokens_per_frame, block, .. } = radial;
        let (mask, tokens) = (radial.plan()?, radial.tokens()?);
        let name = format!("radial {heads}x{tokens}x{width}, {frames} frames of {tokens_per_frame}, blocks of {block}");
        Ok(Self { name, shape: [heads, tokens, width], mask: Some(mask), backward })
    }

    /// The shapes by which the kernel is judged; the last two, of Wan's default clip, only if `large`: half a minute for each
    /// round of each side.
    ///
    /// # Errors
    /// None in practice.
    pub fn standard(large: bool) -> Result<Vec<Self>, Error> {
        let square =
            |block, decay, frames, tokens| Radial { block: Block::square(block), decay, ..Radial::new(frames, tokens) };
        let mut cases = Vec::new();
        for backward in [false, true] {
            for width in [64, 128] {
                cases.push(Self::dense(2, 16_384, width, backward));
            }
            cases.push(Self::radial(2, 64, square(128, 1.0, 64, 256), backward)?);
            cases.push(Self::radial(2, 64, square(64, 1.0, 128, 128), backward)?);
        }
        if large {
            cases.push(Self::dense(1, 69_120, 128, false));
            cases.push(Self::radial(1, 128, square(128, 0.2, 18, 3_840), false)?);
        }
        Ok(cases)
    }
}

impl Case {
    /// Clips of 8 to 128 frames of 256 tokens, by which the growth of a radial mask's time with length is judged.
    ///
    /// # Errors
    /// None in practice.
    pub fn lengths() -> Result<Vec<Self>, Error> {
        let radial = |frames| Radial { block: Block::square(64), ..Radial::new(frames, 256) };
        [8, 16, 32, 64, 128].into_iter().map(|frames| Self::radial(2, 64, radial(frames), false)).collect()
    }
}

/// The exponent x of seconds ∝ tokensˣ: least squares of logarithms. `None` of fewer than two numbers of tokens.
pub fn growth(cases: &[Case], rows: &[Row]) -> Option<f64> {
    let points: Vec<[f64; 2]> =
        cases.iter().zip(rows).map(|(case, row)| [(case.shape[1] as f64).ln(), row.seconds.ln()]).collect();
    let mean = [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / points.len() as f64);
    let along = |f: &dyn Fn(f64, f64) -> f64| points.iter().map(|[x, y]| f(x - mean[0], y - mean[1])).sum::<f64>();
    let spread = along(&|x, _| x * x);
    (spread > 0.0).then(|| along(&|x, y| x * y) / spread)
}

/// One case.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The case.
    pub name: String,
    /// `forward` or `backward`; of clusters what is timed.
    pub pass: &'static str,
    /// The share of pairs that are read.
    pub density: f64,
    /// Ours.
    pub seconds: f64,
    /// Arithmetic on pairs that are read: 4 operations a number of a query forward, 10 backward.
    pub gigaflops: f64,
    /// What multiply-adds in registers reached in the same round, the median.
    pub peak_gigaflops: f64,
    /// The peers that take part: name and seconds.
    pub peers: Vec<(String, f64)>,
}

#[derive(Deserialize)]
struct Round {
    seconds: f64,
}

/// Turns of the measurement of the machine's best.
const TURNS: usize = 2_000_000;
/// How far a peer's output may be from ours.
const APART: f32 = 1e-4;

/// Measures a case in `rounds` rounds after one that warms up and compares outputs. `folder` holds what peers are given.
///
/// # Errors
/// [`Error::Peer`] from a peer that has loaded a case and then fails or answers otherwise; what writing files says.
pub fn measure(case: &Case, rounds: usize, peers: Option<&mut Peers>, folder: &Path) -> Result<Row, Error> {
    let [heads, tokens, width] = case.shape;
    let ours = Ours::new(case);
    let wanted = match &peers {
        Some(_) => requests(case, &ours, folder)?,
        None => Vec::new(),
    };
    let mut results = Results::new(&ours);
    // PyTorch's dense form says nothing of what a mask leaves.
    let compared = |name: &str| case.mask.is_none() || name == "flex_attention";
    let timed = in_turn(wanted, rounds, peers, folder, |answer| {
        let Some((name, file)) = answer else { return ours.run(&mut results, case.backward) };
        if compared(name) {
            compare(name, file, if case.backward { &results.dq } else { &results.out })?;
        }
        Ok(0.0)
    })?;
    let blocks = ours.blocks();
    let pairs = ours.mask(&blocks).pairs(&ours.shape) as f64;
    let Timed { seconds, peak_gigaflops, peers } = timed;
    let operations = if case.backward { 10.0 } else { 4.0 };
    Ok(Row {
        name: case.name.clone(),
        pass: if case.backward { "backward" } else { "forward" },
        density: pairs / (heads * tokens * tokens) as f64,
        seconds,
        gigaflops: operations * pairs * width as f64 / seconds * 1e-9,
        peak_gigaflops,
        peers,
    })
}

/// Medians over rounds.
struct Timed {
    seconds: f64,
    peak_gigaflops: f64,
    peers: Vec<(String, f64)>,
}

/// Runs ours and those peers that can load what they are asked for in turn, `rounds` times after once to warm up. `ours` is
/// asked for a run and gives its seconds; in the first round, with a peer's name and the file of its answer, to compare them.
fn in_turn(
    wanted: Vec<(String, Value)>,
    rounds: usize,
    mut peers: Option<&mut Peers>,
    folder: &Path,
    mut ours: impl FnMut(Option<(&str, &Path)>) -> Result<f64, Error>,
) -> Result<Timed, Error> {
    let mut loaded = Vec::new();
    if let Some(peers) = peers.as_deref_mut() {
        for (name, request) in wanted {
            // A peer that has no such pass, or whose compiler is missing, does not take part.
            if peers.server.ask::<Value>(&request).is_ok() {
                loaded.push((name, Vec::new()));
            }
        }
    }
    let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
    for round in 0..=rounds.max(1) {
        let best = peak(TURNS);
        let time = ours(None)?;
        if round > 0 {
            peaks.push(best);
            seconds.push(time);
        }
        let Some(peers) = peers.as_deref_mut() else { continue };
        for (name, times) in &mut loaded {
            let file = folder.join("answer.npy");
            let mut request = json!({ "run": name, "runs": 1 });
            if round == 0 {
                request["output"] = json!(file);
            }
            let answer: Result<Round, String> = peers.server.ask(&request);
            let answer = answer.map_err(|why| Error::Peer { name: name.clone(), why })?;
            if round == 0 {
                ours(Some((name, &file)))?;
            } else {
                times.push(answer.seconds);
            }
        }
    }
    if let Some(peers) = peers {
        for (name, _) in &loaded {
            let dropped: Result<Value, String> = peers.server.ask(&json!({ "drop": name }));
            dropped.map_err(|why| Error::Peer { name: name.clone(), why })?;
        }
    }
    Ok(Timed {
        seconds: median(seconds),
        peak_gigaflops: median(peaks),
        peers: loaded.into_iter().map(|(name, times)| (name, median(times))).collect(),
    })
}

/// The kernel with what it reads: numbers N(0, 1).
struct Ours<'a> {
    shape: Attention,
    layout: Layout,
    given: Option<&'a BlockMask>,
    qkv: [Vec<f32>; 3],
    out_gradient: Vec<f32>,
}

/// What it writes.
struct Results {
    out: Vec<f32>,
    logarithms: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    forward: bool,
}

impl Results {
    fn new(ours: &Ours<'_>) -> Self {
        let zeros = || vec![0.0; ours.out_gradient.len()];
        let logarithms = vec![0.0; ours.shape.rows()];
        Self { out: zeros(), logarithms, dq: zeros(), dk: zeros(), dv: zeros(), forward: false }
    }
}

impl<'a> Ours<'a> {
    fn new(case: &'a Case) -> Self {
        let [heads, tokens, width] = case.shape;
        let mut draws = ChaCha8Rng::seed_from_u64(1);
        // Of four uniform numbers the sum is normal enough.
        let mut normal = || (0..4).map(|_| draws.random_range(-1.0..1.0f32)).sum::<f32>() * 0.866;
        let mut numbers = || -> Vec<f32> { (0..heads * tokens * width).map(|_| normal()).collect() };
        let qkv = [numbers(), numbers(), numbers()];
        Self {
            shape: Attention::new(heads, tokens, tokens, width),
            layout: Layout::heads_first(heads, tokens, width),
            given: case.mask.as_ref(),
            qkv,
            out_gradient: numbers(),
        }
    }

    fn blocks(&self) -> Vec<Blocks<'_>> {
        let of = |mask: &'a BlockMask| Blocks {
            query_block: mask.query_block,
            key_block: mask.key_block,
            offsets: &mask.offsets,
            columns: &mask.columns,
        };
        self.given.map(of).into_iter().collect()
    }

    fn mask<'b>(&self, blocks: &'b [Blocks<'b>]) -> Mask<'b> {
        if blocks.is_empty() { Mask::All } else { Mask::Blocks(blocks) }
    }

    fn run(&self, results: &mut Results, backward: bool) -> Result<f64, Error> {
        let layout = self.layout;
        let blocks = self.blocks();
        let mask = self.mask(&blocks);
        let [q, k, v] = [0, 1, 2].map(|which| Tensor { data: &self.qkv[which], layout });
        let Results { out, logarithms, dq, dk, dv, forward } = results;
        if !backward || !*forward {
            let start = Instant::now();
            self.shape.forward([q, k, v], &mask, TensorMut { data: out, layout }, Some(logarithms))?;
            *forward = true;
            if !backward {
                return Ok(start.elapsed().as_secs_f64());
            }
        }
        let given = (Tensor { data: out, layout }, &logarithms[..], Tensor { data: &self.out_gradient, layout });
        let start = Instant::now();
        let to = [dq, dk, dv].map(|data| TensorMut { data, layout });
        self.shape.backward([q, k, v], &mask, given, to)?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// What each peer is asked to load.
fn requests(case: &Case, ours: &Ours<'_>, folder: &Path) -> Result<Vec<(String, Value)>, Error> {
    let [heads, tokens, width] = case.shape;
    let named = ["q", "k", "v", "out_gradient"];
    let tensors = ours.qkv.iter().chain([&ours.out_gradient]);
    let mut request = json!({
        "threads": rayon::current_num_threads(),
        "pass": if case.backward { "backward" } else { "forward" },
    });
    for (name, numbers) in named.into_iter().zip(tensors) {
        let file = folder.join(format!("{name}.npy"));
        if let Some(array) = Array::new([1, heads, tokens, width], Elements::F32(numbers.clone())) {
            npy::write(&file, &array)?;
        }
        request[name] = json!(file);
    }
    let of = |name: &str, kind: &str, more: Value| {
        let mut request = request.clone();
        request["load"] = json!(name);
        request["do"] = json!(kind);
        if !more.is_null() {
            request["blocks"] = more;
        }
        (name.to_owned(), request)
    };
    let mut wanted = vec![of("sdpa", "sdpa", Value::Null)];
    if let Some(mask) = &case.mask {
        let BlockMask { query_block, key_block, offsets, columns, .. } = mask;
        let blocks =
            json!({ "query_block": query_block, "key_block": key_block, "offsets": offsets, "columns": columns });
        wanted.push(of("flex_attention", "flex", blocks));
    }
    Ok(wanted)
}

fn compare(name: &str, file: &Path, ours: &[f32]) -> Result<(), Error> {
    let peer = |why: String| Error::Peer { name: name.into(), why };
    let apart = largest_difference(file, ours).map_err(peer)?;
    // NaN is apart, too.
    if apart <= APART { Ok(()) } else { Err(peer(format!("it answers otherwise, by {apart:.1e}"))) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_exponent() {
        let cases = Case::lengths().unwrap();
        let row = |case: &Case| Row {
            name: case.name.clone(),
            pass: "forward",
            density: 1.0,
            seconds: 1e-9 * (case.shape[1] as f64).powf(1.3),
            gigaflops: 0.0,
            peak_gigaflops: 0.0,
            peers: Vec::new(),
        };
        let rows: Vec<Row> = cases.iter().map(row).collect();
        assert!((growth(&cases, &rows).unwrap() - 1.3).abs() < 1e-9);
        assert_eq!(growth(&cases[..1], &rows[..1]), None);
    }
}
