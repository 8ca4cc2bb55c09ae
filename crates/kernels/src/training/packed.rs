//! A matrix that is packed once and multiplied by a few rows many times, as a recurrence does.
//!
//! A general product packs both factors at each call, which for few rows costs as much as the product.

use pulp::{Arch, Simd, WithSimd};

use super::tile::{ROWS, VECTORS, block, by_rows, outer};

/// A matrix of `depth` rows as panels of two vectors' columns: `[panel][depth][columns of a panel]`.
#[derive(Debug, Clone)]
pub struct Packed {
    depth: usize,
    columns: usize,
    width: usize,
    panels: Vec<f32>,
}

/// Rows in a slice: row r starts at `start + r · pitch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Where the first row starts.
    pub start: usize,
    /// From one row to the next.
    pub pitch: usize,
    /// How many.
    pub count: usize,
}

impl Packed {
    /// Packs the matrix whose entry (k, n) is `at(k, n)`.
    pub fn new((depth, columns): (usize, usize), at: impl Fn(usize, usize) -> f32) -> Self {
        let width = VECTORS * Arch::new().dispatch(Lanes);
        let mut panels = vec![0.0; columns.div_ceil(width) * depth * width];
        for (panel, rows) in panels.chunks_exact_mut((depth * width).max(1)).enumerate() {
            let first = panel * width;
            for (k, row) in rows.chunks_exact_mut(width).enumerate() {
                for (n, value) in (first..columns).zip(row) {
                    *value = at(k, n);
                }
            }
        }
        Self { depth, columns, width, panels }
    }

    /// Adds `x M` to `out`: rows of `depth` numbers in `x`, rows of the matrix' columns in `out`. `scratch` is kept between
    /// calls.
    ///
    /// # Panics
    /// If the rows do not lie in their slices, or are not as many.
    pub fn add_product(&self, x: &[f32], from: Rows, out: &mut [f32], to: Rows, scratch: &mut Vec<f32>) {
        assert_eq!(from.count, to.count, "as many rows out as in");
        scratch.resize(from.count * self.depth, 0.0);
        for index in 0..from.count.div_ceil(ROWS) {
            let (first, rows) = block(from.count, index);
            let block = &mut scratch[first * self.depth..][..rows * self.depth];
            for row in 0..rows {
                let values = &x[from.start + (first + row) * from.pitch..][..self.depth];
                for (to, value) in block[row..].iter_mut().step_by(rows).zip(values) {
                    *to = *value;
                }
            }
        }
        Arch::new().dispatch(Multiply { matrix: self, rows: scratch, out, to });
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Multiply<'a> {
    matrix: &'a Packed,
    rows: &'a [f32],
    out: &'a mut [f32],
    to: Rows,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { matrix: &Packed { depth, columns, width, ref panels }, rows, out, to } = self;
        for (panel, values) in panels.chunks_exact((depth * width).max(1)).enumerate() {
            let first = panel * width;
            let count = width.min(columns - first);
            for index in 0..to.count.div_ceil(ROWS) {
                let (row, block) = block(to.count, index);
                let rows = &rows[row * depth..][..block * depth];
                let start = to.start + row * to.pitch + first;
                by_rows!(block, add_tile::<S, M>(simd, rows, values, &mut out[start..], (to.pitch, count)));
            }
        }
    }
}

/// Adds a tile's product to M rows of `count` numbers in `out`.
#[inline(always)]
fn add_tile<S: Simd, const M: usize>(
    simd: S,
    rows: &[f32],
    panel: &[f32],
    out: &mut [f32],
    (pitch, count): (usize, usize),
) {
    let mut tile = [[simd.splat_f32s(0.0); VECTORS]; M];
    outer(simd, rows, panel, &mut tile);
    for (i, sums) in tile.iter().enumerate() {
        let sums: &[f32] = pulp::bytemuck::cast_slice(sums);
        let out = &mut out[i * pitch..][..count];
        for j in 0..count {
            out[j] += sums[j];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_formula() {
        for (count, depth, columns) in [(1, 1, 1), (5, 7, 3), (6, 16, 16), (13, 9, 37)] {
            let x: Vec<f32> = (0..count * (depth + 2) + 1).map(|i| (i as f32 * 0.7).sin()).collect();
            let at = |k: usize, n: usize| ((k * columns + n) as f32 * 0.3).cos();
            let mut out = vec![1.0; 2 + count * (columns + 1)];
            let from = Rows { start: 1, pitch: depth + 2, count };
            let to = Rows { start: 2, pitch: columns + 1, count };
            Packed::new((depth, columns), at).add_product(&x, from, &mut out, to, &mut Vec::new());
            for r in 0..count {
                for n in 0..columns {
                    let sum: f32 = (0..depth).map(|k| x[1 + r * (depth + 2) + k] * at(k, n)).sum();
                    assert!((out[2 + r * (columns + 1) + n] - 1.0 - sum).abs() < 1e-5);
                }
                assert!(out.get(2 + r * (columns + 1) + columns).is_none_or(|&between| between == 1.0));
            }
        }
    }
}
