//! Effective resistances, from which an edge's leverage follows: τ = w R(u, v), how much it matters to every cut.
//!
//! R(u, v) = (e_u − e_v)' L⁺ (e_u − e_v). Up to 3,000 vertices all pairs are computed from a dense inverse. Above,
//! R is estimated from 32 random projections (Spielman, Srivastava 2008): Z = Q W^½ B L⁺ with Q random signs, and
//! |Z e_u − Z e_v|² is R within a fraction; 1.3 times that is what is given, since too much costs bits, never truth.
//! The 32 systems are solved by one sparse Cholesky factor where it stays small (meshes, roads, small dense graphs);
//! where it fills up (expanders), conjugate gradients converge in few steps, so there they are used instead.

use std::iter;

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::cholesky::llt::inverse::{inverse, inverse_scratch};
use faer::matrix_free::InitialGuessStatus;
use faer::matrix_free::conjugate_gradient::{CgParams, conjugate_gradient, conjugate_gradient_scratch};
use faer::prelude::default;
use faer::sparse::linalg::cholesky::{SymmetricOrdering, factorize_symbolic_cholesky};
use faer::sparse::{SparseColMat, SymbolicSparseColMat};
use faer::{Conj, Mat, Par, Side};

use super::coin::mix;
use super::undirected::Undirected;

/// Most vertices with edges for which all pairs are computed.
const DENSE: usize = 3000;
/// q, the number of projections.
const PROJECTIONS: usize = 32;
/// What an estimate is multiplied by.
const SAFETY: f64 = 1.3;
/// Most numbers of a sparse factor: 160 MB, and some seconds.
const LARGEST_FACTOR: usize = 20_000_000;
/// Relative residual of conjugate gradients.
const TOLERANCE: f64 = 1e-3;
const MOST_ITERATIONS: usize = 1000;
/// Pivots below this part of the mean degree are rounding: an edge across such a cut weighs less than the noise.
const ROUNDING: f64 = 1e-13;

/// The effective resistances of a graph, as it was.
#[derive(Debug, Clone)]
pub struct Resistances {
    component: Vec<u32>,
    /// The place of each vertex among those with edges.
    place: Vec<u32>,
    pairs: Pairs,
}

#[derive(Debug, Clone)]
enum Pairs {
    /// R of places a < b at b(b − 1)/2 + a.
    All(Vec<f32>),
    /// [`PROJECTIONS`] numbers for each place.
    Projected(Vec<f32>),
}

impl Resistances {
    /// The resistances of `graph`. The same graph and seed give the same bits.
    pub fn of(graph: &Undirected, seed: u64) -> Self {
        Self::up_to(graph, seed, DENSE)
    }

    fn up_to(graph: &Undirected, seed: u64, dense: usize) -> Self {
        let (component, _) = graph.components();
        let mut active = Vec::new();
        let mut place = vec![0; graph.vertices()];
        for (vertex, place) in place.iter_mut().enumerate() {
            if !graph.row(vertex).0.is_empty() {
                *place = active.len() as u32;
                active.push(vertex);
            }
        }
        let pairs = if active.len() <= dense {
            Pairs::All(all_pairs(graph, &active, &place, &component))
        } else {
            Pairs::Projected(projected(graph, &active, &place, &component, seed))
        };
        Self { component, place, pairs }
    }

    /// τ of an edge of weight `weight` between two vertices: min(1, w R), and 1 between components.
    pub fn leverage(&self, u: u32, v: u32, weight: f64) -> f64 {
        if self.component[u as usize] != self.component[v as usize] {
            return 1.0;
        }
        let (a, b) = (self.place[u as usize] as usize, self.place[v as usize] as usize);
        let resistance = match &self.pairs {
            Pairs::All(pairs) => f64::from(pairs[a.max(b) * (a.max(b) - 1) / 2 + a.min(b)]),
            Pairs::Projected(rows) => {
                let row = |place: usize| &rows[place * PROJECTIONS..][..PROJECTIONS];
                let squares = iter::zip(row(a), row(b)).map(|(x, y)| f64::from((x - y) * (x - y)));
                SAFETY * squares.sum::<f64>()
            }
        };
        // An f32 rounds: by 1e-7 too little is nothing beside the factor of up to 2 by which levels round up.
        let leverage = weight * resistance;
        if leverage < 1.0 { leverage } else { 1.0 } // also where it is no number
    }
}

