//! Following channels through a graph: which positions of which tensors are one channel.
//!
//! Every position of every tensor along axis 1 gets a mark. What an operator does to channels is what it does to marks:
//! a layer makes new ones, joining appends them, flattening repeats them, adding unites those of both sides. Marks that
//! are united are one channel.

use std::collections::HashMap;

use tersor_data::Elements;
use tersor_kernels::window::Window;
use tersor_network::operator::{Operator, Pool};
use tersor_network::{Graph, Layout, Network, Node, TensorId};

use crate::error::Error;

/// The channels of a network, as they were found.
pub(super) struct Followed {
    pub(super) carried: Vec<Vec<usize>>,
    pub(super) members: Vec<Member>,
    pub(super) layers: Vec<Layer>,
    pub(super) pinned: Vec<bool>,
}

/// An axis of a constant along which channels stand.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) node: usize,
    pub(crate) operand: usize,
    pub(crate) tensor: TensorId,
    pub(crate) axis: usize,
    /// The channel at each position of the axis.
    pub(crate) channels: Vec<usize>,
    pub(crate) role: Role,
}

/// What a constant is to the channels along one of its axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Rows of weights.
    Makes,
    /// Columns of weights.
    Reads,
    /// It is 0 where the channel is masked: biases, scales and shifts of batch norms, what is added or compared.
    Silenced,
    /// It is only cut: means and variances, slopes, factors.
    Accompanies,
}

/// A convolution or linear layer. Its weights are `[rows, width, plane]`: row `o` has a kernel of `plane` weights for
/// each of the `width` input positions of its group.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) node: usize,
    pub(crate) input: TensorId,
    pub(crate) output: TensorId,
    pub(crate) weights: TensorId,
    pub(crate) bias: Option<TensorId>,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) plane: usize,
    pub(crate) groups: usize,
    /// Whether some window lies partly on padding.
    pub(crate) padded: bool,
    /// Whether it mixes its inputs; a depthwise convolution passes each on by itself.
    pub(crate) reads: bool,
}

impl Layer {
    /// The input position of kernel `column` of row `row`.
    pub(crate) fn position(&self, row: usize, column: usize) -> usize {
        row / (self.rows / self.groups).max(1) * self.width + column
    }

    /// Whether an input of this value everywhere can be replaced by a bias.
    pub(crate) fn absorbs(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| value == 0.0 || !self.padded)
    }
}

/// Sets that grow together.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnionFind {
    parents: Vec<usize>,
}

