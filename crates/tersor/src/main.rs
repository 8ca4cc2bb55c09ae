//! The `tersor` command: `cli/mod.rs` has its verbs.

mod cli;

/// Training frees and takes the same large blocks at every step, which the system's allocator gives back in between: a
/// step of a small CNN is 8 % shorter so.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Memory that is free goes back to the system after a second, not after 10 ms: a step of training takes longer, and would
/// have what it took before paged in again, a seventh of its time. `MIMALLOC_PURGE_DELAY` says otherwise.
fn keep_memory() {
    /// `mi_option_purge_delay` of mimalloc 2 and 3.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: an option that mimalloc has, set before there are other threads.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 1000) }
}

fn main() -> std::process::ExitCode {
    keep_memory();
    cli::main()
}
