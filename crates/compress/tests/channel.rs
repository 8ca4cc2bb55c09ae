//! Channels and dead neurons: the smaller network must compute what the larger one does.
//!
//! Everything is run by an interpreter in f64 that reads like the formulas and knows nothing of channels.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tersor_compress::Error;
use tersor_compress::channel::{Budget, Cost, GroupPlan, Groups, Removal, Share, Strength};
use tersor_compress::dead::{Dead, remove_dead};
use tersor_compress::mask::Mask;
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::{Padding, Window};
use tersor_network::operator::{Operator, Pool};
use tersor_network::shape::{self, Operand};
use tersor_network::{Arithmetic, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind};

// ---------------------------------------------------------------------------------------------------------------------
// Networks

/// A network written down operator by operator, with random weights.
struct Builder {
    graph: Graph,
    state: u64,
}

const NONE: Activation = Activation::None;

impl Builder {
    fn new(input: &[usize], seed: u64) -> (Self, TensorId) {
        let mut builder = Self { graph: Graph::default(), state: seed };
        let x = builder.tensor("input", input, None);
        builder.graph.inputs.push(x);
        (builder, x)
    }

    fn finish(mut self, outputs: &[TensorId]) -> Network {
        self.graph.outputs = outputs.to_vec();
        let (name, description) = ("test".to_string(), String::new());
        let (arithmetic, layout) = (Arithmetic::Float, Layout::ChannelsFirst);
        Network { name, description, graphs: vec![self.graph], arithmetic, layout }
    }

    /// The next number in [−1, 1) (SplitMix64).
    fn draw(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, name: &str, shape: &[usize], constant: Option<Elements>) -> TensorId {
        let element = constant.as_ref().map_or(ElementType::F32, Elements::element_type);
        self.graph.tensors.push(Tensor {
            name: format!("{name}.{}", self.graph.tensors.len()),
            shape: shape.to_vec(),
            kind: TensorKind::Element(element),
            quantization: None,
            constant: constant.map(Arc::new),
            variable: false,
        });
        self.graph.tensors.len() - 1
    }

    /// Constant numbers around `centre`.
    fn numbers(&mut self, name: &str, shape: &[usize], centre: f32, spread: f32) -> TensorId {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| centre + spread * self.draw()).collect();
        self.tensor(name, shape, Some(values.into()))
    }

    fn integers(&mut self, values: &[i64]) -> TensorId {
        self.tensor("integers", &[values.len()], Some(values.to_vec().into()))
    }

    fn node(&mut self, operator: Operator, inputs: &[TensorId]) -> TensorId {
        let inputs: Vec<Option<TensorId>> = inputs.iter().copied().map(Some).collect();
        let operands: Vec<Option<Operand>> = inputs
            .iter()
            .map(|id| {
                let tensor = &self.graph.tensors[id.unwrap()];
                Some(Operand { shape: &tensor.shape, constant: tensor.constant.as_deref() })
            })
            .collect();
        let shapes = shape::infer_in(Layout::ChannelsFirst, &operator, &operands).unwrap();
        let shape = shapes.map_or_else(|| self.shape(inputs[0].unwrap()), |shapes| shapes[0].clone());
        let output = self.tensor(&operator.name().to_lowercase(), &shape, None);
        self.graph.nodes.push(Node { operator, inputs, outputs: vec![output] });
        output
    }

    fn shape(&self, x: TensorId) -> Vec<usize> {
        self.graph.tensors[x].shape.clone()
    }

    fn convolution(&mut self, x: TensorId, out: usize, kernel: usize, how: Convolution) -> TensorId {
        let Convolution { groups, stride, pad, bias, activation } = how;
        let width = self.shape(x)[1] / groups;
        let spread = 1.5 / ((width * kernel * kernel) as f32).sqrt();
        let weights = self.numbers("conv", &[out, width, kernel, kernel], 0.0, spread);
        let mut inputs = vec![x, weights];
        if bias {
            inputs.push(self.numbers("bias", &[out], 0.1, 0.5));
        }
        let padding = [Padding::Explicit { before: pad, after: pad }; 2];
        self.node(Operator::Conv2d { stride: [stride; 2], dilation: [1, 1], padding, activation }, &inputs)
    }

    fn linear(&mut self, x: TensorId, out: usize, activation: Activation) -> TensorId {
        let inputs: usize = self.shape(x)[1..].iter().product();
        let weights = self.numbers("linear", &[out, inputs], 0.0, 1.5 / (inputs as f32).sqrt());
        let bias = self.numbers("bias", &[out], 0.1, 0.5);
        self.node(Operator::FullyConnected { keep_num_dims: false, activation }, &[x, weights, bias])
    }

    fn norm(&mut self, x: TensorId) -> TensorId {
        let channels = [self.shape(x)[1]];
        let scale = self.numbers("scale", &channels, 1.0, 0.5);
        let shift = self.numbers("shift", &channels, 0.0, 0.5);
        let mean = self.numbers("mean", &channels, 0.0, 0.3);
        let variance = self.numbers("variance", &channels, 1.0, 0.7);
        self.node(Operator::BatchNormalization { epsilon: 1e-5 }, &[x, scale, shift, mean, variance])
    }

    /// Convolution, batch norm, ReLU.
    fn unit(&mut self, x: TensorId, out: usize, kernel: usize, stride: usize) -> TensorId {
        let x = self.convolution(x, out, kernel, Convolution { stride, pad: kernel / 2, ..Convolution::PLAIN });
        let x = self.norm(x);
        self.node(Operator::Relu, &[x])
    }

    fn pool(&mut self, x: TensorId, kernel: usize, pad: usize, max: bool) -> TensorId {
        let padding = [Padding::Explicit { before: pad, after: pad }; 2];
        let pool = Pool { kernel: [kernel; 2], stride: [2, 2], padding, activation: NONE };
        self.node(if max { Operator::MaxPool2d(pool) } else { Operator::AveragePool2d(pool) }, &[x])
    }

    fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.node(Operator::Add { activation: NONE }, &[a, b])
    }

    fn mean(&mut self, x: TensorId, keep_dims: bool) -> TensorId {
        let axes = self.integers(&[2, 3]);
        self.node(Operator::Mean { keep_dims }, &[x, axes])
    }

    fn flatten(&mut self, x: TensorId) -> TensorId {
        let count = self.shape(x)[1..].iter().product::<usize>();
        let shape = self.integers(&[self.graph.tensors[x].shape[0] as i64, count as i64]);
        self.node(Operator::Reshape { shape: None }, &[x, shape])
    }
}

