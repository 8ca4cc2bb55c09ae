//! `tersor generate`: pictures and videos whose attention reads few pairs.

use std::path::Path;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use tersor::data::{Array, Elements, npy, npz};
use tersor::generate::{Block, BlockMask, Error, ExactMask, Family, Radial, picture};

use super::quantity::thousands;
use super::show::BadUsage;

mod analyze;
mod attention;
mod bench;
mod cluster;
mod clusters;
mod compare;
#[cfg(feature = "video")]
mod extend;
mod map;
mod mask;
#[cfg(feature = "video")]
mod sample;
#[cfg(feature = "video")]
mod video;

/// Pictures and videos with fewer pairs of tokens
#[derive(Subcommand)]
pub enum Generate {
    Mask(mask::Mask),
    Analyze(analyze::Analyze),
    Attention(attention::Attention),
    Cluster(cluster::Cluster),
    Map(map::Map),
    Compare(compare::Compare),
    #[cfg(feature = "video")]
    Sample(sample::Sample),
    #[cfg(feature = "video")]
    Extend(extend::Extend),
    Bench(bench::Bench),
}

impl Generate {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Mask(mask) => mask.run(),
            Self::Analyze(analyze) => analyze.run(),
            Self::Attention(attention) => attention.run(),
            Self::Cluster(cluster) => cluster.run(),
            Self::Map(map) => map.run(),
            Self::Compare(compare) => compare.run(),
            #[cfg(feature = "video")]
            Self::Sample(sample) => sample.run(),
            #[cfg(feature = "video")]
            Self::Extend(extend) => extend.run(),
            Self::Bench(bench) => bench.run(),
        }
    }
}

/// Which radial mask.
#[derive(Debug, Clone, Args)]
pub struct RadialFlags {
    /// Tokens of text behind the video; they read everything and everything reads them
    #[arg(long, value_name = "N", default_value_t = 0)]
    text: usize,
    /// Tokens in a block: 32, 64, 128, or queries x keys such as 128x64
    #[arg(long, value_name = "B", default_value_t = Block::square(128))]
    block: Block,
    /// Windows of frames further than 1 apart are so many times as wide, but no thinner than a block
    #[arg(long, value_name = "D", default_value_t = 1.0, allow_negative_numbers = true)]
    decay: f64,
    /// Whose rule: wan (all read frame 0) or hunyuan (text plays that part)
    #[arg(long, value_name = "FAMILY", default_value_t = Name(Family::Wan))]
    family: Name,
    /// The paper's mask of the video's tokens, token by token, without blocks, decay and text
    #[arg(long)]
    exact: bool,
}

/// A family by its name.
#[derive(Debug, Clone, Copy)]
struct Name(Family);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl std::str::FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        name.parse().map(Self)
    }
}

/// A plan: of blocks, or of single tokens.
enum Plan {
    Blocks(Radial, BlockMask),
    Exact(ExactMask),
}

impl RadialFlags {
    /// The flags that a mask of blocks obeys, and those that an exact one does.
    const OF_BLOCKS: &[&str] = &["--text", "--block", "--decay", "--family"];
    const OF_EXACT: &[&str] = &["--family", "--exact"];

    /// Flags with other than their first values that are not among those `used`.
    fn unused(&self, used: &[&str]) -> Vec<&'static str> {
        let Self { text, block, decay, family: Name(family), exact } = *self;
        let given = [
            ("--text", text > 0),
            ("--block", block != Block::square(128)),
            ("--decay", decay != 1.0),
            ("--family", family != Family::Wan),
            ("--exact", exact),
        ];
        given.into_iter().filter(|(name, given)| *given && !used.contains(name)).map(|(name, _)| name).collect()
    }

    /// Plans the mask of a video of so many frames.
    fn plan(&self, frames: usize, tokens_per_frame: usize) -> anyhow::Result<Plan> {
        let Self { text, block, decay, family: Name(family), exact } = *self;
        if exact {
            return Ok(Plan::Exact(ExactMask::new(frames, tokens_per_frame, family).map_err(usage)?));
        }
        let radial = Radial { frames, tokens_per_frame, text, block, decay, family };
        Ok(Plan::Blocks(radial, radial.plan().map_err(usage)?))
    }
}

/// A plan in numbers.
#[derive(Serialize)]
struct Planned {
    exact: bool,
    /// Queries and keys.
    tokens: usize,
    /// Blocks of queries; of an exact mask, its tokens.
    blocks: usize,
    key_blocks: usize,
    active: u64,
    /// The share of blocks that are active, and of those that hold the video alone.
    density: f64,
    video_density: f64,
    /// The share of pairs of tokens, and the speed-up of a kernel that spends its time on them alone.
    token_density: f64,
    pairs: u64,
    predicted_speed_up: f64,
}

