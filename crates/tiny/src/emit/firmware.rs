//! Firmware as a value: what stands between a plan and the text of a program.
//!
//! Everything that an executor needs, as numbers: constants for Flash, operators that say what is computed, and calls that
//! say where, in the order of the plan's steps. The printers (`c.rs`, `rust.rs`) read this and nothing else.
//!
//! **An image in the arena.** A [`Place`] holds the rows and columns of an image that a piece of the plan holds, `ring`
//! rows at once: pixel (`y`, `x`) lies at `offset + ((y − rows[0]) mod ring · (columns[1] − columns[0]) + x − columns[0])
//! · pixel`. A tensor that is no image is one pixel; so is every tensor of a pair or table that is computed at once. Only [`Kind::Convolution`], [`Kind::Depthwise`], [`Kind::Pool`],
//! [`Kind::Pair`], [`Kind::Table`] and [`Kind::Nearest`] see parts and rings; what the other kinds read and write is whole,
//! and lies in one run of bytes from `offset`.
//!
//! **Order.** A call goes through the pixels `rows` x `columns` of its output, row by row, from the first or, backwards,
//! from the last, and computes a pixel from its operands before it writes it. Element by element the same direction
//! holds within a pixel: backwards, the last channel is written first. With `scratch`, the pixel's window is partly its own
//! output's bytes: the pixel is put together there and then copied. Nothing else may be assumed about overlaps.
//!
//! **Arithmetic** is that of `tersor_kernels::int8` with double rounding: exact 32-bit sums, then
//! [`Multiplier`](tersor_kernels::int8::Multiplier)s.
//!
//! What this file does not do: print, or optimise for a processor.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::{Affine, How, Mean, Multiplier, Range};
use tersor_kernels::window::Window;
use tersor_network::operator::Operator as Node;
use tersor_network::reference::numbers::{Formula, Numbers, StridedCopy};
use tersor_network::reference::{Options, Reference};
use tersor_network::{Network, TensorId};

use crate::error::Error;
use crate::plan::bound::Bound;
use crate::plan::{Direction, InputMode, Plan};

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

/// Position in [`Firmware::constants`].
pub type ConstantId = usize;

/// Data for Flash, of one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Constant {
    /// Weights, shifts, constant operands.
    I8(Vec<i8>),
    /// Tables of 8-bit values and other bytes.
    U8(Vec<u8>),
    /// Source rows and columns.
    U16(Vec<u16>),
    /// Biases, mantissas, weights of interpolation.
    I32(Vec<i32>),
}

impl Constant {
    /// Bytes in Flash.
    pub fn bytes(&self) -> usize {
        match self {
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::U16(v) => 2 * v.len(),
            Self::I32(v) => 4 * v.len(),
        }
    }
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

/// Constants, each stored once.
#[derive(Default)]
struct Store {
    all: Vec<Constant>,
    known: HashMap<Constant, ConstantId>,
}

impl Store {
    fn keep(&mut self, constant: Constant) -> ConstantId {
        if let Some(&id) = self.known.get(&constant) {
            return id;
        }
        self.all.push(constant.clone());
        self.known.insert(constant, self.all.len() - 1);
        self.all.len() - 1
    }
}

struct Builder<'a> {
    network: &'a Network,
    bound: &'a Bound,
    reference: &'a Reference,
    constants: Store,
}

/// An operator that is among the firmware's, and how its calls differ from the plan's steps.
struct Known {
    operator: usize,
    constants: Vec<(usize, ConstantId)>,
    images: Option<usize>,
}

/// An operator, and how its calls differ from the plan's steps.
struct Built {
    kind: Kind,
    /// Constants that are read like operands, by position among all operands.
    constants: Vec<(usize, ConstantId)>,
    /// How many images are computed one after the other, if the plan does not see images here.
    images: Option<usize>,
}

