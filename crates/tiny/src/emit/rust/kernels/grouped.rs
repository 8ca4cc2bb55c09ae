//! CONV_2D of several groups, one output channel at a time, and the ADD after it if there is one.

use super::filter::{add_one, Filter, Taps};
use super::place::{settle, Arena, Call, Rows};
use super::sum::Added;

/// Output channels go to the groups in order; a group reads `per_group` channels of the input.
#[inline(never)]
pub fn grouped(arena: &mut Arena, call: &Call<Filter>, rows: Rows, per_group: usize, added: Option<&Added>) {
    let op = call.op;
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    let outputs = channels / (depth / per_group);
    let width = op.columns.kernel as usize;
    call.each_pixel(rows, |y, x| {
        let target = call.target(y, x, channels);
        let taps = Taps::new(op, &call.input, y, x);
        let [left, right] = taps.columns;
        for i in 0..channels {
            let o = if call.backward { channels - 1 - i } else { i };
            let [mut total, ..] = op.biases(o, 1);
            let row = |ky: usize, kx: usize| ((o * op.rows.kernel as usize + ky) * width + kx) * per_group;
            taps.each_row(op, &call.input, |ky, from| {
                for kx in left..right {
                    let from = from + (kx - left) * op.columns.dilation as usize * depth + o / outputs * per_group;
                    add_one(
                        &mut total,
                        &arena[from..from + per_group],
                        op.input_zero.into(),
                        &op.weights[row(ky, kx)..],
                    );
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
