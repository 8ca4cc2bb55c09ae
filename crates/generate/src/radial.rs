//! Radial attention: a video's tokens read those that are near in time and space, ever fewer with distance in time.
//!
//! Attention in video transformers decays with the distance of frames and of positions (see [`decay`](crate::decay)), so
//! a query reads a window of positions that halves whenever the distance in frames doubles; where the window would be
//! thinner than a block, frames are left out instead. The pairs that are read grow as n·log n, not as n².
//! Source: *Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video Generation* (NeurIPS 2025).
//!
//! Two rules stand in that paper's work: the one of the text, token by token ([`exact`]), and the one that was run and
//! measured, block by block. The second is here, for any number of tokens in a frame.
//!
//! Everything about a piece of a block is in closed form, so a plan costs a few operations for each block that is looked
//! at: 900 frame pairs of 3,840 tokens take milliseconds, and no `s × s` matrix is made.
//!
//! What this file does not do: attend (`tersor_kernels`), choose where attention stays dense ([`dense`]).

pub mod dense;
pub mod exact;

use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mask::{BlockMask, Row, block};

pub use dense::{DensePolicy, Preset};
pub use exact::ExactMask;

/// Frames of tokens, at most: three hours of Wan's video would be more.
pub const MOST_FRAMES: usize = 1 << 13;

/// Sizes that a block may have.
const SIZES: [usize; 3] = [32, 64, 128];

/// Where diagonals become thinner than this, frames are left out instead; whatever the block.
const THINNEST: u64 = 128;

/// Which model's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Wan and Mochi: every token reads all of frame 0, the attention sink.
    #[default]
    Wan,
    /// HunyuanVideo: no sink in frame 0, its text plays that part.
    Hunyuan,
}

impl Family {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wan => "wan",
            Self::Hunyuan => "hunyuan",
        }
    }

    /// Whether every token reads all of frame `frame`.
    fn sinks(self, frame: usize) -> bool {
        self == Self::Wan && frame == 0
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = [Self::Wan, Self::Hunyuan].into_iter().find(|family| family.name() == name);
        found.ok_or_else(|| Error::parameter("family", name, "wan or hunyuan"))
    }
}

/// Tokens in a block: 32, 64 or 128 of queries and of keys, `128` or `128x64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Block {
    /// Queries in a block.
    pub queries: usize,
    /// Keys in a block.
    pub keys: usize,
}

impl Block {
    const RANGE: &str = "32, 64 or 128, or two of them as 128x64 (queries x keys)";

    /// As many queries as keys.
    pub const fn square(size: usize) -> Self {
        Self { queries: size, keys: size }
    }

    fn check(self) -> Result<(), Error> {
        let allowed = [self.queries, self.keys].iter().all(|size| SIZES.contains(size));
        if allowed { Ok(()) } else { Err(Error::parameter("block", self, Self::RANGE)) }
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { queries, keys } if queries == keys => write!(f, "{queries}"),
            Self { queries, keys } => write!(f, "{queries}x{keys}"),
        }
    }
}

impl FromStr for Block {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::parameter("block", text, Self::RANGE);
        let (queries, keys) = text.split_once('x').unwrap_or((text, text));
        let size = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let block = Self { queries: size(queries)?, keys: size(keys)? };
        block.check().map_err(|_| wrong())?;
        Ok(block)
    }
}

/// A radial mask to be planned: of which tokens, and how wide.
///
/// Tokens are those of `frames` frames, each of `tokens_per_frame`, then those of a text. The mask is the same for all
/// heads and layers, so it is planned once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Radial {
    /// Frames of tokens, f.
    pub frames: usize,
    /// Tokens in a frame, s.
    pub tokens_per_frame: usize,
    /// Tokens of text behind the video; they read everything and everything reads them.
    pub text: usize,
    /// Tokens in a block.
    pub block: Block,
    /// Windows of frames further than 1 apart are so many times as wide, but no thinner than a block.
    pub decay: f64,
    /// Whose rule it is.
    pub family: Family,
}

