//! The loop: batches through a network, losses back into its weights, until nothing gets better or time is up.
//!
//! A run is a function of its recipe, its data and its initial weights. All else that a step depends on (rate, order of
//! the examples, what is dropped) follows from the step's number, so a run that is interrupted and resumed ends with
//! the bits of one that was not. The recipe is a value: saved, compared, tested without running it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Error;
use crate::checkpoint::{Due, Folder, Snapshot, differences};
use crate::loader::{Batches, Position, Source};
use crate::log::Epoch;
use crate::metric::{Metrics, Score, Tally};
use crate::optimizer::{self, Choice, State};
use crate::pool::within_pool;
use crate::schedule::Schedule;
use crate::stop::{EarlyStop, Goal, Waiting};
use crate::weights;

/// The settings of a run: the loop's part of its recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Passes over the training data.
    pub epochs: u64,
    /// The full learning rate, above 0.
    pub rate: f64,
    /// Its share at each step.
    pub schedule: Schedule,
    /// How gradients change weights.
    pub optimizer: Choice,
    /// The norm that the gradient may have, over all parameters.
    pub clip: Option<f64>,
    /// What the device draws from while training (dropout).
    pub seed: u64,
    /// Which weights are the best.
    pub goal: Goal,
    /// When to stop before the last epoch.
    pub stop: Option<EarlyStop>,
}

/// What a network is trained for: what is good about its answers to a batch.
pub trait Task: Sync {
    /// The network.
    type Model: Module;
    /// What it answers to.
    type Batch: Send;

    /// Runs `model` on `batch`, which is put on `device`.
    fn measure(&self, model: &Self::Model, batch: Self::Batch, device: &Device) -> Measured;
}

/// The loss of a batch, as a tensor that gradients flow from, and counts.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The mean over the examples, `[1]`.
    pub loss: Tensor<1>,
    /// Right answers, where answers are right or wrong.
    pub correct: Option<u64>,
    /// Examples in the batch.
    pub examples: u64,
}

/// What a run reads.
#[derive(Debug)]
pub struct Data<S: Source> {
    /// What it learns from.
    pub train: Arc<S>,
    /// What it is measured by after each epoch.
    pub validation: Option<Arc<S>>,
    /// Threads that make batches ahead; 0 makes each when it is needed.
    pub threads: usize,
}

/// Who watches a run. A closure of the CLI, a test, or nobody: `()`.
pub trait Observer {
    /// After each step.
    fn step(&mut self, _step: &Step) {}
    /// After each epoch.
    fn epoch(&mut self, _epoch: &Epoch) {}
    /// After each checkpoint.
    fn saved(&mut self, _file: &Path) {}
    /// When a run goes on from a checkpoint.
    fn resumed(&mut self, _file: &Path, _progress: &Progress) {}
}

impl Observer for () {}

/// A step that is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Steps so far, with this one.
    pub step: u64,
    /// Steps that the whole run takes.
    pub steps: u64,
    /// Which pass this is, from 0.
    pub epoch: u64,
    /// Its learning rate.
    pub rate: f64,
    /// What the batch gave before the step.
    pub score: Score,
}

/// How far a run is: all that a checkpoint holds besides tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The next batch.
    pub position: Position,
    /// Steps done.
    pub step: u64,
    /// Of the batches of this epoch.
    pub tally: Tally,
    /// The epochs that are over.
    pub history: Vec<Epoch>,
    /// What the early stop has seen.
    pub waiting: Waiting,
    /// The best value of the goal so far.
    pub best: Option<f64>,
    /// Whether the early stop has said so.
    pub stopped: bool,
    /// Time spent, pauses not counted.
    pub seconds: f64,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Trained<M> {
    /// The network after its last step.
    pub last: M,
    /// The network when validation was best; none without validation.
    pub best: Option<M>,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// Whether it stopped before its last epoch.
    pub stopped: bool,
}

impl<M> Trained<M> {
    /// The network to use: the best one, or the last where nothing was compared.
    pub fn into_model(self) -> M {
        self.best.unwrap_or(self.last)
    }
}

/// One epoch of AdamW at the rate 0.001, no decay, no clipping, no early stop.
impl Default for Fit {
    fn default() -> Self {
        Self {
            epochs: 1,
            rate: 1e-3,
            schedule: Schedule::default(),
            optimizer: Choice::adamw(0.0),
            clip: None,
            seed: 1,
            goal: Goal::default(),
            stop: None,
        }
    }
}

