//! Operators as closures over places in memory.

use std::ops::Range;
use std::sync::Arc;

use tersor_kernels::layout::strides;
use tersor_kernels::training::convolution::Convolution;
use tersor_kernels::training::function::{sigmoid, tanh};
use tersor_kernels::window::Window;

use super::elementwise::{Meeting, Normalization, map, meet};
use super::layer::{Between, Packed, Product};
use super::memory::{Call, Source};
use super::movement::{Walk, concatenate};
use super::plan::{Kind, Op, Planner, Weights, clamps};
use super::pool::{self, Pooling};
use super::storage::{Storage, Value};
use super::{Kernel, MOST_NUMBERS};
use crate::graph::{Layout, TensorId};
use crate::operator::Operator;
use crate::shape::{self, Image};

/// An operator, and what building it may ask.
pub(super) struct Site<'a> {
    pub planner: &'a Planner<'a>,
    pub storage: &'a Storage,
    pub kernel: Kernel,
    pub op: Op<'a>,
    /// The operand whose place the output takes.
    pub in_place: Option<usize>,
}

/// What an operator becomes.
pub(super) enum Built {
    /// Nothing is to be done.
    Nothing,
    /// A call, and the scratch that it takes.
    Step(Call, usize),
    /// A layer with weights.
    Layer(Packed),
}

/// Where the numbers of a tensor are.
pub(super) fn source(planner: &Planner, storage: &Storage, t: TensorId) -> Result<Source, String> {
    match storage.value(t) {
        Some(Value::Input(i)) => Ok(Source::Input(*i)),
        Some(Value::Slot(slot)) => Ok(Source::Memory(storage.place(*slot))),
        Some(Value::Constant(t)) => Ok(Source::Constant(Arc::from(planner.constant(*t, "numbers")?))),
        None => Err(format!("tensor {t} has no value")),
    }
}

impl<'a> Site<'a> {
    /// # Errors
    /// Why the engine does not run it.
    pub fn build(mut self) -> Result<Built, String> {
        match std::mem::replace(&mut self.op.kind, Kind::Alias) {
            Kind::Alias => Ok(Built::Nothing),
            Kind::Layer(weights) => {
                let product = self.product(&weights)?;
                let between = Between { from: self.source(0)?, to: self.to()?, bounds: self.op.bounds };
                Ok(Built::Layer(product.pack(weights, self.kernel, between)))
            }
            Kind::Normalize { scale, shift } => {
                let inner = self.shape(0)?[2..].iter().product();
                let bounds = self.op.bounds;
                Ok(Built::Step(Normalization { scale, shift, inner, bounds }.call(self.beside(0)?, self.to()?), 0))
            }
            Kind::Other(part) => self.other(part),
        }
    }

    fn operand(&self, i: usize) -> Result<TensorId, String> {
        self.planner.operand(self.op.node, i)
    }

