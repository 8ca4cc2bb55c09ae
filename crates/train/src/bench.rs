//! Steps of training and inference of the four probes: by our kernels, by Burn's, and by PyTorch's, in one run.
//!
//! Machines are noisy, so peers are measured in turn, round by round; a figure is the median over rounds of a round's
//! median step. PyTorch is a server (`bench/peers/training.py`).

use std::process::Command;
use std::time::Instant;

use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig,
    momentum::MomentumConfig,
};
use burn::tensor::{Device, Distribution, Int, Tensor};
use serde::{Deserialize, Serialize};
use tersor_data::peer;

use crate::init::Initial;
use crate::model::ResNet20;
use crate::nn::By;
use crate::op::step;
use crate::pool::within_pool;
use crate::probe::{Cnn, Lstm, Probe, Transformer, VOCABULARY};

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "crate::probe describes them")]
pub enum Kind {
    Cnn,
    ResNet20,
    Lstm,
    Transformer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cnn, Self::ResNet20, Self::Lstm, Self::Transformer];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::ResNet20 => "resnet20",
            Self::Lstm => "lstm",
            Self::Transformer => "transformer",
        }
    }
}

/// What one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Forward, loss, backward, and a step of the optimiser.
    Train,
    /// Forward.
    Infer,
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The networks.
    pub probes: Vec<Kind>,
    /// Rounds after one that warms up; at least one.
    pub rounds: usize,
    /// Seconds of one peer in one round.
    pub seconds: f64,
}

/// One probe in one mode: seconds of a step.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Row {
    pub probe: Kind,
    pub mode: Mode,
    pub seconds: f64,
    pub burn_seconds: f64,
    pub pytorch_seconds: Option<f64>,
}

impl Row {
    /// Our time to PyTorch's: above 1, PyTorch is faster.
    pub fn to_pytorch(&self) -> Option<f64> {
        self.pytorch_seconds.map(|theirs| self.seconds / theirs)
    }

    /// Our time to Burn's.
    pub fn to_burn(&self) -> f64 {
        self.seconds / self.burn_seconds
    }
}

/// PyTorch, in a process of its own.
#[derive(Debug)]
pub struct PyTorch {
    server: peer::Server,
    /// Its version.
    pub version: String,
}

#[derive(Deserialize)]
struct Greeting {
    peers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    version: String,
}

#[derive(Serialize)]
struct Request {
    probe: Kind,
    mode: Mode,
    seconds: f64,
}

#[derive(Deserialize)]
struct Answer {
    median: f64,
}

impl PyTorch {
    /// Starts `command`, which is `bench/peers/training.py` run by some Python.
    ///
    /// # Errors
    /// Why it is not there, in one line for people.
    pub fn start(command: Command) -> Result<Self, String> {
        let (server, greeting) = peer::Server::start::<Greeting>(command)?;
        let version = greeting.peers.into_iter().next().map(|peer| peer.version).unwrap_or_default();
        Ok(Self { server, version })
    }
}

/// Measures, on the caller's pool of threads; `progress` is called after each round of a row with the number of rounds so
/// far.
///
/// # Errors
/// What PyTorch said instead of a figure.
pub fn bench(
    settings: &Settings,
    mut pytorch: Option<&mut PyTorch>,
    progress: &dyn Fn(usize),
) -> Result<Vec<Row>, String> {
    let (mut rows, mut rounds) = (Vec::new(), 0);
    for &probe in &settings.probes {
        let mut run = steps(probe);
        for mode in [Mode::Train, Mode::Infer] {
            let [mut ours, mut burns, mut theirs] = [const { Vec::new() }; 3];
            for round in 0..=settings.rounds.max(1) {
                let burn = timed(settings.seconds, || within_pool(|| run(By::Burn, mode)));
                let request = Request { probe, mode, seconds: settings.seconds };
                let answer = pytorch.as_mut().map(|pytorch| pytorch.server.ask::<Answer>(&request)).transpose()?;
                let us = timed(settings.seconds, || within_pool(|| run(By::Us, mode)));
                // The first round warms up.
                if round > 0 {
                    burns.push(burn);
                    ours.push(us);
                    theirs.extend(answer.map(|answer| answer.median));
                }
                rounds += 1;
                progress(rounds);
            }
            rows.push(Row {
                probe,
                mode,
                seconds: median(ours),
                burn_seconds: median(burns),
                pytorch_seconds: (!theirs.is_empty()).then(|| median(theirs)),
            });
        }
    }
    Ok(rows)
}

