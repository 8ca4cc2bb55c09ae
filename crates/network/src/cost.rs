//! What a network costs before anything runs: multiply-adds, parameters, Flash.

use crate::graph::{Graph, Node, TensorId};
use crate::operator::Operator;

/// Multiply-adds of one node: those of convolutions and matrix products; everything else counts none.
///
/// Padding counts like data: the published figures do so.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let shape = |t: Option<TensorId>| t.map_or(&[][..], |t| graph.tensors[t].shape.as_slice());
    let product = |s: &[usize]| s.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    let output = product(shape(node.outputs.first().copied()));
    let weights = shape(node.inputs.get(1).copied().flatten());
    match (&node.operator, weights) {
        // One product an output: kernel and input channels of a group, in either layout's order.
        (Operator::Conv2d { .. }, &[_, ref per_output @ ..]) => output.saturating_mul(product(per_output)),
        (Operator::DepthwiseConv2d { .. }, &[_, kh, kw, _]) => output.saturating_mul(product(&[kh, kw])),
        (Operator::FullyConnected { .. }, &[_, inputs]) => output.saturating_mul(inputs as u64),
        _ => 0,
    }
}

/// Elementary steps of one node on the reference engine: multiply-adds, elements pooled, read and written.
///
/// An estimate from above, so that a small hostile file cannot ask for a day of work unnoticed.
pub fn steps(graph: &Graph, node: &Node) -> u64 {
    let tensor = |t: Option<TensorId>| t.map(|t| &graph.tensors[t]);
    let output: u64 = node.outputs.iter().map(|&t| graph.tensors[t].len() as u64).sum();
    let input: u64 = node.inputs.iter().flatten().map(|&t| graph.tensors[t].len() as u64).sum();
    let pooled = match (&node.operator, tensor(node.inputs.first().copied().flatten())) {
        (Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool), Some(input)) => {
            // Which axes are rows and columns is the layout's matter; no kernel covers more than the longest.
            let longest = input.shape.iter().skip(1).copied().max().unwrap_or(1);
            let along = |i: usize| pool.kernel[i].min(longest) as u64;
            output.saturating_mul(along(0)).saturating_mul(along(1))
        }
        _ => 0,
    };
    macs(graph, node).saturating_add(pooled).saturating_add(output).saturating_add(input)
}

/// Weights and biases of one node, in elements.
pub fn parameters(graph: &Graph, node: &Node) -> u64 {
    trained(node).filter_map(|t| stored(graph, t)).map(|t| graph.tensors[t].len() as u64).sum()
}

/// Bytes of Flash that one node's data takes in firmware: weights, biases, and for quantised weights a 32-bit
/// multiplier and an 8-bit shift per output channel. Code is not counted, nor shapes and the like, which become code.
pub fn flash_bytes(graph: &Graph, node: &Node) -> u64 {
    let data: u64 = trained(node).filter_map(|t| stored(graph, t)).map(|t| graph.tensors[t].bytes()).sum();
    let quantized = node.inputs.get(1).copied().flatten().is_some_and(|w| graph.tensors[w].quantization.is_some());
    let channels = match node.operator {
        Operator::Conv2d { .. } | Operator::DepthwiseConv2d { .. } | Operator::FullyConnected { .. } if quantized => {
            node.outputs.first().and_then(|&y| graph.tensors[y].shape.last()).map_or(0, |&c| c as u64)
        }
        _ => 0,
    };
    data + 5 * channels
}

/// The constant behind an operand: itself, or what a DEQUANTIZE (of float16 weights, say) makes it from.
fn stored(graph: &Graph, t: TensorId) -> Option<TensorId> {
    if graph.tensors[t].constant.is_some() {
        return Some(t);
    }
    let writer = graph.nodes.iter().find(|node| node.outputs.contains(&t))?;
    let input = writer.inputs.first().copied().flatten()?;
    let unpacks = writer.operator == Operator::Dequantize && graph.tensors[input].constant.is_some();
    unpacks.then_some(input)
}

/// The operands that training set: weights, biases, slopes, and constants of arithmetic.
fn trained(node: &Node) -> impl Iterator<Item = TensorId> + '_ {
    let operands = match node.operator {
        Operator::Conv2d { .. } | Operator::DepthwiseConv2d { .. } | Operator::FullyConnected { .. } => 1..3,
        Operator::Prelu => 1..2,
        Operator::BatchNormalization { .. } => 1..5,
        Operator::Add { .. } | Operator::Sub { .. } | Operator::Mul { .. } | Operator::Maximum | Operator::Minimum => {
            0..2
        }
        _ => 0..0,
    };
    operands.filter_map(|i| node.inputs.get(i).copied().flatten())
}
