//! From a graph to the operators that firmware would call: what is fused is gone, what is local is known to be local.
//!
//! Exact rewritings only (MCUNet, section 3.2, and beyond): RESHAPE and its kin are other names for their input; PAD is
//! done by the convolutions that read it; QUANTIZE of the network's input and DEQUANTIZE of its output are the caller's;
//! an ADD whose operand only a convolution writes is done pixel by pixel as that convolution goes.

use tersor_data::ElementType;
use tersor_kernels::layout;
use tersor_kernels::window::{Padding, Window};
use tersor_network::operator::Operator;
use tersor_network::{Graph, Network, Node, TensorId, liveness, reference};

use crate::error::Error;

/// A region of an image: rows and columns, the ends exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rect {
    pub rows: [usize; 2],
    pub columns: [usize; 2],
}

impl Rect {
    pub fn height(&self) -> usize {
        self.rows[1] - self.rows[0]
    }

    pub fn width(&self) -> usize {
        self.columns[1] - self.columns[0]
    }

    pub fn pixels(&self) -> usize {
        self.height() * self.width()
    }

    /// The smallest rectangle around both.
    pub fn hull(self, other: Self) -> Self {
        let join = |a: [usize; 2], b: [usize; 2]| [a[0].min(b[0]), a[1].max(b[1])];
        Self { rows: join(self.rows, other.rows), columns: join(self.columns, other.columns) }
    }
}

/// What holds a tensor: bytes in the arena. Tensors that share bytes share a buffer.
#[derive(Debug, Clone)]
pub(super) struct Buffer {
    /// The tensor whose bytes these are; the handle of a variable.
    pub tensor: TensorId,
    pub height: usize,
    pub width: usize,
    /// Bytes of one pixel.
    pub pixel: usize,
    /// Elements are int8 in an image, so that parts of it can be computed.
    pub local: bool,
    /// A variable that lives between runs, by container and name.
    pub variable: Option<(String, String)>,
}

impl Buffer {
    pub fn whole(&self) -> Rect {
        Rect { rows: [0, self.height], columns: [0, self.width] }
    }

    pub fn bytes(&self) -> usize {
        self.height * self.width * self.pixel
    }
}

/// How an operator reads its operands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Convolution or pooling, padding included: `pad` is what a PAD puts before and after rows and columns that is done
    /// with it. With `add`, the second operand is added to each pixel as it is computed.
    Window { rows: Window, columns: Window, pad: Option<[[usize; 2]; 2]>, pools: bool, add: Option<usize> },
    /// Each element from the elements at its place; operands marked `false` are one pixel for all.
    Elementwise { spatial: Vec<bool> },
    /// RESIZE_NEAREST_NEIGHBOR: the source of each row and column.
    Resize { rows: Vec<usize>, columns: Vec<usize> },
    /// Everything may depend on everything.
    Whole,
}

/// One call of the firmware.
#[derive(Debug, Clone)]
pub(super) struct Op {
    /// The file's operators that it does, in order; the one that computes first among equals is `main`.
    pub nodes: Vec<usize>,
    /// The operator that names it.
    pub main: usize,
    pub kind: Kind,
    /// Buffers read.
    pub reads: Vec<usize>,
    /// Buffers written.
    pub writes: Vec<usize>,
    pub macs: u64,
}

impl Op {
    /// Whether a part of its output needs only a part of its operands.
    pub fn is_local(&self) -> bool {
        self.kind != Kind::Whole
    }

