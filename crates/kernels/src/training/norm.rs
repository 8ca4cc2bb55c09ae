//! Layer, group and batch norm: y = γ (x - mean) / √(variance + ε) + β, over a row, a group of channels, or a channel of
//! all images.
//!
//! With x̂ = (x - mean) / √(variance + ε) and g = γ ∂L/∂y, over the numbers that share a mean:
//! ∂L/∂x = (g - mean(g) - x̂ mean(g x̂)) / √(variance + ε), ∂L/∂γ = Σ x̂ ∂L/∂y, ∂L/∂β = Σ ∂L/∂y.
//!
//! Sources: Ba, Kiros, Hinton (2016); Wu and He (ECCV 2018); Ioffe and Szegedy (ICML 2015).

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::lanes;

/// Into how many parts rows are cut whose sums for γ and β are added up apart. Fixed, so that no sum depends on threads.
const PARTS: usize = 16;

/// Σ x, in 32 sums side by side.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    let (blocks, rest) = x.as_chunks::<32>();
    let mut sums = [0.0_f32; 32];
    for block in blocks {
        for i in 0..32 {
            sums[i] += block[i];
        }
    }
    halved(sums) + rest.iter().sum::<f32>()
}

/// Σ x y.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let ((xs, x), (ys, y)) = (x.as_chunks::<32>(), y.as_chunks::<32>());
    let mut sums = [0.0_f32; 32];
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..32 {
            sums[i] = x[i].mul_add(y[i], sums[i]);
        }
    }
    halved(sums) + x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>()
}

#[inline(always)]
fn halved(mut sums: [f32; 32]) -> f32 {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0]
}

/// Σ x.
#[inline(always)]
fn total<S: Simd>(simd: S, x: &[f32]) -> f32 {
    lanes::sum(simd, (x, x), |sum, x, _| simd.add_f32s(sum, x), |sum, x, _| sum + x)
}

/// Σ (x - mean)².
#[inline(always)]
fn squares<S: Simd>(simd: S, x: &[f32], mean: f32) -> f32 {
    along(simd, x, mean, x, mean)
}

/// Σ (x - x̄) (d - d̄).
#[inline(always)]
fn along<S: Simd>(simd: S, x: &[f32], x_mean: f32, d: &[f32], d_mean: f32) -> f32 {
    let (from_x, from_d) = (simd.splat_f32s(x_mean), simd.splat_f32s(d_mean));
    let product = |sum, x, d| simd.mul_add_e_f32s(simd.sub_f32s(x, from_x), simd.sub_f32s(d, from_d), sum);
    lanes::sum(simd, (x, d), product, |sum, x, d| (x - x_mean).mul_add(d - d_mean, sum))
}

/// x = a x + b.
#[inline(always)]
fn affine<S: Simd>(simd: S, (a, b): (f32, f32), x: &mut [f32]) {
    let (a, b) = (simd.splat_f32s(a), simd.splat_f32s(b));
    lanes::each(simd, x, |x| simd.mul_add_e_f32s(x, a, b));
}

/// d = a d - b (x - mean) - c.
#[inline(always)]
fn combine<S: Simd>(simd: S, x: &[f32], mean: f32, (a, b, c): (f32, f32, f32), d: &mut [f32]) {
    let [a, b, c] = [a, -b, b * mean - c].map(|value| simd.splat_f32s(value));
    lanes::each_beside(simd, d, x, |d, x| simd.mul_add_e_f32s(a, d, simd.mul_add_e_f32s(b, x, c)));
}

/// Mean and 1 / √(variance + ε).
#[inline(always)]
fn moments<S: Simd>(simd: S, x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = total(simd, x) / count;
    (mean, 1.0 / (squares(simd, x, mean) / count + epsilon).sqrt())
}

/// Mean and 1 / √(variance + ε) of each row (layer norm), group (group norm) or channel (batch norm).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f32>,
    /// 1 / √(variance + ε).
    pub scale: Vec<f32>,
}

/// Layer norm over rows of γ's length. `gamma`, `beta`: one per column.
pub fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]) -> Moments {
    let width = gamma.len();
    let arch = Arch::new();
    let rows = x.par_chunks(width).zip(y.par_chunks_mut(width)).with_min_len(16);
    let moments: Vec<_> = rows.map(|(x, y)| arch.dispatch(LayerRow { x, gamma, beta, epsilon, y })).collect();
    let (mean, scale) = moments.into_iter().unzip();
    Moments { mean, scale }
}

