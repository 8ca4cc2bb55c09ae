//! Convolutions and matrix products: a tile of pixels by channels in registers, each staged group of input channels
//! broadcast against packed weights.
//!
//! A window is a few runs of neighbouring elements (a row of taps is one run); weights are packed in the order in which
//! the runs are walked, padded with zeros to whole groups, so what a run reads beyond its end counts for nothing.

use super::image::{self, Under};
use super::requantize::Requantizer;
use super::simd::{Isa, Simd, Work, dispatch};
use super::{Image, ImageMut, Line, Region, Scratch, aligned, group, vectors};
use crate::int8;
use crate::window::Window;

/// A convolution, packed.
#[derive(Debug, Clone)]
pub struct Convolution {
    isa: Isa,
    vertical: Window,
    horizontal: Window,
    in_channels: usize,
    out_channels: usize,
    zero: u8,
    /// First channel of each vector.
    vectors: Vec<usize>,
    /// How many vectors are computed together, in turn.
    parts: Vec<usize>,
    /// Groups of a run.
    groups: usize,
    /// The runs of a window over rows of full width.
    runs: Runs,
    /// `[part][run][group][vector of the part][lane]`.
    weights: Vec<Line>,
    requantizer: Requantizer,
}

/// Staged rows are computed in batches of about so many bytes.
const BATCH: usize = 24 << 10;

impl Convolution {
    /// Packs `c` for `isa`; `None` if it is grouped, dilated beyond reason, or its accumulators may overflow.
    ///
    /// # Panics
    /// If the machine has no `isa`.
    pub fn new(c: &int8::Convolution, isa: Isa) -> Option<Self> {
        isa.check();
        let (v, h) = (c.vertical, c.horizontal);
        if c.weights.len() != c.out_channels * v.kernel * h.kernel * c.in_channels
            || !can_be_staged(&v, &h, c.in_channels)
        {
            return None;
        }
        let Unit { lanes, per_group, centred } = dispatch(isa, Describe);
        let zero = u8::try_from(c.input_zero + 128).ok()?;
        let of = |o: usize| &c.weights[o * c.weights.len() / c.out_channels..][..c.weights.len() / c.out_channels];
        let bias = |o: usize| c.bias.get(o).copied().unwrap_or(0);
        let sum = |o: usize| of(o).iter().map(|&w| i64::from(w)).sum::<i64>();
        let size = |o: usize| of(o).iter().map(|&w| i64::from(w).abs()).sum::<i64>();
        let start = |o: usize| if centred { bias(o) } else { bias(o).wrapping_sub((i64::from(zero) * sum(o)) as i32) };
        let starts: Vec<i32> = (0..c.out_channels).map(start).collect();
        let bounds: Vec<i64> = (0..c.out_channels).map(|o| 255 * size(o) + i64::from(bias(o)).abs()).collect();
        let vectors = vectors(c.out_channels, lanes);
        let requantizer =
            Requantizer::new(&c.requantization, lanes, &vectors, &starts, &bounds, c.output_zero, c.range)?;

        let run = run_length(&h, c.in_channels);
        let groups = run.div_ceil(per_group);
        let parts = parts(vectors.len());
        let mut packed = Vec::new();
        let mut first = 0;
        for &part in &parts {
            for r in 0..v.kernel * h.kernel * c.in_channels / run {
                for g in 0..groups {
                    for &channel in &vectors[first..first + part] {
                        for o in channel..channel + lanes {
                            let w = if o < c.out_channels { &of(o)[r * run..][..run] } else { &[] };
                            let from = (g * per_group).min(w.len());
                            packed.push(group(&w[from..(from + per_group).min(w.len())], per_group));
                        }
                    }
                }
            }
            first += part;
        }
        Some(Self {
            isa,
            vertical: v,
            horizontal: h,
            in_channels: c.in_channels,
            out_channels: c.out_channels,
            zero,
            vectors,
            parts,
            groups,
            runs: Runs::new(&v, &h, c.in_channels, ((h.output - 1) * h.stride + span(&h)) * c.in_channels),
            weights: aligned(&packed),
            requantizer,
        })
    }

    /// Computes `region` of the output.
    ///
    /// # Panics
    /// If `input` does not hold what the region needs, or `output` the region.
    pub fn apply(&self, input: &Image, output: &mut ImageMut, region: &Region, scratch: &mut Scratch) {
        image::check(input, self.in_channels, output, self.out_channels, region);
        dispatch(self.isa, Apply { c: self, input, output, region, scratch });
    }

