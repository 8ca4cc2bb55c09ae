
/* SOFTMAX in fixed point; the output is quantised by (1/256, -128). Qa.b: a bits before the point. */

/* e^t for t in [-1/4, 0), Q0.31: Taylor's polynomial of degree 4 around -1/8. */
static int32_t exp_near_minus_eighth(int32_t t)
{
    const int32_t x = t + (1 << 28), x2 = high_mul(x, x), x3 = high_mul(x2, x), x4 = high_mul(x2, x2);
    const int32_t y = divide_by_pot(high_mul(divide_by_pot(x4, 2) + x3, 715827883) + x2, 1); /* 1/3 */
    return 1895147668 + high_mul(1895147668, x + y);                                         /* e^-1/8 */
}

/* e^a for a <= 0 in Q5.26, as Q0.31. */
static int32_t exp_of_negative(int32_t a)
{
    /* e^-2^j for the bits 24 (1/4) to 30 (16) of what is left. */
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t u = (a & 0xffffff) - (1 << 24);
    const uint32_t rest = (uint32_t)u - (uint32_t)a;
    int32_t e = exp_near_minus_eighth(u * 32);
    if (a == 0) {
        return INT32_MAX;
    }
    for (int32_t bit = 0; bit < 7; bit++) {
        if (rest >> (24 + bit) & 1u) {
            e = high_mul(e, factors[bit]);
        }
    }
    return e;
}

static int32_t saturating_double(int32_t x, int32_t times)
{
    for (; times > 0; times--) {
        x = saturating_add(x, x);
    }
    return x;
}

/* 1 / (1 + f) for f in [0, 1), both Q0.31: three Newton steps. */
static int32_t reciprocal_of_one_plus(int32_t f)
{
    const int64_t sum = (int64_t)f + INT32_MAX;
    const int32_t half = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
    int32_t x = 1515870810 + high_mul(half, -1010580540); /* 48/17 - 32/17 d, the best line. */
    for (int32_t i = 0; i < 3; i++) {
        x += saturating_double(high_mul(x, (1 << 29) - high_mul(half, x)), 2);
    }
    return saturating_double(x, 1);
}

/* The exponential of a difference; 0 where it counts as nothing. */
static int32_t softmax_exponential(int32_t difference, int32_t mantissa, int32_t left, int32_t least)
{
    if (difference < least) {
        return 0;
    }
    return exp_of_negative(high_mul((int32_t)((uint32_t)difference << left), mantissa));
}

KERNEL void softmax(int32_t rows, int32_t depth, int32_t mantissa, int32_t left, int32_t least, const int8_t *x,
                    int8_t *y)
{
    for (; rows > 0; rows--, x += depth, y += depth) {
        int32_t most = INT8_MIN, headroom = 0;
        int64_t total = 0;
        uint32_t sum;
        for (int32_t i = 0; i < depth; i++) {
            most = x[i] > most ? x[i] : most;
        }
        for (int32_t i = 0; i < depth; i++) {
            total += divide_by_pot(softmax_exponential(x[i] - most, mantissa, left, least), 12);
        }
        sum = (uint32_t)(total > INT32_MAX ? INT32_MAX : total);
        for (; headroom < 31 && !(sum >> (31 - headroom) & 1u); headroom++) {
        }
        const int32_t reciprocal = reciprocal_of_one_plus((int32_t)((sum << headroom) - (1u << 31)));
        for (int32_t i = 0; i < depth; i++) {
            const int32_t e = softmax_exponential(x[i] - most, mantissa, left, least);
            const int32_t value = divide_by_pot(high_mul(reciprocal, e), 35 - headroom) - 128;
            y[i] = (int8_t)(x[i] - most < least ? INT8_MIN : clamp(value, INT8_MIN, INT8_MAX));
        }
    }
}
