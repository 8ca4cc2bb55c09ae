//! Which form is faster: predicted seconds of the dense and of the sparse form, on one thread.
//!
//! A choice must not depend on the hour, so nothing is timed: a kernel takes the longer of its arithmetic and its reading,
//! with constants fitted with `cargo bench -p tersor-kernels --features training --bench sparse` on one core: linear layers on
//! a Zen 3 at 3.1 GHz (AVX2, 512 kB and 32 MB of cache) and, for machines with AVX-512, on a Xeon of the fourth generation
//! (2 MB of second cache); convolutions on a Zen 4 with and without AVX-512. Other machines differ in all constants, less in their ratios; the sparse form is chosen only where it is [`MARGIN`]
//! faster.
//!
//! | | seconds |
//! | --- | --- |
//! | linear, a row | max(steps of the layout · step + rows · row, bytes / bandwidth), bandwidth by where the matrix fits |
//! | linear, many rows | non-zeros · tiles · (step + registers), and the transposes |
//! | convolution | non-zeros · (tiles · step + registers), and the copies of the image with its padding |

use super::convolution::{SparseConvolution, Work};
use super::dense;
use super::linear::FEW;
use crate::training::convolution::Convolution;

/// The sparse form must be predicted to take at most this share of the time of the dense one. Wide, since arithmetic slows
/// down with a busy neighbour on the core, which a dense row that waits for memory does not.
pub const MARGIN: f64 = 0.8;

/// Seconds to transpose a number, there or back.
const TRANSPOSE: f64 = 0.1e-9;
/// Seconds of a row of the matrix and its registers, beside its non-zeros, with many rows of x.
const LINE: f64 = 6e-9;
/// Seconds of a channel of a tile of outputs, beside its non-zeros.
const CHANNEL: f64 = 1e-9;
/// Seconds to copy a number of an image with its padding.
const COPY: f64 = 0.13e-9;
/// Seconds of a row of an image that is copied by itself.
const ROW: f64 = 2.8e-9;
/// Seconds of a dense product with many rows besides: the packing of both factors, per number.
const DENSE_PACK: f64 = 0.5e-9;
/// Seconds of a call.
const CALL: f64 = 0.2e-6;
/// Outputs of a row that is short.
const SHORT: usize = 8;
/// Numbers of a register, as costs count them.
const LANES: usize = 8;

/// What differs between machines.
struct Machine {
    /// Whether layouts of sixteen rows can be had.
    wide: bool,
    /// A second cache.
    near: Reading,
    /// What a matrix may take of a third cache that it shares with all else.
    far: Reading,
    /// Memory.
    memory: Reading,
    /// Multiply-adds a second of a dense product with one row whose matrix is near.
    dense_row: f64,
    /// Of a dense product with many rows.
    dense_rows: f64,
    /// Of a dense convolution.
    dense_convolution: f64,
    /// Where rows are short, or of one channel each.
    dense_short: f64,
    /// Seconds of a non-zero of a convolution, and of each register that it is multiplied with: from a first cache, and from
    /// a second.
    tap: (f64, f64, f64),
    /// Seconds to read and write a register of sums again.
    again: f64,
    /// What a non-zero takes of a linear layer with many rows of x, and each register of these.
    nonzero: (f64, f64),
}

/// A place that matrices are read from.
struct Reading {
    /// Bytes that it holds.
    holds: f64,
    /// Bytes a second of dense rows.
    dense: f64,
    /// Bytes a second of the several streams of a sparse layout.
    sparse: f64,
}

static AVX2: Machine = Machine {
    wide: false,
    near: Reading { holds: 384e3, dense: 70e9, sparse: 70e9 },
    far: Reading { holds: 6e6, dense: 55e9, sparse: 55e9 },
    memory: Reading { holds: f64::INFINITY, dense: 20e9, sparse: 16e9 },
    dense_row: 20e9,
    dense_rows: 42e9,
    dense_convolution: 46e9,
    dense_short: 15e9,
    tap: (0.4e-9, 0.13e-9, 0.22e-9),
    again: 1.6e-9,
    nonzero: (0.2e-9, 0.22e-9),
};