/// R of all pairs, from the inverse of L + δ Σ 11'/|C| over the components C, δ the mean degree: regular, and of the
/// same resistances.
fn all_pairs(graph: &Undirected, active: &[usize], place: &[u32], component: &[u32]) -> Vec<f32> {
    let n = active.len();
    let mut pairs = vec![0.0; n * n.saturating_sub(1) / 2];
    if n == 0 {
        return pairs;
    }
    let delta = active.iter().map(|&vertex| graph.degrees()[vertex]).sum::<f64>() / n as f64;
    let mut sizes = vec![0u32; graph.vertices()];
    for &vertex in active {
        sizes[component[vertex] as usize] += 1;
    }
    let mut matrix = Mat::<f64>::zeros(n, n);
    for (b, &vertex) in active.iter().enumerate() {
        let own = component[vertex];
        let share = delta / f64::from(sizes[own as usize]);
        let column = matrix.col_as_slice_mut(b);
        for (a, &other) in active.iter().enumerate().skip(b) {
            if component[other] == own {
                column[a] = share;
            }
        }
        column[b] += graph.degrees()[vertex];
        let (columns, weights) = graph.row(vertex);
        for (&other, &weight) in iter::zip(columns, weights) {
            let a = place[other as usize] as usize;
            if a > b {
                column[a] -= weight;
            }
        }
    }

    let rounding = ROUNDING * delta;
    let regular =
        LltRegularization { dynamic_regularization_delta: rounding, dynamic_regularization_epsilon: rounding };
    let mut memory =
        MemBuffer::new(cholesky_in_place_scratch::<f64>(n, PAR, default()).or(inverse_scratch::<f64>(n, PAR)));
    cholesky_in_place(matrix.as_mut(), regular, PAR, MemStack::new(&mut memory), default())
        .expect("pivots that are not positive are replaced");
    let mut inverted = Mat::<f64>::zeros(n, n);
    inverse(inverted.as_mut(), matrix.as_ref(), PAR, MemStack::new(&mut memory));
    drop((matrix, memory));

    let diagonal: Vec<_> = (0..n).map(|a| inverted[(a, a)]).collect();
    // Column a holds the rows b >= a: walked down, written with strides, in tiles that stay in the cache.
    const TILE: usize = 64;
    for first in (0..n).step_by(TILE) {
        for b in first + 1..n {
            let row = b * (b - 1) / 2;
            for a in first..(first + TILE).min(b) {
                let resistance = diagonal[a] + diagonal[b] - 2.0 * inverted[(b, a)];
                pairs[row + a] = resistance.max(0.0) as f32;
            }
        }
    }
    pairs
}

/// Z' of all places: for each, its coordinate in every projection.
fn projected(graph: &Undirected, active: &[usize], place: &[u32], component: &[u32], seed: u64) -> Vec<f32> {
    // The first vertex of each component is held at 0: what is left of L is regular, and differences are the same.
    let mut held = vec![true; graph.vertices()];
    let mut unknown = vec![u32::MAX; active.len()];
    let mut free = Vec::new();
    for (here, &vertex) in active.iter().enumerate() {
        if !std::mem::replace(&mut held[component[vertex] as usize], false) {
            unknown[here] = free.len() as u32;
            free.push(vertex);
        }
    }
    let unknown_of = |vertex: u32| unknown[place[vertex as usize] as usize];

    let (mut starts, mut rows, mut values) = (vec![0usize], Vec::new(), Vec::new());
    for (here, &vertex) in free.iter().enumerate() {
        let (columns, weights) = graph.row(vertex);
        let mut own = false;
        for (&other, &weight) in iter::zip(columns, weights) {
            if !own && other as usize > vertex {
                (own, _) = (true, rows.push(here));
                values.push(graph.degrees()[vertex]);
            }
            if unknown_of(other) != u32::MAX {
                rows.push(unknown_of(other) as usize);
                values.push(-weight);
            }
        }
        if !own {
            rows.push(here);
            values.push(graph.degrees()[vertex]);
        }
        starts.push(rows.len());
    }
    let n = free.len();
    let laplacian = SparseColMat::new(SymbolicSparseColMat::new_checked(n, n, starts, None, rows), values);

    // B' W^½ Q', a column for each projection.
    let mut sides = Mat::<f64>::zeros(n, PROJECTIONS);
    for (number, edge) in graph.list().enumerate() {
        let signs = mix(seed ^ mix(number as u64));
        let size = (edge.weight / PROJECTIONS as f64).sqrt();
        for (end, direction) in [(unknown_of(edge.u), 1.0), (unknown_of(edge.v), -1.0)] {
            if end != u32::MAX {
                for projection in 0..PROJECTIONS {
                    let sign = if signs >> projection & 1 == 0 { direction } else { -direction };
                    sides[(end as usize, projection)] += sign * size;
                }
            }
        }
    }
    let solution = solve(&laplacian, sides);

    let mut coordinates = vec![0.0; active.len() * PROJECTIONS];
    for (row, &here) in coordinates.chunks_exact_mut(PROJECTIONS).zip(&unknown) {
        if here != u32::MAX {
            for (projection, coordinate) in row.iter_mut().enumerate() {
                *coordinate = solution[(here as usize, projection)] as f32;
            }
        }
    }
    coordinates
}

