
/* CONV_2D and DEPTHWISE_CONV_2D of any groups and dilation, tap by tap. Group `g` of the output reads group `g` of the
   input; a depthwise one has its weights as [rows][columns][out], others as [out][rows][columns][in / groups]. */
BODY void convolution_any(const struct filter *f, const struct task *t, int32_t top, int32_t bottom,
                          const int depthwise, const struct class k)
{
    const int32_t in = f->in_channels, out = f->out_channels, per_group = f->per_group;
    const int32_t out_per_group = out / (in / per_group), taps = f->kernel_rows * f->kernel_columns;
    const struct finish q = finish_of(f);
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = t->backward ? top + bottom - 1 - i : i;
        struct taps v = taps_of(y, f->kernel_rows, f->stride_rows, f->dilation_rows, f->before_rows, f->in_rows);
        for (int32_t j = t->left; j < t->right; j++) {
            const int32_t x = t->backward ? t->left + t->right - 1 - j : j;
            struct taps h = taps_of(x, f->kernel_columns, f->stride_columns, f->dilation_columns, f->before_columns,
                                    f->in_columns);
            int8_t *to = row_of(&t->y, y, out) + (x - t->y.left) * out, *pixel = t->scratch != NULL ? t->scratch : to;
            const int8_t *second =
                k.sums ? row_of(&t->second, y, out) + (x - t->second.left) * out : NULL;
            for (int32_t i_out = 0; i_out < out; i_out++) {
                const int32_t o = t->backward ? out - 1 - i_out : i_out, channel = o / out_per_group * per_group;
                int32_t sum = q.bias != NULL ? q.bias[o] : 0;
                for (int32_t r = v.first; r < v.end; r++) {
                    const int8_t *row =
                        row_of(&t->x, y * f->stride_rows - f->before_rows + r * f->dilation_rows, in);
                    for (int32_t c = h.first; c < h.end; c++) {
                        const int32_t column =
                            x * f->stride_columns - f->before_columns + c * f->dilation_columns - t->x.left;
                        const int32_t tap = r * f->kernel_columns + c;
                        const int8_t *from = row + column * in + channel;
                        const int8_t *w = f->weights + (depthwise ? tap * out + o : (o * taps + tap) * per_group);
                        for (int32_t q = 0; q < per_group; q++) {
                            sum += (from[q] - f->input_zero) * w[q];
                        }
                    }
                }
                finish1(&q, sum, o, second, pixel, k);
            }
            if (pixel != to) {
                memcpy(to, pixel, (size_t)out);
            }
        }
    }
}
