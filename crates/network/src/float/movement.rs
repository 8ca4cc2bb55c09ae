//! What moves numbers: transpose, slice, pad, concatenate.

use std::ops::Range;

use super::elementwise::Bounds;
use super::memory::{Call, Source};
use super::threads::split;

/// Rows of `run` numbers, `step` apart, found along outer axes.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    base: isize,
    /// Length and step, from the outermost axis.
    outer: Vec<(usize, isize)>,
    run: usize,
    step: isize,
}

impl Walk {
    /// Along `shape` with a step for each axis, from `base` on.
    pub fn new(shape: &[usize], base: isize, steps: &[isize]) -> Self {
        let mut axes: Vec<(usize, isize)> = Vec::new();
        for (&n, &step) in shape.iter().zip(steps).rev() {
            match axes.last_mut() {
                _ if n == 1 => {}
                Some((length, inner)) if step == *inner * *length as isize => *length *= n,
                _ => axes.push((n, step)),
            }
        }
        let (run, step) = if axes.is_empty() { (1, 1) } else { axes.remove(0) };
        axes.reverse();
        Self { base, outer: axes, run, step }
    }

    fn start(&self, row: usize) -> usize {
        let walk = self
            .outer
            .iter()
            .rev()
            .fold((row, self.base), |(rest, at), &(n, step)| (rest / n, at + (rest % n) as isize * step));
        walk.1 as usize
    }

    /// Reads along the walk.
    pub fn gather(self, from: Source, to: Range<usize>) -> Call {
        Box::new(move |frame| {
            let (operands, y, _) = frame.open(&to);
            let x = operands.get(&from);
            split(y, self.run, self.run * 2 + 8, |first, y| {
                for (i, y) in y.chunks_exact_mut(self.run).enumerate() {
                    let start = self.start(first + i);
                    if self.step == 1 {
                        y.copy_from_slice(&x[start..][..self.run]);
                    } else {
                        for (k, y) in y.iter_mut().enumerate() {
                            *y = x[start.wrapping_add_signed(k as isize * self.step)];
                        }
                    }
                }
            });
        })
    }

    /// Writes along the walk into what holds `value` elsewhere.
    pub fn scatter(self, from: Source, to: Range<usize>, value: f32) -> Call {
        Box::new(move |frame| {
            let (operands, y, _) = frame.open(&to);
            y.fill(value);
            for (row, x) in operands.get(&from).chunks_exact(self.run).enumerate() {
                let start = self.start(row);
                if self.step == 1 {
                    y[start..][..self.run].copy_from_slice(x);
                } else {
                    for (k, x) in x.iter().enumerate() {
                        y[start.wrapping_add_signed(k as isize * self.step)] = *x;
                    }
                }
            }
        })
    }
}

/// Joins operands: rows of `widths[i]` numbers of each in turn.
pub(super) fn concatenate(parts: Vec<(Source, usize)>, bounds: Bounds, to: Range<usize>) -> Call {
    let row: usize = parts.iter().map(|(_, width)| width).sum();
    Box::new(move |frame| {
        let (operands, y, _) = frame.open(&to);
        split(y, row, row * 2, |first, y| {
            for (i, y) in y.chunks_exact_mut(row).enumerate() {
                let mut at = 0;
                for (source, width) in &parts {
                    y[at..][..*width].copy_from_slice(&operands.get(source)[(first + i) * width..][..*width]);
                    at += width;
                }
            }
        });
        bounds.apply(y);
    })
}
