//! Batches of windows over a text: characters, and for each the one that follows.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Position, Purpose, Settings, Source, draws};
use crate::Error;

/// Windows of one length that together cover a text once an epoch, without overlap.
///
/// Shuffled, an epoch's first window begins at a drawn character and the others follow it, so that the borders between
/// windows lie elsewhere each time; up to one window's length is left out at the text's two ends.
#[derive(Debug, Clone)]
pub struct Windows {
    ids: Arc<[u16]>,
    length: usize,
    settings: Settings,
}

/// A batch of windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowBatch {
    /// Which batch it is.
    pub position: Position,
    /// Windows, and characters in each.
    pub shape: [usize; 2],
    /// Characters, `[windows, length]`.
    pub inputs: Vec<i32>,
    /// The character after each, `[windows, length]`.
    pub targets: Vec<i32>,
    /// Where each window begins in the text.
    pub starts: Vec<u32>,
}

impl Windows {
    /// Windows of `length` characters over the text `ids`.
    ///
    /// # Errors
    /// [`Error::TextLength`] if the text has no window with a character after it, or more than 2³² characters;
    /// [`Error::NoBatch`] if there is not one batch.
    pub fn new(ids: Arc<[u16]>, length: usize, settings: Settings) -> Result<Self, Error> {
        if length == 0 || ids.len() <= length || u32::try_from(ids.len()).is_err() {
            return Err(Error::TextLength { characters: ids.len(), length });
        }
        let windows = Self { ids, length, settings };
        windows.settings.check(windows.items())?;
        Ok(windows)
    }

    /// How many places there are for the first window.
    fn slack(&self) -> usize {
        if self.settings.shuffle { self.length.min(self.ids.len() - self.length) } else { 1 }
    }
}

impl Source for Windows {
    type Batch = WindowBatch;

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn items(&self) -> usize {
        (self.ids.len() - self.slack()) / self.length
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        let mut draw = draws(self.settings.seed, Purpose::Window, epoch, 0);
        let first = draw.random_range(0..self.slack());
        let starts = (0..self.items()).map(|window| (first + window * self.length) as u32).collect();
        self.settings.order(epoch, starts)
    }

    fn batch(&self, position: Position, starts: &[u32]) -> WindowBatch {
        let part = |shift: usize| {
            let window = |&start: &u32| &self.ids[start as usize + shift..][..self.length];
            starts.iter().flat_map(window).map(|&id| i32::from(id)).collect()
        };
        WindowBatch {
            position,
            shape: [starts.len(), self.length],
            inputs: part(0),
            targets: part(1),
            starts: starts.to_vec(),
        }
    }
}

impl WindowBatch {
    /// Inputs and targets, both `[windows, length]`, on `device`.
    pub fn into_tensors(self, device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
        let tensor = |ids: Vec<i32>| Tensor::from_data(TensorData::new(ids, self.shape), device);
        (tensor(self.inputs), tensor(self.targets))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counting(characters: usize) -> Arc<[u16]> {
        (0..characters as u16).collect()
    }

    #[test]
    fn in_order_every_character_has_its_follower() {
        let windows = Windows::new(counting(8), 3, Settings::measuring(2)).unwrap();
        assert_eq!(windows.batches(), 1);
        let batch = windows.batch(Position::default(), &windows.order(0));
        assert_eq!((batch.shape, batch.starts), ([2, 3], vec![0, 3]));
        assert_eq!((batch.inputs, batch.targets), (vec![0, 1, 2, 3, 4, 5], vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn a_text_without_a_window_is_an_error() {
        for (characters, length) in [(0, 1), (3, 3), (3, 0)] {
            let windows = Windows::new(counting(characters), length, Settings::measuring(1));
            assert!(matches!(windows, Err(Error::TextLength { .. })), "{characters} {length}");
        }
        assert!(matches!(Windows::new(counting(9), 4, Settings::training(3, 0)), Err(Error::NoBatch { .. })));
    }

    proptest! {
        #[test]
        fn windows_lie_in_the_text_and_do_not_overlap(
            characters in 2usize..300, length in 1usize..40, seed: u64, epoch in 0u64..3, shuffle: bool,
        ) {
            prop_assume!(characters > length);
            let settings = Settings { shuffle, ..Settings::training(1, seed) };
            let windows = Windows::new(counting(characters), length, settings).unwrap();
            let mut starts = windows.order(epoch);
            prop_assert_eq!(starts.len(), windows.items());
            prop_assert!(!starts.is_empty());
            let batch = windows.batch(Position::default(), &starts);
            prop_assert!(batch.inputs.iter().zip(&batch.targets).all(|(a, b)| a + 1 == *b));
            starts.sort_unstable();
            prop_assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == length as u32));
            // What is left out is less than two windows.
            prop_assert!(characters - starts.len() * length <= 2 * length);
        }
    }
}
