//! PRELU.

use super::fixed_point::{Multiplier, Range};
use super::pair::{each_pair, Pair};
use super::place::{Arena, Call, Rows};

/// With `x = a − zeros[0]`: `positive · x` for `x ≥ 0`, `negative · (x · (b − zeros[1]))` below.
pub struct Prelu {
    /// Zero points of input and slopes.
    pub zeros: [i16; 2],
    /// Multiplier of values from 0 on.
    pub positive: Multiplier,
    /// Multiplier of the others.
    pub negative: Multiplier,
    /// Zero point of the output.
    pub output_zero: i16,
}

/// Slopes below zero.
#[inline(never)]
pub fn prelu(arena: &mut Arena, pair: &Pair, call: &Call<Prelu>, rows: Rows) {
    let prelu = call.op;
    each_pair(arena, pair, call, rows, |a, b| {
        let x = i32::from(a) - i32::from(prelu.zeros[0]);
        let y = if x >= 0 {
            prelu.positive.apply(x)
        } else {
            prelu.negative.apply(x * (i32::from(b) - i32::from(prelu.zeros[1])))
        };
        Range { low: i8::MIN, high: i8::MAX }.clamp(y.saturating_add(prelu.output_zero.into()))
    });
}
