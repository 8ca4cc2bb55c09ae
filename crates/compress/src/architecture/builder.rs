//! A graph written down layer by layer, with its initial weights.

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;
use tersor_network::operator::{Operator, Pool};
use tersor_network::shape::{self, Operand};
use tersor_network::{Arithmetic, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind};
use tersor_train::init::normal;

use crate::Error;

/// A network on its way: tensors have the names of their layers, images one of a batch.
#[derive(Debug)]
pub struct Builder {
    name: String,
    graph: Graph,
    draws: ChaCha8Rng,
}

/// A window that slides: the same along rows and columns.
#[derive(Debug, Clone, Copy)]
pub struct Slide {
    /// Taps along each axis.
    pub kernel: usize,
    /// Distance between neighbouring outputs.
    pub stride: usize,
    /// Around the image.
    pub padding: Padding,
}

impl Slide {
    /// A window of odd size whose outputs are as many as its inputs, if it moves by one.
    pub fn centred(kernel: usize, stride: usize) -> Self {
        let side = kernel / 2;
        Self { kernel, stride, padding: Padding::Explicit { before: side, after: side } }
    }

    /// A window that stays within the image.
    pub fn inside(kernel: usize, stride: usize) -> Self {
        Self { kernel, stride, padding: Padding::Valid }
    }
}

impl Builder {
    /// An empty network that takes `shape` (without the batch), and its input.
    pub fn new(name: &str, shape: &[usize], seed: u64) -> (Self, TensorId) {
        let graph = Graph { name: name.into(), ..Graph::default() };
        let mut builder = Self { name: name.into(), graph, draws: ChaCha8Rng::seed_from_u64(seed) };
        let input = builder.tensor("input", [&[1], shape].concat(), None);
        builder.graph.inputs.push(input);
        (builder, input)
    }

    /// The network, whose output is `output`.
    pub fn finish(mut self, output: TensorId) -> Network {
        self.graph.tensors[output].name = "logits".into();
        self.graph.outputs.push(output);
        Network {
            name: self.name,
            description: String::new(),
            graphs: vec![self.graph],
            arithmetic: Arithmetic::Float,
            layout: Layout::ChannelsFirst,
        }
    }

    /// A convolution with `name.weight` and, if `bias`, `name.bias`.
    pub fn convolution(
        &mut self,
        x: TensorId,
        name: &str,
        out: usize,
        groups: usize,
        slide: Slide,
        bias: bool,
    ) -> Result<TensorId, Error> {
        let inputs = self.graph.tensors[x].shape.get(1).copied().unwrap_or(1) / groups;
        let weights = self.drawn(&format!("{name}.weight"), vec![out, inputs, slide.kernel, slide.kernel]);
        let bias = bias.then(|| self.constant(&format!("{name}.bias"), vec![out], vec![0.0; out]));
        let operator = Operator::Conv2d {
            stride: [slide.stride; 2],
            dilation: [1, 1],
            padding: [slide.padding; 2],
            activation: Activation::None,
        };
        self.node(operator, &[Some(x), Some(weights), bias], name)
    }

    /// A linear layer with `name.weight`, `[out, in]`, and `name.bias`.
    pub fn linear(&mut self, x: TensorId, name: &str, out: usize) -> Result<TensorId, Error> {
        let inputs = self.graph.tensors[x].shape.last().copied().unwrap_or(1);
        let weights = self.drawn(&format!("{name}.weight"), vec![out, inputs]);
        let bias = self.constant(&format!("{name}.bias"), vec![out], vec![0.0; out]);
        let operator = Operator::FullyConnected { keep_num_dims: false, activation: Activation::None };
        self.node(operator, &[Some(x), Some(weights), Some(bias)], name)
    }

    /// Batch norm with `name.weight`, `name.bias`, `name.running_mean` and `name.running_var`.
    pub fn batch_norm(&mut self, x: TensorId, name: &str, epsilon: f32) -> Result<TensorId, Error> {
        let channels = self.graph.tensors[x].shape.get(1).copied().unwrap_or(1);
        let of = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
        let of =
            of.map(|(part, value)| self.constant(&format!("{name}.{part}"), vec![channels], vec![value; channels]));
        let [scale, bias, mean, variance] = of.map(Some);
        self.node(Operator::BatchNormalization { epsilon }, &[Some(x), scale, bias, mean, variance], name)
    }