impl Builder<'_> {
    fn fault(&self, node: usize, why: impl Into<String>) -> Error {
        let operator = self.network.main().nodes[node].operator.name().to_string();
        Error::Emit { network: self.network.name.clone(), why: format!("operator {node} ({operator}) {}", why.into()) }
    }

    fn build(mut self) -> Result<Firmware, Error> {
        let bound = self.bound;
        let plan = &bound.plan;
        // The file's operator → what it was made into.
        let mut known: HashMap<usize, Known> = HashMap::new();
        let mut operators = Vec::new();
        let mut calls = Vec::new();
        let mut fed_rows: HashMap<usize, usize> = HashMap::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let Known { operator, constants, images } = match known.entry(step.op) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let Built { kind, constants, images } = self.operator(at)?;
                    let name: Vec<&str> = bound.nodes(at).iter().map(|&n| self.name(n)).collect();
                    operators.push(Operator { node: step.op, name: name.join(" + "), kind });
                    entry.insert(Known { operator: operators.len() - 1, constants, images })
                }
            };
            let mut reads: Vec<Operand> = step.reads.iter().map(|&p| Operand::Arena(bound.place(p))).collect();
            for &(position, id) in constants.iter() {
                reads.insert(position.min(reads.len()), Operand::Constant(id));
            }
            let feeds = self.feeds(at, &mut fed_rows);
            let call = Call {
                operator: *operator,
                step: at,
                rows: step.rows,
                columns: step.columns,
                reads,
                writes: step.writes.iter().map(|&p| bound.place(p)).collect(),
                direction: step.direction,
                scratch: plan.scratch.iter().find(|s| s.step == at).map(|s| s.offset),
                feeds,
            };
            self.check(&operators[*operator], &call)?;
            let elements = matches!(operators[*operator].kind, Kind::Pair { .. } | Kind::Table(_));
            calls.extend(if elements && bound.is_whole(at) {
                vec![as_one_pixel(call)]
            } else {
                self.per_image(call, *images)?
            });
        }
        let inputs = (0..self.network.main().inputs.len()).map(|i| self.input(i)).collect::<Result<_, _>>()?;
        let outputs = (0..self.network.main().outputs.len()).map(|i| self.output(i)).collect::<Result<_, _>>()?;
        let variables = bound.initial_values()?.into_iter().map(|(p, bytes)| {
            let name = bound.variable(p).to_string();
            let first = bytes.first().copied().unwrap_or(0);
            let uniform = bytes.iter().all(|&b| b == first);
            let (offset, length) = (bound.place(p).offset, bytes.len());
            let initial = match uniform {
                true => Initial::Fill(first),
                false => Initial::Bytes(self.constants.keep(Constant::U8(bytes))),
            };
            Variable { name, offset, bytes: length, initial }
        });
        let variables = variables.collect();
        Ok(Firmware {
            name: self.network.name.clone(),
            arena_bytes: plan.peak_bytes,
            streamed: plan.input == InputMode::Streamed,
            inputs,
            outputs,
            variables,
            constants: self.constants.all,
            operators,
            calls,
        })
    }

    fn name(&self, node: usize) -> &str {
        self.network.main().nodes[node].operator.name()
    }

    /// What step `at` computes.
    fn operator(&mut self, at: usize) -> Result<Built, Error> {
        let nodes = self.bound.nodes(at);
        let node = nodes[0];
        let operator = &self.network.main().nodes[node].operator;
        let alone = |kind| Built { kind, constants: Vec::new(), images: None };
        if matches!(operator, Node::ReadVariable | Node::AssignVariable) {
            let bytes = self.bound.place(self.bound.plan.steps[at].reads[0]).bytes();
            let whole = Copies { read: 0, write: 0, bytes, shape: vec![], from: (0, vec![]), to: (0, vec![]) };
            return Ok(alone(Kind::Movement { fill: None, copies: vec![whole] }));
        }
        let numbers = self.reference.numbers(self.network, node).map_err(|why| self.fault(node, why))?;
        let shape = |t: Option<TensorId>| t.map_or(&[][..], |t| self.network.main().tensors[t].shape.as_slice());
        let output = shape(self.network.main().nodes[node].outputs.first().copied());
        // What the plan does not see as an image is computed image by image.
        let images = output.first().copied().filter(|_| output.len() == 4 && self.bound.is_whole(at));
        Ok(match numbers {
            Numbers::Convolution { convolution: c, depthwise } => {
                let (rows, columns) = self.bound.window(at).unwrap_or((c.vertical, c.horizontal));
                let taps = c.vertical.kernel * c.horizontal.kernel;
                let per_group = c.weights.len() / (c.out_channels * taps).max(1);
                let sum = match nodes {
                    [_, add] => Some(self.fused_sum(node, *add)?),
                    _ => None,
                };
                let requantization = self.requantization(node, &c, 0, depthwise.then_some(c.out_channels))?;
                let filter = Filter {
                    rows,
                    columns,
                    in_channels: c.in_channels,
                    out_channels: c.out_channels,
                    bias: self.bias(&c.bias),
                    input_zero: c.input_zero,
                    requantization,
                    weights: self.constants.keep(Constant::I8(c.weights)),
                    sum,
                };
                let kind = match depthwise {
                    true => Kind::Depthwise(filter),
                    false => Kind::Convolution { filter, per_group },
                };
                Built { images, ..alone(kind) }
            }
            Numbers::Matrix { matrix: c, weight_zero } => alone(Kind::Matrix {
                rows: c.horizontal.input,
                inputs: c.in_channels,
                outputs: c.out_channels,
                weight_zero,
                bias: self.bias(&c.bias),
                input_zero: c.input_zero,
                requantization: self.requantization(node, &c, weight_zero, None)?,
                weights: self.constants.keep(Constant::I8(c.weights)),
            }),
            Numbers::Pool { vertical, horizontal, range, greatest } => {
                let (rows, columns) = self.bound.window(at).unwrap_or((vertical, horizontal));
                Built { images, ..alone(Kind::Pool { rows, columns, greatest, range }) }
            }
            Numbers::Pair(formula) => self.pair(at, node, formula)?,
            Numbers::Table(table) => alone(Kind::Table(self.constants.keep(Constant::U8(table.to_vec())))),
            Numbers::Mean { mean, shape, reduced } => alone(averaged(&mean, &shape, &reduced)),
            Numbers::Softmax { softmax, depth } => alone(Kind::Softmax {
                rows: output.iter().product::<usize>() / depth.max(1),
                depth,
                mantissa: softmax.multiplier,
                left_shift: softmax.left_shift,
                least_difference: softmax.least_difference,
            }),
            Numbers::Nearest { rows, columns } => {
                let narrow = |v: Vec<usize>| v.into_iter().map(|y| u16::try_from(y).ok()).collect::<Option<Vec<u16>>>();
                let sources = narrow(rows).zip(narrow(columns));
                let (rows, columns) = sources.ok_or_else(|| self.fault(node, "resizes more than 65536 rows"))?;
                let rows = self.constants.keep(Constant::U16(rows));
                let columns = self.constants.keep(Constant::U16(columns));
                Built { images, ..alone(Kind::Nearest { rows, columns }) }
            }
            Numbers::Bilinear { rows, columns } => {
                let triples = |v: Vec<(usize, usize, i64)>| {
                    v.into_iter().flat_map(|(low, high, weight)| [low as i32, high as i32, weight as i32]).collect()
                };
                let rows = self.constants.keep(Constant::I32(triples(rows.0)));
                let columns = self.constants.keep(Constant::I32(triples(columns.0)));
                Built { images, ..alone(Kind::Bilinear { rows, columns }) }
            }
            Numbers::Movement { fill, copies } => self.movement(node, fill, &copies),
            Numbers::Constant(results) => {
                let mut constants = Vec::new();
                let mut copies = Vec::new();
                for (i, result) in results.iter().enumerate() {
                    let bytes = result.to_le_bytes();
                    let (shape, from, to) = (vec![], (0, vec![]), (0, vec![]));
                    copies.push(Copies { read: i, write: i, bytes: bytes.len(), shape, from, to });
                    constants.push((i, self.constants.keep(Constant::U8(bytes))));
                }
                Built { constants, ..alone(Kind::Movement { fill: None, copies }) }
            }
        })
    }

    fn bias(&mut self, bias: &[i32]) -> Option<ConstantId> {
        (!bias.is_empty()).then(|| self.constants.keep(Constant::I32(bias.to_vec())))
    }

    /// `depthwise`: the weights of a channel lie so far apart, not one after the other.
    fn requantization(
        &mut self,
        node: usize,
        c: &tersor_kernels::int8::Convolution,
        weight_zero: i32,
        depthwise: Option<usize>,
    ) -> Result<Requantization, Error> {
        let tersor_kernels::int8::Requantization::FixedPoint(multipliers, _) = &c.requantization else {
            return Err(self.fault(node, "is brought back to 8 bits in floating point"));
        };
        // The greatest sum of any input, channel by channel.
        let furthest = (127 - c.input_zero).abs().max((-128 - c.input_zero).abs());
        let size = |w: i8| i64::from((i32::from(w) - weight_zero).abs());
        let per_channel = c.weights.len() / c.out_channels.max(1);
        let weights = |o: usize| -> i64 {
            match depthwise {
                Some(step) => c.weights.iter().skip(o).step_by(step).map(|&w| size(w)).sum(),
                None => c.weights[o * per_channel..][..per_channel].iter().map(|&w| size(w)).sum(),
            }
        };
        let bias = |o: usize| c.bias.get(o).map_or(0, |&b| i64::from(b).abs());
        let most = (0..c.out_channels).map(|o| weights(o) * i64::from(furthest) + bias(o)).max().unwrap_or(0);
        if most > i64::from(i32::MAX) {
            return Err(self.fault(node, "has sums that 32 bits may not hold"));
        }
        let bounded = most < 1 << 30;
        let narrow = bounded && multipliers.iter().all(|m| m.shift <= 0);
        let single = multipliers.windows(2).all(|m| m[0] == m[1]);
        let kept = if single { &multipliers[..1.min(multipliers.len())] } else { multipliers };
        Ok(Requantization {
            mantissas: self.constants.keep(Constant::I32(kept.iter().map(|m| m.mantissa).collect())),
            shifts: self.constants.keep(Constant::I8(kept.iter().map(|m| m.shift as i8).collect())),
            single,
            narrow,
            bounded,
            output_zero: c.output_zero,
            range: c.range,
        })
    }

    /// The ADD that is done with a convolution.
    fn fused_sum(&self, convolution: usize, add: usize) -> Result<Sum, Error> {
        let graph = self.network.main();
        let swapped =
            graph.nodes[add].inputs.first().copied().flatten() != graph.nodes[convolution].outputs.first().copied();
        match self.reference.numbers(self.network, add).map_err(|why| self.fault(add, why))? {
            Numbers::Pair(Formula::Binary(binary)) => match binary.how {
                How::Sum { operands, sign } => Ok(Sum {
                    swapped,
                    zeros: binary.zeros,
                    operands,
                    sign,
                    output: binary.output,
                    output_zero: binary.output_zero,
                    range: binary.range,
                }),
                How::Product => Err(self.fault(add, "is no sum")),
            },
            _ => Err(self.fault(add, "is no sum")),
        }
    }

    fn pair(&mut self, at: usize, node: usize, formula: Formula) -> Result<Built, Error> {
        let graph = self.network.main();
        let formula = match formula {
            Formula::Extremum(true) => PairFormula::Maximum,
            Formula::Extremum(false) => PairFormula::Minimum,
            Formula::Prelu(p) => PairFormula::Prelu {
                zeros: p.zeros,
                positive: p.positive,
                negative: p.negative,
                output_zero: p.output_zero,
            },
            Formula::Binary(b) => match b.how {
                How::Product => PairFormula::Product {
                    zeros: b.zeros,
                    output: b.output,
                    output_zero: b.output_zero,
                    range: b.range,
                },
                How::Sum { operands, sign } => PairFormula::Sum(Sum {
                    swapped: false,
                    zeros: b.zeros,
                    operands,
                    sign,
                    output: b.output,
                    output_zero: b.output_zero,
                    range: b.range,
                }),
            },
        };
        let operands = &graph.nodes[node].inputs[..2];
        let tensors: Vec<TensorId> = operands.iter().flatten().copied().collect();
        let &[a, b] = tensors.as_slice() else { return Err(self.fault(node, "has no two operands")) };
        let output = &graph.tensors[graph.nodes[node].outputs[0]].shape;
        // Pixel by pixel, an operand of one pixel stays; whole, every axis is gone through.
        let parts = self.bound.spatial(at);
        let is_image = parts.is_some() && output.len() == 4 && output[0] == 1;
        let mut constants = Vec::new();
        for (i, &t) in [a, b].iter().enumerate() {
            if let Some(constant) = graph.tensors[t].constant.as_deref() {
                let Elements::I8(values) = constant else {
                    return Err(self.fault(node, "has an operand that is not int8"));
                };
                constants.push((i, self.constants.keep(Constant::I8(values.clone()))));
            }
        }
        let is_constant = |i: usize| constants.iter().any(|&(c, _)| c == i);
        let (shape, steps) = if is_image {
            let channels = output[3];
            let step = |t: TensorId| usize::from(graph.tensors[t].len() > 1 && channels > 1);
            (vec![channels], [vec![step(a)], vec![step(b)]])
        } else {
            broadcast(&graph.tensors[a].shape, &graph.tensors[b].shape, output)
        };
        let mut moving = parts.unwrap_or_default().into_iter();
        let spatial = [0, 1].map(|i| !is_constant(i) && (!is_image || moving.next().unwrap_or(true)));
        Ok(Built { kind: Kind::Pair { formula, shape, steps, spatial }, constants, images: None })
    }

    fn movement(&mut self, node: usize, fill: Option<Vec<u8>>, copies: &[StridedCopy]) -> Built {
        let graph = self.network.main();
        let inputs = &graph.nodes[node].inputs;
        let element = graph.nodes[node].outputs.first().and_then(|&t| graph.tensors[t].element_type());
        let size = element.map_or(1, ElementType::bytes);
        let mut constants = Vec::new();
        let mut moved: Vec<usize> = copies.iter().map(|c| c.operand).collect();
        moved.dedup();
        // The call reads what is moved, in order; of that, what is constant lies in Flash.
        for (position, &operand) in moved.iter().enumerate() {
            let constant = inputs.get(operand).copied().flatten().and_then(|t| graph.tensors[t].constant.as_deref());
            if let Some(constant) = constant {
                constants.push((position, self.constants.keep(Constant::U8(constant.to_le_bytes()))));
            }
        }
        let copies = copies.iter().map(|copy| {
            let read = moved.iter().position(|&m| m == copy.operand).unwrap_or(0);
            runs(copy, read, size)
        });
        Built { kind: Kind::Movement { fill, copies: copies.collect() }, constants, images: None }
    }

    /// What the caller feeds before step `at`: of a ring the rows that the step asks for, else all.
    fn feeds(&self, at: usize, fed_rows: &mut HashMap<usize, usize>) -> Vec<Feed> {
        let bound = self.bound;
        let mut feeds = Vec::new();
        for &p in &bound.plan.steps[at].reads {
            let Some(input) = bound.input_of(p) else { continue };
            let place = bound.place(p);
            let fed = fed_rows.entry(p).or_insert(place.rows[0]);
            let end = bound.fed_until(at, p);
            while *fed < end {
                // Up to where the ring starts again.
                let within = (*fed - place.rows[0]) % place.ring;
                let stop = end.min(*fed + place.ring - within);
                let offset = place.row_offset(*fed);
                feeds.push(Feed { input, rows: [*fed, stop], columns: place.columns, offset });
                *fed = stop;
            }
        }
        feeds
    }

    /// Kinds that know no parts are given none.
    fn check(&self, operator: &Operator, call: &Call) -> Result<(), Error> {
        let parts = matches!(
            operator.kind,
            Kind::Convolution { .. }
                | Kind::Depthwise(_)
                | Kind::Pool { .. }
                | Kind::Pair { .. }
                | Kind::Table(_)
                | Kind::Nearest { .. }
        ) && !self.bound.is_whole(call.step);
        let places = call.reads.iter().filter_map(|o| if let Operand::Arena(p) = o { Some(p) } else { None });
        let all = places.chain(&call.writes).all(Place::is_whole);
        if parts || all { Ok(()) } else { Err(self.fault(operator.node, "reads or writes a part of a tensor")) }
    }

    /// A call over several images as one call for each.
    fn per_image(&self, call: Call, images: Option<usize>) -> Result<Vec<Call>, Error> {
        let Some(images) = images else { return Ok(vec![call]) };
        let node = self.bound.plan.steps[call.step].op;
        let graph = self.network.main();
        let image = |place: Place, t: TensorId, i: usize| {
            let &[_, height, width, channels] = graph.tensors[t].shape.as_slice() else { return None };
            let (rows, columns) = ([0, height], [0, width]);
            let pixel = channels * graph.tensors[t].element_type()?.bytes();
            let offset = place.offset + i * height * width * pixel;
            Some(Place { offset, rows, columns, ring: height, pixel })
        };
        let one = |i: usize| -> Option<Call> {
            let (Some(&Operand::Arena(read)), Some(&write)) = (call.reads.first(), call.writes.first()) else {
                return None;
            };
            let read = image(read, graph.nodes[node].inputs.first().copied().flatten()?, i)?;
            let write = image(write, *graph.nodes[node].outputs.first()?, i)?;
            let feeds = if i == 0 { call.feeds.clone() } else { Vec::new() };
            let (rows, columns, writes) = (write.rows, write.columns, vec![write]);
            Some(Call { rows, columns, reads: vec![Operand::Arena(read)], writes, feeds, ..call.clone() })
        };
        (0..images).map(|i| one(i).ok_or_else(|| self.fault(node, "has several images that are no images"))).collect()
    }

    fn port(&self, stored: TensorId) -> Result<Port, Error> {
        let tensor = &self.network.main().tensors[stored];
        let network = self.network.name.clone();
        let fault = || Error::Emit { network, why: format!("tensor {} is no array", tensor.name) };
        Ok(Port {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            element_type: tensor.element_type().ok_or_else(fault)?,
            affine: tensor.quantization.as_ref().and_then(|q| q.affine()),
            bytes: tensor.bytes() as usize,
        })
    }

    fn input(&self, i: usize) -> Result<Input, Error> {
        let bound = self.bound;
        let port = self.port(bound.stored_inputs()[i])?;
        let pieces = bound.plan.tensors.iter().enumerate().filter(|(p, _)| bound.input_of(*p) == Some(i));
        let pieces: Vec<usize> = pieces.map(|(p, _)| p).collect();
        let resident = match pieces.as_slice() {
            &[p] if bound.plan.tensors[p].first == 0 => Some(bound.place(p)),
            _ => None,
        };
        let resident = resident.filter(|place| place.bytes() == port.bytes).map(|place| place.offset);
        Ok(Input { port, image: bound.input_image(i), resident })
    }

    fn output(&self, i: usize) -> Result<Output, Error> {
        let port = self.port(self.bound.stored_outputs()[i])?;
        let fault = |why: &str| Error::Emit { network: self.network.name.clone(), why: format!("output {i} {why}") };
        let p = self.bound.output_pieces()?[i];
        let place = self.bound.place(p);
        let whole = place.is_whole() && place.bytes() == port.bytes;
        if whole { Ok(Output { port, offset: place.offset }) } else { Err(fault("is not whole at the end")) }
    }
}

