//! How good labels are: cuts of a graph, and agreement with other labels.

use std::collections::BTreeMap;

use serde::Serialize;

use super::undirected::Undirected;

/// Labels, judged by the graph.
///
/// Vertices of no cluster (a label of k or more) that have edges count as one more cluster. Clusters without edges do not
/// count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Normalised cut: Σ cut(C)/vol(C).
    pub ncut: f64,
    /// The largest conductance, cut(C)/min(vol(C), vol(V∖C)); 0 of a cluster that holds all edges.
    pub conductance: f64,
    /// Modularity: Σ (inside(C)/vol(V) − (vol(C)/vol(V))²).
    pub modularity: f64,
}

impl Score {
    /// Of a label for each vertex, in 0..k for clusters.
    pub fn of(graph: &Undirected, labels: &[u32], k: usize) -> Self {
        let cluster = |vertex: usize| (labels[vertex] as usize).min(k);
        let (mut volume, mut cut) = (vec![0.0; k + 1], vec![0.0; k + 1]);
        for (vertex, degree) in graph.degrees().iter().enumerate() {
            let own = cluster(vertex);
            volume[own] += degree;
            let (neighbours, weights) = graph.row(vertex);
            let across = neighbours.iter().zip(weights).filter(|&(&other, _)| cluster(other as usize) != own);
            cut[own] += across.map(|(_, weight)| weight).sum::<f64>();
        }
        let all: f64 = volume.iter().sum();
        let (mut ncut, mut conductance, mut modularity) = (0.0, 0.0f64, 0.0);
        for (volume, cut) in volume.into_iter().zip(cut).filter(|&(volume, _)| volume > 0.0) {
            ncut += cut / volume;
            let smaller = volume.min(all - volume);
            if smaller > 0.0 {
                conductance = conductance.max(cut / smaller);
            }
            modularity += (volume - cut) / all - (volume / all) * (volume / all);
        }
        Self { ncut, conductance, modularity }
    }
}

/// How often each pair of labels occurs, and each label.
struct Contingency {
    pairs: BTreeMap<(u32, u32), f64>,
    left: BTreeMap<u32, f64>,
    right: BTreeMap<u32, f64>,
    count: f64,
}

impl Contingency {
    fn of(a: &[u32], b: &[u32]) -> Self {
        assert_eq!(a.len(), b.len(), "labels of the same vertices");
        let (mut pairs, mut left, mut right) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (&a, &b) in a.iter().zip(b) {
            *pairs.entry((a, b)).or_default() += 1.0;
            *left.entry(a).or_default() += 1.0;
            *right.entry(b).or_default() += 1.0;
        }
        Self { pairs, left, right, count: a.len() as f64 }
    }
}

/// The adjusted Rand index (Hubert, Arabie 1985) of two labellings: 1 if they are the same partition, about 0 by chance.
pub fn ari(a: &[u32], b: &[u32]) -> f64 {
    let table = Contingency::of(a, b);
    let pairs_in = |count: &f64| count * (count - 1.0) / 2.0;
    let together: f64 = table.pairs.values().map(pairs_in).sum();
    let (left, right): (f64, f64) = (table.left.values().map(pairs_in).sum(), table.right.values().map(pairs_in).sum());
    let expected = if table.count > 1.0 { left * right / pairs_in(&table.count) } else { 0.0 };
    let most = (left + right) / 2.0;
    if most == expected { 1.0 } else { (together - expected) / (most - expected) }
}

/// Normalised mutual information, by the arithmetic mean of the entropies: 1 if they are the same partition, 0 if one says
/// nothing about the other.
pub fn nmi(a: &[u32], b: &[u32]) -> f64 {
    let table = Contingency::of(a, b);
    let entropy = |counts: &BTreeMap<u32, f64>| {
        -counts.values().map(|count| count / table.count * (count / table.count).ln()).sum::<f64>()
    };
    let shared: f64 = table
        .pairs
        .iter()
        .map(|((a, b), count)| count / table.count * (count * table.count / (table.left[a] * table.right[b])).ln())
        .sum();
    let (left, right) = (entropy(&table.left), entropy(&table.right));
    if table.left.len() == table.right.len() && table.left.len() <= 1 {
        return 1.0; // both say the same: nothing
    }
    (shared / ((left + right) / 2.0)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::undirected::Edge;

    #[test]
    fn two_triangles_and_a_bridge_by_hand() {
        let edges = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)];
        let edges = edges.map(|(u, v)| Edge { u, v, weight: 2.0 });
        let graph = Undirected::from_edges(7, &edges);
        let score = Score::of(&graph, &[0, 0, 0, 1, 1, 1, 2], 2);
        assert!((score.ncut - 2.0 / 7.0).abs() < 1e-12 && (score.conductance - 1.0 / 7.0).abs() < 1e-12);
        assert!((score.modularity - (12.0 / 14.0 - 0.5)).abs() < 1e-12);
        // A vertex of no cluster that has edges is one of its own.
        let score = Score::of(&graph, &[0, 0, 0, 1, 1, 2, 2], 2);
        assert!((score.ncut - (1.0 / 7.0 + 3.0 / 5.0 + 1.0)).abs() < 1e-12 && score.conductance == 1.0);
        let all = Score::of(&graph, &[0; 7], 2);
        assert_eq!((all.ncut, all.conductance, all.modularity), (0.0, 0.0, 0.0));
    }

    /// From scikit-learn 1.9.1: `adjusted_rand_score` and `normalized_mutual_info_score` of the two lists.
    #[test]
    fn agreement_equals_scikit_learn() {
        let cases: [(&[u32], &[u32], f64, f64); 5] = [
            (&[0, 0, 1, 1, 2, 2, 2, 3], &[0, 0, 1, 2, 2, 2, 0, 3], 0.209_677_419_354_838_72, 0.654_799_192_754_045_5),
            (&[0, 0, 1, 1], &[5, 5, 9, 9], 1.0, 1.0),
            (&[0, 0, 0, 0], &[0, 1, 2, 3], 0.0, 0.0),
            (&[0, 1, 0, 1], &[0, 0, 1, 1], -0.5, 0.0),
            (&[4, 4, 4], &[1, 1, 1], 1.0, 1.0),
        ];
        for (a, b, rand, information) in cases {
            assert!((ari(a, b) - rand).abs() < 1e-12, "{a:?} {b:?}: {}", ari(a, b));
            assert!((nmi(a, b) - information).abs() < 1e-9, "{a:?} {b:?}: {}", nmi(a, b));
        }
    }

    proptest! {
        #[test]
        fn names_and_sides_do_not_matter(pairs in proptest::collection::vec((0u32..5, 0u32..5), 1..80)) {
            let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let renamed: Vec<_> = a.iter().map(|&label| 77 - 3 * label).collect();
            for agreement in [ari, nmi] {
                let value = agreement(&a, &b);
                prop_assert!((-1.0..=1.0 + 1e-12).contains(&value));
                prop_assert!((agreement(&b, &a) - value).abs() < 1e-9);
                prop_assert!((agreement(&renamed, &b) - value).abs() < 1e-9);
                prop_assert!((agreement(&a, &a) - 1.0).abs() < 1e-9);
            }
        }
    }
}
