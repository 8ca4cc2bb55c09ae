//! A network as a value, made trainable: Burn's module over the weights of a graph.
//!
//! One module serves every network that can be read or built here, before and after channels are taken out of it, so
//! that no architecture is written twice. Weights are flat tensors in the order of the graph. A mask multiplies its
//! weights on the way in; what it removes is 0, has a gradient of 0 and so stays 0 under momentum, Adam's moments and
//! weight decay, exactly.

use std::collections::HashMap;
use std::sync::Arc;

use tersor_data::Elements;
use tersor_kernels::int8::Activation;
use tersor_kernels::window::{Padding, Window};
use tersor_network::operator::{Operator, Pair, Pool};
use tersor_network::{Graph, Layout, Network, Node, TensorId};
use tersor_train::burn;
use tersor_train::burn::module::{Module, Param, RunningState};
use tersor_train::burn::tensor::{Device, Distribution, Tensor, TensorData, activation as burn_activation};
use tersor_train::op::{self, Look};

use crate::Error;
use crate::mask::Mask;

/// A network whose weights are learned.
#[derive(Module, Debug)]
pub struct Trainable {
    /// Flat, in the order of [`Program::parameters`].
    weights: Vec<Param<Tensor<1>>>,
    /// In the order of the batch norms.
    moments: Vec<Moments>,
    #[module(skip)]
    program: Arc<Program>,
}

/// What a batch norm remembers of its inputs.
#[derive(Module, Debug)]
struct Moments {
    mean: RunningState<Tensor<1>>,
    variance: RunningState<Tensor<1>>,
}

/// The graph, and which of its tensors are learned.
#[derive(Debug)]
struct Program {
    network: Network,
    parameters: Vec<Parameter>,
    /// Position among the parameters.
    of_tensor: HashMap<TensorId, usize>,
    /// Position among the batch norms, by node.
    norms: HashMap<usize, usize>,
}

/// A tensor that is learned.
#[derive(Debug)]
struct Parameter {
    tensor: TensorId,
    shape: Vec<usize>,
    /// Weights of a linear layer, `[out, in]` in the graph, lie as `[in, out]` here, as the product reads them.
    linear: bool,
}

/// How a forward pass goes, beyond the graph.
#[derive(Debug, Clone, Default)]
pub struct Passing {
    masks: Vec<Option<Tensor<1>>>,
    fixed: Vec<bool>,
    /// Shares of a linear layer's inputs that are dropped in training, by its weights' tensor.
    dropout: HashMap<TensorId, f64>,
    /// Whether batch norms use what they remember also in training.
    frozen_norms: bool,
}

/// A value on its way through the graph.
#[derive(Debug, Clone)]
enum Value {
    Image(Tensor<4>),
    Rows(Tensor<2>),
}

/// How much of its memory a batch norm replaces by the moments of a batch.
const MOMENTUM: f64 = 0.1;

