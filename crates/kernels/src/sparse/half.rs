//! Two of every four inputs, batch 1: eight rows together, and the window of four inputs needs no place of its own.
//!
//! Source: the 2:4 pattern of Mishra et al., *Accelerating sparse deep neural networks* (2021). Per window and eight rows two
//! steps: a permutation within four lanes, which takes the two lowest bits of each lane, and a fused multiply-add. 68 bytes
//! for sixteen values.

use super::linear::PART;
use super::nonzeros::NonZeros;

/// Rows of a group.
const ROWS: usize = 8;
/// Inputs of a window.
const WINDOW: usize = 4;
/// Non-zeros of a window and row, at most.
const KEPT: usize = 2;

/// Per group of rows all windows: two bits for the place of each lane and step, and the values.
#[derive(Debug, Clone)]
pub(super) struct Half {
    outputs: usize,
    windows: usize,
    codes: Vec<u32>,
    values: Vec<[[f32; ROWS]; KEPT]>,
    /// Whether a window had fewer than two.
    pub zeros: bool,
}

impl Half {
    /// Whether no window has more than two non-zeros.
    pub fn fits(rows: &NonZeros) -> bool {
        let crowded = |columns: &[u32]| columns[0] / WINDOW as u32 == columns[KEPT] / WINDOW as u32;
        (0..rows.outputs()).all(|row| !rows.row(row).0.windows(KEPT + 1).any(crowded))
    }

    /// How many windows it would take.
    pub fn count(rows: &NonZeros) -> usize {
        rows.outputs().div_ceil(ROWS) * rows.inputs.div_ceil(WINDOW)
    }

    pub fn pack(rows: &NonZeros) -> Self {
        let (outputs, windows) = (rows.outputs(), rows.inputs.div_ceil(WINDOW));
        let count = Self::count(rows);
        let mut this = Self {
            outputs,
            windows,
            codes: vec![0; count],
            values: vec![[[0.0; ROWS]; KEPT]; count],
            zeros: rows.count() != outputs * windows * KEPT,
        };
        for row in 0..outputs {
            let (lane, group) = (row % ROWS, row / ROWS);
            let (columns, values) = rows.row(row);
            let mut before = (usize::MAX, 0);
            for (&column, &value) in columns.iter().zip(values) {
                let window = group * windows + column as usize / WINDOW;
                let step = if before == (window, 0) { 1 } else { 0 };
                before = (window, step);
                this.codes[window] |= (column % WINDOW as u32) << (16 * step + 2 * lane);
                this.values[window][step][lane] = value;
            }
        }
        this
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        self.windows * WINDOW
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.codes) + size_of_val(&*self.values)
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for (at, (code, values)) in self.codes.iter().zip(&self.values).enumerate() {
            let (group, window) = (at / self.windows, at % self.windows);
            for (step, values) in values.iter().enumerate() {
                for (lane, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    let place = (code >> (16 * step + 2 * lane) & 3) as usize;
                    f(group * ROWS + lane, window * WINDOW + place, value);
                }
            }
        }
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32]) {
        debug_assert!(part * PART + y.len() <= self.outputs);
        let (x, _) = x[..self.reads()].as_chunks::<WINDOW>();
        for (group, y) in (part * (PART / ROWS)..).zip(y.chunks_mut(ROWS)) {
            let range = group * self.windows..(group + 1) * self.windows;
            let sums = sums(&self.codes[range.clone()], &self.values[range], x);
            y.copy_from_slice(&sums[..y.len()]);
        }
    }
}

fn sums(codes: &[u32], values: &[[[f32; ROWS]; KEPT]], x: &[[f32; WINDOW]]) -> [f32; ROWS] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the machine has AVX2 and FMA.
        return unsafe { sums_avx2(codes, values, x) };
    }
    sums_plain(codes, values, x)
}

/// Without vectors.
fn sums_plain(codes: &[u32], values: &[[[f32; ROWS]; KEPT]], x: &[[f32; WINDOW]]) -> [f32; ROWS] {
    let mut sums = [0.0; ROWS];
    for ((code, values), x) in codes.iter().zip(values).zip(x) {
        for step in 0..KEPT {
            for lane in 0..ROWS {
                sums[lane] += values[step][lane] * x[(code >> (16 * step + 2 * lane) & 3) as usize];
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sums_avx2(codes: &[u32], values: &[[[f32; ROWS]; KEPT]], x: &[[f32; WINDOW]]) -> [f32; ROWS] {
    use std::arch::x86_64::*;
    /// Windows side by side, so that no step waits for the one before.
    const SIDE: usize = 4;
    let (first, second) =
        (_mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14), _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30));
    let add = |code: u32, values: &[[f32; ROWS]; KEPT], x: &[f32; WINDOW], sum: __m256| {
        let code = _mm256_set1_epi32(code as i32);
        // SAFETY: four inputs and twice eight values are read where as many are.
        let (x, a, b) = unsafe {
            let four = _mm_loadu_ps(x.as_ptr());
            (_mm256_set_m128(four, four), _mm256_loadu_ps(values[0].as_ptr()), _mm256_loadu_ps(values[1].as_ptr()))
        };
        let sum = _mm256_fmadd_ps(_mm256_permutevar_ps(x, _mm256_srlv_epi32(code, first)), a, sum);
        _mm256_fmadd_ps(_mm256_permutevar_ps(x, _mm256_srlv_epi32(code, second)), b, sum)
    };
    let ((codes, codes_rest), (values, values_rest)) = (codes.as_chunks::<SIDE>(), values.as_chunks::<SIDE>());
    let (x, x_rest) = x.as_chunks::<SIDE>();
    let mut sums = [_mm256_setzero_ps(); SIDE];
    for ((codes, values), x) in codes.iter().zip(values).zip(x) {
        for i in 0..SIDE {
            sums[i] = add(codes[i], &values[i], &x[i], sums[i]);
        }
    }
    for ((&code, values), x) in codes_rest.iter().zip(values_rest).zip(x_rest) {
        sums[0] = add(code, values, x, sums[0]);
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut out = [0.0; ROWS];
    // SAFETY: eight numbers are written where eight are.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_equal_plain_loops() {
        for windows in [1, 3, 4, 25] {
            let codes: Vec<u32> = (0..windows).map(|i: u32| i.wrapping_mul(0x9e37_79b9)).collect();
            let value =
                |i: u32, step: u32| [0, 1, 2, 3, 4, 5, 6, 7].map(|lane| ((i * 17 + step * 8 + lane) as f32).sin());
            let values: Vec<_> = (0..windows).map(|i| [value(i, 0), value(i, 1)]).collect();
            let x: Vec<_> = (0..windows).map(|i| [0, 1, 2, 3].map(|k| ((4 * i + k) as f32).cos())).collect();
            let (a, b) = (sums(&codes, &values, &x), sums_plain(&codes, &values, &x));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }
}
