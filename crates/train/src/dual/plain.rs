//! Plain tensors: Burn's own operations, one for one.

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Bool, Int, Tensor, activation, module};

use super::Arithmetic;

/// Tensors as they are; with autodiff they record, as ever.
#[derive(Debug, Clone, Copy)]
pub enum Plain {}

impl Arithmetic for Plain {
    type Of<const D: usize> = Tensor<D>;

    fn constant<const D: usize>(value: Tensor<D>) -> Tensor<D> {
        value
    }

    fn value<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
        x.clone()
    }

    fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
        module::linear(x, weight, bias)
    }

    fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        a.matmul(b)
    }

    fn conv1d(x: Tensor<3>, weight: Tensor<3>, bias: Option<Tensor<1>>, options: &ConvOptions<1>) -> Tensor<3> {
        module::conv1d(x, weight, bias, options.clone())
    }

    fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: &ConvOptions<2>) -> Tensor<4> {
        module::conv2d(x, weight, bias, options.clone())
    }

    fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        activation::sigmoid(x)
    }

    fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        x.tanh()
    }

    fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        activation::relu(x)
    }

    fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        activation::gelu(x)
    }

    fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        activation::silu(x)
    }

    fn avg_pool2d(x: Tensor<4>, options: &AvgPoolOptions<2>) -> Tensor<4> {
        module::avg_pool2d(x, options.clone())
    }

    fn max_pool2d(x: Tensor<4>, options: &MaxPoolOptions<2>) -> Tensor<4> {
        module::max_pool2d(x, options.clone())
    }

    fn reshape<const D: usize, const E: usize>(x: Tensor<D>, shape: [usize; E]) -> Tensor<E> {
        x.reshape(shape)
    }

    fn permute<const D: usize>(x: Tensor<D>, axes: [usize; D]) -> Tensor<D> {
        x.permute(axes)
    }

    fn narrow<const D: usize>(x: Tensor<D>, axis: usize, start: usize, length: usize) -> Tensor<D> {
        x.narrow(axis, start, length)
    }

    fn mask_fill<const D: usize>(x: Tensor<D>, mask: Tensor<D, Bool>, filler: f64) -> Tensor<D> {
        x.mask_fill(mask, filler)
    }

    fn sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
        x.sum()
    }

    fn sum_dim<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
        x.sum_dim(axis)
    }

    fn softmax<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
        activation::softmax(x, axis)
    }

    fn log_softmax<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
        activation::log_softmax(x, axis)
    }

    fn standardise<const D: usize>(x: Tensor<D>, epsilon: f64) -> Tensor<D> {
        standardise(x, epsilon).0
    }

    fn embedding(table: Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<3> {
        module::embedding(table, tokens)
    }

    fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
        module::layer_norm(x, gamma, Some(beta), epsilon)
    }
}

/// `(x − mean) r` over the last axis and `r = 1 / √(variance + epsilon)`.
pub(super) fn standardise<const D: usize>(x: Tensor<D>, epsilon: f64) -> (Tensor<D>, Tensor<D>) {
    let centred = x.clone() - x.mean_dim(D - 1);
    let r = ((centred.clone() * centred.clone()).mean_dim(D - 1) + epsilon).sqrt().recip();
    (centred * r.clone(), r)
}
