
/* CONV_2D of one group, undilated. `point`: a kernel of 1x1. Weights are [out][rows][columns][in]; `packed`, where the
   input's channels are a multiple of 4: whole blocks of four outputs are interleaved by four inputs. */
BODY void convolution(const struct filter *f, const struct task *t, int32_t top, int32_t bottom, const int point,
                      const int packed, const enum shifts shifts, const int full, const int sums)
{
    const struct finish q = finish_of(f);
    const int8_t *const all_weights = f->weights;
    const int32_t in = f->in_channels, out = f->out_channels, zero = f->input_zero;
    const int32_t kernel_rows = point ? 1 : f->kernel_rows, kernel_columns = point ? 1 : f->kernel_columns;
    const int32_t stride = f->stride_columns, before = f->before_columns, in_columns = f->in_columns;
    const int32_t weight_row = kernel_columns * in, weights = kernel_rows * weight_row;
    const int32_t blocks = out / 4, turns = blocks + out % 4;
    const int32_t backward = t->backward, left = t->left, right = t->right;
    const int32_t x_left = t->x.left, y_left = t->y.left, second_left = t->second.left;
    int8_t *const scratch = t->scratch;
    const int8_t *rows[MOST_KERNEL_ROWS];
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = backward ? top + bottom - 1 - i : i, position = y * f->stride_rows - f->before_rows;
        int8_t *const y_row = row_of(&t->y, y, out);
        const int8_t *const second_row = sums ? row_of(&t->second, y, out) : NULL;
        struct taps v = {0, 1}, h = {0, 1};
        if (!point) {
            v = taps_of(y, kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
        }
        for (int32_t k = v.first; k < v.end; k++) {
            rows[k] = row_of(&t->x, position + k, in);
        }
        for (int32_t j = left; j < right; j++) {
            const int32_t x = backward ? left + right - 1 - j : j;
            if (!point) {
                h = taps_of(x, kernel_columns, stride, 1, before, in_columns);
            }
            const int32_t from = (x * stride - before + h.first - x_left) * in;
            const int32_t n = point ? in : (h.end - h.first) * in;
            int8_t *const to = y_row + (x - y_left) * out, *const pixel = scratch != NULL ? scratch : to;
            const int8_t *const second = sums ? second_row + (x - second_left) * out : NULL;
            for (int32_t k = 0; k < turns; k++) {
                const int32_t turn = backward ? turns - 1 - k : k;
                if (turn < blocks) {
                    const int32_t o = 4 * turn;
                    const int8_t *const w = all_weights + o * weights + (packed ? 4 : 1) * h.first * in;
                    int32_t s[4] = {bias_of(&q, o), bias_of(&q, o + 1), bias_of(&q, o + 2), bias_of(&q, o + 3)};
                    for (int32_t r = v.first; r < v.end; r++) {
                        if (packed) {
                            dot4_packed(rows[r] + from, w + 4 * r * weight_row, n, zero, s);
                        } else {
                            dot4(rows[r] + from, w + r * weight_row, weights, n, zero, s);
                        }
                    }
                    finish4(&q, s, o, second, pixel, shifts, full, sums);
                } else {
                    const int32_t o = 3 * blocks + turn;
                    const int8_t *const w = all_weights + o * weights + h.first * in;
                    int32_t s = bias_of(&q, o);
                    for (int32_t r = v.first; r < v.end; r++) {
                        s = dot(rows[r] + from, w + r * weight_row, n, zero, s);
                    }
                    pixel[o] = (int8_t)finished(&q, s, o, second, shifts, full, sums);
                }
            }
            if (scratch != NULL) {
                memcpy(to, scratch, (size_t)out);
            }
        }
    }
}
