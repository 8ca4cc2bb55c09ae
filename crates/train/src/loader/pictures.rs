//! Batches of labelled pictures: chosen, changed, normalised.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tersor_data::Examples;

use super::{Normalisation, Position, Settings, Source};
use crate::Error;
use crate::augment::Augment;

/// Pictures that are loaded: some of a set of examples, and how.
#[derive(Debug, Clone)]
pub struct Pictures {
    examples: Arc<Examples>,
    indices: Vec<u32>,
    settings: Settings,
    augment: Augment,
    normalisation: Normalisation,
}

/// A batch of pictures as numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Which batch it is.
    pub position: Position,
    /// Pictures, channels, height, width.
    pub shape: [usize; 4],
    /// Normalised pixels, `[pictures, channels, height, width]`.
    pub pixels: Vec<f32>,
    /// The class of each picture.
    pub labels: Vec<u32>,
    /// Which examples they are.
    pub examples: Vec<u32>,
}

impl Pictures {
    /// The examples at `indices`, changed as `augment` says.
    ///
    /// # Errors
    /// [`Error::NoBatch`] if there is not one batch, [`Error::NoExample`] for an index out of range,
    /// [`Error::Normalisation`] if it is not for these channels.
    pub fn new(
        examples: Arc<Examples>,
        indices: Vec<u32>,
        settings: Settings,
        augment: Augment,
        normalisation: Normalisation,
    ) -> Result<Self, Error> {
        settings.check(indices.len())?;
        if let Some(&index) = indices.iter().find(|&&index| index as usize >= examples.len()) {
            return Err(Error::NoExample { index, examples: examples.len() });
        }
        let channels = examples.shape()[0];
        if !normalisation.fits(channels) {
            return Err(Error::Normalisation { channels, found: normalisation });
        }
        Ok(Self { examples, indices, settings, augment, normalisation })
    }

    /// For training: shuffled, changed as `augment` says, whole batches only, normalised by these very examples.
    ///
    /// # Errors
    /// As [`Pictures::new`].
    pub fn training(
        examples: Arc<Examples>,
        indices: Vec<u32>,
        batch: usize,
        augment: Augment,
        seed: u64,
    ) -> Result<Self, Error> {
        if let Some(&index) = indices.iter().find(|&&index| index as usize >= examples.len()) {
            return Err(Error::NoExample { index, examples: examples.len() });
        }
        let normalisation = Normalisation::of(&examples, &indices);
        Self::new(examples, indices, Settings::training(batch, seed), augment, normalisation)
    }

    /// For measuring: the examples in their order, unchanged, all of them, normalised as in training.
    ///
    /// # Errors
    /// As [`Pictures::new`].
    pub fn measuring(
        examples: Arc<Examples>,
        indices: Vec<u32>,
        batch: usize,
        normalisation: Normalisation,
    ) -> Result<Self, Error> {
        Self::new(examples, indices, Settings::measuring(batch), Augment::default(), normalisation)
    }

    /// How pixels become numbers, to be saved with the network.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// The whole set, of which these are some.
    pub fn examples(&self) -> &Arc<Examples> {
        &self.examples
    }
}

impl Source for Pictures {
    type Batch = Batch;

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn items(&self) -> usize {
        self.indices.len()
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        self.settings.order(epoch, self.indices.clone())
    }

    fn batch(&self, position: Position, indices: &[u32]) -> Batch {
        let shape = self.examples.shape();
        let size = shape.iter().product::<usize>();
        let mut pixels = vec![0.0; indices.len() * size];
        for (&index, out) in indices.iter().zip(pixels.chunks_exact_mut(size)) {
            let change = self.augment.change(self.settings.seed, position.epoch, index, shape[1], shape[2]);
            change.apply(self.examples.picture(index as usize), shape, &self.normalisation, out);
        }
        Batch {
            position,
            shape: [indices.len(), shape[0], shape[1], shape[2]],
            pixels,
            labels: indices.iter().map(|&index| self.examples.labels()[index as usize]).collect(),
            examples: indices.to_vec(),
        }
    }
}

impl Batch {
    /// The pixels, `[pictures, channels, height, width]`, and the labels, `[pictures]`, on `device`.
    pub fn into_tensors(self, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let labels: Vec<i64> = self.labels.into_iter().map(i64::from).collect();
        let count = labels.len();
        let pixels = Tensor::from_data(TensorData::new(self.pixels, self.shape), device);
        (pixels, Tensor::from_data(TensorData::new(labels, [count]), device))
    }
}
