//! AVERAGE_POOL_2D and MAX_POOL_2D, over the taps on the image.

use super::filter::Window;
use super::fixed_point::Range;
use super::place::{settle, Arena, Call, Rows};

/// A pool.
pub struct Pool {
    /// Along the rows.
    pub rows: Window,
    /// Along the columns.
    pub columns: Window,
    /// Channels.
    pub channels: u16,
    /// Whether the greatest value is taken, and not the mean.
    pub greatest: bool,
    /// What the fused activation admits.
    pub range: Range,
}

/// The mean (ties away from zero) or the greatest of each window.
#[inline(never)]
pub fn pool(arena: &mut Arena, call: &Call<Pool>, rows: Rows) {
    let op = call.op;
    let channels = op.channels as usize;
    call.each_pixel(rows, |y, x| {
        let target = call.target(y, x, channels);
        let [top, bottom] = op.rows.taps(y);
        let [left, right] = op.columns.taps(x);
        let count = ((bottom - top) * (right - left)) as i32;
        for i in 0..channels {
            let c = if call.backward { channels - 1 - i } else { i };
            let mut total = if op.greatest { i32::from(i8::MIN) } else { 0 };
            for ky in top..bottom {
                for kx in left..right {
                    let from = call.input.at(op.rows.position(y, ky), op.columns.position(x, kx), channels);
                    let value = i32::from(arena[from + c]);
                    total = if op.greatest { total.max(value) } else { total + value };
                }
            }
            if !op.greatest {
                let half = count / 2;
                total = (total + if total > 0 { half } else { -half }) / count;
            }
            arena[target[0] + c] = op.range.clamp(total);
        }
        settle(arena, target, channels);
    });
}
