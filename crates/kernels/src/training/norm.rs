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
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
    }
    halved(sums) + rest.iter().sum::<f32>()
}

/// Σ x y.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let ((xs, x), (ys, y)) = (x.as_chunks::<32>(), y.as_chunks::<32>());
    let mut sums = [0.0_f32; 32];
    for (x, y) in xs.iter().zip(ys) {
        for (sum, (&x, &y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum = x.mul_add(y, *sum);
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
        for (sum, &x) in sums.iter_mut().zip(block) {
            *sum = (x - mean).mul_add(x - mean, *sum);
        }
    }
    halved(sums) + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>()
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

/// The gradients of [`layer_norm`]: of x, γ and β.
pub fn layer_norm_backward(
    x: &[f32],
    gamma: &[f32],
    at: &Moments,
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let rows = at.mean.len().div_ceil(PARTS).max(1);
    let parts: Vec<(Vec<f32>, Vec<f32>)> = (x.par_chunks(rows * width))
        .zip(output_gradient.par_chunks(rows * width))
        .zip(input_gradient.par_chunks_mut(rows * width))
        .zip(at.mean.par_chunks(rows).zip(at.scale.par_chunks(rows)))
        .map(|(((x, g), d), (means, scales))| {
            let mut sums = (vec![0.0; width], vec![0.0; width]);
            vectors(
                #[inline(always)]
                || {
                    let rows = x.chunks_exact(width).zip(g.chunks_exact(width)).zip(d.chunks_exact_mut(width));
                    for (((x, g), d), (&mean, &scale)) in rows.zip(means.iter().zip(scales)) {
                        let (mut of_gamma, mut of_beta) = (&mut sums.0[..], &mut sums.1[..]);
                        (of_gamma, of_beta) = (&mut of_gamma[..width], &mut of_beta[..width]);
                        for i in 0..width {
                            let normal = (x[i] - mean) * scale;
                            of_gamma[i] = g[i].mul_add(normal, of_gamma[i]);
                            of_beta[i] += g[i];
                            d[i] = g[i] * gamma[i];
                        }
                        into_input(x, (mean, scale), d);
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

/// d = (d - mean(d) - x̂ mean(d x̂)) · scale, for numbers that share a mean.
#[inline(always)]
fn into_input(x: &[f32], (mean, scale): (f32, f32), d: &mut [f32]) {
    let count = x.len() as f32;
    let total = sum(d);
    // Σ d x̂ = scale (Σ d x - mean Σ d) would cancel; take it as it stands.
    let along = along(x, mean, d) * scale / count;
    let total = total / count;
    for (d, &x) in d.iter_mut().zip(x) {
        *d = (*d - total - (x - mean) * scale * along) * scale;
    }
}

/// Σ d (x - mean).
#[inline(always)]
fn along(x: &[f32], mean: f32, d: &[f32]) -> f32 {
    let ((xs, x), (ds, d)) = (x.as_chunks::<32>(), d.as_chunks::<32>());
    let mut sums = [0.0_f32; 32];
    for (x, d) in xs.iter().zip(ds) {
        for (sum, (&x, &d)) in sums.iter_mut().zip(x.iter().zip(d)) {
            *sum = (x - mean).mul_add(d, *sum);
        }
    }
    halved(sums) + x.iter().zip(d).map(|(x, d)| (x - mean) * d).sum::<f32>()
}

/// How images lie: `[images, channels, plane]`, and how many groups of channels share a mean.
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    /// How many channels.
    pub channels: usize,
    /// Pixels of a channel.
    pub plane: usize,
}

/// Group norm: each image's groups of channels share a mean. `gamma`, `beta`: one per channel.
pub fn group_norm(
    x: &[f32],
    of: Channels,
    groups: usize,
    (gamma, beta): (&[f32], &[f32]),
    epsilon: f32,
    y: &mut [f32],
) -> Moments {
    let channels = of.channels / groups;
    let group = channels * of.plane;
    let moments: Vec<_> = x
        .par_chunks(group)
        .zip(y.par_chunks_mut(group))
        .enumerate()
        .map(|(at, (x, y))| {
            let first = at % groups * channels;
            vectors(
                #[inline(always)]
                || {
                    let (mean, scale) = moments(x, epsilon);
                    for (c, (x, y)) in x.chunks_exact(of.plane).zip(y.chunks_exact_mut(of.plane)).enumerate() {
                        affine(x, (mean, scale), (gamma[first + c], beta[first + c]), y);
                    }
                    (mean, scale)
                },
            )
        })
        .collect();
    let (mean, scale) = moments.into_iter().unzip();
    Moments { mean, scale }
}

/// y = γ (x - mean) scale + β.
#[inline(always)]
fn affine(x: &[f32], (mean, scale): (f32, f32), (gamma, beta): (f32, f32), y: &mut [f32]) {
    let (a, b) = (scale * gamma, (-mean).mul_add(scale * gamma, beta));
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.mul_add(a, b));
}

/// The gradients of [`group_norm`]: of x, γ and β.
pub fn group_norm_backward(
    x: &[f32],
    of: Channels,
    groups: usize,
    gamma: &[f32],
    at: &Moments,
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let channels = of.channels / groups;
    let group = channels * of.plane;
    // Of each channel of each image, Σ g x̂ and Σ g; images are added up in order afterwards.
    let mut sums = vec![(0.0, 0.0); x.len() / of.plane.max(1)];
    (x.par_chunks(group))
        .zip(output_gradient.par_chunks(group))
        .zip(input_gradient.par_chunks_mut(group))
        .zip(sums.par_chunks_mut(channels))
        .enumerate()
        .for_each(|(i, (((x, g), d), sums))| {
            let (mean, scale) = (at.mean[i], at.scale[i]);
            let first = i % groups * channels;
            vectors(
                #[inline(always)]
                || {
                    let (mut total, mut along_all) = (0.0, 0.0);
                    for (c, (x, g)) in x.chunks_exact(of.plane).zip(g.chunks_exact(of.plane)).enumerate() {
                        sums[c] = (along(x, mean, g) * scale, sum(g));
                        along_all += gamma[first + c] * sums[c].0;
                        total += gamma[first + c] * sums[c].1;
                    }
                    let count = group as f32;
                    let (total, along_all) = (total / count, along_all / count);
                    let planes = x.chunks_exact(of.plane).zip(g.chunks_exact(of.plane));
                    for (c, ((x, g), d)) in planes.zip(d.chunks_exact_mut(of.plane)).enumerate() {
                        let terms = (gamma[first + c] * scale, along_all * scale * scale, total * scale);
                        combined(x, mean, g, terms, d);
                    }
                },
            );
        });
    let mut gradients = (vec![0.0; of.channels], vec![0.0; of.channels]);
    for image in sums.chunks_exact(of.channels) {
        for (c, sums) in image.iter().enumerate() {
            gradients.0[c] += sums.0;
            gradients.1[c] += sums.1;
        }
    }
    gradients
}

/// d = a g - b (x - mean) - c.
#[inline(always)]
fn combined(x: &[f32], mean: f32, g: &[f32], (a, b, c): (f32, f32, f32), d: &mut [f32]) {
    let c = b.mul_add(-mean, c);
    for (d, (&x, &g)) in d.iter_mut().zip(x.iter().zip(g)) {
        *d = a.mul_add(g, (-b).mul_add(x, -c));
    }
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

/// Batch norm with moments of the batch, or with those remembered.
pub fn batch_norm(x: &[f32], of: Channels, at: &Moments, (gamma, beta): (&[f32], &[f32]), y: &mut [f32]) {
    x.par_chunks(of.plane).zip(y.par_chunks_mut(of.plane)).enumerate().for_each(|(i, (x, y))| {
        let c = i % of.channels;
        vectors(
            #[inline(always)]
            || affine(x, (at.mean[c], at.scale[c]), (gamma[c], beta[c]), y),
        );
    });
}

/// The gradients of [`batch_norm`] with moments of the batch: of x, γ and β.
pub fn batch_norm_backward(
    x: &[f32],
    of: Channels,
    at: &Moments,
    gamma: &[f32],
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let count = (x.len() / of.channels.max(1)) as f32;
    let sums: Vec<(f32, f32)> = (0..of.channels)
        .into_par_iter()
        .map(|c| {
            let planes = x.chunks_exact(of.plane).zip(output_gradient.chunks_exact(of.plane));
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
    let planes = x.par_chunks(of.plane).zip(output_gradient.par_chunks(of.plane));
    planes.zip(input_gradient.par_chunks_mut(of.plane)).enumerate().for_each(|(i, ((x, g), d))| {
        let c = i % of.channels;
        let scale = at.scale[c] * gamma[c];
        let terms = (scale, scale * at.scale[c] * sums[c].0 / count, scale * sums[c].1 / count);
        vectors(
            #[inline(always)]
            || combined(x, at.mean[c], g, terms, d),
        );
    });
    sums.into_iter().unzip()
}