impl Radial {
    /// The mask of a video alone, of Wan's family, in blocks of 128, as wide as in the paper.
    pub fn new(frames: usize, tokens_per_frame: usize) -> Self {
        let block = Block::square(128);
        Self { frames, tokens_per_frame, text: 0, block, decay: 1.0, family: Family::Wan }
    }

    /// Tokens of the video, f·s.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming what is 0, [`Error::TooLarge`] above [`MOST_FRAMES`] or what can be counted.
    pub fn video_tokens(&self) -> Result<usize, Error> {
        video_tokens(self.frames, self.tokens_per_frame)
    }

    /// All tokens, n = f·s + text.
    ///
    /// # Errors
    /// As [`Radial::video_tokens`].
    pub fn tokens(&self) -> Result<usize, Error> {
        let tokens = self.video_tokens()?.checked_add(self.text);
        tokens.ok_or_else(|| Error::TooLarge {
            field: "text",
            value: self.text.to_string(),
            most: u64::MAX >> 1,
            hint: "",
        })
    }

    /// Whether a tensor `what` of `tokens` tokens holds the video and the text.
    ///
    /// # Errors
    /// [`Error::Tokens`]; as [`Radial::video_tokens`].
    pub fn check_tokens(&self, what: &'static str, tokens: usize) -> Result<(), Error> {
        if self.tokens()? == tokens {
            return Ok(());
        }
        let Self { frames, tokens_per_frame, text, .. } = *self;
        Err(Error::Tokens { what, tokens, frames, tokens_per_frame, text })
    }

    /// The block mask, square in tokens, `[n, n]`.
    ///
    /// A pair of frames at distance `d`, with `g` the bits of `d` and `S` the least power of two above `s`:
    ///
    /// - position `k` reads position `l` if `|k − l| ≤ w`, where `w = s` for `d ≤ 1`, else
    ///   `max(decay·S/2^g, block)`, the larger block where the two differ;
    /// - not at all if `L = S/2^g < 128` and `d` is no multiple of `⌊128/L⌋`;
    /// - everything if the family has a sink and the key's frame is 0.
    ///
    /// Within a block of queries and a block of keys, what belongs to one pair of frames is a *piece*. A key of it is
    /// *read* if a query of the piece reads it, *much read* if more than a third of them do. A block is active if in
    /// one of its pieces more than 0.6 of the keys that are read are much read; and if it holds text. Where blocks and
    /// frames are aligned a piece is a block, and this is the published rule to the bit; elsewhere blocks run across
    /// frames, and every piece counts by its own size, so that any resolution works. Frames read themselves whole, so
    /// the diagonal is always active.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the field, [`Error::TooLarge`] above [`MOST_FRAMES`],
    /// [`MOST_BLOCKS`](crate::mask::MOST_BLOCKS) or [`MOST_ACTIVE`](crate::mask::MOST_ACTIVE).
    pub fn plan(&self) -> Result<BlockMask, Error> {
        let (video, tokens) = (self.video_tokens()?, self.tokens()?);
        self.block.check()?;
        if !(self.decay > 0.0 && self.decay.is_finite()) {
            return Err(Error::parameter("decay", self.decay, "a finite number above 0"));
        }
        let Block { queries, keys } = self.block;
        let windows: Vec<Option<usize>> = (0..self.frames).map(|distance| self.window(distance)).collect();
        BlockMask::of_rows([queries, keys], [tokens, tokens], |number, row| {
            let rows = block(number, queries, tokens);
            if self.text > 0 {
                let text = if rows.end > video { 0 } else { video / keys };
                row.set(text..row.len());
            }
            for (frame, positions) in self.pieces(rows.start..rows.end.min(video)) {
                for key_frame in 0..self.frames {
                    let window = match self.family.sinks(key_frame) {
                        true => Some(self.tokens_per_frame),
                        false => windows[frame.abs_diff(key_frame)],
                    };
                    if let Some(window) = window {
                        self.add_frame(row, &positions, key_frame, window);
                    }
                }
            }
        })
    }

