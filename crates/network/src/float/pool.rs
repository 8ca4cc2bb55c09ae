//! What reduces: windows of an image, axes of a tensor, and softmax along the last one.

use std::ops::Range;

use tersor_kernels::training::function::vectors;
use tersor_kernels::training::norm::sum;
use tersor_kernels::training::softmax::{exponentials, largest};
use tersor_kernels::window::Window;

use super::elementwise::Bounds;
use super::memory::{Call, Source};
use super::threads::{PARTS, split, split_with};

/// The largest or the mean of each window of every plane; padding is neither.
pub(super) struct Pooling {
    pub rows: Window,
    pub columns: Window,
    pub average: bool,
    pub bounds: Bounds,
}

impl Pooling {
    /// Scratch of a run.
    pub fn scratch(&self) -> usize {
        PARTS * self.columns.input
    }

    pub fn call(self, from: Source, to: Range<usize>) -> Call {
        let Self { rows, columns, average, bounds } = self;
        let (input, output) = (rows.input * columns.input, rows.output * columns.output);
        let (down, across) = (Spans::new(&rows), Spans::new(&columns));
        let whole = average && output == 1 && rows.taps(0).len() * columns.taps(0).len() == input;
        let cost = input + output * 4 * columns.kernel.min(columns.input);
        Box::new(move |frame| {
            let (operands, y, scratch) = frame.open(&to);
            let x = operands.get(&from);
            if whole {
                return means(x, y, input, bounds);
            }
            split_with(y, (output, cost), (scratch, columns.input), |first, y, row| {
                let planes = x[first * input..].chunks_exact(input);
                vectors(
                    #[inline(always)]
                    || {
                        for (x, y) in planes.zip(y.chunks_exact_mut(output)) {
                            for (oy, y) in y.chunks_exact_mut(columns.output).enumerate() {
                                let span = down.of(oy);
                                let under =
                                    x[span.start * columns.input..].chunks_exact(columns.input).take(span.len());
                                if average {
                                    combine(row, under, sum_of);
                                    across.fold(row, y, sum_of);
                                    for (ox, y) in y.iter_mut().enumerate() {
                                        *y /= (span.len() * across.of(ox).len()) as f32;
                                    }
                                } else {
                                    combine(row, under, larger);
                                    across.fold(row, y, larger);
                                }
                                if bounds != Bounds::NONE {
                                    y.iter_mut().for_each(|y| *y = bounds.clamp(*y));
                                }
                            }
                        }
                    },
                );
            });
        })
    }
}

#[inline(always)]
fn sum_of(a: f32, b: f32) -> f32 {
    a + b
}

/// The larger of two numbers; NaN is largest.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// Rows under a window, combined to one.
#[inline(always)]
fn combine<'a>(row: &mut [f32], mut under: impl Iterator<Item = &'a [f32]>, f: impl Fn(f32, f32) -> f32 + Copy) {
    match (under.next(), under.next()) {
        (Some(a), Some(b)) => {
            let (a, b) = (&a[..row.len()], &b[..row.len()]);
            for i in 0..row.len() {
                row[i] = f(a[i], b[i]);
            }
        }
        (Some(only), None) => row.copy_from_slice(only),
        (None, _) => {}
    }
    for x in under {
        let x = &x[..row.len()];
        for i in 0..row.len() {
            row[i] = f(row[i], x[i]);
        }
    }
}

/// The rows or columns under each window.
#[derive(Debug, Clone, Copy)]
struct Spans {
    /// Windows that lie wholly inside.
    inside: (usize, usize),
    kernel: usize,
    stride: usize,
    before: usize,
    input: usize,
}

impl Spans {
    fn new(window: &Window) -> Self {
        let Window { kernel, stride, before, input, output, .. } = *window;
        // The first window that begins inside, and the first that ends outside.
        let first = before.div_ceil(stride).min(output);
        let end = (input + before).checked_sub(kernel).map_or(0, |last| last / stride + 1).min(output);
        Self { inside: (first, end.max(first)), kernel, stride, before, input }
    }

    /// What lies under output `o`.
    #[inline(always)]
    fn of(&self, o: usize) -> Range<usize> {
        let at = o * self.stride;
        at.saturating_sub(self.before)..(at + self.kernel).saturating_sub(self.before).min(self.input)
    }