impl UnionFind {
    /// A new element, alone.
    pub(crate) fn add(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    pub(crate) fn root(&mut self, mut element: usize) -> usize {
        while self.parents[element] != element {
            self.parents[element] = self.parents[self.parents[element]];
            element = self.parents[element];
        }
        element
    }

    /// Makes one set of the two; the older root stays, so that the order of first appearance does too.
    pub(crate) fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}

/// The channels of `network`; [`Error::Operator`] for the first operator that they cannot be followed through.
pub(super) fn follow(network: &Network) -> Result<Followed, Error> {
    let refuse = |why: &str| Error::Input { what: network.name.clone(), why: why.into() };
    if network.layout != Layout::ChannelsFirst {
        return Err(refuse("its images have their channels last; channels are removed from networks as ONNX has them"));
    }
    let [graph] = network.graphs.as_slice() else {
        return Err(refuse("it has several graphs; channels are removed from networks of one"));
    };
    let fault = |index: usize, why: String| {
        let operator = graph.nodes[index].operator.name().into();
        Error::Operator { network: network.name.clone(), index, operator, why }
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        check(node).map_err(|why| fault(index, why))?;
    }
    check_shapes(network, graph)?;
    let mut following = Following {
        graph,
        carried: vec![Vec::new(); graph.tensors.len()],
        members: Vec::new(),
        layers: Vec::new(),
        marks: UnionFind::default(),
        pinned: Vec::new(),
        shared: HashMap::new(),
    };
    for &input in &graph.inputs {
        let channels = graph.tensors[input].shape.get(1).copied().unwrap_or(0);
        following.carried[input] = (0..channels).map(|_| following.new_mark()).collect();
        following.pinned.fill(true);
    }
    for index in 0..graph.nodes.len() {
        let marks = following.through(index).map_err(|why| fault(index, why))?;
        let output = graph.nodes[index].outputs[0];
        if graph.tensors[output].shape.get(1) != Some(&marks.len()) {
            return Err(fault(index, format!("axis 1 of {} does not hold its channels", graph.tensors[output].name)));
        }
        following.carried[output] = marks;
    }
    for &output in &graph.outputs {
        let constants = following.members.iter().filter(|member| member.tensor == output);
        let marks = following.carried[output].iter().chain(constants.flat_map(|member| &member.channels));
        marks.for_each(|&mark| following.pinned[mark] = true);
    }
    Ok(following.resolved())
}

/// Whether channels can be followed through an operator at all.
fn check(node: &Node) -> Result<(), String> {
    match &node.operator {
        Operator::Add { .. }
        | Operator::Sub { .. }
        | Operator::Mul { .. }
        | Operator::Maximum
        | Operator::Minimum
        | Operator::Conv2d { .. }
        | Operator::FullyConnected { .. }
        | Operator::AveragePool2d(_)
        | Operator::BatchNormalization { .. }
        | Operator::MaxPool2d(_)
        | Operator::Mean { .. }
        | Operator::Softmax { .. }
        | Operator::Logistic
        | Operator::Tanh
        | Operator::Relu
        | Operator::Relu6
        | Operator::ReluN1To1
        | Operator::LeakyRelu { .. }
        | Operator::Prelu
        | Operator::HardSwish
        | Operator::ResizeNearestNeighbor { .. }
        | Operator::ResizeBilinear { .. }
        | Operator::Pad
        | Operator::PadV2
        | Operator::Reshape { .. }
        | Operator::Squeeze { .. }
        | Operator::ExpandDims
        | Operator::Concatenation { .. } => match node.outputs.len() {
            1 => Ok(()),
            count => Err(format!("it has {count} outputs, not 1")),
        },
        _ => Err("channels cannot be followed through it".into()),
    }
}

/// The shapes must be those that follow from the inputs, or the smaller network would have others for more reasons.
fn check_shapes(network: &Network, graph: &Graph) -> Result<(), Error> {
    let refuse = |why: String| Error::Input { what: network.name.clone(), why };
    let batch = graph.inputs.first().and_then(|&input| graph.tensors[input].shape.first()).copied();
    let inferred = network.with_batch(batch.ok_or_else(|| refuse("it has no input of images".into()))?)?;
    for (inferred, tensor) in inferred.main().tensors.iter().zip(&graph.tensors) {
        if inferred.shape != tensor.shape {
            let (name, has, follows) = (&tensor.name, &tensor.shape, &inferred.shape);
            return Err(refuse(format!("tensor `{name}` has shape {has:?}; from the inputs follows {follows:?}")));
        }
    }
    Ok(())
}

struct Following<'n> {
    graph: &'n Graph,
    /// Marks along axis 1 of what is computed.
    carried: Vec<Vec<usize>>,
    members: Vec<Member>,
    layers: Vec<Layer>,
    marks: UnionFind,
    pinned: Vec<bool>,
    /// Marks along an axis of a constant that several nodes may use.
    shared: HashMap<(TensorId, usize), Vec<usize>>,
}