impl Plan {
    fn in_numbers(&self) -> anyhow::Result<Planned> {
        Ok(match self {
            Self::Blocks(radial, mask) => {
                let video = radial.video_tokens()?;
                Planned {
                    exact: false,
                    tokens: mask.queries,
                    blocks: mask.rows(),
                    key_blocks: mask.across(),
                    active: mask.active() as u64,
                    density: mask.density(),
                    video_density: mask
                        .density_of_first([mask.query_block, mask.key_block].map(|block| video.div_ceil(block))),
                    token_density: mask.token_density(),
                    pairs: mask.pairs(),
                    predicted_speed_up: mask.predicted_speed_up(),
                }
            }
            Self::Exact(mask) => {
                let (tokens, density) = (mask.video_tokens(), mask.density());
                Planned {
                    exact: true,
                    tokens,
                    blocks: tokens,
                    key_blocks: tokens,
                    active: mask.pairs(),
                    density,
                    video_density: density,
                    token_density: density,
                    pairs: mask.pairs(),
                    predicted_speed_up: 1.0 / density,
                }
            }
        })
    }

    /// Its blocks, those of an exact mask of one token each.
    fn drawn(&self) -> anyhow::Result<BlockMask> {
        match self {
            Self::Blocks(_, mask) => Ok(mask.clone()),
            Self::Exact(mask) => Ok(mask.as_blocks()?),
        }
    }
}

/// What a plan reads, as lines.
fn told(text: &mut String, plan: &Planned) {
    let count = |count: usize| thousands(count as u64);
    line(text, "tokens", &count(plan.tokens));
    let share = format!("{:.2} %", 100.0 * plan.density);
    if plan.exact {
        line(text, "pairs", &format!("{} are read ({share}), token by token", thousands(plan.pairs)));
    } else {
        let blocks = format!("{} x {}", count(plan.blocks), count(plan.key_blocks));
        line(text, "blocks", &format!("{blocks}, {} are read ({share})", thousands(plan.active)));
        let pairs = format!("{} are read ({:.2} %)", thousands(plan.pairs), 100.0 * plan.token_density);
        line(text, "pairs", &pairs);
    }
    line(text, "speed-up", &format!("{:.2} at most, if pairs alone take time", plan.predicted_speed_up));
}

/// Text under a name, the names in a column.
fn line(text: &mut String, name: &str, value: &str) {
    *text += &format!("{name:<10} {value}\n");
}

/// A parameter out of its range was typed by the user.
fn usage(error: Error) -> anyhow::Error {
    match error {
        Error::Parameter { .. } => BadUsage(error.to_string()).into(),
        other => other.into(),
    }
}

/// An error with the name of the file that it is about, unless it says so itself.
fn within(file: &Path) -> impl Fn(Error) -> anyhow::Error {
    |error| match error {
        Error::Data(_) | Error::Model { .. } => error.into(),
        other => usage(other).context(file.display().to_string()),
    }
}

/// Writes a drawing.
fn write_svg(file: &Path, svg: &str) -> anyhow::Result<()> {
    Ok(tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?)
}

/// Whether a file's name ends so.
fn ends_in(file: &Path, suffix: &str) -> bool {
    file.extension().is_some_and(|found| found.eq_ignore_ascii_case(suffix))
}

/// A picture of the plan.
fn draw(file: &Path, plan: &Plan, title: &str) -> anyhow::Result<()> {
    let mask = plan.drawn()?;
    if ends_in(file, "png") {
        return Ok(picture::mask_pixels(&mask)?.write_png(file)?);
    }
    if !ends_in(file, "svg") {
        bail!(BadUsage(format!("{}: a picture is an .svg or a .png", file.display())));
    }
    write_svg(file, &picture::mask(&mask, title)?)
}

/// Elements in f32, and their shape `[heads, tokens, dim]`; batches count as heads.
fn read(path: &Path, name: &str) -> anyhow::Result<(Vec<f32>, [usize; 3])> {
    let array: Array = if ends_in(path, "npz") { npz::open(path)?.read(name)? } else { npy::read(path)? };
    let shape = match *array.shape() {
        [tokens, dim] => [1, tokens, dim],
        [heads, tokens, dim] => [heads, tokens, dim],
        [batch, heads, tokens, dim] => [batch.saturating_mul(heads), tokens, dim],
        _ => {
            let (path, shape) = (path.display(), array.shape());
            bail!("{path}: the array has the shape {shape:?}; expected [heads, tokens, dim] or [tokens, dim]")
        }
    };
    let found = array.element_type();
    let elements = match array.into_elements() {
        Elements::F16(elements) => elements.into_iter().map(f32::from).collect(),
        Elements::F32(elements) => elements,
        Elements::F64(elements) => elements.into_iter().map(|element| element as f32).collect(),
        _ => bail!("{}: elements of type {found}; expected float16, float32 or float64", path.display()),
    };
    Ok((elements, shape))
}

/// Rows x tokens in a row.
fn parse_grid(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once('x').and_then(|(height, width)| Some((height.parse().ok()?, width.parse().ok()?)));
    sides
        .filter(|sides| sides.0 > 0 && sides.1 > 0)
        .ok_or_else(|| "expected rows x tokens in a row, such as 48x80".into())
}
