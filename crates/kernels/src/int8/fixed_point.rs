//! Fixed-point multiplication by a real number, as gemmlowp and TensorFlow Lite define it.

/// `round(a·b / 2^31)` in 32 bits, saturating; ties away from zero for a product ≥ 0, towards zero otherwise.
#[inline]
pub fn saturating_rounding_doubling_high_mul(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// `round(x / 2^exponent)`, ties away from zero. `exponent` in [0, 62].
#[inline]
pub fn rounding_divide_by_pot(x: i32, exponent: u32) -> i32 {
    let x = i64::from(x);
    let mask = (1i64 << exponent) - 1;
    let threshold = (mask >> 1) + i64::from(x < 0);
    ((x >> exponent) + i64::from(x & mask > threshold)) as i32
}

/// How many times a product is rounded on its way to 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// Twice: after the high multiplication and after the shift. TensorFlow Lite Micro's default.
    #[default]
    Double,
    /// Once. What LiteRT's FULLY_CONNECTED does, and TensorFlow Lite built with `TFLITE_SINGLE_ROUNDING`.
    Single,
}

/// A real number as `mantissa · 2^(shift − 31)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplier {
    /// In ±[2^30, 2^31), or zero.
    pub mantissa: i32,
    /// In [−31, 30].
    pub shift: i32,
}

impl Multiplier {
    /// The nearest multiplier to `real`; below 2^−32 it is zero. `None` if `real` is not finite or is 2^30 and more.
    pub fn new(real: f64) -> Option<Self> {
        Self::unbounded(real).filter(|m| m.shift <= 30)
    }

    /// As [`new`](Self::new), with any shift from −31 up: for formulas that bound it themselves.
    pub(super) fn unbounded(real: f64) -> Option<Self> {
        if !real.is_finite() {
            return None;
        }
        if real == 0.0 {
            return Some(Self { mantissa: 0, shift: 0 });
        }
        let (fraction, mut shift) = frexp(real);
        let mut mantissa = (fraction * 2f64.powi(31)).round() as i64;
        if mantissa.abs() == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        match shift {
            ..-31 => Some(Self { mantissa: 0, shift: 0 }),
            -31.. => Some(Self { mantissa: mantissa as i32, shift }),
        }
    }

    /// `x` times the multiplier (TFLite's `MultiplyByQuantizedMultiplier`).
    #[inline]
    pub fn apply(self, x: i32, rounding: Rounding) -> i32 {
        match rounding {
            Rounding::Double => {
                let left = x.wrapping_shl(self.shift.max(0) as u32);
                let high = saturating_rounding_doubling_high_mul(left, self.mantissa);
                rounding_divide_by_pot(high, (-self.shift).max(0) as u32)
            }
            Rounding::Single => {
                let half = 1i64 << (30 - self.shift);
                ((i64::from(x) * i64::from(self.mantissa) + half) >> (31 - self.shift)) as i32
            }
        }
    }
}

/// `x = fraction · 2^exponent` with |fraction| in [½, 1), for finite non-zero `x`.
fn frexp(x: f64) -> (f64, i32) {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    if exponent == 0 {
        // Subnormal: scale into the normal range first.
        let (fraction, exponent) = frexp(x * 2f64.powi(64));
        return (fraction, exponent - 64);
    }
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52);
    (fraction, exponent - 1022)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frexp_and_back(x in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let (fraction, exponent) = frexp(x);
            prop_assert!((0.5..1.0).contains(&fraction.abs()));
            // Two steps, because 2^exponent alone may overflow or underflow.
            prop_assert_eq!(fraction * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2), x);
        }

        #[test]
        fn division_rounds_to_nearest_ties_away(x in any::<i32>(), exponent in 0u32..31) {
            let exact = f64::from(x) / f64::from(1u32 << exponent);
            prop_assert_eq!(rounding_divide_by_pot(x, exponent), exact.round() as i32);
        }

        #[test]
        fn a_multiplier_is_its_real_number(real in 1e-9f64..1e9, negative in any::<bool>()) {
            let real = if negative { -real } else { real };
            let m = Multiplier::new(real).unwrap();
            let back = f64::from(m.mantissa) * 2f64.powi(m.shift - 31);
            prop_assert!((back / real - 1.0).abs() < 2f64.powi(-30));
        }

        #[test]
        fn both_roundings_are_within_one_of_the_exact_product(x in -1_000_000i32..1_000_000, real in 1e-6f64..500.0) {
            let m = Multiplier::new(real).unwrap();
            let exact = f64::from(x) * real;
            for rounding in [Rounding::Double, Rounding::Single] {
                prop_assert!((f64::from(m.apply(x, rounding)) - exact).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn the_edges_saturate() {
        assert_eq!(saturating_rounding_doubling_high_mul(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(Multiplier::new(2f64.powi(31)), None);
        assert_eq!(Multiplier::new(f64::NAN), None);
        assert_eq!(Multiplier::new(1e-300), Some(Multiplier { mantissa: 0, shift: 0 }));
    }
}
