//! How good a clustering is: by the graph alone, and beside another clustering.
//!
//! All measures of the graph are those of the whole graph, also where the clusters were found on a sparsifier of it.
//! Sources: Shi, Malik, *Normalized cuts and image segmentation* (2000); Newman, *Modularity and community structure in
//! networks* (2006); Hubert, Arabie, *Comparing partitions* (1985). Degenerate cases are as in scikit-learn.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::undirected::Undirected;

/// A clustering, measured by the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The normalised cut: the sum of cut/volume over the clusters, in [0, number of clusters).
    pub ncut: f64,
    /// The largest conductance of a cluster, in [0, 1].
    pub conductance: f64,
    /// The weight inside the clusters, less what would be there if ends met at random, of the whole: in [-1/2, 1).
    pub modularity: f64,
    /// The clusters, by label. Vertices of no cluster are one more, if they have a volume.
    pub clusters: Vec<Cluster>,
}

/// A cluster, measured by the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its label.
    pub label: u32,
    /// How many vertices it has.
    pub vertices: usize,
    /// The sum of their degrees.
    pub volume: f64,
    /// The weight of the edges out of it.
    pub cut: f64,
    /// The cut by the lesser of the volumes inside and outside; 0 if there is nothing to cut off.
    pub conductance: f64,
}

/// Measures the clusters of `graph` by `labels`, one for each vertex.
///
/// Labels are any numbers. Clusters without a volume, of vertices without edges, are left out.
pub fn score(graph: &Undirected, labels: &[u32]) -> Score {
    let (cluster_of, names) = numbered(labels);
    let mut clusters: Vec<_> = names.iter().map(|&label| Cluster::empty(label)).collect();
    let mut inside = vec![0.0; clusters.len()];
    for (vertex, &own) in cluster_of.iter().enumerate() {
        let cluster = &mut clusters[own];
        cluster.vertices += 1;
        cluster.volume += graph.degrees()[vertex];
        let (neighbours, weights) = graph.row(vertex);
        for (&neighbour, weight) in neighbours.iter().zip(weights) {
            let sum = if cluster_of[neighbour as usize] == own { &mut inside[own] } else { &mut cluster.cut };
            *sum += weight;
        }
    }
    let total: f64 = clusters.iter().map(|cluster| cluster.volume).sum();
    // Of the one that has more than half, the rest is added up: a difference would be rounding.
    let outside = |own: usize| match clusters[own].volume {
        volume if volume <= total / 2.0 => total - volume,
        _ => (0..clusters.len()).filter(|&other| other != own).map(|other| clusters[other].volume).sum(),
    };
    let conductance = |own: usize| {
        let least = clusters[own].volume.min(outside(own));
        if least > 0.0 { clusters[own].cut / least } else { 0.0 }
    };
    let conductances: Vec<f64> = (0..clusters.len()).map(conductance).collect();
    let beyond_chance = |(cluster, inside): (&Cluster, &f64)| inside / total - (cluster.volume / total).powi(2);
    let modularity = if total > 0.0 { clusters.iter().zip(&inside).map(beyond_chance).sum() } else { 0.0 };
    for (cluster, conductance) in clusters.iter_mut().zip(conductances) {
        cluster.conductance = conductance;
    }
    clusters.retain(|cluster| cluster.volume > 0.0);
    Score {
        ncut: clusters.iter().map(|cluster| cluster.cut / cluster.volume).sum(),
        conductance: clusters.iter().map(|cluster| cluster.conductance).fold(0.0, f64::max),
        modularity,
        clusters,
    }
}

impl Cluster {
    fn empty(label: u32) -> Self {
        Self { label, vertices: 0, volume: 0.0, cut: 0.0, conductance: 0.0 }
    }
}

/// The adjusted Rand index of two clusterings of the same things: 1 if they agree, about 0 if they do by chance.
///
/// 1, too, if there is nothing to cluster.
pub fn ari(a: &[u32], b: &[u32]) -> f64 {
    let Contingency { total, rows, columns, cells } = Contingency::of(a, b);
    let squares = |counts: &mut dyn Iterator<Item = u64>| counts.map(|count| (count as f64).powi(2)).sum::<f64>();
    let both = squares(&mut cells.iter().map(|cell| cell.2));
    let [in_a, in_b] = [&rows, &columns].map(|sums| squares(&mut sums.iter().copied()));
    // Ordered pairs of things: together in both, only in a, only in b, in none.
    let (together, only_a, only_b) = (both - total as f64, in_a - both, in_b - both);
    let apart = (total as f64).powi(2) - both - only_a - only_b;
    if only_a == 0.0 && only_b == 0.0 {
        return 1.0;
    }
    let pairs = (together + only_a) * (only_a + apart) + (together + only_b) * (only_b + apart);
    2.0 * (together * apart - only_a * only_b) / pairs
}

