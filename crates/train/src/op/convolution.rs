//! Convolution in two dimensions and one.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};
use tersor_kernels::training::convolution::Convolution;
use tersor_kernels::training::depthwise::Depthwise;
use tersor_kernels::window::{Padding, Window};

use super::join::Array;
use super::weighted::{Layer, layer};

/// How a convolution looks at its input: rows, then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Distance between neighbouring outputs.
    pub stride: [usize; 2],
    /// Zeros on both sides.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

impl Look {
    pub(super) fn window(&self, axis: usize, input: usize, kernel: usize) -> Option<Window> {
        let padding = Padding::Explicit { before: self.padding[axis], after: self.padding[axis] };
        Window::new(input, kernel, self.stride[axis], self.dilation[axis], padding)
    }
}

/// y = x ∗ w + b: `x` `[images, channels, height, width]`, `weights` `[out, channels / groups, rows, columns]`, `bias`
/// `[out]`.
///
/// # Panics
/// If shapes do not fit each other, as Burn's own convolution.
pub fn convolution(x: Tensor<4>, weights: Tensor<4>, bias: Option<Tensor<1>>, look: Look) -> Tensor<4> {
    let [images, in_channels, height, width] = x.dims();
    let [out_channels, in_group, kernel_rows, kernel_columns] = weights.dims();
    assert!(
        in_group * look.groups == in_channels && out_channels.is_multiple_of(look.groups),
        "convolution: weights {:?} in {} groups do not fit an input of {in_channels} channels",
        weights.dims(),
        look.groups
    );
    let windows = look.window(0, height, kernel_rows).zip(look.window(1, width, kernel_columns));
    if let Some((rows, columns)) = windows {
        let shape = Convolution { images, in_channels, out_channels, groups: look.groups, rows, columns };
        if let Some(y) = layer(Convolved(shape), &x, &weights, bias.as_ref()) {
            return Tensor::from_dispatch(y);
        }
    }
    let Look { stride, padding, dilation, groups } = look;
    module::conv2d(x, weights, bias, ConvOptions::new(stride, padding, dilation, groups))
}

/// y = x ∗ w + b in one dimension: `x` `[sequences, channels, length]`, `weights` `[out, channels / groups, taps]`, `bias`
/// `[out]`. Of `look`, the columns count.
///
/// # Panics
/// If shapes do not fit each other, as Burn's own convolution.
pub fn convolution_1d(x: Tensor<3>, weights: Tensor<3>, bias: Option<Tensor<1>>, look: Look) -> Tensor<3> {
    let one_row = |[stride, padding, dilation]: [usize; 3]| Look {
        stride: [1, stride],
        padding: [0, padding],
        dilation: [1, dilation],
        ..look
    };
    let look = one_row([look.stride[1], look.padding[1], look.dilation[1]]);
    convolution(x.unsqueeze_dim(2), weights.unsqueeze_dim(2), bias, look).squeeze_dim(2)
}

#[derive(Debug, Clone, Copy)]
struct Convolved(Convolution);

impl Convolved {
    fn depthwise(&self) -> Option<Depthwise> {
        let Convolution { in_channels, out_channels, groups, rows, columns, .. } = self.0;
        let alone = groups == in_channels && groups > 1;
        alone.then(|| Depthwise { channels: groups, multiplier: out_channels / groups, rows, columns })
    }
}

impl Layer for Convolved {
    fn output(&self, x: &Array, weights: &Array, bias: &[f32]) -> Array {
        let shape = &self.0;
        let mut y = vec![0.0; shape.output_len()];
        match self.depthwise() {
            Some(depthwise) => depthwise.forward(x.values(), weights.values(), bias, &mut y),
            None => shape.forward(x.values(), weights.values(), bias, &mut y),
        }
        Array::new(y, [shape.images, shape.out_channels, shape.rows.output, shape.columns.output])
    }

    fn of_input(&self, _: &Array, weights: &Array, gradient: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.0.input_len()];
        match self.depthwise() {
            Some(depthwise) => depthwise.backward_input(gradient, weights.values(), &mut d),
            None => self.0.backward_input(gradient, weights.values(), &mut d),
        }
        d
    }

    fn of_weights(&self, x: &Array, gradient: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.0.weights_len()];
        match self.depthwise() {
            Some(depthwise) => depthwise.backward_weights(x.values(), gradient, &mut d),
            None => self.0.backward_weights(x.values(), gradient, &mut d),
        }
        d
    }

    fn of_bias(&self, gradient: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.0.out_channels];
        self.0.backward_bias(gradient, &mut d);
        d
    }
}
