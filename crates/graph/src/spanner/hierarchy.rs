//! The clusters of a spanner, scale by scale: how many there are, and how wide.

use serde::Serialize;

use super::Cluster;
use crate::file::GraphFile;

/// The clusters of one scale; all lengths in the unit of the graph's file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Level {
    /// The scale R, for whose round trips the clusters were made.
    pub scale: f64,
    /// How many there are.
    pub clusters: usize,
    /// Their mean radius.
    pub mean_radius: f64,
    /// The widest one's radius.
    pub max_radius: f64,
    /// The longest round trip to a centre that any of them allows in H.
    pub max_limit: f64,
}

/// The levels of `clusters`, from the smallest scale to the largest.
pub fn hierarchy(clusters: &[Cluster], file: &GraphFile) -> Vec<Level> {
    let mut clusters: Vec<_> = clusters.iter().collect();
    clusters.sort_by(|a, b| a.scale.total_cmp(&b.scale));
    let level = |level: &[&Cluster]| {
        let max = |of: fn(&Cluster) -> f64| level.iter().map(|cluster| of(cluster)).fold(0.0, f64::max);
        let radii: f64 = level.iter().map(|cluster| cluster.radius).sum();
        Level {
            scale: file.in_file(level[0].scale),
            clusters: level.len(),
            mean_radius: file.in_file(radii / level.len() as f64),
            max_radius: file.in_file(max(|cluster| cluster.radius)),
            max_limit: file.in_file(max(|cluster| cluster.limit)),
        }
    };
    clusters.chunk_by(|a, b| a.scale == b.scale).map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{self, ReadOptions};

    #[test]
    fn levels_ascend_and_are_in_the_unit_of_the_file() {
        let file = file::from_bytes("g.gr", b"p sp 2 1\na 1 2 0.5\n".to_vec(), &ReadOptions::default()).unwrap();
        let cluster = |scale, radius, limit| Cluster { scale, centre: 0, radius, limit };
        let levels =
            hierarchy(&[cluster(20.0, 25.0, 80.0), cluster(10.0, 10.0, 40.0), cluster(20.0, 35.0, 70.0)], &file);
        let level = |scale, clusters, mean_radius, max_radius, max_limit| Level {
            scale,
            clusters,
            mean_radius,
            max_radius,
            max_limit,
        };
        assert_eq!(levels, [level(1.0, 1, 1.0, 1.0, 4.0), level(2.0, 2, 3.0, 3.5, 8.0)]);
        assert_eq!(hierarchy(&[], &file), []);
    }
}
