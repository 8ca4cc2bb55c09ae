//! Means of clusters, and the points of each.
//!
//! Sums are in f64, point after point, by one thread for some dimensions: points are read in their order, as memory likes it,
//! and the sums of all clusters stay near. Read cluster by cluster, 4,096 points of 16 clusters take an iteration a fifth longer.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// The points cluster by cluster, in their order within each, and where each cluster begins: one more than there are.
///
/// # Panics
/// If a label is no cluster.
pub fn order(labels: &[u32], clusters: usize) -> (Vec<u32>, Vec<usize>) {
    let mut offsets = vec![0; clusters + 1];
    labels.iter().for_each(|&label| offsets[label as usize + 1] += 1);
    (0..clusters).for_each(|cluster| offsets[cluster + 1] += offsets[cluster]);
    let (mut next, mut order) = (offsets.clone(), vec![0; labels.len()]);
    for (point, &label) in (0..).zip(labels) {
        let at = &mut next[label as usize];
        order[*at] = point;
        *at += 1;
    }
    (order, offsets)
}

/// Dimensions that one task sums: two cache lines of a point, which machines fetch together.
const PART: usize = 32;

/// The mean of each cluster, its centroid if it is empty; and how many points each has.
pub(super) fn means(points: &[f32], width: usize, labels: &[u32], centroids: &[f32]) -> (Vec<f32>, Vec<usize>) {
    let mut sizes = vec![0; centroids.len() / width];
    labels.iter().for_each(|&label| sizes[label as usize] += 1);
    let (arch, clusters) = (Arch::new(), sizes.len());
    let parts = (0..width.div_ceil(PART)).into_par_iter();
    let sums = parts.map(|part| arch.dispatch(Sums { points, width, labels, clusters, first: part * PART }));
    let mut means = centroids.to_vec();
    for (part, sums) in sums.collect::<Vec<_>>().into_iter().enumerate() {
        let of_clusters = means.chunks_exact_mut(width).zip(&sums).zip(&sizes);
        for ((mean, sums), &size) in of_clusters.filter(|(_, size)| **size > 0) {
            let share = 1.0 / size as f64;
            mean[part * PART..].iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum * share) as f32);
        }
    }
    (means, sizes)
}

/// The sums of each cluster over its points, from one dimension on.
struct Sums<'a> {
    points: &'a [f32],
    width: usize,
    labels: &'a [u32],
    clusters: usize,
    first: usize,
}

impl WithSimd for Sums<'_> {
    type Output = Vec<[f64; PART]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<[f64; PART]> {
        let Self { points, width, labels, clusters, first } = self;
        let mut sums = vec![[0.0; PART]; clusters];
        for (point, &label) in points.chunks_exact(width).zip(labels) {
            let sums = &mut sums[label as usize];
            // Plain loops, which are compiled for the machine's vectors where they stand.
            match point[first..].first_chunk::<PART>() {
                Some(point) => (0..PART).for_each(|i| sums[i] += f64::from(point[i])),
                None => sums.iter_mut().zip(&point[first..]).for_each(|(sum, &x)| *sum += f64::from(x)),
            }
        }
        sums
    }
}