/// The mutual information of two clusterings of the same things, by the mean of their entropies: in [0, 1].
///
/// 1 if both are one cluster, or if there is nothing to cluster; 0 if only one of them is one cluster.
pub fn nmi(a: &[u32], b: &[u32]) -> f64 {
    let Contingency { total, rows, columns, cells } = Contingency::of(a, b);
    if rows.len() == columns.len() && rows.len() <= 1 {
        return 1.0;
    }
    let total = total as f64;
    let information = |&(row, column, count): &(usize, usize, u64)| {
        let by_chance = rows[row] as f64 * columns[column] as f64;
        count as f64 / total * (count as f64 * total / by_chance).ln()
    };
    let mutual: f64 = cells.iter().map(information).sum();
    let entropy = |sums: &[u64]| -> f64 {
        let share = |&count: &u64| count as f64 / total;
        -sums.iter().map(share).map(|share| share * share.ln()).sum::<f64>()
    };
    if mutual > 0.0 { mutual / ((entropy(&rows) + entropy(&columns)) / 2.0) } else { 0.0 }
}

/// How many things have each pair of labels.
struct Contingency {
    total: u64,
    rows: Vec<u64>,
    columns: Vec<u64>,
    /// Row, column, count; ascending, none of them 0.
    cells: Vec<(usize, usize, u64)>,
}

impl Contingency {
    fn of(a: &[u32], b: &[u32]) -> Self {
        assert_eq!(a.len(), b.len(), "two clusterings of the same things");
        let ((a, names_of_a), (b, names_of_b)) = (numbered(a), numbered(b));
        let (mut rows, mut columns) = (vec![0; names_of_a.len()], vec![0; names_of_b.len()]);
        let mut counts = HashMap::new();
        for (&row, &column) in a.iter().zip(&b) {
            rows[row] += 1;
            columns[column] += 1;
            *counts.entry((row, column)).or_insert(0) += 1;
        }
        let mut cells: Vec<_> = counts.into_iter().map(|((row, column), count)| (row, column, count)).collect();
        cells.sort_unstable();
        Self { total: a.len() as u64, rows, columns, cells }
    }
}

