//! ONNX files: [`read`], [`write`], and [`File`] for those who change weights and keep all else.
//!
//! Source: the public schema, IR version 14 (`third_party/onnx-schema`), and the operators of opset 7 and later; what
//! is written is opset 17.
//!
//! Read: Add, AveragePool, BatchNormalization, Clip, Concat, Constant, Conv (2-d), Div (by a constant), Dropout, Flatten,
//! Gemm, GlobalAveragePool, HardSigmoid, HardSwish, Identity, LeakyRelu, MatMul (by a constant matrix), Max, MaxPool, Min,
//! Mul, PRelu, Pad, ReduceMean, Relu, Reshape, Resize, Sigmoid, Slice, Softmax (last axis), Squeeze, Sub, Tanh, Transpose,
//! Unsqueeze; Cast, Concat, Gather, Shape and arithmetic where they compute shapes. Others are listed, not understood.

mod bytes;
mod file;
mod fold;
mod graph_only;
mod image;
mod read;
mod tensor;
mod translate;
mod write;

pub use file::{File, Weight};
pub use graph_only::{from_graph, write_graph};
pub use read::{from_bytes, from_bytes_with_inputs, read, read_with_inputs};
pub use write::write;
