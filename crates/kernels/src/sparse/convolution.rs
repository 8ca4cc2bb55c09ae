//! A pruned convolution, directly over its non-zeros.
//!
//! A tile of outputs of one channel, up to eight registers of neighbouring pixels, stays in registers while the non-zeros of
//! the channel run by: each is a value and the place under which the image is read, and costs a broadcast, and a load
//! and a fused multiply-add per register. Nothing is gathered; of the columns that im2col would build there is one for each
//! column of the kernel, not for each tap (`band.rs`), so that a tap reads one stretch of memory. An output is stored once. A
//! 1x1 convolution is the product of a sparse matrix and the pixels, and takes the same way with the image as one row (the
//! shape of XNNPACK's `spmm`: Elsen, Dukhan, Gale, Simonyan, *Fast sparse ConvNets*, CVPR 2020).
//!
//! Where many channels read more under a tile than a first cache holds, they come in blocks, each for all output channels, if
//! there are enough non-zeros that this pays.
//!
//! The network is that of Han, Pool, Tran, Dally, *Learning both weights and connections for efficient neural networks*
//! (NeurIPS 2015): its layers keep 12 to 84 % of the weights of convolutions.
//!
//! **Absent weights contribute nothing**, also under an input that is infinite or not a number.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::band::Band;
use super::cost;
use super::ending::Ending;
use super::scratch;
use crate::training::convolution::Convolution;
use crate::window::Window;

/// Registers of a tile, at most.
const WIDE: usize = 8;
/// Bytes of a band: half of a second cache of 512 kB, the rest of which is for the non-zeros.
const BAND: usize = 256 << 10;
/// Numbers of the largest band: of a kernel with very many columns, each of which has a copy of the inputs.
const MOST: usize = 64 << 20;
/// Bytes that a tile may read: a first cache.
const TILE: usize = 32 << 10;
/// Convolutions with less multiply-adds, some 100 µs, are not worth a second thread: to wake one takes some 50 µs.
const WORTH_THREADS: usize = 4_000_000;

/// A weight that is there.
#[derive(Debug, Clone, Copy)]
struct Tap {
    value: f32,
    /// Where it reads for the first output, in the band.
    offset: u32,
}

/// A convolution of few non-zeros, packed.
#[derive(Debug, Clone)]
pub struct SparseConvolution {
    geometry: Convolution,
    band: Band,
    /// Numbers of a register, and registers of a tile, at most.
    tile: (usize, usize),
    /// Per block of input channels and output channel, the end of its taps.
    ends: Vec<u32>,
    taps: Vec<Tap>,
    /// The largest offset of all taps.
    furthest: usize,
}

impl SparseConvolution {
    /// Whether a convolution can be packed: its kernel must not have millions of taps.
    pub fn fits(geometry: &Convolution) -> bool {
        Plan::of(&flat(geometry), lanes(), false).band.len(geometry.in_channels) <= MOST
    }

