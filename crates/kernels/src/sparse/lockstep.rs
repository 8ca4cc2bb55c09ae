//! Scattered non-zeros, batch 1: rows walk in lockstep ([`Windows`]), a value for each lane of each step, 0 for rows that rest.
//!
//! Cost of a step of eight rows and windows of eight inputs ([`Narrow`]): a load of 32 bytes of values, 4 of lanes' places and 2 of
//! the window's; one permutation and one fused multiply-add. Of sixteen and sixteen ([`Wide`], for AVX-512): 64, 8 and 2 bytes,
//! fewer for each non-zero. Matrices that do not fit the caches are better off in `compact.rs`.

use std::ops::Range;

use super::nonzeros::NonZeros;
use super::windows::{Windows, is_wide};
use crate::attention::memory::Lines;

/// Eight rows and windows of eight inputs, a place in 3 bits of 4 bytes: a register of AVX2.
pub(super) type Narrow = Lockstep<8, 4>;
/// Sixteen rows and windows of sixteen inputs, a place in 4 bits of 8 bytes: a register of AVX-512.
pub(super) type Wide = Lockstep<16, 8>;

/// Non-zeros as steps of `ROWS` rows, in windows of as many inputs; the places of a step take `CODE` bytes.
#[derive(Debug, Clone)]
pub(super) struct Lockstep<const ROWS: usize, const CODE: usize> {
    windows: Windows<ROWS, ROWS, CODE>,
    /// Per step and lane; on cache lines, since a vector that lies on two takes two loads.
    values: Lines,
}

impl<const ROWS: usize, const CODE: usize> Lockstep<ROWS, CODE> {
    /// Inputs of a window.
    pub const WINDOW: usize = ROWS;

    pub fn pack(rows: &NonZeros) -> Self {
        let mut values = Vec::new();
        let windows = Windows::pack(rows, |taken: [_; ROWS]| values.extend(taken.map(Option::unwrap_or_default)));
        Self { windows, values: Lines::from(&*values) }
    }

    /// Step by step.
    fn values(&self) -> &[[f32; ROWS]] {
        self.values.as_chunks().0
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        self.windows.reads()
    }

    pub fn bytes(&self) -> usize {
        self.windows.bytes() + size_of_val(&*self.values)
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for group in 0..self.windows.groups() {
            for step in self.windows.steps_of(group) {
                let values = self.values()[step].iter().enumerate();
                for (lane, &value) in values.filter(|(_, value)| **value != 0.0) {
                    f(self.windows.row(group, lane), self.windows.column(step, lane), value);
                }
            }
        }
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32])
    where
        Self: Sums<ROWS>,
    {
        self.windows.run(part, x, y, |group| self.sums(self.windows.steps_of(group), x));
    }

    /// Without vectors.
    fn sums_plain(&self, steps: Range<usize>, x: &[f32]) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        for step in steps {
            for (lane, (sum, value)) in sums.iter_mut().zip(&self.values()[step]).enumerate() {
                *sum += value * x[self.windows.column(step, lane)];
            }
        }
        sums
    }
}

/// The fastest way to add up a group that the machine has.
pub(super) trait Sums<const ROWS: usize> {
    /// The sum of each lane over some steps; x has as many numbers as windows read.
    fn sums(&self, steps: Range<usize>, x: &[f32]) -> [f32; ROWS];
}

impl Sums<8> for Narrow {
    fn sums(&self, steps: Range<usize>, x: &[f32]) -> [f32; 8] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has AVX2 and FMA; x is as long as the windows read, as `run` asserts.
            return unsafe { self.sums_avx2(steps, x) };
        }
        self.sums_plain(steps, x)
    }
}

impl Sums<16> for Wide {
    fn sums(&self, steps: Range<usize>, x: &[f32]) -> [f32; 16] {
        #[cfg(target_arch = "x86_64")]
        if is_wide() {
            // SAFETY: the machine has AVX-512; x is as long as the windows read, as `run` asserts.
            return unsafe { self.sums_avx512(steps, x) };
        }
        self.sums_plain(steps, x)
    }
}

/// Sums side by side, so that no step waits for the one before.
#[cfg(target_arch = "x86_64")]
const SIDE: usize = 4;

