//! ResNet-20 for small pictures (Deep residual learning for image recognition, He et al., CVPR 2016, section 4.2), with
//! group norm (Wu and He, ECCV 2018), which does not depend on the rest of the batch.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, PaddingConfig2d};
use burn::tensor::Tensor;

use super::Classifier;
use crate::init::Initial;
use crate::nn::By;

/// 272,474 parameters for 3×32×32 pictures of 10 classes: conv 3×3 3→16; three stages of three blocks, 16, 32 and 64
/// channels wide, the second and third halving the picture; mean over positions; linear 64→10.
#[derive(Module, Debug)]
pub struct ResNet20 {
    stem: Unit,
    blocks: Vec<Block>,
    last: Linear,
}

/// A convolution without bias, and a norm of 8 groups.
#[derive(Module, Debug)]
struct Unit {
    convolution: Conv2d,
    norm: GroupNorm,
}

/// `relu(second(relu(first(x))) + shortcut(x))`; the shortcut is x itself where the shape stays.
#[derive(Module, Debug)]
struct Block {
    first: Unit,
    second: Unit,
    shortcut: Option<Unit>,
}

impl ResNet20 {
    /// Channels, height and width of the pictures that it was made for; other sizes do too.
    pub const PICTURE: [usize; 3] = [3, 32, 32];

    /// The network with initial weights.
    pub fn new(classes: usize, initial: &mut Initial) -> Self {
        let stem = Unit::new([3, 16], 3, 1, initial);
        let mut blocks = Vec::new();
        for (inputs, outputs) in [(16, 16), (16, 32), (32, 64)] {
            blocks.push(Block::new([inputs, outputs], initial));
            blocks.extend((1..3).map(|_| Block::new([outputs, outputs], initial)));
        }
        let last = Linear { weight: initial.uniform([64, classes], 64), bias: Some(initial.uniform([classes], 64)) };
        Self { stem, blocks, last }
    }
}

impl Classifier for ResNet20 {
    fn logits_by(&self, pictures: Tensor<4>, by: By) -> Tensor<2> {
        let x = self.stem.bent(pictures, None, by);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x, by));
        by.linear(&self.last, by.mean(x))
    }
}

impl Block {
    /// Halves the picture where the channels change.
    fn new([inputs, outputs]: [usize; 2], initial: &mut Initial) -> Self {
        let stride = if inputs == outputs { 1 } else { 2 };
        Self {
            first: Unit::new([inputs, outputs], 3, stride, initial),
            second: Unit::new([outputs, outputs], 3, 1, initial),
            shortcut: (stride > 1).then(|| Unit::new([inputs, outputs], 1, stride, initial)),
        }
    }

    fn forward(&self, x: Tensor<4>, by: By) -> Tensor<4> {
        let passed = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x.clone(), by),
            None => x.clone(),
        };
        self.second.bent(self.first.bent(x, None, by), Some(passed), by)
    }
}

impl Unit {
    fn new([inputs, outputs]: [usize; 2], kernel: usize, stride: usize, initial: &mut Initial) -> Self {
        let padding = kernel / 2;
        let convolution = Conv2dConfig::new([inputs, outputs], [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(false)
            .init(initial.device());
        let norm = GroupNormConfig::new(8, outputs).init(initial.device());
        let weight = initial.uniform([outputs, inputs, kernel, kernel], inputs * kernel * kernel);
        Self {
            convolution: Conv2d { weight, ..convolution },
            norm: GroupNorm {
                gamma: Some(initial.constant([outputs], 1.0)),
                beta: Some(initial.constant([outputs], 0.0)),
                ..norm
            },
        }
    }

    fn forward(&self, x: Tensor<4>, by: By) -> Tensor<4> {
        by.norm(&self.norm, by.conv(&self.convolution, x))
    }

    /// max(what it gives + `passed`, 0).
    fn bent(&self, x: Tensor<4>, passed: Option<Tensor<4>>, by: By) -> Tensor<4> {
        by.norm_relu(&self.norm, by.conv(&self.convolution, x), passed)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn it_has_the_parameters_of_its_recipe_and_a_logit_a_class() {
        let device = Device::flex();
        let network = ResNet20::new(10, &mut Initial::new(1, &device));
        assert_eq!(network.num_params(), 272_474);
        assert_eq!(network.logits(Tensor::zeros([2, 3, 32, 32], &device)).dims(), [2, 10]);
    }
}
