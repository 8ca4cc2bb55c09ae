//! The normalised adjacency matrix of a graph, plain or regularised, and its product with a block of vectors.
//!
//! N = D^{-1/2} A D^{-1/2}, with A + (τ/n)·11' for A if τ > 0 and D the row sums of that. The term of rank one is added
//! in the product; the matrix stays sparse. Only vertices with an edge take part, and n counts them: a vertex without
//! one has a row of zeros, and whether it is there or not changes nothing else.
//!
//! Source: Amini, Chen, Bickel, Levina, *Pseudo-likelihood methods for community detection* (2013), for the
//! regularisation.

use faer::Mat;
use rayon::prelude::*;

use super::krylov::Operator;
use super::tall::Tall;
use crate::cluster::undirected::Undirected;

/// N of a graph's vertices that have an edge.
pub(super) struct Normalised {
    /// The graph's vertex of each row, ascending.
    pub(super) vertices: Vec<u32>,
    /// Where each row of the sparse part begins; its columns, ascending in a row; its values.
    rows: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
    /// D^{-1/2}, with τ.
    pub(super) scale: Vec<f64>,
    /// What the product of two entries of `scale` is multiplied with in the term of rank one: τ/n.
    pub(super) everywhere: f64,
    /// Of the graph, among vertices with an edge.
    pub(super) components: usize,
    component: Vec<u32>,
}

impl Normalised {
    /// `tau` is not negative.
    pub(super) fn of(graph: &Undirected, tau: f64) -> Self {
        let degrees = graph.degrees();
        let has_edge = |&vertex: &u32| !graph.row(vertex as usize).0.is_empty();
        let vertices: Vec<u32> = (0..graph.vertices() as u32).filter(has_edge).collect();
        let scale: Vec<f64> = vertices.iter().map(|&vertex| (degrees[vertex as usize] + tau).sqrt().recip()).collect();
        let mut index = vec![u32::MAX; graph.vertices()];
        for (at, &vertex) in (0..).zip(&vertices) {
            index[vertex as usize] = at;
        }
        let mut rows = vec![0];
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (&vertex, &own) in vertices.iter().zip(&scale) {
            let (neighbours, weights) = graph.row(vertex as usize);
            for (&neighbour, &weight) in neighbours.iter().zip(weights) {
                let column = index[neighbour as usize];
                columns.push(column);
                values.push(weight * (own * scale[column as usize]));
            }
            rows.push(columns.len());
        }
        // Numbered by lowest vertex again, without those of one vertex.
        let all = graph.components().0;
        let (mut number, mut components) = (vec![u32::MAX; graph.vertices()], 0);
        let component = vertices.iter().map(|&vertex| {
            let slot = &mut number[all[vertex as usize] as usize];
            if *slot == u32::MAX {
                *slot = components;
                components += 1;
            }
            *slot
        });
        let component = component.collect();
        let everywhere = tau / vertices.len().max(1) as f64;
        Self { vertices, rows, columns, values, scale, everywhere, components: components as usize, component }
    }

    pub(super) fn size(&self) -> usize {
        self.vertices.len()
    }

    pub(super) fn is_regularised(&self) -> bool {
        self.everywhere > 0.0
    }

    /// Whether some vertex is farther from the first than on any expander, as on meshes and neighbourhood graphs.
    ///
    /// Of random and social graphs 5 to 11 steps were measured, of meshes 27 to 74, beside a logarithm of 10 to 14.
    pub(super) fn is_stretched(&self) -> bool {
        let mut seen = vec![false; self.size()];
        let (mut level, mut steps) = (vec![0], 0);
        seen[0] = true;
        while !level.is_empty() {
            let mut next = Vec::new();
            for row in level {
                for &column in &self.columns[self.rows[row]..self.rows[row + 1]] {
                    if !std::mem::replace(&mut seen[column as usize], true) {
                        next.push(column as usize);
                    }
                }
            }
            level = next;
            steps += 1;
        }
        f64::from(steps) > (self.size() as f64).log2()
    }

    /// The part of a sparse row after the diagonal: columns and values.
    pub(super) fn row_after(&self, row: usize) -> (&[u32], &[f64]) {
        let (start, end) = (self.rows[row], self.rows[row + 1]);
        let after = start + self.columns[start..end].partition_point(|&column| column as usize <= row);
        (&self.columns[after..end], &self.values[after..end])
    }