static AVX512: Machine = Machine {
    wide: true,
    near: Reading { holds: 1.5e6, dense: 80e9, sparse: 55e9 },
    far: Reading { holds: 6e6, dense: 26e9, sparse: 24e9 },
    memory: Reading { holds: f64::INFINITY, dense: 24e9, sparse: 22e9 },
    dense_row: 20e9,
    dense_rows: 42e9,
    dense_convolution: 49e9,
    dense_short: 15e9,
    tap: (0.6e-9, 0.23e-9, 0.38e-9),
    again: 3.2e-9,
    nonzero: (0.1e-9, 0.16e-9),
};

/// The constants of this machine.
fn here() -> &'static Machine {
    if super::windows::is_wide() { &AVX512 } else { &AVX2 }
}

/// How the non-zeros of a linear layer lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pattern {
    /// Anywhere.
    #[default]
    Scattered,
    /// In blocks of 8 outputs of one input.
    Tall,
    /// In blocks of 8 inputs of one output.
    Flat,
    /// Two of each four inputs.
    TwoOfFour,
}

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// All weights, zeros too.
    Dense,
    /// The weights that are there.
    Sparse,
}

/// The form to take, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The form.
    pub kernel: Kernel,
    /// Predicted for the dense form.
    pub dense_seconds: f64,
    /// Predicted for the sparse form.
    pub sparse_seconds: f64,
}

impl Choice {
    /// The sparse form where it is [`MARGIN`] faster.
    pub fn between(dense_seconds: f64, sparse_seconds: f64) -> Self {
        let kernel = if sparse_seconds < MARGIN * dense_seconds { Kernel::Sparse } else { Kernel::Dense };
        Self { kernel, dense_seconds, sparse_seconds }
    }
}

/// For a linear layer `[outputs][inputs]` with `nonzeros` weights that lie in a pattern, and `batch` rows of x.
///
/// Where the weights are at hand, `SparseLinear::choice` counts what they take, and is exact where this expects.
pub fn linear(shape: (usize, usize), batch: usize, nonzeros: usize, pattern: Pattern) -> Choice {
    here().linear(shape, batch, nonzeros, pattern)
}

/// For a convolution with `nonzeros` weights, anywhere. One that has no sparse form takes infinitely long in it.
pub fn convolution(geometry: &Convolution, nonzeros: usize) -> Choice {
    here().convolution(geometry, nonzeros)
}

/// Whether the sparse form of a convolution is faster with its input channels in blocks.
pub(super) fn pays_in_blocks(geometry: &Convolution, nonzeros: usize) -> bool {
    let machine = here();
    machine.tiled(geometry, nonzeros, true) < machine.tiled(geometry, nonzeros, false)
}

/// The density, in [0, 1], below which the sparse form of a linear layer is chosen.
pub fn break_even_linear(shape: (usize, usize), batch: usize, pattern: Pattern) -> f64 {
    let all = shape.0 * shape.1;
    break_even(all, |nonzeros| linear(shape, batch, nonzeros, pattern))
}

/// The density, in [0, 1], below which the sparse form of a convolution is chosen.
pub fn break_even_convolution(geometry: &Convolution) -> f64 {
    break_even(geometry.weights_len(), |nonzeros| convolution(geometry, nonzeros))
}

/// The share of `all` where the choice changes, by bisection: more non-zeros never take less time.
fn break_even(all: usize, choice: impl Fn(usize) -> Choice) -> f64 {
    let (mut sparse, mut dense) = (0, all + 1);
    if all == 0 || choice(0).kernel == Kernel::Dense {
        return 0.0;
    }
    while dense - sparse > 1 {
        let middle = sparse + (dense - sparse) / 2;
        match choice(middle).kernel {
            Kernel::Sparse => sparse = middle,
            Kernel::Dense => dense = middle,
        }
    }
    sparse as f64 / all as f64
}

