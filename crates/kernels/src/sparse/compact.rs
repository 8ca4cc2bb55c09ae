//! Scattered non-zeros, batch 1, too many for the caches: rows walk in lockstep ([`Windows`]), and those that rest take no memory.
//!
//! From memory the bytes count, not the instructions. At density 0.1 five of eight lanes take a non-zero in a window of 16 (nine of
//! sixteen), so that a step of `lockstep.rs` would read three zeros; here a bit says who takes one, and the values lie without
//! gaps: 4 bytes a non-zero and 7 a step of eight rows (12 of sixteen), 5.4 a non-zero at that density instead of 7.6 (CSR:
//! 6 to 8).
//!
//! Cost of a step of eight rows ([`Narrow`]): a load of up to 32 bytes of values that a permutation spreads over the lanes,
//! another load of 32 bytes from a table for it, and what a step of two registers of inputs takes. AVX-512 spreads values over
//! sixteen rows ([`Wide`]) by an instruction of its own, and has all inputs of a window in a register.

use super::nonzeros::NonZeros;
use super::windows::{Windows, is_wide};

/// Eight rows: a register of AVX2.
pub(super) type Narrow = Compact<8, 4, 1>;
/// Sixteen rows: a register of AVX-512.
pub(super) type Wide = Compact<16, 8, 2>;

/// Inputs of a window.
pub(super) const WINDOW: usize = 16;
/// How far ahead, in bytes of values, a walk asks for memory: over the end of a page, where the machine's own prefetching
/// stops.
const AHEAD: usize = 4096;
/// The bit that says that a lane takes a value: the sign, by which a blend chooses.
const TAKES: i32 = i32::MIN;

/// For each set of lanes that take a value, from which of the next eight values each takes it.
static SPREAD: [[i32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut takers = 0;
    while takers < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < 8 {
            if takers >> lane & 1 == 1 {
                table[takers][lane] = next | TAKES;
                next += 1;
            }
            lane += 1;
        }
        takers += 1;
    }
    table
};

/// Non-zeros as steps of `ROWS` rows, without gaps; the places of a step take `CODE` bytes, who takes a value `TAKERS`.
#[derive(Debug, Clone)]
pub(super) struct Compact<const ROWS: usize, const CODE: usize, const TAKERS: usize> {
    windows: Windows<ROWS, WINDOW, CODE>,
    /// Per step, a bit for each lane that takes a value.
    takers: Vec<[u8; TAKERS]>,
    /// Per group of rows, where its values begin.
    firsts: Vec<u32>,
    /// Step by step, lane by lane; and as many zeros as a load may read beyond.
    values: Vec<f32>,
}

/// A group's part of the arrays.
#[cfg(target_arch = "x86_64")]
struct Steps<'a, const CODE: usize, const TAKERS: usize> {
    starts: &'a [u16],
    takers: &'a [[u8; TAKERS]],
    codes: &'a [[u8; CODE]],
    /// From the group's first value on.
    values: &'a [f32],
}

/// Whether a lane takes a value.
fn takes<const TAKERS: usize>(takers: &[u8; TAKERS], lane: usize) -> bool {
    takers[lane / 8] >> (lane % 8) & 1 == 1
}

impl<const ROWS: usize, const CODE: usize, const TAKERS: usize> Compact<ROWS, CODE, TAKERS> {
    pub fn pack(rows: &NonZeros) -> Self {
        let (mut takers, mut values) = (Vec::<[u8; TAKERS]>::new(), Vec::with_capacity(rows.count() + ROWS));
        let windows = Windows::pack(rows, |taken: [Option<f32>; ROWS]| {
            let mut bits = [0; TAKERS];
            for (lane, value) in taken.into_iter().enumerate().filter_map(|(lane, value)| Some((lane, value?))) {
                bits[lane / 8] |= 1 << (lane % 8);
                values.push(value);
            }
            takers.push(bits);
        });
        values.extend([0.0; ROWS]);
        let mut next = 0;
        let first = |group| {
            let first = next;
            next += takers[windows.steps_of(group)].as_flattened().iter().map(|bits| bits.count_ones()).sum::<u32>();
            first
        };
        let firsts = (0..windows.groups()).map(first).collect();
        Self { windows, takers, firsts, values }
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        self.windows.reads()
    }

    pub fn bytes(&self) -> usize {
        self.windows.bytes() + size_of_val(&*self.takers) + size_of_val(&*self.firsts) + size_of_val(&*self.values)
    }