impl Fit {
    /// Whether all settings are in range.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let above_zero = |what, value: f64| {
            let fits = value > 0.0 && value.is_finite();
            fits.then_some(()).ok_or(Error::Setting { what, value, range: "above 0" })
        };
        above_zero("the learning rate", self.rate)?;
        above_zero("the norm to clip at", self.clip.unwrap_or(1.0))?;
        self.schedule.check()?;
        self.optimizer.check()?;
        self.stop.map_or(Ok(()), |stop| stop.check())
    }

    /// Trains `model` on its device; with `keep`, saves checkpoints there, and goes on from the newest.
    ///
    /// The random numbers of the device are set anew at each step: two runs with dropout at once in one process would
    /// disturb each other.
    ///
    /// # Errors
    /// What [`check`](Self::check) and the loader say; [`Error::NotFinite`] naming the step; [`Error::NoValidation`];
    /// for a checkpoint that is no good [`Error::Damaged`], [`Error::Architecture`], [`Error::Recipe`].
    pub fn run<T: Task, S: Source<Batch = T::Batch>>(
        &self,
        task: &T,
        model: T::Model,
        data: &Data<S>,
        keep: Option<&Folder>,
        observer: &mut dyn Observer,
    ) -> Result<Trained<T::Model>, Error> {
        self.check()?;
        if self.stop.is_some() && data.validation.is_none() {
            return Err(Error::NoValidation { what: "an early stop", measure: "a loss" });
        }
        let mut run = Run {
            fit: self,
            task,
            data,
            steps: self.epochs * data.train.batches(),
            recipe: json!({ "fit": self, "about": keep.map_or(&Value::Null, Folder::about) }),
            model: Some(model.valid().train()), // leaves of a new autodiff graph, wherever it comes from
            optimizer: self.optimizer.init(),
            best: None,
            progress: Progress::default(),
            began: Instant::now(),
        };
        if let Some((file, snapshot)) = keep.map(Folder::newest).transpose()?.flatten() {
            run.restore(&file, snapshot)?;
            observer.resumed(&file, &run.progress);
        }
        while run.progress.position.epoch < self.epochs && !run.progress.stopped {
            run.epoch(keep, observer)?;
        }
        let last = run.model().valid();
        let Run { best, progress, .. } = run;
        Ok(Trained { last, best, history: progress.history, stopped: progress.stopped })
    }
}

/// Measures `model` on one pass over `source`, without training it.
///
/// # Errors
/// What the loader says.
pub fn evaluate<T: Task, S: Source<Batch = T::Batch>>(
    task: &T,
    model: &T::Model,
    source: &Arc<S>,
    threads: usize,
) -> Result<Metrics, Error> {
    let model = model.valid();
    let device = device_of(&model).without_autodiff();
    let batches = Batches::new(source.clone(), Position::default(), threads)?;
    within_pool(move || {
        let mut tally = Tally::default();
        for batch in batches {
            tally.add(&task.measure(&model, batch, &device).score());
        }
        Ok(tally.metrics())
    })
}

impl Measured {
    /// As numbers.
    fn score(&self) -> Score {
        let loss = f64::from(self.loss.clone().into_scalar::<f32>());
        Score { loss, correct: self.correct, examples: self.examples }
    }
}

/// A run on its way.
struct Run<'a, T: Task, S: Source> {
    fit: &'a Fit,
    task: &'a T,
    data: &'a Data<S>,
    steps: u64,
    recipe: Value,
    /// None only while the optimiser has it: it steps in place what nobody else holds.
    model: Option<T::Model>,
    optimizer: ModuleOptimizer,
    best: Option<T::Model>,
    progress: Progress,
    began: Instant,
}

