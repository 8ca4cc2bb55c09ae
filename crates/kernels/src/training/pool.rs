//! Pooling: the largest or the mean of each window, channel by channel, and where its gradient goes.

use rayon::prelude::*;

use super::function::vectors;
use crate::window::Window;

/// Windows over planes `[planes, height, width]`, giving `[planes, height', width']`.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Along the height.
    pub rows: Window,
    /// Along the width.
    pub columns: Window,
}

impl Pool {
    fn planes(&self) -> (usize, usize) {
        (self.rows.input * self.columns.input, self.rows.output * self.columns.output)
    }

    /// The largest of each window, and where in its plane it was: the first of equals, in order of rows. NaN counts as
    /// largest. Padding never is.
    pub fn largest(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        let (input, output) = self.planes();
        let planes = x.par_chunks(input).zip(y.par_chunks_mut(output)).zip(from.par_chunks_mut(output));
        planes.with_min_len(4).for_each(|((x, y), from)| {
            vectors(
                #[inline(always)]
                || {
                    if self.halves() {
                        self.largest_of_four(x, y, from);
                    } else {
                        self.largest_of_plane(x, y, from);
                    }
                },
            );
        });
    }

    /// 2 x 2 windows side by side, without padding.
    fn halves(&self) -> bool {
        [self.rows, self.columns]
            .iter()
            .all(|w| (w.kernel, w.stride, w.dilation, w.before) == (2, 2, 1, 0) && w.output * 2 <= w.input)
    }

    #[inline(always)]
    fn largest_of_four(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        let (width, out) = (self.columns.input, self.columns.output);
        for (row, (y, from)) in y.chunks_exact_mut(out).zip(from.chunks_exact_mut(out)).enumerate() {
            let start = 2 * row * width;
            let (above, _) = x[start..][..2 * out].as_chunks::<2>();
            let (below, _) = x[start + width..][..2 * out].as_chunks::<2>();
            for (i, (y, from)) in y.iter_mut().zip(from).enumerate() {
                let at = (start + 2 * i) as u32;
                let (a, b) = (above[i], below[i]);
                let larger = |p: (f32, u32), q: (f32, u32)| if q.0 > p.0 || q.0.is_nan() { q } else { p };
                let pair = larger((a[0], at), (a[1], at + 1));
                let under = larger((b[0], at + width as u32), (b[1], at + width as u32 + 1));
                (*y, *from) = larger(pair, under);
            }
        }
    }

    #[inline(always)]
    fn largest_of_plane(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        let (rows, columns) = (&self.rows, &self.columns);
        for (oy, (y, from)) in y.chunks_exact_mut(columns.output).zip(from.chunks_exact_mut(columns.output)).enumerate()
        {
            for (ox, (y, from)) in y.iter_mut().zip(from).enumerate() {
                (*y, *from) = (f32::NEG_INFINITY, u32::MAX);
                for ky in rows.taps(oy) {
                    for kx in columns.taps(ox) {
                        let at = rows.position(oy, ky) * columns.input + columns.position(ox, kx);
                        if x[at] > *y || x[at].is_nan() || *from == u32::MAX {
                            (*y, *from) = (x[at], at as u32);
                        }
                    }
                }
            }
        }
    }

    /// ∂L/∂x of [`largest`](Self::largest): each gradient goes where the largest was.
    pub fn largest_backward(&self, from: &[u32], output_gradient: &[f32], input_gradient: &mut [f32]) {
        let (input, output) = self.planes();
        let planes =
            input_gradient.par_chunks_mut(input).zip(output_gradient.par_chunks(output).zip(from.par_chunks(output)));
        planes.with_min_len(4).for_each(|(d, (g, from))| {
            d.fill(0.0);
            for (&g, &from) in g.iter().zip(from) {
                // A window that lies wholly on padding has no largest.
                if let Some(d) = d.get_mut(from as usize) {
                    *d += g;
                }
            }
        });
    }

    /// How many numbers the mean of a window is of: all taps, or those within the image.
    fn share(&self, oy: usize, ox: usize, padding_counts: bool) -> f32 {
        let (rows, columns) = (self.rows.taps(oy).len(), self.columns.taps(ox).len());
        let count = if padding_counts { self.rows.kernel * self.columns.kernel } else { rows * columns };
        1.0 / count.max(1) as f32
    }

    /// The mean of each window; `padding_counts` as zeros, or is left out.
    pub fn mean(&self, x: &[f32], padding_counts: bool, y: &mut [f32]) {
        let (input, output) = self.planes();
        // One window that is the plane, and nothing beside it.
        let taps = [self.rows.kernel * self.columns.kernel, self.rows.taps(0).len() * self.columns.taps(0).len()];
        let whole = output == 1 && taps == [input; 2];
        x.par_chunks(input).zip(y.par_chunks_mut(output)).with_min_len(4).for_each(|(x, y)| {
            if whole {
                y[0] = vectors(|| super::norm::sum(x)) / input as f32;
                return;
            }
            for (o, y) in y.iter_mut().enumerate() {
                let (oy, ox) = (o / self.columns.output, o % self.columns.output);
                let columns = self.columns.taps(ox);
                let sum: f32 = (self.rows.taps(oy))
                    .flat_map(|ky| columns.clone().map(move |kx| (ky, kx)))
                    .map(|(ky, kx)| x[self.rows.position(oy, ky) * self.columns.input + self.columns.position(ox, kx)])
                    .sum();
                *y = sum * self.share(oy, ox, padding_counts);
            }
        });
    }

    /// ∂L/∂x of [`mean`](Self::mean).
    pub fn mean_backward(&self, output_gradient: &[f32], padding_counts: bool, input_gradient: &mut [f32]) {
        let (input, output) = self.planes();
        let planes = input_gradient.par_chunks_mut(input).zip(output_gradient.par_chunks(output));
        planes.with_min_len(4).for_each(|(d, g)| {
            d.fill(0.0);
            for (o, g) in g.iter().enumerate() {
                let (oy, ox) = (o / self.columns.output, o % self.columns.output);
                let part = g * self.share(oy, ox, padding_counts);
                for ky in self.rows.taps(oy) {
                    let row = self.rows.position(oy, ky) * self.columns.input;
                    for kx in self.columns.taps(ox) {
                        d[row + self.columns.position(ox, kx)] += part;
                    }
                }
            }
        });
    }
}