/// The columns x of L x = side.
fn solve(laplacian: &SparseColMat<usize, f64>, mut sides: Mat<f64>) -> Mat<f64> {
    let (n, columns) = (sides.nrows(), sides.ncols());
    let symbolic =
        factorize_symbolic_cholesky(laplacian.symbolic().as_ref(), Side::Lower, SymmetricOrdering::Amd, default());
    if let Ok(symbolic) = symbolic
        && symbolic.len_val() <= LARGEST_FACTOR
    {
        let mut values = vec![0.0; symbolic.len_val()];
        let scratch = symbolic.factorize_numeric_llt_scratch::<f64>(PAR, default());
        let mut memory = MemBuffer::new(scratch.or(symbolic.solve_in_place_scratch::<f64>(columns, PAR)));
        let largest = laplacian.val().iter().copied().fold(0.0, f64::max);
        let rounding = ROUNDING * largest;
        let regular =
            LltRegularization { dynamic_regularization_delta: rounding, dynamic_regularization_epsilon: rounding };
        let stack = MemStack::new(&mut memory);
        let factor = symbolic
            .factorize_numeric_llt(&mut values, laplacian.as_ref(), Side::Lower, regular, PAR, stack, default())
            .expect("pivots that are not positive are replaced");
        factor.solve_in_place_with_conj(Conj::No, sides.as_mut(), PAR, MemStack::new(&mut memory));
        return sides;
    }
    let mut inverse_diagonal = Diag::<f64>::zeros(n);
    for (column, inverse) in inverse_diagonal.column_vector_mut().iter_mut().enumerate() {
        let range = laplacian.col_range(column);
        let own = iter::zip(&laplacian.row_idx()[range.clone()], &laplacian.val()[range]);
        *inverse = own.filter(|&(&row, _)| row == column).map(|(_, &degree)| 1.0 / degree).sum();
    }
    let mut solution = Mat::zeros(n, columns);
    let parameters = CgParams {
        initial_guess: InitialGuessStatus::Zero,
        rel_tolerance: TOLERANCE,
        max_iters: MOST_ITERATIONS,
        ..CgParams::default()
    };
    let scratch = conjugate_gradient_scratch(inverse_diagonal.as_ref(), laplacian.as_ref(), columns, PAR);
    // Where it has not converged, what it has is an estimate like any other.
    let _ = conjugate_gradient(
        solution.as_mut(),
        inverse_diagonal.as_ref(),
        laplacian.as_ref(),
        sides.as_ref(),
        parameters,
        |_| {},
        PAR,
        MemStack::new(&mut MemBuffer::new(scratch)),
    );
    solution
}

/// How many ways work is cut, whatever the number of threads: so sums are the same on all of them.
const PAR: Par = Par::Seq;

#[cfg(test)]
mod tests {
    use faer::linalg::solvers::SelfAdjointEigen;
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::undirected::Edge;

    fn graph(n: usize, edges: &[(u32, u32, f64)]) -> Undirected {
        let edges: Vec<_> = edges.iter().map(|&(u, v, weight)| Edge { u, v, weight }).collect();
        Undirected::from_edges(n, &edges)
    }

