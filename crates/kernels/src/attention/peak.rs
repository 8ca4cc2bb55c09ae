//! What the machine's multiply-adds reach at best: the bound of every product of floats.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};

/// GFLOP/s of fused multiply-adds in registers, in the widest vectors, on all threads of the caller's pool at once.
///
/// `turns`: 2,000,000 take some 10 ms.
pub fn peak(turns: usize) -> f64 {
    let start = Instant::now();
    let operations: usize = rayon::broadcast(|_| Arch::new().dispatch(Peak(turns))).into_iter().sum();
    operations as f64 / start.elapsed().as_secs_f64() * 1e-9
}

struct Peak(usize);

impl WithSimd for Peak {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        /// Sums side by side, so that none waits for itself.
        const SUMS: usize = 10;
        let factor = simd.splat_f32s(black_box(0.5));
        let mut sums = [simd.splat_f32s(black_box(1.0)); SUMS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, factor);
            }
        }
        sums.iter().for_each(|sum| _ = black_box(simd.reduce_sum_f32s(*sum)));
        2 * SUMS * S::F32_LANES * self.0
    }
}
