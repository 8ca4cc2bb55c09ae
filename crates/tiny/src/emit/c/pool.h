
/* AVERAGE_POOL_2D over the taps on the image, half away from zero, and MAX_POOL_2D. */
struct pool {
    uint16_t in_rows, in_columns, channels, greatest;
    uint16_t kernel_rows, kernel_columns, stride_rows, stride_columns, before_rows, before_columns;
    int16_t low, high;
};

KERNEL void pool(const struct pool *f, const struct task *t, int32_t top, int32_t bottom)
{
    const int32_t channels = f->channels;
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = t->backward ? top + bottom - 1 - i : i;
        struct taps v = taps_of(y, f->kernel_rows, f->stride_rows, 1, f->before_rows, f->in_rows);
        for (int32_t j = t->left; j < t->right; j++) {
            const int32_t x = t->backward ? t->left + t->right - 1 - j : j;
            struct taps h = taps_of(x, f->kernel_columns, f->stride_columns, 1, f->before_columns, f->in_columns);
            const int32_t from = (x * f->stride_columns - f->before_columns + h.first - t->x.left) * channels;
            const int32_t columns = h.end - h.first, count = (v.end - v.first) * columns;
            int8_t *to = row_of(&t->y, y, channels) + (x - t->y.left) * channels;
            int8_t *pixel = t->scratch != NULL ? t->scratch : to;
            for (int32_t c = 0; c < channels; c++) {
                int32_t sum = 0, most = INT8_MIN;
                for (int32_t r = v.first; r < v.end; r++) {
                    const int8_t *row = row_of(&t->x, y * f->stride_rows - f->before_rows + r, channels) + from + c;
                    for (int32_t k = 0; k < columns; k++, row += channels) {
                        sum += *row;
                        most = *row > most ? *row : most;
                    }
                }
                const int32_t mean = (sum + (sum > 0 ? count / 2 : -(count / 2))) / count;
                pixel[c] = (int8_t)clamp(f->greatest ? most : mean, f->low, f->high);
            }
            if (pixel != to) {
                memcpy(to, pixel, (size_t)channels);
            }
        }
    }
}
