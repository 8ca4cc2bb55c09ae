//! k-means: the best of several runs of Lloyd's iteration, each from centres drawn far apart.
//!
//! A run keeps bounds of how far each point is from its own centre and from the next: most points are never compared
//! again with all centres once these come to rest. Bounds decide only what is not worth computing, with a margin for
//! their rounding, so the result is Lloyd's to the last bit. Runs have streams of their own from the seed and are taken
//! in parallel; the sums of each are in order: the same bits on any number of threads.
//!
//! Sources: Arthur, Vassilvitskii, *k-means++: the advantages of careful seeding* (2007); Hamerly, *Making k-means even
//! faster* (2010).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Runs, of which the best is taken.
pub const RUNS: usize = 10;

/// Iterations of a run, at most.
pub const ITERATIONS: usize = 300;

/// Centres hardly move if the sum of their squared steps is at most this part of a dimension's variance; scikit-learn's.
const STILL: f64 = 1e-4;

/// Points in clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// The cluster of each point: the nearest centre, of several the first. A cluster is empty only if fewer points
    /// differ than there are clusters.
    pub labels: Vec<u32>,
    /// The sum of the squared distances to the centres.
    pub inertia: f64,
}

/// The best clusters of [`RUNS`] runs, of equals the earliest.
///
/// The runs are compared when their centres hardly move any more; the best alone is taken to its end, where no point
/// changes its cluster. `points`: at least one row of `dimensions` finite numbers, one after the other. `clusters` is at
/// least 1.
pub fn cluster(points: &[f64], dimensions: usize, clusters: usize, seed: u64) -> Clusters {
    let points = Points::of(points, dimensions);
    let still = STILL * points.variance();
    let run = |number: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let mut run = Run::from(&points, points.far_apart(clusters, &mut random));
        run.iterate(still);
        (run.inertia(), run)
    };
    let runs: Vec<_> = (0..RUNS).into_par_iter().with_max_len(1).map(run).collect();
    let best = runs.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let (_, mut best) = best.expect("there are some runs");
    best.iterate(0.0);
    Clusters { inertia: best.inertia(), labels: best.labels }
}

/// Points, one by one and side by side.
struct Points<'a> {
    count: usize,
    dimensions: usize,
    rows: &'a [f64],
    lanes: Lanes,
}

impl<'a> Points<'a> {
    fn of(rows: &'a [f64], dimensions: usize) -> Self {
        Self { count: rows.len() / dimensions, dimensions, rows, lanes: Lanes::of(rows, dimensions) }
    }

    /// The mean of the dimensions' variances.
    fn variance(&self) -> f64 {
        let mut means = vec![0.0; self.dimensions];
        for row in self.rows.chunks_exact(self.dimensions) {
            means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / self.count as f64);
        }
        let squares = self.rows.chunks_exact(self.dimensions).map(|row| squared(row, &means));
        squares.sum::<f64>() / self.rows.len() as f64
    }

    fn row(&self, point: usize) -> &[f64] {
        &self.rows[point * self.dimensions..(point + 1) * self.dimensions]
    }

    /// First centres: any point, and then always that one of some that leaves the least sum of squared distances to the
    /// nearest centre; these are drawn by that distance.
    ///
    /// With one to choose from, ten runs were not enough where a few points are far from all others.
    fn far_apart(&self, clusters: usize, random: &mut ChaCha8Rng) -> Centres {
        let candidates = 2 + (clusters as f64).ln() as usize;
        let first = random.random_range(0..self.count);
        let mut centres = Centres { dimensions: self.dimensions, rows: self.row(first).to_vec() };
        let mut nearest = vec![f64::INFINITY; self.count];
        let mut sum = self.approach(first, &mut nearest);
        let (mut best, mut next) = (nearest.clone(), nearest.clone());
        while centres.count() < clusters {
            let mut chosen = (first, f64::INFINITY);
            for _ in 0..candidates {
                let mut left = sum * random.random::<f64>();
                let drawn = nearest.iter().position(|squared| {
                    left -= squared;
                    left < 0.0
                });
                // Beyond the last only by rounding, or if all points are centres.
                let candidate = drawn.unwrap_or(self.count - 1);
                next.copy_from_slice(&nearest);
                let sum = self.approach(candidate, &mut next);
                if sum < chosen.1 {
                    chosen = (candidate, sum);
                    std::mem::swap(&mut best, &mut next);
                }
            }
            centres.rows.extend_from_slice(self.row(chosen.0));
            std::mem::swap(&mut nearest, &mut best);
            sum = chosen.1;
        }
        centres
    }

    /// Lowers the squared distances to those to the point `centre`, and adds them up.
    fn approach(&self, centre: usize, nearest: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for (lanes, nearest) in self.lanes.groups().zip(nearest.chunks_mut(LANES)) {
            for (nearest, square) in nearest.iter_mut().zip(squared_to_each(self.row(centre), lanes)) {
                *nearest = nearest.min(square);
                sum += *nearest;
            }
        }
        sum
    }
}

