//! Burn's modules, run by our kernels: `layer.fast(x)` gives what `layer.forward(x)` gives.
//!
//! Models keep Burn's modules, and so their initialisers, records and devices; only the call differs. Burn's `LayerNorm`
//! keeps its ε to itself, so there [`op::layer_norm`] stands for it. [`By`] chooses between the two, to compare them.

use burn::nn::conv::{Conv1d, Conv2d};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::MaxPool2d;
use burn::nn::{BatchNorm, GroupNorm, LayerNorm, Linear, PaddingConfig1d, PaddingConfig2d};
use burn::tensor::{Int, Tensor, activation};
use tersor_kernels::training::activation::Activation;

use crate::op::{self, Look};

/// Whose operations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Ours.
    #[default]
    Us,
    /// Burn's own.
    Burn,
}

impl By {
    /// A convolution.
    pub fn conv(self, layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    /// The largest of each window.
    pub fn pool(self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    /// The mean of each channel: `[images, channels]`.
    pub fn mean(self, x: Tensor<4>) -> Tensor<2> {
        let [images, channels, height, width] = x.dims();
        match self {
            Self::Us => op::mean_pool(x, [height, width], Look::default()).reshape([images, channels]),
            Self::Burn => x.reshape([images, channels, height * width]).mean_dim(2).reshape([images, channels]),
        }
    }

    /// Group norm.
    pub fn norm(self, layer: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    /// max(group norm + `passed`, 0).
    pub fn norm_relu(self, layer: &GroupNorm, x: Tensor<4>, passed: Option<Tensor<4>>) -> Tensor<4> {
        match (&layer.gamma, &layer.beta) {
            (Some(gamma), Some(beta)) if self == Self::Us => {
                op::group_norm_relu(x, layer.num_groups, gamma.val(), beta.val(), layer.epsilon as f32, passed)
            }
            _ => {
                let y = self.norm(layer, x);
                self.relu(match passed {
                    Some(passed) => y + passed,
                    None => y,
                })
            }
        }
    }

    /// A linear layer.
    pub fn linear<const D: usize>(self, layer: &Linear, x: Tensor<D>) -> Tensor<D> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    /// `max(x, 0)`.
    pub fn relu<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if self == Self::Us { op::relu(x) } else { activation::relu(x) }
    }

    /// Gaussian error linear units.
    pub fn gelu<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if self == Self::Us { op::activation(Activation::Gelu, x) } else { activation::gelu(x) }
    }

    /// Layer norm with the usual ε of 1e-5.
    pub fn layer_norm(self, layer: &LayerNorm, x: Tensor<3>) -> Tensor<3> {
        match &layer.beta {
            Some(beta) if self == Self::Us => op::layer_norm(x, layer.gamma.val(), beta.val(), 1e-5),
            _ => layer.forward(x),
        }
    }

    /// The mean cross entropy of logits.
    pub fn cross_entropy(self, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
        if self == Self::Us {
            return op::cross_entropy(logits, labels);
        }
        let device = logits.device();
        let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
        CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
    }
}

/// A module that our kernels run.
pub trait Fast<X> {
    /// What it gives.
    type Output;

    /// As Burn's `forward`.
    fn fast(&self, x: X) -> Self::Output;
}

/// Padding alike on both sides, if it is.
fn symmetric(
    padding: &PaddingConfig2d,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Option<[usize; 2]> {
    match *padding {
        PaddingConfig2d::Valid => Some([0, 0]),
        PaddingConfig2d::Explicit(top, left, bottom, right) => (top == bottom && left == right).then_some([top, left]),
        PaddingConfig2d::Same => {
            let span = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1));
            (stride == [1, 1] && span.iter().all(|span| span % 2 == 0)).then(|| span.map(|span| span / 2))
        }
    }
}

impl Fast<Tensor<4>> for Conv2d {
    type Output = Tensor<4>;

    fn fast(&self, x: Tensor<4>) -> Tensor<4> {
        let Self { stride, dilation, groups, .. } = *self;
        let Some(padding) = symmetric(&self.padding, self.kernel_size, stride, dilation) else {
            return self.forward(x);
        };
        let bias = self.bias.as_ref().map(|bias| bias.val());
        op::convolution(x, self.weight.val(), bias, Look { stride, padding, dilation, groups })
    }
}

impl Fast<Tensor<3>> for Conv1d {
    type Output = Tensor<3>;

    fn fast(&self, x: Tensor<3>) -> Tensor<3> {
        let span = self.dilation * (self.kernel_size - 1);
        let padding = match self.padding {
            PaddingConfig1d::Valid => 0,
            PaddingConfig1d::Explicit(left, right) if left == right => left,
            PaddingConfig1d::Same if self.stride == 1 && span.is_multiple_of(2) => span / 2,
            _ => return self.forward(x),
        };
        let (stride, dilation) = ([1, self.stride], [1, self.dilation]);
        let look = Look { stride, padding: [0, padding], dilation, groups: self.groups };
        op::convolution_1d(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()), look)
    }
}

impl Fast<Tensor<4>> for BatchNorm {
    type Output = Tensor<4>;

    /// While it trains, moves the remembered moments towards those of the batch, as Burn's does.
    fn fast(&self, x: Tensor<4>) -> Tensor<4> {
        if !(x.device().is_autodiff() && self.training.is_enabled()) {
            return self.forward(x);
        }
        let device = x.device();
        let (y, mean, variance) = op::batch_norm(x, self.gamma.val(), self.beta.val(), self.epsilon as f32);
        for (running, new) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            let old = running.value_sync().to_device(&device);
            running.update((old * (1.0 - self.momentum) + new * self.momentum).detach());
        }
        y
    }
}

impl Fast<Tensor<4>> for MaxPool2d {
    type Output = Tensor<4>;

    fn fast(&self, x: Tensor<4>) -> Tensor<4> {
        let Self { stride, dilation, kernel_size, ceil_mode, .. } = *self;
        match symmetric(&self.padding, kernel_size, stride, dilation) {
            Some(padding) if !ceil_mode => op::max_pool(x, kernel_size, Look { stride, padding, dilation, groups: 1 }),
            _ => self.forward(x),
        }
    }
}

impl<const D: usize> Fast<Tensor<D>> for Linear {
    type Output = Tensor<D>;

    fn fast(&self, x: Tensor<D>) -> Tensor<D> {
        op::linear(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()))
    }
}

impl Fast<Tensor<4>> for GroupNorm {
    type Output = Tensor<4>;

    fn fast(&self, x: Tensor<4>) -> Tensor<4> {
        match (&self.gamma, &self.beta) {
            (Some(gamma), Some(beta)) => {
                op::group_norm(x, self.num_groups, gamma.val(), beta.val(), self.epsilon as f32)
            }
            _ => self.forward(x),
        }
    }
}
