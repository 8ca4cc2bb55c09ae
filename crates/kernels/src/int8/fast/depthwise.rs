//! Depthwise convolutions: the rows under a window are interleaved, channel by channel, so that one multiply-add takes
//! several taps of a column; each interleaved column then serves every output whose window covers it.

use super::convolution::can_be_staged;
use super::image::{self, Under};
use super::requantize::Requantizer;
use super::simd::{Isa, Simd, Work, dispatch};
use super::{Image, ImageMut, Line, Region, Scratch, aligned, group, vectors};
use crate::int8;
use crate::window::Window;

/// A depthwise convolution with one output for each channel, packed.
#[derive(Debug, Clone)]
pub struct Depthwise {
    isa: Isa,
    vertical: Window,
    horizontal: Window,
    channels: usize,
    zero: u8,
    /// First channel of each vector.
    vectors: Vec<usize>,
    /// `[vector][column of taps][group of rows][lane]`.
    weights: Vec<Line>,
    requantizer: Requantizer,
}

/// Most outputs that are computed together.
const TILE: usize = 8;

/// What stands for a row of padding.
static PADDING: [[u8; 64]; 256] = {
    let mut rows = [[0; 64]; 256];
    let mut zero = 0;
    while zero < 256 {
        rows[zero] = [zero as u8; 64];
        zero += 1;
    }
    rows
};

impl Depthwise {
    /// Packs `c` for `isa`; `None` if it has several outputs for a channel, is dilated beyond reason, or its
    /// accumulators may overflow.
    ///
    /// # Panics
    /// If the machine has no `isa`.
    pub fn new(c: &int8::Convolution, isa: Isa) -> Option<Self> {
        isa.check();
        let (v, h) = (&c.vertical, &c.horizontal);
        let one_each = c.in_channels == c.out_channels && c.weights.len() == v.kernel * h.kernel * c.out_channels;
        if !one_each || !can_be_staged(v, h, 16) {
            return None;
        }
        dispatch(isa, Pack(c, isa))
    }

    /// Computes `region` of the output.
    ///
    /// # Panics
    /// If `input` does not hold what the region needs, or `output` the region.
    pub fn apply(&self, input: &Image, output: &mut ImageMut, region: &Region, scratch: &mut Scratch) {
        image::check(input, self.channels, output, self.channels, region);
        dispatch(self.isa, Apply { c: self, input, output, region, scratch });
    }
}

struct Pack<'a>(&'a int8::Convolution, Isa);

impl Work for Pack<'_> {
    type Output = Option<Depthwise>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Option<Depthwise> {
        let Self(c, isa) = self;
        let (v, h, channels) = (c.vertical, c.horizontal, c.out_channels);
        let zero = u8::try_from(c.input_zero + 128).ok()?;
        let of = |o: usize| c.weights.iter().skip(o).step_by(channels).map(|&w| i64::from(w));
        let bias = |o: usize| c.bias.get(o).copied().unwrap_or(0);
        let start = |o: usize| {
            let shift = if S::CENTRED { 0 } else { i64::from(zero) * of(o).sum::<i64>() };
            bias(o).wrapping_sub(shift as i32)
        };
        let starts: Vec<i32> = (0..channels).map(start).collect();
        let bound = |o: usize| 255 * of(o).map(i64::abs).sum::<i64>() + i64::from(bias(o)).abs();
        let bounds: Vec<i64> = (0..channels).map(bound).collect();
        let vectors = vectors(channels, S::LANES);
        let requantizer =
            Requantizer::new(&c.requantization, S::LANES, &vectors, &starts, &bounds, c.output_zero, c.range)?;
        let mut packed = Vec::new();
        for &first in &vectors {
            for kx in 0..h.kernel {
                for ky in (0..v.kernel).step_by(S::GROUP) {
                    for o in first..first + S::LANES {
                        let taps = ky..(ky + S::GROUP).min(v.kernel);
                        let tap = |ky: usize| c.weights[(ky * h.kernel + kx) * channels + o];
                        let taps: Vec<i8> = if o < channels { taps.map(tap).collect() } else { Vec::new() };
                        packed.push(group(&taps, S::GROUP));
                    }
                }
            }
        }
        let weights = aligned(&packed);
        Some(Depthwise { isa, vertical: v, horizontal: h, channels, zero, vectors, weights, requantizer })
    }
}

struct Apply<'a, 'i, 'o> {
    c: &'a Depthwise,
    input: &'a Image<'i>,
    output: &'a mut ImageMut<'o>,
    region: &'a Region,
    scratch: &'a mut Scratch,
}

