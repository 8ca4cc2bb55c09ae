//! Where tensors lie while they live: the largest first, each at the lowest place that is free.
//!
//! What serves here is that memory is reused while the caches hold it; least memory is the matter of a plan (`tiny`).

use std::ops::Range;

/// Offsets are multiples of a line of the cache.
const ALIGN: usize = 64;
/// More tensors than real networks have get a place each: looking for free ones takes the square of their number.
const MANY: usize = 1 << 14;

/// Offsets of the tensors that live, and the bytes of it all.
pub(crate) fn first_fit(lives: &[Option<Range<usize>>], sizes: &[usize]) -> (Vec<Option<usize>>, usize) {
    let mut order: Vec<usize> = (0..lives.len()).filter(|&t| lives[t].is_some()).collect();
    order.sort_by_key(|&t| (std::cmp::Reverse(sizes[t]), t));
    let mut offsets = vec![None; lives.len()];
    if order.len() > MANY {
        let mut end = 0;
        for t in order {
            offsets[t] = Some(end);
            end = (end + sizes[t]).next_multiple_of(ALIGN);
        }
        return (offsets, end);
    }
    let mut placed: Vec<usize> = Vec::new();
    let mut end = 0;
    for t in order {
        let Some(life) = &lives[t] else { continue };
        let meets = |&other: &usize| lives[other].as_ref().is_some_and(|o| o.start < life.end && life.start < o.end);
        let mut taken: Vec<Range<usize>> = placed
            .iter()
            .copied()
            .filter(meets)
            .map(|o| offsets[o].unwrap_or(0)..offsets[o].unwrap_or(0) + sizes[o])
            .collect();
        taken.sort_by_key(|range| range.start);
        let mut at = 0usize;
        for range in taken {
            if at + sizes[t] <= range.start {
                break;
            }
            at = at.max(range.end.next_multiple_of(ALIGN));
        }
        offsets[t] = Some(at);
        end = end.max(at + sizes[t]);
        placed.push(t);
    }
    (offsets, end)
}
