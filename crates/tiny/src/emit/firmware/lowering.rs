//! From a plan to firmware: each step a call, with its places, its feeds and the operator that it computes.
//!
//! What this file does not do: say what an operator computes (`operators.rs`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tersor_network::reference::Reference;
use tersor_network::{Network, TensorId};

use super::constants::{Constant, ConstantId, Store};
use super::operators::Built;
use super::{Call, Feed, Firmware, Initial, Input, Kind, Operand, Operator, Output, Place, Port, Variable};
use crate::error::Error;
use crate::plan::InputMode;
use crate::plan::bound::Bound;

/// What firmware is made from, and the constants that have been met.
pub(super) struct Builder<'a> {
    pub(super) network: &'a Network,
    pub(super) bound: &'a Bound,
    pub(super) reference: &'a Reference,
    pub(super) constants: Store,
}

/// An operator that is among the firmware's, and how its calls differ from the plan's steps.
struct Known {
    operator: usize,
    constants: Vec<(usize, ConstantId)>,
    images: Option<usize>,
}

impl Builder<'_> {
    /// An error that names an operator of the file.
    pub(super) fn fault(&self, node: usize, why: impl Into<String>) -> Error {
        let operator = self.network.main().nodes[node].operator.name().to_string();
        Error::Emit { network: self.network.name.clone(), why: format!("operator {node} ({operator}) {}", why.into()) }
    }

    /// The firmware, step by step.
    pub(super) fn build(mut self) -> Result<Firmware, Error> {
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
