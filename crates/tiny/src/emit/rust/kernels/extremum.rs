//! MAXIMUM and MINIMUM.

use super::pair::{each_pair, Pair};
use super::place::{Arena, Call, Rows};

/// The greater of two values if the operator says so, else the lesser.
#[inline(never)]
pub fn extremum(arena: &mut Arena, pair: &Pair, call: &Call<bool>, rows: Rows) {
    let greatest = *call.op;
    each_pair(arena, pair, call, rows, |a, b| if greatest { a.max(b) } else { a.min(b) });
}