/// What a layout of a linear layer takes for one row of x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layout {
    /// CSR.
    Gathered,
    /// Eight rows in lockstep with windows of 8 inputs, in so many steps.
    Lockstep(usize),
    /// Sixteen rows with windows of 16.
    WideLockstep(usize),
    /// Eight rows with windows of 16, without gaps.
    Compact(usize),
    /// Sixteen rows, without gaps.
    WideCompact(usize),
    /// So many blocks of 8x1.
    Tall(usize),
    /// So many blocks of 1x8.
    Flat(usize),
    /// So many windows of 2:4 in eight rows.
    Half(usize),
}

/// What a layout costs.
struct LayoutCost {
    /// Bytes of a step.
    bytes: f64,
    /// Seconds of a step.
    step: f64,
    /// Seconds of a row.
    row: f64,
}

impl Layout {
    fn steps(self, nonzeros: usize) -> (usize, LayoutCost) {
        let cost = |bytes, step, row| LayoutCost { bytes, step, row };
        let values = |steps: usize| 4.0 * nonzeros as f64 / (steps as f64).max(1.0);
        match self {
            Self::Gathered => (nonzeros, cost(6.0, 0.5e-9, 6e-9)),
            Self::Lockstep(steps) => (steps, cost(38.0, 0.8e-9, 1.5e-9)),
            Self::WideLockstep(steps) => (steps, cost(74.0, 0.8e-9, 1.5e-9)),
            Self::Compact(steps) => (steps, cost(7.0 + values(steps), 1.4e-9, 1.5e-9)),
            Self::WideCompact(steps) => (steps, cost(12.0 + values(steps), 1.4e-9, 1.5e-9)),
            Self::Tall(blocks) => (blocks, cost(36.0, 0.6e-9, 1e-9)),
            Self::Flat(blocks) => (blocks, cost(36.0, 0.6e-9, 7e-9)),
            Self::Half(windows) => (windows, cost(68.0, 1.0e-9, 1.5e-9)),
        }
    }
}

/// Seconds of a layout with one row of x.
pub(super) fn single_row(shape: (usize, usize), nonzeros: usize, layout: Layout) -> f64 {
    here().single_row(shape, nonzeros, layout)
}

/// Seconds of non-zeros with many rows of x.
pub(super) fn many_rows(shape: (usize, usize), batch: usize, nonzeros: usize) -> f64 {
    here().many_rows(shape, batch, nonzeros)
}

/// Seconds of a dense linear layer.
pub(super) fn dense_linear(shape: (usize, usize), batch: usize) -> f64 {
    here().dense_linear(shape, batch)
}

/// Lanes that do work in a step of scattered non-zeros: density; of eight rows with windows of 8 inputs and of 16; of sixteen
/// rows with windows of 16. Simulated, 784 inputs.
const LANES_USED: [(f64, [f64; 3]); 8] = [
    (0.0, [1.0, 1.0, 1.0]),
    (0.05, [2.88, 3.84, 6.64]),
    (0.08, [3.57, 4.65, 8.47]),
    (0.1, [3.95, 4.97, 9.30]),
    (0.2, [5.16, 6.14, 11.70]),
    (0.3, [5.97, 6.67, 12.96]),
    (0.5, [6.86, 7.33, 14.41]),
    (1.0, [8.0, 8.0, 16.0]),
];

impl Machine {
    fn linear(&self, shape: (usize, usize), batch: usize, nonzeros: usize, pattern: Pattern) -> Choice {
        let sparse = if batch < FEW {
            batch as f64 * self.expected(shape, nonzeros, pattern)
        } else {
            self.many_rows(shape, batch, nonzeros)
        };
        Choice::between(self.dense_linear(shape, batch), sparse)
    }

