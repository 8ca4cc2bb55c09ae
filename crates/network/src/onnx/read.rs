//! From the bytes of a `.onnx` file to a [`Network`].
//!
//! Tensors stand in the order in which the graph's inputs and then the nodes first name them, so that a network that is
//! written and read again is the same network. What operators are in our terms: `translate.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use onnx_schema as schema;
use onnx_schema::tensor_shape_proto::dimension::Value as Length;
use onnx_schema::type_proto::Value as Type;
use tersor_data::Elements;
use tersor_kernels::layout;

use super::{bytes, tensor};
use crate::error::Error;
use crate::graph::{Arithmetic, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind, count_elements};
use crate::operator::Operator;
use crate::shape::{self, Operand};

/// The oldest operator set whose operators have today's meaning.
const OLDEST: i64 = 7;

/// Reads a `.onnx` file, as [`from_bytes`].
///
/// # Errors
/// [`Error::Io`], or [`Error::Malformed`] naming the tensor or node at fault.
pub fn read(path: impl AsRef<Path>) -> Result<Network, Error> {
    read_with_inputs(path, &[])
}

/// As [`read`], with the shapes of inputs whose axes the file leaves open: `("image", &[1, 3, 48, 192])`.
///
/// # Errors
/// As [`read`]; also if an input does not exist, or the file says otherwise.
pub fn read_with_inputs(path: impl AsRef<Path>, inputs: &[(&str, &[usize])]) -> Result<Network, Error> {
    let path = path.as_ref();
    from_bytes_with_inputs(&path.display().to_string(), &bytes::of_file(path)?, inputs)
}

/// Reads a network from the bytes of a `.onnx` file; errors call it `name`.
///
/// The network's layout is [`Layout::ChannelsFirst`]; tensors have the names of the file's values, and initialisers are
/// constants. An open first axis of an input is 1 (see [`Network::with_batch`] for more). Shapes are inferred; the
/// file's own are believed only for what an operator gives that is not known here ([`Operator::Other`]). Real numbers of
/// other widths become f32. What stands in the file for bookkeeping is resolved: `Identity`, `Dropout`, `Constant`,
/// shapes that are computed from shapes.
///
/// # Errors
/// [`Error::Malformed`] naming the tensor or node at fault: a file that is cut or claims what it does not hold, a value
/// that is given twice, never, or in a circle, operands that do not fit, open axes other than an input's first, and what
/// is not supported as a whole (external data, functions, control flow, sparse initialisers).
pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Network, Error> {
    from_bytes_with_inputs(name, bytes, &[])
}

/// As [`from_bytes`], with the shapes of inputs whose axes the file leaves open.
///
/// # Errors
/// As [`from_bytes`]; also if an input does not exist, or the file says otherwise.
pub fn from_bytes_with_inputs(name: &str, bytes: &[u8], inputs: &[(&str, &[usize])]) -> Result<Network, Error> {
    let model = bytes::decode(name, bytes)?;
    let at = |(place, why)| Error::Malformed { network: name.into(), place, why };
    let description = model.doc_string.clone().unwrap_or_default();
    let graph = Reader::new(bytes.len()).graph(model, inputs).map_err(at)?;
    Ok(Network {
        name: name.into(),
        description,
        graphs: vec![graph],
        arithmetic: Arithmetic::FixedPoint,
        layout: Layout::ChannelsFirst,
    })
}

/// The place, and what is wrong there.
type Fault = (String, String);

/// How a constant is laid out anew for an operator of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Derived {
    /// `[in, out]` as `[out, in]`.
    Turned,
    /// Any shape as a vector.
    Flat,
}

/// The kind of a tensor of which nothing is known.
const UNKNOWN: TensorKind = TensorKind::Opaque("unknown");

pub(super) struct Reader {
    pub(super) opset: i64,
    pub(super) graph: Graph,
    /// Which tensor has which of the file's names; several names may have one.
    pub(super) ids: HashMap<String, TensorId>,
    /// How often each name is read, by nodes and as an output of the graph.
    pub(super) reads: HashMap<String, usize>,
    /// The node of `graph` that gives a tensor.
    pub(super) givers: HashMap<TensorId, usize>,
    names: HashSet<String>,
    derived: HashMap<(TensorId, Derived), TensorId>,
    /// What the file says of values in between.
    claims: HashMap<String, (TensorKind, Vec<usize>)>,
    /// Bytes that constants computed here may still take.
    left: u64,
}

