//! A graph without its numbers, for files that keep those elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use onnx_schema::TensorProto;
use onnx_schema::tensor_proto::DataType;
use prost::Message;
use tersor_data::Elements;

use super::{bytes, from_bytes, write};
use crate::error::Error;
use crate::graph::Network;

/// What an initialiser says whose elements are kept elsewhere: as they are, or as the transpose of what ONNX multiplies by.
const ELSEWHERE: &str = "elements elsewhere";
const TURNED: &str = "elements elsewhere, transposed";

/// As [`write`](super::write), without the elements of the network's f32 constants; and the names of those that were left
/// out, which [`from_graph`] is to be given in the network's own order of elements.
///
/// # Errors
/// Those of [`write`](super::write).
pub fn write_graph(network: &Network) -> Result<(Vec<u8>, BTreeSet<String>), Error> {
    let mut model = bytes::decode(&network.name, &write(network)?)?;
    let mut left_out = BTreeSet::new();
    for initialiser in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        let own = network.main().tensors.iter().find(|tensor| tensor.name == initialiser.name());
        let Some((Elements::F32(values), shape)) = own.and_then(|own| Some((own.constant.as_deref()?, &own.shape)))
        else {
            continue;
        };
        // The writer lays some weights out anew, and adds constants of its own.
        let told = if initialiser.raw_data() == little_endian(values) {
            ELSEWHERE
        } else if initialiser.raw_data() == little_endian(&transposed(values, shape)) {
            TURNED
        } else {
            continue;
        };
        initialiser.raw_data = None;
        initialiser.doc_string = Some(told.into());
        left_out.insert(initialiser.name().to_owned());
    }
    Ok((model.encode_to_vec(), left_out))
}

/// The network of a graph that [`write_graph`] wrote, with the elements that it left out; errors call it `name`.
///
/// # Errors
/// [`Error::Malformed`] naming a constant without elements, or elements without a constant, and those of
/// [`from_bytes`](super::from_bytes).
pub fn from_graph(name: &str, graph: &[u8], mut elements: BTreeMap<String, Vec<f32>>) -> Result<Network, Error> {
    let mut model = bytes::decode(name, graph)?;
    let malformed = |tensor: &str, why: &str| Error::Malformed {
        network: name.into(),
        place: format!("tensor {tensor}"),
        why: why.into(),
    };
    for initialiser in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer).filter(|tensor| is_f32(tensor)) {
        let turned = match initialiser.doc_string() {
            ELSEWHERE => false,
            TURNED => true,
            _ => continue,
        };
        let values = elements.remove(initialiser.name());
        let values = values.ok_or_else(|| malformed(initialiser.name(), "its elements are missing"))?;
        let shape: Vec<usize> = initialiser.dims.iter().rev().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
        let values = if turned { transposed(&values, &shape) } else { values };
        initialiser.raw_data = Some(little_endian(&values));
        initialiser.doc_string = None;
    }
    if let Some((tensor, _)) = elements.first_key_value() {
        return Err(malformed(tensor, "the graph has no such constant"));
    }
    from_bytes(name, &model.encode_to_vec())
}

fn is_f32(tensor: &TensorProto) -> bool {
    tensor.data_type == Some(DataType::Float as i32)
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The transpose of a matrix; nothing for what is none, or has another number of elements.
fn transposed(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let &[rows, columns] = shape else { return Vec::new() };
    if rows.checked_mul(columns) != Some(values.len()) {
        return Vec::new();
    }
    (0..values.len()).map(|i| values[i % rows * columns + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tersor_data::ElementType;
    use tersor_kernels::int8::Activation;

    use super::*;
    use crate::graph::{Arithmetic, Graph, Layout, Node, Tensor, TensorKind};
    use crate::operator::Operator;

    fn tensor(name: &str, shape: &[usize], constant: Option<Vec<f32>>) -> Tensor {
        Tensor {
            name: name.into(),
            shape: shape.into(),
            kind: TensorKind::Element(ElementType::F32),
            quantization: None,
            constant: constant.map(|values| Arc::new(Elements::F32(values))),
            variable: false,
        }
    }

    /// Rows of a matrix (Gemm) and of several (MatMul, which multiplies by the transpose), of square weights too.
    #[test]
    fn a_network_comes_back_with_its_elements() {
        for (input, out) in [(vec![1, 3], 2), (vec![1, 4, 3], 2), (vec![1, 4, 3], 3)] {
            let values: Vec<f32> = (0..3 * out).map(|i| i as f32 - 2.5).collect();
            let output = [&input[..input.len() - 1], &[out]].concat();
            let graph = Graph {
                name: "g".into(),
                tensors: vec![
                    tensor("x", &input, None),
                    tensor("w", &[out, 3], Some(values.clone())),
                    tensor("y", &output, None),
                ],
                nodes: vec![Node {
                    operator: Operator::FullyConnected { keep_num_dims: input.len() > 2, activation: Activation::None },
                    inputs: vec![Some(0), Some(1)],
                    outputs: vec![2],
                }],
                inputs: vec![0],
                outputs: vec![2],
            };
            let network = Network {
                name: "n".into(),
                description: String::new(),
                graphs: vec![graph],
                arithmetic: Arithmetic::FixedPoint,
                layout: Layout::ChannelsFirst,
            };
            let (bytes, left_out) = write_graph(&network).unwrap();
            assert_eq!(left_out.iter().collect::<Vec<_>>(), ["w"]);
            assert!(from_graph("n", &bytes, BTreeMap::new()).is_err());
            let back = from_graph("n", &bytes, BTreeMap::from([("w".into(), values.clone())])).unwrap();
            let w = back.main().tensors.iter().find(|tensor| tensor.name == "w").unwrap();
            assert_eq!((&w.shape, w.constant.as_deref()), (&vec![out, 3], Some(&Elements::F32(values))));
            let more = BTreeMap::from([("w".into(), vec![0.0; 3 * out]), ("v".into(), vec![1.0])]);
            assert!(from_graph("n", &bytes, more).is_err());
        }
    }
}