    /// The part of operand `i` that the part `out` of the output needs.
    pub fn needs(&self, i: usize, buffer: &Buffer, out: Rect) -> Rect {
        let span = |w: &Window, [a, b]: [usize; 2]| {
            if w.dilation == 1 {
                let end = ((b - 1) * w.stride + w.kernel).saturating_sub(w.before).min(w.input);
                return [(a * w.stride).saturating_sub(w.before), end];
            }
            let first = |o: usize| w.position(o, w.taps(o).start);
            let last = |o: usize| w.position(o, w.taps(o).end - 1) + 1;
            // A dilated tap may fall further left for a later output: take the extremes over all.
            [(a..b).map(first).min().unwrap_or(0), (a..b).map(last).max().unwrap_or(0)]
        };
        match &self.kind {
            Kind::Window { rows, columns, .. } if i == 0 => {
                Rect { rows: span(rows, out.rows), columns: span(columns, out.columns) }
            }
            Kind::Elementwise { spatial } if !spatial[i] => buffer.whole(),
            Kind::Resize { rows, columns } => {
                let span = |s: &[usize], [a, b]: [usize; 2]| {
                    [s[a..b].iter().copied().min().unwrap_or(0), s[a..b].iter().copied().max().unwrap_or(0) + 1]
                };
                Rect { rows: span(rows, out.rows), columns: span(columns, out.columns) }
            }
            Kind::Whole => buffer.whole(),
            _ => out,
        }
    }
}

/// Planning goes through every pixel; networks for small devices have few.
const MOST_BYTES: u64 = 256 << 20;

/// What firmware would call, in the file's order.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub buffers: Vec<Buffer>,
    pub ops: Vec<Op>,
    /// Buffers that the caller fills.
    pub inputs: Vec<usize>,
    /// Buffers that the caller reads, one for each output of the graph.
    pub outputs: Vec<usize>,
    /// Operators that nothing calls: other names and the caller's work.
    pub free: Vec<usize>,
}

impl Program {
    /// # Errors
    /// [`Error::Plan`] naming the operator that a plan cannot hold.
    ///
    /// `fuse`: do ADDs pixel by pixel with the convolution before them. That delays the convolution, which is not always
    /// for the better.
    pub fn of(network: &Network, fuse: bool) -> Result<Self, Error> {
        let bytes = liveness::as_it_stands(network, network.main()).bound_bytes;
        if bytes > MOST_BYTES {
            let why = format!("{bytes} bytes of activations are not for a small device");
            return Err(Error::Plan { network: network.name.clone(), why });
        }
        if let Some(fault) = reference::unsupported(network).into_iter().next() {
            let why = format!("operator {} ({}): {}", fault.index, fault.operator, fault.why);
            return Err(Error::Plan { network: network.name.clone(), why });
        }
        let program = Builder::new(network).build(fuse)?;
        if program.ops.is_empty() {
            let why = "nothing is left to plan: the caller does all of it".into();
            return Err(Error::Plan { network: network.name.clone(), why });
        }
        Ok(program)
    }
}

struct Builder<'n> {
    network: &'n Network,
    graph: &'n Graph,
    consumers: Vec<Vec<usize>>,
    /// The tensor whose bytes each tensor shares.
    holder: Vec<TensorId>,
    /// For the output of a PAD that convolutions do: what stands before and after its rows and columns.
    padded: Vec<Option<[[usize; 2]; 2]>>,
    /// For each node, the ADD that it is fused into.
    fused_into: Vec<Option<usize>>,
    free: Vec<usize>,
}

impl<'n> Builder<'n> {
    fn new(network: &'n Network) -> Self {
        let graph = network.main();
        Self {
            network,
            graph,
            consumers: liveness::consumers(graph),
            holder: (0..graph.tensors.len()).collect(),
            padded: vec![None; graph.tensors.len()],
            fused_into: vec![None; graph.nodes.len()],
            free: Vec::new(),
        }
    }

    fn fault(&self, node: usize, why: &str) -> Error {
        let operator = self.graph.nodes[node].operator.name();
        Error::Plan { network: self.network.name.clone(), why: format!("operator {node} ({operator}): {why}") }
    }

