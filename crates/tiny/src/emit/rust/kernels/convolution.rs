//! CONV_2D, pixel by pixel, four output channels at a time.

use super::filter::{add_four, add_one, Filter, Taps};
use super::place::{settle, Arena, Call, Rows};

/// A convolution of one group.
#[inline(never)]
pub fn convolution(arena: &mut Arena, call: &Call<Filter>, rows: Rows) {
    convolve(arena, call, rows, |_, _, _, _, value| value);
}

/// As [`convolution`]; `finish(arena, y, x, channel, value)` is what is written.
#[inline(always)]
pub fn convolve(
    arena: &mut Arena,
    call: &Call<Filter>,
    rows: Rows,
    finish: impl Fn(&Arena, usize, usize, usize, i8) -> i8,
) {
    let op = call.op;
    let channels = op.out_channels as usize;
    call.each_pixel(rows, |y, x| {
        let target = call.target(y, x, channels);
        let taps = Taps::new(op, &call.input, y, x);
        call.each_block(channels, |o, count| {
            let values = block(arena, call, &taps, o, count);
            let mut finished = [0; 4];
            for i in 0..count {
                finished[i] = finish(arena, y, x, o + i, values[i]);
            }
            arena[target[0] + o..][..count].copy_from_slice(&finished[..count]);
        });
        settle(arena, target, channels);
    });
}

/// Channels `o..o + count` of one pixel; `count` is 4 or 1.
#[inline(never)]
fn block(arena: &Arena, call: &Call<Filter>, taps: &Taps, o: usize, count: usize) -> [i8; 4] {
    let op = call.op;
    let (depth, width) = (op.in_channels as usize, op.columns.kernel as usize);
    let size = op.rows.kernel as usize * width * depth;
    let dilation = op.columns.dilation as usize;
    let [left, right] = taps.columns;
    // Taps that lie together are gone through together.
    let (runs, bytes) = if dilation == 1 { (1, (right - left) * depth) } else { (right - left, depth) };
    let mut sums = op.biases(o, count);
    taps.each_row(op, &call.input, |ky, from| {
        for run in 0..runs {
            let from = from + run * dilation * depth;
            let weights = &op.weights[o * size + (ky * width + left + run) * depth..];
            let x = &arena[from..from + bytes];
            if count == 4 {
                add_four(&mut sums, x, op.input_zero.into(), weights, size);
            } else {
                add_one(&mut sums[0], x, op.input_zero.into(), weights);
            }
        }
    });
    op.requantization.block(sums, o, count)
}
