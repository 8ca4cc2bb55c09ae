
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

/* From a sum to the value of channel `o`. */
BODY int32_t requantized(const struct filter *f, int32_t sum, int32_t o, const int narrow)
{
    int32_t m = f->each ? o : 0;
    int32_t value = narrow ? scaled(sum, f->mantissas[m], f->shifts[m]) : scaled_any(sum, f->mantissas[m], f->shifts[m]);
    return clamp(narrow ? value + f->output_zero : saturating_add(value, f->output_zero), f->low, f->high);
}

/* The value of channel `o`, with the other operand of a fused ADD. */
BODY int32_t finished(const struct filter *f, int32_t sum, int32_t o, const int8_t *second, const int narrow,
                      const int sums)
{
    int32_t value = requantized(f, sum, o, narrow);
    if (sums) {
        value = f->swapped ? sum_of(f->sum, second[o], value) : sum_of(f->sum, value, second[o]);
    }
    return value;
}

BODY int32_t bias_of(const struct filter *f, int32_t o)
{
    return f->bias != NULL ? f->bias[o] : 0;
}
