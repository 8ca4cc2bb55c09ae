//! Spectral clustering: the parts into which a graph falls with few edges between them.
//!
//! Rows of the k largest eigenvectors of the normalised adjacency matrix, brought to length 1, are clustered by
//! k-means. Sources: Ng, Jordan, Weiss, *On spectral clustering* (2001); Amini, Chen, Bickel, Levina,
//! *Pseudo-likelihood methods for community detection in large sparse networks* (2013), for the regularisation: on
//! sparse graphs of the world the plain method cuts off pendants.

use serde::{Deserialize, Serialize};

use super::eigen::{Eigenvectors, largest};
use super::kmeans;
use super::score::score;
use super::undirected::Undirected;
use crate::Error;

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How many clusters, k.
    pub clusters: usize,
    /// Where k-means begins.
    pub seed: u64,
    /// The weight of the regularisation.
    pub tau: Tau,
}

/// The weight τ that each vertex is joined to all others with, taken together: A + (τ/n)·11'.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Tau {
    /// 0 and the mean degree, whichever gives the lower normalised cut of the graph; if equal, 0.
    Auto,
    /// As `Auto`, and 0 with rows that are not brought to length 1, too: the lowest cut of the three.
    ///
    /// Such rows tell far vertices from near ones, and so the method may cut off a few vertices that hang by a thread.
    Lowest,
    /// This one, finite and not negative. 0 is the plain method.
    Fixed(f64),
}

/// A clustering of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// The cluster of each vertex, numbered by first vertex; k ("no cluster") for a vertex without an edge.
    pub labels: Vec<u32>,
    /// The largest eigenvalues, descending: k, or as many as vertices have an edge.
    pub eigenvalues: Vec<f64>,
    /// The weight of the regularisation.
    pub tau: f64,
    /// Connected components with an edge. If there are more than k, some clusters are in pieces.
    pub components: usize,
    /// Whether the eigenvectors are as good as asked for.
    pub converged: bool,
    /// Where the clustering of a graph that is nearly this one may begin.
    pub start: Start,
}

/// Eigenvectors of a graph, for the next one like it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Start {
    plain: Option<Eigenvectors>,
    regularised: Option<Eigenvectors>,
}

/// The clusters of `graph`. `warm`: where that of a similar graph on as many vertices ended; it saves time.
///
/// The same graph, settings and start give the same clustering to the last bit on any number of threads.
///
/// # Errors
/// [`Error::Parameter`] if there are no clusters or more than vertices, or if τ is negative or not finite.
pub fn cluster(graph: &Undirected, settings: &Settings, warm: Option<&Start>) -> Result<Clustering, Error> {
    let Settings { clusters, seed, tau } = *settings;
    if clusters == 0 || clusters > graph.vertices() {
        let range = "from 1 to the number of vertices";
        return Err(Error::Parameter { what: "clusters", value: clusters as f64, range });
    }
    let task = Task { graph, clusters, seed, warm };
    match tau {
        Tau::Fixed(tau) if tau.is_finite() && tau >= 0.0 => Ok(task.with(tau, &[Rows::Unit]).alone()),
        Tau::Fixed(value) => Err(Error::Parameter { what: "tau", value, range: "finite and not negative" }),
        Tau::Auto => Ok(task.best(&[Rows::Unit])),
        Tau::Lowest => Ok(task.best(&[Rows::Unit, Rows::ByDegree])),
    }
}

/// What a vertex is to k-means: its entries of the eigenvectors,
#[derive(Debug, Clone, Copy)]
enum Rows {
    /// brought to length 1 (a factor D^{-1/2} before that would change nothing);
    Unit,
    /// times D^{-1/2}.
    ByDegree,
}

struct Task<'a> {
    graph: &'a Undirected,
    clusters: usize,
    seed: u64,
    warm: Option<&'a Start>,
}

/// A clustering by one matrix.
struct Found {
    labels: Vec<u32>,
    ncut: f64,
    vectors: Eigenvectors,
    tau: f64,
}

