//! From a [`Network`] to the bytes of a `.tflite` file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use flatbuffers::{FlatBufferBuilder, Push, PushAlignment, WIPOffset};
use tersor_data::{ElementType, Elements};
use tflite_schema as schema;
use tflite_schema::BuiltinOperator;

use super::options::{code, write_options};
use crate::error::Error;
use crate::graph::{Arithmetic, Graph, Layout, Network, Node, Tensor, TensorKind};

/// Writes `network` to a `.tflite` file, whole or not at all.
///
/// # Errors
/// As [`to_bytes`], and if the file cannot be written.
pub fn write(path: impl AsRef<Path>, network: &Network) -> Result<(), Error> {
    let bytes = to_bytes(network)?;
    tersor_data::atomic::write(path, |file| file.write_all(&bytes))?;
    Ok(())
}

/// The bytes of a `.tflite` file that [`from_bytes`](super::from_bytes) reads back as an equal network.
///
/// # Errors
/// What TFLite cannot hold: an operator that is not known by code, explicit padding, float requantisation, channels first.
pub fn to_bytes(network: &Network) -> Result<Vec<u8>, Error> {
    let malformed = |place: &str, why: &str| Error::Malformed {
        network: network.name.clone(),
        place: place.into(),
        why: why.into(),
    };
    if network.layout != Layout::ChannelsLast {
        return Err(Error::Layout { network: network.name.clone(), what: "TFLite" });
    }
    if network.arithmetic == Arithmetic::Float {
        return Err(malformed(
            "the network",
            "TFLite has no float requantisation: its kernels would give other values",
        ));
    }
    let mut w = Writer { network, b: FlatBufferBuilder::new(), codes: Vec::new(), buffers: Buffers::default() };
    let graphs = network.graphs.iter().map(|g| w.graph(g)).collect::<Result<Vec<_>, _>>()?;
    let b = &mut w.b;
    let subgraphs = b.create_vector(&graphs);
    let codes: Vec<_> = w
        .codes
        .iter()
        .map(|&code| {
            let args = schema::OperatorCodeArgs {
                deprecated_builtin_code: code.0.min(127) as i8,
                builtin_code: code,
                version: 1,
                ..Default::default()
            };
            schema::OperatorCode::create(b, &args)
        })
        .collect();
    let codes = b.create_vector(&codes);
    let buffers: Vec<_> = w
        .buffers
        .contents
        .iter()
        .map(|content| {
            let data = content.as_ref().map(|bytes| b.create_vector(bytes));
            schema::Buffer::create(b, &schema::BufferArgs { data, ..Default::default() })
        })
        .collect();
    let buffers = b.create_vector(&buffers);
    let description = b.create_string(&network.description);
    let args = schema::ModelArgs {
        version: 3,
        operator_codes: Some(codes),
        subgraphs: Some(subgraphs),
        description: Some(description),
        buffers: Some(buffers),
        ..Default::default()
    };
    let model = schema::Model::create(b, &args);
    schema::finish_model_buffer(b, model);
    Ok(b.finished_data().to_vec())
}

/// A byte of a buffer. The schema asks that buffers start at multiples of 16, so that kernels may read them in place.
#[derive(Clone, Copy)]
struct AlignedByte(u8);

impl Push for AlignedByte {
    type Output = u8;

    unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
        dst[0] = self.0;
    }

    fn alignment() -> PushAlignment {
        PushAlignment::new(16)
    }
}

/// Contents of the file's buffers; the first is the empty one.
struct Buffers {
    contents: Vec<Option<Vec<AlignedByte>>>,
    /// By address: constants that tensors share are written once.
    known: HashMap<(*const Elements, ElementType), u32>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { contents: vec![None], known: HashMap::new() }
    }
}

impl Buffers {
    fn index(&mut self, constant: &Arc<Elements>) -> u32 {
        *self.known.entry((Arc::as_ptr(constant), constant.element_type())).or_insert_with(|| {
            self.contents.push(Some(constant.to_le_bytes().into_iter().map(AlignedByte).collect()));
            (self.contents.len() - 1) as u32
        })
    }
}

struct Writer<'n, 'b> {
    network: &'n Network,
    b: FlatBufferBuilder<'b>,
    codes: Vec<BuiltinOperator>,
    buffers: Buffers,
}