    /// Packs `weights` `[out channels][in channels / groups][kernel rows][kernel columns]`; a weight that equals 0 is absent.
    /// The number of images of the geometry is not kept.
    ///
    /// # Panics
    /// If `weights` has another length, or the geometry does not [fit](Self::fits).
    pub fn pack(weights: &[f32], geometry: &Convolution) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "weights are [out][in / groups][rows][columns]");
        let nonzeros = weights.iter().filter(|w| **w != 0.0).count();
        let in_blocks = cost::pays_in_blocks(geometry, nonzeros);
        let (geometry, lanes) = (flat(geometry), lanes());
        let Plan { band, registers, block, .. } = Plan::of(&geometry, lanes, in_blocks);
        assert!(band.len(geometry.in_channels) <= MOST, "the kernel has too many taps");
        let in_group = geometry.in_channels / geometry.groups;
        let out_group = geometry.out_channels / geometry.groups;
        let (rows, columns) = (geometry.rows.kernel, geometry.columns.kernel);
        let (mut ends, mut taps) = (Vec::new(), Vec::new());
        for first in (0..in_group).step_by(block) {
            let block = first * rows * columns..in_group.min(first + block) * rows * columns;
            for (o, weights) in weights.chunks_exact(in_group * rows * columns).enumerate() {
                let there = block.clone().zip(&weights[block.clone()]).filter(|(_, value)| **value != 0.0);
                for (k, &value) in there {
                    let channel = o / out_group * in_group + k / (rows * columns);
                    let offset = band.tap(channel, k / columns % rows, k % columns) as u32;
                    taps.push(Tap { value, offset });
                }
                ends.push(taps.len() as u32);
            }
        }
        let furthest = taps.iter().map(|tap| tap.offset as usize).max().unwrap_or(0);
        Self { geometry, band, tile: (lanes, registers), ends, taps, furthest }
    }

    /// Weights that are there.
    pub fn nonzeros(&self) -> usize {
        self.taps.len()
    }

    /// The share of the weights that are there, in [0, 1]; 0 where there are none.
    pub fn density(&self) -> f64 {
        self.taps.len() as f64 / (self.geometry.weights_len() as f64).max(1.0)
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.taps) + size_of_val(&*self.ends)
    }

    /// y = ending(x ∗ w + b): `x` `[images][in channels][height][width]`, `bias` `[out channels]`, `y`
    /// `[images][out channels][height'][width']`, for any number of images.
    ///
    /// # Panics
    /// If the slices are not of these lengths.
    pub fn run(&self, x: &[f32], bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        let shape = &self.geometry;
        let (from, to) = (shape.in_channels * area(shape, |w| w.input), shape.out_channels * area(shape, |w| w.output));
        let images = x.len().checked_div(from).unwrap_or(0);
        assert_eq!((x.len(), y.len()), (images * from, images * to), "x and y are images");
        assert!(bias.is_none_or(|bias| bias.len() == shape.out_channels), "bias is [out channels]");
        let (rows, columns) = self.band.outputs();
        let (down, across) = (shape.rows.output.div_ceil(rows), shape.columns.output.div_ceil(columns));
        let bands = images * down * across;
        let threads = rayon::current_num_threads();
        let multiplications = images * self.taps.len() * area(shape, |w| w.output);
        let serial = threads == 1 || multiplications < WORTH_THREADS;
        // Where there are few bands, each is cut between its tiles, and if these are few, between channels; then each part
        // is filled for itself.
        let tiles = Tiles::of(rows * columns, self.tile).count;
        let cuts = if serial { 1 } else { (2 * threads).div_ceil(bands.max(1)).min(tiles) };
        let groups = if serial { 1 } else { threads.div_ceil((bands * cuts).max(1)).min(shape.out_channels) };
        let out = Planes { y: y.as_mut_ptr(), len: y.len() };
        let task = |task: usize| {
            let (task, group) = (task / groups, task % groups);
            let (task, cut) = (task / cuts, task % cuts);
            let (image, band) = (task / (down * across), task % (down * across));
            let corner = (band / across * rows, band % across * columns);
            let outputs = (rows.min(shape.rows.output - corner.0), columns.min(shape.columns.output - corner.1));
            let channels = group * shape.out_channels / groups..(group + 1) * shape.out_channels / groups;
            let image = (&x[image * from..][..from], image * to);
            scratch::with(self.band.len(shape.in_channels), |band| {
                let of_band = OfBand {
                    all: self,
                    image,
                    corner,
                    outputs,
                    cut: (cut, cuts),
                    channels,
                    bias,
                    ending,
                    out: &out,
                    band,
                };
                Arch::new().dispatch(of_band);
            });
        };
        let tasks = bands * cuts * groups;
        if serial { (0..tasks).for_each(task) } else { (0..tasks).into_par_iter().for_each(task) }
    }
}

fn area(shape: &Convolution, of: impl Fn(&Window) -> usize) -> usize {
    of(&shape.rows) * of(&shape.columns)
}

