//! Rotary positions: each pair of neighbours in a query or key is turned by an angle of its row's position, so that a
//! product of a query and a key knows how far apart they are.
//!
//! (x₂ᵢ, x₂ᵢ₊₁) to (c x₂ᵢ - s x₂ᵢ₊₁, s x₂ᵢ + c x₂ᵢ₊₁), c = cos θᵢ, s = sin θᵢ. The gradient is turned back.
//!
//! Source: Su et al., *RoFormer: enhanced transformer with rotary position embedding* (2021), section 3.2.

use rayon::prelude::*;

use super::function::vectors;

/// Rows that a thread takes at least.
const ROWS: usize = 16;

/// Which way pairs are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// By θ.
    Forth,
    /// By -θ: the inverse, and so the gradient.
    Back,
}

/// Turns `x`, `[…, rows, heads, width]`, in place. `cosines`, `sines`: of θ, `[rows, width / 2]`, for all heads alike.
///
/// # Panics
/// If `width` is odd or 0, or the slices do not fit each other.
pub fn rotate(x: &mut [f32], [heads, width]: [usize; 2], cosines: &[f32], sines: &[f32], turn: Turn) {
    let (half, row) = (width / 2, heads * width);
    assert!(width > 0 && width.is_multiple_of(2), "rotary: {width} numbers are no pairs");
    assert!(cosines.len() == sines.len() && cosines.len().is_multiple_of(half), "rotary: cosines and sines differ");
    let rows = cosines.len() / half;
    assert!(rows * row > 0 && x.len().is_multiple_of(rows * row), "rotary: rows are no multiple of {rows}");
    let sign = if turn == Turn::Forth { 1.0 } else { -1.0 };
    x.par_chunks_mut(row).with_min_len(ROWS).enumerate().for_each(|(index, x)| {
        let at = index % rows * half;
        let (cosines, sines) = (&cosines[at..][..half], &sines[at..][..half]);
        vectors(
            #[inline(always)]
            || {
                for head in x.chunks_exact_mut(width) {
                    for ((pair, c), s) in head.as_chunks_mut::<2>().0.iter_mut().zip(cosines).zip(sines) {
                        let ([a, b], s) = (*pair, sign * s);
                        *pair = [c * a - s * b, s * a + c * b];
                    }
                }
            },
        );
    });
}
