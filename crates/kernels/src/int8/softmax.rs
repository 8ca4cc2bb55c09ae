//! SOFTMAX in fixed point: exponentials by a table of squarings, one reciprocal per row by Newton's method.
//!
//! Source: gemmlowp's fixed-point functions, as TensorFlow Lite Micro calls them. Qa.b: `a` bits before the point.

use super::Range;
use super::fixed_point::{Multiplier, rounding_divide_by_pot as rdbp, saturating_rounding_doubling_high_mul as srdhm};

/// Bits before the point of the scaled differences (Q5.26).
const DIFFERENCE_BITS: u32 = 5;
/// Bits before the point of the sum of exponentials (Q12.19).
const SUM_BITS: u32 = 12;

/// A prepared SOFTMAX; the output is quantised by (1/256, −128).
#[derive(Debug, Clone)]
pub struct Softmax {
    /// Mantissa of β·scale·2^26.
    pub multiplier: i32,
    /// Its shift.
    pub left_shift: u32,
    /// Differences from the greatest value below this count as nothing.
    pub least_difference: i32,
}

impl Softmax {
    /// softmax(β·x) of values of scale `scale`; `None` if β·scale is not above 2^−26.
    pub fn new(beta: f32, scale: f64) -> Option<Self> {
        let real = (f64::from(beta) * scale * f64::from(1u32 << (31 - DIFFERENCE_BITS))).min(f64::from(i32::MAX));
        let m = Multiplier::unbounded(real).filter(|m| real > 1.0 && m.shift >= 0)?;
        let radius = f64::from((1 << DIFFERENCE_BITS) - 1) * f64::from(1 << (31 - DIFFERENCE_BITS));
        let least_difference = -((radius / 2f64.powi(m.shift)).floor() as i32);
        Some(Self { multiplier: m.mantissa, left_shift: m.shift as u32, least_difference })
    }

    /// Softmax of each row of `depth` values.
    pub fn apply(&self, depth: usize, input: &[i8], output: &mut [i8]) {
        for (row, out) in input.chunks(depth).zip(output.chunks_mut(depth)) {
            let max = i32::from(row.iter().copied().max().unwrap_or(0));
            let exponential = |x: i8| {
                let difference = i32::from(x) - max;
                (difference >= self.least_difference).then(|| {
                    let scaled = (i64::from(difference) << self.left_shift) as i32;
                    exp_of_negative(srdhm(scaled, self.multiplier))
                })
            };
            let sum: i64 = row.iter().filter_map(|&x| exponential(x)).map(|e| i64::from(rdbp(e, SUM_BITS))).sum();
            // More than 4,095 equal greatest values would not fit Q12.19.
            let sum = sum.min(i64::from(i32::MAX)) as u32;
            let headroom = sum.leading_zeros();
            let reciprocal = reciprocal_of_one_plus(((sum << headroom) - (1 << 31)) as i32);
            for (&x, out) in row.iter().zip(out) {
                *out = exponential(x)
                    .map_or(i8::MIN, |e| Range::FULL.clamp(rdbp(srdhm(reciprocal, e), 31 + 4 - headroom) - 128));
            }
        }
    }
}

/// e^a for a ≤ 0 in Q5.26, as Q0.31.
fn exp_of_negative(a: i32) -> i32 {
    if a == 0 {
        return i32::MAX;
    }
    // a = u − rem: u in [−¼, 0), rem a multiple of ¼ whose bits select factors e^−2^j.
    let quarter = 1 << 24;
    let u = (a & (quarter - 1)) - quarter;
    let rem = u.wrapping_sub(a);
    /// (bit of `rem`, e^−value of the bit in Q0.31)
    const FACTORS: [(u32, i32); 7] = [
        (24, 1_672_461_947),
        (25, 1_302_514_674),
        (26, 790_015_084),
        (27, 290_630_308),
        (28, 39_332_535),
        (29, 720_401),
        (30, 242),
    ];
    let mut e = exp_near_minus_eighth(u << DIFFERENCE_BITS);
    for (bit, factor) in FACTORS {
        if rem & 1 << bit != 0 {
            e = srdhm(e, factor);
        }
    }
    e
}

/// e^t for t in [−¼, 0), both Q0.31: Taylor's polynomial of degree 4 around −⅛.
fn exp_near_minus_eighth(t: i32) -> i32 {
    /// e^−⅛ and ⅓.
    const E: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = t + (1 << 28);
    let x2 = srdhm(x, x);
    let x3 = srdhm(x2, x);
    let x4 = srdhm(x2, x2);
    let y = rdbp(srdhm(rdbp(x4, 2) + x3, THIRD) + x2, 1);
    E + srdhm(E, x + y)
}

/// 1 / (1 + f) for f in [0, 1), both Q0.31: three Newton steps.
fn reciprocal_of_one_plus(f: i32) -> i32 {
    /// 48/17 and −32/17 in Q2.29: the best line through the reciprocal.
    const INTERCEPT: i32 = 1_515_870_810;
    const SLOPE: i32 = -1_010_580_540;
    let sum = i64::from(f) + i64::from(i32::MAX);
    let half_denominator = ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32;
    let shifted = |x: i32, by: u32| (i64::from(x) << by).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    let mut x = INTERCEPT + srdhm(half_denominator, SLOPE);
    for _ in 0..3 {
        let error = (1 << 29) - srdhm(half_denominator, x);
        x += shifted(srdhm(x, error), 2);
    }
    shifted(x, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn within_two_steps_of_the_real_softmax(row in prop::collection::vec(any::<i8>(), 1..64), scale in 0.005f64..0.5) {
            let mut out = vec![0i8; row.len()];
            Softmax::new(1.0, scale).unwrap().apply(row.len(), &row, &mut out);
            let e: Vec<f64> = row.iter().map(|&x| (f64::from(x) * scale).exp()).collect();
            let sum: f64 = e.iter().sum();
            for (e, y) in e.iter().zip(&out) {
                prop_assert!((e / sum * 256.0 - 128.0 - f64::from(*y)).abs() <= 2.0);
            }
        }

        #[test]
        fn exponentials_and_reciprocals_are_close(a in 0.0f64..30.0, f in 0.0f64..0.999) {
            let e = exp_of_negative(-(a * f64::from(1 << 26)) as i32);
            // Taylor's remainder is (1/8)^5 / 5!, times e^-1/8.
            prop_assert!((f64::from(e) / 2f64.powi(31) - (-a).exp()).abs() < 5e-7);
            let r = reciprocal_of_one_plus((f * 2f64.powi(31)) as i32);
            prop_assert!((f64::from(r) / 2f64.powi(31) - 1.0 / (1.0 + f)).abs() < 1e-7);
        }
    }
}
