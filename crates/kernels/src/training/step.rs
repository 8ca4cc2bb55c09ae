//! One step of an optimiser, in one pass over a parameter, its gradient and its moments.

use rayon::prelude::*;

use super::function::vectors;

/// Numbers that one task takes.
const PART: usize = 16 << 10;

/// SGD: g = ∂L/∂w + λ w; v = μ v + g; w -= η (g + μ v with Nesterov's momentum, else v).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// η.
    pub rate: f32,
    /// μ, 0 for none.
    pub momentum: f32,
    /// Nesterov's.
    pub nesterov: bool,
    /// λ.
    pub decay: f32,
}

impl Sgd {
    /// One step. `velocity`: zeros before the first.
    pub fn step(&self, weights: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        let Self { rate, momentum, nesterov, decay } = *self;
        let parts = weights.par_chunks_mut(PART).zip(gradient.par_chunks(PART)).zip(velocity.par_chunks_mut(PART));
        parts.for_each(|((w, g), v)| {
            vectors(
                #[inline(always)]
                || {
                    for ((w, &g), v) in w.iter_mut().zip(g).zip(v) {
                        let g = decay.mul_add(*w, g);
                        *v = momentum.mul_add(*v, g);
                        let along = if nesterov { momentum.mul_add(*v, g) } else { *v };
                        *w = (-rate).mul_add(along, *w);
                    }
                },
            );
        });
    }
}

/// Adam: m = β₁ m + (1 - β₁) g; v = β₂ v + (1 - β₂) g²; w -= η m̂ / (√v̂ + ε), m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ).
///
/// λ shrinks the weights by η λ w apart from g (AdamW), or is added to it (`coupled`). Sources: Kingma and Ba (ICLR
/// 2015); Loshchilov and Hutter (ICLR 2019).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// η.
    pub rate: f32,
    /// β₁, β₂.
    pub betas: (f32, f32),
    /// ε.
    pub epsilon: f32,
    /// λ.
    pub decay: f32,
    /// λ w is a part of the gradient.
    pub coupled: bool,
}

impl Adam {
    /// Step t, from 1. `first`, `second`: the moments, zeros before the first.
    pub fn step(&self, t: u32, weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Self { rate, betas: (b1, b2), epsilon, decay, coupled } = *self;
        let corrected = |beta: f32| (1.0 - f64::from(beta).powi(t as i32)) as f32;
        let (rate_now, root) = (rate / corrected(b1), corrected(b2).sqrt().recip());
        let (shrink, added) = if coupled { (1.0, decay) } else { (1.0 - rate * decay, 0.0) };
        let moments = first.par_chunks_mut(PART).zip(second.par_chunks_mut(PART));
        weights.par_chunks_mut(PART).zip(gradient.par_chunks(PART)).zip(moments).for_each(|((w, g), (m, v))| {
            vectors(
                #[inline(always)]
                || {
                    for ((w, &g), (m, v)) in w.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
                        let g = added.mul_add(*w, g);
                        *m = b1.mul_add(*m, (1.0 - b1) * g);
                        *v = b2.mul_add(*v, (1.0 - b2) * g * g);
                        *w = w.mul_add(shrink, -rate_now * *m / v.sqrt().mul_add(root, epsilon));
                    }
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_of_sgd_are_as_by_hand() {
        let sgd = Sgd { rate: 0.1, momentum: 0.9, nesterov: false, decay: 0.01 };
        let (mut w, mut v) = ([1.0], [0.0]);
        sgd.step(&mut w, &[0.5], &mut v);
        assert!((v[0] - 0.51).abs() < 1e-6 && (w[0] - 0.949).abs() < 1e-6);
        sgd.step(&mut w, &[0.5], &mut v);
        assert!((v[0] - (0.459 + 0.50949)).abs() < 1e-6 && (w[0] - (0.949 - 0.096_849)).abs() < 1e-6);
        let nesterov = Sgd { nesterov: true, decay: 0.0, ..sgd };
        let (mut w, mut v) = ([1.0], [0.0]);
        nesterov.step(&mut w, &[0.5], &mut v);
        assert!((w[0] - (1.0 - 0.1 * 0.95)).abs() < 1e-6);
    }

    #[test]
    fn first_step_of_adam_is_the_rate() {
        let adam = Adam { rate: 1e-3, betas: (0.9, 0.999), epsilon: 1e-8, decay: 0.1, coupled: false };
        let (mut w, mut m, mut v) = ([2.0, 2.0], [0.0; 2], [0.0; 2]);
        adam.step(1, &mut w, &[3.0, -0.1], &mut m, &mut v);
        for (w, sign) in w.into_iter().zip([1.0, -1.0]) {
            assert!((w - (2.0 * (1.0 - 1e-4) - 1e-3 * sign)).abs() < 1e-6, "{w}");
        }
        let coupled = Adam { coupled: true, ..adam };
        let (mut w, mut m, mut v) = ([2.0], [0.0], [0.0]);
        coupled.step(1, &mut w, &[3.0], &mut m, &mut v);
        assert!((m[0] - 0.1 * 3.2).abs() < 1e-6);
    }
}
