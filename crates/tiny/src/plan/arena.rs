//! A plan, executed in an arena that traps any read of a byte that the plan has not made valid.
//!
//! Every byte remembers which element of which tensor it holds. A step reads an element through its piece; if the byte
//! holds anything else (another tensor's element, an older row of a ring, scratch), the run stops with the place. A wrong
//! plan is therefore an error, not luck.

use std::collections::HashMap;

use tersor_data::{Array, ElementType, Elements};
use tersor_kernels::window::Padding;
use tersor_network::operator::{Operator, Pool};
use tersor_network::reference::{Options, Reference};
use tersor_network::{Graph, Network, Node, TensorId};

use super::bound::Bound;
use super::program::{Kind, Op};
use super::{Direction, Plan};
use crate::error::Error;

/// What an arena's byte holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// Byte `.1` of buffer `.0`, counted over the whole buffer.
    Element(u32, u32),
    Scratch,
}

/// A network with a plan, ready to run.
pub struct Executor {
    bound: Bound,
    kernels: HashMap<(usize, [usize; 2]), Reference>,
}

/// The arena between runs: variables live on in it.
#[derive(Clone)]
pub struct Arena {
    bytes: Vec<u8>,
    held: Vec<Held>,
    started: bool,
    /// One more than the highest byte ever written.
    pub high_water: usize,
}

impl Executor {
    /// Checks that `plan` speaks of `network`, and prepares its kernels.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan names tensors or operators that do not exist, or pieces of another size.
    pub fn new(network: &Network, plan: Plan) -> Result<Self, Error> {
        let mut executor = Self { bound: Bound::new(network, plan)?, kernels: HashMap::new() };
        executor.prepare()?;
        Ok(executor)
    }

    /// An arena in which nothing is valid.
    pub fn arena(&self) -> Arena {
        let size = self.bound.plan.peak_bytes;
        Arena { bytes: vec![0xa5; size], held: vec![Held::Nothing; size], started: false, high_water: 0 }
    }

    /// The tensor whose bytes the arena keeps for each input of the network: its int8 form where the caller quantises.
    pub fn stored_inputs(&self) -> Vec<TensorId> {
        self.bound.stored_inputs()
    }

    /// The tensor whose bytes the arena keeps for each output of the network: its int8 form where the caller dequantises.
    pub fn stored_outputs(&self) -> Vec<TensorId> {
        self.bound.stored_outputs()
    }

    fn fault(&self, why: String) -> Error {
        self.bound.fault(why)
    }

    /// The kernels of one pixel (of every size of window, for pools at the border) and of whole operators.
    fn prepare(&mut self) -> Result<(), Error> {
        for op in 0..self.bound.program.ops.len() {
            let operator = &self.bound.program.ops[op];
            let sizes: Vec<[usize; 2]> = match &operator.kind {
                Kind::Window { rows, columns, pools: true, .. } => {
                    let taps = |w: &tersor_kernels::window::Window| {
                        let mut taps: Vec<usize> = (0..w.output).map(|o| w.taps(o).len()).collect();
                        taps.sort_unstable();
                        taps.dedup();
                        taps
                    };
                    let columns = taps(columns);
                    taps(rows).into_iter().flat_map(|r| columns.iter().map(move |&c| [r, c])).collect()
                }
                Kind::Window { rows, columns, .. } => vec![[span(rows), span(columns)]],
                Kind::Elementwise { .. } => vec![[1, 1]],
                Kind::Resize { .. } => continue,
                Kind::Whole => vec![[0, 0]],
            };
            let copies = matches!(
                self.bound.network.main().nodes[operator.main].operator,
                Operator::ReadVariable | Operator::AssignVariable
            );
            if copies {
                continue;
            }
            for size in sizes {
                let alone = self.alone(operator, size);
                let options = Options { memory: u64::MAX, steps: u64::MAX, ..Options::default() };
                self.kernels.insert((op, size), Reference::prepare(&alone, options)?);
            }
        }
        Ok(())
    }