/// A 1x1 convolution of every pixel sees an image of one row.
fn flat(geometry: &Convolution) -> Convolution {
    if !(geometry.rows.is_identity() && geometry.columns.is_identity()) {
        return *geometry;
    }
    let one = Window { kernel: 1, stride: 1, dilation: 1, before: 0, input: 1, output: 1 };
    let pixels = area(geometry, |w| w.input);
    Convolution { rows: one, columns: Window { input: pixels, output: pixels, ..one }, ..*geometry }
}

/// What an image takes besides its non-zeros: for the cost model.
pub(super) struct Work {
    pub tiles: usize,
    /// Of outputs.
    pub registers: usize,
    /// Whether what is read under a tile stays in a first cache.
    pub is_near: bool,
    /// Blocks of input channels.
    pub blocks: usize,
    /// Numbers that are copied.
    pub copied: usize,
    /// Rows that are copied one by one.
    pub rows: usize,
}

impl Work {
    /// With registers of `lanes` numbers, and input channels `in_blocks` or not.
    pub fn of(geometry: &Convolution, lanes: usize, in_blocks: bool) -> Self {
        let geometry = flat(geometry);
        let Plan { band, registers, block, is_near } = Plan::of(&geometry, lanes, in_blocks);
        let (rows, columns) = band.outputs();
        let bands = geometry.rows.output.div_ceil(rows) * geometry.columns.output.div_ceil(columns);
        Self {
            tiles: bands * Tiles::of(rows * columns, (lanes, registers)).count,
            registers: bands * (rows * columns).div_ceil(lanes),
            is_near,
            blocks: (geometry.in_channels / geometry.groups).div_ceil(block),
            copied: bands.saturating_mul(band.len(geometry.in_channels)),
            rows: bands.saturating_mul(band.rows(geometry.in_channels)),
        }
    }
}

/// How a convolution is cut.
struct Plan {
    band: Band,
    /// Of a tile, at most.
    registers: usize,
    /// Input channels of a group whose taps are run through together, for all output channels.
    block: usize,
    /// Whether what these read under a tile stays in a first cache.
    is_near: bool,
}

impl Plan {
    /// With registers of `lanes` numbers; if it is to be `in_blocks`, input channels in as many as what they read under a tile
    /// stays in a first cache, though sums are then read and written again for each.
    fn of(geometry: &Convolution, lanes: usize, in_blocks: bool) -> Self {
        let (rows, columns) = (geometry.rows, geometry.columns);
        let bytes =
            |outputs| Band::new(rows, columns, outputs).len(geometry.in_channels).saturating_mul(size_of::<f32>());
        // Halves until it fits or is a small tile: first the rows, then the columns of a single row.
        let least = WIDE / 2 * lanes;
        let is_large = |outputs: (usize, usize)| outputs.0 * outputs.1 > least && bytes(outputs) > BAND;
        let mut outputs = (rows.output, columns.output);
        while outputs.0 > 1 && is_large(outputs) {
            outputs.0 = outputs.0.div_ceil(2);
        }
        while outputs.0 == 1 && is_large(outputs) {
            outputs.1 = outputs.1.div_ceil(2).next_multiple_of(least).min(outputs.1 - 1);
        }
        let in_group = geometry.in_channels / geometry.groups;
        let read = |registers: usize| {
            let under = (registers * lanes).min(outputs.0 * outputs.1) + (rows.kernel - 1) * outputs.1;
            columns.kernel.saturating_mul(under).saturating_mul(size_of::<f32>())
        };
        let fits = |registers: &usize| in_group.saturating_mul(read(*registers)) <= TILE;
        let (registers, most) = match (WIDE / 2..=WIDE).rev().find(fits) {
            Some(registers) => (registers, in_group),
            None if in_blocks => (WIDE, (TILE / read(WIDE)).max(1)),
            None => (WIDE / 2, in_group),
        };
        // Blocks of one size.
        let block = in_group.div_ceil(in_group.div_ceil(most));
        let is_near = block.saturating_mul(read(registers)) <= TILE;
        Self { band: Band::new(rows, columns, outputs), registers, block, is_near }
    }
}

/// Equal tiles of a stretch of outputs.
struct Tiles {
    count: usize,
    /// Registers of each but the last, which may have fewer.
    registers: usize,
}

