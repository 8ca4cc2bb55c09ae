//! Examples in batches, in a seeded order, made ready on other threads while the network trains.
//!
//! A batch is a function of the data, the [`Settings`] and its [`Position`] alone. Everything random (an epoch's
//! order, what happens to a picture) is drawn anew from (seed, purpose, epoch, example): no generator runs along, so a
//! run that was interrupted goes on with the very bits that it would have seen, on any number of threads.
//!
//! ```
//! use std::sync::Arc;
//! use tersor_data::Examples;
//! use tersor_train::augment::Augment;
//! use tersor_train::loader::{Batches, Pictures, Position};
//!
//! let black_and_white = Examples::new([1, 1, 1], vec![0, 255, 0, 255], vec![0, 1, 0, 1], vec!["black".into(), "white".into()]);
//! let examples = Arc::new(black_and_white.ok_or("four pixels")?);
//! let pictures = Arc::new(Pictures::training(examples, vec![0, 1, 2, 3], 2, Augment::default(), 7)?);
//!
//! let mut batches = Batches::new(pictures.clone(), Position::default(), 1)?;
//! let first = batches.next().ok_or("a batch")?;
//! assert_eq!(first.shape, [2, 1, 1, 1]);
//! let saved = batches.position();
//! let second = batches.next();
//! assert_eq!(Batches::new(pictures, saved, 4)?.next(), second, "resumed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod normalise;
mod pictures;
mod split;
mod windows;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Error;

pub use ahead::Batches;
pub use normalise::Normalisation;
pub use pictures::{Batch, Pictures};
pub use split::Split;
pub use windows::{WindowBatch, Windows};

/// A batch's place in a run: saved with a checkpoint, it is where the run goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Batches of this pass that are complete.
    pub batch: u64,
}

/// How examples are put into batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Examples in a batch.
    pub batch: usize,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Whether each epoch has an order of its own; otherwise the examples come as they lie.
    pub shuffle: bool,
    /// Whether a last batch of fewer examples is left out.
    pub drop_last: bool,
}

impl Settings {
    /// For training: shuffled, whole batches only.
    pub fn training(batch: usize, seed: u64) -> Self {
        Self { batch, seed, shuffle: true, drop_last: true }
    }

    /// For measuring: every example once, in order.
    pub fn measuring(batch: usize) -> Self {
        Self { batch, seed: 0, shuffle: false, drop_last: false }
    }

    /// How many batches `items` give.
    pub fn batches(&self, items: usize) -> u64 {
        let batches = if self.drop_last { items / self.batch } else { items.div_ceil(self.batch) };
        batches as u64
    }

    /// The order of `items` in `epoch`.
    fn order(&self, epoch: u64, mut items: Vec<u32>) -> Vec<u32> {
        if self.shuffle {
            items.shuffle(&mut draws(self.seed, Purpose::Order, epoch, 0));
        }
        items
    }

    fn check(&self, items: usize) -> Result<(), Error> {
        if self.batch == 0 || self.batches(items) == 0 {
            return Err(Error::NoBatch { items, batch: self.batch });
        }
        Ok(())
    }
}

/// Something that gives batches: [`Pictures`], [`Windows`].
pub trait Source: Send + Sync + 'static {
    /// What a step of training takes.
    type Batch: Send + 'static;

    /// How items are put into batches.
    fn settings(&self) -> &Settings;

    /// How many items (examples, windows) an epoch has.
    fn items(&self) -> usize;

    /// The items of `epoch` in the order in which they are seen: its plan.
    fn order(&self, epoch: u64) -> Vec<u32>;

    /// The batch at `position`, of the given items.
    fn batch(&self, position: Position, items: &[u32]) -> Self::Batch;

    /// How many batches an epoch has.
    fn batches(&self) -> u64 {
        self.settings().batches(self.items())
    }
}

/// What is drawn. Its number is part of the generator's key: the order of an epoch says nothing about its pictures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Order = 1,
    Augment = 2,
    Split = 3,
    Window = 4,
}

/// The generator for one purpose, epoch and item of a run.
pub(crate) fn draws(seed: u64, purpose: Purpose, epoch: u64, item: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([seed, purpose as u64, epoch, item]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