#[derive(Clone, Copy)]
struct Convolution {
    groups: usize,
    stride: usize,
    pad: usize,
    bias: bool,
    activation: Activation,
}

impl Convolution {
    const PLAIN: Self = Self { groups: 1, stride: 1, pad: 0, bias: false, activation: NONE };
    const BIASED: Self = Self { bias: true, ..Self::PLAIN };
}

fn vgg(seed: u64) -> Network {
    let (mut net, x) = Builder::new(&[2, 3, 10, 10], seed);
    let x = net.unit(x, 8, 3, 1);
    let x = net.convolution(x, 6, 3, Convolution { pad: 1, activation: Activation::Relu6, ..Convolution::BIASED });
    let x = net.pool(x, 2, 0, true);
    let x = net.unit(x, 10, 3, 1);
    let x = net.pool(x, 3, 1, false);
    let x = net.flatten(x);
    let x = net.linear(x, 12, Activation::Relu);
    let x = net.linear(x, 5, NONE);
    let x = net.node(Operator::Softmax { beta: 1.0 }, &[x]);
    net.finish(&[x])
}

fn lenet(seed: u64) -> Network {
    let (mut net, x) = Builder::new(&[1, 1, 14, 14], seed);
    let x = net.convolution(x, 6, 3, Convolution::BIASED);
    let x = net.pool(x, 2, 0, true);
    let x = net.convolution(x, 8, 3, Convolution::BIASED);
    let x = net.pool(x, 2, 0, true);
    let x = net.node(Operator::Reshape { shape: Some(vec![1, 8 * 4]) }, &[x]);
    let x = net.linear(x, 12, NONE);
    let x = net.node(Operator::Relu, &[x]);
    let x = net.linear(x, 10, NONE);
    net.finish(&[x])
}

fn residual(seed: u64) -> Network {
    let (mut net, x) = Builder::new(&[1, 3, 8, 8], seed);
    let mut x = net.unit(x, 6, 3, 1);
    for (channels, stride) in [(6, 1), (6, 1), (8, 2), (8, 1)] {
        let y = net.unit(x, channels, 3, stride);
        let y = net.convolution(y, channels, 3, Convolution { pad: 1, ..Convolution::PLAIN });
        let y = net.norm(y);
        let passed = match stride {
            1 => x,
            _ => {
                let x = net.convolution(x, channels, 1, Convolution { stride, ..Convolution::PLAIN });
                net.norm(x)
            }
        };
        let sum = net.add(y, passed);
        x = net.node(Operator::Relu, &[sum]);
    }
    let x = net.mean(x, false);
    let x = net.linear(x, 4, NONE);
    net.finish(&[x])
}

/// MobileNet's blocks, with squeeze and excitation in the second.
fn depthwise(seed: u64) -> Network {
    let (mut net, x) = Builder::new(&[1, 3, 8, 8], seed);
    let mut x = net.unit(x, 6, 3, 2);
    for excited in [false, true] {
        let y = net.convolution(x, 12, 1, Convolution::PLAIN);
        let y = net.norm(y);
        let y = net.node(Operator::Relu6, &[y]);
        let y = net.convolution(y, 12, 3, Convolution { groups: 12, pad: 1, ..Convolution::PLAIN });
        let y = net.norm(y);
        let mut y = net.node(Operator::HardSwish, &[y]);
        if excited {
            let gate = net.mean(y, true);
            let gate = net.convolution(gate, 4, 1, Convolution { activation: Activation::Relu, ..Convolution::BIASED });
            let gate = net.convolution(gate, 12, 1, Convolution::BIASED);
            let gate = net.node(Operator::Logistic, &[gate]);
            y = net.node(Operator::Mul { activation: NONE }, &[y, gate]);
        }
        let y = net.convolution(y, 6, 1, Convolution::BIASED);
        x = net.add(y, x);
    }
    let x = net.mean(x, true);
    let x = net.flatten(x);
    let x = net.linear(x, 4, NONE);
    net.finish(&[x])
}

fn dense(seed: u64) -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 6, 6], seed);
    let mut x = net.convolution(x, 4, 3, Convolution { pad: 1, ..Convolution::BIASED });
    for _ in 0..3 {
        let y = net.norm(x);
        let y = net.node(Operator::LeakyRelu { alpha: 0.1 }, &[y]);
        let y = net.convolution(y, 3, 3, Convolution { pad: 1, ..Convolution::BIASED });
        x = net.node(Operator::Concatenation { axis: -3, activation: NONE }, &[x, y]);
    }
    let x = net.norm(x);
    let x = net.pool(x, 2, 0, false);
    let x = net.flatten(x);
    let x = net.linear(x, 3, NONE);
    net.finish(&[x])
}

