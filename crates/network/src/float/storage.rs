//! Where every tensor lies: what shares a place, how long it lives, and its offset.

use std::collections::HashMap;
use std::ops::Range;

use super::memory::LINE;
use super::plan::{Kind, Op, Planner, operands};
use crate::graph::TensorId;
use crate::operator::Operator;
use crate::placement::first_fit;

/// Where the numbers of a tensor are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Input(usize),
    /// The constant of that tensor.
    Constant(TensorId),
    /// A place in memory, by its number until the offsets are known.
    Slot(usize),
}

/// The storage of a plan.
pub(super) struct Storage {
    values: HashMap<TensorId, Value>,
    /// Per operator: the operand whose place its output takes.
    pub in_place: Vec<Option<usize>>,
    places: Vec<Range<usize>>,
    /// Numbers of all activations.
    pub len: usize,
}

/// Operands whose place the output may take, if nobody else needs them.
fn may_be_overwritten(op: &Op) -> Range<usize> {
    match (&op.kind, &op.node.operator) {
        (Kind::Normalize { .. }, _) => 0..1,
        (Kind::Layer(_) | Kind::Alias, _) => 0..0,
        (Kind::Other(_), operator) => match operator {
            Operator::Add { .. }
            | Operator::Sub { .. }
            | Operator::Mul { .. }
            | Operator::Maximum
            | Operator::Minimum => 0..2,
            Operator::Prelu
            | Operator::Relu
            | Operator::Relu6
            | Operator::ReluN1To1
            | Operator::LeakyRelu { .. }
            | Operator::HardSwish
            | Operator::Logistic
            | Operator::Tanh
            | Operator::Softmax { .. } => 0..1,
            _ => 0..0,
        },
    }
}

impl Storage {
    /// Values, places in memory and its length.
    pub fn of(planner: &Planner, ops: &[Op]) -> Self {
        let graph = planner.graph;
        let read = |op: &Op| -> Vec<TensorId> {
            let positions = operands(&op.node.operator, op.node.inputs.len());
            positions.filter_map(|i| op.node.inputs[i]).collect()
        };
        let end = ops.len() + 1;
        let mut last_read: Vec<usize> = vec![0; graph.tensors.len()];
        for (at, op) in ops.iter().enumerate() {
            read(op).into_iter().for_each(|t| last_read[t] = at);
        }
        graph.outputs.iter().for_each(|&t| last_read[t] = end);

        let constants = graph.tensors.iter().enumerate().filter(|(_, tensor)| tensor.constant.is_some());
        let mut values: HashMap<TensorId, Value> = constants.map(|(t, _)| (t, Value::Constant(t))).collect();
        values.extend(graph.inputs.iter().enumerate().map(|(i, &t)| (t, Value::Input(i))));
        let mut lives: Vec<Option<Range<usize>>> = Vec::new();
        let mut sizes: Vec<usize> = Vec::new();
        let mut in_place = vec![None; ops.len()];
        for (at, op) in ops.iter().enumerate() {
            let from = read(op);
            let len = graph.tensors[op.output].len();
            let dies = |i: usize| match values[&from[i]] {
                Value::Slot(slot) => {
                    let life = lives[slot].as_ref();
                    let alone = (0..from.len()).all(|other| other == i || values[&from[other]] != Value::Slot(slot));
                    (sizes[slot] == len && alone && life.is_some_and(|life| life.end <= at + 1)).then_some(slot)
                }
                _ => None,
            };
            let taken = may_be_overwritten(op).find_map(|i| Some((i, dies(i)?)));
            in_place[at] = taken.map(|(i, _)| i);
            let value = match (&op.kind, taken) {
                (Kind::Alias, _) => values[&from[0]].clone(),
                (_, Some((_, slot))) => Value::Slot(slot),
                _ => {
                    lives.push(Some(at..at + 1));
                    sizes.push(len);
                    Value::Slot(lives.len() - 1)
                }
            };
            if let Value::Slot(slot) = value
                && let Some(life) = &mut lives[slot]
            {
                life.end = life.end.max(last_read[op.output] + 1).max(at + 1);
            }
            values.insert(op.output, value);
        }
        // Whole lines each, so that no place meets another.
        let lines: Vec<usize> = sizes.iter().map(|n| n.div_ceil(LINE) * LINE * size_of::<f32>()).collect();
        let (offsets, bytes) = first_fit(&lives, &lines);
        let place = |(offset, len): (&Option<usize>, &usize)| {
            let start = offset.unwrap_or(0) / size_of::<f32>();
            start..start + len
        };
        let places = offsets.iter().zip(&sizes).map(place).collect();
        Self { values, in_place, places, len: bytes / size_of::<f32>() }
    }

    pub fn value(&self, t: TensorId) -> Option<&Value> {
        self.values.get(&t)
    }

    pub fn place(&self, slot: usize) -> Range<usize> {
        self.places[slot].clone()
    }
}
