//! What `generate sample` and `generate extend` have in common: whose attention, and clips as files.

use std::path::Path;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::data::{Array, Elements, Video, npy, npz, video};
use tersor::generate::radial::Preset;
use tersor::generate::video::{Clip, Config, Method};
use tersor::generate::{Block, Budget, DensePolicy, Family, SemanticAttention};

use super::{Name, ends_in};
use crate::cli::show::BadUsage;

/// Pictures a second of a video that is written.
const PER_SECOND: u32 = 8;
/// Pictures in a row of a strip.
const COLUMNS: usize = 16;

/// How attention is made, and where it stays dense.
#[derive(Debug, Clone, Args)]
pub struct AttentionFlags {
    /// What each query reads
    #[arg(long, value_enum, default_value = "radial")]
    pub attention: Kind,
    /// Tokens in a block: 32, 64, 128, or queries x keys such as 128x64
    #[arg(long, value_name = "B", default_value_t = Block::square(64))]
    block: Block,
    /// Windows of frames further than 1 apart are so many times as wide, but no thinner than a block (default: 1)
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    decay: Option<f64>,
    /// Whose rule: wan (all read frame 0) or hunyuan (default: wan)
    #[arg(long, value_name = "FAMILY")]
    family: Option<Name>,
    /// Layers from the first on that stay dense (default: 1)
    #[arg(long, value_name = "N")]
    dense_layers: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All
    Dense,
    /// Near frames whole, far ones by ever narrower windows
    Radial,
    /// Near in space or in time, as each head prefers (sampling only)
    Svg1,
    /// Clusters of tokens that mean alike, found anew in each call (sampling only)
    Svg2,
}

/// How far SVG1 looks, and what SVG2 clusters and reads.
#[derive(Debug, Clone, Args)]
pub struct ClusterFlags {
    /// With svg1: frames that a head looks away from its own
    #[arg(long, value_name = "FRAMES", default_value_t = 2.0, allow_negative_numbers = true)]
    band: f64,
    /// With svg2: clusters of queries (default: 250 queries in each on average)
    #[arg(long, value_name = "C")]
    cq: Option<usize>,
    /// With svg2: clusters of keys (default: 75 keys in each on average)
    #[arg(long, value_name = "C")]
    ck: Option<usize>,
    /// With svg2: iterations of k-means from the centroids of the step before, at most (50 where there are none)
    #[arg(long, value_name = "N", default_value_t = 2)]
    iters: usize,
    /// With svg2: the share of its weight that a cluster of queries shall read, by centroids
    #[arg(long, value_name = "P", default_value_t = 0.9, allow_negative_numbers = true)]
    top_p: f64,
    /// With svg2: the share of the clusters of keys that is read at least
    #[arg(long, value_name = "R", default_value_t = 0.1, allow_negative_numbers = true)]
    min_ratio: f64,
    /// With svg2: let the mean key and mean value of each cluster that is left out stand for it (not in the paper)
    #[arg(long)]
    means: bool,
    /// With svg2: find clusters in dense steps, too, so that the first sparse one begins with centroids
    #[arg(long)]
    warm_cache: bool,
}

impl Default for ClusterFlags {
    fn default() -> Self {
        Self { band: 2.0, cq: None, ck: None, iters: 2, top_p: 0.9, min_ratio: 0.1, means: false, warm_cache: false }
    }
}

impl AttentionFlags {
    /// The method; what is not given is the preset's, if there is one.
    pub fn method(&self, preset: Option<&Preset>, clusters: &ClusterFlags, seed: u64) -> Method {
        let decay = self.decay.or(preset.and_then(|preset| preset.decay)).unwrap_or(1.0);
        let family = self.family.map(|Name(family)| family).or(preset.and_then(|preset| preset.family));
        match self.attention {
            Kind::Dense => Method::Dense,
            Kind::Radial => Method::Radial { block: self.block, decay, family: family.unwrap_or(Family::Wan) },
            Kind::Svg1 => Method::Svg1 { band: clusters.band, block: self.block.queries },
            Kind::Svg2 => Method::Svg2 {
                semantic: SemanticAttention {
                    cq: clusters.cq,
                    ck: clusters.ck,
                    budget: Budget { top_p: clusters.top_p, min_ratio: clusters.min_ratio },
                    iters_step: clusters.iters,
                    seed,
                    means: clusters.means,
                    ..SemanticAttention::default()
                },
                warm: clusters.warm_cache,
            },
        }
    }

