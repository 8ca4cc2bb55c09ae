//! `tersor generate compare`: what methods keep over what they read.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::generate::attend::Tensors;
use tersor::generate::compare::curves;
use tersor::generate::quality::{Curve, Judge};
use tersor::generate::{Grid, SemanticAttention, picture};

use super::{ends_in, parse_grid, read, usage, write_svg};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Compare methods of sparse attention on given tensors: the weight and the output that they keep at equal densities
///
/// Clusters by meaning, clusters of neighbours with their means, SVG1, radial masks, near frames, random blocks. Not all
/// reach all densities: of few frames a radial mask, for one, reads a third at least.
#[derive(Args)]
pub struct Compare {
    /// Queries: .npy, or the array q of an .npz
    #[arg(long, value_name = "Q.npy")]
    q: PathBuf,
    /// Keys: .npy, or the array k of an .npz
    #[arg(long, value_name = "K.npy")]
    k: PathBuf,
    /// Values: .npy, or the array v of an .npz
    #[arg(long, value_name = "V.npy")]
    v: PathBuf,
    /// Frames of tokens
    #[arg(long, value_name = "F")]
    frames: usize,
    /// Tokens of a frame: rows x tokens in a row, such as 48x80
    #[arg(long, value_name = "HxW", value_parser = parse_grid)]
    grid: (usize, usize),
    /// Shares of the pairs
    #[arg(long, value_name = "D,D...", value_delimiter = ',', default_values_t = [0.1, 0.2, 0.3, 0.4, 0.5])]
    densities: Vec<f64>,
    /// Clusters of queries (default: 250 queries in each on average)
    #[arg(long, value_name = "C")]
    cq: Option<usize>,
    /// Clusters of keys (default: 75 keys in each on average)
    #[arg(long, value_name = "C")]
    ck: Option<usize>,
    /// For all that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw the curves
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report {
    heads: usize,
    tokens: usize,
    curves: Vec<Curve>,
}

impl Compare {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[&self.q, &self.k, &self.v], &[self.svg.as_ref()])?;
        if let Some(svg) = self.svg.as_ref().filter(|svg| !ends_in(svg, "svg")) {
            bail!(BadUsage(format!("{}: curves are an .svg", svg.display())));
        }
        self.threads.start()?;
        let grid = Grid { frames: self.frames, height: self.grid.0, width: self.grid.1 };
        let progress = self.output.spinner().with_message("reading");
        let (q, k, v) = (read(&self.q, "q")?, read(&self.k, "k")?, read(&self.v, "v")?);
        let named = || self.q.display().to_string();
        let tensors = Tensors::new((&q.0, q.1), (&k.0, k.1), (&v.0, v.1)).with_context(named)?;
        progress.set_message("comparing");
        let judge = Judge::new(tensors).with_context(named)?;
        let semantic = SemanticAttention { cq: self.cq, ck: self.ck, seed: self.seed, ..SemanticAttention::default() };
        let curves = curves(&judge, &grid, &semantic, &self.densities).map_err(usage)?;
        progress.finish_and_clear();
        if let Some(file) = &self.svg {
            write_svg(file, &picture::quality(&curves, &format!("attention of {}", self.q.display()))?)?;
        }
        let report = Report { heads: q.1[0], tokens: q.1[1], curves };
        self.output.show(&report, || {
            let mut rows = table(["method", ">density", ">recall", ">error"]);
            for curve in &report.curves {
                for point in &curve.points {
                    let numbers = [point.density, point.recall, point.error].map(|x| format!("{x:.4}"));
                    rows.add_row([vec![curve.name.clone()], numbers.to_vec()].concat());
                }
            }
            format!("{}\n", rows.trim_fmt())
        })
    }
}
