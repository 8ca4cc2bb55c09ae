//! The gradient of a convolution's weights: a tile of them stays in registers while all pixels of an image run by, each a
//! product of the inputs under the taps and the gradients of the output channels. Nothing is gathered.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::convolution::Convolution;
use super::padded::Padded;
use super::tile::{VECTORS, outer_in_image};

/// Rows of the transposed gradient hold a multiple of so many output channels.
pub(super) const CHANNELS: usize = 8;

/// The gradient of the weights over some images, transposed: `[group][reduction][out channels, to a multiple of 8]`.
pub(super) struct Correlate<'a> {
    pub shape: &'a Convolution,
    pub padded: Padded,
    pub offsets: &'a [usize],
    pub input: &'a [f32],
    pub output_gradient: &'a [f32],
    pub sums: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, padded, offsets, input, output_gradient, sums } = self;
        let (in_plane, out_plane) = (shape.in_plane(), shape.out_plane());
        let (in_group, out_group) = (shape.in_group(), shape.out_group());
        let lanes = S::F32_LANES;
        let pitch = out_group.next_multiple_of(CHANNELS);
        let mut image = vec![0.0; padded.len(in_group)];
        let mut columns = vec![0.0; out_plane * VECTORS * lanes];
        let groups = input.chunks_exact(in_group * in_plane).zip(output_gradient.chunks_exact(out_group * out_plane));
        for (group, (input, gradient)) in groups.enumerate() {
            padded.fill(input, &mut image);
            let sums = &mut sums[group % shape.groups * offsets.len() * pitch..][..offsets.len() * pitch];
            let mut channel = 0;
            while channel < out_group {
                let vectors = (out_group - channel).div_ceil(lanes).min(VECTORS);
                let count = (vectors * lanes).min(out_group - channel);
                let columns = &mut columns[..out_plane * vectors * lanes];
                transpose(&gradient[channel * out_plane..][..count * out_plane], out_plane, vectors * lanes, columns);
                let tile = Tile {
                    image: (&image, padded.row(), shape.columns.output),
                    offsets,
                    columns,
                    sums: &mut *sums,
                    pitch,
                    channels: channel..channel + count,
                };
                match vectors {
                    1 => tile.add::<S, 12, 1>(simd),
                    _ => tile.add::<S, 6, VECTORS>(simd),
                }
                channel += count;
            }
        }
    }
}

/// Some channels of the weights' gradient over one image.
struct Tile<'a> {
    image: (&'a [f32], usize, usize),
    offsets: &'a [usize],
    columns: &'a [f32],
    sums: &'a mut [f32],
    pitch: usize,
    channels: Range<usize>,
}

impl Tile<'_> {
    #[inline(always)]
    fn add<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        for (block, offsets) in self.offsets.chunks(M).enumerate() {
            // A short last block computes its last row again, and forgets it.
            let mut starts = [0; M];
            for i in 0..M {
                starts[i] = offsets[i.min(offsets.len() - 1)];
            }
            let mut tile = [[simd.splat_f32s(0.0); N]; M];
            outer_in_image(simd, self.image, &starts, self.columns, &mut tile);
            for (i, sums) in tile.iter().take(offsets.len()).enumerate() {
                let sums: &[f32] = pulp::bytemuck::cast_slice(sums);
                let to = &mut self.sums[(block * M + i) * self.pitch..][self.channels.clone()];
                let sums = &sums[..to.len()];
                for n in 0..to.len() {
                    to[n] += sums[n];
                }
            }
        }
    }
}

/// `[channels][pixels]` to `[pixels][width]`; columns without a channel are left as they are.
#[inline(always)]
fn transpose(planes: &[f32], pixels: usize, width: usize, columns: &mut [f32]) {
    /// Sides of the squares that are turned in registers.
    const SIDE: usize = 8;
    let channels = planes.len() / pixels;
    let whole = if pixels.is_multiple_of(SIDE) { channels / SIDE * SIDE } else { 0 };
    for channel in (0..whole).step_by(SIDE) {
        for pixel in (0..pixels).step_by(SIDE) {
            let mut square = [[0.0; SIDE]; SIDE];
            for i in 0..SIDE {
                square[i].copy_from_slice(&planes[(channel + i) * pixels + pixel..][..SIDE]);
            }
            for j in 0..SIDE {
                let mut column = [0.0; SIDE];
                for i in 0..SIDE {
                    column[i] = square[i][j];
                }
                columns[(pixel + j) * width + channel..][..SIDE].copy_from_slice(&column);
            }
        }
    }
    for channel in whole..channels {
        for pixel in 0..pixels {
            columns[pixel * width + channel] = planes[channel * pixels + pixel];
        }
    }
}
