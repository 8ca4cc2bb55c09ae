
/* FULLY_CONNECTED. Weights are [outputs][inputs] and mean w - weight_zero. */
struct matrix {
    const int8_t *weights;
    const int32_t *bias; /* NULL: none. */
    const int32_t *mantissas;
    const int8_t *rights; /* -1 - shift. */
    int32_t rows, inputs, outputs, weight_zero, input_zero, output_zero, low, high;
    int32_t each; /* 1: a multiplier for each output; 0: one for all. */
};

KERNEL void matrix(const struct matrix *f, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < f->rows; row++, x += f->inputs, y += f->outputs) {
        int32_t under = 0; /* What the zero point of the weights takes away, the same for every output. */
        if (f->weight_zero != 0) {
            for (int32_t i = 0; i < f->inputs; i++) {
                under += (x[i] - f->input_zero) * f->weight_zero;
            }
        }
        for (int32_t o = 0; o < f->outputs; o++) {
            int32_t sum = (f->bias != NULL ? f->bias[o] : 0) - under;
            sum = dot(x, f->weights + o * f->inputs, f->inputs, f->input_zero, sum);
            const int32_t m = f->each ? o : 0;
            const int32_t value = scaled_any(sum, f->mantissas[m], -1 - f->rights[m]);
            y[o] = (int8_t)clamp(saturating_add(value, f->output_zero), f->low, f->high);
        }
    }
}
