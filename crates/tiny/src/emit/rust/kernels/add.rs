//! ADD and SUB.

use super::pair::{each_pair, Pair};
use super::place::{Arena, Call, Rows};
use super::sum::Sum;

/// Sums or differences.
#[inline(never)]
pub fn add(arena: &mut Arena, pair: &Pair, call: &Call<Sum>, rows: Rows) {
    each_pair(arena, pair, call, rows, |a, b| call.op.value(a, b));
}