impl Reader {
    fn new(file: usize) -> Self {
        Self {
            opset: 0,
            graph: Graph::default(),
            ids: HashMap::new(),
            reads: HashMap::new(),
            givers: HashMap::new(),
            names: HashSet::new(),
            derived: HashMap::new(),
            claims: HashMap::new(),
            left: 2 * file as u64 + (1 << 20),
        }
    }

    fn graph(mut self, model: schema::ModelProto, shapes: &[(&str, &[usize])]) -> Result<Graph, Fault> {
        let file = |why: &str| ("the file".to_string(), why.to_string());
        if let Some(function) = model.functions.first() {
            return Err(file(&format!("it defines functions ({}), which are not supported", function.name())));
        }
        let of_onnx = |domain: &str| matches!(domain, "" | "ai.onnx");
        let opset = model.opset_import.iter().find(|set| of_onnx(set.domain())).map(|set| set.version());
        self.opset = opset.ok_or_else(|| file("not an ONNX file, or it names no operator set"))?;
        if self.opset < OLDEST {
            return Err(file(&format!("operator set {} is not supported; supported: from {OLDEST}", self.opset)));
        }
        let graph = model.graph.ok_or_else(|| file("it holds no graph"))?;
        if !graph.sparse_initializer.is_empty() {
            return Err(file("it has sparse initialisers, which are not supported"));
        }
        self.graph.name = graph.name.clone().unwrap_or_default();
        for constant in graph.initializer {
            let name = constant.name().to_string();
            let fault = |why: String| (format!("initialiser {name}"), why);
            let (shape, kind, elements) = tensor::read(&constant).map_err(fault)?;
            self.given(&name, shape, kind, elements).map_err(fault)?;
        }
        self.inputs(&graph.input, shapes)?;
        for value in graph.value_info.iter().chain(&graph.output) {
            if let Some(claim) = claim(value) {
                self.claims.insert(value.name().into(), claim);
            }
        }
        for name in graph.node.iter().flat_map(|n| &n.input).chain(graph.output.iter().filter_map(|v| v.name.as_ref()))
        {
            *self.reads.entry(name.clone()).or_default() += 1;
        }
        self.names.extend(graph.node.iter().flat_map(|n| &n.output).cloned());
        for at in order(&graph.node, &self.ids)? {
            let node = &graph.node[at];
            let place = || format!("node {at} ({}) giving {}", node.op_type(), node.output.join(", "));
            self.node(node).map_err(|why| (place(), why))?;
        }
        let outputs: Vec<String> = graph.output.into_iter().map(|v| v.name.unwrap_or_default()).collect();
        self.outputs(&outputs)?;
        Ok(self.settle())
    }

    fn inputs(&mut self, inputs: &[schema::ValueInfoProto], shapes: &[(&str, &[usize])]) -> Result<(), Fault> {
        let constants: HashSet<String> = self.ids.keys().cloned().collect();
        // Before version 4 the file lists its initialisers among its inputs.
        for input in inputs.iter().filter(|input| !constants.contains(input.name())) {
            let name = input.name();
            let fault = |why: String| (format!("input {name}"), why);
            let asked = shapes.iter().find(|(asked, _)| *asked == name).map(|(_, shape)| *shape);
            let (kind, shape) = input_type(input, asked).map_err(fault)?;
            let t = self.given(name, shape, kind, None).map_err(fault)?;
            self.graph.inputs.push(t);
        }
        let is_input = |name: &str| self.ids.get(name).is_some_and(|t| self.graph.inputs.contains(t));
        match shapes.iter().find(|(name, _)| !is_input(name)) {
            Some((name, _)) => Err((format!("input {name}"), "the file has no input of that name".into())),
            None => Ok(()),
        }
    }

    /// An initialiser or an input.
    fn given(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        kind: TensorKind,
        constant: Option<Elements>,
    ) -> Result<TensorId, String> {
        if name.is_empty() {
            return Err("it has no name".into());
        }
        if !self.names.insert(name.into()) {
            return Err("its name is given twice".into());
        }
        let t = self.tensor(name, shape, kind, constant.map(Arc::new));
        self.ids.insert(name.into(), t);
        Ok(t)
    }

    fn tensor(&mut self, name: &str, shape: Vec<usize>, kind: TensorKind, constant: Option<Arc<Elements>>) -> TensorId {
        let name = name.into();
        self.graph.tensors.push(Tensor { name, shape, kind, quantization: None, constant, variable: false });
        self.graph.tensors.len() - 1
    }

