//! Activations and their gradients, number by number.
//!
//! | | y | ∂y/∂x |
//! | --- | --- | --- |
//! | ReLU | max(x, 0) | 1 where x > 0, else 0 |
//! | GELU | x Φ(x), Φ(x) = (1 + erf(x / √2)) / 2 | Φ(x) + x φ(x), φ(x) = e^(-x²/2) / √(2π) |
//! | GELU by tanh | x σ(u), u = 2 √(2/π) (x + 0.044715 x³), which is x (1 + tanh(u / 2)) / 2 | σ(u) + x σ(u) (1 - σ(u)) ∂u/∂x |
//! | SiLU | x σ(x) | σ(x) (1 + x (1 - σ(x))) |
//! | sigmoid | σ(x) = 1 / (1 + e^-x) | y (1 - y) |
//! | tanh | tanh x | 1 - y² |
//!
//! Sources: Hendrycks and Gimpel, *Gaussian error linear units* (2016); Elfwing, Uchibe, Doya, *Sigmoid-weighted linear
//! units* (2018).

use std::f32::consts::FRAC_1_SQRT_2;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::function::{erf, sigmoid, tanh, vectors};
use super::lanes;

/// Numbers that one task takes.
const PART: usize = 16 << 10;

/// 2 √(2/π), of x in u of GELU by tanh.
const TWICE: f32 = 1.595_769;
/// The same times 0.044715, of x³.
const CUBIC: f32 = 0.044_715 * TWICE;

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table above says what they are")]
pub enum Activation {
    Relu,
    Gelu,
    GeluTanh,
    Silu,
    Sigmoid,
    Tanh,
}

impl Activation {
    /// Puts y where x was.
    pub fn forward(self, x: &mut [f32]) {
        match self {
            Self::Relu => x.par_chunks_mut(PART).for_each(|x| Arch::new().dispatch(Relu(x))),
            Self::Gelu => each(x, |x| 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2).0)),
            Self::GeluTanh => each(x, |x| x * sigmoid(CUBIC.mul_add(x * x, TWICE) * x)),
            Self::Silu => each(x, |x| x * sigmoid(x)),
            Self::Sigmoid => each(x, sigmoid),
            Self::Tanh => each(x, tanh),
        }
    }

    /// Whether [`backward`](Self::backward) wants y, and not x.
    pub fn keeps_output(self) -> bool {
        matches!(self, Self::Relu | Self::Sigmoid | Self::Tanh)
    }

    /// Puts ∂L/∂x where ∂L/∂y was, from what is [kept](Self::keeps_output): y or x.
    pub fn backward(self, kept: &[f32], gradient: &mut [f32]) {
        /// 1 / √(2π).
        const BELL: f32 = 0.398_942_3;
        match self {
            Self::Relu => {
                let parts = kept.par_chunks(PART).zip(gradient.par_chunks_mut(PART));
                parts.for_each(|(y, gradient)| Arch::new().dispatch(ReluBackward { y, gradient }));
            }
            Self::Gelu => each_beside(kept, gradient, |x, g| {
                let (erf, bell) = erf(x * FRAC_1_SQRT_2);
                g * (x * BELL).mul_add(bell, 0.5 * (1.0 + erf))
            }),
            Self::GeluTanh => each_beside(kept, gradient, |x, g| {
                let s = sigmoid(CUBIC.mul_add(x * x, TWICE) * x);
                let slope = (3.0 * CUBIC).mul_add(x * x, TWICE);
                g * s * (x * (1.0 - s)).mul_add(slope, 1.0)
            }),
            Self::Silu => each_beside(kept, gradient, |x, g| {
                let s = sigmoid(x);
                g * s * x.mul_add(1.0 - s, 1.0)
            }),
            Self::Sigmoid => each_beside(kept, gradient, |y, g| g * y * (1.0 - y)),
            Self::Tanh => each_beside(kept, gradient, |y, g| g * (-y).mul_add(y, 1.0)),
        }
    }
}

struct Relu<'a>(&'a mut [f32]);

impl WithSimd for Relu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        lanes::each(simd, self.0, |x| lanes::relu(simd, x));
    }
}

struct ReluBackward<'a> {
    y: &'a [f32],
    gradient: &'a mut [f32],
}

impl WithSimd for ReluBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        lanes::each_beside(simd, self.gradient, self.y, |g, y| lanes::relu_backward(simd, y, g));
    }
}

fn each(x: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    x.par_chunks_mut(PART).for_each(|x| {
        vectors(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x = f(*x)),
        );
    });
}

fn each_beside(kept: &[f32], gradient: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    debug_assert_eq!(kept.len(), gradient.len());
    kept.par_chunks(PART).zip(gradient.par_chunks_mut(PART)).for_each(|(kept, gradient)| {
        vectors(
            #[inline(always)]
            || gradient.iter_mut().zip(kept).for_each(|(g, &kept)| *g = f(kept, *g)),
        );
    });
}
