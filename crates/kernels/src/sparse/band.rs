//! A rectangle of outputs of an image, and the inputs under it with their padding, laid out for vectors.
//!
//! Each column of the kernel has a copy of its own, shifted by its place and thinned by the stride, as wide as the outputs:
//! so whatever the kernel's column, the inputs of neighbouring outputs are neighbours and lie as their outputs do, the end of
//! a row before the beginning of the next. A tap then reads one stretch of memory, for many rows of outputs at once, with no
//! padding between them; and where rows are whole vectors, no vector lies on two cache lines. (With one padded copy, a vector
//! of AVX-512 lies on two lines nearly always, and 8 pixels of a row fill half of it.) The rows of a copy are kept by their
//! residue of the stride. A copy takes an odd number of cache lines, so that one pixel of many channels does not fall into
//! one set of the cache.

use std::ops::Range;

use crate::training::stretch::{Stretch, zero};
use crate::window::Window;

/// Numbers of a cache line.
const LINE: usize = 16;
/// Numbers that may be read beyond the last: vectors that hang over the end.
const SLACK: usize = 2 * LINE;

/// Where the inputs under `outputs` (rows, columns) lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    rows: Window,
    columns: Window,
    outputs: (usize, usize),
    /// Residues of the rows.
    residues: usize,
    /// Rows of one residue.
    height: usize,
    /// Numbers of the rows of one residue.
    field: usize,
}

impl Band {
    pub fn new(rows: Window, columns: Window, outputs: (usize, usize)) -> Self {
        let reach = (rows.kernel - 1) * rows.dilation;
        let height = outputs.0 + reach / rows.stride;
        let lines = height.saturating_mul(outputs.1).div_ceil(LINE) | 1;
        let residues = rows.stride.min(reach + 1);
        Self { rows, columns, outputs, residues, height, field: lines.saturating_mul(LINE) }
    }

    /// Rows and columns of outputs.
    pub fn outputs(&self) -> (usize, usize) {
        self.outputs
    }

    /// Numbers of a channel.
    fn channel(&self) -> usize {
        self.columns.kernel.saturating_mul(self.residues).saturating_mul(self.field)
    }

    /// Numbers of `channels` channels; the most that can be said, if they are more.
    pub fn len(&self, channels: usize) -> usize {
        channels.saturating_mul(self.channel()).saturating_add(SLACK)
    }

    /// Whether all rows of a copy are those of the image, moved by some columns.
    fn is_shift(&self) -> bool {
        self.rows.stride * self.columns.stride == 1 && self.outputs.1 == self.columns.input
    }

    /// Rows of `channels` channels that are copied one by one.
    pub fn rows(&self, channels: usize) -> usize {
        if self.is_shift() { 0 } else { self.len(channels) / self.outputs.1 }
    }

    /// Where a tap of a channel reads, for the first output.
    pub fn tap(&self, channel: usize, ky: usize, kx: usize) -> usize {
        let y = ky * self.rows.dilation;
        let field = (channel * self.columns.kernel + kx) * self.residues + y % self.rows.stride;
        field * self.field + y / self.rows.stride * self.outputs.1
    }

    /// Copies what lies under some of the rows of `outputs` when the band's first output is at (row, column) of the image;
    /// zeros where there is padding.
    #[inline(always)]
    pub fn fill(&self, image: &[f32], (row, column): (usize, usize), outputs: Range<usize>, band: &mut [f32]) {
        let (rows, columns, width) = (&self.rows, &self.columns, self.outputs.1);
        let under = outputs.start..outputs.end + self.height - self.outputs.0;
        for kx in 0..columns.kernel {
            let across = Stretch::of(columns, column * columns.stride + kx * columns.dilation, width);
            for residue in 0..self.residues {
                let down = Stretch::of(rows, (row + under.start) * rows.stride + residue, under.len());
                let field = (kx * self.residues + residue) * self.field + under.start * width;
                let planes = image.chunks_exact(rows.input * columns.input);
                for (image, band) in planes.zip(band.chunks_exact_mut(self.channel())) {
                    let band = &mut band[field..][..under.len() * width];
                    let (above, rest) = band.split_at_mut(down.before * width);
                    let (inside, below) = rest.split_at_mut(down.count * width);
                    zero(above);
                    zero(below);
                    if inside.is_empty() {
                        continue;
                    }
                    let image = &image[down.start * columns.input..];
                    if self.is_shift() {
                        across.shift(image, width, inside);
                    } else {
                        let pitch = rows.stride * columns.input;
                        for (row, band) in inside.chunks_exact_mut(width).enumerate() {
                            across.pad(band);
                            across.copy(&image[row * pitch..], band);
                        }
                    }
                }
            }
        }
    }
}
