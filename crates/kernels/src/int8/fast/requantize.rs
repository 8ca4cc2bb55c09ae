//! Accumulators to bytes: multiplier, rounding shift, zero point and range, a vector of channels at a time.
//!
//! gemmlowp's two roundings are exact in 32 bits: `(h + 2^(e−1) − [h < 0]) >> e` with `h = ⌊(acc·m + 2^30) / 2^31⌋`; the
//! output's zero point, shifted by `e`, joins the constant.

use super::simd::Simd;
use super::{Line, aligned};
use crate::int8::{Multiplier, Range, Requantization, Rounding};

/// What requantisation knows of a vector of channels: rows of `LANES` constants.
#[derive(Debug, Clone)]
pub(super) struct Requantizer {
    /// [`ROWS`] rows for each vector.
    records: Vec<Line>,
    lanes: usize,
    how: How,
    low: i32,
    high: i32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    FixedPoint,
    /// As above, after a shift to the left.
    FixedPointLeft,
    Float,
}

/// Bias; multiplier; rounding and zero point; shift; shift that leaves the sign; shift to the left.
const ROWS: usize = 6;

/// The fixed-point constants of one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Constants {
    pub multiplier: i32,
    pub offset: i32,
    pub shift: i32,
    pub sign: i32,
    pub left: i32,
}

/// Constants that bring an accumulator of at most `bound` in magnitude to a byte with zero point `zero` (of u8);
/// `None` if 32 bits may overflow on the way.
pub(super) fn constants(m: Multiplier, bound: i64, zero: i32) -> Option<Constants> {
    if m.mantissa < 0 || bound > i64::from(i32::MAX) {
        return None;
    }
    let (left, shift) = (m.shift.max(0), (-m.shift).max(0));
    let high = (bound << left).min(1 << 31) * i64::from(m.mantissa) / (1 << 31) + 1;
    let half = if shift > 0 { 1i64 << (shift - 1) } else { 0 };
    let offset = half + (i64::from(zero) << shift);
    if high + offset.abs() + 1 > i64::from(i32::MAX) {
        return None;
    }
    // A shift by 32 leaves no sign to subtract.
    let sign = if shift > 0 { 31 } else { 32 };
    Some(Constants { multiplier: m.mantissa, offset: offset as i32, shift, sign, left })
}

impl Requantizer {
    /// `vectors`: first channels; `bias`: what accumulators start from; `bounds`: how large they may become.
    pub fn new(
        requantization: &Requantization,
        lanes: usize,
        vectors: &[usize],
        bias: &[i32],
        bounds: &[i64],
        output_zero: i32,
        range: Range,
    ) -> Option<Self> {
        let channels = requantization.channels();
        let zero = output_zero + 128;
        let mut records = Vec::with_capacity(vectors.len() * ROWS * lanes);
        let mut how = How::FixedPoint;
        let mut all = Vec::with_capacity(channels);
        for c in 0..channels {
            all.push(match requantization {
                Requantization::FixedPoint(_, Rounding::Single) => return None,
                Requantization::FixedPoint(m, Rounding::Double) => {
                    let constants = constants(m[c], bounds[c], zero)?;
                    if constants.left > 0 {
                        how = How::FixedPointLeft;
                    }
                    constants
                }
                Requantization::Float(e) => {
                    how = How::Float;
                    let sane = e[c].is_finite() && bounds[c] <= i64::from(i32::MAX);
                    let small = sane && (bounds[c] as f32 * e[c].abs()) < 1e9;
                    let constants =
                        Constants { multiplier: e[c].to_bits() as i32, offset: zero, shift: 0, sign: 32, left: 0 };
                    small.then_some(constants)?
                }
            });
        }
        for &first in vectors {
            let of = |f: &dyn Fn(usize) -> i32| -> Vec<i32> {
                (first..first + lanes).map(|c| if c < channels { f(c) } else { 0 }).collect()
            };
            records.extend(of(&|c| bias[c]));
            records.extend(of(&|c| all[c].multiplier));
            records.extend(of(&|c| all[c].offset));
            records.extend(of(&|c| all[c].shift));
            records.extend(of(&|c| all[c].sign));
            records.extend(of(&|c| all[c].left));
        }
        // A hostile zero point may leave the range empty: low first, then high, as the reference clamps.
        let (low, high) = (range.low + 128, range.high + 128);
        Some(Self { records: aligned(&records), lanes, how, low, high })
    }

    #[inline(always)]
    fn row(&self, vector: usize, row: usize) -> *const i32 {
        let at = (vector * ROWS + row) * self.lanes;
        debug_assert!(at + self.lanes <= self.records.len() * 16);
        // SAFETY: a vector has `ROWS` rows of `lanes` values.
        unsafe { self.records.as_ptr().cast::<i32>().add(at) }
    }

    /// What the accumulators of a vector start from.
    ///
    /// # Safety
    /// The machine has `S`; `vector` is one of those it was made for.
    #[inline(always)]
    pub unsafe fn start<S: Simd>(&self, vector: usize) -> S::Vector {
        // SAFETY: as above.
        unsafe { S::load(self.row(vector, 0)) }
    }

    /// Brings the `N` accumulators of a vector to bytes, and stores the first `lanes` of each, `step` bytes apart.
    ///
    /// # Safety
    /// As [`start`](Self::start); `to` is good for what is stored.
    #[inline(always)]
    pub unsafe fn finish<S: Simd, const N: usize>(
        &self,
        vector: usize,
        accumulators: &[S::Vector; N],
        to: *mut u8,
        step: usize,
        lanes: usize,
    ) {
        // SAFETY: as above.
        unsafe {
            let (low, high) = (S::splat(self.low), S::splat(self.high));
            let multiplier = S::load(self.row(vector, 1));
            let offset = S::load(self.row(vector, 2));
            if self.how == How::Float {
                for i in 0..N {
                    let y = S::add(S::scale(accumulators[i], multiplier), offset);
                    S::store_bytes(S::min(S::max(y, low), high), to.add(i * step), lanes);
                }
                return;
            }
            let shift = S::load(self.row(vector, 3));
            let sign = S::load(self.row(vector, 4));
            if self.how == How::FixedPointLeft {
                let left = S::load(self.row(vector, 5));
                for i in 0..N {
                    let y = rescale::<S>(S::shift_left(accumulators[i], left), multiplier, offset, shift, sign);
                    S::store_bytes(S::min(S::max(y, low), high), to.add(i * step), lanes);
                }
                return;
            }
            for i in 0..N {
                let y = rescale::<S>(accumulators[i], multiplier, offset, shift, sign);
                S::store_bytes(S::min(S::max(y, low), high), to.add(i * step), lanes);
            }
        }
    }
}

/// `MBQM(x, m)` with [`Constants`] in vectors, the zero point added.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub(super) unsafe fn rescale<S: Simd>(
    x: S::Vector,
    multiplier: S::Vector,
    offset: S::Vector,
    shift: S::Vector,
    sign: S::Vector,
) -> S::Vector {
    // SAFETY: as above.
    unsafe {
        let high = S::high_mul(x, multiplier);
        let negative = S::shift_right_logical(high, sign);
        S::shift_right(S::sub(S::add(high, offset), negative), shift)
    }
}
