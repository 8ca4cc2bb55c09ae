//! A plan bound to the network of which it speaks: every step knows its operator, every piece its buffer.

use tersor_kernels::window::Window;
use tersor_network::operator::Operator;
use tersor_network::{Network, Node, TensorId};

use super::program::{Kind, Op, Program, Rect};
use super::{Piece, Plan};
use crate::emit::firmware::Place;
use crate::error::Error;

/// Largest arena that is executed; what is larger is not for a small device.
const MOST_BYTES: usize = 16 << 20;

/// A network and a plan of it.
pub(crate) struct Bound {
    pub network: Network,
    pub plan: Plan,
    pub(super) program: Program,
    /// Piece → buffer of the program.
    pub(super) buffers: Vec<usize>,
    /// Step → operator of the program.
    pub(super) ops: Vec<usize>,
}

impl Bound {
    /// Checks that `plan` speaks of `network`.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan names tensors or operators that do not exist, or pieces of another size.
    pub fn new(network: &Network, plan: Plan) -> Result<Self, Error> {
        let fused = Program::of(network, true)?;
        // A plan without fused sums names them as steps of their own.
        let known = |program: &Program| plan.steps.iter().all(|s| program.ops.iter().any(|op| op.main == s.op));
        let program = if known(&fused) { fused } else { Program::of(network, false)? };
        let fault = |why: String| Error::Plan {
            network: network.name.clone(),
            why: format!("the plan, made for {}, does not fit: {why}", plan.file),
        };
        let buffer_of = |piece: &Piece| {
            let found = program.buffers.iter().position(|b| b.tensor == piece.index);
            let b = found.ok_or_else(|| fault(format!("the network stores no tensor {}", piece.index)))?;
            let buffer = &program.buffers[b];
            let rect = Rect { rows: piece.rows, columns: piece.columns };
            let within = |[a, b]: [usize; 2], end: usize| a < b && b <= end;
            let sound = within(rect.rows, buffer.height)
                && within(rect.columns, buffer.width)
                && (1..=rect.height()).contains(&piece.ring)
                && piece.bytes == piece.ring * rect.width() * buffer.pixel
                && piece.offset.checked_add(piece.bytes).is_some_and(|end| end <= plan.peak_bytes);
            if sound { Ok(b) } else { Err(fault(format!("the piece of tensor {} is not sound", piece.index))) }
        };
        let buffers = plan.tensors.iter().map(buffer_of).collect::<Result<Vec<_>, Error>>()?;
        let ends = plan.tensors.iter().map(|p| p.offset + p.bytes);
        let ends = ends.chain(plan.scratch.iter().map(|s| s.offset.saturating_add(s.bytes)));
        if plan.peak_bytes > MOST_BYTES || ends.max() != Some(plan.peak_bytes) {
            return Err(fault(format!("its peak of {} bytes is not where its pieces end", plan.peak_bytes)));
        }
        let mut ops = Vec::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let found = program.ops.iter().position(|op| op.main == step.op);
            let op = found.ok_or_else(|| fault(format!("step {at}: operator {} computes nothing", step.op)))?;
            let agree = |pieces: &[usize], of: &[usize]| {
                pieces.len() == of.len() && pieces.iter().zip(of).all(|(&p, &b)| buffers.get(p) == Some(&b))
            };
            let operator = &program.ops[op];
            let buffer = &program.buffers[operator.writes[0]];
            let within = |[a, b]: [usize; 2], end: usize| a < b && b <= end;
            if !agree(&step.reads, &operator.reads)
                || !agree(&step.writes, &operator.writes)
                || !within(step.rows, buffer.height)
                || !within(step.columns, buffer.width)
            {
                return Err(fault(format!(
                    "step {at} (operator {}) reads or writes other tensors than it does",
                    step.op
                )));
            }
            // A pixel that overlaps its own window must be whole before it is written.
            let span = |p: usize| plan.tensors[p].offset..plan.tensors[p].offset + plan.tensors[p].bytes;
            if let (Kind::Window { .. }, Some(&r), Some(&w)) = (&operator.kind, step.reads.first(), step.writes.first())
            {
                let (a, b) = (span(r), span(w));
                let held = plan.scratch.iter().any(|s| s.step == at && s.bytes >= buffer.pixel);
                if a.start < b.end && b.start < a.end && !held {
                    return Err(fault(format!("step {at} (operator {}) overlaps its window without scratch", step.op)));
                }
            }
            ops.push(op);
        }
        // Nothing reads what an ASSIGN_VARIABLE leaves for the next run, so each must be there, in the file's order.
        let stateful = |op: &Op| {
            matches!(network.main().nodes[op.main].operator, Operator::ReadVariable | Operator::AssignVariable)
        };
        let asked: Vec<usize> = (0..program.ops.len()).filter(|&o| stateful(&program.ops[o])).collect();
        let planned: Vec<usize> = ops.iter().copied().filter(|&o| stateful(&program.ops[o])).collect();
        if asked != planned {
            return Err(fault("it does not read and assign every variable once, in order".into()));
        }
        if let Some(s) = plan.scratch.iter().find(|s| s.offset.saturating_add(s.bytes) > plan.peak_bytes) {
            return Err(fault(format!("the scratch of operator {} lies outside the arena", s.op)));
        }
        Ok(Self { network: network.clone(), plan, program, buffers, ops })
    }

    /// The tensor whose bytes the arena keeps for each input of the network: its int8 form where the caller quantises.
    pub fn stored_inputs(&self) -> Vec<TensorId> {
        self.program.inputs.iter().map(|&b| self.program.buffers[b].tensor).collect()
    }

    /// The tensor whose bytes the arena keeps for each output of the network: its int8 form where the caller dequantises.
    pub fn stored_outputs(&self) -> Vec<TensorId> {
        self.program.outputs.iter().map(|&b| self.program.buffers[b].tensor).collect()
    }

    pub fn fault(&self, why: String) -> Error {
        Error::Plan { network: self.plan.file.clone(), why }
    }

    /// The piece in which each output is left.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan stores one nowhere.
    pub fn output_pieces(&self) -> Result<Vec<usize>, Error> {
        let last = |b: usize| (0..self.plan.tensors.len()).rev().find(|&p| self.buffers[p] == b);
        let piece = |&b: &usize| last(b).ok_or_else(|| self.fault("an output is not stored".into()));
        self.program.outputs.iter().map(piece).collect()
    }

    /// Rows of piece `p` of the input that are there after step `at` has been fed: all of them, or of a ring those that
    /// the step asks for.
    pub fn fed_until(&self, at: usize, p: usize) -> usize {
        let piece = &self.plan.tensors[p];
        if piece.ring == piece.rows[1] - piece.rows[0] {
            return piece.rows[1];
        }
        let step = &self.plan.steps[at];
        let out = Rect { rows: step.rows, columns: step.columns };
        let operand = step.reads.iter().position(|&r| r == p).unwrap_or(0);
        self.program.ops[self.ops[at]].needs(operand, &self.program.buffers[self.buffers[p]], out).rows[1]
    }

    /// Pieces of variables, and their bytes before the first run: what the initialising graphs assign, else their zero
    /// point.
    ///
    /// # Errors
    /// [`Error::Plan`] if a variable is initialised with another size.
    pub fn initial_values(&self) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let mut values = Vec::new();
        for p in 0..self.plan.tensors.len() {
            let Some(named) = &self.program.buffers[self.buffers[p]].variable else { continue };
            let assigned = self.network.graphs[1..].iter().find_map(|graph| {
                let handle = graph.nodes.iter().find_map(|n| match &n.operator {
                    Operator::VarHandle { container, name } if (container, name) == (&named.0, &named.1) => {
                        n.outputs.first().copied()
                    }
                    _ => None,
                })?;
                let assigns = |n: &&Node| {
                    n.operator == Operator::AssignVariable && n.inputs.first().copied().flatten() == Some(handle)
                };
                let value = graph.nodes.iter().find(assigns)?.inputs.get(1).copied().flatten()?;
                graph.tensors[value].constant.as_ref().map(|c| c.to_le_bytes())
            });
            let graph = self.network.main();
            let handle = Some(self.plan.tensors[p].index);
            let value = graph.nodes.iter().find_map(|n| match n.operator {
                _ if n.inputs.first().copied().flatten() != handle => None,
                Operator::AssignVariable => n.inputs.get(1).copied().flatten(),
                Operator::ReadVariable => n.outputs.first().copied(),
                _ => None,
            });
            let q = value.and_then(|t| graph.tensors[t].quantization.as_ref()?.affine());
            let zero = q.map_or(0, |q| q.zero_point);
            let bytes = assigned.unwrap_or_else(|| vec![zero as u8; self.plan.tensors[p].bytes]);
            if bytes.len() != self.plan.tensors[p].bytes {
                return Err(self.fault(format!("variable {} is initialised with another size", named.1)));
            }
            values.push((p, bytes));
        }
        Ok(values)
    }
}

