//! Linear layers.

use burn::tensor::{Tensor, module};
use tersor_kernels::training::matrix;

use super::join::Array;
use super::weighted::{Layer, layer};

/// y = x w + b along the last axis: `weights` `[inputs, outputs]`, `bias` `[outputs]`.
pub fn linear<const D: usize>(x: Tensor<D>, weights: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [inputs, outputs] = weights.dims();
    assert_eq!(x.dims()[D - 1], inputs, "linear: weights {:?} do not fit an input of {:?}", weights.dims(), x.dims());
    let done = layer(Linear { inputs, outputs }, &x, &weights, bias.as_ref());
    done.map_or_else(|| module::linear(x, weights, bias), Tensor::from_dispatch)
}

#[derive(Debug, Clone, Copy)]
struct Linear {
    inputs: usize,
    outputs: usize,
}

impl Layer for Linear {
    fn output(&self, x: &Array, weights: &Array, bias: &[f32]) -> Array {
        let mut shape = x.shape().clone();
        let last = shape.num_dims() - 1;
        shape[last] = self.outputs;
        let mut y = vec![0.0; shape.num_elements()];
        matrix::linear(x.values(), weights.values(), bias, (self.inputs, self.outputs), &mut y);
        Array::new(y, shape)
    }

    fn of_input(&self, x: &Array, weights: &Array, gradient: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; x.values().len()];
        matrix::linear_backward_input(gradient, weights.values(), (self.inputs, self.outputs), &mut d);
        d
    }

    fn of_weights(&self, x: &Array, gradient: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.inputs * self.outputs];
        matrix::linear_backward_weights(x.values(), gradient, (self.inputs, self.outputs), &mut d);
        d
    }

    fn of_bias(&self, gradient: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.outputs];
        matrix::sum_of_rows(gradient, &mut d);
        d
    }
}
