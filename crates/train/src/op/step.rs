//! Steps of SGD, Adam and AdamW in one pass over each parameter, as Burn's optimisers.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use tersor_kernels::training::step;

use super::join::changed;

/// SGD: g = ∂L/∂w + λ w; v = μ v + g; w -= η v, or η (g + μ v) with Nesterov's momentum.
///
/// As PyTorch's, without dampening.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// μ.
    pub momentum: f32,
    /// Nesterov's.
    pub nesterov: bool,
    /// λ.
    pub decay: f32,
}

/// What SGD remembers of a parameter.
#[derive(Debug, Clone)]
pub struct Velocity<const D: usize> {
    velocity: Tensor<D>,
}

// Burn's derive of this trait works in Burn alone.
impl<const D: usize> RecordState for Velocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "velocity", self.velocity.to_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self { velocity: Tensor::from_data(source.take_tensor(prefix, "velocity")?, device) })
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = Velocity<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Velocity<D>>,
    ) -> (Tensor<D>, Option<Velocity<D>>) {
        let Self { momentum, nesterov, decay } = *self;
        let velocity = state.map_or_else(|| gradient.zeros_like(), |state| state.velocity);
        let kernel = step::Sgd { rate: rate as f32, momentum, nesterov, decay };
        let [weights, velocity] = changed(
            [weights, velocity],
            gradient,
            |[weights, velocity], gradient| kernel.step(weights, gradient, velocity),
            |[weights, velocity], gradient| {
                let gradient = gradient + weights.clone() * decay;
                let velocity = velocity * momentum + gradient.clone();
                let along = if nesterov { gradient + velocity.clone() * momentum } else { velocity.clone() };
                [weights - along * rate, velocity]
            },
        );
        (weights, Some(Velocity { velocity }))
    }

    fn to_device<const D: usize>(state: Velocity<D>, device: &Device) -> Velocity<D> {
        Velocity { velocity: state.velocity.to_device(device) }
    }
}

/// Adam: m = β₁ m + (1 - β₁) g; v = β₂ v + (1 - β₂) g²; w -= η m̂ / (√v̂ + ε), both corrected for their start from 0.
///
/// The decay λ shrinks the weights by η λ w apart from the gradient (AdamW), or is added to it (`coupled`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// β₁ and β₂.
    pub betas: (f32, f32),
    /// ε.
    pub epsilon: f32,
    /// λ.
    pub decay: f32,
    /// λ w is a part of the gradient.
    pub coupled: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), epsilon: 1e-8, decay: 0.0, coupled: false }
    }
}

/// What Adam remembers of a parameter.
#[derive(Debug, Clone)]
pub struct Moments<const D: usize> {
    time: usize,
    first: Tensor<D>,
    second: Tensor<D>,
}

impl<const D: usize> RecordState for Moments<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "time", (self.time as u64).into());
        out.push_tensor(prefix, "first", self.first.to_data());
        out.push_tensor(prefix, "second", self.second.to_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let time = u64::try_from(source.take_scalar(prefix, "time")?).ok()?;
        let mut moment = |name| Some(Tensor::from_data(source.take_tensor(prefix, name)?, device));
        Some(Self { time: usize::try_from(time).ok()?, first: moment("first")?, second: moment("second")? })
    }
}

impl Optimizer for Adam {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Moments<D>>,
    ) -> (Tensor<D>, Option<Moments<D>>) {
        let Self { betas, epsilon, decay, coupled } = *self;
        let zeros = || Moments { time: 0, first: gradient.zeros_like(), second: gradient.zeros_like() };
        let Moments { time, first, second } = state.unwrap_or_else(zeros);
        let time = time + 1;
        let kernel = step::Adam { rate: rate as f32, betas, epsilon, decay, coupled };
        let [weights, first, second] = changed(
            [weights, first, second],
            gradient,
            |[weights, first, second], gradient| kernel.step(time as u32, weights, gradient, first, second),
            |[weights, first, second], gradient| {
                let gradient = if coupled { gradient + weights.clone() * decay } else { gradient };
                let first = first * betas.0 + gradient.clone() * (1.0 - betas.0);
                let second = second * betas.1 + gradient.powi_scalar(2) * (1.0 - betas.1);
                let corrected = |beta: f32| 1.0 - f64::from(beta).powi(time as i32);
                let root = (second.clone() / corrected(betas.1)).sqrt() + epsilon;
                let along = first.clone() / corrected(betas.0) / root;
                let shrunk = if coupled { weights } else { weights * (1.0 - rate * f64::from(decay)) };
                [shrunk - along * rate, first, second]
            },
        );
        (weights, Some(Moments { time, first, second }))
    }

    fn to_device<const D: usize>(state: Moments<D>, device: &Device) -> Moments<D> {
        Moments { first: state.first.to_device(device), second: state.second.to_device(device), ..state }
    }
}
