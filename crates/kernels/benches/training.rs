//! Kernels of training at the sizes of the probes, in milliseconds and GFLOP/s (or, where nothing is multiplied, in
//! thousands of millions of numbers a second).
//!
//!     cargo bench -p tersor-kernels --features training --bench training -- [--threads 1] [--only NAME]

use std::time::Instant;

use tersor_kernels::training::activation::Activation;
use tersor_kernels::training::attention::Attention;
use tersor_kernels::training::convolution::Convolution;
use tersor_kernels::training::lstm::{Lstm, Weights};
use tersor_kernels::training::norm::{Channels, GroupNorm, Moments, layer_norm, layer_norm_backward};
use tersor_kernels::training::pool::Pool;
use tersor_kernels::window::{Padding, Window};

/// Input channels, output channels, side, stride, kernel.
const LAYERS: [[usize; 5]; 10] = [
    [3, 16, 32, 1, 3],
    [16, 16, 32, 1, 3],
    [16, 32, 32, 2, 3],
    [32, 32, 16, 1, 3],
    [32, 64, 16, 2, 3],
    [64, 64, 8, 1, 3],
    [16, 32, 32, 2, 1],
    [3, 32, 32, 1, 3],
    [32, 64, 16, 1, 3],
    [1, 6, 28, 1, 5],
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let threads = value("--threads").and_then(|threads| threads.parse().ok()).unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("the pool is built once");
    println!("{:<44} {:>9} {:>9}", "kernel", "ms", "GFLOP/s");
    let rows = Rows { only: value("--only").unwrap_or_default() };
    convolutions(&rows);
    by_number(&rows);
    sequences(&rows);
}

struct Rows {
    only: String,
}

impl Rows {
    fn add(&self, name: &str, operations: f64, mut kernel: impl FnMut()) {
        if !name.contains(&self.only) {
            return;
        }
        kernel();
        let time = |_| {
            let start = Instant::now();
            kernel();
            start.elapsed().as_secs_f64()
        };
        let mut times: Vec<f64> = (0..15).map(time).collect();
        times.sort_unstable_by(f64::total_cmp);
        println!("{name:<44} {:>9.3} {:>9.1}", times[7] * 1e3, operations / times[7] * 1e-9);
    }
}

fn convolutions(rows: &Rows) {
    for [i, o, side, stride, kernel] in LAYERS {
        let padding = Padding::Explicit { before: kernel / 2, after: kernel / 2 };
        let window = Window::new(side, kernel, stride, 1, padding).expect("it fits");
        let c = Convolution { images: 32, in_channels: i, out_channels: o, groups: 1, rows: window, columns: window };
        let (x, w) = (numbers(c.input_len()), numbers(c.weights_len()));
        let (mut y, mut dx, mut dw) = (numbers(c.output_len()), x.clone(), w.clone());
        let operations = 2.0 * (c.output_len() * i * kernel * kernel) as f64;
        let name = |pass| format!("conv {kernel}x{kernel} {i}-{o} {side}x{side} /{stride} {pass}");
        rows.add(&name("forward"), operations, || c.forward(&x, &w, &[], &mut y));
        rows.add(&name("input"), operations, || c.backward_input(&y, &w, &mut dx));
        rows.add(&name("weights"), operations, || c.backward_weights(&x, &y, &mut dw));
    }
}

fn by_number(rows: &Rows) {
    let count = 32 * 16 * 1024;
    let (x, mut y, mut d) = (numbers(count), numbers(count), numbers(count));
    for activation in [Activation::Relu, Activation::Gelu, Activation::Tanh] {
        rows.add(&format!("{activation:?} 512k forward"), count as f64, || activation.forward(&mut y));
        rows.add(&format!("{activation:?} 512k backward"), count as f64, || activation.backward(&x, &mut d));
    }
    let of = Channels { channels: 16, plane: 1024 };
    let affine = (numbers(16), numbers(16));
    let norm = GroupNorm { of, groups: 8, epsilon: 1e-5, relu: true };
    let mut at = Moments::default();
    rows.add("group norm, ReLU 32x16x32x32 forward", count as f64, || {
        at = norm.forward(&mut y, (&affine.0, &affine.1), &[]);
    });
    rows.add("group norm, ReLU 32x16x32x32 backward", count as f64, || {
        norm.backward(&x, &affine.0, &at, &x, &mut d, &mut []);
    });
    let affine = (numbers(256), numbers(256));
    rows.add("layer norm 2048x256 forward", count as f64, || at = layer_norm(&x, &affine.0, &affine.1, 1e-5, &mut y));
    rows.add("layer norm 2048x256 backward", count as f64, || {
        layer_norm_backward(&x, &affine.0, &at, &mut d);
    });
    let window = Window::new(32, 2, 2, 1, Padding::Valid).expect("it fits");
    let pool = Pool { rows: window, columns: window };
    let (mut small, mut from) = (vec![0.0; count / 4], vec![0; count / 4]);
    rows.add("max pool 2x2 32x16x32x32 forward", count as f64, || pool.largest(&x, &mut small, &mut from));
    rows.add("max pool 2x2 32x16x32x32 backward", count as f64, || pool.largest_backward(&from, &small, &mut d));
}

fn sequences(rows: &Rows) {
    let attention = Attention { batch: 8, length: 256, heads: 8, width: 32, causal: true };
    let qkv = numbers(3 * attention.len());
    let (mut o, mut l, mut d) = (numbers(attention.len()), vec![0.0; 8 * 8 * 256], qkv.clone());
    let operations = 2.0 * (8 * 8 * 256 * 256 * 32) as f64;
    rows.add("attention 8x256, 8 heads of 32 forward", operations, || attention.forward(&qkv, &mut o, &mut l));
    let g = numbers(attention.len());
    rows.add("attention 8x256, 8 heads of 32 backward", 2.5 * operations, || {
        attention.backward(&qkv, &o, &l, &g, &mut d);
    });
    let lstm = Lstm { batch: 32, length: 64, inputs: 128, hidden: 256 };
    let (x, w, u, b) = (numbers(32 * 64 * 128), numbers(128 * 1024), numbers(256 * 1024), numbers(1024));
    let mut h = vec![0.0; 32 * 64 * 256];
    let operations = 2.0 * (32 * 64 * 1024 * (128 + 256)) as f64;
    let weights = Weights { input: &w, recurrent: &u, bias: &b };
    let trace = lstm.forward(&x, weights, &mut h);
    rows.add("lstm 32x64, 128-256 forward", operations, || drop(lstm.forward(&x, weights, &mut h)));
    let g = h.clone();
    rows.add("lstm 32x64, 128-256 backward", 2.0 * operations, || drop(lstm.backward(&x, weights, &h, &trace, &g)));
}

/// Numbers in [-1, 1).
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}
