//! One value from one value, looked up.

use super::place::{Arena, Call};

/// `table[x]`, x taken as unsigned; `bytes` of a pixel.
#[inline(never)]
pub fn table(arena: &mut Arena, table: &[i8; 256], call: &Call, bytes: usize) {
    call.each_pixel(|y, x| {
        let from = call.input.at(y, x, bytes);
        let to = call.output.at(y, x, bytes);
        for i in 0..bytes {
            let i = if call.backward { bytes - 1 - i } else { i };
            arena[to + i] = table[usize::from(arena[from + i] as u8)];
        }
    });
}
