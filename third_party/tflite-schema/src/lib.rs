//! FlatBuffers bindings of the public TensorFlow Lite schema (`schema.fbs`, version 3d).
//!
//! `schema_generated.rs` is what `flatc --rust schema.fbs` (25.12.19) writes; neither file is edited by hand.

#[allow(warnings, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
mod schema_generated;

pub use schema_generated::tflite::*;
