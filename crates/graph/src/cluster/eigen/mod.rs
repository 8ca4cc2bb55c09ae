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

use self::inverse::Inverse;
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
/// That costs an ordering of the vertices: as much as two or three products on meshes, as twenty on expanders, which need
/// no more than ten or twenty.
const SLOW: f64 = 30.0;

/// The largest eigenvalues of N with their eigenvectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigenvectors {
    /// The eigenvalues, descending.
    pub values: Vec<f64>,
    /// n rows of as many numbers as there are eigenvalues, one row after the other. The columns are orthonormal, and the
    /// largest component of each is positive. Vertices without an edge have rows of zeros.
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
/// With `tau` > 0, N is that of A + (τ/n)·11', where n counts the vertices with an edge. `warm`: vectors of a graph on as
/// many vertices that is nearly this one; they shorten the way, and no more than that.
///
/// Each component with an edge has eigenvalue 1 (if `tau` is 0). If there are `count` or more, those of largest volume are
/// taken, ties by lowest vertex.
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

/// By a Krylov space of N, or of (μ − N)^{-1} if that of N converges slowly.
fn iterate(normalised: &Normalised, known: &Tall, wanted: usize, start: Option<&Tall>) -> Found {
    let none = Tall::zeros(normalised.size(), 0);
    let mut krylov = Krylov::new(normalised, known, start.unwrap_or(&none), wanted);
    while !krylov.converged(TOLERANCE) && !(krylov.steps >= FIRST_STEPS && krylov.steps_left(TOLERANCE) > SLOW) {
        krylov.step();
    }
    let (left, first) = (krylov.steps_left(TOLERANCE).min(MOST_STEPS as f64), krylov.steps);
    if !krylov.converged(TOLERANCE)
        && let Some(inverse) = Inverse::of(normalised, krylov.range(), left * krylov.work(), wanted + SPARE)
    {
        let mut inverted = Krylov::new(&inverse, known, &krylov.vectors(wanted + SPARE), wanted);
        while !inverted.converged(TOLERANCE) && inverted.steps < MOST_STEPS {
            inverted.step();
        }
        return Found { values: inverted.values(), vectors: inverted.vectors(wanted), steps: first + inverted.steps };
    }
    while !krylov.converged(TOLERANCE) && krylov.steps < MOST_STEPS {
        krylov.step();
    }
    Found { values: krylov.values(), vectors: krylov.vectors(wanted), steps: krylov.steps }
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
