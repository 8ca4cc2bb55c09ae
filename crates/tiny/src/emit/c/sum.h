
/* ADD and SUB: both operands on a common scale, 20 bits up. */
struct sum {
    int32_t zeros[2];
    struct multiplier operands[2], output;
    int32_t sign, output_zero, low, high;
};

static inline int32_t sum_of(const struct sum *s, int32_t a, int32_t b)
{
    int32_t x = scaled_any((a - s->zeros[0]) * (1 << 20), s->operands[0].mantissa, s->operands[0].shift);
    int32_t y = scaled_any((b - s->zeros[1]) * (1 << 20), s->operands[1].mantissa, s->operands[1].shift);
    int32_t sum = scaled_any(x + s->sign * y, s->output.mantissa, s->output.shift);
    return clamp(saturating_add(sum, s->output_zero), s->low, s->high);
}
