//! Initial weights, drawn from a seed of their own.
//!
//! Burn's initialisers draw lazily from a generator that the whole process shares (`Device::seed` sets it for all
//! threads): what a weight becomes would depend on which layer is used first and on what else runs. Here each tensor
//! is drawn when it is asked for, in the order of the calls, from a generator that belongs to one network.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of initial weights.
#[derive(Debug, Clone)]
pub struct Initial {
    draws: ChaCha8Rng,
    device: Device,
}

impl Initial {
    /// Weights for `device`: the same seed and the same calls give the same weights, everywhere.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { draws: ChaCha8Rng::seed_from_u64(seed), device: device.clone() }
    }

    /// Where the weights go.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Uniform in ±1/√`fan_in`, where `fan_in` is how many inputs one output sums.
    ///
    /// Weights and biases of linear layers and convolutions, as PyTorch begins: the variance is 1/3 of Efficient
    /// BackProp's (LeCun et al., 1998, eq. 16).
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        self.drawn(shape, |draws| draws.random_range(-bound..bound))
    }

    /// Normal with the deviation √(2 / `fan_in`): for layers before a ReLU (Delving deep into rectifiers, He et al., ICCV
    /// 2015, eq. 10).
    pub fn he<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
        self.drawn(shape, |draws| deviation * normal(draws))
    }

    /// Normal with the given deviation: embeddings.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], deviation: f64) -> Param<Tensor<D>> {
        self.drawn(shape, |draws| deviation * normal(draws))
    }

    /// The same number everywhere: 1 and 0 for the scale and the shift of a norm.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::full(shape, value, &self.device))
    }

    fn drawn<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut draw: impl FnMut(&mut ChaCha8Rng) -> f64,
    ) -> Param<Tensor<D>> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw(&mut self.draws) as f32).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }
}

/// A draw from the standard normal distribution (Box and Muller, 1958).
pub fn normal(draws: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - draws.random::<f64>()).ln()).sqrt(); // of (0, 1]
    radius * (std::f64::consts::TAU * draws.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(param: &Param<Tensor<2>>) -> Vec<f32> {
        param.val().into_data().as_slice().unwrap().to_vec()
    }

    #[test]
    fn a_seed_gives_the_same_weights_whatever_else_is_drawn() {
        let device = Device::flex();
        let of = |seed| values(&Initial::new(seed, &device).uniform([8, 8], 8));
        let before = of(3);
        device.seed(1);
        assert_eq!(of(3), before);
        assert_ne!(of(4), before);
    }

    #[test]
    fn weights_have_the_moments_of_their_distributions() {
        let mut initial = Initial::new(1, &Device::flex());
        let moments = |values: Vec<f32>| {
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            (mean, values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count)
        };
        let uniform = values(&initial.uniform([400, 100], 100));
        assert!(uniform.iter().all(|v| v.abs() <= 0.1));
        let (mean, variance) = moments(uniform);
        assert!(mean.abs() < 1e-3 && (variance * 300.0 - 1.0).abs() < 0.03, "{mean} {variance}");
        let (mean, variance) = moments(values(&initial.he([400, 100], 50)));
        assert!(mean.abs() < 4e-3 && (variance * 25.0 - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
