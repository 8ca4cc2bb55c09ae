
/* The taps of output `o` that fall on the input: from `first` up to `end`. */
struct taps {
    int32_t first, end;
};

BODY struct taps taps_of(int32_t o, int32_t kernel, int32_t stride, int32_t dilation, int32_t before, int32_t input)
{
    struct taps taps = {0, kernel};
    int32_t start = o * stride - before; /* Position of tap 0. */
    int32_t left = input - start;
    if (start < 0) {
        taps.first = (dilation - 1 - start) / dilation;
    }
    if (left < (kernel - 1) * dilation + 1) {
        taps.end = (left + dilation - 1) / dilation;
    }
    return taps;
}