impl Task<'_> {
    /// The plain method with any of `rows`, or the regularised one.
    fn best(&self, rows: &[Rows]) -> Clustering {
        let plain = || self.with(0.0, rows);
        let isolated = (0..self.graph.vertices()).filter(|&vertex| self.is_isolated(vertex)).count();
        if self.graph.components().1 - isolated >= self.clusters {
            return plain().alone(); // it cuts nothing
        }
        let (plain, regularised) = rayon::join(plain, || self.with(self.mean_degree(), &[Rows::Unit]));
        if regularised.ncut < plain.ncut { regularised.beside(plain) } else { plain.beside(regularised) }
    }

    /// By the eigenvectors with `tau`, the best of `rows`.
    fn with(&self, tau: f64, rows: &[Rows]) -> Found {
        let warm =
            self.warm.and_then(|start| if tau > 0.0 { start.regularised.as_ref() } else { start.plain.as_ref() });
        let vectors = largest(self.graph, self.clusters, tau, warm);
        let of = |&rows: &Rows| {
            let labels = self.labels(&vectors, rows);
            (score(self.graph, &labels).ncut, labels)
        };
        let (ncut, labels) = rows
            .iter()
            .map(of)
            .reduce(|best, next| if next.0 < best.0 { next } else { best })
            .expect("there are some rows");
        Found { labels, ncut, vectors, tau }
    }

    /// By k-means, numbered by first vertex.
    fn labels(&self, vectors: &Eigenvectors, rows: Rows) -> Vec<u32> {
        let (dimensions, none) = (vectors.values.len(), self.clusters as u32);
        let vertices: Vec<usize> = (0..self.graph.vertices()).filter(|&vertex| !self.is_isolated(vertex)).collect();
        let mut labels = vec![none; self.graph.vertices()];
        if vertices.is_empty() {
            return labels;
        }
        let mut points = Vec::with_capacity(vertices.len() * dimensions);
        for &vertex in &vertices {
            let row = &vectors.vectors[vertex * dimensions..(vertex + 1) * dimensions];
            let length = match rows {
                Rows::Unit => row.iter().map(|value| value * value).sum::<f64>().sqrt(),
                Rows::ByDegree => self.graph.degrees()[vertex].sqrt(),
            };
            points.extend(row.iter().map(|value| if length > 0.0 { value / length } else { 0.0 }));
        }
        let found = kmeans::cluster(&points, dimensions, self.clusters, self.seed).labels;
        let (mut number, mut next) = (vec![none; self.clusters], 0);
        for (&vertex, label) in vertices.iter().zip(found) {
            let number = &mut number[label as usize];
            if *number == none {
                *number = next;
                next += 1;
            }
            labels[vertex] = *number;
        }
        labels
    }

    fn is_isolated(&self, vertex: usize) -> bool {
        self.graph.row(vertex).0.is_empty()
    }

    /// Of the vertices that have an edge.
    fn mean_degree(&self) -> f64 {
        let with_edge = (0..self.graph.vertices()).filter(|&vertex| !self.is_isolated(vertex)).count();
        self.graph.degrees().iter().sum::<f64>() / with_edge.max(1) as f64
    }
}

impl Found {
    fn alone(self) -> Clustering {
        let Self { labels, vectors, tau, .. } = self;
        let (eigenvalues, components, converged) = (vectors.values.clone(), vectors.components, vectors.converged);
        let start = match tau > 0.0 {
            true => Start { plain: None, regularised: Some(vectors) },
            false => Start { plain: Some(vectors), regularised: None },
        };
        Clustering { labels, eigenvalues, tau, components, converged, start }
    }

