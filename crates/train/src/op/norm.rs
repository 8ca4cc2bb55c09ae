//! Layer, RMS, group and batch norm.

use burn::tensor::{Tensor, activation as burn_activation, module};
use tersor_kernels::training::norm::{self, Channels, Moments};
use tersor_kernels::training::rms;

use super::join::{Array, Operation, apply, input, read, serves};

/// Layer norm along the last axis: γ (x - mean) / √(variance + ε) + β.
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let tracked = x.is_autodiff() || gamma.is_autodiff() || beta.is_autodiff();
    let inputs = [input(x.clone(), tracked), input(gamma.clone(), tracked), input(beta.clone(), tracked)];
    if let Some(y) = apply(LayerNorm { epsilon }, inputs, tracked) {
        return Tensor::from_dispatch(y);
    }
    let mean = x.clone().mean_dim(D - 1);
    let apart = x - mean;
    let variance = apart.clone().powi_scalar(2).mean_dim(D - 1);
    apart / (variance + epsilon).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}

#[derive(Debug, Clone, Copy)]
struct LayerNorm {
    epsilon: f32,
}

impl Operation<3> for LayerNorm {
    type Kept = (Array, Array, Moments);

    fn forward(&self, [x, gamma, beta]: [Array; 3]) -> (Array, Self::Kept) {
        let mut y = vec![0.0; x.values().len()];
        let at = norm::layer_norm(x.values(), gamma.values(), beta.values(), self.epsilon, &mut y);
        (Array::new(y, x.shape().clone()), (x, gamma, at))
    }

    fn backward(&self, (x, gamma, at): Self::Kept, gradient: Array, _: [bool; 3]) -> [Option<Array>; 3] {
        let (d, (of_gamma, of_beta)) =
            gradient.changed(|d| norm::layer_norm_backward(x.values(), gamma.values(), &at, d));
        [Some(d), Some(of_gamma.into()), Some(of_beta.into())]
    }
}

/// RMS norm along the last axis: γ x / √(mean(x²) + ε).
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let tracked = x.is_autodiff() || gamma.is_autodiff();
    let inputs = [input(x.clone(), tracked), input(gamma.clone(), tracked)];
    if let Some(y) = apply(RmsNorm { epsilon }, inputs, tracked) {
        return Tensor::from_dispatch(y);
    }
    let square = x.clone().powi_scalar(2).mean_dim(D - 1);
    x / (square + epsilon).sqrt() * gamma.unsqueeze()
}

#[derive(Debug, Clone, Copy)]
struct RmsNorm {
    epsilon: f32,
}

impl Operation<2> for RmsNorm {
    type Kept = (Array, Array, Vec<f32>);

    fn forward(&self, [x, gamma]: [Array; 2]) -> (Array, Self::Kept) {
        let mut y = vec![0.0; x.values().len()];
        let at = rms::rms_norm(x.values(), gamma.values(), self.epsilon, &mut y);
        (Array::new(y, x.shape().clone()), (x, gamma, at))
    }

    fn backward(&self, (x, gamma, at): Self::Kept, gradient: Array, _: [bool; 2]) -> [Option<Array>; 2] {
        let (d, of_gamma) = gradient.changed(|d| rms::rms_norm_backward(x.values(), gamma.values(), &at, d));
        [Some(d), Some(of_gamma.into())]
    }
}

/// Group norm of `[images, channels, height, width]`; `gamma`, `beta`: `[channels]`.
///
/// # Panics
/// If the groups do not divide the channels.
pub fn group_norm(x: Tensor<4>, groups: usize, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<4> {
    normed(x, (groups, epsilon, false), (gamma, beta), None)
}

/// max(group norm + `passed`, 0): the end of a residual block, in one pass over memory; see [`group_norm`].
///
/// # Panics
/// If the groups do not divide the channels, or what passed has another shape.
pub fn group_norm_relu(
    x: Tensor<4>,
    groups: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
    passed: Option<Tensor<4>>,
) -> Tensor<4> {
    if let Some(passed) = &passed {
        assert_eq!(passed.dims(), x.dims(), "group norm: what passed has another shape");
    }
    normed(x, (groups, epsilon, true), (gamma, beta), passed)
}

fn normed(
    x: Tensor<4>,
    (groups, epsilon, relu): (usize, f32, bool),
    (gamma, beta): (Tensor<1>, Tensor<1>),
    passed: Option<Tensor<4>>,
) -> Tensor<4> {
    let [images, channels, height, width] = x.dims();
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "group norm: {groups} groups do not divide {channels} channels"
    );
    let tracked = [x.is_autodiff(), gamma.is_autodiff(), beta.is_autodiff()].contains(&true)
        || passed.as_ref().is_some_and(Tensor::is_autodiff);
    let operation = norm::GroupNorm { of: Channels { channels, plane: height * width }, groups, epsilon, relu };
    let serves = serves(&x, tracked)
        && [&gamma, &beta].into_iter().all(|tensor| serves(tensor, tracked))
        && passed.as_ref().is_none_or(|passed| serves(passed, tracked));
    if serves {
        let inputs = [input(x, tracked), input(gamma, tracked), input(beta, tracked)];
        let done = match passed {
            Some(passed) => {
                let [x, gamma, beta] = inputs;
                apply(operation, [x, gamma, beta, input(passed, tracked)], tracked)
            }
            None => apply(operation, inputs, tracked),
        };
        return done.map(Tensor::from_dispatch).expect("it serves");
    }
    let x = x.reshape([images, groups, channels / groups * height * width]);
    let apart = x.clone() - x.mean_dim(2);
    let variance = apart.clone().powi_scalar(2).mean_dim(2);
    let normal = (apart / (variance + epsilon).sqrt()).reshape([images, channels, height, width]);
    let y = normal * gamma.reshape([1, channels, 1, 1]) + beta.reshape([1, channels, 1, 1]);
    let y = match passed {
        Some(passed) => y + passed,
        None => y,
    };
    if relu { burn_activation::relu(y) } else { y }
}

