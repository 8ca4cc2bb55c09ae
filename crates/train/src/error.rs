//! What can go wrong in training.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Data could not be read.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),
}
