//! Networks that are trained here, and what pictures with labels ask of a network.

mod lenet;
mod resnet;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::marker::PhantomData;

use crate::fit::{Measured, Task};
use crate::loader::Batch;
use crate::nn::By;

pub use lenet::LeNet5;
pub use resnet::ResNet20;

/// A network that tells classes of pictures apart.
pub trait Classifier: Module {
    /// The logits `[pictures, classes]` of `[pictures, channels, height, width]`, by our kernels or by Burn's.
    fn logits_by(&self, pictures: Tensor<4>, by: By) -> Tensor<2>;

    /// The logits by our kernels.
    fn logits(&self, pictures: Tensor<4>) -> Tensor<2> {
        self.logits_by(pictures, By::Us)
    }
}

/// The task of telling which class a picture shows: the loss is the mean cross entropy, `−log softmax(logits)[label]`.
#[derive(Debug)]
pub struct Classification<M>(PhantomData<fn() -> M>);

impl<M> Classification<M> {
    /// The task.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> Default for Classification<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Classifier> Task for Classification<M> {
    type Model = M;
    type Batch = Batch;

    fn measure(&self, model: &M, batch: Batch, device: &Device) -> Measured {
        let classes = batch.labels.clone();
        let (pictures, labels) = batch.into_tensors(device);
        let examples = labels.dims()[0] as u64;
        let logits = model.logits(pictures);
        let answers = logits.clone().argmax(1).reshape([-1]);
        let correct = answers.equal(labels).int().sum().into_scalar::<i64>() as u64;
        let loss = By::Us.cross_entropy(logits, &classes);
        Measured { loss, correct: Some(correct), examples }
    }
}
