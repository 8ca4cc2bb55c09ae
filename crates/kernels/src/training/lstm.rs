//! Long short-term memory over whole sequences, with gates in PyTorch's order: i, f, g, o.
//!
//! z_t = x_t W + h_{t-1} U + b; i, f, o = σ(z), g = tanh(z); c_t = f c_{t-1} + i g; h_t = o tanh(c_t). The products with
//! x are one product over all times before the recurrence; the gradients of W, U and x are one each after it.
//!
//! Source: Hochreiter and Schmidhuber (1997), with forget gates by Gers, Schmidhuber, Cummins (2000).

use rayon::prelude::*;

use super::function::{sigmoid, tanh, vectors};
use super::matrix::{Out, Threads, View, linear, linear_backward_input, linear_backward_weights, product, sum_of_rows};

/// A layer over `[batch, length, inputs]` that gives `[batch, length, hidden]`, from zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lstm {
    /// Sequences.
    pub batch: usize,
    /// Steps of a sequence.
    pub length: usize,
    /// Numbers of an input.
    pub inputs: usize,
    /// Numbers of the state.
    pub hidden: usize,
}

/// Weights: W `[inputs, 4 hidden]`, U `[hidden, 4 hidden]`, b `[4 hidden]`.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// W.
    pub input: &'a [f32],
    /// U.
    pub recurrent: &'a [f32],
    /// b.
    pub bias: &'a [f32],
}

/// What the gradient needs of the way forward: gates after their functions `[batch, length, 4 hidden]`, and c.
#[derive(Debug, Clone)]
pub struct Trace {
    gates: Vec<f32>,
    cells: Vec<f32>,
}

/// Gradients of the input and the weights.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// Of x.
    pub input: Vec<f32>,
    /// Of W.
    pub weights: Vec<f32>,
    /// Of U.
    pub recurrent: Vec<f32>,
    /// Of b.
    pub bias: Vec<f32>,
}

impl Lstm {
    /// h of all times.
    pub fn forward(&self, x: &[f32], weights: Weights<'_>, h: &mut [f32]) -> Trace {
        let Self { batch, length, inputs, hidden } = *self;
        let wide = 4 * hidden;
        let mut gates = vec![0.0; batch * length * wide];
        let mut cells = vec![0.0; batch * length * hidden];
        linear(x, weights.input, weights.bias, (inputs, wide), &mut gates);
        for t in 0..length {
            if t > 0 {
                let before = View::pitched(h, (t - 1) * hidden, length * hidden);
                let out = Out { data: &mut gates, start: t * wide, row: length * wide, add: true };
                product((batch, hidden, wide), before, View::rows(weights.recurrent, wide), 1.0, out, Threads::All);
            }
            let rows = gates.par_chunks_mut(length * wide).zip(cells.par_chunks_mut(length * hidden));
            rows.zip(h.par_chunks_mut(length * hidden)).with_min_len(8).for_each(|((gates, cells), h)| {
                let (past, cells) = cells.split_at_mut(t * hidden);
                let past = past.len().checked_sub(hidden).map(|at| &past[at..]);
                let h = &mut h[t * hidden..][..hidden];
                vectors(
                    #[inline(always)]
                    || step(&mut gates[t * wide..][..wide], past, &mut cells[..hidden], h),
                );
            });
        }
        Trace { gates, cells }
    }

