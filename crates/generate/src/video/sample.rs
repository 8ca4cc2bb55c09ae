//! From noise to a clip: Euler's steps along the flow.
//!
//! x at σ = 1 is noise; each step goes from σ to σ' by x += (σ' - σ) v(x, σ), with σ = f s / (1 + (f - 1) s) for s that falls
//! evenly from 1 to 0 (Esser et al., *Scaling rectified flow transformers*, ICML 2024, section 5.3.2). Or the steps begin at a
//! clip that is noised so far, which the model then makes anew (Meng et al., *SDEdit*, ICLR 2022).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::attention::Sampling;
use super::clip::Clip;
use super::lora::Adapters;
use super::transformer::{Config, VideoTransformer};
use crate::Error;

/// How a clip is sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// Frames of the clip.
    pub frames: usize,
    /// Steps.
    pub steps: usize,
    /// How far steps are shifted towards noise, f.
    pub shift: f64,
    /// What the noise is drawn from.
    pub seed: u64,
    /// The clip at which the steps begin, of so many frames, and the σ that it is noised to; none begins at noise alone.
    pub from: Option<(Clip, f64)>,
}

impl Sampler {
    /// Twenty steps to a clip of as many frames as the model learned from.
    pub fn new(config: &Config) -> Self {
        Self { frames: config.frames, steps: 20, shift: config.flow_shift, seed: 0, from: None }
    }

    /// σ before each step, and 0 after the last.
    pub fn sigmas(&self) -> Vec<f64> {
        let first = self.from.as_ref().map_or(1.0, |(_, sigma)| sigma / (self.shift - (self.shift - 1.0) * sigma));
        let sigma = |step: usize| {
            let s = first * (1.0 - step as f64 / self.steps as f64);
            self.shift * s / (1.0 + (self.shift - 1.0) * s)
        };
        (0..=self.steps).map(sigma).collect()
    }

    /// A clip; `progress` is told the number of steps that are done.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there are no frames or steps, the shift is not above 0, or the σ to begin at not in (0, 1];
    /// [`Error::Shape`] for a clip to begin at that is of another shape; what attention says.
    pub fn sample(
        &self,
        model: &VideoTransformer,
        adapters: Option<&Adapters>,
        attention: &mut Sampling,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Clip, Error> {
        for (field, value) in [("frames", self.frames), ("steps", self.steps)] {
            if value == 0 {
                return Err(Error::zero(field));
            }
        }
        if !self.shift.is_finite() || self.shift <= 0.0 {
            return Err(Error::parameter("shift", self.shift, "above 0"));
        }
        let config = model.config();
        let grid = config.bounded_grid(self.frames)?;
        attention.begin(grid, config.heads)?;
        let shape = [self.frames, config.channels, config.height, config.width];
        let device = model.device();
        let mut x = self.first(shape)?.to_tensor(&device);
        for (step, pair) in self.sigmas().windows(2).enumerate() {
            attention.at_step(step, config.timestep_scale * pair[0]);
            let velocity = model.velocity_tensor(x.clone(), pair[0], adapters, attention)?;
            x = x + velocity * (pair[1] - pair[0]);
            progress(step + 1);
        }
        Ok(Clip::from_tensor(&x))
    }
}

impl Sampler {
    /// Noise, or the clip to begin at with its noise.
    fn first(&self, shape: [usize; 4]) -> Result<Clip, Error> {
        let noise = noise(self.seed, shape.iter().product());
        let Some((clip, sigma)) = &self.from else { return Clip::new(shape, noise) };
        if !(*sigma > 0.0 && *sigma <= 1.0) {
            return Err(Error::parameter("strength", sigma, "above 0, at most 1"));
        }
        if clip.shape() != shape {
            let (found, expected) = (clip.shape().to_vec(), format!("{shape:?}"));
            return Err(Error::Shape { what: "the clip to begin at".into(), found, expected });
        }
        Ok(clip.noised(&noise, *sigma as f32))
    }
}

/// Numbers of the standard normal distribution (Box and Muller, 1958).
pub(super) fn noise(seed: u64, count: usize) -> Vec<f32> {
    normal(&mut ChaCha8Rng::seed_from_u64(seed), count)
}

pub(super) fn normal(draws: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count + 1);
    while numbers.len() < count {
        // From (0, 1], so that its logarithm is finite.
        let radius = (-2.0 * (1.0 - draws.random::<f64>()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * draws.random::<f64>()).sin_cos();
        numbers.extend([radius * cosine, radius * sine].map(|number| number as f32));
    }
    numbers.truncate(count);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fall_from_noise_to_a_clip_and_linger_at_noise() {
        let sampler = Sampler { frames: 1, steps: 4, shift: 3.0, seed: 0, from: None };
        let sigmas = sampler.sigmas();
        assert_eq!((sigmas[0], sigmas[4]), (1.0, 0.0));
        assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((sigmas[2] - 0.75).abs() < 1e-12);
        let clip = Clip::new([1, 1, 1, 1], vec![0.0]).unwrap();
        let sigmas = Sampler { from: Some((clip, 0.6)), ..sampler }.sigmas();
        assert!((sigmas[0] - 0.6).abs() < 1e-12 && sigmas[4] == 0.0);
    }

    #[test]
    fn noise_is_normal_and_its_own_for_each_seed() {
        let numbers = noise(1, 20_001);
        let mean =
            |f: &dyn Fn(f64) -> f64| numbers.iter().map(|&x| f(f64::from(x))).sum::<f64>() / numbers.len() as f64;
        assert!(mean(&|x| x).abs() < 0.03);
        assert!((mean(&|x| x * x) - 1.0).abs() < 0.04);
        assert!((mean(&|x| f64::from(x.abs() < 1.0)) - 0.6827).abs() < 0.02);
        assert_ne!(numbers[0], noise(2, 1)[0]);
        assert_eq!(numbers[..7], noise(1, 7));
    }
}
