//! What can go wrong in training.

use std::io;
use std::path::PathBuf;

use crate::loader::{Normalisation, Position};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// A file could not be read or written.
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

    /// A setting out of its range.
    #[error("{what} is {value}; it must be {range}")]
    Setting { what: &'static str, value: f64, range: &'static str },

    /// A text that is no schedule.
    #[error("`{text}` is no schedule; write constant, step:0.5,0.75:0.1 (milestones, factor) or cosine:0.05 (warm-up)")]
    Schedule { text: String },

    /// The network left the numbers; the last checkpoint is from before.
    #[error("the {what} is {value} at step {step} (epoch {epoch}); a smaller rate, warm-up or clipping may help")]
    NotFinite { what: &'static str, value: f64, epoch: u64, step: u64 },

    /// Nothing to compare networks by.
    #[error("{what} needs validation data that gives {measure}")]
    NoValidation { what: &'static str, measure: &'static str },

    /// A file that is not whole, or not of this kind.
    #[error("{}: not a readable {kind}: {fault}{}", file.display(), other(earlier))]
    Damaged { file: PathBuf, kind: &'static str, fault: String, earlier: Option<PathBuf> },

    /// A file for another network.
    #[error("{}: of another network: `{tensor}` is {found} there and {expected} here", file.display())]
    Architecture { file: PathBuf, tensor: String, found: String, expected: String },

    /// A checkpoint of another recipe.
    #[error("{}: of another recipe: {}; go on with the same, or begin in another folder", file.display(), differences.join("; "))]
    Recipe { file: PathBuf, differences: Vec<String> },

    /// A folder that another run works in.
    #[error("{}: another run keeps its checkpoints here; let it end, or name another folder", folder.display())]
    InUse { folder: PathBuf },

    /// A new run where an old one left its checkpoints.
    #[error("{}: holds checkpoints already; go on from them (--resume), or name another folder", folder.display())]
    Occupied { folder: PathBuf },

    /// A tensor of a type that files of tensors do not hold.
    #[error("tensor `{tensor}`: elements of type {dtype} cannot be saved")]
    Dtype { tensor: String, dtype: String },

    /// An optimiser whose state has no names.
    #[error("the state of the optimiser cannot be saved: {0}")]
    Optimizer(String),

    /// A curve cannot be drawn.
    #[error("the curve cannot be drawn: {0}")]
    Drawing(String),
}

fn other(earlier: &Option<PathBuf>) -> String {
    let told =
        |file: &PathBuf| format!("; {} is from before it: remove the damaged one to go on there", file.display());
    earlier.as_ref().map(told).unwrap_or_default()
}
