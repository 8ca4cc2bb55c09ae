//! Channels: which of them can only go together, which are the weakest, and the network without them.
//!
//! An output of a layer cannot be taken out of its weights alone. The layers that read it have weights for it; batch
//! norms, slopes and other constants on its way have a number for it; and where paths meet (a residual, a gate) the
//! layers at the other end lose theirs as well. All that goes together is one *channel*; layers that share channels are
//! one *group*. What is taken out of all of them leaves a smaller dense network, which any engine runs faster.
//!
//! Source: DepGraph (Fang et al., CVPR 2023; Torch-Pruning). Unlike there, positions are followed one by one and not
//! layer by layer, so that joined inputs (DenseNet) and flattened ones (LeNet) need no cases of their own.
//!
//! **Exactness.** The smaller network computes what the *masked* one does ([`Removal::masks`]): all that makes a removed
//! channel (weights, bias, scale and shift of its batch norm, constants added to it) is 0. So it is 0 wherever it is
//! read, except behind an operator that turns 0 into something else (LOGISTIC: ½). Such a constant goes into the bias of
//! what reads it; behind a convolution that pads it cannot, since at the border there is less of it, and the channel
//! stays.
//!
//! | file | idea |
//! | --- | --- |
//! | `channel.rs` | groups, strengths, and the plan of what goes |
//! | `channel/follow.rs` | which positions of which tensors are one channel |
//! | `channel/rewrite.rs` | the network without some channels |
//!
//! **Refused by name**: networks with channels last or with several graphs; operators that move channels or are not
//! known (TRANSPOSE, SLICE, STRIDED_SLICE, SPLIT, PACK, …); a RESHAPE that mixes channels or images; MEAN over images or
//! channels; padding or joining of images, padding of channels; a FULLY_CONNECTED over one axis of several; weights that
//! are not constant f32.
//!
//! What this file does not do: remove single weights (`plan.rs`), find channels that are dead already (`dead.rs`).

mod follow;
mod rewrite;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tersor_data::Elements;
use tersor_network::operator::Operator;
use tersor_network::{Graph, Network, TensorId, cost};

use crate::dead::{self, Constants};
use crate::error::Error;
use crate::mask::Mask;
use crate::weights::deviation;

pub(crate) use follow::{Layer, channel_axis, pool_covers_padding};
use follow::{Member, Role, UnionFind};

/// The channels of a network, and the groups of layers that can only lose them together.
#[derive(Debug, Clone)]
pub struct Groups<'n> {
    network: &'n Network,
    /// The channel at each position of axis 1, for every tensor that is computed; empty for constants.
    carried: Vec<Vec<usize>>,
    members: Vec<Member>,
    layers: Vec<Layer>,
    groups: Vec<Group>,
    /// Group and position of each channel; none for those of the network's inputs.
    places: Vec<Option<(usize, usize)>>,
    /// The caller gives or gets it, or other channels depend on it.
    pinned: Vec<bool>,
    /// Pinned, or its constant cannot be folded.
    stays: Vec<bool>,
    /// Layers without a bias, and the channels that give them one when they go.
    new_biases: Vec<(usize, Vec<usize>)>,
    whole: Cost,
}

/// Layers that make the same channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The tensors of their weights by name, in the order of the graph.
    pub layers: Vec<String>,
    /// How many channels they make. A layer alone makes its rows, in their order; in general they stand in the order in
    /// which the layers first make them.
    pub channels: usize,
    /// Channels that can be removed, ascending. The others are inputs or outputs of the network, go through a SOFTMAX,
    /// stand for all channels of another tensor, or have a constant that cannot be folded.
    pub removable: Vec<u32>,
    members: Vec<usize>,
}

/// What a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Parameters: elements of weights, biases, batch norms and constants of arithmetic, as [`cost::parameters`] counts.
    pub weights: u64,
    /// Multiply-adds of convolutions and linear layers for the network's own batch, as [`cost::macs`] counts.
    pub macs: u64,
}

