//! Linear layers.

use burn::tensor::{Tensor, module};
use tersor_kernels::training::matrix;

use super::join::{Array, Operation, apply, input};

/// y = x w + b along the last axis: `weights` `[inputs, outputs]`, `bias` `[outputs]`.
pub fn linear<const D: usize>(x: Tensor<D>, weights: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [inputs, outputs] = weights.dims();
    assert_eq!(x.dims()[D - 1], inputs, "linear: weights {:?} do not fit an input of {:?}", weights.dims(), x.dims());
    let tracked = x.is_autodiff() || weights.is_autodiff() || bias.as_ref().is_some_and(Tensor::is_autodiff);
    let (from, w) = (input(x.clone(), tracked), input(weights.clone(), tracked));
    let done = match bias.clone() {
        Some(bias) => apply(Linear { inputs, outputs }, [from, w, input(bias, tracked)], tracked),
        None => apply(Linear { inputs, outputs }, [from, w], tracked),
    };
    done.map_or_else(|| module::linear(x, weights, bias), Tensor::from_dispatch)
}

#[derive(Debug, Clone, Copy)]
struct Linear {
    inputs: usize,
    outputs: usize,
}

impl Linear {
    fn output(&self, x: &Array, weights: &Array, bias: &[f32]) -> Array {
        let mut shape = x.shape().clone();
        let last = shape.num_dims() - 1;
        shape[last] = self.outputs;
        let mut y = vec![0.0; shape.num_elements()];
        matrix::linear(x.values(), weights.values(), bias, (self.inputs, self.outputs), &mut y);
        Array::new(y, shape)
    }

    fn gradients(&self, (x, weights): (Array, Array), gradient: &[f32], wanted: [bool; 2]) -> [Option<Array>; 2] {
        let sizes = (self.inputs, self.outputs);
        let of_input = wanted[0].then(|| {
            let mut d = vec![0.0; x.values().len()];
            matrix::linear_backward_input(gradient, weights.values(), sizes, &mut d);
            d.into()
        });
        let of_weights = wanted[1].then(|| {
            let mut d = vec![0.0; self.inputs * self.outputs];
            matrix::linear_backward_weights(x.values(), gradient, sizes, &mut d);
            d.into()
        });
        [of_input, of_weights]
    }
}

impl Operation<2> for Linear {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights]: [Array; 2]) -> (Array, Self::Kept) {
        (self.output(&x, &weights, &[]), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 2]) -> [Option<Array>; 2] {
        self.gradients(kept, gradient.values(), wanted)
    }
}

impl Operation<3> for Linear {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights, bias]: [Array; 3]) -> (Array, Self::Kept) {
        (self.output(&x, &weights, bias.values()), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
        let [of_input, of_weights] = self.gradients(kept, gradient.values(), [wanted[0], wanted[1]]);
        let of_bias = wanted[2].then(|| {
            let mut d = vec![0.0; self.outputs];
            matrix::sum_of_rows(gradient.values(), &mut d);
            d.into()
        });
        [of_input, of_weights, of_bias]
    }
}
