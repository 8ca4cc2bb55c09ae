
/* MEAN: axes as pairs of length and step, those that stay and those that are averaged. */
struct mean {
    const int32_t *kept, *reduced;
    int32_t kept_axes, reduced_axes, positions, count, input_zero;
    struct multiplier multiplier;
    int32_t output_zero;
};

/* Where position `i` of some axes lies. */
BODY int32_t mean_offset(const int32_t *axes, int32_t count, int32_t i)
{
    int32_t at = 0;
    for (int32_t axis = count - 1; axis >= 0; axis--) {
        at += i % axes[2 * axis] * axes[2 * axis + 1];
        i /= axes[2 * axis];
    }
    return at;
}

KERNEL void mean(const struct mean *f, const int8_t *x, int8_t *y)
{
    for (int32_t i = 0; i < f->positions; i++) {
        const int8_t *from = x + mean_offset(f->kept, f->kept_axes, i);
        int32_t sum = -f->count * f->input_zero;
        for (int32_t k = 0; k < f->count; k++) {
            sum += from[mean_offset(f->reduced, f->reduced_axes, k)];
        }
        const int32_t value = scaled_any(sum, f->multiplier.mantissa, f->multiplier.shift);
        y[i] = (int8_t)clamp(saturating_add(value, f->output_zero), INT8_MIN, INT8_MAX);
    }
}
