//! The reference engine: a network computed node by node, each as its formula reads.
//!
//! It is the standard that faster engines are held to: int8 results equal TensorFlow Lite Micro's reference kernels to
//! the bit. [`Reference::prepare`] checks everything once and computes multipliers; [`Reference::run`] then only computes.

pub(crate) mod arithmetic;
mod movement;
pub mod numbers;

use std::collections::HashMap;
use std::sync::Arc;

use tersor_data::{Array, ElementType, Elements};
use tersor_kernels::int8::{Affine, Rounding};

use crate::error::Error;
use crate::graph::{Arithmetic, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind};
use crate::operator::{Operator, SUPPORTED};
use crate::shape::{self, Operand};
use crate::{cost, liveness};

/// How a run is to be computed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How fixed-point products are rounded.
    pub rounding: Rounding,
    /// Most bytes of activations that a run may hold at once.
    pub memory: u64,
    /// Most elementary steps (see [`cost::steps`]) that a run may take.
    pub steps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounding: Rounding::Double, memory: 192 << 20, steps: 1 << 37 }
    }
}

/// Computes a node's outputs (allocated, zero) from its operands; the error says why the values cannot be computed.
pub(crate) type Kernel = Arc<dyn Fn(&[&Elements], &mut [Elements]) -> Result<(), String> + Send + Sync>;

/// A network, prepared for the reference engine.
pub struct Reference {
    pub(crate) name: String,
    pub(crate) graphs: Vec<PreparedGraph>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) options: Options,
}

/// What a variable holds between runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    element_type: ElementType,
    count: usize,
    /// What it holds before anything is assigned: its zero point.
    initial: i32,
}

impl Variable {
    pub(crate) fn initial(self) -> Elements {
        match self.element_type {
            ElementType::I8 => Elements::I8(vec![self.initial as i8; self.count]),
            ElementType::U8 => Elements::U8(vec![self.initial as u8; self.count]),
            other => Elements::zeros(other, self.count),
        }
    }
}

pub(crate) struct PreparedGraph {
    pub(crate) steps: Vec<Step>,
    pub(crate) tensors: Vec<PreparedTensor>,
    pub(crate) constants: HashMap<TensorId, Arc<Elements>>,
    pub(crate) inputs: Vec<TensorId>,
    pub(crate) outputs: Vec<TensorId>,
}

/// What a run must know of a tensor.
pub(crate) struct PreparedTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) element_type: Option<ElementType>,
    /// The last step that reads it.
    pub(crate) last: usize,
}

pub(crate) struct Step {
    pub(crate) operator: String,
    pub(crate) inputs: Vec<Option<TensorId>>,
    pub(crate) outputs: Vec<TensorId>,
    pub(crate) action: Action,
}

pub(crate) enum Action {
    Compute(Kernel),
    /// Its outputs were computed when the network was prepared.
    Constant,
    CallOnce(usize),
    Read(usize),
    Assign(usize),
}

/// What a network remembers between runs: its variables, and which initialisers have run.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) variables: Vec<Option<Arc<Elements>>>,
    pub(crate) called: bool,
}

/// Why an operator cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unsupported {
    /// Position in its graph.
    pub index: usize,
    /// The graph, if it is not the main one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subgraph: Option<usize>,
    /// TensorFlow Lite's name.
    pub operator: String,
    /// The reason.
    pub why: String,
}

/// Every operator of `network` that cannot be run, and why; empty if it can.
pub fn unsupported(network: &Network) -> Vec<Unsupported> {
    let mut preparation = Preparation::new(network, Options::default());
    for (g, graph) in network.graphs.iter().enumerate() {
        preparation.graph(g, graph);
    }
    preparation.faults
}

