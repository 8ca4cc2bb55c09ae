//! `tersor generate attention`: attention over the pairs of a plan.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::data::{Array, Elements, npy};
use tersor::generate::attend::{self, Attended, Tensors, attend, verify};
use tersor::generate::means::WithMeans;
use tersor::generate::{Block, ClusterMask, Svg1};

use super::clusters::{ClusterFlags, Clusters};
use super::{Plan, Planned, RadialFlags, line, read, told};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs};

/// Queries of each head that are computed again, as the formula reads.
const VERIFIED: usize = 64;

/// Compute attention: dense, or over the pairs of a radial mask, of clusters, or of SVG1
///
/// Tensors are [heads, tokens, width] of float16, float32 or float64. There may be fewer heads of keys and values than of
/// queries (grouped queries), and with --method dense more or fewer keys than queries. What the plan reads is told before
/// the work; what it achieved, beside dense attention by the same kernel, after it.
#[derive(Args)]
pub struct Attention {
    /// Queries: .npy, or the array q of an .npz
    #[arg(long, value_name = "Q.npy")]
    q: PathBuf,
    /// Keys: .npy, or the array k of an .npz
    #[arg(long, value_name = "K.npy")]
    k: PathBuf,
    /// Values: .npy, or the array v of an .npz
    #[arg(long, value_name = "V.npy")]
    v: PathBuf,
    /// What each query reads
    #[arg(long, value_enum, default_value = "dense")]
    method: Method,
    /// Frames of tokens, for --method radial and svg1, and for --paint
    #[arg(long, value_name = "F", required_if_eq_any([("method", "radial"), ("method", "svg1")]))]
    frames: Option<usize>,
    /// Tokens in a frame, for --method radial and svg1
    #[arg(long, value_name = "S", required_if_eq_any([("method", "radial"), ("method", "svg1")]))]
    tokens_per_frame: Option<usize>,
    #[command(flatten)]
    radial: RadialFlags,
    #[command(flatten)]
    clusters: ClusterFlags,
    /// How far SVG1 looks along either order, in tokens (default: two frames)
    #[arg(long, value_name = "N")]
    band: Option<usize>,
    /// A query reads no key behind its own; the last query reads all
    #[arg(long)]
    causal: bool,
    /// Products are multiplied by this before softmax (default: 1 / √width)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    scale: Option<f32>,
    /// Write the output, [heads, queries, width]
    #[arg(short, long, value_name = "O.npy")]
    out: PathBuf,
    /// Compute some rows again, as the formula reads, and tell how far they are apart
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// All
    Dense,
    /// Near frames whole, far ones by ever narrower windows
    Radial,
    /// Clusters of keys that weigh most for a cluster of queries: Sparse VideoGen2
    Svg2,
    /// Near tokens, or near places in all frames: Sparse VideoGen
    Svg1,
}

/// What was computed.
#[derive(Serialize)]
struct Report<'a> {
    method: Method,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
    causal: bool,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Planned>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clusters: Option<Clusters>,
    /// Pairs that were read, over all heads, and their share.
    pairs: u64,
    density: f64,
    /// Rows that read nothing; their output is 0.
    empty_rows: usize,
    seconds: f64,
    /// Extrapolated from a sixteenth of the queries.
    dense_seconds: f64,
    predicted_speed_up: f64,
    achieved_speed_up: f64,
    /// Of the pairs that were read.
    gigaflops: f64,
    /// The largest difference to the formula in f64, if it was asked for.
    largest_difference: Option<f64>,
    out: &'a PathBuf,
}

