//! The loop as a user meets it: it learns, it stops, it says what is wrong, and it goes on.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use serde_json::{Value, json};
use tersor_data::testing::Folder as Scratch;
use tersor_train::Error;
use tersor_train::checkpoint::{Every, Folder};
use tersor_train::fit::{Data, Fit, Measured, Observer, Step, Task, evaluate};
use tersor_train::init::Initial;
use tersor_train::loader::{Position, Settings, Source};
use tersor_train::log::Epoch;
use tersor_train::optimizer::Choice;
use tersor_train::schedule::Schedule;
use tersor_train::stop::{EarlyStop, Goal};
use tersor_train::weights::{self, Tensors};

/// Points in the plane, inside or outside a circle.
struct Points {
    settings: Settings,
    count: usize,
}

struct Batch {
    points: Vec<f32>,
    labels: Vec<i64>,
}

impl Source for Points {
    type Batch = Batch;

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn items(&self) -> usize {
        self.count
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        let count = self.count as u32;
        let turn = if self.settings.shuffle { epoch as u32 * 7 } else { 0 };
        (0..count).map(|item| (item * 5 + turn) % count).collect()
    }

    fn batch(&self, _: Position, items: &[u32]) -> Batch {
        let point =
            |item: u32| [(item as f32 * 0.754_877).fract() * 2.0 - 1.0, (item as f32 * 0.569_84).fract() * 2.0 - 1.0];
        let points: Vec<f32> = items.iter().flat_map(|&item| point(item)).collect();
        let labels = points.chunks(2).map(|p| i64::from(p[0] * p[0] + p[1] * p[1] < 0.5)).collect();
        Batch { points, labels }
    }
}

/// Two layers of Burn's own.
#[derive(Module, Debug)]
struct Mlp {
    hidden: Linear,
    last: Linear,
}

impl Mlp {
    fn new(width: usize) -> Self {
        let initial = &mut Initial::new(1, &Device::flex());
        let mut layer = |inputs, outputs| Linear {
            weight: initial.uniform([inputs, outputs], inputs),
            bias: Some(initial.uniform([outputs], inputs)),
        };
        Self { hidden: layer(2, width), last: layer(width, 2) }
    }
}

struct Circle;

impl Task for Circle {
    type Model = Mlp;
    type Batch = Batch;

    fn measure(&self, model: &Mlp, batch: Batch, device: &Device) -> Measured {
        let count = batch.labels.len();
        let points = Tensor::<2>::from_data(TensorData::new(batch.points, [count, 2]), device);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(batch.labels, [count]), device);
        let logits = model.last.forward(relu(model.hidden.forward(points)));
        let right = logits.clone().argmax(1).reshape([-1]).equal(labels.clone()).int().sum().into_scalar::<i64>();
        let chosen = log_softmax(logits, 1).gather(1, labels.reshape([count, 1]));
        Measured { loss: chosen.mean().neg(), correct: Some(right as u64), examples: count as u64 }
    }
}

fn data(count: usize) -> Data<Points> {
    let settings = Settings { drop_last: false, ..Settings::training(16, 1) };
    let validation = Points { settings: Settings::measuring(64), count: 101 };
    Data { train: Arc::new(Points { settings, count }), validation: Some(Arc::new(validation)), threads: 0 }
}

fn recipe() -> Fit {
    Fit { epochs: 6, rate: 1e-2, schedule: Schedule::Cosine { warm_up: 0.1 }, clip: Some(1.0), ..Fit::default() }
}

fn optimizers() -> [Choice; 5] {
    [
        Choice::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        Choice::sgd(1e-3),
        Choice::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-3 },
        Choice::adam(1e-3),
        Choice::adamw(1e-2),
    ]
}

fn bits(tensors: &Tensors) -> Vec<(&String, &[u8])> {
    tensors.iter().map(|(name, data)| (name, data.as_bytes())).collect()
}

/// Ends a run after so many steps, as a crash would.
struct Crash(u64);

impl Observer for Crash {
    fn step(&mut self, step: &Step) {
        assert!(step.step < self.0, "crash");
    }
}

fn crash(fit: &Fit, path: &Path, after: u64) {
    let keep = Folder::resume(path, Every { steps: Some(1), seconds: None }, Value::Null).unwrap();
    let run = || fit.run(&Circle, Mlp::new(8), &data(77), Some(&keep), &mut Crash(after)).map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}

fn resumed(fit: &Fit, path: &Path) -> Result<Tensors, Error> {
    let keep = Folder::resume(path, Every::default(), Value::Null)?;
    fit.run(&Circle, Mlp::new(8), &data(77), Some(&keep), &mut ()).map(|trained| weights::of(&trained.last))
}