/// Groups, a multiplier, slopes, constants of every form, gates without padding, two outputs, a row per position.
fn mixed(seed: u64) -> Network {
    let (mut net, x) = Builder::new(&[1, 4, 7, 7], seed);
    let x = net.convolution(x, 8, 3, Convolution::BIASED);
    let slopes = net.numbers("slopes", &[8, 1, 1], 0.2, 0.1);
    let x = net.node(Operator::Prelu, &[x, slopes]);
    let x = net.convolution(x, 12, 3, Convolution { groups: 4, pad: 1, ..Convolution::BIASED });
    let shift = net.numbers("added", &[1, 12, 1, 1], 0.0, 1.0);
    let x = net.node(Operator::Sub { activation: NONE }, &[shift, x]);
    let factor = net.numbers("factor", &[12, 1, 1], 1.0, 0.5);
    let x = net.node(Operator::Mul { activation: NONE }, &[x, factor]);
    let x = net.convolution(x, 24, 3, Convolution { groups: 12, ..Convolution::BIASED });
    let x = net.node(Operator::Logistic, &[x]);
    let one = net.numbers("one", &[1], 0.3, 0.0);
    let x = net.node(Operator::Add { activation: NONE }, &[x, one]);
    let spatial = net.convolution(x, 1, 1, Convolution::BIASED);
    let x = net.convolution(x, 8, 1, Convolution::PLAIN);
    let x = net.node(Operator::Mul { activation: NONE }, &[x, spatial]);
    let other = net.node(Operator::Tanh, &[spatial]);
    let floor = net.numbers("floor", &[1, 8, 3, 3], -0.5, 0.3);
    let x = net.node(Operator::Maximum, &[x, floor]);
    let x = net.node(Operator::Minimum, &[x, x]);
    let rows = net.flatten(x);
    let rows = net.linear(rows, 18, Activation::ReluN1To1);
    let images = net.node(Operator::Reshape { shape: Some(vec![1, 2, 3, 3]) }, &[rows]);
    let images = net.convolution(images, 3, 3, Convolution::BIASED);
    let images = net.node(Operator::Squeeze { axes: vec![2, 3] }, &[images]);
    let images = net.node(Operator::Logistic, &[images]);
    let logits = net.linear(images, 3, NONE);
    net.finish(&[logits, other])
}

const NETWORKS: [fn(u64) -> Network; 6] = [vgg, lenet, residual, depthwise, dense, mixed];

fn numbers(network: &Network, tensor: TensorId) -> &[f32] {
    match network.main().tensors[tensor].constant.as_deref() {
        Some(Elements::F32(values)) => values,
        other => panic!("{other:?} is not f32"),
    }
}

fn set(network: &mut Network, tensor: TensorId, values: Vec<f32>) {
    network.graphs[0].tensors[tensor].constant = Some(Arc::new(values.into()));
}

fn masked(network: &Network, masks: &BTreeMap<String, Mask>) -> Network {
    let mut masked = network.clone();
    for (name, mask) in masks {
        let at = network.main().tensors.iter().position(|tensor| tensor.name == *name).unwrap();
        let mut values = numbers(network, at).to_vec();
        assert_eq!(mask.len(), values.len());
        mask.apply(&mut values);
        set(&mut masked, at, values);
    }
    masked
}

