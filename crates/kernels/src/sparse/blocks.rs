//! Non-zeros in blocks of eight, batch 1 (BCSR): nothing is gathered.
//!
//! A tall block, 8 outputs of one input, is a broadcast times a vector; a flat one, 8 inputs of one output, a vector times a
//! vector. Both run as fast as their values come from memory, at 36 bytes for eight.

use super::linear::PART;
use super::nonzeros::NonZeros;

/// Numbers of a block.
pub(super) const SIZE: usize = 8;

/// How blocks lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// 8x1: eight outputs, from a multiple of 8 on.
    Tall,
    /// 1x8: eight inputs, from a multiple of 8 on.
    Flat,
}

/// Blocks by groups of eight rows (tall), or by rows (flat).
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    shape: Shape,
    outputs: usize,
    inputs: usize,
    ends: Vec<u32>,
    /// The (first) input of each block.
    at: Vec<u32>,
    values: Vec<[f32; SIZE]>,
    /// Whether a number of a block was absent.
    pub zeros: bool,
}

/// The blocks of a group (tall) or row (flat) that are not empty, ascending.
fn places(rows: &NonZeros, shape: Shape, line: usize) -> Vec<u32> {
    let mut at: Vec<u32> = match shape {
        Shape::Tall => (line * SIZE..(line + 1) * SIZE).flat_map(|row| rows.row(row).0).copied().collect(),
        Shape::Flat => rows.row(line).0.iter().map(|column| column / SIZE as u32 * SIZE as u32).collect(),
    };
    at.sort_unstable();
    at.dedup();
    at
}

fn lines(rows: &NonZeros, shape: Shape) -> usize {
    match shape {
        Shape::Tall => rows.outputs().div_ceil(SIZE),
        Shape::Flat => rows.outputs(),
    }
}

impl Blocks {
    /// How many blocks it would take.
    pub fn count(rows: &NonZeros, shape: Shape) -> usize {
        (0..lines(rows, shape)).map(|line| places(rows, shape, line).len()).sum()
    }

    pub fn pack(rows: &NonZeros, shape: Shape) -> Self {
        let (outputs, inputs) = (rows.outputs(), rows.inputs);
        let mut this =
            Self { shape, outputs, inputs, ends: Vec::new(), at: Vec::new(), values: Vec::new(), zeros: false };
        let mut present = 0;
        for line in 0..lines(rows, shape) {
            let at = places(rows, shape, line);
            let first = this.values.len();
            this.values.resize(first + at.len(), [0.0; SIZE]);
            let members = match shape {
                Shape::Tall => line * SIZE..(line + 1) * SIZE,
                Shape::Flat => line..line + 1,
            };
            for (lane, row) in members.enumerate() {
                let (columns, values) = rows.row(row);
                for (&column, &value) in columns.iter().zip(values) {
                    let (start, lane) = match shape {
                        Shape::Tall => (column, lane),
                        Shape::Flat => (column / SIZE as u32 * SIZE as u32, column as usize % SIZE),
                    };
                    let block = at.partition_point(|&place| place < start);
                    this.values[first + block][lane] = value;
                }
            }
            // Lanes beyond the last row are no zeros of the matrix.
            let height = if shape == Shape::Tall { SIZE.min(outputs - line * SIZE) } else { SIZE };
            present += at.len() * height;
            this.at.extend(at);
            this.ends.push(this.values.len() as u32);
        }
        this.zeros = present != rows.count();
        this
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        if self.shape == Shape::Flat { self.inputs.next_multiple_of(SIZE) } else { self.inputs }
    }

