//! One image with its padding, laid out so that every tap of a strided window reads a contiguous row.
//!
//! Column x of the padded image lies in phase x mod stride at place x / stride; so the outputs of a row, which are
//! `stride` columns apart, read neighbours, whatever the stride.

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
        let stride = self.columns.stride;
        let planes = padded.chunks_exact_mut(self.height * self.pitch());
        for (plane, image) in planes.zip(image.chunks_exact(height * width)) {
            for (y, row) in plane.chunks_exact_mut(self.pitch()).enumerate() {
                let Some(y) = y.checked_sub(self.rows.before).filter(|&y| y < height) else { continue };
                let image = &image[y * width..][..width];
                for (phase, row) in row.chunks_exact_mut(self.phase).enumerate() {
                    // The first place of this phase that is not padding.
                    let first = self.columns.before.saturating_sub(phase).div_ceil(stride).min(row.len());
                    let start = (first * stride + phase).saturating_sub(self.columns.before).min(width);
                    let (row, image) = (&mut row[first..], &image[start..]);
                    let count = row.len().min(image.len().div_ceil(stride));
                    if stride == 1 {
                        row[..count].copy_from_slice(&image[..count]);
                    } else {
                        for i in 0..count {
                            row[i] = image[i * stride];
                        }
                    }
                }
            }
        }
    }
}