    fn convolution(&self, geometry: &Convolution, nonzeros: usize) -> Choice {
        let fits = SparseConvolution::fits(geometry);
        let sparse = if fits { self.sparse_convolution(geometry, nonzeros) } else { f64::INFINITY };
        Choice::between(self.dense_convolution(geometry), sparse)
    }

    fn reading(&self, bytes: f64) -> &Reading {
        [&self.near, &self.far].into_iter().find(|place| bytes <= place.holds).unwrap_or(&self.memory)
    }

    fn single_row(&self, (outputs, _): (usize, usize), nonzeros: usize, layout: Layout) -> f64 {
        let (steps, cost) = layout.steps(nonzeros);
        let bytes = steps as f64 * cost.bytes;
        let arithmetic = steps as f64 * cost.step + outputs as f64 * cost.row;
        arithmetic.max(bytes / self.reading(bytes).sparse) + CALL
    }

    /// Seconds with one row of x of the cheapest layout that non-zeros in a pattern are expected to fit.
    fn expected(&self, (outputs, inputs): (usize, usize), nonzeros: usize, pattern: Pattern) -> f64 {
        let density = nonzeros as f64 / ((outputs * inputs) as f64).max(1.0);
        let above = LANES_USED.iter().position(|used| used.0 >= density).unwrap_or(LANES_USED.len() - 1).max(1);
        let (low, high) = (LANES_USED[above - 1], LANES_USED[above]);
        let share = ((density - low.0) / (high.0 - low.0)).min(1.0);
        let steps = |of: usize| (nonzeros as f64 / (low.1[of] + share * (high.1[of] - low.1[of]))).ceil() as usize;
        let scattered = [Layout::Gathered, Layout::Lockstep(steps(0)), Layout::Compact(steps(1))];
        let wide = [Layout::WideLockstep(steps(2)), Layout::WideCompact(steps(2))];
        let pattern = match pattern {
            Pattern::Scattered => None,
            Pattern::Tall => Some(Layout::Tall(nonzeros.div_ceil(LANES))),
            Pattern::Flat => Some(Layout::Flat(nonzeros.div_ceil(LANES))),
            Pattern::TwoOfFour => Some(Layout::Half(outputs.div_ceil(LANES) * inputs.div_ceil(4))),
        };
        let seconds = |layout| self.single_row((outputs, inputs), nonzeros, layout);
        let wide = wide.into_iter().filter(|_| self.wide);
        scattered.into_iter().chain(wide).chain(pattern).map(seconds).fold(f64::INFINITY, f64::min)
    }

    fn many_rows(&self, (outputs, inputs): (usize, usize), batch: usize, nonzeros: usize) -> f64 {
        let tiles = batch.div_ceil(4 * LANES) as f64;
        let registers = batch.div_ceil(LANES) as f64;
        let lines = (outputs * inputs.div_ceil(super::batch::BLOCK)) as f64;
        nonzeros as f64 * (tiles * self.nonzero.0 + registers * self.nonzero.1)
            + tiles * lines * LINE
            + ((outputs + inputs) * batch.next_multiple_of(LANES)) as f64 * TRANSPOSE
            + CALL
    }

    fn dense_linear(&self, (outputs, inputs): (usize, usize), batch: usize) -> f64 {
        let numbers = (outputs * inputs) as f64;
        let bytes = 4.0 * numbers;
        let read = bytes / self.reading(bytes).dense;
        if batch < dense::MANY {
            // Some rows share what is read.
            let arithmetic = numbers * batch as f64 / self.dense_row;
            return arithmetic.max(batch.div_ceil(dense::SHARE) as f64 * read) + CALL / 2.0;
        }
        (numbers * batch as f64 / self.dense_rows).max(read) + ((outputs + inputs) * batch) as f64 * DENSE_PACK
    }

