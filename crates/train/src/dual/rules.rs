//! The product rules: what each operation does to a tangent.
//!
//! A rule is written with differentiable operations of the values, so that a backward pass from the tangent finds the
//! second derivatives by itself. Source of the formulas: `d/dε f(x + εẋ)` at 0; each is checked against finite
//! differences, and so are its gradients.

use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::ops::{Add, Mul, Sub};

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Bool, Int, Tensor, activation, module};

use super::plain::standardise;
use super::{Arithmetic, Dual, Plain};

/// Dual numbers: every operation carries its tangent along.
#[derive(Debug, Clone, Copy)]
pub enum Duals {}

impl<const D: usize> Dual<D> {
    /// A tensor that changes by `tangent`, of the same shape.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn new(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        assert_eq!(value.dims(), tangent.dims(), "a tangent has the shape of its value");
        Self { value, tangent: Some(tangent) }
    }

    /// A tensor that does not change.
    pub fn constant(value: Tensor<D>) -> Self {
        Self { value, tangent: None }
    }

    /// A linear map, done to both.
    fn both<const E: usize>(self, map: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { value: map(self.value), tangent: self.tangent.map(map) }
    }

    /// `value` with the tangent `rule(ẋ)`.
    fn with<const E: usize>(
        value: Tensor<E>,
        tangent: Option<Tensor<D>>,
        rule: impl FnOnce(Tensor<D>) -> Tensor<E>,
    ) -> Dual<E> {
        Dual { value, tangent: tangent.map(rule) }
    }
}

/// The sum of tangents, none being zero.
fn plus<const D: usize>(a: Option<Tensor<D>>, b: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// The tangent of a term in a sum of that shape: the term may have been broadcast.
fn grown<const D: usize>(tangent: Option<Tensor<D>>, shape: [usize; D]) -> Option<Tensor<D>> {
    tangent.map(|t| if t.dims() == shape { t } else { t.expand(shape) })
}

/// The tangent `f(ẋ, w) + f(x, ẇ)` of a product, and `b` of its bias, in the result's shape.
fn product<const D: usize, const W: usize>(
    (x, x_tangent): (Tensor<D>, Option<Tensor<D>>),
    (w, w_tangent): (Tensor<W>, Option<Tensor<W>>),
    bias: Option<Tensor<D>>,
    shape: [usize; D],
    f: impl Fn(Tensor<D>, Tensor<W>) -> Tensor<D>,
) -> Option<Tensor<D>> {
    let of_x = x_tangent.map(|t| f(t, w));
    let of_w = w_tangent.map(|t| f(x, t));
    match (plus(of_x, of_w), bias) {
        (Some(product), Some(bias)) => Some(product + bias),
        (product, bias) => product.or(grown(bias, shape)),
    }
}

impl<const D: usize> Add for Dual<D> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let value = self.value + other.value;
        let shape = value.dims();
        Self { tangent: plus(grown(self.tangent, shape), grown(other.tangent, shape)), value }
    }
}

impl<const D: usize> Sub for Dual<D> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + other * -1.0
    }
}

impl<const D: usize> Mul for Dual<D> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let value = self.value.clone() * other.value.clone();
        let (a, b) = ((self.value, self.tangent), (other.value, other.tangent));
        Self { tangent: product(a, b, None, value.dims(), |a, b| a * b), value }
    }
}

impl<const D: usize> Mul<f64> for Dual<D> {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        self.both(|x| x * factor)
    }
}

impl Arithmetic for Duals {
    type Of<const D: usize> = Dual<D>;

    fn constant<const D: usize>(value: Tensor<D>) -> Dual<D> {
        Dual::constant(value)
    }

    fn value<const D: usize>(x: &Dual<D>) -> Tensor<D> {
        x.value.clone()
    }

