//! The network without some channels: constants cut, known values folded into biases, shapes inferred again.

use std::collections::HashMap;
use std::sync::Arc;

use tersor_data::Elements;
use tersor_network::operator::Operator;
use tersor_network::{Network, Tensor, TensorId};

use super::{Groups, Layer};
use crate::dead::Constants;
use crate::error::Error;

/// The positions of an axis that stay.
type Kept = (usize, Vec<bool>);

/// The network without `removed`, and how many of these channels left a constant in a bias.
///
/// Wherever a removed channel is read, its value in `constants` must be known, or all weights for it must be 0.
pub(super) fn without(groups: &Groups, removed: &[bool], constants: &Constants) -> Result<(Network, usize), Error> {
    let mut rewriting = Rewriting::new(groups, removed);
    let folds = folds(groups, removed, constants);
    let mut folded = vec![false; groups.count()];
    for index in 0..groups.graph().nodes.len() {
        rewriting.cut_constants(index);
        rewriting.reshape(index);
    }
    for (layer, positions) in &folds {
        let layer = &groups.layers[*layer];
        positions.iter().for_each(|&(position, _)| folded[groups.carried[layer.input][position]] = true);
        rewriting.fold(layer, positions);
    }
    let network = rewriting.network;
    let batch = network.main().inputs.first().and_then(|&input| network.main().tensors[input].shape.first()).copied();
    Ok((network.with_batch(batch.unwrap_or(1))?, folded.into_iter().filter(|&is| is).count()))
}

/// For each layer that loses inputs with a value other than 0 and weights for it: their positions and values.
fn folds(groups: &Groups, removed: &[bool], constants: &Constants) -> Vec<(usize, Vec<(usize, f64)>)> {
    let mut folds = Vec::new();
    for (at, layer) in groups.layers.iter().enumerate().filter(|(_, layer)| layer.reads) {
        let gone = groups.carried[layer.input].iter().enumerate().filter(|&(_, &channel)| removed[channel]);
        let values = gone.filter_map(|(position, _)| Some((position, constants[layer.input][position]?)));
        let mut values: Vec<(usize, f64)> = values.filter(|&(_, value)| value != 0.0).collect();
        if values.is_empty() {
            continue;
        }
        let columns = groups.columns(layer);
        values.retain(|&(position, _)| columns[position]);
        if !values.is_empty() {
            folds.push((at, values));
        }
    }
    folds
}

struct Rewriting<'a> {
    groups: &'a Groups<'a>,
    removed: &'a [bool],
    network: Network,
    /// How often each tensor is an operand or an output.
    uses: Vec<usize>,
    /// Constants that are cut already: a tensor that two nodes cut alike stays one.
    cut: HashMap<(TensorId, Vec<Kept>), TensorId>,
    /// The first cut of a tensor takes its place.
    taken: Vec<bool>,
}

impl<'a> Rewriting<'a> {
    fn new(groups: &'a Groups<'a>, removed: &'a [bool]) -> Self {
        let graph = groups.graph();
        let mut uses = vec![0; graph.tensors.len()];
        let operands = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        operands.chain(&graph.outputs).for_each(|&tensor| uses[tensor] += 1);
        let taken = vec![false; graph.tensors.len()];
        Self { groups, removed, network: groups.network.clone(), uses, cut: HashMap::new(), taken }
    }

    /// Cuts the constants of node `index` along all axes with channels.
    fn cut_constants(&mut self, index: usize) {
        let groups = self.groups;
        let node = &groups.graph().nodes[index];
        for (operand, &tensor) in node.inputs.iter().enumerate() {
            let Some(tensor) = tensor.filter(|&tensor| groups.graph().tensors[tensor].constant.is_some()) else {
                continue;
            };
            let axes = groups.members_of(index, operand).map(|member| {
                (member.axis, member.channels.iter().map(|&channel| !self.removed[channel]).collect::<Vec<bool>>())
            });
            let axes: Vec<Kept> = axes.filter(|(_, kept)| kept.contains(&false)).collect();
            let next = self.cut.get(&(tensor, axes.clone())).copied();
            let id = next.unwrap_or_else(|| self.place(tensor, axes));
            self.main().nodes[index].inputs[operand] = Some(id);
        }
    }

    /// A constant of which `axes` stay: in its own place if that is free, or as a new tensor.
    fn place(&mut self, tensor: TensorId, axes: Vec<Kept>) -> TensorId {
        let whole = &self.groups.graph().tensors[tensor];
        let mut cut = whole.clone();
        for (axis, kept) in &axes {
            cut = along(&cut, *axis, kept);
        }
        let id = if self.taken[tensor] {
            cut.name = self.free_name(&format!("{}.cut", whole.name));
            self.main().tensors.push(cut);
            self.main().tensors.len() - 1
        } else {
            self.taken[tensor] = true;
            self.main().tensors[tensor] = cut;
            tensor
        };
        self.cut.insert((tensor, axes), id);
        id
    }

