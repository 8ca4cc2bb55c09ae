//! A stretch of places along a padded axis, and the copy of the inputs that it reads: how images get their padding.
//!
//! Rows of images are short, and copied by the million; so what is the same for all is computed once, and a row is copied in
//! whole steps.

use crate::window::Window;

/// Numbers that are copied at a time.
const STEP: usize = 8;
/// Numbers for whose copy a call is worth it.
const LONG: usize = 16;

/// What a stretch of places reads: so many zeros, so many inputs, one in `stride`, and zeros again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    stride: usize,
    /// Zeros.
    pub before: usize,
    /// The first input.
    pub start: usize,
    /// Inputs.
    pub count: usize,
}

impl Stretch {
    /// For `len` places, the first of which reads at `padded`, counted from the beginning of the padding.
    pub fn of(axis: &Window, padded: usize, len: usize) -> Self {
        let before = axis.before.saturating_sub(padded).div_ceil(axis.stride).min(len);
        let start = (padded + before * axis.stride).saturating_sub(axis.before).min(axis.input);
        let count = (axis.input - start).div_ceil(axis.stride).min(len - before);
        Self { stride: axis.stride, before, start, count }
    }

    /// Whole rows of `width`, moved: each but for the zeros beside it.
    #[inline(always)]
    pub fn shift(self, rows: &[f32], width: usize, to: &mut [f32]) {
        let len = to.len();
        to[self.before..][..len - width + self.count].copy_from_slice(&rows[self.start..][..len - width + self.count]);
        for column in (0..self.before).chain(self.before + self.count..width) {
            to[column..].iter_mut().step_by(width).for_each(|to| *to = 0.0);
        }
    }

    /// Sets the zeros of one row.
    #[inline(always)]
    pub fn pad(self, to: &mut [f32]) {
        zero(&mut to[..self.before]);
        zero(&mut to[self.before + self.count..]);
    }

    /// Copies the inputs of one row; `row` may go on behind it, which lets more of it be copied in whole steps.
    #[inline(always)]
    pub fn copy(self, row: &[f32], to: &mut [f32]) {
        let (from, to) = (&row[self.start..], &mut to[self.before..][..self.count]);
        // What is left of a row behind its last whole step is the end of a step that begins earlier.
        match self.stride {
            1 if to.len() >= LONG => to.copy_from_slice(&from[..to.len()]),
            1 => steps(to, |at| from.get(at..)?.first_chunk().copied(), |at| from[at]),
            2 => {
                let halves = |pairs: &[f32; 2 * STEP]| std::array::from_fn(|i| pairs[2 * i]);
                steps(to, |at| from.get(2 * at..)?.first_chunk().map(halves), |at| from[2 * at]);
            }
            stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
        }
    }
}

/// Sets all numbers, [`STEP`] from a place on at a time while that can be had, then `one` by one.
#[inline(always)]
fn steps(to: &mut [f32], step: impl Fn(usize) -> Option<[f32; STEP]>, one: impl Fn(usize) -> f32) {
    let mut done = 0;
    while done < to.len() {
        let at = done.min(to.len().saturating_sub(STEP));
        let (Some(to), Some(numbers)) = (to[at..].first_chunk_mut(), step(at)) else { break };
        *to = numbers;
        done = at + STEP;
    }
    for (at, to) in to.iter_mut().enumerate().skip(done) {
        *to = one(at);
    }
}

/// Without a call, which for short rows would take longer.
#[inline(always)]
pub(crate) fn zero(to: &mut [f32]) {
    let (steps, rest) = to.as_chunks_mut::<STEP>();
    steps.iter_mut().for_each(|to| *to = [0.0; STEP]);
    rest.iter_mut().for_each(|to| *to = 0.0);
}