    fn is_pointwise(&self) -> bool {
        let plain = |w: &Window| w.kernel == 1 && w.before == 0 && (w.output - 1) * w.stride < w.input;
        plain(&self.vertical) && plain(&self.horizontal)
    }
}

/// Whether the rows of a window take a sane amount of memory, padding included.
pub(super) fn can_be_staged(v: &Window, h: &Window, channels: usize) -> bool {
    const MOST: usize = 1 << 24;
    let span = |w: &Window| (w.kernel - 1).checked_mul(w.dilation)?.checked_add(1);
    let row = || (h.output - 1).checked_mul(h.stride)?.checked_add(span(h)?)?.checked_mul(channels);
    let all = || row()?.checked_mul(span(v)?);
    all().is_some_and(|elements| elements <= MOST)
}

/// Positions from the first tap of a window to the last.
fn span(w: &Window) -> usize {
    (w.kernel - 1) * w.dilation + 1
}

/// Where the runs of a window start, from its first element, in staged rows of so many elements.
#[derive(Debug, Clone)]
struct Runs {
    of_row: usize,
    starts: Vec<usize>,
}

impl Runs {
    fn new(v: &Window, h: &Window, channels: usize, of_row: usize) -> Self {
        let across = if h.dilation == 1 { 1 } else { h.kernel };
        let start = |ky: usize, kx: usize| ky * v.dilation * of_row + kx * h.dilation * channels;
        Self { of_row, starts: (0..v.kernel).flat_map(|ky| (0..across).map(move |kx| start(ky, kx))).collect() }
    }
}

/// Elements of a window that lie side by side: a row of taps, or one tap if they are dilated.
fn run_length(horizontal: &Window, channels: usize) -> usize {
    if horizontal.dilation == 1 { horizontal.kernel * channels } else { channels }
}

/// Splits `n` vectors into parts of at most four, three being better than two and two better than one.
fn parts(n: usize) -> Vec<usize> {
    let mut parts = match n {
        0..=4 => return vec![n],
        5 => return vec![3, 2],
        _ => match n % 4 {
            0 => vec![],
            1 => vec![3, 3, 3],
            2 => vec![3, 3],
            _ => vec![3],
        },
    };
    let rest = n - parts.iter().sum::<usize>();
    parts.extend(std::iter::repeat_n(4, rest / 4));
    parts
}

/// What packing must know of a vector unit.
struct Unit {
    lanes: usize,
    per_group: usize,
    centred: bool,
}

struct Describe;

impl Work for Describe {
    type Output = Unit;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Unit {
        Unit { lanes: S::LANES, per_group: S::GROUP, centred: S::CENTRED }
    }
}

struct Apply<'a, 'i, 'o> {
    c: &'a Convolution,
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
        // Bytes can be multiplied where they lie if they are staged as they are and runs end with a group.
        let direct = c.is_pointwise() && !S::CENTRED && c.in_channels.is_multiple_of(S::GROUP);
        // SAFETY: every pointer comes from a slice that covers the pixels of the row.
        unsafe {
            if direct {
                c.pointwise::<S>(input, output, region);
            } else {
                c.staged::<S>(input, output, region, scratch);
            }
        }
    }
}

impl Convolution {
    /// 1x1 on bytes that are multiplied where they lie.
    ///
    /// # Safety
    /// The machine has `S`, which stages nothing.
    #[inline(always)]
    unsafe fn pointwise<S: Simd>(&self, input: &Image, output: &mut ImageMut, region: &Region) {
        let (v, h) = (&self.vertical, &self.horizontal);
        let row = |input: &[u8], output: &mut [u8], pixels: usize| {
            let step = h.stride * self.in_channels;
            debug_assert!(input.len() >= (pixels - 1) * step + self.in_channels);
            debug_assert_eq!(output.len(), pixels * self.out_channels);
            // SAFETY: the slices hold these pixels.
            unsafe { self.row_of_tiles::<S>(input.as_ptr().cast(), step, &[0], output.as_mut_ptr(), pixels) };
        };
        if h.stride == 1 && v.stride == 1 {
            let pixels = region.rows.len() * region.columns.len();
            if let (Some(input), Some(output)) = (input.run(region), output.run(region)) {
                return row(input, output, pixels);
            }
        }
        for y in region.rows.clone() {
            let columns = region.columns.start * h.stride..(region.columns.end - 1) * h.stride + 1;
            row(input.span(y * v.stride, columns), output.span(y, region.columns.clone()), region.columns.len());
        }
    }