struct LayerRow<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
}

impl WithSimd for LayerRow<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, f32) {
        let Self { x, gamma, beta, epsilon, y } = self;
        let (mean, scale) = moments(simd, x, epsilon);
        for i in 0..y.len().min(x.len()).min(gamma.len()).min(beta.len()) {
            y[i] = ((x[i] - mean) * scale).mul_add(gamma[i], beta[i]);
        }
        (mean, scale)
    }
}

/// The gradients of [`layer_norm`]: of γ and β; that of x is put where that of y was.
pub fn layer_norm_backward(x: &[f32], gamma: &[f32], at: &Moments, gradient: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let rows = at.mean.len().div_ceil(PARTS).max(1);
    let arch = Arch::new();
    let parts: Vec<(Vec<f32>, Vec<f32>)> = (x.par_chunks(rows * width))
        .zip(gradient.par_chunks_mut(rows * width))
        .zip(at.mean.par_chunks(rows).zip(at.scale.par_chunks(rows)))
        .map(|((x, gradient), moments)| arch.dispatch(LayerRowsBackward { x, gamma, moments, gradient }))
        .collect();
    parts.into_iter().fold((vec![0.0; width], vec![0.0; width]), |mut total, part| {
        total.0.iter_mut().zip(part.0).for_each(|(total, part)| *total += part);
        total.1.iter_mut().zip(part.1).for_each(|(total, part)| *total += part);
        total
    })
}

struct LayerRowsBackward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    moments: (&'a [f32], &'a [f32]),
    gradient: &'a mut [f32],
}

impl WithSimd for LayerRowsBackward<'_> {
    type Output = (Vec<f32>, Vec<f32>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { x, gamma, moments: (means, scales), gradient } = self;
        let width = gamma.len();
        let mut sums = (vec![0.0; width], vec![0.0; width]);
        let rows = x.chunks_exact(width).zip(gradient.chunks_exact_mut(width));
        for ((x, g), (&mean, &scale)) in rows.zip(means.iter().zip(scales)) {
            let (of_gamma, of_beta) = (&mut sums.0[..width], &mut sums.1[..width]);
            for i in 0..width {
                let normal = (x[i] - mean) * scale;
                of_gamma[i] = g[i].mul_add(normal, of_gamma[i]);
                of_beta[i] += g[i];
                g[i] *= gamma[i];
            }
            // Σ g x̂ = scale (Σ g x - mean Σ g) would cancel; it is taken as it stands.
            let along = along(simd, x, mean, g, 0.0) * scale / width as f32;
            let terms = (scale, along * scale * scale, total(simd, g) * scale / width as f32);
            combine(simd, x, mean, terms, g);
        }
        sums
    }
}

/// How images lie: `[images, channels, plane]`, and how many groups of channels share a mean.
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    /// How many channels.
    pub channels: usize,
    /// Pixels of a channel.
    pub plane: usize,
}

/// Group norm, in which each image's groups of channels share a mean, and what often comes after it.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm {
    /// How images lie.
    pub of: Channels,
    /// How many groups; divides the channels.
    pub groups: usize,
    /// ε.
    pub epsilon: f32,
    /// Whether the output is max(y, 0).
    pub relu: bool,
}

impl GroupNorm {
    fn group(&self) -> usize {
        self.of.channels / self.groups * self.of.plane
    }

    /// Puts y where x was. `gamma`, `beta`: one per channel; `passed` is added to the output (before ReLU), or empty.
    pub fn forward(&self, x: &mut [f32], (gamma, beta): (&[f32], &[f32]), passed: &[f32]) -> Moments {
        let group = self.group();
        let channels = self.of.channels / self.groups;
        let arch = Arch::new();
        let of_group = |(at, x): (usize, &mut [f32])| {
            let first = at % self.groups * channels;
            let passed = if passed.is_empty() { passed } else { &passed[at * group..][..x.len()] };
            arch.dispatch(GroupForward { norm: self, gamma: &gamma[first..], beta: &beta[first..], passed, x })
        };
        let moments: Vec<_> = x.par_chunks_mut(group).enumerate().map(of_group).collect();
        let (mean, scale) = moments.into_iter().unzip();
        Moments { mean, scale }
    }

