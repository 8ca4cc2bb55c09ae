
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

/* What the channels of one pixel have in common. */
struct column {
    const int8_t *const *rows; /* Rows under the window, by tap. */
    const int8_t *weights;     /* From the first tap of a row on. */
    const int8_t *second;
    int8_t *to;
    int32_t first, end;        /* Taps along the rows. */
    int32_t from, taps;        /* The first element of a row, and taps along the columns. */
    int32_t zero, channels, weight_row;
};

/* Four channels from `o` on; `size`: taps along the columns if known. */
BODY void depthwise4(const struct finish *q, const struct column *p, int32_t o, const int size, const struct class k)
{
    const int32_t channels = p->channels;
    const int8_t *w = p->weights + p->first * p->weight_row + o;
    int32_t s[4];
    biases(q, o, s);
    for (int32_t r = p->first; r < p->end; r++, w += p->weight_row) {
        const int8_t *a = p->rows[r] + p->from + o, *b = w;
        if (size) {
#pragma GCC unroll 8
            for (int32_t c = 0; c < size; c++, a += channels, b += channels) {
                tap4(a, b, p->zero, s);
            }
        } else {
            for (int32_t c = 0; c < p->taps; c++, a += channels, b += channels) {
                tap4(a, b, p->zero, s);
            }
        }
    }
    finish4(q, s, o, p->second, p->to, k);
}

#if defined(MODEL_MVE)
/* Eight channels from `o` on. */
BODY void depthwise8(const struct finish *q, const struct column *p, int32_t o, const struct class k)
{
    const int32_t channels = p->channels;
    const int8_t *w = p->weights + p->first * p->weight_row + o;
    int32_t s[8];
    int32x4x2_t sums; /* Of even channels and of odd ones. */
    biases(q, o, s);
    biases(q, o + 4, s + 4);
    sums = vld2q_s32(s);
    for (int32_t r = p->first; r < p->end; r++, w += p->weight_row) {
        const int8_t *a = p->rows[r] + p->from + o, *b = w;
        for (int32_t c = 0; c < p->taps; c++, a += channels, b += channels) {
            const int16x8_t x = vsubq_n_s16(vldrbq_s16(a), (int16_t)p->zero), y = vldrbq_s16(b);
            sums.val[0] = vaddq_s32(sums.val[0], vmullbq_int_s16(x, y));
            sums.val[1] = vaddq_s32(sums.val[1], vmulltq_int_s16(x, y));
        }
    }
    vst2q_s32(s, sums);
    finish4(q, s, o, p->second, p->to, k);
    finish4(q, s + 4, o + 4, p->second, p->to, k);
}
#endif

/* Channel `o`, beyond the last four. */
BODY void depthwise1(const struct finish *q, const struct column *p, int32_t o, const struct class k)
{
    int32_t s = q->bias != NULL ? q->bias[o] : 0;
    for (int32_t r = p->first; r < p->end; r++) {
        const int8_t *a = p->rows[r] + p->from + o, *b = p->weights + r * p->weight_row + o;
        for (int32_t c = 0; c < p->taps; c++) {
            s += (a[c * p->channels] - p->zero) * b[c * p->channels];
        }
    }
    finish1(q, s, o, p->second, p->to, k);
}

/* DEPTHWISE_CONV_2D, undilated, one output channel for each input channel; kernel of `size` x `size`, or any if 0.
   Weights are [rows][columns][channels]. */
BODY void depthwise(const struct filter *f, const struct task *t, int32_t top, int32_t bottom, const int size,
                    const struct class k)
{
    const struct finish q = finish_of(f);
    const int8_t *const all_weights = f->weights;
    const int32_t channels = f->out_channels, blocks = channels & ~3;
    const int32_t kernel_rows = size ? size : f->kernel_rows, kernel_columns = size ? size : f->kernel_columns;
    const int32_t stride = f->stride_columns, before = f->before_columns, in_columns = f->in_columns;
    const int32_t backward = t->backward, left = t->left, right = t->right;
    const int32_t x_left = t->x.left, y_left = t->y.left, second_left = t->second.left;
    int8_t *const scratch = t->scratch;
    const int8_t *rows[MOST_KERNEL_ROWS];
    struct column p = {rows, all_weights, NULL, NULL, 0, 0, 0, 0, f->input_zero, channels, kernel_columns * channels};
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = backward ? top + bottom - 1 - i : i;
        int8_t *const y_row = row_of(&t->y, y, channels);
        const int8_t *const second_row = k.sums ? row_of(&t->second, y, channels) : NULL;
        const struct taps v = taps_of(y, kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
        p.first = v.first;
        p.end = v.end;
        for (int32_t r = v.first; r < v.end; r++) {
            rows[r] = row_of(&t->x, y * f->stride_rows - f->before_rows + r, channels);
        }
        for (int32_t j = left; j < right; j++) {
            const int32_t x = backward ? left + right - 1 - j : j;
            const struct taps h = taps_of(x, kernel_columns, stride, 1, before, in_columns);
            int8_t *const to = y_row + (x - y_left) * channels;
            p.from = (x * stride - before + h.first - x_left) * channels;
            p.taps = h.end - h.first;
            p.weights = all_weights + h.first * channels;
            p.to = scratch != NULL ? scratch : to;
            p.second = k.sums ? second_row + (x - second_left) * channels : NULL;
            if (k.sums && backward) {
                for (int32_t o = channels - 1; o >= blocks; o--) {
                    depthwise1(&q, &p, o, k);
                }
                for (int32_t o = blocks - 4; o >= 0; o -= 4) {
                    depthwise4(&q, &p, o, 0, k);
                }
            } else {
                int32_t o = 0;
#if defined(MODEL_MVE)
                for (; o + 8 <= blocks; o += 8) {
                    depthwise8(&q, &p, o, k);
                }
#endif
                if (size && p.taps == size) {
                    for (; o < blocks; o += 4) {
                        depthwise4(&q, &p, o, size, k);
                    }
                } else {
                    for (; o < blocks; o += 4) {
                        depthwise4(&q, &p, o, 0, k);
                    }
                }
                for (; o < channels; o++) {
                    depthwise1(&q, &p, o, k);
                }
            }
            if (scratch != NULL) {
                memcpy(to, scratch, (size_t)channels);
            }
        }
    }
}