    pub fn name(&self) -> &'static str {
        if self.shape == Shape::Tall { "8x1" } else { "1x8" }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.at) + size_of_val(&*self.values)
    }

    fn range(&self, line: usize) -> std::ops::Range<usize> {
        let start = if line == 0 { 0 } else { self.ends[line - 1] };
        start as usize..self.ends[line] as usize
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for line in 0..self.ends.len() {
            for block in self.range(line) {
                for (lane, &value) in self.values[block].iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    let at = self.at[block] as usize;
                    match self.shape {
                        Shape::Tall => f(line * SIZE + lane, at, value),
                        Shape::Flat => f(line, at + lane, value),
                    }
                }
            }
        }
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32]) {
        assert!(x.len() >= self.reads(), "x is as long as it reads");
        debug_assert!(part * PART + y.len() <= self.outputs);
        match self.shape {
            Shape::Tall => {
                for (line, y) in (part * (PART / SIZE)..).zip(y.chunks_mut(SIZE)) {
                    y.copy_from_slice(&self.sums(line, x)[..y.len()]);
                }
            }
            Shape::Flat => {
                for (line, y) in (part * PART..).zip(y) {
                    *y = self.sums(line, x)[0];
                }
            }
        }
    }

    /// The eight sums of a group of rows; or the sum of a row, first.
    fn sums(&self, line: usize, x: &[f32]) -> [f32; SIZE] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let (at, values) = (&self.at[self.range(line)], &self.values[self.range(line)]);
            // SAFETY: the machine has AVX2 and FMA; x is as long as the blocks read, as `run` asserts.
            return unsafe {
                match self.shape {
                    Shape::Tall => sums_avx2::<true>(at, values, x),
                    Shape::Flat => sums_avx2::<false>(at, values, x),
                }
            };
        }
        self.sums_plain(line, x)
    }

    /// Without vectors.
    fn sums_plain(&self, line: usize, x: &[f32]) -> [f32; SIZE] {
        let (at, values) = (&self.at[self.range(line)], &self.values[self.range(line)]);
        let mut sums = [0.0; SIZE];
        for (&at, values) in at.iter().zip(values) {
            for (lane, value) in values.iter().enumerate() {
                match self.shape {
                    Shape::Tall => sums[lane] += value * x[at as usize],
                    Shape::Flat => sums[0] += value * x[at as usize + lane],
                }
            }
        }
        sums
    }
}

/// # Safety
/// Every block's inputs are in x.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn sums_avx2<const TALL: bool>(at: &[u32], values: &[[f32; SIZE]], x: &[f32]) -> [f32; SIZE] {
    use std::arch::x86_64::*;
    /// Sums side by side, so that no block waits for the one before.
    const SIDE: usize = 4;
    let add = |at: u32, values: &[f32; SIZE], sum: __m256| {
        // SAFETY: the block's inputs are in x, and eight values where eight are read.
        unsafe {
            let x = x.as_ptr().add(at as usize);
            let x = if TALL { _mm256_broadcast_ss(&*x) } else { _mm256_loadu_ps(x) };
            _mm256_fmadd_ps(x, _mm256_loadu_ps(values.as_ptr()), sum)
        }
    };
    let ((places, places_rest), (blocks, blocks_rest)) = (at.as_chunks::<SIDE>(), values.as_chunks::<SIDE>());
    let mut sums = [_mm256_setzero_ps(); SIDE];
    for (at, values) in places.iter().zip(blocks) {
        for i in 0..SIDE {
            sums[i] = add(at[i], &values[i], sums[i]);
        }
    }
    for (i, (&at, values)) in places_rest.iter().zip(blocks_rest).enumerate() {
        sums[i] = add(at, values, sums[i]);
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut out = [0.0; SIZE];
    if TALL {
        // SAFETY: eight numbers are written where eight are.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
    } else {
        out[0] = total(sum);
    }
    out
}

/// Sum of the eight lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn total(sum: std::arch::x86_64::__m256) -> f32 {
    use std::arch::x86_64::*;
    let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_equal_plain_loops() {
        let (outputs, inputs) = (20, 104);
        let w: Vec<f32> = (0..outputs * inputs).map(|i| if i * i % 7 < 2 { (i as f32).sin() } else { 0.0 }).collect();
        let x: Vec<f32> = (0..inputs).map(|i| (i as f32).cos()).collect();
        for shape in [Shape::Tall, Shape::Flat] {
            let packed = Blocks::pack(&NonZeros::of(&w, outputs, inputs), shape);
            for line in 0..packed.ends.len() {
                let (a, b) = (packed.sums(line, &x), packed.sums_plain(line, &x));
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
    }
}
