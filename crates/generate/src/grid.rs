//! The tokens of a clip: frames of rows of patches.
//!
//! A video transformer sees a clip as `n = f·h·w` tokens, frame by frame, row by row; text may follow. Token `(i, k)` of
//! frame `i` and position `k` is number `i·h·w + k`.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How the tokens of a clip lie: `frames` of `height` rows of `width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Frames of tokens, f.
    pub frames: usize,
    /// Rows of tokens in a frame, h.
    pub height: usize,
    /// Tokens in a row, w.
    pub width: usize,
}

impl Grid {
    /// Pictures that one frame of tokens stands for, in Wan and HunyuanVideo.
    const PICTURES: usize = 4;
    /// Pixels along a side of a token: an autoencoder of 8, patches of 2.
    const PIXELS: usize = 16;

    /// The tokens of a clip of so many pictures and pixels in Wan or HunyuanVideo: the first picture is a frame of its
    /// own, then every four are one, and a token stands for 16 × 16 pixels.
    ///
    /// ```
    /// use tersor_generate::Grid;
    ///
    /// assert_eq!(Grid::of_clip(69, 768, 1280), Grid { frames: 18, height: 48, width: 80 });
    /// assert_eq!(Grid::of_clip(117, 768, 1280).tokens()?, 115_200);
    /// # Ok::<(), tersor_generate::Error>(())
    /// ```
    pub fn of_clip(pictures: usize, height: usize, width: usize) -> Self {
        Self { frames: 1 + pictures / Self::PICTURES, height: height / Self::PIXELS, width: width / Self::PIXELS }
    }

    /// Tokens in a frame, s.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming what is 0, [`Error::TooLarge`].
    pub fn tokens_per_frame(&self) -> Result<usize, Error> {
        self.tokens().map(|tokens| tokens / self.frames)
    }

    /// Tokens of all frames, n.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming what is 0, [`Error::TooLarge`].
    pub fn tokens(&self) -> Result<usize, Error> {
        let fields = [("frames", self.frames), ("height", self.height), ("width", self.width)];
        if let Some((field, _)) = fields.iter().find(|(_, value)| *value == 0) {
            return Err(Error::zero(field));
        }
        let tokens = self.frames.checked_mul(self.height).and_then(|rows| rows.checked_mul(self.width));
        tokens.filter(|tokens| *tokens <= Self::MOST).ok_or_else(|| Error::TooLarge {
            field: "frames * height * width",
            value: format!("{} * {} * {}", self.frames, self.height, self.width),
            most: Self::MOST as u64,
            hint: "",
        })
    }

    /// The most tokens: half of what 32 bits count.
    const MOST: usize = i32::MAX as usize;
}