/// The share that is kept, in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Of [`Cost::weights`].
    Weights(f64),
    /// Of [`Cost::macs`].
    MultiplyAdds(f64),
}

/// What makes a channel strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// The mean, over the layers that make it, of the root mean square of its weights there divided by the standard
    /// deviation of all weights of the layer. The division makes layers comparable.
    #[default]
    Magnitude,
    /// The mean of |γ| over the batch norms on its way (Network slimming, Liu et al., ICCV 2017). Channels without a
    /// batch norm stay.
    NormScale,
}

/// How much is kept, and how it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What is kept at most.
    pub keep: Share,
    /// By what channels are compared.
    pub strength: Strength,
    /// What stays of a group's channels is a multiple of this (8 suits SIMD), or all of them; at least 1.
    pub round_to: usize,
}

impl From<Share> for Budget {
    /// By magnitude, without rounding.
    fn from(keep: Share) -> Self {
        Self { keep, strength: Strength::default(), round_to: 1 }
    }
}

/// Which channels go: the plan, for a network of known layers with any weights.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Groups that lose channels or could, in the order of the graph; a group that is not listed loses none.
    pub groups: Vec<GroupPlan>,
}

/// Which channels of a group go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPlan {
    /// The group, as [`Group::layers`] names it.
    pub layers: Vec<String>,
    /// How many channels it has before.
    pub channels: usize,
    /// Positions of the channels that go, ascending.
    pub removed: Vec<u32>,
}

impl<'n> Groups<'n> {
    /// The groups of `network`, whose images have their channels first.
    ///
    /// A grouped convolution loses the same positions in each of its groups, so their number stays; a depthwise one
    /// loses a group with each channel. Layers that share one tensor of weights, biases, scales or shifts lose the same
    /// channels; means, variances, slopes and factors that an exporter stored once are cut for each user.
    ///
    /// # Errors
    /// [`Error::Operator`] naming the first operator through which channels cannot be followed, and why;
    /// [`Error::Input`] if the network has channels last, several graphs, or shapes that do not follow from its inputs;
    /// [`Error::Network`] from shape inference; [`Error::Tensor`] if two constants have the same name.
    pub fn of(network: &'n Network) -> Result<Self, Error> {
        let follow::Followed { carried, members, layers, pinned } = follow::follow(network)?;
        let (groups, places) = grouped(network.main(), &members, pinned.len());
        let whole = Cost::of(network);
        let stays = pinned.clone();
        let new_biases = Vec::new();
        let mut found = Self { network, carried, members, layers, groups, places, pinned, stays, new_biases, whole };
        found.check_names()?;
        found.judge_constants();
        for group in &mut found.groups {
            let goes = |&(_, &channel): &(usize, &usize)| !found.stays[channel];
            group.removable = group.members.iter().enumerate().filter(goes).map(|(at, _)| at as u32).collect();
        }
        Ok(found)
    }

    /// The groups, in the order of the graph.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What the whole network takes.
    pub fn cost(&self) -> Cost {
        self.whole
    }

