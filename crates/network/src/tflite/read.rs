//! From the bytes of a `.tflite` file to a [`Network`].

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flatbuffers::VerifierOptions;
use tersor_data::{ElementType, Elements};
use tflite_schema as schema;

use super::options::operator;
use crate::error::Error;
use crate::graph::{
    Arithmetic, Graph, Layout, Network, Node, Quantization, Tensor, TensorId, TensorKind, count_elements,
};

/// Reads a `.tflite` file.
///
/// # Errors
/// [`Error::Io`], or [`Error::Malformed`] naming the tensor or operator at fault.
pub fn read(path: impl AsRef<Path>) -> Result<Network, Error> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let fault = |source| Error::Io { file: path.into(), source };
    let mut file = std::fs::File::open(path).map_err(fault)?;
    // The first bytes say whether the rest is worth reading: it may be gigabytes of something else.
    let mut bytes = Vec::new();
    file.by_ref().take(8).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() < 8 || !schema::model_buffer_has_identifier(&bytes) {
        return Err(not_tflite(&name));
    }
    file.read_to_end(&mut bytes).map_err(fault)?;
    from_bytes(&name, &bytes)
}

/// Reads a network from the bytes of a `.tflite` file; errors call it `name`.
///
/// # Errors
/// [`Error::Malformed`] naming the tensor or operator at fault.
pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Network, Error> {
    let file = |why: String| Error::Malformed { network: name.into(), place: "the file".into(), why };
    if bytes.len() < 8 || !schema::model_buffer_has_identifier(bytes) {
        return Err(not_tflite(name));
    }
    // Tables may share what they point to; a file whose contents add up to many times its size is a bomb.
    let verifier =
        VerifierOptions { max_apparent_size: bytes.len().saturating_mul(4) + (1 << 16), ..Default::default() };
    let model = schema::root_as_model_with_opts(&verifier, bytes)
        .map_err(|e| file(format!("damaged: {}", first_sentence(&e.to_string()))))?;
    if model.version() != 3 {
        return Err(file(format!("schema version {} is not supported; supported: 3", model.version())));
    }
    let reader = Reader { name, bytes, model, constants: HashMap::new() };
    reader.network()
}

fn not_tflite(name: &str) -> Error {
    let why = "not a TFLite file: the identifier TFL3 is missing at byte 4".into();
    Error::Malformed { network: name.into(), place: "the file".into(), why }
}

/// The verifier's messages go on with a trace of fields; the first line says what is wrong.
fn first_sentence(message: &str) -> &str {
    message.lines().next().unwrap_or(message).trim_end_matches('.')
}

struct Reader<'a> {
    name: &'a str,
    bytes: &'a [u8],
    model: schema::Model<'a>,
    /// Decoded buffers, shared by the tensors that point to them.
    constants: HashMap<(u32, ElementType), Arc<Elements>>,
}

impl<'a> Reader<'a> {
    fn malformed(&self, place: String, why: impl Into<String>) -> Error {
        Error::Malformed { network: self.name.into(), place, why: why.into() }
    }

    fn network(mut self) -> Result<Network, Error> {
        let subgraphs = self.model.subgraphs().unwrap_or_default();
        let graphs: Vec<Graph> =
            subgraphs.iter().enumerate().map(|(i, g)| self.graph(i, g)).collect::<Result<_, _>>()?;
        if graphs.is_empty() {
            return Err(self.malformed("the file".into(), "it holds no graph"));
        }
        Ok(Network {
            name: self.name.into(),
            description: self.model.description().unwrap_or_default().into(),
            graphs,
            arithmetic: Arithmetic::FixedPoint,
            layout: Layout::ChannelsLast,
        })
    }

