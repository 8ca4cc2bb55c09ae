//! An integer operator as the numbers that compute it, for whoever writes the computation in another language.
//!
//! The formulas are those of `tersor_kernels::int8`; here stand the multipliers, tables and strides that they take, as
//! [`Reference::prepare`] has checked them. Operators of one 8-bit value are their 256 answers; operators that only
//! move elements are strided copies.

use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::{Binary, Convolution, Interpolation, Mean, Prelu, Range, Softmax};
use tersor_kernels::layout;
use tersor_kernels::window::Window;

use super::arithmetic::{int8_convolution, int8_matrix, int8_pair};
use super::{Action, Reference, Site, affine};
use crate::graph::{Network, TensorKind};
use crate::operator::Operator;
use crate::shape;

/// What an integer operator computes, in numbers.
#[derive(Debug)]
pub enum Numbers {
    /// CONV_2D, grouped where the weights have fewer input channels than the input; or DEPTHWISE_CONV_2D. The windows are
    /// those over the input as the file has it, a PAD before it included.
    Convolution {
        /// Weights and requantisation.
        convolution: Convolution,
        /// Whether each channel is convolved alone.
        depthwise: bool,
    },
    /// FULLY_CONNECTED.
    Matrix {
        /// A 1x1 convolution over rows.
        matrix: Convolution,
        /// The zero point of the weights.
        weight_zero: i32,
    },
    /// AVERAGE_POOL_2D or MAX_POOL_2D.
    Pool {
        /// Along the rows.
        vertical: Window,
        /// Along the columns.
        horizontal: Window,
        /// What the fused activation admits.
        range: Range,
        /// Whether the greatest value is taken, and not the mean.
        greatest: bool,
    },
    /// An operator of two tensors, element by element, with NumPy's broadcasting.
    Pair(Formula),
    /// One 8-bit value from one 8-bit value: the answer to `x` stands at `x as u8`.
    Table(Box<[u8; 256]>),
    /// MEAN.
    Mean {
        /// Divisor and requantisation.
        mean: Mean,
        /// Shape of the input.
        shape: Vec<usize>,
        /// Which axes are averaged.
        reduced: Vec<bool>,
    },
    /// SOFTMAX over rows of `depth` values.
    Softmax {
        /// The scaled differences.
        softmax: Softmax,
        /// Values of a row.
        depth: usize,
    },
    /// RESIZE_NEAREST_NEIGHBOR: the source of each row and column.
    Nearest {
        /// Source rows.
        rows: Vec<usize>,
        /// Source columns.
        columns: Vec<usize>,
    },
    /// RESIZE_BILINEAR.
    Bilinear {
        /// Source rows and weights.
        rows: Interpolation,
        /// Source columns and weights.
        columns: Interpolation,
    },
    /// Operators that only move elements.
    Movement {
        /// The bytes of one element that fills output 0 before anything is copied.
        fill: Option<Vec<u8>>,
        /// What is copied.
        copies: Vec<StridedCopy>,
    },
    /// Its results do not depend on the network's input; one for each output.
    Constant(Vec<Elements>),
}

/// What is computed of two elements.
#[derive(Debug, Clone)]
pub enum Formula {
    /// ADD, SUB or MUL.
    Binary(Binary),
    /// MAXIMUM (`true`) or MINIMUM.
    Extremum(bool),
    /// PRELU.
    Prelu(Prelu),
}

/// A strided copy. Offsets and steps count elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StridedCopy {
    /// Position among the node's inputs.
    pub operand: usize,
    /// Position among the node's outputs.
    pub output: usize,
    /// How many elements along each axis.
    pub shape: Vec<usize>,
    /// First element read, and the step along each axis.
    pub from: (usize, Vec<isize>),
    /// First element written, and the step along each axis.
    pub to: (usize, Vec<isize>),
}

impl Reference {
    /// Node `at` of the main graph of `network`, for which this engine was prepared, in numbers.
    ///
    /// # Errors
    /// Says why the operator has no such numbers: it computes in floating point, keeps a variable, or takes integers wider
    /// than 8 bits.
    pub fn numbers(&self, network: &Network, at: usize) -> Result<Numbers, String> {
        let graph = network.main();
        let node = graph.nodes.get(at).ok_or("there is no such operator")?;
        let constants = &self.graphs[0].constants;
        let site = Site { network, graph, node, constants, options: self.options };
        if let Some(Action::Constant) = self.graphs[0].steps.get(at).map(|s| &s.action) {
            let results = node.outputs.iter().map(|t| constants.get(t).map(|c| (**c).clone()));
            return Ok(Numbers::Constant(results.collect::<Option<_>>().ok_or("its result is no array")?));
        }
        if let Some(movement) = movement(&site)? {
            return Ok(movement);
        }
        let eight_bits = |kind: TensorKind| matches!(kind, TensorKind::Element(ElementType::I8 | ElementType::U8));
        let tensors = [site.input(0)?, site.output(0)?];
        if let Some(tensor) = tensors.iter().find(|t| !eight_bits(t.kind)) {
            return Err(format!("computes {}; only int8 is supported", tensor.kind));
        }
        if site.float_arithmetic() {
            return Err("is brought back to 8 bits in floating point; only fixed point is supported".into());
        }
        numbers(self, &site, at)
    }
}