impl<T: Task, S: Source<Batch = T::Batch>> Run<'_, T, S> {
    /// The rest of an epoch, its evaluation, its checkpoint.
    fn epoch(&mut self, keep: Option<&Folder>, observer: &mut dyn Observer) -> Result<(), Error> {
        let epoch = self.progress.position.epoch;
        let device = device_of(self.model()).autodiff();
        let mut due = keep.map(Due::new);
        let mut batches = Batches::new(self.data.train.clone(), self.progress.position, self.data.threads)?;
        let left = batches.len();
        for done in 1..=left {
            let Some(batch) = batches.next() else { break };
            let step = within_pool(|| self.step(batch, &device))?;
            self.progress.position = batches.position();
            observer.step(&step);
            // The last batch is saved with what the epoch came to.
            if done < left
                && let (Some(folder), Some(due)) = (keep, &mut due)
                && due.step()
            {
                observer.saved(&self.save(folder)?);
                due.saved();
            }
        }
        let closed = self.close(epoch)?;
        observer.epoch(&closed);
        if let Some(folder) = keep {
            observer.saved(&self.save(folder)?);
        }
        Ok(())
    }

    /// One batch through the network, its gradient into the weights.
    fn step(&mut self, batch: T::Batch, device: &Device) -> Result<Step, Error> {
        let (number, epoch) = (self.progress.step, self.progress.position.epoch);
        let rate = self.rate(number);
        device.seed(self.fit.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)); // another for each step
        let measured = self.task.measure(self.model(), batch, device);
        let score = measured.score();
        let finite = |what, value: f64| {
            let lost = Error::NotFinite { what, value, epoch, step: number };
            value.is_finite().then_some(()).ok_or(lost)
        };
        finite("loss", score.loss)?;
        let mut gradients = GradientsParams::from_grads(measured.loss.backward(), self.model());
        if let Some(limit) = self.fit.clip {
            let norm;
            (gradients, norm) = optimizer::clip(self.model(), gradients, limit);
            finite("norm of the gradient", norm)?;
        }
        self.model = self.model.take().map(|model| self.optimizer.step(rate, model, gradients));
        self.progress.step += 1;
        self.progress.tally.add(&score);
        Ok(Step { step: number + 1, steps: self.steps, epoch, rate, score })
    }

    /// The end of `epoch`: validation, what is best, whether to stop.
    fn close(&mut self, epoch: u64) -> Result<Epoch, Error> {
        let step = self.progress.step;
        let validation = match &self.data.validation {
            Some(source) => Some(evaluate(self.task, self.model(), source, self.data.threads)?),
            None => None,
        };
        let mut best = false;
        if let Some(metrics) = &validation {
            if !metrics.loss.is_finite() {
                return Err(Error::NotFinite { what: "validation loss", value: metrics.loss, epoch, step });
            }
            let goal = self.fit.goal;
            let value = goal
                .of(metrics)
                .ok_or(Error::NoValidation { what: "the goal accuracy", measure: "right and wrong answers" })?;
            best = self.progress.best.is_none_or(|old| goal.is_better(value, old, 0.0));
            if best {
                self.progress.best = Some(value);
                self.best = Some(self.model().valid());
            }
            if let Some(stop) = &self.fit.stop {
                self.progress.stopped = stop.note(goal, value, &mut self.progress.waiting);
            }
        }
        let train = std::mem::take(&mut self.progress.tally).metrics();
        let rate = self.rate(step.saturating_sub(1));
        let closed = Epoch { epoch, step, rate, train, validation, best, seconds: self.seconds() };
        self.progress.history.push(closed);
        self.progress.position = Position { epoch: epoch + 1, batch: 0 };
        Ok(closed)
    }

    fn model(&self) -> &T::Model {
        self.model.as_ref().expect("the optimiser gives it back")
    }

    fn rate(&self, step: u64) -> f64 {
        self.fit.rate * self.fit.schedule.at(step, self.steps)
    }

    fn seconds(&self) -> f64 {
        self.progress.seconds + self.began.elapsed().as_secs_f64()
    }

    fn save(&self, folder: &Folder) -> Result<std::path::PathBuf, Error> {
        folder.save(&Snapshot {
            recipe: self.recipe.clone(),
            progress: Progress { seconds: self.seconds(), ..self.progress.clone() },
            model: weights::of(self.model()),
            best: self.best.as_ref().map(weights::of),
            optimizer: State::of(&self.optimizer, self.model()).map_err(Error::Optimizer)?,
        })
    }

    fn restore(&mut self, file: &Path, snapshot: Snapshot) -> Result<(), Error> {
        // The network first: another network has another recipe too, but its tensors say more.
        let model = weights::put(self.model().clone(), snapshot.model, file)?;
        let differences = differences(&snapshot.recipe, &self.recipe);
        if !differences.is_empty() {
            return Err(Error::Recipe { file: file.into(), differences });
        }
        self.optimizer = snapshot.optimizer.put(self.fit.optimizer.init(), &model, file)?;
        self.best = snapshot.best.map(|best| weights::put(model.valid(), best, file)).transpose()?;
        self.model = Some(model);
        self.progress = snapshot.progress;
        Ok(())
    }
}

/// Where a network is; without parameters, the default.
fn device_of<M: Module>(model: &M) -> Device {
    model.devices().into_iter().next().unwrap_or_default()
}