    /// Gives an operator that names its new shape or axes those of the smaller network.
    fn reshape(&mut self, index: usize) {
        let groups = self.groups;
        let node = &groups.graph().nodes[index];
        let channels = groups.carried[node.outputs[0]].iter().filter(|&&channel| !self.removed[channel]).count();
        let input = node.inputs.first().copied().flatten().map_or(&[][..], |x| &groups.graph().tensors[x].shape);
        match &node.operator {
            Operator::Squeeze { axes } if axes.is_empty() => {
                let axes = (0..input.len()).filter(|&axis| input[axis] == 1).map(|axis| axis as i32).collect();
                self.main().nodes[index].operator = Operator::Squeeze { axes };
            }
            Operator::Reshape { shape } => {
                let asked = node.inputs.get(1).copied().flatten();
                match asked.map(|asked| (asked, &groups.graph().tensors[asked])) {
                    Some((asked, tensor)) => {
                        let constant =
                            tensor.constant.as_deref().and_then(|constant| with_channels(constant, channels));
                        let Some(constant) = constant.filter(|new| Some(new) != tensor.constant.as_deref()) else {
                            return;
                        };
                        let renewed = Tensor { constant: Some(Arc::new(constant)), ..tensor.clone() };
                        let id = self.renew(asked, renewed);
                        self.main().nodes[index].inputs[1] = Some(id);
                    }
                    None => {
                        let mut shape = shape.clone();
                        if let Some(n) = shape.as_mut().and_then(|shape| shape.get_mut(1)).filter(|n| **n != -1) {
                            *n = channels as i32;
                        }
                        self.main().nodes[index].operator = Operator::Reshape { shape };
                    }
                }
            }
            _ => {}
        }
    }

    /// Adds to the bias of `layer` what the inputs at `positions` gave, each of the same value everywhere.
    fn fold(&mut self, layer: &Layer, positions: &[(usize, f64)]) {
        let groups = self.groups;
        let weights = groups.floats(layer.weights);
        let values: HashMap<usize, f64> = positions.iter().copied().collect();
        let bias = layer.bias.map(|bias| groups.floats(bias));
        let mut sums = Vec::new();
        for (row, &channel) in groups.carried[layer.output].iter().enumerate() {
            if self.removed[channel] {
                continue;
            }
            let given = (0..layer.width).filter_map(|column| {
                let value = values.get(&layer.position(row, column))?;
                let start = (row * layer.width + column) * layer.plane;
                Some(value * weights[start..start + layer.plane].iter().map(|&w| f64::from(w)).sum::<f64>())
            });
            sums.push((bias.map_or(0.0, |bias| f64::from(bias[row])) + given.sum::<f64>()) as f32);
        }
        let shape = vec![sums.len()];
        let constant = Some(Arc::new(Elements::F32(sums)));
        let operand = self.main().nodes[layer.node].inputs.get(2).copied().flatten();
        let id = match (operand, layer.bias) {
            (Some(id), Some(bias)) if self.uses[bias] == 1 => {
                self.main().tensors[id].constant = constant;
                id
            }
            _ => {
                let like = groups.graph().tensors[layer.weights].clone();
                let name = self.free_name(&format!("{}.bias", like.name));
                self.main().tensors.push(Tensor { name, shape, constant, ..like });
                self.main().tensors.len() - 1
            }
        };
        let inputs = &mut self.main().nodes[layer.node].inputs;
        inputs.resize(inputs.len().max(3), None);
        inputs[2] = Some(id);
    }

    /// Puts `renewed` in the place of `tensor`, or beside it if others use it.
    fn renew(&mut self, tensor: TensorId, mut renewed: Tensor) -> TensorId {
        if self.uses[tensor] == 1 {
            self.main().tensors[tensor] = renewed;
            return tensor;
        }
        renewed.name = self.free_name(&format!("{}.cut", renewed.name));
        self.main().tensors.push(renewed);
        self.main().tensors.len() - 1
    }

    fn free_name(&self, name: &str) -> String {
        let tensors = &self.network.main().tensors;
        let is_free = |name: &String| tensors.iter().all(|tensor| tensor.name != *name);
        let numbered = (2..).map(|number| format!("{name}{number}"));
        std::iter::once(name.to_string()).chain(numbered).find(is_free).expect("numbers do not end")
    }

    fn main(&mut self) -> &mut tersor_network::Graph {
        &mut self.network.graphs[0]
    }
}

/// A tensor without the positions of `axis` that are not kept.
fn along(tensor: &Tensor, axis: usize, kept: &[bool]) -> Tensor {
    let Some(Elements::F32(values)) = tensor.constant.as_deref() else { return tensor.clone() };
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let rows = values.chunks_exact(inner.max(1)).zip(kept.iter().cycle());
    let values: Vec<f32> = rows.filter(|(_, kept)| **kept).flat_map(|(row, _)| row).copied().collect();
    let mut shape = tensor.shape.clone();
    shape[axis] = kept.iter().filter(|&&kept| kept).count();
    Tensor { shape, constant: Some(Arc::new(Elements::F32(values))), ..tensor.clone() }
}

/// A constant shape with `channels` on axis 1, unless that is left open; `None` if it is no shape.
fn with_channels(shape: &Elements, channels: usize) -> Option<Elements> {
    let mut shape = shape.clone();
    match &mut shape {
        Elements::I32(numbers) => {
            if let Some(n) = numbers.get_mut(1).filter(|n| **n != -1) {
                *n = channels as i32;
            }
        }
        Elements::I64(numbers) => {
            if let Some(n) = numbers.get_mut(1).filter(|n| **n != -1) {
                *n = channels as i64;
            }
        }
        _ => return None,
    }
    Some(shape)
}