    /// Gives every lane, column and value of a group.
    fn each_of(&self, group: usize, mut f: impl FnMut(usize, usize, f32)) {
        let mut values = self.values[self.firsts[group] as usize..].iter();
        for step in self.windows.steps_of(group) {
            let lanes = (0..ROWS).filter(|&lane| takes(&self.takers[step], lane));
            for (lane, &value) in lanes.zip(values.by_ref()) {
                f(lane, self.windows.column(step, lane), value);
            }
        }
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for group in 0..self.windows.groups() {
            self.each_of(group, |lane, column, value| f(self.windows.row(group, lane), column, value));
        }
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32])
    where
        Self: Sums<ROWS>,
    {
        self.windows.run(part, x, y, |group| self.sums(group, x));
    }

    /// Without vectors.
    fn sums_plain(&self, group: usize, x: &[f32]) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        self.each_of(group, |lane, column, value| sums[lane] += value * x[column]);
        sums
    }

    #[cfg(target_arch = "x86_64")]
    fn steps(&self, group: usize) -> Steps<'_, CODE, TAKERS> {
        let steps = self.windows.steps_of(group);
        Steps {
            starts: &self.windows.starts[steps.clone()],
            takers: &self.takers[steps.clone()],
            codes: &self.windows.codes[steps],
            values: &self.values[self.firsts[group] as usize..],
        }
    }
}

/// The fastest way to add up a group that the machine has.
pub(super) trait Sums<const ROWS: usize> {
    /// The sum of each lane over the steps of a group; x has as many numbers as windows read.
    fn sums(&self, group: usize, x: &[f32]) -> [f32; ROWS];
}

impl Sums<8> for Narrow {
    fn sums(&self, group: usize, x: &[f32]) -> [f32; 8] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("popcnt") {
            // SAFETY: the machine has AVX2, FMA and POPCNT; x is as long as the windows read, as `run` asserts; packing put
            // one value for each taker of each step, and eight behind the last.
            return unsafe { self.steps(group).sums_avx2(x) };
        }
        self.sums_plain(group, x)
    }
}

impl Sums<16> for Wide {
    fn sums(&self, group: usize, x: &[f32]) -> [f32; 16] {
        #[cfg(target_arch = "x86_64")]
        if is_wide() {
            // SAFETY: the machine has AVX-512 and POPCNT; x is as long as the windows read, as `run` asserts; packing put one
            // value for each taker of each step, and sixteen behind the last.
            return unsafe { self.steps(group).sums_avx512(x) };
        }
        self.sums_plain(group, x)
    }
}

/// Sums side by side, so that no step waits for the one before.
#[cfg(target_arch = "x86_64")]
const SIDE: usize = 4;

#[cfg(target_arch = "x86_64")]
impl Steps<'_, 4, 1> {
    /// # Safety
    /// x has [`Compact::reads`] numbers; `values` has one for each taker and eight more.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn sums_avx2(&self, x: &[f32]) -> [f32; 8] {
        use std::arch::x86_64::*;
        let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
        let inputs = |start: u16, code: [u8; 4]| {
            let place = _mm256_srlv_epi32(_mm256_set1_epi32(i32::from_le_bytes(code)), shifts);
            // SAFETY: packing placed each window within the inputs, or at 0 where there are fewer than a window; x is at
            // least as long as both.
            let (near, far) = unsafe {
                let x = x.as_ptr().add(usize::from(start));
                (_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8)))
            };
            let (near, far) = (_mm256_permutevar8x32_ps(near, place), _mm256_permutevar8x32_ps(far, place));
            _mm256_blendv_ps(near, far, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(place)))
        };
        let mut values = self.values.as_ptr();
        let mut spread = |[takers]: [u8; 1]| {
            // SAFETY: a load of eight from a row of eight; and of eight values from the next one on, behind the last of
            // which there are eight more.
            let (from, near) =
                unsafe { (_mm256_loadu_si256(SPREAD[usize::from(takers)].as_ptr().cast()), _mm256_loadu_ps(values)) };
            values = values.wrapping_add(takers.count_ones() as usize);
            _mm256_blendv_ps(_mm256_setzero_ps(), _mm256_permutevar8x32_ps(near, from), _mm256_castsi256_ps(from))
        };
        let (starts, starts_rest) = self.starts.as_chunks::<SIDE>();
        let (takers, takers_rest) = self.takers.as_chunks::<SIDE>();
        let (codes, codes_rest) = self.codes.as_chunks::<SIDE>();
        let mut sums = [_mm256_setzero_ps(); SIDE];
        let mut ahead = self.values.as_ptr().cast::<i8>().wrapping_add(AHEAD);
        for ((starts, takers), codes) in starts.iter().zip(takers).zip(codes) {
            // Four steps read 16 to 128 bytes of values, mostly fewer than two lines.
            _mm_prefetch::<_MM_HINT_T0>(ahead);
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
            let mut taken = 0;
            for i in 0..SIDE {
                sums[i] = _mm256_fmadd_ps(inputs(starts[i], codes[i]), spread(takers[i]), sums[i]);
                taken += takers[i][0].count_ones() as usize;
            }
            ahead = ahead.wrapping_add(taken * size_of::<f32>());
        }
        for ((&start, &takers), &code) in starts_rest.iter().zip(takers_rest).zip(codes_rest) {
            sums[0] = _mm256_fmadd_ps(inputs(start, code), spread(takers), sums[0]);
        }
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let mut out = [0.0; 8];
        // SAFETY: eight numbers are written where eight are.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        out
    }
}