impl Tiles {
    fn of(outputs: usize, (lanes, most): (usize, usize)) -> Self {
        let registers = outputs.div_ceil(lanes);
        let each = registers.div_ceil(registers.div_ceil(most).max(1)).max(1);
        Self { count: registers.div_ceil(each), registers: each }
    }
}

/// Numbers of a register of this machine.
fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// All outputs; tasks write to different places of them.
struct Planes {
    y: *mut f32,
    len: usize,
}

// SAFETY: each task reads and writes the outputs of its image, tiles and channels, which no other task has.
unsafe impl Sync for Planes {}

/// Some channels of some tiles of a band.
struct OfBand<'a> {
    all: &'a SparseConvolution,
    /// The image, and where its outputs start.
    image: (&'a [f32], usize),
    /// First row and column of the outputs.
    corner: (usize, usize),
    /// Rows and columns of them.
    outputs: (usize, usize),
    /// Which part of the tiles, of how many.
    cut: (usize, usize),
    channels: Range<usize>,
    bias: Option<&'a [f32]>,
    ending: Ending,
    out: &'a Planes,
    band: &'a mut [f32],
}

impl WithSimd for OfBand<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (lanes, _) = self.all.tile;
        assert_eq!(lanes, S::F32_LANES, "the machine has not changed");
        // Rows of outputs lie one behind the other, here as there: a band of several rows has all columns.
        let outputs = self.outputs.0 * self.outputs.1;
        let tiles = Tiles::of(outputs, self.all.tile);
        let of = |cut| cut * tiles.count / self.cut.1 * tiles.registers;
        let (first, end) = (of(self.cut.0), of(self.cut.0 + 1).min(outputs.div_ceil(lanes)));
        if first >= end || self.channels.is_empty() {
            return;
        }
        let rows = first * lanes / self.outputs.1..(end * lanes).min(outputs).div_ceil(self.outputs.1);
        self.all.band.fill(self.image.0, self.corner, rows, self.band);
        for register in (first..end).step_by(tiles.registers) {
            let from = register * lanes;
            let count = (outputs - from).min(tiles.registers * lanes);
            match count.div_ceil(lanes) {
                1 => self.tile::<S, 1, 8>(simd, from, count),
                2 => self.tile::<S, 2, 4>(simd, from, count),
                3 => self.tile::<S, 3, 2>(simd, from, count),
                4 => self.tile::<S, 4, 2>(simd, from, count),
                5 => self.tile::<S, 5, 2>(simd, from, count),
                6 => self.tile::<S, 6, 2>(simd, from, count),
                7 => self.tile::<S, 7, 1>(simd, from, count),
                _ => self.tile::<S, WIDE, 1>(simd, from, count),
            }
        }
    }
}

