//! The operators of [`int8`](crate::int8) on f32: the formulas without quantisation.
//!
//! Sums run in f32 in the order of the reference kernels, so they agree with TensorFlow Lite's to rounding.

use crate::window::Window;

/// The shape of a convolution and its operands, as in [`int8::Convolution`](crate::int8::Convolution).
#[derive(Debug)]
pub struct Convolution {
    /// Rows.
    pub vertical: Window,
    /// Columns.
    pub horizontal: Window,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Convolution: `[out, kh, kw, in/groups]`; depthwise: `[kh, kw, out]`.
    pub weights: Vec<f32>,
    /// One per output channel, or empty.
    pub bias: Vec<f32>,
    /// Least and greatest output.
    pub bounds: (f32, f32),
}

/// `x` within `bounds`; NaN stays NaN.
#[inline]
pub fn clamp(x: f32, bounds: (f32, f32)) -> f32 {
    x.clamp(bounds.0, bounds.1)
}

/// CONV_2D. `input`: `[images, height, width, in_channels]`; `output`: `[images, height', width', out_channels]`.
pub fn conv2d(c: &Convolution, input: &[f32], output: &mut [f32]) {
    let (v, h) = (&c.vertical, &c.horizontal);
    let per_group = c.weights.len() / (c.out_channels * v.kernel * h.kernel);
    let out_per_group = c.out_channels / (c.in_channels / per_group);
    each_pixel(v, h, c.in_channels, c.out_channels, input, output, |input, y, x, out| {
        for (o, out) in out.iter_mut().enumerate() {
            let first = o / out_per_group * per_group;
            let mut acc = 0.0;
            for ky in v.taps(y) {
                for kx in h.taps(x) {
                    let at = (v.position(y, ky) * h.input + h.position(x, kx)) * c.in_channels + first;
                    let w = ((o * v.kernel + ky) * h.kernel + kx) * per_group;
                    let pairs = input[at..][..per_group].iter().zip(&c.weights[w..][..per_group]);
                    acc = pairs.fold(acc, |acc, (x, w)| acc + x * w);
                }
            }
            *out = clamp(acc + c.bias.get(o).copied().unwrap_or(0.0), c.bounds);
        }
    });
}

/// DEPTHWISE_CONV_2D: output channel `i·multiplier + m` reads input channel `i` alone. Shapes as in [`conv2d`].
pub fn depthwise_conv2d(c: &Convolution, input: &[f32], output: &mut [f32]) {
    let (v, h) = (&c.vertical, &c.horizontal);
    let multiplier = c.out_channels / c.in_channels;
    each_pixel(v, h, c.in_channels, c.out_channels, input, output, |input, y, x, out| {
        out.fill(0.0);
        for ky in v.taps(y) {
            for kx in h.taps(x) {
                let at = (v.position(y, ky) * h.input + h.position(x, kx)) * c.in_channels;
                let w = &c.weights[(ky * h.kernel + kx) * c.out_channels..][..c.out_channels];
                for (o, out) in out.iter_mut().enumerate() {
                    *out += input[at + o / multiplier] * w[o];
                }
            }
        }
        for (o, out) in out.iter_mut().enumerate() {
            *out = clamp(*out + c.bias.get(o).copied().unwrap_or(0.0), c.bounds);
        }
    });
}

/// Calls `f(image, y, x, output pixel)` for every output pixel of every image.
fn each_pixel(
    v: &Window,
    h: &Window,
    in_channels: usize,
    out_channels: usize,
    input: &[f32],
    output: &mut [f32],
    mut f: impl FnMut(&[f32], usize, usize, &mut [f32]),
) {
    let inputs = input.chunks(v.input * h.input * in_channels);
    for (input, output) in inputs.zip(output.chunks_mut(v.output * h.output * out_channels)) {
        for (i, out) in output.chunks_mut(out_channels).enumerate() {
            f(input, i / h.output, i % h.output, out);
        }
    }
}

/// FULLY_CONNECTED. `input`: `[rows, in]`; `weights`: `[out, in]`; `bias`: `[out]` or empty; `output`: `[rows, out]`.
pub fn fully_connected(
    input: &[f32],
    weights: &[f32],
    bias: &[f32],
    bounds: (f32, f32),
    output: &mut [f32],
    outputs: usize,
) {
    let inputs = weights.len() / outputs;
    for (x, y) in input.chunks(inputs).zip(output.chunks_mut(outputs)) {
        for (o, (w, y)) in weights.chunks(inputs).zip(y).enumerate() {
            let acc: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
            *y = clamp(acc + bias.get(o).copied().unwrap_or(0.0), bounds);
        }
    }
}

/// AVERAGE_POOL_2D over the valid elements of each window.
pub fn average_pool(v: &Window, h: &Window, channels: usize, bounds: (f32, f32), input: &[f32], output: &mut [f32]) {
    each_pixel(v, h, channels, channels, input, output, |input, y, x, out| {
        out.fill(0.0);
        for ky in v.taps(y) {
            for kx in h.taps(x) {
                let at = (v.position(y, ky) * h.input + h.position(x, kx)) * channels;
                out.iter_mut().zip(&input[at..]).for_each(|(out, x)| *out += x);
            }
        }
        let count = (v.taps(y).len() * h.taps(x).len()) as f32;
        out.iter_mut().for_each(|out| *out = clamp(*out / count, bounds));
    });
}

/// MAX_POOL_2D.
pub fn max_pool(v: &Window, h: &Window, channels: usize, bounds: (f32, f32), input: &[f32], output: &mut [f32]) {
    each_pixel(v, h, channels, channels, input, output, |input, y, x, out| {
        out.fill(f32::NEG_INFINITY);
        for ky in v.taps(y) {
            for kx in h.taps(x) {
                let at = (v.position(y, ky) * h.input + h.position(x, kx)) * channels;
                out.iter_mut().zip(&input[at..]).for_each(|(out, x)| *out = out.max(*x));
            }
        }
        out.iter_mut().for_each(|out| *out = clamp(*out, bounds));
    });
}

/// SOFTMAX of each row of `depth` values: e^(β(x − max)) / Σ.
pub fn softmax(beta: f32, depth: usize, input: &[f32], output: &mut [f32]) {
    for (row, out) in input.chunks(depth).zip(output.chunks_mut(depth)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (x, out) in row.iter().zip(out.iter_mut()) {
            *out = ((x - max) * beta).exp();
            sum += *out;
        }
        out.iter_mut().for_each(|out| *out /= sum);
    }
}

/// LOGISTIC: 1 / (1 + e^−x).
pub fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// HARD_SWISH: x · relu6(x + 3) / 6.
pub fn hard_swish(x: f32) -> f32 {
    x * (x + 3.0).clamp(0.0, 6.0) / 6.0
}
