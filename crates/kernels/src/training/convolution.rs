//! 2-d convolution, and so 1-d with a height of one: y = x ∗ w + b, and the gradients of its three operands.
//!
//! Forward, a tile of neighbouring outputs and a few channels stays in registers while the taps run by. Their vectors are
//! read in the padded image; where rows are shorter than a vector, a panel of outputs gathers its taps into a small matrix
//! (never the whole of im2col). The gradient of the input is again such a gathering, one for each residue of the stride:
//! of the outputs, with the taps that reach an input of that residue. The gradient of the weights keeps a tile of them in
//! registers while all pixels of an image run by; nothing is gathered at all.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::correlation::{CHANNELS, Correlate};
use super::function::vectors;
use super::lanes::dispatch_for_rows;
use super::padded::Padded;
use super::tile::{ROWS, VECTORS, block, by_rows, outer, outer_of_image};
use crate::window::Window;

/// Steps of the reduction for which a panel is gathered: with 24 columns of f32 it is 24 kB, and stays in L1.
const DEPTH: usize = 256;
/// Numbers that are copied at once when a panel is gathered.
const COPY: usize = 8;
/// Into how many parts the images are cut whose weight gradients are summed apart. Fixed, so that no sum depends on threads.
const PARTS: usize = 8;
/// Passes of less multiply-adds stay on the caller's thread: waking another takes as long.
const WORTH_THREADS: usize = 1 << 20;

/// A convolution of images `[images, in_channels, height, width]` to `[images, out_channels, height', width']` with
/// weights `[out_channels, in_channels / groups, kernel rows, kernel columns]`.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// How many images.
    pub images: usize,
    /// Channels of an input.
    pub in_channels: usize,
    /// Channels of an output.
    pub out_channels: usize,
    /// Groups of channels that do not see each other; divides both numbers of channels.
    pub groups: usize,
    /// Along the height.
    pub rows: Window,
    /// Along the width.
    pub columns: Window,
}

impl Convolution {
    /// Numbers of the input.
    pub fn input_len(&self) -> usize {
        self.images * self.in_channels * self.in_plane()
    }

    /// Numbers of the output.
    pub fn output_len(&self) -> usize {
        self.images * self.out_channels * self.out_plane()
    }

