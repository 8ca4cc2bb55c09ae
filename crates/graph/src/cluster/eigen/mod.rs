//! The k largest eigenvectors of a graph's normalised adjacency matrix: what spectral clustering looks at.
//!
//! | file | idea |
//! | --- | --- |
//! | `normalised` | the matrix N, plain or regularised, and its products |
//! | `krylov` | the largest eigenvalues of an operator, block Krylov with thick restart |
//! | `inverse` | the operator (μ − N)^{-1}, where it is cheap: meshes, neighbours of points in the plane |
//! | `tall` | matrices with many rows and few columns |

mod inverse;
mod krylov;
mod normalised;
mod tall;

use faer::Mat;

use self::inverse::{Inverse, Range};
use self::krylov::{Krylov, Operator, SPARE, capacity, symmetric_eigen};
use self::normalised::Normalised;
use self::tall::{Tall, sweep};
use crate::cluster::undirected::Undirected;

/// Largest |N x − λ x| of a vector of length 1 that counts as an eigenvector.
pub const TOLERANCE: f64 = 1e-6;

/// Up to so many vertices, all eigenvalues are computed.
const FEW: usize = 200;

/// Products of a block with an operator, at most.
const MOST_STEPS: usize = 3000;

/// Products with N before it is judged how fast they converge.
const FIRST_STEPS: usize = 10;

/// More than so many products with N to come, and the inverse is looked at.
///
/// That costs an ordering of the vertices: as much as two or three products on meshes, as twenty on expanders, which
/// need no more than ten or twenty.
const SLOW: f64 = 30.0;

/// Products with N that stretched graphs are taken to need at least.
const STRETCHED_STEPS: f64 = 100.0;

/// The largest eigenvalues of N with their eigenvectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigenvectors {
    /// The eigenvalues, descending.
    pub values: Vec<f64>,
    /// n rows of as many numbers as there are eigenvalues, one row after the other. The columns are orthonormal, and
    /// the largest component of each is positive. Vertices without an edge have rows of zeros.
    pub vectors: Vec<f64>,
    /// Whether every residual |N x − λ x| is at most [`TOLERANCE`].
    pub converged: bool,
    /// Products of a block of vectors with N, or with (μ − N)^{-1}.
    pub steps: usize,
    /// Connected components with an edge.
    pub components: usize,
}

/// The `count` largest eigenvalues of N = D^{-1/2} A D^{-1/2} with their vectors; fewer if fewer vertices have an edge.
///
/// With `tau` > 0, N is that of A + (τ/n)·11', where n counts the vertices with an edge. `warm`: vectors of a graph on
/// as many vertices that is nearly this one; they shorten the way, and no more than that.
///
/// Each component with an edge has eigenvalue 1 (if `tau` is 0). If there are `count` or more, those of largest volume
/// are taken, ties by lowest vertex.
pub fn largest(graph: &Undirected, count: usize, tau: f64, warm: Option<&Eigenvectors>) -> Eigenvectors {
    let normalised = Normalised::of(graph, tau);
    let known = normalised.known(count);
    let wanted = count.min(normalised.size()) - known.columns;
    let found = if wanted == 0 {
        Found { values: Vec::new(), vectors: Tall::zeros(normalised.size(), 0), steps: 0 }
    } else if is_small(&normalised, &known, wanted) {
        all(&normalised, &known, wanted)
    } else {
        let start = warm.map(|warm| beside(&known, &warm.rows_of(&normalised), wanted));
        iterate(&normalised, &known, wanted, start.as_ref())
    };
    let mut vectors = Tall::zeros(normalised.size(), known.columns + wanted);
    vectors.put(0, &known);
    vectors.put(known.columns, &found.vectors);
    turn_upwards(&mut vectors);
    let values = [vec![1.0; known.columns], found.values].concat();
    Eigenvectors {
        converged: residual(&normalised, &vectors, &values) <= TOLERANCE,
        vectors: spread(&normalised, &vectors, graph.vertices()),
        values,
        steps: found.steps,
        components: normalised.components,
    }
}

struct Found {
    values: Vec<f64>,
    vectors: Tall,
    steps: usize,
}

