//! Real multipliers as `mantissa · 2^(shift − 31)`, as gemmlowp and TensorFlow Lite define them, rounded twice.

/// `round(a·b / 2^31)`, ties up. No mantissa is `i32::MIN`, so nothing saturates.
#[inline]
pub fn high_product(a: i32, b: i32) -> i32 {
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// `round(x / 2^exponent)`, ties away from zero; `exponent` below 63.
#[inline]
pub fn divide_by_power(x: i32, exponent: u32) -> i32 {
    let half = (1i64 << exponent) >> 1;
    let nudge = if x < 0 && exponent > 0 { half - 1 } else { half };
    ((i64::from(x) + nudge) >> exponent) as i32
}

/// A real number.
pub struct Multiplier {
    /// In ±[2^30, 2^31), or zero.
    pub mantissa: i32,
    /// To the left if positive.
    pub shift: i8,
}

impl Multiplier {
    /// `x` times the number.
    #[inline]
    pub fn apply(&self, x: i32) -> i32 {
        scaled(x, self.mantissa, self.shift)
    }
}

/// `x · mantissa · 2^(shift − 31)`.
#[inline]
pub fn scaled(x: i32, mantissa: i32, shift: i8) -> i32 {
    let left = x.wrapping_shl(shift.max(0) as u32);
    divide_by_power(high_product(left, mantissa), shift.min(0).unsigned_abs().into())
}

/// What a fused activation admits.
pub struct Range {
    /// Least value.
    pub low: i8,
    /// Greatest value.
    pub high: i8,
}

impl Range {
    /// The admitted value nearest to `x`.
    #[inline]
    pub fn clamp(&self, x: i32) -> i8 {
        x.max(self.low.into()).min(self.high.into()) as i8
    }
}
