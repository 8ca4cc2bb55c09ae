//! What can go wrong in the room `tiny`.

use std::path::PathBuf;

/// An error that names the file, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network cannot be read, prepared or computed.
    #[error(transparent)]
    Network(#[from] tersor_network::Error),
    /// An array or a picture cannot be read or written.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),
    /// What the file holds is not what the network takes.
    #[error("{}: {why}", .file.display())]
    Input {
        /// The input file.
        file: PathBuf,
        /// What was expected and found, and what to do.
        why: String,
    },
    /// The goldens are not outputs or tensors of the network.
    #[error("{}: {why}", .file.display())]
    Golden {
        /// The file or folder of goldens.
        file: PathBuf,
        /// What was looked for.
        why: String,
    },
    /// The results cannot be written as asked.
    #[error("{}: {why}", .file.display())]
    Output {
        /// The file asked for.
        file: PathBuf,
        /// What to do instead.
        why: String,
    },
    /// A network cannot be planned as asked, or a plan does not hold what it promises.
    #[error("{network}: {why}")]
    Plan {
        /// The network's file.
        network: String,
        /// The operator, tensor or step, and what is wrong.
        why: String,
    },
    /// Firmware cannot be written, or what was written does not do what it should.
    #[error("{network}: {why}")]
    Emit {
        /// The network's file.
        network: String,
        /// The operator, or the step of the verification, and what is wrong.
        why: String,
    },
    /// A picture could not be drawn.
    #[error("the drawing failed: {0}")]
    Drawing(String),
}