    /// How far a query reads in a frame `distance` frames away; `None` if that frame is left out.
    fn window(&self, distance: usize) -> Option<usize> {
        let octave = 1u64 << bits(self.tokens_per_frame);
        let group = bits(distance);
        // L < 128 as 128·2^g > S: all are powers of two, so nothing is rounded.
        let kept_of = (THINNEST << group) / octave;
        if kept_of > 1 && !(distance as u64).is_multiple_of(kept_of) {
            return None;
        }
        if distance <= 1 {
            return Some(self.tokens_per_frame);
        }
        let width = octave as f64 / (1u64 << group) as f64 * self.decay;
        // Distances are whole: `|k − l| ≤ w` is `|k − l| ≤ ⌊w⌋`. A cast ends at the largest number.
        Some((width as usize).max(self.block.queries).max(self.block.keys).min(self.tokens_per_frame))
    }

    /// The frames that `tokens` of the video belong to, each with the positions in it.
    fn pieces(&self, tokens: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let s = self.tokens_per_frame;
        let frames = if tokens.is_empty() { 0..0 } else { tokens.start / s..(tokens.end - 1) / s + 1 };
        frames.map(move |frame| (frame, tokens.start.saturating_sub(frame * s)..(tokens.end - frame * s).min(s)))
    }

    /// Sets in `row` the blocks of keys of which the queries at `positions` read a piece in `key_frame`.
    fn add_frame(&self, row: &mut Row, positions: &Range<usize>, key_frame: usize, window: usize) {
        let (s, size) = (self.tokens_per_frame, self.block.keys);
        let first = key_frame * s;
        if window >= s {
            return row.set(first / size..(first + s - 1) / size + 1);
        }
        let read = read_by(positions, window, s);
        for number in (first + read.start) / size..(first + read.end - 1) / size + 1 {
            if row.has(number) {
                continue;
            }
            let keys = (number * size).saturating_sub(first)..((number + 1) * size - first).min(s);
            if is_active(positions, &keys, window) {
                row.set(number..number + 1);
            }
        }
    }
}

/// The keys of `0..s` that a query of `positions` reads.
fn read_by(positions: &Range<usize>, window: usize, s: usize) -> Range<usize> {
    positions.start.saturating_sub(window)..(positions.end + window).min(s)
}

/// Whether of the keys of a piece that are read, more than 0.6 are read by more than a third of its queries.
///
/// Key `l` is read by `min(end, l + w + 1) − max(start, l − w)` of the queries `start..end`: a trapezium over `l`, so the
/// keys that at least so many read are one range.
fn is_active(queries: &Range<usize>, keys: &Range<usize>, window: usize) -> bool {
    let much = queries.len() / 3 + 1;
    let overlap = |start: i64, end: i64| (end.min(keys.end as i64) - start.max(keys.start as i64)).max(0);
    let (start, end, window, much) = (queries.start as i64, queries.end as i64, window as i64, much as i64);
    let read = overlap(start - window, end + window);
    let much_read =
        if 2 * window + 1 >= much { overlap(start - window + much - 1, end + window - much + 1) } else { 0 };
    5 * much_read > 3 * read
}

/// How many binary digits a number has: 0 for 0.
fn bits(number: usize) -> u32 {
    usize::BITS - number.leading_zeros()
}

/// Tokens of so many frames.
fn video_tokens(frames: usize, tokens_per_frame: usize) -> Result<usize, Error> {
    for (field, value) in [("frames", frames), ("tokens_per_frame", tokens_per_frame)] {
        if value == 0 {
            return Err(Error::zero(field));
        }
    }
    let large = |field, value: usize, most: usize| Error::TooLarge {
        field,
        value: value.to_string(),
        most: most as u64,
        hint: "",
    };
    let most = u32::MAX as usize / frames.min(MOST_FRAMES);
    match () {
        () if frames > MOST_FRAMES => Err(large("frames", frames, MOST_FRAMES)),
        () if tokens_per_frame > most => Err(large("tokens_per_frame", tokens_per_frame, most)),
        () => Ok(frames * tokens_per_frame),
    }
}
