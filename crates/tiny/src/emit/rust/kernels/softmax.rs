//! SOFTMAX in fixed point: exponentials by factors, one reciprocal for a row by Newton's method.
//!
//! Source: gemmlowp's fixed-point functions, as TensorFlow Lite Micro calls them. Qa.b: `a` bits before the point.

use super::fixed_point::{divide_by_power, high_product, Range};
use super::place::Arena;

/// Bits before the point of the scaled differences (Q5.26).
const DIFFERENCE_BITS: u32 = 5;
/// Bits before the point of the sum of exponentials (Q12.19).
const SUM_BITS: u32 = 12;

/// A softmax; the output is quantised by (1/256, −128).
pub struct Softmax {
    /// Rows.
    pub rows: usize,
    /// Values of a row.
    pub depth: usize,
    /// Mantissa of β·scale·2^26.
    pub mantissa: i32,
    /// Its shift, to the left.
    pub left_shift: u32,
    /// Differences from the greatest value below this count as nothing.
    pub least_difference: i32,
}

impl Softmax {
    /// e^(x − greatest), or nothing.
    #[inline(never)]
    fn exponential(&self, x: i8, greatest: i32) -> Option<i32> {
        let difference = i32::from(x) - greatest;
        let scaled = (i64::from(difference) << self.left_shift) as i32;
        (difference >= self.least_difference).then(|| exp_of_negative(high_product(scaled, self.mantissa)))
    }
}

/// From `from` to `to`.
#[inline(never)]
pub fn softmax(arena: &mut Arena, op: &Softmax, from: usize, to: usize) {
    for row in 0..op.rows {
        let [from, to] = [from + row * op.depth, to + row * op.depth];
        let values = &arena[from..from + op.depth];
        let greatest = values.iter().copied().max().unwrap_or(0).into();
        let parts = values.iter().filter_map(|&x| op.exponential(x, greatest));
        let sum: i64 = parts.map(|e| i64::from(divide_by_power(e, SUM_BITS))).sum();
        let sum = sum.min(i64::from(i32::MAX)) as u32;
        let headroom = sum.leading_zeros();
        let reciprocal = reciprocal_of_one_plus((sum << headroom).wrapping_sub(1 << 31) as i32);
        for i in 0..op.depth {
            let part = op.exponential(arena[from + i], greatest);
            arena[to + i] = part.map_or(i8::MIN, |e| {
                let value = divide_by_power(high_product(reciprocal, e), 31 + 4 - headroom);
                Range { low: i8::MIN, high: i8::MAX }.clamp(value - 128)
            });
        }
    }
}

/// e^a for a ≤ 0 in Q5.26, as Q0.31.
#[inline(never)]
fn exp_of_negative(a: i32) -> i32 {
    /// (bit of the multiple of ¼, e^−value of the bit in Q0.31).
    const FACTORS: [(u32, i32); 7] = [
        (24, 1_672_461_947),
        (25, 1_302_514_674),
        (26, 790_015_084),
        (27, 290_630_308),
        (28, 39_332_535),
        (29, 720_401),
        (30, 242),
    ];
    if a == 0 {
        return i32::MAX;
    }
    // a = u − rest: u in [−¼, 0), rest a multiple of ¼ whose bits select factors.
    let quarter = 1 << 24;
    let u = (a & (quarter - 1)) - quarter;
    let rest = u.wrapping_sub(a);
    let mut e = exp_near_minus_eighth(u << DIFFERENCE_BITS);
    for (bit, factor) in FACTORS {
        if rest & (1 << bit) != 0 {
            e = high_product(e, factor);
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
    let x2 = high_product(x, x);
    let x3 = high_product(x2, x);
    let x4 = high_product(x2, x2);
    let y = divide_by_power(high_product(divide_by_power(x4, 2) + x3, THIRD) + x2, 1);
    E + high_product(E, x + y)
}

/// 1 / (1 + f) for f in [0, 1), both Q0.31: three Newton steps.
fn reciprocal_of_one_plus(f: i32) -> i32 {
    /// 48/17 and −32/17 in Q2.29: the best line through the reciprocal.
    const INTERCEPT: i32 = 1_515_870_810;
    const SLOPE: i32 = -1_010_580_540;
    let sum = i64::from(f) + i64::from(i32::MAX);
    let half_denominator = ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32;
    let shifted = |x: i32, by: u32| (i64::from(x) << by).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let mut x = INTERCEPT + high_product(half_denominator, SLOPE);
    for _ in 0..3 {
        let error = (1 << 29) - high_product(half_denominator, x);
        x += shifted(high_product(x, error), 2);
    }
    shifted(x, 1)
}
