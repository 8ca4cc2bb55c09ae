//! The vector unit of any machine: eight lanes in plain Rust, which compilers vectorise as they can.

use super::simd::{ALMOST_HALF, FAR, Simd, Work};

/// Eight lanes, pairs of i16.
#[derive(Clone, Copy)]
pub(super) struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn each(f: impl Fn(usize) -> i32) -> [i32; LANES] {
    std::array::from_fn(f)
}

impl Simd for Portable {
    const LANES: usize = LANES;
    const GROUP: usize = 2;
    const ACCUMULATORS: usize = 6;
    const CENTRED: bool = true;

    type Staged = i16;
    type Vector = [i32; LANES];

    unsafe fn vectorize<W: Work>(work: W) -> W::Output {
        // SAFETY: every machine has this one.
        unsafe { work.run::<Self>() }
    }

    #[inline(always)]
    fn staged(x: u8, zero: u8) -> i16 {
        i16::from(x) - i16::from(zero)
    }

    #[inline(always)]
    unsafe fn stage(from: *const u8, n: usize, zero: u8, to: *mut i16) {
        for i in 0..n {
            // SAFETY: both are good for `n`.
            unsafe { *to.add(i) = Self::staged(*from.add(i), zero) };
        }
    }

    #[inline(always)]
    unsafe fn interleave(from: [*const u8; 4], n: usize, zero: u8, to: *mut i32) {
        for i in 0..n {
            // SAFETY: the rows are good for `n`, `to` for `LANES`.
            unsafe {
                let [a, b] = [from[0], from[1]].map(|row| Self::staged(*row.add(i), zero));
                *to.add(i) = i32::from(a) & 0xffff | i32::from(b) << 16;
            }
        }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> [i32; LANES] {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn splat_at(from: *const i32) -> [i32; LANES] {
        // SAFETY: good for 4 bytes.
        [unsafe { from.read_unaligned() }; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> [i32; LANES] {
        // SAFETY: good for `LANES`.
        unsafe { from.cast::<[i32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(x: [i32; LANES], to: *mut i32) {
        // SAFETY: good for `LANES`.
        unsafe { to.cast::<[i32; LANES]>().write_unaligned(x) };
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8, n: usize) -> [i32; LANES] {
        // SAFETY: good for `n`.
        each(|i| if i < n { i32::from(unsafe { *from.add(i) }) } else { 0 })
    }

    #[inline(always)]
    unsafe fn store_bytes(x: [i32; LANES], to: *mut u8, n: usize) {
        for (i, x) in x.iter().enumerate().take(n) {
            // SAFETY: good for `n`.
            unsafe { *to.add(i) = *x as u8 };
        }
    }

    #[inline(always)]
    unsafe fn dot(acc: [i32; LANES], x: [i32; LANES], w: [i32; LANES]) -> [i32; LANES] {
        let halves = |v: i32| (i32::from(v as i16), v >> 16);
        each(|i| {
            let ((x0, x1), (w0, w1)) = (halves(x[i]), halves(w[i]));
            acc[i].wrapping_add(x0 * w0).wrapping_add(x1 * w1)
        })
    }

    #[inline(always)]
    unsafe fn add(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        each(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    unsafe fn sub(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        each(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    unsafe fn mul(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        each(|i| a[i].wrapping_mul(b[i]))
    }

    #[inline(always)]
    unsafe fn max(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        each(|i| a[i].max(b[i]))
    }

    #[inline(always)]
    unsafe fn min(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        each(|i| a[i].min(b[i]))
    }

    #[inline(always)]
    unsafe fn shift_left(x: [i32; LANES], by: [i32; LANES]) -> [i32; LANES] {
        each(|i| x[i].wrapping_shl(by[i] as u32))
    }

    #[inline(always)]
    unsafe fn shift_right(x: [i32; LANES], by: [i32; LANES]) -> [i32; LANES] {
        each(|i| x[i] >> by[i].min(31))
    }

    #[inline(always)]
    unsafe fn shift_right_logical(x: [i32; LANES], by: [i32; LANES]) -> [i32; LANES] {
        each(|i| (x[i] as u32).checked_shr(by[i] as u32).unwrap_or(0) as i32)
    }

    #[inline(always)]
    unsafe fn high_mul(x: [i32; LANES], m: [i32; LANES]) -> [i32; LANES] {
        each(|i| ((i64::from(x[i]) * i64::from(m[i]) + (1 << 30)) >> 31) as i32)
    }

    #[inline(always)]
    unsafe fn scale(x: [i32; LANES], e: [i32; LANES]) -> [i32; LANES] {
        each(|i| (x[i] as f32 * f32::from_bits(e[i] as u32)).round_ties_even() as i32)
    }

    #[inline(always)]
    unsafe fn quotient(x: [i32; LANES], divisor: f32) -> [i32; LANES] {
        each(|i| (x[i] as f32 / divisor) as i32)
    }

    #[inline(always)]
    unsafe fn nearest_steps(from: *const f32, scale: f32) -> ([i32; LANES], bool) {
        // SAFETY: good for `LANES`.
        let x = unsafe { from.cast::<[f32; LANES]>().read_unaligned() };
        let steps = each(|i| {
            let steps = (x[i] / scale).clamp(-FAR, FAR);
            (steps + ALMOST_HALF.copysign(steps)) as i32
        });
        (steps, !x.iter().any(|x| x.is_nan()))
    }
}
