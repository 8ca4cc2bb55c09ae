//! The order of operators: of all orders that respect what needs what, one whose greediest step takes least.
//!
//! Exact, by dynamic programming over down-sets (the sets of operators that can have run), as long as there are few of
//! them, which is so for every network with some parallel branches; the file's order otherwise.

use std::collections::HashMap;

use super::program::{Kind, Op, Program};

/// Down-sets looked at before the search gives up.
const MOST_SETS: usize = 20_000;

/// Reorders the operators of `program` if that lowers the bytes of the greediest step.
pub(super) fn improve(program: &mut Program) {
    let n = program.ops.len();
    // Variables are read and written at their place in the file.
    if n == 0 || n > 128 || program.buffers.iter().any(|b| b.variable.is_some()) {
        return;
    }
    let graph = Dependencies::of(program);
    let file: Vec<usize> = (0..n).collect();
    let Some(best) = graph.best(program) else { return };
    if graph.peak(program, &best) < graph.peak(program, &file) {
        let ops: Vec<Op> = best.iter().map(|&i| program.ops[i].clone()).collect();
        program.ops = ops;
    }
}

struct Dependencies {
    /// For each operator, the operators whose output it reads.
    needs: Vec<u128>,
    /// For each buffer, the operators that read it.
    readers: Vec<u128>,
    /// For each buffer, the operator that writes it.
    writer: Vec<Option<usize>>,
    /// Buffers that live to the end.
    outputs: Vec<bool>,
}

impl Dependencies {
    fn of(program: &Program) -> Self {
        let count = program.buffers.len();
        let (mut readers, mut writer) = (vec![0u128; count], vec![None; count]);
        for (i, op) in program.ops.iter().enumerate() {
            op.reads.iter().for_each(|&b| readers[b] |= 1 << i);
            op.writes.iter().for_each(|&b| writer[b] = Some(i));
        }
        let before = |op: &Op| op.reads.iter().filter_map(|&b| writer[b]).fold(0u128, |set, i| set | 1 << i);
        let needs = program.ops.iter().map(before).collect();
        let outputs = (0..count).map(|b| program.outputs.contains(&b)).collect();
        Self { needs, readers, writer, outputs }
    }

    /// Bytes held while `op` runs after the operators in `done`: an output over a dying operand counts once.
    fn step(&self, program: &Program, done: u128, op: usize) -> usize {
        let after = done | 1 << op;
        let operator = &program.ops[op];
        let held = |&b: &usize| {
            let exists = match self.writer[b] {
                Some(writer) => done >> writer & 1 == 1,
                None => program.inputs.contains(&b),
            };
            exists && (self.outputs[b] || self.readers[b] & !done != 0)
        };
        let buffers: usize = (0..program.buffers.len()).filter(held).map(|b| program.buffers[b].bytes()).sum();
        let output: usize = operator.writes.iter().map(|&b| program.buffers[b].bytes()).sum();
        let dies = |b: &&usize| self.readers[**b] & !after == 0 && !self.outputs[**b];
        let shared = operator.reads.iter().filter(dies).map(|&b| program.buffers[b].bytes().min(output)).max();
        buffers + output - if operator.kind == Kind::Whole { 0 } else { shared.unwrap_or(0) }
    }

    fn peak(&self, program: &Program, order: &[usize]) -> usize {
        let mut done = 0u128;
        let mut peak = 0;
        for &op in order {
            peak = peak.max(self.step(program, done, op));
            done |= 1 << op;
        }
        peak
    }

    /// The best order, or `None` if there are too many down-sets.
    fn best(&self, program: &Program) -> Option<Vec<usize>> {
        let n = program.ops.len();
        // Layer by layer: the least peak by which each down-set of that size can be reached, and its last operator.
        let mut layers: Vec<HashMap<u128, (usize, usize)>> = vec![HashMap::from([(0u128, (0usize, usize::MAX))])];
        let mut sets = 1;
        for size in 0..n {
            let mut next: HashMap<u128, (usize, usize)> = HashMap::new();
            for (&done, &(peak, _)) in &layers[size] {
                for op in (0..n).filter(|&op| done >> op & 1 == 0 && self.needs[op] & !done == 0) {
                    let reached = (peak.max(self.step(program, done, op)), op);
                    let known = next.entry(done | 1 << op).or_insert(reached);
                    *known = (*known).min(reached);
                }
            }
            sets += next.len();
            if sets > MOST_SETS {
                return None;
            }
            layers.push(next);
        }
        let mut done = if n == 128 { u128::MAX } else { (1 << n) - 1 };
        let mut order = Vec::with_capacity(n);
        for layer in layers.iter().skip(1).rev() {
            let (_, op) = layer[&done];
            order.push(op);
            done &= !(1 << op);
        }
        order.reverse();
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::Buffer;
    use super::*;
    use proptest::prelude::*;

    /// A program of whole operators over buffers of the given sizes; operator `i` writes buffer `i + 1`.
    fn program(sizes: &[usize], reads: &[Vec<usize>]) -> Program {
        let buffer =
            |&bytes: &usize| Buffer { tensor: 0, height: 1, width: 1, pixel: bytes, local: false, variable: None };
        let op = |(i, reads): (usize, &Vec<usize>)| Op {
            nodes: vec![i],
            main: i,
            kind: Kind::Whole,
            reads: reads.clone(),
            writes: vec![i + 1],
            macs: 0,
        };
        Program {
            buffers: sizes.iter().map(buffer).collect(),
            ops: reads.iter().enumerate().map(op).collect(),
            inputs: vec![0],
            outputs: vec![sizes.len() - 1],
            free: Vec::new(),
        }
    }

    /// The least peak over every order that respects the dependencies.
    fn exhaustive(graph: &Dependencies, program: &Program, done: u128, peak: usize) -> usize {
        let n = program.ops.len();
        let ready = (0..n).filter(|&op| done >> op & 1 == 0 && graph.needs[op] & !done == 0);
        ready
            .map(|op| exhaustive(graph, program, done | 1 << op, peak.max(graph.step(program, done, op))))
            .min()
            .unwrap_or(peak)
    }

    proptest! {
        #[test]
        fn no_order_takes_less(
            sizes in prop::collection::vec(1usize..100, 8),
            picks in prop::collection::vec((0usize..100, 0usize..100), 7),
        ) {
            let reads: Vec<Vec<usize>> = picks
                .iter()
                .enumerate()
                .map(|(i, (a, b))| {
                    let mut reads = vec![a % (i + 1), b % (i + 1)];
                    reads.dedup();
                    reads
                })
                .collect();
            let mut program = program(&sizes, &reads);
            let graph = Dependencies::of(&program);
            let least = exhaustive(&graph, &program, 0, 0);
            improve(&mut program);
            let graph = Dependencies::of(&program);
            let order: Vec<usize> = (0..program.ops.len()).collect();
            prop_assert_eq!(graph.peak(&program, &order), least);
        }
    }
}
