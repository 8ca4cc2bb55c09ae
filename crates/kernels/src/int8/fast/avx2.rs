//! AVX2: eight lanes, groups of two i16.

use std::arch::x86_64::*;

use super::simd::{ALMOST_HALF, FAR, Simd, Work};

/// Eight lanes, i16 times i16.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// The first `n` of eight bytes, the rest zero.
#[inline(always)]
unsafe fn bytes(from: *const u8, n: usize) -> __m128i {
    // SAFETY: `from` is good for `n` bytes.
    unsafe {
        if n >= 8 {
            return _mm_loadl_epi64(from.cast());
        }
        let mut some = [0u8; 8];
        std::ptr::copy_nonoverlapping(from, some.as_mut_ptr(), n);
        _mm_loadl_epi64(some.as_ptr().cast())
    }
}

// SAFETY: of every block below: the trait's caller promises the machine and the pointers.
#[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Avx2 {
    const LANES: usize = 8;
    const GROUP: usize = 2;
    const ACCUMULATORS: usize = 12;
    const CENTRED: bool = true;

    type Staged = i16;
    type Vector = __m256i;

    #[target_feature(enable = "avx2")]
    unsafe fn vectorize<W: Work>(work: W) -> W::Output {
        unsafe { work.run::<Self>() }
    }

    #[inline(always)]
    fn staged(x: u8, zero: u8) -> i16 {
        i16::from(x) - i16::from(zero)
    }

    #[inline(always)]
    unsafe fn stage(from: *const u8, n: usize, zero: u8, to: *mut i16) {
        unsafe {
            let zeros = _mm256_set1_epi16(i16::from(zero));
            let whole = n / 16 * 16;
            for i in (0..whole).step_by(16) {
                let x = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.add(i).cast()));
                _mm256_storeu_si256(to.add(i).cast(), _mm256_sub_epi16(x, zeros));
            }
            for i in whole..n {
                *to.add(i) = Self::staged(*from.add(i), zero);
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(from: [*const u8; 4], n: usize, zero: u8, to: *mut i32) {
        unsafe {
            let zeros = _mm_set1_epi16(i16::from(zero));
            let a = _mm_sub_epi16(_mm_cvtepu8_epi16(bytes(from[0], n)), zeros);
            let b = _mm_sub_epi16(_mm_cvtepu8_epi16(bytes(from[1], n)), zeros);
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(a, b));
            _mm_storeu_si128(to.add(4).cast(), _mm_unpackhi_epi16(a, b));
        }
    }

    #[inline(always)]
    unsafe fn splat(x: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn splat_at(from: *const i32) -> __m256i {
        unsafe { _mm256_set1_epi32(from.read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(x: __m256i, to: *mut i32) {
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8, n: usize) -> __m256i {
        unsafe { _mm256_cvtepu8_epi32(bytes(from, n)) }
    }

    #[inline(always)]
    unsafe fn store_bytes(x: __m256i, to: *mut u8, n: usize) {
        unsafe {
            let low = _mm256_and_si256(x, _mm256_set1_epi32(0xff));
            let words = _mm256_permute4x64_epi64::<0b10_00>(_mm256_packus_epi32(low, low));
            let words = _mm256_castsi256_si128(words);
            let packed = _mm_packus_epi16(words, words);
            if n >= 8 {
                _mm_storel_epi64(to.cast(), packed);
            } else {
                let some = _mm_cvtsi128_si64(packed).to_le_bytes();
                std::ptr::copy_nonoverlapping(some.as_ptr(), to, n);
            }
        }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_max_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_min_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left(x: __m256i, by: __m256i) -> __m256i {
        unsafe { _mm256_sllv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn shift_right(x: __m256i, by: __m256i) -> __m256i {
        unsafe { _mm256_srav_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn shift_right_logical(x: __m256i, by: __m256i) -> __m256i {
        unsafe { _mm256_srlv_epi32(x, by) }
    }

    #[inline(always)]
    unsafe fn high_mul(x: __m256i, m: __m256i) -> __m256i {
        unsafe {
            let half = _mm256_set1_epi64x(1 << 30);
            let even = _mm256_add_epi64(_mm256_mul_epi32(x, m), half);
            let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(x), _mm256_srli_epi64::<32>(m));
            let odd = _mm256_add_epi64(odd, half);
            // The odd products' bits 31..63 belong in the high halves.
            _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<31>(even), _mm256_add_epi64(odd, odd))
        }
    }

    #[inline(always)]
    unsafe fn scale(x: __m256i, e: __m256i) -> __m256i {
        unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(x), _mm256_castsi256_ps(e))) }
    }

    #[inline(always)]
    unsafe fn quotient(x: __m256i, divisor: f32) -> __m256i {
        unsafe { _mm256_cvttps_epi32(_mm256_div_ps(_mm256_cvtepi32_ps(x), _mm256_set1_ps(divisor))) }
    }

    #[inline(always)]
    unsafe fn nearest_steps(from: *const f32, scale: f32) -> (__m256i, bool) {
        unsafe {
            let x = _mm256_loadu_ps(from);
            let steps = _mm256_div_ps(x, _mm256_set1_ps(scale));
            let steps = _mm256_max_ps(_mm256_min_ps(steps, _mm256_set1_ps(FAR)), _mm256_set1_ps(-FAR));
            let sign = _mm256_and_ps(steps, _mm256_set1_ps(-0.0));
            let half = _mm256_or_ps(_mm256_set1_ps(ALMOST_HALF), sign);
            let rounded = _mm256_cvttps_epi32(_mm256_add_ps(steps, half));
            (rounded, _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)) == 0)
        }
    }
}
