
/* CONV_2D of one group, undilated. `point`: a kernel of 1x1. Weights are [out][rows][columns][in]. */
BODY void convolution(const struct filter *f, const struct task *t, int32_t top, int32_t bottom, const int point,
                      const int narrow, const int sums)
{
    const int32_t in = f->in_channels, out = f->out_channels, zero = f->input_zero;
    const int32_t kernel_rows = point ? 1 : f->kernel_rows, kernel_columns = point ? 1 : f->kernel_columns;
    const int32_t weight_row = kernel_columns * in, weights = kernel_rows * weight_row;
    const int32_t blocks = out / 4, turns = blocks + out % 4, backward = t->backward;
    const int8_t *rows[MOST_KERNEL_ROWS];
    for (int32_t i = top; i < bottom; i++) {
        int32_t y = backward ? top + bottom - 1 - i : i;
        int32_t position = y * f->stride_rows - f->before_rows;
        int8_t *y_row = row_of(&t->y, y, out);
        const int8_t *second_row = sums ? row_of(&t->second, y, out) : NULL;
        struct taps v = {0, 1}, h = {0, 1};
        if (!point) {
            v = taps_of(y, kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
        }
        for (int32_t k = v.first; k < v.end; k++) {
            rows[k] = row_of(&t->x, position + k, in);
        }
        for (int32_t j = t->left; j < t->right; j++) {
            int32_t x = backward ? t->left + t->right - 1 - j : j;
            if (!point) {
                h = taps_of(x, kernel_columns, f->stride_columns, 1, f->before_columns, f->in_columns);
            }
            const int32_t from = (x * f->stride_columns - f->before_columns + h.first - t->x.left) * in;
            const int32_t n = point ? in : (h.end - h.first) * in;
            int8_t *to = y_row + (x - t->y.left) * out, *pixel = t->scratch != NULL ? t->scratch : to;
            const int8_t *second = sums ? second_row + (x - t->second.left) * out : NULL;
            for (int32_t k = 0; k < turns; k++) {
                int32_t turn = backward ? turns - 1 - k : k;
                if (turn < blocks) {
                    const int32_t o = 4 * turn;
                    const int8_t *w = f->weights + o * weights + h.first * in;
                    int32_t s[4] = {bias_of(f, o), bias_of(f, o + 1), bias_of(f, o + 2), bias_of(f, o + 3)};
                    for (int32_t r = v.first; r < v.end; r++) {
                        dot4(rows[r] + from, w + r * weight_row, weights, n, zero, s);
                    }
                    /* All four before any is stored: a fused ADD may lie there. */
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
                    const int8_t *w = f->weights + o * weights + h.first * in;
                    int32_t s = bias_of(f, o);
                    for (int32_t r = v.first; r < v.end; r++) {
                        s = dot(rows[r] + from, w + r * weight_row, n, zero, s);
                    }
                    pixel[o] = (int8_t)finished(f, s, o, second, narrow, sums);
                }
            }
            if (pixel != to) {
                memcpy(to, pixel, (size_t)out);
            }
        }
    }
}