    /// Numbers of the weights.
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.in_group() * self.taps()
    }

    pub(super) fn in_plane(&self) -> usize {
        self.rows.input * self.columns.input
    }

    pub(super) fn out_plane(&self) -> usize {
        self.rows.output * self.columns.output
    }

    fn taps(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    pub(super) fn in_group(&self) -> usize {
        self.in_channels / self.groups
    }

    pub(super) fn out_group(&self) -> usize {
        self.out_channels / self.groups
    }

    /// y = x ∗ w + b. `bias`: one per output channel, or empty.
    pub fn forward(&self, input: &[f32], weights: &[f32], bias: &[f32], output: &mut [f32]) {
        debug_assert_eq!(
            (input.len(), weights.len(), output.len()),
            (self.input_len(), self.weights_len(), self.output_len())
        );
        debug_assert!(bias.is_empty() || bias.len() == self.out_channels);
        self.prepare(weights).run(input, bias, output);
    }

    /// Packs the weights once, for many runs forward.
    pub fn prepare(&self, weights: &[f32]) -> Forward {
        debug_assert_eq!(weights.len(), self.weights_len());
        let padded = Padded::new(self.rows, self.columns);
        let reduction = self.in_group() * self.taps();
        let part = part(self.images * self.groups, self.out_group());
        let pass = Pass {
            offsets: self.offsets(&padded),
            weights: packed(self.groups, (self.out_group(), part), reduction, |group, o, k| {
                weights[(group * self.out_group() + o) * reduction + k]
            }),
            rows: self.rows.output,
            columns: self.columns.output,
            step: padded.row(),
            place: Place { start: 0, row: self.columns.output, column: 1 },
        };
        Forward { shape: *self, padded, part, pass }
    }

    /// ∂L/∂x from ∂L/∂y.
    pub fn backward_input(&self, output_gradient: &[f32], weights: &[f32], input_gradient: &mut [f32]) {
        debug_assert_eq!(
            (output_gradient.len(), weights.len(), input_gradient.len()),
            (self.output_len(), self.weights_len(), self.input_len())
        );
        let (rows, columns) = (residues(&self.rows), residues(&self.columns));
        let (vertical, horizontal) = (reach(&rows, self.rows.output), reach(&columns, self.columns.output));
        let padded = Padded::new(vertical, horizontal);
        let (in_group, out_group) = (self.in_group(), self.out_group());
        let width = self.columns.input;
        let part = part(self.images * self.groups, in_group);
        let mut passes = Vec::new();
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                let taps: Vec<_> = row.taps.iter().flat_map(|r| column.taps.iter().map(move |c| (*r, *c))).collect();
                let at = |offset: isize, before: usize| (offset + before as isize) as usize;
                let tap = |channel, (r, c): (Tap, Tap)| {
                    padded.tap(channel, at(r.offset, vertical.before), at(c.offset, horizontal.before))
                };
                let weight = |group: usize, i: usize, k: usize| {
                    let (o, (r, c)) = (k / taps.len(), taps[k % taps.len()]);
                    let channel = (group * out_group + o) * in_group + i;
                    weights[(channel * self.rows.kernel + r.kernel) * self.columns.kernel + c.kernel]
                };
                passes.push(Pass {
                    offsets: (0..out_group).flat_map(|o| taps.iter().map(move |&taps| tap(o, taps))).collect(),
                    weights: packed(self.groups, (in_group, part), out_group * taps.len(), weight),
                    rows: row.outputs,
                    columns: column.outputs,
                    step: padded.row(),
                    place: Place { start: y * width + x, row: self.rows.stride * width, column: self.columns.stride },
                });
            }
        }
        Gathering {
            padded,
            groups: self.groups,
            channels: (out_group, in_group),
            planes: (self.out_plane(), self.in_plane()),
            part,
            passes: &passes,
        }
        .run(output_gradient, &[], input_gradient);
    }

    /// ∂L/∂w from x and ∂L/∂y.
    pub fn backward_weights(&self, input: &[f32], output_gradient: &[f32], weights_gradient: &mut [f32]) {
        debug_assert_eq!(
            (input.len(), output_gradient.len(), weights_gradient.len()),
            (self.input_len(), self.output_len(), self.weights_len())
        );
        let padded = Padded::new(self.rows, self.columns);
        let offsets = self.offsets(&padded);
        let arch = Arch::new();
        let images = self.images.div_ceil(PARTS).max(1);
        let (input_part, output_part) =
            (images * self.in_channels * self.in_plane(), images * self.out_channels * self.out_plane());
        let parts: Vec<Vec<f32>> = input
            .par_chunks(input_part.max(1))
            .zip(output_gradient.par_chunks(output_part.max(1)))
            .map(|(input, output_gradient)| {
                let mut transposed =
                    vec![0.0; self.groups * offsets.len() * self.out_group().next_multiple_of(CHANNELS)];
                arch.dispatch(Correlate {
                    shape: self,
                    padded,
                    offsets: &offsets,
                    input,
                    output_gradient,
                    sums: &mut transposed,
                });
                transposed
            })
            .collect();
        let transposed = parts.into_iter().reduce(|mut total, part| {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            total
        });
        let Some(transposed) = transposed else { return weights_gradient.fill(0.0) };
        let (reduction, out_group) = (offsets.len(), self.out_group());
        let pitch = out_group.next_multiple_of(CHANNELS);
        for (o, gradient) in weights_gradient.chunks_exact_mut(reduction.max(1)).enumerate() {
            let column = &transposed[o / out_group * reduction * pitch + o % out_group..];
            for (gradient, sum) in gradient.iter_mut().zip(column.iter().step_by(pitch)) {
                *gradient = *sum;
            }
        }
    }

    /// ∂L/∂b from ∂L/∂y.
    pub fn backward_bias(&self, output_gradient: &[f32], bias_gradient: &mut [f32]) {
        let plane = self.out_plane();
        bias_gradient.par_iter_mut().enumerate().for_each(|(channel, gradient)| {
            let planes = output_gradient.chunks_exact(plane).skip(channel).step_by(self.out_channels);
            *gradient = planes.map(super::norm::sum).sum();
        });
    }

    /// Where each step of the reduction (channel of the group, tap) reads.
    fn offsets(&self, padded: &Padded) -> Vec<usize> {
        let taps = |channel| {
            (0..self.rows.kernel).flat_map(move |ky| (0..self.columns.kernel).map(move |kx| (channel, ky, kx)))
        };
        (0..self.in_group()).flat_map(taps).map(|(channel, ky, kx)| padded.tap(channel, ky, kx)).collect()
    }
}

