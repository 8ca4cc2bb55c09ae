//! RESIZE_BILINEAR with 10-bit weights: four products for a value, rounded once.

use super::place::{Arena, Call, Rows};

/// Triples for each output: lower and upper source, and the weight of the upper out of 1024.
pub struct Axes {
    /// Of the rows.
    pub rows: &'static [i32],
    /// Of the columns.
    pub columns: &'static [i32],
}

/// Values between four of the input.
#[inline(never)]
pub fn bilinear(arena: &mut Arena, call: &Call<Axes>, rows: Rows, channels: usize) {
    let triple = |axis: &[i32], i: usize| [axis[3 * i], axis[3 * i + 1], axis[3 * i + 2]];
    call.each_pixel(rows, |y, x| {
        let [top, bottom, v] = triple(call.op.rows, y);
        let [left, right, h] = triple(call.op.columns, x);
        let to = call.output.at(y, x, channels);
        for c in 0..channels {
            let at = |y: i32, x: i32| i64::from(arena[call.input.at(y as usize, x as usize, channels) + c]);
            let [v, h] = [i64::from(v), i64::from(h)];
            let sum = at(top, left) * (1024 - v) * (1024 - h)
                + at(bottom, left) * v * (1024 - h)
                + at(top, right) * (1024 - v) * h
                + at(bottom, right) * v * h;
            let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
            arena[to + c] = ((sum + half) / (1 << 20)) as i8;
        }
    });
}