    /// By the definition: L⁺ from all eigenvectors.
    fn by_definition(graph: &Undirected, u: u32, v: u32) -> f64 {
        let n = graph.vertices();
        let mut laplacian = Mat::<f64>::zeros(n, n);
        for edge in graph.list() {
            let (u, v) = (edge.u as usize, edge.v as usize);
            laplacian[(u, u)] += edge.weight;
            laplacian[(v, v)] += edge.weight;
            laplacian[(u, v)] -= edge.weight;
            laplacian[(v, u)] -= edge.weight;
        }
        let eigen = SelfAdjointEigen::new(laplacian.as_ref(), Side::Lower).unwrap();
        let largest = eigen.S().column_vector().iter().copied().fold(0.0, f64::max);
        (0..n)
            .filter(|&i| eigen.S()[i] > 1e-10 * largest)
            .map(|i| (eigen.U()[(u as usize, i)] - eigen.U()[(v as usize, i)]).powi(2) / eigen.S()[i])
            .sum()
    }

    #[test]
    fn series_parallel_and_bridges() {
        // A triangle of ones, a bridge of weight 4, and a vertex alone.
        let graph = graph(5, &[(0, 1, 1.0), (1, 2, 1.0), (0, 2, 1.0), (2, 3, 4.0)]);
        let found = Resistances::of(&graph, 1);
        for (u, v, weight, expected) in
            [(0, 1, 1.0, 2.0 / 3.0), (3, 2, 4.0, 1.0), (0, 3, 0.5, 0.5 * (2.0 / 3.0 + 0.25)), (0, 4, 1.0, 1.0)]
        {
            assert!((found.leverage(u, v, weight) - expected).abs() < 1e-6, "{u} {v}");
        }
        assert_eq!(found.leverage(0, 1, 100.0), 1.0);
    }

    #[test]
    fn nothing_to_resist() {
        for n in [0, 1, 3] {
            let found = Resistances::of(&graph(n, &[]), 1);
            if n > 1 {
                assert_eq!(found.leverage(0, 1, 0.1), 1.0);
            }
        }
    }

    #[test]
    fn weights_over_thirty_orders_of_magnitude_give_numbers() {
        let edges: Vec<_> = (0..40).map(|i| (i, i + 1, 10f64.powi(i as i32 * 30 / 40 - 15))).collect();
        let graph = graph(41, &edges);
        for dense in [0, 100] {
            let found = Resistances::up_to(&graph, 1, dense);
            for &(u, v, weight) in &edges {
                assert!((0.0..=1.0).contains(&found.leverage(u, v, weight)));
            }
        }
    }

    fn graphs() -> impl Strategy<Value = Undirected> {
        (2usize..40).prop_flat_map(|n| {
            let edge = (0..n as u32, 0..n as u32, 1e-3f64..1e3);
            proptest::collection::vec(edge, 1..200).prop_map(move |list| {
                let edges: Vec<_> =
                    list.iter().filter(|e| e.0 != e.1).map(|e| (e.0.min(e.1), e.0.max(e.1), e.2)).collect();
                graph(n, &edges)
            })
        })
    }

    proptest! {
        #[test]
        fn leverages_equal_the_definition_and_sum_to_the_rank(graph in graphs()) {
            let found = Resistances::of(&graph, 1);
            let mut sum = 0.0;
            for edge in graph.list() {
                let expected = edge.weight * by_definition(&graph, edge.u, edge.v);
                let leverage = found.leverage(edge.u, edge.v, edge.weight);
                prop_assert!((leverage - expected).abs() <= 1e-5, "{leverage} {expected}");
                sum += leverage;
            }
            let rank = graph.vertices() - graph.components().1;
            prop_assert!((sum - rank as f64).abs() < 1e-4 * (1 + rank) as f64);
        }

        #[test]
        fn projections_are_near_and_mostly_above(graph in graphs(), seed in any::<u64>()) {
            let (exact, near) = (Resistances::of(&graph, 1), Resistances::up_to(&graph, seed, 0));
            let mut below = 0;
            for edge in graph.list() {
                let (exact, near) = [&exact, &near].map(|r| r.leverage(edge.u, edge.v, edge.weight)).into();
                prop_assert!(near > 0.25 * exact && near < 3.5 * exact + 1e-6, "{near} {exact}");
                below += usize::from(near < 0.7 * exact);
            }
            prop_assert!(below * 4 <= graph.edges().max(12), "{below} of {}", graph.edges());
        }
    }
}