/// [`Convolution::forward`] with weights that are packed.
#[derive(Debug, Clone)]
pub struct Forward {
    shape: Convolution,
    padded: Padded,
    part: usize,
    pass: Pass,
}

impl Forward {
    /// y = x ∗ w + b. `bias`: one per output channel, or empty.
    pub fn run(&self, input: &[f32], bias: &[f32], output: &mut [f32]) {
        let Self { shape, padded, part, pass } = self;
        debug_assert_eq!((input.len(), output.len()), (shape.input_len(), shape.output_len()));
        debug_assert!(bias.is_empty() || bias.len() == shape.out_channels);
        Gathering {
            padded: *padded,
            groups: shape.groups,
            channels: (shape.in_group(), shape.out_group()),
            planes: (shape.in_plane(), shape.out_plane()),
            part: *part,
            passes: std::slice::from_ref(pass),
        }
        .run(input, bias, output);
    }
}

/// A tap that reaches the inputs of a residue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    pub kernel: usize,
    /// Of the output that it reads, from the number of the input within its residue.
    pub offset: isize,
}

/// The inputs a, a + stride, …, seen from the gradient of the outputs.
pub(super) struct Residue {
    pub outputs: usize,
    pub taps: Vec<Tap>,
}

/// Input i · stride + a is read by output i + (a + before − k · dilation) / stride under tap k, where that is whole.
pub(super) fn residues(window: &Window) -> Vec<Residue> {
    let stride = window.stride as isize;
    let residue = |a: usize| {
        let distance = |k: usize| (a + window.before) as isize - (k * window.dilation) as isize;
        let reaches = (0..window.kernel).filter(|&k| distance(k).rem_euclid(stride) == 0);
        Residue {
            outputs: window.input.saturating_sub(a).div_ceil(window.stride),
            taps: reaches.map(|k| Tap { kernel: k, offset: distance(k).div_euclid(stride) }).collect(),
        }
    };
    (0..window.stride).map(residue).collect()
}

/// The window over `input` output gradients that all residues read.
pub(super) fn reach(residues: &[Residue], input: usize) -> Window {
    let offsets = || residues.iter().flat_map(|residue| &residue.taps).map(|tap| tap.offset);
    let (least, most) = (offsets().min().unwrap_or(0).min(0), offsets().max().unwrap_or(0).max(0));
    let output = residues.iter().map(|residue| residue.outputs).max().unwrap_or(1).max(1);
    let kernel = (most - least) as usize + 1;
    Window { kernel, stride: 1, dilation: 1, before: least.unsigned_abs(), input, output }
}

/// How many channels one task gives: all, unless there are few tasks; then each part that has a thread reads the image for
/// itself.
fn part(tasks: usize, channels: usize) -> usize {
    let parts = if tasks < PARTS { PARTS / tasks.max(1) } else { 1 };
    channels.div_ceil(parts).next_multiple_of(ROWS).min(channels).max(1)
}

/// Weights as tiles read them: `[group][block of each part][reduction][rows of the block]`.
fn packed(
    groups: usize,
    (channels, part): (usize, usize),
    reduction: usize,
    weight: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    let mut packed = Vec::with_capacity(groups * channels * reduction);
    for group in 0..groups {
        for first in (0..channels).step_by(part) {
            let of_part = part.min(channels - first);
            for index in 0..of_part.div_ceil(ROWS) {
                let (row, rows) = block(of_part, index);
                for k in 0..reduction {
                    packed.extend((0..rows).map(|i| weight(group, first + row + i, k)));
                }
            }
        }
    }
    packed
}

/// Where the outputs of a pass lie in their plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub start: usize,
    pub row: usize,
    pub column: usize,
}

/// Outputs that all gather the same taps.
#[derive(Debug, Clone)]
struct Pass {
    /// Where each step of the reduction reads, for the first output.
    offsets: Vec<usize>,
    weights: Vec<f32>,
    rows: usize,
    columns: usize,
    /// From one row of outputs to the next, in the padded image.
    step: usize,
    place: Place,
}

/// All passes over all images.
struct Gathering<'a> {
    padded: Padded,
    groups: usize,
    /// Of a group: gathered, and given.
    channels: (usize, usize),
    planes: (usize, usize),
    /// Channels that one task gives.
    part: usize,
    passes: &'a [Pass],
}

