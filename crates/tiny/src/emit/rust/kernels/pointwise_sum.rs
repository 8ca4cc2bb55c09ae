//! CONV_2D of one tap and the ADD after it, pixel by pixel.

use super::filter::Filter;
use super::place::{Arena, Call, Rows};
use super::pointwise::convolve_points;
use super::sum::Added;

/// A convolution of one tap whose values are added to those at another place.
#[inline(never)]
pub fn pointwise_sum(arena: &mut Arena, call: &Call<Filter>, rows: Rows, added: &Added) {
    let channels = call.op.out_channels as usize;
    convolve_points(arena, call, rows, |arena, y, x, o, value| added.to(value, arena, y, x, channels, o));
}