    /// Layers that stay dense.
    pub fn dense_layers(&self, preset: Option<&Preset>) -> usize {
        self.dense_layers.or(preset.map(|preset| preset.dense.layers)).unwrap_or(1)
    }

    /// Where attention stays dense in a run of so many steps: a preset's share of its own steps, 50 where it has none.
    pub fn policy(&self, dense_steps: Option<usize>, preset: Option<&Preset>, steps: usize) -> DensePolicy {
        let share = |preset: &Preset| (preset.dense.timesteps * steps).div_ceil(preset.steps.unwrap_or(50));
        DensePolicy {
            layers: self.dense_layers(preset),
            timesteps: dense_steps.or(preset.map(share)).unwrap_or(steps.div_ceil(4)),
        }
    }
}

/// Whether a clip can be written under that name.
pub fn check_name(file: &Path) -> anyhow::Result<()> {
    if ["png", "mp4", "npy"].iter().all(|end| !ends_in(file, end)) {
        bail!(BadUsage(format!("{}: a clip is written as .png (a strip), .mp4 or .npy", file.display())));
    }
    Ok(())
}

/// Writes a clip: a strip of pictures, a video, or bytes `[frames, height, width, 3]`.
pub fn write(file: &Path, clip: &Clip) -> anyhow::Result<()> {
    let video = clip.to_video();
    if ends_in(file, "png") {
        return Ok(video.strip(COLUMNS).write_png(file)?);
    }
    if ends_in(file, "mp4") {
        return Ok(video::write(file, &video, PER_SECOND)?);
    }
    let shape = [video.frames(), video.height(), video.width(), 3];
    let array = Array::new(shape, Elements::U8(video.rgb().to_vec())).expect("as many bytes as the shape says");
    Ok(npy::write(file, &array)?)
}

/// The videos in a file, each with its name.
pub fn read(file: &Path, config: &Config) -> anyhow::Result<Vec<(String, Video)>> {
    let name = file.display().to_string();
    let npz = ends_in(file, "npz");
    if !npz && !ends_in(file, "npy") {
        let [width, height] = video::size(file)?;
        // A power of two, so that each pixel is a mean of whole ones.
        let room = (width / config.width).min(height / config.height).max(1).ilog2();
        return Ok(vec![(name, video::read(file, [width >> room, height >> room])?)]);
    }
    let array = if npz {
        let arrays = npz::open(file)?;
        let only = arrays.names().first().cloned().unwrap_or_else(|| "clips".into());
        arrays.read(&only)?
    } else {
        npy::read(file)?
    };
    let (&[_, frames, 3, height, width], Some(bytes)) = (array.shape(), array.elements().as_u8()) else {
        bail!(BadUsage(format!(
            "{name}: the array has the shape {:?} of {}; expected bytes [clips, frames, 3, height, width]",
            array.shape(),
            array.element_type()
        )));
    };
    let count = frames.saturating_mul(3 * height).saturating_mul(width);
    if count == 0 {
        bail!("{name}: its clips are empty");
    }
    let clips = bytes.chunks_exact(count).enumerate();
    clips
        .map(|(at, bytes)| {
            let clip = Clip::from_bytes([frames, 3, height, width], bytes)?;
            Ok((format!("{name}, clip {at}"), clip.to_video()))
        })
        .collect()
}

/// The middle of the first frames of the first video in a file.
pub fn first_clip(file: &Path, config: &Config, frames: usize) -> anyhow::Result<Clip> {
    let videos = read(file, config)?;
    let (name, video) = videos.into_iter().next().with_context(|| format!("{}: no clips", file.display()))?;
    Ok(Clip::of_video(&name, &video, [frames, config.height, config.width])?)
}
