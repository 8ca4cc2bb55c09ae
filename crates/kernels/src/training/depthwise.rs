//! Convolution of each channel by itself (groups = channels), and its gradients.
//!
//! There is too little reduction for matrix tiles: a strip of outputs stays in registers while the taps run by.

use rayon::prelude::*;

use super::convolution::{Place, Residue, reach, residues};
use super::function::vectors;
use super::padded::Padded;
use crate::window::Window;

/// Outputs of a strip.
const STRIP: usize = 32;

/// Images `[images, channels, height, width]` to `[images, channels · multiplier, height', width']`, with weights
/// `[channels · multiplier, 1, kernel rows, kernel columns]`; output channel o reads input channel o / multiplier.
#[derive(Debug, Clone, Copy)]
pub struct Depthwise {
    /// Channels of the input.
    pub channels: usize,
    /// Outputs of a channel.
    pub multiplier: usize,
    /// Along the height.
    pub rows: Window,
    /// Along the width.
    pub columns: Window,
}

/// Outputs that gather the same taps.
struct Filter {
    /// Where a tap reads for the first output, and the number of its weight.
    taps: Vec<(usize, usize)>,
    rows: usize,
    columns: usize,
    place: Place,
}

impl Depthwise {
    fn planes(&self) -> (usize, usize) {
        (self.rows.input * self.columns.input, self.rows.output * self.columns.output)
    }

    fn kernel(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    fn taps(&self) -> impl Iterator<Item = (usize, usize)> {
        let columns = self.columns.kernel;
        (0..self.rows.kernel).flat_map(move |ky| (0..columns).map(move |kx| (ky, kx)))
    }

    /// y = x ∗ w + b, channel by channel. `bias`: one per output channel, or empty.
    pub fn forward(&self, x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
        let padded = Padded::new(self.rows, self.columns);
        let filter = Filter {
            taps: self.taps().enumerate().map(|(w, (ky, kx))| (padded.tap(0, ky, kx), w)).collect(),
            rows: self.rows.output,
            columns: self.columns.output,
            place: Place { start: 0, row: self.columns.output, column: 1 },
        };
        let (input, output) = self.planes();
        let planes = x.par_chunks(input).zip(y.par_chunks_mut(output * self.multiplier)).enumerate();
        planes.for_each_init(Vec::new, |image, (plane, (x, y))| {
            image.resize(padded.len(1) + STRIP, 0.0);
            padded.fill(x, image);
            for (m, y) in y.chunks_exact_mut(output).enumerate() {
                let o = plane % self.channels * self.multiplier + m;
                let weights = &weights[o * self.kernel()..][..self.kernel()];
                vectors(
                    #[inline(always)]
                    || filter.apply(image, padded.row(), weights, bias.get(o).copied().unwrap_or(0.0), false, y),
                );
            }
        });
    }

    /// ∂L/∂x from ∂L/∂y.
    pub fn backward_input(&self, output_gradient: &[f32], weights: &[f32], input_gradient: &mut [f32]) {
        let (rows, columns) = (residues(&self.rows), residues(&self.columns));
        let (vertical, horizontal) = (reach(&rows, self.rows.output), reach(&columns, self.columns.output));
        let padded = Padded::new(vertical, horizontal);
        let at = |offset: isize, window: &Window| (offset + window.before as isize) as usize;
        let filter = |(y, row): (usize, &Residue), (x, column): (usize, &Residue)| Filter {
            taps: (row.taps.iter())
                .flat_map(|r| column.taps.iter().map(move |c| (r, c)))
                .map(|(r, c)| {
                    let from = padded.tap(0, at(r.offset, &vertical), at(c.offset, &horizontal));
                    (from, r.kernel * self.columns.kernel + c.kernel)
                })
                .collect(),
            rows: row.outputs,
            columns: column.outputs,
            place: Place {
                start: y * self.columns.input + x,
                row: self.rows.stride * self.columns.input,
                column: self.columns.stride,
            },
        };
        let filters: Vec<_> = rows
            .iter()
            .enumerate()
            .flat_map(|r| columns.iter().enumerate().map(move |c| (r, c)))
            .map(|(r, c)| filter(r, c))
            .collect();
        let (input, output) = self.planes();
        let planes = output_gradient.par_chunks(output * self.multiplier).zip(input_gradient.par_chunks_mut(input));
        planes.enumerate().for_each_init(Vec::new, |image, (plane, (g, d))| {
            image.resize(padded.len(1) + STRIP, 0.0);
            for (m, g) in g.chunks_exact(output).enumerate() {
                padded.fill(g, image);
                let o = plane % self.channels * self.multiplier + m;
                let weights = &weights[o * self.kernel()..][..self.kernel()];
                for filter in &filters {
                    vectors(
                        #[inline(always)]
                        || filter.apply(image, padded.row(), weights, 0.0, m > 0, d),
                    );
                }
            }
        });
    }

    /// ∂L/∂w from x and ∂L/∂y.
    pub fn backward_weights(&self, x: &[f32], output_gradient: &[f32], weights_gradient: &mut [f32]) {
        let padded = Padded::new(self.rows, self.columns);
        let (input, output) = self.planes();
        let taps: Vec<_> = self.taps().map(|(ky, kx)| padded.tap(0, ky, kx)).collect();
        let channels = weights_gradient.par_chunks_mut(self.multiplier * taps.len()).enumerate();
        channels.for_each_init(Vec::new, |image, (channel, d)| {
            image.resize(padded.len(1) + STRIP, 0.0);
            d.fill(0.0);
            let gradients = output_gradient.chunks_exact(output * self.multiplier);
            for (x, g) in x.chunks_exact(input).zip(gradients).skip(channel).step_by(self.channels) {
                padded.fill(x, image);
                for (d, g) in d.chunks_exact_mut(taps.len()).zip(g.chunks_exact(output)) {
                    vectors(
                        #[inline(always)]
                        || {
                            for (d, tap) in d.iter_mut().zip(&taps) {
                                let rows = g.chunks_exact(self.columns.output).enumerate();
                                *d += rows
                                    .map(|(y, g)| short_dot(&image[tap + y * padded.row()..][..g.len()], g))
                                    .sum::<f32>();
                            }
                        },
                    );
                }
            }
        });
    }
}

/// Σ x y, in 8 sums.
#[inline(always)]
fn short_dot(x: &[f32], y: &[f32]) -> f32 {
    let ((xs, x), (ys, y)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (x, y) in xs.iter().zip(ys) {
        for (sum, (&x, &y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum = x.mul_add(y, *sum);
        }
    }
    sums.iter().sum::<f32>() + x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>()
}

impl Filter {
    #[inline(always)]
    fn apply(&self, image: &[f32], step: usize, weights: &[f32], bias: f32, add: bool, plane: &mut [f32]) {
        for y in 0..self.rows {
            let mut x = 0;
            while x < self.columns {
                let mut sums = [bias; STRIP];
                for &(tap, weight) in &self.taps {
                    let from = &image[tap + y * step + x..][..STRIP];
                    let weight = weights[weight];
                    sums.iter_mut().zip(from).for_each(|(sum, &from)| *sum = weight.mul_add(from, *sum));
                }
                let count = STRIP.min(self.columns - x);
                let start = self.place.start + y * self.place.row + x * self.place.column;
                let to = plane[start..].iter_mut().step_by(self.place.column);
                for (to, sum) in to.zip(&sums[..count]) {
                    *to = if add { *to + sum } else { *sum };
                }
                x += count;
            }
        }
    }
}
