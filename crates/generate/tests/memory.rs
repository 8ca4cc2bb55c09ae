//! A plan takes the memory of its blocks, never of its tokens. Alone in its program, since memory is the process's.

use tersor_data::testing::{Counting, peak_bytes};
use tersor_generate::decay::synthetic::Law;
use tersor_generate::decay::{QueriesKeys, Settings, analyze};
use tersor_generate::{Family, Grid, Radial};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn plans_and_analyses_never_hold_pairs_of_tokens() {
    let plan = Radial { text: 256, decay: 0.95, family: Family::Hunyuan, ..Radial::new(30, 3_840) };
    let (mask, bytes) = peak_bytes(|| plan.plan().unwrap());
    println!("{} blocks read: {bytes} bytes at most", mask.active());
    assert!(bytes < 10_000_000, "{bytes}");

    let grid = Grid { frames: 8, height: 32, width: 32 };
    let features = Law { alpha: 0.3, beta: 0.2 }.sample(&grid, 1, 16, 1).unwrap();
    let shape = [1, grid.tokens().unwrap(), 16];
    let mask = Radial::new(8, 1_024).plan().unwrap();
    let input = QueriesKeys::new((&features, shape), (&features, shape)).unwrap();
    let settings = Settings { rows: Some(512), ..Settings::default() };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (decay, bytes) = peak_bytes(|| one.install(|| analyze(&input, &grid, Some(&mask), &settings).unwrap()));
    println!("{} queries of {} tokens: {bytes} bytes at most", decay.rows, shape[1]);
    assert!(bytes < 8 << 20, "{bytes}; all pairs are {}", 4 * shape[1] * shape[1]);
}
