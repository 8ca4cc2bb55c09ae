//! `tersor generate sample`: a clip from noise, with attention that reads few pairs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::data::{atomic, similarity};
use tersor::generate::DensePolicy;
use tersor::generate::radial::Preset;
use tersor::generate::video::{Adapters, Clip, Method, Sampler, Sampling, VideoTransformer};

use super::video::{AttentionFlags, ClusterFlags, Kind, check_name, first_clip, write};
use super::{line, usage};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs};

/// Sample a clip with a video transformer
///
/// The first steps lay out the clip and stay dense, and so does the first layer; what the others read is told before the
/// work. With --compare the same noise is sampled with dense attention as well: how alike the two clips are, and how much
/// faster the first was.
#[derive(Args)]
pub struct Sample {
    /// The model, .safetensors
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Frames of the clip (default: as many as the model learned from)
    #[arg(long, value_name = "F", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    frames: Option<u32>,
    /// Steps from noise to the clip
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// How far steps are shifted towards noise (default: the model's)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    shift: Option<f64>,
    /// What the noise is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Make this clip anew instead of one from noise alone: a video, or bytes as `generate extend` takes them
    #[arg(long, value_name = "CLIP")]
    from: Option<PathBuf>,
    /// With --from: the share of noise at which the steps begin
    #[arg(long, value_name = "S", default_value_t = 0.6, requires = "from", allow_negative_numbers = true)]
    strength: f64,
    #[command(flatten)]
    attention: AttentionFlags,
    #[command(flatten)]
    clusters: ClusterFlags,
    /// Steps from the first on that are dense (default: a quarter)
    #[arg(long, value_name = "N")]
    dense_steps: Option<usize>,
    /// Decay, family, dense layers and share of dense steps of a published run, where they are not given
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Adapters learned by `generate extend`, or others with peft's names
    #[arg(long, value_name = "LORA")]
    lora: Option<PathBuf>,
    /// Sample with dense attention as well, and compare
    #[arg(long)]
    compare: bool,
    /// Write the clip: .png (a strip of pictures), .mp4 (needs ffmpeg) or .npy
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Write what each call of attention read and took, a line of JSON each
    #[arg(long, value_name = "LOG.jsonl")]
    log: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// A clip that was sampled.
#[derive(Serialize)]
struct Report<'a> {
    attention: Kind,
    frames: usize,
    tokens: usize,
    steps: usize,
    seed: u64,
    dense_steps: usize,
    dense_layers: usize,
    /// The share of pairs that was read in sparse calls, and over the whole run.
    sparse_density: f64,
    density: f64,
    /// Of attention, over the whole run: what these shares allow at most.
    predicted_speed_up: f64,
    attention_seconds: f64,
    /// Of these, seconds to find clusters.
    clustering_seconds: f64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<Compared>,
    out: &'a PathBuf,
}

/// The clip beside that of dense attention.
#[derive(Serialize)]
struct Compared {
    /// Mean over frames, in decibels; none where the clips are equal.
    psnr: Option<f64>,
    /// Mean over frames.
    ssim: f64,
    attention_seconds: f64,
    seconds: f64,
    /// Of attention, and of all.
    attention_speed_up: f64,
    speed_up: f64,
}