    /// The operator as a network of its own: over the window of one pixel, or whole.
    fn alone(&self, op: &Op, window: [usize; 2]) -> Network {
        let graph = self.bound.network.main();
        let mut tensors = graph.tensors.clone();
        // The operand of a fused ADD may be the convolution's own: it gets an index of its own.
        let fresh = tensors.len();
        let pixel = |t: TensorId| vec![1, 1, 1, *graph.tensors[t].shape.last().unwrap_or(&1)];
        let mut nodes: Vec<Node> = op.nodes.iter().map(|&n| graph.nodes[n].clone()).collect();
        let image = |t: TensorId| graph.tensors[t].shape.len() == 4 && graph.tensors[t].shape[0] == 1;
        let mut inputs: Vec<TensorId> = Vec::new();
        match &op.kind {
            Kind::Window { add, .. } => {
                let x = nodes[0].inputs[0].unwrap_or(0);
                tensors[x].shape = vec![1, window[0], window[1], *graph.tensors[x].shape.last().unwrap_or(&1)];
                let y = nodes[0].outputs[0];
                tensors[y].shape = pixel(y);
                inputs.push(x);
                if add.is_some() {
                    let sum = nodes[0].outputs[0];
                    let shortcut = nodes[1].inputs.iter().flatten().copied().find(|&t| t != sum).unwrap_or(sum);
                    tensors.push(tensors[shortcut].clone());
                    tensors[fresh].shape = pixel(shortcut);
                    for input in nodes[1].inputs.iter_mut().filter(|t| **t == Some(shortcut)) {
                        *input = Some(fresh);
                    }
                    let y = nodes[1].outputs[0];
                    tensors[y].shape = pixel(y);
                    inputs.push(fresh);
                }
                nodes[0].operator = on_one_window(&nodes[0].operator, window);
            }
            Kind::Elementwise { .. } => {
                for &t in nodes[0].inputs.iter().flatten() {
                    if graph.tensors[t].constant.is_none() {
                        inputs.push(t);
                        if image(t) {
                            tensors[t].shape = pixel(t);
                        }
                    }
                }
                let y = nodes[0].outputs[0];
                if image(y) {
                    tensors[y].shape = pixel(y);
                }
            }
            _ => inputs.extend(nodes[0].inputs.iter().flatten().filter(|&&t| graph.tensors[t].constant.is_none())),
        }
        let mut seen = Vec::new();
        inputs.retain(|&t| {
            !seen.contains(&t) && {
                seen.push(t);
                true
            }
        });
        let outputs = nodes[nodes.len() - 1].outputs.clone();
        let name = self.bound.network.name.clone();
        let graph = Graph { name: String::new(), tensors, nodes, inputs, outputs };
        let (arithmetic, layout) = (self.bound.network.arithmetic, self.bound.network.layout);
        Network { name, description: String::new(), graphs: vec![graph], arithmetic, layout }
    }

    /// Runs the plan on the network's inputs (as the plan stores them: int8 where the first operator quantises).
    ///
    /// # Errors
    /// [`Error::Plan`] naming the step, tensor and element of the first read that the plan has not made valid.
    pub fn run(&self, arena: &mut Arena, inputs: &[&Array]) -> Result<Vec<Vec<u8>>, Error> {
        if inputs.len() != self.bound.program.inputs.len() {
            return Err(self.fault(format!("{} inputs, not {}", inputs.len(), self.bound.program.inputs.len())));
        }
        let fed: HashMap<usize, Vec<u8>> = self
            .bound
            .program
            .inputs
            .iter()
            .zip(inputs)
            .map(|(&b, array)| (b, array.elements().to_le_bytes()))
            .collect();
        if let Some((&b, bytes)) = fed.iter().find(|(b, bytes)| bytes.len() != self.bound.program.buffers[**b].bytes())
        {
            return Err(self.fault(format!(
                "an input of {} bytes, not {}",
                bytes.len(),
                self.bound.program.buffers[b].bytes()
            )));
        }
        if !arena.started {
            for (p, bytes) in self.bound.initial_values()? {
                self.write_all(arena, p, &bytes);
            }
            arena.started = true;
        }
        // A piece of the input is fed when its first step begins; of a ring, the rows that the step asks for.
        let mut fed_rows: HashMap<usize, usize> = HashMap::new();
        for at in 0..self.bound.plan.steps.len() {
            for &p in &self.bound.plan.steps[at].reads {
                if let Some(bytes) = fed.get(&self.bound.buffers[p]) {
                    self.feed(arena, at, p, bytes, &mut fed_rows);
                }
            }
            self.step(arena, at)?;
        }
        let output = |p: usize| {
            let buffer = &self.bound.program.buffers[self.bound.buffers[p]];
            let mut bytes = Vec::with_capacity(buffer.bytes());
            for y in 0..buffer.height {
                for x in 0..buffer.width {
                    self.read_pixel(arena, self.bound.plan.steps.len(), p, y, x, &mut bytes)?;
                }
            }
            Ok(bytes)
        };
        self.bound.output_pieces()?.into_iter().map(output).collect()
    }

