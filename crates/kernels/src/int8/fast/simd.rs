//! What a vector unit must offer to compute int8 networks, and which one this machine has.
//!
//! Activations come as `x + 128` in u8. An instruction set stages them as it likes to multiply them: AVX-512 VNNI takes
//! the bytes as they are and adds up products of four (`vpdpbusd`); AVX2 takes `x − zero` in i16 and adds up two
//! (`vpmaddwd`). Both are exact; `vpmaddubsw`, which would take bytes on AVX2, saturates.

use std::fmt;
use std::sync::OnceLock;

use super::portable::Portable;

/// An instruction set that the fast kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 with VNNI: 64 products an instruction.
    Avx512Vnni,
    /// AVX2: 16 products an instruction.
    Avx2,
    /// Any machine.
    Portable,
}

impl Isa {
    /// The fastest that this machine has.
    pub fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| *Self::available().first().unwrap_or(&Self::Portable))
    }

    /// All that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx512 {
                found.push(Self::Avx512Vnni);
            }
            if is_x86_feature_detected!("avx2") {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }

    /// # Panics
    /// If this machine does not have it.
    pub fn check(self) {
        assert!(Self::available().contains(&self), "this machine has no {self}");
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        })
    }
}

/// A computation that is compiled once for every instruction set.
pub(super) trait Work {
    /// What it gives.
    type Output;

    /// The computation.
    ///
    /// # Safety
    /// The machine has `S`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Runs `work` on `isa`, which the machine must have (see [`Isa::check`]).
#[inline]
pub(super) fn dispatch<W: Work>(isa: Isa, work: W) -> W::Output {
    // SAFETY: an `Isa` reaches a kernel through a constructor that checked it.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => super::avx512::Avx512::vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::avx2::Avx2::vectorize(work),
            _ => Portable::vectorize(work),
        }
    }
}

/// A vector unit. Every method needs the machine to have it, and pointers that are good for the lengths given.
pub(super) trait Simd: Copy + 'static {
    /// Lanes of 32 bits.
    const LANES: usize;
    /// Products that [`dot`](Self::dot) adds up in each lane; as many staged activations fill 32 bits.
    const GROUP: usize;
    /// Accumulators that leave room for their operands.
    const ACCUMULATORS: usize;
    /// Whether staging subtracts the zero point.
    const CENTRED: bool;

    /// An activation as it is multiplied.
    type Staged: Copy + Default + Send + Sync + 'static;
    /// `LANES` values of 32 bits.
    type Vector: Copy;

    /// Compiles `work` for this instruction set.
    unsafe fn vectorize<W: Work>(work: W) -> W::Output;

    /// A staged activation; `zero` is the zero point, also + 128.
    fn staged(x: u8, zero: u8) -> Self::Staged;
    /// Stages `n` activations.
    unsafe fn stage(from: *const u8, n: usize, zero: u8, to: *mut Self::Staged);
    /// Stages `n ≤ LANES` channels of `GROUP` pixels, those of a channel side by side.
    unsafe fn interleave(from: [*const u8; 4], n: usize, zero: u8, to: *mut i32);

    /// The same in all lanes.
    unsafe fn splat(x: i32) -> Self::Vector;
    /// 32 bits, unaligned, in all lanes.
    unsafe fn splat_at(from: *const i32) -> Self::Vector;
    /// `LANES` values, unaligned.
    unsafe fn load(from: *const i32) -> Self::Vector;
    /// Stores `LANES` values, unaligned.
    unsafe fn store(x: Self::Vector, to: *mut i32);
    /// `n ≤ LANES` bytes, each in a lane.
    unsafe fn load_bytes(from: *const u8, n: usize) -> Self::Vector;
    /// The low bytes of the first `n ≤ LANES` lanes.
    unsafe fn store_bytes(x: Self::Vector, to: *mut u8, n: usize);

    /// `acc + Σ x·w` over the group in each lane.
    unsafe fn dot(acc: Self::Vector, x: Self::Vector, w: Self::Vector) -> Self::Vector;
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Low 32 bits of the product.
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `x << by` in each lane, `by` in [0, 31].
    unsafe fn shift_left(x: Self::Vector, by: Self::Vector) -> Self::Vector;
    /// `x >> by` with the sign, `by` in [0, 31].
    unsafe fn shift_right(x: Self::Vector, by: Self::Vector) -> Self::Vector;
    /// `x >> by` without the sign, 0 for `by` ≥ 32.
    unsafe fn shift_right_logical(x: Self::Vector, by: Self::Vector) -> Self::Vector;
    /// `⌊(x·m + 2^30) / 2^31⌋`, which is gemmlowp's saturating rounding doubling high multiplication for `m` ≥ 0.
    unsafe fn high_mul(x: Self::Vector, m: Self::Vector) -> Self::Vector;
    /// `rint(x as f32 · e)`, ties to even; `e` as the bits of an f32.
    unsafe fn scale(x: Self::Vector, e: Self::Vector) -> Self::Vector;
    /// `x / divisor` toward zero; exact for `|x| < 2^24` and integers below 2^16.
    unsafe fn quotient(x: Self::Vector, divisor: f32) -> Self::Vector;
    /// `LANES` numbers divided by `scale`, to the nearest integer, halves away from zero, within ±2^20; and whether all
    /// are numbers.
    unsafe fn nearest_steps(from: *const f32, scale: f32) -> (Self::Vector, bool);
}

/// The number before ½: added with the sign and truncated, it rounds halves away from zero, and nothing else up.
pub(super) const ALMOST_HALF: f32 = 0.499_999_97;
/// What lies beyond is far beyond any byte.
pub(super) const FAR: f32 = (1 << 20) as f32;
