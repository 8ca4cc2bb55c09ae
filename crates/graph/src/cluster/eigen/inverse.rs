//! The operator (μ − N)^{-1}, with μ just above the eigenvalues that are sought.
//!
//! On meshes and neighbourhood graphs of points in the plane the eigenvalues of N near 1 lie so close together that it
//! takes hundreds of products with N to tell them apart; those of the inverse are far apart. And there, a sparse
//! Cholesky factor is cheap. On expanders it is the other way about, so nothing is factored before its cost is known.
//!
//! N = S + (τ/n) v v' with v = D^{-1/2} 1. What is factored is the sparse μ − S, and the term of rank one is put back
//! by the formula of Sherman and Morrison.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::perm::PermRef;
use faer::sparse::linalg::amd;
use faer::sparse::linalg::cholesky::{LltRef, SymbolicCholesky, SymmetricOrdering, factorize_symbolic_cholesky};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, Mat, Par, Side};
use rayon::prelude::*;

use super::krylov::Operator;
use super::normalised::{Normalised, weighted_sums};
use super::tall::Tall;

/// (μ − N)^{-1}, factored.
pub(super) struct Inverse<'a> {
    normalised: &'a Normalised,
    symbolic: SymbolicCholesky<usize>,
    factor: Vec<f64>,
    /// μ.
    shift: f64,
    /// If regularised: (μ − S)^{-1} v, and what its product with itself is multiplied with.
    rank_one: Option<(Vec<f64>, f64)>,
}

/// Where the largest eigenvalues of N lie, but for those that are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// The largest.
    pub(super) largest: f64,
    /// How far it is from the first that is not sought.
    pub(super) width: f64,
}

/// How far μ is above 1, or from 1: near enough to the others, and far enough for the rounding.
const BESIDE_ONE: f64 = 1e-5;

/// The least margin of μ above an eigenvalue that was estimated.
const MARGIN: f64 = 1e-4;

/// How often the margin is doubled until μ is above all eigenvalues of S.
const TRIES: i32 = 12;

/// Most entries of the factor for each of the matrix.
const MOST_FILL: f64 = 50.0;

/// Steps that a Krylov space of the inverse takes, about.
const STEPS: f64 = 10.0;

/// Columns solved for together, on one thread.
const GROUP: usize = 4;

impl<'a> Inverse<'a> {
    /// If the factor and solutions for blocks of `block` columns take fewer than `work` multiplications.
    pub(super) fn of(normalised: &'a Normalised, range: Range, work: f64, block: usize) -> Option<Self> {
        let lower = Lower::of(normalised);
        let symbolic = lower.symbolic(|cost| {
            let solutions = STEPS * 2.0 * cost.n_div * block as f64;
            cost.n_div <= MOST_FILL * lower.rows.len() as f64 && cost.n_mult_subs_ldl + solutions <= work
        })?;
        // The plain S is N, with 1 for the largest eigenvalue. By how much that of a regularised S is above those of N
        // is found by trying: the factor exists if μ is above it.
        let shift_of = |doubled| match normalised.is_regularised() {
            true => range.largest + range.width.max(MARGIN) * f64::powi(2.0, doubled),
            false => 1.0 + BESIDE_ONE,
        };
        let beside_one = |shift: f64| if (shift - 1.0).abs() < BESIDE_ONE { 1.0 + BESIDE_ONE } else { shift };
        let factored = |shift| Some((shift, lower.factor(&symbolic, shift)?));
        let (shift, factor) = (0..TRIES).map(shift_of).map(beside_one).find_map(factored)?;
        let mut inverse = Self { normalised, symbolic, factor, shift, rank_one: None };
        if normalised.is_regularised() {
            let mut solved = Tall { rows: normalised.size(), columns: 1, values: normalised.scale.clone() };
            inverse.solve(&mut solved);
            let along = normalised.everywhere * weighted_sums(&normalised.scale, &solved)[0];
            inverse.rank_one = Some((solved.values, normalised.everywhere / (1.0 - along)));
        }
        Some(inverse)
    }

