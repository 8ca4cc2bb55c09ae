//! Where images lie in the arena, and in which order their pixels are computed.

use crate::{Coordinate, Offset, ARENA_BYTES};

/// The one memory for everything that lives.
pub type Arena = [i8; ARENA_BYTES];

/// Rows of an output, the end exclusive.
pub type Rows = [Coordinate; 2];

/// The part of an image that the arena holds, `ring` rows at once. What is no image is one pixel.
pub struct Place {
    /// Start in the arena.
    pub offset: Offset,
    /// First row.
    pub row: Coordinate,
    /// First column.
    pub column: Coordinate,
    /// Columns.
    pub width: Coordinate,
    /// Rows kept at once.
    pub ring: Coordinate,
}

impl Place {
    /// Where pixel (`y`, `x`) lies, of `pixel` bytes.
    #[inline]
    pub fn at(&self, y: usize, x: usize, pixel: usize) -> usize {
        let row = (y - self.row as usize) % self.ring as usize;
        self.offset as usize + (row * self.width as usize + x - self.column as usize) * pixel
    }
}

/// An operator at its place. Calls that differ in their rows alone share it.
pub struct Call<Operator: 'static> {
    /// What is computed.
    pub op: &'static Operator,
    /// Columns of the output, the end exclusive.
    pub columns: [Coordinate; 2],
    /// What is read.
    pub input: Place,
    /// What is written.
    pub output: Place,
    /// Where a pixel is put together before it is copied, because it lies in its own window.
    pub scratch: Option<Offset>,
    /// Whether the last pixel and the last channel come first.
    pub backward: bool,
}

impl<Operator> Call<Operator> {
    /// Calls `compute(y, x)` for each pixel of `rows`, the end exclusive, in order.
    #[inline(always)]
    pub fn each_pixel(&self, rows: Rows, mut compute: impl FnMut(usize, usize)) {
        let [top, bottom] = rows.map(|y| y as usize);
        let [left, right] = self.columns.map(|x| x as usize);
        for i in 0..bottom - top {
            let y = if self.backward { bottom - 1 - i } else { top + i };
            for j in 0..right - left {
                let x = if self.backward { right - 1 - j } else { left + j };
                compute(y, x);
            }
        }
    }

    /// Calls `compute(first channel, how many)` for blocks of four channels and the rest one by one, in order. A block is
    /// read before it is written.
    #[inline(always)]
    pub fn each_block(&self, channels: usize, mut compute: impl FnMut(usize, usize)) {
        let fours = channels / 4;
        let steps = fours + channels % 4;
        for i in 0..steps {
            let i = if self.backward { steps - 1 - i } else { i };
            if i < fours {
                compute(4 * i, 4);
            } else {
                compute(3 * fours + i, 1);
            }
        }
    }

    /// Where a pixel of `bytes` is written first, and where it belongs.
    #[inline]
    pub fn target(&self, y: usize, x: usize, bytes: usize) -> [usize; 2] {
        let to = self.output.at(y, x, bytes);
        [self.scratch.map_or(to, |s| s as usize), to]
    }
}

/// Copies a pixel that was put together elsewhere.
#[inline]
pub fn settle(arena: &mut Arena, [from, to]: [usize; 2], bytes: usize) {
    if from != to {
        arena.copy_within(from..from + bytes, to);
    }
}
