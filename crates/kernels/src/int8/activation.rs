//! Operators of one tensor, element by element: rescaling, rectifiers, and functions kept as tables.

use super::fixed_point::rounding_divide_by_pot;
use super::{Affine, Multiplier, Range, Rounding};

/// `MBQM(x − z_x, QM(s_x / s_y)) + z_y`, clamped: QUANTIZE between integers, and RELU and its kin by their range.
#[derive(Debug, Clone)]
pub struct Rescale {
    input_zero: i32,
    multiplier: Multiplier,
    output_zero: i32,
    rounding: Rounding,
}

impl Rescale {
    /// From `x`'s quantisation to `y`'s.
    pub fn new(x: Affine, y: Affine, rounding: Rounding) -> Option<Self> {
        Some(Self {
            input_zero: x.zero_point,
            multiplier: Multiplier::new(x.scale / y.scale)?,
            output_zero: y.zero_point,
            rounding,
        })
    }

    /// The rescaled value, not yet clamped.
    #[inline]
    pub fn value(&self, x: i32) -> i32 {
        self.multiplier.apply(x.wrapping_sub(self.input_zero), self.rounding).saturating_add(self.output_zero)
    }

    /// Every element, clamped to `range`.
    pub fn apply(&self, x: &[i8], range: Range, y: &mut [i8]) {
        for (x, y) in x.iter().zip(y) {
            *y = range.clamp(self.value(i32::from(*x)));
        }
    }
}

/// LEAKY_RELU: as [`Rescale`], negative values by s_x·α/s_y.
#[derive(Debug, Clone)]
pub struct LeakyRelu {
    input_zero: i32,
    positive: Multiplier,
    /// s_x·|α|/s_y.
    negative: Multiplier,
    /// The sign of α; it is applied after rounding.
    sign: i32,
    output_zero: i32,
    rounding: Rounding,
}

impl LeakyRelu {
    /// Slope `alpha` below zero.
    pub fn new(x: Affine, alpha: f32, y: Affine, rounding: Rounding) -> Option<Self> {
        Some(Self {
            input_zero: x.zero_point,
            positive: Multiplier::new(x.scale / y.scale)?,
            negative: Multiplier::new(x.scale * f64::from(alpha.abs()) / y.scale)?,
            sign: if alpha < 0.0 { -1 } else { 1 },
            output_zero: y.zero_point,
            rounding,
        })
    }

    /// Every element.
    pub fn apply(&self, x: &[i8], y: &mut [i8]) {
        for (x, y) in x.iter().zip(y) {
            let x = i32::from(*x) - self.input_zero;
            let scaled = if x >= 0 {
                self.positive.apply(x, self.rounding)
            } else {
                self.sign * self.negative.apply(x, self.rounding)
            };
            *y = Range::FULL.clamp(scaled.saturating_add(self.output_zero));
        }
    }
}

/// HARD_SWISH: x · relu6(x + 3) / 6 in 16-bit fixed point.
#[derive(Debug, Clone)]
pub struct HardSwish {
    input_zero: i32,
    /// Input scale, 7 bits up, to output scale.
    output: Multiplier,
    /// Input scale, 7 bits up, to the scale 3/32768 of relu6.
    reluish: Multiplier,
    output_zero: i32,
}

impl HardSwish {
    /// `None` if the output's scale is so small that its multiplier exceeds 1: 16 bits cannot hold it.
    pub fn new(x: Affine, y: Affine) -> Option<Self> {
        let high_resolution = x.scale / 128.0;
        let half = |real: f64| {
            let m = Multiplier::new(real)?;
            let mantissa = ((i64::from(m.mantissa) + (1 << 15)) >> 16).min(i64::from(i16::MAX)) as i32;
            Some(Multiplier { mantissa, shift: m.shift })
        };
        let output = half(high_resolution / y.scale)?;
        let reluish = half(high_resolution / (3.0 / 32768.0))?;
        (output.shift <= 0).then_some(Self { input_zero: x.zero_point, output, reluish, output_zero: y.zero_point })
    }

    /// One element.
    fn value(&self, x: i8) -> i8 {
        let high = (i32::from(x) - self.input_zero) << 7;
        let pre = doubling_high_mul_16(high, self.output.mantissa);
        let mut reluish = high;
        let shift = self.reluish.shift;
        if shift > 0 {
            reluish = saturating_shift_16(reluish, shift - 1);
        }
        reluish = doubling_high_mul_16(reluish, self.reluish.mantissa);
        if shift > 0 {
            reluish = saturating_shift_16(reluish, 1);
        }
        if shift < 0 {
            reluish = rounding_divide_by_pot(reluish, -shift as u32);
        }
        // From [−1, 1] to [0, 1], both 15 bits.
        let reluish = (reluish + (1 << 15)) >> 1;
        let product = reluish * pre / (1 << 15);
        let y = rounding_divide_by_pot(product, -self.output.shift as u32);
        Range::FULL.clamp(y.saturating_add(self.output_zero))
    }

    /// Every element.
    pub fn apply(&self, x: &[i8], y: &mut [i8]) {
        for (x, y) in x.iter().zip(y) {
            *y = self.value(*x);
        }
    }
}

/// `round(a·b / 2^15)` in 16 bits, saturating.
fn doubling_high_mul_16(a: i32, b: i32) -> i32 {
    if a == i32::from(i16::MIN) && b == i32::from(i16::MIN) {
        return i32::from(i16::MAX);
    }
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    (product + nudge) / (1 << 15)
}

/// `x << by`, saturating to 16 bits.
fn saturating_shift_16(x: i32, by: i32) -> i32 {
    (i64::from(x) << by.min(31)).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i32
}

/// A function of one int8 value, kept as its 256 answers.
#[derive(Debug, Clone)]
pub struct Table([i8; 256]);

impl Table {
    /// LOGISTIC; the output is quantised by (1/256, −128): `rint(256 / (1 + e^−r)) − 128`.
    pub fn logistic(x: Affine) -> Self {
        Self::of(x, |r| 256.0 / (1.0 + (-r).exp()), -128)
    }

    /// TANH; the output is quantised by (1/128, 0): `rint(128 tanh r)`.
    pub fn tanh(x: Affine) -> Self {
        Self::of(x, |r| 128.0 * r.tanh(), 0)
    }

    fn of(x: Affine, steps: impl Fn(f64) -> f64, zero_point: i32) -> Self {
        Self(std::array::from_fn(|i| {
            let q = i32::from(i as u8 as i8);
            let r = f64::from(q - x.zero_point) * x.scale;
            Range::FULL.clamp(steps(r).round_ties_even() as i32 + zero_point)
        }))
    }

    /// Every element.
    pub fn apply(&self, x: &[i8], y: &mut [i8]) {
        for (x, y) in x.iter().zip(y) {
            *y = self.0[usize::from(*x as u8)];
        }
    }
}