    /// A function of each element.
    pub fn map(&mut self, x: TensorId, operator: Operator) -> Result<TensorId, Error> {
        let name = operator.name().to_lowercase();
        self.node(operator, &[Some(x)], &name)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: TensorId) -> Result<TensorId, Error> {
        self.map(x, Operator::Relu)
    }

    /// The sum of two tensors of one shape.
    pub fn add(&mut self, a: TensorId, b: TensorId) -> Result<TensorId, Error> {
        self.node(Operator::Add { activation: Activation::None }, &[Some(a), Some(b)], "add")
    }

    /// The largest of each window.
    pub fn max_pool(&mut self, x: TensorId, slide: Slide) -> Result<TensorId, Error> {
        let pool = Pool {
            kernel: [slide.kernel; 2],
            stride: [slide.stride; 2],
            padding: [slide.padding; 2],
            activation: Activation::None,
        };
        self.map(x, Operator::MaxPool2d(pool))
    }

    /// The mean of each channel: `[images, channels]`.
    pub fn mean(&mut self, x: TensorId) -> Result<TensorId, Error> {
        let axes = self.tensor("axes", vec![2], Some(Elements::I64(vec![2, 3])));
        self.node(Operator::Mean { keep_dims: false }, &[Some(x), Some(axes)], "mean")
    }

    /// `[images, all the rest]`.
    pub fn flatten(&mut self, x: TensorId) -> Result<TensorId, Error> {
        let width: usize = self.graph.tensors[x].shape.iter().skip(1).product();
        let shape = Some(vec![-1, width as i32]);
        self.map(x, Operator::Reshape { shape })
    }

    fn node(&mut self, operator: Operator, inputs: &[Option<TensorId>], name: &str) -> Result<TensorId, Error> {
        let tensors = &self.graph.tensors;
        let operand = |t: TensorId| Operand { shape: &tensors[t].shape, constant: tensors[t].constant.as_deref() };
        let operands: Vec<_> = inputs.iter().map(|t| t.map(operand)).collect();
        let fault = |why: String| Error::Operator {
            network: self.name.clone(),
            index: self.graph.nodes.len(),
            operator: format!("{} `{name}`", operator.name()),
            why,
        };
        let shapes = shape::infer_in(Layout::ChannelsFirst, &operator, &operands).map_err(fault)?;
        let shape =
            shapes.and_then(|shapes| shapes.into_iter().next()).ok_or_else(|| fault("it has no shape".into()))?;
        let output = self.tensor(&format!("{name}.out"), shape, None);
        let inputs = inputs.iter().rposition(Option::is_some).map_or(&[][..], |last| &inputs[..=last]);
        self.graph.nodes.push(Node { operator, inputs: inputs.to_vec(), outputs: vec![output] });
        Ok(output)
    }

    /// Initial weights: normal with the deviation √(2 / fan-in) (He et al., ICCV 2015, eq. 10).
    fn drawn(&mut self, name: &str, shape: Vec<usize>) -> TensorId {
        let fan_in: usize = shape.iter().skip(1).product();
        let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
        let count = shape.iter().product();
        let values = (0..count).map(|_| (deviation * normal(&mut self.draws)) as f32).collect();
        self.constant(name, shape, values)
    }

    /// A tensor of numbers that is learned.
    pub fn constant(&mut self, name: &str, shape: Vec<usize>, values: Vec<f32>) -> TensorId {
        self.tensor(name, shape, Some(Elements::F32(values)))
    }

    /// Names are made different where a layer has none of its own.
    fn tensor(&mut self, name: &str, shape: Vec<usize>, constant: Option<Elements>) -> TensorId {
        let known = |name: &str| self.graph.tensors.iter().any(|tensor| tensor.name == name);
        let other = || (2..).map(|n| format!("{name}.{n}")).find(|name| !known(name));
        let name = if known(name) { other().unwrap_or_default() } else { name.to_owned() };
        let kind = constant.as_ref().map_or(ElementType::F32, Elements::element_type);
        self.graph.tensors.push(Tensor {
            name,
            shape,
            kind: TensorKind::Element(kind),
            quantization: None,
            constant: constant.map(Arc::new),
            variable: false,
        });
        self.graph.tensors.len() - 1
    }
}