/// Rows that are compared with another at once.
const LANES: usize = 4;

/// Rows side by side, [`LANES`] of them together, dimension by dimension; the last ones filled up with zeros.
struct Lanes {
    dimensions: usize,
    values: Vec<f64>,
}

impl Lanes {
    fn of(rows: &[f64], dimensions: usize) -> Self {
        let group = LANES * dimensions;
        let mut values = vec![0.0; rows.len().div_ceil(group) * group];
        for (lanes, rows) in values.chunks_exact_mut(group).zip(rows.chunks(group)) {
            for (lane, row) in rows.chunks_exact(dimensions).enumerate() {
                lanes.iter_mut().skip(lane).step_by(LANES).zip(row).for_each(|(to, &value)| *to = value);
            }
        }
        Self { dimensions, values }
    }

    fn groups(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(LANES * self.dimensions)
    }
}

/// Squared distances, added up in the order of the dimensions as [`squared`] does.
fn squared_to_each(row: &[f64], lanes: &[f64]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (value, others) in row.iter().zip(lanes.chunks_exact(LANES)) {
        for (sum, other) in sums.iter_mut().zip(others) {
            *sum += (value - other) * (value - other);
        }
    }
    sums
}

/// Added up in the order of the dimensions.
fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Centres of clusters, by rows.
#[derive(Debug, Clone, PartialEq)]
struct Centres {
    dimensions: usize,
    rows: Vec<f64>,
}

impl Centres {
    fn count(&self) -> usize {
        self.rows.len() / self.dimensions
    }

    fn row(&self, centre: usize) -> &[f64] {
        &self.rows[centre * self.dimensions..(centre + 1) * self.dimensions]
    }

    /// Half the distance of each centre to the nearest other: a point that is nearer belongs to it.
    fn halfway(&self) -> Vec<f64> {
        let count = self.count();
        let nearest = |own: usize| {
            let others = (0..count).filter(|&other| other != own);
            others.map(|other| squared(self.row(own), self.row(other))).fold(f64::INFINITY, f64::min)
        };
        (0..count).map(|own| nearest(own).sqrt() / 2.0).collect()
    }
}

/// Lloyd's iteration with bounds.
struct Run<'a> {
    points: &'a Points<'a>,
    centres: Centres,
    labels: Vec<u32>,
    /// How many points each cluster has, and whether these are others than when its centre was computed.
    counts: Vec<usize>,
    changed: Vec<bool>,
    /// No less than the distance of each point to its centre.
    above: Vec<f64>,
    /// No more than its distance to any other centre.
    below: Vec<f64>,
    /// What bounds may be wrong by.
    rounding: f64,
    iterations: usize,
    /// Whether no point changed its cluster in the last iteration.
    settled: bool,
}

impl<'a> Run<'a> {
    /// Points in the clusters of the nearest centres.
    fn from(points: &'a Points, centres: Centres) -> Self {
        let (count, clusters) = (points.count, centres.count());
        let reach = points.rows.chunks_exact(points.dimensions).map(|row| squared(row, &vec![0.0; row.len()]));
        let rounding = 1e-10 * reach.fold(0.0, f64::max).sqrt();
        let mut run = Self {
            points,
            centres,
            labels: vec![0; count],
            counts: vec![0; clusters],
            changed: vec![true; clusters],
            above: vec![f64::INFINITY; count],
            below: vec![0.0; count],
            rounding,
            iterations: 0,
            settled: false,
        };
        run.counts[0] = count;
        run.assign(&vec![0.0; clusters]);
        run
    }