impl Gathering<'_> {
    fn run(&self, input: &[f32], bias: &[f32], output: &mut [f32]) {
        let (gathered, given) = self.channels;
        let (from, to) = (gathered * self.planes.0, given * self.planes.1);
        if from == 0 || to == 0 {
            return output.fill(0.0);
        }
        let part = self.part;
        let columns = self.passes.iter().map(|pass| pass.columns).max().unwrap_or(0);
        let of_image = |scratch: &mut Scratch, task: usize, at: usize, output: &mut [f32]| {
            let group = task % self.groups;
            let bias = bias.get(group * given + at * part..).unwrap_or(&[]);
            dispatch_for_rows(columns, OfImage { all: self, group, first: at * part, bias, output, scratch });
        };
        let fill = |scratch: &mut Scratch, input: &[f32]| {
            vectors(
                #[inline(always)]
                || self.padded.fill(input, &mut scratch.image),
            );
        };
        let per_image: usize = self.passes.iter().map(|p| p.rows * p.columns * p.offsets.len() * given).sum();
        if output.len() / to * per_image < WORTH_THREADS || rayon::current_num_threads() == 1 {
            let mut scratch = Scratch::new(self);
            for (task, (output, input)) in output.chunks_mut(to).zip(input.chunks(from)).enumerate() {
                fill(&mut scratch, input);
                for (at, output) in output.chunks_mut(part * self.planes.1).enumerate() {
                    of_image(&mut scratch, task, at, output);
                }
            }
            return;
        }
        let images = output.par_chunks_mut(to).zip(input.par_chunks(from)).enumerate();
        if part == given {
            let scratch = || Scratch::new(self);
            return images.for_each_init(scratch, |scratch, (task, (output, input))| {
                fill(scratch, input);
                of_image(scratch, task, 0, output);
            });
        }
        images.for_each(|(task, (output, input))| {
            output.par_chunks_mut(part * self.planes.1).enumerate().for_each(|(at, output)| {
                let mut scratch = Scratch::new(self);
                fill(&mut scratch, input);
                of_image(&mut scratch, task, at, output);
            });
        });
    }
}

/// What a thread keeps between images.
#[derive(Default)]
struct Scratch {
    /// Zeros where there is padding.
    image: Vec<f32>,
    panel: Vec<f32>,
    sums: Vec<f32>,
}

impl Scratch {
    fn new(all: &Gathering<'_>) -> Self {
        Self { image: vec![0.0; all.padded.len(all.channels.0)], ..Self::default() }
    }
}

/// Some output channels, from `first` on, of one group of one image, which is in `scratch`.
struct OfImage<'a> {
    all: &'a Gathering<'a>,
    group: usize,
    first: usize,
    bias: &'a [f32],
    output: &'a mut [f32],
    scratch: &'a mut Scratch,
}

/// Neighbouring outputs of one row in a panel.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// Column of the panel.
    to: usize,
    /// In the padded image, for a tap at 0.
    from: usize,
    length: usize,
}

impl WithSimd for OfImage<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for pass in self.all.passes {
            let reduction = pass.offsets.len();
            let weights = &pass.weights[(self.group * self.all.channels.1 + self.first) * reduction..];
            if pass.columns >= S::F32_LANES {
                self.in_image(simd, pass, weights);
            } else {
                self.in_panels(simd, pass, weights);
            }
        }
    }
}

