//! The three steps: a trained network, its weak weights removed, the rest retrained; and again.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015), figure 2 and section 3.3: a greedy search
//! that removes a little, retrains, and removes more ("iterative") finds far sparser networks than one cut.

use std::collections::HashMap;
use std::path::Path;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tersor_network::Network;
use tersor_network::float::Kernel;
use tersor_train::checkpoint::{Every, Folder};
use tersor_train::fit::Observer;

use crate::Error;
use crate::channel::{Budget, Groups, Share, Strength};
use crate::evaluate::evaluate;
use crate::granularity::Granularity;
use crate::learn::{Layers, Lessons, Recipe, learn, masked};
use crate::mask::Mask;
use crate::plan::{self, LayerPlan, Plan, Qualities, Target};
use crate::weights::{selected, weights_of};

/// How a network is to be pruned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruning {
    /// What is removed together.
    pub granularity: Granularity,
    /// How much, after the last round.
    pub target: Target,
    /// Times to remove and retrain; 1 is a single cut.
    pub rounds: u32,
    /// Only tensors whose names this regular expression finds.
    pub layers: Option<String>,
    /// The qualities of layers relative to each other.
    pub qualities: Qualities,
    /// How the rest is retrained in each round; not at all without it.
    pub retraining: Option<Recipe>,
    /// Whether each round retrains convolutions first and linear layers then, instead of all at once.
    pub alternate: bool,
    /// How channels are chosen, where whole channels are pruned.
    pub channels: ChannelChoice,
}

/// How channels are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelChoice {
    /// By what they are compared.
    pub strength: Strength,
    /// What the target is a share of.
    pub counted: Counted,
    /// As [`Budget::round_to`].
    pub round_to: usize,
}

/// What a share is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Weights.
    Weights,
    /// Multiply-adds.
    MultiplyAdds,
}

impl Default for ChannelChoice {
    /// A share of the weights, by magnitude, without rounding.
    fn default() -> Self {
        Self { strength: Strength::default(), counted: Counted::Weights, round_to: 1 }
    }
}

impl ChannelChoice {
    fn budget(self, keep: f64) -> Budget {
        let keep = match self.counted {
            Counted::Weights => Share::Weights(keep),
            Counted::MultiplyAdds => Share::MultiplyAdds(keep),
        };
        Budget { keep, strength: self.strength, round_to: self.round_to }
    }
}

/// A network with fewer weights.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// In its old shape, with zeros.
    pub masked: Network,
    /// What stays.
    pub plan: Plan,
    /// What each round came to.
    pub rounds: Vec<Round>,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Round {
    /// The share of weights that stays.
    pub density: f64,
    /// Wrong answers to the test pictures right after the cut, in percent.
    pub cut_error: Option<f64>,
    /// Wrong answers after retraining.
    pub error: Option<f64>,
    /// Epochs of retraining.
    pub epochs: u64,
}

/// Who watches.
pub trait Watch {
    /// Before learning: what is learned.
    fn learning(&mut self, _what: &str, _epochs: u64) -> Box<dyn Observer + '_> {
        Box::new(())
    }
}

impl Watch for () {}

/// The checkpoints of one training among several: a folder of its own in `keep`, which goes on only for the same weights
/// (zeros count), pictures and recipe.
///
/// # Errors
/// As [`Folder::resume`].
pub fn folder(
    keep: Option<&Path>,
    name: &str,
    network: &Network,
    lessons: &Lessons,
    recipe: &Recipe,
) -> Result<Option<Folder>, Error> {
    let Some(keep) = keep else { return Ok(None) };
    let about = json!({
        "network": network.name,
        "weights": digest(network),
        "pictures": lessons.digest(),
        "recipe": recipe,
    });
    Ok(Some(Folder::resume(keep.join(name), Every::default(), about)?))
}

/// A number that tells other weights apart from these.
pub fn digest(network: &Network) -> u32 {
    let mut digest = crc32fast::Hasher::new();
    for weight in weights_of(network) {
        weight.values.iter().for_each(|w| digest.update(&w.to_le_bytes()));
    }
    digest.finalize()
}

