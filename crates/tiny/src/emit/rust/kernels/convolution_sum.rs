//! CONV_2D and the ADD after it, pixel by pixel.

use super::convolution::convolve;
use super::filter::Filter;
use super::place::{Arena, Call, Rows};
use super::sum::Added;

/// A convolution of one group whose values are added to those at another place.
#[inline(never)]
pub fn convolution_sum(arena: &mut Arena, call: &Call<Filter>, rows: Rows, added: &Added) {
    let channels = call.op.out_channels as usize;
    convolve(arena, call, rows, |arena, y, x, o, value| added.to(value, arena, y, x, channels, o));
}
