//! Real numbers to bytes: `x / s` rounded half away from zero, as [`crate::int8::quantize`] does one at a time.

use super::simd::{Isa, Simd, Work, dispatch};
use crate::int8::{Affine, quantize as one};

/// Writes each of `input`, quantised by `to`, as `x + 128`.
///
/// # Errors
/// The position of the first NaN.
///
/// # Panics
/// If the slices differ in length, or the machine has no `isa`.
pub fn quantize(input: &[f32], to: Affine, isa: Isa, output: &mut [u8]) -> Result<(), usize> {
    isa.check();
    assert_eq!(input.len(), output.len());
    dispatch(isa, Quantize { input, to, output })
}

struct Quantize<'a> {
    input: &'a [f32],
    to: Affine,
    output: &'a mut [u8],
}

impl Work for Quantize<'_> {
    type Output = Result<(), usize>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Result<(), usize> {
        let Self { input, to, output } = self;
        let whole = input.len() / S::LANES * S::LANES;
        let mut i = 0;
        let mut numbers = true;
        // SAFETY: the vectors end with the slices or before.
        unsafe {
            let (zero, low, high) = (S::splat(to.zero_point + 128), S::splat(0), S::splat(255));
            while i < whole {
                let (steps, are_numbers) = S::nearest_steps(input.as_ptr().add(i), to.scale as f32);
                numbers &= are_numbers;
                let y = S::min(S::max(S::add(steps, zero), low), high);
                S::store_bytes(y, output.as_mut_ptr().add(i), S::LANES);
                i += S::LANES;
            }
        }
        if !numbers {
            return Err(input.iter().position(|x| x.is_nan()).unwrap_or(0));
        }
        for (i, (&x, y)) in input.iter().zip(output).enumerate().skip(whole) {
            *y = one(x, to, -128, 127).ok_or(i)? as u8 ^ 0x80;
        }
        Ok(())
    }
}
