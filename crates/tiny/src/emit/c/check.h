/* What the check needs of a machine: startup.c has it for a bare Cortex-M, host.c for an operating system. */
#include <stdint.h>

/* Shows words. */
void say(const char *words);

/* Starts counting ticks of the processor's clock; how many there were. 0 where they cannot be counted. */
void ticks_start(void);
uint32_t ticks(void);

/* Marks the free stack; how many bytes of it were used since. 0 where that cannot be seen. */
void stack_paint(void);
uint32_t stack_used(void);
