//! The network as a value: tensors, and the nodes that compute them, in execution order.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Affine;

use crate::operator::Operator;

/// Position of a tensor in [`Graph::tensors`]; the file's own index where there is a file.
pub type TensorId = usize;

/// A whole network: the main graph first, then the graphs that its operators call.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// What errors call the network: the file's name where there is a file.
    pub name: String,
    /// What the file says of itself.
    pub description: String,
    /// Never empty; [`main`](Self::main) is the first.
    pub graphs: Vec<Graph>,
    /// How integer accumulators are brought back to 8 bits.
    pub arithmetic: Arithmetic,
    /// Where the channels of an image stand.
    pub layout: Layout,
}

impl Network {
    /// The graph that a run executes.
    pub fn main(&self) -> &Graph {
        &self.graphs[0]
    }
}

/// How integer accumulators are brought back to 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// Integer multipliers and shifts: TensorFlow Lite.
    #[default]
    FixedPoint,
    /// Single-precision scales, half to even: the graphs of *On-Device Training Under 256KB Memory*.
    Float,
}

/// The order of an image's axes, and with it that of a convolution's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `[images, height, width, channels]`, weights `[out, kh, kw, in/groups]`: TensorFlow Lite.
    #[default]
    ChannelsLast,
    /// `[images, channels, height, width]`, weights `[out, in/groups, kh, kw]`: ONNX.
    ChannelsFirst,
}

/// Tensors and the nodes that compute them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// The file's name for the graph.
    pub name: String,
    /// Every tensor, constants included.
    pub tensors: Vec<Tensor>,
    /// In execution order.
    pub nodes: Vec<Node>,
    /// What the caller gives.
    pub inputs: Vec<TensorId>,
    /// What the caller gets.
    pub outputs: Vec<TensorId>,
}

/// One step of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is computed.
    pub operator: Operator,
    /// `None` is an optional operand left out.
    pub inputs: Vec<Option<TensorId>>,
    /// What is written.
    pub outputs: Vec<TensorId>,
}

/// A tensor: its shape, the meaning of its values, and the values themselves if they are constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The file's name for the tensor.
    pub name: String,
    /// Lengths of the axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub kind: TensorKind,
    /// What integer elements mean.
    pub quantization: Option<Quantization>,
    /// The elements, for weights and other constants; bytes for a [`TensorKind::Opaque`] tensor.
    pub constant: Option<Arc<Elements>>,
    /// Whether the tensor keeps its values between runs.
    pub variable: bool,
}

impl Tensor {
    /// How many elements the shape holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the shape holds nothing.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Bytes of the elements; a handle or an opaque tensor takes none that we can count.
    pub fn bytes(&self) -> u64 {
        match self.kind {
            TensorKind::Element(t) => self.len() as u64 * t.bytes() as u64,
            TensorKind::Resource | TensorKind::Opaque(_) => 0,
        }
    }

    /// The type of the elements, if they are plain numbers.
    pub fn element_type(&self) -> Option<ElementType> {
        match self.kind {
            TensorKind::Element(t) => Some(t),
            TensorKind::Resource | TensorKind::Opaque(_) => None,
        }
    }
}

/// The elements of a shape; `None` if they would take more than 2^40 bytes, so that sums over a file cannot overflow.
pub(crate) fn count_elements(shape: &[usize]) -> Option<u64> {
    const MOST: u64 = (1 << 40) / 8;
    shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64).filter(|n| *n <= MOST))
}

/// What a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorKind {
    /// Plain numbers.
    Element(ElementType),
    /// A handle to a variable that lives between runs.
    Resource,
    /// Anything else, by the file's name for it; listed, never computed.
    Opaque(&'static str),
}

impl std::fmt::Display for TensorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Element(t) => t.name(),
            Self::Resource => "resource",
            Self::Opaque(name) => name,
        })
    }
}

impl Serialize for TensorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// real = scale · (q − zero_point), for the whole tensor or for each position along `axis`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantization {
    /// One, or one per position along `axis`. TFLite stores f32, which f64 holds exactly.
    pub scale: Vec<f64>,
    /// As many as scales.
    pub zero_point: Vec<i64>,
    /// Meaningful when there is more than one scale.
    pub axis: usize,
}

impl Quantization {
    /// The same scale and zero point for the whole tensor.
    pub fn per_tensor(scale: f64, zero_point: i64) -> Self {
        Self { scale: vec![scale], zero_point: vec![zero_point], axis: 0 }
    }

    /// The one scale and zero point; `None` if there are several, or they are no numbers one can compute with.
    pub fn affine(&self) -> Option<Affine> {
        let (&[scale], &[zero_point]) = (self.scale.as_slice(), self.zero_point.as_slice()) else { return None };
        let zero_point = i32::try_from(zero_point).ok()?;
        (scale.is_finite() && scale > 0.0).then_some(Affine { scale, zero_point })
    }
}
