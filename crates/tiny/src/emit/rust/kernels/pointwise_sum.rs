//! CONV_2D of one tap and the ADD after it, pixel by pixel.

use super::filter::Filter;
use super::place::{Arena, Call, Place};
use super::pointwise::convolve_points;
use super::sum::Sum;

/// A convolution of one tap whose values are added to those at `other`.
#[inline(never)]
pub fn pointwise_sum(arena: &mut Arena, op: &Filter, call: &Call, sum: &Sum, other: &Place) {
    let channels = op.out_channels as usize;
    convolve_points(arena, op, call, |arena, y, x, o, value| sum.with(value, arena[other.at(y, x, channels) + o]));
}
