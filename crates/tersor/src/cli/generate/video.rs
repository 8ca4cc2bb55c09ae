//! What `generate sample` and `generate extend` have in common: whose attention, and clips as files.

use std::path::Path;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::data::{Array, Elements, npy, video};
use tersor::generate::radial::Preset;
use tersor::generate::video::{Clip, Method};
use tersor::generate::{Block, DensePolicy, Family};

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
}

impl AttentionFlags {
    /// The method; what is not given is the preset's, if there is one.
    pub fn method(&self, preset: Option<&Preset>) -> Method {
        let decay = self.decay.or(preset.and_then(|preset| preset.decay)).unwrap_or(1.0);
        let family = self.family.map(|Name(family)| family).or(preset.and_then(|preset| preset.family));
        match self.attention {
            Kind::Dense => Method::Dense,
            Kind::Radial => Method::Radial { block: self.block, decay, family: family.unwrap_or(Family::Wan) },
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
