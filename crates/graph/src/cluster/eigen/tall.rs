//! Tall matrices, row by row, and the products over their rows that orthogonalisation consists of.
//!
//! Rows are taken in shares whose size depends on the matrix alone. Each share is one product by `faer` on one thread,
//! and sums over shares are taken in order: the same bits on any number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// A matrix with many rows and few columns, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tall {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f64>,
}

/// What a block W has in common with a basis V and with itself.
pub(super) struct Products {
    /// V'W.
    pub(super) with_basis: Mat<f64>,
    /// W'W.
    pub(super) with_itself: Mat<f64>,
}

impl Tall {
    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Rows that are worked on together: enough for a product to be fast, few enough to stay in a core's cache.
    pub(super) fn share(&self) -> usize {
        (self.rows / 64).clamp(256, 4096)
    }

    /// Writes the columns of `block` over those from `at` on.
    pub(super) fn put(&mut self, at: usize, block: &Self) {
        if self.columns == 0 || block.columns == 0 {
            return;
        }
        let into = self.values.chunks_exact_mut(self.columns);
        for (row, from) in into.zip(block.values.chunks_exact(block.columns)) {
            row[at..at + block.columns].copy_from_slice(from);
        }
    }

    /// V[from..from + S's rows] S.
    pub(super) fn times(&self, from: usize, s: MatRef<f64>) -> Self {
        let mut product = Self::zeros(self.rows, s.ncols());
        if product.values.is_empty() {
            return product;
        }
        let share = self.share();
        let shares = product.values.par_chunks_mut(share * s.ncols()).zip(self.values.par_chunks(share * self.columns));
        shares.for_each(|(into, rows)| {
            multiply(into, s.ncols(), Accum::Replace, columns(rows, self.columns, from, s.nrows()), s, 1.0);
        });
        product
    }
}

/// W ← W T − V C, then V'W and W'W; V are the first `used` columns of `basis`. Without a change, only the products.
pub(super) fn sweep(
    basis: &Tall,
    used: usize,
    block: &mut Tall,
    change: Option<(MatRef<f64>, MatRef<f64>)>,
) -> Products {
    let (share, width) = (basis.share(), block.columns);
    let shares = block.values.par_chunks_mut(share * width).zip(basis.values.par_chunks(share * basis.columns));
    let parts: Vec<Products> = shares
        .map(|(w, rows)| {
            let v = columns(rows, basis.columns, 0, used);
            if let Some((t, c)) = change {
                let before = w.to_vec();
                multiply(w, width, Accum::Replace, columns(&before, width, 0, width), t, 1.0);
                multiply(w, width, Accum::Add, v, c, -1.0);
            }
            let w = columns(w, width, 0, width);
            let (mut with_basis, mut with_itself) = (Mat::zeros(used, width), Mat::zeros(width, width));
            matmul(with_basis.as_mut(), Accum::Replace, v.transpose(), w, 1.0, Par::Seq);
            matmul(with_itself.as_mut(), Accum::Replace, w.transpose(), w, 1.0, Par::Seq);
            Products { with_basis, with_itself }
        })
        .collect();
    let none = Products { with_basis: Mat::zeros(used, width), with_itself: Mat::zeros(width, width) };
    parts.into_iter().fold(none, |mut sum, part| {
        sum.with_basis += &part.with_basis;
        sum.with_itself += &part.with_itself;
        sum
    })
}

/// Some columns of rows that lie one after the other.
fn columns(rows: &[f64], stride: usize, from: usize, count: usize) -> MatRef<'_, f64> {
    let all = MatRef::from_row_major_slice(rows, rows.len() / stride, stride);
    all.subcols(from, count)
}

fn multiply(into: &mut [f64], columns: usize, how: Accum, left: MatRef<f64>, right: MatRef<f64>, factor: f64) {
    let rows = into.len() / columns;
    let into = faer::MatMut::from_row_major_slice_mut(into, rows, columns);
    matmul(into, how, left, right, factor, Par::Seq);
}
