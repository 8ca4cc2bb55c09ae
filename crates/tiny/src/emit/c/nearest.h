
/* RESIZE_NEAREST_NEIGHBOR: pixel (y, x) is pixel (rows[y], columns[x]) of the input. */
KERNEL void nearest(const uint16_t *rows, const uint16_t *columns, int32_t bytes, const struct task *t, int32_t top,
                    int32_t bottom)
{
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = t->backward ? top + bottom - 1 - i : i;
        for (int32_t j = t->left; j < t->right; j++) {
            const int32_t x = t->backward ? t->left + t->right - 1 - j : j;
            memmove(row_of(&t->y, y, bytes) + (x - t->y.left) * bytes,
                    row_of(&t->x, rows[y], bytes) + (columns[x] - t->x.left) * bytes, (size_t)bytes);
        }
    }
}
