//! `tersor compress prune`: train, remove, retrain.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;
use tersor::compress::account::Account;
use tersor::compress::channel::{Groups, Strength};
use tersor::compress::dead::{Dead, remove_dead};
use tersor::compress::evaluate::evaluate;
use tersor::compress::granularity::Granularity;
use tersor::compress::learn::{Lessons, Recipe, learn};
use tersor::compress::model::{Form, Model};
use tersor::compress::plan::{Plan, Qualities, Target};
use tersor::compress::prune::{self, ChannelChoice, Counted, Pruned, Pruning, Round, Watch};
use tersor::compress::sensitivity::Sensitivity;
use tersor::compress::weights::{selected, weights_of};
use tersor::compress::{picture, search, sensitivity};
use tersor::network::Network;
use tersor::network::float::Kernel;
use tersor::train::checkpoint::Folder;
use tersor::train::fit::{Observer, Progress, Step};

use super::layers;
use super::lessons;
use super::source::{self, Source};
use crate::cli::quantity::{bytes, seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Remove the weights that a network does without, and retrain the rest
///
/// MODEL is a file (.onnx, .safetensors) or a network by name: lenet-300-100, lenet-5, vgg, resnet-8, resnet-20 (trained
/// first), efficientnet-lite0. With --data each round is judged and retrained; without, weights are cut by their size alone.
///
/// In the JSON, `error` and `dense_error` are wrong answers to the test pictures in percent, before and after.
#[derive(Args)]
pub struct Prune {
    /// A file, or lenet-300-100, lenet-5, vgg, resnet-8, resnet-20, efficientnet-lite0
    model: PathBuf,
    /// Pictures: mnist-8k, mnist-5k, fashion-mnist, cifar-1k, a folder, a .zip or a .csv
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<PathBuf>,
    /// Remove what is weaker than Q standard deviations of its layer
    #[arg(long, value_name = "Q", group = "amount")]
    quality: Option<f64>,
    /// Remove this share of the weights, from 0 to less than 1
    #[arg(long, value_name = "S", group = "amount")]
    sparsity: Option<f64>,
    /// Leave one weight of R [default: 12]
    #[arg(long, value_name = "R", group = "amount")]
    ratio: Option<f64>,
    /// What is removed together: element, 1x8, 8x1, 2:4, kernel or channel
    #[arg(long, default_value = "element")]
    granularity: Granularity,
    /// Which channels are weak: by the size of their weights, or of the scales of their batch norms
    #[arg(long, value_enum, default_value = "magnitude")]
    by: By,
    /// What --ratio and --sparsity of channels count
    #[arg(long, value_enum, default_value = "weights")]
    of: Of,
    /// Leave a multiple of this many channels of a layer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    round_to: u32,
    /// Only weights whose names this regular expression finds
    #[arg(long, value_name = "REGEX")]
    layers: Option<String>,
    /// Times to remove and retrain [default: 4 with --data, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Thresholds by the sensitivities in this file, which `sensitivity --json` wrote
    #[arg(long, value_name = "FILE.json", conflicts_with = "uniform")]
    sensitivity: Option<PathBuf>,
    /// One quality for all layers, instead of the thresholds that their sensitivities bear
    #[arg(long)]
    uniform: bool,
    /// Epochs of retraining in each round [default: as the network's recipe]
    #[arg(long, value_name = "N", requires = "data")]
    epochs: Option<u64>,
    /// Epochs of the first training of a network by name [default: as its recipe]
    #[arg(long, value_name = "N", requires = "data", value_parser = clap::value_parser!(u64).range(1..))]
    dense_epochs: Option<u64>,
    /// Retrain convolutions first and linear layers then
    #[arg(long, requires = "data")]
    alternate: bool,
    /// λ of λ Σ |w| in the first training
    #[arg(long, value_name = "LAMBDA", default_value_t = 0.0)]
    l1: f64,
    /// λ of λ/2 Σ w² [default: 5e-4]
    #[arg(long, value_name = "LAMBDA")]
    l2: Option<f64>,
    /// Share of hidden inputs of linear layers that are dropped in training; shrinks with the connections
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    dropout: f64,
    /// Take out neurons that have no input or no output left
    #[arg(long)]
    remove_dead: bool,
    /// For all that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep checkpoints in this folder, and go on from those in it
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Write the pruned network: .onnx, or .safetensors without its zeros
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the network in its old shape, with zeros
    #[arg(long, value_name = "FILE.safetensors")]
    masked: Option<PathBuf>,
    /// Also write the plan: thresholds and masks
    #[arg(long, value_name = "FILE.json")]
    plan: Option<PathBuf>,
    /// Draw how dense each layer is, and the pattern of its connections
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Magnitude,
    NormScale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    Weights,
    MultiplyAdds,
}

/// What was pruned. With `--json` all of it.
#[derive(Serialize)]
struct Report<'a> {
    network: String,
    data: Option<&'a Path>,
    granularity: Granularity,
    seed: u64,
    /// Wrong answers before, in percent.
    dense_error: Option<f64>,
    /// Wrong answers after.
    error: Option<f64>,
    weights: usize,
    kept: usize,
    ratio: f64,
    sparsity: f64,
    rounds: &'a [Round],
    /// Of the network in its old shape.
    account: Account,
    dead: Option<Dead>,
    /// Weights in all of the network that was written, without zeros.
    written_weights: usize,
    file_bytes: u64,
    dense_file_bytes: u64,
    seconds: f64,
    out: &'a Path,
}

