//! CONV_2D and the ADD after it, pixel by pixel.

use super::convolution::convolve;
use super::filter::Filter;
use super::place::{Arena, Call, Place};
use super::sum::Sum;

/// A convolution of one group whose values are added to those at `other`.
#[inline(never)]
pub fn convolution_sum(arena: &mut Arena, op: &Filter, call: &Call, sum: &Sum, other: &Place) {
    let channels = op.out_channels as usize;
    convolve(arena, op, call, |arena, y, x, o, value| sum.with(value, arena[other.at(y, x, channels) + o]));
}
