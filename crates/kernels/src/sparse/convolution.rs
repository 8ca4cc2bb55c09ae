//! A pruned convolution, directly over its non-zeros.
//!
//! A tile of outputs of one channel, up to eight registers of neighbouring pixels, stays in registers while the non-zeros of
//! the channel run by: each is a value and the place under which the padded image is read, and costs a broadcast, and a load
//! and a fused multiply-add per register. Nothing is gathered and no im2col is built; an output is stored once. A 1x1
//! convolution is the product of a sparse matrix and the pixels, and takes the same way with the image as one row (the shape
//! of XNNPACK's `spmm`: Elsen, Dukhan, Gale, Simonyan, *Fast sparse ConvNets*, CVPR 2020).
//!
//! The network is that of Han, Pool, Tran, Dally, *Learning both weights and connections for efficient neural networks*
//! (NeurIPS 2015): its layers keep 12 to 84 % of the weights of convolutions.
//!
//! **Absent weights contribute nothing**, also under an input that is infinite or not a number.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::band::{Band, SLACK};
use super::ending::Ending;
use super::scratch;
use crate::training::convolution::Convolution;
use crate::window::Window;

/// Registers of a tile, at most.
const WIDE: usize = 8;
/// Lanes that tiles are planned for.
const LANES: usize = 8;
/// Bytes of a band: half of a second cache of 512 kB, the rest of which is for the non-zeros.
const BAND: usize = 256 << 10;
/// Bytes that a tile of a flat image may read: a first cache.
const TILE: usize = 32 << 10;
/// Convolutions with less multiply-adds, 150 µs, are not worth a second thread: to wake one takes some 50 µs.
const WORTH_THREADS: usize = 2_500_000;

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
    /// Rows and vectors of a tile.
    tile: (usize, usize),
    ends: Vec<u32>,
    taps: Vec<Tap>,
    /// The largest offset of all taps.
    furthest: usize,
}

