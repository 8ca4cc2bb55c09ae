//! Softmax along rows, its logarithm, and the cross-entropy with labels, each with its gradient.

use rayon::prelude::*;

use super::function::{exp, vectors};
use super::norm::{dot, sum};

/// Numbers that one task takes.
const PART: usize = 16 << 10;

fn rows_of_part(width: usize) -> usize {
    (PART / width.max(1)).max(1) * width.max(1)
}

/// The largest number of a row, at least the lowest finite one.
#[inline(always)]
pub fn largest(row: &[f32]) -> f32 {
    let (eights, rest) = row.as_chunks::<32>();
    let mut most = [f32::MIN; 32];
    for eight in eights {
        for (most, &x) in most.iter_mut().zip(eight) {
            *most = if x > *most { x } else { *most };
        }
    }
    most.iter().chain(rest).fold(f32::MIN, |most, &x| if x > most { x } else { most })
}

/// y = e^(x - max x), and its sum.
#[inline(always)]
pub fn exponentials(x: &[f32], largest: f32, y: &mut [f32]) -> f32 {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = exp(x - largest));
    sum(y)
}

/// y = e^x / Σ e^x along rows of `width` numbers.
pub fn softmax(x: &[f32], width: usize, y: &mut [f32]) {
    let part = rows_of_part(width);
    x.par_chunks(part).zip(y.par_chunks_mut(part)).for_each(|(x, y)| {
        vectors(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                    let scale = 1.0 / exponentials(x, largest(x), y);
                    y.iter_mut().for_each(|y| *y *= scale);
                }
            },
        );
    });
}

/// ∂L/∂x = y (∂L/∂y - Σ y ∂L/∂y), from y.
pub fn softmax_backward(y: &[f32], output_gradient: &[f32], width: usize, input_gradient: &mut [f32]) {
    let part = rows_of_part(width);
    let parts = y.par_chunks(part).zip(output_gradient.par_chunks(part)).zip(input_gradient.par_chunks_mut(part));
    parts.for_each(|((y, g), d)| {
        vectors(
            #[inline(always)]
            || {
                for ((y, g), d) in y.chunks_exact(width).zip(g.chunks_exact(width)).zip(d.chunks_exact_mut(width)) {
                    let along = dot(y, g);
                    d.iter_mut().zip(y.iter().zip(g)).for_each(|(d, (y, g))| *d = y * (g - along));
                }
            },
        );
    });
}

/// y = x - ln Σ e^x along rows of `width` numbers.
pub fn log_softmax(x: &[f32], width: usize, y: &mut [f32]) {
    let part = rows_of_part(width);
    x.par_chunks(part).zip(y.par_chunks_mut(part)).for_each(|(x, y)| {
        vectors(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                    let largest = largest(x);
                    let logarithm = largest + exponentials(x, largest, y).ln();
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = x - logarithm);
                }
            },
        );
    });
}

/// ∂L/∂x = ∂L/∂y - e^y Σ ∂L/∂y, from y.
pub fn log_softmax_backward(y: &[f32], output_gradient: &[f32], width: usize, input_gradient: &mut [f32]) {
    let part = rows_of_part(width);
    let parts = y.par_chunks(part).zip(output_gradient.par_chunks(part)).zip(input_gradient.par_chunks_mut(part));
    parts.for_each(|((y, g), d)| {
        vectors(
            #[inline(always)]
            || {
                for ((y, g), d) in y.chunks_exact(width).zip(g.chunks_exact(width)).zip(d.chunks_exact_mut(width)) {
                    let total = sum(g);
                    d.iter_mut().zip(y.iter().zip(g)).for_each(|(d, (&y, g))| *d = (-total).mul_add(exp(y), *g));
                }
            },
        );
    });
}

/// The mean over rows of -ln softmax(x) at the row's label, and ∂/∂x of it: (softmax(x) - [label]) / rows.
///
/// `labels`: one per row, below `width`.
pub fn cross_entropy(x: &[f32], labels: &[u32], width: usize, gradient: &mut [f32]) -> f32 {
    debug_assert!(labels.iter().all(|&label| (label as usize) < width));
    let rows = labels.len();
    let scale = 1.0 / rows as f32;
    let of_row = |(x, (&label, d)): (&[f32], (&u32, &mut [f32]))| {
        vectors(
            #[inline(always)]
            || {
                let largest = largest(x);
                let total = exponentials(x, largest, d);
                let scale = scale / total;
                d.iter_mut().for_each(|d| *d *= scale);
                d[label as usize] -= 1.0 / rows as f32;
                largest + total.ln() - x[label as usize]
            },
        )
    };
    let least = (PART / width.max(1)).max(1);
    let losses: Vec<f32> = x
        .par_chunks(width)
        .zip(labels.par_iter().zip(gradient.par_chunks_mut(width)))
        .with_min_len(least)
        .map(of_row)
        .collect();
    losses.iter().sum::<f32>() * scale
}
