//! The dense forms: what pruning is measured against, and what serves where too little is pruned.
//!
//! A linear layer for one row of x reads its matrix once, four rows at a time, as fast as memory gives it (on Zen 3 one
//! row at a time reaches three quarters of that). More rows share what is read; from eight on it is a product of matrices.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::ending::Ending;
use crate::training::convolution::Convolution;
use crate::training::depthwise::Depthwise;
use crate::training::function::vectors;
use crate::training::lanes::dispatch_half;
use crate::training::matrix::{Out, Threads, View, product};

/// Outputs that one task takes.
const PART: usize = 64;
/// Rows of the matrix that are read at once.
const ROWS: usize = 4;
/// Rows of x that share what is read, at most.
pub(super) const SHARE: usize = 4;
/// From so many rows of x on it is a product of matrices.
pub(super) const MANY: usize = 8;
/// Numbers of a matrix that are worth a second thread.
const WORTH_THREADS: usize = 256 << 10;
/// Numbers that one task ends.
const ENDED: usize = 16 << 10;

/// y = ending(x Wᵀ + b): `x` `[batch][inputs]`, `weights` `[outputs][inputs]`, `bias` `[outputs]`, `y` `[batch][outputs]`.
pub fn linear(
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    (outputs, inputs): (usize, usize),
    ending: Ending,
    y: &mut [f32],
) {
    let batch = y.len() / outputs.max(1);
    debug_assert_eq!((x.len(), weights.len(), y.len()), (batch * inputs, outputs * inputs, batch * outputs));
    if batch >= MANY {
        let (x, w) = (View::rows(x, inputs), View::rows(weights, inputs).t());
        product((batch, inputs, outputs), x, w, 1.0, Out::rows(y, outputs), Threads::All);
        return end_rows(bias, outputs, ending, y);
    }
    for (x, y) in x.chunks(SHARE * inputs.max(1)).zip(y.chunks_mut(SHARE * outputs.max(1))) {
        let few = y.len() / outputs;
        if few == 1 && outputs * inputs >= WORTH_THREADS && rayon::current_num_threads() > 1 {
            y.par_chunks_mut(PART).enumerate().for_each(|(part, y)| {
                let weights = &weights[part * PART * inputs..][..y.len() * inputs];
                dispatch_half(Rows { x, weights, inputs, y });
            });
        } else {
            dispatch_half(Rows { x, weights, inputs, y });
        }
    }
    if inputs == 0 {
        y.fill(0.0);
    }
    end_rows(bias, outputs, ending, y);
}

fn end_rows(bias: Option<&[f32]>, outputs: usize, ending: Ending, y: &mut [f32]) {
    if bias.is_none() && ending == Ending::None || outputs == 0 {
        return;
    }
    let end = |y: &mut [f32]| {
        vectors(
            #[inline(always)]
            || y.chunks_exact_mut(outputs).for_each(|y| ending.after(bias, y)),
        );
    };
    if y.len() <= ENDED { end(y) } else { y.par_chunks_mut(ENDED.div_ceil(outputs) * outputs).for_each(end) }
}

/// y = ending(x ∗ w + b), as `geometry` has the shapes.
pub fn convolution(
    geometry: &Convolution,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    ending: Ending,
    y: &mut [f32],
) {
    let (rows, columns, channels) = (geometry.rows, geometry.columns, geometry.in_channels);
    let bias = bias.unwrap_or(&[]);
    if is_pointwise(geometry) {
        return pointwise(geometry, x, weights, bias, ending, y);
    }
    if geometry.groups == channels && channels > 1 {
        let depthwise = Depthwise { channels, multiplier: geometry.out_channels / channels, rows, columns };
        depthwise.forward(x, weights, bias, y);
    } else {
        geometry.forward(x, weights, bias, y);
    }
    if ending != Ending::None {
        let end = |y: &mut [f32]| {
            vectors(
                #[inline(always)]
                || ending.after(None, y),
            );
        };
        if y.len() <= ENDED { end(y) } else { y.par_chunks_mut(ENDED).for_each(end) }
    }
}

/// Whether each output pixel sees the one pixel above it, in all channels.
pub fn is_pointwise(geometry: &Convolution) -> bool {
    geometry.groups == 1 && geometry.rows.is_identity() && geometry.columns.is_identity()
}

