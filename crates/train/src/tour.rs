//! The stop of the training ground on the tour: LeNet-5 learns to read digits in the time of a visit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use tersor_data::csv::{self, Layout};
use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};

use crate::augment::Augment;
use crate::curve;
use crate::fit::{Data, Fit};
use crate::init::Initial;
use crate::loader::{Normalisation, Pictures, Position, Source, Split};
use crate::model::{Classification, Classifier, LeNet5};
use crate::nn::By;
use crate::optimizer::Choice;

/// The stops of the training ground.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(Digits)]
}

/// LeNet-5 on 5,000 handwritten digits, by our kernels; a few of the steps again by Burn's.
struct Digits;

const SEED: u64 = 1;
const BATCH: usize = 32;
const EPOCHS: u64 = 5;
const RATE: f64 = 2e-3;
const DECAY: f64 = 1e-2;
/// Steps by Burn's kernels, of which the median is taken.
const SAMPLE: usize = 9;

impl Stop for Digits {
    fn room(&self) -> &'static str {
        "train"
    }

    fn system(&self) -> &'static str {
        "Training"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["mnist-5k"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let digits = csv::read(supplies.path("mnist-5k")?, &Layout::default())?.into_pictures(LeNet5::PICTURE)?;
        let digits = Arc::new(digits);
        let Split { train, validation } = Split::stratified(digits.labels(), 0.1, SEED)?;
        let normalisation = Normalisation::of(&digits, &train);
        let held = Arc::new(Pictures::measuring(digits.clone(), validation, 128, normalisation)?);
        let learned = Arc::new(Pictures::training(digits.clone(), train, BATCH, Augment::default(), SEED)?);
        let (batches, tested) = (learned.batches(), held.items());

        let device = Device::flex();
        let network = || LeNet5::new(10, &mut Initial::new(SEED, &device));
        let fit = Fit { epochs: EPOCHS, rate: RATE, optimizer: Choice::adamw(DECAY), seed: SEED, ..Fit::default() };
        let began = Instant::now();
        let data = Data { train: learned.clone(), validation: Some(held), threads: 0 };
        let trained = fit.run(&Classification::new(), network(), &data, None, &mut ())?;
        let ours = began.elapsed().as_secs_f64();
        let accuracy = trained.history.last().and_then(|epoch| epoch.validation?.accuracy);
        let accuracy = accuracy.ok_or("nothing was validated")?;

        let steps = EPOCHS * batches;
        let burns = seconds_of_burns_step(network(), &learned, &device)? * steps as f64;
        let row = Row::new(
            "training time",
            format!("{burns:.1} s (Burn's kernels, from {SAMPLE} steps)"),
            format!("{ours:.1} s ({steps} steps of {BATCH})"),
            format!("{:.1} % of {tested} digits held back are read", 100.0 * accuracy),
            format!("LeNet-5, {} handwritten digits (MNIST)", digits.len()),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "train-digits".into(),
            caption: "Loss and accuracy while LeNet-5 learns to read digits.".into(),
            drawing: Drawing::Svg(curve::svg(&trained.history, "LeNet-5 on digits")?),
        })))
    }
}

/// The median time of a whole step with Burn's operations and Burn's AdamW.
fn seconds_of_burns_step(network: LeNet5, data: &Pictures, device: &Device) -> Result<f64, Failure> {
    let mut network = network.train();
    let mut optimizer: ModuleOptimizer = AdamWConfig::new().with_weight_decay(DECAY as f32).init();
    let tracked = device.clone().autodiff();
    let mut times = Vec::new();
    for (index, items) in data.order(0).chunks_exact(BATCH).take(SAMPLE).enumerate() {
        let batch = data.batch(Position { epoch: 0, batch: index as u64 }, items);
        let began = Instant::now();
        let labels = batch.labels.clone();
        let (pictures, _) = batch.into_tensors(&tracked);
        let loss = By::Burn.cross_entropy(network.logits_by(pictures, By::Burn), &labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(RATE, network, gradients);
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
