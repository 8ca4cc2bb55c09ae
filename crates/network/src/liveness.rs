//! Which tensors are alive while each node runs, and the bytes that takes.
//!
//! A tensor lives from the node that writes it to the last that reads it;
//! the graph's inputs live from the start, its outputs to the end. Constants live in Flash and are not counted;
//! variables live for ever and are counted at every node.

use std::collections::HashMap;

use serde::Serialize;
use tersor_kernels::window::Padding;

use crate::graph::{Graph, Network, TensorId};
use crate::operator::Operator;

/// First and last node (positions in [`Graph::nodes`]) during which a buffer must be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// The node that writes it, or 0 for an input of the graph.
    pub first: usize,
    /// The last node that reads it, or the last node of all for an output of the graph.
    pub last: usize,
}

/// The lifetime of every tensor; `None` for constants and tensors that nothing computes.
pub fn lifetimes(graph: &Graph) -> Vec<Option<Lifetime>> {
    let mut lives: Vec<Option<Lifetime>> = vec![None; graph.tensors.len()];
    let end = graph.nodes.len().saturating_sub(1);
    for &t in &graph.inputs {
        lives[t] = Some(Lifetime { first: 0, last: 0 });
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        for &t in node.inputs.iter().flatten() {
            if let Some(life) = &mut lives[t] {
                life.last = at;
            }
        }
        for &t in &node.outputs {
            lives[t].get_or_insert(Lifetime { first: at, last: at });
        }
    }
    for &t in &graph.outputs {
        if let Some(life) = &mut lives[t] {
            life.last = end;
        }
    }
    for (life, constant) in lives.iter_mut().zip(constants(graph)) {
        if constant {
            *life = None;
        }
    }
    lives
}

/// Which tensors hold the same values in every run: constants, and what is computed from them alone.
fn constants(graph: &Graph) -> Vec<bool> {
    let mut constant: Vec<bool> = graph.tensors.iter().map(|t| t.constant.is_some()).collect();
    for node in &graph.nodes {
        let mut operands = node.inputs.iter().flatten().peekable();
        if node.operator.is_pure() && operands.peek().is_some() && operands.all(|&t| constant[t]) {
            node.outputs.iter().for_each(|&t| constant[t] = true);
        }
    }
    constant
}

/// Bytes of activations that must be held at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Bytes alive while each node runs.
    pub live_bytes: Vec<u64>,
    /// The greatest of them: no arena can be smaller.
    pub bound_bytes: u64,
    /// The first node that attains it.
    pub bound_node: usize,
}

impl Memory {
    fn of(live_bytes: Vec<u64>) -> Self {
        let bound_bytes = live_bytes.iter().copied().max().unwrap_or(0);
        let bound_node = live_bytes.iter().position(|&b| b == bound_bytes).unwrap_or(0);
        Self { live_bytes, bound_bytes, bound_node }
    }
}

/// Memory of one graph exactly as the file stands: every tensor is stored, none shares. The network's variables count.
pub fn as_it_stands(network: &Network, graph: &Graph) -> Memory {
    let buffers = lifetimes(graph).into_iter().zip(&graph.tensors);
    let buffers = buffers.filter_map(|(life, tensor)| Some((life?, tensor.bytes())));
    Memory::of(sum_over_nodes(graph.nodes.len(), buffers, state_bytes(network)))
}

/// Memory of the main graph when nothing is stored that an exact rewriting avoids.
///
/// RESHAPE and its kin share their input's bytes; PAD is fused into the convolutions that read it; a QUANTIZE of the
/// network's input and a DEQUANTIZE of its output are left to the caller; depthwise convolutions and element-wise
/// operators write over an operand that dies with them.
pub fn in_place(network: &Network) -> Memory {
    let graph = network.main();
    let buffers = Buffers::of(graph);
    let held = buffers.lives.iter().zip(&buffers.bytes).filter_map(|(life, &bytes)| Some(((*life)?, bytes)));
    let mut live = sum_over_nodes(graph.nodes.len(), held, state_bytes(network));
    for (at, node) in graph.nodes.iter().enumerate() {
        if let &[output] = node.outputs.as_slice()
            && buffers.written_in_place(graph, at, output)
        {
            live[at] -= buffers.bytes[buffers.of[output]];
        }
    }
    Memory::of(live)
}

/// Bytes of the variables that live between runs.
pub fn state_bytes(network: &Network) -> u64 {
    let mut variables: HashMap<(&str, &str), u64> = HashMap::new();
    let mut kept = 0;
    for graph in &network.graphs {
        kept += graph.tensors.iter().filter(|t| t.variable).map(|t| t.bytes()).sum::<u64>();
        let mut handles = HashMap::new();
        for node in &graph.nodes {
            match (&node.operator, node.inputs.as_slice(), node.outputs.as_slice()) {
                (Operator::VarHandle { container, name }, _, &[handle]) => {
                    handles.insert(handle, (container.as_str(), name.as_str()));
                }
                (Operator::ReadVariable, &[Some(handle)], &[value])
                | (Operator::AssignVariable, &[Some(handle), Some(value)], _) => {
                    if let Some(&variable) = handles.get(&handle) {
                        let bytes = variables.entry(variable).or_default();
                        *bytes = (*bytes).max(graph.tensors[value].bytes());
                    }
                }
                _ => {}
            }
        }
    }
    kept + variables.values().sum::<u64>()
}

