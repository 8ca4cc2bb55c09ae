//! `tersor generate extend`: longer clips, by adapters that learn with sparse attention.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tersor::generate::video::train::checkpoint::{Every, Folder};
use tersor::generate::video::train::curve;
use tersor::generate::video::train::fit::{Observer, Step};
use tersor::generate::video::{Cut, Lora, Projection, Recipe, Report, VideoTransformer};

use super::video::{AttentionFlags, ClusterFlags, Kind, read};
use super::{line, usage, write_svg};
use crate::cli::quantity::seconds;
use crate::cli::show::{Output, Threads, check_outputs};

/// Teach a video transformer longer clips, by adapters (LoRA) beside its frozen weights
///
/// Videos are shrunk by a power of two while they stay as large as the model's pictures, and clips are cut anywhere out of
/// them. The last frames of each are held out: the loss on them is told before and after. Adapters are learned with the
/// attention with which clips will be sampled (`generate sample --lora`).
#[derive(Args)]
pub struct Extend {
    /// The model, .safetensors
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Videos: .mp4 and others that ffmpeg reads, or .npy and .npz of bytes [clips, frames, 3, height, width]
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    clips: Vec<PathBuf>,
    /// Frames of the clips to be learned (default: twice as many as the model learned from)
    #[arg(long, value_name = "F", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    frames: Option<u32>,
    #[command(flatten)]
    attention: AttentionFlags,
    /// Steps, of a clip each
    #[arg(long, value_name = "N", default_value_t = 200)]
    steps: u64,
    /// The full learning rate
    #[arg(long, visible_alias = "rate", value_name = "RATE", default_value_t = 1e-3, allow_negative_numbers = true)]
    lr: f64,
    /// Rows of A and columns of B
    #[arg(long, value_name = "R", default_value_t = 16)]
    rank: usize,
    /// α; the change of a weight is α / rank times B A (default: the rank)
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Which projections of attention change
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "q,k,v,o")]
    targets: Vec<String>,
    /// For all that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep checkpoints in this folder, and go on from those in it
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Draw the loss, epoch by epoch
    #[arg(long, value_name = "CURVE.svg")]
    curve: Option<PathBuf>,
    /// Write the model with the adapters in its weights
    #[arg(long, value_name = "MODEL")]
    merged: Option<PathBuf>,
    /// Write the adapters, under the names of peft
    #[arg(short, long, value_name = "LORA.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// What was learned.
#[derive(Serialize)]
struct Told<'a> {
    attention: Kind,
    frames: usize,
    videos: usize,
    lora: Lora,
    dense_layers: usize,
    #[serde(flatten)]
    report: &'a Report,
    out: &'a PathBuf,
}

impl Extend {
    pub fn run(self) -> anyhow::Result<()> {
        let inputs: Vec<&Path> = self.clips.iter().chain([&self.model]).map(PathBuf::as_path).collect();
        check_outputs(&inputs, &[Some(&self.out), self.curve.as_ref(), self.merged.as_ref()])?;
        let targets = self.targets.iter().map(|target| target.parse::<Projection>()).collect::<Result<_, _>>();
        let alpha = self.alpha.unwrap_or(self.rank as f64);
        let lora = Lora { rank: self.rank, alpha, targets: targets.map_err(usage)? };
        self.threads.start()?;
        let model = VideoTransformer::read(&self.model)?;
        let frames = self.frames.map_or(2 * model.config().frames, |frames| frames as usize);
        let progress = self.output.spinner().with_message("reading videos");
        let mut videos = Vec::new();
        for file in &self.clips {
            videos.extend(read(file, model.config())?);
        }
        progress.finish_and_clear();
        let count = videos.len();
        let cut = Cut::new(model.config(), videos, frames)?;
        let recipe = Recipe {
            lora,
            method: self.attention.method(None, &ClusterFlags::default(), self.seed),
            dense_layers: self.attention.dense_layers(None),
            steps: self.steps,
            rate: self.lr,
            seed: self.seed,
        };
        let every = Every { steps: None, seconds: Some(120.0) };
        let keep = self.checkpoint.as_ref().map(|folder| Folder::resume(folder, every, recipe.about(&cut)));
        let mut bar = Bar(self.output.progress("learning", self.steps));
        let extended = recipe.run(&model, &cut, keep.transpose()?.as_ref(), &mut bar).map_err(usage)?;
        bar.0.finish_and_clear();
        extended.adapters.write(&self.out)?;
        if let Some(file) = &self.merged {
            model.merged(&extended.adapters).write(file)?;
        }
        if let Some(file) = &self.curve {
            write_svg(file, &curve::svg(&extended.history, "velocity")?)?;
        }
        let (lora, dense_layers) = (recipe.lora.clone(), recipe.dense_layers);
        let (attention, report) = (self.attention.attention, &extended.report);
        let told = Told { attention, frames, videos: count, lora, dense_layers, report, out: &self.out };
        self.output.show(&told, || table(&told))
    }
}

struct Bar(indicatif::ProgressBar);

impl Observer for Bar {
    fn step(&mut self, step: &Step) {
        self.0.set_length(step.steps);
        self.0.set_position(step.step);
    }
}

fn table(told: &Told<'_>) -> String {
    let mut text = String::new();
    let Report { steps, loss_before, loss_after, density, attention_seconds, seconds: took, .. } = *told.report;
    let Lora { rank, alpha, targets } = &told.lora;
    line(&mut text, "clips", &format!("{} frames, out of {} videos", told.frames, told.videos));
    line(&mut text, "adapters", &format!("rank {rank}, alpha {alpha}, on {} projections of each layer", targets.len()));
    line(&mut text, "read", &format!("{:.1} % of all pairs; {} layers dense", 100.0 * density, told.dense_layers));
    let part = 100.0 * (loss_after / loss_before - 1.0);
    line(
        &mut text,
        "loss",
        &format!("{loss_before:.4} before, {loss_after:.4} after {steps} steps ({part:+.1} %), held out"),
    );
    line(&mut text, "time", &format!("{}, of which {} in attention", seconds(took), seconds(attention_seconds)));
    line(&mut text, "written", &told.out.display().to_string());
    text
}
