//! Forward passes equal their formulas in f64, and gradients equal finite differences along random directions.

use proptest::prelude::*;
use tersor_kernels::training::activation::Activation;
use tersor_kernels::training::attention::Attention;
use tersor_kernels::training::lstm::{Lstm, Weights};
use tersor_kernels::training::norm::{self, Channels, GroupNorm};
use tersor_kernels::training::pool::Pool;
use tersor_kernels::training::rms::{rms_norm, rms_norm_backward};
use tersor_kernels::training::rotary::{Turn, rotate};
use tersor_kernels::training::softmax;
use tersor_kernels::window::{Padding, Window};

/// Numbers in [-scale, scale).
fn numbers(count: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * scale).collect()
}

fn inner(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Whether ⟨gradient, v⟩ is the slope of `loss` along v at x, for some v.
fn is_slope(x: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f64) -> Result<(), TestCaseError> {
    for seed in 1..4 {
        let v = numbers(x.len(), seed, 1.0);
        let step = 2e-3;
        let at = |sign: f32| loss(&x.iter().zip(&v).map(|(x, v)| x + sign * step * v).collect::<Vec<_>>());
        let slope = (at(1.0) - at(-1.0)) / (2.0 * f64::from(step));
        let expected = inner(gradient, &v);
        let size = (inner(gradient, gradient) * inner(&v, &v) / x.len().max(1) as f64).sqrt();
        prop_assert!((slope - expected).abs() <= 1e-3 * (expected.abs() + size) + 2e-4, "{slope}, not {expected}");
    }
    Ok(())
}

fn close(a: &[f32], b: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.len(), b.len());
    for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
        prop_assert!((f64::from(a) - b).abs() <= tolerance * b.abs().max(1.0), "{}: {} instead of {}", i, a, b);
    }
    Ok(())
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// erf by its series.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..300 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