/// Adds up, for every node, the bytes of the buffers alive during it.
fn sum_over_nodes(nodes: usize, buffers: impl Iterator<Item = (Lifetime, u64)>, always: u64) -> Vec<u64> {
    let mut change = vec![0i64; nodes + 1];
    for (life, bytes) in buffers {
        if nodes > 0 {
            change[life.first] += bytes as i64;
            change[life.last + 1] -= bytes as i64;
        }
    }
    let mut live = always as i64;
    change[..nodes]
        .iter()
        .map(|&c| {
            live += c;
            live as u64
        })
        .collect()
}

/// Tensors gathered into the buffers that hold them.
struct Buffers {
    /// The buffer of each tensor.
    of: Vec<usize>,
    /// Bytes of each buffer.
    bytes: Vec<u64>,
    /// Lifetime of each buffer.
    lives: Vec<Option<Lifetime>>,
}

impl Buffers {
    fn of(graph: &Graph) -> Self {
        let mut of: Vec<usize> = (0..graph.tensors.len()).collect();
        let mut bytes: Vec<u64> = graph.tensors.iter().map(|t| t.bytes()).collect();
        let consumers = consumers(graph);
        for node in &graph.nodes {
            let (Some(&Some(input)), &[output]) = (node.inputs.first(), node.outputs.as_slice()) else { continue };
            if graph.tensors[input].constant.is_some() {
                continue;
            }
            let stored = match node.operator {
                Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => bytes[of[input]],
                Operator::Pad if pads_only_convolutions(graph, &consumers, output) => bytes[of[input]],
                // The caller hands in, or takes out, the quantised values.
                Operator::Quantize if graph.inputs.contains(&input) && consumers[input].len() == 1 => bytes[output],
                Operator::Dequantize if graph.outputs.contains(&output) && consumers[output].is_empty() => {
                    bytes[of[input]]
                }
                _ => continue,
            };
            of[output] = of[input];
            bytes[of[input]] = stored;
        }
        let mut lives: Vec<Option<Lifetime>> = vec![None; graph.tensors.len()];
        for (t, life) in lifetimes(graph).into_iter().enumerate() {
            let Some(life) = life else { continue };
            let whole = lives[of[t]].get_or_insert(life);
            *whole = Lifetime { first: whole.first.min(life.first), last: whole.last.max(life.last) };
        }
        Self { of, bytes, lives }
    }

    /// Whether node `at` can write `output` over an operand that dies with it.
    fn written_in_place(&self, graph: &Graph, at: usize, output: TensorId) -> bool {
        let node = &graph.nodes[at];
        let element_wise = match node.operator {
            Operator::DepthwiseConv2d { .. } => false,
            Operator::Add { .. }
            | Operator::Sub { .. }
            | Operator::Mul { .. }
            | Operator::Maximum
            | Operator::Minimum
            | Operator::Logistic
            | Operator::Tanh
            | Operator::Relu
            | Operator::Relu6
            | Operator::ReluN1To1
            | Operator::LeakyRelu { .. }
            | Operator::Prelu
            | Operator::HardSwish => true,
            _ => return false,
        };
        let to = self.of[output];
        let operands = if element_wise { node.inputs.len() } else { 1 };
        node.inputs[..operands.min(node.inputs.len())].iter().flatten().any(|&input| {
            let from = self.of[input];
            // With a multiplier, one channel becomes several, which do not fit where it was.
            let channels = |t: TensorId| graph.tensors[t].shape.last();
            if !element_wise && channels(input) != channels(output) {
                return false;
            }
            let dies = self.lives[from].is_some_and(|life| life.last == at) && !graph.outputs.contains(&input);
            let fits =
                if element_wise { self.bytes[from] == self.bytes[to] } else { self.bytes[from] >= self.bytes[to] };
            from != to && dies && fits
        })
    }
}

/// The nodes that read each tensor.
pub fn consumers(graph: &Graph) -> Vec<Vec<usize>> {
    let mut consumers = vec![Vec::new(); graph.tensors.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        for &t in node.inputs.iter().flatten() {
            consumers[t].push(at);
        }
    }
    consumers
}

/// Whether `padded` is read by unpadded convolutions only, which can then do the padding themselves.
fn pads_only_convolutions(graph: &Graph, consumers: &[Vec<usize>], padded: TensorId) -> bool {
    let reads = &consumers[padded];
    let unpadded = |&at: &usize| {
        matches!(
            graph.nodes[at].operator,
            Operator::Conv2d { padding: [Padding::Valid, Padding::Valid], .. }
                | Operator::DepthwiseConv2d { padding: [Padding::Valid, Padding::Valid], .. }
        )
    };
    !reads.is_empty() && reads.iter().all(unpadded) && !graph.outputs.contains(&padded)
}