impl OfBand<'_> {
    /// `count` outputs of all channels, N registers, the last of which may hang over; U non-zeros side by side, so that no
    /// sum waits for the one before.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const U: usize>(&self, simd: S, from: usize, count: usize) {
        let shape = &self.all.geometry;
        let plane = area(shape, |w| w.output);
        assert!(from + self.all.furthest + N * S::F32_LANES <= self.band.len(), "all taps read within the band");
        let to = self.image.1 + self.corner.0 * shape.columns.output + self.corner.1 + from;
        let blocks = self.all.ends.len() / shape.out_channels;
        for block in 0..blocks {
            for channel in self.channels.clone() {
                let to = to + channel * plane;
                assert!(to + count <= self.out.len, "outputs lie in their images");
                // SAFETY: `count` outputs from `to` on are within y, as asserted; no other task has them.
                let y = unsafe { Row { start: self.out.y.add(to), count } };
                let mut sums = if block > 0 {
                    y.load(simd)
                } else {
                    [simd.splat_f32s(self.bias.map_or(0.0, |bias| bias[channel])); N]
                };
                self.add::<S, N, U>(simd, block * shape.out_channels + channel, from, &mut sums);
                if block + 1 == blocks {
                    for sum in &mut sums {
                        *sum = self.ending.of_vector(simd, *sum);
                    }
                }
                y.store::<S, N>(sums);
            }
        }
    }

    /// Adds the non-zeros of one block and channel; those of the last register read within the band.
    #[inline(always)]
    fn add<S: Simd, const N: usize, const U: usize>(&self, simd: S, taps: usize, from: usize, sums: &mut [S::f32s; N]) {
        let start = if taps == 0 { 0 } else { self.all.ends[taps - 1] as usize };
        let (taps, rest) = self.all.taps[start..self.all.ends[taps] as usize].as_chunks::<U>();
        let band = self.band[from..].as_ptr();
        let at = |n: usize, tap: &Tap| {
            // SAFETY: the furthest tap of the last register ends within the band, as `tile` asserts.
            unsafe { band.add(tap.offset as usize + n * S::F32_LANES).cast::<S::f32s>().read_unaligned() }
        };
        let mut side = [[simd.splat_f32s(0.0); N]; U];
        side[0] = *sums;
        for taps in taps {
            for u in 0..U {
                let value = simd.splat_f32s(taps[u].value);
                for (n, sum) in side[u].iter_mut().enumerate() {
                    *sum = simd.mul_add_e_f32s(value, at(n, &taps[u]), *sum);
                }
            }
        }
        for tap in rest {
            let value = simd.splat_f32s(tap.value);
            for (n, sum) in side[0].iter_mut().enumerate() {
                *sum = simd.mul_add_e_f32s(value, at(n, tap), *sum);
            }
        }
        *sums = side[0];
        for other in &side[1..] {
            for (sum, other) in sums.iter_mut().zip(other) {
                *sum = simd.add_f32s(*sum, *other);
            }
        }
    }
}

/// Outputs of one channel under a tile, which belong to one task.
struct Row {
    start: *mut f32,
    count: usize,
}

impl Row {
    /// How many numbers of the last of N registers are among them.
    #[inline(always)]
    fn last<S: Simd, const N: usize>(&self) -> usize {
        self.count - (N - 1) * S::F32_LANES
    }

    /// N registers; 0 behind the last output.
    #[inline(always)]
    fn load<S: Simd, const N: usize>(&self, simd: S) -> [S::f32s; N] {
        let mut registers = [simd.splat_f32s(0.0); N];
        let last = self.last::<S, N>();
        for (n, register) in registers.iter_mut().enumerate() {
            // SAFETY: `count` numbers from `start` on can be read, and no more are.
            unsafe {
                let from = self.start.add(n * S::F32_LANES);
                if n + 1 < N || last == S::F32_LANES {
                    *register = from.cast::<S::f32s>().read_unaligned();
                } else {
                    std::ptr::copy_nonoverlapping(from, (&raw mut *register).cast::<f32>(), last);
                }
            }
        }
        registers
    }