#[test]
fn every_optimizer_learns_and_goes_on_with_the_same_bits() {
    for optimizer in optimizers() {
        let rate = if matches!(optimizer, Choice::Sgd { .. }) { 0.2 } else { 1e-2 };
        let fit = Fit { optimizer, rate, ..recipe() };
        let whole = fit.run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap();
        let (first, last) = (whole.history[0].train.loss, whole.history[5].train.loss);
        assert!(last < first, "{optimizer:?}: {first} to {last}");
        for after in [1, 4, 5, 6, 17] {
            let folder = Scratch::new().unwrap();
            crash(&fit, &folder.at("run"), after);
            let again = resumed(&fit, &folder.at("run")).unwrap();
            assert_eq!(bits(&again), bits(&weights::of(&whole.last)), "{optimizer:?} after {after}");
        }
    }
}

#[test]
fn history_and_best_weights_survive_as_well() {
    let (fit, folder) = (recipe(), Scratch::new().unwrap());
    let whole = fit.run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap();
    crash(&fit, &folder.at("run"), 23);
    let keep = Folder::resume(folder.at("run"), Every::default(), Value::Null).unwrap();
    let again = fit.run(&Circle, Mlp::new(8), &data(77), Some(&keep), &mut ()).unwrap();
    let timeless = |history: &[Epoch]| history.iter().map(|&epoch| Epoch { seconds: 0.0, ..epoch }).collect::<Vec<_>>();
    assert_eq!(timeless(&again.history), timeless(&whole.history));
    assert_eq!(bits(&weights::of(&again.best.unwrap())), bits(&weights::of(&whole.best.unwrap())));
    // And a run that is over stays what it is.
    let over = fit.run(&Circle, Mlp::new(8), &data(77), Some(&keep), &mut ()).unwrap();
    assert_eq!(bits(&weights::of(&over.last)), bits(&weights::of(&whole.last)));
}

#[test]
fn a_ragged_last_batch_is_counted_and_evaluation_is_that_of_the_best_epoch() {
    let trained = recipe().run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap();
    assert!(trained.history.iter().all(|epoch| epoch.train.examples == 77 && epoch.step == 5 * (epoch.epoch + 1)));
    let best = trained.history.iter().rfind(|epoch| epoch.best).unwrap();
    let again = evaluate(&Circle, trained.best.as_ref().unwrap(), &data(77).validation.unwrap(), 2).unwrap();
    assert_eq!(Some(again), best.validation);
    assert!(trained.history.iter().all(|epoch| epoch.validation.unwrap().loss >= again.loss));
}

#[test]
fn it_stops_when_nothing_gets_better() {
    let stop = Some(EarlyStop { patience: 2, min_delta: 10.0 });
    let trained = Fit { stop, ..recipe() }.run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap();
    assert!(trained.stopped && trained.history.len() == 3);
    let blind = Data { validation: None, ..data(77) };
    let error = Fit { stop, ..recipe() }.run(&Circle, Mlp::new(8), &blind, None, &mut ()).unwrap_err();
    assert!(matches!(error, Error::NoValidation { .. }), "{error}");
}

#[test]
fn a_loss_that_leaves_the_numbers_names_its_step() {
    let fit = Fit { rate: 1e38, optimizer: Choice::sgd(0.0), schedule: Schedule::Constant, clip: None, ..recipe() };
    let error = fit.run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap_err();
    assert!(matches!(error, Error::NotFinite { what: "loss", epoch: 0, step: 1..5, .. }), "{error}");
}

