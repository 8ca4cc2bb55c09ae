
/* The frame's number is the context. */
static int read_rect(void *context, int input, int row, int rows, int column, int columns, int8_t *to)
{
    const int8_t *image = frames_input[(uintptr_t)context][input];
    const int width = images[input][0], pixel = images[input][1];
    for (int y = row; y < row + rows; y++) {
        const size_t bytes = (size_t)(columns * pixel);
        memcpy(to, image + (y * width + column) * pixel, bytes);
        to += bytes;
    }
    return 0;
}
