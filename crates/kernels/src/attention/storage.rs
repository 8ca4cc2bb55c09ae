//! How queries, keys and values are stored; all arithmetic is in f32.
//!
//! Numbers are widened as they are packed, once for each head (or each group of queries that keys are gathered for), so
//! that halves cost what reading half as much memory saves.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Numbers that attention reads: f32, f16 or bf16.
pub trait Storage: Copy + Send + Sync + 'static {
    /// The same numbers in f32.
    ///
    /// # Panics
    /// If there is not room for each.
    fn widen(from: &[Self], to: &mut [f32]);

    /// Whether none is NaN or ±∞.
    fn all_finite(numbers: &[Self]) -> bool;
}

// No branch within a row, so that it is read in vectors.
impl Storage for f32 {
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    #[inline(always)]
    fn all_finite(numbers: &[Self]) -> bool {
        numbers.iter().fold(true, |finite, x| finite & (x.abs() <= Self::MAX))
    }
}

impl Storage for f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    #[inline(always)]
    fn all_finite(numbers: &[Self]) -> bool {
        numbers.iter().fold(true, |finite, x| finite & (x.to_bits() & 0x7c00 != 0x7c00))
    }
}

impl Storage for bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    #[inline(always)]
    fn all_finite(numbers: &[Self]) -> bool {
        numbers.iter().fold(true, |finite, x| finite & (x.to_bits() & 0x7f80 != 0x7f80))
    }
}
