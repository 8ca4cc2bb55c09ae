
/* What the convolutions have in common. */
struct filter {
    const int8_t *weights;
    const int32_t *bias; /* NULL: none. */
    const int32_t *mantissas;
    const int8_t *shifts;
    const struct sum *sum; /* The ADD that is done with it, its other operand at `second`; or NULL. */
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint8_t kernel_rows, kernel_columns, stride_rows, stride_columns;
    uint8_t dilation_rows, dilation_columns, before_rows, before_columns;
    int16_t input_zero, output_zero, low, high;
    uint16_t each;     /* 1: a multiplier for each channel; 0: one for all. */
    uint16_t swapped;  /* Of the ADD: the convolution's value is its second operand. */
    uint16_t per_group;
};

/* How a sum becomes a value: what of a filter the inner loops need. */
struct finish {
    const int32_t *bias, *mantissas;
    const int8_t *shifts;
    const struct sum *sum;
    int32_t each, offset, low, high, swapped;
};

/* Classes of multipliers: all to the right; some not, but no sum beyond 2^30; any. */
enum shifts { NARROW, MIXED, WIDE };

BODY struct finish finish_of(const struct filter *f)
{
    struct finish q = {f->bias, f->mantissas, f->shifts, f->sum, f->each ? -1 : 0, 2 * f->output_zero + 1,
                       f->low,  f->high,      f->swapped};
    return q;
}

BODY int32_t bias_of(const struct finish *q, int32_t o)
{
    return q->bias != NULL ? q->bias[o] : 0;
}

/* From a sum to the value of channel `o`. `full`: the range is that of int8. `sums`: 1 for an ADD that is done with it,
   2 for one of any multipliers. */
BODY int32_t finished(const struct finish *q, int32_t sum, int32_t o, const int8_t *second, const enum shifts shifts,
                      const int full, const int sums)
{
    const int32_t m = o & q->each, shift = q->shifts[m], mantissa = q->mantissas[m];
    int32_t value;
    if (shifts == NARROW || (shifts == MIXED && shift < 0)) {
        value = divide_narrow(high_mul_narrow(sum, mantissa), -1 - shift, q->offset);
    } else {
        value = saturating_add(scaled_any(sum, mantissa, shift), (q->offset - 1) / 2);
    }
    value = full ? clamp(value, INT8_MIN, INT8_MAX) : clamp(value, q->low, q->high);
    if (sums == 1) {
        value = q->swapped ? sum_of(q->sum, second[o], value) : sum_of(q->sum, value, second[o]);
    } else if (sums == 2) {
        value = q->swapped ? sum_of_any(q->sum, second[o], value) : sum_of_any(q->sum, value, second[o]);
    }
    return value;
}

/* Four channels of a pixel. All are computed before any is stored: the other operand of an ADD may lie there. */
BODY void finish4(const struct finish *q, const int32_t s[4], int32_t o, const int8_t *second, int8_t *to,
                  const enum shifts shifts, const int full, const int sums)
{
    const int32_t a = finished(q, s[0], o, second, shifts, full, sums);
    const int32_t b = finished(q, s[1], o + 1, second, shifts, full, sums);
    const int32_t c = finished(q, s[2], o + 2, second, shifts, full, sums);
    const int32_t d = finished(q, s[3], o + 3, second, shifts, full, sums);
    to[o] = (int8_t)a;
    to[o + 1] = (int8_t)b;
    to[o + 2] = (int8_t)c;
    to[o + 3] = (int8_t)d;
}
