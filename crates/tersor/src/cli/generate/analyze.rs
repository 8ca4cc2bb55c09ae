//! `tersor generate analyze`: how attention decays, and what a mask keeps of it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::generate::decay::{Decay, HeadDecay, Point, QueriesKeys, Settings, analyze};
use tersor::generate::{Grid, Reads, picture};

use super::{Plan, Planned, RadialFlags, line, parse_grid, read, told, usage, write_svg};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Measure how attention decays with distance in time and space, and the share of its weight that a mask keeps
///
/// α is the decay for each frame of distance, β for each token of distance in the plane of a frame; R² tells how well an
/// exponential fits. The recall is the share of the weight that the mask leaves in place, 1 loses nothing.
#[derive(Args)]
pub struct Analyze {
    /// Queries: .npy [heads, tokens, dim] or [tokens, dim] of float16, float32 or float64; of an .npz, the array q
    #[arg(long, value_name = "Q.npy")]
    q: PathBuf,
    /// Keys, of the same shape; of an .npz, the array k
    #[arg(long, value_name = "K.npy")]
    k: PathBuf,
    /// Frames of tokens
    #[arg(long, value_name = "F")]
    frames: usize,
    /// Tokens of a frame: rows x tokens in a row, such as 48x80
    #[arg(long, value_name = "HxW", value_parser = parse_grid)]
    grid: (usize, usize),
    #[command(flatten)]
    radial: RadialFlags,
    /// Products are multiplied by this before softmax (default: 1 / √dim)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    scale: Option<f32>,
    /// Draw so many queries of each head instead of all
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// For the draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw both curves
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// What was measured.
#[derive(Serialize)]
struct Report<'a> {
    heads: usize,
    tokens: usize,
    dim: usize,
    /// Queries of each head that were looked at.
    rows: usize,
    #[serde(flatten)]
    all: Head,
    per_head: Vec<Head>,
    /// Mean weight by distance in frames and in the plane, over all heads.
    temporal: &'a [Point],
    spatial: &'a [Point],
    mask: Planned,
    seconds: f64,
    svg: Option<&'a PathBuf>,
}

#[derive(Serialize)]
struct Head {
    alpha: Option<f64>,
    alpha_r2: Option<f64>,
    beta: Option<f64>,
    beta_r2: Option<f64>,
    text_weight: f64,
    recall: Option<f64>,
}

impl Head {
    fn of(head: &HeadDecay) -> Self {
        let (temporal, spatial) = (head.temporal.fit, head.spatial.fit);
        Self {
            alpha: temporal.map(|fit| fit.rate),
            alpha_r2: temporal.map(|fit| fit.r2),
            beta: spatial.map(|fit| fit.rate),
            beta_r2: spatial.map(|fit| fit.r2),
            text_weight: head.text,
            recall: head.recall,
        }
    }
}

impl Analyze {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[&self.q, &self.k], &[self.svg.as_ref()])?;
        if self.rows == Some(0) {
            bail!(BadUsage("--rows is 0; it must be at least 1".into()));
        }
        if self.radial.exact && self.radial.text > 0 {
            bail!(BadUsage("the exact mask is of the video alone: leave out --text or --exact".into()));
        }
        self.threads.start()?;
        let grid = Grid { frames: self.frames, height: self.grid.0, width: self.grid.1 };
        let plan = self.radial.plan(grid.frames, grid.tokens_per_frame().map_err(usage)?)?;
        let progress = self.output.spinner().with_message("reading");
        let (q, k) = (read(&self.q, "q")?, read(&self.k, "k")?);
        let input = QueriesKeys::new((&q.0, q.1), (&k.0, k.1)).with_context(|| self.files())?;
        progress.set_message("measuring");
        let settings = Settings { text: self.radial.text, scale: self.scale, rows: self.rows, seed: self.seed };
        let mask: &(dyn Reads + Sync) = match &plan {
            Plan::Blocks(_, mask) => mask,
            Plan::Exact(mask) => mask,
        };
        let start = Instant::now();
        let decay = analyze(&input, &grid, Some(mask), &settings).map_err(usage)?;
        let seconds = start.elapsed().as_secs_f64();
        progress.finish_and_clear();
        if let Some(file) = &self.svg {
            write_svg(file, &picture::decay(&decay, &format!("attention of {}", self.q.display()))?)?;
        }
        let [heads, tokens, dim] = input.shape();
        let report = Report {
            heads,
            tokens,
            dim,
            rows: decay.rows,
            all: Head::of(&decay.all),
            per_head: decay.heads.iter().map(Head::of).collect(),
            temporal: &decay.all.temporal.points,
            spatial: &decay.all.spatial.points,
            mask: plan.in_numbers()?,
            seconds,
            svg: self.svg.as_ref(),
        };
        self.output.show(&report, || shown(&report, &decay))
    }

    fn files(&self) -> String {
        format!("{} and {}", self.q.display(), self.k.display())
    }
}

fn shown(report: &Report, decay: &Decay) -> String {
    let mut rows = table(["head", ">α", ">R²", ">β", ">R²", ">text", ">recall"]);
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.4}"));
    let mut add = |name: String, head: &HeadDecay| {
        let head = Head::of(head);
        let values = [head.alpha, head.alpha_r2, head.beta, head.beta_r2, Some(head.text_weight), head.recall];
        rows.add_row([vec![name], values.map(number).to_vec()].concat());
    };
    for (head, found) in decay.heads.iter().enumerate() {
        add(head.to_string(), found);
    }
    if decay.heads.len() > 1 {
        add("all".into(), &decay.all);
    }
    let mut text = format!("{}\n\n", rows.trim_fmt());
    told(&mut text, &report.mask);
    let looked = format!("{} of {} queries", thousands(report.rows as u64), thousands(report.tokens as u64));
    line(&mut text, "measured", &format!("{looked} of each head, in {}", seconds(report.seconds)));
    if let Some(file) = report.svg {
        line(&mut text, "written", &format!("{}: both curves", file.display()));
    }
    text
}
