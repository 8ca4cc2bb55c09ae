//! What follows a sum: nothing, ReLU or ReLU6, while the sum is still in a register.

use pulp::Simd;

/// The activation after the bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ending {
    /// y = x.
    #[default]
    None,
    /// y = max(x, 0); NaN stays NaN.
    Relu,
    /// y = min(max(x, 0), 6); NaN stays NaN.
    Relu6,
}

impl Ending {
    /// Of one number.
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::Relu6 => x.clamp(0.0, 6.0),
        }
    }

    /// Of a vector.
    #[inline(always)]
    pub(super) fn of_vector<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        if self == Self::None {
            return x;
        }
        let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(6.0));
        let x = simd.select_f32s(simd.less_than_f32s(x, zero), zero, x);
        if self == Self::Relu { x } else { simd.select_f32s(simd.less_than_f32s(six, x), six, x) }
    }

    /// Adds the bias and ends, in place.
    #[inline(always)]
    pub(super) fn after(self, bias: Option<&[f32]>, y: &mut [f32]) {
        if let Some(bias) = bias {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
        if self != Self::None {
            y.iter_mut().for_each(|y| *y = self.of(*y));
        }
    }
}
