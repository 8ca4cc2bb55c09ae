//! Operators that only move bytes.

use super::place::Arena;

/// A strided copy of runs of bytes.
pub struct Copies {
    /// Bytes copied at each position.
    pub bytes: usize,
    /// How many positions along each axis.
    pub shape: &'static [u16],
    /// First byte read, in the arena or in Flash, and the step along each axis.
    pub from: (usize, &'static [i32]),
    /// First byte written, and the step along each axis.
    pub to: (usize, &'static [i32]),
}

impl Copies {
    /// Calls `copy(from, to)` for each position.
    fn each(&self, mut copy: impl FnMut(usize, usize)) {
        let count: usize = self.shape.iter().map(|&n| n as usize).product();
        for i in 0..count {
            let at = |(first, steps): (usize, &[i32])| {
                let (mut i, mut at) = (i, first as i32);
                for (&n, &step) in self.shape.iter().zip(steps).rev() {
                    at += (i % n as usize) as i32 * step;
                    i /= n as usize;
                }
                at as usize
            };
            copy(at(self.from), at(self.to));
        }
    }
}

/// Within the arena.
#[inline(never)]
pub fn copies(arena: &mut Arena, op: &Copies) {
    op.each(|from, to| arena.copy_within(from..from + op.bytes, to));
}

/// From Flash.
#[inline(never)]
pub fn copies_of(arena: &mut Arena, data: &[i8], op: &Copies) {
    op.each(|from, to| arena[to..to + op.bytes].copy_from_slice(&data[from..from + op.bytes]));
}

/// Writes `pattern` over and over.
#[inline(never)]
pub fn fill(arena: &mut Arena, from: usize, bytes: usize, pattern: &[i8]) {
    for (i, byte) in arena[from..from + bytes].iter_mut().enumerate() {
        *byte = pattern[i % pattern.len()];
    }
}