    /// With the other's vectors for the next start.
    fn beside(self, other: Self) -> Clustering {
        let (mut best, other) = (self.alone(), other.alone());
        best.start.plain = best.start.plain.or(other.start.plain);
        best.start.regularised = best.start.regularised.or(other.start.regularised);
        best
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::score::nmi;
    use super::super::undirected::Edge;
    use super::*;

    fn graph(vertices: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Undirected {
        let edge = |(u, v): (usize, usize)| Edge { u: u.min(v) as u32, v: u.max(v) as u32, weight: 1.0 };
        Undirected::from_edges(vertices, &edges.into_iter().map(edge).collect::<Vec<_>>())
    }

    /// Blocks by turns; each pair of one block is joined with probability `inside`, other pairs with `outside`.
    fn blocks(vertices: usize, count: usize, inside: f64, outside: f64) -> (Undirected, Vec<u32>) {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let pairs = (0..vertices).flat_map(|u| (u + 1..vertices).map(move |v| (u, v)));
        let joined =
            |&(u, v): &(usize, usize)| random.random_bool(if u % count == v % count { inside } else { outside });
        let edges: Vec<_> = pairs.filter(joined).collect();
        (graph(vertices, edges), (0..vertices).map(|vertex| (vertex % count) as u32).collect())
    }

    fn with(graph: &Undirected, clusters: usize, tau: Tau) -> Clustering {
        cluster(graph, &Settings { clusters, seed: 1, tau }, None).unwrap()
    }

    #[test]
    fn planted_blocks_are_found() {
        for (vertices, count, inside, outside) in [(60, 3, 0.6, 0.05), (600, 4, 0.3, 0.03), (900, 5, 0.15, 0.01)] {
            let (graph, truth) = blocks(vertices, count, inside, outside);
            for tau in [Tau::Auto, Tau::Lowest, Tau::Fixed(0.0), Tau::Fixed(3.0)] {
                let found = with(&graph, count, tau);
                assert!(found.converged);
                assert!(nmi(&found.labels, &truth) >= 0.99, "{vertices} {tau:?}: {}", nmi(&found.labels, &truth));
            }
        }
    }

    #[test]
    fn labels_are_numbered_by_first_vertex_and_those_without_an_edge_have_none() {
        // Triangles 5, 6, 7 and 1, 3, 8; alone are 0, 2, 4.
        let graph = graph(9, [(5, 6), (6, 7), (5, 7), (1, 3), (3, 8), (1, 8)]);
        for tau in [Tau::Auto, Tau::Lowest, Tau::Fixed(0.0), Tau::Fixed(0.5)] {
            let found = with(&graph, 2, tau);
            assert_eq!(found.labels, [2, 0, 2, 0, 2, 1, 1, 1, 0], "{tau:?}");
            assert_eq!(found.components, 2);
        }
        let nothing = with(&Undirected::from_edges(3, &[]), 2, Tau::Auto);
        assert_eq!((nothing.labels, nothing.eigenvalues.len(), nothing.components), (vec![2; 3], 0, 0));
    }

    #[test]
    fn as_many_clusters_as_vertices_are_single_vertices() {
        for n in 2..6 {
            let complete = graph(n, (0..n).flat_map(|u| (0..u).map(move |v| (u, v))));
            let found = with(&complete, n, Tau::Fixed(0.0));
            assert_eq!(found.labels, (0..n as u32).collect::<Vec<_>>());
        }
        let edge = graph(2, [(0, 1)]);
        assert_eq!(with(&edge, 1, Tau::Auto).labels, [0, 0]);
        assert_eq!(with(&Undirected::from_edges(1, &[]), 1, Tau::Auto).labels, [1]);
    }

    #[test]
    fn more_parts_than_clusters_are_not_cut() {
        let paths = graph(40, (0..40).filter(|v| v % 8 != 0).map(|v| (v - 1, v)));
        for clusters in 1..=5 {
            let found = with(&paths, clusters, Tau::Auto);
            assert_eq!((found.components, found.tau), (5, 0.0));
            assert_eq!(score(&paths, &found.labels).ncut, 0.0);
        }
    }

    /// Two blocks, from which paths hang: the plain method cuts off paths.
    fn with_pendants() -> Undirected {
        let (core, _) = blocks(400, 2, 0.06, 0.012);
        let edges: Vec<_> = core.list().map(|edge| (edge.u as usize, edge.v as usize)).collect();
        let paths = (0..12).flat_map(|path| {
            let first = 400 + 12 * path;
            std::iter::once((30 * path, first)).chain((1..12).map(move |step| (first + step - 1, first + step)))
        });
        graph(400 + 12 * 12, edges.into_iter().chain(paths))
    }

    #[test]
    fn the_lowest_cut_is_chosen() {
        let graph = with_pendants();
        let ncut = |tau| score(&graph, &with(&graph, 3, tau).labels).ncut;
        let regularised = Tau::Fixed(2.0 * graph.edges() as f64 / graph.vertices() as f64);
        let (plain, regularised) = (ncut(Tau::Fixed(0.0)), ncut(regularised));
        assert_ne!(plain, regularised);
        assert_eq!(ncut(Tau::Auto), plain.min(regularised));
        assert!(ncut(Tau::Lowest) <= ncut(Tau::Auto));
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let graph = with_pendants();
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| with(&graph, 3, Tau::Lowest))
        };
        assert_eq!(of(1), of(2));
        assert_eq!(of(1), of(4));
    }

    #[test]
    fn a_start_from_a_similar_graph_finds_the_same() {
        let (graph, _) = blocks(600, 4, 0.3, 0.03);
        let settings = Settings { clusters: 4, seed: 1, tau: Tau::Auto };
        let cold = cluster(&graph, &settings, None).unwrap();
        let fewer: Vec<_> = graph.list().enumerate().filter(|(at, _)| at % 50 != 0).map(|(_, edge)| edge).collect();
        let later = Undirected::from_edges(600, &fewer);
        let warm = cluster(&later, &settings, Some(&cold.start)).unwrap();
        assert_eq!(warm.labels, cluster(&later, &settings, None).unwrap().labels);
        let steps = |start: &Start| [&start.plain, &start.regularised].map(|vectors| vectors.as_ref().unwrap().steps);
        let (before, after) = (steps(&cold.start), steps(&warm.start));
        assert!(after[0] < before[0] && after[1] < before[1], "{before:?}, {after:?}");
        // A start of another graph is no harm.
        let other = cluster(&blocks(60, 3, 0.6, 0.05).0, &settings, Some(&cold.start)).unwrap();
        assert_eq!(other.labels, cluster(&blocks(60, 3, 0.6, 0.05).0, &settings, None).unwrap().labels);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let graph = graph(3, [(0, 1), (1, 2)]);
        let with = |clusters, tau| cluster(&graph, &Settings { clusters, seed: 0, tau }, None);
        for clusters in [0, 4] {
            assert!(matches!(with(clusters, Tau::Auto), Err(Error::Parameter { what: "clusters", .. })));
        }
        for tau in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(with(2, Tau::Fixed(tau)), Err(Error::Parameter { what: "tau", .. })));
        }
    }
}
