/* Words and measures of a machine with an operating system. */
#include <stdio.h>

#include "check.h"

void say(const char *words)
{
    fputs(words, stdout);
}

void ticks_start(void)
{
}

uint32_t ticks(void)
{
    return 0;
}

void stack_paint(void)
{
}

uint32_t stack_used(void)
{
    return 0;
}
