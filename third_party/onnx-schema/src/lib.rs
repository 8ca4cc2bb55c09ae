//! Protocol Buffers bindings of the public ONNX schema (`onnx.proto`, ONNX 1.23.0, IR version 14).
//!
//! `onnx.rs` is what `prost-build` 0.14 writes from it; neither file is edited by hand.

#[allow(warnings, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
mod onnx;

pub use onnx::*;