impl Attention {
    pub fn run(self) -> anyhow::Result<()> {
        let [plan_in, plan_out, paint] = self.clusters.files();
        let inputs: Vec<&Path> =
            [Some(&self.q), Some(&self.k), Some(&self.v), plan_in].into_iter().flatten().map(|path| &**path).collect();
        check_outputs(&inputs, &[Some(&self.out), plan_out, paint])?;
        let semantic = self.method == Method::Svg2;
        self.clusters.check(semantic)?;
        let of_frames = self.tokens_per_frame.is_some() || self.frames.is_some() && !semantic;
        if of_frames && !matches!(self.method, Method::Radial | Method::Svg1) {
            bail!(BadUsage("--frames and --tokens-per-frame are of a mask: give --method radial or svg1".into()));
        }
        if self.causal && matches!(self.method, Method::Svg1 | Method::Svg2) {
            bail!(BadUsage("clusters have no order: leave out --causal".into()));
        }
        if self.radial.exact && (self.radial.text > 0 || self.causal) {
            bail!(BadUsage(
                "the exact mask is of the video alone and not causal: leave out --text and --causal".into()
            ));
        }
        if self.clusters.means && !matches!(self.method, Method::Svg1 | Method::Svg2) {
            bail!(BadUsage("--means are of clusters: give --method svg2 or svg1".into()));
        }
        if let Some(scale) = self.scale.filter(|scale| !scale.is_finite()) {
            bail!(BadUsage(format!("--scale is {scale}; it must be finite")));
        }
        let unused = self.radial.unused(match self.method {
            Method::Dense => &[],
            Method::Radial if self.radial.exact => RadialFlags::OF_EXACT,
            Method::Radial => RadialFlags::OF_BLOCKS,
            Method::Svg1 => &["--block"],
            Method::Svg2 => &["--text"],
        });
        if !unused.is_empty() {
            let method = self.method.to_possible_value().expect("no method is hidden");
            self.output.note(&format!("not used by --method {}: {}", method.get_name(), unused.join(", ")));
        }
        self.threads.start()?;
        let plan = match (self.method, self.frames, self.tokens_per_frame) {
            (Method::Radial, Some(frames), Some(tokens)) => Some(self.radial.plan(frames, tokens)?),
            _ => None,
        };
        let progress = self.output.spinner().with_message("reading");
        let (q, k, v) = (read(&self.q, "q")?, read(&self.k, "k")?, read(&self.v, "v")?);
        let tensors = Tensors::new((&q.0, q.1), (&k.0, k.1), (&v.0, v.1))
            .with_context(|| self.files())?
            .scaled(self.scale)
            .causal(self.causal);
        progress.set_message("planning");
        let planned = plan.as_ref().map(Plan::in_numbers).transpose()?;
        let clusters = self.clustered(&tensors)?;
        let density = planned.as_ref().map(|planned| planned.token_density);
        if let Some(density) = density.or_else(|| clusters.as_ref().map(|clusters| clusters.mask.density())) {
            let (share, speed_up) = (100.0 * density, 1.0 / density);
            self.output.note(&format!("the plan reads {share:.2} % of the pairs: at most {speed_up:.2} times as fast"));
        }
        progress.set_message("attending");
        let reads = match (&plan, &clusters) {
            (Some(Plan::Blocks(_, mask)), _) => attend::Plan::Blocks(mask),
            (Some(Plan::Exact(mask)), _) => attend::Plan::Exact(mask),
            (None, Some(clusters)) if self.clusters.means => attend::Plan::WithMeans(self.with_means(&clusters.mask)),
            (None, Some(clusters)) => attend::Plan::Clusters(&clusters.mask),
            (None, None) => attend::Plan::Dense,
        };
        let attended = attend(&tensors, reads).with_context(|| self.files())?;
        progress.set_message("verifying");
        let apart = self.verify.then(|| verify(&tensors, reads, &attended, VERIFIED));
        progress.finish_and_clear();
        let shape = *tensors.shape();
        // Clusters are found anew for other tensors, so what that takes is part of the time; other masks are made once.
        let planning = clusters.as_ref().map_or(0.0, |clusters| clusters.plan_seconds);
        let report = Report {
            method: self.method,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            queries: shape.queries,
            keys: shape.keys,
            width: shape.width,
            causal: shape.causal,
            threads: rayon::current_num_threads(),
            plan: planned,
            clusters,
            pairs: attended.pairs,
            density: attended.density(),
            empty_rows: attended.empty,
            seconds: attended.seconds,
            dense_seconds: attended.dense_seconds,
            predicted_speed_up: 1.0 / attended.density(),
            achieved_speed_up: attended.dense_seconds / (attended.seconds + planning),
            gigaflops: attended.gigaflops(&shape),
            largest_difference: apart,
            out: &self.out,
        };
        let Attended { output, empty, .. } = attended;
        if empty > 0 {
            self.output.note(&format!("{empty} rows read nothing: their output is 0"));
        }
        let array = Array::new([shape.heads, shape.queries, shape.value_width], Elements::F32(output))
            .context("the output has as many numbers as its shape")?;
        npy::write(&self.out, &array)?;
        self.output.show(&report, || shown(&report))
    }

    /// The plan of a method of clusters.
    fn clustered(&self, tensors: &Tensors<'_>) -> anyhow::Result<Option<Clusters>> {
        let text = self.radial.text;
        match (self.method, self.frames, self.tokens_per_frame) {
            (Method::Svg2, frames, _) => self.clusters.plan(tensors, &self.files(), frames, text).map(Some),
            (Method::Svg1, Some(frames), Some(tokens)) => {
                let (Block { queries: block, .. }, of) = (self.radial.block, Svg1::new(frames, tokens));
                let band = self.band.unwrap_or(of.band);
                self.clusters.svg1(tensors, &self.files(), Svg1 { band, block, ..of }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Only what SVG2 is given may be text.
    fn with_means<'a>(&self, mask: &'a ClusterMask) -> WithMeans<'a> {
        match self.method {
            Method::Svg2 => self.clusters.text(self.radial.text).with_means(mask),
            _ => WithMeans::new(mask),
        }
    }

    fn files(&self) -> String {
        format!("{}, {} and {}", self.q.display(), self.k.display(), self.v.display())
    }
}

fn shown(report: &Report) -> String {
    let Report { heads, kv_heads, queries, keys, width, .. } = *report;
    let mut text = String::new();
    let count = |count: usize| thousands(count as u64);
    line(&mut text, "heads", &format!("{heads} of queries, {kv_heads} of keys, width {width}"));
    match &report.plan {
        Some(plan) => told(&mut text, plan),
        None => line(&mut text, "tokens", &format!("{} queries, {} keys", count(queries), count(keys))),
    }
    if let Some(clusters) = &report.clusters {
        line(&mut text, "clusters", &clusters.told());
        line(&mut text, "planned in", &seconds(clusters.plan_seconds));
    }
    let pairs = format!("{} over all heads ({:.2} %)", thousands(report.pairs), 100.0 * report.density);
    line(&mut text, "read", &pairs);
    line(
        &mut text,
        "time",
        &format!(
            "{} on {} threads, {:.1} GFLOP/s of what is read",
            seconds(report.seconds),
            report.threads,
            report.gigaflops
        ),
    );
    if report.density < 1.0 && report.method != Method::Dense {
        let (achieved, predicted) = (report.achieved_speed_up, report.predicted_speed_up);
        let share = 100.0 * achieved / predicted;
        let planning = if report.clusters.is_some() { ", planning included" } else { "" };
        let told = format!("{achieved:.2} times as fast as dense{planning}, {share:.0} % of what the plan allows");
        line(&mut text, "achieved", &told);
    }
    if let Some(apart) = report.largest_difference {
        let rows = VERIFIED.min(queries);
        line(&mut text, "verified", &format!("{rows} rows of each head, at most {apart:.1e} apart"));
    }
    line(&mut text, "written", &report.out.display().to_string());
    text
}
