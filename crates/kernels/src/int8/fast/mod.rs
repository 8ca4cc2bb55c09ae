//! The int8 operators that networks spend their time in, written for the machine; the same bits as their references.
//!
//! Weights are packed once for the instruction set that the machine has ([`Isa`]); padding, requantisation and activation
//! are done in registers. Activations are held as `x + 128` in u8, because the fastest multiplier of bytes (`vpdpbusd`)
//! wants one side without a sign; [`flip`] goes there and back.
//!
//! A constructor gives `None` where a fast path cannot promise the reference's bits (an accumulator that may overflow, a
//! rounding other than TensorFlow Lite Micro's): the caller then takes the reference.
//!
//! | file | idea |
//! | --- | --- |
//! | `simd.rs` | what a vector unit must offer; which one there is |
//! | `avx512.rs`, `avx2.rs`, `portable.rs` | those that do |
//! | `image.rs` | images in memory: whole, in parts, in rings of rows |
//! | `requantize.rs` | accumulators to bytes |
//! | `convolution.rs` | convolutions and matrix products: weights packed, tiles of pixels by channels in registers |
//! | `depthwise.rs` | depthwise convolutions: rows interleaved, so that one instruction takes several taps |
//! | `pool.rs` | means and greatest of windows; sums over images |
//! | `quantize.rs` | real numbers to bytes |
//! | `peak.rs` | what the machine could do at best |
//! | `elementwise.rs` | sums and products of two tensors |

#![allow(clippy::needless_range_loop, reason = "an iterator between vectors and their loop is not always inlined")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod convolution;
mod depthwise;
mod elementwise;
mod image;
mod peak;
mod pool;
mod portable;
mod quantize;
mod requantize;
mod simd;

pub use convolution::Convolution;
pub use depthwise::Depthwise;
pub use elementwise::Pairwise;
pub use image::{Image, ImageMut, Region};
pub use peak::peak;
pub use pool::{Pool, Pooling, channel_sums};
pub use quantize::quantize;
pub use simd::Isa;

/// 64 bytes on a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([i32; 16]);

/// Memory that kernels work in; grows when first used and stays.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    lines: Vec<Line>,
}

impl Scratch {
    /// At least `count` elements and 64 bytes more; what they hold is left over.
    fn reserve<T: Copy>(&mut self, count: usize) -> *mut T {
        let lines = (count * size_of::<T>()).div_ceil(size_of::<Line>()) + 1;
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; 16]));
        }
        self.lines.as_mut_ptr().cast()
    }
}

/// From `x` to `x + 128`, and back: the same bits, the highest turned over.
pub fn flip(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|b| *b ^= 0x80);
}

/// First channels of the vectors of `lanes` that cover `channels`: the last overlaps the one before it if need be.
fn vectors(channels: usize, lanes: usize) -> Vec<usize> {
    let last = channels.saturating_sub(lanes);
    (0..channels.div_ceil(lanes)).map(|v| (v * lanes).min(last)).collect()
}

/// Packs groups of 32 bits into lines of the cache.
fn aligned(groups: &[i32]) -> Vec<Line> {
    let line = |chunk: &[i32]| {
        let mut line = [0; 16];
        line[..chunk.len()].copy_from_slice(chunk);
        Line(line)
    };
    groups.chunks(16).map(line).collect()
}

/// Weights of one lane as they are multiplied: four i8, or two i16.
fn group(weights: &[i8], per_group: usize) -> i32 {
    let bits = 32 / per_group;
    let field = |(i, &w): (usize, &i8)| (i32::from(w) as u32 & (u32::MAX >> (32 - bits))) << (bits * i);
    weights.iter().enumerate().map(field).fold(0, |a, b| a | b) as i32
}
