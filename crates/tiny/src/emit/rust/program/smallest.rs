//! The least program that runs the model: its size is what the model costs.

#![no_std]
#![no_main]
#![allow(dead_code)]

mod startup;

use model::Model;

#[no_mangle]
static mut MODEL: Model = Model::new();

#[no_mangle]
extern "C" fn start() -> ! {
    // SAFETY: nothing else runs, so this is the only reference.
    let model = unsafe { &mut *core::ptr::addr_of_mut!(MODEL) };
    model.reset();
    loop {
        let outputs = model.run_streamed(&mut |_, to| to.fill(core::hint::black_box(0)));
        core::hint::black_box(outputs);
    }
}