impl<'n> Following<'n> {
    /// The marks of what node `index` computes.
    fn through(&mut self, index: usize) -> Result<Vec<usize>, String> {
        let node = &self.graph.nodes[index];
        match &node.operator {
            Operator::Conv2d { stride, dilation, padding, .. } => {
                let (x, shape) = (self.operand(index, 0)?, self.shape(index, 1)?);
                let (&[_, _, height, width], &[_, _, kh, kw]) = (self.graph.tensors[x].shape.as_slice(), shape) else {
                    return Err(format!("weights of shape {shape:?} are not [out, in, kh, kw]"));
                };
                let along = |n, kernel, i: usize| Window::new(n, kernel, stride[i], dilation[i], padding[i]);
                let covers = |window: Option<Window>| window.is_some_and(|w| covers_padding(&w));
                let padded = covers(along(height, kh, 0)) || covers(along(width, kw, 1));
                self.convolution(index, padded)
            }
            Operator::FullyConnected { .. } => self.linear(index),
            Operator::BatchNormalization { .. } => {
                let marks = self.marks_of(index, 0)?;
                for operand in 1..5 {
                    let role = if operand < 3 { Role::Silenced } else { Role::Accompanies };
                    self.member(index, operand, 0, marks.clone(), role)?;
                }
                Ok(marks)
            }
            Operator::Add { .. } | Operator::Sub { .. } | Operator::Maximum | Operator::Minimum => {
                self.meeting(index, Role::Silenced)
            }
            Operator::Mul { .. } | Operator::Prelu => self.meeting(index, Role::Accompanies),
            Operator::Softmax { .. } => {
                let marks = self.marks_of(index, 0)?;
                // Over the last axis, every channel has a part in every other.
                if self.shape(index, 0)?.len() == 2 {
                    marks.iter().for_each(|&mark| self.pinned[mark] = true);
                }
                Ok(marks)
            }
            Operator::Mean { .. } => {
                let rank = self.shape(index, 0)?.len();
                let axes = self.integers(index, 1)?.into_iter().map(|axis| from_start(axis, rank));
                if axes.into_iter().any(|axis| axis < 2) {
                    return Err("a mean over images or channels has no channels".into());
                }
                self.marks_of(index, 0)
            }
            Operator::Squeeze { axes } => {
                let shape = self.shape(index, 0)?;
                let named = axes.iter().any(|&axis| from_start(i64::from(axis), shape.len()) < 2);
                if named || (axes.is_empty() && shape.iter().take(2).any(|&n| n == 1)) {
                    return Err("it takes away the axis of images or channels".into());
                }
                self.marks_of(index, 0)
            }
            Operator::ExpandDims => {
                let rank = self.shape(index, 0)?.len() + 1;
                if self.integers(index, 1)?.into_iter().any(|axis| from_start(axis, rank) < 2) {
                    return Err("it moves images or channels to another axis".into());
                }
                self.marks_of(index, 0)
            }
            Operator::Pad | Operator::PadV2 => {
                if self.integers(index, 1)?.into_iter().take(4).any(|n| n != 0) {
                    return Err("it pads images or channels".into());
                }
                self.marks_of(index, 0)
            }
            Operator::Reshape { .. } => self.reshape(index),
            Operator::Concatenation { axis, .. } => self.joined(index, i64::from(*axis)),
            _ => self.marks_of(index, 0),
        }
    }

    fn convolution(&mut self, index: usize, padded: bool) -> Result<Vec<usize>, String> {
        let incoming = self.marks_of(index, 0)?;
        let &[rows, width, kh, kw] = self.shape(index, 1)? else { unreachable!("the caller has seen the shape") };
        let groups = incoming.len() / width;
        let reads = width > 1 || groups == 1;
        let made = if reads {
            // Groups stay equal if what goes stands at the same place in each.
            incoming.iter().enumerate().for_each(|(at, &mark)| self.marks.unite(mark, incoming[at % width]));
            self.member(index, 1, 1, incoming[..width].to_vec(), Role::Reads)?;
            let of_group: Vec<usize> = (0..rows / groups).map(|_| self.new_mark()).collect();
            of_group.repeat(groups)
        } else {
            repeated(&incoming, rows / groups)
        };
        self.layer(index, Layer { rows, width, plane: kh * kw, groups, padded, reads, ..self.blank(index)? }, made)
    }

    fn linear(&mut self, index: usize) -> Result<Vec<usize>, String> {
        let incoming = self.marks_of(index, 0)?;
        let (&[rows, inputs], x) = (self.shape(index, 1)?, self.shape(index, 0)?) else {
            return Err("its weights are not [out, in]".into());
        };
        let output = &self.graph.tensors[self.graph.nodes[index].outputs[0]].shape;
        if x[1..].iter().product::<usize>() != inputs || output.as_slice() != [x[0], rows] {
            return Err(format!("it reads single axes of {x:?}; only whole images are followed"));
        }
        let plane = inputs / incoming.len();
        self.member(index, 1, 1, repeated(&incoming, plane), Role::Reads)?;
        let made = (0..rows).map(|_| self.new_mark()).collect();
        let (width, groups, padded, reads) = (incoming.len(), 1, false, true);
        self.layer(index, Layer { rows, width, plane, groups, padded, reads, ..self.blank(index)? }, made)
    }

    /// A layer of node `index`, whose numbers the caller fills in.
    fn blank(&self, index: usize) -> Result<Layer, String> {
        let node = &self.graph.nodes[index];
        let (input, weights, output) = (self.operand(index, 0)?, self.operand(index, 1)?, node.outputs[0]);
        let bias = node.inputs.get(2).copied().flatten();
        let (rows, width, plane, groups, padded, reads) = (0, 0, 0, 0, false, false);
        Ok(Layer { node: index, input, output, weights, bias, rows, width, plane, groups, padded, reads })
    }

