//! DEPTHWISE_CONV_2D with several outputs for each input channel, and the ADD after it if there is one.

use super::filter::Filter;
use super::place::{Arena, Call, Place, settle};
use super::sum::Sum;

/// Output channel `i·many + m` reads input channel `i`.
#[inline(never)]
pub fn depthwise_many(arena: &mut Arena, op: &Filter, call: &Call, sum: Option<(&Sum, &Place)>) {
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    let many = channels / depth;
    let width = op.columns.kernel as usize;
    let zero = i32::from(op.input_zero);
    call.each_pixel(|y, x| {
        let target = call.target(y, x, channels);
        let [top, bottom] = op.rows.taps(y);
        let [left, right] = op.columns.taps(x);
        for i in 0..channels {
            let o = if call.backward { channels - 1 - i } else { i };
            let mut total = op.bias[o];
            for ky in top..bottom {
                for kx in left..right {
                    let from = call.input.at(op.rows.position(y, ky), op.columns.position(x, kx), depth);
                    let weight = op.weights[(ky * width + kx) * channels + o];
                    total += (i32::from(arena[from + o / many]) - zero) * i32::from(weight);
                }
            }
            let value = op.requantization.apply(total, o);
            arena[target[0] + o] = match sum {
                Some((sum, other)) => sum.with(value, arena[other.at(y, x, channels) + o]),
                None => value,
            };
        }
        settle(arena, target, channels);
    });
}
