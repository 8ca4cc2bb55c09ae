//! MEAN over any axes.

use super::fixed_point::{Multiplier, Range};
use super::place::Arena;

/// For each kept position the sum over the reduced axes, then
/// `clamp(multiplier · (sum − count·input_zero) + output_zero)`. Axes are lengths and steps in the input.
pub struct Mean {
    /// Axes that stay.
    pub kept: &'static [[u32; 2]],
    /// Axes that are averaged.
    pub reduced: &'static [[u32; 2]],
    /// Zero point of the input.
    pub input_zero: i16,
    /// The scales' ratio, divided by the count.
    pub multiplier: Multiplier,
    /// Zero point of the output.
    pub output_zero: i16,
}

/// From `from` to `to`.
#[inline(never)]
pub fn mean(arena: &mut Arena, op: &Mean, from: usize, to: usize) {
    let count = length(op.reduced);
    for k in 0..length(op.kept) {
        let first = from + position(k, op.kept);
        let mut total = 0;
        for r in 0..count {
            total += i32::from(arena[first + position(r, op.reduced)]) - i32::from(op.input_zero);
        }
        let value = op.multiplier.apply(total).saturating_add(op.output_zero.into());
        arena[to + k] = Range { low: i8::MIN, high: i8::MAX }.clamp(value);
    }
}

fn length(axes: &[[u32; 2]]) -> usize {
    axes.iter().map(|a| a[0] as usize).product()
}

/// Where element `i` is, by the steps along the axes.
fn position(mut i: usize, axes: &[[u32; 2]]) -> usize {
    let mut at = 0;
    for &[n, step] in axes.iter().rev() {
        at += i % n as usize * step as usize;
        i /= n as usize;
    }
    at
}
