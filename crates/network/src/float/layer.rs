//! Layers with weights: dense or sparse, whichever is asked for or predicted to be faster.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;
use tersor_kernels::sparse::convolution::SparseConvolution;
use tersor_kernels::sparse::cost::{self, Choice};
use tersor_kernels::sparse::linear::SparseLinear;
use tersor_kernels::sparse::{Ending, dense};
use tersor_kernels::training::convolution::Convolution;
use tersor_kernels::training::function::vectors;
use tersor_kernels::training::packed::{Packed as Matrix, Rows};
use tersor_kernels::training::tile::ROWS;

use super::depthwise::Depthwise;
use super::elementwise::Bounds;
use super::memory::{Call, Source};
use super::plan::Weights;
use super::threads::worth;
use super::{Kernel, Layer};

/// A linear layer for so many rows multiplies a matrix that was packed once: for fewer, reading it is the work; for more, a
/// general product, which packs both factors each time, is as fast, and takes the caches' sizes into account.
const SOME_ROWS: usize = 8;
const MANY_ROWS: usize = 192;
/// Rows that one task multiplies: two tiles.
const ROWS_OF_TASK: usize = 2 * ROWS;

/// What a layer computes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Product {
    /// y = W x for rows of x.
    Linear { rows: usize, inputs: usize, outputs: usize },
    /// Images with their channels first.
    Convolution(Convolution),
}

/// A layer, packed: its call, the scratch that it takes, and what to say of it.
pub(super) struct Packed {
    pub call: Call,
    pub scratch: usize,
    pub layer: Layer,
}

/// Where a layer reads and writes.
pub(super) struct Between {
    pub from: Source,
    pub to: Range<usize>,
    pub bounds: Bounds,
}

/// The ending that a kernel has for bounds, and what is left to do after it.
fn ending(bounds: Bounds) -> (Ending, Bounds) {
    match (bounds.least, bounds.most) {
        (0.0, 6.0) => (Ending::Relu6, Bounds::NONE),
        (0.0, f32::INFINITY) => (Ending::Relu, Bounds::NONE),
        _ => (Ending::None, bounds),
    }
}

/// A call of `run(x, ending, y)`.
fn call(between: Between, run: impl Fn(&[f32], Ending, &mut [f32]) + Send + Sync + 'static) -> Call {
    let Between { from, to, bounds } = between;
    let (ending, after) = ending(bounds);
    Box::new(move |frame| {
        let (operands, y, _) = frame.open(&to);
        run(operands.get(&from), ending, y);
        after.apply(y);
    })
}