impl Reference {
    /// Checks every operator and computes what does not depend on the input.
    ///
    /// # Errors
    /// [`Error::Layout`] if the channels stand first, [`Error::Operator`] for the first operator that cannot be run,
    /// [`Error::Memory`] or [`Error::Work`] if a run would
    /// need more than `options` allow.
    pub fn prepare(network: &Network, options: Options) -> Result<Self, Error> {
        if network.layout != Layout::ChannelsLast {
            return Err(Error::Layout { network: network.name.clone(), what: "the int8 engine" });
        }
        // An initialising graph runs while the main one holds its values.
        let called = network.graphs[1..].iter().map(|graph| liveness::as_it_stands(network, graph).bound_bytes).max();
        let needed = liveness::as_it_stands(network, network.main()).bound_bytes + called.unwrap_or(0);
        if needed > options.memory {
            return Err(Error::Memory { network: network.name.clone(), needed, limit: options.memory });
        }
        let nodes =
            network.graphs.iter().flat_map(|graph| graph.nodes.iter().map(move |node| cost::steps(graph, node)));
        let steps = nodes.fold(0u64, u64::saturating_add);
        if steps > options.steps {
            return Err(Error::Work { network: network.name.clone(), needed: steps, limit: options.steps });
        }
        let mut preparation = Preparation::new(network, options);
        let graphs = network.graphs.iter().enumerate().map(|(g, graph)| preparation.graph(g, graph)).collect();
        match preparation.faults.into_iter().next() {
            None => Ok(Self { name: network.name.clone(), graphs, variables: preparation.variables.kinds, options }),
            Some(fault) => Err(Error::Operator {
                network: network.name.clone(),
                within: within(fault.subgraph.unwrap_or(0)),
                index: fault.index,
                operator: fault.operator,
                why: fault.why,
            }),
        }
    }

    /// A state in which nothing has run yet.
    pub fn state(&self) -> State {
        State { variables: vec![None; self.variables.len()], called: false }
    }

    /// Computes the outputs of the main graph, in its order.
    ///
    /// `feed` gives the graph's inputs; it may instead give any later tensor, whose node is then skipped.
    /// `watch` sees every tensor that is fed or computed, in order.
    ///
    /// # Errors
    /// [`Error::Input`] if an input is missing or has another type or shape, [`Error::Operator`] if a value cannot be
    /// computed (a NaN to be quantised).
    pub fn run(
        &self,
        state: &mut State,
        feed: &[(TensorId, &Array)],
        mut watch: impl FnMut(TensorId, &Array),
    ) -> Result<Vec<Array>, Error> {
        let main = &self.graphs[0];
        let values = self.execute(0, state, feed, &mut watch)?;
        main.outputs.iter().map(|&t| self.array(main, t, values[t].clone())).collect()
    }

    fn input(&self, why: String) -> Error {
        Error::Input { network: self.name.clone(), why }
    }

    /// What is wrong with an input.
    pub(crate) fn input_fault(&self, why: String) -> Error {
        self.input(why)
    }

    /// What is wrong with the values of a node of the main graph.
    pub(crate) fn fault(&self, node: usize, why: String) -> Error {
        let operator = self.graphs[0].steps[node].operator.clone();
        Error::Operator { network: self.name.clone(), within: within(0), index: node, operator, why }
    }

    /// Checks that `array` is what tensor `t` of the main graph takes.
    pub(crate) fn check_fed(&self, t: TensorId, array: &Array) -> Result<(), Error> {
        check_fed(&self.name, &self.graphs[0], t, array)
    }

    /// The kernel of a node of the main graph that computes.
    pub(crate) fn kernel(&self, node: usize) -> Kernel {
        match &self.graphs[0].steps[node].action {
            Action::Compute(kernel) => kernel.clone(),
            _ => Arc::new(|_, _| Err("computes nothing".into())),
        }
    }

    fn array(&self, graph: &PreparedGraph, t: TensorId, value: Option<Arc<Elements>>) -> Result<Array, Error> {
        let value = value.or_else(|| graph.constants.get(&t).cloned());
        let value = value.ok_or_else(|| self.input(format!("output tensor {t} has no value")))?;
        let shape = graph.tensors[t].shape.clone();
        Array::new(shape, Arc::unwrap_or_clone(value)).ok_or_else(|| self.input(format!("tensor {t} is no array")))
    }

