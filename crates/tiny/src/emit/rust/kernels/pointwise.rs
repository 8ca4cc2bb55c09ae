//! CONV_2D of one tap without padding, and FULLY_CONNECTED: four output channels at a time.
//!
//! The bias holds −zero · Σ weights, so that the zero point of the input is nowhere else.

use super::filter::{Filter, add_dots};
use super::place::{Arena, Call, settle};

/// A convolution of one tap.
#[inline(never)]
pub fn pointwise(arena: &mut Arena, op: &Filter, call: &Call) {
    convolve_points(arena, op, call, |_, _, _, _, value| value);
}

/// As [`pointwise`]; `finish(arena, y, x, channel, value)` is what is written.
#[inline(always)]
pub fn convolve_points(
    arena: &mut Arena,
    op: &Filter,
    call: &Call,
    finish: impl Fn(&Arena, usize, usize, usize, i8) -> i8,
) {
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    call.each_pixel(|y, x| {
        let target = call.target(y, x, channels);
        let from = call.input.at(y * op.rows.stride as usize, x * op.columns.stride as usize, depth);
        call.each_block(channels, |o, four| {
            if four {
                let values = dots::<4>(&arena[from..from + depth], op, o);
                let values = [0, 1, 2, 3].map(|i| finish(arena, y, x, o + i, values[i]));
                arena[target[0] + o..][..4].copy_from_slice(&values);
            } else {
                let [value] = dots::<1>(&arena[from..from + depth], op, o);
                arena[target[0] + o] = finish(arena, y, x, o, value);
            }
        });
        settle(arena, target, channels);
    });
}

/// Channels `o..o + N` of one pixel.
#[inline(always)]
fn dots<const N: usize>(x: &[i8], op: &Filter, o: usize) -> [i8; N] {
    let mut sums = [0; N];
    sums.copy_from_slice(&op.bias[o..o + N]);
    let mut rows = [&op.weights[..0]; N];
    for (n, row) in rows.iter_mut().enumerate() {
        *row = &op.weights[(o + n) * x.len()..];
    }
    add_dots(&mut sums, x, 0, rows);
    let mut values = [0; N];
    for (n, value) in values.iter_mut().enumerate() {
        *value = op.requantization.apply(sums[n], o + n);
    }
    values
}