    /// Any window: rows are staged, padding included, a batch at a time.
    ///
    /// # Safety
    /// The machine has `S`.
    #[inline(always)]
    unsafe fn staged<S: Simd>(&self, input: &Image, output: &mut ImageMut, region: &Region, scratch: &mut Scratch) {
        let (v, h) = (&self.vertical, &self.horizontal);
        let channels = self.in_channels;
        let columns = &region.columns;
        let Under { all, left, real } = Under::new(h, columns, input);
        let staged_row = all * channels;
        let window = span(v);
        let fit = BATCH / (staged_row * size_of::<S::Staged>()).max(1);
        let batch = (fit.saturating_sub(window) / v.stride + 1).min(region.rows.len());
        let from = scratch.reserve::<S::Staged>(((batch - 1) * v.stride + window) * staged_row);
        let of_part;
        let runs = if staged_row == self.runs.of_row {
            &self.runs
        } else {
            of_part = Runs::new(v, h, channels, staged_row);
            &of_part
        };
        let pad = S::staged(self.zero, self.zero);
        // SAFETY: `from` holds the staged rows of a batch, and slices cover what is copied.
        unsafe {
            for start in region.rows.clone().step_by(batch) {
                let rows = start..(start + batch).min(region.rows.end);
                for s in 0..(rows.len() - 1) * v.stride + window {
                    let y = (start * v.stride + s) as isize - v.before as isize;
                    let to = from.add(s * staged_row);
                    let inside = (0..v.input as isize).contains(&y) && !real.is_empty();
                    // An image in parts need not hold the rows that no tap reads.
                    let held = !image::has_gaps(v) || input.region().rows.contains(&(y.max(0) as usize));
                    if !inside || !held {
                        fill(to, staged_row, pad);
                        continue;
                    }
                    let pixels = input.span(y as usize, real.clone());
                    fill(to, left * channels, pad);
                    S::stage(pixels.as_ptr(), pixels.len(), self.zero, to.add(left * channels));
                    let done = left * channels + pixels.len();
                    fill(to.add(done), staged_row - done, pad);
                }
                for (s, y) in rows.enumerate() {
                    let base = from.add(s * v.stride * staged_row);
                    let out = output.span(y, columns.clone());
                    self.row_of_tiles::<S>(base, h.stride * channels, &runs.starts, out.as_mut_ptr(), columns.len());
                }
            }
        }
    }

    /// `pixels` outputs, `step` staged elements apart at the input.
    ///
    /// # Safety
    /// The machine has `S`; `from` is good for the windows, `to` for `pixels` outputs.
    #[inline(always)]
    unsafe fn row_of_tiles<S: Simd>(
        &self,
        from: *const S::Staged,
        step: usize,
        runs: &[usize],
        to: *mut u8,
        pixels: usize,
    ) {
        let mut first = 0;
        for &part in &self.parts {
            let weights = self.weights.as_ptr().cast::<i32>();
            // SAFETY: parts lie one after the other.
            let weights = unsafe { weights.add(first * runs.len() * self.groups * S::LANES) };
            let most = (S::ACCUMULATORS / part).min(12);
            let height = pixels.div_ceil(pixels.div_ceil(most));
            for tile in 0..pixels.div_ceil(height) {
                // The last tile overlaps the one before it.
                let pixel = (tile * height).min(pixels - height);
                // SAFETY: `pixel + height ≤ pixels`.
                unsafe {
                    let tile = Tile::<S> {
                        c: self,
                        from: from.add(pixel * step),
                        step,
                        runs,
                        weights,
                        first,
                        to: to.add(pixel * self.out_channels),
                    };
                    tile.compute(height, part);
                }
            }
            first += part;
        }
    }
}

/// # Safety
/// `to` is good for `n`.
#[inline(always)]
unsafe fn fill<T: Copy>(to: *mut T, n: usize, value: T) {
    for i in 0..n {
        // SAFETY: as above.
        unsafe { to.add(i).write(value) };
    }
}

