//! The fast engine: a network prepared once for the machine, and run in one piece of memory.
//!
//! Every tensor has its place in the memory; int8 lies there as `x + 128` (see [`tersor_kernels::int8::fast`]). An
//! operator is a closure over places: packed kernels for what networks spend their time in, the answers to all 256
//! values for what maps single elements, the reference's own kernel for the rest. Results are the reference's bits.

mod local;
mod operators;
mod parts;

use std::collections::HashMap;
use std::ops::Range;

use tersor_data::{Array, ElementType, Elements};
use tersor_kernels::int8::fast::{Isa, flip};

use crate::error::Error;
use crate::graph::{Graph, Network, Node, TensorId};
use crate::operator::Operator;
use crate::placement;
use crate::reference::{Action, Options, Reference, State};
use local::Workspace;

pub use local::{Frame, Local};
pub use parts::{Arena, Operators, Part, Prepared};

/// A network, prepared for the machine.
pub struct Fast {
    reference: Reference,
    steps: Vec<Step>,
    places: Vec<Option<Place>>,
    bytes: usize,
    given: Vec<TensorId>,
}

/// How to prepare a network.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// Limits of memory and work; rounding.
    pub options: Options,
    /// Tensors that every run will be given; their operators are not run. Empty: the network's inputs.
    pub given: Vec<TensorId>,
    /// Keep every tensor for [`Fast::run`] to show; otherwise operators may be done together.
    pub keep_all: bool,
    /// The instruction set.
    pub isa: Isa,
}

