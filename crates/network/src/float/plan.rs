//! What a run does: the operators that its outputs need, with what is folded into them and fused to them.
//!
//! y = clamp((W x + b − mean) / √(variance + ε) · γ + β) is one layer: its weights are W · γ / √(variance + ε), its bias is
//! (b − mean) · γ / √(variance + ε) + β, computed in f64; a weight of 0 stays 0.

use tersor_data::ElementType;

use super::elementwise::Bounds;
use crate::error::Error;
use crate::graph::{Graph, Layout, Network, Node, TensorId, count_elements};
use crate::operator::Operator;
use crate::shape::{self, Operand};

/// An operator of a run.
pub(super) struct Op<'n> {
    /// Position of its node in the graph.
    pub at: usize,
    pub node: &'n Node,
    pub kind: Kind,
    /// What it writes, after all that is fused to it.
    pub output: TensorId,
    pub bounds: Bounds,
    /// TensorFlow Lite's names of itself and of what is folded or fused.
    pub names: Vec<&'n str>,
}

/// What an operator needs to know beyond its node.
pub(super) enum Kind {
    /// A convolution or a matrix product.
    Layer(Weights),
    /// A batch normalization by itself.
    Normalize { scale: Vec<f32>, shift: Vec<f32> },
    /// The same numbers under another shape.
    Alias,
    /// The output of that number, of an operator whose node says all.
    Other(usize),
}

/// Weights and bias of a layer, batch normalization included.
pub(super) struct Weights {
    pub name: String,
    /// As the file has them: `[out, …]`.
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
}

impl Weights {
    /// y · scale + shift for each output.
    fn normalized(&mut self, scale: &[f64], shift: &[f64]) {
        let per_output = self.values.len() / self.bias.len();
        for (weights, scale) in self.values.chunks_exact_mut(per_output).zip(scale) {
            weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        }
        for (bias, (scale, shift)) in self.bias.iter_mut().zip(scale.iter().zip(shift)) {
            *bias = f64::from(*bias).mul_add(*scale, *shift) as f32;
        }
    }
}

/// The positions of operands that are numbers, not shapes, axes or weights.
pub(super) fn operands(operator: &Operator, count: usize) -> std::ops::Range<usize> {
    match operator {
        Operator::Add { .. }
        | Operator::Sub { .. }
        | Operator::Mul { .. }
        | Operator::Maximum
        | Operator::Minimum
        | Operator::Prelu => 0..2,
        Operator::Concatenation { .. } | Operator::Pack { .. } => 0..count,
        Operator::Split { .. } => 1..2,
        _ => 0..1,
    }
}

/// The bounds that an operator has of itself.
fn own_bounds(operator: &Operator) -> Bounds {
    match operator {
        Operator::Add { activation }
        | Operator::Sub { activation }
        | Operator::Mul { activation }
        | Operator::Conv2d { activation, .. }
        | Operator::FullyConnected { activation, .. }
        | Operator::Concatenation { activation, .. } => Bounds::new(activation.bounds()),
        Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool) => Bounds::new(pool.activation.bounds()),
        _ => Bounds::NONE,
    }
}

/// The bounds that an operator is.
pub(super) fn clamps(operator: &Operator) -> Option<Bounds> {
    match operator {
        Operator::Relu => Some(Bounds { least: 0.0, most: f32::INFINITY }),
        Operator::Relu6 => Some(Bounds { least: 0.0, most: 6.0 }),
        Operator::ReluN1To1 => Some(Bounds { least: -1.0, most: 1.0 }),
        _ => None,
    }
}

/// Looks at a graph, and gathers its operators.
pub(super) struct Planner<'n> {
    network: &'n Network,
    pub graph: &'n Graph,
    /// Nodes that the outputs need.
    needed: Vec<bool>,
    /// Of each tensor, by needed nodes.
    readers: Vec<Vec<usize>>,
    is_output: Vec<bool>,
}

impl<'n> Planner<'n> {
    /// # Errors
    /// For a graph that is none, an operator whose operands do not fit, or numbers that are not f32.
    pub fn new(network: &'n Network) -> Result<Self, Error> {
        if network.layout != Layout::ChannelsFirst {
            let why = "its images have their channels last; the engine for real numbers takes channels first (ONNX)";
            return Err(Error::Input { network: network.name.clone(), why: why.into() });
        }
        let graph = network.main();
        let count = graph.tensors.len();
        let mut this = Self {
            network,
            graph,
            needed: vec![false; graph.nodes.len()],
            readers: vec![Vec::new(); count],
            is_output: vec![false; count],
        };
        this.check_order()?;
        graph.outputs.iter().for_each(|&t| this.is_output[t] = true);
        let mut wanted = this.is_output.clone();
        for (at, node) in graph.nodes.iter().enumerate().rev() {
            if node.outputs.iter().any(|&t| wanted[t]) {
                this.needed[at] = true;
                node.inputs.iter().flatten().for_each(|&t| wanted[t] = true);
            }
        }
        for (at, node) in graph.nodes.iter().enumerate().filter(|(at, _)| this.needed[*at]) {
            node.inputs.iter().flatten().for_each(|&t| this.readers[t].push(at));
            this.check(node).map_err(|why| this.fault(at, why))?;
        }
        Ok(this)
    }

