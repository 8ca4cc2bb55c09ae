//! What ONNX's operators are in our terms.
//!
//! An operator with options that are not known here is left as it is, and listed ([`Operator::Other`]); operands that
//! contradict each other are an error. Formulas: <https://onnx.ai/onnx/operators>. What works on images: `image.rs`.

use std::sync::Arc;

use onnx_schema::attribute_proto::AttributeType;
use onnx_schema::{AttributeProto, NodeProto};
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;

use super::read::{Derived, Reader};
use super::{file, fold, tensor};
use crate::graph::{Tensor, TensorId, TensorKind};
use crate::operator::Operator;
use crate::shape;

/// An operator of ours and its operands.
pub(super) type Call = (Operator, Vec<Option<TensorId>>);

/// What a node is told besides its operands.
pub(super) struct Attributes<'a>(&'a [AttributeProto]);

impl<'a> Attributes<'a> {
    fn find(&self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, String> {
        let Some(found) = self.0.iter().find(|a| a.name() == name) else { return Ok(None) };
        if found.r#type.is_some_and(|t| t != kind as i32) {
            return Err(format!("attribute {name} is no {}", kind.as_str_name()));
        }
        Ok(Some(found))
    }

    pub(super) fn int(&self, name: &str, otherwise: i64) -> Result<i64, String> {
        Ok(self.find(name, AttributeType::Int)?.map_or(otherwise, AttributeProto::i))
    }

    fn float(&self, name: &str, otherwise: f32) -> Result<f32, String> {
        Ok(self.find(name, AttributeType::Float)?.map_or(otherwise, AttributeProto::f))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        Ok(self.find(name, AttributeType::Ints)?.map(|a| a.ints.clone()))
    }

    pub(super) fn string(&self, name: &str, otherwise: &'a str) -> Result<&'a str, String> {
        let Some(found) = self.find(name, AttributeType::String)? else { return Ok(otherwise) };
        std::str::from_utf8(found.s()).map_err(|_| format!("attribute {name} is no text"))
    }
}

impl Reader {
    pub(super) fn at(&self, t: TensorId) -> &Tensor {
        &self.graph.tensors[t]
    }

    pub(super) fn floats(&self, t: TensorId) -> Option<&[f32]> {
        self.at(t).constant.as_deref()?.as_f32()
    }

    /// The one number of a constant.
    fn scalar(&self, t: TensorId) -> Option<f32> {
        match self.floats(t)? {
            &[x] => Some(x),
            _ => None,
        }
    }

