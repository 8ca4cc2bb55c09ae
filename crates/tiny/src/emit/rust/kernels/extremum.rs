//! MAXIMUM and MINIMUM.

use super::pair::{Pair, each_pair};
use super::place::{Arena, Call};

/// The greater or the lesser of two values.
#[inline(never)]
pub fn extremum(arena: &mut Arena, op: &Pair, call: &Call, greatest: bool) {
    each_pair(arena, op, call, |a, b| if greatest { a.max(b) } else { a.min(b) });
}
