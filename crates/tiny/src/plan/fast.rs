//! A plan, executed at the machine's speed: the fast engine's kernels on the pieces that the plan places.
//!
//! Bits and places are those of the plan. Where an output overlaps its operand, firmware goes pixel by pixel; here the
//! step's output is computed beside the arena and copied over ([`Plan::host_scratch_bytes`]). Nothing is watched: that
//! is the matter of [`super::arena`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use tersor_data::{Array, ElementType};
use tersor_kernels::int8::fast::{Region, flip};
use tersor_network::fast::{Arena as Memory, Local, Operators, Part, Preparation, Prepared};
use tersor_network::operator::Operator;
use tersor_network::reference::Options;
use tersor_network::{Network, TensorId};

use super::Plan;
use super::bound::Bound;
use super::program::{Kind, Rect};
use crate::error::Error;

/// A network with a plan, prepared for the machine.
pub struct Executor {
    bound: Bound,
    actions: Vec<Action>,
    outputs: Vec<usize>,
}

enum Action {
    /// Rows of an input: which, the bytes of the caller's image, and where each row goes.
    Feed {
        input: usize,
        from: Range<usize>,
        step: usize,
        to: Vec<usize>,
        bytes: usize,
    },
    Copy {
        from: Range<usize>,
        to: usize,
    },
    Compute {
        step: usize,
        call: Prepared,
    },
}

/// The arena between runs, and the inputs that the caller holds.
#[derive(Clone)]
pub struct Arena {
    memory: Memory,
    inputs: Vec<Vec<u8>>,
    started: bool,
}

impl Executor {
    /// Checks that `plan` speaks of `network`, and packs its weights.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan is not this network's, or a step needs what its pieces do not hold.
    pub fn new(network: &Network, plan: Plan, options: Options) -> Result<Self, Error> {
        let bound = Bound::new(network, plan)?;
        // The plan's own limit stands for the engine's.
        let limits = Options { memory: u64::MAX, ..options };
        let operators = Operators::new(network, Preparation { options: limits, ..Preparation::default() })?;
        let outputs = bound.output_pieces()?;
        let mut executor = Self { bound, actions: Vec::new(), outputs };
        let mut locals = HashMap::new();
        let mut fed: Vec<Option<usize>> = vec![None; executor.bound.plan.tensors.len()];
        for step in 0..executor.bound.plan.steps.len() {
            for p in executor.bound.plan.steps[step].reads.clone() {
                executor.feed(step, p, &mut fed[p]);
            }
            let action = executor.compute(step, &operators, &mut locals)?;
            executor.actions.push(action);
        }
        Ok(executor)
    }

    /// An arena before the first run, for operators on `threads` threads.
    pub fn arena(&self, threads: usize) -> Arena {
        let memory = Memory::new(self.bound.plan.peak_bytes, threads);
        Arena { memory, inputs: vec![Vec::new(); self.bound.program.inputs.len()], started: false }
    }

    /// The tensor whose bytes the arena keeps for each input of the network: its int8 form where the caller quantises.
    pub fn stored_inputs(&self) -> Vec<TensorId> {
        self.bound.stored_inputs()
    }

    /// The tensor whose bytes the arena keeps for each output of the network: its int8 form where the caller dequantises.
    pub fn stored_outputs(&self) -> Vec<TensorId> {
        self.bound.stored_outputs()
    }

    /// Runs the plan on the network's inputs, as it stores them.
    ///
    /// # Errors
    /// [`Error::Plan`] if an input has another size, or a value cannot be computed.
    pub fn run(&self, arena: &mut Arena, inputs: &[&Array]) -> Result<Vec<Vec<u8>>, Error> {
        if inputs.len() != self.bound.program.inputs.len() {
            let why = format!("{} inputs, not {}", inputs.len(), self.bound.program.inputs.len());
            return Err(self.bound.fault(why));
        }
        for (i, array) in inputs.iter().enumerate() {
            self.write(arena, i, array)?;
        }
        self.invoke(arena)?;
        Ok(self.outputs.iter().map(|&p| self.read(arena, p)).collect())
    }

