//! The memory of a run, and the places in it.

use std::ops::Range;
use std::sync::Arc;

/// Numbers of a line of the cache.
pub(super) const LINE: usize = 16;

/// Numbers that begin with a line of the cache.
pub(super) struct Aligned {
    numbers: Vec<f32>,
    count: usize,
}

impl Aligned {
    pub fn new(count: usize) -> Self {
        Self { numbers: vec![0.0; count + LINE], count }
    }

    pub fn numbers(&mut self) -> &mut [f32] {
        let start = self.numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        &mut self.numbers[start..][..self.count]
    }
}

/// Where the numbers of an operand are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Memory(Range<usize>),
    /// What the caller gave.
    Input(usize),
    Constant(Arc<[f32]>),
}

/// What a step works on.
pub(super) struct Frame<'a> {
    pub inputs: &'a [&'a [f32]],
    pub memory: &'a mut [f32],
    pub scratch: &'a mut [f32],
}

/// A step of a run.
pub(super) type Call = Box<dyn Fn(&mut Frame<'_>) + Send + Sync>;

impl Frame<'_> {
    /// A place to write, beside all that can be read and the scratch.
    pub fn open(&mut self, to: &Range<usize>) -> (Operands<'_>, &mut [f32], &mut [f32]) {
        let (before, rest) = self.memory.split_at_mut(to.start);
        let (output, after) = rest.split_at_mut(to.len());
        (Operands { inputs: self.inputs, before, after, end: to.end }, output, self.scratch)
    }

    /// Everything, to be read.
    pub fn read(&self) -> Operands<'_> {
        Operands { inputs: self.inputs, before: self.memory, after: &[], end: self.memory.len() }
    }
}

/// What a step can read while it writes.
pub(super) struct Operands<'f> {
    inputs: &'f [&'f [f32]],
    before: &'f [f32],
    after: &'f [f32],
    end: usize,
}

impl<'f> Operands<'f> {
    pub fn get<'s>(&self, source: &'s Source) -> &'s [f32]
    where
        'f: 's,
    {
        match source {
            Source::Memory(place) if place.start < self.end => &self.before[place.clone()],
            Source::Memory(place) => &self.after[place.start - self.end..][..place.len()],
            Source::Input(i) => self.inputs[*i],
            Source::Constant(numbers) => numbers,
        }
    }
}