    /// Gives a piece of the input what step `at` needs of it.
    fn feed(&self, arena: &mut Arena, at: usize, p: usize, bytes: &[u8], fed_rows: &mut HashMap<usize, usize>) {
        let piece = &self.bound.plan.tensors[p];
        let buffer = &self.bound.program.buffers[self.bound.buffers[p]];
        let fed = fed_rows.entry(p).or_insert(piece.rows[0]);
        let end = self.bound.fed_until(at, p);
        for y in *fed..end {
            for x in piece.columns[0]..piece.columns[1] {
                let from = (y * buffer.width + x) * buffer.pixel;
                self.write_pixel(arena, p, y, x, &bytes[from..from + buffer.pixel]);
            }
        }
        *fed = (*fed).max(end);
    }

    fn step(&self, arena: &mut Arena, at: usize) -> Result<(), Error> {
        let op = &self.bound.program.ops[self.bound.ops[at]];
        let step = &self.bound.plan.steps[at];
        if op.kind == Kind::Whole {
            return self.whole(arena, at, op);
        }
        let [top, bottom] = step.rows;
        let [left, right] = step.columns;
        let pixels = (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x)));
        let mut pixels: Vec<(usize, usize)> = pixels.collect();
        if step.direction == Direction::Backward {
            pixels.reverse();
        }
        let scratch = self.bound.plan.scratch.iter().find(|s| s.step == at);
        for (y, x) in pixels {
            let pixel = self.pixel(arena, at, op, y, x)?;
            if let Some(scratch) = scratch {
                arena.held[scratch.offset..scratch.offset + scratch.bytes].fill(Held::Scratch);
                arena.high_water = arena.high_water.max(scratch.offset + scratch.bytes);
            }
            self.write_pixel(arena, step.writes[0], y, x, &pixel);
        }
        Ok(())
    }

    /// One pixel of a local operator's output.
    fn pixel(&self, arena: &Arena, at: usize, op: &Op, y: usize, x: usize) -> Result<Vec<u8>, Error> {
        let step = &self.bound.plan.steps[at];
        let mut fed: Vec<Array> = Vec::new();
        let key = match &op.kind {
            Kind::Window { rows, columns, pools, add, .. } => {
                let (size, bytes) = if *pools {
                    let mut bytes = Vec::new();
                    for ky in rows.taps(y) {
                        for kx in columns.taps(x) {
                            let at_input = (rows.position(y, ky), columns.position(x, kx));
                            self.read_pixel(arena, at, step.reads[0], at_input.0, at_input.1, &mut bytes)?;
                        }
                    }
                    ([rows.taps(y).len(), columns.taps(x).len()], bytes)
                } else {
                    let size = [span(rows), span(columns)];
                    let pixel = self.bound.program.buffers[op.reads[0]].pixel;
                    // What falls on padding means 0.
                    let zero = self.zero_point(op) as u8;
                    let mut bytes = vec![zero; size[0] * size[1] * pixel];
                    for ky in rows.taps(y) {
                        for kx in columns.taps(x) {
                            let mut one = Vec::with_capacity(pixel);
                            self.read_pixel(
                                arena,
                                at,
                                step.reads[0],
                                rows.position(y, ky),
                                columns.position(x, kx),
                                &mut one,
                            )?;
                            let to = (ky * rows.dilation * size[1] + kx * columns.dilation) * pixel;
                            bytes[to..to + pixel].copy_from_slice(&one);
                        }
                    }
                    (size, bytes)
                };
                let channels = self.bound.program.buffers[op.reads[0]].pixel;
                fed.push(int8([1, size[0], size[1], channels], bytes));
                if add.is_some() {
                    let mut one = Vec::new();
                    self.read_pixel(arena, at, step.reads[1], y, x, &mut one)?;
                    fed.push(int8([1, 1, 1, one.len()], one));
                }
                size
            }
            Kind::Elementwise { spatial } => {
                for (i, &p) in step.reads.iter().enumerate() {
                    let (y, x) = if spatial[i] { (y, x) } else { (0, 0) };
                    let mut one = Vec::new();
                    self.read_pixel(arena, at, p, y, x, &mut one)?;
                    let tensor = &self.bound.network.main().tensors[self.bound.plan.tensors[p].index];
                    let shape = if self.bound.program.buffers[op.reads[i]].local {
                        vec![1, 1, 1, one.len()]
                    } else {
                        tensor.shape.clone()
                    };
                    fed.push(Array::new(shape, elements(ElementType::I8, &one)).expect("a pixel is whole"));
                }
                [1, 1]
            }
            Kind::Resize { rows, columns } => {
                let mut one = Vec::new();
                self.read_pixel(arena, at, step.reads[0], rows[y], columns[x], &mut one)?;
                return Ok(one);
            }
            Kind::Whole => [0, 0],
        };
        if matches!(op.kind, Kind::Elementwise { .. }) {
            fed = self.once(op, fed);
        }
        let outputs = self.call(self.bound.ops[at], key, fed)?;
        Ok(outputs.into_iter().next().unwrap_or_default())
    }

    /// The value that means 0 in the operand of a window.
    fn zero_point(&self, op: &Op) -> i32 {
        let graph = self.bound.network.main();
        let x = graph.nodes[op.main].inputs[0].unwrap_or(0);
        graph.tensors[x].quantization.as_ref().and_then(|q| q.affine()).map_or(0, |q| q.zero_point)
    }

    /// An operator that needs everything before it gives anything.
    fn whole(&self, arena: &mut Arena, at: usize, op: &Op) -> Result<(), Error> {
        let step = &self.bound.plan.steps[at];
        let mut read = Vec::new();
        for &p in &step.reads {
            let buffer = &self.bound.program.buffers[self.bound.buffers[p]];
            let mut bytes = Vec::with_capacity(buffer.bytes());
            for y in 0..buffer.height {
                for x in 0..buffer.width {
                    self.read_pixel(arena, at, p, y, x, &mut bytes)?;
                }
            }
            read.push(bytes);
        }
        let graph = self.bound.network.main();
        let node = &graph.nodes[op.main];
        let written = match node.operator {
            Operator::ReadVariable | Operator::AssignVariable => read,
            _ => {
                let activations = node.inputs.iter().flatten().filter(|&&t| graph.tensors[t].constant.is_none());
                let mut fed = Vec::new();
                for (&t, bytes) in activations.zip(&read) {
                    let tensor = &graph.tensors[t];
                    let kind = tensor.element_type().ok_or_else(|| self.fault(format!("tensor {t} is no array")))?;
                    let array = Array::new(tensor.shape.clone(), elements(kind, bytes));
                    fed.push(array.ok_or_else(|| self.fault(format!("tensor {t} has another size")))?);
                }
                self.call(self.bound.ops[at], [0, 0], self.once(op, fed))?
            }
        };
        for (&p, bytes) in step.writes.iter().zip(&written) {
            self.write_all(arena, p, bytes);
        }
        Ok(())
    }

    /// The operands of `op`, each tensor once: an operator may read the same one twice.
    fn once(&self, op: &Op, fed: Vec<Array>) -> Vec<Array> {
        let graph = self.bound.network.main();
        let operands = graph.nodes[op.main].inputs.iter().flatten();
        let activations: Vec<TensorId> = operands.copied().filter(|&t| graph.tensors[t].constant.is_none()).collect();
        let first = |i: usize| activations[..i].iter().all(|t| *t != activations[i]);
        fed.into_iter().enumerate().filter(|(i, _)| first(*i)).map(|(_, array)| array).collect()
    }

    fn call(&self, op: usize, key: [usize; 2], fed: Vec<Array>) -> Result<Vec<Vec<u8>>, Error> {
        let kernel = self.kernels.get(&(op, key)).ok_or_else(|| self.fault(format!("no kernel of window {key:?}")))?;
        let ids: Vec<TensorId> = kernel.inputs().map(|(t, ..)| t).collect();
        let feed: Vec<(TensorId, &Array)> = ids.into_iter().zip(&fed).collect();
        let outputs = kernel.run(&mut kernel.state(), &feed, |_, _| ())?;
        Ok(outputs.into_iter().map(|o| o.elements().to_le_bytes()).collect())
    }

    /// Where pixel (`y`, `x`) of a piece lies in the arena.
    fn address(&self, p: usize, y: usize, x: usize) -> Option<usize> {
        let piece = &self.bound.plan.tensors[p];
        let inside = (piece.rows[0]..piece.rows[1]).contains(&y) && (piece.columns[0]..piece.columns[1]).contains(&x);
        let width = piece.columns[1] - piece.columns[0];
        let pixel = self.bound.program.buffers[self.bound.buffers[p]].pixel;
        let row = (y.wrapping_sub(piece.rows[0])) % piece.ring;
        inside.then(|| piece.offset + (row * width + x - piece.columns[0]) * pixel)
    }

    fn read_pixel(
        &self,
        arena: &Arena,
        at: usize,
        p: usize,
        y: usize,
        x: usize,
        to: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let b = self.bound.buffers[p];
        let buffer = &self.bound.program.buffers[b];
        let trap = |found: String| {
            let tensor = &self.bound.plan.tensors[p];
            let what = self.bound.plan.steps.get(at).map_or("the caller".to_string(), |s| format!("operator {}", s.op));
            self.fault(format!(
                "step {at} ({what}) reads tensor {} ({}) at ({y}, {x}), but {found}",
                tensor.index, tensor.name
            ))
        };
        let from = self.address(p, y, x).ok_or_else(|| trap("its piece does not hold that pixel".into()))?;
        for c in 0..buffer.pixel {
            let expected = Held::Element(b as u32, ((y * buffer.width + x) * buffer.pixel + c) as u32);
            match arena.held[from + c] {
                held if held == expected => {}
                Held::Nothing => return Err(trap(format!("byte {} was never written", from + c))),
                Held::Scratch => return Err(trap(format!("byte {} is scratch", from + c))),
                Held::Element(other, element) => {
                    let other = self.bound.program.buffers[other as usize].tensor;
                    return Err(trap(format!("byte {} holds element {element} of tensor {other}", from + c)));
                }
            }
        }
        to.extend_from_slice(&arena.bytes[from..from + buffer.pixel]);
        Ok(())
    }

    fn write_pixel(&self, arena: &mut Arena, p: usize, y: usize, x: usize, bytes: &[u8]) {
        let Some(from) = self.address(p, y, x) else { return };
        let b = self.bound.buffers[p];
        let buffer = &self.bound.program.buffers[b];
        for (c, &byte) in bytes.iter().enumerate() {
            arena.bytes[from + c] = byte;
            let element = (y * buffer.width + x) * buffer.pixel + c;
            arena.held[from + c] = Held::Element(b as u32, element as u32);
        }
        arena.high_water = arena.high_water.max(from + bytes.len());
    }

    /// Writes a whole buffer.
    fn write_all(&self, arena: &mut Arena, p: usize, bytes: &[u8]) {
        let buffer = &self.bound.program.buffers[self.bound.buffers[p]];
        for (i, pixel) in bytes.chunks(buffer.pixel.max(1)).enumerate() {
            self.write_pixel(arena, p, i / buffer.width, i % buffer.width, pixel);
        }
    }
}