fn numbers(engine: &Reference, site: &Site, at: usize) -> Result<Numbers, String> {
    let operator = &site.node.operator;
    let (input, output) = (site.input(0)?, site.output(0)?);
    Ok(match operator {
        Operator::Conv2d { .. } | Operator::DepthwiseConv2d { .. } => Numbers::Convolution {
            convolution: int8_convolution(site, operator, None)?,
            depthwise: matches!(operator, Operator::DepthwiseConv2d { .. }),
        },
        Operator::FullyConnected { activation, .. } => {
            let (matrix, weight_zero) = int8_matrix(site, *activation)?;
            Numbers::Matrix { matrix, weight_zero }
        }
        Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool) => {
            let [vertical, horizontal] = shape::pool_windows(&input.shape, pool)?;
            let range = Range::of(pool.activation, affine(output)?);
            Numbers::Pool { vertical, horizontal, range, greatest: matches!(operator, Operator::MaxPool2d(_)) }
        }
        Operator::Add { activation } | Operator::Sub { activation } | Operator::Mul { activation } => {
            let operands = [affine(input)?, affine(site.input(1)?)?];
            Numbers::Pair(Formula::Binary(int8_pair(site, operator, *activation, operands)?))
        }
        Operator::Maximum => Numbers::Pair(Formula::Extremum(true)),
        Operator::Minimum => Numbers::Pair(Formula::Extremum(false)),
        Operator::Prelu => {
            let prelu = Prelu::new(affine(input)?, affine(site.input(1)?)?, affine(output)?, site.options.rounding);
            Numbers::Pair(Formula::Prelu(prelu.ok_or("its scales have no fixed-point form")?))
        }
        Operator::Mean { .. } => {
            let reduced = shape::reduced_axes(&input.shape, site.operand(1)?)?;
            let count = input.shape.iter().zip(&reduced).filter(|(_, r)| **r).map(|(n, _)| n).product();
            let mean = Mean::new(count, affine(input)?, affine(output)?, site.options.rounding);
            let mean = mean.ok_or("its scales have no fixed-point form")?;
            Numbers::Mean { mean, shape: input.shape.clone(), reduced }
        }
        Operator::Softmax { beta } => {
            let softmax = Softmax::new(*beta, affine(input)?.scale).ok_or("its scale is too small")?;
            Numbers::Softmax { softmax, depth: *input.shape.last().ok_or("a scalar has no softmax")? }
        }
        Operator::ResizeBilinear { align_corners, half_pixel_centers } => {
            let (from, to) = (shape::image(&input.shape)?, shape::image(&output.shape)?);
            let along = |i: usize| Interpolation::new(from[i], to[i], *align_corners, *half_pixel_centers);
            Numbers::Bilinear { rows: along(1), columns: along(2) }
        }
        Operator::Logistic
        | Operator::Tanh
        | Operator::Relu
        | Operator::Relu6
        | Operator::ReluN1To1
        | Operator::LeakyRelu { .. }
        | Operator::HardSwish
        | Operator::Quantize => Numbers::Table(table(engine, site, at)?),
        other => return Err(format!("{} does not compute on int8", other.name())),
    })
}

/// The answers of the reference's own kernel to all 256 values.
fn table(engine: &Reference, site: &Site, at: usize) -> Result<Box<[u8; 256]>, String> {
    let all: Vec<u8> = (0..=255).collect();
    let elements = |t: &crate::graph::Tensor, bytes: &[u8]| {
        t.element_type().and_then(|kind| Elements::from_le_bytes(kind, bytes)).ok_or("it is not of 8 bits")
    };
    let questions = elements(site.input(0)?, &all)?;
    let mut answers = [elements(site.output(0)?, &[0; 256])?];
    engine.kernel(at)(&[&questions], &mut answers)?;
    let bytes = answers[0].to_le_bytes();
    Ok(Box::new(bytes.try_into().map_err(|_| "it is not of 8 bits")?))
}

/// Row-major steps of `shape`.
fn along(shape: &[usize]) -> Vec<isize> {
    layout::strides(shape).into_iter().map(|s| s as isize).collect()
}

