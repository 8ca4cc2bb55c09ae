//! Clusters on register tiles are those of the formula in f64, on any number of threads; what is no input is named.

use proptest::prelude::*;
use tersor_kernels::kmeans::{Clustering, Error, Settings, lloyd, order, reference};

/// A generator of numbers, so that a failing case can be told by its seed.
struct Numbers(u64);

impl Numbers {
    /// About N(0, 1).
    fn normal(&mut self) -> f32 {
        let mut share = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 24) as f32
        };
        (0..4).map(|_| 2.0 * share() - 1.0).sum::<f32>() * 0.866
    }

    /// Points around `groups` centres.
    fn points(&mut self, n: usize, width: usize, groups: usize) -> Vec<f32> {
        let centres: Vec<f32> = (0..groups * width).map(|_| 3.0 * self.normal()).collect();
        (0..n * width).map(|i| centres[i / width % groups * width + i % width] + self.normal()).collect()
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The squared distance of each point to each centroid, `[n, clusters]`.
fn distances(points: &[f32], width: usize, centroids: &[f32]) -> Vec<Vec<f64>> {
    let distance = |x: &[f32], c: &[f32]| x.iter().zip(c).map(|(&x, &c)| (f64::from(x) - f64::from(c)).powi(2)).sum();
    points.chunks_exact(width).map(|x| centroids.chunks_exact(width).map(|c| distance(x, c)).collect()).collect()
}

fn well_formed(found: &Clustering<f32>, points: &[f32], width: usize) {
    let clusters = found.sizes.len();
    let (order, offsets) = order(&found.labels, clusters);
    assert_eq!(found.sizes.iter().sum::<usize>(), points.len() / width);
    for (cluster, bounds) in offsets.windows(2).enumerate() {
        let members = &order[bounds[0]..bounds[1]];
        assert_eq!(members.len(), found.sizes[cluster]);
        assert!(members.is_sorted() && members.iter().all(|&point| found.labels[point as usize] as usize == cluster));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_point_is_with_its_nearest_centroid(
        n in prop_oneof![1_usize..70, 250..270_usize, 500..530_usize],
        clusters in 1_usize..40,
        width in prop_oneof![1_usize..20, Just(64), Just(128)],
        seed: u64,
    ) {
        let clusters = clusters.min(n);
        let points = Numbers(seed).points(n, width, 5);
        let found = lloyd(&points, width, &points[..clusters * width], &Settings { iterations: 1, tolerance: 0.0 })?;
        well_formed(&found, &points, width);
        let mut inertia = 0.0;
        for (distances, &label) in distances(&points, width, &points[..clusters * width]).iter().zip(&found.labels) {
            let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
            inertia += least;
            // Where two are nearest to within f32, either may be.
            prop_assert!(distances[label as usize] <= least + 1e-4 * (1.0 + width as f64), "{least}");
        }
        prop_assert!((found.inertia[0] - inertia).abs() <= 1e-5 * (inertia + (n * width) as f64 * 10.0));
    }

    #[test]
    fn iterations_are_those_in_f64(n in 40_usize..400, clusters in 1_usize..12, width in 1_usize..24, seed: u64) {
        let points = Numbers(seed).points(n, width, 4);
        let settings = Settings { iterations: 4, tolerance: 1e-4 };
        let found = lloyd(&points, width, &points[..clusters * width], &settings)?;
        let exact = reference::lloyd(&wide(&points), width, &wide(&points[..clusters * width]), &settings)?;
        well_formed(&found, &points, width);
        prop_assert!(exact.inertia.windows(2).all(|two| two[1] <= two[0] * (1.0 + 1e-12)), "{:?}", exact.inertia);
        let (ours, theirs) = (found.inertia[found.inertia.len() - 1], exact.inertia[exact.inertia.len() - 1]);
        prop_assert!((ours - theirs).abs() <= 0.01 * theirs + 1e-3, "{ours} and {theirs}");
        if found.labels == exact.labels {
            for (ours, theirs) in found.centroids.iter().zip(&exact.centroids) {
                prop_assert!((f64::from(*ours) - theirs).abs() <= 2e-5);
            }
        }
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let points = Numbers(9).points(3_000, 40, 20);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| lloyd(&points, 40, &points[..33 * 40], &Settings { iterations: 9, tolerance: 0.0 }).unwrap())
    };
    let one = run(1);
    assert!([2, 3, 7].iter().all(|&threads| run(threads) == one));
}

#[test]
fn ties_go_to_the_first_and_empty_clusters_keep_their_centroid() {
    let points = [1.0, 1.0, 1.0, 5.0];
    let settings = Settings { iterations: 1, tolerance: 0.0 };
    let found = lloyd(&points, 1, &[1.0, 1.0, 9.0], &settings).unwrap();
    assert_eq!((&found.labels[..], &found.sizes[..]), (&[0, 0, 0, 0][..], &[4, 0, 0][..]));
    assert_eq!((&found.centroids[..], found.shift), (&[2.0, 1.0, 9.0][..], 1.0));
    let one = lloyd(&[3.0, 4.0], 2, &[0.0, 0.0], &settings).unwrap();
    assert_eq!((one.labels, one.centroids, one.inertia), (vec![0], vec![3.0, 4.0], vec![25.0]));
}

#[test]
fn where_nothing_moves_it_stops_with_the_centroids_before() {
    let points = [0.0, 2.0, 10.0, 12.0];
    let found = lloyd(&points, 1, &[0.0, 10.0], &Settings::default()).unwrap();
    assert_eq!((&found.centroids[..], found.inertia.len(), found.shift), (&[1.0, 11.0][..], 2, 0.0));
}

#[test]
fn what_is_no_input_is_named() {
    let points = [0.0, 1.0, 2.0, 3.0];
    let told = |points: &[f32], width, centroids: &[f32], iterations| {
        lloyd(points, width, centroids, &Settings { iterations, tolerance: 0.0 }).unwrap_err()
    };
    for (points, width, centroids, iterations, named) in [
        (&points[..], 0, &points[..2], 1, "width"),
        (&points, 2, &points[..2], 0, "iterations"),
        (&points[..3], 2, &points[..2], 1, "points"),
        (&[], 2, &points[..2], 1, "points"),
        (&points, 2, &points[..3], 1, "centroids"),
        (&points, 2, &[], 1, "centroids"),
        (&points[..2], 2, &points, 1, "clusters"),
    ] {
        let error = told(points, width, centroids, iterations);
        assert!(matches!(error, Error::Size { field, .. } if field == named), "{error}");
    }
    let error = told(&[0.0, 1.0, 2.0, f32::NAN], 2, &points[..2], 1);
    assert!(matches!(error, Error::NotFinite { tensor: "points", row: 1, column: 1, .. }), "{error}");
    let error = told(&points, 2, &[0.0, f32::INFINITY], 1);
    assert!(matches!(error, Error::NotFinite { tensor: "centroids", row: 0, column: 1, .. }), "{error}");
    assert_eq!(told(&[1e30, -1e30], 1, &[1e30, -1e30], 1), Error::Overflow);
}