#[cfg(target_arch = "x86_64")]
impl Steps<'_, 8, 2> {
    /// # Safety
    /// x has [`Compact::reads`] numbers; `values` has one for each taker and sixteen more.
    #[target_feature(enable = "avx512f,popcnt")]
    unsafe fn sums_avx512(&self, x: &[f32]) -> [f32; 16] {
        use std::arch::x86_64::*;
        // Lanes in turn of either half of a code; a permutation looks at the lowest 4 bits of a lane alone.
        let shifts = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
        let inputs = |start: u16, code: [u8; 8]| {
            let place = _mm512_srlv_epi32(_mm512_set1_epi64(i64::from_le_bytes(code)), shifts);
            // SAFETY: packing placed each window within the inputs, or at 0 where there are fewer than a window; x is at
            // least as long as both.
            unsafe { _mm512_permutexvar_ps(place, _mm512_loadu_ps(x.as_ptr().add(usize::from(start)))) }
        };
        let mut values = self.values.as_ptr();
        let mut spread = |takers: [u8; 2]| {
            let takers = u16::from_le_bytes(takers);
            // SAFETY: a load of sixteen values from the next one on, behind the last of which there are sixteen more.
            let near = unsafe { _mm512_loadu_ps(values) };
            values = values.wrapping_add(takers.count_ones() as usize);
            _mm512_maskz_expand_ps(takers, near)
        };
        let (starts, starts_rest) = self.starts.as_chunks::<SIDE>();
        let (takers, takers_rest) = self.takers.as_chunks::<SIDE>();
        let (codes, codes_rest) = self.codes.as_chunks::<SIDE>();
        let mut sums = [_mm512_setzero_ps(); SIDE];
        let mut ahead = self.values.as_ptr().cast::<i8>().wrapping_add(AHEAD);
        for ((starts, takers), codes) in starts.iter().zip(takers).zip(codes) {
            _mm_prefetch::<_MM_HINT_T0>(codes.as_ptr().cast::<i8>().wrapping_add(AHEAD / 4));
            // Four steps read 16 to 256 bytes of values, mostly fewer than three lines.
            _mm_prefetch::<_MM_HINT_T0>(ahead);
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(128));
            let mut taken = 0;
            for i in 0..SIDE {
                sums[i] = _mm512_fmadd_ps(inputs(starts[i], codes[i]), spread(takers[i]), sums[i]);
                taken += u16::from_le_bytes(takers[i]).count_ones() as usize;
            }
            ahead = ahead.wrapping_add(taken * size_of::<f32>());
        }
        for ((&start, &takers), &code) in starts_rest.iter().zip(takers_rest).zip(codes_rest) {
            sums[0] = _mm512_fmadd_ps(inputs(start, code), spread(takers), sums[0]);
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

    fn agree<const ROWS: usize, const CODE: usize, const TAKERS: usize>()
    where
        Compact<ROWS, CODE, TAKERS>: Sums<ROWS>,
    {
        let (outputs, inputs) = (130, 100);
        let w: Vec<f32> = (0..outputs * inputs).map(|i| if i * i % 7 < 2 { (i as f32).sin() } else { 0.0 }).collect();
        let x: Vec<f32> = (0..inputs).map(|i| (i as f32).cos()).collect();
        let packed = Compact::<ROWS, CODE, TAKERS>::pack(&NonZeros::of(&w, outputs, inputs));
        for group in 0..packed.windows.groups() {
            let (a, b) = (packed.sums(group, &x), packed.sums_plain(group, &x));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn vectors_equal_plain_loops() {
        agree::<8, 4, 1>();
        agree::<16, 8, 2>();
    }
}
