//! Operators of two tensors, element by element, with NumPy's broadcasting.

use super::{Affine, Multiplier, Range, Rounding};
use crate::layout::Broadcast;

/// ADD, SUB or MUL.
#[derive(Debug, Clone)]
pub struct Binary {
    /// Zero points of the operands.
    pub zeros: [i32; 2],
    /// What is computed of them.
    pub how: How,
    /// From the scale of the raw result to that of the output.
    pub output: Multiplier,
    /// Zero point of the output.
    pub output_zero: i32,
    /// What the fused activation admits.
    pub range: Range,
    /// How products are rounded.
    pub rounding: Rounding,
}

/// The raw result of two operands, before it is brought to the output's scale.
#[derive(Debug, Clone)]
pub enum How {
    /// Both operands on the common scale t = 2 max(s₁, s₂), 20 bits up; the second times ±1.
    Sum {
        /// From each operand's scale to the common one.
        operands: [Multiplier; 2],
        /// 1 for a sum, −1 for a difference.
        sign: i32,
    },
    /// The product.
    Product,
}

/// Bits by which operands of a sum are shifted up before they are rescaled.
pub const LEFT_SHIFT: u32 = 20;

impl Binary {
    /// a + b: `MBQM(a₁ + a₂, QM(t / (2^20 s_y))) + z_y` with `aᵢ = MBQM((xᵢ − zᵢ) << 20, QM(sᵢ / t))`, t = 2 max(s₁, s₂).
    pub fn sum(a: Affine, b: Affine, y: Affine, range: Range, rounding: Rounding) -> Option<Self> {
        Self::signed_sum(a, b, y, range, rounding, 1)
    }

    /// a − b, as [`sum`](Self::sum).
    pub fn difference(a: Affine, b: Affine, y: Affine, range: Range, rounding: Rounding) -> Option<Self> {
        Self::signed_sum(a, b, y, range, rounding, -1)
    }

    fn signed_sum(a: Affine, b: Affine, y: Affine, range: Range, rounding: Rounding, sign: i32) -> Option<Self> {
        let twice = 2.0 * a.scale.max(b.scale);
        let operands = [Multiplier::new(a.scale / twice)?, Multiplier::new(b.scale / twice)?];
        let output = Multiplier::new(twice / (f64::from(1 << LEFT_SHIFT) * y.scale))?;
        Some(Self {
            zeros: [a.zero_point, b.zero_point],
            how: How::Sum { operands, sign },
            output,
            output_zero: y.zero_point,
            range,
            rounding,
        })
    }

    /// a · b: `MBQM((x₁ − z₁)(x₂ − z₂), QM(s₁ s₂ / s_y)) + z_y`.
    pub fn product(a: Affine, b: Affine, y: Affine, range: Range, rounding: Rounding) -> Option<Self> {
        Some(Self {
            zeros: [a.zero_point, b.zero_point],
            how: How::Product,
            output: Multiplier::new(a.scale * b.scale / y.scale)?,
            output_zero: y.zero_point,
            range,
            rounding,
        })
    }

    /// One element.
    #[inline]
    pub fn value(&self, a: i8, b: i8) -> i8 {
        let (a, b) = (i32::from(a) - self.zeros[0], i32::from(b) - self.zeros[1]);
        let raw = match &self.how {
            How::Sum { operands, sign } => {
                let a = operands[0].apply(a << LEFT_SHIFT, self.rounding);
                let b = operands[1].apply(b << LEFT_SHIFT, self.rounding);
                a + sign * b
            }
            How::Product => a * b,
        };
        self.range.clamp(self.output.apply(raw, self.rounding).saturating_add(self.output_zero))
    }

    /// Every element of the broadcast pair.
    pub fn apply(&self, a: &[i8], b: &[i8], broadcast: &Broadcast, output: &mut [i8]) {
        broadcast.apply(a, b, output, |&a, &b| self.value(a, b));
    }
}

/// The residual addition of *On-Device Training Under 256KB Memory*: in f32, each operation rounded, in this order:
/// `rint(((x − z₁)·s₁ + (y − z₂)·s₂) / s_y) + z_y`.
#[derive(Debug, Clone)]
pub struct FloatSum {
    a: Affine,
    b: Affine,
    y: Affine,
    range: Range,
}

impl FloatSum {
    /// a + b.
    pub fn new(a: Affine, b: Affine, y: Affine, range: Range) -> Self {
        Self { a, b, y, range }
    }

    /// Every element of the broadcast pair.
    pub fn apply(&self, a: &[i8], b: &[i8], broadcast: &Broadcast, output: &mut [i8]) {
        let real = |q: i8, by: Affine| (i32::from(q) - by.zero_point) as f32 * by.scale as f32;
        broadcast.apply(a, b, output, |&a, &b| {
            let steps = ((real(a, self.a) + real(b, self.b)) / self.y.scale as f32).round_ties_even();
            self.range.clamp((steps as i32).saturating_add(self.y.zero_point))
        });
    }
}

/// PRELU: x ≥ 0 is rescaled by s_x/s_y; below, x·α is rescaled by s_x s_α/s_y.
#[derive(Debug, Clone)]
pub struct Prelu {
    /// Zero points of the input and of the slopes.
    pub zeros: [i32; 2],
    /// s_x/s_y.
    pub positive: Multiplier,
    /// s_x s_α/s_y.
    pub negative: Multiplier,
    /// Zero point of the output.
    pub output_zero: i32,
    /// How products are rounded.
    pub rounding: Rounding,
}

impl Prelu {
    /// From the quantisation of input, slopes and output.
    pub fn new(x: Affine, alpha: Affine, y: Affine, rounding: Rounding) -> Option<Self> {
        Some(Self {
            zeros: [x.zero_point, alpha.zero_point],
            positive: Multiplier::new(x.scale / y.scale)?,
            negative: Multiplier::new(x.scale * alpha.scale / y.scale)?,
            output_zero: y.zero_point,
            rounding,
        })
    }

    /// Every element of the broadcast pair.
    pub fn apply(&self, x: &[i8], alpha: &[i8], broadcast: &Broadcast, output: &mut [i8]) {
        broadcast.apply(x, alpha, output, |&x, &alpha| {
            let x = i32::from(x) - self.zeros[0];
            let y = if x >= 0 {
                self.positive.apply(x, self.rounding)
            } else {
                self.negative.apply(x * (i32::from(alpha) - self.zeros[1]), self.rounding)
            };
            Range::FULL.clamp(y.saturating_add(self.output_zero))
        });
    }
}
