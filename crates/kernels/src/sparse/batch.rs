//! Many rows of x, a non-zero at a time: its value times a vector of rows.
//!
//! x is transposed to `[inputs][rows]`, in tiles as wide as a few registers; the sums of an output stay in them while its
//! non-zeros run by, each of which costs a broadcast, and a load and a fused multiply-add per register. So that these loads
//! come from the first cache, inputs are taken in blocks of 128 (whose places fit one byte: 5 bytes a non-zero).

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::ending::Ending;
use super::linear::{PART, SparseLinear, WORTH_THREADS};
use super::transpose::{Pitched, transpose};
use super::{cost, scratch};

/// Inputs of a block: with tiles of 32 rows 16 kB, half of a first cache.
pub(super) const BLOCK: usize = 128;
/// Registers of a tile, at most.
const WIDE: usize = 4;

/// Non-zeros by part of the outputs, block of the inputs, and output.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    outputs: usize,
    inputs: usize,
    /// Per part, block and row; every part has the same number of rows, the last ones empty.
    ends: Vec<u32>,
    columns: Vec<u8>,
    values: Vec<f32>,
}

impl Batch {
    pub fn pack(matrix: &SparseLinear) -> Self {
        let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
        let blocks = inputs.div_ceil(BLOCK);
        let mut all = Vec::with_capacity(matrix.nonzeros());
        matrix.each(|row, column, value| {
            let line = (row / PART * blocks + column / BLOCK) * PART + row % PART;
            all.push((line as u32, (column % BLOCK) as u8, value));
        });
        all.sort_unstable_by_key(|&(line, column, _)| (line, column));
        let mut ends = vec![0; outputs.div_ceil(PART) * blocks * PART];
        for &(line, _, _) in &all {
            ends[line as usize] += 1;
        }
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        let columns = all.iter().map(|&(_, column, _)| column).collect();
        let values = all.iter().map(|&(_, _, value)| value).collect();
        Self { outputs, inputs, ends, columns, values }
    }

    /// As [`SparseLinear::run`].
    pub fn run(&self, x: &[f32], batch: usize, bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        let lanes = Arch::new().dispatch(Lanes);
        let (inputs, outputs) = (self.inputs, self.outputs);
        if inputs == 0 {
            y.fill(0.0);
            return y.chunks_exact_mut(outputs.max(1)).for_each(|y| ending.after(bias, y));
        }
        let (wide, padded) = (WIDE * lanes, batch.next_multiple_of(lanes));
        let alone = rayon::current_num_threads() == 1
            || cost::many_rows((outputs, inputs), batch, self.values.len()) < WORTH_THREADS;
        scratch::with(padded * (inputs + outputs), |memory| {
            let (across, sums) = memory.split_at_mut(padded * inputs);
            let fill = |(x, across): (&[f32], &mut [f32])| {
                let rows = x.len() / inputs;
                let width = across.len() / inputs;
                let (from, to) = (Pitched { data: x, pitch: inputs }, Pitched { data: &mut *across, pitch: width });
                transpose(from, (rows, inputs), to);
                if rows < width {
                    across.chunks_exact_mut(width).for_each(|row| row[rows..].fill(0.0));
                }
            };
            // The part of tile t, and its numbers.
            let tile = |index: usize, across: &[f32], sums: &mut [f32]| {
                let parts = outputs.div_ceil(PART);
                let (tile, part) = (index / parts, index % parts);
                let width = wide.min(padded - tile * wide);
                let x = &across[tile * wide * inputs..][..width * inputs];
                Arch::new().dispatch(Product { batch: self, part, x, width, bias, ending, sums });
            };
            let back = |(sums, y): (&[f32], &mut [f32])| {
                let rows = y.len() / outputs;
                let width = sums.len() / outputs;
                let (from, to) = (Pitched { data: sums, pitch: width }, Pitched { data: y, pitch: outputs });
                transpose(from, (outputs, rows), to);
            };
            if alone {
                x.chunks(wide * inputs).zip(across.chunks_mut(wide * inputs)).for_each(fill);
                let mut index = 0;
                for of_tile in sums.chunks_mut(wide * outputs) {
                    let width = of_tile.len() / outputs;
                    for sums in of_tile.chunks_mut(width * PART) {
                        tile(index, across, sums);
                        index += 1;
                    }
                }
                sums.chunks(wide * outputs).zip(y.chunks_mut(wide * outputs)).for_each(back);
            } else {
                x.par_chunks(wide * inputs).zip(across.par_chunks_mut(wide * inputs)).for_each(fill);
                let across = &*across;
                sums.par_chunks_mut(wide * outputs).enumerate().for_each(|(at, of_tile)| {
                    let width = of_tile.len() / outputs;
                    of_tile.par_chunks_mut(width * PART).enumerate().for_each(|(part, sums)| {
                        tile(at * outputs.div_ceil(PART) + part, across, sums);
                    });
                });
                sums.par_chunks(wide * outputs).zip(y.par_chunks_mut(wide * outputs)).for_each(back);
            }
        });
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// The outputs of a part for a tile of rows.
struct Product<'a> {
    batch: &'a Batch,
    part: usize,
    x: &'a [f32],
    width: usize,
    bias: Option<&'a [f32]>,
    ending: Ending,
    sums: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.width / S::F32_LANES {
            1 => self.run::<S, 1, 4>(simd),
            2 => self.run::<S, 2, 4>(simd),
            3 => self.run::<S, 3, 2>(simd),
            _ => self.run::<S, WIDE, 2>(simd),
        }
    }
}

