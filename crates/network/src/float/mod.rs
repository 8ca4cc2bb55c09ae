//! The engine for real numbers: an f32 network with its channels first (ONNX), prepared once, run at the machine's speed.
//!
//! Preparing folds a batch normalization into the convolution before it, lets layers end in the ReLU that follows them,
//! gives every tensor a place in one memory, and packs the weights of each layer as a dense matrix or as what is left of
//! it after pruning, whichever is predicted to be faster. A run then is a list of closures over places: it allocates
//! nothing. Threads are those of the caller's rayon pool; no result depends on their number.
//!
//! ```
//! use tersor_network::{Layout, float::{Float, Kernel}};
//! # fn main() -> Result<(), tersor_network::Error> {
//! # let network = tersor_network::Network {
//! #     name: "empty".into(), description: String::new(), graphs: vec![tersor_network::Graph::default()],
//! #     arithmetic: Default::default(), layout: Layout::ChannelsFirst,
//! # };
//! let engine = Float::prepare(&network, Kernel::Auto)?;
//! for layer in engine.layers() {
//!     println!("{}: {}", layer.name, layer.why);
//! }
//! let outputs = engine.run(&mut engine.session(), &[])?;
//! # assert!(outputs.is_empty());
//! # Ok(()) }
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | `plan.rs` | what a run does: checks, folding, fusing |
//! | `storage.rs` | where every tensor lies, what shares a place |
//! | `memory.rs` | the memory of a run, and closures over places in it |
//! | `operators.rs` | from an operator to its closure |
//! | `layer.rs` | layers with weights: dense or sparse |
//! | `depthwise.rs` | convolution of each channel by itself |
//! | `elementwise.rs` | maps, broadcasting, batch normalization |
//! | `pool.rs` | pooling, means, softmax |
//! | `movement.rs` | transpose, slice, pad, concatenate |
//! | `threads.rs` | when a step is cut into parts |
//!
//! What this module does not do: int8 (`fast`), resizing, variables, operands that are computed at run time where weights
//! are meant.
//!
//! Source: *Learning both Weights and Connections for Efficient Neural Networks* (NeurIPS 2015), for what is left of the
//! weights; the kernels are those of [`tersor_kernels`].

mod depthwise;
mod elementwise;
mod layer;
mod memory;
mod movement;
mod operators;
mod plan;
mod pool;
mod storage;
mod threads;

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cost;
use crate::error::Error;
use crate::graph::Network;
use memory::{Aligned, Call, Frame, Source};
use operators::{Built, Site};
use plan::Planner;
use storage::Storage;

/// Most numbers that a session may hold: 4 GiB.
const MOST_NUMBERS: u64 = 1 << 30;
/// Most elementary steps of a run: hours of work; no file of a few bytes shall ask for more.
const MOST_STEPS: u64 = 1 << 45;

/// How the layers that have weights are to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// Every weight, zeros too.
    Dense,
    /// The weights that are not 0.
    Sparse,
    /// For each layer, whichever is predicted to be faster.
    #[default]
    Auto,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Auto => "auto",
        })
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "dense" => Ok(Self::Dense),
            "sparse" => Ok(Self::Sparse),
            "auto" => Ok(Self::Auto),
            other => Err(format!("{other} is no kernel; there are dense, sparse and auto")),
        }
    }
}

/// A layer with weights, and how it is computed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// The name of its weights.
    pub name: String,
    /// `CONV_2D` or `FULLY_CONNECTED`.
    pub operator: String,
    /// Shape of the weights.
    pub shape: Vec<usize>,
    /// Weights that are not 0.
    pub nonzeros: usize,
    /// The share of them, in [0, 1].
    pub density: f64,
    /// Multiply-adds of a run, with every weight and padding counted.
    pub macs: u64,
    /// Multiply-adds of a run with the weights that are not 0.
    pub macs_kept: u64,
    /// What computes it: [`Kernel::Dense`] or [`Kernel::Sparse`].
    pub kernel: Kernel,
    /// Predicted seconds of the dense kernel, on one thread ([`tersor_kernels::sparse::cost`]).
    pub dense_seconds: f64,
    /// Predicted seconds of the sparse kernel, on one thread too; infinite (null as JSON) where there is none.
    pub sparse_seconds: f64,
    /// The density, in [0, 1], below which the cost model takes the sparse kernel for a layer of this shape, if its weights
    /// lie anywhere.
    pub break_even: f64,
    /// Why that kernel: `sparse: 8.0 % of weights, 3.1 us predicted against 21.4 us dense`.
    pub why: String,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The name of the tensor that it computes.
    pub name: String,
    /// TensorFlow Lite's name of the operator; with `+ RELU` and the like for what is fused to it.
    pub operator: String,
    /// The row of [`Float::layers`], if it has weights.
    pub layer: Option<usize>,
}