    fn dense_convolution(&self, geometry: &Convolution) -> f64 {
        let pixels = geometry.rows.output * geometry.columns.output;
        let multiplications = (geometry.images * pixels * geometry.weights_len()) as f64;
        let depthwise = geometry.groups == geometry.in_channels && geometry.groups > 1;
        let rows =
            (geometry.images * geometry.in_channels * geometry.rows.input) as f64 * geometry.columns.stride as f64;
        let speed = if dense::is_pointwise(geometry) {
            self.dense_rows
        } else if depthwise || geometry.columns.output < SHORT {
            self.dense_short
        } else {
            self.dense_convolution
        };
        multiplications / speed + geometry.input_len() as f64 * COPY + rows * ROW
    }

    fn sparse_convolution(&self, geometry: &Convolution, nonzeros: usize) -> f64 {
        self.tiled(geometry, nonzeros, false).min(self.tiled(geometry, nonzeros, true))
    }

    /// The sparse form, with its input channels in blocks or not.
    fn tiled(&self, geometry: &Convolution, nonzeros: usize, in_blocks: bool) -> f64 {
        let work = Work::of(geometry, if self.wide { 2 * LANES } else { LANES }, in_blocks);
        let (tiles, registers, channels) = (work.tiles as f64, work.registers as f64, geometry.out_channels as f64);
        let register = if work.is_near { self.tap.1 } else { self.tap.2 };
        geometry.images as f64
            * (nonzeros as f64 * (tiles * self.tap.0 + registers * register)
                + tiles * channels * CHANNEL
                + (work.blocks - 1) as f64 * registers * channels * self.again
                + work.copied as f64 * COPY
                + work.rows as f64 * ROW)
            + CALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Padding, Window};

    #[test]
    fn more_weights_never_take_less_time() {
        let window = Window::new(32, 3, 1, 1, Padding::Same).unwrap();
        let c = Convolution { images: 1, in_channels: 64, out_channels: 64, groups: 1, rows: window, columns: window };
        for machine in [&AVX2, &AVX512] {
            for pattern in [Pattern::Scattered, Pattern::Tall, Pattern::Flat] {
                for shape in [(300, 784), (4096, 4096)] {
                    for batch in [1, 64] {
                        let count = |percent: usize| shape.0 * shape.1 / 100 * percent;
                        let seconds = |k: usize| machine.linear(shape, batch, count(k), pattern).sparse_seconds;
                        let grows = (1..100).all(|k| seconds(k) <= 1.0001 * seconds(k + 1));
                        assert!(grows, "{pattern:?} {shape:?} {batch}, wide: {}", machine.wide);
                    }
                }
            }
            let seconds = |k: usize| machine.sparse_convolution(&c, k * 300);
            assert!((1..100).all(|k| seconds(k) <= seconds(k + 1)));
        }
    }

    #[test]
    fn a_whole_matrix_is_dense_for_any_number_of_rows() {
        let shape = (4096, 4096);
        for batch in [1, 2, 4, 5, 7, 8, 64] {
            for machine in [&AVX2, &AVX512] {
                let choice = machine.linear(shape, batch, shape.0 * shape.1, Pattern::Scattered);
                assert_eq!(choice.kernel, Kernel::Dense, "{batch} rows, wide: {}", machine.wide);
            }
        }
    }

    #[test]
    fn a_tenth_is_sparse_and_all_is_dense() {
        let window = |side, kernel| Window::new(side, kernel, 1, 1, Padding::Same).unwrap();
        for (channels, side, kernel) in [(256, 28, 1), (64, 32, 3), (16, 32, 3)] {
            let (rows, columns) = (window(side, kernel), window(side, kernel));
            let c = Convolution { images: 1, in_channels: channels, out_channels: channels, groups: 1, rows, columns };
            assert!((0.1..1.0).contains(&break_even_convolution(&c)));
        }
        for shape in [(300, 784), (100, 300), (4096, 4096)] {
            for batch in [1, 64] {
                for pattern in [Pattern::Scattered, Pattern::Tall, Pattern::Flat] {
                    assert!((0.1..1.0).contains(&break_even_linear(shape, batch, pattern)), "{shape:?} {batch}");
                }
            }
        }
    }
}