/// The tensors of weights of convolutions and linear layers, in the order of the graph.
fn weights(network: &Network) -> Vec<TensorId> {
    let layers = network
        .main()
        .nodes
        .iter()
        .filter(|node| matches!(node.operator, Operator::Conv2d { .. } | Operator::FullyConnected { .. }));
    layers.map(|node| node.inputs[1].unwrap()).collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// The interpreter

#[derive(Clone)]
struct Value {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Value {
    fn of(tensor: &Tensor) -> Self {
        let data = match tensor.constant.as_deref() {
            Some(Elements::F32(values)) => values.iter().map(|&v| f64::from(v)).collect(),
            Some(Elements::I64(values)) => values.iter().map(|&v| v as f64).collect(),
            other => panic!("{other:?}"),
        };
        Self { shape: tensor.shape.clone(), data }
    }

    fn four(&self) -> [usize; 4] {
        self.shape.as_slice().try_into().unwrap()
    }

    fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        self.data.iter_mut().for_each(|x| *x = f(*x));
        self
    }

    /// The element that meets position `at` of `shape`.
    fn meeting(&self, shape: &[usize], mut at: usize) -> f64 {
        let (mut index, mut stride) = (0, 1);
        for (back, &n) in shape.iter().rev().enumerate() {
            let own = self.shape.len().checked_sub(back + 1).map_or(1, |axis| self.shape[axis]);
            index += if own == 1 { 0 } else { at % n * stride };
            stride *= own;
            at /= n;
        }
        self.data[index]
    }
}

fn bend(activation: Activation) -> impl Fn(f64) -> f64 {
    let (least, most) = activation.bounds();
    move |x| x.clamp(f64::from(least), f64::from(most))
}

/// What the network computes of `input`, checked against the shapes that it states.
fn run(network: &Network, input: &[f64]) -> Vec<Vec<f64>> {
    let graph = network.main();
    let mut values: Vec<Option<Value>> =
        graph.tensors.iter().map(|tensor| tensor.constant.is_some().then(|| Value::of(tensor))).collect();
    let first = &graph.tensors[graph.inputs[0]];
    assert_eq!(first.shape.iter().product::<usize>(), input.len());
    values[graph.inputs[0]] = Some(Value { shape: first.shape.clone(), data: input.to_vec() });
    for node in &graph.nodes {
        let operand = |at: usize| node.inputs.get(at).copied().flatten().map(|id| values[id].as_ref().unwrap());
        let stated = &graph.tensors[node.outputs[0]].shape;
        let result = compute(&node.operator, &operand, stated);
        assert_eq!((&result.shape, result.data.len()), (stated, stated.iter().product()), "{}", node.operator.name());
        values[node.outputs[0]] = Some(result);
    }
    graph.outputs.iter().map(|&output| values[output].as_ref().unwrap().data.clone()).collect()
}

fn compute<'v>(operator: &Operator, operand: &dyn Fn(usize) -> Option<&'v Value>, stated: &[usize]) -> Value {
    let x = operand(0).unwrap();
    let meet = |f: &dyn Fn(f64, f64) -> f64| {
        let other = operand(1).unwrap();
        let count = stated.iter().product();
        let data = (0..count).map(|at| f(x.meeting(stated, at), other.meeting(stated, at))).collect();
        Value { shape: stated.to_vec(), data }
    };
    match operator {
        Operator::Conv2d { stride, dilation, padding, activation } => {
            let ([images, channels, height, width], [out, per_group, kh, kw]) = (x.four(), operand(1).unwrap().four());
            let windows = [(height, kh), (width, kw)];
            let along = |i: usize| Window::new(windows[i].0, windows[i].1, stride[i], dilation[i], padding[i]).unwrap();
            let [v, h] = [along(0), along(1)];
            let mut data = Vec::new();
            for (n, o, r, c) in places([images, out, v.output, h.output]) {
                let first = o / (out / (channels / per_group)) * per_group;
                let mut sum = operand(2).map_or(0.0, |bias| bias.data[o]);
                for i in 0..per_group {
                    for a in v.taps(r) {
                        for b in h.taps(c) {
                            let (y, z) = (v.position(r, a), h.position(c, b));
                            sum += x.data[((n * channels + first + i) * height + y) * width + z]
                                * operand(1).unwrap().data[((o * per_group + i) * kh + a) * kw + b];
                        }
                    }
                }
                data.push(bend(*activation)(sum));
            }
            Value { shape: vec![images, out, v.output, h.output], data }
        }
        Operator::FullyConnected { activation, .. } => {
            let weights = operand(1).unwrap();
            let (out, inputs) = (weights.shape[0], weights.shape[1]);
            let product = |row: &[f64], o: usize| {
                let line = &weights.data[o * inputs..(o + 1) * inputs];
                let bias = operand(2).map_or(0.0, |bias| bias.data[o]);
                bend(*activation)(bias + row.iter().zip(line).map(|(x, w)| x * w).sum::<f64>())
            };
            let data: Vec<f64> =
                x.data.chunks(inputs).flat_map(|row| (0..out).map(|o| product(row, o)).collect::<Vec<_>>()).collect();
            Value { shape: vec![data.len() / out, out], data }
        }
        Operator::BatchNormalization { epsilon } => {
            let inner: usize = x.shape[2..].iter().product();
            let mut y = x.clone();
            for (at, value) in y.data.iter_mut().enumerate() {
                let c = at / inner % x.shape[1];
                let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| operand(i).unwrap().data[c]);
                *value = (*value - mean) / (variance + f64::from(*epsilon)).sqrt() * scale + shift;
            }
            y
        }
        Operator::MaxPool2d(pool) => pooled(x, pool, |taken| taken.iter().copied().fold(f64::MIN, f64::max)),
        Operator::AveragePool2d(pool) => pooled(x, pool, |taken| taken.iter().sum::<f64>() / taken.len() as f64),
        Operator::Mean { .. } => {
            let inner: usize = x.shape[2..].iter().product();
            let data = x.data.chunks(inner).map(|plane| plane.iter().sum::<f64>() / inner as f64).collect();
            Value { shape: stated.to_vec(), data }
        }
        Operator::Reshape { .. } | Operator::Squeeze { .. } => Value { shape: stated.to_vec(), data: x.data.clone() },
        Operator::Concatenation { axis, .. } => {
            let parts: Vec<&Value> = (0..).map_while(operand).collect();
            let axis = if *axis < 0 { *axis + x.shape.len() as i32 } else { *axis } as usize;
            let outer: usize = x.shape[..axis].iter().product();
            let mut data = Vec::new();
            for at in 0..outer {
                for part in &parts {
                    let inner = part.data.len() / outer;
                    data.extend(&part.data[at * inner..(at + 1) * inner]);
                }
            }
            Value { shape: stated.to_vec(), data }
        }
        Operator::Softmax { beta } => {
            let mut y = x.clone().map(|x| (x * f64::from(*beta)).exp());
            y.data.chunks_mut(*x.shape.last().unwrap()).for_each(|row| {
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|x| *x /= sum);
            });
            y
        }
        Operator::Add { activation } => meet(&|a, b| bend(*activation)(a + b)),
        Operator::Sub { activation } => meet(&|a, b| bend(*activation)(a - b)),
        Operator::Mul { activation } => meet(&|a, b| bend(*activation)(a * b)),
        Operator::Maximum => meet(&f64::max),
        Operator::Minimum => meet(&f64::min),
        Operator::Prelu => meet(&|x, slope| if x < 0.0 { slope * x } else { x }),
        Operator::Relu => x.clone().map(|x| x.max(0.0)),
        Operator::Relu6 => x.clone().map(|x| x.clamp(0.0, 6.0)),
        Operator::LeakyRelu { alpha } => x.clone().map(|x| if x < 0.0 { f64::from(*alpha) * x } else { x }),
        Operator::HardSwish => x.clone().map(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        Operator::Logistic => x.clone().map(|x| 1.0 / (1.0 + (-x).exp())),
        Operator::Tanh => x.clone().map(f64::tanh),
        other => panic!("{}", other.name()),
    }
}

fn places([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |at| (at / (b * c * d), at / (c * d) % b, at / d % c, at % d))
}

fn pooled(x: &Value, pool: &Pool, of: impl Fn(&[f64]) -> f64) -> Value {
    let [images, channels, height, width] = x.four();
    let size = [height, width];
    let along = |i: usize| Window::new(size[i], pool.kernel[i], pool.stride[i], 1, pool.padding[i]).unwrap();
    let [v, h] = [along(0), along(1)];
    let mut data = Vec::new();
    for (n, k, r, c) in places([images, channels, v.output, h.output]) {
        let start = (n * channels + k) * height;
        let taps = v.taps(r).flat_map(|a| h.taps(c).map(move |b| (a, b)));
        let taken: Vec<f64> =
            taps.map(|(a, b)| x.data[(start + v.position(r, a)) * width + h.position(c, b)]).collect();
        data.push(bend(pool.activation)(of(&taken)));
    }
    Value { shape: vec![images, channels, v.output, h.output], data }
}

/// Random pictures for the network.
fn pictures(network: &Network, seed: u64) -> Vec<f64> {
    let (mut draws, _) = Builder::new(&[1, 1], seed);
    let count = network.main().tensors[network.main().inputs[0]].len();
    (0..count).map(|_| f64::from(draws.draw())).collect()
}