/// What firmware asks of a step or a piece.
impl Bound {
    /// Where a piece lies.
    pub fn place(&self, p: usize) -> Place {
        let piece = &self.plan.tensors[p];
        let pixel = self.program.buffers[self.buffers[p]].pixel;
        Place { offset: piece.offset, rows: piece.rows, columns: piece.columns, ring: piece.ring, pixel }
    }

    /// The file's operators that step `at` does, the one that computes first at the front.
    pub fn nodes(&self, at: usize) -> &[usize] {
        &self.program.ops[self.ops[at]].nodes
    }

    /// Whether step `at` computes its output at once, not pixel by pixel.
    pub fn is_whole(&self, at: usize) -> bool {
        !self.program.ops[self.ops[at]].is_local()
    }

    /// The windows of step `at` along rows and columns, padding included, if it has some.
    pub fn window(&self, at: usize) -> Option<(Window, Window)> {
        match self.program.ops[self.ops[at]].kind {
            Kind::Window { rows, columns, .. } => Some((rows, columns)),
            _ => None,
        }
    }

    /// Which pieces that step `at` reads move with the pixel of its output, if it goes element by element.
    pub fn spatial(&self, at: usize) -> Option<Vec<bool>> {
        match &self.program.ops[self.ops[at]].kind {
            Kind::Elementwise { spatial } => Some(spatial.clone()),
            _ => None,
        }
    }

    /// The input of the network that a piece holds, if it holds one.
    pub fn input_of(&self, p: usize) -> Option<usize> {
        self.program.inputs.iter().position(|&b| b == self.buffers[p])
    }

    /// Rows, columns and bytes of a pixel of an input as it is stored.
    pub fn input_image(&self, i: usize) -> [usize; 3] {
        let buffer = &self.program.buffers[self.program.inputs[i]];
        [buffer.height, buffer.width, buffer.pixel]
    }

    /// The name of the variable that a piece holds.
    pub fn variable(&self, p: usize) -> &str {
        self.program.buffers[self.buffers[p]].variable.as_ref().map_or("", |(_, name)| name)
    }
}
