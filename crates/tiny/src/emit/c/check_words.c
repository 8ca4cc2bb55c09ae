
static void say_number(const char *words, uint32_t number)
{
    char text[16];
    char *at = text + sizeof text - 1;
    *at = '\0';
    *--at = '\n';
    do {
        *--at = (char)('0' + (int)(number % 10));
        number /= 10;
    } while (number != 0);
    say(words);
    say(at);
}

/* Whether an output is not what it should be; says where first. */
static int differs(int frame, int output, const int8_t *given, uint32_t bytes)
{
    const int8_t *expected = frames_output[frame][output];
    for (uint32_t i = 0; i < bytes; i++) {
        if (given[i] != expected[i]) {
            say_number("differs in frame ", (uint32_t)frame);
            say_number("  output ", (uint32_t)output);
            say_number("  at byte ", i);
            say_number("  plus 128, is ", (uint32_t)(given[i] + 128));
            say_number("  should be ", (uint32_t)(expected[i] + 128));
            return 1;
        }
    }
    return 0;
}
