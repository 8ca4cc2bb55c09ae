//! FULLY_CONNECTED: y = clamp(requantize(Σ (x − z_x)(w − z_w) + b) + z_y), one dot product per output.

use super::{Range, Requantization};

/// `input`: `[rows, in]`; `weights`: `[out, in]`; `bias`: `[out]` or empty; `output`: `[rows, out]`.
#[expect(clippy::too_many_arguments, reason = "the operands of one formula")]
pub fn fully_connected(
    input: &[i8],
    input_zero: i32,
    weights: &[i8],
    weight_zero: i32,
    bias: &[i32],
    requantization: &Requantization,
    output_zero: i32,
    range: Range,
    output: &mut [i8],
) {
    let outputs = requantization.channels();
    let inputs = weights.len() / outputs;
    for (x, y) in input.chunks(inputs).zip(output.chunks_mut(outputs)) {
        for (o, (w, y)) in weights.chunks(inputs).zip(y).enumerate() {
            let product = |(&x, &w)| i64::from((i32::from(x) - input_zero) * (i32::from(w) - weight_zero));
            let acc = x.iter().zip(w).map(product).sum::<i64>() + bias.get(o).map_or(0, |&b| i64::from(b));
            *y = range.clamp(requantization.apply(acc, o).saturating_add(output_zero));
        }
    }
}
