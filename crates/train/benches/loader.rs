//! How many pictures a second are made ready: 32×32 in colour, batches of 128, against nothing that uses them.
//!
//! `cargo bench -p tersor-train --bench loader`. A step of a small network on two cores takes longer than making the
//! next batch if this is above 20,000.

use std::sync::Arc;
use std::time::Instant;

use tersor_data::Examples;
use tersor_train::augment::Augment;
use tersor_train::loader::{Batches, Pictures, Position, Settings, Windows};

const PICTURES: usize = 20_000;
const RUNS: u64 = 7;

fn main() {
    let pixels = (0..PICTURES * 3072).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    let labels = (0..PICTURES as u32).map(|index| index % 10).collect();
    let classes = (0..10).map(|class| class.to_string()).collect();
    let examples = Arc::new(Examples::new([3, 32, 32], pixels, labels, classes).expect("sizes agree"));
    let recipes = [
        ("normalised", Augment::default()),
        ("crop, flip, normalised", Augment::CIFAR),
        ("the same with a hole of 16", Augment { hole: 16, ..Augment::CIFAR }),
        ("the same with a turn of 15°", Augment { turn: 15.0, ..Augment::CIFAR }),
    ];
    println!("pictures a second, median of {RUNS} epochs of {PICTURES} (in the caller's thread, 1, 2 threads ahead)");
    for (name, augment) in recipes {
        let indices = (0..PICTURES as u32).collect();
        let pictures = Pictures::training(examples.clone(), indices, 128, augment, 0).expect("batches");
        let pictures = Arc::new(pictures);
        let rates = [0, 1, 2].map(|threads| {
            median(|epoch| {
                let batches = Batches::new(pictures.clone(), Position { epoch, batch: 0 }, threads).expect("threads");
                batches.map(|batch| std::hint::black_box(batch).labels.len()).sum()
            })
        });
        println!("  {name:30} {:>10.0} {:>10.0} {:>10.0}", rates[0], rates[1], rates[2]);
    }

    let ids: Arc<[u16]> = (0..1_115_394u32).map(|i| (i * 31 % 65) as u16).collect();
    let windows = Arc::new(Windows::new(ids, 256, Settings::training(32, 0)).expect("batches"));
    let rates = [0, 1, 2].map(|threads| {
        median(|epoch| {
            let batches = Batches::new(windows.clone(), Position { epoch, batch: 0 }, threads).expect("threads");
            batches.map(|batch| std::hint::black_box(batch).inputs.len()).sum()
        })
    });
    println!("characters a second, windows of 256, batches of 32");
    println!("  {:30} {:>10.0} {:>10.0} {:>10.0}", "windows", rates[0], rates[1], rates[2]);
}

/// Items a second, the median over epochs.
fn median(mut epoch: impl FnMut(u64) -> usize) -> f64 {
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|number| {
            let start = Instant::now();
            let items = epoch(number);
            items as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