/// A call that goes over all elements at once: every tensor is one pixel.
fn as_one_pixel(call: Call) -> Call {
    let one = |place: Place| {
        let pixel = place.bytes();
        Place { offset: place.offset, rows: [0, 1], columns: [0, 1], ring: 1, pixel }
    };
    let reads = call.reads.iter().map(|&read| match read {
        Operand::Arena(place) => Operand::Arena(one(place)),
        constant => constant,
    });
    let (reads, writes) = (reads.collect(), call.writes.iter().map(|&place| one(place)).collect());
    Call { rows: [0, 1], columns: [0, 1], reads, writes, ..call }
}

/// MEAN, by the axes that stay and those that do not.
fn averaged(mean: &Mean, shape: &[usize], reduced: &[bool]) -> Kind {
    let steps = tersor_kernels::layout::strides(shape);
    let axes = |which: bool| -> Vec<[usize; 2]> {
        let mut axes: Vec<[usize; 2]> = Vec::new();
        for ((&length, &step), &r) in shape.iter().zip(&steps).zip(reduced) {
            if r != which || length == 1 {
                continue;
            }
            match axes.last_mut() {
                // Axes that follow each other in memory are one.
                Some(outer) if outer[1] == length * step => *outer = [outer[0] * length, step],
                _ => axes.push([length, step]),
            }
        }
        axes
    };
    Kind::Mean {
        kept: axes(false),
        reduced: axes(true),
        count: mean.count,
        input_zero: mean.input_zero,
        multiplier: mean.multiplier,
        output_zero: mean.output_zero,
    }
}

