//! When a step is worth the caller's threads, and how it is cut into parts.
//!
//! Every number of an output is computed by itself, in an order that does not depend on the part it falls in.

use rayon::prelude::*;

/// Parts that a large step is cut into; fixed, so that the scratch of all parts can be set aside beforehand.
pub(super) const PARTS: usize = 16;

/// Elementary steps (a number read, combined and written in a vector) from which on waking threads pays: some 20 µs.
const WORTH: usize = 1 << 17;

/// Whether `items` that take `cost` elementary steps each are worth several threads.
pub(super) fn worth(items: usize, cost: usize) -> bool {
    items > 1 && items.saturating_mul(cost) >= WORTH && rayon::current_num_threads() > 1
}

/// Gives `output`, items of `width` numbers that take `cost` steps each, to `f` in parts, each with its first item.
pub(super) fn split(output: &mut [f32], width: usize, cost: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let items = output.len() / width;
    if !worth(items, cost) {
        return f(0, output);
    }
    let part = items.div_ceil(PARTS);
    output.par_chunks_mut(part * width).enumerate().for_each(|(i, output)| f(i * part, output));
}

/// As [`split`]; every part has `own` numbers of `scratch` to itself, which must have them for all [`PARTS`].
pub(super) fn split_with(
    output: &mut [f32],
    (width, cost): (usize, usize),
    (scratch, own): (&mut [f32], usize),
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let items = output.len() / width;
    if !worth(items, cost) {
        return f(0, output, &mut scratch[..own]);
    }
    let part = items.div_ceil(PARTS);
    let parts = output.par_chunks_mut(part * width).zip(scratch.par_chunks_mut(own)).enumerate();
    parts.for_each(|(i, (output, scratch))| f(i * part, output, scratch));
}
