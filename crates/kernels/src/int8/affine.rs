//! Affine quantisation: what an int8 value means, and which values an activation admits.

/// real = scale · (q − zero_point).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Real distance between neighbouring values; positive.
    pub scale: f64,
    /// The value that means 0.
    pub zero_point: i32,
}

impl Affine {
    /// The real number that `q` stands for, in f32 as `f32((q − z)·s)`.
    #[inline]
    pub fn real(self, q: i32) -> f32 {
        ((f64::from(q) - f64::from(self.zero_point)) * self.scale) as f32
    }
}

/// The value in [`low`, `high`] nearest to `x`, ties away from zero; `None` for NaN.
#[inline]
pub fn quantize(x: f32, to: Affine, low: i32, high: i32) -> Option<i32> {
    if x.is_nan() {
        return None;
    }
    // The division is f32 division, as in the reference; `as` saturates what lies beyond 32 bits.
    let steps = (x / to.scale as f32).round() as i32;
    Some(steps.saturating_add(to.zero_point).clamp(low, high))
}

/// The activation fused into an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// None.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// x clamped to [0, 6].
    Relu6,
    /// x clamped to [−1, 1].
    ReluN1To1,
}

impl Activation {
    /// Real bounds: least and greatest output.
    pub fn bounds(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
            Self::ReluN1To1 => (-1.0, 1.0),
        }
    }
}

/// The int8 values an output may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Least value.
    pub low: i32,
    /// Greatest value.
    pub high: i32,
}

impl Range {
    /// Every int8 value.
    pub const FULL: Self = Self { low: i8::MIN as i32, high: i8::MAX as i32 };

    /// What `activation` admits in a tensor quantised by `output`.
    pub fn of(activation: Activation, output: Affine) -> Self {
        let step = |real: f32| {
            let steps = (real / output.scale as f32).round() as i32;
            steps.saturating_add(output.zero_point).clamp(Self::FULL.low, Self::FULL.high)
        };
        let (low, high) = activation.bounds();
        Self {
            low: if low.is_finite() { step(low) } else { Self::FULL.low },
            high: if high.is_finite() { step(high) } else { Self::FULL.high },
        }
    }

    /// `x` brought into the range.
    #[inline]
    pub fn clamp(self, x: i32) -> i8 {
        // Not `Ord::clamp`: it panics should a hostile zero point leave the range empty.
        x.max(self.low).min(self.high) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_is_rounded_in_single_precision() {
        // 6 / 0.023529412 is 254.99999 in f64 and 255 in f32.
        let q = Affine { scale: f64::from(0.023_529_412_f32), zero_point: -128 };
        assert_eq!(Range::of(Activation::Relu6, q), Range { low: -128, high: 127 });
    }

    #[test]
    fn nan_has_no_int8_value() {
        let q = Affine { scale: 1.0, zero_point: 0 };
        assert_eq!(quantize(f32::NAN, q, -128, 127), None);
        assert_eq!(quantize(f32::INFINITY, q, -128, 127), Some(127));
        assert_eq!(quantize(-2.5, q, -128, 127), Some(-3));
    }
}
