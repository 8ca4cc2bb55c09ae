//! What convolutions and matrices have in common: windows, and how sums become int8 values.

use super::fixed_point::{Range, scaled};
use crate::Coordinate;

/// A window along one axis.
pub struct Window {
    /// Taps.
    pub kernel: Coordinate,
    /// Distance between neighbouring outputs.
    pub stride: Coordinate,
    /// Distance between neighbouring taps.
    pub dilation: Coordinate,
    /// Padding before the first input.
    pub before: Coordinate,
    /// Length of the input.
    pub input: Coordinate,
}

impl Window {
    /// The taps of output `o` that fall on the input, the end exclusive; those on padding add nothing.
    #[inline]
    pub fn taps(&self, o: usize) -> [usize; 2] {
        let [before, dilation] = [self.before as usize, self.dilation as usize];
        let start = o * self.stride as usize;
        let up_to = |position: usize| position.saturating_sub(start).div_ceil(dilation).min(self.kernel as usize);
        let end = up_to(self.input as usize + before);
        [up_to(before).min(end), end]
    }

    /// The input under tap `k` of output `o`.
    #[inline]
    pub fn position(&self, o: usize, k: usize) -> usize {
        o * self.stride as usize + k * self.dilation as usize - self.before as usize
    }
}

/// `clamp(multiplier[channel] · sum + output_zero)`.
pub struct Requantization {
    /// One for each channel, or a single one.
    pub mantissas: &'static [i32],
    /// One for each mantissa.
    pub shifts: &'static [i8],
    /// No sum reaches ±2^30 and no shift is positive: 32 bits are enough.
    pub narrow: bool,
    /// Zero point of the output.
    pub output_zero: i16,
    /// What the fused activation admits.
    pub range: Range,
}

impl Requantization {
    /// The value of a sum.
    #[inline]
    pub fn apply(&self, sum: i32, channel: usize) -> i8 {
        let i = if self.mantissas.len() == 1 { 0 } else { channel };
        let (mantissa, shift) = (self.mantissas[i], self.shifts[i]);
        let product = if self.narrow {
            let high = ((i64::from(sum << 1) * i64::from(mantissa) + (1 << 31)) >> 32) as i32;
            let right = i32::from(-shift) as u32;
            (high + ((1i32 << right) >> 1) - i32::from(high < 0 && right > 0)) >> right
        } else {
            scaled(sum, mantissa, shift)
        };
        self.range.clamp(product.saturating_add(self.output_zero.into()))
    }
}

/// A convolution.
pub struct Filter {
    /// Along the rows.
    pub rows: Window,
    /// Along the columns.
    pub columns: Window,
    /// Channels of the input.
    pub in_channels: u16,
    /// Channels of the output.
    pub out_channels: u16,
    /// Convolution: `[out, kh, kw, in]`; depthwise: `[kh, kw, out]`.
    pub weights: &'static [i8],
    /// One for each output channel.
    pub bias: &'static [i32],
    /// Zero point of the input.
    pub input_zero: i16,
    /// How sums become int8 values.
    pub requantization: Requantization,
}

/// Adds Σ (x − zero)·w to each of `N` sums, for as many rows of weights.
#[inline(always)]
pub fn add_dots<const N: usize>(sums: &mut [i32; N], x: &[i8], zero: i32, weights: [&[i8]; N]) {
    let weights = weights.map(|w| &w[..x.len()]);
    for (i, &x) in x.iter().enumerate() {
        let x = i32::from(x) - zero;
        for n in 0..N {
            sums[n] = sums[n].wrapping_add(x * i32::from(weights[n][i]));
        }
    }
}
