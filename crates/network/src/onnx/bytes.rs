//! The bytes of a `.onnx` file, decoded only once it is known what that takes.
//!
//! Protocol Buffers amplify: two bytes may say "one more empty node", and a node takes hundreds of bytes once decoded.
//! So the file is walked first, field by field, and what its messages would take is added up; nothing is allocated.

use std::mem::size_of;
use std::path::Path;

use onnx_schema as schema;
use prost::Message;

use crate::error::Error;

/// Bytes that a decoded file may take beyond three times its size.
const BEYOND: usize = 96 << 20;
/// Messages within messages; `prost` stops there too.
const DEEPEST: usize = 100;
/// What a string or a list of numbers takes besides its bytes.
const HEAP: usize = size_of::<Vec<u8>>() + 16;

/// The bytes of the file `path`.
pub(super) fn of_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { file: path.into(), source })
}

/// The model that `bytes` hold; errors call the file `name`.
pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<schema::ModelProto, Error> {
    let fault = |why: String| Error::Malformed { network: name.into(), place: "the file".into(), why };
    if bytes.is_empty() {
        return Err(fault("it is empty".into()));
    }
    let most = bytes.len().saturating_mul(3).saturating_add(BEYOND);
    let mut room = most;
    walk(Kind::Model, bytes, DEEPEST, &mut room).map_err(|refusal| match refusal {
        Refusal::Damaged(why) => fault(format!("not an ONNX file, or damaged: {why}")),
        Refusal::TooMuch => fault(format!("decoding its {} bytes would take more than {most}", bytes.len())),
    })?;
    schema::ModelProto::decode(bytes).map_err(|e| fault(format!("not an ONNX file, or damaged: {e}")))
}

/// Why a file is not decoded.
enum Refusal {
    Damaged(&'static str),
    TooMuch,
}

/// The messages of the schema.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    /// A tensor's type within a type.
    TensorType,
    /// A sequence's or an optional's.
    ElementType,
    MapType,
    Shape,
    Pair,
    Annotation,
    Training,
    Function,
    Device,
    Sharding,
    ShardedDim,
    /// A message without messages in it, of that many bytes.
    Leaf(usize),
}

impl Kind {
    /// Bytes of the decoded message itself.
    fn bytes(self) -> usize {
        match self {
            Self::Model => size_of::<schema::ModelProto>(),
            Self::Graph => size_of::<schema::GraphProto>(),
            Self::Node => size_of::<schema::NodeProto>(),
            Self::Attribute => size_of::<schema::AttributeProto>(),
            Self::Tensor => size_of::<schema::TensorProto>(),
            Self::SparseTensor => size_of::<schema::SparseTensorProto>(),
            Self::ValueInfo => size_of::<schema::ValueInfoProto>(),
            // What stands within a type by value is counted with it; what it points to is a type.
            Self::Type => size_of::<schema::TypeProto>(),
            Self::TensorType | Self::ElementType | Self::MapType => HEAP,
            Self::Shape => size_of::<schema::TensorShapeProto>(),
            Self::Pair => size_of::<schema::StringStringEntryProto>(),
            Self::Annotation => size_of::<schema::TensorAnnotation>(),
            Self::Training => size_of::<schema::TrainingInfoProto>(),
            Self::Function => size_of::<schema::FunctionProto>(),
            Self::Device => size_of::<schema::NodeDeviceConfigurationProto>(),
            Self::Sharding => size_of::<schema::ShardingSpecProto>(),
            Self::ShardedDim => size_of::<schema::ShardedDimProto>(),
            Self::Leaf(bytes) => bytes,
        }
    }