impl Eigenvectors {
    /// The rows of the vertices that have an edge now.
    fn rows_of(&self, normalised: &Normalised) -> Tall {
        let columns = self.values.len();
        let mut rows = Tall::zeros(normalised.size(), columns);
        for (row, &vertex) in normalised.vertices.iter().enumerate() {
            let from = vertex as usize * columns;
            if let Some(vector) = self.vectors.get(from..from + columns) {
                rows.row_mut(row).copy_from_slice(vector);
            }
        }
        rows
    }
}

/// Whether the matrix is decomposed in full: few rows, or so many vectors wanted that a Krylov space has no room.
fn is_small(normalised: &Normalised, known: &Tall, wanted: usize) -> bool {
    let size = normalised.size();
    let block = wanted + SPARE;
    size <= FEW || wanted > size / 4 || known.columns + capacity(block) + block > size
}

/// By a dense decomposition. The known eigenvalues are moved from 1 to -2, out of the way.
fn all(normalised: &Normalised, known: &Tall, wanted: usize) -> Found {
    let mut matrix = normalised.dense();
    for j in 0..matrix.ncols() {
        for i in j..matrix.nrows() {
            let along: f64 = known.row(i).iter().zip(known.row(j)).map(|(a, b)| a * b).sum();
            matrix[(i, j)] -= 3.0 * along;
        }
    }
    let (mut values, all) = symmetric_eigen(matrix.as_ref());
    values.truncate(wanted);
    let mut vectors = Tall::zeros(normalised.size(), wanted);
    for row in 0..vectors.rows {
        for (column, value) in vectors.row_mut(row).iter_mut().enumerate() {
            *value = all[(row, column)];
        }
    }
    Found { values, vectors, steps: 0 }
}

/// By a Krylov space of N, or of (μ − N)^{-1} where that of N converges slowly.
fn iterate(normalised: &Normalised, known: &Tall, wanted: usize, start: Option<&Tall>) -> Found {
    let none = Tall::zeros(normalised.size(), 0);
    let start = start.unwrap_or(&none);
    let mut krylov = Krylov::new(normalised, known, start, wanted);
    // The plain μ is known beforehand: where N would be slow there is no need to see that first.
    if !normalised.is_regularised() && normalised.is_stretched() {
        let near_one = Range { largest: 1.0, width: 0.0 };
        if let Some(inverse) = Inverse::of(normalised, near_one, STRETCHED_STEPS * krylov.work(), wanted + SPARE) {
            return Krylov::new(&inverse, known, start, wanted).run();
        }
    }
    let is_slow = |krylov: &Krylov| krylov.steps >= FIRST_STEPS && krylov.steps_left(TOLERANCE) > SLOW;
    while !krylov.converged(TOLERANCE) && krylov.steps < MOST_STEPS && !is_slow(&krylov) {
        krylov.step();
    }
    let left = krylov.steps_left(TOLERANCE).min(MOST_STEPS as f64);
    if !krylov.converged(TOLERANCE)
        && let Some(inverse) = Inverse::of(normalised, krylov.range(), left * krylov.work(), wanted + SPARE)
    {
        let found = Krylov::new(&inverse, known, &krylov.vectors(wanted + SPARE), wanted).run();
        return Found { steps: krylov.steps + found.steps, ..found };
    }
    krylov.run()
}

impl Krylov<'_> {
    fn run(mut self) -> Found {
        while !self.converged(TOLERANCE) && self.steps < MOST_STEPS {
            self.step();
        }
        Found { values: self.values(), vectors: self.wanted_vectors(), steps: self.steps }
    }
}

/// The `wanted` directions among the columns of `block` that the known vectors have the least part in.
fn beside(known: &Tall, block: &Tall, wanted: usize) -> Tall {
    if block.columns == 0 {
        return block.clone();
    }
    let mut block = block.clone();
    let products = sweep(known, known.columns, &mut block, None);
    let unit = Mat::<f64>::identity(block.columns, block.columns);
    let change = Some((unit.as_ref(), products.with_basis.as_ref()));
    let rest = sweep(known, known.columns, &mut block, change);
    let (_, directions) = symmetric_eigen(rest.with_itself.as_ref());
    block.times(0, directions.subcols(0, wanted.min(block.columns)))
}

/// Makes the largest component of each column positive, of several the first.
fn turn_upwards(vectors: &mut Tall) {
    let mut largest = vec![0.0_f64; vectors.columns];
    for row in 0..vectors.rows {
        for (largest, &value) in largest.iter_mut().zip(vectors.row(row)) {
            if value.abs() > largest.abs() {
                *largest = value;
            }
        }
    }
    for row in 0..vectors.rows {
        for (value, &largest) in vectors.row_mut(row).iter_mut().zip(&largest) {
            if largest < 0.0 {
                *value = -*value;
            }
        }
    }
}