/// What [`norm::GroupNorm`] needs on the way back: x, γ, the moments, and with ReLU y.
type Normed = (Array, Array, Moments, Option<Array>);

fn normed_forward(of: &norm::GroupNorm, x: Array, affine: [&Array; 2], passed: &[f32]) -> (Array, Moments) {
    let [gamma, beta] = affine.map(Array::values);
    x.changed(|x| of.forward(x, (gamma, beta), passed))
}

fn normed_backward(
    of: &norm::GroupNorm,
    (x, gamma, at, y): Normed,
    gradient: Array,
    passed: &mut [f32],
) -> [Option<Array>; 3] {
    let y = y.as_ref().map_or(&[][..], Array::values);
    let (d, (of_gamma, of_beta)) = gradient.changed(|d| of.backward(x.values(), gamma.values(), &at, y, d, passed));
    [Some(d), Some(of_gamma.into()), Some(of_beta.into())]
}

impl Operation<3> for norm::GroupNorm {
    type Kept = Normed;

    fn forward(&self, [x, gamma, beta]: [Array; 3]) -> (Array, Normed) {
        let (y, at) = normed_forward(self, x.clone(), [&gamma, &beta], &[]);
        (y.clone(), (x, gamma, at, self.relu.then_some(y)))
    }

    fn infer(&self, [x, gamma, beta]: [Array; 3]) -> Array {
        normed_forward(self, x, [&gamma, &beta], &[]).0
    }

    fn backward(&self, kept: Normed, gradient: Array, _: [bool; 3]) -> [Option<Array>; 3] {
        normed_backward(self, kept, gradient, &mut [])
    }
}

impl Operation<4> for norm::GroupNorm {
    type Kept = Normed;

    fn forward(&self, [x, gamma, beta, passed]: [Array; 4]) -> (Array, Normed) {
        let (y, at) = normed_forward(self, x.clone(), [&gamma, &beta], passed.values());
        (y.clone(), (x, gamma, at, self.relu.then_some(y)))
    }

    fn infer(&self, [x, gamma, beta, passed]: [Array; 4]) -> Array {
        normed_forward(self, x, [&gamma, &beta], passed.values()).0
    }

    fn backward(&self, kept: Normed, gradient: Array, _: [bool; 4]) -> [Option<Array>; 4] {
        let mut of_passed = vec![0.0; gradient.values().len()];
        let [x, gamma, beta] = normed_backward(self, kept, gradient, &mut of_passed);
        [x, gamma, beta, Some(of_passed.into())]
    }
}

/// Batch norm of `[images, channels, height, width]` with the moments of the batch; `gamma`, `beta`: `[channels]`. Gives y,
/// and the mean and the (biased) variance of each channel, which have no gradient.
pub fn batch_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let [_, channels, height, width] = x.dims();
    let tracked = x.is_autodiff() || gamma.is_autodiff() || beta.is_autodiff();
    let of = Channels { channels, plane: height * width };
    let device = x.device();
    let moments = [&gamma, &beta].into_iter().all(|tensor| serves(tensor, tracked));
    let moments = moments.then(|| read(&x, tracked, |x| norm::batch_moments(x, of, epsilon))).flatten();
    if let Some((at, variance)) = moments {
        let constant = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
        let (mean, variance) = (constant(&at.mean), constant(&variance));
        let inputs = [input(x, tracked), input(gamma, tracked), input(beta, tracked)];
        let y = apply(BatchNorm { of, at }, inputs, tracked).map(Tensor::from_dispatch).expect("it serves");
        return (y, mean, variance);
    }
    let done = module::batch_norm_train(x, gamma, beta, f64::from(epsilon));
    (done.output, done.mean.detach(), done.variance.detach())
}

#[derive(Debug, Clone)]
struct BatchNorm {
    of: Channels,
    at: Moments,
}

impl Operation<3> for BatchNorm {
    type Kept = (Array, Array);

    fn forward(&self, [x, gamma, beta]: [Array; 3]) -> (Array, Self::Kept) {
        let affine = (gamma.values(), beta.values());
        let (y, ()) = x.clone().changed(|x| norm::batch_norm(x, self.of, &self.at, affine));
        (y, (x, gamma))
    }

    fn backward(&self, (x, gamma): Self::Kept, gradient: Array, _: [bool; 3]) -> [Option<Array>; 3] {
        let (d, (of_gamma, of_beta)) =
            gradient.changed(|d| norm::batch_norm_backward(x.values(), self.of, &self.at, gamma.values(), d));
        [Some(d), Some(of_gamma.into()), Some(of_beta.into())]
    }
}