    /// The integers of a constant; `None` also for a list longer than any about axes, which is not copied.
    pub(super) fn integers(&self, t: TensorId) -> Option<Vec<i64>> {
        if self.at(t).len() > 4 * tensor::MOST_AXES {
            return None;
        }
        match self.at(t).constant.as_deref()? {
            Elements::I64(v) => Some(v.clone()),
            Elements::I32(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            _ => None,
        }
    }

    /// Integers that newer operator sets take as an operand, older ones as an attribute; `Ok(None)` if there are none,
    /// `Err(())` if they are computed at run time.
    fn listed(
        &self,
        attributes: &Attributes,
        name: &str,
        operand: Option<TensorId>,
    ) -> Result<Result<Option<Vec<i64>>, ()>, String> {
        match operand {
            // A long list is no list of axes; copying it for every node that reads it would take too much.
            Some(t) if self.at(t).len() > 4 * tensor::MOST_AXES => {
                Err(format!("{name} are {} numbers, more than there are axes", self.at(t).len()))
            }
            Some(t) => Ok(self.integers(t).map(Some).ok_or(())),
            None => attributes.ints(name).map(Ok),
        }
    }

    /// Adds what `node` is to the graph; `false` if that is not known here.
    pub(super) fn translate(&mut self, node: &NodeProto, operands: &[Option<TensorId>]) -> Result<bool, String> {
        let attributes = &Attributes(&node.attribute);
        let operator = node.op_type();
        let read = |name: &String| !name.is_empty() && self.reads.contains_key(name);
        // Dropout may name a mask that nothing reads; no other operator here gives more than one value.
        let (Some(output), false) = (node.output.first(), node.output.iter().skip(1).any(read)) else {
            return Ok(false);
        };
        if output.is_empty() {
            return Ok(false);
        }
        let single = node.output.iter().skip(1).all(String::is_empty) || operator == "Dropout";
        if !single {
            return Ok(false);
        }
        if operator == "Constant" {
            return self.stored(node, attributes, output);
        }
        let tensors: Vec<Option<&Tensor>> = operands.iter().map(|t| t.map(|t| self.at(t))).collect();
        if let Some((shape, numbers)) = fold::fold(operator, attributes, &tensors)? {
            self.known(output, shape, Arc::new(numbers.into()));
            return Ok(true);
        }
        let Some(&Some(x)) = operands.first() else { return Ok(false) };
        let (second, third) = (operands.get(1).copied().flatten(), operands.get(2).copied().flatten());
        let unary = |operator: Operator| Some((operator, vec![Some(x)]));
        let binary = |operator: Operator| match operands {
            &[Some(a), Some(b)] => Some((operator, vec![Some(a), Some(b)])),
            _ => None,
        };
        let activation = Activation::None;
        let plain = match operator {
            "Relu" => unary(Operator::Relu),
            "Sigmoid" => unary(Operator::Logistic),
            "Tanh" => unary(Operator::Tanh),
            "HardSwish" => unary(Operator::HardSwish),
            "LeakyRelu" => unary(Operator::LeakyRelu { alpha: attributes.float("alpha", 0.01)? }),
            "PRelu" => binary(Operator::Prelu),
            "Add" if self.bias(node, operands, output)? => return Ok(true),
            "Add" => binary(Operator::Add { activation }),
            "Sub" => binary(Operator::Sub { activation }),
            "Mul" => binary(Operator::Mul { activation }),
            "Div" => return self.divide(operands, output),
            "Max" if operands.len() == 2 => binary(Operator::Maximum),
            "Min" if operands.len() == 2 => binary(Operator::Minimum),
            "Identity" => return Ok(self.alias(x, output)),
            "Max" | "Min" if operands.len() == 1 => return Ok(self.alias(x, output)),
            "Dropout" => {
                let training = third.is_some_and(|t| self.at(t).constant.as_deref() != Some(&vec![false].into()));
                return Ok(!training && self.alias(x, output));
            }
            "Cast" => {
                let to = i32::try_from(attributes.int("to", 0)?).unwrap_or(-1);
                let real = TensorKind::Element(ElementType::F32);
                return Ok(self.at(x).kind == real && tensor::kind(to)? == real && self.alias(x, output));
            }
            "Clip" => return self.clip(attributes, operands, output),
            "HardSigmoid" => return self.hard_sigmoid(attributes, x, output),
            "BatchNormalization" if operands.len() == 5 && operands.iter().all(Option::is_some) => {
                let usual = attributes.int("training_mode", 0)? == 0 && attributes.int("spatial", 1)? == 1;
                let operator = Operator::BatchNormalization { epsilon: attributes.float("epsilon", 1e-5)? };
                usual.then(|| (operator, operands.to_vec()))
            }
            "Conv" => self.convolution(attributes, operands)?,
            "Gemm" => return self.product(attributes, operands, output),
            "MatMul" => match second {
                Some(w) if self.at(w).shape.len() == 2 && self.floats(w).is_some() => {
                    let keep_num_dims = self.at(x).shape.len() != 2;
                    let w = self.derived(w, Derived::Turned)?;
                    let inputs = self.at(w).shape[1];
                    if self.at(x).shape.last() != Some(&inputs) {
                        return Err(format!("an input of shape {:?} has no rows of {inputs}", self.at(x).shape));
                    }
                    Some((Operator::FullyConnected { keep_num_dims, activation }, vec![Some(x), Some(w)]))
                }
                _ => None,
            },
            "MaxPool" | "AveragePool" => return self.pool(attributes, x, operator == "MaxPool", output),
            "GlobalAveragePool" => {
                let rank = self.at(x).shape.len();
                if rank < 3 {
                    return Err(format!("an input of shape {:?} is no image", self.at(x).shape));
                }
                return self.mean(x, (2..rank as i64).collect(), true, output);
            }
            "ReduceMean" => {
                let Ok(axes) = self.listed(attributes, "axes", second)? else { return Ok(false) };
                let rank = self.at(x).shape.len() as i64;
                let axes = match axes {
                    Some(axes) if !axes.is_empty() => axes,
                    _ if attributes.int("noop_with_empty_axes", 0)? != 0 => return Ok(self.alias(x, output)),
                    _ => (0..rank).collect(),
                };
                return self.mean(x, axes, attributes.int("keepdims", 1)? != 0, output);
            }
            "Softmax" => {
                let rank = self.at(x).shape.len();
                // Before set 13 it went over all axes from the given one on; with the last they are the same.
                let at = attributes.int("axis", if self.opset < 13 { 1 } else { -1 })?;
                let last = shape::axis(at, rank)? + 1 == rank;
                last.then(|| (Operator::Softmax { beta: 1.0 }, vec![Some(x)]))
            }
            "Flatten" => {
                let shape = &self.at(x).shape;
                let at = attributes.int("axis", 1)?;
                let at = if at == shape.len() as i64 { shape.len() } else { shape::axis(at, shape.len())? };
                let rest = shape[at..].iter().product::<usize>() as i64;
                return self.reshape(x, if at == 0 { vec![1, -1] } else { vec![-1, rest] }, output);
            }
            "Reshape" => {
                let Ok(Some(asked)) = self.listed(attributes, "shape", second)? else { return Ok(false) };
                let kept = attributes.int("allowzero", 0)? == 0;
                let shape = &self.at(x).shape;
                let copied = |(i, &n): (usize, &i64)| match n {
                    0 if kept => shape.get(i).map(|&n| n as i64).ok_or_else(|| format!("axis {i} to copy is missing")),
                    n => Ok(n),
                };
                let asked = asked.iter().enumerate().map(copied).collect::<Result<Vec<i64>, _>>()?;
                return self.reshape(x, asked, output);
            }
            "Squeeze" => {
                let Ok(axes) = self.listed(attributes, "axes", second)? else { return Ok(false) };
                let axes = axes.unwrap_or_default().into_iter().map(|a| i32::try_from(a).unwrap_or(i32::MAX)).collect();
                unary(Operator::Squeeze { axes })
            }
            "Unsqueeze" => {
                let Ok(Some(axes)) = self.listed(attributes, "axes", second)? else { return Ok(false) };
                return self.unsqueeze(x, &axes, output);
            }
            "Concat" if operands.iter().all(Option::is_some) => {
                let axis = attributes.int("axis", i64::from(i32::MAX))?;
                let axis = i32::try_from(axis).map_err(|_| format!("axis {axis} does not exist"))?;
                Some((Operator::Concatenation { axis, activation }, operands.to_vec()))
            }
            "Pad" => return self.pad(attributes, operands, output),
            "Transpose" => {
                let rank = self.at(x).shape.len() as i64;
                let axes = attributes.ints("perm")?.unwrap_or_else(|| (0..rank).rev().collect());
                let axes = self.constant(format!("{output}/perm"), vec![axes.len()], axes.into());
                Some((Operator::Transpose, vec![Some(x), Some(axes)]))
            }
            "Slice" => return self.slice(attributes, operands, output),
            "Resize" | "Upsample" => return self.resize(node, attributes, operands, output),
            _ => None,
        };
        match plain {
            Some((operator, operands)) => self.emit(operator, operands, output).map(|_| true),
            None => Ok(false),
        }
    }

    /// Gives the value another name.
    fn alias(&mut self, t: TensorId, name: &str) -> bool {
        self.ids.insert(name.into(), t);
        true
    }

    /// What a `Constant` holds.
    fn stored(&mut self, node: &NodeProto, attributes: &Attributes, output: &str) -> Result<bool, String> {
        if let Some((_, stored)) = file::constant(node) {
            let (shape, _, elements) = tensor::read(stored)?;
            let known = elements.map(|elements| self.known(output, shape, Arc::new(elements)));
            return Ok(known.is_some());
        }
        let (shape, elements): (Vec<usize>, Elements) = match node.attribute.first().map(AttributeProto::name) {
            Some("value_float") => (vec![], vec![attributes.float("value_float", 0.0)?].into()),
            Some("value_int") => (vec![], vec![attributes.int("value_int", 0)?].into()),
            Some("value_floats") => {
                let values = attributes.find("value_floats", AttributeType::Floats)?;
                let values = values.map(|a| a.floats.clone()).unwrap_or_default();
                (vec![values.len()], values.into())
            }
            Some("value_ints") => {
                let values = attributes.ints("value_ints")?.unwrap_or_default();
                (vec![values.len()], values.into())
            }
            _ => return Ok(false),
        };
        self.known(output, shape, Arc::new(elements));
        Ok(true)
    }

    /// Adds a constant vector to a matrix product that nothing else reads: it becomes its bias.
    fn bias(&mut self, node: &NodeProto, operands: &[Option<TensorId>], output: &str) -> Result<bool, String> {
        let &[Some(a), Some(b)] = operands else { return Ok(false) };
        let (product, vector) = if self.floats(b).is_some() { (a, b) } else { (b, a) };
        let Some(&giver) = self.givers.get(&product) else { return Ok(false) };
        let giver_node = &self.graph.nodes[giver];
        let (true, &[x, Some(w)]) =
            (matches!(giver_node.operator, Operator::FullyConnected { .. }), giver_node.inputs.as_slice())
        else {
            return Ok(false);
        };
        let given = self.at(product);
        // Its own name must be the only one that is read, once, and here.
        let alone = node.input.contains(&given.name) && self.reads.get(&given.name) == Some(&1);
        let outputs = self.at(w).shape[0];
        let added = &self.at(vector).shape;
        let fits = added.last() == Some(&outputs) && added.iter().product::<usize>() == outputs;
        if !(alone && fits && added.len() <= given.shape.len() && self.floats(vector).is_some()) {
            return Ok(false);
        }
        let bias = self.derived(vector, Derived::Flat)?;
        self.graph.nodes[giver].inputs = vec![x, Some(w), Some(bias)];
        self.graph.tensors[product].name = output.into();
        Ok(self.alias(product, output))
    }

    /// Division by a constant is multiplication by its reciprocal (rounded once more, half a unit in the last place).
    fn divide(&mut self, operands: &[Option<TensorId>], output: &str) -> Result<bool, String> {
        let &[Some(x), Some(by)] = operands else { return Ok(false) };
        let Some(by_values) = self.floats(by) else { return Ok(false) };
        // Of the smallest and largest numbers there is no reciprocal of full precision.
        if by_values.iter().any(|x| *x != 0.0 && x.is_finite() && !x.recip().is_normal()) {
            return Ok(false);
        }
        let reciprocals: Vec<f32> = by_values.iter().map(|x| x.recip()).collect();
        let elements = Elements::from(reciprocals);
        self.spend(&elements)?;
        let shape = self.at(by).shape.clone();
        let by = self.constant(format!("{output}/reciprocal"), shape, elements);
        let operator = Operator::Mul { activation: Activation::None };
        self.emit(operator, vec![Some(x), Some(by)], output).map(|_| true)
    }

    fn clip(&mut self, attributes: &Attributes, operands: &[Option<TensorId>], output: &str) -> Result<bool, String> {
        let Some(&Some(x)) = operands.first() else { return Ok(false) };
        if self.at(x).kind != TensorKind::Element(ElementType::F32) {
            return Ok(false);
        }
        let mut bounds = [f32::NEG_INFINITY, f32::INFINITY];
        for (i, name) in ["min", "max"].into_iter().enumerate() {
            bounds[i] = match operands.get(i + 1).copied().flatten() {
                Some(t) => match self.scalar(t) {
                    Some(bound) => bound,
                    None => return Ok(false),
                },
                None => attributes.float(name, bounds[i])?,
            };
        }
        // The greatest finite number is how older exporters say "no bound".
        let [least, most] = [bounds[0].max(f32::MIN), bounds[1].min(f32::MAX)];
        let operator = match [least, most] {
            [0.0, 6.0] => Operator::Relu6,
            [0.0, f32::MAX] => Operator::Relu,
            [-1.0, 1.0] => Operator::ReluN1To1,
            _ => {
                let (above, below) = (least > f32::MIN, most < f32::MAX);
                return match (above, below) {
                    (false, false) => Ok(self.alias(x, output)),
                    (true, false) => self.bound(x, Operator::Maximum, least, output).map(|_| true),
                    (false, true) => self.bound(x, Operator::Minimum, most, output).map(|_| true),
                    (true, true) => {
                        let between = self.fresh(format!("{output}/above"));
                        let x = self.bound(x, Operator::Maximum, least, &between)?;
                        self.bound(x, Operator::Minimum, most, output).map(|_| true)
                    }
                };
            }
        };
        self.emit(operator, vec![Some(x)], output).map(|_| true)
    }

    /// `operator` between `x` and one number.
    fn bound(&mut self, x: TensorId, operator: Operator, number: f32, output: &str) -> Result<TensorId, String> {
        let number = self.constant(format!("{output}/bound"), vec![], vec![number].into());
        self.emit(operator, vec![Some(x), Some(number)], output)
    }

    /// `max(0, min(1, α·x + β))`, step by step.
    fn hard_sigmoid(&mut self, attributes: &Attributes, x: TensorId, output: &str) -> Result<bool, String> {
        let (alpha, beta) = (attributes.float("alpha", 0.2)?, attributes.float("beta", 0.5)?);
        let activation = Activation::None;
        let steps = [
            ("scaled", Operator::Mul { activation }, alpha),
            ("shifted", Operator::Add { activation }, beta),
            ("below", Operator::Minimum, 1.0),
        ];
        let mut x = x;
        for (suffix, operator, number) in steps {
            let name = self.fresh(format!("{output}/{suffix}"));
            x = self.bound(x, operator, number, &name)?;
        }
        self.emit(Operator::Relu, vec![Some(x)], output).map(|_| true)
    }

    /// `Gemm` with constant weights.
    fn product(
        &mut self,
        attributes: &Attributes,
        operands: &[Option<TensorId>],
        output: &str,
    ) -> Result<bool, String> {
        let (&[Some(x), Some(w)] | &[Some(x), Some(w), _]) = operands else { return Ok(false) };
        let bias = operands.get(2).copied().flatten();
        let usual = attributes.int("transA", 0)? == 0
            && attributes.float("alpha", 1.0)? == 1.0
            && (bias.is_none() || attributes.float("beta", 1.0)? == 1.0);
        let turned = attributes.int("transB", 0)? != 0;
        if !usual || self.at(x).shape.len() != 2 || self.at(w).shape.len() != 2 || self.floats(w).is_none() {
            return Ok(false);
        }
        let (rows, columns) = (self.at(w).shape[0], self.at(w).shape[1]);
        let (outputs, inputs) = if turned { (rows, columns) } else { (columns, rows) };
        if self.at(x).shape[1] != inputs {
            return Err(format!("an input of shape {:?} has no rows of {inputs}", self.at(x).shape));
        }
        let mut operands = vec![Some(x), None];
        if let Some(b) = bias {
            let shape = &self.at(b).shape;
            if self.floats(b).is_none_or(|b| b.len() != outputs) || shape.last().is_some_and(|&n| n != outputs) {
                return Ok(false);
            }
            operands.push(Some(self.derived(b, Derived::Flat)?));
        }
        operands[1] = Some(if turned { w } else { self.derived(w, Derived::Turned)? });
        let operator = Operator::FullyConnected { keep_num_dims: false, activation: Activation::None };
        self.emit(operator, operands, output).map(|_| true)
    }

    fn mean(&mut self, x: TensorId, axes: Vec<i64>, keep_dims: bool, output: &str) -> Result<bool, String> {
        let axes = self.constant(format!("{output}/axes"), vec![axes.len()], axes.into());
        self.emit(Operator::Mean { keep_dims }, vec![Some(x), Some(axes)], output).map(|_| true)
    }

    /// `asked`: lengths, one of them −1 for the rest. If the first stays the number of images it becomes the open one.
    fn reshape(&mut self, x: TensorId, mut asked: Vec<i64>, output: &str) -> Result<bool, String> {
        let from = &self.at(x).shape;
        let to = shape::reshaped(from.iter().product(), &asked)?;
        let images = self.graph.inputs.first().and_then(|&t| self.at(t).shape.first());
        let kept = images.is_some() && to.first() == images && from.first() == images;
        if kept && !to.contains(&0) {
            asked = to.iter().map(|&n| n as i64).collect();
            asked[0] = -1;
        }
        let shape: Option<Vec<i32>> = asked.iter().map(|&n| i32::try_from(n).ok()).collect();
        let shape = shape.ok_or_else(|| format!("shape {asked:?} has an axis of 2^31 or more"))?;
        self.emit(Operator::Reshape { shape: Some(shape) }, vec![Some(x)], output).map(|_| true)
    }

    fn unsqueeze(&mut self, x: TensorId, axes: &[i64], output: &str) -> Result<bool, String> {
        let rank = self.at(x).shape.len() + axes.len();
        if rank > tensor::MOST_AXES {
            return Err(format!("{rank} axes are more than {}", tensor::MOST_AXES));
        }
        let mut places = axes.iter().map(|&a| shape::axis(a, rank)).collect::<Result<Vec<usize>, _>>()?;
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("axes {axes:?} are not different"));
        }
        let Some(last) = places.len().checked_sub(1) else { return Ok(self.alias(x, output)) };
        let mut x = x;
        for (i, &at) in places.iter().enumerate() {
            let name = if i == last { output.to_string() } else { self.fresh(format!("{output}/{i}")) };
            let axis = self.constant(format!("{name}/axis"), vec![1], vec![at as i64].into());
            x = self.emit(Operator::ExpandDims, vec![Some(x), Some(axis)], &name)?;
        }
        Ok(true)
    }