impl OfImage<'_> {
    fn channels(&self) -> usize {
        self.output.len() / self.all.planes.1
    }

    /// Rows of outputs are at least a vector long: all are read where they lie in the padded image. The last vector of a row
    /// ends with it, and may compute some outputs again.
    #[inline(always)]
    fn in_image<S: Simd>(&mut self, simd: S, pass: &Pass, weights: &[f32]) {
        let (lanes, channels, reduction) = (S::F32_LANES, self.channels(), pass.offsets.len());
        for index in 0..channels.div_ceil(ROWS) {
            let (first, rows) = block(channels, index);
            let weights = &weights[first * reduction..][..rows * reduction];
            let mut at = Spot::default();
            while at.row < pass.rows {
                let one = at.step(pass, lanes);
                if at.row < pass.rows {
                    let spots = [one, at.step(pass, lanes)];
                    by_rows!(rows, self.tile::<S, M, 2>(simd, pass, weights, first, spots));
                } else {
                    by_rows!(rows, self.tile::<S, M, 1>(simd, pass, weights, first, [one]));
                }
            }
        }
    }

    /// M channels from `first` on, N vectors of outputs.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        pass: &Pass,
        weights: &[f32],
        first: usize,
        spots: [Spot; N],
    ) {
        let mut tile = [[simd.splat_f32s(0.0); N]; M];
        if !self.bias.is_empty() {
            for (tile, &bias) in tile.iter_mut().zip(&self.bias[first..]) {
                *tile = [simd.splat_f32s(bias); N];
            }
        }
        let mut starts = [0; N];
        for (start, spot) in starts.iter_mut().zip(spots) {
            *start = spot.row * pass.step + spot.column;
        }
        outer_of_image(simd, weights, &self.scratch.image, (&pass.offsets, starts), &mut tile);
        let (plane, place) = (self.all.planes.1, pass.place);
        for (tile, plane) in tile.iter().zip(self.output[first * plane..].chunks_exact_mut(plane)) {
            for (vector, spot) in tile.iter().zip(spots) {
                let plane = &mut plane[place.start + spot.row * place.row + spot.column * place.column..];
                let values: &[f32] = pulp::bytemuck::cast_slice(std::slice::from_ref(vector));
                if place.column == 1 {
                    plane[..values.len()].copy_from_slice(values);
                } else {
                    for (to, value) in plane.iter_mut().step_by(place.column).zip(values) {
                        *to = *value;
                    }
                }
            }
        }
    }

    /// Taps are gathered into panels.
    #[inline(always)]
    fn in_panels<S: Simd>(&mut self, simd: S, pass: &Pass, weights: &[f32]) {
        let lanes = S::F32_LANES;
        let width = VECTORS * lanes;
        let (channels, reduction, pixels) = (self.channels(), pass.offsets.len(), pass.rows * pass.columns);
        let Scratch { image, panel, sums } = &mut *self.scratch;
        panel.resize(DEPTH * width + COPY, 0.0);
        sums.resize(channels * width, 0.0);
        let mut pixel = 0;
        while pixel < pixels {
            let count = width.min(pixels - pixel);
            let vectors = count.div_ceil(lanes);
            let (runs, used) = runs(pass, pixel, count);
            let panel_width = vectors * lanes;
            let sums = &mut sums[..channels * panel_width];
            for (channel, sums) in sums.chunks_exact_mut(panel_width).enumerate() {
                sums.fill(self.bias.get(channel).copied().unwrap_or(0.0));
            }
            for (part, offsets) in pass.offsets.chunks(DEPTH).enumerate() {
                gather(image, offsets, &runs[..used], panel_width, panel);
                let panel = &panel[..offsets.len() * panel_width];
                for index in 0..channels.div_ceil(ROWS) {
                    let (row, rows) = block(channels, index);
                    let weights = &weights[row * reduction + part * DEPTH * rows..][..offsets.len() * rows];
                    let sums = &mut sums[row * panel_width..][..rows * panel_width];
                    match vectors {
                        1 => by_rows!(rows, add_tile::<S, M, 1>(simd, weights, panel, sums)),
                        _ => by_rows!(rows, add_tile::<S, M, VECTORS>(simd, weights, panel, sums)),
                    }
                }
            }
            let planes = self.output.chunks_exact_mut(self.all.planes.1);
            for (plane, sums) in planes.zip(sums.chunks_exact(panel_width)) {
                store(pass, pixel, &sums[..count], plane);
            }
            pixel += count;
        }
    }
}

#[inline(always)]
fn add_tile<S: Simd, const M: usize, const N: usize>(simd: S, weights: &[f32], panel: &[f32], sums: &mut [f32]) {
    let (sums, _) = S::as_mut_simd_f32s(sums);
    let (rows, _) = sums.as_chunks_mut::<N>();
    let Ok(tile) = <&mut [[S::f32s; N]; M]>::try_from(rows) else { unreachable!("a block of sums is a tile") };
    outer(simd, weights, panel, tile);
}

/// Where a vector of outputs begins.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    row: usize,
    column: usize,
}

