//! What can go wrong with a network, and where.

use std::path::PathBuf;

/// An error that names the file, and the operator or tensor in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("{file}: {source}", file = .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Reading or writing an array or a file through `tersor-data` failed; its message names the file.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),
    /// The file is not what it should be.
    #[error("{network}: {place}: {why}")]
    Malformed {
        /// The file's name.
        network: String,
        /// Tensor, operator or section.
        place: String,
        /// What was expected and found.
        why: String,
    },
    /// An operator cannot be computed.
    #[error("{network}: {within}operator {index} ({operator}): {why}")]
    Operator {
        /// The file's name.
        network: String,
        /// The subgraph, if it is not the main one: `subgraph 1, `.
        within: String,
        /// Position in its graph.
        index: usize,
        /// TensorFlow Lite's name.
        operator: String,
        /// What is wrong, or not supported.
        why: String,
    },
    /// The engine or format takes images with their channels last, as TensorFlow Lite has them.
    #[error("{network}: its images have their channels first, as ONNX has them; {what} takes channels last only")]
    Layout {
        /// The file's name.
        network: String,
        /// What was asked to take it.
        what: &'static str,
    },
    /// What was fed does not fit the network.
    #[error("{network}: {why}")]
    Input {
        /// The file's name.
        network: String,
        /// What was expected and found.
        why: String,
    },
    /// A run would take more work than is allowed.
    #[error(
        "{network}: a run takes {needed} elementary steps, {limit} are allowed; no network for a small device does"
    )]
    Work {
        /// The file's name.
        network: String,
        /// Steps needed.
        needed: u64,
        /// Steps allowed.
        limit: u64,
    },
    /// A run would need more memory than is allowed.
    #[error(
        "{network}: a run needs {needed} bytes of activations, {limit} are allowed (raise the limit with --memory if the file is to be trusted)"
    )]
    Memory {
        /// The file's name.
        network: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}
