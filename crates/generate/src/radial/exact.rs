//! The mask as the paper writes it, token by token: no blocks, no decay.
//!
//! Token `(i, k)` reads `(j, l)`, with `g = ⌊log₂ max(|i − j|, 1)⌋`, if
//!
//! - `2^g ≤ s` and `|k − l| + 1 ≤ s / 2^g`: a window that halves while distances double; or
//! - `|i − j|` is a multiple of `⌈2^g / s⌉` and `k = l`: single diagonals, ever fewer; or
//! - `j = 0`, in families with an attention sink.
//!
//! For study at few tokens: what was run and measured is [`Radial::plan`](super::Radial::plan).

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tersor_data::{ElementType, npy};

use super::Family;
use crate::Error;
use crate::mask::{BlockMask, Reads};

/// The most tokens: a grid of them is 1 GiB of booleans.
pub const MOST_TOKENS: usize = 1 << 15;

/// The token-level mask of a video; nothing of it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactMask {
    frames: usize,
    tokens_per_frame: usize,
    family: Family,
}

impl ExactMask {
    /// The mask of `frames` frames of `tokens_per_frame` tokens.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming what is 0, [`Error::TooLarge`] above [`MOST_TOKENS`].
    pub fn new(frames: usize, tokens_per_frame: usize, family: Family) -> Result<Self, Error> {
        for (field, value) in [("frames", frames), ("tokens_per_frame", tokens_per_frame)] {
            if value == 0 {
                return Err(Error::zero(field));
            }
        }
        let tokens = frames.checked_mul(tokens_per_frame);
        if tokens.is_none_or(|tokens| tokens > MOST_TOKENS) {
            let value = format!("{frames} frames of {tokens_per_frame}");
            let hint = "; the block mask has no such limit";
            return Err(Error::TooLarge { field: "tokens of the exact mask", value, most: MOST_TOKENS as u64, hint });
        }
        Ok(Self { frames, tokens_per_frame, family })
    }

    /// Tokens, n = f·s.
    pub fn video_tokens(&self) -> usize {
        self.frames * self.tokens_per_frame
    }

    /// Pairs of a query and a key that is read.
    pub fn pairs(&self) -> u64 {
        let (f, s) = (self.frames as u64, self.tokens_per_frame as u64);
        let mut pairs = 0;
        for distance in 0..self.frames {
            // Positions `k, l` with |k − l| < m number s² − (s − m)(s − m + 1).
            let of_frames = self.reach(distance).map_or(0, |m| s * s - (s - m as u64) * (s - m as u64 + 1));
            let apart = f - distance as u64;
            let mut times = if distance == 0 { apart } else { 2 * apart };
            times -= u64::from(self.family.sinks(0)); // the pair whose key is in frame 0
            pairs += times * of_frames;
        }
        pairs + if self.family.sinks(0) { f * s * s } else { 0 }
    }

    /// The share of pairs that are read.
    pub fn density(&self) -> f64 {
        self.pairs() as f64 / (self.video_tokens() as f64).powi(2)
    }

    /// The same as a plan whose blocks are single tokens, to compare or to draw.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`MOST_BLOCKS`](crate::mask::MOST_BLOCKS) or [`MOST_ACTIVE`](crate::mask::MOST_ACTIVE).
    pub fn as_blocks(&self) -> Result<BlockMask, Error> {
        let mut runs = Vec::new();
        BlockMask::of_rows([1, 1], self.tokens(), |query, row| {
            self.runs(query, &mut runs);
            runs.iter().for_each(|run| row.set(run.clone()));
        })
    }

    /// Writes the grid of tokens to an `.npy` file: booleans `[n, n]`, row after row, never all in memory.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file.
    pub fn write_npy(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let n = self.video_tokens();
        Ok(npy::write_streamed(path, ElementType::Bool, &[n, n], |file| {
            let (mut line, mut runs) = (vec![0; n], Vec::new());
            for query in 0..n {
                line.fill(0);
                self.runs(query, &mut runs);
                runs.iter().for_each(|run| line[run.clone()].fill(1));
                file.write_all(&line)?;
            }
            Ok(())
        })?)
    }

    /// The `m ≥ 1` for which `|k − l| < m` is read in a frame `distance` away; `None` if nothing is.
    fn reach(&self, distance: usize) -> Option<usize> {
        let octave = 1 << distance.max(1).ilog2();
        match self.tokens_per_frame / octave {
            0 => distance.is_multiple_of(octave.div_ceil(self.tokens_per_frame)).then_some(1),
            reach => Some(reach),
        }
    }
}

impl Reads for ExactMask {
    fn tokens(&self) -> [usize; 2] {
        [self.video_tokens(); 2]
    }

    fn runs(&self, query: usize, runs: &mut Vec<Range<usize>>) {
        assert!(query < self.video_tokens(), "query {query} of {}", self.video_tokens());
        let s = self.tokens_per_frame;
        let (frame, k) = (query / s, query % s);
        runs.clear();
        for key_frame in 0..self.frames {
            let reach = if self.family.sinks(key_frame) { Some(s) } else { self.reach(frame.abs_diff(key_frame)) };
            let Some(reach) = reach else { continue };
            let first = key_frame * s;
            let read = first + (k + 1).saturating_sub(reach)..first + (k + reach).min(s);
            match runs.last_mut() {
                Some(last) if last.end == read.start => last.end = read.end,
                _ => runs.push(read),
            }
        }
    }
}
