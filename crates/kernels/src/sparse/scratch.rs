//! Memory that a thread keeps between calls, so that a kernel that runs a thousand times a second asks for none.

use std::cell::Cell;

/// On a cache line, so that no aligned vector lies on two.
const LINE: usize = 16;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Gives `len` numbers of any value, aligned to a cache line.
///
/// They are taken out of the thread while in use: a kernel that runs within another (rayon steals) gets memory of its own.
pub(super) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut kept = KEPT.take();
    if kept.len() < len + LINE {
        kept = vec![0.0; len + LINE];
    }
    let start = kept.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut kept[start..start + len]);
    KEPT.set(kept);
    result
}