    /// The eigenvectors of eigenvalue 1, at most `most` of them: D^{1/2} 1 on each component, or, if regularised, on
    /// all.
    ///
    /// Components are taken by volume, then by lowest vertex. The vectors have length 1.
    pub(super) fn known(&self, most: usize) -> Tall {
        let connected = self.is_regularised();
        let component = |row: usize| if connected { 0 } else { self.component[row] as usize };
        let count = if connected { usize::from(self.size() > 0) } else { self.components };
        let mut volumes = vec![0.0; count];
        for (row, scale) in self.scale.iter().enumerate() {
            volumes[component(row)] += (scale * scale).recip();
        }
        let mut largest: Vec<usize> = (0..count).collect();
        largest.sort_by(|&a, &b| volumes[b].total_cmp(&volumes[a]).then(a.cmp(&b)));
        largest.truncate(most);
        let mut column = vec![None; count];
        for (at, &component) in largest.iter().enumerate() {
            column[component] = Some(at);
        }
        let mut known = Tall::zeros(self.size(), largest.len());
        for (row, scale) in self.scale.iter().enumerate() {
            if let Some(at) = column[component(row)] {
                known.row_mut(row)[at] = (scale * volumes[component(row)].sqrt()).recip();
            }
        }
        known
    }

    /// The matrix in full, for few vertices.
    pub(super) fn dense(&self) -> Mat<f64> {
        let mut dense = Mat::from_fn(self.size(), self.size(), |i, j| self.everywhere * self.scale[i] * self.scale[j]);
        for row in 0..self.size() {
            for at in self.rows[row]..self.rows[row + 1] {
                dense[(row, self.columns[at] as usize)] += self.values[at];
            }
        }
        dense
    }
}

impl Operator for Normalised {
    fn size(&self) -> usize {
        self.size()
    }

    fn apply(&self, x: &Tall, y: &mut Tall) {
        let (width, share) = (x.columns, x.share());
        let sums = if self.is_regularised() { weighted_sums(&self.scale, x) } else { Vec::new() };
        y.values.par_chunks_mut(share * width).enumerate().for_each(|(number, part)| {
            for (row, y) in (number * share..).zip(part.chunks_exact_mut(width)) {
                let range = self.rows[row]..self.rows[row + 1];
                times_row(&self.columns[range.clone()], &self.values[range], x, y);
                let scale = self.everywhere * self.scale[row];
                for (y, sum) in y.iter_mut().zip(&sums) {
                    *y += scale * sum;
                }
            }
        });
    }

    fn eigenvalue(&self, value: f64) -> f64 {
        value
    }

    fn residual(&self, _: f64, residual: f64) -> f64 {
        residual
    }
}

/// Σ scale_i x_i over the rows of x.
pub(super) fn weighted_sums(scale: &[f64], x: &Tall) -> Vec<f64> {
    let (width, share) = (x.columns, x.share());
    let parts: Vec<Vec<f64>> = (x.values.par_chunks(share * width).zip(scale.par_chunks(share)))
        .map(|(rows, scale)| {
            let mut sums = vec![0.0; width];
            for (row, &scale) in rows.chunks_exact(width).zip(scale) {
                for (sum, &x) in sums.iter_mut().zip(row) {
                    *sum += scale * x;
                }
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; width];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
    sums
}

/// One row of the product: neighbours in order, columns in groups whose sums stay in registers.
fn times_row(columns: &[u32], values: &[f64], x: &Tall, y: &mut [f64]) {
    let mut at = 0;
    while at < y.len() {
        at += match y.len() - at {
            8.. => group::<8>(columns, values, x, at, y),
            4.. => group::<4>(columns, values, x, at, y),
            2.. => group::<2>(columns, values, x, at, y),
            _ => group::<1>(columns, values, x, at, y),
        };
    }
}

#[inline(always)]
fn group<const WIDTH: usize>(columns: &[u32], values: &[f64], x: &Tall, at: usize, y: &mut [f64]) -> usize {
    let mut sums = [0.0; WIDTH];
    for (&column, &value) in columns.iter().zip(values) {
        let from = column as usize * x.columns + at;
        let x: &[f64; WIDTH] = x.values[from..from + WIDTH].try_into().expect("so many were taken");
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += value * x;
        }
    }
    y[at..at + WIDTH].copy_from_slice(&sums);
    WIDTH
}
