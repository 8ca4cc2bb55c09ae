//! `tersor generate compare`: what methods keep over what they read.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::generate::attend::Tensors;
use tersor::generate::compare::curves;
use tersor::generate::quality::{Curve, Judge};
use tersor::generate::{Grid, SemanticAttention, picture};

use super::{ends_in, parse_grid, read, usage, write_svg};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Compare methods of sparse attention: the weight and the output that they keep at equal densities
///
/// On given tensors, or on those of all layers and heads of a video transformer that looks at a clip.
///
/// Clusters by meaning, clusters of neighbours with their means, SVG1, radial masks, near frames, random blocks. Not all
/// reach all densities: of few frames a radial mask, for one, reads a third at least.
#[derive(Args)]
pub struct Compare {
    /// Queries: .npy, or the array q of an .npz
    #[arg(long, value_name = "Q.npy", required_unless_present = "model")]
    q: Option<PathBuf>,
    /// Keys: .npy, or the array k of an .npz
    #[arg(long, value_name = "K.npy", required_unless_present = "model")]
    k: Option<PathBuf>,
    /// Values: .npy, or the array v of an .npz
    #[arg(long, value_name = "V.npy", required_unless_present = "model")]
    v: Option<PathBuf>,
    /// Frames of tokens
    #[arg(long, value_name = "F", required_unless_present = "model")]
    frames: Option<usize>,
    /// Tokens of a frame: rows x tokens in a row, such as 48x80
    #[arg(long, value_name = "HxW", value_parser = parse_grid, required_unless_present = "model")]
    grid: Option<(usize, usize)>,
    /// A video transformer instead, .safetensors
    #[arg(long, value_name = "MODEL", requires = "clip", conflicts_with_all = ["q", "k", "v", "grid"])]
    model: Option<PathBuf>,
    /// With --model: the clip that it looks at, a video or bytes [clips, frames, 3, height, width]
    #[arg(long, value_name = "CLIP", requires = "model")]
    clip: Option<PathBuf>,
    /// With --model: the shares of noise with which it does
    #[arg(long, value_name = "S,S...", value_delimiter = ',', default_values_t = [0.3, 0.6, 0.9], requires = "model")]
    sigmas: Vec<f64>,
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
        let files = [&self.q, &self.k, &self.v, &self.model, &self.clip];
        let inputs: Vec<&Path> = files.into_iter().flatten().map(PathBuf::as_path).collect();
        check_outputs(&inputs, &[self.svg.as_ref()])?;
        if let Some(svg) = self.svg.as_ref().filter(|svg| !ends_in(svg, "svg")) {
            bail!(BadUsage(format!("{}: curves are an .svg", svg.display())));
        }
        self.threads.start()?;
        let (report, name) = match (&self.q, &self.k, &self.v, self.frames, self.grid) {
            (Some(q), Some(k), Some(v), Some(frames), Some((height, width))) => {
                (self.of_tensors([q, k, v], &Grid { frames, height, width })?, q)
            }
            _ => {
                let (model, clip) = (self.model.as_ref(), self.clip.as_ref());
                let (model, clip) = model.zip(clip).context("clap asks for a model or tensors")?;
                (self.of_model(model, clip)?, model)
            }
        };
        if let Some(file) = &self.svg {
            write_svg(file, &picture::quality(&report.curves, &format!("attention of {}", name.display()))?)?;
        }
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

    fn semantic(&self) -> SemanticAttention {
        SemanticAttention { cq: self.cq, ck: self.ck, seed: self.seed, ..SemanticAttention::default() }
    }

    fn of_tensors(&self, [q, k, v]: [&PathBuf; 3], grid: &Grid) -> anyhow::Result<Report> {
        let progress = self.output.spinner().with_message("reading");
        let named = || q.display().to_string();
        let (q, k, v) = (read(q, "q")?, read(k, "k")?, read(v, "v")?);
        let tensors = Tensors::new((&q.0, q.1), (&k.0, k.1), (&v.0, v.1)).with_context(named)?;
        progress.set_message("comparing");
        let judge = Judge::new(tensors).with_context(named)?;
        let curves = curves(&judge, grid, &self.semantic(), &self.densities).map_err(usage)?;
        progress.finish_and_clear();
        Ok(Report { heads: q.1[0], tokens: q.1[1], curves })
    }

    #[cfg(feature = "video")]
    fn of_model(&self, model: &Path, clip: &Path) -> anyhow::Result<Report> {
        use tersor::generate::video::{VideoTransformer, compare};

        let model = VideoTransformer::read(model)?;
        let config = model.config();
        let frames = self.frames.unwrap_or(config.frames);
        let clip = super::video::first_clip(clip, config, frames)?;
        let bar = self.output.progress("comparing", (self.sigmas.len() * config.layers) as u64);
        let mut told = |layers| bar.set_position(layers as u64);
        let curves = compare::curves(&model, &clip, &self.sigmas, &self.semantic(), &self.densities, &mut told);
        bar.finish_and_clear();
        let tokens = config.grid(frames).tokens()?;
        Ok(Report { heads: config.heads * config.layers, tokens, curves: curves.map_err(usage)? })
    }

    #[cfg(not(feature = "video"))]
    fn of_model(&self, _: &Path, _: &Path) -> anyhow::Result<Report> {
        bail!(BadUsage("--model needs a tersor that is built with its feature `video`".into()))
    }
}
