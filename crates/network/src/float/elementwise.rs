//! What maps numbers one by one, or meets two tensors number by number.

use std::ops::Range;

use tersor_kernels::training::function::vectors;

use super::memory::{Call, Source};
use super::threads::split;

/// Least and greatest output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub least: f32,
    pub most: f32,
}

impl Bounds {
    pub const NONE: Self = Self { least: f32::NEG_INFINITY, most: f32::INFINITY };

    pub fn new((least, most): (f32, f32)) -> Self {
        Self { least, most }
    }

    /// `x` within the bounds; NaN stays NaN.
    #[inline(always)]
    pub fn clamp(self, x: f32) -> f32 {
        let x = if x < self.least { self.least } else { x };
        if x > self.most { self.most } else { x }
    }

    /// Puts numbers within the bounds, in place.
    pub fn apply(self, y: &mut [f32]) {
        if self != Self::NONE {
            split(y, 1, 1, |_, y| {
                vectors(
                    #[inline(always)]
                    || {
                        for y in y {
                            *y = self.clamp(*y);
                        }
                    },
                );
            });
        }
    }
}

/// y = f(x); `None` where y is to take x's place. `cost`: steps that `f` takes.
pub(super) fn map(
    from: Option<Source>,
    to: Range<usize>,
    cost: usize,
    f: impl Fn(f32) -> f32 + Copy + Send + Sync + 'static,
) -> Call {
    let Some(from) = from else {
        return Box::new(move |frame| {
            split(&mut frame.memory[to.clone()], 1, cost, |_, y| {
                vectors(
                    #[inline(always)]
                    || {
                        for y in y {
                            *y = f(*y);
                        }
                    },
                );
            });
        });
    };
    Box::new(move |frame| {
        let (operands, y, _) = frame.open(&to);
        let x = operands.get(&from);
        split(y, 1, cost, |first, y| {
            let x = &x[first..][..y.len()];
            vectors(
                #[inline(always)]
                || {
                    for i in 0..y.len() {
                        y[i] = f(x[i]);
                    }
                },
            );
        });
    })
}

/// How two tensors meet: rows of `run` results, each from a stretch of either operand or from one number of it repeated.
///
/// Axes along which both operands walk alike are one axis; so equal shapes are one run, and one number a channel of an
/// image meets rows of pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meeting {
    /// Length, and the steps of both operands, from the outermost axis.
    outer: Vec<(usize, [usize; 2])>,
    run: usize,
    /// 1, or 0 where one number is repeated.
    steps: [usize; 2],
}

impl Meeting {
    /// Of shapes that broadcast to `shape`.
    pub fn new(shape: &[usize], operands: [&[usize]; 2]) -> Self {
        let mut along = [1, 1];
        let mut axes: Vec<(usize, [usize; 2])> = Vec::new();
        for (behind, &n) in shape.iter().rev().enumerate() {
            let mut steps = [0, 0];
            for i in 0..2 {
                let length = operands[i].iter().rev().nth(behind).copied().unwrap_or(1);
                if length > 1 {
                    steps[i] = along[i];
                }
                along[i] *= length;
            }
            match axes.last_mut() {
                _ if n == 1 => {}
                Some((length, inner)) if (0..2).all(|i| steps[i] == inner[i] * *length) => *length *= n,
                _ => axes.push((n, steps)),
            }
        }
        let (run, steps) = if axes.is_empty() { (1, [1, 1]) } else { axes.remove(0) };
        axes.reverse();
        Self { outer: axes, run, steps }
    }

    /// Where the operands of a row begin.
    fn offsets(&self, row: usize) -> [usize; 2] {
        let (mut rest, mut offsets) = (row, [0, 0]);
        for (length, steps) in self.outer.iter().rev() {
            let at = rest % length;
            rest /= length;
            offsets[0] += at * steps[0];
            offsets[1] += at * steps[1];
        }
        offsets
    }

    #[inline(always)]
    fn one(steps: [usize; 2], y: &mut [f32], a: Option<&[f32]>, b: Option<&[f32]>, f: impl Fn(f32, f32) -> f32 + Copy) {
        let n = y.len();
        match (a, b, steps) {
            (None, None, _) => {}
            (None, Some(b), [_, 0]) => {
                let b = b[0];
                for y in y {
                    *y = f(*y, b);
                }
            }
            (None, Some(b), _) => {
                let b = &b[..n];
                for i in 0..n {
                    y[i] = f(y[i], b[i]);
                }
            }
            (Some(a), None, [0, _]) => {
                let a = a[0];
                for y in y {
                    *y = f(a, *y);
                }
            }
            (Some(a), None, _) => {
                let a = &a[..n];
                for i in 0..n {
                    y[i] = f(a[i], y[i]);
                }
            }
            (Some(a), Some(b), [1, 0]) => {
                let (a, b) = (&a[..n], b[0]);
                for i in 0..n {
                    y[i] = f(a[i], b);
                }
            }
            (Some(a), Some(b), [0, 1]) => {
                let (a, b) = (a[0], &b[..n]);
                for i in 0..n {
                    y[i] = f(a, b[i]);
                }
            }
            (Some(a), Some(b), _) => {
                let (a, b) = (&a[..n], &b[..n]);
                for i in 0..n {
                    y[i] = f(a[i], b[i]);
                }
            }
        }
    }

