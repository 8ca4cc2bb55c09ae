//! FULLY_CONNECTED: y = clamp(requantize(Σ (x − z_x)(w − z_w) + b) + z_y), one dot product per output.

use super::Convolution;

/// The matrix product `c` (1x1 over rows), with weights that mean `w − weight_zero`.
///
/// `input`: `[rows, in]`; `output`: `[rows, out]`.
pub fn fully_connected(c: &Convolution, weight_zero: i32, input: &[i8], output: &mut [i8]) {
    let (inputs, outputs) = (c.in_channels, c.out_channels);
    for (x, y) in input.chunks(inputs).zip(output.chunks_mut(outputs)) {
        for (o, (w, y)) in c.weights.chunks(inputs).zip(y).enumerate() {
            let product = |(&x, &w)| i64::from((i32::from(x) - c.input_zero) * (i32::from(w) - weight_zero));
            let acc = x.iter().zip(w).map(product).sum::<i64>() + c.bias.get(o).map_or(0, |&b| i64::from(b));
            *y = c.range.clamp(c.requantization.apply(acc, o).saturating_add(c.output_zero));
        }
    }
}
