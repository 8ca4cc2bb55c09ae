//! Convolutions: acc = Σ (x − z_x)·w + b; y = clamp(requantize(acc) + z_y).
//!
//! Activations are NHWC. Padding stands for the real number 0, so a tap on it adds nothing.

use super::{Range, Requantization, dot};
use crate::window::Window;

/// A prepared convolution: weights, and how its accumulators become int8.
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
    pub weights: Vec<i8>,
    /// One per output channel, or empty.
    pub bias: Vec<i32>,
    /// Zero point of the input.
    pub input_zero: i32,
    /// One multiplier per output channel.
    pub requantization: Requantization,
    /// Zero point of the output.
    pub output_zero: i32,
    /// What the fused activation admits.
    pub range: Range,
}

impl Convolution {
    fn bias(&self, channel: usize) -> i64 {
        self.bias.get(channel).map_or(0, |&b| i64::from(b))
    }

    fn finish(&self, acc: i64, channel: usize) -> i8 {
        self.range.clamp(self.requantization.apply(acc, channel).saturating_add(self.output_zero))
    }

    fn check(&self, input: &[i8], output: &[i8]) {
        debug_assert_eq!(input.len() % (self.vertical.input * self.horizontal.input * self.in_channels), 0);
        debug_assert_eq!(output.len() % (self.vertical.output * self.horizontal.output * self.out_channels), 0);
        debug_assert_eq!(self.requantization.channels(), self.out_channels);
    }

    /// Calls `f(pixel of the output, y, x)` for every output position of every image.
    fn each_pixel(&self, images: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        let (height, width) = (self.vertical.output, self.horizontal.output);
        for image in 0..images {
            for y in 0..height {
                for x in 0..width {
                    f(image, (image * height + y) * width + x, y, x);
                }
            }
        }
    }

    fn images(&self, input: &[i8]) -> usize {
        input.len() / (self.vertical.input * self.horizontal.input * self.in_channels)
    }

    /// Element offset of the input pixel under tap (`ky`, `kx`) of output (`y`, `x`).
    fn pixel(&self, image: usize, y: usize, x: usize, ky: usize, kx: usize) -> usize {
        let (v, h) = (&self.vertical, &self.horizontal);
        ((image * v.input + v.position(y, ky)) * h.input + h.position(x, kx)) * self.in_channels
    }
}

/// CONV_2D, grouped where the weights have fewer input channels than the input: group g of the output reads group g
/// of the input.
///
/// `input`: `[images, height, width, in_channels]`; `output`: `[images, height', width', out_channels]`.
pub fn conv2d(c: &Convolution, input: &[i8], output: &mut [i8]) {
    c.check(input, output);
    let (v, h) = (&c.vertical, &c.horizontal);
    let per_group = c.weights.len() / (c.out_channels * v.kernel * h.kernel);
    let groups = c.in_channels / per_group;
    let out_per_group = c.out_channels / groups;
    c.each_pixel(c.images(input), |image, pixel, y, x| {
        let out = &mut output[pixel * c.out_channels..][..c.out_channels];
        for (o, out) in out.iter_mut().enumerate() {
            let first = o / out_per_group * per_group;
            let mut acc = c.bias(o);
            for ky in v.taps(y) {
                for kx in h.taps(x) {
                    let at = c.pixel(image, y, x, ky, kx) + first;
                    let w = ((o * v.kernel + ky) * h.kernel + kx) * per_group;
                    acc += dot(&input[at..][..per_group], c.input_zero, &c.weights[w..][..per_group]);
                }
            }
            *out = c.finish(acc, o);
        }
    });
}

/// DEPTHWISE_CONV_2D: output channel `i·multiplier + m` reads input channel `i` alone.
///
/// Shapes as in [`conv2d`].
pub fn depthwise_conv2d(c: &Convolution, input: &[i8], output: &mut [i8]) {
    c.check(input, output);
    let (v, h) = (&c.vertical, &c.horizontal);
    let multiplier = c.out_channels / c.in_channels;
    let mut acc = vec![0i64; c.out_channels];
    c.each_pixel(c.images(input), |image, pixel, y, x| {
        for (o, acc) in acc.iter_mut().enumerate() {
            *acc = c.bias(o);
        }
        for ky in v.taps(y) {
            for kx in h.taps(x) {
                let from = &input[c.pixel(image, y, x, ky, kx)..][..c.in_channels];
                let w = &c.weights[(ky * h.kernel + kx) * c.out_channels..][..c.out_channels];
                for ((acc, w), &x) in acc.chunks_mut(multiplier).zip(w.chunks(multiplier)).zip(from) {
                    let x = i32::from(x) - c.input_zero;
                    for (acc, &w) in acc.iter_mut().zip(w) {
                        *acc += i64::from(x * i32::from(w));
                    }
                }
            }
        }
        let out = &mut output[pixel * c.out_channels..][..c.out_channels];
        for (o, (out, &acc)) in out.iter_mut().zip(&acc).enumerate() {
            *out = c.finish(acc, o);
        }
    });
}