    /// x ← (μ − S)^{-1} x.
    fn solve(&self, x: &mut Tall) {
        let factor = LltRef::new(&self.symbolic, &self.factor);
        let groups: Vec<_> = (0..x.columns).step_by(GROUP).map(|from| from..x.columns.min(from + GROUP)).collect();
        let solve = |group: &std::ops::Range<usize>| {
            let mut columns = Mat::from_fn(x.rows, group.len(), |row, column| x.row(row)[group.start + column]);
            let mut memory = MemBuffer::new(self.symbolic.solve_in_place_scratch::<f64>(group.len(), Par::Seq));
            factor.solve_in_place_with_conj(Conj::No, columns.as_mut(), Par::Seq, MemStack::new(&mut memory));
            columns
        };
        let solved: Vec<Mat<f64>> = groups.par_iter().map(solve).collect();
        for (group, columns) in groups.iter().zip(&solved) {
            for row in 0..x.rows {
                for (column, value) in x.row_mut(row)[group.clone()].iter_mut().enumerate() {
                    *value = columns[(row, column)];
                }
            }
        }
    }
}

impl Operator for Inverse<'_> {
    fn size(&self) -> usize {
        self.normalised.size()
    }

    fn apply(&self, x: &Tall, y: &mut Tall) {
        y.values.copy_from_slice(&x.values);
        self.solve(y);
        let Some((direction, factor)) = &self.rank_one else { return };
        let sums = weighted_sums(direction, x);
        for (row, &direction) in direction.iter().enumerate() {
            for (y, sum) in y.row_mut(row).iter_mut().zip(&sums) {
                *y += factor * direction * sum;
            }
        }
    }

    fn eigenvalue(&self, value: f64) -> f64 {
        self.shift - value.recip()
    }

    /// With r = (μ − N)^{-1} x − θ x, (μ − N) r = x − θ (μ − N) x, and |μ − N| is at most μ + 1.
    fn residual(&self, value: f64, residual: f64) -> f64 {
        (self.shift + 1.0) * residual / value.abs()
    }
}

/// The lower triangle of μ − S, column by column.
struct Lower<'a> {
    normalised: &'a Normalised,
    starts: Vec<usize>,
    rows: Vec<usize>,
}

impl<'a> Lower<'a> {
    fn of(normalised: &'a Normalised) -> Self {
        let (mut starts, mut rows) = (vec![0], Vec::new());
        for column in 0..normalised.size() {
            rows.push(column);
            let (below, _) = normalised.row_after(column);
            rows.extend(below.iter().map(|&row| row as usize));
            starts.push(rows.len());
        }
        Self { normalised, starts, rows }
    }

    fn pattern(&self) -> SymbolicSparseColMatRef<'_, usize> {
        let size = self.normalised.size();
        SymbolicSparseColMatRef::new_checked(size, size, &self.starts, None, &self.rows)
    }

    /// Where the entries of the factor are, by approximate minimum degree, if its cost will do.
    fn symbolic(&self, will_do: impl Fn(amd::FlopCount) -> bool) -> Option<SymbolicCholesky<usize>> {
        let size = self.normalised.size();
        let (mut order, mut position) = (vec![0; size], vec![0; size]);
        let mut memory = MemBuffer::new(amd::order_scratch::<usize>(size, self.rows.len()));
        let stack = MemStack::new(&mut memory);
        let cost = amd::order(&mut order, &mut position, self.pattern(), Default::default(), stack).ok()?;
        if !will_do(cost) {
            return None;
        }
        let order = SymmetricOrdering::Custom(PermRef::new_checked(&order, &position, size));
        factorize_symbolic_cholesky(self.pattern(), Side::Lower, order, Default::default()).ok()
    }

    /// The Cholesky factor, which exists if μ is above all eigenvalues of S.
    fn factor(&self, symbolic: &SymbolicCholesky<usize>, shift: f64) -> Option<Vec<f64>> {
        let mut values = Vec::with_capacity(self.rows.len());
        for column in 0..self.normalised.size() {
            values.push(shift);
            let (_, below) = self.normalised.row_after(column);
            values.extend(below.iter().map(|value| -value));
        }
        let matrix = SparseColMatRef::new(self.pattern(), &values);
        let mut factor = vec![0.0; symbolic.len_val()];
        let mut memory = MemBuffer::new(symbolic.factorize_numeric_llt_scratch::<f64>(Par::Seq, Default::default()));
        let stack = MemStack::new(&mut memory);
        let (plain, parameters) = (Default::default(), Default::default());
        symbolic.factorize_numeric_llt(&mut factor, matrix, Side::Lower, plain, Par::Seq, stack, parameters).ok()?;
        Some(factor)
    }
}
