
/* One byte from one byte, by the answers to all 256. */
KERNEL void table(const uint8_t *answers, int32_t bytes, const struct task *t, int32_t top, int32_t bottom)
{
    for (int32_t i = top; i < bottom; i++) {
        const int32_t y = t->backward ? top + bottom - 1 - i : i, n = (t->right - t->left) * bytes;
        const int8_t *from = row_of(&t->x, y, bytes) + (t->left - t->x.left) * bytes;
        int8_t *to = row_of(&t->y, y, bytes) + (t->left - t->y.left) * bytes;
        for (int32_t k = 0; k < n; k++) {
            const int32_t e = t->backward ? n - 1 - k : k;
            to[e] = (int8_t)answers[(uint8_t)from[e]];
        }
    }
}