impl Work for Apply<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { c, input, output, region, scratch } = self;
        let (v, h) = (&c.vertical, &c.horizontal);
        let columns = &region.columns;
        let Under { all: interleaved, left, real } = Under::new(h, columns, input);
        let groups = v.kernel.div_ceil(S::GROUP);
        let from = scratch.reserve::<i32>(interleaved * groups * S::LANES);
        let right = left + real.len();
        let lanes = S::LANES.min(c.channels);
        let padding = PADDING[usize::from(c.zero)].as_ptr();
        // The rows under a window, where they are no padding.
        let (mut few, mut many) = ([None; 16], Vec::new());
        let rows_under: &mut [Option<*const u8>] = match groups * S::GROUP {
            n if n <= few.len() => &mut few[..n],
            n => {
                many.resize(n, None);
                &mut many
            }
        };
        // SAFETY: `from` holds the interleaved columns; rows come from slices that cover the real columns.
        unsafe {
            for y in region.rows.clone() {
                let top = (y * v.stride) as isize - v.before as isize;
                let out = output.span(y, columns.clone()).as_mut_ptr();
                for (ky, row) in rows_under.iter_mut().enumerate() {
                    let at = top + (ky * v.dilation) as isize;
                    let inside = ky < v.kernel && (0..v.input as isize).contains(&at) && !real.is_empty();
                    *row = inside.then(|| input.span(at as usize, real.clone()).as_ptr());
                }
                for (vector, &channel) in c.vectors.iter().enumerate() {
                    for g in 0..groups {
                        // A row of padding is one pixel that every column reads.
                        let (mut rows, mut steps) = ([padding; 4], [0; 4]);
                        for r in 0..S::GROUP {
                            if let Some(row) = rows_under[g * S::GROUP + r] {
                                rows[r] = row.add(channel);
                                steps[r] = c.channels;
                            }
                        }
                        let mut column = from.add(g * S::LANES);
                        for x in 0..interleaved {
                            if (left..right).contains(&x) {
                                S::interleave(rows, lanes, c.zero, column);
                                for r in 0..S::GROUP {
                                    rows[r] = rows[r].add(steps[r]);
                                }
                            } else {
                                S::interleave([padding; 4], S::LANES, c.zero, column);
                            }
                            column = column.add(groups * S::LANES);
                        }
                    }
                    let tile = Tile { c, from, groups, vector, to: out.add(channel) };
                    tile.row::<S>(columns.len());
                }
            }
        }
    }
}

/// Outputs of one row, for one vector of channels.
struct Tile<'a> {
    c: &'a Depthwise,
    from: *const i32,
    groups: usize,
    vector: usize,
    to: *mut u8,
}

impl Tile<'_> {
    /// # Safety
    /// The machine has `S`, and the pointers are good.
    #[inline(always)]
    unsafe fn row<S: Simd>(&self, outputs: usize) {
        let tiles = outputs.div_ceil(TILE);
        let width = outputs.div_ceil(tiles);
        for tile in 0..tiles {
            // The last tile overlaps the one before it.
            let x = (tile * width).min(outputs - width);
            // SAFETY: `x + width ≤ outputs`.
            unsafe {
                match width {
                    1 => self.outputs::<S, 1>(x),
                    2 => self.outputs::<S, 2>(x),
                    3 => self.outputs::<S, 3>(x),
                    4 => self.outputs::<S, 4>(x),
                    5 => self.outputs::<S, 5>(x),
                    6 => self.outputs::<S, 6>(x),
                    7 => self.outputs::<S, 7>(x),
                    _ => self.outputs::<S, TILE>(x),
                }
            }
        }
    }

    /// # Safety
    /// As [`row`](Self::row).
    #[inline(always)]
    unsafe fn outputs<S: Simd, const N: usize>(&self, x: usize) {
        let (c, h) = (self.c, &self.c.horizontal);
        let column = self.groups * S::LANES;
        // SAFETY: as above.
        unsafe {
            let mut acc = [c.requantizer.start::<S>(self.vector); N];
            let taps = h.kernel * column;
            let mut w = c.weights.as_ptr().cast::<i32>().add(self.vector * taps);
            for kx in 0..h.kernel {
                let mut from = self.from.add((x * h.stride + kx * h.dilation) * column);
                for _ in 0..self.groups {
                    let tap = S::load(w);
                    for n in 0..N {
                        acc[n] = S::dot(acc[n], S::load(from.add(n * h.stride * column)), tap);
                    }
                    from = from.add(S::LANES);
                    w = w.add(S::LANES);
                }
            }
            let lanes = S::LANES.min(c.channels);
            let to = self.to.add(x * c.channels);
            c.requantizer.finish::<S, N>(self.vector, &acc, to, c.channels, lanes);
        }
    }
}