/// A network, prepared for runs on one number of images.
pub struct Float {
    name: String,
    layers: Vec<Layer>,
    steps: Vec<Step>,
    calls: Vec<Call>,
    /// Names and lengths of what is given.
    inputs: Vec<(String, usize)>,
    outputs: Vec<Output>,
    /// Numbers of activations, and of scratch.
    lengths: (usize, usize),
}

struct Output {
    name: String,
    len: usize,
    source: Source,
}

/// The memory of a run: activations and scratch.
pub struct Session {
    activations: Aligned,
    scratch: Aligned,
}

impl Float {
    /// Checks every operator, folds and fuses, packs weights and finds a place for every tensor.
    ///
    /// The number of images is that of the inputs' first axis; see [`Network::with_batch`].
    ///
    /// # Errors
    /// [`Error::Operator`] naming the first operator that cannot be run or whose operands do not fit; [`Error::Input`] if
    /// the channels stand last, an input is not float32, or an output has no value; [`Error::Memory`] if activations and
    /// scratch take more than 4 GiB, [`Error::Work`] if a run takes more than 2^45 elementary steps.
    pub fn prepare(network: &Network, kernel: Kernel) -> Result<Self, Error> {
        Self::prepare_within(network, kernel, MOST_NUMBERS * size_of::<f32>() as u64)
    }

