//! Memory on cache lines, rows that threads share, and the queue that they take work from.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shape::{Layout, Report};

/// Numbers of a cache line, and of the widest vector: a vector that lies on two lines takes two loads.
const LINE: usize = 16;

/// Zeros that begin on a cache line.
#[derive(Debug)]
pub(crate) struct Lines {
    kept: Vec<f32>,
    start: usize,
    len: usize,
}

impl Lines {
    pub fn new(len: usize) -> Self {
        let kept = vec![0.0; len + LINE];
        let start = kept.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { kept, start, len }
    }

    /// Makes it as long as needed; what it holds is lost.
    pub fn hold(&mut self, len: usize) {
        if self.len < len {
            *self = Self::new(len);
        }
    }
}

impl From<&[f32]> for Lines {
    fn from(numbers: &[f32]) -> Self {
        let mut lines = Self::new(numbers.len());
        lines.copy_from_slice(numbers);
        lines
    }
}

/// Other memory may begin elsewhere on its first line.
impl Clone for Lines {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.kept[self.start..][..self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.kept[self.start..][..self.len]
    }
}

/// Whole cache lines for `len` numbers.
pub(crate) fn whole_lines(len: usize) -> usize {
    len.next_multiple_of(LINE)
}

/// Takes the first `len` numbers, and whole cache lines of memory.
pub(crate) fn take<'a>(memory: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (taken, rest) = std::mem::take(memory).split_at_mut(whole_lines(len));
    *memory = rest;
    &mut taken[..len]
}

/// Rows of a tensor that several threads write, each its own.
pub(super) struct Shared<'a> {
    data: *mut f32,
    len: usize,
    layout: Layout,
    lifetime: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable slice; what is written at once is asked of whoever writes.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(data: &'a mut [f32], layout: Layout) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), layout, lifetime: std::marker::PhantomData }
    }

    /// # Safety
    /// No one else has this row at the same time.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row(&self, (batch, head): (usize, usize), row: usize, width: usize) -> &mut [f32] {
        let start = self.layout.start(batch, head, row);
        assert!(start + width <= self.len, "the row lies in the tensor");
        // SAFETY: it lies in the slice, as asserted, and the caller has it alone.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), width) }
    }
}

/// Does `count` pieces of work on the caller's threads, in this order: whoever is free takes the next. `begin` makes what a
/// thread keeps between pieces.
pub(super) fn in_order<T>(
    count: usize,
    begin: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, usize) -> Report + Sync,
) -> Report {
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Report::default()));
    let take_all = || {
        let (mut kept, mut report) = (begin(), Report::default());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            report = report.and(work(&mut kept, index));
        }
        let mut total = total.lock().expect("no one panics with the lock");
        *total = total.and(report);
    };
    rayon::scope(|scope| {
        for _ in 0..rayon::current_num_threads().min(count) {
            scope.spawn(|_| take_all());
        }
    });
    total.into_inner().expect("no one panics with the lock")
}