/// Input positions from the first tap to the last.
fn span(w: &tersor_kernels::window::Window) -> usize {
    (w.kernel - 1) * w.dilation + 1
}

/// The operator over exactly one window.
fn on_one_window(operator: &Operator, window: [usize; 2]) -> Operator {
    let (stride, padding) = ([1, 1], [Padding::Valid; 2]);
    match operator {
        Operator::Conv2d { dilation, activation, .. } => {
            Operator::Conv2d { stride, dilation: *dilation, padding, activation: *activation }
        }
        Operator::DepthwiseConv2d { dilation, activation, .. } => {
            Operator::DepthwiseConv2d { stride, dilation: *dilation, padding, activation: *activation }
        }
        Operator::AveragePool2d(pool) => {
            Operator::AveragePool2d(Pool { kernel: window, stride, padding, activation: pool.activation })
        }
        Operator::MaxPool2d(pool) => {
            Operator::MaxPool2d(Pool { kernel: window, stride, padding, activation: pool.activation })
        }
        other => other.clone(),
    }
}

fn elements(kind: ElementType, bytes: &[u8]) -> Elements {
    Elements::from_le_bytes(kind, bytes).unwrap_or_else(|| Elements::zeros(kind, 0))
}

fn int8(shape: [usize; 4], bytes: Vec<u8>) -> Array {
    Array::new(shape, elements(ElementType::I8, &bytes)).expect("a window is whole")
}
