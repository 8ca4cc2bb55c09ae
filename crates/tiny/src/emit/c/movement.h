
/* A strided copy of runs of bytes. */
struct copies {
    const int32_t *shape, *from, *to; /* Positions along each axis, and steps in bytes. */
    int32_t axes, positions, bytes;
};

KERNEL void copies(const struct copies *f, const int8_t *x, int8_t *y)
{
    for (int32_t i = 0; i < f->positions; i++) {
        int32_t rest = i, from = 0, to = 0;
        for (int32_t axis = f->axes - 1; axis >= 0; axis--) {
            const int32_t index = rest % f->shape[axis];
            rest /= f->shape[axis];
            from += index * f->from[axis];
            to += index * f->to[axis];
        }
        memmove(y + to, x + from, (size_t)f->bytes);
    }
}