    /// Gives the caller's side input `i`, as the plan stores it.
    ///
    /// # Errors
    /// [`Error::Plan`] if it has another size.
    pub fn write(&self, arena: &mut Arena, i: usize, array: &Array) -> Result<(), Error> {
        let mut bytes = array.elements().to_le_bytes();
        let expected = self.bound.program.buffers[self.bound.program.inputs[i]].bytes();
        if bytes.len() != expected {
            return Err(self.bound.fault(format!("an input of {} bytes, not {expected}", bytes.len())));
        }
        if array.element_type() == ElementType::I8 {
            flip(&mut bytes);
        }
        arena.inputs[i] = bytes;
        Ok(())
    }

    /// Runs on the inputs last written, and leaves the outputs in the arena.
    ///
    /// # Errors
    /// [`Error::Plan`] if an input was never written, or a value cannot be computed.
    pub fn invoke(&self, arena: &mut Arena) -> Result<(), Error> {
        if arena.inputs.iter().any(Vec::is_empty) {
            return Err(self.bound.fault("an input was not given".into()));
        }
        if !arena.started {
            for (p, mut bytes) in self.bound.initial_values()? {
                if self.is_int8(p) {
                    flip(&mut bytes);
                }
                let offset = self.bound.plan.tensors[p].offset;
                arena.memory.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            arena.started = true;
        }
        for action in &self.actions {
            match action {
                Action::Feed { input, from, step, to, bytes } => {
                    let rows = arena.inputs[*input][from.clone()].chunks(*step);
                    for (row, &to) in rows.zip(to) {
                        arena.memory.bytes_mut()[to..to + bytes].copy_from_slice(&row[..*bytes]);
                    }
                }
                Action::Copy { from, to } => arena.memory.bytes_mut().copy_within(from.clone(), *to),
                Action::Compute { step, call } => {
                    let fault = |why| self.bound.fault(format!("step {step}: {why}"));
                    call.run(&mut arena.memory).map_err(fault)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of a piece.
    fn read(&self, arena: &Arena, p: usize) -> Vec<u8> {
        let piece = &self.bound.plan.tensors[p];
        let mut bytes = arena.memory.bytes()[piece.offset..piece.offset + piece.bytes].to_vec();
        if self.is_int8(p) {
            flip(&mut bytes);
        }
        bytes
    }

    /// Whether a piece holds int8, which lies in memory as `x + 128`.
    fn is_int8(&self, p: usize) -> bool {
        let graph = self.bound.network.main();
        let tensor = self.bound.plan.tensors[p].index;
        // A variable goes by its handle; its type is that of its value.
        let value = graph.nodes.iter().find_map(|n| match n.operator {
            _ if n.inputs.first().copied().flatten() != Some(tensor) => None,
            Operator::AssignVariable => n.inputs.get(1).copied().flatten(),
            Operator::ReadVariable => n.outputs.first().copied(),
            _ => None,
        });
        graph.tensors[value.unwrap_or(tensor)].element_type() == Some(ElementType::I8)
    }

    /// What of input piece `p` must be there before `step`, beyond what already is.
    fn feed(&mut self, step: usize, p: usize, fed: &mut Option<usize>) {
        let b = self.bound.buffers[p];
        let Some(input) = self.bound.program.inputs.iter().position(|&input| input == b) else { return };
        let (piece, buffer) = (&self.bound.plan.tensors[p], &self.bound.program.buffers[b]);
        let (start, end) = (fed.unwrap_or(piece.rows[0]), self.bound.fed_until(step, p));
        if start >= end {
            return;
        }
        *fed = Some(end);
        let bytes = (piece.columns[1] - piece.columns[0]) * buffer.pixel;
        let whole_rows = bytes == buffer.width * buffer.pixel;
        let one_run = whole_rows && piece.ring == piece.rows[1] - piece.rows[0];
        let to = |y: usize| piece.offset + (y - piece.rows[0]) % piece.ring * bytes;
        let row = buffer.width * buffer.pixel;
        let (first, last) =
            (start * row + piece.columns[0] * buffer.pixel, (end - 1) * row + piece.columns[0] * buffer.pixel);
        let from = first..last + bytes;
        self.actions.push(if one_run {
            Action::Feed { input, step: from.len(), bytes: from.len(), to: vec![to(start)], from }
        } else {
            Action::Feed { input, step: row, bytes, to: (start..end).map(to).collect(), from }
        });
    }

    fn part(&self, p: usize) -> Part {
        let piece = &self.bound.plan.tensors[p];
        let region = region(piece.rows, piece.columns);
        Part { offset: piece.offset, region, ring: piece.ring }
    }

    /// Step `at`; the parts of an operator share its packed weights.
    fn compute(
        &self,
        at: usize,
        operators: &Operators,
        locals: &mut HashMap<usize, Arc<Local>>,
    ) -> Result<Action, Error> {
        let bound = &self.bound;
        let (op, step) = (&bound.program.ops[bound.ops[at]], &bound.plan.steps[at]);
        let graph = bound.network.main();
        let whole = |p: usize| {
            let (piece, buffer) = (&bound.plan.tensors[p], &bound.program.buffers[bound.buffers[p]]);
            piece.bytes == buffer.bytes()
        };
        if op.kind == Kind::Whole {
            if !step.reads.iter().chain(&step.writes).all(|&p| whole(p)) {
                return Err(bound.fault(format!("step {at} (operator {}) needs its tensors whole", op.main)));
            }
            let offset = |p: usize| bound.plan.tensors[p].offset;
            let node = &graph.nodes[op.main];
            if matches!(node.operator, Operator::ReadVariable | Operator::AssignVariable) {
                let from = offset(step.reads[0]);
                return Ok(Action::Copy {
                    from: from..from + bound.plan.tensors[step.reads[0]].bytes,
                    to: offset(step.writes[0]),
                });
            }
            let activations = node.inputs.iter().flatten().filter(|&&t| graph.tensors[t].constant.is_none());
            let places: Vec<(TensorId, usize)> = activations
                .zip(&step.reads)
                .chain(node.outputs.iter().zip(&step.writes))
                .map(|(&t, &p)| (t, offset(p)))
                .collect();
            let call = operators.whole(op.main, |t| places.iter().find(|(of, _)| *of == t).map(|(_, at)| *at))?;
            return Ok(Action::Compute { step: at, call });
        }
        let out = Rect { rows: step.rows, columns: step.columns };
        let holds = |p: usize, need: Rect| {
            let piece = &bound.plan.tensors[p];
            let within = |[a, b]: [usize; 2], [c, d]: [usize; 2]| c <= a && b <= d;
            within(need.rows, piece.rows) && within(need.columns, piece.columns)
        };
        let reads = step.reads.iter().enumerate();
        let all = reads.map(|(i, &p)| holds(p, op.needs(i, &bound.program.buffers[op.reads[i]], out)));
        if !all.fold(holds(step.writes[0], out), |a, b| a && b) {
            return Err(bound.fault(format!("step {at} (operator {}) needs more than its pieces hold", op.main)));
        }
        let pad = match op.kind {
            Kind::Window { pad, .. } => pad,
            _ => None,
        };
        let reads: Vec<Part> = step.reads.iter().map(|&p| self.part(p)).collect();
        let write = self.part(step.writes[0]);
        let local = match locals.entry(bound.ops[at]) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(operators.local(&op.nodes, pad)?.into()),
        };
        let call = local.part(&reads, &write, region(step.rows, step.columns));
        let call =
            call.ok_or_else(|| bound.fault(format!("step {at} (operator {}) does not fit its images", op.main)))?;
        Ok(Action::Compute { step: at, call })
    }
}

fn region(rows: [usize; 2], columns: [usize; 2]) -> Region {
    Region { rows: rows[0]..rows[1], columns: columns[0]..columns[1] }
}