impl Trainable {
    /// `network`, with its weights as they are.
    ///
    /// # Errors
    /// [`Error::Operator`] naming the first operator that has no gradient here.
    pub fn new(network: &Network, device: &Device) -> Result<Self, Error> {
        let graph = network.main();
        let mut program = Program {
            network: network.clone(),
            parameters: Vec::new(),
            of_tensor: HashMap::new(),
            norms: HashMap::new(),
        };
        for (index, node) in graph.nodes.iter().enumerate() {
            check(network, index, node)?;
            let linear = matches!(node.operator, Operator::FullyConnected { .. });
            let learned = match node.operator {
                Operator::Conv2d { .. } | Operator::FullyConnected { .. } | Operator::BatchNormalization { .. } => 1..3,
                _ => 0..0,
            };
            for at in learned {
                let Some(tensor) = node.inputs.get(at).copied().flatten() else { continue };
                if program.of_tensor.contains_key(&tensor) {
                    continue;
                }
                program.of_tensor.insert(tensor, program.parameters.len());
                let shape = graph.tensors[tensor].shape.clone();
                program.parameters.push(Parameter { tensor, shape, linear: linear && at == 1 });
            }
            if matches!(node.operator, Operator::BatchNormalization { .. }) {
                program.norms.insert(index, program.norms.len());
            }
        }
        let flat = |tensor: TensorId, turn: bool| {
            let values = floats(network, tensor);
            let values = if turn { turned(&values, &graph.tensors[tensor].shape) } else { values };
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), device)
        };
        let weights = program.parameters.iter().map(|p| Param::from_tensor(flat(p.tensor, p.linear))).collect();
        let mut norms: Vec<_> = program.norms.iter().map(|(&node, &norm)| (norm, node)).collect();
        norms.sort_unstable();
        let moments = norms.into_iter().map(|(_, node)| {
            let of = |at: usize| RunningState::new(flat(graph.nodes[node].inputs[at].unwrap_or_default(), false));
            Moments { mean: of(3), variance: of(4) }
        });
        Ok(Self { weights, moments: moments.collect(), program: Arc::new(program) })
    }

    /// The network with the weights as they are now.
    pub fn network(&self) -> Network {
        let mut network = self.program.network.clone();
        let values = |tensor: Tensor<1>| tensor.into_data().try_into_vec::<f32>().expect("weights are f32");
        let graph = &mut network.graphs[0];
        for (parameter, weights) in self.program.parameters.iter().zip(&self.weights) {
            let weights = values(weights.val());
            let [rows, columns] = sides(&parameter.shape);
            let weights = if parameter.linear { turned(&weights, &[columns, rows]) } else { weights };
            graph.tensors[parameter.tensor].constant = Some(Arc::new(Elements::F32(weights)));
        }
        for (&node, &norm) in &self.program.norms {
            for (at, state) in [(3, &self.moments[norm].mean), (4, &self.moments[norm].variance)] {
                let tensor = graph.nodes[node].inputs[at].unwrap_or_default();
                graph.tensors[tensor].constant = Some(Arc::new(Elements::F32(values(state.value_sync()))));
            }
        }
        network
    }

    /// How to pass with `masks` (by the tensor's name), of which the tensors in `fixed` are not learned.
    pub fn passing(&self, masks: &HashMap<String, Mask>, fixed: &[String], device: &Device) -> Passing {
        let graph = self.program.network.main();
        let mut passing = Passing::default();
        for parameter in &self.program.parameters {
            let name = &graph.tensors[parameter.tensor].name;
            let mask = masks.get(name).map(|mask| {
                let numbers = mask.as_numbers();
                let numbers = if parameter.linear { turned(&numbers, &parameter.shape) } else { numbers };
                let count = numbers.len();
                Tensor::<1>::from_data(TensorData::new(numbers, [count]), device)
            });
            passing.masks.push(mask);
            passing.fixed.push(fixed.contains(name));
        }
        passing
    }

    /// The logits `[pictures, classes]` of `[pictures, channels, height, width]`.
    ///
    /// # Panics
    /// If the pictures are not of the network's shape.
    pub fn logits(&self, pictures: Tensor<4>, passing: &Passing) -> Tensor<2> {
        let graph = self.program.network.main();
        let images = pictures.dims()[0];
        let mut values: Vec<Option<Value>> = vec![None; graph.tensors.len()];
        let input = graph.inputs[0];
        values[input] = Some(match graph.tensors[input].shape.len() {
            2 => Value::Rows(pictures.reshape([images as i64, -1])),
            _ => Value::Image(pictures),
        });
        for (index, node) in graph.nodes.iter().enumerate() {
            let value = self.computed(index, node, &values, passing);
            values[node.outputs[0]] = Some(value);
        }
        match values[graph.outputs[0]].take().expect("the graph computes its output") {
            Value::Rows(logits) => logits,
            Value::Image(logits) => logits.reshape([images as i64, -1]),
        }
    }

    /// The sum of the sizes of all weights of convolutions and linear layers, without biases and norms.
    pub fn absolute_sum(&self) -> Tensor<1> {
        let weights = self.program.parameters.iter().zip(&self.weights).filter(|(p, _)| p.shape.len() > 1);
        let sums = weights.map(|(_, weights)| weights.val().abs().sum());
        sums.reduce(|a, b| a + b).expect("a network has weights")
    }

    fn parameter(&self, tensor: TensorId, passing: &Passing) -> Tensor<1> {
        let at = self.program.of_tensor[&tensor];
        let mut weights = self.weights[at].val();
        if passing.fixed.get(at) == Some(&true) {
            weights = weights.detach();
        }
        match passing.masks.get(at) {
            Some(Some(mask)) => {
                let mask = if weights.is_autodiff() { mask.clone().autodiff() } else { mask.clone() };
                weights * mask
            }
            _ => weights,
        }
    }

    fn computed(&self, index: usize, node: &Node, values: &[Option<Value>], passing: &Passing) -> Value {
        let graph = self.program.network.main();
        let operand = |at: usize| node.inputs.get(at).copied().flatten();
        let value = |at: usize| operand(at).and_then(|t| values[t].clone()).expect("nodes stand in order");
        let shape = |at: usize| operand(at).map_or(&[][..], |t| &graph.tensors[t].shape);
        let bias = || operand(2).map(|t| self.parameter(t, passing));
        match &node.operator {
            Operator::Conv2d { stride, dilation, padding, activation } => {
                let (tensor, [out, in_group, kh, kw]) = (operand(1).expect("weights"), four(shape(1)));
                let weights = self.parameter(tensor, passing).reshape([out, in_group, kh, kw]);
                let x = value(0).image();
                let groups = x.dims()[1] / in_group;
                let (x, padding) = padded(x, [kh, kw], *stride, *dilation, *padding);
                let look = Look { stride: *stride, padding, dilation: *dilation, groups };
                Value::Image(op::convolution(x, weights, bias(), look)).bent(*activation)
            }
            Operator::FullyConnected { activation, .. } => {
                let (tensor, [out, inputs]) = (operand(1).expect("weights"), sides(shape(1)));
                let x = match value(0) {
                    Value::Rows(x) => x,
                    Value::Image(x) => x.reshape([-1, inputs as i64]),
                };
                let x = dropped(x, passing.dropout.get(&tensor).copied().unwrap_or(0.0));
                let weights = self.parameter(tensor, passing).reshape([inputs, out]);
                Value::Rows(op::linear(x, weights, bias())).bent(*activation)
            }
            Operator::BatchNormalization { epsilon } => {
                let affine = [1, 2].map(|at| self.parameter(operand(at).expect("checked"), passing));
                self.normed(self.program.norms[&index], value(0), affine, *epsilon, passing)
            }
            Operator::MaxPool2d(pool) => {
                let (look, kernel, x) = pooled(value(0).image(), pool, f32::NEG_INFINITY);
                Value::Image(op::max_pool(x, kernel, look)).bent(pool.activation)
            }
            Operator::AveragePool2d(pool) => {
                let (look, kernel, x) = pooled(value(0).image(), pool, 0.0);
                Value::Image(op::mean_pool(x, kernel, look)).bent(pool.activation)
            }
            Operator::Mean { keep_dims } => {
                let x = value(0).image();
                let [images, channels, height, width] = x.dims();
                let means = op::mean_pool(x, [height, width], Look::default());
                if *keep_dims { Value::Image(means) } else { Value::Rows(means.reshape([images, channels])) }
            }
            Operator::Add { activation } => value(0).added(value(1)).bent(*activation),
            Operator::Relu => value(0).bent(Activation::Relu),
            Operator::Relu6 => value(0).bent(Activation::Relu6),
            Operator::ReluN1To1 => value(0).bent(Activation::ReluN1To1),
            Operator::Logistic => value(0).map(burn_activation::sigmoid, burn_activation::sigmoid),
            Operator::Tanh => value(0).map(Tensor::tanh, Tensor::tanh),
            Operator::Reshape { .. } => {
                let target = &graph.tensors[node.outputs[0]].shape;
                match (value(0), target.as_slice()) {
                    (Value::Image(x), &[_, width]) => Value::Rows(x.reshape([-1, width as i64])),
                    (Value::Rows(x), &[_, c, h, w]) => Value::Image(x.reshape([-1, c as i64, h as i64, w as i64])),
                    (Value::Image(x), &[_, c, h, w]) => Value::Image(x.reshape([-1, c as i64, h as i64, w as i64])),
                    (Value::Rows(x), _) => Value::Rows(x),
                    (Value::Image(x), _) => Value::Image(x),
                }
            }
            Operator::Concatenation { .. } => {
                let images = (0..node.inputs.len()).map(|at| value(at).image()).collect();
                Value::Image(Tensor::cat(images, 1))
            }
            other => unreachable!("{} was checked", other.name()),
        }
    }

    /// γ (x − mean) / √(variance + ε) + β, with the moments of the batch in training and the remembered ones otherwise.
    fn normed(&self, norm: usize, x: Value, [gamma, beta]: [Tensor<1>; 2], epsilon: f32, passing: &Passing) -> Value {
        let Moments { mean, variance } = &self.moments[norm];
        let rows = matches!(x, Value::Rows(_));
        let x = match x {
            Value::Image(x) => x,
            Value::Rows(x) => x.unsqueeze_dims(&[2, 3]),
        };
        let device = x.device();
        let [images, channels, height, width] = x.dims();
        let y = if device.is_autodiff() && !passing.frozen_norms {
            let (y, of_mean, of_variance) = op::batch_norm(x, gamma, beta, epsilon);
            // What is remembered of the variance is unbiased, as everywhere.
            let count = (images * height * width) as f64;
            let of_variance = of_variance * (count / (count - 1.0).max(1.0));
            for (state, new) in [(mean, of_mean), (variance, of_variance)] {
                let old = state.value_sync().to_device(&device);
                state.update((old * (1.0 - MOMENTUM) + new * MOMENTUM).detach());
            }
            y
        } else {
            let known = |state: &RunningState<Tensor<1>>| state.value().to_device(&device).detach();
            let scale = gamma / (known(variance) + epsilon).sqrt();
            let shift = beta - known(mean) * scale.clone();
            x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
        };
        if rows { Value::Rows(y.reshape([images, channels])) } else { Value::Image(y) }
    }
}

