//! What the machine could do at best: multiply-adds a second of a loop that touches registers alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::simd::{Isa, Simd, Work, dispatch};

/// Multiply-adds a second, the best of `rounds` short loops of int8 dot products in registers.
///
/// # Panics
/// If the machine has no `isa`.
pub fn peak(isa: Isa, rounds: usize) -> f64 {
    isa.check();
    let rate = |_| {
        let (work, took) = dispatch(isa, Peak);
        work as f64 / took.as_secs_f64()
    };
    (0..rounds.max(1)).map(rate).fold(0.0, f64::max)
}

struct Peak;

/// Sums that hide each other's latency.
const SUMS: usize = 12;
const TURNS: usize = 200_000;

impl Work for Peak {
    type Output = (usize, Duration);

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> (usize, Duration) {
        // SAFETY: the caller has `S`; nothing is read or written.
        unsafe {
            let (x, w) = (S::splat(black_box(0x0102_0304)), S::splat(black_box(0x0001_0002)));
            let mut sums = [S::splat(0); SUMS];
            let start = Instant::now();
            for _ in 0..TURNS {
                for i in 0..SUMS {
                    sums[i] = S::dot(sums[i], x, w);
                }
            }
            let took = start.elapsed();
            let mut total = sums[0];
            for i in 1..SUMS {
                total = S::add(total, sums[i]);
            }
            let mut byte = 0;
            S::store_bytes(total, &raw mut byte, 1);
            black_box(byte);
            (TURNS * SUMS * S::LANES * S::GROUP, took)
        }
    }
}
