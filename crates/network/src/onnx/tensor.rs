//! Constants: from the file's tensors to typed elements, and back.

use half::{bf16, f16};
use onnx_schema::TensorProto;
use onnx_schema::tensor_proto::{DataLocation, DataType};
use tersor_data::{ElementType, Elements};

use crate::graph::{TensorKind, count_elements};

/// Most axes of a tensor.
pub(super) const MOST_AXES: usize = 16;

/// The type that elements of the file's type get: real numbers become f32, others stay what they are.
pub(super) fn kind(data_type: i32) -> Result<TensorKind, String> {
    let data_type = DataType::try_from(data_type).map_err(|_| format!("element type {data_type} is unknown"))?;
    Ok(match data_type {
        DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double => {
            TensorKind::Element(ElementType::F32)
        }
        DataType::Bool => TensorKind::Element(ElementType::Bool),
        DataType::Int8 => TensorKind::Element(ElementType::I8),
        DataType::Uint8 => TensorKind::Element(ElementType::U8),
        DataType::Int16 => TensorKind::Element(ElementType::I16),
        DataType::Uint16 => TensorKind::Element(ElementType::U16),
        DataType::Int32 => TensorKind::Element(ElementType::I32),
        DataType::Uint32 => TensorKind::Element(ElementType::U32),
        DataType::Int64 => TensorKind::Element(ElementType::I64),
        DataType::Uint64 => TensorKind::Element(ElementType::U64),
        other => TensorKind::Opaque(other.as_str_name()),
    })
}

/// The file's name for a type.
pub(super) fn data_type(element: ElementType) -> DataType {
    match element {
        ElementType::Bool => DataType::Bool,
        ElementType::I8 => DataType::Int8,
        ElementType::U8 => DataType::Uint8,
        ElementType::I16 => DataType::Int16,
        ElementType::U16 => DataType::Uint16,
        ElementType::I32 => DataType::Int32,
        ElementType::U32 => DataType::Uint32,
        ElementType::I64 => DataType::Int64,
        ElementType::U64 => DataType::Uint64,
        ElementType::F16 => DataType::Float16,
        ElementType::F32 => DataType::Float,
        ElementType::F64 => DataType::Double,
    }
}

/// The shape that the tensor claims, if its axes can be counted with.
pub(super) fn shape(dims: &[i64]) -> Result<Vec<usize>, String> {
    if dims.len() > MOST_AXES {
        return Err(format!("it has {} axes; at most {MOST_AXES} are supported", dims.len()));
    }
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.filter(|shape| count_elements(shape).is_some());
    shape.ok_or_else(|| format!("shape {dims:?} is negative or takes more than 2^40 bytes"))
}

/// The shape and the elements of a tensor; no elements if they are not plain numbers.
///
/// The shape is believed only where the file holds as many elements.
pub(super) fn read(tensor: &TensorProto) -> Result<(Vec<usize>, TensorKind, Option<Elements>), String> {
    let shape = shape(&tensor.dims)?;
    let data_type = tensor.data_type.unwrap_or_default();
    let kind = kind(data_type)?;
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return Err("it keeps its elements in another file (external data), which is not supported".into());
    }
    if tensor.segment.is_some() {
        return Err("it is one segment of a tensor, which is not supported".into());
    }
    let TensorKind::Element(element) = kind else { return Ok((shape, kind, None)) };
    let elements = match tensor.raw_data.as_deref().filter(|raw| !raw.is_empty()) {
        Some(raw) => from_raw(data_type, element, raw)?,
        None => from_fields(data_type, tensor),
    };
    let count = shape.iter().product::<usize>();
    if elements.len() != count {
        return Err(format!("shape {shape:?} claims {count} elements, the file holds {}", elements.len()));
    }
    Ok((shape, kind, Some(elements)))
}

fn from_raw(data_type: i32, element: ElementType, raw: &[u8]) -> Result<Elements, String> {
    let stored = match DataType::try_from(data_type) {
        Ok(DataType::Float16 | DataType::Bfloat16) => ElementType::U16,
        Ok(DataType::Double) => ElementType::F64,
        _ => element,
    };
    let elements = Elements::from_le_bytes(stored, raw);
    let elements =
        elements.ok_or_else(|| format!("its {} bytes are no whole number of {} elements", raw.len(), stored.name()))?;
    Ok(match (DataType::try_from(data_type), elements) {
        (Ok(DataType::Float16), Elements::U16(v)) => real(v.iter().map(|&bits| f16::from_bits(bits).to_f32())),
        (Ok(DataType::Bfloat16), Elements::U16(v)) => real(v.iter().map(|&bits| bf16::from_bits(bits).to_f32())),
        (Ok(DataType::Double), Elements::F64(v)) => real(v.iter().map(|&x| x as f32)),
        (_, elements) => elements,
    })
}

/// Elements in the typed fields: the small types stand as i32, the unsigned ones as u64.
fn from_fields(data_type: i32, tensor: &TensorProto) -> Elements {
    let small = &tensor.int32_data;
    match DataType::try_from(data_type) {
        Ok(DataType::Float16) => real(small.iter().map(|&bits| f16::from_bits(bits as u16).to_f32())),
        Ok(DataType::Bfloat16) => real(small.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32())),
        Ok(DataType::Double) => real(tensor.double_data.iter().map(|&x| x as f32)),
        Ok(DataType::Bool) => small.iter().map(|&x| x != 0).collect::<Vec<_>>().into(),
        Ok(DataType::Int8) => small.iter().map(|&x| x as i8).collect::<Vec<_>>().into(),
        Ok(DataType::Uint8) => small.iter().map(|&x| x as u8).collect::<Vec<_>>().into(),
        Ok(DataType::Int16) => small.iter().map(|&x| x as i16).collect::<Vec<_>>().into(),
        Ok(DataType::Uint16) => small.iter().map(|&x| x as u16).collect::<Vec<_>>().into(),
        Ok(DataType::Int32) => small.clone().into(),
        Ok(DataType::Int64) => tensor.int64_data.clone().into(),
        Ok(DataType::Uint32) => tensor.uint64_data.iter().map(|&x| x as u32).collect::<Vec<_>>().into(),
        Ok(DataType::Uint64) => tensor.uint64_data.clone().into(),
        _ => tensor.float_data.clone().into(),
    }
}

fn real(values: impl Iterator<Item = f32>) -> Elements {
    values.collect::<Vec<f32>>().into()
}

/// A tensor of the file.
pub(super) fn write(name: &str, shape: &[usize], elements: &Elements) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: Some(data_type(elements.element_type()) as i32),
        raw_data: Some(elements.to_le_bytes()),
        ..TensorProto::default()
    }
}

/// Bytes of one element of a floating-point type; `None` for the others.
pub(super) fn float_bytes(tensor: &TensorProto) -> Option<usize> {
    match DataType::try_from(tensor.data_type?).ok()? {
        DataType::Float => Some(4),
        DataType::Float16 | DataType::Bfloat16 => Some(2),
        DataType::Double => Some(8),
        _ => None,
    }
}

/// Puts other values into a floating-point tensor, as its own type and little-endian.
pub(super) fn replace(tensor: &mut TensorProto, values: &[f32]) {
    let raw: Vec<u8> = match DataType::try_from(tensor.data_type.unwrap_or_default()) {
        Ok(DataType::Float16) => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        Ok(DataType::Bfloat16) => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        Ok(DataType::Double) => values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|&x| x.to_le_bytes()).collect(),
    };
    tensor.float_data.clear();
    tensor.int32_data.clear();
    tensor.double_data.clear();
    tensor.raw_data = Some(raw);
}
