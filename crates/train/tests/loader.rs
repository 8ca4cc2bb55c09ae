//! Loading as a training run meets it: the same bits on any number of threads, after any interruption.

use std::sync::Arc;

use proptest::prelude::*;
use tersor_data::Examples;
use tersor_train::Error;
use tersor_train::augment::Augment;
use tersor_train::loader::{Batch, Batches, Normalisation, Pictures, Position, Settings, Source, Split, Windows};

const EVERYTHING: Augment = Augment { padding: 4, flip: true, hole: 5, turn: 15.0 };

fn examples(count: usize) -> Arc<Examples> {
    let pixels = (0..count * 3 * 12 * 10).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    let labels = (0..count as u32).map(|index| index % 3).collect();
    Arc::new(Examples::new([3, 12, 10], pixels, labels, ["a", "b", "c"].map(str::to_owned).to_vec()).unwrap())
}

fn training(count: usize, augment: Augment, seed: u64) -> Arc<Pictures> {
    Arc::new(Pictures::training(examples(count), (0..count as u32).collect(), 8, augment, seed).unwrap())
}

fn epoch<S: Source>(source: &Arc<S>, epoch: u64, threads: usize) -> Vec<S::Batch> {
    Batches::new(source.clone(), Position { epoch, batch: 0 }, threads).unwrap().collect()
}

/// Bits, so that no rounding is overlooked.
fn bits(batches: &[Batch]) -> Vec<u32> {
    batches.iter().flat_map(|batch| &batch.pixels).map(|pixel| pixel.to_bits()).collect()
}

#[test]
fn pictures_are_the_same_bits_on_1_2_and_8_threads() {
    for augment in [Augment::default(), Augment::CIFAR, EVERYTHING] {
        let pictures = training(100, augment, 5);
        let alone = epoch(&pictures, 3, 0);
        assert_eq!(alone.len(), 12);
        for threads in [1, 2, 8] {
            let together = epoch(&pictures, 3, threads);
            assert_eq!(bits(&together), bits(&alone), "{threads} threads");
            assert_eq!(together, alone, "{threads} threads");
        }
    }
}

#[test]
fn windows_are_the_same_on_1_2_and_8_threads() {
    let ids: Arc<[u16]> = (0..5000u32).map(|i| (i * i % 61) as u16).collect();
    let windows = Arc::new(Windows::new(ids, 32, Settings::training(4, 9)).unwrap());
    let alone = epoch(&windows, 2, 0);
    for threads in [1, 2, 8] {
        assert_eq!(epoch(&windows, 2, threads), alone, "{threads} threads");
    }
    assert_ne!(epoch(&windows, 3, 0), alone, "another epoch, another order");
}

#[test]
fn a_run_that_is_interrupted_anywhere_goes_on_with_the_same_bits() {
    let pictures = training(50, EVERYTHING, 11);
    let whole: Vec<Batch> = [epoch(&pictures, 0, 2), epoch(&pictures, 1, 2)].concat();
    for stop in 0..whole.len() {
        let mut seen = Vec::new();
        let mut position = Position::default();
        let mut run = |until: usize, position: &mut Position| {
            while seen.len() < until {
                let mut batches = Batches::new(pictures.clone(), *position, 1).unwrap();
                while seen.len() < until
                    && let Some(batch) = batches.next()
                {
                    seen.push(batch);
                    *position = batches.position();
                }
            }
        };
        run(stop, &mut position);
        let saved = serde_json::to_string(&position).unwrap();
        let mut restored: Position = serde_json::from_str(&saved).unwrap();
        run(whole.len(), &mut restored);
        assert_eq!(bits(&seen), bits(&whole), "interrupted after {stop} batches");
        assert_eq!(seen, whole, "interrupted after {stop} batches");
    }
}

#[test]
fn a_picture_changes_in_the_same_way_whatever_batch_it_falls_into() {
    let set = examples(40);
    let of = |batch| {
        let normalisation = Normalisation::of(&set, &[0, 1]);
        let settings = Settings::training(batch, 3);
        let indices = (0..40).collect();
        Arc::new(Pictures::new(set.clone(), indices, settings, EVERYTHING, normalisation).unwrap())
    };
    let one = epoch(&of(5), 0, 1);
    let other = epoch(&of(8), 0, 1);
    assert_eq!(bits(&one), bits(&other));
}

