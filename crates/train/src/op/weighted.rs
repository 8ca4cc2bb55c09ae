//! What convolutions and linear layers have in common: an input, weights, and a bias or none.

use std::fmt::Debug;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

use super::join::{Array, Operation, apply, input};

/// A function of an input and weights, to which a bias is added.
pub trait Layer: Debug + Clone + Send + 'static {
    /// The output; `bias` may be empty.
    fn output(&self, x: &Array, weights: &Array, bias: &[f32]) -> Array;

    /// The gradient of the input, from that of the output.
    fn of_input(&self, x: &Array, weights: &Array, gradient: &[f32]) -> Vec<f32>;

    /// The gradient of the weights.
    fn of_weights(&self, x: &Array, gradient: &[f32]) -> Vec<f32>;

    /// The gradient of the bias.
    fn of_bias(&self, gradient: &[f32]) -> Vec<f32>;
}

/// Applies a layer; `None` where our kernels do not run.
pub fn layer<const D: usize, const W: usize>(
    layer: impl Layer,
    x: &Tensor<D>,
    weights: &Tensor<W>,
    bias: Option<&Tensor<1>>,
) -> Option<DispatchTensor> {
    let tracked = x.is_autodiff() || weights.is_autodiff() || bias.is_some_and(Tensor::is_autodiff);
    let (x, weights) = (input(x.clone(), tracked), input(weights.clone(), tracked));
    match bias {
        Some(bias) => apply(Weighted(layer), [x, weights, input(bias.clone(), tracked)], tracked),
        None => apply(Weighted(layer), [x, weights], tracked),
    }
}

#[derive(Debug, Clone)]
struct Weighted<L>(L);

impl<L: Layer> Weighted<L> {
    fn gradients(&self, (x, weights): (Array, Array), gradient: &[f32], wanted: [bool; 2]) -> [Option<Array>; 2] {
        let of_input = wanted[0].then(|| self.0.of_input(&x, &weights, gradient).into());
        let of_weights = wanted[1].then(|| self.0.of_weights(&x, gradient).into());
        [of_input, of_weights]
    }
}

impl<L: Layer> Operation<2> for Weighted<L> {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights]: [Array; 2]) -> (Array, Self::Kept) {
        (self.0.output(&x, &weights, &[]), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 2]) -> [Option<Array>; 2] {
        self.gradients(kept, gradient.values(), wanted)
    }
}

impl<L: Layer> Operation<3> for Weighted<L> {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights, bias]: [Array; 3]) -> (Array, Self::Kept) {
        (self.0.output(&x, &weights, bias.values()), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
        let [of_input, of_weights] = self.gradients(kept, gradient.values(), [wanted[0], wanted[1]]);
        [of_input, of_weights, wanted[2].then(|| self.0.of_bias(gradient.values()).into())]
    }
}
