//! The largest eigenvalues of a symmetric operator, with their vectors: block Krylov with thick restart.
//!
//! The operator is applied to a block, what is new in the image becomes the next block (full reorthogonalisation, again
//! where it left anything), and the eigenvectors of the operator on all blocks so far (Rayleigh-Ritz) come nearer and
//! nearer. When the basis is full it is cut down to the best vectors found. A shift of the operator changes none of
//! this, so none is made for negative eigenvalues: only the largest are asked for.
//!
//! A block, and no single vector as in `faer::matrix_free`, since graphs of equal parts have multiple eigenvalues, of
//! which a single vector's Krylov space has one vector each, and since the vectors of a moment ago are a whole block to
//! begin with.
//!
//! Sources: Wu, Simon, *Thick-restart Lanczos method for large symmetric eigenvalue problems* (2000); Stathopoulos, Wu,
//! *A block orthogonalization procedure with constant synchronization requirements* (2002).

use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use std::ops;

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::{Accum, Mat, MatRef, Par};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::inverse::Range;
use super::tall::{Tall, sweep};

/// A symmetric matrix by its products, whose largest eigenvalues are those of N that are sought.
pub(super) trait Operator {
    /// How many rows it has.
    fn size(&self) -> usize;

    /// y ← its product with x.
    fn apply(&self, x: &Tall, y: &mut Tall);

    /// The eigenvalue of N that belongs to one of the operator.
    fn eigenvalue(&self, value: f64) -> f64;

    /// A bound for |N x − λ x|, where `residual` is the operator's own for its Ritz value `value`, and x has length 1.
    fn residual(&self, value: f64, residual: f64) -> f64;
}

/// A Krylov space of `operator`, orthogonal to eigenvectors that are known.
pub(super) struct Krylov<'a> {
    operator: &'a dyn Operator,
    wanted: usize,
    known: usize,
    /// Known vectors, then an orthonormal basis of the space.
    basis: Tall,
    used: usize,
    /// The operator on the space.
    projected: Mat<f64>,
    /// The next block, orthogonal to the basis.
    next: Tall,
    random: ChaCha8Rng,
    ritz: Ritz,
    /// The largest residual of the wanted after each step.
    history: Vec<f64>,
    /// Products with a block so far.
    pub(super) steps: usize,
}

/// Eigenpairs of the operator on the space, the largest first.
struct Ritz {
    values: Vec<f64>,
    vectors: Mat<f64>,
    /// Bounds for |N x − λ x|.
    residuals: Vec<f64>,
}

/// Columns of the block beside those wanted: what they converge by is the gap to the eigenvalue after the block's last.
pub(super) const SPARE: usize = 2;

/// Columns of the basis for those of a block, beside the known ones.
pub(super) fn capacity(block: usize) -> usize {
    (4 * block).max(64)
}

impl<'a> Krylov<'a> {
    /// The space of `wanted` eigenvectors beside the `known`, from `start`: any block of vectors, filled up at random.
    ///
    /// The operator has at least `known` + [`capacity`] + block rows.
    pub(super) fn new(operator: &'a dyn Operator, known: &Tall, start: &Tall, wanted: usize) -> Self {
        let (size, block) = (operator.size(), wanted + SPARE);
        let capacity = capacity(block);
        let mut basis = Tall::zeros(size, known.columns + capacity);
        basis.put(0, known);
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut next = Tall::zeros(size, block);
        fill(&mut next, 0..block, &mut random);
        next.put(0, start);
        orthonormalise(&basis, known.columns, &mut next, &mut random);
        let projected = Mat::zeros(capacity, capacity);
        let (known, used) = (known.columns, known.columns);
        let ritz = Ritz { values: Vec::new(), vectors: Mat::new(), residuals: Vec::new() };
        Self { operator, wanted, known, basis, used, projected, next, random, ritz, history: Vec::new(), steps: 0 }
    }

