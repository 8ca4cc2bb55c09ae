/* Start of a Cortex-M without an operating system, its words by semihosting, and what a run took: for qemu, or a board
   under a debugger. */
#include <stdint.h>
#include <string.h>

#include "check.h"

extern uint32_t stack_top, stack_bottom, data_start, data_end, data_source, bss_start, bss_end;
int main(void);
void reset(void);

#define PAINT 0xa5a5a5a5u
#define SYSTICK ((volatile uint32_t *)0xe000e010u) /* Control, reload, current. */

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void say(const char *words)
{
    semihosting(0x04, words);
}

static void end(uint32_t code)
{
    const uint32_t block[2] = {0x20026, code};
    semihosting(0x20, block);
    for (;;) {
    }
}

/* SysTick counts down in 24 bits, and raises a flag when it starts again: then the count is lost. */
void ticks_start(void)
{
    SYSTICK[1] = 0xffffff;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
}

uint32_t ticks(void)
{
    const uint32_t left = SYSTICK[2];
    return (SYSTICK[0] & (1u << 16)) != 0 ? 0 : 0xffffff - left;
}

static uint32_t *stack_pointer(void)
{
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    return here;
}

/* The stack below the caller is painted; what lost its paint was used. */
void stack_paint(void)
{
    volatile uint32_t *word = &stack_bottom, *end = stack_pointer() - 8;
    for (; word < end; word++) {
        *word = PAINT;
    }
}

uint32_t stack_used(void)
{
    const volatile uint32_t *word = &stack_bottom;
    while (*word == PAINT) {
        word++;
    }
    return (uint32_t)((const volatile uint8_t *)stack_pointer() - (const volatile uint8_t *)word);
}

static void fault(void)
{
    say("fault\n");
    end(2);
}

void reset(void)
{
#if defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* The vector unit is a coprocessor, off at reset. */
    __asm__ volatile("dsb\n\tisb");
#endif
    memcpy(&data_start, &data_source, (size_t)((uint8_t *)&data_end - (uint8_t *)&data_start));
    memset(&bss_start, 0, (size_t)((uint8_t *)&bss_end - (uint8_t *)&bss_start));
    end((uint32_t)main());
}

typedef void (*vector)(void);
struct vectors {
    uint32_t *stack;
    vector handlers[15];
};

__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    &stack_top,
    {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault},
};