    /// The gradients, from ∂L/∂h of all times.
    pub fn backward(&self, x: &[f32], weights: Weights<'_>, h: &[f32], trace: &Trace, gradient: &[f32]) -> Gradients {
        let Self { batch, length, inputs, hidden } = *self;
        let wide = 4 * hidden;
        let mut of_gates = vec![0.0; batch * length * wide];
        // What reaches h and c of a time from the times after it.
        let (mut of_h, mut of_c) = (vec![0.0; batch * hidden], vec![0.0; batch * hidden]);
        for t in (0..length).rev() {
            let rows = of_gates.par_chunks_mut(length * wide).zip(of_c.par_chunks_mut(hidden));
            rows.zip(of_h.par_chunks(hidden)).enumerate().with_min_len(8).for_each(|(b, ((of_gates, of_c), of_h))| {
                let at = b * length + t;
                let gates = &trace.gates[at * wide..][..wide];
                let cells = &trace.cells[at * hidden..][..hidden];
                let past = (t > 0).then(|| &trace.cells[(at - 1) * hidden..][..hidden]);
                let gradients = (&gradient[at * hidden..][..hidden], of_h);
                let to = (&mut of_gates[t * wide..][..wide], of_c);
                vectors(
                    #[inline(always)]
                    || step_backward(gates, (cells, past), gradients, to),
                );
            });
            if t > 0 {
                let of_gates = View::pitched(&of_gates, t * wide, length * wide);
                let recurrent = View::rows(weights.recurrent, wide).t();
                product((batch, wide, hidden), of_gates, recurrent, 1.0, Out::rows(&mut of_h, hidden), Threads::All);
            }
        }
        let mut gradients = Gradients {
            input: vec![0.0; x.len()],
            weights: vec![0.0; inputs * wide],
            recurrent: vec![0.0; hidden * wide],
            bias: vec![0.0; wide],
        };
        linear_backward_input(&of_gates, weights.input, (inputs, wide), &mut gradients.input);
        linear_backward_weights(x, &of_gates, (inputs, wide), &mut gradients.weights);
        sum_of_rows(&of_gates, &mut gradients.bias);
        if length > 1 {
            // h_{t-1}ᵀ ∂z_t over t = 1 … length - 1, sequence by sequence.
            for b in 0..batch {
                let before = View::pitched(h, b * length * hidden, hidden).t();
                let of_gates = View::pitched(&of_gates, (b * length + 1) * wide, wide);
                let out = Out::added(&mut gradients.recurrent, wide);
                product((hidden, length - 1, wide), before, of_gates, 1.0, out, Threads::All);
            }
        }
        gradients
    }
}

/// Gates after their functions, c and h, from z.
#[inline(always)]
fn step(gates: &mut [f32], past: Option<&[f32]>, cells: &mut [f32], h: &mut [f32]) {
    let hidden = h.len();
    let (i, rest) = gates.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    let past = past.map_or(&[][..], |past| &past[..hidden]);
    i.iter_mut().chain(f.iter_mut()).for_each(|z| *z = sigmoid(*z));
    g.iter_mut().for_each(|z| *z = tanh(*z));
    o.iter_mut().for_each(|z| *z = sigmoid(*z));
    let cells = &mut cells[..hidden];
    if past.is_empty() {
        (0..hidden).for_each(|j| cells[j] = i[j] * g[j]);
    } else {
        (0..hidden).for_each(|j| cells[j] = f[j].mul_add(past[j], i[j] * g[j]));
    }
    (0..hidden).for_each(|j| h[j] = o[j] * tanh(cells[j]));
}

/// ∂L/∂z and ∂L/∂c_{t-1}, from ∂L/∂h of the output and of the next time, and ∂L/∂c, which it replaces.
#[inline(always)]
fn step_backward(
    gates: &[f32],
    (cells, past): (&[f32], Option<&[f32]>),
    (of_output, of_next): (&[f32], &[f32]),
    (of_gates, of_c): (&mut [f32], &mut [f32]),
) {
    let hidden = cells.len();
    let (i, f, g, o) =
        (&gates[..hidden], &gates[hidden..][..hidden], &gates[2 * hidden..][..hidden], &gates[3 * hidden..][..hidden]);
    let (of_i, rest) = of_gates.split_at_mut(hidden);
    let (of_f, rest) = rest.split_at_mut(hidden);
    let (of_g, of_o) = rest.split_at_mut(hidden);
    let (of_o, of_c, of_output, of_next) =
        (&mut of_o[..hidden], &mut of_c[..hidden], &of_output[..hidden], &of_next[..hidden]);
    for j in 0..hidden {
        let of_h = of_output[j] + of_next[j];
        let bent = tanh(cells[j]);
        let d = (of_h * o[j]).mul_add(1.0 - bent * bent, of_c[j]);
        of_o[j] = of_h * bent * o[j] * (1.0 - o[j]);
        of_i[j] = d * g[j] * i[j] * (1.0 - i[j]);
        of_g[j] = d * i[j] * (1.0 - g[j] * g[j]);
        of_f[j] = d * f[j] * (1.0 - f[j]);
        of_c[j] = d * f[j];
    }
    match past {
        Some(past) => of_f.iter_mut().zip(past).for_each(|(d, past)| *d *= past),
        None => of_f.fill(0.0),
    }
}