    /// Goes on until no point changes its cluster, or the sum of the centres' squared steps is at most `still`.
    fn iterate(&mut self, still: f64) {
        while !self.settled && self.iterations < ITERATIONS {
            self.fill_empty();
            let moved = self.move_centres();
            self.settled = !self.assign(&moved);
            self.iterations += 1;
            if still > 0.0 && moved.iter().map(|step| step * step).sum::<f64>() <= still {
                break;
            }
        }
    }

    fn inertia(&self) -> f64 {
        (0..self.points.count).map(|point| self.squared_to_own(point)).sum()
    }

    fn squared_to_own(&self, point: usize) -> f64 {
        squared(self.points.row(point), self.centres.row(self.labels[point] as usize))
    }

    fn relabel(&mut self, point: usize, cluster: usize) {
        let before = std::mem::replace(&mut self.labels[point], cluster as u32) as usize;
        self.counts[before] -= 1;
        self.counts[cluster] += 1;
        (self.changed[before], self.changed[cluster]) = (true, true);
    }

    /// Gives each empty cluster the point that is farthest from its centre, unless that is alone or all are at their
    /// centres.
    fn fill_empty(&mut self) {
        for cluster in 0..self.counts.len() {
            if self.counts[cluster] > 0 {
                continue;
            }
            let mut farthest = (0.0, None);
            for point in 0..self.points.count {
                let distance = self.squared_to_own(point);
                if distance > farthest.0 && self.counts[self.labels[point] as usize] > 1 {
                    farthest = (distance, Some(point));
                }
            }
            if let Some(point) = farthest.1 {
                self.relabel(point, cluster);
                (self.above[point], self.below[point]) = (f64::INFINITY, 0.0);
            }
        }
    }