    /// What a field holds; the numbers are those of `onnx.proto`.
    fn field(self, number: u64) -> Field {
        use Field::{Bytes, Message, Numbers};
        match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Message(Kind::Graph),
            (Self::Model, 8) | (Self::Function, 9) => Message(Kind::Leaf(size_of::<schema::OperatorSetIdProto>())),
            (Self::Model, 14) | (Self::Graph | Self::Tensor, 16) | (Self::Node, 9) | (Self::ValueInfo, 4) => {
                Message(Kind::Pair)
            }
            (Self::Tensor, 13) | (Self::Annotation, 2) | (Self::Training, 3 | 4) | (Self::Function, 14) => {
                Message(Kind::Pair)
            }
            (Self::Model, 20) => Message(Kind::Training),
            (Self::Model, 25) => Message(Kind::Function),
            (Self::Model, 26) => Message(Kind::Leaf(size_of::<schema::DeviceConfigurationProto>())),
            (Self::Graph, 1) | (Self::Function, 7) => Message(Kind::Node),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Message(Kind::Tensor),
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Message(Kind::SparseTensor),
            (Self::Graph, 11..=13) | (Self::Function, 12) => Message(Kind::ValueInfo),
            (Self::Graph, 14) => Message(Kind::Annotation),
            (Self::Node, 5) | (Self::Function, 11) => Message(Kind::Attribute),
            (Self::Node, 10) => Message(Kind::Device),
            (Self::Device, 2) => Message(Kind::Sharding),
            (Self::Sharding, 3) => Message(Kind::Leaf(size_of::<schema::IntIntListEntryProto>())),
            (Self::Sharding, 4) => Message(Kind::ShardedDim),
            (Self::ShardedDim, 2) => Message(Kind::Leaf(size_of::<schema::SimpleShardedDimProto>())),
            (Self::Tensor, 3) => Message(Kind::Leaf(size_of::<schema::tensor_proto::Segment>())),
            (Self::Attribute, 14 | 15) | (Self::ValueInfo, 2) => Message(Kind::Type),
            (Self::Type, 1 | 8) => Message(Kind::TensorType),
            (Self::Type, 4 | 9) => Message(Kind::ElementType),
            (Self::Type, 5) => Message(Kind::MapType),
            (Self::ElementType, 1) | (Self::MapType, 2) => Message(Kind::Type),
            (Self::TensorType, 2) => Message(Kind::Shape),
            (Self::Shape, 1) => Message(Kind::Leaf(size_of::<schema::tensor_shape_proto::Dimension>())),
            // Packed numbers of a byte or more each, which become up to eight.
            (Self::Tensor, 1 | 5 | 7 | 11) | (Self::Attribute, 8) | (Self::SparseTensor, 3) => Numbers,
            (Self::Sharding, 2) | (Self::Leaf(_), 2) => Numbers,
            _ => Bytes,
        }
    }
}

/// What a field of several bytes holds.
enum Field {
    Message(Kind),
    Numbers,
    Bytes,
}

/// Takes from `room` what the message takes once decoded.
fn walk(kind: Kind, mut bytes: &[u8], deeper: usize, room: &mut usize) -> Result<(), Refusal> {
    let take = |n: usize, room: &mut usize| {
        *room = room.checked_sub(n).ok_or(Refusal::TooMuch)?;
        Ok(())
    };
    // Twice: a list that grows holds room for as many again.
    take(2 * kind.bytes(), room)?;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
                take(8, room)?;
            }
            1 => {
                advance(&mut bytes, 8)?;
                take(8, room)?;
            }
            5 => {
                advance(&mut bytes, 4)?;
                take(8, room)?;
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Refusal::Damaged("a length is huge"))?;
                let inside = advance(&mut bytes, length)?;
                match kind.field(key >> 3) {
                    Field::Message(_) if deeper == 0 => {
                        return Err(Refusal::Damaged("its messages lie too deep within each other"));
                    }
                    Field::Message(kind) => walk(kind, inside, deeper - 1, room)?,
                    Field::Numbers => take(HEAP + 8 * length, room)?,
                    Field::Bytes => take(HEAP + length, room)?,
                }
            }
            _ => return Err(Refusal::Damaged("a field of an unknown kind")),
        }
    }
    Ok(())
}

fn advance<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], Refusal> {
    let (head, rest) = bytes.split_at_checked(n).ok_or(Refusal::Damaged("it ends within a field"))?;
    *bytes = rest;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Refusal> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = advance(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Refusal::Damaged("a number of more than ten bytes"))
}