    fn graph(&mut self, index: usize, from: schema::SubGraph<'a>) -> Result<Graph, Error> {
        // Only unusual files have more than one graph; the others need not read about it.
        let within = if index == 0 { String::new() } else { format!("subgraph {index}, ") };
        let tensors = from.tensors().unwrap_or_default();
        let tensors: Vec<Tensor> = tensors
            .iter()
            .enumerate()
            .map(|(i, t)| self.tensor(&format!("{within}tensor {i}"), t))
            .collect::<Result<_, _>>()?;
        let ids = |list: Option<flatbuffers::Vector<'a, i32>>, place: &str| -> Result<Vec<Option<TensorId>>, Error> {
            list.unwrap_or_default().iter().map(|i| self.tensor_id(i, tensors.len(), place)).collect()
        };
        let present = |ids: Vec<Option<TensorId>>, place: &str| -> Result<Vec<TensorId>, Error> {
            let present: Option<Vec<TensorId>> = ids.into_iter().collect();
            present.ok_or_else(|| self.malformed(place.into(), "a tensor is missing (index -1)"))
        };
        let (in_place, out_place) = (format!("{within}graph inputs"), format!("{within}graph outputs"));
        let inputs = present(ids(from.inputs(), &in_place)?, &in_place)?;
        let outputs = present(ids(from.outputs(), &out_place)?, &out_place)?;

