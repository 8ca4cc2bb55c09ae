//! AVX-512 with VNNI: sixteen lanes, groups of four bytes.

use std::arch::x86_64::*;

use super::simd::{ALMOST_HALF, FAR, Simd, Work};

/// Sixteen lanes, u8 times i8.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// The first `n` of 16.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= 16 { u16::MAX } else { (1 << n) - 1 }
}

/// The first `n` of 16 bytes, the rest zero.
#[inline(always)]
unsafe fn bytes(from: *const u8, n: usize) -> __m128i {
    // SAFETY: `from` is good for `n` bytes, and the machine has AVX-512.
    unsafe { if n >= 16 { _mm_loadu_si128(from.cast()) } else { _mm_maskz_loadu_epi8(first(n), from.cast()) } }
}

// SAFETY: of every block below: the trait's caller promises the machine and the pointers.
#[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Avx512 {
    const LANES: usize = 16;
    const GROUP: usize = 4;
    const ACCUMULATORS: usize = 24;
    const CENTRED: bool = false;

    type Staged = u8;
    type Vector = __m512i;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn vectorize<W: Work>(work: W) -> W::Output {
        unsafe { work.run::<Self>() }
    }

    #[inline(always)]
    fn staged(x: u8, _: u8) -> u8 {
        x
    }

    #[inline(always)]
    unsafe fn stage(from: *const u8, n: usize, _: u8, to: *mut u8) {
        unsafe { std::ptr::copy_nonoverlapping(from, to, n) };
    }

    #[inline(always)]
    unsafe fn interleave(from: [*const u8; 4], n: usize, _: u8, to: *mut i32) {
        unsafe {
            let rows = _mm512_castsi128_si512(bytes(from[0], n));
            let rows = _mm512_inserti32x4::<1>(rows, bytes(from[1], n));
            let rows = _mm512_inserti32x4::<2>(rows, bytes(from[2], n));
            let rows = _mm512_inserti32x4::<3>(rows, bytes(from[3], n));
            // Four channels of every row to a 128-bit lane, then a 4x4 transposition of bytes in each.
            let gathered = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
            let turned = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
            let groups = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(gathered, rows), turned);
            _mm512_storeu_si512(to.cast(), groups);
        }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn splat_at(from: *const i32) -> __m512i {
        unsafe { _mm512_set1_epi32(from.read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(x: __m512i, to: *mut i32) {
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8, n: usize) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(bytes(from, n)) }
    }

    #[inline(always)]
    unsafe fn store_bytes(x: __m512i, to: *mut u8, n: usize) {
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(x);
            if n >= 16 {
                _mm_storeu_si128(to.cast(), bytes);
            } else {
                _mm_mask_storeu_epi8(to.cast(), first(n), bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m512i, x: __m512i, w: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(acc, x, w) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_min_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left(x: __m512i, by: __m512i) -> __m512i {
        unsafe { _mm512_sllv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn shift_right(x: __m512i, by: __m512i) -> __m512i {
        unsafe { _mm512_srav_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn shift_right_logical(x: __m512i, by: __m512i) -> __m512i {
        unsafe { _mm512_srlv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn high_mul(x: __m512i, m: __m512i) -> __m512i {
        unsafe {
            let half = _mm512_set1_epi64(1 << 30);
            let even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
            let [odd_x, odd_m] = [_mm512_shuffle_epi32::<0b11_11_01_01>(x), _mm512_shuffle_epi32::<0b11_11_01_01>(m)];
            let odd = _mm512_add_epi64(_mm512_mul_epi32(odd_x, odd_m), half);
            // The odd products' bits 31..63 belong in the high halves.
            _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<31>(even), _mm512_add_epi64(odd, odd))
        }
    }

    #[inline(always)]
    unsafe fn scale(x: __m512i, e: __m512i) -> __m512i {
        unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(x), _mm512_castsi512_ps(e))) }
    }

    #[inline(always)]
    unsafe fn quotient(x: __m512i, divisor: f32) -> __m512i {
        unsafe { _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(x), _mm512_set1_ps(divisor))) }
    }

    #[inline(always)]
    unsafe fn nearest_steps(from: *const f32, scale: f32) -> (__m512i, bool) {
        unsafe {
            let x = _mm512_loadu_ps(from);
            let steps = _mm512_div_ps(x, _mm512_set1_ps(scale));
            let steps = _mm512_max_ps(_mm512_min_ps(steps, _mm512_set1_ps(FAR)), _mm512_set1_ps(-FAR));
            let sign = _mm512_and_si512(_mm512_castps_si512(steps), _mm512_set1_epi32(i32::MIN));
            let half = _mm512_or_si512(_mm512_castps_si512(_mm512_set1_ps(ALMOST_HALF)), sign);
            let rounded = _mm512_cvttps_epi32(_mm512_add_ps(steps, _mm512_castsi512_ps(half)));
            (rounded, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x) == 0)
        }
    }
}