    /// The first `count` numbers of N registers.
    #[inline(always)]
    fn store<S: Simd, const N: usize>(&self, registers: [S::f32s; N]) {
        let last = self.last::<S, N>();
        for (n, register) in registers.into_iter().enumerate() {
            // SAFETY: `count` numbers from `start` on can be written, and no more are.
            unsafe {
                let to = self.start.add(n * S::F32_LANES);
                if n + 1 < N || last == S::F32_LANES {
                    to.cast::<S::f32s>().write_unaligned(register);
                } else {
                    std::ptr::copy_nonoverlapping((&raw const register).cast::<f32>(), to, last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dense;
    use super::*;
    use crate::window::Padding;

    /// As the formula reads, over the weights that are there; with the sum of the sizes of the terms.
    fn reference(c: &Convolution, x: &[f32], w: &[f32], bias: &[f32], ending: Ending) -> Vec<(f64, f64)> {
        let (in_group, out_group) = (c.in_channels / c.groups, c.out_channels / c.groups);
        let mut y = Vec::new();
        for image in 0..c.images {
            for o in 0..c.out_channels {
                for row in 0..c.rows.output {
                    for column in 0..c.columns.output {
                        let bias = f64::from(bias[o]);
                        let (mut sum, mut sizes) = (bias, bias.abs());
                        for i in 0..in_group {
                            for ky in c.rows.taps(row) {
                                for kx in c.columns.taps(column) {
                                    let channel = image * c.in_channels + o / out_group * in_group + i;
                                    let at = (c.rows.position(row, ky), c.columns.position(column, kx));
                                    let x = x[(channel * c.rows.input + at.0) * c.columns.input + at.1];
                                    let w = w[((o * in_group + i) * c.rows.kernel + ky) * c.columns.kernel + kx];
                                    if w != 0.0 {
                                        let term = f64::from(w) * f64::from(x);
                                        sum += term;
                                        sizes += term.abs();
                                    }
                                }
                            }
                        }
                        y.push((f64::from(ending.of(sum as f32)), sizes));
                    }
                }
            }
        }
        y
    }

    fn close(y: &[f32], expected: &[(f64, f64)]) -> Result<(), TestCaseError> {
        prop_assert_eq!(y.len(), expected.len());
        for (i, (&y, &(value, sizes))) in y.iter().zip(expected).enumerate() {
            let error = (f64::from(y) - value).abs();
            prop_assert!(error <= 1e-5 * sizes + 1e-30, "{}: {} instead of {}", i, y, value);
        }
        Ok(())
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 + 0.5;
        (0..count as u32).map(|i| number(i) / (1 << 23) as f32 - 1.0).collect()
    }

    fn windows() -> impl Strategy<Value = Window> {
        let window = (1..40_usize, 1..6_usize, 1..5_usize, 1..3_usize, 0..4_usize, 0..4_usize);
        let any = window.prop_filter_map("nothing fits", |(input, kernel, stride, dilation, before, after)| {
            Window::new(input, kernel, stride, dilation, Padding::Explicit { before, after })
        });
        let pointwise = (1..40_usize).prop_filter_map("", |input| Window::new(input, 1, 1, 1, Padding::Valid));
        prop_oneof![3 => any, 1 => pointwise]
    }

    fn convolutions() -> impl Strategy<Value = Convolution> {
        let channels = (1..4_usize, 1..12_usize, 1..12_usize);
        let plain = (0..4_usize, channels, windows(), windows());
        let plain = plain.prop_map(|(images, (groups, i, o), rows, columns)| Convolution {
            images,
            in_channels: groups * i,
            out_channels: groups * o,
            groups,
            rows,
            columns,
        });
        // Large enough for several bands.
        let large = (100..300_usize, 1..6_usize, 20..40_usize, 1..4_usize, 1..3_usize).prop_filter_map(
            "nothing fits",
            |(in_channels, out_channels, side, kernel, stride)| {
                let window = Window::new(side, kernel, stride, 1, Padding::Same)?;
                Some(Convolution { images: 1, in_channels, out_channels, groups: 1, rows: window, columns: window })
            },
        );
        // Whose rows are large.
        let wide = (100..300_usize, 1..4_usize, 3..8_usize, 65..300_usize, 1..3_usize).prop_filter_map(
            "nothing fits",
            |(in_channels, out_channels, height, width, stride)| {
                let [rows, columns] = [height, width].map(|side| Window::new(side, 3, stride, 1, Padding::Same));
                Some(Convolution { images: 1, in_channels, out_channels, groups: 1, rows: rows?, columns: columns? })
            },
        );
        prop_oneof![14 => plain, 2 => large, 1 => wide]
    }

    fn pruned(c: &Convolution, density: f64, pattern: usize, seed: u32) -> Vec<f32> {
        let taps = c.rows.kernel * c.columns.kernel;
        let kept = |place: usize| {
            let mixed = (place as u32).wrapping_mul(0x9e37_79b9).wrapping_add(seed).wrapping_mul(0x85eb_ca6b);
            f64::from(mixed >> 8) / f64::from(1 << 24) < density
        };
        let place = |i: usize| match pattern {
            0 => i,
            // Whole kernels; whole outputs; whole taps.
            1 => i / taps,
            2 => i / (taps * (c.in_channels / c.groups)),
            _ => i % taps,
        };
        let weights = numbers(c.weights_len(), seed).into_iter().enumerate();
        weights.map(|(i, w)| if kept(place(i)) { w } else { 0.0 }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn equals_the_formula(
            c in convolutions(), density in prop_oneof![Just(0.0), Just(1.0), 0.0..1.0], pattern in 0..4_usize,
            seed in any::<u32>(), ending in prop_oneof![Just(Ending::None), Just(Ending::Relu), Just(Ending::Relu6)],
            threads in prop_oneof![Just(1_usize), Just(2), Just(7)],
        ) {
            let w = pruned(&c, density, pattern, seed);
            let (x, bias) = (numbers(c.input_len(), 5), numbers(c.out_channels, 6));
            let expected = reference(&c, &x, &w, &bias, ending);
            let mut y = vec![9.0; c.output_len()];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let packed = SparseConvolution::pack(&w, &c);
            pool.install(|| packed.run(&x, Some(&bias), ending, &mut y));
            close(&y, &expected)?;
            dense::convolution(&c, &x, &w, Some(&bias), ending, &mut y);
            close(&y, &expected)?;
            prop_assert_eq!(packed.nonzeros(), w.iter().filter(|w| **w != 0.0).count());
        }

        #[test]
        fn absent_weights_add_nothing_under_any_input(c in convolutions(), pattern in 0..4_usize, seed in any::<u32>()) {
            let w = pruned(&c, 0.3, pattern, seed);
            let mut x = numbers(c.input_len(), 5);
            x.iter_mut().step_by(7).for_each(|x| *x = f32::NAN);
            let expected = reference(&c, &x, &w, &vec![0.0; c.out_channels], Ending::None);
            let mut y = vec![9.0; c.output_len()];
            SparseConvolution::pack(&w, &c).run(&x, None, Ending::None, &mut y);
            for (y, (expected, _)) in y.iter().zip(expected) {
                prop_assert_eq!(y.is_nan(), expected.is_nan());
            }
        }
    }

    #[test]
    fn a_kernel_of_millions_of_taps_does_not_fit() {
        let one = Window::new(1, 1, 1, 1, Padding::Valid).unwrap();
        let fits = |kernel: usize| {
            let columns = Window::new(2 * kernel, kernel, 1, 1, Padding::Valid).unwrap();
            let (in_channels, out_channels) = (1, 1);
            SparseConvolution::fits(&Convolution {
                images: 1,
                in_channels,
                out_channels,
                groups: 1,
                rows: one,
                columns,
            })
        };
        assert!(fits(3) && fits(1000) && !fits(4 << 20));
    }

    #[test]
    fn many_channels_come_in_blocks_where_there_are_non_zeros_enough() {
        let window = Window::new(32, 3, 1, 1, Padding::Same).unwrap();
        let blocks = |channels, density| {
            let (in_channels, out_channels) = (channels, channels);
            let c = Convolution { images: 1, in_channels, out_channels, groups: 1, rows: window, columns: window };
            SparseConvolution::pack(&pruned(&c, density, 0, 3), &c).ends.len() / channels
        };
        assert!(blocks(64, 0.5) > 1);
        assert_eq!((blocks(64, 0.01), blocks(8, 0.5)), (1, 1));
    }

    #[test]
    fn equal_to_the_bit_on_any_number_of_threads() {
        for (channels, side, kernel, stride) in [(64, 32, 3, 1), (256, 28, 1, 1), (32, 33, 3, 2), (16, 8, 3, 1)] {
            let window = Window::new(side, kernel, stride, 1, Padding::Same).unwrap();
            let c = Convolution {
                images: 2,
                in_channels: channels,
                out_channels: channels,
                groups: 1,
                rows: window,
                columns: window,
            };
            let (x, w) = (numbers(c.input_len(), 5), pruned(&c, 0.2, 0, 3));
            let packed = SparseConvolution::pack(&w, &c);
            let on = |threads| {
                let mut y = vec![0.0; c.output_len()];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| packed.run(&x, None, Ending::Relu, &mut y));
                y
            };
            assert!(on(1) == on(2) && on(1) == on(7));
        }
    }
}
