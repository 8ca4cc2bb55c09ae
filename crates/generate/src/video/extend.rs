//! Clips longer than those that a model learned from: its weights stay, [`Adapters`] beside them learn, with the attention
//! that will be used.
//!
//! Radial Attention, section 4: LoRA on all projections of attention makes a model that was trained on short clips sample
//! longer ones; the first layers stay dense. The loss is that of flow matching, mean (v(x_σ, σ) - (ε - x))², with σ uniform
//! in (0, 1) and then shifted towards noise as in sampling.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};
use tersor_data::Video;
use tersor_kernels::attention::Mask;
use tersor_train::burn::tensor::{Device, Tensor, TensorData};
use tersor_train::checkpoint::Folder;
use tersor_train::fit::{Data, Fit, Measured, Observer, Task};
use tersor_train::loader::{Position, Settings, Source};
use tersor_train::log::Epoch;
use tersor_train::op::{Pattern, masked_attention};
use tersor_train::optimizer::Choice;
use tersor_train::schedule::Schedule;

use super::attention::{Attend, Method};
use super::clip::Clip;
use super::lora::{Adapters, Lora};
use super::sample::normal;
use super::transformer::{Config, VideoTransformer};
use crate::{BlockMask, Error};

/// Videos, cut into what is learned from and what is held out.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Shared, since what is learned from and what is held out are cut from the same.
    videos: Arc<[Video]>,
    /// Rows and columns of a clip.
    size: [usize; 2],
    /// Frames of a clip.
    frames: usize,
    shift: f64,
}

impl Cut {
    /// Videos of which the last `frames` are held out, and the `frames / 4` before them neither learned nor held out, so
    /// that what is held out is not the next picture. Pictures must be as large as the model's at least: of larger ones a
    /// part is taken.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the video that is too short or too small, [`Error::Parameter`] without videos or frames.
    pub fn new(config: &Config, videos: Vec<(String, Video)>, frames: usize) -> Result<Self, Error> {
        let size = [config.height, config.width];
        if frames == 0 {
            return Err(Error::zero("frames"));
        }
        if videos.is_empty() {
            return Err(Error::zero("videos"));
        }
        if config.channels != 3 {
            return Err(Error::parameter("channels", config.channels, "3, the colours of a video"));
        }
        for (name, video) in &videos {
            let found = [video.frames(), video.height(), video.width()];
            let least = [2 * frames + frames / 4, size[0], size[1]];
            if found.iter().zip(least).any(|(&found, least)| found < least) {
                let expected = format!("frames, rows and columns of at least {least:?}");
                return Err(Error::Shape { what: name.clone(), found: found.to_vec(), expected });
            }
        }
        let videos = videos.into_iter().map(|(_, video)| video).collect();
        Ok(Self { videos, size, frames, shift: config.flow_shift })
    }

    /// Frames of a clip.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// What is held out, each video at `times` times of the flow, always the same.
    pub fn held_out(&self, times: usize) -> HeldOut {
        HeldOut { cut: self.clone(), settings: Settings::measuring(1), times }
    }

    /// What is learned from: so many clips make an epoch.
    pub fn lessons(&self, clips: usize, seed: u64) -> Lessons {
        Lessons { cut: self.clone(), settings: Settings { shuffle: false, ..Settings::training(1, seed) }, clips }
    }

    /// A clip from a video, beginning at a frame, with its upper left corner at a place.
    fn clip(&self, video: usize, start: usize, corner: [usize; 2]) -> Clip {
        Clip::cut(&self.videos[video], start..start + self.frames, corner, self.size)
    }

    /// How far a clip's corner can be from the upper left one.
    fn room(&self, video: usize) -> [usize; 2] {
        let video = &self.videos[video];
        [video.height() - self.size[0], video.width() - self.size[1]]
    }

    /// s in [0, 1) as a time of the flow.
    fn sigma(&self, s: f64) -> f64 {
        self.shift * s / (1.0 + (self.shift - 1.0) * s)
    }
}

/// A clip, noise, and a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Noised {
    clip: Clip,
    noise: Vec<f32>,
    sigma: f64,
}

/// Clips that are learned from: anywhere before what is held out, mirrored or not.
#[derive(Debug, Clone)]
pub struct Lessons {
    cut: Cut,
    settings: Settings,
    clips: usize,
}

/// Everything random about a clip is drawn from (seed, purpose, epoch, clip).
fn draws(seed: u64, position: Position) -> ChaCha8Rng {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    draws.set_stream((position.epoch << 32) | position.batch);
    draws
}

impl Source for Lessons {
    type Batch = Noised;

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn items(&self) -> usize {
        self.clips
    }

    fn order(&self, _: u64) -> Vec<u32> {
        (0..self.clips as u32).collect()
    }