impl SparseConvolution {
    /// Packs `weights` `[out channels][in channels / groups][kernel rows][kernel columns]`; a weight that equals 0 is absent.
    /// The number of images of the geometry is not kept.
    ///
    /// # Panics
    /// If `weights` has another length, or the geometry more than 2³² numbers in a band.
    pub fn pack(weights: &[f32], geometry: &Convolution) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "weights are [out][in / groups][rows][columns]");
        let geometry = flat(geometry);
        let (band, tile) = plan(&geometry);
        assert!(band.len(geometry.in_channels) <= u32::MAX as usize, "places are counted in 32 bits");
        let in_group = geometry.in_channels / geometry.groups;
        let out_group = geometry.out_channels / geometry.groups;
        let (rows, columns) = (geometry.rows.kernel, geometry.columns.kernel);
        let (mut ends, mut taps) = (Vec::with_capacity(geometry.out_channels), Vec::new());
        for (o, weights) in weights.chunks_exact((in_group * rows * columns).max(1)).enumerate() {
            for (k, &value) in weights.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                let channel = o / out_group * in_group + k / (rows * columns);
                let offset = band.tap(channel, k / columns % rows, k % columns) as u32;
                taps.push(Tap { value, offset });
            }
            ends.push(taps.len() as u32);
        }
        let furthest = taps.iter().map(|tap| tap.offset as usize).max().unwrap_or(0);
        Self { geometry, band, tile, ends, taps, furthest }
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
        // Where there are few bands, each is cut along its rows, and if these are few, along the channels; then each part is
        // filled for itself.
        let height = self.tile.0;
        let cuts = if serial { 1 } else { (2 * threads).div_ceil(bands.max(1)).min(rows.div_ceil(height)) };
        let part = rows.div_ceil(cuts).next_multiple_of(height);
        let cuts = rows.div_ceil(part);
        let groups = if serial { 1 } else { threads.div_ceil((bands * cuts).max(1)).min(shape.out_channels) };
        let channels = shape.out_channels.div_ceil(groups.max(1));
        let out = Planes { y: y.as_mut_ptr(), len: y.len() };
        let task = |task: usize| {
            let (task, first) = (task / groups, task % groups * channels);
            let (task, cut) = (task / cuts, task % cuts);
            let (image, band) = (task / (down * across), task % (down * across));
            let corner = (band / across * rows, band % across * columns);
            let end = rows.min(shape.rows.output - corner.0);
            let rows = (cut * part).min(end)..((cut + 1) * part).min(end);
            let channels = first.min(shape.out_channels)..(first + channels).min(shape.out_channels);
            if rows.is_empty() || channels.is_empty() {
                return;
            }
            let image = (&x[image * from..][..from], image * to);
            scratch::with(self.band.len(shape.in_channels), |band| {
                Arch::new().dispatch(OfBand {
                    all: self,
                    image,
                    corner,
                    rows,
                    channels,
                    bias,
                    ending,
                    out: &out,
                    band,
                });
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

/// Rows and columns of the outputs of an image, as tiles see them.
pub(super) fn shape(geometry: &Convolution) -> (usize, usize) {
    let flat = flat(geometry);
    (flat.rows.output, flat.columns.output)
}

/// Tiles of an image.
pub(super) fn tiles(geometry: &Convolution) -> usize {
    let (rows, columns) = shape(geometry);
    let (down, across) = plan(&flat(geometry)).1;
    rows.div_ceil(down) * columns.div_ceil(LANES).div_ceil(across)
}

/// The band, and rows and vectors of a tile.
fn plan(geometry: &Convolution) -> (Band, (usize, usize)) {
    let (rows, columns) = (geometry.rows, geometry.columns);
    let vectors = columns.output.div_ceil(LANES);
    let wide = if rows.output == 1 && rows.kernel * columns.kernel == 1 {
        (TILE / (geometry.in_channels * LANES * size_of::<f32>()).max(1)).clamp(WIDE / 2, WIDE)
    } else {
        WIDE
    };
    let across = vectors.div_ceil(vectors.div_ceil(wide));
    let down = (WIDE / across).clamp(1, rows.output);
    let bytes = |outputs| size_of::<f32>() * Band::new(rows, columns, outputs).len(geometry.in_channels);
    let mut outputs = (rows.output, columns.output);
    // Halves until it fits: first the rows, to whole tiles, then the columns.
    while bytes(outputs) > BAND && outputs.0 > down {
        outputs.0 = outputs.0.div_ceil(2).next_multiple_of(down).min(outputs.0 - 1);
    }
    while bytes(outputs) > BAND && outputs.1 > across * LANES {
        outputs.1 = outputs.1.div_ceil(2).next_multiple_of(across * LANES).min(outputs.1 - 1);
    }
    (Band::new(rows, columns, outputs), (down, across))
}

/// All outputs; tasks write to different places of them.
struct Planes {
    y: *mut f32,
    len: usize,
}

// SAFETY: each task writes the outputs of its image, band and channels, which no other task has, and reads none.
unsafe impl Sync for Planes {}

/// Some channels of a band.
struct OfBand<'a> {
    all: &'a SparseConvolution,
    /// The image, and where its outputs start.
    image: (&'a [f32], usize),
    /// First row and column of the outputs.
    corner: (usize, usize),
    /// Of the band.
    rows: std::ops::Range<usize>,
    channels: std::ops::Range<usize>,
    bias: Option<&'a [f32]>,
    ending: Ending,
    out: &'a Planes,
    band: &'a mut [f32],
}

/// Registers of neighbouring outputs.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    /// In the band, for a tap at 0.
    from: usize,
    /// In the plane of outputs.
    to: usize,
}

impl WithSimd for OfBand<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (shape, lanes) = (&self.all.geometry, S::F32_LANES);
        let layout = &self.all.band;
        layout.fill(self.image.0, self.corner, self.rows.clone(), self.band);
        self.band[layout.len(shape.in_channels) - SLACK..].fill(0.0);
        let columns = layout.outputs().1.min(shape.columns.output - self.corner.1);
        let (down, across) = self.all.tile;
        // Vectors of a row; the last ends with it, and may compute some outputs again.
        let vectors = columns.div_ceil(lanes);
        let valid = lanes.min(columns);
        for row in self.rows.clone().step_by(down) {
            for vector in (0..vectors).step_by(across) {
                let mut spots = [Spot::default(); WIDE];
                let mut used = 0;
                for row in row..self.rows.end.min(row + down) {
                    for vector in vector..vectors.min(vector + across) {
                        let column = (vector * lanes).min(columns - valid);
                        spots[used] = Spot {
                            from: row * layout.row() + column,
                            to: (self.corner.0 + row) * shape.columns.output + self.corner.1 + column,
                        };
                        used += 1;
                    }
                }
                match used {
                    1 => self.tile::<S, 1, 8>(simd, &spots, valid),
                    2 => self.tile::<S, 2, 4>(simd, &spots, valid),
                    3 => self.tile::<S, 3, 2>(simd, &spots, valid),
                    4 => self.tile::<S, 4, 2>(simd, &spots, valid),
                    5 => self.tile::<S, 5, 2>(simd, &spots, valid),
                    6 => self.tile::<S, 6, 2>(simd, &spots, valid),
                    7 => self.tile::<S, 7, 1>(simd, &spots, valid),
                    _ => self.tile::<S, WIDE, 1>(simd, &spots, valid),
                }
            }
        }
    }
}

