//! Rows laid out as the products read them, every vector on its own cache line.
//!
//! | layout | for | order |
//! | --- | --- | --- |
//! | columns | the vectors of a product along rows: scores of 2 vectors of keys at once | `[width][rows]` |
//! | groups | the vectors of a product along the width: P V | `[group of 2 vectors][row][vectors of the group]` |
//! | blocks | the factor that is broadcast | `[block of rows][width][row of the block]` |
//!
//! Gathering is copying: O(keys · width), against O(keys · width · queries) of arithmetic on what was gathered.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::product::block;
use super::shape::Tensor;
use super::storage::Storage;
use crate::sparse::transpose::{Pitched, transpose};
use crate::training::tile::VECTORS;

/// The vectors of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    /// Numbers of a vector.
    pub lanes: usize,
    /// Rows of a register tile, at most.
    pub rows: usize,
}

impl Machine {
    pub fn of(arch: Arch) -> Self {
        arch.dispatch(Ask)
    }

    /// Keys of a panel: two vectors.
    pub fn panel(&self) -> usize {
        VECTORS * self.lanes
    }

    /// A width with its padding to whole vectors.
    pub fn padded(&self, width: usize) -> usize {
        width.next_multiple_of(self.lanes)
    }
}

struct Ask;

impl WithSimd for Ask {
    type Output = Machine;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Machine {
        Machine { lanes: S::F32_LANES, rows: super::product::rows::<S>() }
    }
}

/// Some rows of a head, in any order.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T = f32> {
    pub tensor: Tensor<'a, T>,
    pub place: (usize, usize),
    pub width: usize,
    /// The row at each position; `None` if it is the position.
    pub order: Option<&'a [u32]>,
}

impl<'a, T> Rows<'a, T> {
    pub fn at(&self, position: usize) -> &'a [T] {
        self.tensor.row(self.place, row_at(self.order, position), self.width)
    }
}

/// The row at a position.
pub(super) fn row_at(order: Option<&[u32]>, position: usize) -> usize {
    order.map_or(position, |order| order[position] as usize)
}

/// Columns of the rows at `positions`, in `vectors` vectors of `lanes` numbers; those beyond the rows are 0. `stage` holds the
/// rows in between.
pub(crate) fn columns<T: Storage>(
    rows: &Rows<'_, T>,
    positions: Range<usize>,
    padded: usize,
    stage: &mut [f32],
    to: &mut [f32],
) {
    let (count, width) = (positions.len(), rows.width);
    for (position, stage) in positions.zip(stage.chunks_exact_mut(width)) {
        T::widen(rows.at(position), stage);
    }
    let from = Pitched { data: &stage[..count * width], pitch: width };
    let to = &mut to[..width * padded];
    transpose(from, (count, width), Pitched { data: &mut *to, pitch: padded });
    if count < padded {
        to.chunks_exact_mut(padded).for_each(|column| column[count..].fill(0.0));
    }
}

/// Groups of the rows at `positions`, for `capacity` rows of which the rest is left as it is. The padding of the width is 0.
pub(super) fn groups<T: Storage>(
    rows: &Rows<'_, T>,
    positions: Range<usize>,
    capacity: usize,
    lanes: usize,
    to: &mut [f32],
) {
    for (i, position) in positions.enumerate() {
        let row = rows.at(position);
        for (group, row) in row.chunks(VECTORS * lanes).enumerate() {
            let vectors = row.len().div_ceil(lanes);
            let to = &mut to[group * capacity * VECTORS * lanes + i * vectors * lanes..][..vectors * lanes];
            T::widen(row, &mut to[..row.len()]);
            to[row.len()..].fill(0.0);
        }
    }
}

/// Blocks of the rows at `positions`, times `scale`, of at most `most` rows each. `stage` holds the rows in between.
pub(crate) fn blocks<T: Storage>(
    rows: &Rows<'_, T>,
    positions: Range<usize>,
    scale: f32,
    most: usize,
    stage: &mut [f32],
    to: &mut [f32],
) {
    let (count, width) = (positions.len(), rows.width);
    for index in 0..count.div_ceil(most) {
        let (first, height) = block(count, index, most);
        let stage = &mut stage[..height * width];
        for (i, stage) in stage.chunks_exact_mut(width).enumerate() {
            T::widen(rows.at(positions.start + first + i), stage);
            stage.iter_mut().for_each(|x| *x *= scale);
        }
        let to = Pitched { data: &mut to[first * width..][..height * width], pitch: height };
        transpose(Pitched { data: &*stage, pitch: width }, (height, width), to);
    }
}

/// Makes row `i` of `count` in blocks 0.
pub(super) fn clear_in_blocks(i: usize, (count, width): (usize, usize), most: usize, blocks: &mut [f32]) {
    let spans = (0..count.div_ceil(most)).map(|index| block(count, index, most));
    for (first, height) in spans.filter(|(first, height)| (*first..first + height).contains(&i)) {
        let of_block = &mut blocks[first * width..][..height * width];
        of_block[i - first..].iter_mut().step_by(height).for_each(|x| *x = 0.0);
    }
}

/// Gives `[block][group][row of the block][vectors]` in pieces: the row, its first column, and what is there of `width`.
pub(super) fn each_of_blocks(
    sums: &[f32],
    (count, width): (usize, usize),
    machine: Machine,
    mut piece: impl FnMut(usize, usize, &[f32]),
) {
    let (padded, whole) = (machine.padded(width), VECTORS * machine.lanes);
    for index in 0..count.div_ceil(machine.rows) {
        let (first, height) = block(count, index, machine.rows);
        let of_block = &sums[first * padded..][..height * padded];
        for i in 0..height {
            for column in (0..width).step_by(whole) {
                let some = whole.min(width - column);
                let from = column * height + i * machine.padded(some);
                piece(first + i, column, &of_block[from..][..some]);
            }
        }
    }
}