    /// The removal that keeps the share that is asked for, and not much less: the weakest channels of all groups go
    /// first, whatever their group, until the share is reached. Every layer keeps at least one channel.
    ///
    /// # Errors
    /// [`Error::Setting`] if a number is out of range; [`Error::NotFinite`] naming the first weight that is no number;
    /// [`Error::Input`] if the share cannot be reached, with the least that can.
    pub fn plan(&self, budget: &Budget) -> Result<Removal, Error> {
        let (Share::Weights(share) | Share::MultiplyAdds(share)) = budget.keep;
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::Setting {
                what: "the share that is kept",
                value: share,
                range: "above 0 and at most 1",
            });
        }
        if budget.round_to == 0 {
            return Err(Error::Setting { what: "the multiple of channels", value: 0.0, range: "at least 1" });
        }
        let order = self.weakest_first(budget.strength)?;
        let weakest = |count: usize| self.without_the_first(&order[..count], budget.round_to);
        let kept = |count: usize| {
            let cost = self.cost_without(&weakest(count));
            match budget.keep {
                Share::Weights(_) => cost.weights as f64 / self.whole.weights.max(1) as f64,
                Share::MultiplyAdds(_) => cost.macs as f64 / self.whole.macs.max(1) as f64,
            }
        };
        let least = kept(order.len());
        if least > share {
            let what = self.network.name.clone();
            let why = format!("a share of {share} cannot be kept: without all channels that can go {least:.6} is left");
            return Err(Error::Input { what, why });
        }
        // What goes first is part of what goes later, so the share falls with the count.
        let counts: Vec<usize> = (0..=order.len()).collect();
        let fewest = counts.partition_point(|&count| kept(count) > share);
        Ok(self.removal(&weakest(fewest)))
    }

    pub(crate) fn graph(&self) -> &'n Graph {
        self.network.main()
    }

    /// How many channels there are in all groups and inputs.
    pub(crate) fn count(&self) -> usize {
        self.pinned.len()
    }

    /// The channel at each position of axis 1 of a tensor that is computed.
    pub(crate) fn carried(&self, tensor: TensorId) -> &[usize] {
        &self.carried[tensor]
    }

    /// Convolutions and linear layers, in the order of the graph.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Channels that no removal may touch, whatever they are.
    pub(crate) fn pinned(&self) -> &[bool] {
        &self.pinned
    }

    /// The group of a channel; none for the network's inputs.
    pub(crate) fn group_of(&self, channel: usize) -> Option<&Group> {
        self.places[channel].map(|(group, _)| &self.groups[group])
    }

    /// The elements of a constant; empty if it is none or not f32.
    pub(crate) fn floats(&self, tensor: TensorId) -> &'n [f32] {
        match self.graph().tensors[tensor].constant.as_deref() {
            Some(Elements::F32(values)) => values,
            _ => &[],
        }
    }

    /// The axes along which an operand of a node has channels.
    fn members_of(&self, node: usize, operand: usize) -> impl Iterator<Item = &Member> {
        let start = self.members.partition_point(|member| member.node < node);
        let of_node = self.members[start..].iter().take_while(move |member| member.node == node);
        of_node.filter(move |member| member.operand == operand)
    }

    /// For each input position of a layer, whether it has a weight that is not 0.
    pub(crate) fn columns(&self, layer: &Layer) -> Vec<bool> {
        let weights = self.floats(layer.weights);
        let mut read = vec![false; layer.width * layer.groups];
        for (kernel, weights) in weights.chunks_exact(layer.plane.max(1)).enumerate() {
            if weights.iter().any(|&w| w != 0.0) {
                read[layer.position(kernel / layer.width, kernel % layer.width)] = true;
            }
        }
        read
    }

    /// Of the channels in `order`, those that can go one after another without emptying a layer; then, in every group,
    /// as many are taken back, the last first, as make the rest a multiple of `round_to`.
    pub(crate) fn without_the_first(&self, order: &[usize], round_to: usize) -> Vec<bool> {
        let mut occurs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.count()];
        for (at, member) in self.members.iter().enumerate() {
            for &channel in &member.channels {
                match occurs[channel].last_mut() {
                    Some((last, times)) if *last == at => *times += 1,
                    _ => occurs[channel].push((at, 1)),
                }
            }
        }
        let mut left: Vec<usize> = self.members.iter().map(|member| member.channels.len()).collect();
        let mut removed = vec![false; self.count()];
        for &channel in order {
            if occurs[channel].iter().all(|&(member, times)| left[member] > times) {
                occurs[channel].iter().for_each(|&(member, times)| left[member] -= times);
                removed[channel] = true;
            }
        }
        let group = |channel: usize| self.places[channel].map(|(group, _)| group);
        let mut lacking: Vec<usize> = self.groups.iter().map(|group| lacks(group, &removed, round_to)).collect();
        for &channel in order.iter().rev() {
            if let Some(group) = group(channel).filter(|&group| removed[channel] && lacking[group] > 0) {
                lacking[group] -= 1;
                removed[channel] = false;
            }
        }
        removed
    }

    /// The removal of these channels; groups that cannot lose any are not listed.
    fn removal(&self, removed: &[bool]) -> Removal {
        let plan = |group: &Group| GroupPlan {
            layers: group.layers.clone(),
            channels: group.channels,
            removed: (0..group.channels).filter(|&at| removed[group.members[at]]).map(|at| at as u32).collect(),
        };
        Removal { groups: self.groups.iter().filter(|group| !group.removable.is_empty()).map(plan).collect() }
    }

    /// Channels that can go, by ascending strength; among equals the earlier first.
    fn weakest_first(&self, strength: Strength) -> Result<Vec<usize>, Error> {
        let strengths = match strength {
            Strength::Magnitude => self.magnitudes()?,
            Strength::NormScale => self.norm_scales()?,
        };
        let mut order: Vec<(f64, usize)> = Vec::new();
        for channel in (0..self.count()).filter(|&channel| !self.stays[channel]) {
            order.extend(strengths[channel].map(|strength| (strength, channel)));
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(order.into_iter().map(|(_, channel)| channel).collect())
    }

    fn magnitudes(&self) -> Result<Vec<Option<f64>>, Error> {
        let mut means = Means::new(self.count());
        for member in self.members.iter().filter(|member| member.role == Role::Makes) {
            let weights = self.finite(member.tensor)?;
            let deviation = deviation(weights.iter().map(|&w| f64::from(w)));
            let row = weights.len() / member.channels.len().max(1);
            let mut squares = Means::new(self.count());
            for (&channel, weights) in member.channels.iter().zip(weights.chunks_exact(row.max(1))) {
                weights.iter().for_each(|&w| squares.add(channel, f64::from(w) * f64::from(w)));
            }
            for (channel, square) in squares.take().into_iter().enumerate() {
                // Without a deviation all weights are the same; 0 is still weaker than the rest.
                let relative = |size: f64| if deviation > 0.0 { size / deviation } else { f64::from(size > 0.0) };
                square.into_iter().for_each(|square: f64| means.add(channel, relative(square.sqrt())));
            }
        }
        Ok(means.take())
    }

    fn norm_scales(&self) -> Result<Vec<Option<f64>>, Error> {
        let mut means = Means::new(self.count());
        let nodes = &self.graph().nodes;
        let is_norm = |node: usize| matches!(nodes[node].operator, Operator::BatchNormalization { .. });
        for member in self.members.iter().filter(|member| member.operand == 1 && is_norm(member.node)) {
            let scales = self.finite(member.tensor)?;
            member
                .channels
                .iter()
                .zip(scales)
                .for_each(|(&channel, &scale)| means.add(channel, f64::from(scale.abs())));
        }
        Ok(means.take())
    }

    fn finite(&self, tensor: TensorId) -> Result<&'n [f32], Error> {
        let values = self.floats(tensor);
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => {
                let (name, tensor) = (self.network.name.clone(), self.graph().tensors[tensor].name.clone());
                Err(Error::NotFinite { name, tensor, at, value: values[at] })
            }
        }
    }

    /// What the network takes without these channels.
    fn cost_without(&self, removed: &[bool]) -> Cost {
        let kept = |channels: &[usize]| channels.iter().filter(|&&channel| !removed[channel]).count();
        let mut cost = self.whole;
        for axes in self.members.chunk_by(|a, b| (a.node, a.operand) == (b.node, b.operand)) {
            let len = self.graph().tensors[axes[0].tensor].len();
            let left = axes.iter().fold(len, |len, axis| len / axis.channels.len() * kept(&axis.channels));
            cost.weights -= (len - left) as u64;
        }
        for (layer, channels) in &self.new_biases {
            if channels.iter().any(|&channel| removed[channel]) {
                cost.weights += kept(&self.carried[self.layers[*layer].output]) as u64;
            }
        }
        cost.macs = 0;
        for layer in &self.layers {
            let macs = cost::macs(self.graph(), &self.graph().nodes[layer.node]);
            let rows = kept(&self.carried[layer.output]);
            let width = if layer.reads { kept(&self.carried[layer.input][..layer.width]) } else { layer.width };
            cost.macs += macs / (layer.rows * layer.width) as u64 * (rows * width) as u64;
        }
        cost
    }

    /// Finds the channels whose constant cannot be folded, and those whose constant needs a bias that is not there.
    fn judge_constants(&mut self) {
        let silent: Vec<bool> = self.pinned.iter().map(|pinned| !pinned).collect();
        let constants = dead::constants(self, &silent);
        for (at, layer) in self.layers.iter().enumerate().filter(|(_, layer)| layer.reads) {
            let channels = self.carried[layer.input].iter().enumerate();
            let values = channels.map(|(position, &channel)| (position, channel, constants[layer.input][position]));
            let values: Vec<_> = values.filter(|&(_, channel, value)| silent[channel] && value != Some(0.0)).collect();
            if values.is_empty() {
                continue;
            }
            let columns = self.columns(layer);
            let mut gives_bias = Vec::new();
            for (position, channel, value) in values {
                if !layer.absorbs(value) {
                    self.stays[channel] = true;
                } else if columns[position] {
                    gives_bias.push(channel);
                }
            }
            if layer.bias.is_none() && !gives_bias.is_empty() {
                self.new_biases.push((at, gives_bias));
            }
        }
    }

    /// Plans and masks go by names, so a name must mean one tensor.
    fn check_names(&self) -> Result<(), Error> {
        let mut named: HashMap<&str, TensorId> = HashMap::new();
        for member in &self.members {
            let name = self.graph().tensors[member.tensor].name.as_str();
            if *named.entry(name).or_insert(member.tensor) != member.tensor {
                let why = "two constants have this name, and plans go by names".into();
                return Err(Error::Tensor { name: self.network.name.clone(), tensor: name.into(), why });
            }
        }
        Ok(())
    }
}