    fn pad(&mut self, attributes: &Attributes, operands: &[Option<TensorId>], output: &str) -> Result<bool, String> {
        let operand = |i: usize| operands.get(i).copied().flatten();
        let Some(x) = operand(0) else { return Ok(false) };
        let Ok(Some(pads)) = self.listed(attributes, "pads", operand(1))? else { return Ok(false) };
        let rank = self.at(x).shape.len();
        let axes = match operand(3) {
            Some(axes) => match self.integers(axes) {
                Some(axes) => axes.iter().map(|&a| shape::axis(a, rank)).collect::<Result<Vec<usize>, _>>()?,
                None => return Ok(false),
            },
            None => (0..rank).collect(),
        };
        let value = match operand(2) {
            Some(value) => self.scalar(value),
            None => Some(attributes.float("value", 0.0)?),
        };
        let (Some(value), "constant") = (value, attributes.string("mode", "constant")?) else { return Ok(false) };
        if pads.len() != 2 * axes.len() {
            return Err(format!("{} numbers do not pad {} axes", pads.len(), axes.len()));
        }
        if pads.iter().any(|&n| n < 0) {
            return Ok(false);
        }
        let mut around = vec![0i64; 2 * rank];
        for (i, &axis) in axes.iter().enumerate() {
            (around[2 * axis], around[2 * axis + 1]) = (pads[i], pads[axes.len() + i]);
        }
        let around = self.constant(format!("{output}/paddings"), vec![rank, 2], around.into());
        let mut operands = vec![Some(x), Some(around)];
        let operator = if value == 0.0 {
            Operator::Pad
        } else {
            operands.push(Some(self.constant(format!("{output}/value"), vec![], vec![value].into())));
            Operator::PadV2
        };
        self.emit(operator, operands, output).map(|_| true)
    }

