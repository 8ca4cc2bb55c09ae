//! Means of clusters: points sorted by cluster, then one contiguous list of them for each.
//!
//! Sums are in f64, point after point, by one thread for a cluster: reading the points takes longer than adding them.

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

/// The mean of each cluster, its centroid if it is empty; and how many points each has.
pub(super) fn means(points: &[f32], width: usize, labels: &[u32], centroids: &[f32]) -> (Vec<f32>, Vec<usize>) {
    let (order, offsets) = order(labels, centroids.len() / width);
    let mut means = centroids.to_vec();
    let members = |cluster: usize| &order[offsets[cluster]..offsets[cluster + 1]];
    let arch = Arch::new();
    means.par_chunks_exact_mut(width).enumerate().for_each_init(
        || vec![0.0; width],
        |sums, (cluster, mean)| {
            arch.dispatch(Mean { points, members: members(cluster), sums, mean });
        },
    );
    (means, offsets.windows(2).map(|bounds| bounds[1] - bounds[0]).collect())
}

/// The mean of some points.
struct Mean<'a> {
    points: &'a [f32],
    members: &'a [u32],
    sums: &'a mut [f64],
    mean: &'a mut [f32],
}

impl WithSimd for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { points, members, sums, mean } = self;
        if members.is_empty() {
            return;
        }
        sums.fill(0.0);
        let width = sums.len();
        for &member in members {
            let point = &points[member as usize * width..][..width];
            // A plain loop, which is compiled for the machine's vectors where it stands.
            for i in 0..width {
                sums[i] += f64::from(point[i]);
            }
        }
        let share = 1.0 / members.len() as f64;
        mean.iter_mut().zip(&*sums).for_each(|(mean, sum)| *mean = (sum * share) as f32);
    }
}