#[test]
fn measuring_gives_every_example_once_in_order_and_unchanged() {
    let set = examples(21);
    let normalisation = Normalisation { mean: vec![0.0; 3], deviation: vec![1.0 / 255.0; 3] };
    let split = Split::stratified(set.labels(), 0.5, 1).unwrap();
    let measuring = Pictures::measuring(set.clone(), split.validation.clone(), 4, normalisation).unwrap();
    let batches = epoch(&Arc::new(measuring), 0, 1);
    let indices: Vec<u32> = batches.iter().flat_map(|batch| batch.examples.clone()).collect();
    assert_eq!(indices, split.validation);
    for batch in &batches {
        for (at, &index) in batch.examples.iter().enumerate() {
            assert_eq!(batch.labels[at], set.labels()[index as usize]);
            let pixels = batch.pixels[at * 360..][..360].iter().map(|pixel| pixel.round() as u8);
            assert!(pixels.eq(set.picture(index as usize).iter().copied()));
        }
    }
}

#[test]
fn batches_become_tensors_of_their_shape() {
    let device = Default::default();
    let batch = epoch(&training(16, Augment::CIFAR, 0), 0, 1).remove(0);
    let (pixels, labels) = batch.clone().into_tensors(&device);
    assert_eq!(pixels.dims(), [8, 3, 12, 10]);
    assert_eq!(pixels.into_data().try_to_vec::<f32>().unwrap(), batch.pixels);
    let labels: Vec<i64> = labels.into_data().convert::<i64>().try_to_vec().unwrap();
    assert_eq!(labels, batch.labels.iter().copied().map(i64::from).collect::<Vec<_>>());

    let windows = Windows::new((0..30).collect(), 4, Settings::measuring(3)).unwrap();
    let (inputs, targets) = epoch(&Arc::new(windows), 0, 1).remove(0).into_tensors(&device);
    assert_eq!((inputs.dims(), targets.dims()), ([3, 4], [3, 4]));
    assert_eq!((targets - inputs).into_data().convert::<i64>().try_to_vec::<i64>().unwrap(), [1; 12]);
}

#[test]
fn what_gives_no_batch_is_an_error_that_says_why() {
    let set = examples(6);
    let make = |indices: Vec<u32>, batch| Pictures::training(set.clone(), indices, batch, Augment::default(), 0);
    assert!(matches!(make(vec![], 1), Err(Error::NoBatch { .. })));
    assert!(matches!(make(vec![0, 1], 0), Err(Error::NoBatch { .. })));
    assert!(make(vec![0, 1], 3).unwrap_err().to_string().contains("2 examples give no batch of 3"));
    assert!(matches!(make(vec![0, 6], 1), Err(Error::NoExample { index: 6, examples: 6 })));
    let grey = Normalisation { mean: vec![0.5], deviation: vec![0.5] };
    let measuring = Pictures::measuring(set.clone(), vec![0], 1, grey);
    assert!(measuring.unwrap_err().to_string().contains("3 channels"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_epoch_sees_every_example_at_most_once_and_all_that_fit(
        count in 8usize..60, batch in 1usize..9, seed: u64, number in 0u64..3, drop_last: bool, threads in 0usize..4,
    ) {
        let set = examples(count);
        let normalisation = Normalisation::of(&set, &[0]);
        let settings = Settings { drop_last, ..Settings::training(batch, seed) };
        let indices: Vec<u32> = (0..count as u32).collect();
        let pictures = Pictures::new(set, indices.clone(), settings, Augment::default(), normalisation).unwrap();
        let batches = epoch(&Arc::new(pictures), number, threads);
        let mut seen: Vec<u32> = batches.iter().flat_map(|batch| batch.examples.clone()).collect();
        prop_assert_eq!(seen.len(), if drop_last { count / batch * batch } else { count });
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), if drop_last { count / batch * batch } else { count });
    }
}