    /// `ż = ẋ W + x Ẇ + ḃ`.
    fn linear<const D: usize>(x: Dual<D>, weight: Dual<2>, bias: Option<Dual<1>>) -> Dual<D> {
        let (bias, bias_tangent) = parts(bias);
        let value = module::linear(x.value.clone(), weight.value.clone(), bias);
        let bias_tangent = bias_tangent.map(|b| b.unsqueeze::<D>());
        let (x, weight) = ((x.value, x.tangent), (weight.value, weight.tangent));
        let f = |x, w| module::linear(x, w, None);
        Dual { tangent: product(x, weight, bias_tangent, value.dims(), f), value }
    }

    fn matmul<const D: usize>(a: Dual<D>, b: Dual<D>) -> Dual<D> {
        let value = a.value.clone().matmul(b.value.clone());
        let (a, b) = ((a.value, a.tangent), (b.value, b.tangent));
        Dual { tangent: product(a, b, None, value.dims(), Tensor::matmul), value }
    }

    /// `ż = ẋ ∗ W + x ∗ Ẇ + ḃ`.
    fn conv1d(x: Dual<3>, weight: Dual<3>, bias: Option<Dual<1>>, options: &ConvOptions<1>) -> Dual<3> {
        convolution(x, weight, bias, |x, w, b| Plain::conv1d(x, w, b, options))
    }

    fn conv2d(x: Dual<4>, weight: Dual<4>, bias: Option<Dual<1>>, options: &ConvOptions<2>) -> Dual<4> {
        convolution(x, weight, bias, |x, w, b| Plain::conv2d(x, w, b, options))
    }

    /// `ẏ = y (1 − y) ẋ`.
    fn sigmoid<const D: usize>(x: Dual<D>) -> Dual<D> {
        let y = activation::sigmoid(x.value);
        Dual::with(y.clone(), x.tangent, |t| (y.clone() - y.clone() * y) * t)
    }

    /// `ẏ = (1 − y²) ẋ`.
    fn tanh<const D: usize>(x: Dual<D>) -> Dual<D> {
        let y = x.value.tanh();
        Dual::with(y.clone(), x.tangent, |t| t.clone() - y.clone() * y * t)
    }

    /// `ẏ = [x > 0] ẋ`.
    fn relu<const D: usize>(x: Dual<D>) -> Dual<D> {
        let value = activation::relu(x.value.clone());
        Dual::with(value, x.tangent, |t| t.mask_fill(x.value.lower_equal_scalar(0.0), 0.0))
    }

    /// `ẏ = (Φ + x φ) ẋ`, with Φ and φ the normal distribution and its density at `x`.
    fn gelu<const D: usize>(x: Dual<D>) -> Dual<D> {
        let Some(tangent) = x.tangent else { return Dual::constant(activation::gelu(x.value)) };
        let x = x.value;
        let distribution = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
        let density = (x.clone() * x.clone() * -0.5).exp() * (1.0 / (2.0 * PI).sqrt());
        Dual::new(x.clone() * distribution.clone(), (distribution + x * density) * tangent)
    }

    /// `ẏ = s (1 + x (1 − s)) ẋ`, with `s` the sigmoid of `x`.
    fn silu<const D: usize>(x: Dual<D>) -> Dual<D> {
        let s = activation::sigmoid(x.value.clone());
        let y = x.value * s.clone();
        Dual::with(y.clone(), x.tangent, |t| (s.clone() + y.clone() - y * s) * t)
    }

    fn avg_pool2d(x: Dual<4>, options: &AvgPoolOptions<2>) -> Dual<4> {
        x.both(|x| Plain::avg_pool2d(x, options))
    }

    /// The tangents stand where the maxima stood.
    fn max_pool2d(x: Dual<4>, options: &MaxPoolOptions<2>) -> Dual<4> {
        let Some(tangent) = x.tangent else { return Dual::constant(Plain::max_pool2d(x.value, options)) };
        let (value, places) = module::max_pool2d_with_indices(x.value, options.clone());
        let [n, channels, height, width] = tangent.dims();
        let pooled = value.dims();
        let places = places.reshape([n, channels, pooled[2] * pooled[3]]);
        let tangent = tangent.reshape([n, channels, height * width]).gather(2, places);
        Dual::new(value, tangent.reshape(pooled))
    }

