//! DEPTHWISE_CONV_2D with several outputs for each input channel, and the ADD after it if there is one.

use super::filter::{Filter, Taps};
use super::place::{settle, Arena, Call, Rows};
use super::sum::Added;

/// Output channel `i·many + m` reads input channel `i`.
#[inline(never)]
pub fn depthwise_many(arena: &mut Arena, call: &Call<Filter>, rows: Rows, added: Option<&Added>) {
    let op = call.op;
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    let many = channels / depth;
    let width = op.columns.kernel as usize;
    let zero = i32::from(op.input_zero);
    call.each_pixel(rows, |y, x| {
        let target = call.target(y, x, channels);
        let taps = Taps::new(op, &call.input, y, x);
        let [left, right] = taps.columns;
        for i in 0..channels {
            let o = if call.backward { channels - 1 - i } else { i };
            let [mut total, ..] = op.biases(o, 1);
            let weight = |ky: usize, kx: usize| i32::from(op.weights[(ky * width + kx) * channels + o]);
            taps.each_row(op, &call.input, |ky, from| {
                for kx in left..right {
                    let from = from + (kx - left) * op.columns.dilation as usize * depth + o / many;
                    total = total.wrapping_add((i32::from(arena[from]) - zero) * weight(ky, kx));
                }
            });
            let value = op.requantization.apply(total, o);
            arena[target[0] + o] = match added {
                Some(added) => added.to(value, arena, y, x, channels, o),
                None => value,
            };
        }
        settle(arena, target, channels);
    });
}