    fn layer(&mut self, index: usize, layer: Layer, made: Vec<usize>) -> Result<Vec<usize>, String> {
        self.member(index, 1, 0, made.clone(), Role::Makes)?;
        if layer.bias.is_some() {
            if self.shape(index, 2)? != [layer.rows] {
                return Err(format!("a bias of shape {:?} is not [{}]", self.shape(index, 2)?, layer.rows));
            }
            self.member(index, 2, 0, made.clone(), Role::Silenced)?;
        }
        self.layers.push(layer);
        Ok(made)
    }

    /// Two operands, either of which may be a constant that is, or is not, different from channel to channel.
    fn meeting(&mut self, index: usize, role: Role) -> Result<Vec<usize>, String> {
        let is_constant = |x: TensorId| self.graph.tensors[x].constant.is_some();
        match (is_constant(self.operand(index, 0)?), is_constant(self.operand(index, 1)?)) {
            (false, true) => self.beside(index, 0, 1, role),
            (true, false) => self.beside(index, 1, 0, role),
            (true, true) => Err("both its operands are constant".into()),
            (false, false) => {
                let (left, right) = (self.marks_of(index, 0)?, self.marks_of(index, 1)?);
                if self.shape(index, 0)?.len() != self.shape(index, 1)?.len() {
                    return Err("its operands have different axes, so that channels meet no channels".into());
                }
                let (alone, marks) = match (left.len(), right.len()) {
                    (l, r) if l == r => {
                        left.iter().zip(&right).for_each(|(&l, &r)| self.marks.unite(l, r));
                        return Ok(left);
                    }
                    (1, _) => (left[0], right),
                    _ => (right[0], left),
                };
                // It stands for all channels of the other side.
                self.pinned[alone] = true;
                Ok(marks)
            }
        }
    }

    /// The marks of operand `x`, which meets the constant operand `beside`.
    fn beside(&mut self, index: usize, x: usize, beside: usize, role: Role) -> Result<Vec<usize>, String> {
        let marks = self.marks_of(index, x)?;
        let (rank, shape) = (self.shape(index, x)?.len(), self.shape(index, beside)?);
        if shape.len() > rank {
            return Err(format!("a constant of shape {shape:?} gives its operand more axes"));
        }
        match channel_axis(rank, shape) {
            Some(axis) if shape[axis] == marks.len() => self.member(index, beside, axis, marks.clone(), role)?,
            Some(axis) if shape[axis] != 1 => {
                return Err(format!("a constant of shape {shape:?} makes several channels of one"));
            }
            _ => {}
        }
        Ok(marks)
    }

    fn reshape(&mut self, index: usize) -> Result<Vec<usize>, String> {
        let marks = self.marks_of(index, 0)?;
        let output = self.graph.nodes[index].outputs[0];
        let (from, to) = (self.shape(index, 0)?, self.graph.tensors[output].shape.as_slice());
        let &[images, after, ..] = to else {
            return Err(format!("{from:?} to {to:?} leaves no axis of channels"));
        };
        let before = marks.len();
        if images != from[0] {
            return Err(format!("{from:?} to {to:?} mixes images"));
        }
        if after > 0 && before.is_multiple_of(after) {
            // Rows of several positions become one channel's; nothing happens where there is one for each.
            let blocks = marks.chunks(before / after);
            blocks.for_each(|block| block.iter().for_each(|&mark| self.marks.unite(mark, block[0])));
            return Ok(marks.into_iter().step_by(before / after).collect());
        }
        if !after.is_multiple_of(before) {
            return Err(format!("{from:?} to {to:?} mixes channels"));
        }
        Ok(repeated(&marks, after / before))
    }

    fn joined(&mut self, index: usize, axis: i64) -> Result<Vec<usize>, String> {
        let count = self.graph.nodes[index].inputs.len();
        let parts = (0..count).map(|at| self.marks_of(index, at)).collect::<Result<Vec<_>, _>>()?;
        match from_start(axis, self.shape(index, 0)?.len()) {
            0 => Err("it joins images".into()),
            1 => Ok(parts.concat()),
            _ => {
                for part in &parts {
                    part.iter().zip(&parts[0]).for_each(|(&a, &b)| self.marks.unite(a, b));
                }
                Ok(parts[0].clone())
            }
        }
    }

    fn operand(&self, index: usize, at: usize) -> Result<TensorId, String> {
        let operand = self.graph.nodes[index].inputs.get(at).copied().flatten();
        operand.ok_or_else(|| format!("operand {at} is missing"))
    }