/// The output's axes, and the operands' steps along them; axes that follow each other alike are one.
fn broadcast(a: &[usize], b: &[usize], output: &[usize]) -> (Vec<usize>, [Vec<usize>; 2]) {
    let aligned = |s: &[usize]| -> Vec<usize> {
        let long = [vec![1; output.len().saturating_sub(s.len())], s.to_vec()].concat();
        let steps = tersor_kernels::layout::strides(&long);
        long.iter().zip(steps).map(|(&n, step)| if n == 1 { 0 } else { step }).collect()
    };
    let along = [aligned(a), aligned(b)];
    let (mut shape, mut steps): (Vec<usize>, [Vec<usize>; 2]) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (axis, &n) in output.iter().enumerate() {
        if n == 1 {
            continue;
        }
        let joins = |k: usize| steps[k].last().is_some_and(|&outer| outer == along[k][axis] * n);
        if joins(0) && joins(1) {
            *shape.last_mut().expect("what joins has an outer axis") *= n;
            [0, 1].into_iter().for_each(|k| *steps[k].last_mut().expect("as many as axes") = along[k][axis]);
        } else {
            shape.push(n);
            [0, 1].into_iter().for_each(|k| steps[k].push(along[k][axis]));
        }
    }
    if shape.is_empty() {
        return (vec![1], [vec![0], vec![0]]);
    }
    (shape, steps)
}