impl Spot {
    /// Goes on to the next vector; returns this one.
    #[inline(always)]
    fn step(&mut self, pass: &Pass, lanes: usize) -> Self {
        let here = *self;
        self.column += lanes;
        if self.column >= pass.columns {
            *self = Self { row: self.row + 1, column: 0 };
        }
        self.column = self.column.min(pass.columns - lanes);
        here
    }
}

/// The rows of outputs that `count` pixels from `pixel` on lie in; a panel has at most 48 pixels.
#[inline(always)]
fn runs(pass: &Pass, pixel: usize, count: usize) -> ([Run; 48], usize) {
    let mut runs = [Run::default(); 48];
    let (mut used, mut to) = (0, 0);
    let (mut row, mut column) = (pixel / pass.columns, pixel % pass.columns);
    while to < count {
        let length = (pass.columns - column).min(count - to);
        runs[used] = Run { to, from: row * pass.step + column, length };
        (used, to, row, column) = (used + 1, to + length, row + 1, 0);
    }
    (runs, used)
}

/// `panel[k][p]` = what output p reads at step k. Copies whole vectors: what is written beyond a run, the next one
/// overwrites.
#[inline(always)]
fn gather(image: &[f32], offsets: &[usize], runs: &[Run], width: usize, panel: &mut [f32]) {
    for (k, offset) in offsets.iter().enumerate() {
        for run in runs {
            let (from, to) = (&image[offset + run.from..], &mut panel[k * width + run.to..]);
            let mut at = 0;
            while at < run.length {
                // Arrays, whose copy is one load and one store; that of slices may be a call.
                let (Some(from), Some(to)) = (from[at..].first_chunk::<COPY>(), to[at..].first_chunk_mut()) else {
                    unreachable!("image and panel have room for whole vectors")
                };
                *to = *from;
                at += COPY;
            }
        }
    }
}