/// The rank of each label among those that occur, and these, ascending.
fn numbered(labels: &[u32]) -> (Vec<usize>, Vec<u32>) {
    let mut names = labels.to_vec();
    names.sort_unstable();
    names.dedup();
    let rank = |label: &u32| names.binary_search(label).expect("it is one of them");
    (labels.iter().map(rank).collect(), names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::undirected::Edge;

    fn graph(vertices: usize, edges: &[(u32, u32, f64)]) -> Undirected {
        let edges: Vec<_> = edges.iter().map(|&(u, v, weight)| Edge { u, v, weight }).collect();
        Undirected::from_edges(vertices, &edges)
    }

    #[test]
    fn two_triangles_and_a_bridge_are_measured_by_hand() {
        let triangles = [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 1.0), (3, 4, 1.0), (4, 5, 1.0), (3, 5, 1.0), (2, 3, 0.5)];
        // Vertex 6 has no edge: a cluster without volume.
        let found = score(&graph(7, &triangles), &[4, 4, 4, 1, 1, 1, 9]);
        let cluster = |label| Cluster { label, vertices: 3, volume: 6.5, cut: 0.5, conductance: 0.5 / 6.5 };
        assert_eq!(found.clusters, [cluster(1), cluster(4)]);
        assert_eq!((found.ncut, found.conductance), (1.0 / 6.5, 0.5 / 6.5));
        assert!((found.modularity - (12.0 / 13.0 - 0.5)).abs() < 1e-15);
        let whole = score(&graph(7, &triangles), &[0; 7]);
        assert_eq!((whole.ncut, whole.conductance, whole.modularity), (0.0, 0.0, 0.0));
        let nothing = score(&graph(3, &[]), &[0, 1, 2]);
        assert_eq!((nothing.ncut, nothing.modularity, nothing.clusters.len()), (0.0, 0.0, 0));
    }

    /// (a, b, ARI, NMI) as scikit-learn 1.9.1 gives them:
    ///
    ///     from sklearn.metrics import adjusted_rand_score as ari, normalized_mutual_info_score as nmi
    ///     print(ari(a, b), nmi(a, b))
    const GOLDEN: &[(&[u32], &[u32], f64, f64)] = &[
        (&[], &[], 1.0, 1.0),
        (&[0], &[3], 1.0, 1.0),
        (&[0, 0, 0], &[5, 5, 5], 1.0, 1.0),
        (&[0, 1, 2, 3], &[0, 1, 2, 3], 1.0, 1.0),
        (&[0, 0, 1, 1], &[0, 0, 0, 0], 0.0, 0.0),
        (&[0, 0, 0, 0], &[0, 1, 2, 3], 0.0, 0.0),
        (&[0, 0, 1, 1], &[0, 1, 0, 1], -0.5, 0.0),
        (&[0, 0, 1, 1], &[0, 0, 1, 2], 0.5714285714285714, 0.7999999999999999),
        (
            &[0, 2, 0, 1, 0, 1, 1, 1, 2, 1, 0, 0, 1, 0, 1, 1, 2, 0, 2, 1],
            &[2, 1, 0, 2, 0, 0, 0, 0, 3, 1, 3, 0, 1, 3, 3, 1, 2, 1, 1, 3],
            -0.058280124983018614,
            0.09055650537880554,
        ),
        (
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2],
            &[0, 0, 2, 0, 0, 1, 0, 0, 2, 1, 2, 2, 1, 1, 1, 2, 2, 1, 2, 1, 2, 2, 2, 0],
            0.19521178637200737,
            0.281546737576157,
        ),
    ];

    #[test]
    fn ari_and_nmi_are_those_of_scikit_learn() {
        for &(a, b, of_ari, of_nmi) in GOLDEN {
            assert!((ari(a, b) - of_ari).abs() < 1e-14, "{a:?} {b:?}: {}", ari(a, b));
            assert!((nmi(a, b) - of_nmi).abs() < 1e-14, "{a:?} {b:?}: {}", nmi(a, b));
        }
    }

    fn case() -> impl Strategy<Value = (Undirected, Vec<u32>)> {
        (2usize..12).prop_flat_map(|n| {
            let edge = (0..n as u32, 0..n as u32, 1u32..5).prop_filter("a loop", |edge| edge.0 != edge.1);
            let edges = proptest::collection::vec(edge, 0..30);
            (edges, proptest::collection::vec(0u32..4, n)).prop_map(move |(edges, labels)| {
                let edges: Vec<_> = edges.iter().map(|&(u, v, w)| (u.min(v), u.max(v), f64::from(w) / 4.0)).collect();
                (graph(n, &edges), labels)
            })
        })
    }

    proptest! {
        #[test]
        fn is_what_the_dense_matrix_says((graph, labels) in case()) {
            let n = graph.vertices();
            let mut matrix = vec![vec![0.0; n]; n];
            for edge in graph.list() {
                matrix[edge.u as usize][edge.v as usize] = edge.weight;
                matrix[edge.v as usize][edge.u as usize] = edge.weight;
            }
            let between = |from: &dyn Fn(usize) -> bool, to: &dyn Fn(usize) -> bool| -> f64 {
                let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
                pairs.filter(|&(i, j)| from(i) && to(j)).map(|(i, j)| matrix[i][j]).sum()
            };
            let (mut ncut, mut largest, mut modularity) = (0.0, 0.0_f64, 0.0);
            let total = between(&|_| true, &|_| true);
            for label in 0..4 {
                let (within, without) = (|i: usize| labels[i] == label, |i: usize| labels[i] != label);
                let (volume, rest) = (between(&within, &|_| true), between(&without, &|_| true));
                let cut = between(&within, &without);
                if volume > 0.0 {
                    ncut += cut / volume;
                    modularity += between(&within, &within) / total - (volume / total).powi(2);
                }
                if volume > 0.0 && rest > 0.0 {
                    largest = largest.max(cut / volume.min(rest));
                }
            }
            let found = score(&graph, &labels);
            prop_assert!((found.ncut - ncut).abs() < 1e-12);
            prop_assert!((found.conductance - largest).abs() < 1e-12);
            prop_assert!((found.modularity - modularity).abs() < 1e-12);
        }

        #[test]
        fn names_and_order_do_not_matter(labels in proptest::collection::vec((0u32..4, 0u32..4), 1..40)) {
            let (a, b): (Vec<_>, Vec<_>) = labels.into_iter().unzip();
            let renamed: Vec<_> = a.iter().map(|label| 7 - 2 * label).collect();
            prop_assert_eq!(ari(&a, &renamed), 1.0);
            prop_assert!((nmi(&a, &renamed) - 1.0).abs() < 1e-14);
            prop_assert!((ari(&a, &b) - ari(&b, &renamed)).abs() < 1e-14);
            prop_assert!((nmi(&a, &b) - nmi(&b, &renamed)).abs() < 1e-14);
        }
    }
}