    fn build(mut self, fuse: bool) -> Result<Program, Error> {
        self.share();
        if fuse {
            self.fuse_sums();
        }
        let mut buffers = Vec::new();
        let mut buffer_of = vec![usize::MAX; self.graph.tensors.len()];
        let graph = self.graph;
        let inputs =
            graph.inputs.iter().map(|&t| buffer(graph, &mut buffers, &mut buffer_of, self.holder[t])).collect();
        let mut ops = Vec::new();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if self.free.contains(&at) || self.fused_into[at].is_some() {
                continue;
            }
            match node.operator {
                // Initialising the variables is the work of `model_reset`; a handle is an address.
                Operator::CallOnce { .. } | Operator::VarHandle { .. } => {
                    self.free.push(at);
                    continue;
                }
                Operator::ReadVariable | Operator::AssignVariable => {
                    ops.push(self.variable_op(at, node, &mut buffers, &mut buffer_of)?);
                    continue;
                }
                Operator::Other { .. } => return Err(self.fault(at, "is not supported")),
                _ => {}
            }
            ops.push(self.op(at, node, &mut |t| buffer(graph, &mut buffers, &mut buffer_of, t))?);
        }
        let outputs =
            graph.outputs.iter().map(|&t| buffer(graph, &mut buffers, &mut buffer_of, self.holder[t])).collect();
        self.free.sort_unstable();
        Ok(Program { buffers, ops, inputs, outputs, free: self.free })
    }

    /// READ_VARIABLE and ASSIGN_VARIABLE: a copy out of, or into, a buffer that lives for ever.
    fn variable_op(
        &self,
        at: usize,
        node: &Node,
        buffers: &mut Vec<Buffer>,
        buffer_of: &mut [usize],
    ) -> Result<Op, Error> {
        let graph = self.graph;
        let handle = node.inputs.first().copied().flatten();
        let named = graph.nodes.iter().find_map(|n| match &n.operator {
            Operator::VarHandle { container, name } if n.outputs.first().copied() == handle => {
                Some((container.clone(), name.clone()))
            }
            _ => None,
        });
        let named = named.ok_or_else(|| self.fault(at, "its variable comes from no VAR_HANDLE"))?;
        let reads = node.operator == Operator::ReadVariable;
        let value = if reads { node.outputs.first().copied() } else { node.inputs.get(1).copied().flatten() };
        let value = value.ok_or_else(|| self.fault(at, "has no value"))?;
        if graph.tensors[value].constant.is_some() {
            return Err(self.fault(at, "assigns a constant; constants are assigned by an initialising graph"));
        }
        let known = buffers.iter().position(|b| b.variable.as_ref() == Some(&named));
        let variable = known.unwrap_or_else(|| {
            // Called by its handle: its value has another buffer.
            let tensor = handle.unwrap_or(value);
            buffers.push(Buffer { tensor, variable: Some(named), ..buffer_for(graph, value) });
            buffers.len() - 1
        });
        let value = buffer(graph, buffers, buffer_of, self.holder[value]);
        if buffers[variable].bytes() != buffers[value].bytes() {
            return Err(self.fault(at, "its variable has another size"));
        }
        let (from, to) = if reads { (variable, value) } else { (value, variable) };
        Ok(Op { nodes: vec![at], main: at, kind: Kind::Whole, reads: vec![from], writes: vec![to], macs: 0 })
    }

    /// Finds the tensors that are other names for the same bytes.
    fn share(&mut self) {
        let graph = self.graph;
        for (at, node) in graph.nodes.iter().enumerate() {
            let (Some(&Some(input)), &[output]) = (node.inputs.first(), node.outputs.as_slice()) else { continue };
            if graph.tensors[input].constant.is_some() {
                continue;
            }
            match node.operator {
                Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims
                    if self.is_another_name(self.holder[input], output) && self.padded[input].is_none() =>
                {
                    self.holder[output] = self.holder[input];
                }
                Operator::Pad if self.padded[input].is_none() => {
                    let Some(around) = self.padding_of_convolutions(node, output) else { continue };
                    self.padded[output] = Some(around);
                    self.holder[output] = self.holder[input];
                }
                Operator::Quantize if graph.inputs.contains(&input) && self.consumers[input].len() == 1 => {
                    let real = graph.tensors[input].element_type() == Some(ElementType::F32);
                    if !real || !self.is_affine_int8(output) || graph.outputs.contains(&input) {
                        continue;
                    }
                    self.holder[input] = output;
                }
                Operator::Dequantize
                    if graph.outputs.contains(&output)
                        && self.consumers[output].is_empty()
                        && self.is_affine_int8(self.holder[input])
                        && self.is_affine_int8(input) =>
                {
                    self.holder[output] = self.holder[input];
                }
                _ => continue,
            }
            self.free.push(at);
        }
    }

    fn is_affine_int8(&self, t: TensorId) -> bool {
        let tensor = &self.graph.tensors[t];
        let affine = tensor.quantization.as_ref().is_some_and(|q| q.affine().is_some());
        affine && tensor.element_type() == Some(ElementType::I8)
    }

    /// Whether `output` can be read where `holder` lies: its pixels are the same, or nobody asks for pixels.
    fn is_another_name(&self, holder: TensorId, output: TensorId) -> bool {
        let pixels = |t: TensorId| {
            let b = buffer_for(self.graph, t);
            (b.height, b.width, b.pixel)
        };
        let whole = |&at: &usize| {
            let operator = &self.graph.nodes[at].operator;
            let renames =
                matches!(operator, Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims);
            !is_elementwise(operator) && !renames
        };
        let asked_whole = !is_image(self.graph, output) && self.consumers[output].iter().all(whole);
        pixels(holder) == pixels(output) || asked_whole
    }

    /// What a PAD puts around rows and columns, if only unpadded convolutions of int8 read its output.
    fn padding_of_convolutions(&self, pad: &Node, output: TensorId) -> Option<[[usize; 2]; 2]> {
        let valid = |&at: &usize| {
            matches!(
                self.graph.nodes[at].operator,
                Operator::Conv2d { padding: [Padding::Valid, Padding::Valid], .. }
                    | Operator::DepthwiseConv2d { padding: [Padding::Valid, Padding::Valid], .. }
            )
        };
        let reads = &self.consumers[output];
        let int8 = self.graph.tensors[output].element_type() == Some(ElementType::I8);
        if !int8 || reads.is_empty() || !reads.iter().all(valid) || self.graph.outputs.contains(&output) {
            return None;
        }
        let paddings = self.graph.tensors[pad.inputs.get(1).copied().flatten()?].constant.as_ref()?;
        let &[0, 0, top, bottom, left, right, 0, 0] = paddings.as_i32()? else { return None };
        let size = |n: i32| usize::try_from(n).ok();
        Some([[size(top)?, size(bottom)?], [size(left)?, size(right)?]])
    }

    /// Finds the ADDs that a convolution can do as it goes: its output is read by the ADD alone.
    fn fuse_sums(&mut self) {
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let (Operator::Add { .. }, &[Some(a), Some(b)]) = (&node.operator, node.inputs.as_slice()) else {
                continue;
            };
            let shape = &self.graph.tensors[a].shape;
            let image = |t: TensorId| {
                let tensor = &self.graph.tensors[t];
                let int8 = tensor.element_type() == Some(ElementType::I8) && tensor.constant.is_none();
                int8 && tensor.shape == *shape && shape.len() == 4 && shape[0] == 1
            };
            if a == b || !image(a) || !image(b) || !image(node.outputs[0]) {
                continue;
            }
            let writer = |t: TensorId| {
                let alone = self.consumers[t].len() == 1 && !self.graph.outputs.contains(&t);
                let writes = |n: &Node| n.outputs.contains(&t);
                let at = self.graph.nodes.iter().position(writes).filter(|_| alone)?;
                let convolves =
                    matches!(self.graph.nodes[at].operator, Operator::Conv2d { .. } | Operator::DepthwiseConv2d { .. });
                convolves.then_some(at)
            };
            // Of two candidates the later: the earlier one's output is then the operand that waits.
            if let Some(convolution) = [a, b].into_iter().filter_map(writer).max() {
                self.fused_into[convolution] = Some(at);
            }
        }
    }

    fn op(&self, at: usize, node: &Node, buffer: &mut dyn FnMut(TensorId) -> usize) -> Result<Op, Error> {
        let graph = self.graph;
        if let Some(convolution) = self.fused_into.iter().position(|&into| into == Some(at)) {
            let inner = &graph.nodes[convolution];
            let sum = inner.outputs[0];
            let shortcut = node.inputs.iter().flatten().find(|&&t| t != sum).copied();
            let shortcut = shortcut.ok_or_else(|| self.fault(at, "adds a tensor to itself"))?;
            let (kind, input) = self.window(convolution, inner, Some(at))?;
            return Ok(Op {
                nodes: vec![convolution, at],
                main: convolution,
                kind,
                reads: vec![buffer(self.holder[input]), buffer(self.holder[shortcut])],
                writes: vec![buffer(node.outputs[0])],
                macs: tersor_network::cost::macs(graph, inner),
            });
        }
        let activations: Vec<TensorId> =
            node.inputs.iter().flatten().copied().filter(|&t| graph.tensors[t].constant.is_none()).collect();
        let (kind, activations) = match &node.operator {
            Operator::Conv2d { .. }
            | Operator::DepthwiseConv2d { .. }
            | Operator::AveragePool2d(_)
            | Operator::MaxPool2d(_)
                if is_image(graph, node.outputs[0]) && is_image(graph, activations[0]) =>
            {
                let (kind, input) = self.window(at, node, None)?;
                (kind, vec![input])
            }
            Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers }
                if is_image(graph, node.outputs[0]) && is_image(graph, activations[0]) =>
            {
                let (from, to) = (&graph.tensors[activations[0]].shape, &graph.tensors[node.outputs[0]].shape);
                let sources = |i: usize| layout::nearest_sources(from[i], to[i], *align_corners, *half_pixel_centers);
                (Kind::Resize { rows: sources(1), columns: sources(2) }, activations)
            }
            operator if is_elementwise(operator) => match self.elementwise(node, &activations) {
                Some(spatial) => (Kind::Elementwise { spatial }, activations),
                None => (Kind::Whole, activations),
            },
            _ => (Kind::Whole, activations),
        };
        if activations.iter().any(|&t| self.padded[t].is_some()) && !matches!(kind, Kind::Window { .. }) {
            return Err(self.fault(at, "reads a padded tensor"));
        }
        Ok(Op {
            nodes: vec![at],
            main: at,
            kind,
            reads: activations.iter().map(|&t| buffer(self.holder[t])).collect(),
            writes: node.outputs.iter().map(|&t| buffer(self.holder[t])).collect(),
            macs: tersor_network::cost::macs(graph, node),
        })
    }

    /// The window of a convolution or pooling over its unpadded input, and that input.
    fn window(&self, at: usize, node: &Node, add: Option<usize>) -> Result<(Kind, TensorId), Error> {
        let graph = self.graph;
        let (kernel, stride, dilation, padding) = match &node.operator {
            Operator::Conv2d { stride, dilation, padding, .. }
            | Operator::DepthwiseConv2d { stride, dilation, padding, .. } => {
                let weights = node.inputs.get(1).copied().flatten().map(|t| graph.tensors[t].shape.as_slice());
                let Some(&[_, kh, kw, _]) = weights else { return Err(self.fault(at, "has no kernel")) };
                ([kh, kw], *stride, *dilation, *padding)
            }
            Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool) => {
                (pool.kernel, pool.stride, [1, 1], pool.padding)
            }
            _ => return Err(self.fault(at, "has no window")),
        };
        let input = node.inputs.first().copied().flatten().ok_or_else(|| self.fault(at, "has no input"))?;
        let shape = &graph.tensors[input].shape;
        let along = |i: usize| -> Option<Window> {
            match self.padded[input] {
                None => Window::new(shape[i + 1], kernel[i], stride[i], dilation[i], padding[i]),
                Some(around) => {
                    let [before, after] = around[i];
                    let inner = shape[i + 1].checked_sub(before + after)?;
                    Window::new(inner, kernel[i], stride[i], dilation[i], Padding::Explicit { before, after })
                }
            }
        };
        let windows = along(0).zip(along(1));
        let (rows, columns) = windows.ok_or_else(|| self.fault(at, "its kernel does not fit"))?;
        let on_padding = |w: &Window| (0..w.output).any(|o| w.taps(o).is_empty());
        if on_padding(&rows) || on_padding(&columns) {
            return Err(self.fault(at, "a window lies wholly on padding"));
        }
        let pools = matches!(node.operator, Operator::AveragePool2d(_) | Operator::MaxPool2d(_));
        Ok((Kind::Window { rows, columns, pad: self.padded[input], pools, add }, input))
    }

    /// Which operands are as large as the output; `None` if one is neither that nor a single pixel.
    fn elementwise(&self, node: &Node, activations: &[TensorId]) -> Option<Vec<bool>> {
        let graph = self.graph;
        let output = node.outputs[0];
        if graph.tensors[output].element_type() != Some(ElementType::I8) {
            return None;
        }
        let shape = &graph.tensors[output].shape;
        // A constant operand must look the same from every pixel.
        let pixel = |t: TensorId| graph.tensors[t].len() == *graph.tensors[t].shape.last().unwrap_or(&1);
        let constants = node.inputs.iter().flatten().filter(|&&t| graph.tensors[t].constant.is_some());
        if shape.len() == 4 && !constants.clone().all(|&t| pixel(t)) {
            return None;
        }
        let spatial = |&t: &TensorId| {
            let tensor = &graph.tensors[t];
            if tensor.element_type() != Some(ElementType::I8) {
                None
            } else if tensor.shape == *shape {
                Some(true)
            } else if pixel(t) && shape.len() == 4 && tensor.shape.len() == 4 {
                Some(false)
            } else {
                None
            }
        };
        activations.iter().map(spatial).collect()
    }
}

