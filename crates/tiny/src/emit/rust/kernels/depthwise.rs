//! DEPTHWISE_CONV_2D with one output for each input channel, four channels at a time.

use super::filter::Filter;
use super::place::{Arena, Call, settle};

/// Channel by channel.
#[inline(never)]
pub fn depthwise(arena: &mut Arena, op: &Filter, call: &Call) {
    convolve_depths(arena, op, call, |_, _, _, _, value| value);
}

/// As [`depthwise`]; `finish(arena, y, x, channel, value)` is what is written.
#[inline(always)]
pub fn convolve_depths(
    arena: &mut Arena,
    op: &Filter,
    call: &Call,
    finish: impl Fn(&Arena, usize, usize, usize, i8) -> i8,
) {
    let channels = op.out_channels as usize;
    call.each_pixel(|y, x| {
        let target = call.target(y, x, channels);
        call.each_block(channels, |c, four| {
            if four {
                let values = pixel_of::<4>(arena, op, call, y, x, c);
                let values = [0, 1, 2, 3].map(|i| finish(arena, y, x, c + i, values[i]));
                arena[target[0] + c..][..4].copy_from_slice(&values);
            } else {
                let [value] = pixel_of::<1>(arena, op, call, y, x, c);
                arena[target[0] + c] = finish(arena, y, x, c, value);
            }
        });
        settle(arena, target, channels);
    });
}

/// Channels `c..c + N` of one pixel.
#[inline(always)]
fn pixel_of<const N: usize>(arena: &Arena, op: &Filter, call: &Call, y: usize, x: usize, c: usize) -> [i8; N] {
    let channels = op.out_channels as usize;
    let [top, bottom] = op.rows.taps(y);
    let [left, right] = op.columns.taps(x);
    let zero = i32::from(op.input_zero);
    let step = op.columns.dilation as usize * channels;
    let mut sums = [0; N];
    sums.copy_from_slice(&op.bias[c..c + N]);
    for ky in top..bottom {
        if left == right {
            break;
        }
        let from = c + call.input.at(op.rows.position(y, ky), op.columns.position(x, left), channels);
        let first = c + (ky * op.columns.kernel as usize + left) * channels;
        // Slices that end with the last tap: the checks of their ends go out of the loop.
        let x = &arena[from..from + (right - left - 1) * step + N];
        let w = &op.weights[first..first + (right - left - 1) * channels + N];
        for (x, w) in x.chunks(step).zip(w.chunks(channels)) {
            for n in 0..N {
                sums[n] += (i32::from(x[n]) - zero) * i32::from(w[n]);
            }
        }
    }
    let mut values = [0; N];
    for (n, value) in values.iter_mut().enumerate() {
        *value = op.requantization.apply(sums[n], c + n);
    }
    values
}