    fn shape(&self, i: usize) -> Result<&'a [usize], String> {
        Ok(self.planner.shape(self.operand(i)?))
    }

    fn source(&self, i: usize) -> Result<Source, String> {
        source(self.planner, self.storage, self.operand(i)?)
    }

    /// The operand, unless the output takes its place.
    fn beside(&self, i: usize) -> Result<Option<Source>, String> {
        if self.in_place == Some(i) { Ok(None) } else { self.source(i).map(Some) }
    }

    fn to(&self) -> Result<Range<usize>, String> {
        match source(self.planner, self.storage, self.op.output)? {
            Source::Memory(place) => Ok(place),
            _ => Err("it writes what has a value".into()),
        }
    }

    fn product(&self, weights: &Weights) -> Result<Product, String> {
        let x = self.shape(0)?;
        match (&self.op.node.operator, weights.shape.as_slice()) {
            (Operator::Conv2d { stride, dilation, padding, .. }, &[out_channels, in_group, kh, kw]) => {
                let image = Image::of(Layout::ChannelsFirst, x)?;
                let [rows, columns] = image.windows([kh, kw], *stride, *dilation, *padding)?.map(modest);
                let groups = image.channels / in_group;
                fits(&rows, &columns, image.channels)?;
                Ok(Product::Convolution(Convolution {
                    images: image.images,
                    in_channels: image.channels,
                    out_channels,
                    groups,
                    rows,
                    columns,
                }))
            }
            (_, &[outputs, inputs]) => {
                Ok(Product::Linear { rows: x.iter().product::<usize>() / inputs, inputs, outputs })
            }
            (_, other) => Err(format!("weights of shape {other:?}")),
        }
    }

    fn other(&self, part: usize) -> Result<Built, String> {
        let (node, to, bounds) = (self.op.node, self.to()?, self.op.bounds);
        let (mut scratch, x) = (0, self.shape(usize::from(matches!(node.operator, Operator::Split { .. })))?);
        let call = match &node.operator {
            Operator::Add { .. }
            | Operator::Sub { .. }
            | Operator::Mul { .. }
            | Operator::Maximum
            | Operator::Minimum
            | Operator::Prelu => {
                let meeting = Meeting::new(self.planner.shape(self.op.output), [x, self.shape(1)?]);
                let pair = [self.beside(0)?, self.beside(1)?];
                match &node.operator {
                    Operator::Add { .. } => meet(
                        meeting,
                        pair,
                        to,
                        #[inline(always)]
                        move |a, b| bounds.clamp(a + b),
                    ),
                    Operator::Sub { .. } => meet(
                        meeting,
                        pair,
                        to,
                        #[inline(always)]
                        move |a, b| bounds.clamp(a - b),
                    ),
                    Operator::Mul { .. } => meet(
                        meeting,
                        pair,
                        to,
                        #[inline(always)]
                        move |a, b| bounds.clamp(a * b),
                    ),
                    Operator::Maximum => meet(
                        meeting,
                        pair,
                        to,
                        #[inline(always)]
                        |a, b| if b > a || b.is_nan() { b } else { a },
                    ),
                    Operator::Minimum => meet(
                        meeting,
                        pair,
                        to,
                        #[inline(always)]
                        |a, b| if b < a || b.is_nan() { b } else { a },
                    ),
                    _ => meet(
                        meeting,
                        pair,
                        to,
                        #[inline(always)]
                        |x, alpha| if x >= 0.0 { x } else { x * alpha },
                    ),
                }
            }
            Operator::Logistic => map(self.beside(0)?, to, 8, sigmoid),
            Operator::Tanh => map(self.beside(0)?, to, 8, tanh),
            Operator::HardSwish => map(
                self.beside(0)?,
                to,
                2,
                #[inline(always)]
                |x| x * (x + 3.0).clamp(0.0, 6.0) * const { 1.0 / 6.0 },
            ),
            &Operator::LeakyRelu { alpha } => map(
                self.beside(0)?,
                to,
                1,
                #[inline(always)]
                move |x| if x >= 0.0 { x } else { x * alpha },
            ),
            Operator::Softmax { beta } => {
                let width = x.last().copied().unwrap_or(1);
                scratch = pool::softmax_scratch(width);
                pool::softmax(width, *beta, self.beside(0)?, to)
            }
            Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool) => {
                let image = Image::of(Layout::ChannelsFirst, x)?;
                let windows = image.windows(pool.kernel, pool.stride, [1, 1], pool.padding)?.map(modest);
                if windows.iter().any(|w| w.taps(0).is_empty() || w.taps(w.output - 1).is_empty()) {
                    return Err("a window lies wholly on padding".into());
                }
                let [rows, columns] = windows;
                let average = matches!(node.operator, Operator::AveragePool2d(_));
                let pooling = Pooling { rows, columns, average, bounds };
                scratch = pooling.scratch();
                pooling.call(self.source(0)?, to)
            }
            Operator::Mean { .. } => {
                let reduced = shape::reduced_axes(x, self.planner.of_shape(self.operand(1)?))?;
                pool::mean(x, &reduced, self.source(0)?, to)
            }
            Operator::Concatenation { axis, .. } | Operator::Pack { axis } => {
                // PACK takes one position of a new axis from each operand.
                let packs = matches!(node.operator, Operator::Pack { .. });
                let axis = shape::axis(i64::from(*axis), x.len() + usize::from(packs))?;
                let part = |i: usize| Ok((self.source(i)?, self.shape(i)?[axis..].iter().product()));
                let parts = (0..node.inputs.len()).map(part).collect::<Result<_, String>>()?;
                concatenate(parts, bounds, to)
            }
            Operator::Pad | Operator::PadV2 => {
                let around = shape::paddings(x, self.planner.of_shape(self.operand(1)?))?;
                let value = match &node.operator {
                    Operator::PadV2 => self.planner.constant(self.operand(2)?, "the padding value")?,
                    _ => &[0.0],
                };
                let &[value] = value else { return Err(format!("{} padding values", value.len())) };
                let steps = strides(self.planner.shape(self.op.output));
                let base: usize = around.iter().zip(&steps).map(|([before, _], step)| before * step).sum();
                let steps: Vec<isize> = steps.iter().map(|&step| step as isize).collect();
                Walk::new(x, base as isize, &steps).scatter(self.source(0)?, to, value)
            }
            _ => match clamps(&node.operator) {
                Some(bounds) => map(
                    self.beside(0)?,
                    to,
                    1,
                    #[inline(always)]
                    move |x| bounds.clamp(x),
                ),
                None => self.walk(x, part)?.gather(self.source_of_walk()?, to),
            },
        };
        Ok(Built::Step(call, scratch))
    }

    fn source_of_walk(&self) -> Result<Source, String> {
        self.source(usize::from(matches!(self.op.node.operator, Operator::Split { .. })))
    }

    /// What an output takes of an operand of shape `x`.
    fn walk(&self, x: &[usize], part: usize) -> Result<Walk, String> {
        let node = self.op.node;
        let along: Vec<isize> = strides(x).iter().map(|&step| step as isize).collect();
        let operands: Vec<_> = node.inputs.iter().map(|t| t.map(|t| self.planner.of_shape(t))).collect();
        let slice = match &node.operator {
            Operator::Transpose => {
                let permutation = shape::permutation(x.len(), self.planner.of_shape(self.operand(1)?))?;
                let steps: Vec<isize> = permutation.iter().map(|&axis| along[axis]).collect();
                return Ok(Walk::new(self.planner.shape(self.op.output), 0, &steps));
            }
            Operator::Split { .. } | Operator::SplitV { .. } => {
                let (_, axis, widths) = shape::split(&node.operator, &operands)?;
                let before: usize = widths[..part].iter().sum();
                return Ok(Walk::new(self.planner.shape(self.op.output), before as isize * along[axis], &along));
            }
            Operator::Unpack { axis } => {
                let axis = shape::axis(i64::from(*axis), x.len())?;
                let (mut shape, mut steps) = (x.to_vec(), along.clone());
                shape.remove(axis);
                steps.remove(axis);
                return Ok(Walk::new(&shape, part as isize * along[axis], &steps));
            }
            Operator::Slice => shape::slice(&operands)?,
            Operator::StridedSlice { .. } => shape::strided_slice(&node.operator, &operands)?.0,
            _ => return Err("the engine for real numbers does not run it".into()),
        };
        let base: isize = slice.start.iter().zip(&along).map(|(&start, along)| start as isize * along).sum();
        let steps: Vec<isize> = slice.step.iter().zip(&along).map(|(step, along)| step * along).collect();
        Ok(Walk::new(&slice.count, base, &steps))
    }
}

/// Inputs, with their padding, from the first to the last that a window sees.
fn reach(window: &Window) -> usize {
    (window.output - 1) * window.stride + (window.kernel - 1) * window.dilation + 1
}

/// The same window without what a file may overdo: a stride at a single place, padding beyond what is seen.
fn modest(window: Window) -> Window {
    let window = if window.output == 1 { Window { stride: 1, ..window } } else { window };
    Window { before: window.before.min(reach(&window)), ..window }
}

/// The padded image can be held.
fn fits(rows: &Window, columns: &Window, channels: usize) -> Result<(), String> {
    let pitch = |w: &Window| reach(w).checked_add(w.stride);
    let numbers = pitch(rows).zip(pitch(columns)).and_then(|(r, c)| r.checked_mul(c)?.checked_mul(channels));
    match numbers {
        Some(numbers) if numbers as u64 <= MOST_NUMBERS => Ok(()),
        _ => Err("an image with its padding takes more than 4 GiB".into()),
    }
}