    pub(crate) fn execute(
        &self,
        index: usize,
        state: &mut State,
        feed: &[(TensorId, &Array)],
        watch: &mut dyn FnMut(TensorId, &Array),
    ) -> Result<Vec<Option<Arc<Elements>>>, Error> {
        let graph = &self.graphs[index];
        let mut values: Vec<Option<Arc<Elements>>> = vec![None; graph.tensors.len()];
        for &(t, array) in feed {
            check_fed(&self.name, graph, t, array)?;
            watch(t, array);
            values[t] = Some(Arc::new(array.elements().clone()));
        }
        for (at, step) in graph.steps.iter().enumerate() {
            if !step.outputs.is_empty() && step.outputs.iter().all(|&t| values[t].is_some()) {
                continue;
            }
            let fault = |why: String| Error::Operator {
                network: self.name.clone(),
                within: within(index),
                index: at,
                operator: step.operator.clone(),
                why,
            };
            match &step.action {
                Action::Constant => {}
                Action::CallOnce(callee) => {
                    if !state.called {
                        self.execute(*callee, state, &[], &mut |_, _| ())?;
                    }
                }
                Action::Read(variable) => {
                    let value = state.variables[*variable].clone();
                    let value = value.unwrap_or_else(|| Arc::new(self.variables[*variable].initial()));
                    values[step.outputs[0]] = Some(value);
                }
                Action::Assign(variable) => {
                    let value =
                        step.inputs[1].and_then(|t| values[t].clone().or_else(|| graph.constants.get(&t).cloned()));
                    state.variables[*variable] = Some(value.ok_or_else(|| fault("the value is missing".into()))?);
                }
                Action::Compute(kernel) => {
                    let find = |t: TensorId| values[t].as_deref().or_else(|| graph.constants.get(&t).map(|c| &**c));
                    let operands = operands(&step.inputs, find)
                        .map_err(|t| self.input(format!("input tensor {t} was not given")))?;
                    let zeros = |&t: &TensorId| {
                        let tensor = &graph.tensors[t];
                        zeros(tensor.element_type, &tensor.shape)
                    };
                    let mut outputs: Vec<Elements> = step.outputs.iter().map(zeros).collect();
                    kernel(&operands, &mut outputs).map_err(fault)?;
                    for (&t, output) in step.outputs.iter().zip(outputs) {
                        values[t] = Some(Arc::new(output));
                    }
                }
            }
            if matches!(step.action, Action::Compute(_) | Action::Read(_)) {
                for &t in &step.outputs {
                    watch(t, &self.array(graph, t, values[t].clone())?);
                }
            }
            // A value is dropped after its last reader, so that a run holds no more than the memory bound.
            for &t in step.inputs.iter().flatten().chain(&step.outputs) {
                if graph.tensors[t].last <= at && !graph.outputs.contains(&t) {
                    values[t] = None;
                }
            }
        }
        if index == 0 {
            state.called = true;
        }
        Ok(values)
    }

    /// Shape and element type that the main graph's inputs take, in order.
    pub fn inputs(&self) -> impl Iterator<Item = (TensorId, &[usize], Option<ElementType>)> {
        let main = &self.graphs[0];
        main.inputs.iter().map(|&t| (t, main.tensors[t].shape.as_slice(), main.tensors[t].element_type))
    }
}

/// What is fed has the type and shape that the tensor takes.
fn check_fed(network: &str, graph: &PreparedGraph, t: TensorId, array: &Array) -> Result<(), Error> {
    let tensor = &graph.tensors[t];
    if Some(array.element_type()) == tensor.element_type && array.shape() == tensor.shape {
        return Ok(());
    }
    let expected = tensor.element_type.map_or("another kind", ElementType::name);
    let (shape, kind, given) = (&tensor.shape, array.element_type(), array.shape());
    let why = format!("tensor {t} takes {expected} of shape {shape:?}, not {kind} of shape {given:?}");
    Err(Error::Input { network: network.into(), why })
}

/// Variables of the whole network, by container and name.
#[derive(Default)]
struct Variables {
    index: HashMap<(String, String), usize>,
    kinds: Vec<Variable>,
}

/// The work of preparing: what has been learnt so far.
struct Preparation<'n> {
    network: &'n Network,
    options: Options,
    variables: Variables,
    faults: Vec<Unsupported>,
    /// Bytes that constants computed here may still take.
    left: u64,
    /// Elementary steps that computing them may still take.
    steps_left: u64,
}

/// Elementary steps that computing constants may take: float16 weights and the like, not a network.
const FOLDING_STEPS: u64 = 1 << 27;

/// What stands before an operator's index in an error, if it is not of the main graph.
fn within(graph: usize) -> String {
    if graph == 0 { String::new() } else { format!("subgraph {graph}, ") }
}

