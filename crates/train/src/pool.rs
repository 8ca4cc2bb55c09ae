//! Work on a thread of the pool itself.

/// Runs `work` on one of the threads of rayon's pool.
///
/// A kernel that is called from elsewhere wakes the pool and sleeps until it is done: some 10 µs, which a step of training
/// pays a few hundred times. From a thread of the pool it starts at once.
pub fn within_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
