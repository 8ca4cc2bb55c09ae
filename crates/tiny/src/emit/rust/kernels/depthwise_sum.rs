//! DEPTHWISE_CONV_2D and the ADD after it, pixel by pixel.

use super::depthwise::convolve_depths;
use super::filter::Filter;
use super::place::{Arena, Call, Place};
use super::sum::Sum;

/// A depthwise convolution whose values are added to those at `other`.
#[inline(never)]
pub fn depthwise_sum(arena: &mut Arena, op: &Filter, call: &Call, sum: &Sum, other: &Place) {
    let channels = op.out_channels as usize;
    convolve_depths(arena, op, call, |arena, y, x, c, value| sum.with(value, arena[other.at(y, x, channels) + c]));
}
