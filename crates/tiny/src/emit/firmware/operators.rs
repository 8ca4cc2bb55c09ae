//! What a step computes, in numbers: the reference engine's, which has checked them.

use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::How;
use tersor_network::TensorId;
use tersor_network::operator::Operator as Node;
use tersor_network::reference::numbers::{Formula, Numbers, StridedCopy};

use super::axes::{averaged, broadcast, runs};
use super::constants::{Constant, ConstantId};
use super::lowering::Builder;
use super::{Copies, Filter, Kind, PairFormula, Sum};
use crate::error::Error;

/// An operator, and how its calls differ from the plan's steps.
pub(super) struct Built {
    pub(super) kind: Kind,
    /// Constants that are read like operands, by position among all operands.
    pub(super) constants: Vec<(usize, ConstantId)>,
    /// How many images are computed one after the other, if the plan does not see images here.
    pub(super) images: Option<usize>,
}

impl Builder<'_> {
    /// What step `at` computes.
    pub(super) fn operator(&mut self, at: usize) -> Result<Built, Error> {
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
}
