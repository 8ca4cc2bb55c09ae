//! Firmware as a value: what stands between a plan and the text of a program.
//!
//! Everything that an executor needs, as numbers: constants for Flash, operators that say what is computed, and calls that
//! say where, in the order of the plan's steps. The printers (`c.rs`, `rust.rs`) read this and nothing else.
//!
//! **An image in the arena.** A [`Place`] holds the rows and columns of an image that a piece of the plan holds, `ring`
//! rows at once: pixel (`y`, `x`) lies at `offset + ((y − rows[0]) mod ring · (columns[1] − columns[0]) + x − columns[0])
//! · pixel`. A tensor that is no image is one pixel; so is every tensor of a pair or table that is computed at once. Only
//! [`Kind::Convolution`], [`Kind::Depthwise`], [`Kind::Pool`], [`Kind::Pair`], [`Kind::Table`] and [`Kind::Nearest`] see
//! parts and rings; what the other kinds read and write is whole, and lies in one run of bytes from `offset`.
//!
//! **Order.** A call goes through the pixels `rows` x `columns` of its output, row by row, from the first or, backwards,
//! from the last, and computes a pixel from its operands before it writes it. Element by element the same direction
//! holds within a pixel: backwards, the last channel is written first. With `scratch`, the pixel's window is partly its own
//! output's bytes: the pixel is put together there and then copied. Nothing else may be assumed about overlaps.
//!
//! **Arithmetic** is that of `tersor_kernels::int8` with double rounding: exact 32-bit sums, then
//! [`Multiplier`](tersor_kernels::int8::Multiplier)s.
//!
//! | file | idea |
//! | --- | --- |
//! | `firmware/lowering.rs` | the plan's steps become calls |
//! | `firmware/operators.rs` | the network's operators become numbers |
//! | `firmware/requantization.rs` | how large sums can be, and how they become 8 bits |
//! | `firmware/axes.rs` | axes that follow each other in memory, made one |
//! | `firmware/constants.rs` | what lies in Flash, each datum once |
//!
//! What is not done here: print, or optimise for a processor.

mod axes;
mod constants;
mod lowering;
mod operators;
mod requantization;

use tersor_data::ElementType;
use tersor_kernels::int8::{Affine, Multiplier, Range};
use tersor_kernels::window::Window;
use tersor_network::Network;
use tersor_network::reference::{Options, Reference};

use self::constants::Store;
pub use self::constants::{Constant, ConstantId};
use self::lowering::Builder;
use crate::error::Error;
use crate::plan::bound::Bound;
use crate::plan::{Direction, Plan};

/// A program, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Firmware {
    /// The network's file.
    pub name: String,
    /// Bytes of the arena: the plan's peak.
    pub arena_bytes: usize,
    /// The caller holds the inputs, and is asked for the rows and columns of every [`Feed`]; else a feed is a copy.
    pub streamed: bool,
    /// What the caller gives, in the network's order.
    pub inputs: Vec<Input>,
    /// What the caller gets, in the network's order.
    pub outputs: Vec<Output>,
    /// What lives in the arena between runs.
    pub variables: Vec<Variable>,
    /// What lies in Flash; equal data are stored once.
    pub constants: Vec<Constant>,
    /// What is computed, each once however often it is called.
    pub operators: Vec<Operator>,
    /// The run.
    pub calls: Vec<Call>,
}

/// A tensor that the caller sees. The bytes are those that the arena stores: int8 where the network's first operator
/// quantises or its last one dequantises.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub element_type: ElementType,
    /// What they mean, if they are quantised.
    pub affine: Option<Affine>,
    /// Bytes of all of it.
    pub bytes: usize,
}

/// An input.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// What it is.
    pub port: Port,
    /// Rows, columns and bytes of a pixel, for [`Feed`]s.
    pub image: [usize; 3],
    /// Where it lies whole from the start of a run, if it does: the caller may write it there and save the copy.
    pub resident: Option<usize>,
}

