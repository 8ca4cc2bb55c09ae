//! LeNet-5 (Gradient-based learning applied to document recognition, LeCun et al., 1998) as it is built today: ReLU, max
//! pooling, every map of the second layer seeing all of the first.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::Tensor;

use super::Classifier;
use crate::init::Initial;
use crate::nn::By;

/// 61,706 parameters for 1×28×28 pictures of 10 classes: conv 5×5 1→6 (padding 2), ReLU, max pool 2, conv 5×5 6→16,
/// ReLU, max pool 2, linear 400→120, ReLU, 120→84, ReLU, 84→10.
#[derive(Module, Debug)]
pub struct LeNet5 {
    first: Conv2d,
    second: Conv2d,
    pool: MaxPool2d,
    third: Linear,
    fourth: Linear,
    last: Linear,
}

impl LeNet5 {
    /// Channels, height and width of its pictures.
    pub const PICTURE: [usize; 3] = [1, 28, 28];

    /// The network with initial weights.
    pub fn new(classes: usize, initial: &mut Initial) -> Self {
        Self {
            first: convolution([1, 6], 2, initial),
            second: convolution([6, 16], 0, initial),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            third: linear(400, 120, initial),
            fourth: linear(120, 84, initial),
            last: linear(84, classes, initial),
        }
    }
}

impl Classifier for LeNet5 {
    fn logits_by(&self, pictures: Tensor<4>, by: By) -> Tensor<2> {
        let x = by.pool(&self.pool, by.relu(by.conv(&self.first, pictures)));
        let x = by.pool(&self.pool, by.relu(by.conv(&self.second, x)));
        let x = by.relu(by.linear(&self.third, x.flatten::<2>(1, 3)));
        let x = by.relu(by.linear(&self.fourth, x));
        by.linear(&self.last, x)
    }
}

fn convolution([inputs, outputs]: [usize; 2], padding: usize, initial: &mut Initial) -> Conv2d {
    let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
    let layer = Conv2dConfig::new([inputs, outputs], [5, 5]).with_padding(padding).init(initial.device());
    let fan_in = 25 * inputs;
    let weight = initial.uniform([outputs, inputs, 5, 5], fan_in);
    let bias = Some(initial.uniform([outputs], fan_in));
    Conv2d { weight, bias, ..layer }
}

fn linear(inputs: usize, outputs: usize, initial: &mut Initial) -> Linear {
    let weight = initial.uniform([inputs, outputs], inputs);
    let bias = Some(initial.uniform([outputs], inputs));
    Linear { weight, bias }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn it_has_the_parameters_of_its_recipe_and_a_logit_a_class() {
        let device = Device::flex();
        let network = LeNet5::new(10, &mut Initial::new(1, &device));
        assert_eq!(network.num_params(), 61_706);
        assert_eq!(network.logits(Tensor::zeros([3, 1, 28, 28], &device)).dims(), [3, 10]);
    }
}
