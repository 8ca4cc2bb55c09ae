//! Spectral clustering: labels from the largest eigenvectors of the normalised adjacency matrix (Ng, Jordan, Weiss 2001).
//!
//! Plain spectral clustering of sparse real graphs cuts off pendants; adding τ/n to every weight (Amini, Chen, Bickel,
//! Levina 2013) heals that, and is worse where clusters are clear. So both are tried, and the lower normalised cut wins.

use serde::Serialize;

use super::eigen::{Eigenvectors, largest};
use super::kmeans::{Points, kmeans};
use super::score::Score;
use super::undirected::Undirected;
use crate::Error;

/// τ: τ/n is added to every weight before clustering, within the products, never in memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tau {
    /// 0 and the mean degree are tried; the lower normalised cut of the graph at hand wins, 0 if they are equal.
    Auto,
    /// As given, 0 or more.
    Fixed(f64),
}

/// How to cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// k
    pub clusters: usize,
    /// The seed of k-means.
    pub seed: u64,
    /// τ
    pub tau: Tau,
}

/// A graph's clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// The cluster of each vertex, numbered by lowest vertex; k for vertices without an edge.
    pub labels: Vec<u32>,
    /// τ, as it was in the end.
    pub tau: f64,
    /// Connected components with an edge; if they are more than clusters, clusters are whole components.
    pub components: usize,
    /// Whether the eigenvectors are as exact as they should be.
    pub converged: bool,
    /// The eigenvectors, plain and regularised, as far as they were needed: the next graph starts from them.
    plain: Option<Eigenvectors>,
    regularised: Option<Eigenvectors>,
}

/// Clusters a graph. `warm` is the clustering of a graph on the same vertices that is nearly this one: it saves time.
///
/// # Errors
/// [`Error::Parameter`] if there are no clusters, or more than vertices, or τ is below 0 or no number.
pub fn cluster(graph: &Undirected, settings: &Settings, warm: Option<&Clustering>) -> Result<Clustering, Error> {
    let &Settings { clusters, tau, .. } = settings;
    if clusters == 0 || clusters > graph.vertices() {
        let range = "at least 1 and at most the number of vertices";
        return Err(Error::Parameter { what: "clusters", value: clusters as f64, range });
    }
    match tau {
        Tau::Fixed(tau) if !(tau >= 0.0 && tau.is_finite()) => {
            Err(Error::Parameter { what: "tau", value: tau, range: "finite and at least 0" })
        }
        Tau::Fixed(tau) => Ok(at(graph, settings, tau, warm)),
        Tau::Auto => {
            let with_edges = graph.degrees().iter().filter(|&&degree| degree > 0.0).count().max(1);
            let mean = graph.degrees().iter().sum::<f64>() / with_edges as f64;
            let (plain, regularised) = (at(graph, settings, 0.0, warm), at(graph, settings, mean, warm));
            let ncut = |of: &Clustering| Score::of(graph, &of.labels, clusters).ncut;
            Ok(if ncut(&regularised) < ncut(&plain) {
                Clustering { plain: plain.plain, ..regularised }
            } else {
                Clustering { regularised: regularised.regularised, ..plain }
            })
        }
    }
}

