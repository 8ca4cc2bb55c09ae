//! Learning: the first training of a network, and its retraining with weights removed.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015): what survives is retrained from its
//! values, never drawn anew (section 3.4); dropout shrinks with the connections, `D_r = D_o √(C_ir / C_io)` (eq. 2);
//! L1 pushes more weights towards 0 and is better before retraining, L2 after it (section 3.1); convolutions and linear
//! layers may be retrained one after the other, the others fixed (section 3.4).
//!
//! Where labelled pictures are few, what is left can imitate the dense network instead ([`imitate`]): Distilling the
//! knowledge in a neural network (Hinton, Vinyals, Dean, 2015).

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tersor_data::Examples;
use tersor_network::Network;
use tersor_network::operator::Operator;
use tersor_train::augment::Augment;
use tersor_train::burn::tensor::{Device, Tensor};
use tersor_train::checkpoint::Folder;
use tersor_train::fit::{self, Fit, Measured, Observer, Task};
use tersor_train::loader::{Batch, Normalisation, Pictures, Settings};
use tersor_train::log::Epoch;
use tersor_train::op;
use tersor_train::optimizer::Choice;
use tersor_train::schedule::Schedule;

use crate::Error;
use crate::architecture::Architecture;
use crate::mask::Mask;
use crate::trainable::{Passing, Trainable};

/// How a network learns, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training pictures.
    pub epochs: u64,
    /// The full learning rate.
    pub rate: f64,
    /// Its share at each step.
    pub schedule: Schedule,
    /// Momentum of stochastic gradient descent.
    pub momentum: f64,
    /// λ of λ/2 Σ w², over all weights.
    pub l2: f64,
    /// λ of λ Σ |w|, over the weights of convolutions and linear layers.
    pub l1: f64,
    /// D: the share of hidden inputs of linear layers that are dropped.
    pub dropout: f64,
    /// Pictures in a batch.
    pub batch: usize,
    /// How pictures are changed.
    pub augment: Augment,
    /// Which layers learn.
    pub learned: Layers,
    /// Whether batch norms use what they remember, for few pictures.
    pub frozen_norms: bool,
    /// What everything random is drawn from.
    pub seed: u64,
}

/// Which layers learn; the others are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// Every layer.
    #[default]
    All,
    /// Convolutions and what belongs to them.
    Convolutions,
    /// Linear layers.
    Linear,
}

impl Recipe {
    /// The share of the first rate at which retraining begins: what kept most accuracy here, with a schedule that falls
    /// to 0 in each round. The paper has a tenth, constant.
    pub const RETRAINING: f64 = 0.4;

    /// The first training of an architecture: what gave the best dense network here.
    pub fn dense(architecture: Option<Architecture>, seed: u64) -> Self {
        let (epochs, rate, augment) = match architecture {
            Some(Architecture::LeNet5) => (12, 0.01, Augment::default()),
            Some(Architecture::Vgg | Architecture::ResNet8 | Architecture::ResNet20) => (60, 0.02, Augment::CIFAR),
            Some(Architecture::LeNet300) | None => (20, 0.05, Augment::default()),
        };
        Self {
            epochs,
            rate,
            schedule: Schedule::Cosine { warm_up: 0.0 },
            momentum: 0.9,
            l2: 5e-4,
            l1: 0.0,
            dropout: 0.0,
            batch: 64,
            augment,
            learned: Layers::All,
            frozen_norms: false,
            seed,
        }
    }

    /// Retraining after it: from a rate that is a share of the first one (a tenth for LeNet in the paper).
    pub fn retraining(&self, share: f64, epochs: u64) -> Self {
        Self { epochs, rate: self.rate * share, l1: 0.0, ..self.clone() }
    }
}

/// Pictures to learn from and to be judged by, as the network takes them.
#[derive(Debug, Clone)]
pub struct Lessons {
    train: Arc<Examples>,
    test: Arc<Examples>,
    normalisation: Normalisation,
}