/// The greatest difference between what two networks compute, relative to the largest number or 1.
fn difference(a: &Network, b: &Network, seed: u64) -> f64 {
    let (a, b) = (run(a, &pictures(a, seed)), run(b, &pictures(b, seed)));
    assert_eq!(a.iter().map(Vec::len).collect::<Vec<_>>(), b.iter().map(Vec::len).collect::<Vec<_>>());
    let scale = a.iter().flatten().fold(1.0f64, |most, x| most.max(x.abs()));
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale
}

// ---------------------------------------------------------------------------------------------------------------------
// Removing channels

/// A removal of channels drawn at random, at most all but one of each group.
fn drawn(network: &Network, seed: u64, share: f64) -> Removal {
    let (mut draws, _) = Builder::new(&[1, 1], seed);
    let groups = Groups::of(network).unwrap();
    let plan = groups.groups().iter().map(|group| {
        let mut removed = group.removable.clone();
        removed.retain(|_| f64::from(draws.draw()) < 2.0 * share - 1.0);
        removed.truncate(group.channels - 1);
        GroupPlan { layers: group.layers.clone(), channels: group.channels, removed }
    });
    Removal { groups: plan.collect() }
}

/// Everything that must hold for a removal.
fn check(network: &Network, removal: &Removal, seed: u64) {
    let smaller = removal.apply(network).unwrap();
    let masked = masked(network, &removal.masks(network).unwrap());
    assert!(difference(&masked, &smaller, seed) < 1e-5);
    assert_eq!(removal.cost(network).unwrap(), Cost::of(&smaller));
    let (graph, cut) = (network.main(), smaller.main());
    for (&before, &after) in graph.inputs.iter().chain(&graph.outputs).zip(cut.inputs.iter().chain(&cut.outputs)) {
        assert_eq!(graph.tensors[before], cut.tensors[after]);
    }
    for (before, after) in graph.tensors.iter().zip(&cut.tensors) {
        assert_eq!(before.name, after.name);
        assert!(before.shape.iter().zip(&after.shape).all(|(before, after)| after <= before));
        if let Some(constant) = &after.constant {
            assert_eq!(constant.len(), after.len());
        }
    }
    // A layer that is a group alone has as many rows for each channel before and after.
    for group in removal.groups.iter().filter(|group| group.layers.len() == 1) {
        let rows = |graph: &Graph| graph.tensors.iter().find(|t| t.name == group.layers[0]).unwrap().shape[0];
        assert_eq!(rows(cut), rows(graph) / group.channels * (group.channels - group.removed.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_smaller_network_computes_what_the_masked_one_does(
        which in 0..NETWORKS.len(), seed in any::<u64>(), share in 0.0..1.0f64,
    ) {
        let network = NETWORKS[which](seed);
        let removal = drawn(&network, seed ^ 1, share);
        match removal.apply(&network) {
            // A layer among several of a group may be emptied by chance.
            Err(Error::Tensor { why, .. }) if why.contains("would be left") => {}
            _ => check(&network, &removal, seed ^ 2),
        }
    }

    #[test]
    fn a_share_is_met_and_predicted(
        which in 0..NETWORKS.len(), seed in any::<u64>(), share in 0.4..1.0f64, of_macs: bool, round_to in 1..5usize,
    ) {
        let network = NETWORKS[which](seed);
        let keep = if of_macs { Share::MultiplyAdds(share) } else { Share::Weights(share) };
        let budget = Budget { round_to, ..keep.into() };
        let groups = Groups::of(&network).unwrap();
        let removal = match groups.plan(&budget) {
            Err(Error::Input { why, .. }) if round_to > 1 || which == 5 => {
                prop_assert!(why.contains("is left"));
                return Ok(());
            }
            removal => removal.unwrap(),
        };
        check(&network, &removal, seed ^ 2);
        let (before, after) = (groups.cost(), removal.cost(&network).unwrap());
        match of_macs {
            true => prop_assert!(after.macs as f64 <= share * before.macs as f64),
            false => prop_assert!(after.weights as f64 <= share * before.weights as f64),
        }
        for group in &removal.groups {
            let left = group.channels - group.removed.len();
            prop_assert!(left > 0 && (left == group.channels || left % round_to == 0));
        }
        let text = serde_json::to_string(&removal).unwrap();
        prop_assert_eq!(serde_json::from_str::<Removal>(&text).unwrap(), removal);
    }

    #[test]
    fn dead_channels_leave_no_trace(which in 0..NETWORKS.len(), seed in any::<u64>(), density in 0.0..0.6f64) {
        let network = sparse(NETWORKS[which](seed), seed ^ 1, density);
        let (smaller, dead) = remove_dead(&network).unwrap();
        prop_assert!(difference(&network, &smaller, seed ^ 2) < 1e-6);
        let (before, after) = (Cost::of(&network), Cost::of(&smaller));
        prop_assert_eq!(before.weights - after.weights, dead.weights);
        prop_assert!(after.macs <= before.macs);
        let (again, nothing) = remove_dead(&smaller).unwrap();
        prop_assert_eq!(again, smaller);
        prop_assert_eq!(nothing, Dead::default());
    }
}

/// The network with only some of its weights.
fn sparse(mut network: Network, seed: u64, density: f64) -> Network {
    let (mut draws, _) = Builder::new(&[1, 1], seed);
    for tensor in weights(&network) {
        let values = numbers(&network, tensor).to_vec();
        let stays = |w: f32, draw: f32| if f64::from(draw) < 2.0 * density - 1.0 { w } else { 0.0 };
        let values = values.into_iter().map(|w| stays(w, draws.draw())).collect();
        set(&mut network, tensor, values);
    }
    network
}

#[test]
fn nothing_removed_changes_nothing() {
    for build in NETWORKS {
        let network = build(3);
        assert_eq!(Removal::default().apply(&network).unwrap(), network);
        assert!(Removal::default().masks(&network).unwrap().is_empty());
        let all: Budget = Share::Weights(1.0).into();
        let plan = Groups::of(&network).unwrap().plan(&all).unwrap();
        assert!(plan.groups.iter().all(|group| group.removed.is_empty()));
    }
}

#[test]
fn a_residual_couples_what_it_adds() {
    let network = residual(5);
    let groups = Groups::of(&network).unwrap();
    // Stem and second convolutions of the first stage; projection and second convolutions of the second stage.
    let layers: Vec<usize> = groups.groups().iter().map(|group| group.layers.len()).collect();
    assert_eq!(layers, [3, 1, 1, 1, 3, 1, 1]);
    let channels: Vec<usize> = groups.groups().iter().map(|group| group.channels).collect();
    assert_eq!(channels, [6, 6, 6, 8, 8, 8, 4]);
    assert!(groups.groups()[6].removable.is_empty());
}

#[test]
fn depthwise_convolutions_go_with_what_they_pass_on() {
    let network = depthwise(5);
    let groups = Groups::of(&network).unwrap();
    let layers: Vec<usize> = groups.groups().iter().map(|group| group.layers.len()).collect();
    // Residual stream; expansion + depthwise; expansion + depthwise + gate; squeeze; output.
    assert_eq!(layers, [3, 2, 3, 1, 1]);
}

#[test]
fn joined_layers_lose_their_channels_alone() {
    let network = dense(5);
    let groups = Groups::of(&network).unwrap();
    assert!(groups.groups().iter().all(|group| group.layers.len() == 1));
    assert_eq!(groups.groups().len(), 5);
}

/// Layers of 2 and 3 channels, joined, and added to what a layer of 5 makes.
fn joined_and_added() -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 4, 4], 11);
    let parts = [2, 3].map(|channels| net.convolution(x, channels, 3, Convolution { pad: 1, ..Convolution::BIASED }));
    let joined = net.node(Operator::Concatenation { axis: 1, activation: NONE }, &parts);
    let other = net.convolution(x, 5, 1, Convolution::BIASED);
    let x = net.add(joined, other);
    let x = net.convolution(x, 2, 3, Convolution::BIASED);
    net.finish(&[x])
}

