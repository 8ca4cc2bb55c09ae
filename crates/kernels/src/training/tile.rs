//! The register tiles under convolution: a small block of outputs stays in registers while the reduction runs by.
//!
//! On AVX2 (16 registers of 8 numbers) a tile is 4 rows of 3 vectors: per step 3 loads, 4 broadcasts and 12 fused
//! multiply-adds, two of which the machine starts in a cycle; so arithmetic, not loading, is the limit.

use pulp::Simd;

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
        let rows: [&[f32]; M] = std::array::from_fn(|i| &image[starts[i] + y * pitch..][..columns.len()]);
        for x in 0..columns.len() {
            let mut values = [0.0; M];
            for i in 0..M {
                values[i] = rows[i][x];
            }
            add_product(simd, &values, &columns[x], &mut tile);
        }
    }
    *sums = tile;
}
