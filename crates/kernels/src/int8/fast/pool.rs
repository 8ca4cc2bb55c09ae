//! Pooling: the mean or the greatest of a window, a vector of channels at a time; sums over whole images.

use super::simd::{Isa, Simd, Work, dispatch};
use super::{Image, ImageMut, Region, image};
use crate::int8::Range;
use crate::window::Window;

/// What a pool gives of the elements under its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, ties away from zero.
    Average,
    /// The greatest.
    Max,
}

/// AVERAGE_POOL_2D or MAX_POOL_2D.
#[derive(Debug, Clone)]
pub struct Pool {
    isa: Isa,
    pooling: Pooling,
    vertical: Window,
    horizontal: Window,
    channels: usize,
    low: i32,
    high: i32,
}

impl Pool {
    /// `None` if the window is dilated, or so large that its mean is no longer exact in f32.
    ///
    /// # Panics
    /// If the machine has no `isa`.
    pub fn new(pooling: Pooling, [v, h]: [Window; 2], channels: usize, range: Range, isa: Isa) -> Option<Self> {
        isa.check();
        let area = v.kernel.checked_mul(h.kernel)?;
        let exact = area < 1 << 16 && v.dilation == 1 && h.dilation == 1;
        let (low, high) = (range.low + 128, range.high + 128);
        exact.then_some(Self { isa, pooling, vertical: v, horizontal: h, channels, low, high })
    }

    /// Computes `region` of the output.
    ///
    /// # Panics
    /// If `input` does not hold what the region needs, or `output` the region; if a window lies wholly on padding.
    pub fn apply(&self, input: &Image, output: &mut ImageMut, region: &Region) {
        image::check(input, self.channels, output, self.channels, region);
        dispatch(self.isa, Apply { pool: self, input, output, region });
    }
}

struct Apply<'a, 'i, 'o> {
    pool: &'a Pool,
    input: &'a Image<'i>,
    output: &'a mut ImageMut<'o>,
    region: &'a Region,
}

impl Work for Apply<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { pool, input, output, region } = self;
        let (v, h, channels) = (&pool.vertical, &pool.horizontal, pool.channels);
        let (first, last) = (h.taps(region.columns.start), h.taps(region.columns.end - 1));
        assert!(!first.is_empty() && !last.is_empty(), "a window lies on padding");
        let held = h.position(region.columns.start, first.start)..h.position(region.columns.end - 1, last.end - 1) + 1;
        let mut rows = Vec::with_capacity(v.kernel);
        for y in region.rows.clone() {
            rows.clear();
            let taps = v.taps(y);
            assert!(!taps.is_empty(), "a window lies on padding");
            rows.extend(taps.map(|ky| input.span(v.position(y, ky), held.clone()).as_ptr()));
            let out = output.span(y, region.columns.clone());
            for (x, out) in region.columns.clone().zip(out.chunks_exact_mut(channels)) {
                let taps = h.taps(x);
                let from = (h.position(x, taps.start) - held.start) * channels;
                let window = Under { rows: &rows, from, pixels: taps.len(), channels };
                // SAFETY: the machine has `S`; the rows cover the window.
                unsafe {
                    match pool.pooling {
                        Pooling::Average => window.average::<S>(pool, out),
                        Pooling::Max => window.greatest::<S>(pool, out),
                    }
                }
            }
        }
    }
}

/// The elements under one window: of each row, some pixels from byte `from` on.
struct Under<'a> {
    rows: &'a [*const u8],
    from: usize,
    pixels: usize,
    channels: usize,
}

impl Under<'_> {
    /// # Safety
    /// The machine has `S`, and the rows hold the window.
    #[inline(always)]
    unsafe fn average<S: Simd>(&self, pool: &Pool, out: &mut [u8]) {
        let count = (self.rows.len() * self.pixels) as i32;
        let mut channel = 0;
        // SAFETY: `channel + lanes ≤ channels`.
        unsafe {
            let (low, high) = (S::splat(pool.low), S::splat(pool.high));
            while channel < self.channels {
                let lanes = S::LANES.min(self.channels - channel);
                // Bytes are x + 128.
                let mut sum = S::splat(-128 * count);
                for r in 0..self.rows.len() {
                    let mut pixel = self.rows[r].add(self.from + channel);
                    for _ in 0..self.pixels {
                        sum = S::add(sum, S::load_bytes(pixel, lanes));
                        pixel = pixel.add(self.channels);
                    }
                }
                // Half the divisor, with the sign of the sum.
                let negative = S::shift_right(sum, S::splat(31));
                let half = S::add(S::splat(count / 2), S::mul(negative, S::splat(count / 2 * 2)));
                let mean = S::quotient(S::add(sum, half), count as f32);
                let y = S::min(S::max(S::add(mean, S::splat(128)), low), high);
                S::store_bytes(y, out.as_mut_ptr().add(channel), lanes);
                channel += S::LANES;
            }
        }
    }

    /// # Safety
    /// As [`average`](Self::average).
    #[inline(always)]
    unsafe fn greatest<S: Simd>(&self, pool: &Pool, out: &mut [u8]) {
        let mut channel = 0;
        // SAFETY: `channel + lanes ≤ channels`.
        unsafe {
            let (low, high) = (S::splat(pool.low), S::splat(pool.high));
            while channel < self.channels {
                let lanes = S::LANES.min(self.channels - channel);
                let mut greatest = S::splat(0);
                for r in 0..self.rows.len() {
                    let mut pixel = self.rows[r].add(self.from + channel);
                    for _ in 0..self.pixels {
                        greatest = S::max(greatest, S::load_bytes(pixel, lanes));
                        pixel = pixel.add(self.channels);
                    }
                }
                S::store_bytes(S::min(S::max(greatest, low), high), out.as_mut_ptr().add(channel), lanes);
                channel += S::LANES;
            }
        }
    }
}

/// Adds up the pixels of an image, channel by channel; bytes are `x + 128`, sums are of `x`.
///
/// # Panics
/// If the machine has no `isa`, `pixels` is not whole pixels of `sums.len()` channels, or there are more than 2^23.
pub fn channel_sums(pixels: &[u8], isa: Isa, sums: &mut [i32]) {
    isa.check();
    assert!(!sums.is_empty() && pixels.len().is_multiple_of(sums.len()) && pixels.len() / sums.len() <= 1 << 23);
    dispatch(isa, Sums { pixels, sums });
}

struct Sums<'a> {
    pixels: &'a [u8],
    sums: &'a mut [i32],
}

impl Work for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { pixels, sums } = self;
        let (channels, count) = (sums.len(), pixels.len() / sums.len());
        let mut lane_sums = [0i32; 16];
        let mut channel = 0;
        while channel < channels {
            let lanes = S::LANES.min(channels - channel);
            // SAFETY: `channel + lanes ≤ channels` in every pixel.
            unsafe {
                let mut sum = S::splat(-128 * count as i32);
                let mut pixel = pixels.as_ptr().add(channel);
                for _ in 0..count {
                    sum = S::add(sum, S::load_bytes(pixel, lanes));
                    pixel = pixel.wrapping_add(channels);
                }
                S::store(sum, lane_sums.as_mut_ptr());
            }
            sums[channel..channel + lanes].copy_from_slice(&lane_sums[..lanes]);
            channel += S::LANES;
        }
    }
}
