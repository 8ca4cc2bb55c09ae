//! What convolutions and matrices have in common: windows, and how sums become int8 values.

use super::fixed_point::{scaled, Range};
use super::place::Place;
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
    #[inline(never)]
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

    /// The values of the first `count` of four sums, for the channels from `first` on.
    #[inline(never)]
    pub fn block(&self, sums: [i32; 4], first: usize, count: usize) -> [i8; 4] {
        let mut values = [0; 4];
        for i in 0..count {
            values[i] = self.apply(sums[i], first + i);
        }
        values
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
    /// One for each output channel, or none.
    pub bias: &'static [i32],
    /// Zero point of the input.
    pub input_zero: i16,
    /// How sums become int8 values.
    pub requantization: Requantization,
}

impl Filter {
    /// The biases of the first `count` of four channels, from `first` on.
    #[inline]
    pub fn biases(&self, first: usize, count: usize) -> [i32; 4] {
        let mut sums = [0; 4];
        if !self.bias.is_empty() {
            sums[..count].copy_from_slice(&self.bias[first..first + count]);
        }
        sums
    }
}

/// Where the taps of a pixel lie: all that its channels have in common.
pub struct Taps {
    /// Rows of taps on the input, the end exclusive.
    pub rows: [usize; 2],
    /// Columns of taps on the input, the end exclusive.
    pub columns: [usize; 2],
    /// The first pixel, as if it lay in row 0 of the ring.
    start: usize,
    /// Bytes of a row.
    row_bytes: usize,
    /// The first row's place in the ring.
    first: usize,
}

impl Taps {
    /// Of pixel (`y`, `x`) of the output.
    #[inline]
    pub fn new(op: &Filter, input: &Place, y: usize, x: usize) -> Self {
        let (rows, columns, depth) = (op.rows.taps(y), op.columns.taps(x), op.in_channels as usize);
        let none = rows[0] == rows[1] || columns[0] == columns[1];
        if none {
            return Self { rows: [0, 0], columns: [0, 0], start: 0, row_bytes: 0, first: 0 };
        }
        let left = op.columns.position(x, columns[0]) - input.column as usize;
        Self {
            rows,
            columns,
            start: input.offset as usize + left * depth,
            row_bytes: input.width as usize * depth,
            first: (op.rows.position(y, rows[0]) - input.row as usize) % input.ring as usize,
        }
    }

    /// Calls `add(row of taps, start of its first pixel)` for each row.
    #[inline(always)]
    pub fn each_row(&self, op: &Filter, input: &Place, mut add: impl FnMut(usize, usize)) {
        let mut row = self.first;
        for ky in self.rows[0]..self.rows[1] {
            add(ky, self.start + row * self.row_bytes);
            // No division: a ring holds all rows of a window.
            row += op.rows.dilation as usize;
            if row >= input.ring as usize {
                row -= input.ring as usize;
            }
        }
    }
}

/// Adds Σ (x − zero)·w to each of four sums; their weights begin `size` apart.
///
/// Not inlined, because all registers are needed: 13 instructions for 4 products on a Cortex-M4, none of them a spill.
#[inline(never)]
pub fn add_four(sums: &mut [i32; 4], x: &[i8], zero: i32, weights: &[i8], size: usize) {
    let row = |n: usize| &weights[n * size..][..x.len()];
    let (w0, w1, w2, w3) = (row(0), row(1), row(2), row(3));
    let [mut a, mut b, mut c, mut d] = *sums;
    for ((((&x, &w0), &w1), &w2), &w3) in x.iter().zip(w0).zip(w1).zip(w2).zip(w3) {
        let x = i32::from(x) - zero;
        a = a.wrapping_add(x * i32::from(w0));
        b = b.wrapping_add(x * i32::from(w1));
        c = c.wrapping_add(x * i32::from(w2));
        d = d.wrapping_add(x * i32::from(w3));
    }
    *sums = [a, b, c, d];
}

/// Adds Σ (x − zero)·w.
#[inline(never)]
pub fn add_one(sum: &mut i32, x: &[i8], zero: i32, weights: &[i8]) {
    for (&x, &w) in x.iter().zip(&weights[..x.len()]) {
        *sum = sum.wrapping_add((i32::from(x) - zero) * i32::from(w));
    }
}
