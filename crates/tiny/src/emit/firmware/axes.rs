//! Axes of a tensor that follow each other in memory, made one: fewer loops in a program, and longer runs of bytes.

use tersor_kernels::int8::Mean;
use tersor_network::reference::numbers::StridedCopy;

use super::{Copies, Kind};

/// MEAN, by the axes that stay and those that do not.
pub(super) fn averaged(mean: &Mean, shape: &[usize], reduced: &[bool]) -> Kind {
    let steps = tersor_kernels::layout::strides(shape);
    let axes = |which: bool| -> Vec<[usize; 2]> {
        let mut axes: Vec<[usize; 2]> = Vec::new();
        for ((&length, &step), &r) in shape.iter().zip(&steps).zip(reduced) {
            if r != which || length == 1 {
                continue;
            }
            match axes.last_mut() {
                // Axes that follow each other in memory are one.
                Some(outer) if outer[1] == length * step => *outer = [outer[0] * length, step],
                _ => axes.push([length, step]),
            }
        }
        axes
    };
    Kind::Mean {
        kept: axes(false),
        reduced: axes(true),
        count: mean.count,
        input_zero: mean.input_zero,
        multiplier: mean.multiplier,
        output_zero: mean.output_zero,
    }
}

/// The output's axes, and the operands' steps along them; axes that follow each other alike are one.
pub(super) fn broadcast(a: &[usize], b: &[usize], output: &[usize]) -> (Vec<usize>, [Vec<usize>; 2]) {
    let aligned = |s: &[usize]| -> Vec<usize> {
        let long = [vec![1; output.len().saturating_sub(s.len())], s.to_vec()].concat();
        let steps = tersor_kernels::layout::strides(&long);
        long.iter().zip(steps).map(|(&n, step)| if n == 1 { 0 } else { step }).collect()
    };
    let along = [aligned(a), aligned(b)];
    let (mut shape, mut steps): (Vec<usize>, [Vec<usize>; 2]) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (axis, &n) in output.iter().enumerate() {
        if n == 1 {
            continue;
        }
        let joins = |k: usize| steps[k].last().is_some_and(|&outer| outer == along[k][axis] * n);
        if joins(0) && joins(1) {
            *shape.last_mut().expect("what joins has an outer axis") *= n;
            [0, 1].into_iter().for_each(|k| *steps[k].last_mut().expect("as many as axes") = along[k][axis]);
        } else {
            shape.push(n);
            [0, 1].into_iter().for_each(|k| steps[k].push(along[k][axis]));
        }
    }
    if shape.is_empty() {
        return (vec![1], [vec![0], vec![0]]);
    }
    (shape, steps)
}

/// A strided copy of elements as one of runs of bytes: what lies together on both sides is copied together.
pub(super) fn runs(copy: &StridedCopy, read: usize, size: usize) -> Copies {
    let scaled = |steps: &[isize]| -> Vec<isize> { steps.iter().map(|s| s * size as isize).collect() };
    let (mut from, mut to) = (scaled(&copy.from.1), scaled(&copy.to.1));
    let mut shape = copy.shape.clone();
    let mut bytes = size;
    // Axes of one position lead nowhere.
    for axis in (0..shape.len()).rev().filter(|&axis| copy.shape[axis] == 1) {
        shape.remove(axis);
        from.remove(axis);
        to.remove(axis);
    }
    while let (Some(&f), Some(&t), Some(&n)) = (from.last(), to.last(), shape.last()) {
        if (f, t) != (bytes as isize, bytes as isize) {
            break;
        }
        bytes *= n;
        from.pop();
        to.pop();
        shape.pop();
    }
    // Axes that follow each other on both sides are one.
    for axis in (1..shape.len()).rev() {
        let n = shape[axis] as isize;
        if from[axis - 1] == from[axis] * n && to[axis - 1] == to[axis] * n {
            shape[axis - 1] *= shape[axis];
            from[axis - 1] = from[axis];
            to[axis - 1] = to[axis];
            shape.remove(axis);
            from.remove(axis);
            to.remove(axis);
        }
    }
    Copies { read, write: copy.output, bytes, shape, from: (copy.from.0 * size, from), to: (copy.to.0 * size, to) }
}