    /// A name like `name` that no value has.
    pub(super) fn fresh(&mut self, mut name: String) -> String {
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    fn node(&mut self, node: &schema::NodeProto) -> Result<(), String> {
        if node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty()) {
            return Err("control flow is not supported".into());
        }
        let operands: Vec<Option<TensorId>> = node.input.iter().map(|name| self.ids.get(name).copied()).collect();
        let known = |t: &TensorId| matches!(self.graph.tensors[*t].kind, TensorKind::Element(_));
        let of_onnx = matches!(node.domain(), "" | "ai.onnx");
        if of_onnx && operands.iter().flatten().all(known) && self.translate(node, &operands)? {
            return Ok(());
        }
        let custom = !of_onnx;
        let name = if custom { format!("{}.{}", node.domain(), node.op_type()) } else { node.op_type().into() };
        let mut outputs = Vec::new();
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            let (kind, shape) = self.claims.get(name).cloned().unwrap_or((UNKNOWN, Vec::new()));
            let t = self.tensor(name, shape, kind, None);
            self.ids.insert(name.clone(), t);
            outputs.push(t);
        }
        self.graph.nodes.push(Node { operator: Operator::Other { name, custom }, inputs: operands, outputs });
        Ok(())
    }

    /// A constant of our own, named after the value for which it is needed.
    pub(super) fn constant(&mut self, name: String, shape: Vec<usize>, elements: Elements) -> TensorId {
        let name = self.fresh(name);
        let kind = TensorKind::Element(elements.element_type());
        self.tensor(&name, shape, kind, Some(Arc::new(elements)))
    }

    /// What a constant node gives.
    pub(super) fn known(&mut self, name: &str, shape: Vec<usize>, elements: Arc<Elements>) {
        let kind = TensorKind::Element(elements.element_type());
        let t = self.tensor(name, shape, kind, Some(elements));
        self.ids.insert(name.into(), t);
    }

    /// A node whose result is in between, named after the value for which it is needed.
    pub(super) fn between(
        &mut self,
        operator: Operator,
        operands: Vec<Option<TensorId>>,
        name: String,
    ) -> Result<TensorId, String> {
        let name = self.fresh(name);
        self.emit(operator, operands, &name)
    }

    /// A node that gives `name`; none if a constant is only arranged anew.
    pub(super) fn emit(
        &mut self,
        operator: Operator,
        operands: Vec<Option<TensorId>>,
        name: &str,
    ) -> Result<TensorId, String> {
        let tensors = &self.graph.tensors;
        let operand = |t: TensorId| Operand { shape: &tensors[t].shape, constant: tensors[t].constant.as_deref() };
        let seen: Vec<Option<Operand>> = operands.iter().map(|t| t.map(operand)).collect();
        let shapes = shape::infer_in(Layout::ChannelsFirst, &operator, &seen)?;
        let Some([shape]) = shapes.as_deref() else { return Err("its shape does not follow from its operands".into()) };
        if shape.len() > tensor::MOST_AXES || count_elements(shape).is_none() {
            let most = tensor::MOST_AXES;
            return Err(format!("its shape {shape:?} has more than {most} axes or takes more than 2^40 bytes"));
        }
        let shape = shape.clone();
        let first = operands.first().copied().flatten().map(|t| &tensors[t]);
        let kind = first.map_or(UNKNOWN, |t| t.kind);
        if let Some((from, constant)) = first.and_then(|t| Some((t.shape.clone(), t.constant.clone()?))) {
            let arranged = match (&operator, seen.get(1)) {
                (Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims, _) => Some(constant),
                (Operator::Transpose, Some(&Some(axes))) => {
                    let axes = shape::permutation(from.len(), axes)?;
                    self.spend(&constant)?;
                    Some(Arc::new(transposed(&from, &axes, &constant)))
                }
                _ => None,
            };
            if let Some(constant) = arranged {
                self.known(name, shape, constant);
                return Ok(self.graph.tensors.len() - 1);
            }
        }
        let t = self.tensor(name, shape, kind, None);
        self.ids.insert(name.into(), t);
        self.givers.insert(t, self.graph.nodes.len());
        self.graph.nodes.push(Node { operator, inputs: operands, outputs: vec![t] });
        Ok(t)
    }

    /// Counts a constant that is computed here: a small file must not ask for copy after copy of its largest.
    pub(super) fn spend(&mut self, constant: &Elements) -> Result<(), String> {
        let bytes = constant.len() as u64 * constant.element_type().bytes() as u64;
        self.left = self.left.checked_sub(bytes).ok_or("constants computed from constants take too much memory")?;
        Ok(())
    }

    /// The constant `t` laid out anew; every reader that needs it so gets the same one.
    pub(super) fn derived(&mut self, t: TensorId, how: Derived) -> Result<TensorId, String> {
        if let Some(&derived) = self.derived.get(&(t, how)) {
            return Ok(derived);
        }
        let Tensor { name, shape, constant: Some(constant), .. } = self.graph.tensors[t].clone() else {
            return Err("it is computed at run time".into());
        };
        let (suffix, shape, elements) = match (how, shape.as_slice()) {
            (Derived::Turned, &[rows, columns]) => {
                self.spend(&constant)?;
                ("turned", vec![columns, rows], Arc::new(transposed(&shape, &[1, 0], &constant)))
            }
            (Derived::Turned, _) => return Err(format!("{name} of shape {shape:?} is no matrix")),
            (Derived::Flat, [_]) => return Ok(t),
            (Derived::Flat, _) => ("flat", vec![constant.len()], constant),
        };
        let name = self.fresh(format!("{name}/{suffix}"));
        let kind = TensorKind::Element(elements.element_type());
        let derived = self.tensor(&name, shape, kind, Some(elements));
        self.derived.insert((t, how), derived);
        Ok(derived)
    }

    /// The outputs of the graph keep their names, whatever they are another name of.
    fn outputs(&mut self, outputs: &[String]) -> Result<(), Fault> {
        let (named, mut seen) = (outputs.iter().collect::<HashSet<_>>(), HashSet::new());
        for name in outputs {
            let fault = |why: &str| (format!("output {name}"), why.to_string());
            let &t = self.ids.get(name).ok_or_else(|| fault("nothing gives it"))?;
            if !seen.insert(name) {
                return Err(fault("its name is given twice"));
            }
            let tensor = &self.graph.tensors[t];
            let output = if tensor.name == *name {
                t
            } else if self.givers.contains_key(&t) && !named.contains(&tensor.name) {
                self.graph.tensors[t].name = name.clone();
                t
            } else {
                // Another name of an input, a constant or another output: it has to be moved.
                let length = |(i, &n): (usize, &usize)| if i == 0 { Ok(-1) } else { i32::try_from(n) };
                let shape = tensor.shape.iter().enumerate().map(length).collect::<Result<_, _>>();
                let shape = shape.map_err(|_| fault("has an axis that is too long to be moved"))?;
                let kind = tensor.kind;
                let shape_of = tensor.shape.clone();
                let copy = self.tensor(name, shape_of, kind, None);
                let operator = Operator::Reshape { shape: Some(shape) };
                self.graph.nodes.push(Node { operator, inputs: vec![Some(t)], outputs: vec![copy] });
                copy
            };
            self.graph.outputs.push(output);
        }
        Ok(())
    }

    /// The graph with its tensors in the order in which they are first named, without those that nothing names.
    ///
    /// A constant that was laid out anew for all its readers takes the name of the one that it was made from.
    fn settle(self) -> Graph {
        let Self { mut graph, derived, .. } = self;
        let mut places: Vec<Option<TensorId>> = vec![None; graph.tensors.len()];
        let mut order = Vec::new();
        let mut name = |t: TensorId| {
            if places[t].is_none() {
                places[t] = Some(order.len());
                order.push(t);
            }
        };
        graph.inputs.iter().for_each(|&t| name(t));
        for node in &graph.nodes {
            node.inputs.iter().flatten().chain(&node.outputs).for_each(|&t| name(t));
        }
        graph.outputs.iter().for_each(|&t| name(t));
        let mut heirs: HashMap<TensorId, Vec<TensorId>> = HashMap::new();
        for (&(from, _), &to) in &derived {
            if places[to].is_some() {
                heirs.entry(from).or_default().push(to);
            }
        }
        for (from, heirs) in heirs {
            if let (None, &[heir]) = (places[from], heirs.as_slice()) {
                graph.tensors[heir].name = std::mem::take(&mut graph.tensors[from].name);
            }
        }
        let mut tensors: Vec<Option<Tensor>> = graph.tensors.into_iter().map(Some).collect();
        graph.tensors = order.iter().filter_map(|&t| tensors[t].take()).collect();
        let place = |t: &mut TensorId| *t = places[*t].unwrap_or_default();
        graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(place);
        for node in &mut graph.nodes {
            node.inputs.iter_mut().flatten().chain(&mut node.outputs).for_each(place);
        }
        graph
    }
}

