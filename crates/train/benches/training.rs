//! Steps of training and inference of the four probes: ours, Burn's own operations, and PyTorch's, in turn.
//!
//!     cargo bench -p tersor-train --bench training -- --python peers/bin/python --threads 2 [--probe cnn,lstm] [--json]
//!
//! Each round runs each peer for a while; a cell is the median over rounds of the rounds' median step.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig,
    momentum::MomentumConfig,
};
use burn::tensor::{Device, Distribution, Int, Tensor};
use serde_json::{Value, json};
use tersor_train::op::{self, step};
use tersor_train::probe::{By, Cnn, Lstm, Probe, ResNet20, Transformer, VOCABULARY};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds, of which the median counts.
const ROUNDS: usize = 7;
/// Seconds that a peer runs in a round.
const SECONDS: f64 = 0.6;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let threads: usize = value("--threads").and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let chosen = value("--probe").unwrap_or_else(|| "cnn,resnet20,lstm,transformer".into());
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("the pool is built once");
    let mut peer = value("--python").map(|python| Peer::start(&python, threads));
    let mut rows = Vec::new();
    for name in chosen.split(',') {
        rows.extend(measured(name, threads, peer.as_mut()));
    }
    if arguments.iter().any(|a| a == "--json") {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows are plain"));
    } else {
        println!(
            "{:<12} {:<6} {:>7} {:>10} {:>10} {:>10} {:>9} {:>9}",
            "probe", "mode", "threads", "Burn ms", "PyTorch ms", "ours ms", "/ PyTorch", "/ Burn"
        );
        for row in &rows {
            let ms = |name: &str| row[name].as_f64().map_or("-".into(), |s| format!("{:.2}", s * 1e3));
            let by = |name: &str| {
                row[name]
                    .as_f64()
                    .map_or("-".into(), |other| format!("{:.2}x", row["ours"].as_f64().unwrap_or(f64::NAN) / other))
            };
            println!(
                "{:<12} {:<6} {:>7} {:>10} {:>10} {:>10} {:>9} {:>9}",
                row["probe"].as_str().unwrap_or_default(),
                row["mode"].as_str().unwrap_or_default(),
                threads,
                ms("burn"),
                ms("pytorch"),
                ms("ours"),
                by("pytorch"),
                by("burn")
            );
        }
    }
}

fn measured(name: &str, threads: usize, mut peer: Option<&mut Peer>) -> Vec<Value> {
    let mut run = runs(name);
    ["train", "infer"]
        .map(|mode| {
            let mut medians = [Vec::new(), Vec::new(), Vec::new()];
            for round in 0..=ROUNDS {
                let times = [
                    timed(|| run(By::Burn, mode)),
                    peer.as_mut().map_or(f64::NAN, |peer| peer.median(name, mode)),
                    timed(|| run(By::Us, mode)),
                ];
                // The first round warms up.
                if round > 0 {
                    medians.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
                }
            }
            let [burn, pytorch, ours] = medians.map(median);
            let pytorch = (!pytorch.is_nan()).then_some(pytorch);
            json!({"probe": name, "mode": mode, "threads": threads, "burn": burn, "pytorch": pytorch, "ours": ours})
        })
        .into()
}

fn timed(mut step: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed().as_secs_f64() < SECONDS || times.len() < 3 {
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
type Step = Box<dyn FnMut(By, &str)>;

/// A probe, once with our operations and steps and once with Burn's.
fn runs(name: &str) -> Step {
    let device = Device::flex();
    let tracked = device.clone().autodiff();
    let pictures = Tensor::<4>::random([32, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
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
    match name {
        "cnn" => both(pair(&Cnn::new(&tracked), &pictures, 32, 10, 0.01, sgd(0.0))),
        "resnet20" => both(pair(&ResNet20::new(10, &tracked), &pictures, 32, 10, 0.1, sgd(1e-4))),
        "lstm" => {
            let adam = [step::Adam::default().into(), AdamConfig::new().with_epsilon(1e-8).init()];
            both(pair(&Lstm::new(&tracked), &ids(32, 64), 32 * 64, VOCABULARY, 1e-3, adam))
        }
        "transformer" => {
            let ours = step::Adam { decay: 0.01, ..step::Adam::default() };
            let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01);
            let adam = [ours.into(), burns.init()];
            both(pair(&Transformer::new(&tracked), &ids(8, 256), 8 * 256, VOCABULARY, 3e-4, adam))
        }
        _ => panic!("no probe {name:?}: cnn, resnet20, lstm, transformer"),
    }
}

fn both<M: Probe + 'static>(mut runs: [Run<M>; 2]) -> Step
where
    M::Input: 'static,
{
    Box::new(move |by, mode| runs[usize::from(by == By::Burn)].run(by, mode))
}

struct Run<M: Probe> {
    model: Option<M>,
    input: M::Input,
    labels: Vec<u32>,
    rate: f64,
    optimizer: ModuleOptimizer,
}

fn pair<M: Probe>(
    model: &M,
    input: &M::Input,
    rows: usize,
    classes: usize,
    rate: f64,
    optimizers: [ModuleOptimizer; 2],
) -> [Run<M>; 2] {
    let labels: Vec<u32> = (0..rows).map(|row| (row * 31 % classes) as u32).collect();
    optimizers.map(|optimizer| Run {
        model: Some(model.clone()),
        input: input.clone(),
        labels: labels.clone(),
        rate,
        optimizer,
    })
}

impl<M: Probe> Run<M> {
    fn run(&mut self, by: By, mode: &str) {
        let model = self.model.take().expect("a step gives the model back");
        if mode == "infer" {
            let frozen = model.clone().valid();
            drop(frozen.scores(self.input.clone(), by));
            self.model = Some(model);
            return;
        }
        let scores = model.scores(self.input.clone(), by);
        let loss = match by {
            By::Us => op::cross_entropy(scores, &self.labels),
            By::Burn => {
                let labels: Vec<i32> = self.labels.iter().map(|&label| label as i32).collect();
                let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &scores.device());
                CrossEntropyLossConfig::new().init(&scores.device()).forward(scores, labels)
            }
        };
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(self.rate, model, gradients));
    }
}

/// `bench/peers/training.py`, running.
struct Peer {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start(python: &str, threads: usize) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/peers/training.py");
        let mut child = Command::new(python)
            .args([script, "--threads", &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python}: {error}"));
        let mut answers = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut hello = String::new();
        answers.read_line(&mut hello).expect("the peer greets");
        Self { child, answers }
    }

    fn median(&mut self, probe: &str, mode: &str) -> f64 {
        let request = json!({"probe": probe, "mode": mode, "seconds": SECONDS});
        let input = self.child.stdin.as_mut().expect("its input is piped");
        writeln!(input, "{request}").and_then(|()| input.flush()).expect("the peer listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the peer said {line:?}"));
        answer["median"].as_f64().unwrap_or_else(|| panic!("the peer said {line}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
