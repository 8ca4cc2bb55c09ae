//! What a model may compute, whatever it computes with.

use std::ops::{Add, Mul, Sub};

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Bool, Int, Tensor};

/// A kind of numbers in tensors: [`Plain`](super::Plain) or [`Duals`](super::Duals).
///
/// Shapes and conventions are Burn's: `[batch, channels, height, width]`, linear weights `[in, out]`, an elementwise
/// operation broadcasts sizes of 1. Like Burn's own operations these panic if shapes do not fit.
pub trait Arithmetic {
    /// A tensor of rank `D` of such numbers.
    type Of<const D: usize>: Clone
        + Add<Output = Self::Of<D>>
        + Sub<Output = Self::Of<D>>
        + Mul<Output = Self::Of<D>>
        + Mul<f64, Output = Self::Of<D>>;

    /// A tensor that does not change with the direction.
    fn constant<const D: usize>(value: Tensor<D>) -> Self::Of<D>;

    /// The tensor itself, without what it carries.
    fn value<const D: usize>(x: &Self::Of<D>) -> Tensor<D>;

    /// `x w + b` over the last axis: `[.., in]`, `[in, out]`, `[out]` → `[.., out]`.
    fn linear<const D: usize>(x: Self::Of<D>, weight: Self::Of<2>, bias: Option<Self::Of<1>>) -> Self::Of<D>;

    /// The matrix product over the last two axes.
    fn matmul<const D: usize>(a: Self::Of<D>, b: Self::Of<D>) -> Self::Of<D>;

    /// Convolution: `[n, in, w]`, `[out, in/groups, k]` → `[n, out, w']`.
    fn conv1d(x: Self::Of<3>, weight: Self::Of<3>, bias: Option<Self::Of<1>>, options: &ConvOptions<1>) -> Self::Of<3>;

    /// Convolution: `[n, in, h, w]`, `[out, in/groups, kh, kw]` → `[n, out, h', w']`.
    fn conv2d(x: Self::Of<4>, weight: Self::Of<4>, bias: Option<Self::Of<1>>, options: &ConvOptions<2>) -> Self::Of<4>;

    /// `1 / (1 + e⁻ˣ)`.
    fn sigmoid<const D: usize>(x: Self::Of<D>) -> Self::Of<D>;

    /// The hyperbolic tangent.
    fn tanh<const D: usize>(x: Self::Of<D>) -> Self::Of<D>;

    /// `max(x, 0)`. Its second derivative is zero wherever there is one: gradients of gradients lose what it cuts.
    fn relu<const D: usize>(x: Self::Of<D>) -> Self::Of<D>;

    /// `x Φ(x)`, exact.
    fn gelu<const D: usize>(x: Self::Of<D>) -> Self::Of<D>;

    /// `x sigmoid(x)`.
    fn silu<const D: usize>(x: Self::Of<D>) -> Self::Of<D>;

    /// Means of windows.
    fn avg_pool2d(x: Self::Of<4>, options: &AvgPoolOptions<2>) -> Self::Of<4>;

    /// Maxima of windows; of equal ones the first.
    fn max_pool2d(x: Self::Of<4>, options: &MaxPoolOptions<2>) -> Self::Of<4>;

    /// The same numbers in another shape.
    fn reshape<const D: usize, const E: usize>(x: Self::Of<D>, shape: [usize; E]) -> Self::Of<E>;

    /// The axes in another order.
    fn permute<const D: usize>(x: Self::Of<D>, axes: [usize; D]) -> Self::Of<D>;

    /// `length` places of an axis from `start` on.
    fn narrow<const D: usize>(x: Self::Of<D>, axis: usize, start: usize, length: usize) -> Self::Of<D>;

    /// `filler` where `mask` is true: a constant there.
    fn mask_fill<const D: usize>(x: Self::Of<D>, mask: Tensor<D, Bool>, filler: f64) -> Self::Of<D>;

    /// The sum of everything.
    fn sum<const D: usize>(x: Self::Of<D>) -> Self::Of<1>;

    /// Sums along an axis, which stays with size 1.
    fn sum_dim<const D: usize>(x: Self::Of<D>, axis: usize) -> Self::Of<D>;

    /// `e^{x_i} / Σ e^{x_j}` along an axis.
    fn softmax<const D: usize>(x: Self::Of<D>, axis: usize) -> Self::Of<D>;

    /// `x_i − log Σ e^{x_j}` along an axis.
    fn log_softmax<const D: usize>(x: Self::Of<D>, axis: usize) -> Self::Of<D>;

    /// `(x − mean) / √(variance + epsilon)` over the last axis, with the biased variance.
    fn standardise<const D: usize>(x: Self::Of<D>, epsilon: f64) -> Self::Of<D>;