/// Prunes `network`, whose weights are trained. With `lessons` every round is judged, and retrained as `pruning` says.
///
/// With `keep`, every retraining is saved in a folder of its own there, and a run that was interrupted goes on.
///
/// # Errors
/// [`Error::Setting`], [`Error::NoWeights`], [`Error::NotFinite`] for what cannot be pruned; [`Error::Operator`] naming what
/// cannot be followed or trained; what training and running say.
pub fn prune(
    network: &Network,
    pruning: &Pruning,
    lessons: Option<&Lessons>,
    keep: Option<&Path>,
    watch: &mut dyn Watch,
) -> Result<Pruned, Error> {
    let pattern = pruning.layers.as_deref().map(pattern).transpose()?;
    let rounds = pruning.rounds.max(1);
    let mut network = network.clone();
    let mut masks: HashMap<String, Mask> = zeros(&network);
    let mut done = Vec::new();
    let mut last = None;
    for number in 1..=rounds {
        let target = of_round(pruning.target, number, rounds)?;
        let cut = cut(&network, pruning, target, pattern.as_ref(), &mut masks)?;
        network = masked(&network, &masks);
        let judged = |network: &Network| {
            let judge = |lessons: &Lessons| evaluate(network, Kernel::Auto, lessons.test(), lessons.normalisation());
            Ok::<_, Error>(lessons.map(judge).transpose()?.map(|judgement| judgement.error()))
        };
        let mut round = Round { density: left(&network, &cut)?, cut_error: judged(&network)?, error: None, epochs: 0 };
        if let (Some(lessons), Some(recipe)) = (lessons, &pruning.retraining) {
            let steps =
                if pruning.alternate { vec![Layers::Convolutions, Layers::Linear] } else { vec![recipe.learned] };
            for (part, learned) in steps.into_iter().enumerate() {
                let recipe = Recipe {
                    learned,
                    seed: recipe.seed.wrapping_add(u64::from(number) * 2 + part as u64),
                    ..recipe.clone()
                };
                let what = format!("round {number} of {rounds}");
                let folder = folder(keep, &format!("round-{number}-{part}"), &network, lessons, &recipe)?;
                let mut observer = watch.learning(&what, recipe.epochs);
                let learned = learn(&network, &masks, lessons, &recipe, folder.as_ref(), &mut *observer)?;
                drop(observer);
                round.error = learned.error();
                round.epochs += recipe.epochs;
                network = learned.network;
            }
        }
        done.push(round);
        last = Some(cut);
    }
    let plan = last.unwrap_or(Plan { network: network.name.clone(), layers: Vec::new(), channels: None });
    Ok(Pruned { masked: network, plan, rounds: done })
}

/// The share of weights that stays. Channels take the weights of the layers that read them along, which masks do not show.
fn left(network: &Network, plan: &Plan) -> Result<f64, Error> {
    let Some(removal) = &plan.channels else { return Ok(plan.density()) };
    let count = |network: &Network| weights_of(network).iter().map(|weight| weight.values.len()).sum::<usize>();
    Ok(count(&removal.apply(network)?) as f64 / count(network).max(1) as f64)
}

/// A regular expression for names of tensors.
///
/// # Errors
/// [`Error::Input`] if it is none.
pub fn pattern(text: &str) -> Result<Regex, Error> {
    Regex::new(text).map_err(|error| Error::Input { what: format!("`{text}`"), why: error.to_string() })
}

/// The weights that are 0 already: they stay so.
fn zeros(network: &Network) -> HashMap<String, Mask> {
    let sparse = weights_of(network).into_iter().filter(|weight| weight.kept() < weight.values.len());
    sparse.map(|weight| (weight.name.clone(), Mask::of_nonzeros(&weight.values))).collect()
}

/// The target of a round: of the shares that stay, each round takes the same share again; qualities rise evenly.
fn of_round(target: Target, number: u32, rounds: u32) -> Result<Target, Error> {
    let share = f64::from(number) / f64::from(rounds);
    Ok(match (target, target.sparsity()?) {
        (Target::Quality(quality), _) => Target::Quality(quality * share),
        (_, Some(sparsity)) => Target::Sparsity(1.0 - (1.0 - sparsity).powf(share)),
        (other, None) => other,
    })
}

/// The plan of one cut; `masks` loses what goes.
fn cut(
    network: &Network,
    pruning: &Pruning,
    target: Target,
    pattern: Option<&Regex>,
    masks: &mut HashMap<String, Mask>,
) -> Result<Plan, Error> {
    let weights = selected(&network.name, weights_of(network), pattern)?;
    let mut hold = |name: &str, mask: Mask| {
        let mask = masks.get(name).map_or(mask.clone(), |before| mask.and(before));
        masks.insert(name.into(), mask.clone());
        mask
    };
    if pruning.granularity == Granularity::Channel {
        if pattern.is_some() {
            let why = "channels are coupled through the whole graph: they cannot be chosen by layer".into();
            return Err(Error::Input { what: network.name.clone(), why });
        }
        let Some(sparsity) = target.sparsity()? else {
            let why = "channels are removed to a share: give --sparsity or --ratio".into();
            return Err(Error::Input { what: network.name.clone(), why });
        };
        let removal = Groups::of(network)?.plan(&pruning.channels.budget(1.0 - sparsity))?;
        let held = removal.masks(network)?;
        for (name, mask) in &held {
            hold(name, mask.clone());
        }
        let layers = weights_of(network).into_iter().map(|weight| LayerPlan {
            mask: held.get(&weight.name).cloned().unwrap_or_else(|| Mask::full(weight.values.len())),
            tensor: weight.name,
            shape: weight.shape,
            granularity: Granularity::Channel,
            quality: 0.0,
            threshold: 0.0,
        });
        let layers = layers.collect();
        return Ok(Plan { network: network.name.clone(), layers, channels: Some(removal) });
    }
    let mut plan = plan::plan(&network.name, &weights, pruning.granularity, target, &pruning.qualities)?;
    for layer in &mut plan.layers {
        layer.mask = hold(&layer.tensor, layer.mask.clone());
    }
    Ok(plan)
}