fn softmax_row(x: &[f64]) -> Vec<f64> {
    let most = x.iter().copied().fold(f64::MIN, f64::max);
    let total: f64 = x.iter().map(|x| (x - most).exp()).sum();
    x.iter().map(|x| (x - most).exp() / total).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn activations_equal_their_formulas(count in 0..300_usize, seed in 0..1_000_u64) {
        let x = numbers(count, seed, 4.0);
        let r = numbers(count, seed + 7, 1.0);
        for activation in [
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Silu,
            Activation::Sigmoid,
            Activation::Tanh,
        ] {
            let exact = |x: f64| match activation {
                Activation::Relu => x.max(0.0),
                Activation::Gelu => x * 0.5 * (1.0 + erf(x / 2_f64.sqrt())),
                Activation::GeluTanh => {
                    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
                }
                Activation::Silu => x / (1.0 + (-x).exp()),
                Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Activation::Tanh => x.tanh(),
            };
            let forward = |x: &[f32]| { let mut y = x.to_vec(); activation.forward(&mut y); y };
            let y = forward(&x);
            close(&y, &x.iter().map(|&x| exact(f64::from(x))).collect::<Vec<_>>(), 1e-6)?;
            let mut d = r.clone();
            activation.backward(if activation.keeps_output() { &y } else { &x }, &mut d);
            // Number by number, in f64, away from the corner of ReLU.
            for ((&x, &d), &r) in x.iter().zip(&d).zip(&r).filter(|((x, _), _)| x.abs() > 1e-3) {
                let slope = (exact(f64::from(x) + 1e-5) - exact(f64::from(x) - 1e-5)) / 2e-5 * f64::from(r);
                prop_assert!((f64::from(d) - slope).abs() < 1e-5, "{activation:?} at {x}: {d}, not {slope}");
            }
        }
    }

    #[test]
    fn softmax_and_cross_entropy_equal_their_formulas(rows in 1..9_usize, width in 1..90_usize, seed in 0..1_000_u64) {
        let x = numbers(rows * width, seed, 6.0);
        let r = numbers(rows * width, seed + 7, 1.0);
        let exact: Vec<_> = wide(&x).chunks(width).flat_map(softmax_row).collect();
        let (mut y, mut d) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        softmax::softmax(&x, width, &mut y);
        close(&y, &exact, 1e-6)?;
        softmax::softmax_backward(&y, &r, width, &mut d);
        is_slope(&x, &d, |x| { let mut y = vec![0.0; x.len()]; softmax::softmax(x, width, &mut y); inner(&y, &r) })?;
        softmax::log_softmax(&x, width, &mut y);
        close(&y, &exact.iter().map(|p| p.ln()).collect::<Vec<_>>(), 1e-6)?;
        softmax::log_softmax_backward(&y, &r, width, &mut d);
        is_slope(&x, &d, |x| { let mut y = vec![0.0; x.len()]; softmax::log_softmax(x, width, &mut y); inner(&y, &r) })?;
        let labels: Vec<u32> = (0..rows as u32).map(|row| (row * 31 + seed as u32) % width as u32).collect();
        let loss = softmax::cross_entropy(&x, &labels, width, &mut d);
        let expected: f64 = labels.iter().enumerate().map(|(row, &l)| -exact[row * width + l as usize].ln()).sum();
        prop_assert!((f64::from(loss) - expected / rows as f64).abs() < 1e-5 * (1.0 + loss.abs()) as f64);
        let mut by_hand = exact.clone();
        labels.iter().enumerate().for_each(|(row, &l)| by_hand[row * width + l as usize] -= 1.0);
        close(&d, &by_hand.iter().map(|d| d / rows as f64).collect::<Vec<_>>(), 1e-6)?;
    }

    #[test]
    fn rms_norm_equals_its_formula(rows in 1..70_usize, width in 1..90_usize, seed in 0..1_000_u64) {
        let (x, r) = (numbers(rows * width, seed, 2.0), numbers(rows * width, seed + 1, 1.0));
        let gamma = numbers(width, seed + 2, 1.5);
        let epsilon = 1e-3;
        let forward = |x: &[f32], gamma: &[f32]| {
            let mut y = vec![0.0; x.len()];
            let at = rms_norm(x, gamma, epsilon, &mut y);
            (y, at)
        };
        let (y, at) = forward(&x, &gamma);
        let exact = x.chunks(width).flat_map(|x| {
            let root = (inner(x, x) / width as f64 + f64::from(epsilon)).sqrt();
            x.iter().zip(&gamma).map(move |(&x, &gamma)| f64::from(x) / root * f64::from(gamma)).collect::<Vec<_>>()
        });
        close(&y, &exact.collect::<Vec<_>>(), 1e-5)?;
        let mut d = r.clone();
        let of_gamma = rms_norm_backward(&x, &gamma, &at, &mut d);
        is_slope(&x, &d, |x| inner(&forward(x, &gamma).0, &r))?;
        is_slope(&gamma, &of_gamma, |gamma| inner(&forward(&x, gamma).0, &r))?;
    }

    /// Turned by θ, a pair keeps its length, pairs of two rows know only the difference of their angles, and back is back.
    #[test]
    fn pairs_are_turned_by_their_angles(
        (batch, rows, heads, pairs) in (1..3_usize, 1..40_usize, 1..4_usize, 1..20_usize),
        seed in 0..1_000_u64,
    ) {
        let width = 2 * pairs;
        let x = numbers(batch * rows * heads * width, seed, 2.0);
        let angles = numbers(rows * pairs, seed + 1, 3.0);
        let (cosines, sines): (Vec<f32>, Vec<f32>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
        let mut y = x.clone();
        rotate(&mut y, [heads, width], &cosines, &sines, Turn::Forth);
        let exact = (0..x.len()).map(|i| {
            let (row, pair) = (i / (heads * width) % rows, i % width / 2);
            let angle = f64::from(angles[row * pairs + pair]);
            let (a, b) = (f64::from(x[i / 2 * 2]), f64::from(x[i / 2 * 2 + 1]));
            if i % 2 == 0 { angle.cos() * a - angle.sin() * b } else { angle.sin() * a + angle.cos() * b }
        });
        close(&y, &exact.collect::<Vec<_>>(), 1e-6)?;
        rotate(&mut y, [heads, width], &cosines, &sines, Turn::Back);
        close(&y, &wide(&x), 1e-6)?;
    }

    #[test]
    fn norms_equal_their_formulas(
        images in 1..5_usize,
        (groups, per_group) in (1..4_usize, 1..4_usize),
        plane in 1..50_usize,
        seed in 0..1_000_u64,
    ) {
        let channels = groups * per_group;
        prop_assume!(plane * per_group > 2 && plane * images > 2);
        let of = Channels { channels, plane };
        let count = images * channels * plane;
        let (x, r) = (numbers(count, seed, 2.0), numbers(count, seed + 1, 1.0));
        let (gamma, beta) = (numbers(channels, seed + 2, 1.5), numbers(channels, seed + 3, 1.0));
        let epsilon = 1e-3;
        let exact = |members: &dyn Fn(usize) -> usize, channel: &dyn Fn(usize) -> usize| -> Vec<f64> {
            let x = wide(&x);
            (0..count).map(|i| {
                let same: Vec<f64> = (0..count).filter(|&j| members(j) == members(i)).map(|j| x[j]).collect();
                let mean = same.iter().sum::<f64>() / same.len() as f64;
                let variance = same.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / same.len() as f64;
                let normal = (x[i] - mean) / (variance + f64::from(epsilon)).sqrt();
                normal * f64::from(gamma[channel(i)]) + f64::from(beta[channel(i)])
            }).collect()
        };
        // Group norm.
        let alone = GroupNorm { of, groups, epsilon, relu: false };
        let forward = |norm: GroupNorm, x: &[f32], gamma: &[f32], beta: &[f32], passed: &[f32]| {
            let mut y = x.to_vec();
            let at = norm.forward(&mut y, (gamma, beta), passed);
            (y, at)
        };
        let (y, at) = forward(alone, &x, &gamma, &beta, &[]);
        close(&y, &exact(&|i| i / (per_group * plane), &|i| i / plane % channels), 1e-5)?;
        let mut d = r.clone();
        let (dg, db) = alone.backward(&x, &gamma, &at, &[], &mut d, &mut []);
        is_slope(&x, &d, |x| inner(&forward(alone, x, &gamma, &beta, &[]).0, &r))?;
        is_slope(&gamma, &dg, |gamma| inner(&forward(alone, &x, gamma, &beta, &[]).0, &r))?;
        is_slope(&beta, &db, |beta| inner(&forward(alone, &x, &gamma, beta, &[]).0, &r))?;
        // What comes after it: the same as apart.
        let whole = GroupNorm { relu: true, ..alone };
        let passed = numbers(count, seed + 4, 1.0);
        let (mut by_hand, mut masked) = (y, r.clone());
        by_hand.iter_mut().zip(&passed).for_each(|(y, passed)| *y = (*y + passed).max(0.0));
        let (y, at) = forward(whole, &x, &gamma, &beta, &passed);
        prop_assert_eq!(&y, &by_hand);
        masked.iter_mut().zip(&y).for_each(|(g, &y)| *g = if y > 0.0 { *g } else { 0.0 });
        let (mut d, mut of_passed, mut expected) = (r.clone(), vec![9.0; count], masked.clone());
        let of_affine = whole.backward(&x, &gamma, &at, &y, &mut d, &mut of_passed);
        prop_assert_eq!(of_affine, alone.backward(&x, &gamma, &at, &[], &mut expected, &mut []));
        prop_assert_eq!((d, of_passed), (expected, masked));
        // Batch norm.
        let forward = |x: &[f32], gamma: &[f32], beta: &[f32]| {
            let mut y = x.to_vec();
            let (at, _) = norm::batch_moments(x, of, epsilon);
            norm::batch_norm(&mut y, of, &at, (gamma, beta));
            (y, at)
        };
        let (y, at) = forward(&x, &gamma, &beta);
        close(&y, &exact(&|i| i / plane % channels, &|i| i / plane % channels), 1e-5)?;
        let mut d = r.clone();
        let (dg, db) = norm::batch_norm_backward(&x, of, &at, &gamma, &mut d);
        is_slope(&x, &d, |x| inner(&forward(x, &gamma, &beta).0, &r))?;
        is_slope(&gamma, &dg, |gamma| inner(&forward(&x, gamma, &beta).0, &r))?;
        is_slope(&beta, &db, |beta| inner(&forward(&x, &gamma, beta).0, &r))?;
        // Layer norm over rows of `plane`, and of many more rows than parts.
        if plane > 2 {
            let (gamma, beta) = (numbers(plane, seed + 2, 1.5), numbers(plane, seed + 3, 1.0));
            let forward = |x: &[f32], gamma: &[f32], beta: &[f32]| {
                let mut y = vec![0.0; count];
                let at = norm::layer_norm(x, gamma, beta, epsilon, &mut y);
                (y, at)
            };
            let (_, at) = forward(&x, &gamma, &beta);
            let mut d = r.clone();
            let (dg, db) = norm::layer_norm_backward(&x, &gamma, &at, &mut d);
            is_slope(&x, &d, |x| inner(&forward(x, &gamma, &beta).0, &r))?;
            is_slope(&gamma, &dg, |gamma| inner(&forward(&x, gamma, &beta).0, &r))?;
            is_slope(&beta, &db, |beta| inner(&forward(&x, &gamma, beta).0, &r))?;
        }
    }

    #[test]
    fn pools_equal_their_formulas(
        planes in 1..6_usize,
        (height, width) in (1..12_usize, 1..12_usize),
        (kernel, stride, padding) in (1..4_usize, 1..4_usize, 0..2_usize),
        seed in 0..1_000_u64,
    ) {
        prop_assume!(padding < kernel);
        let window = |input| Window::new(input, kernel, stride, 1, Padding::Explicit { before: padding, after: padding });
        let (Some(rows), Some(columns)) = (window(height), window(width)) else { return Ok(()) };
        let pool = Pool { rows, columns };
        let count = planes * rows.output * columns.output;
        let (x, r) = (numbers(planes * height * width, seed, 1.0), numbers(count, seed + 1, 1.0));
        let windows: Vec<Vec<usize>> = (0..count).map(|o| {
            let (plane, y, x) = (o / (rows.output * columns.output), o / columns.output % rows.output, o % columns.output);
            let (rows, columns) = (&rows, &columns);
            rows.taps(y).flat_map(|ky| columns.taps(x).map(move |kx| (ky, kx)))
                .map(|(ky, kx)| (plane * height + rows.position(y, ky)) * width + columns.position(x, kx)).collect()
        }).collect();
        let (mut y, mut from, mut d) = (vec![0.0; count], vec![0; count], vec![0.0; x.len()]);
        pool.largest(&x, &mut y, &mut from);
        pool.largest_backward(&from, &r, &mut d);
        let mut expected = vec![0.0; x.len()];
        for (o, window) in windows.iter().enumerate() {
            let Some(&most) = window.iter().reduce(|a, b| if x[*b] > x[*a] { b } else { a }) else { continue };
            prop_assert_eq!(y[o], x[most]);
            expected[most] += f64::from(r[o]);
        }
        close(&d, &expected, 1e-6)?;
        for counted in [true, false] {
            pool.mean(&x, counted, &mut y);
            pool.mean_backward(&r, counted, &mut d);
            let mut expected = vec![0.0; x.len()];
            for (o, window) in windows.iter().enumerate() {
                let share = 1.0 / if counted { kernel * kernel } else { window.len().max(1) } as f64;
                let mean = window.iter().map(|&i| f64::from(x[i])).sum::<f64>() * share;
                prop_assert!((f64::from(y[o]) - mean).abs() < 1e-6);
                window.iter().for_each(|&i| expected[i] += f64::from(r[o]) * share);
            }
            close(&d, &expected, 1e-6)?;
        }
    }

    #[test]
    fn attention_equals_its_formula(
        (batch, heads) in (1..3_usize, 1..4_usize),
        length in prop_oneof![1..20_usize, 60..140_usize],
        width in 1..12_usize,
        causal: bool,
        seed in 0..1_000_u64,
    ) {
        let attention = Attention { batch, length, heads, width, causal };
        let qkv = numbers(3 * attention.len(), seed, 1.5);
        let r = numbers(attention.len(), seed + 1, 1.0);
        let forward = |qkv: &[f32]| {
            let (mut o, mut l) = (vec![0.0; attention.len()], vec![0.0; batch * heads * length]);
            attention.forward(qkv, &mut o, &mut l);
            (o, l)
        };
        let (o, l) = forward(&qkv);
        let all = heads * width;
        let at = |b: usize, t: usize, which: usize, h: usize, i: usize| {
            f64::from(qkv[((b * length + t) * 3 + which) * all + h * width + i])
        };
        let mut expected = vec![0.0; o.len()];
        for b in 0..batch {
            for h in 0..heads {
                for t in 0..length {
                    let keys = if causal { t + 1 } else { length };
                    let score = |s| (0..width).map(|i| at(b, t, 0, h, i) * at(b, s, 1, h, i)).sum::<f64>();
                    let p = softmax_row(&(0..keys).map(|s| score(s) / (width as f64).sqrt()).collect::<Vec<_>>());
                    for i in 0..width {
                        let sum = p.iter().enumerate().map(|(s, p)| p * at(b, s, 2, h, i)).sum();
                        expected[(b * length + t) * all + h * width + i] = sum;
                    }
                }
            }
        }
        close(&o, &expected, 2e-6)?;
        let mut d = vec![0.0; qkv.len()];
        attention.backward(&qkv, &o, &l, &r, &mut d);
        is_slope(&qkv, &d, |qkv| inner(&forward(qkv).0, &r))?;
    }

    #[test]
    fn lstm_equals_its_formula(
        (batch, length) in (1..4_usize, 1..7_usize),
        (inputs, hidden) in (1..6_usize, 1..20_usize),
        seed in 0..1_000_u64,
    ) {
        let lstm = Lstm { batch, length, inputs, hidden };
        let wide = 4 * hidden;
        let x = numbers(batch * length * inputs, seed, 1.0);
        let (w, u, b) = (numbers(inputs * wide, seed + 1, 0.7), numbers(hidden * wide, seed + 2, 0.7), numbers(wide, seed + 3, 0.5));
        let r = numbers(batch * length * hidden, seed + 4, 1.0);
        let forward = |x: &[f32], w: &[f32], u: &[f32], b: &[f32]| {
            let mut h = vec![0.0; batch * length * hidden];
            let trace = lstm.forward(x, Weights { input: w, recurrent: u, bias: b }, &mut h);
            (h, trace)
        };
        let (h, trace) = forward(&x, &w, &u, &b);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut expected = vec![0.0; h.len()];
        for s in 0..batch {
            let mut c = vec![0.0; hidden];
            let mut before = vec![0.0; hidden];
            for t in 0..length {
                let z = |k: usize| {
                    f64::from(b[k])
                        + (0..inputs).map(|i| f64::from(x[(s * length + t) * inputs + i]) * f64::from(w[i * wide + k])).sum::<f64>()
                        + (0..hidden).map(|i| before[i] * f64::from(u[i * wide + k])).sum::<f64>()
                };
                let now: Vec<f64> = (0..hidden).map(|j| {
                    c[j] = sigmoid(z(hidden + j)) * c[j] + sigmoid(z(j)) * z(2 * hidden + j).tanh();
                    sigmoid(z(3 * hidden + j)) * c[j].tanh()
                }).collect();
                expected[(s * length + t) * hidden..][..hidden].copy_from_slice(&now);
                before = now;
            }
        }
        close(&h, &expected, 2e-6)?;
        let d = lstm.backward(&x, Weights { input: &w, recurrent: &u, bias: &b }, &h, &trace, &r);
        is_slope(&x, &d.input, |x| inner(&forward(x, &w, &u, &b).0, &r))?;
        is_slope(&w, &d.weights, |w| inner(&forward(&x, w, &u, &b).0, &r))?;
        is_slope(&u, &d.recurrent, |u| inner(&forward(&x, &w, u, &b).0, &r))?;
        is_slope(&b, &d.bias, |b| inner(&forward(&x, &w, &u, b).0, &r))?;
    }
}

#[test]
fn a_window_as_large_as_the_plane_but_shifted_by_padding_sees_a_part() {
    // Two by two taps on two by two pixels, of which padding leaves the first alone.
    let window = Window::new(2, 2, 3, 1, Padding::Explicit { before: 1, after: 1 }).unwrap();
    let pool = Pool { rows: window, columns: window };
    for (counted, expected) in [(false, 8.0), (true, 2.0)] {
        let mut y = [0.0];
        pool.mean(&[8.0, 1.0, 1.0, 1.0], counted, &mut y);
        assert_eq!(y, [expected]);
    }
}