/// The largest |N x − λ x|.
fn residual(normalised: &Normalised, vectors: &Tall, values: &[f64]) -> f64 {
    let mut image = Tall::zeros(vectors.rows, vectors.columns);
    if image.values.is_empty() {
        return 0.0;
    }
    normalised.apply(vectors, &mut image);
    let mut squares = vec![0.0; values.len()];
    for row in 0..vectors.rows {
        let entries = image.row(row).iter().zip(vectors.row(row)).zip(values);
        for (square, ((image, x), value)) in squares.iter_mut().zip(entries) {
            *square += (image - value * x).powi(2);
        }
    }
    squares.into_iter().fold(0.0, f64::max).sqrt()
}

/// All vertices' rows, those without an edge zeros.
fn spread(normalised: &Normalised, vectors: &Tall, vertices: usize) -> Vec<f64> {
    let mut all = Tall::zeros(vertices, vectors.columns);
    for (row, &vertex) in normalised.vertices.iter().enumerate() {
        all.row_mut(vertex as usize).copy_from_slice(vectors.row(row));
    }
    all.values
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use faer::linalg::matmul::matmul;
    use faer::{Accum, Par};
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::cluster::undirected::Edge;

    fn graph(vertices: usize, edges: impl IntoIterator<Item = (usize, usize, f64)>) -> Undirected {
        let edge = |(u, v, weight): (usize, usize, f64)| Edge { u: u.min(v) as u32, v: u.max(v) as u32, weight };
        Undirected::from_edges(vertices, &edges.into_iter().map(edge).collect::<Vec<_>>())
    }

    fn random_graph(vertices: usize, edges: usize, seed: u64) -> Undirected {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let edge = |_| {
            let u = random.random_range(0..vertices);
            ((u + random.random_range(1..vertices)) % vertices, u, random.random_range(0.1..2.0))
        };
        graph(vertices, (0..edges).map(edge).collect::<Vec<_>>())
    }

    fn cliques(count: usize, size: usize) -> impl Iterator<Item = (usize, usize, f64)> {
        let pairs = move |first: usize| (0..size).flat_map(move |u| (0..u).map(move |v| (first + u, first + v, 1.0)));
        (0..count).flat_map(move |clique| pairs(clique * size))
    }

    /// All eigenvalues of N as it is defined, descending, with their vectors; rows and columns of zeros included.
    fn by_definition(graph: &Undirected, tau: f64) -> (Vec<f64>, Mat<f64>) {
        let n = graph.vertices();
        let has_edge: Vec<bool> = (0..n).map(|vertex| graph.degrees()[vertex] > 0.0).collect();
        let count = has_edge.iter().filter(|&&has| has).count() as f64;
        let mut a = Mat::from_fn(n, n, |i, j| if has_edge[i] && has_edge[j] { tau / count } else { 0.0 });
        for edge in graph.list() {
            a[(edge.u as usize, edge.v as usize)] += edge.weight;
            a[(edge.v as usize, edge.u as usize)] += edge.weight;
        }
        let degrees: Vec<f64> = (0..n).map(|i| (0..n).map(|j| a[(i, j)]).sum()).collect();
        let normalised = |i, j| if a[(i, j)] == 0.0 { 0.0 } else { a[(i, j)] / (degrees[i] * degrees[j]).sqrt() };
        symmetric_eigen(Mat::from_fn(n, n, normalised).as_ref())
    }

    /// Eigenvalues, orthonormal columns, residuals, signs, and, before a gap, the space that the columns span.
    fn holds(graph: &Undirected, count: usize, tau: f64) -> Eigenvectors {
        let found = largest(graph, count, tau, None);
        let n = graph.vertices();
        let (values, all) = by_definition(graph, tau);
        let k = found.values.len();
        assert!(found.converged && k == count, "{count} {tau}: {found:?}");
        let gap = values.get(k).map_or(2.0, |after| values[k - 1] - after);
        for (at, (found, value)) in found.values.iter().zip(&values).enumerate() {
            assert!((found - value).abs() <= 1e-8 + TOLERANCE * TOLERANCE / gap.max(1e-9), "{at}: {found} {value}");
        }
        let vectors = Mat::from_fn(n, k, |i, j| found.vectors[i * k + j]);
        let gram = vectors.transpose() * &vectors;
        assert!((&gram - Mat::<f64>::identity(k, k)).norm_max() < 1e-9);
        let spectrum = Mat::from_fn(n, n, |i, j| all[(i, j)] * values[j]);
        let mut residual = Mat::from_fn(n, k, |i, j| -vectors[(i, j)] * found.values[j]);
        let coordinates = all.transpose() * &vectors;
        matmul(residual.as_mut(), Accum::Add, &spectrum, &coordinates, 1.0, Par::Seq);
        for j in 0..k {
            assert!(residual.col(j).norm_l2() <= TOLERANCE + 1e-12);
            let largest =
                (0..n).map(|i| vectors[(i, j)]).fold(0.0_f64, |most, x| if x.abs() > most.abs() { x } else { most });
            assert!(largest > 0.0);
        }
        if gap > 1e-3 {
            // The sine of the largest angle between the spaces.
            let outside = coordinates.subrows(k, n - k);
            assert!(outside.norm_l2() <= 2.0 * (k as f64).sqrt() * TOLERANCE / gap, "{} {gap}", outside.norm_l2());
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn are_those_of_the_dense_matrix(
            n in 201usize..320,
            density in 1.5..8.0,
            k in 2usize..12,
            tau in prop_oneof![Just(0.0), 0.1..10.0],
            seed: u64,
        ) {
            let random = random_graph(n, (n as f64 * density) as usize, seed);
            holds(&random, k, tau);
        }

        #[test]
        fn of_few_vertices_too(
            n in 2usize..40,
            density in 1.0..4.0,
            part in 0.0..=1.0,
            tau in prop_oneof![Just(0.0), 0.1..10.0],
            seed: u64,
        ) {
            // A ring has every vertex joined, so that as many eigenvectors as vertices can be asked for.
            let ring = (0..n).filter(|_| n > 2).map(|u| (u, (u + 1) % n, 1.0));
            let edges = random_graph(n, (n as f64 * density) as usize, seed);
            let both = edges.list().map(|edge| (edge.u as usize, edge.v as usize, edge.weight)).chain(ring);
            holds(&graph(n, both.collect::<Vec<_>>()), 1 + (part * (n - 1) as f64) as usize, tau);
        }
    }

    #[test]
    fn one_or_no_edge() {
        let none = largest(&graph(1, []), 1, 0.0, None);
        assert_eq!((none.values, none.vectors, none.converged, none.components), (vec![], vec![], true, 0));
        let half = 0.5_f64.sqrt();
        for tau in [0.0, 1.0] {
            let edge = largest(&graph(3, [(2, 0, 5.0)]), 2, tau, None);
            let found = Mat::from_fn(3, 2, |i, j| edge.vectors[2 * i + j]);
            let expected = faer::mat![[half, half], [0.0, 0.0], [half, -half]];
            assert!((found - expected).norm_max() < 1e-12);
            // Of A + (τ/2)·11', with 5 + τ/2 beside the diagonal and τ/2 on it.
            assert!((edge.values[1] + 5.0 / (5.0 + tau)).abs() < 1e-12, "{:?}", edge.values);
        }
    }

    #[test]
    fn equal_parts_have_multiple_eigenvalues() {
        // A ring: pairs. A star: one of multiplicity 11.
        let ring = |count: usize| (0..count).map(move |clique| (clique * 10, (clique + 1) % count * 10 + 5, 0.1));
        for k in [2, 4, 5, 8] {
            holds(&graph(300, cliques(30, 10).chain(ring(30))), k, 0.0);
        }
        let star = (0..12).map(|clique| (clique * 20, 240, 0.5));
        let star = graph(241, cliques(12, 20).chain(star));
        let found = holds(&star, 12, 0.0);
        assert!((found.values[1] - found.values[11]).abs() < 1e-9);
        holds(&star, 7, 0.0);
        holds(&star, 12, 2.0);
    }

    #[test]
    fn components_come_by_volume_and_stay_apart() {
        // Copies of 40 vertices, then a larger component, with vertices without an edge between them.
        let copies = (0..6).flat_map(|copy| (0..40).map(move |u| (41 * copy + u, 41 * copy + (u + 1) % 40, 1.0)));
        let large = (0..60).map(|u| (246 + u, 246 + (u + 1) % 60, 1.0));
        let graph = graph(310, copies.chain(large));
        let found = largest(&graph, 3, 0.0, None);
        assert_eq!((found.components, found.steps, found.values), (7, 0, vec![1.0; 3]));
        for vertex in 0..310 {
            let in_which = [(246..306).contains(&vertex), vertex < 40, (41..81).contains(&vertex)];
            let expected = in_which.map(|inside| if inside { 1.0 } else { 0.0 });
            assert_eq!(
                [0, 1, 2]
                    .map(|at| found.vectors[3 * vertex + at].signum() * found.vectors[3 * vertex + at].abs().ceil()),
                expected
            );
        }
        for k in [7, 8, 12] {
            holds(&graph, k, 0.0);
        }
        holds(&graph, 5, 1.0);
        let few = largest(&graph, 308, 0.0, None);
        assert_eq!(few.values.len(), 300);
    }

    #[test]
    fn a_long_ring_is_inverted() {
        // Its eigenvalues are cos(2πj/n): nearest to 1 they differ by 10^-5, which would take products with N by the
        // thousand.
        let n = 3000;
        let found = largest(&graph(n, (0..n).map(|u| (u, (u + 1) % n, 1.0))), 6, 0.0, None);
        assert!(found.converged && found.steps < 40, "{}", found.steps);
        for (at, value) in found.values.iter().enumerate() {
            let j = at.div_ceil(2) as f64;
            assert!((value - (TAU * j / n as f64).cos()).abs() < 1e-8);
        }
    }

    #[test]
    fn a_regularised_grid_is_inverted() {
        let at = |x: usize, y: usize| 10 * x + y;
        let along = (1..60).flat_map(|x| (0..10).map(move |y| (at(x, y), at(x - 1, y), 1.0)));
        let across = (0..60).flat_map(|x| (1..10).map(move |y| (at(x, y), at(x, y - 1), 1.0 + 0.1 * (x % 3) as f64)));
        let grid = graph(600, along.chain(across));
        for tau in [0.0, 0.01, 4.0] {
            let found = holds(&grid, 8, tau);
            assert!(found.steps < 50, "{tau}: {}", found.steps);
        }
    }

    #[test]
    fn the_vectors_of_a_similar_graph_shorten_the_way() {
        let before = random_graph(1000, 6000, 1);
        let after: Vec<_> = before.list().skip(60).chain(random_graph(1000, 60, 2).list()).collect();
        let after = Undirected::from_edges(1000, &after);
        for tau in [0.0, 12.0] {
            let start = largest(&before, 5, tau, None);
            let (cold, warm) = (largest(&after, 5, tau, None), largest(&after, 5, tau, Some(&start)));
            assert!(cold.converged && warm.converged);
            assert!(warm.steps < cold.steps, "{} {}", warm.steps, cold.steps);
            for (cold, warm) in cold.values.iter().zip(&warm.values) {
                assert!((cold - warm).abs() < 1e-8);
            }
            assert!(largest(&before, 5, tau, Some(&start)).steps <= start.steps / 2);
        }
    }

    #[test]
    fn a_start_that_misses_an_eigenvector_does_not_hide_it() {
        // Of three cliques in a row the first two were joined; the start knows nothing of the third.
        let row = |bridge: f64| [(0, 100, bridge), (199, 200, 0.1)];
        let before = largest(&graph(300, cliques(3, 100).chain(row(900.0))), 2, 0.0, None);
        let now = graph(300, cliques(3, 100).chain(row(0.1)));
        let (cold, warm) = (largest(&now, 3, 0.0, None), largest(&now, 3, 0.0, Some(&before)));
        for (cold, warm) in cold.values.iter().zip(&warm.values) {
            assert!((cold - warm).abs() < 1e-8);
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let random = random_graph(3000, 15000, 3);
        let ring = graph(3000, (0..3000).map(|u| (u, (u + 1) % 3000, 1.0)));
        for (graph, tau) in [(&random, 0.0), (&random, 5.0), (&ring, 0.0), (&ring, 2.0)] {
            let of = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| largest(graph, 6, tau, None))
            };
            let one = of(1);
            assert!(one.converged);
            assert_eq!(one, of(2));
            assert_eq!(one, of(4));
        }
    }
}
