//! k-means: k centres that points are near to, by Lloyd's iterations from k-means++ seeds, the best of ten restarts.
//!
//! Seeds are drawn greedily (Arthur, Vassilvitskii 2007, their experiments): of 2 + ln k candidates the one that leaves
//! the least inertia. Restarts run side by side, each alone in its own order, so threads change nothing.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

const RESTARTS: u64 = 10;
const MOST_ITERATIONS: usize = 300;

/// Points in so many dimensions, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    /// As many numbers for each point as there are dimensions.
    pub numbers: &'a [f64],
    /// How many dimensions there are.
    pub dimensions: usize,
}

/// Points in clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// The cluster of each point.
    pub labels: Vec<u32>,
    /// The sum of squared distances to the centres.
    pub inertia: f64,
}

impl<'a> Points<'a> {
    fn count(&self) -> usize {
        self.numbers.len() / self.dimensions.max(1)
    }

    fn point(&self, number: usize) -> &'a [f64] {
        &self.numbers[number * self.dimensions..][..self.dimensions]
    }
}

/// Points in `clusters` clusters; of equally good restarts the first. There are at least as many points as clusters.
pub fn kmeans(points: Points<'_>, clusters: usize, seed: u64) -> Clusters {
    let restart = |number| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);
        lloyd(points, seeds(points, clusters, &mut random))
    };
    let all: Vec<_> = (0..RESTARTS).into_par_iter().map(restart).collect();
    let better = |best: Clusters, next: Clusters| if next.inertia < best.inertia { next } else { best };
    all.into_iter().reduce(better).expect("there is a restart")
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The centres to begin with, one after the other.
fn seeds(points: Points<'_>, clusters: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let trials = 2 + (clusters as f64).ln() as usize;
    let first = random.random_range(0..points.count());
    let mut centres = points.point(first).to_vec();
    let mut nearest: Vec<_> = (0..points.count()).map(|i| distance(points.point(i), points.point(first))).collect();
    let mut sum: f64 = nearest.iter().sum();
    for _ in 1..clusters {
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for _ in 0..trials {
            let chosen = drawn(&nearest, sum * random.random_range(0.0..1.0));
            let centre = points.point(chosen);
            let after: Vec<_> =
                nearest.iter().enumerate().map(|(i, &near)| near.min(distance(points.point(i), centre))).collect();
            let left = after.iter().sum();
            if best.as_ref().is_none_or(|best| left < best.0) {
                best = Some((left, chosen, after));
            }
        }
        let (left, chosen, after) = best.expect("there is a trial");
        centres.extend_from_slice(points.point(chosen));
        (sum, nearest) = (left, after);
    }
    centres
}

/// The point at which the sum of weights passes `at`.
fn drawn(weights: &[f64], mut at: f64) -> usize {
    for (number, weight) in weights.iter().enumerate() {
        at -= weight;
        if at < 0.0 {
            return number;
        }
    }
    weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
}

/// Points go to their nearest centres, centres to the mean of their points, until nothing moves.
fn lloyd(points: Points<'_>, mut centres: Vec<f64>) -> Clusters {
    let (count, dimensions) = (points.count(), points.dimensions.max(1));
    let mut labels = vec![u32::MAX; count];
    let mut near = vec![0.0; count];
    for _ in 0..MOST_ITERATIONS {
        let mut moved = false;
        for i in 0..count {
            let (label, distance) = nearest(points.point(i), &centres);
            moved |= std::mem::replace(&mut labels[i], label) != label;
            near[i] = distance;
        }
        if !moved {
            break;
        }
        means(points, &labels, &mut near, dimensions, &mut centres);
    }
    // The centres have moved since the labels were given, if iterations ran out.
    for i in 0..count {
        (labels[i], near[i]) = nearest(points.point(i), &centres);
    }
    Clusters { labels, inertia: near.iter().sum() }
}

/// The nearest centre, of equally near ones the first, and its squared distance.
fn nearest(point: &[f64], centres: &[f64]) -> (u32, f64) {
    let distances = centres.chunks_exact(point.len()).map(|centre| distance(point, centre));
    let nearer = |best: (u32, f64), next: (u32, f64)| if next.1 < best.1 { next } else { best };
    (0u32..).zip(distances).reduce(nearer).unwrap_or((0, 0.0))
}

/// The mean of each cluster; one without a point takes the point that is farthest from its centre.
fn means(points: Points<'_>, labels: &[u32], near: &mut [f64], dimensions: usize, centres: &mut [f64]) {
    centres.fill(0.0);
    let mut counts = vec![0.0; centres.len() / dimensions];
    for (i, &label) in labels.iter().enumerate() {
        counts[label as usize] += 1.0;
        let centre = &mut centres[label as usize * dimensions..][..dimensions];
        centre.iter_mut().zip(points.point(i)).for_each(|(sum, x)| *sum += x);
    }
    for (cluster, &count) in counts.iter().enumerate() {
        let centre = &mut centres[cluster * dimensions..][..dimensions];
        if count > 0.0 {
            centre.iter_mut().for_each(|sum| *sum /= count);
        } else {
            let farther = |best: usize, next: usize| if near[next] > near[best] { next } else { best };
            let far = (0..near.len()).reduce(farther).expect("there are points");
            near[far] = 0.0;
            centre.copy_from_slice(points.point(far));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blobs(count: usize, clusters: usize, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut near = |at: f64| at + random.random_range(-1.0..1.0);
        (0..count).flat_map(|i| [near(10.0 * (i % clusters) as f64), near(0.0)]).collect()
    }

    #[test]
    fn clear_clusters_are_found_on_any_number_of_threads() {
        let numbers = blobs(500, 7, 3);
        let points = Points { numbers: &numbers, dimensions: 2 };
        let found = kmeans(points, 7, 1);
        for i in 0..500 {
            assert_eq!(found.labels[i] == found.labels[0], i % 7 == 0);
        }
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| kmeans(points, 7, 1)), found);
        }
    }

    #[test]
    fn equal_points_and_as_many_clusters_as_points() {
        let numbers = [1.0; 10];
        assert_eq!(kmeans(Points { numbers: &numbers, dimensions: 1 }, 3, 1).inertia, 0.0);
        let numbers: Vec<_> = (0..6).map(f64::from).collect();
        let found = kmeans(Points { numbers: &numbers, dimensions: 1 }, 6, 1);
        let mut labels = found.labels.clone();
        labels.sort_unstable();
        assert_eq!((labels, found.inertia), (vec![0, 1, 2, 3, 4, 5], 0.0));
    }

    proptest! {
        #[test]
        fn no_single_move_makes_it_better(
            numbers in proptest::collection::vec(-5.0f64..5.0, 12..90), clusters in 1usize..5, seed in any::<u64>()
        ) {
            let numbers = &numbers[..numbers.len() / 3 * 3];
            let points = Points { numbers, dimensions: 3 };
            let found = kmeans(points, clusters, seed);
            let mut centres = vec![0.0; 3 * clusters];
            means(points, &found.labels, &mut vec![0.0; points.count()], 3, &mut centres);
            let mut inertia = 0.0;
            for (i, &label) in found.labels.iter().enumerate() {
                let own = distance(points.point(i), &centres[3 * label as usize..][..3]);
                prop_assert!(own <= nearest(points.point(i), &centres).1 + 1e-9);
                inertia += own;
            }
            prop_assert!((inertia - found.inertia).abs() < 1e-9 * (1.0 + inertia));
        }
    }
}
