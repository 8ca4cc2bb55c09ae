//! Batches made ahead: while one is used, other threads make the next.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Position, Source};
use crate::Error;

/// The batches of the rest of an epoch, in order, made ahead on threads of their own.
///
/// Thread `t` of `n` makes every `n`-th batch and waits when two of its own lie ready, so that at most `3 n` batches
/// are in memory besides the one in use. The threads end with this value.
pub struct Batches<S: Source> {
    work: Work<S>,
    next: Position,
    /// Batches of an epoch.
    count: u64,
}

enum Work<S: Source> {
    Here { source: Arc<S>, order: Vec<u32> },
    Ahead { makers: Vec<Maker<S::Batch>>, begun: u64 },
}

struct Maker<B> {
    ready: Receiver<B>,
    thread: JoinHandle<()>,
}

impl<S: Source> Batches<S> {
    /// The batches of `from.epoch` from `from.batch` on, made ahead on `threads`; with none, each is made when it is
    /// asked for.
    ///
    /// # Errors
    /// [`Error::Position`] if the epoch has no such batch (a position saved with another batch size),
    /// [`Error::Thread`] if the system gives no thread.
    pub fn new(source: Arc<S>, from: Position, threads: usize) -> Result<Self, Error> {
        let count = source.batches();
        if from.batch > count {
            return Err(Error::Position { position: from, batches: count });
        }
        let work = if threads == 0 {
            let order = source.order(from.epoch);
            Work::Here { source, order }
        } else {
            // No more threads than batches.
            let threads = (threads as u64).min(count - from.batch);
            let order: Arc<[u32]> = source.order(from.epoch).into();
            let maker = |first| Maker::start(source.clone(), order.clone(), Position { batch: first, ..from }, threads);
            let makers = (from.batch..from.batch + threads).map(maker).collect::<Result<_, _>>()?;
            Work::Ahead { makers, begun: from.batch }
        };
        Ok(Self { work, next: from, count })
    }

    /// The position of the next batch: what to save after a step. Behind an epoch's last batch it is the beginning of
    /// the next epoch.
    pub fn position(&self) -> Position {
        if self.next.batch < self.count { self.next } else { Position { epoch: self.next.epoch + 1, batch: 0 } }
    }
}

impl<S: Source> Iterator for Batches<S> {
    type Item = S::Batch;

    fn next(&mut self) -> Option<S::Batch> {
        if self.next.batch >= self.count {
            return None;
        }
        let batch = match &mut self.work {
            Work::Here { source, order } => source.batch(self.next, items(&**source, order, self.next)),
            Work::Ahead { makers, begun } => {
                let turn = ((self.next.batch - *begun) % makers.len() as u64) as usize;
                match makers[turn].ready.recv() {
                    Ok(batch) => batch,
                    Err(_) => match makers.swap_remove(turn).thread.join() {
                        Err(panic) => std::panic::resume_unwind(panic),
                        Ok(()) => unreachable!("a maker ends after its last batch"),
                    },
                }
            }
        };
        self.next.batch += 1;
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.count - self.next.batch) as usize;
        (left, Some(left))
    }
}

impl<S: Source> ExactSizeIterator for Batches<S> {}

impl<B: Send + 'static> Maker<B> {
    fn start<S: Source<Batch = B>>(
        source: Arc<S>,
        order: Arc<[u32]>,
        first: Position,
        every: u64,
    ) -> Result<Self, Error> {
        let (send, ready) = sync_channel(2);
        let make = move || make(&*source, &order, first, every, &send);
        let thread = std::thread::Builder::new().name("loader".into()).spawn(make).map_err(Error::Thread)?;
        Ok(Self { ready, thread })
    }
}

fn make<S: Source>(source: &S, order: &[u32], first: Position, every: u64, send: &SyncSender<S::Batch>) {
    let mut position = first;
    while position.batch < source.batches() {
        if send.send(source.batch(position, items(source, order, position))).is_err() {
            return; // nobody waits any more
        }
        position.batch += every;
    }
}

/// The items of the batch at `position`.
fn items<'a, S: Source>(source: &S, order: &'a [u32], position: Position) -> &'a [u32] {
    let size = source.settings().batch;
    let rest = &order[position.batch as usize * size..];
    &rest[..size.min(rest.len())]
}

impl<S: Source> Drop for Batches<S> {
    fn drop(&mut self) {
        if let Work::Ahead { makers, .. } = &mut self.work {
            let threads: Vec<_> = makers.drain(..).map(|maker| maker.thread).collect(); // the receivers are gone now
            for thread in threads {
                // A panic of a batch that nobody asked for is nobody's.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::Settings;

    /// Batches that are their own items; one may panic.
    struct Numbers {
        settings: Settings,
        items: usize,
        broken: Option<u64>,
    }

    impl Source for Numbers {
        type Batch = Vec<u32>;

        fn settings(&self) -> &Settings {
            &self.settings
        }

        fn items(&self) -> usize {
            self.items
        }

        fn order(&self, epoch: u64) -> Vec<u32> {
            self.settings.order(epoch, (0..self.items as u32).collect())
        }

        fn batch(&self, position: Position, items: &[u32]) -> Vec<u32> {
            assert_ne!(Some(position.batch), self.broken, "broken");
            items.to_vec()
        }
    }

    fn numbers(items: usize, batch: usize) -> Arc<Numbers> {
        Arc::new(Numbers { settings: Settings::measuring(batch), items, broken: None })
    }

    #[test]
    fn batches_come_in_order_from_any_number_of_threads() {
        for threads in [0, 1, 2, 3, 8] {
            let batches = Batches::new(numbers(11, 2), Position { epoch: 5, batch: 1 }, threads).unwrap();
            assert_eq!(batches.len(), 5);
            let all: Vec<_> = batches.collect();
            assert_eq!(all, [vec![2, 3], vec![4, 5], vec![6, 7], vec![8, 9], vec![10]], "{threads} threads");
        }
    }

    #[test]
    fn the_position_is_that_of_the_next_batch() {
        let mut batches = Batches::new(numbers(4, 2), Position::default(), 2).unwrap();
        let mut positions = vec![batches.position()];
        while batches.next().is_some() {
            positions.push(batches.position());
        }
        let at = |epoch, batch| Position { epoch, batch };
        assert_eq!(positions, [at(0, 0), at(0, 1), at(1, 0)]);
        assert!(Batches::new(numbers(4, 2), at(0, 2), 1).unwrap().next().is_none());
        let error = Batches::new(numbers(4, 2), at(0, 3), 1).err().unwrap().to_string();
        assert!(error.contains("batch 3") && error.contains("2 batches"), "{error}");
    }

    #[test]
    fn threads_end_when_nobody_waits_for_their_batches() {
        let source = numbers(1000, 1);
        let mut batches = Batches::new(source.clone(), Position::default(), 3).unwrap();
        batches.next();
        drop(batches);
        assert_eq!(Arc::strong_count(&source), 1);
    }

    #[test]
    #[should_panic(expected = "broken")]
    fn a_panic_of_a_thread_is_the_callers() {
        let source = Numbers { settings: Settings::measuring(1), items: 9, broken: Some(4) };
        Batches::new(Arc::new(source), Position::default(), 2).unwrap().for_each(drop);
    }
}
