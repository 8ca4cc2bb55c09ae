
/* Two operands, element by element. Within a pixel of the output, operand k's element lies at sum(index * steps[k]). */
struct pair {
    const int8_t *constant[2]; /* An operand in Flash, or NULL. */
    const int32_t *shape;      /* The axes of a pixel. */
    const int32_t *steps[2];   /* Steps of the operands along them. */
    int32_t axes, elements;    /* Elements of a pixel of the output. */
    int32_t pixels[2];         /* Elements of a pixel of each operand. */
    int32_t spatial[2];        /* 1: the operand moves with the pixel. */
    struct sum sum;            /* ADD, SUB; of MUL its zero points, output and range. */
    struct multiplier negative;
};

enum pair_formula { PAIR_SUM, PAIR_PRODUCT, PAIR_MAXIMUM, PAIR_MINIMUM, PAIR_PRELU };

BODY int32_t pair_value(const struct pair *f, int32_t a, int32_t b, const enum pair_formula formula)
{
    const struct sum *s = &f->sum;
    int32_t value;
    switch (formula) {
    case PAIR_SUM:
        return sum_of_any(s, a, b);
    case PAIR_MAXIMUM:
        return a > b ? a : b;
    case PAIR_MINIMUM:
        return a < b ? a : b;
    case PAIR_PRELU:
        a -= s->zeros[0];
        value = a >= 0 ? scaled_any(a, s->output.mantissa, s->output.shift)
                       : scaled_any(a * (b - s->zeros[1]), f->negative.mantissa, f->negative.shift);
        return clamp(saturating_add(value, s->output_zero), s->low, s->high);
    case PAIR_PRODUCT:
    default:
        value = scaled_any((a - s->zeros[0]) * (b - s->zeros[1]), s->output.mantissa, s->output.shift);
        return clamp(saturating_add(value, s->output_zero), s->low, s->high);
    }
}

/* Where element `i` of a pixel lies in operand `k`. */
BODY int32_t pair_element(const struct pair *f, int32_t k, int32_t i)
{
    int32_t at = 0;
    for (int32_t axis = f->axes - 1; axis > 0; axis--) {
        at += i % f->shape[axis] * f->steps[k][axis];
        i /= f->shape[axis];
    }
    return at + i * f->steps[k][0];
}

BODY void pair(const struct pair *f, const struct task *t, int32_t top, int32_t bottom,
               const enum pair_formula formula)
{
    const struct place *places[2] = {&t->x, &t->second};
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = t->backward ? top + bottom - 1 - i : i;
        for (int32_t j = t->left; j < t->right; j++) {
            const int32_t x = t->backward ? t->left + t->right - 1 - j : j;
            int8_t *to = row_of(&t->y, y, f->elements) + (x - t->y.left) * f->elements;
            const int8_t *from[2];
            for (int32_t k = 0; k < 2; k++) {
                from[k] = f->constant[k] != NULL ? f->constant[k]
                          : f->spatial[k]
                              ? row_of(places[k], y, f->pixels[k]) + (x - places[k]->left) * f->pixels[k]
                              : places[k]->data;
            }
            for (int32_t k = 0; k < f->elements; k++) {
                const int32_t e = t->backward ? f->elements - 1 - k : k;
                const int32_t a = from[0][pair_element(f, 0, e)], b = from[1][pair_element(f, 1, e)];
                to[e] = (int8_t)pair_value(f, a, b, formula);
            }
        }
    }
}