/// A tile of output pixels by vectors of channels.
struct Tile<'a, S: Simd> {
    c: &'a Convolution,
    from: *const S::Staged,
    step: usize,
    runs: &'a [usize],
    weights: *const i32,
    /// First vector.
    first: usize,
    to: *mut u8,
}

/// [`Tile`], of a size known to the compiler.
struct Exact<'a, S: Simd, const PIXELS: usize, const VECTORS: usize>(Tile<'a, S>);

impl<S: Simd> Tile<'_, S> {
    /// # Safety
    /// The machine has `S`, and the pointers are good.
    #[inline(always)]
    unsafe fn compute(self, pixels: usize, vectors: usize) {
        macro_rules! sizes {
            ($($v:literal: $($p:literal)*;)*) => {
                match (vectors, pixels) {
                    // SAFETY: the caller has `S`.
                    $($(($v, $p) => unsafe { S::vectorize(Exact::<S, $p, $v>(self)) },)*)*
                    other => unreachable!("no tile of {other:?}"),
                }
            };
        }
        sizes! {
            1: 1 2 3 4 5 6 7 8 9 10 11 12;
            2: 1 2 3 4 5 6 7 8 9 10 11 12;
            3: 1 2 3 4 5 6 7 8;
            4: 1 2 3 4 5 6;
        }
    }
}

impl<S: Simd, const PIXELS: usize, const VECTORS: usize> Work for Exact<'_, S, PIXELS, VECTORS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<T: Simd>(self) {
        let Tile { c, from, step, runs, weights, first, to } = self.0;
        // A tile too small to hide the latency of `dot` adds up in two halves.
        let halves = PIXELS * VECTORS <= 6;
        // SAFETY: of the whole block: the caller promised the pointers.
        unsafe {
            let zero = S::splat(0);
            let mut acc = [[zero; VECTORS]; PIXELS];
            let mut other = [[zero; VECTORS]; PIXELS];
            for n in 0..VECTORS {
                let start = c.requantizer.start::<S>(first + n);
                for m in 0..PIXELS {
                    acc[m][n] = start;
                }
            }
            let mut w = weights;
            for &run in runs {
                let mut x = from.add(run);
                let mut g = 0;
                if halves {
                    while g + 2 <= c.groups {
                        step_of_tile::<S, PIXELS, VECTORS>(&mut acc, x, step, w);
                        let (x2, w2) = (x.add(S::GROUP), w.add(VECTORS * S::LANES));
                        step_of_tile::<S, PIXELS, VECTORS>(&mut other, x2, step, w2);
                        x = x.add(2 * S::GROUP);
                        w = w.add(2 * VECTORS * S::LANES);
                        g += 2;
                    }
                }
                while g < c.groups {
                    step_of_tile::<S, PIXELS, VECTORS>(&mut acc, x, step, w);
                    x = x.add(S::GROUP);
                    w = w.add(VECTORS * S::LANES);
                    g += 1;
                }
            }
            if halves {
                for m in 0..PIXELS {
                    for n in 0..VECTORS {
                        acc[m][n] = S::add(acc[m][n], other[m][n]);
                    }
                }
            }
            let lanes = S::LANES.min(c.out_channels);
            for n in 0..VECTORS {
                let mut column = [zero; PIXELS];
                for m in 0..PIXELS {
                    column[m] = acc[m][n];
                }
                let to = to.add(c.vectors[first + n]);
                c.requantizer.finish::<S, PIXELS>(first + n, &column, to, c.out_channels, lanes);
            }
        }
    }
}

/// One group of input channels, for every pixel and vector of the tile.
///
/// # Safety
/// The machine has `S`, and the pointers are good.
#[inline(always)]
unsafe fn step_of_tile<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    acc: &mut [[S::Vector; VECTORS]; PIXELS],
    x: *const S::Staged,
    step: usize,
    w: *const i32,
) {
    // SAFETY: as above.
    unsafe {
        let mut weights = [S::splat(0); VECTORS];
        for n in 0..VECTORS {
            weights[n] = S::load(w.add(n * S::LANES));
        }
        for m in 0..PIXELS {
            let x = S::splat_at(x.add(m * step).cast());
            for n in 0..VECTORS {
                acc[m][n] = S::dot(acc[m][n], x, weights[n]);
            }
        }
    }
}