/// The median time of a step, over as many as fit into `seconds`, at least three.
fn timed(seconds: f64, mut step: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed().as_secs_f64() < seconds || times.len() < 3 {
        let start = Instant::now();
        step();
        times.push(start.elapsed().as_secs_f64());
    }
    median(times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs one step by someone in a mode.
type Step = Box<dyn FnMut(By, Mode) + Send>;

/// A probe, once with our operations and steps and once with Burn's.
fn steps(probe: Kind) -> Step {
    let device = Device::flex();
    let tracked = device.clone().autodiff();
    let pictures = || Tensor::<4>::random([32, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    let ids = |batch: usize, length: usize| {
        let ids: Vec<i32> = (0..batch * length).map(|i| (i * 7919 % VOCABULARY) as i32).collect();
        Tensor::<1, Int>::from_data(ids.as_slice(), &device).reshape([batch, length])
    };
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let sgd = |decay: f32| {
        let config = SgdConfig::new().with_momentum(Some(momentum.clone()));
        let config = if decay > 0.0 { config.with_weight_decay(Some(WeightDecayConfig::new(decay))) } else { config };
        [step::Sgd { momentum: 0.9, nesterov: false, decay }.into(), config.init()]
    };
    match probe {
        Kind::Cnn => both(&Cnn::new(&tracked), &pictures(), [32, 10], 0.01, sgd(0.0)),
        Kind::ResNet20 => {
            both(&ResNet20::new(10, &mut Initial::new(1, &tracked)), &pictures(), [32, 10], 0.1, sgd(1e-4))
        }
        Kind::Lstm => {
            let adam = [step::Adam::default().into(), AdamConfig::new().with_epsilon(1e-8).init()];
            both(&Lstm::new(&tracked), &ids(32, 64), [32 * 64, VOCABULARY], 1e-3, adam)
        }
        Kind::Transformer => {
            let ours = step::Adam { decay: 0.01, ..step::Adam::default() };
            let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01);
            both(&Transformer::new(&tracked), &ids(8, 256), [8 * 256, VOCABULARY], 3e-4, [ours.into(), burns.init()])
        }
    }
}

/// Steps of `model` with labels for `rows` of scores of `classes`, by us and by Burn.
fn both<M: Probe + 'static>(
    model: &M,
    input: &M::Input,
    [rows, classes]: [usize; 2],
    rate: f64,
    optimizers: [ModuleOptimizer; 2],
) -> Step
where
    M::Input: 'static,
{
    let labels: Vec<u32> = (0..rows).map(|row| (row * 31 % classes) as u32).collect();
    let mut runs = optimizers.map(|optimizer| Run {
        model: Some(model.clone()),
        input: input.clone(),
        labels: labels.clone(),
        rate,
        optimizer,
    });
    Box::new(move |by, mode| runs[usize::from(by == By::Burn)].step(by, mode))
}

struct Run<M: Probe> {
    model: Option<M>,
    input: M::Input,
    labels: Vec<u32>,
    rate: f64,
    optimizer: ModuleOptimizer,
}

impl<M: Probe> Run<M> {
    fn step(&mut self, by: By, mode: Mode) {
        let Some(model) = self.model.take() else { return };
        self.model = Some(match mode {
            Mode::Infer => {
                drop(model.clone().valid().scores(self.input.clone(), by));
                model
            }
            Mode::Train => {
                let loss = by.cross_entropy(model.scores(self.input.clone(), by), &self.labels);
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                self.optimizer.step(self.rate, model, gradients)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_takes_steps_in_both_modes() {
        let settings = Settings { probes: vec![Kind::Cnn], rounds: 1, seconds: 0.0 };
        let rows = bench(&settings, None, &|_| {}).expect("no peer, no error");
        assert_eq!(rows.iter().map(|row| row.mode).collect::<Vec<_>>(), [Mode::Train, Mode::Infer]);
        assert!(rows.iter().all(|row| row.seconds > 0.0 && row.burn_seconds > 0.0 && row.to_pytorch().is_none()));
    }
}
