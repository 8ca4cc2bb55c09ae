//! Pruning and retraining from end to end, on digits that are made here and small enough for a test.

use std::collections::HashMap;

use tersor_compress::architecture::Architecture;
use tersor_compress::evaluate::evaluate;
use tersor_compress::granularity::Granularity;
use tersor_compress::learn::{Layers, Lessons, Recipe, learn};
use tersor_compress::mask::Mask;
use tersor_compress::plan::{Qualities, Target};
use tersor_compress::prune::{ChannelChoice, Pruning, prune};
use tersor_compress::sensitivity::scan;
use tersor_compress::weights::{Weight, weights_of, with_values};
use tersor_compress::{plan, search};
use tersor_data::Examples;
use tersor_network::Network;
use tersor_network::float::{Float, Kernel};

/// Ten classes: a bar at a place of its own, moved and dimmed, in noise.
fn bars(count: usize, seed: u32) -> Examples {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for index in 0..count {
        let class = index as u32 % 10;
        let (down, strength) = (draw(4), 120 + draw(120));
        for y in 0..28 {
            for x in 0..28 {
                let on = y / 3 == class.min(8) + u32::from(down == 3) && x > 4 + class && x < 24;
                pixels.push((if on { strength } else { 0 } + draw(50)).min(255) as u8);
            }
        }
        labels.push(class);
    }
    Examples::new([1, 28, 28], pixels, labels, (0..10).map(|class| class.to_string()).collect()).expect("ten classes")
}

fn lessons() -> Lessons {
    Lessons::new(bars(640, 1), bars(200, 2)).expect("pictures")
}

fn recipe(epochs: u64) -> Recipe {
    Recipe { epochs, rate: 0.05, batch: 32, ..Recipe::dense(Some(Architecture::LeNet300), 1) }
}

fn trained(lessons: &Lessons) -> Network {
    let network = Architecture::LeNet300.build(10, 1).expect("an architecture");
    learn(&network, &HashMap::new(), lessons, &recipe(4), None, &mut ()).expect("learns").network
}

fn of<'w>(weights: &'w [Weight], name: &str) -> &'w Weight {
    weights.iter().find(|weight| weight.name == name).expect("the layer")
}

#[test]
fn what_is_removed_stays_zero_through_momentum_and_decay() {
    let lessons = lessons();
    let network = trained(&lessons);
    let pruning = Pruning {
        granularity: Granularity::Element,
        target: Target::Ratio(12.0),
        rounds: 3,
        layers: None,
        qualities: Qualities::new(),
        retraining: Some(recipe(2)),
        alternate: false,
        channels: ChannelChoice::default(),
    };
    let pruned = prune(&network, &pruning, Some(&lessons), None, &mut ()).expect("prunes");
    let weights = weights_of(&pruned.masked);
    let (kept, all) = pruned.plan.counts();
    assert!(kept * 12 <= all, "{kept} of {all}");
    for layer in &pruned.plan.layers {
        let weight = of(&weights, &layer.tensor);
        let before = of(&weights_of(&network), &layer.tensor).clone();
        for (i, &w) in weight.values.iter().enumerate() {
            assert!(layer.mask.stays(i) || w == 0.0, "{} {i} is {w}", layer.tensor);
        }
        let moved = (0..weight.values.len()).filter(|&i| weight.values[i] != before.values[i] && layer.mask.stays(i));
        assert!(moved.count() * 2 > layer.mask.kept(), "survivors learn");
    }
    // Each round removes what the last one removed, and more.
    assert!(pruned.rounds.windows(2).all(|pair| pair[1].density < pair[0].density));
    let last = pruned.rounds.last().expect("rounds");
    let (cut, error) = (last.cut_error.expect("judged"), last.error.expect("judged"));
    assert!(error <= cut, "retraining helps: {error} after, {cut} before");
}

#[test]
fn layers_that_are_fixed_do_not_move() {
    let lessons = lessons();
    let network = Architecture::LeNet5.build(10, 3).expect("an architecture");
    for (learned, fixed, moving) in
        [(Layers::Convolutions, "fc1.weight", "conv1.weight"), (Layers::Linear, "conv2.weight", "fc2.weight")]
    {
        let recipe = Recipe { learned, ..recipe(1) };
        let after = learn(&network, &HashMap::new(), &lessons, &recipe, None, &mut ()).expect("learns").network;
        let (before, after) = (weights_of(&network), weights_of(&after));
        assert_eq!(of(&before, fixed), of(&after, fixed));
        assert_ne!(of(&before, moving), of(&after, moving));
    }
}

#[test]
fn quality_zero_without_retraining_changes_nothing() {
    let network = Architecture::LeNet300.build(10, 1).expect("an architecture");
    let pruning = Pruning {
        granularity: Granularity::Element,
        target: Target::Quality(0.0),
        rounds: 2,
        layers: None,
        qualities: Qualities::new(),
        retraining: None,
        alternate: false,
        channels: ChannelChoice::default(),
    };
    let pruned = prune(&network, &pruning, None, None, &mut ()).expect("prunes");
    assert_eq!(weights_of(&pruned.masked), weights_of(&network));
}

