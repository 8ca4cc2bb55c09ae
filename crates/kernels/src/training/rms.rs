//! RMS norm: y = γ x / √(mean(x²) + ε), over each row.
//!
//! With r = 1 / √(mean(x²) + ε), x̂ = r x and g = γ ∂L/∂y: ∂L/∂x = r (g - x̂ mean(g x̂)), ∂L/∂γ = Σ x̂ ∂L/∂y.
//!
//! Source: Zhang and Sennrich, *Root mean square layer normalization* (NeurIPS 2019), eq. 4.

use rayon::prelude::*;

use super::function::vectors;
use super::norm::dot;

/// Into how many parts rows are cut whose sums for γ are added up apart. Fixed, so that no sum depends on threads.
const PARTS: usize = 16;
/// Rows that a thread takes at least.
const ROWS: usize = 16;

/// RMS norm over rows of γ's length, x to `y`; gives r of each row.
pub fn rms_norm(x: &[f32], gamma: &[f32], epsilon: f32, y: &mut [f32]) -> Vec<f32> {
    let width = gamma.len();
    debug_assert!(x.len() == y.len() && x.len().is_multiple_of(width.max(1)));
    let rows = x.par_chunks(width).zip(y.par_chunks_mut(width)).with_min_len(ROWS);
    let row = |(x, y): (&[f32], &mut [f32])| {
        vectors(
            #[inline(always)]
            || {
                let r = 1.0 / (dot(x, x) / width as f32 + epsilon).sqrt();
                for i in 0..y.len().min(x.len()).min(gamma.len()) {
                    y[i] = x[i] * r * gamma[i];
                }
                r
            },
        )
    };
    rows.map(row).collect()
}

/// The gradients of [`rms_norm`]: of γ; that of x is put where that of y was. `r`: what [`rms_norm`] gave.
pub fn rms_norm_backward(x: &[f32], gamma: &[f32], r: &[f32], gradient: &mut [f32]) -> Vec<f32> {
    let width = gamma.len();
    let rows = r.len().div_ceil(PARTS).max(1);
    let part = |((x, gradient), r): ((&[f32], &mut [f32]), &[f32])| {
        vectors(
            #[inline(always)]
            || rows_backward(x, gamma, r, gradient),
        )
    };
    let parts: Vec<Vec<f32>> = (x.par_chunks(rows * width).zip(gradient.par_chunks_mut(rows * width)))
        .zip(r.par_chunks(rows))
        .map(part)
        .collect();
    parts.into_iter().fold(vec![0.0; width], |mut total, part| {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        total
    })
}

#[inline(always)]
fn rows_backward(x: &[f32], gamma: &[f32], r: &[f32], gradient: &mut [f32]) -> Vec<f32> {
    let width = gamma.len();
    let mut of_gamma = vec![0.0; width];
    for ((x, g), &r) in x.chunks_exact(width).zip(gradient.chunks_exact_mut(width)).zip(r) {
        for i in 0..width {
            of_gamma[i] = (g[i] * r).mul_add(x[i], of_gamma[i]);
            g[i] *= gamma[i];
        }
        let along = dot(g, x) * r * r / width as f32;
        for i in 0..width {
            g[i] = r * (g[i] - x[i] * along);
        }
    }
    of_gamma
}
