//! What can go wrong in training.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),

    /// A setting out of its range.
    #[error("{what} is {value}; it must be {range}")]
    Setting { what: &'static str, value: f64, range: &'static str },

    /// A text that is no schedule.
    #[error("`{text}` is no schedule; write constant, step:0.5,0.75:0.1 (milestones, factor) or cosine:0.05 (warm-up)")]
    Schedule { text: String },

    /// The data gave another number of batches than it promised.
    #[error("epoch {epoch} gave {given} batches; the data promised {promised}")]
    Batches { epoch: u64, given: u64, promised: u64 },

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

    /// A curve cannot be drawn.
    #[error("the curve cannot be drawn: {0}")]
    Drawing(String),
}

fn other(earlier: &Option<PathBuf>) -> String {
    let told = |file: &PathBuf| format!("; {} is from before it: remove the damaged one to go on there", file.display());
    earlier.as_ref().map(told).unwrap_or_default()
}
