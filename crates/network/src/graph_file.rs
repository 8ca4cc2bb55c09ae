//! Graph files: an int8 network as a JSON graph beside a safetensors file of weights.
//!
//! This is the form in which the networks of *On-Device Training Under 256KB Memory* (NeurIPS 2022) are kept: scales in
//! f64, requantisation in single precision ([`Arithmetic::Float`]). The graph may also stand in the safetensors file
//! itself, under the metadata key `graph`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::layout;
use tersor_kernels::window::Padding;

use crate::error::Error;
use crate::graph::{
    Arithmetic, Graph, Layout, Network, Node, Quantization, Tensor, TensorId, TensorKind, count_elements,
};
use crate::operator::Operator;

/// The JSON: convolutions in order, and how blocks of them are joined.
#[derive(Debug, Deserialize)]
struct GraphFile {
    model: String,
    input: [usize; 4],
    convs: Vec<Conv>,
    blocks: Vec<Block>,
    classifier: Conv,
}

#[derive(Debug, Deserialize)]
struct Conv {
    name: String,
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    pad: usize,
    x_scale: f64,
    x_zero: i64,
    y_scale: f64,
    y_zero: i64,
}

#[derive(Debug, Deserialize)]
struct Block {
    convs: Vec<usize>,
    residual: Option<Residual>,
}

#[derive(Debug, Deserialize)]
struct Residual {
    shortcut_scale: f64,
    shortcut_zero: i64,
    branch_scale: f64,
    branch_zero: i64,
    out_scale: f64,
    out_zero: i64,
}

/// Reads a graph file: `NAME.json` with `NAME.safetensors` beside it, or `NAME.safetensors` that holds its graph.
///
/// # Errors
/// [`Error::Io`], or [`Error::Malformed`] naming the convolution or tensor at fault.
pub fn read(path: impl AsRef<Path>) -> Result<Network, Error> {
    let path = path.as_ref();
    let bytes = |file: PathBuf| std::fs::read(&file).map_err(|source| Error::Io { file, source });
    let name = path.display().to_string();
    if path.extension().is_some_and(|e| e == "json") {
        let graph = bytes(path.into())?;
        from_bytes(&name, Some(&graph), &bytes(path.with_extension("safetensors"))?)
    } else {
        from_bytes(&name, None, &bytes(path.into())?)
    }
}

/// Reads a network from the bytes of its JSON (or, without it, the safetensors' metadata) and of its safetensors.
///
/// # Errors
/// [`Error::Malformed`] naming the convolution or tensor at fault.
pub fn from_bytes(name: &str, graph: Option<&[u8]>, weights: &[u8]) -> Result<Network, Error> {
    let malformed = |place: &str, why: String| Error::Malformed { network: name.into(), place: place.into(), why };
    let (_, metadata) =
        SafeTensors::read_metadata(weights).map_err(|e| malformed("the safetensors file", e.to_string()))?;
    let weights = SafeTensors::deserialize(weights).map_err(|e| malformed("the safetensors file", e.to_string()))?;
    let graph = match graph {
        Some(graph) => serde_json::from_slice(graph),
        None => {
            let kept = metadata.metadata().as_ref().and_then(|m| m.get("graph"));
            let missing = || malformed("the safetensors file", "its metadata holds no `graph`; give the .json".into());
            serde_json::from_str(kept.ok_or_else(missing)?)
        }
    };
    let graph: GraphFile = graph.map_err(|e| malformed("the graph", e.to_string()))?;
    let builder = Builder { weights, graph: Graph::default() };
    let built = builder.build(&graph).map_err(|(place, why)| malformed(&place, why))?;
    for (i, tensor) in built.tensors.iter().enumerate() {
        let why = || format!("shape {:?} claims more than 2^40 bytes", tensor.shape);
        count_elements(&tensor.shape).ok_or_else(|| malformed(&format!("tensor {i} ({})", tensor.name), why()))?;
    }
    Ok(Network {
        name: name.into(),
        description: graph.model,
        graphs: vec![built],
        arithmetic: Arithmetic::Float,
        layout: Layout::ChannelsLast,
    })
}

/// What is wrong: the place, and why.
type Fault = (String, String);

struct Builder<'a> {
    weights: SafeTensors<'a>,
    graph: Graph,
}