/// An output.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// What it is.
    pub port: Port,
    /// Where it lies, whole, when a run ends.
    pub offset: usize,
}

/// A variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name in the file.
    pub name: String,
    /// Where it lies.
    pub offset: usize,
    /// Its length.
    pub bytes: usize,
    /// What it holds before the first run, and after a reset.
    pub initial: Initial,
}

/// What a variable is initialised with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    /// The same byte everywhere.
    Fill(u8),
    /// These bytes.
    Bytes(ConstantId),
}

/// The part of an image that a piece of the arena holds; see the module's words on addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Start in the arena.
    pub offset: usize,
    /// Rows of the image, the end exclusive.
    pub rows: [usize; 2],
    /// Columns of the image, the end exclusive.
    pub columns: [usize; 2],
    /// Rows kept at once; `rows[1] − rows[0]` where all are.
    pub ring: usize,
    /// Bytes of a pixel.
    pub pixel: usize,
}

impl Place {
    /// Bytes in the arena.
    pub fn bytes(&self) -> usize {
        self.ring * self.row()
    }

    /// Bytes of a row.
    pub fn row(&self) -> usize {
        (self.columns[1] - self.columns[0]) * self.pixel
    }

    /// Where row `y` begins.
    pub fn row_offset(&self, y: usize) -> usize {
        self.offset + (y - self.rows[0]) % self.ring * self.row()
    }

    /// Whether all its rows are kept.
    pub fn is_whole(&self) -> bool {
        self.ring == self.rows[1] - self.rows[0]
    }
}

/// What a call reads: a place in the arena, or data in Flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// In the arena.
    Arena(Place),
    /// In Flash.
    Constant(ConstantId),
}

/// What is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// Position in the file.
    pub node: usize,
    /// TensorFlow Lite's name; with the ADD that is done with it, both.
    pub name: String,
    /// How.
    pub kind: Kind,
}