impl Sample {
    pub fn run(self) -> anyhow::Result<()> {
        let inputs: Vec<&Path> =
            [Some(&self.model), self.from.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
        check_outputs(&inputs, &[Some(&self.out), self.log.as_ref()])?;
        check_name(&self.out)?;
        let preset = self.preset.as_deref().map(named).transpose()?;
        self.threads.start()?;
        let model = VideoTransformer::read(&self.model)?;
        let config = model.config();
        let adapters = self.lora.as_ref().map(|file| Adapters::read(file, config)).transpose()?;
        let default = Sampler::new(config);
        let frames = self.frames.map_or(default.frames, |frames| frames as usize);
        let from = self.from.as_deref().map(|file| first_clip(file, config, frames)).transpose()?;
        let sampler = Sampler {
            frames,
            from: from.map(|clip| (clip, self.strength)),
            steps: self.steps as usize,
            shift: self.shift.unwrap_or(default.shift),
            seed: self.seed,
        };
        let method = self.attention.method(preset, &self.clusters, self.seed);
        let policy = self.attention.policy(self.dense_steps, preset, sampler.steps);
        let planned = method.density(config.grid(sampler.frames)).map_err(usage)?;
        let of_run = |density| policy.run_density(density, sampler.steps, config.layers);
        self.output.note(&match planned {
            Some(density) => format!(
                "sparse calls read {:.1} % of the pairs, the run {:.1} %: attention at most {:.2} times as fast",
                100.0 * density,
                100.0 * of_run(density)?,
                1.0 / of_run(density)?
            ),
            None => "each call decides what it reads; how much that was is told after the run".into(),
        });
        let (clip, attention, took) = self.clip(&model, &sampler, adapters.as_ref(), method, policy, "sampling")?;
        let dense = if self.compare {
            let nowhere = DensePolicy::default();
            let dense = self.clip(&model, &sampler, adapters.as_ref(), Method::Dense, nowhere, "sampling densely")?;
            Some(compared((&clip, &attention, took), dense))
        } else {
            None
        };
        write(&self.out, &clip)?;
        if let Some(file) = &self.log {
            let lines: Vec<String> = attention.calls().iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            atomic::write(file, |out| out.write_all((lines.join("\n") + "\n").as_bytes()))?;
        }
        let report = Report {
            attention: self.attention.attention,
            frames: sampler.frames,
            tokens: config.grid(sampler.frames).tokens()?,
            steps: sampler.steps,
            seed: self.seed,
            dense_steps: policy.timesteps,
            dense_layers: policy.layers,
            sparse_density: attention.sparse_density(),
            density: attention.density(),
            predicted_speed_up: 1.0 / attention.density(),
            attention_seconds: attention.seconds(),
            clustering_seconds: attention.clustering_seconds(),
            seconds: took,
            dense,
            out: &self.out,
        };
        self.output.show(&report, || told(&report))
    }

    fn clip(
        &self,
        model: &VideoTransformer,
        sampler: &Sampler,
        adapters: Option<&Adapters>,
        method: Method,
        policy: DensePolicy,
        doing: &'static str,
    ) -> anyhow::Result<(Clip, Sampling, f64)> {
        let mut attention = Sampling::new(method, policy);
        let bar = self.output.progress(doing, sampler.steps as u64);
        let start = Instant::now();
        let clip = sampler
            .sample(model, adapters, &mut attention, &mut |step| bar.set_position(step as u64))
            .map_err(usage)
            .with_context(|| self.model.display().to_string())?;
        let seconds = start.elapsed().as_secs_f64();
        bar.finish_and_clear();
        Ok((clip, attention, seconds))
    }
}

/// The preset of that name.
fn named(name: &str) -> anyhow::Result<&'static Preset> {
    let known = Preset::ALL.iter().find(|preset| preset.key == name);
    match known {
        Some(preset) => Ok(preset),
        None => {
            let keys: Vec<&str> = Preset::ALL.iter().map(|preset| preset.key).collect();
            bail!(BadUsage(format!("--preset is `{name}`; known: {}", keys.join(", "))))
        }
    }
}

fn compared(sparse: (&Clip, &Sampling, f64), dense: (Clip, Sampling, f64)) -> Compared {
    let (clip, beside) = (sparse.0.to_video(), dense.0.to_video());
    let shape = [clip.height(), clip.width(), 3];
    let mean = |f: &dyn Fn(usize) -> f64| (0..clip.frames()).map(f).sum::<f64>() / clip.frames() as f64;
    let psnr = mean(&|frame| similarity::psnr(clip.frame(frame), beside.frame(frame)));
    let ssim = mean(&|frame| similarity::ssim(clip.frame(frame), beside.frame(frame), shape).unwrap_or(f64::NAN));
    Compared {
        psnr: psnr.is_finite().then_some(psnr),
        ssim,
        attention_seconds: dense.1.seconds(),
        seconds: dense.2,
        attention_speed_up: dense.1.seconds() / sparse.1.seconds(),
        speed_up: dense.2 / sparse.2,
    }
}

fn told(report: &Report<'_>) -> String {
    let mut text = String::new();
    let Report { frames, tokens, steps, dense_steps, dense_layers, .. } = report;
    line(&mut text, "clip", &format!("{frames} frames, {} tokens, in {steps} steps", thousands(*tokens as u64)));
    let share = format!("{:.1} % of all pairs", 100.0 * report.density);
    let sparse = format!("{:.1} % in a sparse call", 100.0 * report.sparse_density);
    line(&mut text, "read", &format!("{share}; {sparse}, dense in {dense_steps} steps and {dense_layers} layers"));
    let took = format!("{}, of which {} in attention", seconds(report.seconds), seconds(report.attention_seconds));
    line(&mut text, "time", &took);
    if let Some(dense) = &report.dense {
        let Compared { attention_seconds, speed_up, attention_speed_up, ssim, .. } = dense;
        let took = format!("{}, of which {} in attention", seconds(dense.seconds), seconds(*attention_seconds));
        let predicted = report.predicted_speed_up;
        line(
            &mut text,
            "dense",
            &format!(
                "{took}: {speed_up:.2} times as long; attention {attention_speed_up:.2} times, {predicted:.2} predicted"
            ),
        );
        let psnr = dense.psnr.map_or("equal".into(), |psnr| format!("PSNR {psnr:.1} dB"));
        line(&mut text, "likeness", &format!("{psnr}, SSIM {ssim:.3} to the dense clip"));
    }
    line(&mut text, "written", &report.out.display().to_string());
    text
}