    fn slice(&mut self, attributes: &Attributes, operands: &[Option<TensorId>], output: &str) -> Result<bool, String> {
        let operand = |i: usize| operands.get(i).copied().flatten();
        let Some(x) = operand(0) else { return Ok(false) };
        let lists = ["starts", "ends", "axes", "steps"].into_iter().enumerate();
        let lists =
            lists.map(|(i, name)| self.listed(attributes, name, operand(i + 1))).collect::<Result<Vec<_>, _>>()?;
        let lists: Result<Vec<Option<Vec<i64>>>, ()> = lists.into_iter().collect();
        let Ok([Some(starts), Some(ends), axes, steps]) = lists.as_deref() else { return Ok(false) };
        let rank = self.at(x).shape.len();
        let axes = axes.clone().unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.clone().unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || rank > tensor::MOST_AXES {
            let found = [starts.len(), ends.len(), axes.len(), steps.len()];
            return Err(format!("{found:?} starts, ends, axes and steps"));
        }
        let (mut begin, mut end, mut strides) = (vec![0i64; rank], vec![0i64; rank], vec![1i64; rank]);
        let mut whole = (1i32 << rank) - 1;
        for (i, &axis) in axes.iter().enumerate() {
            let axis = shape::axis(axis, rank)?;
            if whole >> axis & 1 == 0 {
                return Err(format!("axis {axis} is sliced twice"));
            }
            whole &= !(1 << axis);
            (begin[axis], end[axis], strides[axis]) = (starts[i], ends[i], steps[i]);
        }
        let [begin, end, strides] = [("begin", begin), ("end", end), ("strides", strides)]
            .map(|(suffix, numbers)| Some(self.constant(format!("{output}/{suffix}"), vec![rank], numbers.into())));
        let operator = Operator::StridedSlice {
            begin_mask: whole,
            end_mask: whole,
            ellipsis_mask: 0,
            new_axis_mask: 0,
            shrink_axis_mask: 0,
        };
        self.emit(operator, vec![Some(x), begin, end, strides], output).map(|_| true)
    }
}