fn is_elementwise(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::Add { .. }
            | Operator::Sub { .. }
            | Operator::Mul { .. }
            | Operator::Maximum
            | Operator::Minimum
            | Operator::Prelu
            | Operator::Relu
            | Operator::Relu6
            | Operator::ReluN1To1
            | Operator::LeakyRelu { .. }
            | Operator::HardSwish
            | Operator::Logistic
            | Operator::Tanh
            | Operator::Quantize
    )
}

/// One int8 image, so that parts of it can be computed.
fn is_image(graph: &Graph, t: TensorId) -> bool {
    let tensor = &graph.tensors[t];
    tensor.element_type() == Some(ElementType::I8) && tensor.shape.len() == 4 && tensor.shape[0] == 1
}

/// The buffer of tensor `t`, made when it is first asked for.
fn buffer(graph: &Graph, buffers: &mut Vec<Buffer>, buffer_of: &mut [usize], t: TensorId) -> usize {
    if buffer_of[t] == usize::MAX {
        buffer_of[t] = buffers.len();
        buffers.push(buffer_for(graph, t));
    }
    buffer_of[t]
}

fn buffer_for(graph: &Graph, t: TensorId) -> Buffer {
    let tensor = &graph.tensors[t];
    let local = is_image(graph, t);
    match (local, tensor.shape.as_slice()) {
        (true, &[_, height, width, pixel]) => Buffer { tensor: t, height, width, pixel, local, variable: None },
        _ => Buffer { tensor: t, height: 1, width: 1, pixel: tensor.bytes() as usize, local, variable: None },
    }
}
