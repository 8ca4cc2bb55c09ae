//! Few scattered non-zeros, batch 1: row by row, each reads its inputs where they are (CSR).
//!
//! It stores no zeros at all: 6 bytes a non-zero, the fewest of all layouts. Eight inputs are gathered by eight loads, which
//! on Zen 3 is faster than its gather instruction (2.2 against 1.9 non-zeros a nanosecond).

use super::linear::PART;
use super::nonzeros::NonZeros;

/// How far ahead, in bytes of values, memory is asked for: over the end of a page, where the machine's own prefetching
/// stops.
const AHEAD: usize = 4096;

/// Columns, in two bytes where they fit.
#[derive(Debug, Clone)]
enum Columns {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

/// Non-zeros by rows.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    inputs: usize,
    ends: Vec<u32>,
    columns: Columns,
    values: Vec<f32>,
}

impl Gathered {
    pub fn pack(rows: &NonZeros) -> Self {
        let (mut ends, mut all, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.outputs() {
            let (columns, row) = rows.row(row);
            all.extend_from_slice(columns);
            values.extend_from_slice(row);
            ends.push(values.len() as u32);
        }
        let columns = if rows.inputs <= 1 << 16 {
            Columns::Narrow(all.iter().map(|&column| column as u16).collect())
        } else {
            Columns::Wide(all)
        };
        Self { inputs: rows.inputs, ends, columns, values }
    }

    pub fn bytes(&self) -> usize {
        let columns = match &self.columns {
            Columns::Narrow(columns) => size_of_val(&**columns),
            Columns::Wide(columns) => size_of_val(&**columns),
        };
        size_of_val(&*self.ends) + columns + size_of_val(&*self.values)
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        start as usize..self.ends[row] as usize
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for row in 0..self.ends.len() {
            for k in self.range(row) {
                let column = match &self.columns {
                    Columns::Narrow(columns) => usize::from(columns[k]),
                    Columns::Wide(columns) => columns[k] as usize,
                };
                f(row, column, self.values[k]);
            }
        }
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32]) {
        assert!(x.len() >= self.inputs, "x is as long as it reads");
        for (row, y) in (part * PART..).zip(y) {
            let range = self.range(row);
            let values = &self.values[range.clone()];
            *y = match &self.columns {
                Columns::Narrow(columns) => sum(&columns[range], values, x),
                Columns::Wide(columns) => sum(&columns[range], values, x),
            };
        }
    }
}

fn sum<C: Copy + Into<u32>>(columns: &[C], values: &[f32], x: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the machine has AVX2 and FMA; x has all columns, as `run` asserts and packing ensures.
        return unsafe { sum_avx2(columns, values, x) };
    }
    sum_plain(columns, values, x)
}

/// Without vectors.
fn sum_plain<C: Copy + Into<u32>>(columns: &[C], values: &[f32], x: &[f32]) -> f32 {
    columns.iter().zip(values).map(|(&column, value)| value * x[column.into() as usize]).sum()
}

/// # Safety
/// Every column is in x.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_avx2<C: Copy + Into<u32>>(columns: &[C], values: &[f32], x: &[f32]) -> f32 {
    use std::arch::x86_64::*;
    let ((columns, columns_rest), (values, values_rest)) = (columns.as_chunks::<16>(), values.as_chunks::<16>());
    let mut sums = [_mm256_setzero_ps(); 2];
    for (columns, values) in columns.iter().zip(values) {
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().wrapping_add(AHEAD));
        _mm_prefetch::<_MM_HINT_T0>(columns.as_ptr().cast::<i8>().wrapping_add(AHEAD / 2));
        // SAFETY: the column is in x.
        let at = |i: usize| unsafe { *x.get_unchecked(columns[i].into() as usize) };
        for (half, sum) in sums.iter_mut().enumerate() {
            let k = half * 8;
            let x = _mm256_setr_ps(at(k), at(k + 1), at(k + 2), at(k + 3), at(k + 4), at(k + 5), at(k + 6), at(k + 7));
            // SAFETY: eight numbers are read where sixteen are, from the first or the ninth on.
            *sum = _mm256_fmadd_ps(x, unsafe { _mm256_loadu_ps(values.as_ptr().add(k)) }, *sum);
        }
    }
    super::blocks::total(_mm256_add_ps(sums[0], sums[1])) + sum_plain(columns_rest, values_rest, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_equal_plain_loops() {
        let x: Vec<f32> = (0..1000).map(|i| (i as f32).cos()).collect();
        for count in [0, 1, 15, 16, 17, 100] {
            let columns: Vec<u16> = (0..count).map(|k| k * 7 % 1000).collect();
            let values: Vec<f32> = columns.iter().map(|k| f32::from(*k).sin()).collect();
            assert!((sum(&columns, &values, &x) - sum_plain(&columns, &values, &x)).abs() < 1e-4);
        }
    }
}
