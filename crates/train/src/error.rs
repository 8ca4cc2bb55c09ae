//! What can go wrong in training.

use std::io;

use crate::loader::{Normalisation, Position};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// Data could not be read.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),

    /// Too few examples or windows, or batches of nothing.
    #[error("{items} examples give no batch of {batch}; choose a batch from 1 to {items}")]
    NoBatch { items: usize, batch: usize },

    /// An index beyond the examples.
    #[error("there is no example {index}, only {examples} from 0")]
    NoExample { index: u32, examples: usize },

    /// Means and deviations that are not for these pictures.
    #[error(
        "pictures of {channels} channels need as many finite means and positive deviations; given: {:?}, {:?}",
        found.mean, found.deviation
    )]
    Normalisation { channels: usize, found: Normalisation },

    /// A share of the examples that is none.
    #[error("a share of {fraction} cannot be kept for validation; it must be at least 0 and less than 1")]
    Fraction { fraction: f64 },

    /// A text too short (or too long) for its windows.
    #[error("a text of {characters} characters has no window of {length} with a character after it")]
    TextLength { characters: usize, length: usize },

    /// A run cannot go on from here.
    #[error(
        "epoch {}, batch {} is no place in epochs of {batches} batches; was it saved with another batch size or data?",
        position.epoch, position.batch
    )]
    Position { position: Position, batches: u64 },

    /// The system gives no thread.
    #[error("no thread for loading could be started: {0}")]
    Thread(io::Error),
}
