
/* sum += sum of (x[i] - zero) * w[i]. */
BODY int32_t dot(const int8_t *x, const int8_t *w, int32_t n, int32_t zero, int32_t sum)
{
    int32_t i = 0;
#if defined(MODEL_MVE)
    int32_t weights = 0;
    for (; i < n; i += 16) {
        mve_pred16_t lanes = vctp8q((uint32_t)(n - i));
        int8x16_t b = vldrbq_z_s8(w + i, lanes);
        sum = vmladavaq_s8(sum, vldrbq_z_s8(x + i, lanes), b);
        weights = vaddvaq_s8(weights, b);
    }
    return sum - zero * weights;
#else
#if defined(MODEL_DSP)
    const int32_t less = both_halves(-zero);
    for (; i + 4 <= n; i += 4) {
        uint32_t a = four_bytes(x + i), b = four_bytes(w + i);
        sum = __smlad(even_plus(less, a), even(b), sum);
        sum = __smlad(odd_plus(less, a), odd(b), sum);
    }
#endif
    for (; i < n; i++) {
        sum += (x[i] - zero) * w[i];
    }
    return sum;
#endif
}

/* As dot, of four rows of weights that lie `step` apart. */
BODY void dot4(const int8_t *x, const int8_t *w, int32_t step, int32_t n, int32_t zero, int32_t sums[4])
{
    const int8_t *w1 = w + step, *w2 = w1 + step, *w3 = w2 + step;
    int32_t i = 0;
#if defined(MODEL_MVE)
    int32_t t0 = 0, t1 = 0, t2 = 0, t3 = 0;
    for (; i < n; i += 16) {
        mve_pred16_t lanes = vctp8q((uint32_t)(n - i));
        int8x16_t a = vldrbq_z_s8(x + i, lanes), b = vldrbq_z_s8(w + i, lanes);
        sums[0] = vmladavaq_s8(sums[0], a, b);
        t0 = vaddvaq_s8(t0, b);
        b = vldrbq_z_s8(w1 + i, lanes);
        sums[1] = vmladavaq_s8(sums[1], a, b);
        t1 = vaddvaq_s8(t1, b);
        b = vldrbq_z_s8(w2 + i, lanes);
        sums[2] = vmladavaq_s8(sums[2], a, b);
        t2 = vaddvaq_s8(t2, b);
        b = vldrbq_z_s8(w3 + i, lanes);
        sums[3] = vmladavaq_s8(sums[3], a, b);
        t3 = vaddvaq_s8(t3, b);
    }
    sums[0] -= zero * t0;
    sums[1] -= zero * t1;
    sums[2] -= zero * t2;
    sums[3] -= zero * t3;
#else
#if defined(MODEL_DSP)
    const int32_t less = both_halves(-zero);
    for (; i + 4 <= n; i += 4) {
        uint32_t word = four_bytes(x + i);
        int32_t a = even_plus(less, word), b = odd_plus(less, word);
        word = four_bytes(w + i);
        sums[0] = __smlad(a, even(word), sums[0]);
        sums[0] = __smlad(b, odd(word), sums[0]);
        word = four_bytes(w1 + i);
        sums[1] = __smlad(a, even(word), sums[1]);
        sums[1] = __smlad(b, odd(word), sums[1]);
        word = four_bytes(w2 + i);
        sums[2] = __smlad(a, even(word), sums[2]);
        sums[2] = __smlad(b, odd(word), sums[2]);
        word = four_bytes(w3 + i);
        sums[3] = __smlad(a, even(word), sums[3]);
        sums[3] = __smlad(b, odd(word), sums[3]);
    }
#endif
    for (; i < n; i++) {
        int32_t a = x[i] - zero;
        sums[0] += a * w[i];
        sums[1] += a * w1[i];
        sums[2] += a * w2[i];
        sums[3] += a * w3[i];
    }
#endif
}

#if defined(MODEL_DSP)
/* Four inputs of four packed rows. */
BODY void step4(const int8_t *x, const int8_t *w, int32_t less, int32_t s[4])
{
    const uint32_t word = four_bytes(x);
    const int32_t a = even_plus(less, word), b = odd_plus(less, word);
    const uint32_t w0 = four_weights(w, 0), w1 = four_weights(w, 1);
    s[0] = __smlad(a, even(w0), s[0]);
    s[1] = __smlad(a, even(w1), s[1]);
    s[0] = __smlad(b, odd(w0), s[0]);
    s[1] = __smlad(b, odd(w1), s[1]);
    const uint32_t w2 = four_weights(w, 2), w3 = four_weights(w, 3);
    s[2] = __smlad(a, even(w2), s[2]);
    s[3] = __smlad(a, even(w3), s[3]);
    s[2] = __smlad(b, odd(w2), s[2]);
    s[3] = __smlad(b, odd(w3), s[3]);
}
#endif

/* As dot4, of weights packed by blocks: four of the first row, four of the second, ... `n` is a multiple of 4. */
BODY void dot4_packed(const int8_t *x, const int8_t *w, int32_t n, int32_t zero, int32_t sums[4])
{
#if defined(MODEL_MVE)
    const uint32x4_t apart = vmulq_n_u32(vidupq_n_u32(0, 1), 16);
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3], t0 = 0, t1 = 0, t2 = 0, t3 = 0;
    for (; n > 0; n -= 16, x += 16, w += 64) {
        const mve_pred16_t lanes = vctp8q((uint32_t)n);
        const int8x16_t a = vldrbq_z_s8(x, lanes);
        int8x16_t b = vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32((const int32_t *)(const void *)w, apart, lanes));
        s0 = vmladavaq_s8(s0, a, b);
        t0 = vaddvaq_s8(t0, b);
        b = vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32((const int32_t *)(const void *)(w + 4), apart, lanes));
        s1 = vmladavaq_s8(s1, a, b);
        t1 = vaddvaq_s8(t1, b);
        b = vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32((const int32_t *)(const void *)(w + 8), apart, lanes));
        s2 = vmladavaq_s8(s2, a, b);
        t2 = vaddvaq_s8(t2, b);
        b = vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32((const int32_t *)(const void *)(w + 12), apart, lanes));
        s3 = vmladavaq_s8(s3, a, b);
        t3 = vaddvaq_s8(t3, b);
    }
    sums[0] = s0 - zero * t0;
    sums[1] = s1 - zero * t1;
    sums[2] = s2 - zero * t2;
    sums[3] = s3 - zero * t3;
#elif defined(MODEL_DSP)
    const int32_t less = both_halves(-zero);
    int32_t s[4] = {sums[0], sums[1], sums[2], sums[3]};
    /* Twice by twice: the loop itself costs. */
    for (const int8_t *end = x + (n & ~7); x != end; x += 8, w += 32) {
        step4(x, w, less, s);
        step4(x + 4, w + 16, less, s);
    }
    if (n & 4) {
        step4(x, w, less, s);
    }
    memcpy(sums, s, sizeof s);
#else
    for (int32_t i = 0; i < n; i += 4, w += 16) {
        for (int32_t k = 0; k < 4; k++) {
            const int32_t a = x[i + k] - zero;
            sums[0] += a * w[k];
            sums[1] += a * w[4 + k];
            sums[2] += a * w[8 + k];
            sums[3] += a * w[12 + k];
        }
    }
#endif
}