    #[inline(always)]
    fn fold(&self, row: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Copy) {
        let (start, end) = self.inside;
        self.each(row, y, 0..start, f);
        match self.kernel {
            2 => self.fixed::<2>(row, y, f),
            3 => self.fixed::<3>(row, y, f),
            _ => self.each(row, y, start..end, f),
        }
        self.each(row, y, end..y.len(), f);
    }

    #[inline(always)]
    fn each(&self, row: &[f32], y: &mut [f32], outputs: Range<usize>, f: impl Fn(f32, f32) -> f32 + Copy) {
        for (o, y) in outputs.clone().zip(&mut y[outputs]) {
            let under = &row[self.of(o)];
            *y = under[1..].iter().fold(under[0], |a, &b| f(a, b));
        }
    }

    #[inline(always)]
    fn fixed<const K: usize>(&self, row: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Copy) {
        let (start, end) = self.inside;
        if start == end {
            return;
        }
        let (row, y) = (&row[self.of(start).start..], &mut y[start..end]);
        if self.stride == K {
            let windows = &row.as_chunks::<K>().0[..y.len()];
            for i in 0..y.len() {
                y[i] = folded(&windows[i], f);
            }
            return;
        }
        for (i, y) in y.iter_mut().enumerate() {
            if let Some(under) = row[i * self.stride..].first_chunk::<K>() {
                *y = folded(under, f);
            }
        }
    }
}

#[inline(always)]
fn folded<const K: usize>(under: &[f32; K], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut folded = under[0];
    for &x in &under[1..] {
        folded = f(folded, x);
    }
    folded
}

fn means(x: &[f32], y: &mut [f32], count: usize, bounds: Bounds) {
    split(y, 1, count, |first, y| {
        vectors(
            #[inline(always)]
            || {
                for (x, y) in x[first * count..].chunks_exact(count).zip(y) {
                    *y = bounds.clamp(sum(x) / count as f32);
                }
            },
        );
    });
}

/// Means along any axes of a tensor.
pub(super) fn mean(shape: &[usize], reduced: &[bool], from: Source, to: Range<usize>) -> Call {
    let count: usize = shape.iter().zip(reduced).filter(|(_, reduced)| **reduced).map(|(n, _)| n).product();
    let kept_before = reduced.iter().position(|reduced| *reduced).unwrap_or(reduced.len());
    if shape[kept_before..].iter().zip(&reduced[kept_before..]).all(|(&n, &reduced)| reduced || n == 1) {
        return Box::new(move |frame| {
            let (operands, y, _) = frame.open(&to);
            means(operands.get(&from), y, count, Bounds::NONE);
        });
    }
    let mut step = 1;
    let (mut kept, mut inner): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (&n, &reduced) in shape.iter().zip(reduced).rev() {
        if reduced { &mut inner } else { &mut kept }.push((n, step));
        step *= n;
    }
    let offset = |axes: &[(usize, usize)], at: usize| {
        let walk = axes.iter().fold((at, 0), |(rest, offset), (n, step)| (rest / n, offset + rest % n * step));
        walk.1
    };
    Box::new(move |frame| {
        let (operands, y, _) = frame.open(&to);
        let x = operands.get(&from);
        split(y, 1, count * 16, |first, y| {
            for (i, y) in y.iter_mut().enumerate() {
                let start = offset(&kept, first + i);
                let total: f64 = (0..count).map(|k| f64::from(x[start + offset(&inner, k)])).sum();
                *y = (total / count as f64) as f32;
            }
        });
    })
}

/// e^(β x) / Σ e^(β x) along rows of `width` numbers; `None` where y is to take x's place.
pub(super) fn softmax(width: usize, beta: f32, from: Option<Source>, to: Range<usize>) -> Call {
    Box::new(move |frame| {
        let (operands, y, scratch) = frame.open(&to);
        let x = from.as_ref().map(|from| operands.get(from));
        split_with(y, (width, width * 8), (scratch, width), |first, y, row| {
            vectors(
                #[inline(always)]
                || {
                    for (i, y) in y.chunks_exact_mut(width).enumerate() {
                        row.copy_from_slice(x.map_or(&*y, |x| &x[(first + i) * width..][..width]));
                        if beta != 1.0 {
                            row.iter_mut().for_each(|x| *x *= beta);
                        }
                        let scale = 1.0 / exponentials(row, largest(row), y);
                        y.iter_mut().for_each(|y| *y *= scale);
                    }
                },
            );
        });
    })
}

/// Scratch of [`softmax`].
pub(super) fn softmax_scratch(width: usize) -> usize {
    PARTS * width
}
