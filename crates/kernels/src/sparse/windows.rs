//! Groups of rows that walk through the inputs in lockstep, a window of neighbouring inputs at a time: what the layouts of
//! scattered non-zeros have in common.
//!
//! A gather of eight floats takes a Zen 3 about as long as eight loads; a permutation of a register takes one cycle. So each
//! step places a window where the row that lags most goes on; every row whose next non-zero lies in the window takes it, the
//! others rest. The window slides to any place, so that at density 0.1 four of eight lanes are used with a window of 8 (five
//! with one of 16, nine of sixteen lanes), where aligned windows would use three. Rows are sorted by length among their
//! neighbours (SELL-C-σ: Kreutzer et al., SIAM J. Sci. Comput. 2014), so that they end together.
//!
//! What this file does not hold: the values, and how a step is computed (`lockstep.rs`, `compact.rs`).

use std::ops::Range;

use super::linear::PART;
use super::nonzeros::NonZeros;

/// The steps of groups of `ROWS` rows, with windows of `WINDOW` inputs; the places of a step take `CODE` bytes.
#[derive(Debug, Clone)]
pub(super) struct Windows<const ROWS: usize, const WINDOW: usize, const CODE: usize> {
    inputs: usize,
    /// Per group of rows, the end of its steps.
    ends: Vec<u32>,
    /// Per group and lane, the row within its part.
    order: Vec<[u8; ROWS]>,
    /// Per step, the first input of the window.
    pub starts: Vec<u16>,
    /// Per step, the place in the window of each lane, at its [`bit`], little-endian.
    pub codes: Vec<[u8; CODE]>,
}

/// Whether columns fit [`Windows`].
pub(super) fn fits(inputs: usize) -> bool {
    inputs <= 1 << 16
}

/// Whether the machine has registers of sixteen numbers, and POPCNT.
pub(super) fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("popcnt");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The lowest bit of a lane's place of so many bits: of eight lanes from the lowest on, of sixteen in turn in either half,
/// where a place is shifted to the bottom of its own 32 bits.
const fn bit<const ROWS: usize>(lane: usize, bits: usize) -> usize {
    if ROWS == 16 { lane % 2 * 32 + lane / 2 * bits } else { lane * bits }
}

/// Little-endian bytes, eight at most, as a number.
fn number<const BYTES: usize>(bytes: &[u8; BYTES]) -> u64 {
    let mut all = [0; 8];
    all[..BYTES].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// Rows of a part, longest first.
fn sorted(rows: &NonZeros, first: usize) -> Vec<usize> {
    let mut order: Vec<_> = (first..rows.outputs().min(first + PART)).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(rows.row(row).0.len()));
    order
}

/// Gives each step of a group: the first input of the window, and which lanes take a non-zero.
fn walk<const ROWS: usize>(rows: &NonZeros, group: &[usize], window: usize, mut step: impl FnMut(usize, [bool; ROWS])) {
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

impl<const ROWS: usize, const WINDOW: usize, const CODE: usize> Windows<ROWS, WINDOW, CODE> {
    /// Bits of a place in a window.
    const BITS: usize = WINDOW.trailing_zeros() as usize;

    /// Packs all but the values, which go to `step`, step by step: of each lane, the non-zero that it takes.
    pub fn pack(rows: &NonZeros, mut step: impl FnMut([Option<f32>; ROWS])) -> Self {
        let (mut ends, mut order, mut starts, mut codes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for part in (0..rows.outputs()).step_by(PART) {
            for group in sorted(rows, part).chunks(ROWS) {
                let mut at = [0; ROWS];
                walk::<ROWS>(rows, group, WINDOW, |start, takes| {
                    let (mut code, mut taken) = (0u64, [None; ROWS]);
                    for (lane, &row) in group.iter().enumerate().filter(|(lane, _)| takes[*lane]) {
                        let (columns, values) = rows.row(row);
                        code |= u64::from(columns[at[lane]] - start as u32) << bit::<ROWS>(lane, Self::BITS);
                        taken[lane] = Some(values[at[lane]]);
                        at[lane] += 1;
                    }
                    starts.push(start as u16);
                    codes.push(std::array::from_fn(|byte| code.to_le_bytes()[byte]));
                    step(taken);
                });
                let row = |lane: usize| group.get(lane).map_or(u8::MAX, |row| (row - part) as u8);
                order.push(std::array::from_fn(row));
                ends.push(starts.len() as u32);
            }
        }
        Self { inputs: rows.inputs, ends, order, starts, codes }
    }

    /// How many inputs are read.
    pub fn reads(&self) -> usize {
        self.inputs.max(WINDOW)
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.order) + size_of_val(&*self.starts) + size_of_val(&*self.codes)
    }

    pub fn groups(&self) -> usize {
        self.ends.len()
    }

    pub fn steps_of(&self, group: usize) -> Range<usize> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        start as usize..self.ends[group] as usize
    }

    /// The row of a lane that has one.
    pub fn row(&self, group: usize, lane: usize) -> usize {
        group / (PART / ROWS) * PART + usize::from(self.order[group][lane])
    }

    /// The input that a lane takes in a step.
    pub fn column(&self, step: usize, lane: usize) -> usize {
        let place = (number(&self.codes[step]) >> bit::<ROWS>(lane, Self::BITS)) as usize & (WINDOW - 1);
        usize::from(self.starts[step]) + place
    }

    /// The rows of a part, from the `sums` of each group's lanes.
    ///
    /// # Panics
    /// If x is shorter than what windows [read](Self::reads).
    pub fn run(&self, part: usize, x: &[f32], y: &mut [f32], mut sums: impl FnMut(usize) -> [f32; ROWS]) {
        assert!(x.len() >= self.reads(), "x is as long as it reads");
        let first = part * (PART / ROWS);
        for group in first..first + y.len().div_ceil(ROWS) {
            for (sum, &row) in sums(group).iter().zip(&self.order[group]) {
                if let Some(y) = y.get_mut(usize::from(row)) {
                    *y = *sum;
                }
            }
        }
    }
}