#[test]
fn no_layer_of_a_group_is_emptied() {
    let network = joined_and_added();
    let groups = Groups::of(&network).unwrap();
    let group = &groups.groups()[0];
    assert_eq!((group.layers.len(), group.channels), (3, 5));
    let plan =
        |removed: Vec<u32>| Removal { groups: vec![GroupPlan { layers: group.layers.clone(), channels: 5, removed }] };
    assert!(plan(vec![0, 1]).apply(&network).unwrap_err().to_string().contains("none of 2 channels would be left"));
    check(&network, &plan(vec![1, 2, 3]), 1);
    let least = groups.plan(&Share::Weights(0.5).into()).unwrap();
    assert_eq!(least.count(), 3);
    check(&network, &least, 1);

    // All five channels are constant; one of each joined layer stays.
    let mut network = sparse(network, 1, 0.0);
    let last = weights(&network)[3];
    let count = network.main().tensors[last].len();
    set(&mut network, last, vec![1.0; count]);
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert_eq!((dead.groups[0].constant, dead.folded), (3, 3));
    assert_eq!(smaller.main().tensors[weights(&smaller)[2]].shape, [2, 2, 1, 1]);
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn groups_of_a_convolution_stay_equal() {
    let (mut net, x) = Builder::new(&[1, 3, 5, 5], 1);
    let x = net.convolution(x, 8, 1, Convolution::PLAIN);
    let x = net.convolution(x, 12, 3, Convolution { groups: 4, ..Convolution::PLAIN });
    let x = net.mean(x, false);
    let x = net.linear(x, 2, NONE);
    let network = net.finish(&[x]);
    let groups = Groups::of(&network).unwrap();
    assert_eq!(groups.groups().iter().map(|group| group.channels).collect::<Vec<_>>(), [2, 3, 2]);
    let removed = |at: usize, removed: Vec<u32>| GroupPlan {
        layers: groups.groups()[at].layers.clone(),
        channels: groups.groups()[at].channels,
        removed,
    };
    let removal = Removal { groups: vec![removed(0, vec![1]), removed(1, vec![0, 2])] };
    let smaller = removal.apply(&network).unwrap();
    let shapes: Vec<&[usize]> = weights(&smaller).iter().map(|&w| &smaller.main().tensors[w].shape[..]).collect();
    assert_eq!(shapes, [&[4, 3, 1, 1][..], &[4, 1, 3, 3], &[2, 4]]);
    check(&network, &removal, 3);
}

/// One convolution, a sigmoid, and a convolution behind it.
fn gated(pad: usize) -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 6, 6], 9);
    let x = net.convolution(x, 5, 3, Convolution::BIASED);
    let x = net.node(Operator::Logistic, &[x]);
    let x = net.convolution(x, 3, 3, Convolution { pad, ..Convolution::PLAIN });
    net.finish(&[x])
}

#[test]
fn what_a_sigmoid_makes_of_nothing_becomes_a_bias() {
    let network = gated(0);
    let removal = drawn(&network, 4, 0.5);
    assert!(removal.count() > 0);
    check(&network, &removal, 5);
    let smaller = removal.apply(&network).unwrap();
    let bias = smaller.main().nodes[2].inputs[2].unwrap();
    assert_eq!(smaller.main().tensors[bias].shape, [3]);
}

#[test]
fn behind_a_sigmoid_and_padding_channels_stay() {
    let network = gated(1);
    let groups = Groups::of(&network).unwrap();
    assert!(groups.groups().iter().all(|group| group.removable.is_empty()));
    let layers = groups.groups()[0].layers.clone();
    let removal = Removal { groups: vec![GroupPlan { layers, channels: 5, removed: vec![1] }] };
    assert!(removal.apply(&network).unwrap_err().to_string().contains("channel 1 of 5 cannot be removed"));
}

