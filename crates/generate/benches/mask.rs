//! Planning radial masks: time and memory, at the shapes of real models.
//!
//! `cargo bench -p tersor-generate --bench mask` prints a table, with `-- --json` a line of JSON for each row. One
//! thread; the median of 9.

use std::time::Instant;

use serde::Serialize;
use tersor_data::testing::{Counting, peak_bytes};
use tersor_generate::{Block, Family, Radial};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 9;

#[derive(Serialize)]
struct Row {
    case: &'static str,
    tokens: usize,
    blocks: usize,
    active: usize,
    density: f64,
    milliseconds: f64,
    peak_bytes: usize,
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let hunyuan = Radial { text: 256, decay: 0.95, family: Family::Hunyuan, ..Radial::new(30, 3_840) };
    let wan = Radial { decay: 0.2, ..Radial::new(18, 3_840) };
    let mixed = Block { queries: 128, keys: 64 };
    let cases = [
        ("Wan, 69 pictures of 768 x 1280", wan),
        ("the same, blocks of 128 x 64", Radial { block: mixed, ..wan }),
        ("the same, blocks of 64", Radial { block: Block::square(64), ..wan }),
        ("Wan, 81 pictures of 480 x 832", Radial { decay: 0.2, ..Radial::new(21, 1_560) }),
        ("Hunyuan, 117 pictures of 768 x 1280", hunyuan),
        ("Hunyuan, 509 pictures of 720 x 1280", Radial { frames: 128, tokens_per_frame: 3_600, ..hunyuan }),
    ];
    if !json {
        println!(
            "{:<38} {:>8} {:>7} {:>10} {:>8} {:>9} {:>9}",
            "case", "tokens", "blocks", "active", "density", "time", "memory"
        );
    }
    for (case, radial) in cases {
        let (mask, peak_bytes) = peak_bytes(|| radial.plan().expect("the case is sound"));
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(std::hint::black_box(&radial).plan()).expect("the case is sound");
                1e3 * start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let (blocks, active, density) = (mask.rows(), mask.active(), mask.density());
        let row =
            Row { case, tokens: mask.queries, blocks, active, density, milliseconds: times[ROUNDS / 2], peak_bytes };
        if json {
            println!("{}", serde_json::to_string(&row).expect("numbers"));
        } else {
            let (milliseconds, megabytes) = (row.milliseconds, row.peak_bytes as f64 / 1e6);
            println!(
                "{case:<38} {:>8} {blocks:>7} {active:>10} {density:>8.4} {milliseconds:>6.1} ms {megabytes:>6.1} MB",
                row.tokens
            );
        }
    }
}
