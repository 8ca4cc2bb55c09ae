//! Scattered non-zeros, batch 1: as many rows as a register has lanes walk through the inputs in lockstep, a register of
//! inputs at a time.
//!
//! A gather of eight floats takes a Zen 3 about as long as eight loads; a permutation of a register takes one cycle. So each
//! step places a window of neighbouring inputs where the row that lags most goes on; every row whose next non-zero lies in the
//! window takes it, the others multiply by 0. The window slides to any place, so that at density 0.1 four of eight lanes
//! are used (nine of sixteen), where aligned windows would use three. Rows are sorted by length among their neighbours
//! (SELL-C-σ: Kreutzer et al., SIAM J. Sci. Comput. 2014), so that they end together.
//!
//! Cost of a step of eight rows and windows of eight ([`Narrow`]): a load of 32 bytes of values, 4 of lanes' places and 2 of the
//! window's; one permutation and one fused multiply-add. Of sixteen and sixteen ([`Wide`], for AVX-512): 64, 8 and 2 bytes,
//! fewer for each non-zero. Matrices that do not fit the caches are better off in `compact.rs`.

use super::linear::PART;
use super::nonzeros::NonZeros;

/// Eight rows and windows of eight inputs, a place in 3 bits of 4 bytes: a register of AVX2.
pub(super) type Narrow = Lockstep<8, 4>;
/// Sixteen rows and windows of sixteen inputs, a place in 4 bits of 8 bytes: a register of AVX-512.
pub(super) type Wide = Lockstep<16, 8>;

/// Non-zeros as steps of `ROWS` rows, in windows of as many inputs; the places of a step take `CODE` bytes.
#[derive(Debug, Clone)]
pub(super) struct Lockstep<const ROWS: usize, const CODE: usize> {
    inputs: usize,
    /// Per group of rows, the end of its steps.
    ends: Vec<u32>,
    /// Per group and lane, the row within its part.
    order: Vec<[u8; ROWS]>,
    /// Per step, the first input of the window.
    starts: Vec<u16>,
    /// Per step, the place in the window of each lane, at its [`bit`], little-endian.
    codes: Vec<[u8; CODE]>,
    /// Per step and lane.
    values: Vec<[f32; ROWS]>,
}

/// Whether columns fit [`Lockstep`].
pub(super) fn fits(inputs: usize) -> bool {
    inputs <= 1 << 16
}

/// Whether the machine has the registers of [`Wide`], and POPCNT.
pub(super) fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("popcnt");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The lowest bit of a lane's place of so many bits: of eight lanes from the lowest on, of sixteen in turn in either half,
/// where a place is shifted to the bottom of its own 32 bits.
pub(super) const fn bit<const ROWS: usize>(lane: usize, bits: usize) -> usize {
    if ROWS == 16 { lane % 2 * 32 + lane / 2 * bits } else { lane * bits }
}

/// Little-endian bytes, eight at most, as a number.
pub(super) fn number<const BYTES: usize>(bytes: &[u8; BYTES]) -> u64 {
    let mut all = [0; 8];
    all[..BYTES].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// Rows of a part, longest first.
pub(super) fn sorted(rows: &NonZeros, first: usize) -> Vec<usize> {
    let mut order: Vec<_> = (first..rows.outputs().min(first + PART)).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(rows.row(row).0.len()));
    order
}

/// Gives each step of a group: the first input of the window, and which lanes take a non-zero.
pub(super) fn walk<const ROWS: usize>(
    rows: &NonZeros,
    group: &[usize],
    window: usize,
    mut step: impl FnMut(usize, [bool; ROWS]),
) {
    let last = rows.inputs.saturating_sub(window) as u32;
    let lanes: Vec<&[u32]> = group.iter().map(|&row| rows.row(row).0).collect();
    let mut at = [0; ROWS];
    loop {
        let next = |(lane, columns): (usize, &&[u32])| columns.get(at[lane]).copied();
        let Some(start) = lanes.iter().enumerate().filter_map(next).min() else { return };
        let start = start.min(last);
        let mut takes = [false; ROWS];
        for (lane, columns) in lanes.iter().enumerate() {
            takes[lane] = columns.get(at[lane]).is_some_and(|&column| column < start + window as u32);
            at[lane] += usize::from(takes[lane]);
        }
        step(start as usize, takes);
    }
}

/// How many steps groups of `ROWS` rows with windows of this many inputs would take.
pub(super) fn steps<const ROWS: usize>(rows: &NonZeros, window: usize) -> usize {
    let mut steps = 0;
    for part in (0..rows.outputs()).step_by(PART) {
        sorted(rows, part).chunks(ROWS).for_each(|group| walk::<ROWS>(rows, group, window, |_, _| steps += 1));
    }
    steps
}

impl<const ROWS: usize, const CODE: usize> Lockstep<ROWS, CODE> {
    /// Inputs of a window.
    pub const WINDOW: usize = ROWS;

    /// Bits of a place in it.
    const BITS: usize = ROWS.trailing_zeros() as usize;

    fn place(&self, step: usize, lane: usize) -> usize {
        (number(&self.codes[step]) >> bit::<ROWS>(lane, Self::BITS)) as usize & (Self::WINDOW - 1)
    }