#[test]
fn settings_out_of_range_are_named() {
    let nan = Fit { rate: f64::NAN, ..recipe() };
    let momentum = Fit { optimizer: Choice::Sgd { momentum: 1.0, nesterov: false, weight_decay: 0.0 }, ..recipe() };
    let clip = Fit { clip: Some(0.0), ..recipe() };
    for (fit, what) in [(nan, "learning rate"), (momentum, "momentum"), (clip, "clip")] {
        let error = fit.run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_recipe_reads_back_and_knows_no_other_words() {
    for optimizer in optimizers() {
        let fit =
            Fit { optimizer, goal: Goal::Accuracy, stop: Some(EarlyStop { patience: 3, min_delta: 0.1 }), ..recipe() };
        let text = serde_json::to_string(&fit).unwrap();
        assert_eq!(serde_json::from_str::<Fit>(&text).unwrap(), fit);
        assert!(serde_json::from_str::<Fit>(&text.replace("\"seed\"", "\"sead\"")).is_err());
    }
}

/// A folder with two checkpoints of `recipe()`.
fn interrupted() -> Scratch {
    let folder = Scratch::new().unwrap();
    crash(&recipe(), &folder.at("run"), 9);
    folder
}

fn newest(folder: &Scratch) -> std::path::PathBuf {
    Folder::resume(folder.at("run"), Every::default(), Value::Null).unwrap().files().unwrap().pop().unwrap()
}

#[test]
fn two_checkpoints_are_kept_and_what_a_crash_left_is_swept() {
    let folder = interrupted();
    fs::write(folder.at("run/.tersor-x1y2z3"), "half of a checkpoint").unwrap();
    drop(Folder::resume(folder.at("run"), Every::default(), Value::Null).unwrap());
    let mut names: Vec<_> =
        fs::read_dir(folder.at("run")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["lock", "step-000000000007.safetensors", "step-000000000008.safetensors"]);
}

#[test]
fn a_new_run_does_not_begin_where_another_left_its_checkpoints() {
    let folder = interrupted();
    let error = Folder::begin(folder.at("run"), Every::default(), Value::Null).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }) && error.to_string().contains("--resume"), "{error}");
    let held = Folder::resume(folder.at("run"), Every::default(), Value::Null).unwrap();
    let error = Folder::resume(folder.at("run"), Every::default(), Value::Null).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(held);
    assert!(resumed(&recipe(), &folder.at("run")).is_ok());
}

#[test]
fn another_network_names_the_tensor_and_another_recipe_the_setting() {
    let folder = interrupted();
    let run = |fit: &Fit, width, about: Value| {
        let keep = Folder::resume(folder.at("run"), Every::default(), about).unwrap();
        fit.run(&Circle, Mlp::new(width), &data(77), Some(&keep), &mut ()).unwrap_err()
    };
    let error = run(&recipe(), 9, Value::Null);
    assert!(matches!(error, Error::Architecture { .. }), "{error}");
    let said = error.to_string();
    for told in ["step-000000000008", "`hidden.weight`", "f32 [2, 8] there", "f32 [2, 9] here"] {
        assert!(said.contains(told), "{said}");
    }
    let said = run(&Fit { rate: 0.5, clip: None, ..recipe() }, 8, json!({ "batch": 3 })).to_string();
    for told in ["fit.rate: 0.01 there, 0.5 here", "fit.clip: 1.0 there, null here", "about"] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_damaged_checkpoint_names_itself_and_the_one_before() {
    let folder = interrupted();
    let file = newest(&folder);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = resumed(&recipe(), &folder.at("run")).unwrap_err().to_string();
    for told in ["step-000000000008", "`optimizer/", "not as it was written", "step-000000000007"] {
        assert!(error.contains(told), "{error}");
    }
    fs::remove_file(file).unwrap();
    assert!(resumed(&recipe(), &folder.at("run")).is_ok());
}

#[test]
fn weights_are_saved_with_their_text_and_read_into_the_same_network_only() {
    let (folder, network) = (Scratch::new().unwrap(), Mlp::new(8));
    let file = folder.at("weights.safetensors");
    weights::write(&file, &network, "{\"classes\": 2}").unwrap();
    let other = Mlp { hidden: LinearConfig::new(2, 8).init(&Device::flex()), ..network.clone() };
    let (read, about) = weights::read(&file, other).unwrap();
    assert_eq!(bits(&weights::of(&read)), bits(&weights::of(&network)));
    assert_eq!(about, "{\"classes\": 2}");
    let error = weights::read(&file, LinearConfig::new(2, 8).init(&Device::flex())).unwrap_err();
    assert!(matches!(error, Error::Architecture { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_checkpoint_with_any_byte_changed_or_any_end_cut_is_refused_or_the_same(
        at in 0.0..1.0f64, flip in 1u8..=255, cut: bool,
    ) {
        let folder = interrupted();
        let file = newest(&folder);
        let mut bytes = fs::read(&file).unwrap();
        let place = (at * bytes.len() as f64) as usize;
        if cut { bytes.truncate(place) } else { bytes[place] ^= flip }
        fs::write(&file, bytes).unwrap();
        match resumed(&recipe(), &folder.at("run")) {
            Err(Error::Damaged { file: named, .. }) => prop_assert_eq!(named, file),
            Err(other) => prop_assert!(false, "{}", other),
            // Padding of the header.
            Ok(tensors) => {
                let whole = recipe().run(&Circle, Mlp::new(8), &data(77), None, &mut ()).unwrap();
                let whole = weights::of(&whole.last);
                prop_assert_eq!(bits(&tensors), bits(&whole));
            }
        }
    }
}
