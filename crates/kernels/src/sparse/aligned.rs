//! Numbers that begin on a cache line: a vector of 64 bytes that begins elsewhere lies on two, and takes twice as long to load.

use std::ops::Deref;

use pulp::bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};

/// Numbers of a cache line.
const LINE: usize = 16;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

// SAFETY: sixteen numbers and no padding; all bits 0 are numbers.
unsafe impl Zeroable for Line {}
// SAFETY: as above; any bits are numbers.
unsafe impl Pod for Line {}

/// Numbers of vectors of `N`, the first on a cache line.
#[derive(Debug, Clone)]
pub(super) struct Aligned<const N: usize> {
    lines: Vec<Line>,
    vectors: usize,
}

impl<const N: usize> From<&[[f32; N]]> for Aligned<N> {
    fn from(vectors: &[[f32; N]]) -> Self {
        let numbers = vectors.as_flattened();
        let mut lines = vec![Line([0.0; LINE]); numbers.len().div_ceil(LINE)];
        cast_slice_mut(&mut lines)[..numbers.len()].copy_from_slice(numbers);
        Self { lines, vectors: vectors.len() }
    }
}

impl<const N: usize> Deref for Aligned<N> {
    type Target = [[f32; N]];

    fn deref(&self) -> &[[f32; N]] {
        &cast_slice(&self.lines).as_chunks().0[..self.vectors]
    }
}
