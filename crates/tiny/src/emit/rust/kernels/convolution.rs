//! CONV_2D, pixel by pixel, four output channels at a time.

use super::filter::{Filter, add_dots};
use super::place::{Arena, Call, settle};

/// A convolution of one group.
#[inline(never)]
pub fn convolution(arena: &mut Arena, op: &Filter, call: &Call) {
    convolve(arena, op, call, |_, _, _, _, value| value);
}

/// As [`convolution`]; `finish(arena, y, x, channel, value)` is what is written.
#[inline(always)]
pub fn convolve(arena: &mut Arena, op: &Filter, call: &Call, finish: impl Fn(&Arena, usize, usize, usize, i8) -> i8) {
    let channels = op.out_channels as usize;
    call.each_pixel(|y, x| {
        let target = call.target(y, x, channels);
        call.each_block(channels, |o, four| {
            if four {
                let values = pixel_of::<4>(arena, op, call, y, x, o);
                let values = [0, 1, 2, 3].map(|i| finish(arena, y, x, o + i, values[i]));
                arena[target[0] + o..][..4].copy_from_slice(&values);
            } else {
                let [value] = pixel_of::<1>(arena, op, call, y, x, o);
                arena[target[0] + o] = finish(arena, y, x, o, value);
            }
        });
        settle(arena, target, channels);
    });
}

/// Channels `o..o + N` of one pixel.
#[inline(always)]
fn pixel_of<const N: usize>(arena: &Arena, op: &Filter, call: &Call, y: usize, x: usize, o: usize) -> [i8; N] {
    let depth = op.in_channels as usize;
    let width = op.columns.kernel as usize;
    let size = op.rows.kernel as usize * width * depth;
    let [top, bottom] = op.rows.taps(y);
    let [left, right] = op.columns.taps(x);
    // Taps that lie together are gone through together.
    let (runs, taps) = if op.columns.dilation == 1 { (1, right - left) } else { (right - left, 1) };
    let mut sums = [0; N];
    sums.copy_from_slice(&op.bias[o..o + N]);
    for ky in top..bottom {
        for run in 0..runs {
            let kx = left + run;
            if taps == 0 {
                continue;
            }
            let from = call.input.at(op.rows.position(y, ky), op.columns.position(x, kx), depth);
            let mut rows = [&op.weights[..0]; N];
            for (n, row) in rows.iter_mut().enumerate() {
                *row = &op.weights[(o + n) * size + (ky * width + kx) * depth..];
            }
            add_dots(&mut sums, &arena[from..from + taps * depth], op.input_zero.into(), rows);
        }
    }
    let mut values = [0; N];
    for (n, value) in values.iter_mut().enumerate() {
        *value = op.requantization.apply(sums[n], o + n);
    }
    values
}