    /// Rows of a table: `[vocabulary, width]`, `[n, t]` → `[n, t, width]`.
    fn embedding(table: Self::Of<2>, tokens: Tensor<2, Int>) -> Self::Of<3>;

    // What follows is composed of the above.

    /// The sizes of the axes.
    fn dims<const D: usize>(x: &Self::Of<D>) -> [usize; D] {
        Self::value(x).dims()
    }

    /// The mean of everything.
    fn mean<const D: usize>(x: Self::Of<D>) -> Self::Of<1> {
        let count: usize = Self::dims(&x).iter().product();
        Self::sum(x) * (1.0 / count as f64)
    }

    /// Means along an axis, which stays with size 1.
    fn mean_dim<const D: usize>(x: Self::Of<D>, axis: usize) -> Self::Of<D> {
        let count = Self::dims(&x)[axis];
        Self::sum_dim(x, axis) * (1.0 / count as f64)
    }

    /// `−Σ_c y_c log softmax(logits)_c`, mean over the rows; labels may be soft and need not sum to 1.
    ///
    /// `logits`, `labels`: `[n, classes]`.
    fn cross_entropy(logits: Self::Of<2>, labels: Self::Of<2>) -> Self::Of<1> {
        let rows = Self::dims(&logits)[0];
        Self::sum(Self::log_softmax(logits, 1) * labels) * (-1.0 / rows as f64)
    }

    /// Batch norm in eval mode: `(x − mean) / √(variance + epsilon) · gamma + beta` for each channel (axis 1).
    fn batch_norm<const D: usize>(
        x: Self::Of<D>,
        gamma: Self::Of<1>,
        beta: Self::Of<1>,
        mean: Tensor<1>,
        variance: Tensor<1>,
        epsilon: f64,
    ) -> Self::Of<D> {
        let channels = along_axis::<D>(1, mean.dims()[0]);
        let scale = (variance + epsilon).sqrt().recip().reshape(channels);
        let centred = x - Self::constant(mean.reshape(channels));
        affine::<Self, D>(centred * Self::constant(scale), gamma, beta, 1)
    }

    /// Layer norm over the last axis, times `gamma` plus `beta`, both of its size.
    fn layer_norm<const D: usize>(x: Self::Of<D>, gamma: Self::Of<1>, beta: Self::Of<1>, epsilon: f64) -> Self::Of<D> {
        affine::<Self, D>(Self::standardise(x, epsilon), gamma, beta, D - 1)
    }

    /// Group norm: channels (axis 1) are standardised in `groups` together with their positions; `gamma` and `beta`
    /// hold one number for each channel.
    fn group_norm<const D: usize>(
        x: Self::Of<D>,
        gamma: Self::Of<1>,
        beta: Self::Of<1>,
        groups: usize,
        epsilon: f64,
    ) -> Self::Of<D> {
        let dims = Self::dims(&x);
        let size = dims[1..].iter().product::<usize>() / groups;
        let grouped = Self::reshape(x, [dims[0], groups, size]);
        affine::<Self, D>(Self::reshape(Self::standardise(grouped, epsilon), dims), gamma, beta, 1)
    }

    /// `softmax(Q Kᵀ / √d) V`; if `causal`, a query sees no later key.
    ///
    /// `query`: `[n, heads, t, d]`; `key`, `value`: `[n, heads, s, d]`.
    fn attention(query: Self::Of<4>, key: Self::Of<4>, value: Self::Of<4>, causal: bool) -> Self::Of<4> {
        let [n, heads, t, d] = Self::dims(&query);
        let s = Self::dims(&key)[2];
        let mut scores = Self::matmul(query, Self::permute(key, [0, 1, 3, 2])) * (1.0 / (d as f64).sqrt());
        if causal {
            let later = Tensor::<2, Bool>::tril_mask([t, s], 0, &Self::value(&scores).device());
            let later = later.reshape([1, 1, t, s]).expand([n, heads, t, s]);
            scores = Self::mask_fill(scores, later, f64::NEG_INFINITY);
        }
        Self::matmul(Self::softmax(scores, 3), value)
    }
}

/// A shape of ones except for one axis.
fn along_axis<const D: usize>(axis: usize, size: usize) -> [usize; D] {
    let mut shape = [1; D];
    shape[axis] = size;
    shape
}

/// `x · gamma + beta`, which have one number for each place of an axis.
fn affine<A: Arithmetic + ?Sized, const D: usize>(
    x: A::Of<D>,
    gamma: A::Of<1>,
    beta: A::Of<1>,
    axis: usize,
) -> A::Of<D> {
    let shape = along_axis::<D>(axis, A::dims(&gamma)[0]);
    x * A::reshape(gamma, shape) + A::reshape(beta, shape)
}
