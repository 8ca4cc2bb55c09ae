//! Convolution of each channel by itself, prepared: [`tersor_kernels::training::depthwise`] without what it allocates.
//!
//! A strip of outputs stays in registers while the taps run by. Where rows are shorter than a strip, a plane is computed
//! as one long row, with the padding between its rows, which is forgotten: 7 x 7 outputs take 2 strips instead of 7.

use std::ops::Range;

use tersor_kernels::training::function::vectors;
use tersor_kernels::training::padded::Padded;
use tersor_kernels::window::Window;

use super::elementwise::Bounds;
use super::memory::{Call, Source};
use super::threads::{PARTS, split_with};

/// Outputs of a strip.
const STRIP: usize = 32;

/// Images `[images, channels, height, width]` to `[images, channels · multiplier, height', width']`.
pub(super) struct Depthwise {
    pub channels: usize,
    pub multiplier: usize,
    pub rows: Window,
    pub columns: Window,
    /// `[channels · multiplier, kernel rows, kernel columns]`.
    pub weights: Vec<f32>,
    /// One per output channel.
    pub bias: Vec<f32>,
    pub bounds: Bounds,
}

impl Depthwise {
    fn padded(&self) -> Padded {
        Padded::new(self.rows, self.columns)
    }

    /// Outputs of a plane as one long row.
    fn long(&self) -> usize {
        (self.rows.output - 1) * self.padded().row() + self.columns.output
    }

    /// Scratch of one part: the padded image, and the long row.
    fn own(&self) -> usize {
        self.padded().len(1) + STRIP + self.long() + STRIP
    }

    /// Scratch of a run.
    pub fn scratch(&self) -> usize {
        PARTS * self.own()
    }

    pub fn call(self, from: Source, to: Range<usize>) -> Call {
        let (padded, long, own) = (self.padded(), self.long(), self.own());
        let image_len = padded.len(1) + STRIP;
        let (rows, columns) = (self.rows, self.columns);
        let (input, output) = (rows.input * columns.input, rows.output * columns.output);
        let taps: Vec<usize> =
            (0..rows.kernel).flat_map(|ky| (0..columns.kernel).map(move |kx| padded.tap(0, ky, kx))).collect();
        let as_one = long.div_ceil(STRIP) < rows.output * columns.output.div_ceil(STRIP);
        let cost = self.multiplier * output * taps.len() / 2 + image_len;
        Box::new(move |frame| {
            let (operands, y, scratch) = frame.open(&to);
            let x = operands.get(&from);
            split_with(y, (output * self.multiplier, cost), (scratch, own), |first, y, scratch| {
                let (image, long_row) = scratch.split_at_mut(image_len);
                image.fill(0.0);
                let planes = x[first * input..].chunks_exact(input).zip(y.chunks_exact_mut(output * self.multiplier));
                for (plane, (x, y)) in planes.enumerate() {
                    padded.fill(x, image);
                    let channel = (first + plane) % self.channels * self.multiplier;
                    for (m, y) in y.chunks_exact_mut(output).enumerate() {
                        let o = channel + m;
                        let filter = Filter {
                            taps: &taps,
                            weights: &self.weights[o * taps.len()..][..taps.len()],
                            bias: self.bias[o],
                            bounds: self.bounds,
                        };
                        vectors(
                            #[inline(always)]
                            || {
                                if as_one {
                                    filter.row(image, &mut long_row[..long]);
                                    let rows = long_row.chunks(padded.row()).zip(y.chunks_exact_mut(columns.output));
                                    rows.for_each(|(from, y)| y.copy_from_slice(&from[..columns.output]));
                                } else {
                                    for (row, y) in y.chunks_exact_mut(columns.output).enumerate() {
                                        filter.row(&image[row * padded.row()..], y);
                                    }
                                }
                            },
                        );
                    }
                }
            });
        })
    }
}

struct Filter<'a> {
    taps: &'a [usize],
    weights: &'a [f32],
    bias: f32,
    bounds: Bounds,
}

impl Filter<'_> {
    /// Neighbouring outputs, the first of which is at the start of `image`. Plain loops over fixed numbers: what iterators
    /// make of the innermost loop may be calls.
    #[inline(always)]
    fn row(&self, image: &[f32], y: &mut [f32]) {
        for (i, y) in y.chunks_mut(STRIP).enumerate() {
            let mut sums = [self.bias; STRIP];
            for k in 0..self.taps.len() {
                let (from, weight) = (&image[self.taps[k] + i * STRIP..][..STRIP], self.weights[k]);
                for j in 0..STRIP {
                    sums[j] = weight.mul_add(from[j], sums[j]);
                }
            }
            for sum in &mut sums {
                *sum = self.bounds.clamp(*sum);
            }
            y.copy_from_slice(&sums[..y.len()]);
        }
    }
}
