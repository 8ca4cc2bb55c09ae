//! Activations.

use burn::tensor::{Tensor, activation as burn_activation};
use tersor_kernels::training::activation::Activation;

use super::join::{Array, Operation, apply, input, serves};

/// y = f(x), number by number; in the place of x where nobody else needs it.
pub fn activation<const D: usize>(kind: Activation, x: Tensor<D>) -> Tensor<D> {
    let tracked = x.is_autodiff();
    if serves(&x, tracked) {
        // Moved, so that nobody else holds it.
        return apply(kind, [input(x, tracked)], tracked).map(Tensor::from_dispatch).expect("it serves");
    }
    match kind {
        Activation::Relu => burn_activation::relu(x),
        Activation::Gelu => burn_activation::gelu(x),
        Activation::GeluTanh => {
            let cubic = x.clone().powi_scalar(3) * 0.044_715 + x.clone();
            x * burn_activation::sigmoid(cubic * (2.0 * std::f64::consts::FRAC_2_PI.sqrt()))
        }
        Activation::Silu => burn_activation::silu(x),
        Activation::Sigmoid => burn_activation::sigmoid(x),
        Activation::Tanh => burn_activation::tanh(x),
    }
}

/// max(x, 0).
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation(Activation::Relu, x)
}

impl Operation<1> for Activation {
    type Kept = Array;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Array) {
        if self.keeps_output() {
            let y = self.infer([x]);
            (y.clone(), y)
        } else {
            (self.infer([x.clone()]), x)
        }
    }

    fn infer(&self, [x]: [Array; 1]) -> Array {
        x.changed(|x| Activation::forward(*self, x)).0
    }

    fn backward(&self, kept: Array, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        [Some(gradient.changed(|d| Activation::backward(*self, kept.values(), d)).0)]
    }
}
