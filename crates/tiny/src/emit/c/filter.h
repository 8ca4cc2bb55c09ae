
/* What the convolutions have in common. */
struct filter {
    const int8_t *weights;
    const int32_t *bias; /* NULL: none. */
    const int32_t *mantissas;
    const int8_t *rights;  /* -1 - shift. */
    const struct sum *sum; /* The ADD that is done with it, its other operand at `second`; or NULL. */
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint8_t kernel_rows, kernel_columns, stride_rows, stride_columns;
    uint8_t dilation_rows, dilation_columns, before_rows, before_columns;
    int16_t input_zero, output_zero, low, high;
    uint16_t swapped;  /* Of the ADD: the convolution's value is its second operand. */
    uint16_t per_group;
};

/* Classes of multipliers: all to the right and no sum beyond 2^30; some to the left; sums of all 32 bits. */
enum shifts { NARROW, MIXED, WIDE };

/* What is the same for all calls of a kernel's class: their combinations are kernels of their own. */
struct class {
    enum shifts shifts;
    int single; /* One multiplier for all channels. */
    int full;   /* The range is that of int8. */
    int sums;   /* 1: an ADD is done with it; 2: one of any multipliers. */
};

/* How a sum becomes a value: what of a filter the inner loops need. */
struct finish {
    const int32_t *bias, *mantissas;
    const int8_t *rights;
    const struct sum *sum;
    int32_t offset, low, high, swapped;
};

BODY struct finish finish_of(const struct filter *f)
{
    struct finish q = {f->bias, f->mantissas, f->rights, f->sum, 2 * f->output_zero + 1, f->low, f->high, f->swapped};
    return q;
}

/* From a sum to the value of channel `o`; `other`: the other operand of an ADD. */
BODY int32_t finished(const struct finish *q, int32_t sum, int32_t o, int32_t other, const struct class k)
{
    const int32_t m = k.single ? 0 : o, right = q->rights[m], mantissa = q->mantissas[m];
    int32_t value;
    if (k.shifts == NARROW || (k.shifts == MIXED && right >= 0)) {
        value = divide_narrow(high_mul_narrow(sum, mantissa), right, q->offset);
    } else if (k.shifts == WIDE && right > 0 && mantissa != INT32_MIN) {
        const int32_t high = (int32_t)(((int64_t)sum * mantissa + (INT64_C(1) << 30)) >> 31);
        value = divide_narrow(high, right, q->offset);
    } else {
        value = saturating_add(scaled_any(sum, mantissa, -1 - right), (q->offset - 1) / 2);
    }
    value = k.full ? clamp8(value) : clamp(value, q->low, q->high);
    if (k.sums == 1) {
        value = q->swapped ? sum_of(q->sum, other, value) : sum_of(q->sum, value, other);
    } else if (k.sums == 2) {
        value = q->swapped ? sum_of_any(q->sum, other, value) : sum_of_any(q->sum, value, other);
    }
    return value;
}

/* One channel of a pixel. */
BODY void finish1(const struct finish *q, int32_t sum, int32_t o, const int8_t *second, int8_t *to,
                  const struct class k)
{
    to[o] = (int8_t)finished(q, sum, o, k.sums ? second[o] : 0, k);
}

/* Four channels of a pixel. All are computed before any is stored: the other operand of an ADD may lie there. */
BODY void finish4(const struct finish *q, const int32_t s[4], int32_t o, const int8_t *second, int8_t *to,
                  const struct class k)
{
#if defined(MODEL_MVE)
    if (k.shifts == NARROW && !k.sums) {
        const int32x4_t mantissas = k.single ? vdupq_n_s32(q->mantissas[0]) : vldrwq_s32(q->mantissas + o);
        const int32x4_t rights = k.single ? vdupq_n_s32(q->rights[0]) : vldrbq_s32(q->rights + o);
        int32x4_t values = vqrdmulhq_s32(vldrwq_s32(s), mantissas);
        values = vshlq_s32(vaddq_s32(values, vshrq_n_s32(values, 31)), vnegq_s32(rights));
        values = vshrq_n_s32(vaddq_n_s32(values, q->offset), 1);
        values = vminq_s32(vmaxq_s32(values, vdupq_n_s32(q->low)), vdupq_n_s32(q->high));
        vstrbq_s32(to + o, values);
        return;
    }
#endif
    const int32_t v = finished(q, s[0], o, k.sums ? second[o] : 0, k);
    const int32_t w = finished(q, s[1], o + 1, k.sums ? second[o + 1] : 0, k);
    const int32_t x = finished(q, s[2], o + 2, k.sums ? second[o + 2] : 0, k);
    const int32_t y = finished(q, s[3], o + 3, k.sums ? second[o + 3] : 0, k);
    to[o] = (int8_t)v;
    to[o + 1] = (int8_t)w;
    to[o + 2] = (int8_t)x;
    to[o + 3] = (int8_t)y;
}

/* The biases of four channels. */
BODY void biases(const struct finish *q, int32_t o, int32_t s[4])
{
    const int32_t *const from = q->bias != NULL ? q->bias + o : NULL;
    s[0] = from != NULL ? from[0] : 0;
    s[1] = from != NULL ? from[1] : 0;
    s[2] = from != NULL ? from[2] : 0;
    s[3] = from != NULL ? from[3] : 0;
}