    /// As [`prepare`](Self::prepare), with another limit on the bytes of a session.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_within(network: &Network, kernel: Kernel, limit: u64) -> Result<Self, Error> {
        let planner = Planner::new(network)?;
        let graph = planner.graph;
        let work = graph.nodes.iter().map(|node| cost::steps(graph, node)).fold(0, u64::saturating_add);
        if work > MOST_STEPS {
            return Err(Error::Work { network: network.name.clone(), needed: work, limit: MOST_STEPS });
        }
        // Layers hold their weights, each its own: one constant that many name counts for each.
        let constants = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        let constants = constants.filter(|&&t| graph.tensors[t].constant.is_some());
        let constants: u64 = constants.map(|&t| graph.tensors[t].len() as u64).sum();
        if constants > MOST_NUMBERS {
            let [needed, limit] = [constants, MOST_NUMBERS].map(|numbers| numbers * size_of::<f32>() as u64);
            return Err(Error::Memory { network: network.name.clone(), needed, limit });
        }
        let ops = planner.ops()?;
        let storage = Storage::of(&planner, &ops);
        let hold = |numbers: usize| match (numbers as u64).saturating_mul(size_of::<f32>() as u64) {
            needed if needed > limit => Err(Error::Memory { network: network.name.clone(), needed, limit }),
            _ => Ok(()),
        };
        hold(storage.len)?;
        let (mut layers, mut steps, mut calls, mut scratch) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (index, op) in ops.into_iter().enumerate() {
            let (at, name) = (op.at, graph.tensors[op.output].name.clone());
            let operator = op.names.join(" + ");
            let site = Site { planner: &planner, storage: &storage, kernel, op, in_place: storage.in_place[index] };
            let (call, takes, layer) = match site.build().map_err(|why| planner.fault(at, why))? {
                Built::Nothing => continue,
                Built::Step(call, scratch) => (call, scratch, None),
                Built::Layer(packed) => {
                    layers.push(packed.layer);
                    (packed.call, packed.scratch, Some(layers.len() - 1))
                }
            };
            steps.push(Step { name, operator, layer });
            calls.push(call);
            scratch = takes.max(scratch);
            hold(storage.len.saturating_add(scratch))?;
        }
        let input = |&t: &usize| (graph.tensors[t].name.clone(), graph.tensors[t].len());
        let output = |&t: &usize| {
            let source = operators::source(&planner, &storage, t).map_err(|why| planner.input_fault(why))?;
            Ok(Output { name: graph.tensors[t].name.clone(), len: graph.tensors[t].len(), source })
        };
        Ok(Self {
            name: network.name.clone(),
            layers,
            steps,
            calls,
            inputs: graph.inputs.iter().map(input).collect(),
            outputs: graph.outputs.iter().map(output).collect::<Result<_, Error>>()?,
            lengths: (storage.len, scratch),
        })
    }

    /// Memory for runs, allocated once.
    pub fn session(&self) -> Session {
        let (activations, scratch) = self.lengths;
        Session { activations: Aligned::new(activations), scratch: Aligned::new(scratch) }
    }

    /// Computes the outputs, in the graph's order, from the inputs, in the graph's order.
    ///
    /// # Errors
    /// [`Error::Input`] if an input is missing or has another length, or the session is another engine's.
    pub fn run(&self, session: &mut Session, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>, Error> {
        let mut outputs: Vec<Vec<f32>> = self.outputs.iter().map(|output| vec![0.0; output.len]).collect();
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.run_into(session, inputs, &mut slices)?;
        Ok(outputs)
    }

    /// As [`run`](Self::run), without allocating but for what dense convolutions copy images into.
    ///
    /// # Errors
    /// As [`run`](Self::run); also if an output has another length.
    pub fn run_into(&self, session: &mut Session, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), Error> {
        self.compute(session, inputs, outputs, |frame| self.calls.iter().for_each(|call| call(frame)))
    }

    /// As [`run_into`](Self::run_into); adds the seconds that each step took to `seconds`, one for each of
    /// [`steps`](Self::steps).
    ///
    /// # Errors
    /// As [`run_into`](Self::run_into); also if `seconds` are not as many as steps.
    pub fn run_timed(
        &self,
        session: &mut Session,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        seconds: &mut [f64],
    ) -> Result<(), Error> {
        if seconds.len() != self.steps.len() {
            return Err(self.fault(format!("{} places for the seconds of {} steps", seconds.len(), self.steps.len())));
        }
        self.compute(session, inputs, outputs, |frame| {
            for (call, seconds) in self.calls.iter().zip(seconds) {
                let start = Instant::now();
                call(frame);
                *seconds += start.elapsed().as_secs_f64();
            }
        })
    }

    fn compute(
        &self,
        session: &mut Session,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        run: impl FnOnce(&mut Frame),
    ) -> Result<(), Error> {
        let (given, taken) = (inputs.iter().map(|x| x.len()), outputs.iter().map(|y| y.len()));
        self.check("input", given, self.inputs.iter().map(|(name, len)| (name.as_str(), *len)))?;
        self.check("output", taken, self.outputs.iter().map(|output| (output.name.as_str(), output.len)))?;
        let (memory, scratch) = (session.activations.numbers(), session.scratch.numbers());
        if (memory.len(), scratch.len()) != self.lengths {
            return Err(self.fault("the session was made for another engine".into()));
        }
        let mut frame = Frame { inputs, memory, scratch };
        run(&mut frame);
        let computed = frame.read();
        for (output, to) in self.outputs.iter().zip(outputs) {
            to.copy_from_slice(computed.get(&output.source));
        }
        Ok(())
    }

    fn check<'s>(
        &self,
        what: &str,
        given: impl ExactSizeIterator<Item = usize>,
        expected: impl ExactSizeIterator<Item = (&'s str, usize)>,
    ) -> Result<(), Error> {
        if given.len() != expected.len() {
            return Err(self.fault(format!("{} {what}s, not {}", given.len(), expected.len())));
        }
        match given.zip(expected).find(|(given, (_, expected))| given != expected) {
            Some((given, (name, len))) => Err(self.fault(format!("{what} {name} has {given} numbers, not {len}"))),
            None => Ok(()),
        }
    }

    fn fault(&self, why: String) -> Error {
        Error::Input { network: self.name.clone(), why }
    }

    /// The layers that have weights, in the order of execution.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What a run does, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Bytes of a session.
    pub fn bytes(&self) -> usize {
        (self.lengths.0 + self.lengths.1) * size_of::<f32>()
    }

    /// Multiply-adds of a run: with every weight, and with those that are not 0.
    pub fn macs(&self) -> (u64, u64) {
        self.layers.iter().fold((0, 0), |(all, kept), layer| (all + layer.macs, kept + layer.macs_kept))
    }
}
