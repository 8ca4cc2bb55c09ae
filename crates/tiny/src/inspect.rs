//! What a network is and needs, before anything runs.
//!
//! Source of the bounds: MCUNet (NeurIPS 2020), section 3.2: an arena is never smaller than the bytes alive during the
//! greediest operator.

use serde::Serialize;
use tersor_network::liveness;
use tersor_network::reference::{self, Unsupported};
use tersor_network::{Arithmetic, Network, Quantization, TensorId, TensorKind, cost};

/// Everything that can be said of a network without running it. Bytes are exact; scratch is not counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The file's name.
    pub file: String,
    /// What the file says of itself.
    pub description: String,
    /// How accumulators are brought back to 8 bits.
    pub arithmetic: Arithmetic,
    /// Graphs in the file; the rest is about the first.
    pub subgraphs: usize,
    /// Tensors that the caller gives.
    pub inputs: Vec<TensorId>,
    /// Tensors that the caller gets.
    pub outputs: Vec<TensorId>,
    /// In execution order.
    pub operators: Vec<OperatorReport>,
    /// By index.
    pub tensors: Vec<TensorReport>,
    /// Multiply-adds of one run.
    pub macs: u64,
    /// Weights and biases, in elements.
    pub parameters: u64,
    /// Weights, biases and requantisation data, in bytes; no code.
    pub flash_bytes: u64,
    /// Variables that live between runs, in bytes; part of every operator's live bytes.
    pub state_bytes: u64,
    /// Least arena for the file as it stands.
    pub bound_bytes: u64,
    /// The operator that attains it.
    pub bound_operator: usize,
    /// Least arena with fused padding and reshapes, quantised input and output, and in-place operators.
    pub lower_bound_bytes: u64,
    /// The operator that attains it.
    pub lower_bound_operator: usize,
    /// Whether `run` can compute the network.
    pub runnable: bool,
    /// What it cannot compute, and why.
    pub unsupported: Vec<Unsupported>,
}

/// One operator of the main graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it; the fields of the same name in Inspection are their sums")]
pub struct OperatorReport {
    pub index: usize,
    pub operator: String,
    /// `null` is an operand left out.
    pub inputs: Vec<Option<TensorId>>,
    pub outputs: Vec<TensorId>,
    pub shape: Vec<usize>,
    pub macs: u64,
    pub parameters: u64,
    pub flash_bytes: u64,
    /// Bytes alive while it runs, as the file stands.
    pub live_bytes: u64,
    /// Bytes alive while it runs, in place.
    pub live_bytes_in_place: u64,
}

/// One tensor of the main graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TensorReport {
    pub index: TensorId,
    pub name: String,
    pub shape: Vec<usize>,
    #[serde(rename = "type")]
    pub kind: TensorKind,
    pub bytes: u64,
    pub constant: bool,
    pub quantization: Option<Quantization>,
}

/// Inspects the main graph of `network`.
pub fn inspect(network: &Network) -> Inspection {
    let graph = network.main();
    let (stands, in_place) = (liveness::as_it_stands(network, graph), liveness::in_place(network));
    let unsupported = reference::unsupported(network);
    let operators: Vec<OperatorReport> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| OperatorReport {
            index,
            operator: node.operator.name().into(),
            inputs: node.inputs.clone(),
            outputs: node.outputs.clone(),
            shape: node.outputs.first().map_or_else(Vec::new, |&t| graph.tensors[t].shape.clone()),
            macs: cost::macs(graph, node),
            parameters: cost::parameters(graph, node),
            flash_bytes: cost::flash_bytes(graph, node),
            live_bytes: stands.live_bytes[index],
            live_bytes_in_place: in_place.live_bytes[index],
        })
        .collect();
    let tensors = graph.tensors.iter().enumerate().map(|(index, tensor)| TensorReport {
        index,
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        kind: tensor.kind,
        bytes: tensor.bytes(),
        constant: tensor.constant.is_some(),
        quantization: tensor.quantization.clone(),
    });
    let sum = |f: fn(&OperatorReport) -> u64| operators.iter().map(f).fold(0, u64::saturating_add);
    Inspection {
        file: network.name.clone(),
        description: network.description.clone(),
        arithmetic: network.arithmetic,
        subgraphs: network.graphs.len(),
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.clone(),
        tensors: tensors.collect(),
        macs: sum(|o| o.macs),
        parameters: sum(|o| o.parameters),
        flash_bytes: sum(|o| o.flash_bytes),
        state_bytes: liveness::state_bytes(network),
        bound_bytes: stands.bound_bytes,
        bound_operator: stands.bound_node,
        lower_bound_bytes: in_place.bound_bytes,
        lower_bound_operator: in_place.bound_node,
        runnable: unsupported.is_empty(),
        unsupported,
        operators,
    }
}
