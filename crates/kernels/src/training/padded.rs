//! One image with its padding, laid out so that every tap of a strided window reads a contiguous row.
//!
//! Column x of the padded image lies in phase x mod stride at place x / stride; so the outputs of a row, which are
//! `stride` columns apart, read neighbours, whatever the stride.

use super::stretch::Stretch;
use crate::window::Window;

/// Columns that may be read beyond the last: whole vectors are copied.
const SLACK: usize = 16;

/// Where a padded image of some channels keeps its pixels.
#[derive(Debug, Clone, Copy)]
pub struct Padded {
    rows: Window,
    columns: Window,
    height: usize,
    phase: usize,
}

impl Padded {
    /// The layout for these windows.
    pub fn new(rows: Window, columns: Window) -> Self {
        let reach = |w: &Window| (w.output - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
        Self { rows, columns, height: reach(&rows), phase: reach(&columns).div_ceil(columns.stride) }
    }

    fn pitch(&self) -> usize {
        self.phase * self.columns.stride
    }

    /// Numbers that `channels` channels take.
    pub fn len(&self, channels: usize) -> usize {
        channels * self.height * self.pitch() + SLACK
    }

    /// How far the pixel under a tap of an output row lies behind that of the row above.
    pub fn row(&self) -> usize {
        self.rows.stride * self.pitch()
    }

    /// Where tap (ky, kx) of a channel reads, for the first output.
    pub fn tap(&self, channel: usize, ky: usize, kx: usize) -> usize {
        let x = kx * self.columns.dilation;
        let y = ky * self.rows.dilation;
        (channel * self.height + y) * self.pitch() + x % self.columns.stride * self.phase + x / self.columns.stride
    }

    /// Copies channels `[channels, height, width]` into `padded`, which keeps its zeros around them.
    #[inline(always)]
    pub fn fill(&self, image: &[f32], padded: &mut [f32]) {
        let (height, width) = (self.rows.input, self.columns.input);
        let plane = self.height * self.pitch();
        // Rows of the padded image are not thinned.
        let down = Stretch::of(&Window { stride: 1, ..self.rows }, 0, self.height);
        for phase in 0..self.columns.stride {
            let across = Stretch::of(&self.columns, phase, self.phase);
            for (plane, image) in padded.chunks_exact_mut(plane).zip(image.chunks_exact(height * width)) {
                let rows = plane[down.before * self.pitch()..].chunks_exact_mut(self.pitch()).take(down.count);
                for (y, row) in rows.enumerate() {
                    across.copy(&image[(down.start + y) * width..], &mut row[phase * self.phase..][..self.phase]);
                }
            }
        }
    }
}
