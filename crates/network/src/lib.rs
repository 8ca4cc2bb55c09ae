//! network
pub mod cost;
mod error;
mod graph;
pub mod graph_file;
pub mod liveness;
pub mod operator;
pub mod reference;
pub mod shape;
pub mod tflite;
pub use error::Error;
pub use graph::*;