impl OfBand<'_> {
    /// N registers of outputs of all channels; U non-zeros side by side, so that no sum waits for the one before.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const U: usize>(&self, simd: S, spots: &[Spot; WIDE], valid: usize) {
        let shape = &self.all.geometry;
        let plane = area(shape, |w| w.output);
        let last = spots[..N].iter().map(|spot| spot.from).max().unwrap_or(0);
        assert!(last + self.all.furthest + S::F32_LANES <= self.band.len(), "all taps read within the band");
        let mut places = [self.band.as_ptr(); N];
        for n in 0..N {
            places[n] = self.band[spots[n].from..].as_ptr();
        }
        let mut start = if self.channels.start == 0 { 0 } else { self.all.ends[self.channels.start - 1] as usize };
        for channel in self.channels.clone() {
            let end = self.all.ends[channel] as usize;
            let (taps, rest) = self.all.taps[start..end].as_chunks::<U>();
            start = end;
            let mut side = [[simd.splat_f32s(0.0); N]; U];
            if let Some(bias) = self.bias {
                side[0] = [simd.splat_f32s(bias[channel]); N];
            }
            // SAFETY: the furthest tap of the furthest register ends within the band, as asserted above.
            let at =
                |n: usize, tap: &Tap| unsafe { places[n].add(tap.offset as usize).cast::<S::f32s>().read_unaligned() };
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
            let mut sums = side[0];
            for other in &side[1..] {
                for (sum, other) in sums.iter_mut().zip(other) {
                    *sum = simd.add_f32s(*sum, *other);
                }
            }
            for (sum, spot) in sums.into_iter().zip(spots) {
                let sum = self.ending.of_vector(simd, sum);
                let to = self.image.1 + channel * plane + spot.to;
                assert!(to + valid <= self.out.len, "outputs lie in their images");
                // SAFETY: `valid` outputs of this task's from `to` on are within y, as asserted; no other task has them.
                unsafe {
                    let to = self.out.y.add(to);
                    if valid == S::F32_LANES {
                        to.cast::<S::f32s>().write_unaligned(sum);
                    } else {
                        std::ptr::copy_nonoverlapping((&raw const sum).cast::<f32>(), to, valid);
                    }
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
        prop_oneof![7 => plain, 1 => large]
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