#[cfg(target_arch = "x86_64")]
impl Narrow {
    /// # Safety
    /// x has [`reads`](Self::reads) numbers.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sums_avx2(&self, steps: Range<usize>, x: &[f32]) -> [f32; 8] {
        use std::arch::x86_64::*;
        let shifts = _mm256_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21);
        let pick = |start: u16, code: [u8; 4]| {
            let place = _mm256_srlv_epi32(_mm256_set1_epi32(i32::from_le_bytes(code)), shifts);
            // SAFETY: packing placed each window within the inputs, or at 0 where there are fewer than a window; x is at
            // least as long as both.
            unsafe { _mm256_permutevar8x32_ps(_mm256_loadu_ps(x.as_ptr().add(usize::from(start))), place) }
        };
        let load = |values: &[f32; 8]| {
            // SAFETY: eight numbers are read where eight are.
            unsafe { _mm256_loadu_ps(values.as_ptr()) }
        };
        let (starts, starts_rest) = self.windows.starts[steps.clone()].as_chunks::<SIDE>();
        let (codes, codes_rest) = self.windows.codes[steps.clone()].as_chunks::<SIDE>();
        let (values, values_rest) = self.values()[steps].as_chunks::<SIDE>();
        let mut sums = [_mm256_setzero_ps(); SIDE];
        for ((starts, codes), values) in starts.iter().zip(codes).zip(values) {
            for i in 0..SIDE {
                sums[i] = _mm256_fmadd_ps(pick(starts[i], codes[i]), load(&values[i]), sums[i]);
            }
        }
        for ((&start, &code), values) in starts_rest.iter().zip(codes_rest).zip(values_rest) {
            sums[0] = _mm256_fmadd_ps(pick(start, code), load(values), sums[0]);
        }
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let mut out = [0.0; 8];
        // SAFETY: eight numbers are written where eight are.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        out
    }
}

#[cfg(target_arch = "x86_64")]
impl Wide {
    /// # Safety
    /// x has [`reads`](Self::reads) numbers.
    #[target_feature(enable = "avx512f")]
    unsafe fn sums_avx512(&self, steps: Range<usize>, x: &[f32]) -> [f32; 16] {
        use std::arch::x86_64::*;
        // Lanes in turn of either half of a code; a permutation looks at the lowest 4 bits of a lane alone.
        let shifts = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
        let pick = |start: u16, code: [u8; 8]| {
            let place = _mm512_srlv_epi32(_mm512_set1_epi64(i64::from_le_bytes(code)), shifts);
            // SAFETY: packing placed each window within the inputs, or at 0 where there are fewer than a window; x is at
            // least as long as both.
            unsafe { _mm512_permutexvar_ps(place, _mm512_loadu_ps(x.as_ptr().add(usize::from(start)))) }
        };
        let load = |values: &[f32; 16]| {
            // SAFETY: sixteen numbers are read where sixteen are.
            unsafe { _mm512_loadu_ps(values.as_ptr()) }
        };
        let (starts, starts_rest) = self.windows.starts[steps.clone()].as_chunks::<SIDE>();
        let (codes, codes_rest) = self.windows.codes[steps.clone()].as_chunks::<SIDE>();
        let (values, values_rest) = self.values()[steps].as_chunks::<SIDE>();
        let mut sums = [_mm512_setzero_ps(); SIDE];
        for ((starts, codes), values) in starts.iter().zip(codes).zip(values) {
            for i in 0..SIDE {
                sums[i] = _mm512_fmadd_ps(pick(starts[i], codes[i]), load(&values[i]), sums[i]);
            }
        }
        for ((&start, &code), values) in starts_rest.iter().zip(codes_rest).zip(values_rest) {
            sums[0] = _mm512_fmadd_ps(pick(start, code), load(values), sums[0]);
        }
        let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
        let mut out = [0.0; 16];
        // SAFETY: sixteen numbers are written where sixteen are.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree<const ROWS: usize, const CODE: usize>()
    where
        Lockstep<ROWS, CODE>: Sums<ROWS>,
    {
        let (outputs, inputs) = (130, 100);
        let w: Vec<f32> = (0..outputs * inputs).map(|i| if i * i % 7 < 2 { (i as f32).sin() } else { 0.0 }).collect();
        let x: Vec<f32> = (0..inputs).map(|i| (i as f32).cos()).collect();
        let packed = Lockstep::<ROWS, CODE>::pack(&NonZeros::of(&w, outputs, inputs));
        for group in 0..packed.windows.groups() {
            let steps = packed.windows.steps_of(group);
            let (a, b) = (packed.sums(steps.clone(), &x), packed.sums_plain(steps, &x));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn values_begin_on_a_cache_line_also_those_of_a_copy() {
        let packed = Wide::pack(&NonZeros::of(&[1.0; 20 * 40], 20, 40));
        let copies: Vec<_> = (0..5).map(|_| packed.clone()).collect();
        for layout in copies.iter().chain([&packed]) {
            assert_eq!(layout.values().as_ptr() as usize % 64, 0);
            assert_eq!(layout.values(), packed.values());
        }
    }

    #[test]
    fn vectors_equal_plain_loops() {
        agree::<8, 4>();
        agree::<16, 8>();
    }
}
