//! Pruned layers beside dense ones, in milliseconds; the ratio is how many times faster the sparse form is, and the last
//! column which form the cost model takes. The two forms take turns, so that both have the same machine;
//! medians of 15, and the ratio of the best times, which a busy machine disturbs less. GMAC/s counts the weights that are there.
//!
//!     cargo bench -p tersor-kernels --features training --bench sparse -- [--threads 2] [--only NAME]

use std::time::Instant;

use tersor_kernels::sparse::convolution::SparseConvolution;
use tersor_kernels::sparse::cost::{self, Kernel};
use tersor_kernels::sparse::linear::SparseLinear;
use tersor_kernels::sparse::{Ending, dense};
use tersor_kernels::training::convolution::Convolution;
use tersor_kernels::window::{Padding, Window};

const DENSITIES: [f64; 6] = [0.05, 0.08, 0.1, 0.2, 0.3, 0.5];
/// Outputs, inputs.
const LINEAR: [(usize, usize); 3] = [(300, 784), (100, 300), (4096, 4096)];
/// Input channels, output channels, side, kernel, stride, padding.
const CONVOLUTIONS: [[usize; 6]; 8] = [
    [256, 256, 28, 1, 1, 0],
    [64, 64, 32, 3, 1, 1],
    [16, 16, 32, 3, 1, 1],
    [32, 32, 16, 3, 1, 1],
    [64, 64, 8, 3, 1, 1],
    [20, 50, 12, 5, 1, 0],
    [32, 64, 32, 3, 2, 1],
    [32, 64, 16, 1, 2, 0],
];
/// A sample takes about so many seconds, by repeating the kernel: as in a service that runs a layer again and again, what
/// fits a cache is read from there, after the first time.
const SAMPLE: f64 = 3e-3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let threads = value("--threads").and_then(|threads| threads.parse().ok());
    let only = value("--only").unwrap_or_default();
    println!(
        "{:<34} {:>5} {:>2} {:>12} {:>9} {:>9} {:>6} {:>6} {:>7} {:>9} {:>9} {:>7}",
        "layer",
        "kept",
        "t",
        "layout",
        "dense ms",
        "sparse ms",
        "ratio",
        "best",
        "GMAC/s",
        "model d",
        "model s",
        "takes"
    );
    let table = Table { threads: threads.map_or(vec![1, 2], |threads| vec![threads]), only };
    for (outputs, inputs) in LINEAR {
        for batch in [1, 64] {
            for pattern in ["scattered", "8x1", "1x8", "2:4"] {
                let densities: &[f64] = if pattern == "2:4" { &DENSITIES[5..] } else { &DENSITIES };
                for &density in densities {
                    table.linear((outputs, inputs), batch, pattern, density);
                }
            }
        }
    }
    for shape in CONVOLUTIONS {
        for density in DENSITIES {
            table.convolution(shape, density);
        }
    }
}

struct Table {
    threads: Vec<usize>,
    only: String,
}

/// A layer in its two forms.
struct Layer<'a> {
    name: String,
    density: f64,
    layout: &'a str,
    multiplications: f64,
    choice: cost::Choice,
    dense: &'a mut (dyn FnMut() + Send),
    sparse: &'a mut (dyn FnMut() + Send),
}

