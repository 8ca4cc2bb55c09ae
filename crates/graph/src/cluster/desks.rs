//! Work that sites of one process share: no more at once than there are threads, and nothing twice.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::resistance::Resistances;

/// The desks at which the sites of a process work.
///
/// Not a thread pool: a site that waits for its turn must not keep a pool's thread from the one it waits for.
#[derive(Debug, Clone)]
pub struct Desks(Arc<Room>);

#[derive(Debug)]
struct Room {
    free: Mutex<usize>,
    left: Condvar,
    /// The resistances of the board, as they were taken last, and how often they had been taken then.
    board: Mutex<Option<(u64, Arc<Resistances>)>>,
}

impl Desks {
    /// As many desks as there are threads.
    pub fn new(threads: usize) -> Self {
        let (free, left, board) = (Mutex::new(threads.max(1)), Condvar::new(), Mutex::new(None));
        Self(Arc::new(Room { free, left, board }))
    }

    /// Works once a desk is free.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = open(&self.0.free);
        while *free == 0 {
            free = self.0.left.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        let _leave = Leave(&self.0);
        work()
    }

    /// The board's resistances of version `version`, which the first that asks takes for all.
    pub(super) fn board(&self, version: u64, take: impl FnOnce() -> Resistances) -> Arc<Resistances> {
        let mut known = open(&self.0.board);
        match &*known {
            Some((of, resistances)) if *of == version => Arc::clone(resistances),
            _ => {
                let resistances = Arc::new(take());
                *known = Some((version, Arc::clone(&resistances)));
                resistances
            }
        }
    }
}

/// A panic in one site leaves the numbers whole; the others go on.
fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Leave<'a>(&'a Room);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        *open(&self.0.free) += 1;
        self.0.left.notify_one();
    }
}