    fn batch(&self, position: Position, _: &[u32]) -> Noised {
        let Self { cut, settings, .. } = self;
        let mut draws = draws(settings.seed, position);
        let video = draws.random_range(0..cut.videos.len());
        let learned = cut.videos[video].frames() - cut.frames - cut.frames / 4;
        let start = draws.random_range(0..=learned - cut.frames);
        let corner = cut.room(video).map(|room| draws.random_range(0..=room));
        let clip = cut.clip(video, start, corner);
        let sigma = cut.sigma(draws.random::<f64>());
        let noise = normal(&mut draws, clip.values().len());
        Noised { clip, noise, sigma }
    }
}

/// Clips that are held out: the last frames of each video, their middle, at evenly spaced times.
#[derive(Debug, Clone)]
pub struct HeldOut {
    cut: Cut,
    settings: Settings,
    times: usize,
}

impl Source for HeldOut {
    type Batch = Noised;

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn items(&self) -> usize {
        self.cut.videos.len() * self.times
    }

    fn order(&self, _: u64) -> Vec<u32> {
        (0..self.items() as u32).collect()
    }

    fn batch(&self, position: Position, items: &[u32]) -> Noised {
        let cut = &self.cut;
        let (video, time) = (items[0] as usize / self.times, items[0] as usize % self.times);
        let clip = cut.clip(video, cut.videos[video].frames() - cut.frames, cut.room(video).map(|room| room / 2));
        let sigma = cut.sigma((time as f64 + 0.5) / self.times as f64);
        let noise = normal(&mut draws(0, Position { epoch: 0, ..position }), clip.values().len());
        Noised { clip, noise, sigma }
    }
}

/// A pattern that counts what it takes, forth and back.
#[derive(Debug)]
struct Timed {
    plan: Option<BlockMask>,
    nanoseconds: AtomicU64,
}

impl Timed {
    fn new(plan: Option<BlockMask>) -> Arc<Self> {
        Arc::new(Self { plan, nanoseconds: AtomicU64::new(0) })
    }

    fn seconds(&self) -> f64 {
        self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9
    }
}

impl Pattern for Timed {
    fn with<R>(&self, f: impl FnOnce(Mask<'_>) -> R) -> R {
        let start = Instant::now();
        let result = match &self.plan {
            Some(plan) => plan.with(f),
            None => f(Mask::All),
        };
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

/// The task: adapters beside a frozen model, with the attention that will be used.
#[derive(Debug)]
pub struct Extension {
    model: VideoTransformer,
    sparse: Arc<Timed>,
    dense: Arc<Timed>,
    dense_layers: usize,
}

impl Extension {
    /// Learns with `method` on clips of so many frames, but for the first layers, which are dense.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a method that decides call by call, and what [`Method::plan`] says.
    pub fn new(model: VideoTransformer, method: &Method, dense_layers: usize, frames: usize) -> Result<Self, Error> {
        if !matches!(method, Method::Dense | Method::Radial { .. }) {
            return Err(Error::parameter(
                "attention",
                "decided call by call",
                "dense or radial, to be learned through",
            ));
        }
        let plan = method.plan(model.config().bounded_grid(frames)?)?;
        Ok(Self { model, sparse: Timed::new(plan), dense: Timed::new(None), dense_layers })
    }

    /// Seconds that attention took so far, forth and back.
    pub fn attention_seconds(&self) -> f64 {
        self.sparse.seconds() + self.dense.seconds()
    }

    /// The share of pairs that a clip's attention reads.
    pub fn density(&self) -> f64 {
        let layers = self.model.config().layers;
        let sparse = self.sparse.plan.as_ref().map_or(1.0, BlockMask::token_density);
        let dense = self.dense_layers.min(layers) as f64 / layers as f64;
        dense + (1.0 - dense) * sparse
    }

    /// The mean loss on clips that are held out.
    pub fn loss(&self, adapters: &Adapters, held_out: &HeldOut) -> f64 {
        let device = Device::flex();
        let items = held_out.items();
        let loss = |item: usize| {
            let position = Position { epoch: 0, batch: item as u64 };
            let measured = self.measure(adapters, held_out.batch(position, &[item as u32]), &device);
            f64::from(measured.loss.into_scalar::<f32>())
        };
        (0..items).map(loss).sum::<f64>() / items as f64
    }
}

/// Attention that is learned through.
struct Learned<'a>(&'a Extension);

impl Attend for Learned<'_> {
    fn attend(&mut self, layer: usize, qkv: [Tensor<3>; 3]) -> Result<Tensor<3>, Error> {
        let Extension { model, sparse, dense, dense_layers } = self.0;
        Ok(masked_attention(qkv, model.config().heads, if layer < *dense_layers { dense } else { sparse }))
    }
}

impl Task for Extension {
    type Model = Adapters;
    type Batch = Noised;