/// A 1x1 convolution is a product of matrices for each image.
fn pointwise(geometry: &Convolution, x: &[f32], weights: &[f32], bias: &[f32], ending: Ending, y: &mut [f32]) {
    let (inputs, outputs) = (geometry.in_channels, geometry.out_channels);
    let pixels = geometry.rows.input * geometry.columns.input;
    for (x, y) in x.chunks_exact(inputs * pixels).zip(y.chunks_exact_mut(outputs * pixels)) {
        let (weights, x) = (View::rows(weights, inputs), View::rows(x, pixels));
        product((outputs, inputs, pixels), weights, x, 1.0, Out::rows(y, pixels), Threads::All);
    }
    if bias.is_empty() && ending == Ending::None {
        return;
    }
    let end = |(plane, y): (usize, &mut [f32])| {
        let bias = bias.get(plane % outputs).copied().unwrap_or(0.0);
        vectors(
            #[inline(always)]
            || y.iter_mut().for_each(|y| *y = ending.of(*y + bias)),
        );
    };
    if y.len() <= ENDED {
        y.chunks_exact_mut(pixels).enumerate().for_each(end);
    } else {
        y.par_chunks_exact_mut(pixels).enumerate().for_each(end);
    }
}

/// Some outputs of one to four rows of x.
struct Rows<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    inputs: usize,
    /// `[rows of x][outputs]`.
    y: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.inputs == 0 {
            return;
        }
        match self.x.len() / self.inputs {
            1 => self.run::<S, 1, 2>(simd),
            2 => self.run::<S, 2, 1>(simd),
            3 => self.run::<S, 3, 1>(simd),
            _ => self.run::<S, SHARE, 1>(simd),
        }
    }
}

impl Rows<'_> {
    /// B rows of x; U vectors side by side, so that no sum waits for the one before.
    #[inline(always)]
    fn run<S: Simd, const B: usize, const U: usize>(self, simd: S) {
        let Self { x, weights, inputs, y } = self;
        let outputs = y.len() / B;
        let whole = outputs / ROWS * ROWS;
        for row in (0..whole).step_by(ROWS) {
            let sums = dots::<S, ROWS, B, U>(simd, &weights[row * inputs..][..ROWS * inputs], x, inputs);
            for b in 0..B {
                for r in 0..ROWS {
                    y[b * outputs + row + r] = sums[r][b];
                }
            }
        }
        for row in whole..outputs {
            let sums = dots::<S, 1, B, U>(simd, &weights[row * inputs..][..inputs], x, inputs);
            for b in 0..B {
                y[b * outputs + row] = sums[0][b];
            }
        }
    }
}

/// The products of R rows of the matrix and B of x.
#[inline(always)]
fn dots<S: Simd, const R: usize, const B: usize, const U: usize>(
    simd: S,
    weights: &[f32],
    x: &[f32],
    inputs: usize,
) -> [[f32; B]; R] {
    let step = U * S::F32_LANES;
    let whole = inputs / step * step;
    let mut w = [&weights[..0]; R];
    for r in 0..R {
        w[r] = &weights[r * inputs..][..inputs];
    }
    let mut rows = [&x[..0]; B];
    for b in 0..B {
        rows[b] = &x[b * inputs..][..inputs];
    }
    let w_vectors = w.map(|w| S::as_simd_f32s(&w[..whole]).0.as_chunks::<U>().0);
    let x_vectors = rows.map(|x| S::as_simd_f32s(&x[..whole]).0.as_chunks::<U>().0);
    let count = whole / step;
    let (w_vectors, x_vectors) = (w_vectors.map(|w| &w[..count]), x_vectors.map(|x| &x[..count]));
    let mut sums = [[[simd.splat_f32s(0.0); U]; B]; R];
    for k in 0..count {
        for u in 0..U {
            for r in 0..R {
                for b in 0..B {
                    sums[r][b][u] = simd.mul_add_e_f32s(w_vectors[r][k][u], x_vectors[b][k][u], sums[r][b][u]);
                }
            }
        }
    }
    let mut out = [[0.0; B]; R];
    for r in 0..R {
        for b in 0..B {
            let mut sum = sums[r][b][0];
            for other in &sums[r][b][1..] {
                sum = simd.add_f32s(sum, *other);
            }
            out[r][b] = simd.reduce_sum_f32s(sum);
            for k in whole..inputs {
                out[r][b] += w[r][k] * rows[b][k];
            }
        }
    }
    out
}