impl Passing {
    /// Drops shares of the inputs of linear layers in training: by the name of their weights.
    pub fn with_dropout(mut self, network: &Network, shares: &HashMap<String, f64>) -> Self {
        let tensors = network.main().tensors.iter().enumerate();
        self.dropout = tensors.filter_map(|(id, tensor)| Some((id, *shares.get(&tensor.name)?))).collect();
        self
    }

    /// Lets batch norms use what they remember also in training.
    pub fn with_frozen_norms(mut self, frozen: bool) -> Self {
        self.frozen_norms = frozen;
        self
    }
}

impl Value {
    fn image(self) -> Tensor<4> {
        match self {
            Self::Image(x) => x,
            Self::Rows(x) => x.unsqueeze_dims(&[2, 3]),
        }
    }

    fn map(self, image: impl Fn(Tensor<4>) -> Tensor<4>, rows: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        match self {
            Self::Image(x) => Self::Image(image(x)),
            Self::Rows(x) => Self::Rows(rows(x)),
        }
    }

    fn added(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rows(a), Self::Rows(b)) => Self::Rows(a + b),
            (a, b) => Self::Image(a.image() + b.image()),
        }
    }

    fn bent(self, activation: Activation) -> Self {
        let (least, most) = activation.bounds();
        match activation {
            Activation::None => self,
            Activation::Relu => self.map(op::relu, op::relu),
            Activation::Relu6 | Activation::ReluN1To1 => self.map(|x| x.clamp(least, most), |x| x.clamp(least, most)),
        }
    }
}

