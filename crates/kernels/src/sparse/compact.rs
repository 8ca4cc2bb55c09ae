//! Scattered non-zeros, batch 1, too many for the caches: as `lockstep.rs`, with windows of 16 inputs and without the zeros of
//! rows that rest.
//!
//! From memory the bytes count, not the instructions. At density 0.1 five of eight lanes take a non-zero in a window of 16, so
//! that a step of `lockstep.rs` would read three zeros; here a byte says who takes one, and the values lie without gaps:
//! 4 bytes a non-zero and 7 a step, 5.4 a non-zero at that density instead of 7.6 (CSR: 6 to 8).
//!
//! Cost of a step: a load of up to 32 bytes of values that a permutation spreads over the lanes, another load of 32 bytes from
//! a table for it, and what a step of two registers of inputs takes.

use super::linear::PART;
use super::lockstep::{ROWS, sorted, walk};
use super::nonzeros::NonZeros;

/// Inputs of a window.
pub(super) const WINDOW: usize = 16;
/// Bits of a place in it.
const BITS: usize = 4;
/// How far ahead, in bytes of values, a walk asks for memory: over the end of a page, where the machine's own prefetching
/// stops.
const AHEAD: usize = 4096;
/// The bit that says that a lane takes a value: the sign, by which a blend chooses.
const TAKES: i32 = i32::MIN;

/// For each set of lanes that take a value, from which of the next eight values each takes it.
static SPREAD: [[i32; ROWS]; 256] = {
    let mut table = [[0; ROWS]; 256];
    let mut takers = 0;
    while takers < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < ROWS {
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

/// Non-zeros as steps of eight rows, without gaps.
#[derive(Debug, Clone)]
pub(super) struct Compact {
    inputs: usize,
    /// Per group of rows, the end of its steps and of its values.
    ends: Vec<(u32, u32)>,
    /// Per group and lane, the row within its part.
    order: Vec<[u8; ROWS]>,
    /// Per step, the first input of the window.
    starts: Vec<u16>,
    /// Per step, a bit for each lane that takes a value.
    takers: Vec<u8>,
    /// Per step, the place in the window of each lane, 4 bits each.
    codes: Vec<u32>,
    /// Step by step, lane by lane; and as many zeros as a load may read beyond.
    values: Vec<f32>,
}

/// A group's part of the arrays.
struct Steps<'a> {
    starts: &'a [u16],
    takers: &'a [u8],
    codes: &'a [u32],
    /// From the group's first value on.
    values: &'a [f32],
}

impl Compact {
    pub fn pack(rows: &NonZeros) -> Self {
        let (inputs, groups) = (rows.inputs, rows.outputs().div_ceil(ROWS));
        let mut this = Self {
            inputs,
            ends: Vec::with_capacity(groups),
            order: Vec::with_capacity(groups),
            starts: Vec::new(),
            takers: Vec::new(),
            codes: Vec::new(),
            values: Vec::with_capacity(rows.count() + ROWS),
        };
        for part in (0..rows.outputs()).step_by(PART) {
            for group in sorted(rows, part).chunks(ROWS) {
                this.add(rows, part, group);
            }
        }
        this.values.extend([0.0; ROWS]);
        this
    }

    fn add(&mut self, rows: &NonZeros, part: usize, group: &[usize]) {
        let mut at = [0; ROWS];
        walk(rows, group, WINDOW, |start, takes| {
            let (mut code, mut takers) = (0, 0);
            for (lane, &row) in group.iter().enumerate().filter(|(lane, _)| takes[*lane]) {
                let (columns, values) = rows.row(row);
                code |= (columns[at[lane]] - start as u32) << (BITS * lane);
                takers |= 1 << lane;
                self.values.push(values[at[lane]]);
                at[lane] += 1;
            }
            self.starts.push(start as u16);
            self.takers.push(takers);
            self.codes.push(code);
        });
        let mut order = [u8::MAX; ROWS];
        for (lane, row) in group.iter().enumerate() {
            order[lane] = (row - part) as u8;
        }
        self.order.push(order);
        self.ends.push((self.starts.len() as u32, self.values.len() as u32));
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        self.inputs.max(WINDOW)
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.ends)
            + size_of_val(&*self.order)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.takers)
            + size_of_val(&*self.codes)
            + size_of_val(&*self.values)
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for (group, order) in self.order.iter().enumerate() {
            let part = group / (PART / ROWS) * PART;
            self.steps_of(group).each(|lane, column, value| f(part + usize::from(order[lane]), column, value));
        }
    }

    fn steps_of(&self, group: usize) -> Steps<'_> {
        let (first, value) = if group == 0 { (0, 0) } else { self.ends[group - 1] };
        let steps = first as usize..self.ends[group].0 as usize;
        Steps {
            starts: &self.starts[steps.clone()],
            takers: &self.takers[steps.clone()],
            codes: &self.codes[steps],
            values: &self.values[value as usize..],
        }
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32]) {
        assert!(x.len() >= self.reads(), "x is as long as it reads");
        let first = part * (PART / ROWS);
        for group in first..first + y.len().div_ceil(ROWS) {
            let sums = self.sums(group, x);
            for (sum, &row) in sums.iter().zip(&self.order[group]) {
                if let Some(y) = y.get_mut(usize::from(row)) {
                    *y = *sum;
                }
            }
        }
    }

    fn sums(&self, group: usize, x: &[f32]) -> [f32; ROWS] {
        let steps = self.steps_of(group);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("popcnt") {
            // SAFETY: the machine has AVX2, FMA and POPCNT; x is as long as the windows read, as `run` asserts; packing put
            // one value for each taker of each step, and eight behind the last.
            return unsafe { steps.sums_avx2(x) };
        }
        steps.sums_plain(x)
    }
}

