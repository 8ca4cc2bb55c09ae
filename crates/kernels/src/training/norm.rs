//! Layer, group and batch norm: y = γ (x - mean) / √(variance + ε) + β, over a row, a group of channels, or a channel of
//! all images.
//!
//! With x̂ = (x - mean) / √(variance + ε) and g = γ ∂L/∂y, over the numbers that share a mean:
//! ∂L/∂x = (g - mean(g) - x̂ mean(g x̂)) / √(variance + ε), ∂L/∂γ = Σ x̂ ∂L/∂y, ∂L/∂β = Σ ∂L/∂y.
//!
//! Sources: Ba, Kiros, Hinton (2016); Wu and He (ECCV 2018); Ioffe and Szegedy (ICML 2015).

use rayon::prelude::*;

use super::function::vectors;

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

/// Σ (x - mean)².
#[inline(always)]
fn squares(x: &[f32], mean: f32) -> f32 {
    let (blocks, rest) = x.as_chunks::<32>();
    let mut sums = [0.0_f32; 32];
    for block in blocks {
        for i in 0..32 {
            let apart = block[i] - mean;
            sums[i] = apart.mul_add(apart, sums[i]);
        }
    }
    halved(sums) + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>()
}

/// Σ d (x - mean).
#[inline(always)]
fn along(x: &[f32], mean: f32, d: &[f32]) -> f32 {
    let ((xs, x), (ds, d)) = (x.as_chunks::<32>(), d.as_chunks::<32>());
    let mut sums = [0.0_f32; 32];
    for (x, d) in xs.iter().zip(ds) {
        for i in 0..32 {
            sums[i] = (x[i] - mean).mul_add(d[i], sums[i]);
        }
    }
    halved(sums) + x.iter().zip(d).map(|(x, d)| (x - mean) * d).sum::<f32>()
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
    let moments: Vec<_> = x
        .par_chunks(width)
        .zip(y.par_chunks_mut(width))
        .with_min_len(16)
        .map(|(x, y)| {
            vectors(
                #[inline(always)]
                || {
                    let (mean, scale) = moments(x, epsilon);
                    for ((y, &x), (gamma, &beta)) in y.iter_mut().zip(x).zip(gamma.iter().zip(beta)) {
                        *y = ((x - mean) * scale).mul_add(*gamma, beta);
                    }
                    (mean, scale)
                },
            )
        })
        .collect();
    let (mean, scale) = moments.into_iter().unzip();
    Moments { mean, scale }
}

#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = sum(x) / count;
    (mean, 1.0 / (squares(x, mean) / count + epsilon).sqrt())
}

/// The gradients of [`layer_norm`]: of γ and β; that of x is put where that of y was.
pub fn layer_norm_backward(x: &[f32], gamma: &[f32], at: &Moments, gradient: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let rows = at.mean.len().div_ceil(PARTS).max(1);
    let parts: Vec<(Vec<f32>, Vec<f32>)> = (x.par_chunks(rows * width))
        .zip(gradient.par_chunks_mut(rows * width))
        .zip(at.mean.par_chunks(rows).zip(at.scale.par_chunks(rows)))
        .map(|((x, g), (means, scales))| {
            let mut sums = (vec![0.0; width], vec![0.0; width]);
            vectors(
                #[inline(always)]
                || {
                    let rows = x.chunks_exact(width).zip(g.chunks_exact_mut(width));
                    for ((x, g), (&mean, &scale)) in rows.zip(means.iter().zip(scales)) {
                        let (of_gamma, of_beta) = (&mut sums.0[..width], &mut sums.1[..width]);
                        for i in 0..width {
                            let normal = (x[i] - mean) * scale;
                            of_gamma[i] = g[i].mul_add(normal, of_gamma[i]);
                            of_beta[i] += g[i];
                            g[i] *= gamma[i];
                        }
                        // Σ g x̂ = scale (Σ g x - mean Σ g) would cancel; it is taken as it stands.
                        let along = along(x, mean, g) * scale / width as f32;
                        let terms = (scale, along * scale * scale, sum(g) * scale / width as f32);
                        combine(x, mean, terms, g);
                    }
                },
            );
            sums
        })
        .collect();
    parts.into_iter().fold((vec![0.0; width], vec![0.0; width]), |mut total, part| {
        total.0.iter_mut().zip(part.0).for_each(|(total, part)| *total += part);
        total.1.iter_mut().zip(part.1).for_each(|(total, part)| *total += part);
        total
    })
}