/// Whether an operator has a gradient here, and operands that fit.
fn check(network: &Network, index: usize, node: &Node) -> Result<(), Error> {
    let graph = network.main();
    let fault = |why: String| Error::Operator {
        network: network.name.clone(),
        index,
        operator: node.operator.name().into(),
        why,
    };
    let constant = |at: usize| {
        let tensor = node.inputs.get(at).copied().flatten();
        tensor.is_none_or(|t| matches!(graph.tensors[t].constant.as_deref(), Some(Elements::F32(_))))
    };
    let shape = |at: usize| node.inputs.get(at).copied().flatten().map_or(&[][..], |t| &graph.tensors[t].shape);
    let rank = |at: usize| shape(at).len();
    let output = node.outputs.first().map_or(&[][..], |&t| &graph.tensors[t].shape);
    let computed = node.inputs.iter().flatten().all(|&t| graph.tensors[t].constant.is_none());
    if network.layout != Layout::ChannelsFirst {
        return Err(fault("only networks with channels first (ONNX) are trained".into()));
    }
    if node.outputs.len() != 1 || node.inputs.first().copied().flatten().is_none() {
        return Err(fault("it has not one input and one output".into()));
    }
    let weighted = matches!(
        node.operator,
        Operator::Conv2d { .. } | Operator::FullyConnected { .. } | Operator::BatchNormalization { .. }
    );
    if weighted && !(1..node.inputs.len()).all(constant) {
        return Err(fault("its weights are not constant numbers".into()));
    }
    match &node.operator {
        Operator::Conv2d { .. } if rank(0) == 4 => Ok(()),
        Operator::FullyConnected { .. } if output == [shape(0)[0], shape(1)[0]] => Ok(()),
        Operator::BatchNormalization { .. } if rank(0) == 2 || rank(0) == 4 => Ok(()),
        Operator::MaxPool2d(_) if rank(0) == 4 => Ok(()),
        // The mean of training counts padding, that of a run does not.
        Operator::AveragePool2d(pool) if rank(0) == 4 && unpadded(pool, shape(0)) => Ok(()),
        Operator::Mean { .. } if rank(0) == 4 && is_over_pixels(node, graph) => Ok(()),
        Operator::Add { .. } if computed && shape(0) == shape(1) => Ok(()),
        Operator::Relu | Operator::Relu6 | Operator::ReluN1To1 | Operator::Logistic | Operator::Tanh
            if rank(0) == 2 || rank(0) == 4 =>
        {
            Ok(())
        }
        Operator::Reshape { .. }
            if [2, 4].contains(&rank(0)) && [2, 4].contains(&output.len()) && output[0] == shape(0)[0] =>
        {
            Ok(())
        }
        Operator::Concatenation { axis: 1, activation: Activation::None } if rank(0) == 4 && computed => Ok(()),
        _ => Err(fault("it cannot be trained here".into())),
    }
}

