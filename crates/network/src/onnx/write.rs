//! From a [`Network`] to the bytes of a `.onnx` file: operator set 17, IR version 8.

use std::collections::{HashMap, HashSet};

use onnx_schema as schema;
use onnx_schema::attribute_proto::AttributeType;
use onnx_schema::tensor_shape_proto::dimension::Value as Length;
use onnx_schema::type_proto::Value as Type;
use onnx_schema::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use prost::Message;
use tersor_data::Elements;
use tersor_kernels::int8::Activation;
use tersor_kernels::window::{Padding, Window};

use super::{read, tensor};
use crate::error::Error;
use crate::graph::{Graph, Layout, Network, Node, Tensor, TensorId, TensorKind};
use crate::operator::{Operator, Pair};
use crate::shape::{self, Operand};

const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// The bytes of a `.onnx` file that [`from_bytes`](super::from_bytes) reads back, and onnxruntime runs.
///
/// Tensors keep their names. The first axis of inputs and outputs that is the number of images is open and called
/// `batch`. An activation that is fused in an operator becomes a node of its own, as do the steps of what ONNX has no
/// one operator for; a network for one image without either, whose tensors stand in the order in which its nodes name
/// them, is read back as it was.
///
/// # Errors
/// [`Error::Operator`] for what has no counterpart here (variables, quantised operators, SPLIT, PACK and their kin,
/// [`Operator::Other`]), [`Error::Malformed`] for channels that stand last, quantised tensors, several graphs, and names
/// that are empty or given twice.
pub fn write(network: &Network) -> Result<Vec<u8>, Error> {
    let malformed =
        |place: String, why: &str| Error::Malformed { network: network.name.clone(), place, why: why.into() };
    if network.layout != Layout::ChannelsFirst {
        return Err(malformed("the network".into(), "has its channels last; ONNX has them first"));
    }
    let [graph] = network.graphs.as_slice() else {
        return Err(malformed("the network".into(), "has several graphs; one is supported"));
    };
    let mut names = HashSet::new();
    for (t, tensor) in graph.tensors.iter().enumerate() {
        let place = || format!("tensor {t} ({})", tensor.name);
        if tensor.name.is_empty() || !names.insert(tensor.name.clone()) {
            return Err(malformed(place(), "its name is empty or given twice"));
        }
        if tensor.quantization.is_some() || tensor.variable {
            return Err(malformed(place(), "is quantised or a variable, which is not supported"));
        }
    }
    let mut writer =
        Writer { graph, names, written: HashSet::new(), turned: HashMap::new(), to: GraphProto::default() };
    for (index, node) in graph.nodes.iter().enumerate() {
        writer.node(node).map_err(|why| Error::Operator {
            network: network.name.clone(),
            within: String::new(),
            index,
            operator: node.operator.name().into(),
            why,
        })?;
    }
    for &t in &graph.outputs {
        writer.operand(t);
    }
    let images = graph.inputs.first().and_then(|&t| graph.tensors[t].shape.first().copied());
    let values = |ids: &[TensorId]| ids.iter().map(|&t| value(&graph.tensors[t], images)).collect::<Option<Vec<_>>>();
    let odd = || malformed("the network".into(), "takes or gives what is no plain numbers");
    let to = GraphProto {
        name: Some(if graph.name.is_empty() { "main".into() } else { graph.name.clone() }),
        input: values(&graph.inputs).ok_or_else(odd)?,
        output: values(&graph.outputs).ok_or_else(odd)?,
        ..writer.to
    };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![schema::OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        producer_name: Some("tersor".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: (!network.description.is_empty()).then(|| network.description.clone()),
        graph: Some(to),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

/// An input or output of the graph.
fn value(tensor: &Tensor, images: Option<usize>) -> Option<ValueInfoProto> {
    let TensorKind::Element(element) = tensor.kind else { return None };
    let dimension = |(i, &n): (usize, &usize)| {
        let length = match i {
            0 if Some(n) == images => Length::DimParam("batch".into()),
            _ => Length::DimValue(n as i64),
        };
        schema::tensor_shape_proto::Dimension { denotation: None, value: Some(length) }
    };
    let shape = schema::TensorShapeProto { dim: tensor.shape.iter().enumerate().map(dimension).collect() };
    let element = schema::type_proto::Tensor { elem_type: Some(tensor::data_type(element) as i32), shape: Some(shape) };
    Some(ValueInfoProto {
        name: Some(tensor.name.clone()),
        r#type: Some(schema::TypeProto { denotation: None, value: Some(Type::TensorType(element)) }),
        ..ValueInfoProto::default()
    })
}

struct Writer<'n> {
    graph: &'n Graph,
    names: HashSet<String>,
    /// Constants that stand in the file.
    written: HashSet<TensorId>,
    /// Weights `[out, in]` that stand in the file as `[in, out]`, and their names there.
    turned: HashMap<TensorId, String>,
    to: GraphProto,
}

impl<'n> Writer<'n> {
    fn node(&mut self, node: &'n Node) -> Result<(), String> {
        let graph = self.graph;
        let tensor = |t: TensorId| &graph.tensors[t];
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let first = input(0).ok_or("operand 0 is missing")?;
        let x = tensor(first);
        let &[y] = node.outputs.as_slice() else { return Err("gives several results".into()) };
        let y = tensor(y).name.as_str();
        let from = self.operand(first);
        let none = Activation::None;
        match &node.operator {
            Operator::Add { activation } => self.plain("Add", node, y, *activation, vec![]),
            Operator::Sub { activation } => self.plain("Sub", node, y, *activation, vec![]),
            Operator::Mul { activation } => self.plain("Mul", node, y, *activation, vec![]),
            Operator::Maximum => self.plain("Max", node, y, none, vec![]),
            Operator::Minimum => self.plain("Min", node, y, none, vec![]),
            Operator::Logistic => self.plain("Sigmoid", node, y, none, vec![]),
            Operator::Tanh => self.plain("Tanh", node, y, none, vec![]),
            Operator::HardSwish => self.plain("HardSwish", node, y, none, vec![]),
            Operator::Prelu => self.plain("PRelu", node, y, none, vec![]),
            Operator::LeakyRelu { alpha } => self.plain("LeakyRelu", node, y, none, vec![float("alpha", *alpha)]),
            Operator::BatchNormalization { epsilon } => {
                self.plain("BatchNormalization", node, y, none, vec![float("epsilon", *epsilon)]);
            }
            Operator::Concatenation { axis, activation } => {
                self.plain("Concat", node, y, *activation, vec![int("axis", i64::from(*axis))]);
            }
            Operator::Relu => self.activate(Activation::Relu, &from, y),
            Operator::Relu6 => self.activate(Activation::Relu6, &from, y),
            Operator::ReluN1To1 => self.activate(Activation::ReluN1To1, &from, y),
            Operator::Conv2d { stride, dilation, padding, activation } => {
                let weights = tensor(input(1).ok_or("it has no weights")?);
                let (&[_, channels, _, _], &[_, per_group, height, width]) =
                    (x.shape.as_slice(), weights.shape.as_slice())
                else {
                    return Err("its operands are no images and weights".into());
                };
                if per_group == 0 || !channels.is_multiple_of(per_group) {
                    return Err(format!("weights {:?} do not fit {channels} input channels", weights.shape));
                }
                let mut attributes = window(&x.shape, [height, width], *stride, *dilation, *padding)?;
                attributes.push(pair("dilations", *dilation));
                attributes.push(int("group", (channels / per_group) as i64));
                self.plain("Conv", node, y, *activation, attributes);
            }
            Operator::MaxPool2d(pool) | Operator::AveragePool2d(pool) => {
                let name = if matches!(node.operator, Operator::MaxPool2d(_)) { "MaxPool" } else { "AveragePool" };
                let attributes = window(&x.shape, pool.kernel, pool.stride, [1, 1], pool.padding)?;
                self.plain(name, node, y, pool.activation, attributes);
            }
            Operator::FullyConnected { keep_num_dims, activation } => {
                self.product(node, first, y, *keep_num_dims, *activation)?;
            }
            Operator::Mean { keep_dims } => {
                let axes = self.numbers(node, 1, "the list of axes")?;
                if axes.is_empty() {
                    // No axes are all axes there.
                    self.push("Identity", vec![from], y, vec![]);
                    return Ok(());
                }
                let attributes = vec![ints("axes", axes), int("keepdims", i64::from(*keep_dims))];
                self.push("ReduceMean", vec![from], y, attributes);
            }
            Operator::Softmax { beta } => {
                let mut x = from;
                if *beta != 1.0 {
                    let scaled = self.fresh(format!("{y}/scaled"));
                    let beta = self.initialiser(format!("{y}/beta"), &[], vec![*beta].into());
                    self.push("Mul", vec![x, beta], &scaled, vec![]);
                    x = scaled;
                }
                self.push("Softmax", vec![x], y, vec![int("axis", -1)]);
            }
            Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers } => {
                self.resize(node, true, *align_corners, *half_pixel_centers)?;
            }
            Operator::ResizeBilinear { align_corners, half_pixel_centers } => {
                self.resize(node, false, *align_corners, *half_pixel_centers)?;
            }
            Operator::Pad | Operator::PadV2 => {
                let around = self.numbers(node, 1, "the padding")?;
                let (pairs, _) = around.as_chunks::<2>();
                let pads: Vec<i64> = pairs.iter().map(|p| p[0]).chain(pairs.iter().map(|p| p[1])).collect();
                let pads = self.initialiser(format!("{y}/pads"), &[pads.len()], pads.into());
                let mut operands = vec![from, pads];
                if let Some(value) = input(2) {
                    operands.push(self.operand(value));
                }
                self.push("Pad", operands, y, vec![string("mode", "constant")]);
            }
            Operator::Reshape { shape } => {
                let asked: Vec<i64> = match (input(1), shape) {
                    (Some(_), _) => self.numbers(node, 1, "the new shape")?,
                    (None, Some(shape)) => shape.iter().map(|&n| i64::from(n)).collect(),
                    (None, None) => tensor(node.outputs[0]).shape.iter().map(|&n| n as i64).collect(),
                };
                let attributes = if asked.contains(&0) { vec![int("allowzero", 1)] } else { vec![] };
                let asked = self.initialiser(format!("{y}/shape"), &[asked.len()], asked.into());
                self.push("Reshape", vec![from, asked], y, attributes);
            }
            Operator::Squeeze { axes } => {
                let mut operands = vec![from];
                if !axes.is_empty() {
                    let axes: Vec<i64> = axes.iter().map(|&a| i64::from(a)).collect();
                    operands.push(self.initialiser(format!("{y}/axes"), &[axes.len()], axes.into()));
                }
                self.push("Squeeze", operands, y, vec![]);
            }
            Operator::ExpandDims => {
                let axis = self.numbers(node, 1, "the axis")?;
                let axis = self.initialiser(format!("{y}/axes"), &[axis.len()], axis.into());
                self.push("Unsqueeze", vec![from, axis], y, vec![]);
            }
            Operator::Transpose => {
                let axes = self.numbers(node, 1, "the permutation")?;
                self.push("Transpose", vec![from], y, vec![ints("perm", axes)]);
            }
            Operator::StridedSlice { .. } | Operator::Slice => self.slice(node, first, y)?,
            _ => return Err("has no counterpart in ONNX that is supported".into()),
        }
        Ok(())
    }

    /// A name like `name` that nothing has.
    fn fresh(&mut self, mut name: String) -> String {
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// The name of an operand; if it is constant it then stands in the file.
    fn operand(&mut self, t: TensorId) -> String {
        let tensor = &self.graph.tensors[t];
        if let Some(elements) = &tensor.constant
            && self.written.insert(t)
        {
            self.to.initializer.push(tensor::write(&tensor.name, &tensor.shape, elements));
        }
        tensor.name.clone()
    }

    /// A constant that only the file needs.
    fn initialiser(&mut self, name: String, shape: &[usize], elements: Elements) -> String {
        let name = self.fresh(name);
        self.to.initializer.push(tensor::write(&name, shape, &elements));
        name
    }

    /// The integers of a constant operand.
    fn numbers(&self, node: &Node, i: usize, what: &str) -> Result<Vec<i64>, String> {
        let t = node.inputs.get(i).copied().flatten().ok_or_else(|| format!("{what} is missing"))?;
        let tensor = &self.graph.tensors[t];
        shape::integers(Operand { shape: &tensor.shape, constant: tensor.constant.as_deref() }, what)
    }

    fn push(&mut self, operator: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) {
        self.to.node.push(NodeProto {
            name: Some(output.into()),
            op_type: Some(operator.into()),
            input,
            output: vec![output.into()],
            attribute,
            ..NodeProto::default()
        });
    }

    /// A node with the operands that ours has, and its activation.
    fn plain(
        &mut self,
        operator: &str,
        node: &Node,
        output: &str,
        activation: Activation,
        attributes: Vec<AttributeProto>,
    ) {
        let mut operands: Vec<String> =
            node.inputs.iter().map(|t| t.map_or(String::new(), |t| self.operand(t))).collect();
        while operands.last().is_some_and(String::is_empty) {
            operands.pop();
        }
        let before = self.before(activation, output);
        self.push(operator, operands, &before, attributes);
        self.after(activation, &before, output);
    }

    /// What an operator gives before its activation.
    fn before(&mut self, activation: Activation, output: &str) -> String {
        match activation {
            Activation::None => output.into(),
            _ => self.fresh(format!("{output}/linear")),
        }
    }

    fn after(&mut self, activation: Activation, before: &str, output: &str) {
        if activation != Activation::None {
            self.activate(activation, before, output);
        }
    }

    fn activate(&mut self, activation: Activation, x: &str, y: &str) {
        let [least, most] = match activation {
            Activation::None | Activation::Relu => return self.push("Relu", vec![x.into()], y, vec![]),
            Activation::Relu6 => [0.0f32, 6.0],
            Activation::ReluN1To1 => [-1.0, 1.0],
        };
        let least = self.initialiser(format!("{y}/min"), &[], vec![least].into());
        let most = self.initialiser(format!("{y}/max"), &[], vec![most].into());
        self.push("Clip", vec![x.into(), least, most], y, vec![]);
    }

    /// A matrix product: `Gemm` on matrices, `MatMul` and `Add` on what has more axes.
    fn product(
        &mut self,
        node: &Node,
        x: TensorId,
        y: &str,
        keep_num_dims: bool,
        activation: Activation,
    ) -> Result<(), String> {
        let graph = self.graph;
        let w = node.inputs.get(1).copied().flatten().ok_or("it has no weights")?;
        let bias = node.inputs.get(2).copied().flatten();
        let &[_, inputs] = graph.tensors[w].shape.as_slice() else { return Err("its weights are no matrix".into()) };
        let shape = &graph.tensors[x].shape;
        let mut from = self.operand(x);
        let before = self.before(activation, y);
        if shape.len() != 2 && keep_num_dims && shape.last() == Some(&inputs) {
            let weights = self.turned(w)?;
            let product = if bias.is_some() { self.fresh(format!("{y}/product")) } else { before.clone() };
            self.push("MatMul", vec![from, weights], &product, vec![]);
            if let Some(bias) = bias {
                let bias = self.operand(bias);
                self.push("Add", vec![product, bias], &before, vec![]);
            }
        } else {
            if shape.len() != 2 || shape[1] != inputs {
                let rows = self.fresh(format!("{y}/rows"));
                let asked = vec![-1, inputs as i64];
                let asked = self.initialiser(format!("{rows}/shape"), &[2], asked.into());
                self.push("Reshape", vec![from, asked], &rows, vec![]);
                from = rows;
            }
            let weights = self.operand(w);
            let bias = bias.map(|bias| self.operand(bias));
            let operands = [from, weights].into_iter().chain(bias).collect();
            self.push("Gemm", operands, &before, vec![int("transB", 1)]);
        }
        self.after(activation, &before, y);
        Ok(())
    }

    /// The weights `[out, in]` as `[in, out]`, under their own name if nothing needs them as they are.
    fn turned(&mut self, w: TensorId) -> Result<String, String> {
        if let Some(name) = self.turned.get(&w) {
            return Ok(name.clone());
        }
        let graph = self.graph;
        let Tensor { name, shape, constant: Some(elements), .. } = &graph.tensors[w] else {
            return Err("its weights are computed at run time; only constant ones are supported".into());
        };
        let as_they_are = |node: &Node| {
            let of_rows = match (&node.operator, node.inputs.first().copied().flatten()) {
                (Operator::FullyConnected { keep_num_dims: true, .. }, Some(x)) => {
                    let x = &graph.tensors[x].shape;
                    x.len() != 2 && x.last() == Some(&shape[1])
                }
                _ => false,
            };
            node.inputs.iter().enumerate().any(|(i, &t)| t == Some(w) && !(of_rows && i == 1))
        };
        let needed = graph.outputs.contains(&w) || graph.nodes.iter().any(as_they_are);
        let name = if needed { self.fresh(format!("{name}/turned")) } else { name.clone() };
        let elements = read::transposed(shape, &[1, 0], elements);
        self.to.initializer.push(tensor::write(&name, &[shape[1], shape[0]], &elements));
        self.turned.insert(w, name.clone());
        Ok(name)
    }

    fn slice(&mut self, node: &Node, x: TensorId, y: &str) -> Result<(), String> {
        let graph = self.graph;
        let operand = |t: &Option<TensorId>| {
            t.map(|t| Operand { shape: &graph.tensors[t].shape, constant: graph.tensors[t].constant.as_deref() })
        };
        let operands: Vec<Option<Operand>> = node.inputs.iter().map(operand).collect();
        let rank = graph.tensors[x].shape.len();
        let (mut starts, mut ends, mut axes, mut steps) = (vec![], vec![], vec![], vec![]);
        if let Operator::StridedSlice { begin_mask, end_mask, shrink_axis_mask, .. } = node.operator {
            if shrink_axis_mask != 0 {
                return Err("takes single positions, which is not supported".into());
            }
            shape::strided_slice(&node.operator, &operands)?;
            let [begin, end, stride] =
                [(1, "the begin"), (2, "the end"), (3, "the stride")].map(|(i, what)| self.numbers(node, i, what));
            let (begin, end, stride) = (begin?, end?, stride?);
            for axis in 0..begin.len().min(rank) {
                let masked = [begin_mask, end_mask].map(|mask| axis < 32 && mask >> axis & 1 == 1);
                if masked == [true, true] && stride[axis] == 1 {
                    continue;
                }
                let forward = stride[axis] > 0;
                let whole = [if forward { 0 } else { i64::MAX }, if forward { i64::MAX } else { i64::MIN }];
                starts.push(if masked[0] { whole[0] } else { begin[axis] });
                ends.push(if masked[1] { whole[1] } else { end[axis] });
                axes.push(axis as i64);
                steps.push(stride[axis]);
            }
        } else {
            let slice = shape::slice(&operands)?;
            for axis in 0..rank {
                if slice.count[axis] != graph.tensors[x].shape[axis] {
                    starts.push(slice.start[axis] as i64);
                    ends.push((slice.start[axis] + slice.count[axis]) as i64);
                    axes.push(axis as i64);
                    steps.push(1);
                }
            }
        }
        let mut names = vec![self.operand(x)];
        for (suffix, numbers) in [("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps)] {
            names.push(self.initialiser(format!("{y}/{suffix}"), &[numbers.len()], numbers.into()));
        }
        self.push("Slice", names, y, vec![]);
        Ok(())
    }

    fn resize(
        &mut self,
        node: &Node,
        nearest: bool,
        align_corners: bool,
        half_pixel_centers: bool,
    ) -> Result<(), String> {
        let x = node.inputs[0].ok_or("operand 0 is missing")?;
        let (from, to) = (&self.graph.tensors[x], &self.graph.tensors[node.outputs[0]]);
        let (&[_, _, height, width], &[_, _, new_height, new_width]) = (from.shape.as_slice(), to.shape.as_slice())
        else {
            return Err("its operands are no images".into());
        };
        // Factors, not lengths: lengths would fix the number of images too.
        let along = |from: usize, to: usize| {
            let factor = to as f32 / from as f32;
            let exact = (from as f32 * factor) as usize == to;
            exact.then_some(factor).ok_or_else(|| format!("no factor brings {from} to {to} exactly"))
        };
        let factors = vec![1.0, 1.0, along(height, new_height)?, along(width, new_width)?];
        let y = to.name.clone();
        let factors = self.initialiser(format!("{y}/scales"), &[4], factors.into());
        let place = match (align_corners, half_pixel_centers) {
            (false, false) => "asymmetric",
            (false, true) => "half_pixel",
            (true, false) => "align_corners",
            (true, true) => return Err("aligns both corners and centres".into()),
        };
        let rounding = if align_corners || half_pixel_centers { "round_prefer_ceil" } else { "floor" };
        let mut attributes = vec![string("coordinate_transformation_mode", place)];
        attributes.push(string("mode", if nearest { "nearest" } else { "linear" }));
        if nearest {
            attributes.push(string("nearest_mode", rounding));
        }
        let operands = vec![self.operand(x), String::new(), factors];
        self.push("Resize", operands, &y, attributes);
        Ok(())
    }
}

/// Kernel, stride and padding of a window over an image.
fn window(
    image: &[usize],
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
    padding: [Padding; 2],
) -> Result<Vec<AttributeProto>, String> {
    let mut attributes = vec![pair("kernel_shape", kernel), pair("strides", stride)];
    if padding == [Padding::Same; 2] && dilation == [1; 2] {
        attributes.push(string("auto_pad", "SAME_UPPER"));
        return Ok(attributes);
    }
    let mut pads = [0i64; 4];
    for i in 0..2 {
        let (before, after) = match padding[i] {
            Padding::Valid => (0, 0),
            Padding::Explicit { before, after } => (before, after),
            Padding::Same => {
                let window =
                    Window::new(*image.get(i + 2).unwrap_or(&0), kernel[i], stride[i], dilation[i], padding[i]);
                let w = window.ok_or_else(|| format!("a kernel of {kernel:?} does not fit an input of {image:?}"))?;
                let covered = (w.output - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
                (w.before, covered.saturating_sub(w.input) - w.before)
            }
        };
        (pads[i], pads[i + 2]) = (before as i64, after as i64);
    }
    attributes.push(ints("pads", pads.to_vec()));
    Ok(attributes)
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, AttributeType::Int) }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f: Some(f), ..attribute(name, AttributeType::Float) }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

fn pair(name: &str, pair: Pair) -> AttributeProto {
    ints(name, pair.map(|n| n as i64).to_vec())
}

fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.into()), ..attribute(name, AttributeType::String) }
}