impl Prune {
    pub fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let target = self.target();
        target.sparsity().map_err(|error| BadUsage(error.to_string()))?;
        let outputs = [Some(&self.out), self.masked.as_ref(), self.plan.as_ref(), self.svg.as_ref()];
        check_outputs(&[], &outputs)?;
        self.threads.start()?;
        let began = Instant::now();
        let source = Source::read(&self.model)?;
        let mut watch = Bars { output: &self.output };
        match source {
            Source::Untrained(architecture) => {
                let Some(data) = &self.data else {
                    bail!(BadUsage(format!("{} is not trained yet: give --data", architecture.name())))
                };
                let lessons = lessons::read(data, architecture.picture(), None, self.seed)?;
                let network = architecture.build(lessons.classes(), self.seed)?;
                // What cannot be pruned is refused before anything is learned.
                let dry =
                    Pruning { retraining: None, rounds: 1, ..self.pruning(&network, None, &Recipe::dense(None, 0))? };
                prune::prune(&network, &dry, None, None, &mut ())?;
                let mut recipe = self.recipe(Recipe::dense(Some(architecture), self.seed));
                recipe.l1 = self.l1;
                recipe.epochs = self.dense_epochs.unwrap_or(recipe.epochs);
                let keep = prune::folder(self.checkpoint.as_deref(), "dense", &network, &lessons, &recipe)?;
                let network = self.first(&network, &lessons, &recipe, keep.as_ref(), &mut watch)?;
                self.prune(&Model::from(network), Some(&lessons), &recipe, began, &mut watch)
            }
            Source::Trained(model) => {
                if self.l1 > 0.0 || self.dense_epochs.is_some() {
                    bail!(BadUsage(format!(
                        "{}: is trained; --l1 and --dense-epochs are for the first training",
                        model.name
                    )));
                }
                let lessons = match &self.data {
                    Some(data) => {
                        let picture = source::picture(&model)?;
                        Some(lessons::read(data, picture, model.normalisation.as_ref(), self.seed)?)
                    }
                    None => None,
                };
                let recipe = self.recipe(Recipe::dense(None, self.seed));
                self.prune(&model, lessons.as_ref(), &recipe, began, &mut watch)
            }
        }
    }

    /// Flags that do not go together.
    fn check(&self) -> anyhow::Result<()> {
        let amount = self.quality.is_some() || self.sparsity.is_some() || self.ratio.is_some();
        let (channel, half) = (self.granularity == Granularity::Channel, self.granularity == Granularity::TwoOfFour);
        for (wrong, why) in [
            (half && amount, "2:4 leaves two of four: give no --ratio, --sparsity or --quality"),
            (channel && self.quality.is_some(), "channels are removed to a share: give --sparsity or --ratio"),
            (
                !channel && (self.by != By::Magnitude || self.of != Of::Weights || self.round_to != 1),
                "--by, --of and --round-to choose channels: give --granularity channel",
            ),
            (channel && self.layers.is_some(), "channels are coupled through the whole graph: give no --layers"),
            (
                self.sensitivity.is_some() && (channel || half || self.quality.is_some()),
                "--sensitivity chooses thresholds for a --ratio or --sparsity of elements, blocks or kernels",
            ),
        ] {
            if wrong {
                bail!(BadUsage(why.into()));
            }
        }
        Ok(())
    }

    fn target(&self) -> Target {
        if self.granularity == Granularity::TwoOfFour {
            return Target::Sparsity(0.5);
        }
        match (self.quality, self.sparsity, self.ratio) {
            (Some(quality), ..) => Target::Quality(quality),
            (_, Some(sparsity), _) => Target::Sparsity(sparsity),
            (_, _, ratio) => Target::Ratio(ratio.unwrap_or(12.0)),
        }
    }

    fn recipe(&self, recipe: Recipe) -> Recipe {
        Recipe { l2: self.l2.unwrap_or(recipe.l2), dropout: self.dropout, ..recipe }
    }

    /// The first step: which connections matter is learned with all of them.
    fn first(
        &self,
        network: &Network,
        lessons: &Lessons,
        recipe: &Recipe,
        keep: Option<&Folder>,
        watch: &mut Bars,
    ) -> anyhow::Result<Network> {
        let mut observer = watch.learning("dense", recipe.epochs);
        Ok(learn(network, &Default::default(), lessons, recipe, keep, &mut *observer)?.network)
    }

    /// The second and third step, files, and the report.
    fn prune(
        &self,
        model: &Model,
        lessons: Option<&Lessons>,
        recipe: &Recipe,
        began: Instant,
        watch: &mut Bars,
    ) -> anyhow::Result<()> {
        let Ok(network) = model.network("") else { return self.weights_only(model, began) };
        let judge = |network: &Network| {
            let judged = lessons.map(|l| evaluate(network, Kernel::Auto, l.test(), l.normalisation())).transpose();
            judged.map(|judgement| judgement.map(|judgement| judgement.error()))
        };
        if self.remove_dead {
            Groups::of(network)?; // refused by name before anything is learned
        }
        let dense_error = judge(network)?;
        let pruning = self.pruning(network, lessons, recipe)?;
        let Pruned { masked, plan, rounds } =
            prune::prune(network, &pruning, lessons, self.checkpoint.as_deref(), watch)?;
        let mut small = match &plan.channels {
            Some(removal) => removal.apply(&masked)?,
            None => masked.clone(),
        };
        let dead = if self.remove_dead {
            let (without, dead) = remove_dead(&small)?;
            small = without;
            Some(dead)
        } else {
            None
        };
        let error = judge(&small)?;
        // Channels take the weights of the layers that read them along, which the mask need not.
        let left = if plan.channels.is_some() { &small } else { &masked };
        let account = Account::of(&weights_of(left));
        let weights = weights_of(network).iter().map(|weight| weight.values.len()).sum();
        let written_weights = weights_of(&small).iter().map(|weight| weight.kept()).sum();
        let file_bytes = model.with_network(small.clone()).write(&self.out, Form::of(&self.out))?;
        let dense_file_bytes = model.encode(Form::Dense)?.len() as u64;
        if let Some(file) = &self.masked {
            model.with_network(masked).write(file, Form::Dense)?;
        }
        self.write_plan(&plan)?;
        let report = Report {
            network: network.name.clone(),
            data: self.data.as_deref(),
            granularity: self.granularity,
            seed: self.seed,
            dense_error,
            error,
            weights,
            kept: account.kept,
            ratio: weights as f64 / account.kept.max(1) as f64,
            sparsity: 1.0 - account.kept as f64 / f64::max(weights as f64, 1.0),
            rounds: &rounds,
            account,
            dead,
            written_weights,
            file_bytes,
            dense_file_bytes,
            seconds: began.elapsed().as_secs_f64(),
            out: &self.out,
        };
        self.output.show(&report, || told(&report))
    }

    fn pruning(&self, network: &Network, lessons: Option<&Lessons>, recipe: &Recipe) -> anyhow::Result<Pruning> {
        let mut qualities = Qualities::new();
        if let Some(file) = &self.sensitivity {
            let text = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
            let scan: Sensitivity =
                serde_json::from_str(&text).with_context(|| format!("{}: no sensitivities", file.display()))?;
            let weights = weights_of(network);
            let unknown = scan.layers.iter().find(|curve| weights.iter().all(|weight| weight.name != curve.tensor));
            if let Some(curve) = unknown {
                bail!("{}: {} has no weights `{}`", file.display(), network.name, curve.tensor);
            }
            if scan.granularity != self.granularity {
                bail!("{}: measured by {}, not by {}", file.display(), scan.granularity, self.granularity);
            }
            qualities = search::qualities(&scan, self.target())?;
        }
        // Sensitivities choose among thresholds: not where one is given, and not between parts that are chosen otherwise.
        let teaches = lessons.is_some_and(|lessons| !lessons.train().is_empty());
        let searched = teaches
            && !self.uniform
            && self.sensitivity.is_none()
            && self.quality.is_none()
            && !matches!(self.granularity, Granularity::Channel | Granularity::TwoOfFour);
        if let (true, Some(lessons)) = (searched, lessons) {
            // By pictures that it has learned from: the test pictures judge, and choose nothing.
            let lessons = lessons.judged_by_training(2000)?;
            let pattern = self.layers.as_deref().map(prune::pattern).transpose()?;
            let weights = selected(&network.name, weights_of(network), pattern.as_ref())?;
            let bar = self.output.progress("sensitivity", weights.len() as u64);
            let densities = &sensitivity::DENSITIES;
            let scan =
                sensitivity::scan(network, &weights, &lessons, self.granularity, densities, &mut |_| bar.inc(1))?;
            qualities = search::qualities(&scan, self.target())?;
        }
        let epochs = self.epochs.unwrap_or(if teaches { recipe.epochs / 2 } else { 0 });
        let retraining = Some(recipe.retraining(Recipe::RETRAINING, epochs));
        Ok(Pruning {
            granularity: self.granularity,
            target: self.target(),
            rounds: self.rounds.unwrap_or(if teaches && self.granularity != Granularity::TwoOfFour { 4 } else { 1 }),
            layers: self.layers.clone(),
            qualities,
            retraining: retraining.filter(|recipe| recipe.epochs > 0),
            alternate: self.alternate,
            channels: ChannelChoice {
                strength: match self.by {
                    By::Magnitude => Strength::Magnitude,
                    By::NormScale => Strength::NormScale,
                },
                counted: match self.of {
                    Of::Weights => Counted::Weights,
                    Of::MultiplyAdds => Counted::MultiplyAdds,
                },
                round_to: self.round_to as usize,
            },
        })
    }

    /// A file whose graph is not known: its weights are cut, and that is all.
    fn weights_only(&self, model: &Model, began: Instant) -> anyhow::Result<()> {
        for (given, what) in [
            (self.data.is_some(), "--data"),
            (self.remove_dead, "--remove-dead"),
            (self.granularity == Granularity::Channel, "--granularity channel"),
        ] {
            if given {
                model.network(what)?;
            }
        }
        let pattern = self.layers.as_deref().map(prune::pattern).transpose()?;
        let all = model.weights()?;
        let weights = selected(&model.name, all, pattern.as_ref())?;
        let plan =
            tersor::compress::plan::plan(&model.name, &weights, self.granularity, self.target(), &Qualities::new())?;
        let pruned = model.with_values(&plan.applied(&weights)?)?;
        let file_bytes = pruned.write(&self.out, Form::of(&self.out))?;
        let dense_file_bytes = model.encode(Form::of(&self.out).dense())?.len() as u64;
        if let Some(file) = &self.masked {
            pruned.write(file, Form::Dense)?;
        }
        self.write_plan(&plan)?;
        let account = Account::of(&pruned.weights()?);
        let report = Report {
            network: model.name.clone(),
            data: None,
            granularity: self.granularity,
            seed: self.seed,
            dense_error: None,
            error: None,
            weights: account.weights,
            kept: account.kept,
            ratio: account.ratio,
            sparsity: 1.0 - account.kept as f64 / account.weights.max(1) as f64,
            rounds: &[],
            written_weights: account.kept,
            account,
            dead: None,
            file_bytes,
            dense_file_bytes,
            seconds: began.elapsed().as_secs_f64(),
            out: &self.out,
        };
        self.output.show(&report, || told(&report))
    }

    fn write_plan(&self, plan: &Plan) -> anyhow::Result<()> {
        if let Some(file) = &self.plan {
            let text = serde_json::to_string(plan)?;
            tersor::data::atomic::write(file, |out| out.write_all(text.as_bytes()))?;
        }
        if let Some(file) = &self.svg {
            let svg = picture::plan(plan)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        Ok(())
    }
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<12}{value}\n");
    line("network", format!("{}, pruned by {}", report.network, report.granularity));
    let (kept, all) = (thousands(report.kept as u64), thousands(report.weights as u64));
    line("weights", format!("{kept} of {all}: {:.1}x fewer", report.ratio));
    if let (Some(dense), Some(error)) = (report.dense_error, report.error) {
        line("error", format!("{error:.2} %, dense {dense:.2} %"));
    }
    if let Some(dead) = &report.dead {
        let channels: usize = dead.groups.iter().map(|group| group.constant + group.unread).sum();
        line("dead", format!("{channels} neurons taken out, {} constants folded into biases", dead.folded));
    }
    let (file, dense) = (report.file_bytes as f64, report.dense_file_bytes as f64);
    line("file", format!("{}: {}, dense {}", report.out.display(), bytes(report.file_bytes), bytes(dense as u64)));
    line(
        "smaller",
        format!("{:.1}x on disk, {:.1}x as the paper counts", dense / file, {
            report.account.dense_bytes as f64 / report.account.paper_bytes.max(1) as f64
        }),
    );
    line("time", seconds(report.seconds));
    text += "\n";
    text += &layers::accounts(&report.account);
    if !report.rounds.is_empty() && report.rounds.iter().any(|round| round.cut_error.is_some()) {
        let mut rows = table([">round", ">density", ">error after the cut", ">after retraining", ">epochs"]);
        let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{share:.2} %"));
        for (index, round) in report.rounds.iter().enumerate() {
            rows.add_row([
                (index + 1).to_string(),
                format!("{:.2} %", 100.0 * round.density),
                share(round.cut_error),
                share(round.error),
                round.epochs.to_string(),
            ]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    text
}

/// A bar for each training.
pub struct Bars<'a> {
    pub output: &'a Output,
}

impl Watch for Bars<'_> {
    fn learning(&mut self, what: &str, _: u64) -> Box<dyn Observer + '_> {
        let bar = self.output.progress("learning", 1);
        bar.set_message(what.to_owned());
        Box::new(Bar { bar, what: what.to_owned(), output: self.output })
    }
}

struct Bar<'a> {
    bar: ProgressBar,
    what: String,
    output: &'a Output,
}

impl Observer for Bar<'_> {
    fn step(&mut self, step: &Step) {
        self.bar.set_length(step.steps);
        self.bar.set_position(step.step);
        if step.step.is_multiple_of(16) {
            self.bar.set_message(format!("{}, epoch {}, loss {:.4}", self.what, step.epoch + 1, step.score.loss));
        }
    }

    fn resumed(&mut self, file: &Path, progress: &Progress) {
        self.bar.set_position(progress.step);
        self.bar.reset_eta();
        self.output.note(&format!("{}: going on from {}", self.what, file.display()));
    }
}
