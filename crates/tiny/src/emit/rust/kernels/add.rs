//! ADD and SUB.

use super::pair::{Pair, each_pair};
use super::place::{Arena, Call};
use super::sum::Sum;

/// Sums or differences.
#[inline(never)]
pub fn add(arena: &mut Arena, op: &Pair, call: &Call, sum: &Sum) {
    each_pair(arena, op, call, |a, b| sum.value(a, b));
}