#[test]
fn a_trainable_answers_as_the_engine_does() {
    // Batch norms, residuals, strides: what learns is what runs.
    let network = Architecture::ResNet20.build(10, 5).expect("an architecture");
    let pictures = |seed: u8| {
        let pixels = (0..64usize * 3072).map(|i| (i * 31 % 251) as u8 ^ seed).collect();
        let classes = (0..10).map(|class| class.to_string()).collect();
        Examples::new([3, 32, 32], pixels, (0..64).map(|i| i % 10).collect(), classes).expect("pictures")
    };
    let lessons = Lessons::new(pictures(1), pictures(2)).expect("pictures");
    let recipe = Recipe { batch: 16, ..recipe(1) };
    let learned = learn(&network, &HashMap::new(), &lessons, &recipe, None, &mut ()).expect("learns");
    let judged = evaluate(&learned.network, Kernel::Dense, lessons.test(), lessons.normalisation()).expect("runs");
    let metrics = learned.history[0].validation.expect("validated");
    assert!(
        (judged.loss - metrics.loss).abs() < 1e-3 * metrics.loss.abs().max(1.0),
        "{} {}",
        judged.loss,
        metrics.loss
    );
}

#[test]
fn the_search_spares_the_layer_that_suffers_most() {
    let lessons = lessons();
    let network = trained(&lessons);
    let weights = weights_of(&network);
    let densities = [0.5, 0.2, 0.1, 0.05];
    let judged = lessons.judged_by_training(200).expect("pictures");
    let scan = scan(&network, &weights, &judged, Granularity::Element, &densities, &mut |_| ()).expect("scans");
    assert_eq!(scan.layers.len(), 3);
    assert!(scan.layers.iter().all(|curve| curve.points.len() == densities.len()));
    let loss_at = |qualities: &Qualities| {
        let plan = plan::plan("net", &weights, Granularity::Element, Target::Ratio(8.0), qualities).expect("plans");
        assert!(plan.density() <= 0.125 + 1e-4);
        let pruned = with_values(&network, &plan.applied(&weights).expect("fits")).expect("fits");
        evaluate(&pruned, Kernel::Auto, judged.test(), judged.normalisation()).expect("runs").loss
    };
    let found = search::qualities(&scan, Target::Ratio(8.0)).expect("finds");
    let (alike, searched) = (loss_at(&Qualities::new()), loss_at(&found));
    assert!(searched <= alike, "{searched} by the search, {alike} with one quality");
    let qualities: Vec<f64> = found.values().copied().collect();
    assert!(qualities.windows(2).any(|pair| pair[0] != pair[1]), "{qualities:?}");
}

#[test]
fn masks_of_zeros_are_kept_by_pruning_again() {
    let network = Architecture::LeNet300.build(10, 1).expect("an architecture");
    let weights = weights_of(&network);
    let first =
        plan::plan("net", &weights, Granularity::Element, Target::Sparsity(0.6), &Qualities::new()).expect("plans");
    let network = with_values(&network, &first.applied(&weights).expect("fits")).expect("fits");
    let pruning = Pruning {
        granularity: Granularity::Element,
        target: Target::Sparsity(0.9),
        rounds: 1,
        layers: Some("fc[12]".into()),
        qualities: Qualities::new(),
        retraining: None,
        alternate: false,
        channels: ChannelChoice::default(),
    };
    let pruned = prune(&network, &pruning, None, None, &mut ()).expect("prunes");
    for (before, after) in weights_of(&network).iter().zip(weights_of(&pruned.masked)) {
        let (before, after) = (Mask::of_nonzeros(&before.values), Mask::of_nonzeros(&after.values));
        assert_eq!(before.and(&after), after);
    }
    assert_eq!(of(&weights_of(&pruned.masked), "fc3.weight"), of(&weights_of(&network), "fc3.weight"));
}

#[test]
fn every_granularity_answers_as_its_zeros_do_on_any_threads() {
    let run = |network: &Network, kernel, threads: usize, x: &[f32]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let engine = Float::prepare(network, kernel).expect("prepares");
        pool.install(|| engine.run(&mut engine.session(), &[x]).expect("runs")).remove(0)
    };
    for architecture in [Architecture::LeNet300, Architecture::LeNet5, Architecture::ResNet20] {
        let network = architecture.build(10, 7).expect("an architecture");
        for granularity in Granularity::ALL.into_iter().filter(|g| *g != Granularity::Channel) {
            let weights = weights_of(&network);
            let target = Target::Sparsity(0.85);
            let Ok(plan) = plan::plan("net", &weights, granularity, target, &Qualities::new()) else {
                assert_eq!((architecture, granularity), (Architecture::LeNet300, Granularity::Kernel));
                continue;
            };
            let pruned = with_values(&network, &plan.applied(&weights).expect("fits")).expect("fits");
            for batch in [1, 5] {
                let pruned = pruned.with_batch(batch).expect("any batch");
                let count = batch * architecture.picture().iter().product::<usize>();
                let x: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).max(0.0)).collect();
                let dense = run(&pruned, Kernel::Dense, 1, &x);
                let largest = dense.iter().fold(1.0f32, |most, y| most.max(y.abs()));
                for kernel in [Kernel::Sparse, Kernel::Auto] {
                    let one = run(&pruned, kernel, 1, &x);
                    let apart = one.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(apart <= 1e-5 * largest, "{architecture:?} {granularity} {kernel}: {apart} of {largest}");
                    for threads in [2, 7] {
                        assert_eq!(run(&pruned, kernel, threads, &x), one, "{architecture:?} {granularity} {kernel}");
                    }
                }
            }
        }
    }
}