impl Builder<'_> {
    fn build(mut self, file: &GraphFile) -> Result<Graph, Fault> {
        self.graph.name = file.model.clone();
        let first =
            file.convs.first().ok_or_else(|| ("the graph".to_string(), "it has no convolutions".to_string()))?;
        let mut at = self.tensor("input", file.input.to_vec(), quantized(first.x_scale, first.x_zero), None);
        self.graph.inputs = vec![at];
        let mut next = 0;
        for (b, block) in file.blocks.iter().enumerate() {
            let fault = |why: String| (format!("block {b}"), why);
            let start = *block.convs.first().ok_or_else(|| fault("it has no convolutions".into()))?;
            let contiguous = block.convs.iter().enumerate().all(|(i, &c)| Some(c) == start.checked_add(i));
            let end = start.checked_add(block.convs.len()).filter(|&end| end <= file.convs.len());
            if start < next || !contiguous || end.is_none() {
                return Err(fault(format!("convolutions {:?} are not the next of {}", block.convs, file.convs.len())));
            }
            for conv in &file.convs[next..start] {
                at = self.convolution(conv, at)?;
            }
            let shortcut = at;
            for conv in &file.convs[start..start + block.convs.len()] {
                at = self.convolution(conv, at)?;
            }
            next = start + block.convs.len();
            if let Some(r) = &block.residual {
                at = self.residual(b, r, shortcut, at)?;
            }
        }
        for conv in &file.convs[next..] {
            at = self.convolution(conv, at)?;
        }
        at = self.classify(&file.classifier, at)?;
        self.graph.outputs = vec![at];
        Ok(self.graph)
    }

    fn convolution(&mut self, conv: &Conv, x: TensorId) -> Result<TensorId, Fault> {
        let fault = |why: String| (conv.name.clone(), why);
        self.follows(conv, x)?;
        let (groups, k) = (conv.groups, conv.kernel);
        let depthwise = groups > 1;
        if groups == 0 || depthwise && (groups != conv.in_channels || groups != conv.out_channels) {
            return Err(fault(format!("{groups} groups of {} channels are not supported", conv.in_channels)));
        }
        let per_group = conv.in_channels / groups;
        // OIHW to what the operators take: O,kh,kw,I, or 1,kh,kw,C.
        let (from, shape, permutation) = if depthwise {
            ([conv.out_channels, 1, k, k], vec![1, k, k, conv.out_channels], [1, 2, 3, 0])
        } else {
            ([conv.out_channels, per_group, k, k], vec![conv.out_channels, k, k, per_group], [0, 2, 3, 1])
        };
        let stored = self.int8(conv, &from)?;
        let mut turned = vec![0i8; stored.len()];
        layout::transpose(&from, &permutation, &stored, &mut turned);
        let axis = if depthwise { 3 } else { 0 };
        let (w, b) = self.weights(conv, shape, axis, turned)?;

        let [_, height, width, _] = self.shape4(x);
        let along = |n: usize| {
            let padded = conv.pad.checked_mul(2).and_then(|p| p.checked_add(n));
            let room = padded.and_then(|p| p.checked_sub(k)).filter(|_| conv.stride > 0);
            room.map(|r| r / conv.stride + 1)
                .ok_or_else(|| fault(format!("a kernel of {k} does not fit {height}x{width}")))
        };
        let y = vec![1, along(height)?, along(width)?, conv.out_channels];
        let y = self.tensor(&conv.name, y, quantized(conv.y_scale, conv.y_zero), None);
        let padding = [Padding::Explicit { before: conv.pad, after: conv.pad }; 2];
        let (stride, dilation, activation) = ([conv.stride; 2], [1, 1], Activation::None);
        let operator = if depthwise {
            Operator::DepthwiseConv2d { stride, dilation, padding, activation }
        } else {
            Operator::Conv2d { stride, dilation, padding, activation }
        };
        self.graph.nodes.push(Node { operator, inputs: vec![Some(x), Some(w), Some(b)], outputs: vec![y] });
        Ok(y)
    }

    fn residual(
        &mut self,
        block: usize,
        r: &Residual,
        shortcut: TensorId,
        branch: TensorId,
    ) -> Result<TensorId, Fault> {
        let fault = |why: String| (format!("block {block}"), why);
        self.means(shortcut, r.shortcut_scale, r.shortcut_zero).map_err(fault)?;
        self.means(branch, r.branch_scale, r.branch_zero).map_err(fault)?;
        if self.shape4(shortcut) != self.shape4(branch) {
            return Err(fault(format!(
                "shapes {:?} and {:?} cannot be added",
                self.shape4(shortcut),
                self.shape4(branch)
            )));
        }
        let shape = self.shape4(branch).to_vec();
        let y = self.tensor(&format!("add{block:02}"), shape, quantized(r.out_scale, r.out_zero), None);
        let operator = Operator::Add { activation: Activation::None };
        self.graph.nodes.push(Node { operator, inputs: vec![Some(shortcut), Some(branch)], outputs: vec![y] });
        Ok(y)
    }

    /// Global average pooling, then the classifier.
    fn classify(&mut self, classifier: &Conv, x: TensorId) -> Result<TensorId, Fault> {
        self.follows(classifier, x)?;
        let axes = Elements::from(vec![1i32, 2]);
        let axes = self.tensor("pool/axes", vec![2], None, Some(axes));
        let (channels, classes) = (classifier.in_channels, classifier.out_channels);
        let meaning = quantized(classifier.x_scale, classifier.x_zero);
        let pooled = self.tensor("pool", vec![1, channels], meaning, None);
        let operator = Operator::Mean { keep_dims: false };
        self.graph.nodes.push(Node { operator, inputs: vec![Some(x), Some(axes)], outputs: vec![pooled] });

        let weights = self.int8(classifier, &[classes, channels, 1, 1])?;
        let (w, b) = self.weights(classifier, vec![classes, channels], 0, weights)?;
        let logits = quantized(classifier.y_scale, classifier.y_zero);
        let logits = self.tensor(&classifier.name, vec![1, classes], logits, None);
        let operator = Operator::FullyConnected { keep_num_dims: false, activation: Activation::None };
        self.graph.nodes.push(Node { operator, inputs: vec![Some(pooled), Some(w), Some(b)], outputs: vec![logits] });
        Ok(logits)
    }

    /// Weights, with their scales, and bias of a convolution, as constants of the graph.
    fn weights(
        &mut self,
        conv: &Conv,
        shape: Vec<usize>,
        axis: usize,
        weights: Vec<i8>,
    ) -> Result<(TensorId, TensorId), Fault> {
        let out = conv.out_channels;
        let scales = self.stored(&format!("{}.w_scales", conv.name), Dtype::F32, ElementType::F32, &[out])?;
        let scale: Vec<f64> = scales.as_f32().unwrap_or_default().iter().map(|&s| f64::from(s)).collect();
        let quantization = Quantization { zero_point: vec![0; scale.len()], scale, axis };
        let bias = self.stored(&format!("{}.bias", conv.name), Dtype::I32, ElementType::I32, &[out])?;
        let w = self.tensor(&format!("{}.weight", conv.name), shape, Some(quantization), Some(weights.into()));
        let b = self.tensor(&format!("{}.bias", conv.name), vec![out], None, Some(bias));
        Ok((w, b))
    }

    fn int8(&self, conv: &Conv, shape: &[usize]) -> Result<Vec<i8>, Fault> {
        let elements = self.stored(&format!("{}.weight", conv.name), Dtype::I8, ElementType::I8, shape)?;
        Ok(elements.as_i8().unwrap_or_default().to_vec())
    }

    fn stored(&self, name: &str, dtype: Dtype, element_type: ElementType, shape: &[usize]) -> Result<Elements, Fault> {
        let fault = |why: String| (format!("tensor {name}"), why);
        let view: TensorView = self.weights.tensor(name).map_err(|e| fault(e.to_string()))?;
        if view.dtype() != dtype || view.shape() != shape {
            return Err(fault(format!(
                "is {:?} {:?}, the graph asks for {dtype:?} {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        Elements::from_le_bytes(element_type, view.data()).ok_or_else(|| fault("is cut".into()))
    }

    /// The input of `conv` is quantised as `conv` says, and has its channels.
    fn follows(&self, conv: &Conv, x: TensorId) -> Result<(), Fault> {
        let fault = |why: String| (conv.name.clone(), why);
        self.means(x, conv.x_scale, conv.x_zero).map_err(fault)?;
        let channels = self.shape4(x)[3];
        if channels != conv.in_channels {
            return Err(fault(format!("takes {} channels, its input has {channels}", conv.in_channels)));
        }
        Ok(())
    }

    fn means(&self, t: TensorId, scale: f64, zero_point: i64) -> Result<(), String> {
        let found = self.graph.tensors[t].quantization.clone();
        if found == quantized(scale, zero_point) {
            return Ok(());
        }
        Err(format!("expects an input quantised by ({scale}, {zero_point}), not {found:?}"))
    }

    fn shape4(&self, t: TensorId) -> [usize; 4] {
        let mut shape = [0; 4];
        self.graph.tensors[t].shape.iter().zip(&mut shape).for_each(|(&n, s)| *s = n);
        shape
    }

    fn tensor(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        quantization: Option<Quantization>,
        constant: Option<Elements>,
    ) -> TensorId {
        let element_type = constant.as_ref().map_or(ElementType::I8, Elements::element_type);
        self.graph.tensors.push(Tensor {
            name: name.into(),
            shape,
            kind: TensorKind::Element(element_type),
            quantization,
            constant: constant.map(Arc::new),
            variable: false,
        });
        self.graph.tensors.len() - 1
    }
}

fn quantized(scale: f64, zero_point: i64) -> Option<Quantization> {
    Some(Quantization::per_tensor(scale, zero_point))
}
