//! Dead channels: what is left of neurons after single weights were removed.
//!
//! A neuron without any weight that is not 0 gives the same number for every input: what its bias, batch norm and
//! activation make of it. The number times the weights that read it is a bias, so the neuron can go. A neuron that
//! nothing reads can go whatever it gives. With it go its own weights, and then others before it may be read by nothing:
//! this repeats until nothing changes.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015, section 3.5: neurons without inputs or
//! outputs are removed); that a constant other than 0 is folded is ours, and makes the removal exact.
//!
//! **Constants** are followed position by position through the whole graph, so that a channel of a residual is constant
//! only if every path that adds to it is. Padding ends them: at the border of a convolution that pads there is less of
//! the constant, and so behind it nothing is constant, and such a channel stays, unless the constant is 0. Average
//! pooling over padding is treated alike, whether or not it counts what is padded.
//!
//! What this file does not do: cut tensors (`channel/rewrite.rs`); remove operators, or the last channel of a layer.

use serde::{Deserialize, Serialize};
use tersor_data::Elements;
use tersor_kernels::int8::Activation;
use tersor_network::operator::Operator;
use tersor_network::{Network, TensorId};

use crate::channel::{self, Cost, Groups, Layer};
use crate::error::Error;

/// What was dead in a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dead {
    /// Groups that lost channels, in the order of the graph.
    pub groups: Vec<DeadGroup>,
    /// Parameters that went with them, zeros included, less biases that came where there were none.
    pub weights: u64,
    /// Channels whose constant was not 0 and went into a bias.
    pub folded: usize,
}

/// What was dead in layers that share their channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadGroup {
    /// The tensors of their weights, as [`channel::Group::layers`] names them.
    pub layers: Vec<String>,
    /// Channels before.
    pub channels: usize,
    /// Channels that gave the same for every input.
    pub constant: usize,
    /// Channels that nothing read, whatever they gave.
    pub unread: usize,
}

/// The network without its dead channels, and what they were. Its outputs are those of `network`, up to the rounding of
/// the biases that constants were folded into; inputs and outputs keep their shapes. Every layer keeps at least one
/// channel, even if all are dead.
///
/// # Errors
/// Those of [`Groups::of`]: an operator that channels cannot be followed through is refused by name.
pub fn remove_dead(network: &Network) -> Result<(Network, Dead), Error> {
    let mut smaller = network.clone();
    let mut dead = Dead::default();
    loop {
        let groups = Groups::of(&smaller)?;
        let constants = constants(&groups, &vec![false; groups.count()]);
        let Found { closed, read } = Found::of(&groups, &constants);
        let order: Vec<usize> = (0..groups.count()).filter(|&c| closed[c] && !groups.pinned()[c]).collect();
        let removed = groups.without_the_first(&order, 1);
        if !removed.contains(&true) {
            break;
        }
        order.iter().filter(|&&channel| removed[channel]).for_each(|&c| dead.count(&groups, c, read[c]));
        let (next, folded) = channel::without(&groups, &removed, &constants)?;
        dead.folded += folded;
        smaller = next;
    }
    // A group that lost channels in several rounds was first seen where others may stand between.
    let order = Groups::of(network)?;
    let place = |group: &DeadGroup| order.groups().iter().position(|g| g.layers == group.layers);
    dead.groups.sort_by_key(place);
    dead.weights = Cost::of(network).weights.saturating_sub(Cost::of(&smaller).weights);
    Ok((smaller, dead))
}

impl Dead {
    fn count(&mut self, groups: &Groups, channel: usize, read: bool) {
        let Some(group) = groups.group_of(channel) else { return };
        let known = self.groups.iter().position(|dead| dead.layers == group.layers);
        let at = known.unwrap_or_else(|| {
            let (layers, channels) = (group.layers.clone(), group.channels);
            self.groups.push(DeadGroup { layers, channels, constant: 0, unread: 0 });
            self.groups.len() - 1
        });
        let dead = &mut self.groups[at];
        *if read { &mut dead.constant } else { &mut dead.unread } += 1;
    }
}

/// What is known of each channel.
struct Found {
    /// Everything that reads it can do without: its weights are 0, or the value is known and goes into the bias.
    closed: Vec<bool>,
    /// Something has a weight for it that is not 0.
    read: Vec<bool>,
}

impl Found {
    fn of(groups: &Groups, constants: &Constants) -> Self {
        let mut found = Self { closed: vec![true; groups.count()], read: vec![false; groups.count()] };
        for layer in groups.layers().iter().filter(|layer| layer.reads) {
            let columns = groups.columns(layer);
            for (position, &channel) in groups.carried(layer.input).iter().enumerate() {
                found.read[channel] |= columns[position];
                found.closed[channel] &= !columns[position] || layer.absorbs(constants[layer.input][position]);
            }
        }
        found
    }
}