    pub fn fault(&self, at: usize, why: String) -> Error {
        let operator = self.graph.nodes[at].operator.name().into();
        Error::Operator { network: self.network.name.clone(), within: String::new(), index: at, operator, why }
    }

    pub fn input_fault(&self, why: String) -> Error {
        Error::Input { network: self.network.name.clone(), why }
    }

    /// Every tensor exists, is written once, and before it is read.
    fn check_order(&self) -> Result<(), Error> {
        let Self { graph, .. } = self;
        let count = graph.tensors.len();
        let mut known: Vec<bool> = graph.tensors.iter().map(|t| t.constant.is_some()).collect();
        for tensor in &graph.tensors {
            let elements = count_elements(&tensor.shape);
            let fits = tensor.constant.as_ref().is_none_or(|c| Some(c.len() as u64) == elements);
            if elements.is_none() || !fits && tensor.element_type().is_some() {
                let (name, shape) = (&tensor.name, &tensor.shape);
                return Err(self.input_fault(format!("tensor {name} does not hold what its shape {shape:?} says")));
            }
        }
        for &t in &graph.inputs {
            let tensor = graph.tensors.get(t).ok_or_else(|| self.input_fault(format!("input tensor {t} is none")))?;
            if tensor.element_type() != Some(ElementType::F32) || tensor.is_empty() {
                let (name, kind, shape) = (&tensor.name, &tensor.kind, &tensor.shape);
                return Err(self.input_fault(format!("input {name} is {kind} of shape {shape:?}, not some float32")));
            }
            if tensor.constant.is_some() {
                return Err(self.input_fault(format!("input {} is a constant", tensor.name)));
            }
            known[t] = true;
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            for &t in node.inputs.iter().flatten() {
                if t >= count || !known[t] {
                    return Err(self.fault(at, format!("it reads tensor {t} before anything writes it")));
                }
            }
            for &t in &node.outputs {
                if t >= count || std::mem::replace(&mut known[t], true) {
                    return Err(self.fault(at, format!("it writes tensor {t}, which is none or has a value")));
                }
            }
        }
        match graph.outputs.iter().find(|&&t| t >= count || !known[t]) {
            Some(t) => Err(self.input_fault(format!("output tensor {t} has no value"))),
            None => Ok(()),
        }
    }

    pub fn operand(&self, node: &Node, i: usize) -> Result<TensorId, String> {
        node.inputs.get(i).copied().flatten().ok_or_else(|| format!("operand {i} is missing"))
    }

