//! The products on register tiles: up to 12 rows of two vectors where a machine has 32 registers, 6 where it has 16.
//!
//! All three forms of a product are one loop: per step two loads of vectors, a broadcast per row, and two fused
//! multiply-adds per row. With 12 rows of AVX-512 that is 24 multiply-adds in 12 cycles beside 14 loads in 7, so that
//! arithmetic is the limit; 6 rows of AVX2 take 6 cycles and 8 loads in 4.

use pulp::Simd;

/// Keys that are scored at once.
pub(super) const KEYS: usize = 128;
/// From one row of scores to the next: not a power of 2, or a column of them would lie in few sets of the cache.
pub(super) const PITCH: usize = KEYS + 16;
/// A row of scores, or of their exponentials or gradients.
pub(super) type Row = [f32; PITCH];
/// Rows of a register tile.
#[inline(always)]
pub(crate) const fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 12 } else { 6 }
}

/// `count` rows in blocks of nearly equal size, at most `most`: first row and number of rows of the block at `index`.
#[inline(always)]
pub(crate) fn block(count: usize, index: usize, most: usize) -> (usize, usize) {
    let blocks = count.div_ceil(most);
    let (rows, more) = (count / blocks, count % blocks);
    (index * rows + index.min(more), rows + usize::from(index < more))
}

/// Evaluates an expression with the constant `M` for the number of rows of a block.
macro_rules! by_rows {
    (@ $rows:expr, $value:expr) => {{
        const M: usize = $rows;
        $value
    }};
    ($simd:ty, $rows:expr, $value:expr) => {
        match $rows {
            1 => by_rows!(@ 1, $value),
            2 => by_rows!(@ 2, $value),
            3 => by_rows!(@ 3, $value),
            4 => by_rows!(@ 4, $value),
            5 => by_rows!(@ 5, $value),
            6 => by_rows!(@ 6, $value),
            // Tiles that only machines with 32 registers have.
            rows if const { $crate::attention::product::rows::<$simd>() > 6 } => match rows {
                7 => by_rows!(@ 7, $value),
                8 => by_rows!(@ 8, $value),
                9 => by_rows!(@ 9, $value),
                10 => by_rows!(@ 10, $value),
                11 => by_rows!(@ 11, $value),
                _ => by_rows!(@ 12, $value),
            },
            _ => unreachable!("blocks have at most 6 rows here"),
        }
    };
}
pub(crate) use by_rows;

/// `Σ_k rows[k][i] · columns[k][j]`: `rows` is a block of M rows, `columns` are N vectors for each of their numbers.
#[inline(always)]
pub(crate) fn scores<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: &[f32],
    columns: &[f32],
) -> [[S::f32s; N]; M] {
    let (rows, _) = rows.as_chunks::<M>();
    let (columns, _) = S::as_simd_f32s(columns);
    let (columns, _) = columns.as_chunks::<N>();
    let steps = rows.len().min(columns.len());
    let (rows, columns) = (&rows[..steps], &columns[..steps]);
    let mut tile = [[simd.splat_f32s(0.0); N]; M];
    for k in 0..steps {
        for i in 0..M {
            let value = simd.splat_f32s(rows[k][i]);
            for j in 0..N {
                tile[i][j] = simd.mul_add_e_f32s(value, columns[k][j], tile[i][j]);
            }
        }
    }
    tile
}

/// N vectors of each of M rows of scores, at `column`.
#[inline(always)]
pub(super) fn store<S: Simd, const M: usize, const N: usize>(
    _: S,
    tile: &[[S::f32s; N]; M],
    column: usize,
    scores: &mut [Row; M],
) {
    for i in 0..M {
        let (row, _) = S::as_mut_simd_f32s(&mut scores[i][column..][..N * S::F32_LANES]);
        row.copy_from_slice(&tile[i]);
    }
}

/// Adds `Σ_c weights[i][column + c] · values[c][j]` to `sums[i][j]`: `values` are N vectors for each column.
#[inline(always)]
pub(super) fn add_weighted<S: Simd, const M: usize, const N: usize>(
    simd: S,
    weights: &[Row; M],
    column: usize,
    values: &[f32],
    sums: &mut [[S::f32s; N]; M],
) {
    let (values, _) = S::as_simd_f32s(values);
    let (values, _) = values.as_chunks::<N>();
    assert!(column + values.len() <= PITCH, "there are so many weights");
    let mut tile = *sums;
    for (c, values) in values.iter().enumerate() {
        for i in 0..M {
            // SAFETY: as asserted; checked in the loop, it would be in every step and row.
            let weight = simd.splat_f32s(unsafe { *weights[i].get_unchecked(column + c) });
            for j in 0..N {
                tile[i][j] = simd.mul_add_e_f32s(weight, values[j], tile[i][j]);
            }
        }
    }
    *sums = tile;
}

/// Adds `Σ_r weights[r][column + i] · values[r][j]` to `sums[i][j]`: the transpose of `weights` times `values`, which are N
/// vectors for each row.
#[inline(always)]
pub(super) fn add_transposed<S: Simd, const M: usize, const N: usize>(
    simd: S,
    weights: &[Row],
    column: usize,
    values: &[f32],
    sums: &mut [[S::f32s; N]; M],
) {
    let (values, _) = S::as_simd_f32s(values);
    let (values, _) = values.as_chunks::<N>();
    assert!(column + M <= PITCH && values.len() <= weights.len(), "there are so many weights");
    let mut tile = *sums;
    for (r, values) in values.iter().enumerate() {
        for (i, sums) in tile.iter_mut().enumerate() {
            // SAFETY: as asserted.
            let weight = simd.splat_f32s(unsafe { *weights.get_unchecked(r).get_unchecked(column + i) });
            for j in 0..N {
                sums[j] = simd.mul_add_e_f32s(weight, values[j], sums[j]);
            }
        }
    }
    *sums = tile;
}

/// Applies a function to each group of two vectors of `sums`, `[group][M][vectors]`, of a width of `vectors` vectors; a group
/// of one vector may be the last. The function gets the group's number.
macro_rules! each_group {
    ($simd:ty, $m:ident, $sums:expr, $vectors:expr, |$group:ident, $tile:ident| $add:expr) => {{
        let (all, _) = <$simd>::as_mut_simd_f32s($sums);
        let whole = $vectors / VECTORS;
        let (pairs, last) = all.split_at_mut(whole * VECTORS * $m);
        let (pairs, _) = pairs.as_chunks_mut::<VECTORS>();
        let (pairs, _) = pairs.as_chunks_mut::<$m>();
        for ($group, $tile) in pairs.iter_mut().enumerate() {
            $add;
        }
        let (last, _) = last.as_chunks_mut::<1>();
        let (last, _) = last.as_chunks_mut::<$m>();
        for $tile in last.iter_mut().take($vectors % VECTORS) {
            let $group = whole;
            $add;
        }
    }};
}
pub(super) use each_group;

#[cfg(test)]
mod tests {
    use super::block;

    #[test]
    fn blocks_cover_all_rows_evenly() {
        for most in [6, 12] {
            for count in 1..300_usize {
                let blocks: Vec<_> = (0..count.div_ceil(most)).map(|index| block(count, index, most)).collect();
                assert!(blocks.iter().all(|(_, rows)| (1..=most).contains(rows)));
                assert!(blocks.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0 && pair[0].1 <= pair[1].1 + 1));
                assert_eq!((blocks[0].0, blocks.iter().map(|(_, rows)| rows).sum::<usize>()), (0, count));
            }
        }
    }
}
