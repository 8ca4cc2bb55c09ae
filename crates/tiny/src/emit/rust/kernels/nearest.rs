//! RESIZE_NEAREST_NEIGHBOR.

use super::place::{Arena, Call, Rows};

/// The pixel of the input for each row and column.
pub struct Sources {
    /// Of the rows.
    pub rows: &'static [u16],
    /// Of the columns.
    pub columns: &'static [u16],
}

/// A pixel of `bytes` is that of the input that the sources name.
#[inline(never)]
pub fn nearest(arena: &mut Arena, call: &Call<Sources>, rows: Rows, bytes: usize) {
    call.each_pixel(rows, |y, x| {
        let from = call.input.at(call.op.rows[y].into(), call.op.columns[x].into(), bytes);
        arena.copy_within(from..from + bytes, call.output.at(y, x, bytes));
    });
}
