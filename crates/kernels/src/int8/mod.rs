//! The int8 operators of TensorFlow Lite Micro, to the bit.
//!
//! Source: Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*
//! (CVPR 2018), and the reference kernels of TensorFlow Lite Micro where the paper leaves the rounding open.
//!
//! Every operator is a value built once from the scales and zero points (`new` and its kin give `None` when a ratio of
//! scales has no fixed-point form) and applied to slices any number of times.

mod activation;
mod affine;
mod convolution;
mod elementwise;
pub mod fast;
mod fixed_point;
mod fully_connected;
mod pool;
mod resize;
mod softmax;

pub use activation::{HardSwish, LeakyRelu, Rescale, Table};
pub use affine::{Activation, Affine, Range, quantize};
pub use convolution::{Convolution, conv2d, depthwise_conv2d};
pub use elementwise::{Binary, FloatSum, How, LEFT_SHIFT, Prelu};
pub use fixed_point::{Multiplier, Rounding, rounding_divide_by_pot, saturating_rounding_doubling_high_mul};
pub use fully_connected::fully_connected;
pub use pool::{Mean, average_pool, float_mean, max_pool};
pub use resize::{Interpolation, resize_bilinear};
pub use softmax::Softmax;

/// How an accumulator becomes an int8 value, per output channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Requantization {
    /// Integer multipliers: `MBQM(acc, m_c)`.
    FixedPoint(Vec<Multiplier>, Rounding),
    /// Single-precision scales: `rint(f32(acc) · e_c)`, half to even (the arithmetic of On-Device Training Under 256KB Memory).
    Float(Vec<f32>),
}

impl Requantization {
    /// The value of accumulator `acc` in channel `channel`, before the zero point is added.
    #[inline]
    pub fn apply(&self, acc: i64, channel: usize) -> i32 {
        match self {
            // Accumulators fit 32 bits in every sound file; in others they wrap as the C code does.
            Self::FixedPoint(m, rounding) => m[channel].apply(acc as i32, *rounding),
            Self::Float(e) => (acc as f32 * e[channel]).round_ties_even() as i32,
        }
    }

    /// Channels that have a multiplier.
    pub fn channels(&self) -> usize {
        match self {
            Self::FixedPoint(m, _) => m.len(),
            Self::Float(e) => e.len(),
        }
    }
}

/// Σ (x − z)·w, exactly.
#[inline]
fn dot(x: &[i8], z: i32, w: &[i8]) -> i64 {
    debug_assert_eq!(x.len(), w.len());
    // 2^15 products of at most 2^15 in magnitude fit 32 bits; almost every row is one such block.
    const BLOCK: usize = 1 << 15;
    let block = |x: &[i8], w: &[i8]| x.iter().zip(w).map(|(&x, &w)| (i32::from(x) - z) * i32::from(w)).sum::<i32>();
    x.chunks(BLOCK).zip(w.chunks(BLOCK)).map(|(x, w)| i64::from(block(x, w))).sum()
}
