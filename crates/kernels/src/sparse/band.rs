//! A rectangle of outputs of an image, and the inputs under it with their padding, laid out for vectors.
//!
//! As in `training::padded`, columns are kept by their residue of the stride, so that neighbouring outputs read neighbouring
//! numbers whatever the stride. Unlike there only the rows under a few rows of outputs are kept, so that those of all
//! channels stay in the second cache; and the distance between channels is an odd number of cache lines, so that one pixel of
//! many channels does not fall into one set of the cache.

use crate::window::Window;

/// Numbers of a cache line.
const LINE: usize = 16;
/// Numbers that may be read beyond the last: vectors that hang over the end of a row.
pub(super) const SLACK: usize = 64;

/// Where the inputs under `outputs` (rows, columns) lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    rows: Window,
    columns: Window,
    outputs: (usize, usize),
    height: usize,
    /// Columns of one residue.
    phase: usize,
    plane: usize,
}

impl Band {
    pub fn new(rows: Window, columns: Window, outputs: (usize, usize)) -> Self {
        let reach = |w: &Window, outputs: usize| (outputs - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
        let height = reach(&rows, outputs.0);
        let phase = reach(&columns, outputs.1).div_ceil(columns.stride);
        let plane = (height * phase * columns.stride).next_multiple_of(LINE);
        let plane = if (plane / LINE).is_multiple_of(2) { plane + LINE } else { plane };
        Self { rows, columns, outputs, height, phase, plane }
    }

    /// Rows and columns of outputs.
    pub fn outputs(&self) -> (usize, usize) {
        self.outputs
    }

    /// Numbers of `channels` channels.
    pub fn len(&self, channels: usize) -> usize {
        channels * self.plane + SLACK
    }

    /// From the inputs of one row of outputs to those of the next.
    pub fn row(&self) -> usize {
        self.rows.stride * self.phase * self.columns.stride
    }

    /// Where a tap of a channel reads, for the first output.
    pub fn tap(&self, channel: usize, ky: usize, kx: usize) -> usize {
        let (y, x) = (ky * self.rows.dilation, kx * self.columns.dilation);
        let stride = self.columns.stride;
        channel * self.plane + (y * stride + x % stride) * self.phase + x / stride
    }

    /// Copies what lies under the band's `outputs` (some of its rows) when its first output is at (row, column) of the image;
    /// zeros where there is padding.
    #[inline(always)]
    pub fn fill(
        &self,
        image: &[f32],
        (row, column): (usize, usize),
        outputs: std::ops::Range<usize>,
        band: &mut [f32],
    ) {
        let (height, width) = (self.rows.input, self.columns.input);
        let pitch = self.phase * self.columns.stride;
        let under = self.height - (self.outputs.0 - outputs.len()) * self.rows.stride;
        let first = outputs.start * self.rows.stride;
        for (image, band) in image.chunks_exact(height * width).zip(band.chunks_mut(self.plane)) {
            for (y, band) in (first..first + under).zip(band[first * pitch..].chunks_exact_mut(pitch)) {
                let y = (row * self.rows.stride + y).checked_sub(self.rows.before).filter(|&y| y < height);
                match y {
                    Some(y) => self.fill_row(&image[y * width..][..width], column, band),
                    None => band.fill(0.0),
                }
            }
        }
    }

    #[inline(always)]
    fn fill_row(&self, image: &[f32], column: usize, band: &mut [f32]) {
        let (width, before, stride) = (image.len(), self.columns.before, self.columns.stride);
        for (phase, band) in band.chunks_exact_mut(self.phase).enumerate() {
            // Place q holds column (column + q) · stride + phase - before of the image.
            let at = column * stride + phase;
            let first = before.saturating_sub(at).div_ceil(stride).min(band.len());
            let start = (at + first * stride).saturating_sub(before).min(width);
            let count = (width - start).div_ceil(stride).min(band.len() - first);
            band[..first].fill(0.0);
            band[first + count..].fill(0.0);
            let (band, image) = (&mut band[first..][..count], &image[start..]);
            match stride {
                1 => band.copy_from_slice(&image[..count]),
                2 => {
                    // Pairs, whose halves the compiler takes apart a vector at a time; the last may be half a pair.
                    let (pairs, rest) = image.as_chunks::<2>();
                    let whole = count.min(pairs.len());
                    for (to, pair) in band.iter_mut().zip(pairs) {
                        *to = pair[0];
                    }
                    if let (Some(to), Some(last)) = (band.get_mut(whole), rest.first()) {
                        *to = *last;
                    }
                }
                _ => {
                    for (to, from) in band.iter_mut().zip(image.iter().step_by(stride)) {
                        *to = *from;
                    }
                }
            }
        }
    }
}