impl<'b> Writer<'_, 'b> {
    fn graph(&mut self, graph: &Graph) -> Result<WIPOffset<schema::SubGraph<'b>>, Error> {
        let tensors =
            graph.tensors.iter().enumerate().map(|(i, t)| self.tensor(i, t)).collect::<Result<Vec<_>, _>>()?;
        let operators = graph.nodes.iter().enumerate().map(|(i, n)| self.node(i, n)).collect::<Result<Vec<_>, _>>()?;
        let b = &mut self.b;
        let indices = |ids: &[usize]| ids.iter().map(|&t| t as i32).collect::<Vec<_>>();
        let args = schema::SubGraphArgs {
            tensors: Some(b.create_vector(&tensors)),
            inputs: Some(b.create_vector(&indices(&graph.inputs))),
            outputs: Some(b.create_vector(&indices(&graph.outputs))),
            operators: Some(b.create_vector(&operators)),
            name: Some(b.create_string(&graph.name)),
            ..Default::default()
        };
        Ok(schema::SubGraph::create(b, &args))
    }

    fn node(&mut self, index: usize, node: &Node) -> Result<WIPOffset<schema::Operator<'b>>, Error> {
        let fault = |why: String| Error::Operator {
            network: self.network.name.clone(),
            within: String::new(),
            index,
            operator: node.operator.name().into(),
            why,
        };
        let code = code(&node.operator).ok_or_else(|| fault("cannot be written to TFLite".into()))?;
        let opcode_index = self.codes.iter().position(|&c| c == code).unwrap_or_else(|| {
            self.codes.push(code);
            self.codes.len() - 1
        });
        let (builtin_options_type, builtin_options) = write_options(&mut self.b, &node.operator).map_err(fault)?;
        let inputs: Vec<i32> = node.inputs.iter().map(|t| t.map_or(-1, |t| t as i32)).collect();
        let outputs: Vec<i32> = node.outputs.iter().map(|&t| t as i32).collect();
        let args = schema::OperatorArgs {
            opcode_index: opcode_index as u32,
            inputs: Some(self.b.create_vector(&inputs)),
            outputs: Some(self.b.create_vector(&outputs)),
            builtin_options_type,
            builtin_options,
            ..Default::default()
        };
        Ok(schema::Operator::create(&mut self.b, &args))
    }

    fn tensor(&mut self, index: usize, tensor: &Tensor) -> Result<WIPOffset<schema::Tensor<'b>>, Error> {
        let type_ = tensor_type(tensor.kind).ok_or_else(|| Error::Malformed {
            network: self.network.name.clone(),
            place: format!("tensor {index} ({})", tensor.name),
            why: format!("type {} cannot be written", tensor.kind),
        })?;
        let buffer = tensor.constant.as_ref().map_or(0, |c| self.buffers.index(c));
        let b = &mut self.b;
        let quantization = tensor.quantization.as_ref().map(|q| {
            let scale: Vec<f32> = q.scale.iter().map(|&s| s as f32).collect();
            let args = schema::QuantizationParametersArgs {
                scale: Some(b.create_vector(&scale)),
                zero_point: Some(b.create_vector(&q.zero_point)),
                quantized_dimension: q.axis as i32,
                ..Default::default()
            };
            schema::QuantizationParameters::create(b, &args)
        });
        let shape: Vec<i32> = tensor.shape.iter().map(|&d| d as i32).collect();
        let args = schema::TensorArgs {
            shape: Some(b.create_vector(&shape)),
            type_,
            buffer,
            name: Some(b.create_string(&tensor.name)),
            quantization,
            is_variable: tensor.variable,
            has_rank: true,
            ..Default::default()
        };
        Ok(schema::Tensor::create(b, &args))
    }
}

fn tensor_type(kind: TensorKind) -> Option<schema::TensorType> {
    use schema::TensorType as T;
    Some(match kind {
        TensorKind::Element(ElementType::Bool) => T::BOOL,
        TensorKind::Element(ElementType::I8) => T::INT8,
        TensorKind::Element(ElementType::U8) => T::UINT8,
        TensorKind::Element(ElementType::I16) => T::INT16,
        TensorKind::Element(ElementType::U16) => T::UINT16,
        TensorKind::Element(ElementType::I32) => T::INT32,
        TensorKind::Element(ElementType::U32) => T::UINT32,
        TensorKind::Element(ElementType::I64) => T::INT64,
        TensorKind::Element(ElementType::U64) => T::UINT64,
        TensorKind::Element(ElementType::F16) => T::FLOAT16,
        TensorKind::Element(ElementType::F32) => T::FLOAT32,
        TensorKind::Element(ElementType::F64) => T::FLOAT64,
        TensorKind::Resource => T::RESOURCE,
        TensorKind::Opaque(_) => return None,
    })
}
