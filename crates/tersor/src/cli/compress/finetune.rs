//! `tersor compress finetune`: retrain what is left, with its zeros held.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use std::collections::HashMap;
use tersor::compress::evaluate::evaluate;
use tersor::compress::learn::{Layers, Recipe, imitate, learn};
use tersor::compress::mask::Mask;
use tersor::compress::model::Form;
use tersor::compress::prune::{self, Watch};
use tersor::compress::weights::weights_of;
use tersor::network::float::Kernel;
use tersor::train::augment::Augment;

use super::prune::Bars;
use super::{lessons, source};
use crate::cli::show::{Output, Threads, check_outputs};

/// Retrain the weights that are not 0; those that are stay so
#[derive(Args)]
pub struct Finetune {
    /// A pruned network: .safetensors, .onnx, or efficientnet-lite0
    model: PathBuf,
    /// Pictures: mnist-8k, mnist-5k, fashion-mnist, cifar-1k, a folder, a .zip or a .csv
    #[arg(long, value_name = "NAME|DIR")]
    data: PathBuf,
    /// Passes over the pictures
    #[arg(long, value_name = "N", default_value_t = 10)]
    epochs: u64,
    /// The full learning rate
    #[arg(long, visible_alias = "rate", value_name = "RATE", default_value_t = 0.005)]
    lr: f64,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// λ of λ/2 Σ w²
    #[arg(long, value_name = "LAMBDA", default_value_t = 5e-4)]
    l2: f64,
    /// λ of λ Σ |w|
    #[arg(long, value_name = "LAMBDA", default_value_t = 0.0)]
    l1: f64,
    /// Share of hidden inputs of linear layers that the dense network dropped; here it shrinks with the connections
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    dropout: f64,
    /// Imitate this network's answers (.safetensors, .onnx, efficientnet-lite0) instead of learning the labels: for few
    /// pictures, or pictures of other classes
    #[arg(long, value_name = "MODEL")]
    teacher: Option<PathBuf>,
    /// Mirror every second picture
    #[arg(long)]
    flip: bool,
    /// Move each picture by up to this many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    shift: u16,
    /// Which layers learn
    #[arg(long, value_enum, default_value = "all")]
    learn: Learn,
    /// Let batch norms use what they remember; for few pictures
    #[arg(long)]
    freeze_norms: bool,
    /// For all that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep checkpoints in this folder, and go on from those in it
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Write the network: .onnx, or .safetensors without its zeros
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Learn {
    All,
    /// Convolutions and their norms
    Conv,
    /// Linear layers
    Linear,
}

#[derive(Serialize)]
struct Finetuned {
    network: String,
    error_before: f64,
    error: f64,
    weights: usize,
    kept: usize,
    epochs: u64,
    file_bytes: u64,
}

impl Finetune {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[], &[Some(&self.out)])?;
        self.threads.start()?;
        let model = source::trained(&self.model)?;
        let network = model.network("retraining")?;
        let lessons = lessons::read(&self.data, source::picture(&model)?, model.normalisation.as_ref(), self.seed)?;
        let weights = weights_of(network);
        let masks: HashMap<String, Mask> =
            weights.iter().map(|weight| (weight.name.clone(), Mask::of_nonzeros(&weight.values))).collect();
        let recipe = Recipe {
            epochs: self.epochs,
            rate: self.lr,
            batch: self.batch as usize,
            l1: self.l1,
            l2: self.l2,
            dropout: self.dropout,
            learned: match self.learn {
                Learn::All => Layers::All,
                Learn::Conv => Layers::Convolutions,
                Learn::Linear => Layers::Linear,
            },
            frozen_norms: self.freeze_norms,
            augment: Augment { flip: self.flip, padding: self.shift.into(), ..Augment::default() },
            ..Recipe::dense(None, self.seed)
        };
        let judge = |network| {
            evaluate(network, Kernel::Auto, lessons.test(), lessons.normalisation()).map(|judged| judged.error())
        };
        let error_before = judge(network)?;
        let teacher = self.teacher.as_deref().map(source::trained).transpose()?;
        let teacher = teacher.as_ref().map(|model| model.network("imitating")).transpose()?;
        let name = teacher.map_or("finetune".into(), |teacher| format!("imitate-{:08x}", prune::digest(teacher)));
        let keep = prune::folder(self.checkpoint.as_deref(), &name, network, &lessons, &recipe)?;
        let mut watch = Bars { output: &self.output };
        let mut observer = watch.learning("retraining", self.epochs);
        let learned = match teacher {
            Some(teacher) => imitate(network, teacher, &masks, &lessons, &recipe, keep.as_ref(), &mut *observer)?,
            None => learn(network, &masks, &lessons, &recipe, keep.as_ref(), &mut *observer)?,
        };
        drop(observer);
        let error = judge(&learned.network)?;
        let file_bytes = model.with_network(learned.network).write(&self.out, Form::of(&self.out))?;
        let report = Finetuned {
            network: network.name.clone(),
            error_before,
            error,
            weights: weights.iter().map(|weight| weight.values.len()).sum(),
            kept: weights.iter().map(|weight| weight.kept()).sum(),
            epochs: self.epochs,
            file_bytes,
        };
        self.output.show(&report, || {
            let Finetuned { network, error_before, error, kept, weights, .. } = &report;
            format!("{network}: {error:.2} % wrong, before {error_before:.2} %; {kept} of {weights} weights\n")
        })
    }
}