impl Lessons {
    /// Pictures of one shape and the same classes; pixels become numbers from 0 to 1.
    ///
    /// # Errors
    /// [`Error::Input`] if there are none, or the two sets do not agree.
    pub fn new(train: Examples, test: Examples) -> Result<Self, Error> {
        let fault = |why: String| Error::Input { what: "the pictures".into(), why };
        if train.is_empty() || test.is_empty() {
            return Err(fault(format!("{} to learn from and {} to judge by", train.len(), test.len())));
        }
        if train.shape() != test.shape() {
            return Err(fault(format!("shapes {:?} and {:?}", train.shape(), test.shape())));
        }
        let channels = train.shape()[0];
        let normalisation = Normalisation { mean: vec![0.0; channels], deviation: vec![1.0; channels] };
        Ok(Self { train: train.into(), test: test.into(), normalisation })
    }

    /// Pictures to be judged by, and none to learn from.
    ///
    /// # Errors
    /// [`Error::Input`] if there are none.
    pub fn judging(test: Examples) -> Result<Self, Error> {
        let none = test.selected(&[]);
        let lessons = Self::new(test.clone(), test)?;
        Ok(Self { train: none.into(), ..lessons })
    }

    /// With other means and deviations of the channels, in which pixels from 0 to 1 are counted.
    pub fn normalised(self, normalisation: Normalisation) -> Self {
        Self { normalisation, ..self }
    }

    /// The same, judged by the first `count` pictures to learn from: for choices that test pictures must not make.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn judged_by_training(&self, count: usize) -> Result<Self, Error> {
        let first: Vec<u32> = (0..self.train.len().min(count) as u32).collect();
        let lessons = Self::new((*self.train).clone(), self.train.selected(&first))?;
        Ok(lessons.normalised(self.normalisation.clone()))
    }

    /// What is learned from.
    pub fn train(&self) -> &Arc<Examples> {
        &self.train
    }

    /// What is judged by.
    pub fn test(&self) -> &Arc<Examples> {
        &self.test
    }

    /// A number that tells other pictures or labels apart from these.
    pub fn digest(&self) -> u32 {
        let mut digest = crc32fast::Hasher::new();
        for examples in [&self.train, &self.test] {
            digest.update(examples.pixels());
            examples.labels().iter().for_each(|label| digest.update(&label.to_le_bytes()));
        }
        digest.finalize()
    }

    /// How pixels become numbers.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// Classes that the labels tell apart.
    pub fn classes(&self) -> usize {
        self.train.classes().len().max(self.test.classes().len())
    }

    /// Whether a network takes these pictures and tells these classes apart.
    ///
    /// # Errors
    /// [`Error::Input`] saying what does not fit.
    pub fn fit(&self, network: &Network) -> Result<(), Error> {
        let graph = network.main();
        let fault = |why: String| Err(Error::Input { what: network.name.clone(), why });
        let (&[input], &[output]) = (graph.inputs.as_slice(), graph.outputs.as_slice()) else {
            return fault("it has not one input and one output".into());
        };
        let takes = &graph.tensors[input].shape;
        if takes.len() < 2 {
            return fault(format!("it takes {takes:?}, not pictures"));
        }
        let count: usize = takes.iter().skip(1).product();
        let picture = self.test.shape();
        if count != picture.iter().product::<usize>() || (takes.len() == 4 && takes[1..] != picture) {
            return fault(format!("it takes {:?}, the pictures are {picture:?}", &takes[1..]));
        }
        let gives: usize = graph.tensors[output].shape.iter().skip(1).product();
        if gives < self.classes() {
            return fault(format!("it tells {gives} classes apart, the pictures have {}", self.classes()));
        }
        Ok(())
    }

    fn pictures(&self, examples: &Arc<Examples>, settings: Settings, augment: Augment) -> Result<Pictures, Error> {
        let all = (0..examples.len() as u32).collect();
        Ok(Pictures::new(examples.clone(), all, settings, augment, self.normalisation.clone())?)
    }
}

/// A network that has learned.
#[derive(Debug, Clone)]
pub struct Learned {
    /// With its weights.
    pub network: Network,
    /// Every epoch, judged by the test pictures.
    pub history: Vec<Epoch>,
}