    fn measure(&self, adapters: &Adapters, Noised { clip, noise, sigma }: Noised, device: &Device) -> Measured {
        let x = clip.noised(&noise, sigma as f32).to_tensor(&device.clone().inner());
        let difference: Vec<f32> = noise.iter().zip(clip.values()).map(|(noise, x)| noise - x).collect();
        let expected = Tensor::<4>::from_data(TensorData::new(difference, clip.shape()), &device.clone().inner());
        let velocity = self.model.velocity_tensor(x, sigma, Some(adapters), &mut Learned(self));
        let velocity = velocity.expect("clips are as large as the model's pictures");
        let loss = (velocity - expected).powi_scalar(2).mean();
        Measured { loss, correct: None, examples: 1 }
    }
}

/// How a model is made to sample longer clips.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What is learned beside it.
    pub lora: Lora,
    /// The attention with which it is learned, and to be used.
    pub method: Method,
    /// Layers from the first on that stay dense.
    pub dense_layers: usize,
    /// Clips that are learned from, one a step; rounded up to whole epochs of at most [`EPOCH`](Self::EPOCH).
    pub steps: u64,
    /// The full learning rate; it rises over a tenth of the steps, then falls to 0 along a cosine.
    pub rate: f64,
    /// What everything random is drawn from.
    pub seed: u64,
}

/// 200 steps with a radial mask but for the first layer, at a rate of 0.001.
impl Default for Recipe {
    fn default() -> Self {
        Self { lora: Lora::default(), method: Method::radial(), dense_layers: 1, steps: 200, rate: 1e-3, seed: 1 }
    }
}

/// A model that was extended.
#[derive(Debug, Clone)]
pub struct Extended {
    /// What it learned.
    pub adapters: Adapters,
    /// What it cost and brought.
    pub report: Report,
    /// Every epoch.
    pub history: Vec<Epoch>,
}

/// What an extension cost and brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Steps.
    pub steps: u64,
    /// The mean loss on what is held out before the first step, and after the last.
    pub loss_before: f64,
    /// See `loss_before`.
    pub loss_after: f64,
    /// The share of pairs that attention reads.
    pub density: f64,
    /// Seconds in attention, forth and back, measuring not counted.
    pub attention_seconds: f64,
    /// Seconds of the whole run.
    pub seconds: f64,
}

impl Recipe {
    /// Steps of an epoch, after which what is held out is measured and a checkpoint kept.
    pub const EPOCH: u64 = 50;
    /// Times of the flow at which a video's held-out clip is measured.
    const TIMES: usize = 4;

    /// What makes a run with its checkpoints this run, besides the loop's settings.
    pub fn about(&self, cut: &Cut) -> Value {
        let Self { lora, method, dense_layers, seed, .. } = self;
        let videos: Vec<_> = cut.videos.iter().map(|video| [video.frames(), video.height(), video.width()]).collect();
        json!({
            "lora": lora, "method": format!("{method:?}"), "dense_layers": dense_layers, "seed": seed,
            "frames": cut.frames, "videos": videos,
        })
    }

    /// Learns adapters of `model` for clips of the length of `cut`; with `keep`, saves checkpoints there and goes on from the
    /// newest.
    ///
    /// # Errors
    /// [`Error::Parameter`] without steps and for what [`Adapters::new`] refuses; [`Error::Train`] if a loss is not finite
    /// or a checkpoint is another run's.
    pub fn run(
        &self,
        model: &VideoTransformer,
        cut: &Cut,
        keep: Option<&Folder>,
        observer: &mut dyn Observer,
    ) -> Result<Extended, Error> {
        if self.steps == 0 {
            return Err(Error::zero("steps"));
        }
        let start = Instant::now();
        let task = || Extension::new(model.clone(), &self.method, self.dense_layers, cut.frames);
        let (learning, judging) = (task()?, task()?);
        let adapters = Adapters::new(model.config(), self.lora.clone(), self.seed)?;
        let held_out = cut.held_out(Self::TIMES);
        let loss_before = judging.loss(&adapters, &held_out);
        let epochs = self.steps.div_ceil(Self::EPOCH);
        let clips = self.steps.div_ceil(epochs);
        let fit = Fit {
            epochs,
            rate: self.rate,
            schedule: Schedule::Cosine { warm_up: 0.1 },
            optimizer: Choice::adamw(0.0),
            clip: Some(1.0),
            seed: self.seed,
            ..Fit::default()
        };
        let data = Data { train: Arc::new(cut.lessons(clips as usize, self.seed)), validation: None, threads: 1 };
        let trained = fit.run(&learning, adapters, &data, keep, observer)?;
        let report = Report {
            steps: epochs * clips,
            loss_before,
            loss_after: judging.loss(&trained.last, &held_out),
            density: learning.density(),
            attention_seconds: learning.attention_seconds(),
            seconds: start.elapsed().as_secs_f64(),
        };
        Ok(Extended { adapters: trained.last, report, history: trained.history })
    }
}