#[inline(always)]
fn store(pass: &Pass, pixel: usize, sums: &[f32], plane: &mut [f32]) {
    let place = pass.place;
    if place.column == 1 && place.row == pass.columns {
        return plane[place.start + pixel..][..sums.len()].copy_from_slice(sums);
    }
    let (mut row, mut column) = (pixel / pass.columns, pixel % pass.columns);
    for &sum in sums {
        plane[place.start + row * place.row + column * place.column] = sum;
        column += 1;
        if column == pass.columns {
            (row, column) = (row + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::depthwise::Depthwise;
    use super::*;
    use crate::window::Padding;

    /// As the formula reads: every output, tap and channel, given to `at(output, weight, input)`.
    fn each_product(c: &Convolution, mut at: impl FnMut(usize, usize, usize)) {
        let (in_group, out_group) = (c.in_group(), c.out_group());
        for image in 0..c.images {
            for o in 0..c.out_channels {
                for y in 0..c.rows.output {
                    for x in 0..c.columns.output {
                        for i in 0..in_group {
                            for ky in c.rows.taps(y) {
                                for kx in c.columns.taps(x) {
                                    let channel = image * c.in_channels + o / out_group * in_group + i;
                                    let (row, column) = (c.rows.position(y, ky), c.columns.position(x, kx));
                                    at(
                                        ((image * c.out_channels + o) * c.rows.output + y) * c.columns.output + x,
                                        ((o * in_group + i) * c.rows.kernel + ky) * c.columns.kernel + kx,
                                        (channel * c.rows.input + row) * c.columns.input + column,
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32).map(|i| ((i.wrapping_mul(2_654_435_761) ^ seed) % 2_000) as f32 / 1_000.0 - 1.0).collect()
    }

    /// A sum of products, that of their sizes, and how many they are.
    #[derive(Clone, Copy, Default)]
    struct Sum {
        value: f64,
        sizes: f64,
        products: f64,
    }

    impl Sum {
        fn add(&mut self, a: f32, b: f32) {
            let product = f64::from(a) * f64::from(b);
            self.value += product;
            self.sizes += product.abs();
            self.products += 1.0;
        }

        /// The most that rounding may do to a sum of n products in f32, in whatever order: γₙ Σ|aᵢbᵢ|, γₙ = nu / (1 − nu)
        /// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
        fn bound(&self) -> f64 {
            let nu = self.products * f64::from(f32::EPSILON / 2.0);
            nu / (1.0 - nu) * self.sizes
        }
    }

    fn close(a: &[f32], b: &[Sum]) -> Result<(), TestCaseError> {
        prop_assert_eq!(a.len(), b.len());
        for (i, (&a, b)) in a.iter().zip(b).enumerate() {
            let error = (f64::from(a) - b.value).abs();
            prop_assert!(error <= b.bound(), "{}: {} instead of {}", i, a, b.value);
        }
        Ok(())
    }

    fn windows() -> impl Strategy<Value = Window> {
        (1..20_usize, 1..6_usize, 1..4_usize, 1..3_usize, 0..4_usize, 0..4_usize).prop_filter_map(
            "nothing fits",
            |(input, kernel, stride, dilation, before, after)| {
                Window::new(input, kernel, stride, dilation, Padding::Explicit { before, after })
            },
        )
    }

    fn convolutions() -> impl Strategy<Value = Convolution> {
        let channels = (1..4_usize, 1..20_usize, prop_oneof![1..12_usize, 60..70_usize]);
        (0..12_usize, channels, windows(), windows()).prop_map(|(images, (groups, i, o), rows, columns)| Convolution {
            images,
            in_channels: groups * i,
            out_channels: groups * o,
            groups,
            rows,
            columns,
        })
    }

    fn holds(c: &Convolution) -> Result<(), TestCaseError> {
        let (x, w) = (numbers(c.input_len(), 1), numbers(c.weights_len(), 2));
        let (g, b) = (numbers(c.output_len(), 3), numbers(c.out_channels, 4));
        let plane = c.out_plane();
        let mut y = vec![Sum::default(); g.len()];
        let (mut dx, mut dw) = (vec![Sum::default(); x.len()], vec![Sum::default(); w.len()]);
        let mut db = vec![Sum::default(); c.out_channels];
        for o in 0..g.len() {
            y[o].add(1.0, b[o / plane % c.out_channels]);
            db[o / plane % c.out_channels].add(1.0, g[o]);
        }
        each_product(c, |o, k, i| {
            y[o].add(w[k], x[i]);
            dx[i].add(w[k], g[o]);
            dw[k].add(x[i], g[o]);
        });
        let (mut fast_y, mut fast_dx, mut fast_dw) = (vec![9.0; g.len()], vec![9.0; x.len()], vec![9.0; w.len()]);
        c.forward(&x, &w, &b, &mut fast_y);
        c.backward_input(&g, &w, &mut fast_dx);
        c.backward_weights(&x, &g, &mut fast_dw);
        close(&fast_y, &y)?;
        close(&fast_dx, &dx)?;
        close(&fast_dw, &dw)?;
        if c.groups == c.in_channels {
            let (rows, columns) = (c.rows, c.columns);
            let d = Depthwise { channels: c.groups, multiplier: c.out_group(), rows, columns };
            d.forward(&x, &w, &b, &mut fast_y);
            d.backward_input(&g, &w, &mut fast_dx);
            d.backward_weights(&x, &g, &mut fast_dw);
            close(&fast_y, &y)?;
            close(&fast_dx, &dx)?;
            close(&fast_dw, &dw)?;
        }
        let mut fast_db = vec![9.0; c.out_channels];
        c.backward_bias(&g, &mut fast_db);
        close(&fast_db, &db)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn equals_the_formula(c in convolutions()) {
            holds(&c)?;
        }

        #[test]
        fn depthwise_equals_the_formula(c in convolutions()) {
            let (groups, out_channels) = (c.out_channels, c.out_channels * (1 + c.in_channels % 2));
            holds(&Convolution { groups, in_channels: groups, out_channels, ..c })?;
        }
    }

    #[test]
    fn real_sizes_equal_the_formula_on_any_number_of_threads() {
        let window =
            |input, stride| Window::new(input, 3, stride, 1, Padding::Explicit { before: 1, after: 1 }).unwrap();
        for (channels, side, stride) in [((3, 16), 32, 1), ((64, 64), 8, 1), ((16, 32), 32, 2)] {
            let (in_channels, out_channels) = channels;
            let (rows, columns) = (window(side, stride), window(side, stride));
            let c = Convolution { images: 9, in_channels, out_channels, groups: 1, rows, columns };
            holds(&c).unwrap();
            let (x, g) = (numbers(c.input_len(), 5), numbers(c.output_len(), 6));
            let on = |threads| {
                let mut dw = vec![0.0; c.weights_len()];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| c.backward_weights(&x, &g, &mut dw));
                dw
            };
            assert!(on(1) == on(2) && on(1) == on(7));
        }
    }
}
