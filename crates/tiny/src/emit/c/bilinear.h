
/* RESIZE_BILINEAR with 10-bit weights; of each row and column the lower and upper source, and the upper's weight. */
KERNEL void bilinear(const int32_t *rows, const int32_t *columns, int32_t channels, const struct task *t, int32_t top,
                     int32_t bottom)
{
    for (int32_t y = top; y < bottom; y++) {
        const int32_t *v = rows + 3 * y;
        const int8_t *upper = row_of(&t->x, v[0], channels), *lower = row_of(&t->x, v[1], channels);
        for (int32_t x = t->left; x < t->right; x++) {
            const int32_t *h = columns + 3 * x, left = h[0] * channels, right = h[1] * channels;
            int8_t *to = row_of(&t->y, y, channels) + x * channels;
            for (int32_t c = 0; c < channels; c++) {
                const int64_t a = (int64_t)upper[left + c] * (1024 - v[2]) + (int64_t)lower[left + c] * v[2];
                const int64_t b = (int64_t)upper[right + c] * (1024 - v[2]) + (int64_t)lower[right + c] * v[2];
                const int64_t sum = a * (1024 - h[2]) + b * h[2];
                to[c] = (int8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
            }
        }
    }
}
