//! Pooling: the mean or the greatest of a window, and the mean over whole axes.

use super::{Affine, Multiplier, Range, Rounding};
use crate::window::Window;

/// AVERAGE_POOL_2D over the valid elements of each window, ties away from zero. Same quantisation in and out.
///
/// `input`: `[images, height, width, channels]`.
pub fn average_pool(v: &Window, h: &Window, channels: usize, range: Range, input: &[i8], output: &mut [i8]) {
    let mut sums = vec![0i64; channels];
    each_window(v, h, channels, input, output, |taps, out| {
        sums.fill(0);
        let mut count = 0;
        for pixel in taps {
            count += 1;
            for (sum, &x) in sums.iter_mut().zip(pixel) {
                *sum += i64::from(x);
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            let half = if sum > 0 { count / 2 } else { -(count / 2) };
            *out = range.clamp(((sum + half) / count) as i32);
        }
    });
}

/// MAX_POOL_2D. Same quantisation in and out; shapes as in [`average_pool`].
pub fn max_pool(v: &Window, h: &Window, channels: usize, range: Range, input: &[i8], output: &mut [i8]) {
    each_window(v, h, channels, input, output, |taps, out| {
        out.fill(i8::MIN);
        for pixel in taps {
            for (out, &x) in out.iter_mut().zip(pixel) {
                *out = (*out).max(x);
            }
        }
        for out in out {
            *out = range.clamp(i32::from(*out));
        }
    });
}

/// Calls `f(pixels under the window, output pixel)` for every window.
fn each_window(
    v: &Window,
    h: &Window,
    channels: usize,
    input: &[i8],
    output: &mut [i8],
    mut f: impl FnMut(&mut dyn Iterator<Item = &[i8]>, &mut [i8]),
) {
    let images = input.chunks(v.input * h.input * channels).zip(output.chunks_mut(v.output * h.output * channels));
    for (input, output) in images {
        for (i, out) in output.chunks_mut(channels).enumerate() {
            let (y, x) = (i / h.output, i % h.output);
            let at = |ky, kx| (v.position(y, ky) * h.input + h.position(x, kx)) * channels;
            let mut pixels = v
                .taps(y)
                .flat_map(|ky| h.taps(x).map(move |kx| (ky, kx)))
                .map(|(ky, kx)| &input[at(ky, kx)..][..channels]);
            f(&mut pixels, out);
        }
    }
}

/// MEAN over `count` elements: the divisor is folded into the multiplier.
///
/// (m, s) = QM(s_x/s_y); k = min(⌊log₂ n⌋, 32, 31 + s); y = MBQM(Σ − n z_x, ⌊m 2^k / n⌋, s − k) + z_y.
#[derive(Debug, Clone)]
pub struct Mean {
    /// Elements that one mean is taken over.
    pub count: usize,
    /// Zero point of the input.
    pub input_zero: i32,
    /// The scales' ratio, divided by `count`.
    pub multiplier: Multiplier,
    /// Zero point of the output.
    pub output_zero: i32,
    /// How products are rounded.
    pub rounding: Rounding,
}

impl Mean {
    /// The mean of `count` ≥ 1 elements.
    pub fn new(count: usize, x: Affine, y: Affine, rounding: Rounding) -> Option<Self> {
        let real = Multiplier::new(x.scale / y.scale)?;
        let k = (count.checked_ilog2()? as i32).min(32).min(31 + real.shift);
        let mantissa = (i64::from(real.mantissa) << k) / i64::try_from(count).ok()?;
        let multiplier = Multiplier { mantissa: i32::try_from(mantissa).ok()?, shift: real.shift - k };
        Some(Self { count, input_zero: x.zero_point, multiplier, output_zero: y.zero_point, rounding })
    }

    /// The mean from the `sum` of the elements.
    pub fn value(&self, sum: i64) -> i8 {
        let centred = sum - self.count as i64 * i64::from(self.input_zero);
        Range::FULL.clamp(self.multiplier.apply(centred as i32, self.rounding).saturating_add(self.output_zero))
    }
}

/// The mean in the arithmetic of *On-Device Training Under 256KB Memory*: `rint(Σ / n)`, same quantisation in and out.
pub fn float_mean(sum: i64, count: usize) -> i8 {
    Range::FULL.clamp((sum as f32 / count as f32).round_ties_even() as i32)
}