    fn reshape<const D: usize, const E: usize>(x: Dual<D>, shape: [usize; E]) -> Dual<E> {
        x.both(|x| x.reshape(shape))
    }

    fn permute<const D: usize>(x: Dual<D>, axes: [usize; D]) -> Dual<D> {
        x.both(|x| x.permute(axes))
    }

    fn narrow<const D: usize>(x: Dual<D>, axis: usize, start: usize, length: usize) -> Dual<D> {
        x.both(|x| x.narrow(axis, start, length))
    }

    fn mask_fill<const D: usize>(x: Dual<D>, mask: Tensor<D, Bool>, filler: f64) -> Dual<D> {
        Dual::with(x.value.mask_fill(mask.clone(), filler), x.tangent, |t| t.mask_fill(mask, 0.0))
    }

    fn sum<const D: usize>(x: Dual<D>) -> Dual<1> {
        x.both(Tensor::sum)
    }

    fn sum_dim<const D: usize>(x: Dual<D>, axis: usize) -> Dual<D> {
        x.both(|x| x.sum_dim(axis))
    }

    /// `ṗ = p (ẋ − Σ p ẋ)`.
    fn softmax<const D: usize>(x: Dual<D>, axis: usize) -> Dual<D> {
        let p = activation::softmax(x.value, axis);
        Dual::with(p.clone(), x.tangent, |t| p.clone() * (t.clone() - (p * t).sum_dim(axis)))
    }

    /// `ẏ = ẋ − Σ p ẋ`, with `p` the softmax.
    fn log_softmax<const D: usize>(x: Dual<D>, axis: usize) -> Dual<D> {
        let value = activation::log_softmax(x.value, axis);
        let p = value.clone();
        Dual::with(value, x.tangent, |t| t.clone() - (p.exp() * t).sum_dim(axis))
    }

    /// `ẏ = r (ẋ − mean ẋ − y mean(y ẋ))`, with `r` one over the standard deviation.
    fn standardise<const D: usize>(x: Dual<D>, epsilon: f64) -> Dual<D> {
        let (y, r) = standardise(x.value, epsilon);
        Dual::with(y.clone(), x.tangent, |t| {
            let along = (y.clone() * t.clone()).mean_dim(D - 1);
            r * (t.clone() - t.mean_dim(D - 1) - y * along)
        })
    }

    fn embedding(table: Dual<2>, tokens: Tensor<2, Int>) -> Dual<3> {
        table.both(|table| module::embedding(table, tokens.clone()))
    }
}

/// The value and the tangent of what may be absent.
fn parts<const D: usize>(x: Option<Dual<D>>) -> (Option<Tensor<D>>, Option<Tensor<D>>) {
    x.map_or((None, None), |x| (Some(x.value), x.tangent))
}

fn convolution<const D: usize>(
    x: Dual<D>,
    weight: Dual<D>,
    bias: Option<Dual<1>>,
    convolve: impl Fn(Tensor<D>, Tensor<D>, Option<Tensor<1>>) -> Tensor<D>,
) -> Dual<D> {
    let (bias, bias_tangent) = parts(bias);
    let value = convolve(x.value.clone(), weight.value.clone(), bias);
    let bias_tangent = bias_tangent.map(|b| {
        let mut shape = [1; D];
        shape[1] = b.dims()[0];
        b.reshape(shape)
    });
    let (x, weight) = ((x.value, x.tangent), (weight.value, weight.tangent));
    let f = |x, w| convolve(x, w, None);
    Dual { tangent: product(x, weight, bias_tangent, value.dims(), f), value }
}
