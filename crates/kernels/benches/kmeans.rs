//! One iteration of k-means beside the bare product of the same points and centroids, which it cannot do without: the same
//! shapes, in turn, in one run. Medians of 7. The product is `gemm`'s, and writes its n × C distances.
//!
//!     cargo bench -p tersor-kernels --features training --bench kmeans -- [--threads 2] [--only NAME] [--runs 7] [--iterations 1]

use std::time::Instant;

use gemm::Parallelism;
use tersor_kernels::attention::peak;
use tersor_kernels::kmeans::{Settings, lloyd};

/// Of the measurement of the machine's best.
const TURNS: usize = 2_000_000;
/// Points, width, clusters: a head of the small video transformer, one of 16,384 tokens, one of Wan's default clip.
const SHAPES: [(usize, usize, usize); 7] = [
    (4096, 64, 16),
    (4096, 64, 54),
    (16_384, 64, 65),
    (16_384, 64, 218),
    (69_120, 128, 300),
    (69_120, 128, 1000),
    (69_120, 64, 1000),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let threads = value("--threads").and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let runs = value("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(7);
    let iterations = value("--iterations").and_then(|iterations| iterations.parse().ok()).unwrap_or(1);
    let only = value("--only").unwrap_or_default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        println!("{threads} threads, multiply-adds at best {:.0} GFLOP/s", peak(TURNS));
        println!("{:<24} {:>10} {:>10} {:>8} {:>10} {:>8}", "", "product ms", "GFLOP/s", "k-means", "GFLOP/s", "ratio");
        for (n, width, clusters) in SHAPES {
            let name = format!("{n}x{width}, {clusters} clusters");
            if name.contains(&only) {
                row(&name, (n, width, clusters), (threads, runs, iterations));
            }
        }
    });
}

fn row(name: &str, (n, width, clusters): (usize, usize, usize), (threads, runs, iterations): (usize, usize, usize)) {
    let mut state = 7_u64;
    let mut share = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let points: Vec<f32> = (0..n * width).map(|_| share()).collect();
    let centroids = &points[..clusters * width];
    let mut product = vec![0.0_f32; n * clusters];
    let settings = Settings { iterations, tolerance: 0.0 };
    let (mut products, mut clusterings) = (Vec::new(), Vec::new());
    for round in 0..=runs {
        let start = Instant::now();
        // SAFETY: the strides address `[n, clusters]`, `[n, width]` and `[width, clusters]`, the centroids transposed.
        unsafe {
            gemm::gemm(
                n,
                clusters,
                width,
                product.as_mut_ptr(),
                1,
                clusters as isize,
                false,
                points.as_ptr(),
                1,
                width as isize,
                centroids.as_ptr(),
                width as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::Rayon(threads),
            );
        }
        let bare = start.elapsed().as_secs_f64();
        std::hint::black_box(&product);
        let start = Instant::now();
        std::hint::black_box(lloyd(&points, width, centroids, &settings).expect("sound points"));
        let iteration = start.elapsed().as_secs_f64() / iterations as f64;
        if round > 0 {
            products.push(bare);
            clusterings.push(iteration);
        }
    }
    let (bare, iteration) = (median(products), median(clusterings));
    let operations = 2e-9 * (n * width * clusters) as f64;
    println!(
        "{name:<24} {:>10.2} {:>10.1} {:>8.2} {:>10.1} {:>8.2}",
        1e3 * bare,
        operations / bare,
        1e3 * iteration,
        operations / iteration,
        iteration / bare
    );
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_unstable_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
