//! The register tiles under convolution: a small block of outputs stays in registers while the reduction runs by.
//!
//! On AVX2 (16 registers of 8 numbers) a tile is 6 rows of 2 vectors: per step 2 loads, 6 broadcasts and 12 fused
//! multiply-adds, two of which the machine starts in a cycle; so arithmetic, not loading, is the limit.

use pulp::Simd;

/// Rows of a tile, at most.
pub const ROWS: usize = 6;
/// Vectors of a row of a tile.
pub const VECTORS: usize = 2;

/// `count` rows in blocks of nearly equal size, at most [`ROWS`]: first row and number of rows of the block at `index`.
#[inline(always)]
pub fn block(count: usize, index: usize) -> (usize, usize) {
    let blocks = count.div_ceil(ROWS);
    let (rows, more) = (count / blocks, count % blocks);
    (index * rows + index.min(more), rows + usize::from(index < more))
}

/// Evaluates an expression with the constant `M` for the number of rows of a block.
macro_rules! by_rows {
    (@ $rows:expr, $value:expr) => {{
        const M: usize = $rows;
        $value
    }};
    ($rows:expr, $value:expr) => {
        match $rows {
            1 => by_rows!(@ 1, $value),
            2 => by_rows!(@ 2, $value),
            3 => by_rows!(@ 3, $value),
            4 => by_rows!(@ 4, $value),
            5 => by_rows!(@ 5, $value),
            _ => by_rows!(@ ROWS, $value),
        }
    };
}
pub(super) use by_rows;

/// Adds `Σ_k rows[k][i] · columns[k][j]` to `sums[i][j]`.
///
/// `rows`: `[k][M]`; `columns`: `[k][N]`, N vectors.
#[inline(always)]
pub fn outer<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: &[f32],
    columns: &[f32],
    sums: &mut [[S::f32s; N]; M],
) {
    let (rows, _) = rows.as_chunks::<M>();
    let (columns, _) = S::as_simd_f32s(columns);
    let (columns, _) = columns.as_chunks::<N>();
    let mut tile = *sums;
    let steps = rows.len().min(columns.len());
    let (rows, columns) = (&rows[..steps], &columns[..steps]);
    for k in 0..steps {
        add_product(simd, &rows[k], &columns[k], &mut tile);
    }
    *sums = tile;
}

/// Adds `Σ_k rows[k][i] · image[starts[j] + offsets[k] ..]` to `sums[i][j]`: [`outer`] whose columns are vectors that lie
/// in an image.
#[inline(always)]
pub fn outer_of_image<S: Simd, const M: usize, const N: usize>(
    simd: S,
    rows: &[f32],
    image: &[f32],
    (offsets, starts): (&[usize], [usize; N]),
    sums: &mut [[S::f32s; N]; M],
) {
    let (rows, _) = rows.as_chunks::<M>();
    let places = starts.map(|start| &image[start..]);
    let steps = rows.len().min(offsets.len());
    let (rows, offsets) = (&rows[..steps], &offsets[..steps]);
    let mut tile = *sums;
    for k in 0..steps {
        let mut column = [simd.splat_f32s(0.0); N];
        for j in 0..N {
            column[j] = S::as_simd_f32s(&places[j][offsets[k]..][..S::F32_LANES]).0[0];
        }
        add_product(simd, &rows[k], &column, &mut tile);
    }
    *sums = tile;
}

/// Adds `row[i] · column[j]` to `tile[i][j]`. Plain loops over fixed numbers, which the compiler unrolls wherever it stands;
/// iterators in the innermost loop it may leave as calls.
#[inline(always)]
fn add_product<S: Simd, const M: usize, const N: usize>(
    simd: S,
    row: &[f32; M],
    column: &[S::f32s; N],
    tile: &mut [[S::f32s; N]; M],
) {
    for i in 0..M {
        let value = simd.splat_f32s(row[i]);
        for j in 0..N {
            tile[i][j] = simd.mul_add_e_f32s(value, column[j], tile[i][j]);
        }
    }
}

/// Adds `Σ_{y, x} image[starts[i] + y · pitch + x] · columns[y · width + x][j]` to `sums[i][j]`.
///
/// This is [`outer`] whose rows are read where they lie in an image.
#[inline(always)]
pub fn outer_in_image<S: Simd, const M: usize, const N: usize>(
    simd: S,
    (image, pitch, width): (&[f32], usize, usize),
    starts: &[usize; M],
    columns: &[f32],
    sums: &mut [[S::f32s; N]; M],
) {
    let (columns, _) = S::as_simd_f32s(columns);
    let (columns, _) = columns.as_chunks::<N>();
    let mut tile = *sums;
    for (y, columns) in columns.chunks_exact(width).enumerate() {
        // Rows of equal, known length, so that no read is checked twice.
        let mut rows = [&image[..0]; M];
        for i in 0..M {
            rows[i] = &image[starts[i] + y * pitch..][..columns.len()];
        }
        for x in 0..columns.len() {
            for i in 0..M {
                let value = simd.splat_f32s(rows[i][x]);
                for j in 0..N {
                    tile[i][j] = simd.mul_add_e_f32s(value, columns[x][j], tile[i][j]);
                }
            }
        }
    }
    *sums = tile;
}