impl Default for Preparation {
    fn default() -> Self {
        Self { options: Options::default(), given: Vec::new(), keep_all: false, isa: Isa::detect() }
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
struct Place {
    bytes: Range<usize>,
    element_type: ElementType,
}

/// What a run works in.
#[derive(Debug, Clone)]
pub struct Session {
    memory: Memory,
    state: State,
}

/// The bytes of tensors, and what operators work in.
#[derive(Debug, Clone)]
struct Memory {
    bytes: Vec<u8>,
    /// One for each thread.
    workspaces: Vec<Workspace>,
    /// Real numbers on their way to bytes: a place in memory need not be aligned for them.
    numbers: Vec<f32>,
    sums: Vec<i32>,
    /// What cannot be computed where it belongs.
    beside: Vec<u8>,
}

impl Memory {
    fn new(bytes: usize, threads: usize) -> Self {
        let workspaces = vec![Workspace::default(); threads.max(1)];
        Self { bytes: vec![0; bytes], workspaces, numbers: Vec::new(), sums: Vec::new(), beside: Vec::new() }
    }
}

/// Computes a node in memory; the error says why the values cannot be computed.
type Call = Box<dyn Fn(&mut Memory) -> Result<(), String> + Send + Sync>;

struct Step {
    node: usize,
    action: StepAction,
}

enum StepAction {
    Compute(Call),
    CallOnce(usize),
    Read(usize, TensorId),
    Assign(usize, TensorId),
}

impl Fast {
    /// Checks every operator, packs weights and finds a place for every tensor.
    ///
    /// # Errors
    /// As [`Reference::prepare`]; [`Error::Input`] if an operator needs a tensor that is neither given nor computed.
    pub fn prepare(network: &Network, how: &Preparation) -> Result<Self, Error> {
        let reference = Reference::prepare(network, how.options)?;
        let graph = network.main();
        let given = if how.given.is_empty() { graph.inputs.clone() } else { how.given.clone() };
        let operands = Operands::of(graph, &reference, &given, how.keep_all);
        let lives = operands.lives(graph, &given);
        for (at, reads) in operands.reads.iter().enumerate() {
            if let Some(t) = reads.iter().find(|&&t| lives[t].as_ref().is_none_or(|life| life.start > at)) {
                let why = format!("input tensor {t} was not given");
                return Err(Error::Input { network: network.name.clone(), why });
            }
        }
        let sizes: Vec<usize> = graph.tensors.iter().map(|t| t.bytes() as usize).collect();
        let (offsets, bytes) = placement::first_fit(&lives, &sizes);
        let place = |t: TensorId| {
            let (offset, element_type) = (offsets[t]?, graph.tensors[t].element_type()?);
            Some(Place { bytes: offset..offset + sizes[t], element_type })
        };
        let places: Vec<Option<Place>> = (0..graph.tensors.len()).map(place).collect();
        let mut steps = Vec::new();
        for (node, step) in reference.graphs[0].steps.iter().enumerate() {
            let action = match &step.action {
                _ if operands.skipped[node] => continue,
                Action::Constant => continue,
                Action::CallOnce(graph) => StepAction::CallOnce(*graph),
                Action::Read(variable) => StepAction::Read(*variable, step.outputs[0]),
                Action::Assign(variable) => StepAction::Assign(*variable, step.inputs[1].unwrap_or_default()),
                Action::Compute(_) => {
                    let site = operators::Site {
                        reference: &reference,
                        network,
                        node: &graph.nodes[node],
                        at: node,
                        places: &places,
                        padded: operands.padded[node],
                        how,
                    };
                    StepAction::Compute(site.call())
                }
            };
            steps.push(Step { node, action });
        }
        Ok(Self { reference, steps, places, bytes, given })
    }

    /// Bytes that a session holds for activations.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory for runs on one thread, in a state in which nothing has run yet.
    pub fn session(&self) -> Session {
        self.session_on(1)
    }

    /// As [`session`](Self::session); large operators are split among `threads` of the caller's pool, with the same bits.
    pub fn session_on(&self, threads: usize) -> Session {
        Session { memory: Memory::new(self.bytes, threads), state: self.reference.state() }
    }

    /// Computes the outputs of the main graph, in its order.
    ///
    /// `feed` gives the tensors for which the network was prepared. `watch` sees every tensor that is fed or computed, in
    /// order, if it was prepared to keep all.
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn run(
        &self,
        session: &mut Session,
        feed: &[(TensorId, &Array)],
        mut watch: impl FnMut(TensorId, &Array),
    ) -> Result<Vec<Array>, Error> {
        for &(t, array) in feed {
            self.write(session, t, array)?;
            watch(t, array);
        }
        if let Some(t) = self.given.iter().find(|t| feed.iter().all(|(fed, _)| fed != *t)) {
            return Err(self.reference.input_fault(format!("input tensor {t} was not given")));
        }
        self.compute(session, &mut |fast, session, node| {
            for &t in &fast.reference.graphs[0].steps[node].outputs {
                watch(t, &fast.read(session, t)?);
            }
            Ok(())
        })?;
        self.reference.graphs[0].outputs.iter().map(|&t| self.read(session, t)).collect()
    }

    /// Runs on what the session's memory holds, and leaves the outputs there: what [`run`](Self::run) does between
    /// feeding and reading.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn invoke(&self, session: &mut Session) -> Result<(), Error> {
        self.compute(session, &mut |_, _, _| Ok(()))
    }

    fn compute(
        &self,
        session: &mut Session,
        after: &mut dyn FnMut(&Self, &Session, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for step in &self.steps {
            match &step.action {
                StepAction::Compute(call) => {
                    call(&mut session.memory).map_err(|why| self.reference.fault(step.node, why))?;
                }
                StepAction::CallOnce(graph) => {
                    if !session.state.called {
                        self.reference.execute(*graph, &mut session.state, &[], &mut |_, _| ())?;
                    }
                    continue;
                }
                StepAction::Read(variable, t) => {
                    let value = session.state.variables[*variable].clone();
                    match value {
                        Some(value) => self.store(session, *t, &value),
                        None => self.store(session, *t, &self.reference.variables[*variable].initial()),
                    }
                }
                StepAction::Assign(variable, t) => {
                    let value = self.read(session, *t)?.into_elements();
                    session.state.variables[*variable] = Some(value.into());
                    continue;
                }
            }
            after(self, session, step.node)?;
        }
        session.state.called = true;
        Ok(())
    }

    /// Writes a tensor that runs are given.
    ///
    /// # Errors
    /// [`Error::Input`] if the tensor takes another type or shape, or is not stored.
    pub fn write(&self, session: &mut Session, t: TensorId, array: &Array) -> Result<(), Error> {
        self.reference.check_fed(t, array)?;
        if self.places[t].is_none() {
            return Err(self.reference.input_fault(format!("tensor {t} is not stored")));
        }
        self.store(session, t, array.elements());
        Ok(())
    }

    /// Reads a tensor as the last run left it.
    ///
    /// # Errors
    /// [`Error::Input`] if the tensor is neither constant nor stored.
    pub fn read(&self, session: &Session, t: TensorId) -> Result<Array, Error> {
        let graph = &self.reference.graphs[0];
        let elements = match (&self.places[t], graph.constants.get(&t)) {
            (Some(place), _) => place.elements(&session.memory.bytes),
            (None, Some(constant)) => Some((**constant).clone()),
            (None, None) => None,
        };
        let array = elements.and_then(|e| Array::new(graph.tensors[t].shape.clone(), e));
        array.ok_or_else(|| self.reference.input_fault(format!("tensor {t} has no value")))
    }

    fn store(&self, session: &mut Session, t: TensorId, elements: &Elements) {
        if let Some(place) = &self.places[t] {
            place.store(&mut session.memory.bytes, elements);
        }
    }
}

impl Place {
    fn elements(&self, memory: &[u8]) -> Option<Elements> {
        let bytes = &memory[self.bytes.clone()];
        match self.element_type {
            ElementType::I8 => Some(Elements::I8(bytes.iter().map(|&b| (b ^ 0x80) as i8).collect())),
            other => Elements::from_le_bytes(other, bytes),
        }
    }

    fn store(&self, memory: &mut [u8], elements: &Elements) {
        let to = &mut memory[self.bytes.clone()];
        match elements {
            Elements::I8(v) => to.iter_mut().zip(v).for_each(|(to, &x)| *to = x as u8 ^ 0x80),
            Elements::F32(v) => to.chunks_exact_mut(4).zip(v).for_each(|(to, x)| to.copy_from_slice(&x.to_le_bytes())),
            other => to.copy_from_slice(&other.to_le_bytes()),
        }
        debug_assert_eq!(elements.element_type(), self.element_type);
    }
}

/// The bytes of a constant as they lie in memory.
fn constant_bytes(elements: &Elements) -> Vec<u8> {
    let mut bytes = elements.to_le_bytes();
    if elements.element_type() == ElementType::I8 {
        flip(&mut bytes);
    }
    bytes
}

/// A PAD that the convolution after it does: what it pads, and by how much before and after rows and columns.
#[derive(Debug, Clone, Copy)]
struct Padded {
    source: TensorId,
    around: [[usize; 2]; 2],
}

/// What every node of the main graph reads and writes in memory.
struct Operands {
    reads: Vec<Vec<TensorId>>,
    /// Nodes that do not run: given, or done by another.
    skipped: Vec<bool>,
    padded: Vec<Option<Padded>>,
}

impl Operands {
    fn of(graph: &Graph, reference: &Reference, given: &[TensorId], keep_all: bool) -> Self {
        let prepared = &reference.graphs[0];
        let mut skipped = Vec::with_capacity(graph.nodes.len());
        let mut padded = vec![None; graph.nodes.len()];
        let mut reads = Vec::with_capacity(graph.nodes.len());
        let pads: HashMap<TensorId, Padded> = if keep_all { HashMap::new() } else { pads(graph, reference, given) };
        for (at, node) in graph.nodes.iter().enumerate() {
            let known = !node.outputs.is_empty() && node.outputs.iter().all(|t| given.contains(t));
            let done = node.operator == Operator::Pad && node.outputs.iter().any(|t| pads.contains_key(t));
            let constant = matches!(prepared.steps[at].action, Action::Constant | Action::CallOnce(_));
            skipped.push(known || done);
            if known || done || constant {
                reads.push(Vec::new());
                continue;
            }
            let first = usize::from(node.operator == Operator::AssignVariable);
            let stateful = matches!(prepared.steps[at].action, Action::Read(_));
            let operands = node.inputs.iter().skip(first).flatten().filter(|t| !prepared.constants.contains_key(t));
            let mut operands: Vec<TensorId> = operands.copied().filter(|_| !stateful).collect();
            if let Some(pad) = node.inputs.first().copied().flatten().and_then(|t| pads.get(&t)) {
                padded[at] = Some(*pad);
                operands[0] = pad.source;
            }
            reads.push(operands);
        }
        Self { reads, skipped, padded }
    }

    /// From the node that writes a tensor to the last that reads it.
    fn lives(&self, graph: &Graph, given: &[TensorId]) -> Vec<Option<Range<usize>>> {
        let mut lives: Vec<Option<Range<usize>>> = vec![None; graph.tensors.len()];
        // What is given stays, so that a session can run again on it.
        given.iter().for_each(|&t| lives[t] = Some(0..graph.nodes.len() + 1));
        for (at, node) in graph.nodes.iter().enumerate() {
            for &t in &self.reads[at] {
                if let Some(life) = &mut lives[t] {
                    life.end = life.end.max(at + 1);
                }
            }
            if !self.skipped[at] {
                node.outputs.iter().for_each(|&t| _ = lives[t].get_or_insert(at..at + 1));
            }
        }
        for &t in &graph.outputs {
            if let Some(life) = &mut lives[t] {
                life.end = graph.nodes.len() + 1;
            }
        }
        lives
    }
}

/// The PADs whose output only unpadded int8 convolutions read.
fn pads(graph: &Graph, reference: &Reference, given: &[TensorId]) -> HashMap<TensorId, Padded> {
    use tersor_kernels::window::Padding::Valid;
    let prepared = &reference.graphs[0];
    let consumers = crate::liveness::consumers(graph);
    let fused = |node: &Node| {
        let (&[Some(source), Some(by)], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return None;
        };
        let valid = |&at: &usize| {
            matches!(
                graph.nodes[at].operator,
                Operator::Conv2d { padding: [Valid, Valid], .. }
                    | Operator::DepthwiseConv2d { padding: [Valid, Valid], .. }
            )
        };
        let int8 = graph.tensors[output].element_type() == Some(ElementType::I8);
        let stored = !graph.outputs.contains(&output) && !given.contains(&output);
        let reads = &consumers[output];
        if !int8 || !stored || reads.is_empty() || !reads.iter().all(valid) || prepared.constants.contains_key(&source)
        {
            return None;
        }
        let &[0, 0, top, bottom, left, right, 0, 0] = prepared.constants.get(&by)?.as_i32()? else { return None };
        let size = |n: i32| usize::try_from(n).ok();
        Some((output, Padded { source, around: [[size(top)?, size(bottom)?], [size(left)?, size(right)?]] }))
    };
    graph.nodes.iter().filter(|node| node.operator == Operator::Pad).filter_map(fused).collect()
}
