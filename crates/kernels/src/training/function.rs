//! exp, tanh and erf without branches, so that loops over them become vectors.
//!
//! Every function is a handful of fused multiply-adds; where a formula holds on a part of the line alone, both are computed
//! and one is chosen. Within [`vectors`] a loop over a slice compiles to the widest vectors that the machine has.

use pulp::Arch;

/// Runs a loop with all instructions that the machine has.
#[inline(always)]
pub fn vectors<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(body)
}

/// e^x, relative error at most 2e-7; 0 below -87, and 2.4e38 above 88.3. NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2^23: a number added to it is rounded to a whole one, which stands in its lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let inside = x.clamp(-87.0, 88.3);
    let rounded = inside.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    // ln 2 in two parts, the first of which has few bits, so that its products with n are exact.
    let r = n.mul_add(-0.693_359_4, inside);
    let r = n.mul_add(2.121_944_4e-4, r);
    // e^r on |r| <= ln 2 / 2 (coefficients of Cephes' expf).
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r + 1.0);
    let power = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

/// tanh x, relative error at most 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let z = x * x;
    // Near 0 (coefficients of Cephes' tanhf).
    let p = (-5.704_988_7e-3_f32).mul_add(z, 2.063_908_8e-2);
    let p = p.mul_add(z, -5.373_971_6e-2);
    let p = p.mul_add(z, 1.333_144_3e-1);
    let p = p.mul_add(z, -3.333_328e-1);
    let near = (p * z).mul_add(x, x);
    let far = (1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function and e^(-x²), absolute error at most 1e-6 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub fn erf(x: f32) -> (f32, f32) {
    let t = 1.0 / 0.327_591_1_f32.mul_add(x.abs(), 1.0);
    let p = 1.061_405_4_f32;
    let p = p.mul_add(t, -1.453_152_1);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_74);
    let p = p.mul_add(t, 0.254_829_6);
    let bell = exp(-x * x);
    ((1.0 - p * t * bell).copysign(x), bell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(range: (f64, f64), f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, floor: f64) -> f64 {
        let steps = 200_000;
        (0..=steps)
            .map(|i| {
                let x = (range.0 + (range.1 - range.0) * f64::from(i) / f64::from(steps)) as f32;
                let exact = exact(f64::from(x));
                (f64::from(f(x)) - exact).abs() / exact.abs().max(floor)
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_within_their_errors() {
        assert!(worst((-86.9, 88.2), exp, f64::exp, 0.0) < 3e-7);
        assert!(worst((-12.0, 12.0), tanh, f64::tanh, 1e-30) < 3e-7);
        assert!(worst((-30.0, 30.0), sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 1e-30) < 5e-7);
        // erf by its series, which converges everywhere.
        let series = |x: f64| {
            let mut term = x;
            let mut sum = x;
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        };
        assert!(worst((-4.0, 4.0), |x| erf(x).0, series, 1.0) < 1e-6);
    }

    #[test]
    fn ends_of_the_line_are_safe() {
        assert_eq!((exp(f32::NEG_INFINITY), exp(-1e9), exp(0.0)), (0.0, 0.0, 1.0));
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && exp(f32::INFINITY) > 1e38);
        assert_eq!((tanh(f32::INFINITY), tanh(-100.0), tanh(0.0)), (1.0, -1.0, 0.0));
        assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (1.0 / (1.0 + exp(1e9)), 1.0));
    }
}