#[test]
fn the_weakest_channels_go_first() {
    let mut network = vgg(7);
    let first = weights(&network)[0];
    let mut values = numbers(&network, first).to_vec();
    values[27 * 5..27 * 6].iter_mut().for_each(|w| *w *= 1e-3);
    set(&mut network, first, values);
    let groups = Groups::of(&network).unwrap();
    let removal = groups.plan(&Share::Weights(0.99).into()).unwrap();
    assert_eq!(removal.groups[0].removed, [5]);

    // By scales, only what has a batch norm can go, and the smallest scale first.
    let mut network = vgg(7);
    let scale = network.main().nodes[1].inputs[1].unwrap();
    let mut values = numbers(&network, scale).to_vec();
    values[2] = -1e-3;
    set(&mut network, scale, values);
    let groups = Groups::of(&network).unwrap();
    let by_scale = |share| Budget { strength: Strength::NormScale, ..Share::Weights(share).into() };
    assert_eq!(groups.plan(&by_scale(0.99)).unwrap().groups[0].removed, [2]);
    assert!(groups.plan(&by_scale(0.6)).unwrap().groups[1].removed.is_empty());
}

#[test]
fn constants_that_exporters_store_once_are_cut_for_each_layer() {
    let (mut net, x) = Builder::new(&[1, 2, 5, 5], 1);
    let mean = net.numbers("mean", &[6], 0.0, 0.1);
    let variance = net.numbers("variance", &[6], 1.0, 0.1);
    let mut x = x;
    for _ in 0..2 {
        x = net.convolution(x, 6, 3, Convolution { pad: 1, ..Convolution::PLAIN });
        let (scale, shift) = (net.numbers("scale", &[6], 1.0, 0.3), net.numbers("shift", &[6], 0.0, 0.3));
        x = net.node(Operator::BatchNormalization { epsilon: 1e-3 }, &[x, scale, shift, mean, variance]);
    }
    let x = net.mean(x, false);
    let x = net.linear(x, 2, NONE);
    let network = net.finish(&[x]);
    let groups = Groups::of(&network).unwrap();
    assert_eq!(groups.groups().iter().map(|group| group.layers.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let plan =
        |at: usize, removed: Vec<u32>| GroupPlan { layers: groups.groups()[at].layers.clone(), channels: 6, removed };
    check(&network, &Removal { groups: vec![plan(0, vec![1, 2]), plan(1, vec![0])] }, 3);
    check(&network, &Removal { groups: vec![plan(0, vec![1, 2]), plan(1, vec![1, 2])] }, 3);
    check(&network, &Removal { groups: vec![plan(1, vec![3])] }, 3);
}

#[test]
fn layers_that_share_their_weights_share_their_channels() {
    let (mut net, x) = Builder::new(&[1, 6, 5, 5], 1);
    let x = net.convolution(x, 6, 1, Convolution::PLAIN);
    let shared = net.numbers("shared", &[6, 6, 3, 3], 0.0, 0.2);
    let padding = [Padding::Explicit { before: 1, after: 1 }; 2];
    let again = |activation| Operator::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation };
    let x = net.node(again(Activation::Relu), &[x, shared]);
    let x = net.node(again(Activation::Relu), &[x, shared]);
    let x = net.mean(x, false);
    let x = net.linear(x, 2, NONE);
    let network = net.finish(&[x]);
    let groups = Groups::of(&network).unwrap();
    assert_eq!(groups.groups().iter().map(|group| group.layers.len()).collect::<Vec<_>>(), [2, 1]);
    check(&network, &drawn(&network, 8, 0.5), 3);
}

// ---------------------------------------------------------------------------------------------------------------------
// What is refused

/// A network with `operator` between two convolutions.
fn around(operator: Operator, more: &[i64]) -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 4, 4], 1);
    let x = net.convolution(x, 6, 1, Convolution::BIASED);
    let mut inputs = vec![x];
    if !more.is_empty() {
        inputs.push(net.integers(more));
        if matches!(operator, Operator::Slice) {
            inputs.push(net.integers(&[1, 4, 4, 4]));
        }
    }
    let x = net.node(operator, &inputs);
    net.finish(&[x])
}

#[test]
fn what_moves_channels_is_refused_by_name() {
    let other = || Operator::Other { name: "EINSUM".into(), custom: false };
    let mean = || Operator::Mean { keep_dims: true };
    for (network, name) in [
        (around(Operator::Transpose, &[0, 1, 3, 2]), "TRANSPOSE"),
        (around(Operator::Slice, &[0, 0, 0, 0]), "SLICE"),
        (around(other(), &[]), "EINSUM"),
        (around(Operator::Quantize, &[]), "QUANTIZE"),
        (around(Operator::Reshape { shape: None }, &[1, 4, 6, 4]), "RESHAPE"),
        (around(Operator::Reshape { shape: None }, &[2, 3, 4, 4]), "RESHAPE"),
        (around(mean(), &[1]), "MEAN"),
        (around(Operator::Pad, &[0, 0, 1, 1, 0, 0, 0, 0]), "PAD"),
    ] {
        let error = Groups::of(&network).unwrap_err();
        assert!(matches!(&error, Error::Operator { index: 1, operator, .. } if operator == name), "{error}");
        assert!(matches!(remove_dead(&network), Err(Error::Operator { index: 1, .. })));
        assert!(matches!(Removal::default().apply(&network), Err(Error::Operator { index: 1, .. })));
    }
}

#[test]
fn other_layouts_and_false_shapes_are_refused() {
    let mut network = lenet(1);
    network.layout = Layout::ChannelsLast;
    assert!(matches!(Groups::of(&network), Err(Error::Input { .. })));
    let mut network = lenet(1);
    network.graphs.push(Graph::default());
    assert!(matches!(Groups::of(&network), Err(Error::Input { .. })));
    let mut network = lenet(1);
    let output = network.main().outputs[0];
    network.graphs[0].tensors[output].shape = vec![1, 11];
    assert!(Groups::of(&network).unwrap_err().to_string().contains("[1, 11]"));
    let mut network = lenet(1);
    let first = weights(&network)[0];
    network.graphs[0].tensors[first].constant = None;
    assert!(matches!(Groups::of(&network), Err(Error::Operator { index: 0, .. })));
    let mut network = lenet(1);
    let second = weights(&network)[1];
    network.graphs[0].tensors[second].name = network.graphs[0].tensors[first].name.clone();
    assert!(matches!(Groups::of(&network), Err(Error::Tensor { .. })));
}

