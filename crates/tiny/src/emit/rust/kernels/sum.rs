//! ADD and SUB of two values on a common scale, 20 bits up.

use super::fixed_point::{Multiplier, Range};
use super::place::{Arena, Place};

/// `clamp(output · (operands[0] · ((a − zeros[0]) << 20) + sign · operands[1] · ((b − zeros[1]) << 20)) + output_zero)`.
pub struct Sum {
    /// Zero points of the operands.
    pub zeros: [i16; 2],
    /// Multipliers of the operands.
    pub operands: [Multiplier; 2],
    /// Whether the second is taken away.
    pub negative: bool,
    /// Multiplier of the sum.
    pub output: Multiplier,
    /// Zero point of the output.
    pub output_zero: i16,
    /// What the fused activation admits.
    pub range: Range,
    /// Of a sum done with a convolution: whether the convolution's value is the second operand.
    pub swapped: bool,
}

impl Sum {
    /// Of two values.
    #[inline]
    pub fn value(&self, a: i8, b: i8) -> i8 {
        let part = |i: usize, x: i8| self.operands[i].apply((i32::from(x) - i32::from(self.zeros[i])) << 20);
        let second = part(1, b);
        let raw = part(0, a) + if self.negative { -second } else { second };
        self.range.clamp(self.output.apply(raw).saturating_add(self.output_zero.into()))
    }
}

/// What is added to a convolution's values.
pub struct Added {
    /// How.
    pub sum: &'static Sum,
    /// The other summand.
    pub other: Place,
}

impl Added {
    /// The sum of channel `c` of pixel (`y`, `x`).
    #[inline]
    pub fn to(&self, value: i8, arena: &Arena, y: usize, x: usize, channels: usize, c: usize) -> i8 {
        let other = arena[self.other.at(y, x, channels) + c];
        if self.sum.swapped {
            self.sum.value(other, value)
        } else {
            self.sum.value(value, other)
        }
    }
}
