//! Products of matrices, on the crate `gemm`.

use gemm::Parallelism;
use rayon::prelude::*;

use super::function::vectors;

/// Rows that one task takes.
const ROWS: usize = 64;
/// Into how many parts rows are cut that are summed apart. Fixed, so that no sum depends on threads.
const PARTS: usize = 16;

/// Whether a product takes all threads of the pool, or only its own: products inside a parallel loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// All.
    All,
    /// This one.
    Own,
}

/// Products with less than so many multiply-adds are not worth a second thread.
const WORTH_THREADS: usize = 64 * 64 * 64;

/// A matrix in a slice: entry (r, c) is at `start + r · row + c · column`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Where entry (0, 0) is.
    pub start: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

impl<'a> View<'a> {
    /// Rows of `columns` numbers, one after another.
    pub fn rows(data: &'a [f32], columns: usize) -> Self {
        Self { data, start: 0, row: columns, column: 1 }
    }

    /// Rows of any pitch, from `start` on.
    pub fn pitched(data: &'a [f32], start: usize, row: usize) -> Self {
        Self { data, start, row, column: 1 }
    }

    /// Its transpose.
    pub fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        holds(self.data.len(), self.start, (rows, self.row), (columns, self.column))
    }
}

fn holds(length: usize, start: usize, rows: (usize, usize), columns: (usize, usize)) -> bool {
    rows.0 == 0 || columns.0 == 0 || start + (rows.0 - 1) * rows.1 + (columns.0 - 1) * columns.1 < length
}

/// Where a product goes: as [`View`], with columns one apart.
#[derive(Debug)]
pub struct Out<'a> {
    /// The numbers.
    pub data: &'a mut [f32],
    /// Where entry (0, 0) is.
    pub start: usize,
    /// From one row to the next, at least the number of columns.
    pub row: usize,
    /// Whether the product is added to what is there.
    pub add: bool,
}

impl<'a> Out<'a> {
    /// Rows of `columns` numbers, to be overwritten.
    pub fn rows(data: &'a mut [f32], columns: usize) -> Self {
        Self { data, start: 0, row: columns, add: false }
    }

    /// Rows of `columns` numbers, to be added to.
    pub fn added(data: &'a mut [f32], columns: usize) -> Self {
        Self { add: true, ..Self::rows(data, columns) }
    }
}

/// out (+)= scale · a b, with a `[m, k]` and b `[k, n]`.
///
/// # Panics
/// If a matrix does not lie in its slice.
pub fn product((m, k, n): (usize, usize, usize), a: View<'_>, b: View<'_>, scale: f32, out: Out<'_>, threads: Threads) {
    assert!(a.holds(m, k) && b.holds(k, n) && out.row >= n, "a factor does not lie in its slice");
    assert!(holds(out.data.len(), out.start, (m, out.row), (n, 1)), "the product does not lie in its slice");
    if m == 0 || n == 0 {
        return;
    }
    let worth = threads == Threads::All && m * n * k >= WORTH_THREADS;
    let parallelism = if worth { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: each matrix lies in its slice, as asserted, and `out`, borrowed alone, is apart from the others.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.data.as_mut_ptr().add(out.start),
            1,
            out.row as isize,
            out.add,
            a.data.as_ptr().add(a.start),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr().add(b.start),
            b.column as isize,
            b.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// y = x w + b for rows x: `x` `[rows, inputs]`, `weights` `[inputs, outputs]`, `bias` `[outputs]` or empty.
pub fn linear(x: &[f32], weights: &[f32], bias: &[f32], (inputs, outputs): (usize, usize), y: &mut [f32]) {
    let rows = y.len() / outputs.max(1);
    let out = Out::rows(y, outputs);
    product((rows, inputs, outputs), View::rows(x, inputs), View::rows(weights, outputs), 1.0, out, Threads::All);
    if !bias.is_empty() {
        y.par_chunks_mut(ROWS * outputs).for_each(|rows| {
            for row in rows.chunks_exact_mut(outputs) {
                for (y, bias) in row.iter_mut().zip(bias) {
                    *y += bias;
                }
            }
        });
    }
}

/// ∂L/∂x of [`linear`]: ∂L/∂y wᵀ.
pub fn linear_backward_input(gradient: &[f32], weights: &[f32], (inputs, outputs): (usize, usize), d: &mut [f32]) {
    let rows = gradient.len() / outputs.max(1);
    let (g, w) = (View::rows(gradient, outputs), View::rows(weights, outputs).t());
    product((rows, outputs, inputs), g, w, 1.0, Out::rows(d, inputs), Threads::All);
}

/// ∂L/∂w of [`linear`]: xᵀ ∂L/∂y.
pub fn linear_backward_weights(x: &[f32], gradient: &[f32], (inputs, outputs): (usize, usize), d: &mut [f32]) {
    let rows = gradient.len() / outputs.max(1);
    let (x, g) = (View::rows(x, inputs).t(), View::rows(gradient, outputs));
    product((inputs, rows, outputs), x, g, 1.0, Out::rows(d, outputs), Threads::All);
}

/// Σ over rows: ∂L/∂b of [`linear`].
pub fn sum_of_rows(rows: &[f32], sums: &mut [f32]) {
    let width = sums.len().max(1);
    let part = (rows.len() / width).div_ceil(PARTS).max(1) * width;
    let of_part = |rows: &[f32]| {
        let mut sums = vec![0.0; width];
        vectors(
            #[inline(always)]
            || {
                for row in rows.chunks_exact(width) {
                    add(&mut sums, row);
                }
            },
        );
        sums
    };
    let parts: Vec<_> = rows.par_chunks(part).map(of_part).collect();
    sums.fill(0.0);
    parts.iter().for_each(|part| add(sums, part));
}

#[inline(always)]
fn add(sums: &mut [f32], row: &[f32]) {
    let row = &row[..sums.len()];
    for i in 0..sums.len() {
        sums[i] += row[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_transposes_is_the_transposed_product() {
        let (m, k, n) = (3, 5, 4);
        let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.73).cos()).collect();
        let (mut ab, mut ba) = (vec![1.0; m * n], vec![0.0; n * m]);
        product((m, k, n), View::rows(&a, k), View::rows(&b, n), 2.0, Out::added(&mut ab, n), Threads::All);
        product((n, k, m), View::rows(&b, n).t(), View::rows(&a, k).t(), 1.0, Out::rows(&mut ba, m), Threads::Own);
        for i in 0..m {
            for j in 0..n {
                let sum: f32 = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
                assert!((ab[i * n + j] - 1.0 - 2.0 * sum).abs() < 1e-5 && (ba[j * m + i] - sum).abs() < 1e-5);
            }
        }
    }
}