#[test]
fn a_plan_for_another_network_is_refused() {
    let (network, other) = (vgg(1), residual(1));
    let removal = drawn(&network, 2, 0.5);
    assert!(matches!(removal.apply(&other), Err(Error::Tensor { .. })));
    let mut wrong = removal.clone();
    wrong.groups[0].channels += 1;
    assert!(matches!(wrong.masks(&network), Err(Error::Tensor { .. })));
    let mut wrong = removal.clone();
    wrong.groups[0].removed = vec![99];
    assert!(matches!(wrong.cost(&network), Err(Error::Tensor { .. })));
    let mut wrong = removal;
    wrong.groups[0].removed = (0..8).collect();
    assert!(wrong.apply(&network).unwrap_err().to_string().contains("would be left"));
}

#[test]
fn budgets_out_of_range_are_refused() {
    let mut network = vgg(1);
    let groups = Groups::of(&network).unwrap();
    for share in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(matches!(groups.plan(&Share::Weights(share).into()), Err(Error::Setting { .. })));
    }
    let budget = Budget { round_to: 0, ..Share::Weights(0.5).into() };
    assert!(matches!(groups.plan(&budget), Err(Error::Setting { .. })));
    assert!(matches!(groups.plan(&Share::MultiplyAdds(1e-4).into()), Err(Error::Input { .. })));
    let huge = Budget { round_to: usize::MAX, ..Share::Weights(1.0).into() };
    assert_eq!(groups.plan(&huge).unwrap().count(), 0);
    let first = weights(&network)[0];
    let mut values = numbers(&network, first).to_vec();
    values[3] = f32::NAN;
    set(&mut network, first, values);
    let plan = Groups::of(&network).unwrap().plan(&Share::Weights(0.5).into());
    assert!(matches!(plan, Err(Error::NotFinite { at: 3, .. })));
}

// ---------------------------------------------------------------------------------------------------------------------
// Dead channels

/// 4 → 5 → 3 → 2, every weight 1 and every bias 0.5.
fn layers() -> Network {
    let (mut net, mut x) = Builder::new(&[1, 4], 1);
    for (out, activation) in [(5, Activation::Relu), (3, Activation::Relu), (2, NONE)] {
        x = net.linear(x, out, activation);
    }
    let mut network = net.finish(&[x]);
    for tensor in 0..network.main().tensors.len() {
        if network.main().tensors[tensor].constant.is_some() {
            let value = if network.main().tensors[tensor].shape.len() == 1 { 0.5 } else { 1.0 };
            let count = network.main().tensors[tensor].len();
            set(&mut network, tensor, vec![value; count]);
        }
    }
    network
}

#[test]
fn a_neuron_without_inputs_becomes_a_bias() {
    let mut network = layers();
    let [first, ..] = weights(&network)[..] else { panic!() };
    let mut values = numbers(&network, first).to_vec();
    values[4..8].fill(0.0);
    set(&mut network, first, values);
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert_eq!((dead.groups.len(), dead.groups[0].constant, dead.groups[0].unread, dead.folded), (1, 1, 0, 1));
    assert_eq!(dead.weights, 4 + 1 + 3);
    assert_eq!(numbers(&smaller, smaller.main().nodes[1].inputs[2].unwrap()), [1.0; 3]);
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn what_fed_only_unread_neurons_is_unread_too() {
    let mut network = layers();
    let [_, second, third] = weights(&network)[..] else { panic!() };
    // Neuron 1 of the second layer is read by nothing; neuron 2 of the first is read by it alone.
    set(&mut network, third, vec![1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    let mut values = numbers(&network, second).to_vec();
    (values[2], values[12]) = (0.0, 0.0);
    set(&mut network, second, values);
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert_eq!(dead.groups.iter().map(|group| (group.constant, group.unread)).collect::<Vec<_>>(), [(0, 1), (0, 1)]);
    assert_eq!(dead.groups.iter().map(|group| group.channels).collect::<Vec<_>>(), [5, 3]);
    assert_eq!(weights(&smaller).iter().map(|&w| smaller.main().tensors[w].len()).collect::<Vec<_>>(), [16, 8, 4]);
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn a_residual_is_dead_only_if_all_that_adds_to_it_is() {
    let mut network = residual(3);
    let silence = |network: &mut Network, layer: usize| {
        let tensor = weights(network)[layer];
        let mut values = numbers(network, tensor).to_vec();
        let row = values.len() / network.main().tensors[tensor].shape[0];
        values[..row].fill(0.0);
        set(network, tensor, values);
    };
    silence(&mut network, 2);
    silence(&mut network, 4);
    let first = |dead: &Dead| dead.groups.iter().any(|group| group.layers.len() == 3);
    assert!(!first(&remove_dead(&network).unwrap().1));
    // With the stem it is constant, and other than 0 before convolutions that pad: it must stay.
    silence(&mut network, 0);
    assert!(!first(&remove_dead(&network).unwrap().1));
    // Without shifts and means it is 0.
    for node in network.main().nodes.clone() {
        if matches!(node.operator, Operator::BatchNormalization { .. }) {
            for tensor in [2, 3].map(|at| node.inputs[at].unwrap()) {
                let count = network.main().tensors[tensor].len();
                set(&mut network, tensor, vec![0.0; count]);
            }
        }
    }
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert!(first(&dead));
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn a_network_of_zeros_keeps_a_channel_everywhere() {
    for build in NETWORKS {
        let network = sparse(build(1), 1, 0.0);
        let (smaller, dead) = remove_dead(&network).unwrap();
        assert!(dead.weights > 0);
        assert!(smaller.main().tensors.iter().all(|tensor| !tensor.is_empty()));
        assert!(difference(&network, &smaller, 1) < 1e-6);
    }
}