impl<'n> Preparation<'n> {
    fn new(network: &'n Network, options: Options) -> Self {
        Self {
            network,
            options,
            variables: Variables::default(),
            faults: Vec::new(),
            left: options.memory,
            steps_left: FOLDING_STEPS,
        }
    }

    /// Prepares one graph; faults are gathered, not returned.
    fn graph(&mut self, index: usize, graph: &Graph) -> PreparedGraph {
        let constants = graph.tensors.iter().enumerate().filter_map(|(t, tensor)| Some((t, tensor.constant.clone()?)));
        let mut constants: HashMap<TensorId, Arc<Elements>> = constants.collect();
        let mut handles: HashMap<TensorId, (String, String)> = HashMap::new();
        let mut steps = Vec::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            let site = Site { network: self.network, graph, node, constants: &constants, options: self.options };
            let prepared = action(&site, index, &mut self.variables, &mut handles)
                .and_then(|action| self.fold(graph, node, &mut constants, action));
            let action = match prepared {
                Ok(action) => action,
                Err(why) => {
                    self.faults.push(Unsupported {
                        index: at,
                        subgraph: (index > 0).then_some(index),
                        operator: node.operator.name().into(),
                        why,
                    });
                    continue;
                }
            };
            steps.push(Step {
                operator: node.operator.name().into(),
                inputs: node.inputs.clone(),
                outputs: node.outputs.clone(),
                action,
            });
        }
        let lives = liveness::lifetimes(graph);
        let tensors = graph.tensors.iter().zip(lives).map(|(tensor, life)| PreparedTensor {
            shape: tensor.shape.clone(),
            element_type: tensor.element_type(),
            last: life.map_or(0, |life| life.last),
        });
        let tensors = tensors.collect();
        PreparedGraph { steps, tensors, constants, inputs: graph.inputs.clone(), outputs: graph.outputs.clone() }
    }

    /// Computes a node whose operands are all constant now, once; other nodes are left as they are.
    fn fold(
        &mut self,
        graph: &Graph,
        node: &Node,
        constants: &mut HashMap<TensorId, Arc<Elements>>,
        action: Action,
    ) -> Result<Action, String> {
        let Action::Compute(kernel) = &action else { return Ok(action) };
        if !node.inputs.iter().flatten().all(|t| constants.contains_key(t)) {
            return Ok(action);
        }
        let bytes: u64 = node.outputs.iter().map(|&t| graph.tensors[t].bytes()).sum();
        let too_much = || format!("its constant result takes {bytes} bytes, more than a run may hold");
        self.left = self.left.checked_sub(bytes).ok_or_else(too_much)?;
        let steps = cost::steps(graph, node);
        let too_long = || format!("its constant result takes {steps} elementary steps, more than preparing may take");
        self.steps_left = self.steps_left.checked_sub(steps).ok_or_else(too_long)?;
        let folded = constant_results(graph, node, kernel, constants)?;
        constants.extend(node.outputs.iter().copied().zip(folded));
        Ok(Action::Constant)
    }
}

/// The results of a node whose operands are all constant.
fn constant_results(
    graph: &Graph,
    node: &Node,
    kernel: &Kernel,
    constants: &HashMap<TensorId, Arc<Elements>>,
) -> Result<Vec<Arc<Elements>>, String> {
    let operands = operands(&node.inputs, |t| constants.get(&t).map(|c| &**c))
        .map_err(|t| format!("operand tensor {t} has no value"))?;
    let zeros = |&t: &TensorId| zeros(graph.tensors[t].element_type(), &graph.tensors[t].shape);
    let mut outputs: Vec<Elements> = node.outputs.iter().map(zeros).collect();
    kernel(&operands, &mut outputs)?;
    Ok(outputs.into_iter().map(Arc::new).collect())
}

/// The operands of a node, an empty one where one is left out; the tensor that has no value, if one has none.
fn operands<'v>(
    inputs: &[Option<TensorId>],
    find: impl Fn(TensorId) -> Option<&'v Elements>,
) -> Result<Vec<&'v Elements>, TensorId> {
    static ABSENT: Elements = Elements::U8(Vec::new());
    inputs.iter().map(|input| input.map_or(Ok(&ABSENT), |t| find(t).ok_or(t))).collect()
}

