//! CONV_2D of several groups, one output channel at a time, and the ADD after it if there is one.

use super::filter::{Filter, add_dots};
use super::place::{Arena, Call, Place, settle};
use super::sum::Sum;

/// Output channels go to the groups in order; a group reads `per_group` channels of the input.
#[inline(never)]
pub fn grouped(arena: &mut Arena, op: &Filter, call: &Call, per_group: usize, sum: Option<(&Sum, &Place)>) {
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    let outputs = channels / (depth / per_group);
    let width = op.columns.kernel as usize;
    let zero = op.input_zero.into();
    call.each_pixel(|y, x| {
        let target = call.target(y, x, channels);
        let [top, bottom] = op.rows.taps(y);
        let [left, right] = op.columns.taps(x);
        for i in 0..channels {
            let o = if call.backward { channels - 1 - i } else { i };
            let mut total = [op.bias[o]];
            for ky in top..bottom {
                for kx in left..right {
                    let from = call.input.at(op.rows.position(y, ky), op.columns.position(x, kx), depth);
                    let from = from + o / outputs * per_group;
                    let row = ((o * op.rows.kernel as usize + ky) * width + kx) * per_group;
                    add_dots(&mut total, &arena[from..from + per_group], zero, [&op.weights[row..]]);
                }
            }
            let value = op.requantization.apply(total[0], o);
            arena[target[0] + o] = match sum {
                Some((sum, other)) => sum.with(value, arena[other.at(y, x, channels) + o]),
                None => value,
            };
        }
        settle(arena, target, channels);
    });
}
