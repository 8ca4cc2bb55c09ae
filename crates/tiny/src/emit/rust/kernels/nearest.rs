//! RESIZE_NEAREST_NEIGHBOR.

use super::place::{Arena, Call};

/// Pixel (`y`, `x`) is pixel (`rows[y]`, `columns[x]`) of the input, of `bytes`.
#[inline(never)]
pub fn nearest(arena: &mut Arena, rows: &[u16], columns: &[u16], call: &Call, bytes: usize) {
    call.each_pixel(|y, x| {
        let from = call.input.at(rows[y].into(), columns[x].into(), bytes);
        arena.copy_within(from..from + bytes, call.output.at(y, x, bytes));
    });
}