impl Learned {
    /// Wrong answers to the test pictures after the last epoch, in percent.
    pub fn error(&self) -> Option<f64> {
        Some(100.0 * (1.0 - self.history.last()?.validation?.accuracy?))
    }
}

/// Trains `network`, whose weights outside `masks` (by the tensor's name) are and stay 0.
///
/// With `keep`, the run is saved there and goes on from what it finds.
///
/// # Errors
/// [`Error::Operator`] for a network that cannot be trained, [`Error::Input`] if the pictures do not fit it,
/// [`Error::Train`] for what goes wrong on the way.
pub fn learn(
    network: &Network,
    masks: &HashMap<String, Mask>,
    lessons: &Lessons,
    recipe: &Recipe,
    keep: Option<&Folder>,
    observer: &mut dyn Observer,
) -> Result<Learned, Error> {
    run(network, None, masks, lessons, recipe, keep, observer)
}

/// As [`learn`], but from the answers of `teacher` to the same pictures instead of their labels: the mean of
/// `T² Σ p (ln p - ln q)` over pictures, with `p` and `q` the softmax of the teacher's and of the network's logits, divided
/// by `T` = 4.
///
/// # Errors
/// As [`learn`]; [`Error::Input`] if the two do not answer alike.
pub fn imitate(
    network: &Network,
    teacher: &Network,
    masks: &HashMap<String, Mask>,
    lessons: &Lessons,
    recipe: &Recipe,
    keep: Option<&Folder>,
    observer: &mut dyn Observer,
) -> Result<Learned, Error> {
    lessons.fit(teacher)?;
    let answers = |network: &Network| {
        let graph = network.main();
        graph.tensors[graph.outputs[0]].shape.iter().skip(1).product::<usize>()
    };
    let (learned, taught) = (answers(network), answers(teacher));
    if learned != taught {
        let why = format!("it tells {taught} classes apart, {} tells {learned}", network.name);
        return Err(Error::Input { what: teacher.name.clone(), why });
    }
    run(network, Some(teacher), masks, lessons, recipe, keep, observer)
}

fn run(
    network: &Network,
    teacher: Option<&Network>,
    masks: &HashMap<String, Mask>,
    lessons: &Lessons,
    recipe: &Recipe,
    keep: Option<&Folder>,
    observer: &mut dyn Observer,
) -> Result<Learned, Error> {
    lessons.fit(network)?;
    for (what, value, range, fits) in [
        ("the share that is dropped", recipe.dropout, "from 0 to less than 1", (0.0..1.0).contains(&recipe.dropout)),
        ("the L1 penalty", recipe.l1, "a finite number from 0", recipe.l1.is_finite() && recipe.l1 >= 0.0),
    ] {
        if !fits {
            return Err(Error::Setting { what, value, range });
        }
    }
    if lessons.train.is_empty() {
        let why = "are for judging only; to learn, give a folder with `train` and `test` in it".into();
        return Err(Error::Input { what: "the pictures".into(), why });
    }
    let device = Device::flex();
    let model = Trainable::new(&masked(network, masks), &device)?;
    let passing = model
        .passing(masks, &fixed(network, recipe.learned), &device)
        .with_dropout(network, &dropout(network, masks, recipe.dropout))
        .with_frozen_norms(recipe.frozen_norms);
    let train = lessons.pictures(&lessons.train, Settings::training(recipe.batch, recipe.seed), recipe.augment)?;
    let test = lessons.pictures(&lessons.test, Settings::measuring(256), Augment::default())?;
    let data = fit::Data { train: Arc::new(train), validation: Some(Arc::new(test)), threads: 1 };
    let fit = Fit {
        epochs: recipe.epochs,
        rate: recipe.rate,
        schedule: recipe.schedule.clone(),
        optimizer: Choice::Sgd { momentum: recipe.momentum, nesterov: false, weight_decay: recipe.l2 },
        seed: recipe.seed,
        ..Fit::default()
    };
    let task = Answers { passing, l1: recipe.l1, teacher: teacher.map(Teacher::new).transpose()? };
    let trained = fit.run(&task, model, &data, keep, observer)?;
    Ok(Learned { network: masked(&trained.last.network(), masks), history: trained.history })
}