    /// Moves the centres to the means of their clusters, and tells how far.
    fn move_centres(&mut self) -> Vec<f64> {
        let dimensions = self.points.dimensions;
        let mut sums = vec![0.0; self.centres.rows.len()];
        for (&label, row) in self.labels.iter().zip(self.points.rows.chunks_exact(dimensions)) {
            let label = label as usize;
            if self.changed[label] {
                let sum = &mut sums[label * dimensions..(label + 1) * dimensions];
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        let mut moved = vec![0.0; self.counts.len()];
        for (cluster, mean) in sums.chunks_exact_mut(dimensions).enumerate() {
            if std::mem::take(&mut self.changed[cluster]) && self.counts[cluster] > 0 {
                mean.iter_mut().for_each(|value| *value /= self.counts[cluster] as f64);
                moved[cluster] = squared(mean, self.centres.row(cluster)).sqrt();
                self.centres.rows[cluster * dimensions..(cluster + 1) * dimensions].copy_from_slice(mean);
            }
        }
        moved
    }

    /// Gives each point to the nearest of centres that have moved so far; whether any point changed its cluster.
    fn assign(&mut self, moved: &[f64]) -> bool {
        let clusters = moved.len();
        let most =
            |but: usize| (0..clusters).filter(|&other| other != but).map(|other| moved[other]).fold(0.0, f64::max);
        let most_of_others: Vec<f64> = (0..clusters).map(most).collect();
        let halfway = self.centres.halfway();
        let lanes = Lanes::of(&self.centres.rows, self.centres.dimensions);
        let mut any = false;
        for point in 0..self.points.count {
            let own = self.labels[point] as usize;
            let (above, below) = (&mut self.above[point], &mut self.below[point]);
            *above += moved[own];
            *below -= most_of_others[own];
            let apart = halfway[own].max(*below) - self.rounding;
            if *above < apart {
                continue;
            }
            let row = self.points.row(point);
            *above = squared(row, self.centres.row(own)).sqrt();
            if *above < apart {
                continue;
            }
            let (mut nearest, mut first, mut second) = (0, f64::INFINITY, f64::INFINITY);
            let squares = lanes.groups().flat_map(|lanes| squared_to_each(row, lanes));
            for (cluster, square) in squares.take(clusters).enumerate() {
                if square < first {
                    (nearest, first, second) = (cluster, square, first);
                } else {
                    second = second.min(square);
                }
            }
            (*above, *below) = (first.sqrt(), second.sqrt());
            if nearest != own {
                self.relabel(point, nearest);
                any = true;
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the method reads: nearest centre, farthest points for empty clusters, means, and again.
    fn plain_lloyd(points: &Points, mut centres: Centres) -> Clusters {
        let clusters = centres.count();
        let distance =
            |point: usize, centres: &Centres, cluster: usize| squared(points.row(point), centres.row(cluster));
        let nearest = |centres: &Centres| -> Vec<u32> {
            let of = |point| {
                (0..clusters).min_by(|&a, &b| distance(point, centres, a).total_cmp(&distance(point, centres, b)))
            };
            (0..points.count).map(|point| of(point).unwrap() as u32).collect()
        };
        let mut labels = nearest(&centres);
        for _ in 0..ITERATIONS {
            let size = |cluster, labels: &[u32]| labels.iter().filter(|&&label| label as usize == cluster).count();
            for cluster in 0..clusters {
                if size(cluster, &labels) > 0 {
                    continue;
                }
                let own = |point: usize| distance(point, &centres, labels[point] as usize);
                let free = |&point: &usize| own(point) > 0.0 && size(labels[point] as usize, &labels) > 1;
                let farthest =
                    (0..points.count).filter(free).max_by(|&a, &b| own(a).total_cmp(&own(b)).then(b.cmp(&a)));
                if let Some(point) = farthest {
                    labels[point] = cluster as u32;
                }
            }
            for cluster in 0..clusters {
                let members = || (0..points.count).filter(|&point| labels[point] as usize == cluster);
                for dimension in (0..points.dimensions).filter(|_| members().count() > 0) {
                    let sum = members().map(|point| points.row(point)[dimension]).fold(0.0, |sum, value| sum + value);
                    centres.rows[cluster * points.dimensions + dimension] = sum / members().count() as f64;
                }
            }
            let next = nearest(&centres);
            if next == labels {
                break;
            }
            labels = next;
        }
        let inertia = (0..points.count).map(|point| distance(point, &centres, labels[point] as usize)).sum();
        Clusters { labels, inertia }
    }

    fn case() -> impl Strategy<Value = (Vec<f64>, usize, usize)> {
        // Whole numbers make ties and equal points; a few decimals make long runs.
        let value = prop_oneof![(-3i32..3).prop_map(f64::from), -3.0..3.0];
        (1usize..4, 1usize..8).prop_flat_map(move |(dimensions, clusters)| {
            let rows = proptest::collection::vec(value.clone(), dimensions..60 * dimensions);
            rows.prop_map(move |mut rows| {
                rows.truncate(rows.len() / dimensions * dimensions);
                (rows, dimensions, clusters)
            })
        })
    }

    proptest! {
        #[test]
        fn is_the_plain_iteration_to_the_last_bit((rows, dimensions, clusters) in case(), seed: u64) {
            let points = Points::of(&rows, dimensions);
            let centres = points.far_apart(clusters, &mut ChaCha8Rng::seed_from_u64(seed));
            let mut run = Run::from(&points, centres.clone());
            // With a rest between, as the best run has one.
            run.iterate(1e-2);
            run.iterate(0.0);
            let found = Clusters { inertia: run.inertia(), labels: run.labels };
            prop_assert_eq!(found, plain_lloyd(&points, centres));
        }

        #[test]
        fn no_cluster_is_empty_that_could_have_a_point((rows, dimensions, clusters) in case()) {
            let found = cluster(&rows, dimensions, clusters, 1);
            let mut distinct: Vec<_> = rows.chunks(dimensions).collect();
            distinct.sort_by(|a, b| a.partial_cmp(b).unwrap());
            distinct.dedup();
            let mut labels = found.labels.clone();
            labels.sort_unstable();
            labels.dedup();
            prop_assert_eq!(labels.len(), clusters.min(distinct.len()));
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let rows: Vec<f64> = (0..3 * 2000).map(|_| random.random_range(-1.0..1.0)).collect();
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| cluster(&rows, 3, 9, 5))
        };
        assert_eq!(of(1), of(2));
        assert_eq!(of(1), of(4));
    }

    #[test]
    fn far_groups_are_found_whatever_the_seed() {
        let rows: Vec<f64> = (0..300).map(|point| f64::from(point % 3) * 10.0 + f64::from(point) * 1e-3).collect();
        for seed in 0..20 {
            let found = cluster(&rows, 1, 3, seed).labels;
            assert!((0..300).all(|point| found[point] == found[point % 3]));
        }
    }
}
