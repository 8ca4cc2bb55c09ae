//! `tersor train fit`: one network, trained to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::{Value, json};
use tersor::data::Examples;
use tersor::train::augment::Augment;
use tersor::train::checkpoint::{Every, Folder};
use tersor::train::fit::{Data, Fit, Observer, Progress, Step};
use tersor::train::init::Initial;
use tersor::train::loader::{Normalisation, Pictures, Settings, Source, Split};
use tersor::train::log::Epoch;
use tersor::train::model::{Classification, Classifier, LeNet5, ResNet20};
use tersor::train::optimizer::Choice;
use tersor::train::schedule::Schedule;
use tersor::train::stop::{EarlyStop, Goal};
use tersor::train::{burn, curve, weights};

use crate::cli::dataset::{self, DataSet};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, print, table};

/// Train a network on labelled pictures
///
/// Without flags it follows the network's own recipe: lenet5 15 epochs of AdamW, resnet20 60 epochs of SGD with padding,
/// cropping and mirroring. With --checkpoint the run can be killed at any moment; with --resume it goes on, and ends with
/// the very bits that it would have ended with. The weights written are those with which validation was best.
#[derive(Args)]
pub struct Fitting {
    /// The network
    #[arg(value_enum)]
    model: Model,
    /// Labelled pictures: a folder (MNIST's or CIFAR's files, or pictures by class), a .zip of pictures, a .csv
    #[arg(long, value_name = "DIR_OR_FILE")]
    data: PathBuf,
    /// Pictures to validate with, as --data [default: its own test part, else a share of it]
    #[arg(long, value_name = "DIR_OR_FILE", conflicts_with = "hold")]
    validation: Option<PathBuf>,
    /// Keep this share of each class for validation, even if the data has a test part
    #[arg(long, value_name = "SHARE")]
    hold: Option<f64>,
    /// How pictures are changed each time they are seen [default: the network's recipe]
    #[arg(long, value_enum)]
    augment: Option<Augmentation>,
    /// Passes over the data [default: the network's recipe]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// The full learning rate [default: the network's recipe]
    #[arg(long, visible_alias = "rate", value_name = "RATE")]
    lr: Option<f64>,
    /// Its share over the run: constant, step:0.5,0.75:0.1 (milestones, factor), cosine or cosine:0.05 (warm-up)
    #[arg(long, default_value = "cosine")]
    schedule: Schedule,
    /// How gradients change weights [default: the network's recipe]
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// Weight decay [default: the network's recipe]
    #[arg(long, value_name = "LAMBDA")]
    weight_decay: Option<f64>,
    /// Scale gradients down to this norm
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// What the best weights have
    #[arg(long, value_enum, default_value = "accuracy")]
    goal: Best,
    /// Stop when so many epochs in a row bring nothing
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u64>,
    /// With --patience: what an epoch must bring at least
    #[arg(long, value_name = "CHANGE", default_value_t = 0.0, requires = "patience")]
    min_delta: f64,
    /// For all that is drawn: the same seed gives the same weights, killed or not
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    threads: Threads,
    /// Keep checkpoints in this folder, one after each epoch and as --every says
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// With --checkpoint: also after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, requires = "checkpoint")]
    every: f64,
    /// With --checkpoint: also after so many steps
    #[arg(long, value_name = "N", requires = "checkpoint", value_parser = clap::value_parser!(u64).range(1..))]
    every_steps: Option<u64>,
    /// Go on from the newest checkpoint in --checkpoint, if there is one
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Draw loss and accuracy over epochs
    #[arg(long, value_name = "FILE.svg")]
    curve: Option<PathBuf>,
    /// Write them as a table
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Write the best weights, and with them what the network needs to be used
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Networks that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// 61,706 parameters, 28×28 grey
    #[value(name = "lenet5")]
    LeNet5,
    /// 272,474 parameters, 32×32 colour
    #[value(name = "resnet20")]
    ResNet20,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Augmentation {
    /// As they are
    None,
    /// Mirrored or not
    Flip,
    /// Padded by 4, cropped, mirrored or not
    Cifar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Optimizer {
    /// Momentum 0.9
    Sgd,
    /// Momentum 0.9, looking ahead
    Nesterov,
    Adam,
    #[value(name = "adamw")]
    AdamW,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Best {
    /// The least validation loss
    Loss,
    /// The most right answers
    Accuracy,
}

/// What was trained, and what was written. With `--json` this is the last line.
#[derive(Serialize)]
struct Fitted<'a> {
    model: Model,
    parameters: usize,
    classes: &'a [String],
    train_pictures: usize,
    validation_pictures: usize,
    fit: &'a Fit,
    batch: u32,
    best: Option<&'a Epoch>,
    stopped: bool,
    seconds: f64,
    out: Option<&'a PathBuf>,
    curve: Option<&'a PathBuf>,
    csv: Option<&'a PathBuf>,
}

impl Fitting {
    pub fn run(self) -> anyhow::Result<()> {
        let fit = self.fit();
        fit.check().map_err(|error| BadUsage(error.to_string()))?;
        check_outputs(&[&self.data], &[self.out.as_ref(), self.csv.as_ref(), self.curve.as_ref()])?;
        self.threads.start()?;
        let spinner = self.output.spinner().with_message("reading");
        let pictures = self.pictures()?;
        spinner.finish_and_clear();
        let classes = pictures.train.examples().classes().len();
        let initial = &mut Initial::new(self.seed, &burn::tensor::Device::flex());
        match self.model {
            Model::LeNet5 => self.train(&fit, LeNet5::new(classes, initial), &pictures),
            Model::ResNet20 => self.train(&fit, ResNet20::new(classes, initial), &pictures),
        }
    }

    /// Trains, writes, shows.
    fn train<M: Classifier>(&self, fit: &Fit, network: M, data: &Data<Pictures>) -> anyhow::Result<()> {
        let keep = self.keep(data)?;
        let bar = self.output.progress("training", fit.epochs * data.train.batches());
        let mut watch = Watch { bar, json: self.output.json, output: &self.output, failed: None };
        let parameters = network.num_params();
        let began = Instant::now();
        let trained = fit.run(&Classification::new(), network, data, keep.as_ref(), &mut watch)?;
        watch.bar.finish_and_clear();
        if let Some(error) = watch.failed {
            return Err(error);
        }
        let (history, stopped) = (trained.history.clone(), trained.stopped);
        self.write(&trained.into_model(), &history, data)?;
        let fitted = Fitted {
            model: self.model,
            parameters,
            classes: data.train.examples().classes(),
            train_pictures: data.train.items(),
            validation_pictures: data.validation.as_ref().map_or(0, |pictures| pictures.items()),
            fit,
            batch: self.batch,
            best: history.iter().rfind(|epoch| epoch.best),
            stopped,
            seconds: began.elapsed().as_secs_f64(),
            out: self.out.as_ref(),
            curve: self.curve.as_ref(),
            csv: self.csv.as_ref(),
        };
        if self.output.json {
            return print(format!("{}\n", serde_json::to_string(&fitted)?).as_bytes());
        }
        print(told(&fitted, &history).as_bytes())
    }

    /// The loop's settings: the network's recipe, and what the flags say instead.
    fn fit(&self) -> Fit {
        let (epochs, rate, optimizer, decay) = match self.model {
            Model::LeNet5 => (15, 2e-3, Optimizer::AdamW, 1e-2),
            Model::ResNet20 => (60, 2e-2, Optimizer::Sgd, 5e-4),
        };
        // Another optimiser than the recipe's wants another rate and decay; without flags, its usual ones.
        let optimizer = self.optimizer.unwrap_or(optimizer);
        let (rate, decay) = match (self.optimizer, optimizer) {
            (None, _) => (rate, decay),
            (Some(_), Optimizer::Sgd | Optimizer::Nesterov) => (2e-2, 5e-4),
            (Some(_), Optimizer::Adam) => (1e-3, 0.0),
            (Some(_), Optimizer::AdamW) => (2e-3, 1e-2),
        };
        let decay = self.weight_decay.unwrap_or(decay);
        Fit {
            epochs: self.epochs.unwrap_or(epochs),
            rate: self.lr.unwrap_or(rate),
            schedule: self.schedule.clone(),
            optimizer: match optimizer {
                Optimizer::Sgd => Choice::sgd(decay),
                Optimizer::Nesterov => Choice::Sgd { momentum: 0.9, nesterov: true, weight_decay: decay },
                Optimizer::Adam => Choice::adam(decay),
                Optimizer::AdamW => Choice::adamw(decay),
            },
            clip: self.clip,
            seed: self.seed,
            goal: match self.goal {
                Best::Loss => Goal::Loss,
                Best::Accuracy => Goal::Accuracy,
            },
            stop: self.patience.map(|patience| EarlyStop { patience, min_delta: self.min_delta }),
        }
    }

    /// Channels, height and width of the pictures that the network takes.
    fn shape(&self) -> [usize; 3] {
        match self.model {
            Model::LeNet5 => LeNet5::PICTURE,
            Model::ResNet20 => ResNet20::PICTURE,
        }
    }

    /// What to learn from and what to validate with.
    fn pictures(&self) -> anyhow::Result<Data<Pictures>> {
        let DataSet { train, validation } = self.read(&self.data)?;
        let validation = match &self.validation {
            Some(path) => Some(self.read(path)?.train),
            None => validation,
        };
        let train = Arc::new(train);
        let all = |examples: &Examples| (0..examples.len() as u32).collect::<Vec<_>>();
        let (learned, validation, held) = match validation {
            Some(validation) if self.hold.is_none() => {
                if validation.classes() != train.classes() {
                    bail!("{}: the classes to validate with are others than those to learn", self.data.display());
                }
                let held = all(&validation);
                (all(&train), Arc::new(validation), held)
            }
            _ => {
                let split = Split::stratified(train.labels(), self.hold.unwrap_or(0.1), self.seed)?;
                (split.train, train.clone(), split.validation)
            }
        };
        let augment = match (self.augment, self.model) {
            (Some(Augmentation::None), _) | (None, Model::LeNet5) => Augment::default(),
            (Some(Augmentation::Flip), _) => Augment { flip: true, ..Augment::default() },
            (Some(Augmentation::Cifar), _) | (None, Model::ResNet20) => Augment::CIFAR,
        };
        let batch = self.batch as usize;
        let normalisation = Normalisation::of(&train, &learned);
        let settings = Settings { drop_last: false, ..Settings::training(batch, self.seed) };
        // No gradient is kept while measuring, so larger batches fit; their size changes no sum of whole numbers.
        let validation = match held.is_empty() {
            true => None,
            false => Some(Arc::new(Pictures::measuring(validation, held, batch.max(128), normalisation.clone())?)),
        };
        let train = Arc::new(Pictures::new(train, learned, settings, augment, normalisation)?);
        Ok(Data { train, validation, threads: 1 })
    }

    fn read(&self, path: &Path) -> anyhow::Result<DataSet> {
        let set = dataset::read(path, self.shape())?;
        let shape = self.shape();
        for examples in [Some(&set.train), set.validation.as_ref()].into_iter().flatten() {
            let found = examples.shape();
            ensure!(
                found == shape,
                "{}: pictures of {found:?} (channels, height, width); this network takes {shape:?}",
                path.display()
            );
        }
        Ok(set)
    }

    /// The folder of checkpoints, with what makes this run this run.
    fn keep(&self, data: &Data<Pictures>) -> anyhow::Result<Option<Folder>> {
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let every = Every { steps: self.every_steps, seconds: Some(self.every) };
        let about = json!({
            "model": self.model,
            "batch": self.batch,
            "classes": data.train.examples().classes(),
            "normalisation": data.train.normalisation(),
            "train pictures": data.train.items(),
            "validation pictures": data.validation.as_ref().map(|pictures| pictures.items()),
            "augment": self.augment.map(|augment| format!("{augment:?}").to_lowercase()),
        });
        Ok(Some(if self.resume { Folder::resume(path, every, about)? } else { Folder::begin(path, every, about)? }))
    }

    fn write<M: Classifier>(&self, network: &M, history: &[Epoch], data: &Data<Pictures>) -> anyhow::Result<()> {
        if let Some(file) = &self.out {
            let about: Value = json!({
                "model": self.model,
                "classes": data.train.examples().classes(),
                "normalisation": data.train.normalisation(),
            });
            weights::write(file, network, &about.to_string())?;
        }
        if let Some(file) = &self.csv {
            tersor::data::atomic::write(file, |out| out.write_all(curve::csv(history).as_bytes()))?;
        }
        if let Some(file) = &self.curve {
            let name = self.model.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
            let data = self.data.file_name().unwrap_or_default().to_string_lossy();
            let svg = curve::svg(history, &format!("{name} on {data}, seed {}", self.seed))?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        Ok(())
    }
}

/// The bar, and with `--json` a line an epoch.
struct Watch<'a> {
    bar: ProgressBar,
    json: bool,
    output: &'a Output,
    /// Why stdout could not be written; the run is worth more than its log.
    failed: Option<anyhow::Error>,
}

impl Observer for Watch<'_> {
    fn step(&mut self, step: &Step) {
        self.bar.inc(1);
        if step.step.is_multiple_of(16) {
            self.bar.set_message(format!("epoch {}, loss {:.4}", step.epoch + 1, step.score.loss));
        }
    }

    fn epoch(&mut self, epoch: &Epoch) {
        if self.json {
            let printed = print(format!("{}\n", epoch.line()).as_bytes());
            self.failed = self.failed.take().or(printed.err());
        }
    }

    fn resumed(&mut self, file: &Path, progress: &Progress) {
        self.bar.set_position(progress.step);
        self.bar.reset_eta();
        self.output.note(&format!("going on from {}", file.display()));
    }
}

/// Epochs listed in the table: the last ones.
const LISTED: usize = 20;

fn told(fitted: &Fitted, history: &[Epoch]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<12}{value}\n");
    let name = fitted.model.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    line("network", format!("{name}, {} parameters", thousands(fitted.parameters as u64)));
    let (train, validation) = (fitted.train_pictures as u64, fitted.validation_pictures as u64);
    let classes = fitted.classes.len();
    let pictures = format!("{} pictures of {classes} classes", thousands(train));
    line("data", format!("{pictures}, validated with {}", thousands(validation)));
    if let Some(Epoch { epoch, validation: Some(metrics), .. }) = fitted.best {
        let accuracy = metrics.accuracy.map_or(String::new(), |accuracy| format!(", {:.2} % right", 100.0 * accuracy));
        line("best", format!("epoch {}: loss {:.4}{accuracy}", epoch + 1, metrics.loss));
    }
    let steps = history.last().map_or(0, |epoch| epoch.step);
    let early = if fitted.stopped { ", stopped early" } else { "" };
    line("work", format!("{} steps, {}{early}", thousands(steps), seconds(fitted.seconds)));
    for (file, what) in [(fitted.out, "weights"), (fitted.curve, "curves"), (fitted.csv, "table")] {
        if let Some(file) = file {
            line("written", format!("{}: {what}", file.display()));
        }
    }
    let mut rows = table([">epoch", ">rate", ">loss", ">right", ">validation loss", ">right", ">seconds", ""]);
    let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{:.2} %", 100.0 * share));
    for epoch in &history[history.len().saturating_sub(LISTED)..] {
        rows.add_row([
            (epoch.epoch + 1).to_string(),
            format!("{:.2e}", epoch.rate),
            format!("{:.4}", epoch.train.loss),
            share(epoch.train.accuracy),
            epoch.validation.map_or(String::new(), |metrics| format!("{:.4}", metrics.loss)),
            share(epoch.validation.and_then(|metrics| metrics.accuracy)),
            format!("{:.1}", epoch.seconds),
            (if fitted.best.is_some_and(|best| best.epoch == epoch.epoch) { "best" } else { "" }).into(),
        ]);
    }
    text + &format!("\n{}\n", rows.trim_fmt())
}