/// For each position along axis 1 of each tensor that is computed: its value, if that is the same for every input and
/// at every place.
pub(crate) type Constants = Vec<Vec<Option<f64>>>;

/// The constants of a network in which the channels in `silent` are masked: see [`channel::Removal::masks`].
pub(crate) fn constants(groups: &Groups, silent: &[bool]) -> Constants {
    let graph = groups.graph();
    let mut known = Known { groups, silent, values: vec![Vec::new(); graph.tensors.len()] };
    for &input in &graph.inputs {
        known.values[input] = vec![None; groups.carried(input).len()];
    }
    let mut layers = groups.layers().iter().peekable();
    for (index, node) in graph.nodes.iter().enumerate() {
        let values = match layers.next_if(|layer| layer.node == index) {
            Some(layer) => known.made(layer),
            None => known.passed(index),
        };
        let finite = values.into_iter().map(|value| value.filter(|value| value.is_finite()));
        known.values[node.outputs[0]] = finite.collect();
    }
    known.values
}

struct Known<'a> {
    groups: &'a Groups<'a>,
    silent: &'a [bool],
    values: Constants,
}

impl Known<'_> {
    /// What a convolution or linear layer makes: known if every weight that is not 0 reads what is known.
    fn made(&self, layer: &Layer) -> Vec<Option<f64>> {
        let weights = self.groups.floats(layer.weights);
        let bias = layer.bias.map(|bias| self.groups.floats(bias));
        let channels = self.groups.carried(layer.output);
        let activation = match &self.groups.graph().nodes[layer.node].operator {
            Operator::Conv2d { activation, .. } | Operator::FullyConnected { activation, .. } => *activation,
            _ => Activation::None,
        };
        let row = |row: usize| {
            if self.silent[channels[row]] {
                return Some(bent(0.0, activation));
            }
            let mut sum = bias.map_or(0.0, |bias| f64::from(bias[row]));
            for column in 0..layer.width {
                let start = (row * layer.width + column) * layer.plane;
                let kernel = &weights[start..start + layer.plane];
                if kernel.iter().all(|&w| w == 0.0) {
                    continue;
                }
                let value = self.values[layer.input][layer.position(row, column)];
                if !layer.absorbs(value) {
                    return None;
                }
                sum += value? * kernel.iter().map(|&w| f64::from(w)).sum::<f64>();
            }
            Some(bent(sum, activation))
        };
        (0..layer.rows).map(row).collect()
    }

    /// What any other operator makes.
    fn passed(&self, index: usize) -> Vec<Option<f64>> {
        let graph = self.groups.graph();
        let node = &graph.nodes[index];
        let operand = |at: usize| node.inputs.get(at).copied().flatten();
        let x = || operand(0).map_or(&[][..], |x| &self.values[x]);
        let each = |f: &dyn Fn(f64) -> f64| x().iter().map(|value| value.map(f)).collect::<Vec<_>>();
        let output = node.outputs[0];
        let channels = self.groups.carried(output);
        match &node.operator {
            Operator::Relu => each(&|x| bent(x, Activation::Relu)),
            Operator::Relu6 => each(&|x| bent(x, Activation::Relu6)),
            Operator::ReluN1To1 => each(&|x| bent(x, Activation::ReluN1To1)),
            Operator::Logistic => each(&|x| 1.0 / (1.0 + (-x).exp())),
            Operator::Tanh => each(&f64::tanh),
            Operator::LeakyRelu { alpha } => each(&|x| if x < 0.0 { f64::from(*alpha) * x } else { x }),
            Operator::HardSwish => each(&|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Operator::Mean { .. }
            | Operator::Squeeze { .. }
            | Operator::ExpandDims
            | Operator::ResizeNearestNeighbor { .. }
            | Operator::ResizeBilinear { .. } => x().to_vec(),
            Operator::MaxPool2d(pool) => each(&|x| bent(x, pool.activation)),
            Operator::AveragePool2d(pool) => {
                let shape = operand(0).map_or(&[][..], |x| &graph.tensors[x].shape);
                let padded = channel::pool_covers_padding(shape, pool);
                let value = |&value: &Option<f64>| value.filter(|&value| value == 0.0 || !padded);
                x().iter().map(|x| value(x).map(|x| bent(x, pool.activation))).collect()
            }
            Operator::Pad | Operator::PadV2 => {
                let around = operand(2).map_or(Some(0.0), |pad| single(self.groups.floats(pad)));
                x().iter().map(|&value| value.filter(|_| value == around)).collect()
            }
            // Over the last axis, which here is never the channels': those are pinned.
            Operator::Softmax { .. } => {
                let shape = &graph.tensors[output].shape;
                let share = shape.last().filter(|_| shape.len() > 2).map(|&n| 1.0 / n as f64);
                x().iter().map(|value| value.and(share)).collect()
            }
            Operator::BatchNormalization { epsilon } => {
                let [scale, shift, mean, variance] =
                    [1, 2, 3, 4].map(|at| operand(at).map_or(&[][..], |id| self.groups.floats(id)));
                let normed = |at: usize| {
                    let [scale, shift, mean, variance] = [scale, shift, mean, variance].map(|of| f64::from(of[at]));
                    if self.silent[channels[at]] {
                        return Some(0.0);
                    }
                    // Without a scale it gives its shift, whatever comes in.
                    let x = if scale == 0.0 { Some(mean) } else { x()[at] };
                    x.map(|x| (x - mean) / (variance + f64::from(*epsilon)).sqrt() * scale + shift)
                };
                (0..channels.len()).map(normed).collect()
            }
            Operator::Reshape { .. } => {
                let (before, after) = (x().len(), channels.len());
                match before / after.max(1) {
                    0 | 1 => (0..after).map(|at| x()[at * before / after]).collect(),
                    block => x().chunks(block).map(common).collect(),
                }
            }
            Operator::Concatenation { activation, .. } => {
                let parts: Vec<&[Option<f64>]> =
                    node.inputs.iter().flatten().map(|&x| self.values[x].as_slice()).collect();
                let is_joined = parts.iter().map(|part| part.len()).sum::<usize>() == channels.len();
                let value = |at: usize| common(&parts.iter().map(|part| part[at]).collect::<Vec<_>>());
                let values = if is_joined { parts.concat() } else { (0..channels.len()).map(value).collect() };
                values.into_iter().map(|value| value.map(|x| bent(x, *activation))).collect()
            }
            _ => (0..channels.len()).map(|at| self.met(index, at)).collect(),
        }
    }

    /// What two operands give at a position.
    fn met(&self, index: usize, at: usize) -> Option<f64> {
        let node = &self.groups.graph().nodes[index];
        let operand = |which: usize| node.inputs.get(which).copied().flatten();
        let silenced = !matches!(node.operator, Operator::Mul { .. } | Operator::Prelu);
        let output = node.outputs[0];
        let value = |which: usize| operand(which).and_then(|x| self.operand(x, output, at, silenced));
        let (a, b) = (value(0), value(1));
        match &node.operator {
            Operator::Add { activation } => Some(bent(a? + b?, *activation)),
            Operator::Sub { activation } => Some(bent(a? - b?, *activation)),
            Operator::Mul { activation } => match (a, b) {
                (Some(0.0), _) | (_, Some(0.0)) => Some(bent(0.0, *activation)),
                _ => Some(bent(a? * b?, *activation)),
            },
            Operator::Maximum => Some(a?.max(b?)),
            Operator::Minimum => Some(a?.min(b?)),
            Operator::Prelu if a? >= 0.0 => a,
            Operator::Prelu => Some(a? * b?),
            _ => None,
        }
    }

    /// The value of an operand where position `at` of `output` is computed.
    fn operand(&self, x: TensorId, output: TensorId, at: usize, silenced: bool) -> Option<f64> {
        let graph = self.groups.graph();
        let tensor = &graph.tensors[x];
        if tensor.constant.is_none() {
            return self.values[x][if self.values[x].len() == 1 { 0 } else { at }];
        }
        let Some(Elements::F32(values)) = tensor.constant.as_deref() else { return None };
        let axis = channel::channel_axis(graph.tensors[output].shape.len(), &tensor.shape);
        match axis.filter(|&axis| tensor.shape[axis] > 1) {
            Some(_) if silenced && self.silent[self.groups.carried(output)[at]] => Some(0.0),
            Some(axis) => {
                let inner = tensor.shape[axis + 1..].iter().product::<usize>().max(1);
                let rows = values.chunks_exact(inner).skip(at).step_by(tensor.shape[axis]);
                let firsts = rows.map(single).collect::<Option<Vec<f64>>>()?;
                firsts.first().copied().filter(|first| firsts.iter().all(|value| value == first))
            }
            None => single(values),
        }
    }
}

/// The number that all are, if they are one.
fn single(values: &[f32]) -> Option<f64> {
    values.first().filter(|first| values.iter().all(|value| value == *first)).map(|&first| f64::from(first))
}

/// The constant that all are, if they are one.
fn common(values: &[Option<f64>]) -> Option<f64> {
    values.first().copied().flatten().filter(|&first| values.iter().all(|&value| value == Some(first)))
}

fn bent(x: f64, activation: Activation) -> f64 {
    let (least, most) = activation.bounds();
    x.clamp(f64::from(least), f64::from(most))
}