    /// One block more.
    pub(super) fn step(&mut self) {
        let block = self.next.columns;
        if self.used + block > self.basis.columns {
            self.restart();
        }
        let mut image = Tall::zeros(self.next.rows, block);
        self.operator.apply(&self.next, &mut image);
        self.basis.put(self.used, &self.next);
        self.used += block;
        let (coefficients, coupling) = orthonormalise(&self.basis, self.used, &mut image, &mut self.random);
        self.next = image;
        let size = self.used - self.known;
        for column in 0..block {
            for row in 0..size {
                let value = coefficients[(self.known + row, column)];
                self.projected[(row, size - block + column)] = value;
                self.projected[(size - block + column, row)] = value;
            }
        }
        self.steps += 1;
        self.ritz = self.rayleigh_ritz(&coupling);
        self.history.push(self.ritz.residuals[..self.wanted].iter().copied().fold(0.0, f64::max));
    }

    fn rayleigh_ritz(&self, coupling: &Mat<f64>) -> Ritz {
        let (size, block) = (self.used - self.known, self.next.columns);
        let (values, vectors) = symmetric_eigen(self.projected.submatrix(0, 0, size, size));
        let last = coupling.as_ref() * vectors.subrows(size - block, block);
        let residual = |i: usize| self.operator.residual(values[i], last.col(i).norm_l2());
        let residuals = (0..size).map(residual).collect();
        Ritz { values, vectors, residuals }
    }

    /// Cuts the basis down to the best Ritz vectors; the next block stays the next.
    fn restart(&mut self) {
        let size = self.used - self.known;
        let kept = (self.wanted + (size - self.wanted) / 3).min(size - self.next.columns);
        let best = self.basis.times(self.known, self.ritz.vectors.subcols(0, kept));
        self.basis.put(self.known, &best);
        self.used = self.known + kept;
        self.projected.fill(0.0);
        for (at, &value) in self.ritz.values[..kept].iter().enumerate() {
            self.projected[(at, at)] = value;
        }
    }

    /// Whether the wanted are there to `tolerance`, and no other is likely to push in between.
    ///
    /// A start close to some eigenvectors says nothing of the others. So the first Ritz pair after the wanted, too,
    /// must be known better than it is apart from them, or at least to a thousandth.
    pub(super) fn converged(&self, tolerance: f64) -> bool {
        let Ritz { values, residuals, .. } = &self.ritz;
        let Some(&reached) = self.history.last() else { return false };
        let [last, after] = [self.wanted - 1, self.wanted].map(|at| self.operator.eigenvalue(values[at]));
        reached <= tolerance && residuals[self.wanted] <= (last - after).max(1e-3)
    }

    /// How many steps more will do, if it goes on as in the last four.
    pub(super) fn steps_left(&self, tolerance: f64) -> f64 {
        const LAST: usize = 4;
        let [before, .., now] = self.history[self.history.len().saturating_sub(LAST + 1)..] else {
            return f64::INFINITY;
        };
        let gain = (before / now).ln() / LAST as f64;
        if gain > 0.0 { (now / tolerance).ln().max(0.0) / gain } else { f64::INFINITY }
    }

    /// The eigenvalues of N that were wanted, the largest first.
    pub(super) fn values(&self) -> Vec<f64> {
        self.ritz.values[..self.wanted].iter().map(|&value| self.operator.eigenvalue(value)).collect()
    }

    /// Multiplications that one step takes beside the product: the block against a basis that is half full, three
    /// times.
    pub(super) fn work(&self) -> f64 {
        3.0 * (self.next.rows * self.next.columns) as f64 * self.basis.columns as f64 / 2.0
    }

    /// Where the eigenvalues of N lie that are sought.
    pub(super) fn range(&self) -> Range {
        let [largest, after] = [0, self.wanted].map(|at| self.operator.eigenvalue(self.ritz.values[at]));
        Range { largest, width: largest - after }
    }

    /// The vectors of those.
    pub(super) fn wanted_vectors(&self) -> Tall {
        self.vectors(self.wanted)
    }

    /// The best vectors so far, `count` of them.
    pub(super) fn vectors(&self, count: usize) -> Tall {
        self.basis.times(self.known, self.ritz.vectors.subcols(0, count))
    }
}