    fn shape(&self, index: usize, at: usize) -> Result<&'n [usize], String> {
        self.operand(index, at).map(|x| self.graph.tensors[x].shape.as_slice())
    }

    /// The marks of an operand that is computed.
    fn marks_of(&self, index: usize, at: usize) -> Result<Vec<usize>, String> {
        let x = self.operand(index, at)?;
        match self.carried[x].as_slice() {
            [] => Err(format!("operand {at} ({}) has no channels on axis 1", self.graph.tensors[x].name)),
            marks => Ok(marks.to_vec()),
        }
    }

    fn integers(&self, index: usize, at: usize) -> Result<Vec<i64>, String> {
        match self.graph.tensors[self.operand(index, at)?].constant.as_deref() {
            Some(Elements::I32(numbers)) => Ok(numbers.iter().map(|&n| i64::from(n)).collect()),
            Some(Elements::I64(numbers)) => Ok(numbers.clone()),
            _ => Err(format!("operand {at} is not a constant of integers")),
        }
    }

    fn new_mark(&mut self) -> usize {
        self.pinned.push(false);
        self.marks.add()
    }

    fn member(
        &mut self,
        node: usize,
        operand: usize,
        axis: usize,
        marks: Vec<usize>,
        role: Role,
    ) -> Result<(), String> {
        let id = self.operand(node, operand)?;
        let tensor = &self.graph.tensors[id];
        match tensor.constant.as_deref() {
            Some(Elements::F32(values)) if values.len() == tensor.len() => {}
            _ => return Err(format!("operand {operand} ({}) is not constant f32", tensor.name)),
        }
        if tensor.shape.get(axis) != Some(&marks.len()) {
            let (name, shape, channels) = (&tensor.name, &tensor.shape, marks.len());
            return Err(format!("operand {operand} ({name}) of shape {shape:?} does not fit {channels} channels"));
        }
        // Exporters store equal vectors once. What is only cut is cut for each user; a mask is one for all.
        if role != Role::Accompanies {
            let shared = self.shared.entry((id, axis)).or_insert_with(|| marks.clone());
            marks.iter().zip(shared).for_each(|(&a, &mut b)| self.marks.unite(a, b));
        }
        self.members.push(Member { node, operand, tensor: id, axis, channels: marks, role });
        Ok(())
    }

    /// Marks to channels, numbered by first appearance.
    fn resolved(mut self) -> Followed {
        let mut channels: HashMap<usize, usize> = HashMap::new();
        let numbers: Vec<usize> = (0..self.pinned.len())
            .map(|mark| {
                let next = channels.len();
                *channels.entry(self.marks.root(mark)).or_insert(next)
            })
            .collect();
        let mut pinned = vec![false; channels.len()];
        numbers.iter().zip(&self.pinned).for_each(|(&channel, &is_pinned)| pinned[channel] |= is_pinned);
        let numbered = |marks: &mut Vec<usize>| marks.iter_mut().for_each(|mark| *mark = numbers[*mark]);
        self.carried.iter_mut().for_each(numbered);
        self.members.iter_mut().for_each(|member| numbered(&mut member.channels));
        Followed { carried: self.carried, members: self.members, layers: self.layers, pinned }
    }
}

/// The axis of a constant of at most `rank` axes that meets axis 1 of an operand of `rank`, if it has one.
pub(crate) fn channel_axis(rank: usize, shape: &[usize]) -> Option<usize> {
    (shape.len() + 1).checked_sub(rank)
}

/// Whether a window of a convolution or pooling lies partly on padding.
fn covers_padding(window: &Window) -> bool {
    (0..window.output).any(|o| window.taps(o) != (0..window.kernel))
}

/// Whether a pooling's windows lie partly on padding.
pub(crate) fn pool_covers_padding(shape: &[usize], pool: &Pool) -> bool {
    (0..2).any(|i| {
        let n = shape.get(2 + i).copied().unwrap_or(0);
        let window = Window::new(n, pool.kernel[i], pool.stride[i], 1, pool.padding[i]);
        window.is_none_or(|window| covers_padding(&window))
    })
}

/// The axis counted from the start; one that does not exist is beyond all.
fn from_start(axis: i64, rank: usize) -> usize {
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).unwrap_or(usize::MAX)
}

fn repeated(marks: &[usize], times: usize) -> Vec<usize> {
    marks.iter().flat_map(|&mark| std::iter::repeat_n(mark, times)).collect()
}
