
/* What the channels of one pixel have in common. */
struct window {
    const int8_t *const *rows; /* Rows under the window, by tap. */
    const int8_t *weights;     /* From the first tap of a row on. */
    const int8_t *second;
    int8_t *to;
    int32_t first, end;        /* Taps along the rows. */
    int32_t from, n;           /* Elements of each row: the first, and how many. */
    int32_t zero, weight_row, step;
};

/* Four channels from `o` on. */
BODY void convolution4(const struct finish *q, const struct window *p, int32_t o, const int point, const int packed,
                       const struct class k)
{
    const int8_t *const w = p->weights + o * p->step;
    int32_t s[4];
    biases(q, o, s);
    if (point && packed) {
        dot4_packed(p->rows[0] + p->from, w, p->n, p->zero, s);
    } else if (point) {
        dot4(p->rows[0] + p->from, w, p->step, p->n, p->zero, s);
    } else {
        for (int32_t r = p->first; r < p->end; r++) {
            if (packed) {
                dot4_packed(p->rows[r] + p->from, w + 4 * r * p->weight_row, p->n, p->zero, s);
            } else {
                dot4(p->rows[r] + p->from, w + r * p->weight_row, p->step, p->n, p->zero, s);
            }
        }
    }
    finish4(q, s, o, p->second, p->to, k);
}

/* Channel `o`, beyond the last four; `weights` lie as in the file. */
BODY void convolution1(const struct finish *q, const struct window *p, int32_t o, const int8_t *weights,
                       const struct class k)
{
    int32_t s = q->bias != NULL ? q->bias[o] : 0;
    for (int32_t r = p->first; r < p->end; r++) {
        s = dot(p->rows[r] + p->from, weights + o * p->step + r * p->weight_row, p->n, p->zero, s);
    }
    finish1(q, s, o, p->second, p->to, k);
}

/* CONV_2D of one group, undilated. `point`: a kernel of 1x1. Weights are [out][rows][columns][in]; `packed`, where the
   input's channels are a multiple of 4: whole blocks of four outputs are interleaved by four inputs. */
BODY void convolution(const struct filter *f, const struct task *t, int32_t top, int32_t bottom, const int point,
                      const int packed, const struct class k)
{
    const struct finish q = finish_of(f);
    const int8_t *const all_weights = f->weights;
    const int32_t in = f->in_channels, out = f->out_channels, blocks = out & ~3;
    const int32_t kernel_rows = point ? 1 : f->kernel_rows, kernel_columns = point ? 1 : f->kernel_columns;
    const int32_t stride = f->stride_columns, before = f->before_columns, in_columns = f->in_columns;
    const int32_t backward = t->backward, left = t->left, right = t->right;
    const int32_t x_left = t->x.left, y_left = t->y.left, second_left = t->second.left;
    int8_t *const scratch = t->scratch;
    const int8_t *rows[MOST_KERNEL_ROWS];
    struct window p = {rows, all_weights, NULL, NULL, 0, 1, 0, in, f->input_zero, kernel_columns * in,
                       kernel_rows * kernel_columns * in};
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = backward ? top + bottom - 1 - i : i, position = y * f->stride_rows - f->before_rows;
        int8_t *const y_row = row_of(&t->y, y, out);
        const int8_t *const second_row = k.sums ? row_of(&t->second, y, out) : NULL;
        if (!point) {
            const struct taps v = taps_of(y, kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
            p.first = v.first;
            p.end = v.end;
        }
        for (int32_t r = p.first; r < p.end; r++) {
            rows[r] = row_of(&t->x, position + r, in);
        }
        for (int32_t j = left; j < right; j++) {
            const int32_t x = backward ? left + right - 1 - j : j;
            int8_t *const to = y_row + (x - y_left) * out;
            const int8_t *tail = all_weights;
            if (point) {
                p.from = (x * stride - x_left) * in;
            } else {
                const struct taps h = taps_of(x, kernel_columns, stride, 1, before, in_columns);
                p.from = (x * stride - before + h.first - x_left) * in;
                p.n = (h.end - h.first) * in;
                p.weights = all_weights + (packed ? 4 : 1) * h.first * in;
                tail += h.first * in;
            }
            p.to = scratch != NULL ? scratch : to;
            p.second = k.sums ? second_row + (x - second_left) * out : NULL;
            if (k.sums && backward) {
                for (int32_t o = out - 1; o >= blocks; o--) {
                    convolution1(&q, &p, o, tail, k);
                }
                for (int32_t o = blocks - 4; o >= 0; o -= 4) {
                    convolution4(&q, &p, o, point, packed, k);
                }
            } else {
                for (int32_t o = 0; o < blocks; o += 4) {
                    convolution4(&q, &p, o, point, packed, k);
                }
                for (int32_t o = blocks; o < out; o++) {
                    convolution1(&q, &p, o, tail, k);
                }
            }
            if (scratch != NULL) {
                memcpy(to, scratch, (size_t)out);
            }
        }
    }
}