fn movement(site: &Site) -> Result<Option<Numbers>, String> {
    let operator = &site.node.operator;
    let operands = site.operands();
    let one = |copy: StridedCopy| Numbers::Movement { fill: None, copies: vec![copy] };
    Ok(Some(match operator {
        Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => one(StridedCopy {
            operand: 0,
            output: 0,
            shape: vec![site.input(0)?.len()],
            from: (0, vec![1]),
            to: (0, vec![1]),
        }),
        Operator::Transpose => {
            let shape = &site.input(0)?.shape;
            let permutation = shape::permutation(shape.len(), site.operand(1)?)?;
            let steps = along(shape);
            let turned: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
            let from = (0, permutation.iter().map(|&axis| steps[axis]).collect());
            let to = (0, along(&turned));
            one(StridedCopy { operand: 0, output: 0, shape: turned, from, to })
        }
        Operator::StridedSlice { .. } | Operator::Slice => {
            let slice = match operator {
                Operator::Slice => shape::slice(&operands)?,
                _ => shape::strided_slice(operator, &operands)?.0,
            };
            let steps = layout::strides(&site.input(0)?.shape);
            let base = slice.start.iter().zip(&steps).map(|(i, s)| i * s).sum();
            let by = slice.step.iter().zip(&steps).map(|(by, &s)| by * s as isize).collect();
            let to = (0, along(&slice.count));
            one(StridedCopy { operand: 0, output: 0, shape: slice.count, from: (base, by), to })
        }
        Operator::Split { .. } | Operator::SplitV { .. } | Operator::Unpack { .. } => {
            let (operand, shape, axis, lengths) = match operator {
                Operator::Unpack { axis } => {
                    let shape = &site.input(0)?.shape;
                    let axis = shape::axis(i64::from(*axis), shape.len())?;
                    (0, shape.as_slice(), axis, vec![1; site.node.outputs.len()])
                }
                _ => {
                    let (shape, axis, lengths) = shape::split(operator, &operands)?;
                    (usize::from(matches!(operator, Operator::Split { .. })), shape, axis, lengths)
                }
            };
            let inner: usize = shape[axis + 1..].iter().product();
            let widths: Vec<usize> = lengths.iter().map(|n| n * inner).collect();
            let outer: usize = shape[..axis].iter().product();
            let parts = parts(outer, &widths);
            let copies = parts.into_iter().enumerate().map(|(output, (shape, within, alone))| StridedCopy {
                operand,
                output,
                shape,
                from: within,
                to: alone,
            });
            Numbers::Movement { fill: None, copies: copies.collect() }
        }
        Operator::Pack { axis } | Operator::Concatenation { axis, .. } => {
            let output = site.output(0)?;
            let axis = shape::axis(i64::from(*axis), output.shape.len())?;
            let widths = (0..site.node.inputs.len()).map(|i| Ok(site.input(i)?.shape[axis..].iter().product()));
            let widths = widths.collect::<Result<Vec<usize>, String>>()?;
            let parts = parts(output.shape[..axis].iter().product(), &widths);
            let copies = parts.into_iter().enumerate().map(|(operand, (shape, within, alone))| StridedCopy {
                operand,
                output: 0,
                shape,
                from: alone,
                to: within,
            });
            Numbers::Movement { fill: None, copies: copies.collect() }
        }
        Operator::Pad | Operator::PadV2 => {
            let (input, output) = (site.input(0)?, site.output(0)?);
            let paddings = shape::paddings(&input.shape, site.operand(1)?)?;
            let kind = output.element_type().ok_or("it pads no array")?;
            let fill = match operator {
                Operator::PadV2 => site.constant(2).ok_or("the padding value is not one constant")?.to_le_bytes(),
                _ => {
                    let zero = if output.quantization.is_some() { affine(output)?.zero_point } else { 0 };
                    zero.to_le_bytes()[..kind.bytes().min(4)].to_vec()
                }
            };
            if fill.len() != kind.bytes() {
                return Err(format!("padding of {kind} is not supported"));
            }
            let steps = along(&output.shape);
            let base = paddings.iter().zip(&steps).map(|(p, &s)| p[0] * s as usize).sum();
            let from = (0, along(&input.shape));
            let copy = StridedCopy { operand: 0, output: 0, shape: input.shape.clone(), from, to: (base, steps) };
            Numbers::Movement { fill: Some(fill), copies: vec![copy] }
        }
        Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers } => {
            let (from, to) = (shape::image(&site.input(0)?.shape)?, shape::image(&site.output(0)?.shape)?);
            let sources = |i: usize| layout::nearest_sources(from[i], to[i], *align_corners, *half_pixel_centers);
            Numbers::Nearest { rows: sources(1), columns: sources(2) }
        }
        _ => return Ok(None),
    }))
}

/// A part of a joined tensor: its shape, its steps within the whole, and its steps alone.
type Part = (Vec<usize>, (usize, Vec<isize>), (usize, Vec<isize>));

/// The parts of a tensor that was joined from `outer` turns of `widths` elements each.
fn parts(outer: usize, widths: &[usize]) -> Vec<Part> {
    let row: usize = widths.iter().sum();
    let mut start = 0;
    let part = |&width: &usize| {
        let within = (start, vec![row as isize, 1]);
        start += width;
        (vec![outer, width], within, (0, vec![width as isize, 1]))
    };
    widths.iter().map(part).collect()
}