/// The network with 0 where a mask says so.
pub fn masked(network: &Network, masks: &HashMap<String, Mask>) -> Network {
    let mut network = network.clone();
    for tensor in &mut network.graphs[0].tensors {
        let Some(mask) = masks.get(&tensor.name) else { continue };
        if let Some(tersor_data::Elements::F32(values)) = tensor.constant.as_deref() {
            let mut values = values.clone();
            mask.apply(&mut values);
            tensor.constant = Some(Arc::new(tersor_data::Elements::F32(values)));
        }
    }
    network
}

/// The tensors that do not learn.
fn fixed(network: &Network, learned: Layers) -> Vec<String> {
    let graph = network.main();
    let is_fixed = |operator: &Operator| match operator {
        Operator::FullyConnected { .. } => learned == Layers::Convolutions,
        Operator::Conv2d { .. } | Operator::BatchNormalization { .. } => learned == Layers::Linear,
        _ => false,
    };
    let nodes = graph.nodes.iter().filter(|node| is_fixed(&node.operator));
    nodes.flat_map(|node| node.inputs.iter().skip(1).flatten()).map(|&t| graph.tensors[t].name.clone()).collect()
}

/// D_r for each linear layer but the first on the network's input: `D_o √(C_ir / C_io)`, with `C` its connections.
fn dropout(network: &Network, masks: &HashMap<String, Mask>, share: f64) -> HashMap<String, f64> {
    if share <= 0.0 {
        return HashMap::new();
    }
    let graph = network.main();
    let hidden = |t: usize| {
        let mut t = t;
        // Through reshapes up to what computed it.
        while let Some(node) = graph.nodes.iter().find(|node| node.outputs.contains(&t)) {
            match (&node.operator, node.inputs.first().copied().flatten()) {
                (Operator::Reshape { .. }, Some(source)) => t = source,
                _ => return true,
            }
        }
        false
    };
    let mut shares = HashMap::new();
    for node in graph.nodes.iter().filter(|node| matches!(node.operator, Operator::FullyConnected { .. })) {
        let &[Some(input), Some(weights), ..] = node.inputs.as_slice() else { continue };
        if hidden(input) {
            let name = &graph.tensors[weights].name;
            let density = masks.get(name).map_or(1.0, Mask::density);
            shares.insert(name.clone(), share * density.sqrt());
        }
    }
    shares
}

/// The task: the mean cross entropy to the labels or the divergence from a teacher, and λ Σ |w|.
struct Answers {
    passing: Passing,
    l1: f64,
    teacher: Option<Teacher>,
}

/// A network whose answers are imitated.
struct Teacher {
    model: Trainable,
    passing: Passing,
}

/// What logits are divided by before they are imitated: high enough for small probabilities to count.
const TEMPERATURE: f64 = 4.0;

impl Teacher {
    fn new(network: &Network) -> Result<Self, Error> {
        let device = Device::flex();
        let model = Trainable::new(network, &device)?;
        let passing = model.passing(&HashMap::new(), &[], &device).with_frozen_norms(true);
        Ok(Self { model, passing })
    }

    /// How far answers `[pictures, classes]` are from the teacher's.
    fn divergence(&self, pictures: Tensor<4>, logits: Tensor<2>) -> Tensor<1> {
        let taught = op::log_softmax(self.model.logits(pictures.inner(), &self.passing) / TEMPERATURE);
        let taught = if logits.is_autodiff() { taught.autodiff() } else { taught };
        let images = logits.dims()[0] as f64;
        let learned = op::log_softmax(logits / TEMPERATURE);
        (taught.clone().exp() * (taught - learned)).sum() * (TEMPERATURE * TEMPERATURE / images)
    }
}

impl Task for Answers {
    type Model = Trainable;
    type Batch = Batch;

