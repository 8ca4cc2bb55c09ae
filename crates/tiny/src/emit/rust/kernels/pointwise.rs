//! CONV_2D of one tap without padding, and FULLY_CONNECTED: four output channels at a time.

use super::filter::{add_four, add_one, Filter};
use super::place::{settle, Arena, Call, Rows};

/// A convolution of one tap.
#[inline(never)]
pub fn pointwise(arena: &mut Arena, call: &Call<Filter>, rows: Rows) {
    convolve_points(arena, call, rows, |_, _, _, _, value| value);
}

/// As [`pointwise`]; `finish(arena, y, x, channel, value)` is what is written.
#[inline(always)]
pub fn convolve_points(
    arena: &mut Arena,
    call: &Call<Filter>,
    rows: Rows,
    finish: impl Fn(&Arena, usize, usize, usize, i8) -> i8,
) {
    let op = call.op;
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    call.each_pixel(rows, |y, x| {
        let target = call.target(y, x, channels);
        let from = call.input.at(y * op.rows.stride as usize, x * op.columns.stride as usize, depth);
        call.each_block(channels, |o, count| {
            let mut sums = op.biases(o, count);
            let pixel = &arena[from..from + depth];
            if count == 4 {
                add_four(&mut sums, pixel, op.input_zero.into(), &op.weights[o * depth..], depth);
            } else {
                add_one(&mut sums[0], pixel, op.input_zero.into(), &op.weights[o * depth..]);
            }
            let values = op.requantization.block(sums, o, count);
            let mut finished = [0; 4];
            for i in 0..count {
                finished[i] = finish(arena, y, x, o + i, values[i]);
            }
            arena[target[0] + o..][..count].copy_from_slice(&finished[..count]);
        });
        settle(arena, target, channels);
    });
}
