//! 2^x in vectors: the exponential of a softmax whose scores have been multiplied by log₂ e beforehand.
//!
//! A whole number n and a remainder f in [-½, ½] with x = n + f; 2^f by a polynomial, 2^n from n's bits. In base 2 the
//! split is exact and costs no multiplication, and log₂ e goes into the scale that queries are multiplied by anyway.

use pulp::Simd;

/// Below it 2^x is 0.
const LEAST: f32 = -127.0;
/// 1.5 · 2^23 and the bias of an exponent: a number added to it is rounded to a whole one, which stands, biased, in the
/// lowest bits. Shifted to where a number has its exponent, all other bits are gone.
const ROUND: f32 = 12_582_912.0 + 127.0;
/// 2^f, relative minimax of degree 6 on [-½, ½] by Remez' exchange, lowest power first; the second is ln 2 to f32.
const POLYNOMIAL: [f32; 7] =
    [1.0, std::f32::consts::LN_2, 0.240_226_46, 0.055_503_286, 0.009_618_489, 0.001_339_993_1, 0.000_153_458_12];

/// 2^x for x <= 127, within 1 ulp where the result is at least 2^-126; 0 below, and for -∞. NaN stays NaN on x86.
#[inline(always)]
pub(super) fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // The larger of two numbers is x86's second if one is NaN.
    let x = simd.max_f32s(simd.splat_f32s(LEAST), x);
    let rounded = simd.add_f32s(x, simd.splat_f32s(ROUND));
    let f = simd.sub_f32s(x, simd.sub_f32s(rounded, simd.splat_f32s(ROUND)));
    let mut p = simd.splat_f32s(POLYNOMIAL[6]);
    for k in (0..6).rev() {
        p = simd.mul_add_e_f32s(p, f, simd.splat_f32s(POLYNOMIAL[k]));
    }
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    struct All<'a>(&'a mut [f32]);

    impl WithSimd for All<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (vectors, rest) = S::as_mut_simd_f32s(self.0);
            vectors.iter_mut().for_each(|x| *x = exp2(simd, *x));
            let last = exp2(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, last);
        }
    }

    #[test]
    fn is_within_two_ulp_from_minus_126_to_9() {
        let x: Vec<f32> = (0..1_350_001).map(|i| -126.0 + i as f32 * 1e-4).collect();
        let mut y = x.clone();
        for arch in [Arch::Scalar, Arch::new()] {
            y.copy_from_slice(&x);
            arch.dispatch(All(&mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let exact = f64::from(x).exp2();
                let ulp = f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
                assert!((f64::from(y) - exact).abs() <= 2.0 * ulp, "2^{x} is {exact}, not {y}");
            }
        }
    }

    #[test]
    fn far_below_is_nothing() {
        let mut x = [f32::NEG_INFINITY, -1e38, -127.0, -1e9, 0.0, 1.0, -1.0];
        Arch::new().dispatch(All(&mut x));
        assert_eq!(x, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.5]);
    }
}
