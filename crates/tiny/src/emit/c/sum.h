
/* ADD and SUB: both operands on a common scale, 20 bits up. */
struct sum {
    int32_t zeros[2];
    struct multiplier operands[2], output;
    int32_t sign, output_zero, low, high;
};

/* Any multipliers. */
HELPER int32_t sum_of_any(const struct sum *s, int32_t a, int32_t b)
{
    int32_t x = scaled_any((a - s->zeros[0]) * (1 << 20), s->operands[0].mantissa, s->operands[0].shift);
    int32_t y = scaled_any((b - s->zeros[1]) * (1 << 20), s->operands[1].mantissa, s->operands[1].shift);
    int32_t sum = scaled_any(x + s->sign * y, s->output.mantissa, s->output.shift);
    return clamp(saturating_add(sum, s->output_zero), s->low, s->high);
}

/* No shift to the left: what trained networks have. A shift of 0 is a half, of the operand with the coarser scale. */
HELPER int32_t sum_of(const struct sum *s, int32_t a, int32_t b)
{
    int32_t x = high_mul_narrow((a - s->zeros[0]) * (1 << 20), s->operands[0].mantissa);
    int32_t y = high_mul_narrow((b - s->zeros[1]) * (1 << 20), s->operands[1].mantissa);
    x = s->operands[0].shift < 0 ? divide_narrow(x, -1 - s->operands[0].shift, 1) : x;
    y = s->operands[1].shift < 0 ? divide_narrow(y, -1 - s->operands[1].shift, 1) : y;
    x = high_mul_narrow(x + s->sign * y, s->output.mantissa);
    return clamp(divide_narrow(x, -1 - s->output.shift, 1) + s->output_zero, s->low, s->high);
}