impl Product {
    fn operator(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "FULLY_CONNECTED",
            Self::Convolution(_) => "CONV_2D",
        }
    }

    /// Multiply-adds, padding included.
    fn macs(&self) -> u64 {
        match *self {
            Self::Linear { rows, inputs, outputs } => rows as u64 * inputs as u64 * outputs as u64,
            Self::Convolution(c) => c.output_len() as u64 * (c.weights_len() / c.out_channels) as u64,
        }
    }

    /// The density below which the sparse form is chosen.
    fn break_even(&self) -> f64 {
        match self {
            Self::Linear { rows, inputs, outputs } => {
                cost::break_even_linear((*outputs, *inputs), *rows, cost::Pattern::Scattered)
            }
            Self::Convolution(c) => cost::break_even_convolution(c),
        }
    }

    /// Packs the weights.
    pub fn pack(self, weights: Weights, kernel: Kernel, between: Between) -> Packed {
        let Weights { name, shape, values, bias } = weights;
        let nonzeros = values.iter().filter(|w| **w != 0.0).count();
        let density = nonzeros as f64 / values.len() as f64;
        let macs = self.macs();
        let (choice, sparse) = self.sparse(&values, nonzeros, kernel);
        let break_even = self.break_even();
        let chosen = if sparse.is_some() { Kernel::Sparse } else { Kernel::Dense };
        let asked = if kernel == chosen { ", as asked" } else { "" };
        let (mine, other, other_name) = match chosen {
            Kernel::Sparse => (choice.sparse_seconds, choice.dense_seconds, "dense"),
            _ => (choice.dense_seconds, choice.sparse_seconds, "sparse"),
        };
        let why = format!(
            "{chosen}{asked}: {:.1} % of weights, {} predicted against {} {other_name}",
            100.0 * density,
            duration(mine),
            duration(other)
        );
        let layer = Layer {
            name,
            operator: self.operator().into(),
            shape,
            nonzeros,
            density,
            macs,
            macs_kept: macs / values.len() as u64 * nonzeros as u64,
            kernel: chosen,
            dense_seconds: choice.dense_seconds,
            sparse_seconds: choice.sparse_seconds,
            break_even,
            why,
        };
        let (call, scratch) = match sparse {
            Some(Sparse::Linear(packed)) => {
                (call(between, move |x, ending, y| packed.run(x, Some(&bias), ending, y)), 0)
            }
            Some(Sparse::Convolution(packed)) => {
                (call(between, move |x, ending, y| packed.run(x, Some(&bias), ending, y)), 0)
            }
            None => self.dense(values, bias, between),
        };
        Packed { call, scratch, layer }
    }

    /// What the cost model says, and the sparse form, if it is to be used.
    fn sparse(&self, weights: &[f32], nonzeros: usize, kernel: Kernel) -> (Choice, Option<Sparse>) {
        let takes = |choice: Choice| match kernel {
            Kernel::Dense => false,
            Kernel::Sparse => choice.sparse_seconds.is_finite(),
            Kernel::Auto => choice.kernel == cost::Kernel::Sparse,
        };
        match self {
            Self::Linear { rows, inputs, outputs } => {
                let packed = SparseLinear::pack(weights, *outputs, *inputs);
                let choice = packed.choice(*rows);
                (choice, takes(choice).then_some(Sparse::Linear(packed)))
            }
            Self::Convolution(c) => {
                let choice = cost::convolution(c, nonzeros);
                let packed = takes(choice).then(|| Sparse::Convolution(SparseConvolution::pack(weights, c)));
                (choice, packed)
            }
        }
    }

    fn dense(self, weights: Vec<f32>, bias: Vec<f32>, between: Between) -> (Call, usize) {
        match self {
            Self::Convolution(c) if c.groups > 1 && c.groups == c.in_channels => {
                let Between { from, to, bounds } = between;
                let (channels, multiplier) = (c.in_channels, c.out_channels / c.in_channels);
                let (rows, columns) = (c.rows, c.columns);
                let depthwise = Depthwise { channels, multiplier, rows, columns, weights, bias, bounds };
                let scratch = depthwise.scratch();
                (depthwise.call(from, to), scratch)
            }
            Self::Convolution(c) if dense::is_pointwise(&c) => {
                (call(between, move |x, ending, y| dense::convolution(&c, x, &weights, Some(&bias), ending, y)), 0)
            }
            Self::Convolution(c) => {
                let packed = c.prepare(&weights);
                let Between { from, to, bounds } = between;
                let call: Call = Box::new(move |frame| {
                    let (operands, y, _) = frame.open(&to);
                    packed.run(operands.get(&from), &bias, y);
                    bounds.apply(y);
                });
                (call, 0)
            }
            Self::Linear { rows, inputs, outputs } if (SOME_ROWS..MANY_ROWS).contains(&rows) => {
                let packed = Matrix::new((inputs, outputs), |k, o| weights[o * inputs + k]);
                (call(between, move |x, ending, y| some_rows(&packed, (inputs, outputs), x, &bias, ending, y)), 0)
            }
            Self::Linear { inputs, outputs, .. } => {
                let shape = (outputs, inputs);
                (call(between, move |x, ending, y| dense::linear(x, &weights, Some(&bias), shape, ending, y)), 0)
            }
        }
    }
}

enum Sparse {
    Linear(SparseLinear),
    Convolution(SparseConvolution),
}

/// y = ending(x Wᵀ + b) for some rows of x.
fn some_rows(
    matrix: &Matrix,
    (inputs, outputs): (usize, usize),
    x: &[f32],
    bias: &[f32],
    ending: Ending,
    y: &mut [f32],
) {
    thread_local! {
        static TILES: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    }
    let multiply = |first: usize, y: &mut [f32]| {
        let count = y.len() / outputs;
        let rows = |start, pitch| Rows { start, pitch, count };
        y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(bias));
        let mut tiles = TILES.take();
        matrix.add_product(x, rows(first * inputs, inputs), y, rows(0, outputs), &mut tiles);
        TILES.set(tiles);
        if ending != Ending::None {
            vectors(
                #[inline(always)]
                || y.iter_mut().for_each(|y| *y = ending.of(*y)),
            );
        }
    };
    // A multiply-add is an eighth of a step.
    if !worth(y.len(), inputs / 8) {
        return multiply(0, y);
    }
    let parts = y.par_chunks_mut(ROWS_OF_TASK * outputs).enumerate();
    parts.for_each(|(part, y)| multiply(part * ROWS_OF_TASK, y));
}

/// Seconds, in a unit that suits them.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        f64::INFINITY => "never".into(),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_that_suits_them() {
        assert_eq!([3.14e-6, 2.5e-3, 12.0].map(duration), ["3.1 us", "2.50 ms", "12.00 s"]);
    }
}