fn at(graph: &Undirected, settings: &Settings, tau: f64, warm: Option<&Clustering>) -> Clustering {
    let k = settings.clusters;
    let warm = warm.and_then(|warm| if tau > 0.0 { warm.regularised.as_ref() } else { warm.plain.as_ref() });
    let found = largest(graph, k, tau, warm);
    let dimensions = found.values.len();
    let active: Vec<_> = (0..graph.vertices()).filter(|&vertex| graph.degrees()[vertex] > 0.0).collect();
    let mut rows = Vec::with_capacity(active.len() * dimensions);
    for &vertex in &active {
        let row = &found.vectors[vertex * dimensions..][..dimensions];
        // Times D^{-1/2} is the same for a whole row, and what counts is its direction.
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        rows.extend(row.iter().map(|x| if length > 0.0 { x / length } else { 0.0 }));
    }
    let mut labels = vec![k as u32; graph.vertices()];
    if !active.is_empty() {
        let points = Points { numbers: &rows, dimensions };
        let clusters = kmeans(points, k.min(active.len()), settings.seed);
        let mut renamed = vec![None; k];
        let mut next = 0;
        for (&vertex, &label) in active.iter().zip(&clusters.labels) {
            labels[vertex] = *renamed[label as usize].get_or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
    }
    let (components, converged) = (found.components, found.converged);
    let (plain, regularised) = if tau > 0.0 { (None, Some(found)) } else { (Some(found), None) };
    Clustering { labels, tau, components, converged, plain, regularised }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::block_model::{BlockModel, block_model};
    use crate::cluster::score::{ari, nmi};
    use crate::cluster::undirected::Edge;

    fn settings(clusters: usize, tau: Tau) -> Settings {
        Settings { clusters, seed: 1, tau }
    }

    #[test]
    fn planted_blocks_are_found() {
        let model = BlockModel { vertices: 600, clusters: 4, inside: 0.2, between: 0.02 };
        let instance = block_model(&model, 5).unwrap();
        let graph = Undirected::from_edges(600, &instance.edges);
        for tau in [Tau::Auto, Tau::Fixed(0.0), Tau::Fixed(20.0)] {
            let found = cluster(&graph, &settings(4, tau), None).unwrap();
            assert!(found.converged && nmi(&found.labels, instance.truth.as_ref().unwrap()) > 0.99);
            assert_eq!(found.labels[0], 0);
            let again = cluster(&graph, &settings(4, tau), Some(&found)).unwrap();
            assert_eq!(again.labels, found.labels);
        }
    }

    #[test]
    fn cliques_in_a_ring_are_found_however_alike_they_are() {
        let mut edges = Vec::new();
        for clique in 0..30u32 {
            for u in 0..12 {
                edges.extend((u + 1..12).map(|v| Edge { u: 12 * clique + u, v: 12 * clique + v, weight: 1.0 }));
            }
            let (a, b) = (12 * clique + 11, 12 * ((clique + 1) % 30));
            edges.push(Edge { u: a.min(b), v: a.max(b), weight: 1.0 });
        }
        let graph = Undirected::from_edges(361, &edges);
        let truth: Vec<_> = (0..360).map(|vertex| vertex / 12).chain([30]).collect();
        let found = cluster(&graph, &settings(30, Tau::Auto), None).unwrap();
        assert_eq!(ari(&found.labels, &truth), 1.0);
        assert_eq!(found.labels[360], 30, "a vertex without an edge is in no cluster");
    }

    #[test]
    fn components_edges_and_vertices_may_be_few() {
        for (n, k) in [(1, 1), (3, 3), (3, 1), (5, 5)] {
            for edges in [&[][..], &[(0, 1)], &[(0, 1), (1, 2)]] {
                let edges: Vec<_> =
                    edges.iter().filter(|e| e.1 < n).map(|&(u, v)| Edge { u, v, weight: 0.5 }).collect();
                let graph = Undirected::from_edges(n as usize, &edges);
                for tau in [Tau::Auto, Tau::Fixed(0.0), Tau::Fixed(1.0)] {
                    let labels = cluster(&graph, &settings(k, tau), None).unwrap().labels;
                    for (vertex, &label) in labels.iter().enumerate() {
                        assert_eq!(label as usize == k, graph.row(vertex).0.is_empty(), "{n} {k} {labels:?}");
                    }
                }
            }
        }
        let graph = Undirected::from_edges(4, &[]);
        assert!(cluster(&graph, &settings(0, Tau::Auto), None).is_err());
        assert!(cluster(&graph, &settings(5, Tau::Auto), None).is_err());
        assert!(cluster(&graph, &settings(2, Tau::Fixed(f64::NAN)), None).is_err());
        assert!(cluster(&graph, &settings(2, Tau::Fixed(-1.0)), None).is_err());
    }
}
