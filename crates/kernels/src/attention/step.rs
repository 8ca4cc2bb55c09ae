//! One step of the tiled softmax: a block of up to 12 queries against a tile of up to 128 keys.
//!
//! Products on register tiles, then what lies between them: per score a maximum, 13 operations of an exponential and a sum,
//! against 2 · width of the products: a tenth at width 64. Maxima and sums stay vectors; a row's lanes are added up once,
//! at its end, and its maximum over lanes is only taken when the reference moves.

use pulp::{Simd, WithSimd};

use super::exp2::exp2;
use super::product::{self, Row, add_weighted, each_group, store};
use crate::training::tile::VECTORS;

/// How far, in powers of 2, scores may exceed their reference: sums of 2^8 · 2^24 keys are far from f32's end.
const SLACK: f32 = 8.0;
/// The reference before the first score. Not -∞: -∞ less -∞ is NaN.
pub(super) const LOWEST: f32 = f32::MIN / 2.0;

/// Keys side by side, and their values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Panel {
    /// Where it is in the packed keys.
    pub start: usize,
    /// Its first key.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// One block of rows and one tile of keys.
pub(super) struct Step<'a, const M: usize> {
    /// Numbers of a query.
    pub width: usize,
    /// Numbers of a value, with padding.
    pub padded: usize,
    /// The block of queries.
    pub q: &'a [f32],
    /// Where panels lie.
    pub data: &'a [f32],
    pub tile: &'a [Panel],
    /// For each row, the first key that it does not see; empty if all see all.
    pub limits: &'a [usize],
    /// Of any value.
    pub scores: &'a mut [Row; M],
    /// For each row, what its scores are compared to.
    pub reference: &'a mut [f32; M],
    /// For each row, a vector whose lanes are not yet added up.
    pub sums: &'a mut [f32],
    /// `[group][row][vectors of the group]`.
    pub out: &'a mut [f32],
}

impl<const M: usize> WithSimd for Step<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { width, padded, q, data, tile, limits, scores, reference, sums, out } = self;
        let (lanes, panel) = (S::F32_LANES, VECTORS * S::F32_LANES);
        let mut columns = 0;
        for &Panel { start, first, count } in tile {
            let keys = &data[start..][..panel * width];
            if count > lanes {
                store(simd, &product::scores::<S, M, VECTORS>(simd, q, keys), columns, scores);
            } else {
                store(simd, &product::scores::<S, M, 1>(simd, q, keys), columns, scores);
            }
            let end = columns + if count > lanes { panel } else { lanes };
            if columns + count < end {
                scores.iter_mut().for_each(|row| row[columns + count..end].fill(f32::NEG_INFINITY));
            }
            for (row, &limit) in scores.iter_mut().zip(limits) {
                if limit < first + count {
                    row[columns + limit.saturating_sub(first)..end].fill(f32::NEG_INFINITY);
                }
            }
            columns = end;
        }

        let (sums, _) = S::as_mut_simd_f32s(sums);
        for i in 0..M {
            let (row, _) = S::as_mut_simd_f32s(&mut scores[i][..columns]);
            let mut most = row[0];
            for score in &row[1..] {
                most = simd.max_f32s(most, *score);
            }
            let moved = simd.greater_than_f32s(most, simd.splat_f32s(reference[i] + SLACK));
            if simd.first_true_m32s(moved) < lanes {
                let next = simd.reduce_max_f32s(most);
                let factor = simd.splat_f32s((reference[i] - next).exp2());
                reference[i] = next;
                sums[i] = simd.mul_f32s(sums[i], factor);
                each_group!(S, M, out, padded / lanes, |_group, tile| {
                    for j in 0..tile[i].len() {
                        tile[i][j] = simd.mul_f32s(tile[i][j], factor);
                    }
                });
            }
            let reference = simd.splat_f32s(reference[i]);
            let mut sum = sums[i];
            for score in row {
                let power = exp2(simd, simd.sub_f32s(*score, reference));
                *score = power;
                sum = simd.add_f32s(sum, power);
            }
            sums[i] = sum;
        }

        each_group!(S, M, out, padded / lanes, |group, sums| {
            let mut tile_sums = *sums;
            let vectors = tile_sums[0].len();
            let mut column = 0;
            for &Panel { start, count, .. } in tile {
                let values = &data[start + panel * (width + group * panel)..][..count * vectors * lanes];
                add_weighted(simd, scores, column, values, &mut tile_sums);
                column += panel;
            }
            *sums = tile_sums;
        });
    }
}