    /// The gradients of γ and β; that of x is put where that of y was, and that of what passed into `passed`, if it is not
    /// empty. `output`: y, which only ReLU needs.
    pub fn backward(
        &self,
        x: &[f32],
        gamma: &[f32],
        at: &Moments,
        output: &[f32],
        gradient: &mut [f32],
        passed: &mut [f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let group = self.group();
        let channels = self.of.channels / self.groups;
        let arch = Arch::new();
        // Of each channel of each image, Σ g x̂ and Σ g; images are added up in order afterwards.
        let mut sums = vec![(0.0, 0.0); x.len() / self.of.plane.max(1)];
        let mut passed: Vec<_> = passed.chunks_mut(group).collect();
        passed.resize_with(x.len() / group, Default::default);
        (x.par_chunks(group))
            .zip(gradient.par_chunks_mut(group))
            .zip(passed.into_par_iter().zip(sums.par_chunks_mut(channels)))
            .enumerate()
            .for_each(|(i, ((x, gradient), (passed, sums)))| {
                arch.dispatch(GroupBackward {
                    norm: self,
                    x,
                    gamma: &gamma[i % self.groups * channels..],
                    moments: (at.mean[i], at.scale[i]),
                    output: output.get(i * group..(i + 1) * group).unwrap_or(&[]),
                    gradient,
                    passed,
                    sums,
                });
            });
        let mut gradients = (vec![0.0; self.of.channels], vec![0.0; self.of.channels]);
        for image in sums.chunks_exact(self.of.channels) {
            for (c, sums) in image.iter().enumerate() {
                gradients.0[c] += sums.0;
                gradients.1[c] += sums.1;
            }
        }
        gradients
    }
}

/// One group of one image: x becomes y.
struct GroupForward<'a> {
    norm: &'a GroupNorm,
    gamma: &'a [f32],
    beta: &'a [f32],
    passed: &'a [f32],
    x: &'a mut [f32],
}

impl WithSimd for GroupForward<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, f32) {
        let Self { norm, gamma, beta, passed, x } = self;
        let plane = norm.of.plane;
        let (mean, scale) = moments(simd, x, norm.epsilon);
        for (c, x) in x.chunks_exact_mut(plane).enumerate() {
            let terms = factors((mean, scale), (gamma[c], beta[c]));
            let [a, b] = [terms.0, terms.1].map(|value| simd.splat_f32s(value));
            match (norm.relu, passed.get(c * plane..(c + 1) * plane)) {
                (false, None) => affine(simd, terms, x),
                (true, None) => lanes::each(simd, x, |x| lanes::relu(simd, simd.mul_add_e_f32s(x, a, b))),
                (false, Some(passed)) => {
                    lanes::each_beside(simd, x, passed, |x, p| simd.add_f32s(simd.mul_add_e_f32s(x, a, b), p));
                }
                (true, Some(passed)) => lanes::each_beside(simd, x, passed, |x, p| {
                    lanes::relu(simd, simd.add_f32s(simd.mul_add_e_f32s(x, a, b), p))
                }),
            }
        }
        (mean, scale)
    }
}

/// One group of one image, backward.
struct GroupBackward<'a> {
    norm: &'a GroupNorm,
    x: &'a [f32],
    gamma: &'a [f32],
    moments: (f32, f32),
    output: &'a [f32],
    gradient: &'a mut [f32],
    passed: &'a mut [f32],
    sums: &'a mut [(f32, f32)],
}

impl WithSimd for GroupBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { norm, x, gamma, moments: (mean, scale), output, gradient, passed, sums } = self;
        if norm.relu {
            lanes::each_beside(simd, gradient, output, |g, y| lanes::relu_backward(simd, y, g));
        }
        if !passed.is_empty() {
            passed.copy_from_slice(gradient);
        }
        let plane = norm.of.plane;
        let (mut all, mut all_along) = (0.0, 0.0);
        for (c, (x, g)) in x.chunks_exact(plane).zip(gradient.chunks_exact(plane)).enumerate() {
            sums[c] = (along(simd, x, mean, g, 0.0) * scale, total(simd, g));
            all_along += gamma[c] * sums[c].0;
            all += gamma[c] * sums[c].1;
        }
        let count = x.len() as f32;
        let (all, all_along) = (all / count, all_along / count);
        for (c, (x, g)) in x.chunks_exact(plane).zip(gradient.chunks_exact_mut(plane)).enumerate() {
            combine(simd, x, mean, (gamma[c] * scale, all_along * scale * scale, all * scale), g);
        }
    }
}