impl Steps<'_> {
    /// Gives every lane, column and value.
    fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        let mut values = self.values.iter();
        for ((&start, &takers), &code) in self.starts.iter().zip(self.takers).zip(self.codes) {
            let lanes = (0..ROWS).filter(|lane| takers >> lane & 1 == 1);
            for (lane, &value) in lanes.zip(values.by_ref()) {
                let place = code as usize >> (BITS * lane) & (WINDOW - 1);
                f(lane, usize::from(start) + place, value);
            }
        }
    }

    /// Without vectors.
    fn sums_plain(&self, x: &[f32]) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        self.each(|lane, column, value| sums[lane] += value * x[column]);
        sums
    }

    /// # Safety
    /// x has [`Compact::reads`] numbers; `values` has one for each taker and eight more.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn sums_avx2(&self, x: &[f32]) -> [f32; ROWS] {
        use std::arch::x86_64::*;
        /// Sums side by side, so that no step waits for the one before.
        const SIDE: usize = 4;
        let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
        let inputs = |start: u16, code: u32| {
            let place = _mm256_srlv_epi32(_mm256_set1_epi32(code as i32), shifts);
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
        let mut spread = |takers: u8| {
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
                taken += takers[i].count_ones() as usize;
            }
            ahead = ahead.wrapping_add(taken * size_of::<f32>());
        }
        for ((&start, &takers), &code) in starts_rest.iter().zip(takers_rest).zip(codes_rest) {
            sums[0] = _mm256_fmadd_ps(inputs(start, code), spread(takers), sums[0]);
        }
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let mut out = [0.0; ROWS];
        // SAFETY: eight numbers are written where eight are.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_equal_plain_loops() {
        let (outputs, inputs) = (130, 100);
        let w: Vec<f32> = (0..outputs * inputs).map(|i| if i * i % 7 < 2 { (i as f32).sin() } else { 0.0 }).collect();
        let x: Vec<f32> = (0..inputs).map(|i| (i as f32).cos()).collect();
        let packed = Compact::pack(&NonZeros::of(&w, outputs, inputs));
        for group in 0..packed.ends.len() {
            let (a, b) = (packed.sums(group, &x), packed.steps_of(group).sums_plain(&x));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }
}