/// The elements with their axes in another order.
pub(super) fn transposed(shape: &[usize], axes: &[usize], elements: &Elements) -> Elements {
    let mut turned = Elements::zeros(elements.element_type(), elements.len());
    macro_rules! typed {
        ($($variant:ident)*) => {
            match (elements, &mut turned) {
                $((Elements::$variant(from), Elements::$variant(to)) => layout::transpose(shape, axes, from, to),)*
                _ => {}
            }
        };
    }
    typed!(Bool I8 U8 I16 U16 I32 U32 I64 U64 F16 F32 F64);
    turned
}

/// What the file says of a value, if it says all of it; an open first axis is 1.
fn claim(value: &schema::ValueInfoProto) -> Option<(TensorKind, Vec<usize>)> {
    let Some(Type::TensorType(claimed)) = value.r#type.as_ref()?.value.as_ref() else { return None };
    let kind = tensor::kind(claimed.elem_type?).ok()?;
    let dims = claimed.shape.as_ref()?.dim.iter().enumerate().map(|(i, dim)| match dim.value {
        Some(Length::DimValue(n)) if n > 0 => Some(n),
        _ if i == 0 => Some(1),
        _ => None,
    });
    Some((kind, tensor::shape(&dims.collect::<Option<Vec<i64>>>()?).ok()?))
}