    pub fn shape(&self, t: TensorId) -> &'n [usize] {
        &self.graph.tensors[t].shape
    }

    pub fn of_shape(&self, t: TensorId) -> Operand<'n> {
        let tensor = &self.graph.tensors[t];
        Operand { shape: &tensor.shape, constant: tensor.constant.as_deref() }
    }

    /// Shapes follow from the operands, numbers are f32, and something is computed.
    fn check(&self, node: &Node) -> Result<(), String> {
        let all: Vec<_> = node.inputs.iter().map(|t| t.map(|t| self.of_shape(t))).collect();
        let shapes = shape::infer_in(self.network.layout, &node.operator, &all)?;
        let shapes = shapes.ok_or("the engine for real numbers does not run it")?;
        let declared = node.outputs.iter().map(|&t| self.shape(t));
        if !declared.clone().eq(shapes.iter().map(Vec::as_slice)) {
            let declared: Vec<_> = declared.collect();
            return Err(format!("its outputs are said to have shapes {declared:?}; the operands give {shapes:?}"));
        }
        let numbers = operands(&node.operator, node.inputs.len()).map(|i| self.operand(node, i));
        for t in numbers.chain(node.outputs.iter().map(|&t| Ok(t))) {
            let tensor = &self.graph.tensors[t?];
            if tensor.element_type() != Some(ElementType::F32) {
                return Err(format!(
                    "tensor {} is {}; the engine for real numbers takes float32",
                    tensor.name, tensor.kind
                ));
            }
            if tensor.is_empty() {
                return Err(format!("tensor {} of shape {:?} holds nothing", tensor.name, tensor.shape));
            }
        }
        Ok(())
    }

    /// Constant real numbers.
    pub fn constant(&self, t: TensorId, what: &str) -> Result<&'n [f32], String> {
        let tensor = &self.graph.tensors[t];
        match &tensor.constant {
            None => Err(format!("{what} ({}) are computed at run time; only constants are supported", tensor.name)),
            Some(constant) => constant
                .as_f32()
                .ok_or_else(|| format!("{what} ({}) are {}, not float32", tensor.name, constant.element_type())),
        }
    }

    /// The operators, in order.
    ///
    /// # Errors
    /// For an operator that the engine does not run.
    pub fn ops(&self) -> Result<Vec<Op<'n>>, Error> {
        let mut absorbed = vec![false; self.graph.nodes.len()];
        let mut ops = Vec::new();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if !self.needed[at] || absorbed[at] {
                continue;
            }
            let kind = self.kind(node).map_err(|why| self.fault(at, why))?;
            for (part, &output) in node.outputs.iter().enumerate() {
                let kind = match &kind {
                    None if self.readers[output].is_empty() && !self.is_output[output] => continue,
                    None => Kind::Other(part),
                    Some(_) => break,
                };
                ops.push(self.op(at, kind, output));
            }
            if let Some(kind) = kind {
                ops.push(self.op(at, kind, node.outputs[0]));
            }
            if let Some(op) = ops.last_mut() {
                self.absorb(op, &mut absorbed)?;
            }
        }
        Ok(ops)
    }

    fn op(&self, at: usize, kind: Kind, output: TensorId) -> Op<'n> {
        let node = &self.graph.nodes[at];
        let bounds = own_bounds(&node.operator);
        Op { at, node, kind, output, bounds, names: vec![node.operator.name()] }
    }

    fn kind(&self, node: &'n Node) -> Result<Option<Kind>, String> {
        Ok(match &node.operator {
            Operator::Conv2d { .. } | Operator::FullyConnected { .. } => Some(Kind::Layer(self.weights(node)?)),
            Operator::BatchNormalization { epsilon } => {
                let (scale, shift) = self.normalization(node, *epsilon)?;
                let narrow = |v: Vec<f64>| v.into_iter().map(|x| x as f32).collect();
                Some(Kind::Normalize { scale: narrow(scale), shift: narrow(shift) })
            }
            Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => Some(Kind::Alias),
            _ => None,
        })
    }

    fn weights(&self, node: &Node) -> Result<Weights, String> {
        let t = self.operand(node, 1)?;
        let values = self.constant(t, "the weights")?.to_vec();
        let shape = self.shape(t).to_vec();
        let outputs = shape.first().copied().unwrap_or(0);
        // Kernels count places in 32 bits.
        if values.is_empty() || values.len() > u32::MAX as usize {
            return Err(format!("weights of shape {shape:?} hold nothing, or more than 2^32 numbers"));
        }
        let bias = match node.inputs.get(2).copied().flatten() {
            Some(t) => self.constant(t, "the biases")?.to_vec(),
            None => vec![0.0; outputs],
        };
        if bias.len() != outputs {
            return Err(format!("{} biases for {outputs} outputs", bias.len()));
        }
        Ok(Weights { name: self.graph.tensors[t].name.clone(), shape, values, bias })
    }

    /// Scale and shift of each channel.
    fn normalization(&self, node: &Node, epsilon: f32) -> Result<(Vec<f64>, Vec<f64>), String> {
        let parameter = |i: usize, what| self.constant(self.operand(node, i)?, what);
        let (gamma, beta) = (parameter(1, "the scales")?, parameter(2, "the biases")?);
        let (mean, variance) = (parameter(3, "the means")?, parameter(4, "the variances")?);
        let scale = |c: usize| {
            let scale = f64::from(gamma[c]) / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
            let finite = scale.is_finite().then_some(scale);
            finite.ok_or_else(|| format!("channel {c} has the variance {} and the scale {}", variance[c], gamma[c]))
        };
        let scale = (0..gamma.len()).map(scale).collect::<Result<Vec<f64>, _>>()?;
        let shift = scale.iter().enumerate().map(|(c, scale)| f64::from(beta[c]) - f64::from(mean[c]) * scale);
        let shift = shift.collect();
        Ok((scale, shift))
    }

    /// Takes into `op` what alone reads its output and can be done with it.
    fn absorb(&self, op: &mut Op<'n>, absorbed: &mut [bool]) -> Result<(), Error> {
        let ends = match (&op.kind, &op.node.operator) {
            (Kind::Layer(_) | Kind::Normalize { .. }, _) => true,
            (Kind::Alias, _) => false,
            (Kind::Other(_), operator) => matches!(
                operator,
                Operator::Add { .. }
                    | Operator::Sub { .. }
                    | Operator::Mul { .. }
                    | Operator::AveragePool2d(_)
                    | Operator::MaxPool2d(_)
                    | Operator::Concatenation { .. }
            ),
        };
        while ends && op.bounds == Bounds::NONE && !self.is_output[op.output] {
            let &[at] = self.readers[op.output].as_slice() else { return Ok(()) };
            let next = &self.graph.nodes[at];
            match (&mut op.kind, &next.operator, clamps(&next.operator)) {
                (_, _, Some(bounds)) => op.bounds = bounds,
                (Kind::Layer(weights), Operator::BatchNormalization { epsilon }, _)
                    // The channels of the one are the outputs of the other.
                    if next.inputs.first() == Some(&Some(op.output))
                        && (matches!(op.node.operator, Operator::Conv2d { .. })
                            || self.shape(op.output).len() == 2) =>
                {
                    let parameters = self.normalization(next, *epsilon);
                    let (scale, shift) = parameters.map_err(|why| self.fault(at, why))?;
                    weights.normalized(&scale, &shift);
                }
                _ => return Ok(()),
            }
            absorbed[at] = true;
            op.output = next.outputs[0];
            op.names.push(next.operator.name());
        }
        Ok(())
    }
}
