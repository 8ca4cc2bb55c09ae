//! DEPTHWISE_CONV_2D with one output for each input channel, four channels at a time.

use super::filter::{Filter, Taps};
use super::place::{settle, Arena, Call, Rows};

/// Channel by channel.
#[inline(never)]
pub fn depthwise(arena: &mut Arena, call: &Call<Filter>, rows: Rows) {
    convolve_depths(arena, call, rows, |_, _, _, _, value| value);
}

/// As [`depthwise`]; `finish(arena, y, x, channel, value)` is what is written.
#[inline(always)]
pub fn convolve_depths(
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
        call.each_block(channels, |c, count| {
            let sums = match count {
                4 => block::<4>(arena, call, &taps, c),
                _ => {
                    let [sum] = block::<1>(arena, call, &taps, c);
                    [sum, 0, 0, 0]
                }
            };
            let values = op.requantization.block(sums, c, count);
            let mut finished = [0; 4];
            for i in 0..count {
                finished[i] = finish(arena, y, x, c + i, values[i]);
            }
            arena[target[0] + c..][..count].copy_from_slice(&finished[..count]);
        });
        settle(arena, target, channels);
    });
}

/// The sums of channels `c..c + N` of one pixel.
#[inline(never)]
fn block<const N: usize>(arena: &Arena, call: &Call<Filter>, taps: &Taps, c: usize) -> [i32; N] {
    let op = call.op;
    let channels = op.out_channels as usize;
    let zero = i32::from(op.input_zero);
    let step = op.columns.dilation as usize * channels;
    let [left, right] = taps.columns;
    let biases = op.biases(c, N);
    let mut sums = [0; N];
    sums.copy_from_slice(&biases[..N]);
    taps.each_row(op, &call.input, |ky, from| {
        let x = &arena[from + c..];
        let w = &op.weights[(ky * op.columns.kernel as usize + left) * channels + c..];
        for tap in 0..right - left {
            let (Some(x), Some(w)) = (x[tap * step..].first_chunk::<N>(), w[tap * channels..].first_chunk::<N>())
            else {
                return;
            };
            for n in 0..N {
                sums[n] = sums[n].wrapping_add((i32::from(x[n]) - zero) * i32::from(w[n]));
            }
        }
    });
    sums
}
