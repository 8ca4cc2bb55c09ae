
/* Four channels of one tap: sums += (x - zero) * w. */
BODY void tap4(const int8_t *x, const int8_t *w, int32_t zero, int32_t sums[4])
{
#if defined(MODEL_DSP)
    const int32_t less = both_halves(-zero);
    uint32_t a = four_bytes(x), b = four_bytes(w);
    int32_t a02 = even_plus(less, a), a13 = odd_plus(less, a), b02 = even(b), b13 = odd(b);
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
                    const int narrow, const int sums)
{
    const int32_t channels = f->out_channels, zero = f->input_zero;
    const int32_t kernel_rows = size ? size : f->kernel_rows, kernel_columns = size ? size : f->kernel_columns;
    const int32_t blocks = channels / 4, turns = blocks + channels % 4, backward = t->backward;
    const int8_t *rows[MOST_KERNEL_ROWS];
    for (int32_t i = top; i < bottom; i++) {
        int32_t y = backward ? top + bottom - 1 - i : i;
        int8_t *y_row = row_of(&t->y, y, channels);
        const int8_t *second_row = sums ? row_of(&t->second, y, channels) : NULL;
        struct taps v = taps_of(y, kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
        for (int32_t k = v.first; k < v.end; k++) {
            rows[k] = row_of(&t->x, y * f->stride_rows - f->before_rows + k, channels);
        }
        for (int32_t j = t->left; j < t->right; j++) {
            int32_t x = backward ? t->left + t->right - 1 - j : j;
            struct taps h = taps_of(x, kernel_columns, f->stride_columns, 1, f->before_columns, f->in_columns);
            const int32_t from = (x * f->stride_columns - f->before_columns + h.first - t->x.left) * channels;
            const int32_t taps = h.end - h.first;
            int8_t *to = y_row + (x - t->y.left) * channels, *pixel = t->scratch != NULL ? t->scratch : to;
            const int8_t *second = sums ? second_row + (x - t->second.left) * channels : NULL;
            for (int32_t k = 0; k < turns; k++) {
                int32_t turn = backward ? turns - 1 - k : k;
                if (turn < blocks) {
                    const int32_t o = 4 * turn;
                    int32_t s[4] = {bias_of(f, o), bias_of(f, o + 1), bias_of(f, o + 2), bias_of(f, o + 3)};
                    for (int32_t r = v.first; r < v.end; r++) {
                        const int8_t *a = rows[r] + from + o;
                        const int8_t *b = f->weights + (r * kernel_columns + h.first) * channels + o;
                        if (size && taps == size) {
#pragma GCC unroll 8
                            for (int32_t c = 0; c < size; c++) {
                                tap4(a + c * channels, b + c * channels, zero, s);
                            }
                        } else {
                            for (int32_t c = 0; c < taps; c++) {
                                tap4(a + c * channels, b + c * channels, zero, s);
                            }
                        }
                    }
                    s[0] = finished(f, s[0], o, second, narrow, sums);
                    s[1] = finished(f, s[1], o + 1, second, narrow, sums);
                    s[2] = finished(f, s[2], o + 2, second, narrow, sums);
                    s[3] = finished(f, s[3], o + 3, second, narrow, sums);
                    pixel[o] = (int8_t)s[0];
                    pixel[o + 1] = (int8_t)s[1];
                    pixel[o + 2] = (int8_t)s[2];
                    pixel[o + 3] = (int8_t)s[3];
                } else {
                    const int32_t o = 3 * blocks + turn;
                    int32_t s = bias_of(f, o);
                    for (int32_t r = v.first; r < v.end; r++) {
                        const int8_t *a = rows[r] + from + o;
                        const int8_t *b = f->weights + (r * kernel_columns + h.first) * channels + o;
                        for (int32_t c = 0; c < taps; c++) {
                            s += (a[c * channels] - zero) * b[c * channels];
                        }
                    }
                    pixel[o] = (int8_t)finished(f, s, o, second, narrow, sums);
                }
            }
            if (pixel != to) {
                memcpy(to, pixel, (size_t)channels);
            }
        }
    }
}