/// An operator in numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// CONV_2D. Weights are `[out, kh, kw, in/groups]`; the groups are `in_channels / per_group`, and output `o` belongs to
    /// group `o / (out_channels / groups)`.
    Convolution {
        /// What it has in common with the depthwise one.
        filter: Filter,
        /// Input channels of a group.
        per_group: usize,
    },
    /// DEPTHWISE_CONV_2D. Weights are `[kh, kw, out]`; output channel `i·(out/in) + m` reads input channel `i`.
    Depthwise(Filter),
    /// FULLY_CONNECTED. Weights are `[outputs, inputs]`, and mean `w − weight_zero`.
    Matrix {
        /// Rows of the input.
        rows: usize,
        /// Values of an input row.
        inputs: usize,
        /// Values of an output row.
        outputs: usize,
        /// Constant of `outputs · inputs` int8 values.
        weights: ConstantId,
        /// Zero point of the weights.
        weight_zero: i32,
        /// Constant of `outputs` 32-bit values.
        bias: Option<ConstantId>,
        /// Zero point of the input.
        input_zero: i32,
        /// How a sum becomes an int8 value.
        requantization: Requantization,
    },
    /// AVERAGE_POOL_2D (over the taps on the image, half away from zero) or MAX_POOL_2D.
    Pool {
        /// Along the rows.
        rows: Window,
        /// Along the columns.
        columns: Window,
        /// Whether the greatest value is taken, and not the mean.
        greatest: bool,
        /// What the fused activation admits.
        range: Range,
    },
    /// Two operands, element by element. Within one pixel of the output, element `i` (row-major in `shape`) takes from
    /// operand `k` the element at Σ index·steps\[k\].
    Pair {
        /// What is computed.
        formula: PairFormula,
        /// The elements of an output pixel: `[channels]` for an image, all of it for anything else.
        shape: Vec<usize>,
        /// Steps of the operands along `shape`.
        steps: [Vec<usize>; 2],
        /// Whether an operand moves with the output's pixel; one that does not, or a constant, is the same for all pixels.
        spatial: [bool; 2],
    },
    /// One byte from one byte, by a constant of 256.
    Table(ConstantId),
    /// MEAN: for each kept position (row-major in `kept`) the sum over `reduced`, then
    /// `clamp(multiplier · (sum − count·input_zero) + output_zero)`.
    Mean {
        /// Axes that stay: length, and step in the input.
        kept: Vec<[usize; 2]>,
        /// Axes that are averaged: length, and step in the input.
        reduced: Vec<[usize; 2]>,
        /// Elements under one mean.
        count: usize,
        /// Zero point of the input.
        input_zero: i32,
        /// The scales' ratio, divided by `count`.
        multiplier: Multiplier,
        /// Zero point of the output.
        output_zero: i32,
    },
    /// SOFTMAX, as `tersor_kernels::int8::Softmax`.
    Softmax {
        /// Rows.
        rows: usize,
        /// Values of a row.
        depth: usize,
        /// Mantissa of β·scale·2^26.
        mantissa: i32,
        /// Its shift, to the left.
        left_shift: u32,
        /// Differences below this count as nothing.
        least_difference: i32,
    },
    /// RESIZE_NEAREST_NEIGHBOR: pixel (`y`, `x`) is pixel (`rows[y]`, `columns[x]`) of the input.
    Nearest {
        /// Constant of 16-bit rows.
        rows: ConstantId,
        /// Constant of 16-bit columns.
        columns: ConstantId,
    },
    /// RESIZE_BILINEAR with 10-bit weights. Each axis is a constant of 32-bit triples for each output: lower and upper
    /// source, and the weight of the upper, out of 1024.
    Bilinear {
        /// Triples of the rows.
        rows: ConstantId,
        /// Triples of the columns.
        columns: ConstantId,
    },
    /// Operators that only move bytes.
    Movement {
        /// The bytes that fill `writes[0]` before anything is copied, over and over.
        fill: Option<Vec<u8>>,
        /// What is copied.
        copies: Vec<Copies>,
    },
}

/// What the two convolutions have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Along the rows.
    pub rows: Window,
    /// Along the columns.
    pub columns: Window,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Constant of int8 values.
    pub weights: ConstantId,
    /// Constant of `out_channels` 32-bit values.
    pub bias: Option<ConstantId>,
    /// Zero point of the input; a tap on padding adds nothing.
    pub input_zero: i32,
    /// How a sum becomes an int8 value.
    pub requantization: Requantization,
    /// The ADD that is done pixel by pixel with the convolution, over `reads[1]`.
    pub sum: Option<Sum>,
}

/// `clamp(multiplier[c] · Σ + output_zero)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Requantization {
    /// Constant of 32-bit mantissas: one for each output channel, or a single one for all.
    pub mantissas: ConstantId,
    /// Constant of int8 shifts (to the left if positive), as many.
    pub shifts: ConstantId,
    /// Whether there is one multiplier for all channels.
    pub single: bool,
    /// No sum of any input reaches ±2^30, and no shift is positive: the product is `(2·Σ·m + 2^31) >> 32`, the division by
    /// 2^−shift `(p + 2^(−shift−1) − (p < 0)) >> −shift` (for a shift below 0), all without overflow of 32 bits.
    pub narrow: bool,
    /// No sum of any input reaches ±2^30, whatever the shifts.
    pub bounded: bool,
    /// Zero point of the output.
    pub output_zero: i32,
    /// What the fused activation admits.
    pub range: Range,
}

