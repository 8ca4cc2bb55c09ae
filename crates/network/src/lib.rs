//! A network as a value: one graph, one reader, one executor for every room.
//!
//! A network is read from a file, inspected without running it (shapes, multiply-adds, the bytes alive at every step),
//! and computed by the reference engine, whose int8 results equal TensorFlow Lite Micro's reference kernels to the bit.
//!
//! ```
//! use tersor_network::{liveness, reference::{Options, Reference}, tflite};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Some(file) = tersor_data::shared::file("tiny/autoencoder_ad_int8.tflite") else { return Ok(()) };
//! let network = tflite::read(file)?;
//! assert_eq!(liveness::as_it_stands(&network, network.main()).bound_bytes, 768);
//!
//! let engine = Reference::prepare(&network, Options::default())?;
//! let silence = tersor_data::Array::new([1, 640], vec![0i8; 640].into()).unwrap();
//! let outputs = engine.run(&mut engine.state(), &[(network.main().inputs[0], &silence)], |_, _| ())?;
//! assert_eq!(outputs[0].shape(), [1, 640]);
//! # Ok(()) }
//! ```
//!
//! Papers: the arithmetic is that of Jacob et al. (CVPR 2018) as TensorFlow Lite Micro computes it, and of *On-Device
//! Training Under 256KB Memory* (NeurIPS 2022) for [`graph_file`]s.
//!
//! | file | idea |
//! | --- | --- |
//! | `graph.rs` | [`Network`], [`Graph`], [`Node`], [`Tensor`] |
//! | [`operator`] | what a node computes, with its options |
//! | [`shape`] | shapes that operators give |
//! | `placement.rs` | where tensors lie while they live |
//! | [`cost`] | multiply-adds, parameters, Flash |
//! | [`liveness`] | lifetimes, live bytes, bounds of memory |
//! | [`reference`] | the engine that reads like the formulas |
//! | [`fast`] | the engine that runs at the machine's speed |
//! | `float` | the engine for real numbers, dense and sparse (feature `float`) |
//! | [`tflite`] | `.tflite` files, in and out |
//! | [`onnx`] | `.onnx` files, in and out |
//! | `batch.rs` | the same network for more images at a time |
//! | [`graph_file`] | JSON + safetensors graphs |
//!
//! What this crate does not do: plan memory, emit code (the room `tiny`).

mod batch;
pub mod cost;
mod error;
pub mod fast;
#[cfg(feature = "float")]
pub mod float;
mod graph;
pub mod graph_file;
pub mod liveness;
pub mod onnx;
pub mod operator;
mod placement;
pub mod reference;
pub mod shape;
pub mod tflite;

use std::path::Path;

pub use error::Error;
pub use graph::{Arithmetic, Graph, Layout, Network, Node, Quantization, Tensor, TensorId, TensorKind};

/// Reads a network by its suffix: `.onnx`, a graph file (`.json`, `.safetensors`), anything else as TFLite.
///
/// # Errors
/// [`Error::Io`], or [`Error::Malformed`] naming the place at fault.
pub fn read(path: impl AsRef<Path>) -> Result<Network, Error> {
    let path = path.as_ref();
    match path.extension().and_then(|e| e.to_str()) {
        Some("json" | "safetensors") => graph_file::read(path),
        Some("onnx") => onnx::read(path),
        _ => tflite::read(path),
    }
}
