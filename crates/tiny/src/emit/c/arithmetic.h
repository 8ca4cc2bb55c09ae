/* Fixed-point arithmetic, and where pixels lie. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#include <arm_mve.h>
#define MODEL_MVE 1
#endif
#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#define MODEL_DSP 1
#endif

/* Bodies of kernels: made once for each class of shapes that the network has. */
#if defined(__GNUC__)
#define BODY static inline __attribute__((always_inline))
#define KERNEL static __attribute__((noinline))
#define HELPER static __attribute__((noinline, unused))
#else
#define BODY static inline
#define KERNEL static
#define HELPER static
#endif

/* Part of an image in the arena: row y lies at ring position (y - top) mod ring. */
struct place {
    int8_t *data;
    uint16_t top, left, columns, ring;
};

/* Where one call reads and writes; rows are the call's own arguments. */
struct task {
    struct place x, second, y;
    uint16_t left, right; /* Columns of the output. */
    int8_t *scratch;      /* One pixel that is put together before it is written, or NULL. */
    int32_t backward;     /* From the last pixel and the last channel. */
};

/* x * mantissa * 2^(shift - 31). */
struct multiplier {
    int32_t mantissa, shift;
};

#if defined(MODEL_DSP)
/* Four bytes, wherever they lie. */
BODY uint32_t four_bytes(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* The same at an address that is a multiple of 4, and 4 bytes further. */
BODY uint32_t four_weights(const int8_t *from, int32_t word)
{
    uint32_t weights;
    memcpy(&weights, (const int8_t *)__builtin_assume_aligned(from, 4) + 4 * word, sizeof weights);
    return weights;
}

/* Bytes 0 and 2 (even), 1 and 3 (odd) of a word, as signed halves; to both is added what `plus` has there. */
BODY int32_t even(uint32_t word)
{
    int32_t halves;
    __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
}

BODY int32_t odd(uint32_t word)
{
    int32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

BODY int32_t even_plus(int32_t plus, uint32_t word)
{
    int32_t halves;
    __asm__("sxtab16 %0, %1, %2" : "=r"(halves) : "r"(plus), "r"(word));
    return halves;
}

BODY int32_t odd_plus(int32_t plus, uint32_t word)
{
    int32_t halves;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(halves) : "r"(plus), "r"(word));
    return halves;
}

/* A value in both halves. */
BODY int32_t both_halves(int32_t value)
{
    uint32_t half = (uint32_t)value & 0xffffu;
    return (int32_t)(half << 16 | half);
}
#endif

BODY int8_t *row_of(const struct place *p, int32_t y, int32_t pixel)
{
    int32_t row = (y - p->top) % p->ring;
    return p->data + row * p->columns * pixel;
}

BODY int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    return value > high ? high : value;
}

/* The nearest int8. */
BODY int32_t clamp8(int32_t value)
{
#if defined(__ARM_FEATURE_SAT)
    int32_t low;
    __asm__("ssat %0, #8, %1" : "=r"(low) : "r"(value));
    return low;
#else
    return clamp(value, INT8_MIN, INT8_MAX);
#endif
}

/* round(a * b / 2^31); only -2^31 by -2^31 saturates. */
BODY int32_t high_mul(int32_t a, int32_t b)
{
    if (a == INT32_MIN && b == INT32_MIN) {
        return INT32_MAX;
    }
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* round(x / 2^exponent), ties away from zero; exponent in [0, 62]. */
BODY int32_t divide_by_pot(int32_t x, int32_t exponent)
{
    int64_t mask = (INT64_C(1) << exponent) - 1;
    int64_t rest = (int64_t)x & mask;
    int64_t threshold = (mask >> 1) + (x < 0);
    return (int32_t)(((int64_t)x >> exponent) + (rest > threshold));
}

/* Any x, any shift in [-31, 30]. */
HELPER int32_t scaled_any(int32_t x, int32_t mantissa, int32_t shift)
{
    int32_t left = shift > 0 ? (int32_t)((uint32_t)x << shift) : x;
    return divide_by_pot(high_mul(left, mantissa), shift < 0 ? -shift : 0);
}

/* round(x * mantissa / 2^31) for |x| < 2^30. */
BODY int32_t high_mul_narrow(int32_t x, int32_t mantissa)
{
    const int32_t twice = x * 2;
#if defined(MODEL_DSP) || defined(MODEL_MVE)
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(twice), "r"(mantissa));
    return high;
#else
    return (int32_t)(((int64_t)twice * mantissa + (INT64_C(1) << 31)) >> 32);
#endif
}

/* round(x / 2^(right + 1)), ties away from zero, plus (offset - 1) / 2; right >= 0. */
BODY int32_t divide_narrow(int32_t x, int32_t right, int32_t offset)
{
    return (((x + (x >> 31)) >> right) + offset) >> 1;
}

/* a + b, brought to the ends of 32 bits. */
BODY int32_t saturating_add(int32_t a, int32_t b)
{
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}