/// a and b of a x + b = γ (x - mean) scale + β.
#[inline(always)]
fn factors((mean, scale): (f32, f32), (gamma, beta): (f32, f32)) -> (f32, f32) {
    (scale * gamma, (-mean).mul_add(scale * gamma, beta))
}

/// The planes of one channel in all images.
fn planes(x: &[f32], of: Channels, c: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(of.plane).skip(c).step_by(of.channels)
}

/// Mean and (biased) variance of each channel over all images: what batch norm divides by, and remembers.
pub fn batch_moments(x: &[f32], of: Channels, epsilon: f32) -> (Moments, Vec<f32>) {
    let arch = Arch::new();
    let moments: Vec<_> =
        (0..of.channels).into_par_iter().map(|c| arch.dispatch(ChannelMoments { x, of, c })).collect();
    let (mean, variance): (Vec<f32>, Vec<f32>) = moments.into_iter().unzip();
    let scale = variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect();
    (Moments { mean, scale }, variance)
}

struct ChannelMoments<'a> {
    x: &'a [f32],
    of: Channels,
    c: usize,
}

impl WithSimd for ChannelMoments<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, f32) {
        let Self { x, of, c } = self;
        let count = (x.len() / of.channels.max(1)) as f32;
        let mut mean = 0.0;
        for x in planes(x, of, c) {
            mean += total(simd, x) / count;
        }
        let mut variance = 0.0;
        for x in planes(x, of, c) {
            variance += squares(simd, x, mean) / count;
        }
        (mean, variance)
    }
}

/// Batch norm with moments of the batch, or with those remembered: puts y where x was.
pub fn batch_norm(x: &mut [f32], of: Channels, at: &Moments, (gamma, beta): (&[f32], &[f32])) {
    let arch = Arch::new();
    x.par_chunks_mut(of.plane).enumerate().for_each(|(i, x)| {
        let c = i % of.channels;
        arch.dispatch(Affine { terms: factors((at.mean[c], at.scale[c]), (gamma[c], beta[c])), x });
    });
}

struct Affine<'a> {
    terms: (f32, f32),
    x: &'a mut [f32],
}

impl WithSimd for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        affine(simd, self.terms, self.x);
    }
}

/// The gradients of [`batch_norm`] with moments of the batch: of γ and β; that of x is put where that of y was.
pub fn batch_norm_backward(
    x: &[f32],
    of: Channels,
    at: &Moments,
    gamma: &[f32],
    gradient: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let count = (x.len() / of.channels.max(1)) as f32;
    let arch = Arch::new();
    let g = &*gradient;
    let sums: Vec<(f32, f32)> = (0..of.channels)
        .into_par_iter()
        .map(|c| arch.dispatch(ChannelSums { x, g, of, c, moments: (at.mean[c], at.scale[c]) }))
        .collect();
    x.par_chunks(of.plane).zip(gradient.par_chunks_mut(of.plane)).enumerate().for_each(|(i, (x, g))| {
        let c = i % of.channels;
        let scale = at.scale[c] * gamma[c];
        let terms = (scale, scale * at.scale[c] * sums[c].0 / count, scale * sums[c].1 / count);
        arch.dispatch(Combine { x, mean: at.mean[c], terms, g });
    });
    sums.into_iter().unzip()
}

/// Σ g x̂ and Σ g of one channel.
struct ChannelSums<'a> {
    x: &'a [f32],
    g: &'a [f32],
    of: Channels,
    c: usize,
    moments: (f32, f32),
}

impl WithSimd for ChannelSums<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, f32) {
        let Self { x, g, of, c, moments: (mean, scale) } = self;
        let mut sums = (0.0, 0.0);
        for (x, g) in planes(x, of, c).zip(planes(g, of, c)) {
            sums.0 += along(simd, x, mean, g, 0.0) * scale;
            sums.1 += total(simd, g);
        }
        sums
    }
}

struct Combine<'a> {
    x: &'a [f32],
    mean: f32,
    terms: (f32, f32, f32),
    g: &'a mut [f32],
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        combine(simd, self.x, self.mean, self.terms, self.g);
    }
}
