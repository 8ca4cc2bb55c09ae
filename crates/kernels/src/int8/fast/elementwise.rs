//! Sums, differences and products of two tensors of one shape, or of rows with one row.

use super::requantize::{Constants, constants, rescale};
use super::simd::{Isa, Simd, Work, dispatch};
use crate::int8::elementwise::{self, LEFT_SHIFT};
use crate::int8::{Binary, Rounding};

/// ADD, SUB or MUL.
#[derive(Debug, Clone)]
pub struct Pairwise {
    isa: Isa,
    /// Zero points of the operands, of u8.
    zeros: [i32; 2],
    how: How,
    output: Constants,
    low: i32,
    high: i32,
}

#[derive(Debug, Clone)]
enum How {
    /// Both on a common scale; the second times ±1.
    Sum {
        operands: [Constants; 2],
        negative: bool,
    },
    Product,
}

impl Pairwise {
    /// The fast twin of `formula`; `None` if 32 bits may overflow on the way, or it rounds once.
    ///
    /// # Panics
    /// If the machine has no `isa`.
    pub fn new(formula: &Binary, isa: Isa) -> Option<Self> {
        isa.check();
        if formula.rounding != Rounding::Double {
            return None;
        }
        let plain = |c: Constants| (c.left == 0).then_some(c);
        let (how, bound) = match &formula.how {
            elementwise::How::Sum { operands, sign } => {
                let most = 255i64 << LEFT_SHIFT;
                let [a, b] = operands.map(|m| constants(m, most, 0).and_then(plain));
                // Operands are scaled by ½ at most.
                (How::Sum { operands: [a?, b?], negative: *sign < 0 }, most + 2)
            }
            elementwise::How::Product => (How::Product, 255 * 255),
        };
        let output = plain(constants(formula.output, bound, formula.output_zero + 128)?)?;
        let zeros = formula.zeros.map(|z| z + 128);
        let (low, high) = (formula.range.low + 128, formula.range.high + 128);
        Some(Self { isa, zeros, how, output, low, high })
    }

    /// `output[i] = f(a[i], b[i mod b.len()])`, bytes being `x + 128`.
    ///
    /// # Panics
    /// If `a` and `output` differ in length, or `b` does not divide it.
    pub fn apply(&self, a: &[u8], b: &[u8], output: &mut [u8]) {
        assert!(a.len() == output.len() && !b.is_empty() && a.len().is_multiple_of(b.len()));
        for (a, output) in a.chunks(b.len()).zip(output.chunks_mut(b.len())) {
            dispatch(self.isa, Apply { f: self, a, b, output });
        }
    }
}

struct Apply<'a> {
    f: &'a Pairwise,
    a: &'a [u8],
    b: &'a [u8],
    output: &'a mut [u8],
}

/// [`Constants`] in vectors.
#[derive(Clone, Copy)]
struct Vectors<S: Simd> {
    multiplier: S::Vector,
    offset: S::Vector,
    shift: S::Vector,
    sign: S::Vector,
}

impl<S: Simd> Vectors<S> {
    /// # Safety
    /// The machine has `S`.
    #[inline(always)]
    unsafe fn new(c: Constants) -> Self {
        // SAFETY: as above.
        unsafe {
            Self {
                multiplier: S::splat(c.multiplier),
                offset: S::splat(c.offset),
                shift: S::splat(c.shift),
                sign: S::splat(c.sign),
            }
        }
    }

    /// # Safety
    /// The machine has `S`.
    #[inline(always)]
    unsafe fn apply(&self, x: S::Vector) -> S::Vector {
        // SAFETY: as above.
        unsafe { rescale::<S>(x, self.multiplier, self.offset, self.shift, self.sign) }
    }
}

impl Work for Apply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { f, a, b, output } = self;
        // SAFETY: the three slices have one length.
        unsafe {
            let (zero_a, zero_b) = (S::splat(f.zeros[0]), S::splat(f.zeros[1]));
            let last = Vectors::<S>::new(f.output);
            let (low, high) = (S::splat(f.low), S::splat(f.high));
            let up = S::splat(LEFT_SHIFT as i32);
            let (length, mut i) = (output.len(), 0);
            let sum = match &f.how {
                How::Sum { operands, negative } => {
                    Some((Vectors::<S>::new(operands[0]), Vectors::<S>::new(operands[1]), *negative))
                }
                How::Product => None,
            };
            while i < length {
                let n = S::LANES.min(length - i);
                let a = S::sub(S::load_bytes(a.as_ptr().add(i), n), zero_a);
                let b = S::sub(S::load_bytes(b.as_ptr().add(i), n), zero_b);
                let raw = match &sum {
                    Some((first, second, negative)) => {
                        let a = first.apply(S::shift_left(a, up));
                        let b = second.apply(S::shift_left(b, up));
                        if *negative { S::sub(a, b) } else { S::add(a, b) }
                    }
                    None => S::mul(a, b),
                };
                let y = S::min(S::max(last.apply(raw), low), high);
                S::store_bytes(y, output.as_mut_ptr().add(i), n);
                i += S::LANES;
            }
        }
    }
}
