//! Start-up of a Cortex-M, what qemu offers by semihosting, the stack's high-water mark and SysTick.

use core::arch::{asm, global_asm};

// The vector table, and what must be done before Rust may run: .data, .bss, and a painted stack.
global_asm!(
    ".section .vectors, \"a\"",
    ".word __stack",
    ".word reset",
    ".rept 14",
    ".word trap",
    ".endr",
    ".section .text.reset, \"ax\"",
    ".thumb_func",
    ".global reset",
    "reset:",
    "ldr r0, =__stack",
    "mov sp, r0",
    "ldr r0, =__data_start",
    "ldr r1, =__data_end",
    "ldr r2, =__data_load",
    "1: cmp r0, r1",
    "bhs 2f",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "b 1b",
    "2: ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "3: cmp r0, r1",
    "bhs 4f",
    "str r2, [r0], #4",
    "b 3b",
    "4: ldr r0, =__stack_limit",
    "mov r1, sp",
    "ldr r2, =0xa5a5a5a5",
    "5: cmp r0, r1",
    "bhs 6f",
    "str r2, [r0], #4",
    "b 5b",
    "6: bl start",
    "b .",
    ".ltorg",
);

extern "C" {
    static __stack: u32;
    static __stack_limit: u32;
}

const SYSTICK: *mut u32 = 0xe000_e010 as *mut u32;

/// Starts SysTick, which counts down in 24 bits.
pub fn ticks_start() {
    // SAFETY: the registers of SysTick, which every Cortex-M of these has.
    unsafe {
        SYSTICK.add(1).write_volatile(0xff_ffff);
        SYSTICK.add(2).write_volatile(0);
        SYSTICK.write_volatile(5);
        // The first value is loaded at the next tick.
        while SYSTICK.add(2).read_volatile() == 0 {}
    }
}

/// Ticks since then; none if SysTick raised its flag because it started again.
pub fn ticks() -> Option<u32> {
    // SAFETY: as above.
    let (left, flags) = unsafe { (SYSTICK.add(2).read_volatile(), SYSTICK.read_volatile()) };
    (flags & 1 << 16 == 0).then_some(0xff_ffff - left)
}

/// Bytes of the stack that no longer hold the paint.
pub fn stack_used() -> u32 {
    // SAFETY: the linker's symbols enclose the painted stack.
    unsafe {
        let end = core::ptr::addr_of!(__stack);
        let mut at = core::ptr::addr_of!(__stack_limit);
        while at < end && at.read_volatile() == 0xa5a5_a5a5 {
            at = at.add(1);
        }
        end as u32 - at as u32
    }
}

fn semihost(operation: u32, argument: *const u32) {
    // SAFETY: the emulator answers in r0 and touches nothing else for the operations used here.
    unsafe { asm!("bkpt 0xab", inout("r0") operation => _, in("r1") argument) }
}

/// Writes a text that ends with a zero.
pub fn say(text: &[u8]) {
    semihost(0x04, text.as_ptr().cast());
}

/// Writes a number.
pub fn number(mut n: u32) {
    let mut text = [0u8; 11];
    let mut at = 10;
    loop {
        at -= 1;
        text[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    say(&text[at..]);
}

/// Ends qemu.
pub fn exit(code: u32) -> ! {
    let block = [0x20026, code];
    loop {
        semihost(0x20, block.as_ptr());
    }
}

#[no_mangle]
extern "C" fn trap() -> ! {
    say(b"trap\n\0");
    exit(2)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    say(b"panic\n\0");
    exit(3)
}
