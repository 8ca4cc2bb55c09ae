//! Operators and their options, with the names of TensorFlow Lite.
//!
//! | weights of | [`Layout::ChannelsLast`](crate::Layout) | [`Layout::ChannelsFirst`](crate::Layout) |
//! | --- | --- | --- |
//! | CONV_2D | `[out, kh, kw, in/groups]` | `[out, in/groups, kh, kw]` |
//! | DEPTHWISE_CONV_2D | `[1, kh, kw, out]` | never: a CONV_2D whose groups are its channels |
//! | FULLY_CONNECTED | `[out, in]` | `[out, in]` |
//!
//! The groups of a CONV_2D follow from the channels of its input.

use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;

/// Rows and columns.
pub type Pair = [usize; 2];

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the options are those of the public schema")]
pub enum Operator {
    Add {
        activation: Activation,
    },
    Sub {
        activation: Activation,
    },
    Mul {
        activation: Activation,
    },
    Maximum,
    Minimum,
    Conv2d {
        stride: Pair,
        dilation: Pair,
        padding: [Padding; 2],
        activation: Activation,
    },
    DepthwiseConv2d {
        stride: Pair,
        dilation: Pair,
        padding: [Padding; 2],
        activation: Activation,
    },
    FullyConnected {
        keep_num_dims: bool,
        activation: Activation,
    },
    AveragePool2d(Pool),
    /// `(x − mean) / √(variance + ε) · scale + bias` at every position of the channels; operands `x`, `scale`, `bias`,
    /// `mean`, `variance`, the last four of shape `[channels]`. Networks from ONNX have it; the int8 engines do not.
    BatchNormalization {
        epsilon: f32,
    },
    MaxPool2d(Pool),
    Mean {
        keep_dims: bool,
    },
    Softmax {
        beta: f32,
    },
    Logistic,
    Tanh,
    Relu,
    Relu6,
    ReluN1To1,
    LeakyRelu {
        alpha: f32,
    },
    Prelu,
    HardSwish,
    Quantize,
    Dequantize,
    ResizeNearestNeighbor {
        align_corners: bool,
        half_pixel_centers: bool,
    },
    ResizeBilinear {
        align_corners: bool,
        half_pixel_centers: bool,
    },
    Pad,
    PadV2,
    Reshape {
        shape: Option<Vec<i32>>,
    },
    Squeeze {
        axes: Vec<i32>,
    },
    ExpandDims,
    Transpose,
    StridedSlice {
        begin_mask: i32,
        end_mask: i32,
        ellipsis_mask: i32,
        new_axis_mask: i32,
        shrink_axis_mask: i32,
    },
    Slice,
    Split {
        parts: usize,
    },
    SplitV {
        parts: usize,
    },
    Pack {
        axis: i32,
    },
    Unpack {
        axis: i32,
    },
    Concatenation {
        axis: i32,
        activation: Activation,
    },
    CallOnce {
        graph: usize,
    },
    VarHandle {
        container: String,
        name: String,
    },
    ReadVariable,
    AssignVariable,
    /// Anything else: read and listed, not run. `name` is the file format's; a custom operator's own.
    Other {
        name: String,
        custom: bool,
    },
}

/// A pooling window.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pool {
    pub kernel: Pair,
    pub stride: Pair,
    pub padding: [Padding; 2],
    pub activation: Activation,
}

/// Names of every operator that the int8 engines can run.
pub const SUPPORTED: [&str; 41] = [
    "ADD",
    "ASSIGN_VARIABLE",
    "AVERAGE_POOL_2D",
    "CALL_ONCE",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEQUANTIZE",
    "EXPAND_DIMS",
    "FULLY_CONNECTED",
    "HARD_SWISH",
    "LEAKY_RELU",
    "LOGISTIC",
    "MAXIMUM",
    "MAX_POOL_2D",
    "MEAN",
    "MINIMUM",
    "MUL",
    "PACK",
    "PAD",
    "PADV2",
    "PRELU",
    "QUANTIZE",
    "READ_VARIABLE",
    "RELU",
    "RELU6",
    "RELU_N1_TO_1",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SOFTMAX",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "SUB",
    "TANH",
    "TRANSPOSE",
    "UNPACK",
    "VAR_HANDLE",
];

impl Operator {
    /// TensorFlow Lite's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Add { .. } => "ADD",
            Self::Sub { .. } => "SUB",
            Self::Mul { .. } => "MUL",
            Self::Maximum => "MAXIMUM",
            Self::Minimum => "MINIMUM",
            Self::Conv2d { .. } => "CONV_2D",
            Self::DepthwiseConv2d { .. } => "DEPTHWISE_CONV_2D",
            Self::FullyConnected { .. } => "FULLY_CONNECTED",
            Self::AveragePool2d(_) => "AVERAGE_POOL_2D",
            Self::BatchNormalization { .. } => "BATCH_NORMALIZATION",
            Self::MaxPool2d(_) => "MAX_POOL_2D",
            Self::Mean { .. } => "MEAN",
            Self::Softmax { .. } => "SOFTMAX",
            Self::Logistic => "LOGISTIC",
            Self::Tanh => "TANH",
            Self::Relu => "RELU",
            Self::Relu6 => "RELU6",
            Self::ReluN1To1 => "RELU_N1_TO_1",
            Self::LeakyRelu { .. } => "LEAKY_RELU",
            Self::Prelu => "PRELU",
            Self::HardSwish => "HARD_SWISH",
            Self::Quantize => "QUANTIZE",
            Self::Dequantize => "DEQUANTIZE",
            Self::ResizeBilinear { .. } => "RESIZE_BILINEAR",
            Self::ResizeNearestNeighbor { .. } => "RESIZE_NEAREST_NEIGHBOR",
            Self::Pad => "PAD",
            Self::PadV2 => "PADV2",
            Self::Reshape { .. } => "RESHAPE",
            Self::Squeeze { .. } => "SQUEEZE",
            Self::ExpandDims => "EXPAND_DIMS",
            Self::Transpose => "TRANSPOSE",
            Self::StridedSlice { .. } => "STRIDED_SLICE",
            Self::Slice => "SLICE",
            Self::Split { .. } => "SPLIT",
            Self::SplitV { .. } => "SPLIT_V",
            Self::Pack { .. } => "PACK",
            Self::Unpack { .. } => "UNPACK",
            Self::Concatenation { .. } => "CONCATENATION",
            Self::CallOnce { .. } => "CALL_ONCE",
            Self::VarHandle { .. } => "VAR_HANDLE",
            Self::ReadVariable => "READ_VARIABLE",
            Self::AssignVariable => "ASSIGN_VARIABLE",
            Self::Other { name, .. } => name,
        }
    }

    /// Whether the same operands always give the same results: everything but variables and calls.
    pub fn is_pure(&self) -> bool {
        !matches!(
            self,
            Self::CallOnce { .. }
                | Self::VarHandle { .. }
                | Self::ReadVariable
                | Self::AssignVariable
                | Self::Other { .. }
        )
    }
}
