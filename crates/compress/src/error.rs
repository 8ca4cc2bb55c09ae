//! What can go wrong when a network is compressed, and where.

use std::path::PathBuf;

/// An error that names the file, the tensor or the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// Reading or writing failed below; the message names the file.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),

    /// A network cannot be read, shaped or run; the message names the place.
    #[error(transparent)]
    Network(#[from] tersor_network::Error),

    /// Training failed; the message says at which step or setting.
    #[error(transparent)]
    Train(#[from] tersor_train::Error),

    /// The file is not what it should be.
    #[error("{}: {place}: {why}", file.display())]
    Malformed { file: PathBuf, place: String, why: String },

    /// A file without a graph of known operators was asked for more than its weights.
    #[error("{name}: {what} needs a network whose operators are all known; {why}")]
    NoNetwork { name: String, what: &'static str, why: String },

    /// An operator that cannot be followed, trained or rewritten.
    #[error("{network}: operator {index} ({operator}): {why}")]
    Operator { network: String, index: usize, operator: String, why: String },

    /// No weights are left to be pruned.
    #[error("{name}: {why}; its weights are: {present}")]
    NoWeights { name: String, why: String, present: String },

    /// A tensor that a plan or a caller names is not there, or has another shape.
    #[error("{name}: tensor `{tensor}`: {why}")]
    Tensor { name: String, tensor: String, why: String },

    /// A number out of its range.
    #[error("{what} is {value}, not {range}")]
    Setting { what: &'static str, value: f64, range: &'static str },

    /// A weight is no number.
    #[error(
        "{name}: tensor `{tensor}` has a weight that is {value} at {at}; a network with such weights cannot be pruned"
    )]
    NotFinite { name: String, tensor: String, at: usize, value: f32 },

    /// Pictures or arrays that do not fit the network.
    #[error("{what}: {why}")]
    Input { what: String, why: String },

    /// A picture could not be drawn.
    #[error("the picture cannot be drawn: {0}")]
    Drawing(String),
}

impl Error {
    pub(crate) fn malformed(file: impl Into<PathBuf>, place: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed { file: file.into(), place: place.into(), why: why.into() }
    }
}
