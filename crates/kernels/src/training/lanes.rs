//! Loops over slices a vector at a time, for kernels that have their vectors at hand (`pulp`'s `Simd`).
//!
//! What the compiler makes of a plain loop is often as good, and is used elsewhere; it is not for sums, and for choices
//! between a number and 0 that are written in place, which it turns into conditional stores.

use pulp::{Arch, Simd, WithSimd};

/// Runs a kernel with vectors of 32 bytes at most.
#[inline(always)]
pub fn dispatch_half<K: WithSimd>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(half) = pulp::x86::V3::try_new() {
        return Simd::vectorize(half, kernel);
    }
    Arch::new().dispatch(kernel)
}

/// Runs a kernel with the widest vectors of which a row of so many numbers fills one. (Rows of 8 fill half a vector of AVX-512:
/// a convolution of 8 x 8 pixels takes half the time with those of AVX2.)
#[inline(always)]
pub fn dispatch_for_rows<K: WithSimd>(columns: usize, kernel: K) -> K::Output {
    if (8..16).contains(&columns) { dispatch_half(kernel) } else { Arch::new().dispatch(kernel) }
}

/// x = f(x).
#[inline(always)]
pub fn each<S: Simd>(simd: S, x: &mut [f32], f: impl Fn(S::f32s) -> S::f32s) {
    let (vectors, rest) = S::as_mut_simd_f32s(x);
    for x in vectors {
        *x = f(*x);
    }
    if !rest.is_empty() {
        let last = f(simd.partial_load_f32s(rest));
        simd.partial_store_f32s(rest, last);
    }
}

/// x = f(x, y).
#[inline(always)]
pub fn each_beside<S: Simd>(simd: S, x: &mut [f32], y: &[f32], f: impl Fn(S::f32s, S::f32s) -> S::f32s) {
    let ((vectors, rest), (beside, other)) = (S::as_mut_simd_f32s(x), S::as_simd_f32s(y));
    for (x, y) in vectors.iter_mut().zip(beside) {
        *x = f(*x, *y);
    }
    if !rest.is_empty() {
        let last = f(simd.partial_load_f32s(rest), simd.partial_load_f32s(other));
        simd.partial_store_f32s(rest, last);
    }
}

/// Σ f(x, y), where `f` adds to what it is given; four vectors of sums side by side. `last`: the same for single numbers.
#[inline(always)]
pub fn sum<S: Simd>(
    simd: S,
    (x, y): (&[f32], &[f32]),
    f: impl Fn(S::f32s, S::f32s, S::f32s) -> S::f32s,
    last: impl Fn(f32, f32, f32) -> f32,
) -> f32 {
    let ((xs, x), (ys, y)) = (S::as_simd_f32s(x), S::as_simd_f32s(y));
    let ((xs, x_rest), (ys, y_rest)) = (xs.as_chunks::<4>(), ys.as_chunks::<4>());
    let [mut a, mut b, mut c, mut d] = [simd.splat_f32s(0.0); 4];
    for (x, y) in xs.iter().zip(ys) {
        a = f(a, x[0], y[0]);
        b = f(b, x[1], y[1]);
        c = f(c, x[2], y[2]);
        d = f(d, x[3], y[3]);
    }
    for (x, y) in x_rest.iter().zip(y_rest) {
        a = f(a, *x, *y);
    }
    let sum = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
    x.iter().zip(y).fold(sum, |sum, (&x, &y)| last(sum, x, y))
}

/// max(x, 0); NaN stays NaN.
#[inline(always)]
pub fn relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
}

/// g where y > 0, else 0.
#[inline(always)]
pub fn relu_backward<S: Simd>(simd: S, y: S::f32s, g: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(zero, y), g, zero)
}