    pub fn pack(rows: &NonZeros) -> Self {
        let mut this = Self {
            inputs: rows.inputs,
            ends: Vec::new(),
            order: Vec::new(),
            starts: Vec::new(),
            codes: Vec::new(),
            values: Vec::new(),
        };
        for part in (0..rows.outputs()).step_by(PART) {
            for group in sorted(rows, part).chunks(ROWS) {
                this.add(rows, part, group);
            }
        }
        this
    }

    fn add(&mut self, rows: &NonZeros, part: usize, group: &[usize]) {
        let mut at = [0; ROWS];
        walk::<ROWS>(rows, group, Self::WINDOW, |start, takes| {
            let (mut code, mut values) = (0u64, [0.0; ROWS]);
            for (lane, &row) in group.iter().enumerate().filter(|(lane, _)| takes[*lane]) {
                let (columns, row) = rows.row(row);
                code |= u64::from(columns[at[lane]] - start as u32) << bit::<ROWS>(lane, Self::BITS);
                values[lane] = row[at[lane]];
                at[lane] += 1;
            }
            self.starts.push(start as u16);
            self.codes.push(std::array::from_fn(|byte| code.to_le_bytes()[byte]));
            self.values.push(values);
        });
        let mut order = [u8::MAX; ROWS];
        for (lane, row) in group.iter().enumerate() {
            order[lane] = (row - part) as u8;
        }
        self.order.push(order);
        self.ends.push(self.values.len() as u32);
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        self.inputs.max(Self::WINDOW)
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.ends)
            + size_of_val(&*self.order)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.codes)
            + size_of_val(&*self.values)
    }

    /// Gives every row, column and value.
    pub fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        for (group, order) in self.order.iter().enumerate() {
            let part = group / (PART / ROWS) * PART;
            for step in self.steps_of(group) {
                let values = self.values[step].iter().enumerate();
                for (lane, &value) in values.filter(|(_, value)| **value != 0.0) {
                    let column = usize::from(self.starts[step]) + self.place(step, lane);
                    f(part + usize::from(order[lane]), column, value);
                }
            }
        }
    }

    fn steps_of(&self, group: usize) -> std::ops::Range<usize> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        start as usize..self.ends[group] as usize
    }

    /// The sums of the rows of a part.
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32])
    where
        Self: Sums<ROWS>,
    {
        assert!(x.len() >= self.reads(), "x is as long as it reads");
        let first = part * (PART / ROWS);
        for group in first..first + y.len().div_ceil(ROWS) {
            let sums = self.sums(self.steps_of(group), x);
            for (sum, &row) in sums.iter().zip(&self.order[group]) {
                if let Some(y) = y.get_mut(usize::from(row)) {
                    *y = *sum;
                }
            }
        }
    }

    /// Without vectors.
    fn sums_plain(&self, steps: std::ops::Range<usize>, x: &[f32]) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        for step in steps {
            let x = &x[usize::from(self.starts[step])..][..Self::WINDOW];
            for (lane, (sum, value)) in sums.iter_mut().zip(&self.values[step]).enumerate() {
                *sum += value * x[self.place(step, lane)];
            }
        }
        sums
    }
}

/// The fastest way to add up a group that the machine has.
pub(super) trait Sums<const ROWS: usize> {
    /// The sum of each lane over some steps; x has as many numbers as windows read.
    fn sums(&self, steps: std::ops::Range<usize>, x: &[f32]) -> [f32; ROWS];
}

impl Sums<8> for Narrow {
    fn sums(&self, steps: std::ops::Range<usize>, x: &[f32]) -> [f32; 8] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has AVX2 and FMA; x is as long as the windows read, as `run` asserts.
            return unsafe { self.sums_avx2(steps, x) };
        }
        self.sums_plain(steps, x)
    }
}

impl Sums<16> for Wide {
    fn sums(&self, steps: std::ops::Range<usize>, x: &[f32]) -> [f32; 16] {
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
    unsafe fn sums_avx2(&self, steps: std::ops::Range<usize>, x: &[f32]) -> [f32; 8] {
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
        let (starts, starts_rest) = self.starts[steps.clone()].as_chunks::<SIDE>();
        let (codes, codes_rest) = self.codes[steps.clone()].as_chunks::<SIDE>();
        let (values, values_rest) = self.values[steps].as_chunks::<SIDE>();
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
    unsafe fn sums_avx512(&self, steps: std::ops::Range<usize>, x: &[f32]) -> [f32; 16] {
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
        let (starts, starts_rest) = self.starts[steps.clone()].as_chunks::<SIDE>();
        let (codes, codes_rest) = self.codes[steps.clone()].as_chunks::<SIDE>();
        let (values, values_rest) = self.values[steps].as_chunks::<SIDE>();
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
        for group in 0..packed.ends.len() {
            let steps = packed.steps_of(group);
            let (a, b) = (packed.sums(steps.clone(), &x), packed.sums_plain(steps, &x));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn vectors_equal_plain_loops() {
        agree::<8, 4>();
        agree::<16, 8>();
    }
}