/// A strided copy of elements as one of runs of bytes: what lies together on both sides is copied together.
fn runs(copy: &StridedCopy, read: usize, size: usize) -> Copies {
    let scaled = |steps: &[isize]| -> Vec<isize> { steps.iter().map(|s| s * size as isize).collect() };
    let (mut from, mut to) = (scaled(&copy.from.1), scaled(&copy.to.1));
    let mut shape = copy.shape.clone();
    let mut bytes = size;
    // Axes of one position lead nowhere.
    for axis in (0..shape.len()).rev().filter(|&axis| copy.shape[axis] == 1) {
        shape.remove(axis);
        from.remove(axis);
        to.remove(axis);
    }
    while let (Some(&f), Some(&t), Some(&n)) = (from.last(), to.last(), shape.last()) {
        if (f, t) != (bytes as isize, bytes as isize) {
            break;
        }
        bytes *= n;
        from.pop();
        to.pop();
        shape.pop();
    }
    // Axes that follow each other on both sides are one.
    for axis in (1..shape.len()).rev() {
        let n = shape[axis] as isize;
        if from[axis - 1] == from[axis] * n && to[axis - 1] == to[axis] * n {
            shape[axis - 1] *= shape[axis];
            from[axis - 1] = from[axis];
            to[axis - 1] = to[axis];
            shape.remove(axis);
            from.remove(axis);
            to.remove(axis);
        }
    }
    Copies { read, write: copy.output, bytes, shape, from: (copy.from.0 * size, from), to: (copy.to.0 * size, to) }
}
