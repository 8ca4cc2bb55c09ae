
/* Four channels of one tap: sums += (x - zero) * w. */
BODY void tap4(const int8_t *x, const int8_t *w, int32_t zero, int32_t sums[4])
{
#if defined(MODEL_DSP)
    const int32_t less = both_halves(-zero);
    const uint32_t a = four_bytes(x), b = four_bytes(w);
    const int32_t a02 = even_plus(less, a), a13 = odd_plus(less, a), b02 = even(b), b13 = odd(b);
    sums[0] = __smlabb(a02, b02, sums[0]);
    sums[1] = __smlabb(a13, b13, sums[1]);
    sums[2] = __smlatt(a02, b02, sums[2]);
    sums[3] = __smlatt(a13, b13, sums[3]);
#else
    for (int32_t c = 0; c < 4; c++) {
        sums[c] += (x[c] - zero) * w[c];
    }
#endif
}

/* DEPTHWISE_CONV_2D, undilated, one output channel for each input channel; kernel of `size` x `size`, or any if 0.
   Weights are [rows][columns][channels]. */
BODY void depthwise(const struct filter *f, const struct task *t, int32_t top, int32_t bottom, const int size,
                    const enum shifts shifts, const int full, const int sums)
{
    const struct finish q = finish_of(f);
    const int8_t *const all_weights = f->weights;
    const int32_t channels = f->out_channels, zero = f->input_zero;
    const int32_t kernel_rows = size ? size : f->kernel_rows, kernel_columns = size ? size : f->kernel_columns;
    const int32_t stride = f->stride_columns, before = f->before_columns, in_columns = f->in_columns;
    const int32_t blocks = channels / 4, turns = blocks + channels % 4;
    const int32_t backward = t->backward, left = t->left, right = t->right;
    const int32_t x_left = t->x.left, y_left = t->y.left, second_left = t->second.left;
    int8_t *const scratch = t->scratch;
    const int8_t *rows[MOST_KERNEL_ROWS];
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = backward ? top + bottom - 1 - i : i;
        int8_t *const y_row = row_of(&t->y, y, channels);
        const int8_t *const second_row = sums ? row_of(&t->second, y, channels) : NULL;
        const struct taps v = taps_of(y, kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
        for (int32_t k = v.first; k < v.end; k++) {
            rows[k] = row_of(&t->x, y * f->stride_rows - f->before_rows + k, channels);
        }
        for (int32_t j = left; j < right; j++) {
            const int32_t x = backward ? left + right - 1 - j : j;
            const struct taps h = taps_of(x, kernel_columns, stride, 1, before, in_columns);
            const int32_t from = (x * stride - before + h.first - x_left) * channels;
            const int32_t taps = h.end - h.first;
            int8_t *const to = y_row + (x - y_left) * channels, *const pixel = scratch != NULL ? scratch : to;
            const int8_t *const second = sums ? second_row + (x - second_left) * channels : NULL;
            for (int32_t k = 0; k < turns; k++) {
                const int32_t turn = backward ? turns - 1 - k : k;
                if (turn < blocks) {
                    const int32_t o = 4 * turn;
                    int32_t s[4] = {bias_of(&q, o), bias_of(&q, o + 1), bias_of(&q, o + 2), bias_of(&q, o + 3)};
                    for (int32_t r = v.first; r < v.end; r++) {
                        const int8_t *a = rows[r] + from + o;
                        const int8_t *b = all_weights + (r * kernel_columns + h.first) * channels + o;
                        if (size && taps == size) {
#pragma GCC unroll 8
                            for (int32_t c = 0; c < size; c++) {
                                tap4(a, b, zero, s);
                                a += channels;
                                b += channels;
                            }
                        } else {
                            for (int32_t c = 0; c < taps; c++) {
                                tap4(a, b, zero, s);
                                a += channels;
                                b += channels;
                            }
                        }
                    }
                    finish4(&q, s, o, second, pixel, shifts, full, sums);
                } else {
                    const int32_t o = 3 * blocks + turn;
                    int32_t s = bias_of(&q, o);
                    for (int32_t r = v.first; r < v.end; r++) {
                        const int8_t *a = rows[r] + from + o;
                        const int8_t *b = all_weights + (r * kernel_columns + h.first) * channels + o;
                        for (int32_t c = 0; c < taps; c++) {
                            s += (a[c * channels] - zero) * b[c * channels];
                        }
                    }
                    pixel[o] = (int8_t)finished(&q, s, o, second, shifts, full, sums);
                }
            }
            if (scratch != NULL) {
                memcpy(to, scratch, (size_t)channels);
            }
        }
    }
}