/// Makes the columns of `block` orthonormal, and orthogonal to the first `used` of `basis`: W = V C + Q R, with C and
/// R.
///
/// Where W has too few dimensions, Q gets random vectors, and R rows of zeros.
fn orthonormalise(basis: &Tall, used: usize, block: &mut Tall, random: &mut ChaCha8Rng) -> (Mat<f64>, Mat<f64>) {
    /// What may be left along the basis: far less than the tolerance, a little more than rounding makes in one turn.
    const LEFT: f64 = 1e-11;
    /// One turn is the rule, two if little is left of W beside the basis, more if columns are nearly dependent.
    const MOST_TURNS: usize = 8;
    let mut coefficients = sweep(basis, used, block, None).with_basis;
    let mut coupling = Mat::<f64>::identity(block.columns, block.columns);
    let mut products = sweep(basis, used, block, Some((coupling.as_ref(), coefficients.as_ref())));
    for _ in 0..MOST_TURNS {
        let turn = Turn::of(&products.with_itself);
        let along_basis = product(&products.with_basis, &turn.forth);
        add_product(&mut coefficients, &products.with_basis, &coupling);
        coupling = product(&turn.back, &coupling);
        if turn.is_exact && along_basis.norm_max() <= LEFT {
            *block = block.times(0, turn.forth.as_ref());
            break;
        }
        products = sweep(basis, used, block, Some((turn.forth.as_ref(), along_basis.as_ref())));
        if !turn.lost.is_empty() {
            fill(block, turn.lost, random);
            products = sweep(basis, used, block, None);
        }
    }
    (coefficients, coupling)
}

/// A change of the columns of W that makes them orthonormal: Q = W `forth`, W = Q `back`.
struct Turn {
    forth: Mat<f64>,
    back: Mat<f64>,
    /// Columns of Q that are zero since W has too few dimensions.
    lost: ops::Range<usize>,
    /// Whether the columns of W are so far from dependent that Q is orthonormal but for rounding.
    is_exact: bool,
}

impl Turn {
    /// From G = W'W = D U Λ U' D, where D are the lengths of the columns: Q = W D^{-1} U Λ^{-1/2}.
    fn of(gram: &Mat<f64>) -> Self {
        /// Angles below 10^-7 drown in the rounding of G.
        const LEAST: f64 = 1e-14;
        const EXACT: f64 = 1e-4;
        let width = gram.ncols();
        let lengths: Vec<f64> = (0..width).map(|at| gram[(at, at)].sqrt()).collect();
        let inverse: Vec<f64> = lengths.iter().map(|&length| if length > 0.0 { length.recip() } else { 0.0 }).collect();
        let scaled = Mat::from_fn(width, width, |i, j| gram[(i, j)] * inverse[i] * inverse[j]);
        let (values, vectors) = symmetric_eigen(scaled.as_ref());
        let lost = values.partition_point(|&value| value > LEAST)..width;
        let kept = |at: usize| !lost.contains(&at);
        let forth = |i, j| if kept(j) { inverse[i] * vectors[(i, j)] / values[j].sqrt() } else { 0.0 };
        let back = |i, j| if kept(i) { values[i].sqrt() * vectors[(j, i)] * lengths[j] } else { 0.0 };
        let (forth, back) = (Mat::from_fn(width, width, forth), Mat::from_fn(width, width, back));
        Self { forth, back, lost, is_exact: values[width - 1] >= EXACT }
    }
}

/// Random numbers in some columns.
fn fill(block: &mut Tall, columns: ops::Range<usize>, random: &mut ChaCha8Rng) {
    for row in 0..block.rows {
        for value in &mut block.row_mut(row)[columns.clone()] {
            *value = random.random_range(-1.0..1.0);
        }
    }
}

fn product(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    let mut sum = Mat::zeros(a.nrows(), b.ncols());
    add_product(&mut sum, a, b);
    sum
}

fn add_product(sum: &mut Mat<f64>, a: &Mat<f64>, b: &Mat<f64>) {
    matmul(sum.as_mut(), Accum::Add, a, b, 1.0, Par::Seq);
}

/// All eigenvalues of a symmetric matrix, descending, with their vectors. Only the lower triangle is read.
pub(super) fn symmetric_eigen(matrix: MatRef<f64>) -> (Vec<f64>, Mat<f64>) {
    let size = matrix.nrows();
    let (mut values, mut vectors) = (Diag::zeros(size), Mat::zeros(size, size));
    let scratch = self_adjoint_evd_scratch::<f64>(size, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    let into = Some(vectors.as_mut());
    self_adjoint_evd(matrix, values.as_mut(), into, Par::Seq, stack, Default::default())
        .expect("a finite symmetric matrix has eigenvalues");
    let values = values.column_vector().iter().rev().copied().collect();
    (values, vectors.reverse_cols().to_owned())
}