/// Whether no window of a pool lies on padding.
fn unpadded(pool: &Pool, shape: &[usize]) -> bool {
    [0, 1].iter().all(|&i| around(shape[2 + i], pool.kernel[i], pool.stride[i], 1, pool.padding[i]) == [0, 0])
}

/// Whether a MEAN is over the rows and columns of images.
fn is_over_pixels(node: &Node, graph: &Graph) -> bool {
    let axes = node.inputs.get(1).copied().flatten().and_then(|t| graph.tensors[t].constant.as_deref());
    let axes: Vec<i64> = match axes {
        Some(Elements::I64(axes)) => axes.clone(),
        Some(Elements::I32(axes)) => axes.iter().map(|&axis| axis.into()).collect(),
        _ => return false,
    };
    let mut axes: Vec<i64> = axes.into_iter().map(|axis| if axis < 0 { axis + 4 } else { axis }).collect();
    axes.sort_unstable();
    axes == [2, 3]
}

fn floats(network: &Network, tensor: TensorId) -> Vec<f32> {
    match network.main().tensors[tensor].constant.as_deref() {
        Some(Elements::F32(values)) => values.clone(),
        _ => Vec::new(),
    }
}

/// `[rows, columns]` of a matrix; other shapes as one column.
fn sides(shape: &[usize]) -> [usize; 2] {
    match *shape {
        [rows, columns] => [rows, columns],
        _ => [shape.iter().product(), 1],
    }
}

fn four(shape: &[usize]) -> [usize; 4] {
    shape.try_into().expect("weights of a convolution have four axes")
}

/// The transpose of a matrix.
fn turned(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let [rows, columns] = sides(shape);
    let mut out = vec![0.0; values.len()];
    for (row, line) in values.chunks_exact(columns.max(1)).enumerate() {
        for (column, &value) in line.iter().enumerate() {
            out[column * rows + row] = value;
        }
    }
    out
}

/// Padding before and after an axis, for a window over `input`.
fn around(input: usize, kernel: usize, stride: usize, dilation: usize, padding: Padding) -> [usize; 2] {
    let window = Window::new(input, kernel, stride, dilation, padding).expect("the shapes were inferred");
    let end = (window.output - 1) * stride + (kernel - 1) * dilation + 1;
    [window.before, end.saturating_sub(input + window.before)]
}

/// An image for a window: what is padded alike on both sides is left to the kernel, other padding is put around here.
fn padded(x: Tensor<4>, kernel: Pair, stride: Pair, dilation: Pair, padding: [Padding; 2]) -> (Tensor<4>, Pair) {
    let size = [x.dims()[2], x.dims()[3]];
    let [rows, columns] = [0, 1].map(|i| around(size[i], kernel[i], stride[i], dilation[i], padding[i]));
    if rows[0] == rows[1] && columns[0] == columns[1] {
        return (x, [rows[0], columns[0]]);
    }
    (x.pad((columns[0], columns[1], rows[0], rows[1]), 0.0), [0, 0])
}

fn pooled(x: Tensor<4>, pool: &Pool, outside: f32) -> (Look, Pair, Tensor<4>) {
    let size = [x.dims()[2], x.dims()[3]];
    let [rows, columns] = [0, 1].map(|i| around(size[i], pool.kernel[i], pool.stride[i], 1, pool.padding[i]));
    let alike = rows[0] == rows[1] && columns[0] == columns[1];
    let (x, padding) = match alike {
        true => (x, [rows[0], columns[0]]),
        false => (x.pad((columns[0], columns[1], rows[0], rows[1]), outside), [0, 0]),
    };
    (Look { stride: pool.stride, padding, dilation: [1, 1], groups: 1 }, pool.kernel, x)
}

/// In training, sets a share of the inputs to 0 and scales the others up by 1 / (1 − share).
fn dropped(x: Tensor<2>, share: f64) -> Tensor<2> {
    if share <= 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let kept = x.random_like(Distribution::Bernoulli(1.0 - share));
    x * kept * (1.0 / (1.0 - share))
}