impl Product<'_> {
    /// N registers of rows; U non-zeros side by side, so that no sum waits for the one before.
    #[inline(always)]
    fn run<S: Simd, const N: usize, const U: usize>(self, simd: S) {
        let Self { batch, part, x, width, bias, ending, sums } = self;
        let blocks = batch.inputs.div_ceil(BLOCK);
        let rows = sums.len() / width;
        let (sums, _) = S::as_mut_simd_f32s(sums);
        let (sums, _) = sums.as_chunks_mut::<N>();
        for block in 0..blocks {
            let (x, _) = S::as_simd_f32s(&x[block * BLOCK * width..]);
            let (x, _) = x.as_chunks::<N>();
            let lines = (part * blocks + block) * PART;
            let mut start = if lines == 0 { 0 } else { batch.ends[lines - 1] as usize };
            for row in 0..rows {
                let end = batch.ends[lines + row] as usize;
                let (columns, values) = (&batch.columns[start..end], &batch.values[start..end]);
                start = end;
                let mut side = [[simd.splat_f32s(0.0); N]; U];
                if block > 0 {
                    side[0] = sums[row];
                } else if let Some(bias) = bias {
                    side[0] = [simd.splat_f32s(bias[part * PART + row]); N];
                }
                let ((columns, columns_rest), (values, values_rest)) =
                    (columns.as_chunks::<U>(), values.as_chunks::<U>());
                for (columns, values) in columns.iter().zip(values) {
                    for u in 0..U {
                        // SAFETY: packing took the column from the block's inputs, which x has.
                        let x = unsafe { x.get_unchecked(usize::from(columns[u])) };
                        let value = simd.splat_f32s(values[u]);
                        for n in 0..N {
                            side[u][n] = simd.mul_add_e_f32s(value, x[n], side[u][n]);
                        }
                    }
                }
                for (column, value) in columns_rest.iter().zip(values_rest) {
                    let (x, value) = (&x[usize::from(*column)], simd.splat_f32s(*value));
                    for n in 0..N {
                        side[0][n] = simd.mul_add_e_f32s(value, x[n], side[0][n]);
                    }
                }
                for n in 0..N {
                    let mut sum = side[0][n];
                    for other in &side[1..] {
                        sum = simd.add_f32s(sum, other[n]);
                    }
                    sums[row][n] = if block + 1 == blocks { ending.of_vector(simd, sum) } else { sum };
                }
            }
        }
    }
}