impl Table {
    fn linear(&self, (outputs, inputs): (usize, usize), batch: usize, pattern: &str, density: f64) {
        let name = format!("linear {outputs}x{inputs} b{batch} {pattern}");
        if !name.contains(&self.only) {
            return;
        }
        let keep = mask(outputs, inputs, pattern, density);
        let mut w = numbers(outputs * inputs);
        w.iter_mut().zip(keep).filter(|(_, keep)| !keep).for_each(|(w, _)| *w = 0.0);
        let (x, bias) = (numbers(batch * inputs), numbers(outputs));
        let packed = SparseLinear::pack(&w, outputs, inputs);
        let [mut a, mut b] = [(); 2].map(|()| vec![0.0; batch * outputs]);
        self.rows(Layer {
            name,
            density: packed.density(),
            layout: if batch == 1 { packed.layout() } else { "batch" },
            multiplications: (packed.nonzeros() * batch) as f64,
            choice: packed.choice(batch),
            dense: &mut || dense::linear(&x, &w, Some(&bias), (outputs, inputs), Ending::Relu, &mut a),
            sparse: &mut || packed.run(&x, Some(&bias), Ending::Relu, &mut b),
        });
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-2), "both forms give the same");
    }

    fn convolution(&self, [i, o, side, kernel, stride, padding]: [usize; 6], density: f64) {
        let name = format!("conv {kernel}x{kernel} {i}-{o} {side}x{side} /{stride}");
        if !name.contains(&self.only) {
            return;
        }
        let padding = Padding::Explicit { before: padding, after: padding };
        let window = Window::new(side, kernel, stride, 1, padding).expect("it fits");
        let geometry =
            Convolution { images: 1, in_channels: i, out_channels: o, groups: 1, rows: window, columns: window };
        let keep = mask(o, i * kernel * kernel, "scattered", density);
        let mut w = numbers(geometry.weights_len());
        w.iter_mut().zip(keep).filter(|(_, keep)| !keep).for_each(|(w, _)| *w = 0.0);
        let (x, bias) = (numbers(geometry.input_len()), numbers(o));
        let packed = SparseConvolution::pack(&w, &geometry);
        // Packed once, as the engine has it; pixels by themselves are a product of matrices.
        let prepared = geometry.prepare(&w);
        let pointwise = dense::is_pointwise(&geometry);
        let [mut a, mut b] = [(); 2].map(|()| vec![0.0; geometry.output_len()]);
        self.rows(Layer {
            name,
            density: packed.density(),
            layout: "direct",
            multiplications: (packed.nonzeros() * window.output * window.output) as f64,
            choice: cost::convolution(&geometry, packed.nonzeros()),
            dense: &mut || {
                if pointwise {
                    return dense::convolution(&geometry, &x, &w, Some(&bias), Ending::Relu, &mut a);
                }
                prepared.run(&x, &bias, &mut a);
                a.iter_mut().for_each(|y| *y = Ending::Relu.of(*y));
            },
            sparse: &mut || packed.run(&x, Some(&bias), Ending::Relu, &mut b),
        });
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-2), "both forms give the same");
    }

    fn rows(&self, layer: Layer<'_>) {
        let Layer { name, density, layout, multiplications, choice, dense, sparse } = layer;
        for &threads in &self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let time = |form: &mut (dyn FnMut() + Send), repeats: usize| {
                let mut run = || {
                    let start = Instant::now();
                    (0..repeats).for_each(|_| form());
                    start.elapsed().as_secs_f64() / repeats as f64
                };
                pool.install(&mut run)
            };
            let repeats = |once: f64| ((SAMPLE / once.max(1e-9)) as usize).clamp(1, 5000);
            let mut forms = [(&mut *dense, 1, vec![]), (&mut *sparse, 1, vec![])];
            for (form, times, _) in &mut forms {
                time(form, 1);
                *times = repeats(time(form, 1));
            }
            for _ in 0..15 {
                for (form, times, samples) in &mut forms {
                    samples.push(time(form, *times));
                }
            }
            let median_and_best = |mut samples: Vec<f64>| {
                samples.sort_unstable_by(f64::total_cmp);
                (samples[samples.len() / 2], samples[0])
            };
            let [dense, sparse] = forms.map(|(_, _, samples)| median_and_best(samples));
            let best = dense.1 / sparse.1;
            let (dense, sparse) = (dense.0, sparse.0);
            println!(
                "{name:<34} {density:>5.2} {threads:>2} {layout:>12} {:>9.4} {:>9.4} {:>6.2} {best:>6.2} {:>7.1} {:>9.4} {:>9.4} {:>7}",
                dense * 1e3,
                sparse * 1e3,
                dense / sparse,
                multiplications / sparse * 1e-9,
                choice.dense_seconds * 1e3,
                choice.sparse_seconds * 1e3,
                match choice.kernel {
                    Kernel::Dense => "dense",
                    Kernel::Sparse => "sparse",
                }
            );
        }
    }
}

/// Which weights of `[outputs][inputs]` are there.
fn mask(outputs: usize, inputs: usize, pattern: &str, density: f64) -> Vec<bool> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut drawn = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut keep = vec![false; outputs * inputs];
    match pattern {
        "8x1" => {
            for row in (0..outputs).step_by(8) {
                for column in 0..inputs {
                    let kept = drawn() < density;
                    (row..outputs.min(row + 8)).for_each(|row| keep[row * inputs + column] = kept);
                }
            }
        }
        "1x8" => {
            for row in keep.chunks_mut(inputs) {
                row.chunks_mut(8).for_each(|block| block.fill(drawn() < density));
            }
        }
        "2:4" => {
            for row in keep.chunks_mut(inputs) {
                for window in row.chunks_mut(4) {
                    let first = (drawn() * 4.0) as usize;
                    let second = (first + 1 + (drawn() * 3.0) as usize) % 4;
                    window[first] = true;
                    window[second] = true;
                }
            }
        }
        _ => keep.iter_mut().for_each(|keep| *keep = drawn() < density),
    }
    keep
}

/// Numbers in [-1, 1), none of them 0.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32 + 0.5) / (1 << 23) as f32 - 1.0).collect()
}
