//! Long short-term memory over whole sequences, with gates in PyTorch's order: i, f, g, o.
//!
//! z_t = x_t W + h_{t-1} U + b; i, f, o = σ(z), g = tanh(z); c_t = f c_{t-1} + i g; h_t = o tanh(c_t). The products with
//! x are one product over all times before the recurrence; the gradients of W, U and x are one each after it.
//!
//! Source: Hochreiter and Schmidhuber (1997), with forget gates by Gers, Schmidhuber, Cummins (2000).

use rayon::prelude::*;

use super::function::{sigmoid, tanh, vectors};
use super::matrix::{linear, linear_backward_input, linear_backward_weights, sum_of_rows};
use super::packed::{Packed, Rows};

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
    /// How many sequences a task takes through all times: as many as make the threads equal. They do not meet, so their
    /// numbers do not depend on it.
    fn sequences(&self) -> usize {
        self.batch.div_ceil(rayon::current_num_threads()).max(1)
    }

    /// h of all times.
    pub fn forward(&self, x: &[f32], weights: Weights<'_>, h: &mut [f32]) -> Trace {
        let Self { batch, length, inputs, hidden } = *self;
        let wide = 4 * hidden;
        let mut gates = vec![0.0; batch * length * wide];
        let mut cells = vec![0.0; batch * length * hidden];
        linear(x, weights.input, weights.bias, (inputs, wide), &mut gates);
        let recurrent = Packed::new((hidden, wide), |k, n| weights.recurrent[k * wide + n]);
        let sequences = self.sequences();
        let parts =
            gates.par_chunks_mut(sequences * length * wide).zip(cells.par_chunks_mut(sequences * length * hidden));
        parts.zip(h.par_chunks_mut(sequences * length * hidden)).for_each_init(
            Vec::new,
            |scratch, ((gates, cells), h)| {
                let count = h.len() / (length * hidden);
                for t in 0..length {
                    if t > 0 {
                        let from = Rows { start: (t - 1) * hidden, pitch: length * hidden, count };
                        let to = Rows { start: t * wide, pitch: length * wide, count };
                        recurrent.add_product(h, from, gates, to, scratch);
                    }
                    for s in 0..count {
                        let at = s * length + t;
                        let (past, cells) = cells.split_at_mut(at * hidden);
                        let past = (t > 0).then(|| &past[past.len() - hidden..]);
                        let (gates, h) = (&mut gates[at * wide..][..wide], &mut h[at * hidden..][..hidden]);
                        vectors(
                            #[inline(always)]
                            || step(gates, past, &mut cells[..hidden], h),
                        );
                    }
                }
            },
        );
        Trace { gates, cells }
    }

    /// The gradients, from ∂L/∂h of all times.
    pub fn backward(&self, x: &[f32], weights: Weights<'_>, h: &[f32], trace: &Trace, gradient: &[f32]) -> Gradients {
        let Self { batch, length, inputs, hidden } = *self;
        let wide = 4 * hidden;
        let mut of_gates = vec![0.0; batch * length * wide];
        let recurrent = Packed::new((wide, hidden), |k, n| weights.recurrent[n * wide + k]);
        let sequences = self.sequences();
        let parts = of_gates.par_chunks_mut(sequences * length * wide).enumerate();
        parts.for_each_init(Vec::new, |scratch, (part, of_gates)| {
            let count = of_gates.len() / (length * wide);
            // What reaches h and c of a time from the times after it.
            let (mut of_h, mut of_c) = (vec![0.0; count * hidden], vec![0.0; count * hidden]);
            for t in (0..length).rev() {
                for s in 0..count {
                    let at = (part * sequences + s) * length + t;
                    let gates = &trace.gates[at * wide..][..wide];
                    let cells = &trace.cells[at * hidden..][..hidden];
                    let past = (t > 0).then(|| &trace.cells[(at - 1) * hidden..][..hidden]);
                    let gradients = (&gradient[at * hidden..][..hidden], &of_h[s * hidden..][..hidden]);
                    let to = (&mut of_gates[(s * length + t) * wide..][..wide], &mut of_c[s * hidden..][..hidden]);
                    vectors(
                        #[inline(always)]
                        || step_backward(gates, (cells, past), gradients, to),
                    );
                }
                of_h.fill(0.0);
                let from = Rows { start: t * wide, pitch: length * wide, count };
                recurrent.add_product(of_gates, from, &mut of_h, Rows { start: 0, pitch: hidden, count }, scratch);
            }
        });
        let mut gradients = Gradients {
            input: vec![0.0; x.len()],
            weights: vec![0.0; inputs * wide],
            recurrent: vec![0.0; hidden * wide],
            bias: vec![0.0; wide],
        };
        linear_backward_input(&of_gates, weights.input, (inputs, wide), &mut gradients.input);
        linear_backward_weights(x, &of_gates, (inputs, wide), &mut gradients.weights);
        sum_of_rows(&of_gates, &mut gradients.bias);
        // Σ h_{t-1}ᵀ ∂z_t as one product: h of the time before, zeros at the first.
        let mut before = vec![0.0; h.len()];
        for (before, h) in before.chunks_exact_mut(length * hidden).zip(h.chunks_exact(length * hidden)) {
            before[hidden..].copy_from_slice(&h[..h.len() - hidden]);
        }
        linear_backward_weights(&before, &of_gates, (hidden, wide), &mut gradients.recurrent);
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
    let (i, f, g, o) = (&mut i[..hidden], &mut f[..hidden], &mut g[..hidden], &mut o[..hidden]);
    // Plain loops: a closure in an adapter may be compiled apart, without the wide instructions of its caller.
    for j in 0..hidden {
        i[j] = sigmoid(i[j]);
        f[j] = sigmoid(f[j]);
        g[j] = tanh(g[j]);
        o[j] = sigmoid(o[j]);
    }
    let cells = &mut cells[..hidden];
    if past.is_empty() {
        for j in 0..hidden {
            cells[j] = i[j] * g[j];
        }
    } else {
        for j in 0..hidden {
            cells[j] = f[j].mul_add(past[j], i[j] * g[j]);
        }
    }
    for j in 0..hidden {
        h[j] = o[j] * tanh(cells[j]);
    }
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
    let Some(past) = past else { return of_f.fill(0.0) };
    let (of_f, past) = (&mut of_f[..hidden], &past[..hidden]);
    for j in 0..hidden {
        of_f[j] *= past[j];
    }
}
