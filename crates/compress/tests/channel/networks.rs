//! Networks of every kind that channels are followed through, with random weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use tersor_compress::mask::Mask;
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;
use tersor_network::operator::{Operator, Pool};
use tersor_network::shape::{self, Operand};
use tersor_network::{Arithmetic, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind};

/// A network written down operator by operator, with random weights.
pub struct Builder {
    pub graph: Graph,
    pub state: u64,
}

pub const NONE: Activation = Activation::None;

impl Builder {
    pub fn new(input: &[usize], seed: u64) -> (Self, TensorId) {
        let mut builder = Self { graph: Graph::default(), state: seed };
        let x = builder.tensor("input", input, None);
        builder.graph.inputs.push(x);
        (builder, x)
    }

    pub fn finish(mut self, outputs: &[TensorId]) -> Network {
        self.graph.outputs = outputs.to_vec();
        let (name, description) = ("test".to_string(), String::new());
        let (arithmetic, layout) = (Arithmetic::Float, Layout::ChannelsFirst);
        Network { name, description, graphs: vec![self.graph], arithmetic, layout }
    }

    /// The next number in [−1, 1) (SplitMix64).
    pub fn draw(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn tensor(&mut self, name: &str, shape: &[usize], constant: Option<Elements>) -> TensorId {
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
    pub fn numbers(&mut self, name: &str, shape: &[usize], centre: f32, spread: f32) -> TensorId {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| centre + spread * self.draw()).collect();
        self.tensor(name, shape, Some(values.into()))
    }

    pub fn integers(&mut self, values: &[i64]) -> TensorId {
        self.tensor("integers", &[values.len()], Some(values.to_vec().into()))
    }

    pub fn node(&mut self, operator: Operator, inputs: &[TensorId]) -> TensorId {
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

    pub fn shape(&self, x: TensorId) -> Vec<usize> {
        self.graph.tensors[x].shape.clone()
    }

    pub fn convolution(&mut self, x: TensorId, out: usize, kernel: usize, how: Convolution) -> TensorId {
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

    pub fn linear(&mut self, x: TensorId, out: usize, activation: Activation) -> TensorId {
        let inputs: usize = self.shape(x)[1..].iter().product();
        let weights = self.numbers("linear", &[out, inputs], 0.0, 1.5 / (inputs as f32).sqrt());
        let bias = self.numbers("bias", &[out], 0.1, 0.5);
        self.node(Operator::FullyConnected { keep_num_dims: false, activation }, &[x, weights, bias])
    }

    pub fn norm(&mut self, x: TensorId) -> TensorId {
        let channels = [self.shape(x)[1]];
        let scale = self.numbers("scale", &channels, 1.0, 0.5);
        let shift = self.numbers("shift", &channels, 0.0, 0.5);
        let mean = self.numbers("mean", &channels, 0.0, 0.3);
        let variance = self.numbers("variance", &channels, 1.0, 0.7);
        self.node(Operator::BatchNormalization { epsilon: 1e-5 }, &[x, scale, shift, mean, variance])
    }

    /// Convolution, batch norm, ReLU.
    pub fn unit(&mut self, x: TensorId, out: usize, kernel: usize, stride: usize) -> TensorId {
        let x = self.convolution(x, out, kernel, Convolution { stride, pad: kernel / 2, ..Convolution::PLAIN });
        let x = self.norm(x);
        self.node(Operator::Relu, &[x])
    }

    pub fn pool(&mut self, x: TensorId, kernel: usize, pad: usize, max: bool) -> TensorId {
        let padding = [Padding::Explicit { before: pad, after: pad }; 2];
        let pool = Pool { kernel: [kernel; 2], stride: [2, 2], padding, activation: NONE };
        self.node(if max { Operator::MaxPool2d(pool) } else { Operator::AveragePool2d(pool) }, &[x])
    }

    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.node(Operator::Add { activation: NONE }, &[a, b])
    }

    pub fn mean(&mut self, x: TensorId, keep_dims: bool) -> TensorId {
        let axes = self.integers(&[2, 3]);
        self.node(Operator::Mean { keep_dims }, &[x, axes])
    }

    pub fn flatten(&mut self, x: TensorId) -> TensorId {
        let count = self.shape(x)[1..].iter().product::<usize>();
        let shape = self.integers(&[self.graph.tensors[x].shape[0] as i64, count as i64]);
        self.node(Operator::Reshape { shape: None }, &[x, shape])
    }
}

#[derive(Clone, Copy)]
pub struct Convolution {
    pub groups: usize,
    pub stride: usize,
    pub pad: usize,
    pub bias: bool,
    pub activation: Activation,
}

impl Convolution {
    pub const PLAIN: Self = Self { groups: 1, stride: 1, pad: 0, bias: false, activation: NONE };
    pub const BIASED: Self = Self { bias: true, ..Self::PLAIN };
}

pub fn vgg(seed: u64) -> Network {
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

pub fn lenet(seed: u64) -> Network {
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

pub fn residual(seed: u64) -> Network {
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
pub fn depthwise(seed: u64) -> Network {
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

pub fn dense(seed: u64) -> Network {
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
pub fn mixed(seed: u64) -> Network {
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

pub const NETWORKS: [fn(u64) -> Network; 6] = [vgg, lenet, residual, depthwise, dense, mixed];

pub fn numbers(network: &Network, tensor: TensorId) -> &[f32] {
    match network.main().tensors[tensor].constant.as_deref() {
        Some(Elements::F32(values)) => values,
        other => panic!("{other:?} is not f32"),
    }
}

pub fn set(network: &mut Network, tensor: TensorId, values: Vec<f32>) {
    network.graphs[0].tensors[tensor].constant = Some(Arc::new(values.into()));
}

pub fn masked(network: &Network, masks: &BTreeMap<String, Mask>) -> Network {
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
pub fn weights(network: &Network) -> Vec<TensorId> {
    let layers = network
        .main()
        .nodes
        .iter()
        .filter(|node| matches!(node.operator, Operator::Conv2d { .. } | Operator::FullyConnected { .. }));
    layers.map(|node| node.inputs[1].unwrap()).collect()
}

/// The network with only some of its weights.
pub fn sparse(mut network: Network, seed: u64, density: f64) -> Network {
    let (mut draws, _) = Builder::new(&[1, 1], seed);
    for tensor in weights(&network) {
        let values = numbers(&network, tensor).to_vec();
        let stays = |w: f32, draw: f32| if f64::from(draw) < 2.0 * density - 1.0 { w } else { 0.0 };
        let values = values.into_iter().map(|w| stays(w, draws.draw())).collect();
        set(&mut network, tensor, values);
    }
    network
}