/// The type and shape of an input of the graph.
fn input_type(input: &schema::ValueInfoProto, asked: Option<&[usize]>) -> Result<(TensorKind, Vec<usize>), String> {
    let Some(Type::TensorType(claimed)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err("it is no tensor".into());
    };
    let kind = tensor::kind(claimed.elem_type.unwrap_or_default())?;
    let Some(shape) = &claimed.shape else {
        return match asked {
            Some(asked) => checked(asked).map(|shape| (kind, shape)),
            None => Err("the file does not say its shape; give it".into()),
        };
    };
    if shape.dim.len() > tensor::MOST_AXES || asked.is_some_and(|asked| asked.len() != shape.dim.len()) {
        let given = asked.map_or(String::new(), |asked| format!(", not {}", asked.len()));
        return Err(format!("it has {} axes{given}; at most {} are supported", shape.dim.len(), tensor::MOST_AXES));
    }
    let mut lengths = Vec::new();
    for (i, dim) in shape.dim.iter().enumerate() {
        lengths.push(match (length(dim), asked.map(|asked| asked[i])) {
            (Some(n), Some(asked)) if n != asked => {
                return Err(format!("the file says that axis {i} is {n} long, not {asked}"));
            }
            (Some(n), _) | (None, Some(n)) => n,
            (None, None) if i == 0 => 1,
            (None, None) => {
                let name = match &dim.value {
                    Some(Length::DimParam(name)) if !name.is_empty() => format!(" (`{name}`)"),
                    _ => String::new(),
                };
                return Err(format!("the file leaves the length of axis {i}{name} open; give the input's shape"));
            }
        });
    }
    checked(&lengths).map(|shape| (kind, shape))
}

/// The lengths of an input's axes, where the file says them.
pub(super) fn axes(input: &schema::ValueInfoProto) -> Vec<Option<usize>> {
    match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(Type::TensorType(claimed)) => claimed.shape.iter().flat_map(|shape| &shape.dim).map(length).collect(),
        _ => Vec::new(),
    }
}

/// The length of an axis, unless it is open.
fn length(axis: &schema::tensor_shape_proto::Dimension) -> Option<usize> {
    match &axis.value {
        Some(Length::DimValue(n)) => usize::try_from(*n).ok().filter(|&n| n > 0),
        _ => None,
    }
}

fn checked(shape: &[usize]) -> Result<Vec<usize>, String> {
    let dims: Vec<i64> = shape.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
    tensor::shape(&dims)
}

/// The nodes in an order in which every value is given before it is read; the file's own if it is one.
fn order(nodes: &[schema::NodeProto], given: &HashMap<String, TensorId>) -> Result<Vec<usize>, Fault> {
    let place = |at: usize| format!("node {at} ({})", nodes[at].op_type());
    let mut givers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        if node.op_type().is_empty() {
            return Err((format!("node {at}"), "it names no operator".into()));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if given.contains_key(output) || givers.insert(output, at).is_some() {
                return Err((place(at), format!("value {output} is given twice")));
            }
        }
    }
    let mut waits = vec![0usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            match givers.get(input.as_str()) {
                Some(&giver) => {
                    waits[at] += 1;
                    readers[giver].push(at);
                }
                None if given.contains_key(input) => {}
                None => return Err((place(at), format!("it reads value {input}, which nothing gives"))),
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len()).filter(|&at| waits[at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for &reader in &readers[at] {
            waits[reader] -= 1;
            if waits[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    match waits.iter().position(|&n| n > 0) {
        Some(at) => Err((place(at), "it waits for its own result: the nodes form a circle".into())),
        None => Ok(order),
    }
}
