//! FULLY_CONNECTED with weights that have a zero point. Without, it is [`pointwise`](super::pointwise).

use super::filter::Filter;
use super::place::{Arena, Call, Rows};

/// `call.columns` are the rows of the input.
#[inline(never)]
pub fn matrix(arena: &mut Arena, call: &Call<Filter>, rows: Rows, weight_zero: i32) {
    let op = call.op;
    let [depth, channels] = [op.in_channels, op.out_channels].map(usize::from);
    call.each_pixel(rows, |y, x| {
        let from = call.input.at(y, x, depth);
        let to = call.output.at(y, x, channels);
        for o in 0..channels {
            let [mut total, ..] = op.biases(o, 1);
            for (&x, &w) in arena[from..from + depth].iter().zip(&op.weights[o * depth..]) {
                let x = i32::from(x) - i32::from(op.input_zero);
                total = total.wrapping_add(x * (i32::from(w) - weight_zero));
            }
            arena[to + o] = op.requantization.apply(total, o);
        }
    });
}