/// How many channels must come back until what is left is a multiple of `round_to`, or all.
fn lacks(group: &Group, removed: &[bool], round_to: usize) -> usize {
    let left = group.members.iter().filter(|&&channel| !removed[channel]).count();
    if left == group.channels {
        return 0;
    }
    left.div_ceil(round_to).saturating_mul(round_to).min(group.channels) - left
}

/// Layers that make common channels, and the place of every channel in its group.
fn grouped(graph: &Graph, members: &[Member], count: usize) -> (Vec<Group>, Vec<Option<(usize, usize)>>) {
    let makers = || members.iter().filter(|member| member.role == Role::Makes && !member.channels.is_empty());
    let mut together = UnionFind::default();
    (0..count).for_each(|_| _ = together.add());
    makers().for_each(|m| m.channels.iter().for_each(|&channel| together.unite(channel, m.channels[0])));
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: HashMap<usize, usize> = HashMap::new();
    let mut places = vec![None; count];
    for maker in makers() {
        let at = *group_of.entry(together.root(maker.channels[0])).or_insert_with(|| {
            groups.push(Group { layers: Vec::new(), channels: 0, removable: Vec::new(), members: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[at];
        let name = &graph.tensors[maker.tensor].name;
        if !group.layers.contains(name) {
            group.layers.push(name.clone());
        }
        for &channel in &maker.channels {
            if places[channel].is_none() {
                places[channel] = Some((at, group.channels));
                group.members.push(channel);
                group.channels += 1;
            }
        }
    }
    (groups, places)
}

/// Means of what is added by channel.
struct Means(Vec<(f64, u64)>);

impl Means {
    fn new(count: usize) -> Self {
        Self(vec![(0.0, 0); count])
    }

    fn add(&mut self, channel: usize, value: f64) {
        let (sum, count) = &mut self.0[channel];
        *sum += value;
        *count += 1;
    }

    fn take(self) -> Vec<Option<f64>> {
        self.0.into_iter().map(|(sum, count)| (count > 0).then(|| sum / count as f64)).collect()
    }
}

impl Cost {
    /// What `network` takes.
    pub fn of(network: &Network) -> Self {
        let graph = network.main();
        let sum = |of: fn(&Graph, &tersor_network::Node) -> u64| graph.nodes.iter().map(|node| of(graph, node)).sum();
        Self { weights: sum(cost::parameters), macs: sum(cost::macs) }
    }
}

impl Removal {
    /// The channels that go, in all: of a group of layers each counts once.
    pub fn count(&self) -> usize {
        self.groups.iter().map(|group| group.removed.len()).sum()
    }

    /// What is left of `network`, to the unit, before anything is computed.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn cost(&self, network: &Network) -> Result<Cost, Error> {
        let groups = Groups::of(network)?;
        Ok(groups.cost_without(&self.channels(&groups)?))
    }

    /// The masks of the network that computes what the smaller one does, by the name of the tensor: 0 for the weights,
    /// biases, scales and shifts of batch norms, and added constants that make a removed channel. Tensors of which all
    /// stays have none. Weights that read a removed channel are not masked: what they read is a constant.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn masks(&self, network: &Network) -> Result<BTreeMap<String, Mask>, Error> {
        let groups = Groups::of(network)?;
        let removed = self.channels(&groups)?;
        let mut masks = BTreeMap::new();
        for member in groups.members.iter().filter(|member| matches!(member.role, Role::Makes | Role::Silenced)) {
            if !member.channels.iter().any(|&channel| removed[channel]) {
                continue;
            }
            let tensor = &network.main().tensors[member.tensor];
            let inner: usize = tensor.shape[member.axis + 1..].iter().product();
            let at = |i: usize| i / inner.max(1) % member.channels.len();
            let mask = Mask::of(tensor.len(), |i| !removed[member.channels[at(i)]]);
            masks.entry(tensor.name.clone()).and_modify(|other: &mut Mask| *other = other.and(&mask)).or_insert(mask);
        }
        Ok(masks)
    }

    /// The network without the channels: every constant without their weights, every shape inferred again. It computes
    /// what `network` does under [`masks`](Self::masks), up to rounding; inputs and outputs keep their shapes, tensors
    /// their names. Only a constant that is folded where there was no bias adds a tensor, `WEIGHTS.bias`.
    ///
    /// # Errors
    /// Those of [`Groups::of`]; [`Error::Tensor`] if the network has no such group, or the channels cannot all go.
    pub fn apply(&self, network: &Network) -> Result<Network, Error> {
        let groups = Groups::of(network)?;
        let removed = self.channels(&groups)?;
        let constants = dead::constants(&groups, &removed);
        Ok(rewrite::without(&groups, &removed, &constants)?.0)
    }

    /// Which channels go, after checking that they can.
    fn channels(&self, groups: &Groups) -> Result<Vec<bool>, Error> {
        let mut removed = vec![false; groups.count()];
        for plan in &self.groups {
            let fault = |why: String| {
                let tensor = plan.layers.first().cloned().unwrap_or_default();
                Error::Tensor { name: groups.network.name.clone(), tensor, why }
            };
            let group = groups.groups.iter().find(|group| group.layers == plan.layers);
            let group = group.ok_or_else(|| fault(format!("{:?} are not one group of layers", plan.layers)))?;
            if group.channels != plan.channels {
                return Err(fault(format!("its group has {} channels, not {}", group.channels, plan.channels)));
            }
            for &at in &plan.removed {
                if group.removable.binary_search(&at).is_err() {
                    return Err(fault(format!("channel {at} of {} cannot be removed", group.channels)));
                }
                removed[group.members[at as usize]] = true;
            }
        }
        for member in &groups.members {
            if member.channels.iter().all(|&channel| removed[channel]) {
                let tensor = groups.graph().tensors[member.tensor].name.clone();
                let why = format!("none of {} channels would be left", member.channels.len());
                return Err(Error::Tensor { name: groups.network.name.clone(), tensor, why });
            }
        }
        Ok(removed)
    }
}

/// The network without `removed`, of which `constants` are known, and how many channels left a constant in a bias.
pub(crate) fn without(groups: &Groups, removed: &[bool], constants: &Constants) -> Result<(Network, usize), Error> {
    rewrite::without(groups, removed, constants)
}
