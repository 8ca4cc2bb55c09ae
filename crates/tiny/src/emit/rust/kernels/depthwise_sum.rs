//! DEPTHWISE_CONV_2D and the ADD after it, pixel by pixel.

use super::depthwise::convolve_depths;
use super::filter::Filter;
use super::place::{Arena, Call, Rows};
use super::sum::Added;

/// A depthwise convolution whose values are added to those at another place.
#[inline(never)]
pub fn depthwise_sum(arena: &mut Arena, call: &Call<Filter>, rows: Rows, added: &Added) {
    let channels = call.op.out_channels as usize;
    convolve_depths(arena, call, rows, |arena, y, x, c, value| added.to(value, arena, y, x, channels, c));
}