/// What a kernel is given to write to.
fn zeros(element_type: Option<ElementType>, shape: &[usize]) -> Elements {
    Elements::zeros(element_type.unwrap_or(ElementType::U8), shape.iter().product())
}

/// A node in its graph, with what preparing it may ask.
pub(crate) struct Site<'a> {
    pub(crate) network: &'a Network,
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
    pub(crate) constants: &'a HashMap<TensorId, Arc<Elements>>,
    pub(crate) options: Options,
}

impl<'a> Site<'a> {
    pub(crate) fn input(&self, i: usize) -> Result<&'a Tensor, String> {
        let t = self.node.inputs.get(i).copied().flatten();
        t.map(|t| &self.graph.tensors[t])
            .ok_or_else(|| format!("operand {i} is missing; the operator has {}", self.node.inputs.len()))
    }

    pub(crate) fn output(&self, i: usize) -> Result<&'a Tensor, String> {
        let t = self.node.outputs.get(i);
        t.map(|&t| &self.graph.tensors[t])
            .ok_or_else(|| format!("output {i} is missing; the operator has {}", self.node.outputs.len()))
    }

    pub(crate) fn constant(&self, i: usize) -> Option<&'a Elements> {
        self.constants.get(&self.node.inputs.get(i).copied().flatten()?).map(|c| &**c)
    }

    pub(crate) fn operands(&self) -> Vec<Option<Operand<'a>>> {
        let operand = |i: usize| {
            let tensor = self.input(i).ok()?;
            Some(Operand { shape: &tensor.shape, constant: self.constant(i) })
        };
        (0..self.node.inputs.len()).map(operand).collect()
    }

    fn operand(&self, i: usize) -> Result<Operand<'a>, String> {
        Ok(Operand { shape: &self.input(i)?.shape, constant: self.constant(i) })
    }

    pub(crate) fn float_arithmetic(&self) -> bool {
        self.network.arithmetic == Arithmetic::Float
    }
}

/// The one scale and zero point of an integer tensor.
pub(crate) fn affine(tensor: &Tensor) -> Result<Affine, String> {
    let name = &tensor.name;
    let q = tensor.quantization.as_ref().ok_or_else(|| format!("tensor {name} has no scale"))?;
    let q = q.affine().ok_or_else(|| format!("tensor {name} has no single positive scale"))?;
    let range = match tensor.element_type() {
        Some(ElementType::I8) => -128..=127,
        Some(ElementType::U8) => 0..=255,
        Some(ElementType::I16) => -32_768..=32_767,
        _ => i32::MIN..=i32::MAX,
    };
    if !range.contains(&q.zero_point) {
        return Err(format!("zero point {} of tensor {name} is not a value of its type", q.zero_point));
    }
    Ok(q)
}

/// The elements of several tensors, which must have one type among `types`.
fn one_type(tensors: &[&Tensor], types: &[ElementType]) -> Result<ElementType, String> {
    let kinds: Vec<String> = tensors.iter().map(|t| t.kind.to_string()).collect();
    let first = tensors.first().and_then(|t| t.element_type());
    let agree = tensors.iter().all(|t| t.element_type() == first);
    first.filter(|t| agree && types.contains(t)).ok_or_else(|| {
        let names: Vec<&str> = types.iter().map(|t| t.name()).collect();
        format!("operands of type {} are not supported; supported: {}", kinds.join(", "), names.join(", "))
    })
}

