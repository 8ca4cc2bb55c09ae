//! MUL.

use super::fixed_point::{Multiplier, Range};
use super::pair::{each_pair, Pair};
use super::place::{Arena, Call, Rows};

/// `clamp(output · (a − zeros[0])(b − zeros[1]) + output_zero)`.
pub struct Product {
    /// Zero points of the operands.
    pub zeros: [i16; 2],
    /// The scales' ratio.
    pub output: Multiplier,
    /// Zero point of the output.
    pub output_zero: i16,
    /// What the fused activation admits.
    pub range: Range,
}

/// Products.
#[inline(never)]
pub fn product(arena: &mut Arena, pair: &Pair, call: &Call<Product>, rows: Rows) {
    let product = call.op;
    each_pair(arena, pair, call, rows, |a, b| {
        let [p, q] = product.zeros.map(i32::from);
        let raw = (i32::from(a) - p) * (i32::from(b) - q);
        product.range.clamp(product.output.apply(raw).saturating_add(product.output_zero.into()))
    });
}