        let mut nodes = Vec::new();
        for (i, op) in from.operators().unwrap_or_default().iter().enumerate() {
            let codes = self.model.operator_codes().unwrap_or_default();
            let code = op.opcode_index() as usize;
            if code >= codes.len() {
                let why = format!("operator code {code} does not exist; the file has {}", codes.len());
                return Err(self.malformed(format!("{within}operator {i}"), why));
            }
            let operator = operator(codes.get(code), op)
                .map_err(|(name, why)| self.malformed(format!("{within}operator {i} ({name})"), why))?;
            let place = format!("{within}operator {i} ({})", operator.name());
            let inputs = ids(op.inputs(), &place)?;
            let outputs = present(ids(op.outputs(), &place)?, &place)?;
            nodes.push(Node { operator, inputs, outputs });
        }
        let graph = Graph { name: from.name().unwrap_or_default().into(), tensors, nodes, inputs, outputs };
        self.check_order(&within, &graph)?;
        Ok(graph)
    }

    fn tensor_id(&self, index: i32, count: usize, place: &str) -> Result<Option<TensorId>, Error> {
        match usize::try_from(index) {
            Ok(i) if i < count => Ok(Some(i)),
            Err(_) if index == -1 => Ok(None),
            _ => Err(self.malformed(place.into(), format!("tensor {index} does not exist; the graph has {count}"))),
        }
    }

    /// Every tensor has one writer, and is written before it is read.
    fn check_order(&self, within: &str, graph: &Graph) -> Result<(), Error> {
        let mut known: Vec<bool> = graph.tensors.iter().map(|t| t.constant.is_some() || t.variable).collect();
        for &t in &graph.inputs {
            if std::mem::replace(&mut known[t], true) {
                return Err(
                    self.malformed(format!("{within}tensor {t}"), "is an input of the graph, and something else too")
                );
            }
        }
        for (i, node) in graph.nodes.iter().enumerate() {
            let place = || format!("{within}operator {i} ({})", node.operator.name());
            if let Some(&t) = node.inputs.iter().flatten().find(|&&t| !known[t]) {
                return Err(self.malformed(place(), format!("reads tensor {t} before anything has written it")));
            }
            for &t in &node.outputs {
                if std::mem::replace(&mut known[t], true) {
                    return Err(self.malformed(place(), format!("writes tensor {t}, which already has its values")));
                }
            }
        }
        match graph.outputs.iter().find(|&&t| !known[t]) {
            Some(t) => Err(self.malformed(format!("{within}graph outputs"), format!("nothing writes tensor {t}"))),
            None => Ok(()),
        }
    }

    fn tensor(&mut self, place: &str, from: schema::Tensor<'a>) -> Result<Tensor, Error> {
        let name = from.name().unwrap_or_default().to_string();
        let place = if name.is_empty() { place.into() } else { format!("{place} ({name})") };
        let sparse = from.sparsity().is_some();
        let kind = if sparse { TensorKind::Opaque("SPARSE") } else { tensor_kind(from.type_()) };
        let shape: Option<Vec<usize>> =
            from.shape().unwrap_or_default().iter().map(|d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(|| self.malformed(place.clone(), "a dimension is negative"))?;
        if count_elements(&shape).is_none() {
            return Err(self.malformed(place, format!("shape {shape:?} claims more than 2^40 bytes")));
        }
        let quantization = self.quantization(&place, from, &shape)?;
        let constant = self.constant(&place, from.buffer(), kind, &shape)?;
        Ok(Tensor { name, shape, kind, quantization, constant, variable: from.is_variable() })
    }

    fn quantization(
        &self,
        place: &str,
        from: schema::Tensor<'a>,
        shape: &[usize],
    ) -> Result<Option<Quantization>, Error> {
        let Some(q) = from.quantization() else { return Ok(None) };
        let scale: Vec<f64> = q.scale().unwrap_or_default().iter().map(f64::from).collect();
        if scale.is_empty() {
            return Ok(None);
        }
        let mut zero_point: Vec<i64> = q.zero_point().unwrap_or_default().iter().collect();
        if zero_point.is_empty() {
            zero_point = vec![0; scale.len()];
        }
        if zero_point.len() != scale.len() {
            let why = format!("{} scales but {} zero points", scale.len(), zero_point.len());
            return Err(self.malformed(place.into(), why));
        }
        // TOCO wrote axis 3 on bias vectors, so an axis that does not exist is only an error where it would be used.
        let axis = usize::try_from(q.quantized_dimension()).unwrap_or(0);
        let along = shape.get(axis).copied();
        if scale.len() > 1 && along != Some(scale.len()) && shape != [scale.len()] {
            let why = format!("{} scales along axis {axis} of shape {shape:?}", scale.len());
            return Err(self.malformed(place.into(), why));
        }
        Ok(Some(Quantization { scale, zero_point, axis }))
    }

    fn constant(
        &mut self,
        place: &str,
        buffer: u32,
        kind: TensorKind,
        shape: &[usize],
    ) -> Result<Option<Arc<Elements>>, Error> {
        let Some(bytes) = self.buffer(place, buffer)? else { return Ok(None) };
        let TensorKind::Element(element_type) = kind else {
            return Ok(Some(Arc::new(Elements::U8(bytes.to_vec()))));
        };
        let expected = shape.iter().product::<usize>() * element_type.bytes();
        if bytes.len() != expected {
            let why = format!("{} bytes of {element_type} for shape {shape:?}, which takes {expected}", bytes.len());
            return Err(self.malformed(place.into(), why));
        }
        let decode = || Arc::new(Elements::from_le_bytes(element_type, bytes).expect("the length was checked"));
        Ok(Some(self.constants.entry((buffer, element_type)).or_insert_with(decode).clone()))
    }

    /// The bytes of a buffer; `None` for the empty buffers that stand for "computed".
    fn buffer(&self, place: &str, index: u32) -> Result<Option<&'a [u8]>, Error> {
        let buffers = self.model.buffers().unwrap_or_default();
        let at = index as usize;
        if at == 0 {
            return Ok(None);
        }
        if at >= buffers.len() {
            let why = format!("buffer {at} does not exist; the file has {}", buffers.len());
            return Err(self.malformed(place.into(), why));
        }
        let buffer = buffers.get(at);
        if let Some(data) = buffer.data().filter(|data| !data.is_empty()) {
            return Ok(Some(data.bytes()));
        }
        // Large files keep their constants behind the table, found by offset and size.
        if buffer.offset() <= 1 {
            return Ok(None);
        }
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.size()).ok());
        let bytes = range.and_then(|(from, size)| self.bytes.get(from..from.checked_add(size)?));
        bytes.map(Some).ok_or_else(|| {
            let why = format!("buffer {at} lies at {}..+{}, outside the file", buffer.offset(), buffer.size());
            self.malformed(place.into(), why)
        })
    }
}

fn tensor_kind(from: schema::TensorType) -> TensorKind {
    use schema::TensorType as T;
    TensorKind::Element(match from {
        T::BOOL => ElementType::Bool,
        T::INT8 => ElementType::I8,
        T::UINT8 => ElementType::U8,
        T::INT16 => ElementType::I16,
        T::UINT16 => ElementType::U16,
        T::INT32 => ElementType::I32,
        T::UINT32 => ElementType::U32,
        T::INT64 => ElementType::I64,
        T::UINT64 => ElementType::U64,
        T::FLOAT16 => ElementType::F16,
        T::FLOAT32 => ElementType::F32,
        T::FLOAT64 => ElementType::F64,
        T::RESOURCE => return TensorKind::Resource,
        other => return TensorKind::Opaque(other.variant_name().unwrap_or("UNKNOWN")),
    })
}