/// ADD, SUB, MUL and their kin, of two int8 values.
#[derive(Debug, Clone, PartialEq)]
pub enum PairFormula {
    /// ADD or SUB.
    Sum(Sum),
    /// MUL: `clamp(output · (a − zeros[0])(b − zeros[1]) + output_zero)`.
    Product {
        /// Zero points of the operands.
        zeros: [i32; 2],
        /// The scales' ratio.
        output: Multiplier,
        /// Zero point of the output.
        output_zero: i32,
        /// What the fused activation admits.
        range: Range,
    },
    /// MAXIMUM.
    Maximum,
    /// MINIMUM.
    Minimum,
    /// PRELU: with `x = a − zeros[0]`, `positive · x` for `x ≥ 0`, `negative · (x · (b − zeros[1]))` below.
    Prelu {
        /// Zero points of input and slopes.
        zeros: [i32; 2],
        /// Multiplier of values from 0 on.
        positive: Multiplier,
        /// Multiplier of the others.
        negative: Multiplier,
        /// Zero point of the output.
        output_zero: i32,
    },
}

/// `clamp(output · (operands[0] · ((a − zeros[0]) << 20) + sign · operands[1] · ((b − zeros[1]) << 20)) + output_zero)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sum {
    /// Of an ADD done with a convolution: whether the convolution's value is `b` (else `a`). False for others.
    pub swapped: bool,
    /// Zero points of the operands.
    pub zeros: [i32; 2],
    /// Multipliers of the operands.
    pub operands: [Multiplier; 2],
    /// 1, or −1 for SUB.
    pub sign: i32,
    /// Multiplier of the sum.
    pub output: Multiplier,
    /// Zero point of the output.
    pub output_zero: i32,
    /// What the fused activation admits.
    pub range: Range,
}

/// A strided copy of runs of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Position in the call's `reads`.
    pub read: usize,
    /// Position in the call's `writes`.
    pub write: usize,
    /// Bytes copied at each position.
    pub bytes: usize,
    /// How many positions along each axis; at most 4 axes where the file's operator has no more, axes of length 1 left out.
    pub shape: Vec<usize>,
    /// First byte read, and the step along each axis, in bytes.
    pub from: (usize, Vec<isize>),
    /// First byte written, and the step along each axis, in bytes.
    pub to: (usize, Vec<isize>),
}

/// One call of an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Position in [`Firmware::operators`].
    pub operator: usize,
    /// The plan's step.
    pub step: usize,
    /// Rows of the output that it computes, the end exclusive.
    pub rows: [usize; 2],
    /// Columns of the output that it computes, the end exclusive.
    pub columns: [usize; 2],
    /// What it reads: of a convolution the input and, with a sum, the other summand; of others all operands, in the file's
    /// order, that [`Kind`] does not hold.
    pub reads: Vec<Operand>,
    /// What it writes.
    pub writes: Vec<Place>,
    /// The order of its pixels.
    pub direction: Direction,
    /// Where a pixel is put together before it is copied, if its output overlaps its window.
    pub scratch: Option<usize>,
    /// What the caller must have fed before.
    pub feeds: Vec<Feed>,
}

/// Rows of an input that the caller gives before a call. They lie in one run of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Position in [`Firmware::inputs`].
    pub input: usize,
    /// Rows of the input, the end exclusive.
    pub rows: [usize; 2],
    /// Columns of the input, the end exclusive.
    pub columns: [usize; 2],
    /// Where they go in the arena.
    pub offset: usize,
}

impl Firmware {
    /// The program that runs `network` as `plan` says.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan is not this network's, [`Error::Emit`] naming the operator that firmware cannot do.
    pub fn new(network: &Network, plan: &Plan) -> Result<Self, Error> {
        let bound = Bound::new(network, plan.clone())?;
        let reference = Reference::prepare(network, Options { memory: u64::MAX, ..Options::default() })?;
        Builder { network, bound: &bound, reference: &reference, constants: Store::default() }.build()
    }

    /// Bytes of constants that are weights, biases, multipliers and tables: what Flash holds besides code.
    pub fn constant_bytes(&self) -> usize {
        self.constants.iter().map(Constant::bytes).sum()
    }
}
