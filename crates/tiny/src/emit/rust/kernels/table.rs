//! One value from one value, looked up.

use super::place::{Arena, Call, Rows};

/// `table[x]`, x taken as unsigned; `bytes` of a pixel.
#[inline(never)]
pub fn table(arena: &mut Arena, call: &Call<[i8; 256]>, rows: Rows, bytes: usize) {
    call.each_pixel(rows, |y, x| {
        let from = call.input.at(y, x, bytes);
        let to = call.output.at(y, x, bytes);
        for i in 0..bytes {
            let i = if call.backward { bytes - 1 - i } else { i };
            arena[to + i] = call.op[usize::from(arena[from + i] as u8)];
        }
    });
}