    /// y = f(a, b); `None` for the operand whose place y takes.
    fn apply(
        &self,
        y: &mut [f32],
        a: Option<&[f32]>,
        b: Option<&[f32]>,
        f: impl Fn(f32, f32) -> f32 + Copy + Send + Sync,
    ) {
        if self.outer.is_empty() {
            return split(y, 1, 1, |first, y| {
                let a = a.map(|a| &a[first * self.steps[0]..]);
                let b = b.map(|b| &b[first * self.steps[1]..]);
                vectors(
                    #[inline(always)]
                    || Self::one(self.steps, y, a, b, f),
                );
            });
        }
        split(y, self.run, self.run + 8, |first, y| {
            vectors(
                #[inline(always)]
                || {
                    for (i, y) in y.chunks_exact_mut(self.run).enumerate() {
                        let [at, bt] = self.offsets(first + i);
                        Self::one(self.steps, y, a.map(|a| &a[at..]), b.map(|b| &b[bt..]), f);
                    }
                },
            );
        });
    }
}

/// y = f(a, b); `None` for the operand whose place y takes.
pub(super) fn meet(
    meeting: Meeting,
    operands: [Option<Source>; 2],
    to: Range<usize>,
    f: impl Fn(f32, f32) -> f32 + Copy + Send + Sync + 'static,
) -> Call {
    Box::new(move |frame| {
        let (there, y, _) = frame.open(&to);
        let [a, b] = [&operands[0], &operands[1]].map(|o| o.as_ref().map(|source| there.get(source)));
        meeting.apply(y, a, b, f);
    })
}

/// y = scale · x + shift for each channel, within bounds: a batch normalization that no convolution took.
pub(super) struct Normalization {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    /// Numbers of a channel that stand together.
    pub inner: usize,
    pub bounds: Bounds,
}

impl Normalization {
    pub fn call(self, from: Option<Source>, to: Range<usize>) -> Call {
        let Self { scale, shift, inner, bounds } = self;
        let channels = scale.len();
        Box::new(move |frame| {
            let (operands, y, _) = frame.open(&to);
            let x = from.as_ref().map(|from| operands.get(from));
            if inner == 1 {
                return split(y, channels, channels, |first, y| {
                    if let Some(x) = x {
                        y.copy_from_slice(&x[first * channels..][..y.len()]);
                    }
                    vectors(
                        #[inline(always)]
                        || {
                            for y in y.chunks_exact_mut(channels) {
                                for c in 0..channels {
                                    y[c] = bounds.clamp(y[c].mul_add(scale[c], shift[c]));
                                }
                            }
                        },
                    );
                });
            }
            split(y, inner, inner + 4, |first, y| {
                vectors(
                    #[inline(always)]
                    || {
                        for (i, y) in y.chunks_exact_mut(inner).enumerate() {
                            let row = first + i;
                            let (scale, shift) = (scale[row % channels], shift[row % channels]);
                            match x {
                                Some(x) => {
                                    let x = &x[row * inner..][..inner];
                                    for k in 0..inner {
                                        y[k] = bounds.clamp(x[k].mul_add(scale, shift));
                                    }
                                }
                                None => {
                                    for y in y {
                                        *y = bounds.clamp(y.mul_add(scale, shift));
                                    }
                                }
                            }
                        }
                    },
                );
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_both_walk_alike_are_one() {
        let meeting = |a: &[usize], b: &[usize], shape: &[usize]| {
            let Meeting { outer, run, steps } = Meeting::new(shape, [a, b]);
            (outer, run, steps)
        };
        assert_eq!(meeting(&[2, 3, 4], &[2, 3, 4], &[2, 3, 4]), (vec![], 24, [1, 1]));
        assert_eq!(meeting(&[2, 3, 4, 5], &[3, 1, 1], &[2, 3, 4, 5]), (vec![(2, [60, 0]), (3, [20, 1])], 20, [1, 0]));
        assert_eq!(meeting(&[2, 3], &[], &[2, 3]), (vec![], 6, [1, 0]));
        assert_eq!(meeting(&[3, 1], &[1, 4], &[3, 4]), (vec![(3, [1, 0])], 4, [0, 1]));
        assert_eq!(meeting(&[1, 1], &[1], &[1, 1]), (vec![], 1, [1, 1]));
    }
}