/// d = a d - b (x - mean) - c.
#[inline(always)]
fn combine(x: &[f32], mean: f32, (a, b, c): (f32, f32, f32), d: &mut [f32]) {
    let c = b.mul_add(-mean, c);
    for (d, &x) in d.iter_mut().zip(x) {
        *d = a.mul_add(*d, (-b).mul_add(x, -c));
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
        let (group, plane) = (self.group(), self.of.plane);
        let channels = group / plane.max(1);
        let moments: Vec<_> = x
            .par_chunks_mut(group)
            .enumerate()
            .map(|(at, x)| {
                let first = at % self.groups * channels;
                let passed = if passed.is_empty() { passed } else { &passed[at * group..][..x.len()] };
                vectors(
                    #[inline(always)]
                    || {
                        let (mean, scale) = moments(x, self.epsilon);
                        for (c, x) in x.chunks_exact_mut(plane).enumerate() {
                            affine((mean, scale), (gamma[first + c], beta[first + c]), x);
                        }
                        x.iter_mut().zip(passed).for_each(|(x, passed)| *x += passed);
                        if self.relu {
                            x.iter_mut().for_each(|x| *x = if *x > 0.0 || x.is_nan() { *x } else { 0.0 });
                        }
                        (mean, scale)
                    },
                )
            })
            .collect();
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
        let (group, plane) = (self.group(), self.of.plane);
        let channels = group / plane.max(1);
        // Of each channel of each image, Σ g x̂ and Σ g; images are added up in order afterwards.
        let mut sums = vec![(0.0, 0.0); x.len() / plane.max(1)];
        let mut passed: Vec<_> = passed.chunks_mut(group).collect();
        passed.resize_with(x.len() / group, Default::default);
        (x.par_chunks(group))
            .zip(gradient.par_chunks_mut(group))
            .zip(passed.into_par_iter().zip(sums.par_chunks_mut(channels)))
            .enumerate()
            .for_each(|(i, ((x, g), (passed, sums)))| {
                let (mean, scale) = (at.mean[i], at.scale[i]);
                let first = i % self.groups * channels;
                vectors(
                    #[inline(always)]
                    || {
                        if self.relu {
                            let output = &output[i * group..][..group];
                            g.iter_mut().zip(output).for_each(|(g, &y)| *g = if y > 0.0 { *g } else { 0.0 });
                        }
                        passed.iter_mut().zip(g.iter()).for_each(|(passed, g)| *passed = *g);
                        let (mut total, mut along_all) = (0.0, 0.0);
                        for (c, (x, g)) in x.chunks_exact(plane).zip(g.chunks_exact(plane)).enumerate() {
                            sums[c] = (along(x, mean, g) * scale, sum(g));
                            along_all += gamma[first + c] * sums[c].0;
                            total += gamma[first + c] * sums[c].1;
                        }
                        let count = group as f32;
                        let (total, along_all) = (total / count, along_all / count);
                        for (c, (x, g)) in x.chunks_exact(plane).zip(g.chunks_exact_mut(plane)).enumerate() {
                            let terms = (gamma[first + c] * scale, along_all * scale * scale, total * scale);
                            combine(x, mean, terms, g);
                        }
                    },
                );
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

/// x = γ (x - mean) scale + β.
#[inline(always)]
fn affine((mean, scale): (f32, f32), (gamma, beta): (f32, f32), x: &mut [f32]) {
    let (a, b) = (scale * gamma, (-mean).mul_add(scale * gamma, beta));
    x.iter_mut().for_each(|x| *x = x.mul_add(a, b));
}

/// Mean and (biased) variance of each channel over all images: what batch norm divides by, and remembers.
pub fn batch_moments(x: &[f32], of: Channels, epsilon: f32) -> (Moments, Vec<f32>) {
    let planes = |c: usize| x.chunks_exact(of.plane).skip(c).step_by(of.channels);
    let count = (x.len() / of.channels.max(1)) as f32;
    let moments: Vec<_> = (0..of.channels)
        .into_par_iter()
        .map(|c| {
            vectors(
                #[inline(always)]
                || {
                    let mean = planes(c).map(sum).sum::<f32>() / count;
                    (mean, planes(c).map(|x| squares(x, mean)).sum::<f32>() / count)
                },
            )
        })
        .collect();
    let (mean, variance): (Vec<f32>, Vec<f32>) = moments.into_iter().unzip();
    let scale = variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect();
    (Moments { mean, scale }, variance)
}

/// Batch norm with moments of the batch, or with those remembered: puts y where x was.
pub fn batch_norm(x: &mut [f32], of: Channels, at: &Moments, (gamma, beta): (&[f32], &[f32])) {
    x.par_chunks_mut(of.plane).enumerate().for_each(|(i, x)| {
        let c = i % of.channels;
        vectors(
            #[inline(always)]
            || affine((at.mean[c], at.scale[c]), (gamma[c], beta[c]), x),
        );
    });
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
    let sums: Vec<(f32, f32)> = (0..of.channels)
        .into_par_iter()
        .map(|c| {
            let planes = x.chunks_exact(of.plane).zip(gradient.chunks_exact(of.plane));
            vectors(
                #[inline(always)]
                || {
                    planes.skip(c).step_by(of.channels).fold((0.0, 0.0), |sums, (x, g)| {
                        (sums.0 + along(x, at.mean[c], g) * at.scale[c], sums.1 + sum(g))
                    })
                },
            )
        })
        .collect();
    x.par_chunks(of.plane).zip(gradient.par_chunks_mut(of.plane)).enumerate().for_each(|(i, (x, g))| {
        let c = i % of.channels;
        let scale = at.scale[c] * gamma[c];
        let terms = (scale, scale * at.scale[c] * sums[c].0 / count, scale * sums[c].1 / count);
        vectors(
            #[inline(always)]
            || combine(x, at.mean[c], terms, g),
        );
    });
    sums.into_iter().unzip()
}
