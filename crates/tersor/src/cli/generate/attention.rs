//! `tersor generate attention`: attention over the pairs of a plan.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::data::{Array, Elements, npy};
use tersor::generate::attend::{self, Attended, Tensors, attend, verify};

use super::{Plan, Planned, RadialFlags, line, read, told};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs};

/// Queries of each head that are computed again, as the formula reads.
const VERIFIED: usize = 64;

/// Compute attention, dense or over the pairs of a radial mask
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
    /// Frames of tokens, for --method radial
    #[arg(long, value_name = "F", required_if_eq("method", "radial"))]
    frames: Option<usize>,
    /// Tokens in a frame, for --method radial
    #[arg(long, value_name = "S", required_if_eq("method", "radial"))]
    tokens_per_frame: Option<usize>,
    #[command(flatten)]
    radial: RadialFlags,
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
        check_outputs(&[&self.q, &self.k, &self.v], &[Some(&self.out)])?;
        if self.method == Method::Dense && (self.frames.is_some() || self.tokens_per_frame.is_some()) {
            bail!(BadUsage("--frames and --tokens-per-frame are of a mask: give --method radial".into()));
        }
        if self.radial.exact && (self.radial.text > 0 || self.causal) {
            bail!(BadUsage(
                "the exact mask is of the video alone and not causal: leave out --text and --causal".into()
            ));
        }
        if let Some(scale) = self.scale.filter(|scale| !scale.is_finite()) {
            bail!(BadUsage(format!("--scale is {scale}; it must be finite")));
        }
        self.threads.start()?;
        let plan = match (self.frames, self.tokens_per_frame) {
            (Some(frames), Some(tokens)) => Some(self.radial.plan(frames, tokens)?),
            _ => None,
        };
        let progress = self.output.spinner().with_message("reading");
        let (q, k, v) = (read(&self.q, "q")?, read(&self.k, "k")?, read(&self.v, "v")?);
        let tensors = Tensors::new((&q.0, q.1), (&k.0, k.1), (&v.0, v.1))
            .with_context(|| self.files())?
            .scaled(self.scale)
            .causal(self.causal);
        let planned = plan.as_ref().map(Plan::in_numbers).transpose()?;
        if let Some(planned) = &planned {
            let (share, speed_up) = (100.0 * planned.token_density, planned.predicted_speed_up);
            self.output.note(&format!("the plan reads {share:.2} % of the pairs: at most {speed_up:.2} times as fast"));
        }
        progress.set_message("attending");
        let reads = match &plan {
            None => attend::Plan::Dense,
            Some(Plan::Blocks(_, mask)) => attend::Plan::Blocks(mask),
            Some(Plan::Exact(mask)) => attend::Plan::Exact(mask),
        };
        let attended = attend(&tensors, reads).with_context(|| self.files())?;
        progress.set_message("verifying");
        let apart = self.verify.then(|| verify(&tensors, reads, &attended, VERIFIED));
        progress.finish_and_clear();
        let shape = *tensors.shape();
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
            pairs: attended.pairs,
            density: attended.density(),
            empty_rows: attended.empty,
            seconds: attended.seconds,
            dense_seconds: attended.dense_seconds,
            predicted_speed_up: 1.0 / attended.density(),
            achieved_speed_up: attended.speed_up(),
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
    if report.plan.is_some() {
        let (achieved, predicted) = (report.achieved_speed_up, report.predicted_speed_up);
        let share = 100.0 * achieved / predicted;
        line(
            &mut text,
            "achieved",
            &format!("{achieved:.2} times as fast as dense, {share:.0} % of what the plan allows"),
        );
    }
    if let Some(apart) = report.largest_difference {
        line(&mut text, "verified", &format!("{VERIFIED} rows of each head, at most {apart:.1e} apart"));
    }
    line(&mut text, "written", &report.out.display().to_string());
    text
}
