//! Burn's modules, run by our kernels: `layer.fast(x)` gives what `layer.forward(x)` gives.
//!
//! Models keep Burn's modules, and so their initialisers, records and devices; only the call differs. Burn's `LayerNorm`
//! keeps its ε to itself, so there [`op::layer_norm`] stands for it.

use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::nn::{GroupNorm, Linear, PaddingConfig2d};
use burn::tensor::Tensor;

use crate::op::{self, Look};

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
