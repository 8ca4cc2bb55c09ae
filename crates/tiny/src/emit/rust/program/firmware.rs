//! Checks the model on a Cortex-M of qemu, by semihosting: says `ok` or what differs, then the stack's high-water mark in
//! bytes and the SysTick ticks of the longest run.

#![no_std]
#![no_main]

mod startup;
mod vector;

use model::Model;
use startup::{exit, number, say, stack_used, ticks, ticks_start};

/// The symbol whose size is the arena's.
#[no_mangle]
static mut MODEL: Model = Model::new();

#[no_mangle]
extern "C" fn start() -> ! {
    // SAFETY: nothing else runs, so this is the only reference.
    let model = unsafe { &mut *core::ptr::addr_of_mut!(MODEL) };
    model.reset();
    let mut most_ticks = Some(0);
    for (k, frame) in vector::FRAMES.iter().enumerate() {
        ticks_start();
        let outputs = vector::run(model, frame);
        most_ticks = most_ticks.zip(ticks()).map(|(most, took)| most.max(took));
        for (i, (output, expected)) in outputs.iter().zip(&frame.outputs).enumerate() {
            for (at, (a, b)) in output.iter().zip(expected.iter()).enumerate() {
                if a != b {
                    say(b"differs: frame \0");
                    number(k as u32);
                    say(b" output \0");
                    number(i as u32);
                    say(b" at \0");
                    number(at as u32);
                    say(b"\n\0");
                    exit(1);
                }
            }
        }
    }
    say(b"ok\nstack \0");
    number(stack_used());
    if let Some(ticks) = most_ticks {
        say(b"\nticks \0");
        number(ticks);
    }
    say(b"\n\0");
    exit(0)
}