    fn measure(&self, model: &Trainable, batch: Batch, device: &Device) -> Measured {
        let labels = batch.labels.clone();
        let (pictures, classes) = batch.into_tensors(device);
        let examples = labels.len() as u64;
        let logits = model.logits(pictures.clone(), &self.passing);
        let answers = logits.clone().argmax(1).reshape([-1]);
        let correct = answers.equal(classes).int().sum().into_scalar::<i64>() as u64;
        // Test pictures judge by their labels.
        let loss: Tensor<1> = match &self.teacher {
            Some(teacher) if device.is_autodiff() => teacher.divergence(pictures, logits),
            _ => op::cross_entropy(logits, &labels),
        };
        let penalised = self.l1 > 0.0 && device.is_autodiff();
        let loss = if penalised { loss + model.absolute_sum() * self.l1 } else { loss };
        Measured { loss, correct: Some(correct), examples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::granularity::Granularity;
    use crate::plan::{Qualities, Target, plan};
    use crate::weights::weights_of;

    #[test]
    fn what_is_left_comes_closer_to_its_teacher() {
        let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
        let pixels: Vec<u8> = (0..40 * 784u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let shown: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        // The labels say nothing.
        let pictures = Examples::new([1, 28, 28], pixels, vec![0; 40], classes).unwrap();
        let lessons = Lessons::new(pictures.clone(), pictures).unwrap();
        let network = Architecture::LeNet300.build(10, 1).unwrap();
        let weights = weights_of(&network);
        let plan = plan("net", &weights, Granularity::Element, Target::Ratio(4.0), &Qualities::new()).unwrap();
        let (cut, device) = (masked(&network, &plan.masks()), Device::flex());
        let teacher = Teacher::new(&network).unwrap();
        let apart = |network: &Network| {
            let pictures = Tensor::<1>::from_data(shown.as_slice(), &device).reshape([40, 1, 28, 28]);
            let logits = Teacher::new(network).unwrap();
            let logits = logits.model.logits(pictures.clone(), &logits.passing);
            teacher.divergence(pictures, logits).into_scalar::<f32>()
        };
        let recipe = Recipe { epochs: 20, batch: 10, rate: 0.01, l2: 0.0, ..Recipe::dense(None, 1) };
        let learned = imitate(&cut, &network, &plan.masks(), &lessons, &recipe, None, &mut ()).unwrap().network;
        assert!(apart(&network).abs() < 1e-5 && apart(&cut) > 1e-3, "{} {}", apart(&network), apart(&cut));
        assert!(apart(&learned) < 0.2 * apart(&cut), "{} of {}", apart(&learned), apart(&cut));
    }

    #[test]
    fn zeros_stay_under_every_optimiser() {
        let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
        let pixels = (0..40 * 784u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let pictures = Examples::new([1, 28, 28], pixels, (0..40).map(|i| i % 10).collect(), classes).unwrap();
        let lessons = Lessons::new(pictures.clone(), pictures).unwrap();
        let network = Architecture::LeNet300.build(10, 1).unwrap();
        let weights = weights_of(&network);
        let plan = plan("net", &weights, Granularity::Element, Target::Ratio(8.0), &Qualities::new()).unwrap();
        let masks = plan.masks();
        let device = Device::flex();
        for optimizer in [Choice::sgd(1e-2), Choice::adam(1e-2), Choice::adamw(1e-2)] {
            let model = Trainable::new(&masked(&network, &masks), &device).unwrap();
            let task = Answers { passing: model.passing(&masks, &[], &device), l1: 1e-4, teacher: None };
            let source = lessons.pictures(&lessons.train, Settings::training(10, 1), Augment::default()).unwrap();
            let data = fit::Data { train: Arc::new(source), validation: None, threads: 0 };
            let fit = Fit { epochs: 3, rate: 1e-2, optimizer, ..Fit::default() };
            let trained = fit.run(&task, model, &data, None, &mut ()).unwrap().last.network();
            for (after, before) in weights_of(&trained).iter().zip(&weights) {
                let mask = &masks[&after.name];
                assert!((0..after.values.len()).all(|i| mask.stays(i) || after.values[i] == 0.0), "{optimizer:?}");
                assert!((0..after.values.len()).any(|i| after.values[i] != 0.0 && after.values[i] != before.values[i]));
            }
        }
    }
}