/// What a node does; the error says why it cannot be run.
fn action(
    site: &Site,
    graph: usize,
    variables: &mut Variables,
    handles: &mut HashMap<TensorId, (String, String)>,
) -> Result<Action, String> {
    if site.network.layout != Layout::ChannelsLast {
        return Err("its network has channels first; only channels last are supported".into());
    }
    check_shapes(site)?;
    let node = site.node;
    let variable = |handle: usize, value: &Tensor, variables: &mut Variables| {
        let t = node.inputs.get(handle).copied().flatten();
        let key = t.and_then(|t| handles.get(&t)).ok_or("its variable comes from no VAR_HANDLE")?;
        let initial = value.quantization.as_ref().and_then(|q| q.affine()).map_or(0, |q| q.zero_point);
        let element_type = value.element_type().ok_or("its value is no array")?;
        let kind = Variable { element_type, count: value.len(), initial };
        let next = variables.kinds.len();
        let index = *variables.index.entry(key.clone()).or_insert(next);
        if index == next {
            variables.kinds.push(kind);
        }
        let known = variables.kinds[index];
        if (known.element_type, known.count) != (kind.element_type, kind.count) {
            let (name, a, b) = (&key.1, known, kind);
            return Err(format!(
                "variable {name} holds {} of {}, not {} of {}",
                a.count, a.element_type, b.count, b.element_type
            ));
        }
        Ok(index)
    };
    Ok(match &node.operator {
        Operator::CallOnce { graph: callee } => {
            if graph != 0 || *callee >= site.network.graphs.len() {
                return Err(format!("graph {callee} cannot be called from graph {graph}"));
            }
            Action::CallOnce(*callee)
        }
        Operator::VarHandle { container, name } => {
            handles.insert(*node.outputs.first().ok_or("output 0 is missing")?, (container.clone(), name.clone()));
            Action::Constant
        }
        Operator::ReadVariable => Action::Read(variable(0, site.output(0)?, variables)?),
        Operator::AssignVariable => Action::Assign(variable(0, site.input(1)?, variables)?),
        Operator::Other { .. } | Operator::BatchNormalization { .. } => {
            return Err(format!("is not supported; supported: {}", SUPPORTED.join(", ")));
        }
        operator => match movement::kernel(site, operator)? {
            Some(kernel) => Action::Compute(kernel),
            None => Action::Compute(arithmetic::kernel(site, operator)?),
        },
    })
}

/// The file's shapes are those that its operators give, and nothing is empty.
fn check_shapes(site: &Site) -> Result<(), String> {
    let operands = site.operands();
    let inferred = shape::infer(&site.node.operator, &operands)?;
    let tensors = site.node.inputs.iter().flatten().chain(&site.node.outputs).map(|&t| &site.graph.tensors[t]);
    if let Some(tensor) = tensors.clone().find(|t| t.kind != TensorKind::Resource && t.shape.len() > 8) {
        return Err(format!("tensor {} has {} axes; at most 8 are supported", tensor.name, tensor.shape.len()));
    }
    if let Some(tensor) = tensors.clone().find(|t| t.variable) {
        return Err(format!(
            "tensor {} keeps its values between runs, which is supported by variables only",
            tensor.name
        ));
    }
    // A list of axes may be empty; what is computed with may not.
    let list = |t: &Tensor| t.constant.as_ref().is_some_and(|c| matches!(**c, Elements::I32(_) | Elements::I64(_)));
    let first = site.input(0).ok().filter(|t| t.is_empty());
    if let Some(tensor) = first.or(tensors.clone().find(|t| t.is_empty() && !list(t)))
        && site.node.operator.is_pure()
    {
        return Err(format!("tensor {} of shape {:?} holds nothing", tensor.name, tensor.shape));
    }
    let Some(inferred) = inferred else {
        // The shape of a RESHAPE may stand in its output alone.
        return match (&site.node.operator, site.input(0), site.output(0)) {
            (Operator::Reshape { .. }, Ok(x), Ok(y)) if x.len() != y.len() => {
                Err(format!("{} elements cannot take shape {:?}", x.len(), y.shape))
            }
            _ => Ok(()),
        };
    };
    if inferred.len() != site.node.outputs.len() {
        return Err(format!("{} outputs where the operands give {}", site.node.outputs.len(), inferred.len()));
    }
    for (shape, &t) in inferred.iter().zip(&site.node.outputs) {
        let tensor = &site.graph.tensors[t];
        // Converters are free about axes of length 1 around matrix products; the elements are the same.
        let free = matches!(site.node.operator, Operator::FullyConnected { .. } | Operator::Reshape { .. });
        let same = if free {
            shape.iter().product::<usize>() == tensor.len() && (shape.last() == tensor.shape.last() || !is_matrix(site))
        } else {
            *shape == tensor.shape
        };
        if !same {
            return Err(format!("output {} has shape {:?}, the operands give {shape:?}", tensor.name, tensor.shape));
        }
    }
    Ok(())
}

fn is_matrix(site: &Site) -> bool {
    matches!(site.node.operator, Operator::FullyConnected { .. })
}
