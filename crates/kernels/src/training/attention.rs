//! Attention of many heads: o = softmax(q kᵀ / √d) v, causal or not, without the matrix of all pairs.
//!
//! A block of queries is scored against all its keys, which fits in L2; only the logarithm of each row's sum is kept, and
//! the gradient computes the scores again (Dao, Fu, Ermon, Rudra, Ré, *FlashAttention*, NeurIPS 2022):
//! P = e^(S - L), ∂V = Pᵀ ∂O, ∂P = ∂O Vᵀ, ∂S = P (∂P - Σ O ∂O), ∂Q = ∂S K / √d, ∂K = ∂Sᵀ Q / √d.
//!
//! Queries, keys and values are read where a linear layer wrote them, side by side: `[batch, length, 3, heads, width]`.

use rayon::prelude::*;

use super::function::{exp, vectors};
use super::matrix::{Out, Threads, View, product};
use super::norm::dot;
use super::softmax::largest;

/// Queries of a block.
const BLOCK: usize = 64;

/// Self-attention over sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a head's query.
    pub width: usize,
    /// A token sees those before it and itself.
    pub causal: bool,
}

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Head {
    query: usize,
    key: usize,
    value: usize,
    row: usize,
}

impl Attention {
    /// Numbers of the output, `[batch, length, heads, width]`; queries, keys and values are three times as many.
    pub fn len(&self) -> usize {
        self.batch * self.length * self.heads * self.width
    }

    /// Whether there is nothing to attend.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn head(&self, head: usize) -> Head {
        let all = self.heads * self.width;
        let query = head * self.width;
        Head { query, key: query + all, value: query + 2 * all, row: 3 * all }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The blocks of queries, each with the number of keys that it sees.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { length, causal, .. } = *self;
        (0..length).step_by(BLOCK).map(move |first| {
            let count = BLOCK.min(length - first);
            (first, count, if causal { first + count } else { length })
        })
    }

    /// The output, and for each row (`[batch, heads, length]`) the logarithm L of the sum of its scores' exponentials.
    pub fn forward(&self, qkv: &[f32], output: &mut [f32], logarithms: &mut [f32]) {
        debug_assert_eq!((qkv.len(), output.len()), (3 * self.len(), self.len()));
        let Self { length, heads, width, .. } = *self;
        let (of_sequence, all) = (length * heads * width, heads * width);
        let sequences = qkv.par_chunks(3 * of_sequence).zip(output.par_chunks_mut(of_sequence));
        sequences.zip(logarithms.par_chunks_mut(heads * length)).for_each(|((qkv, output), logarithms)| {
            // Heads are columns of the output, so each is computed apart and then written between the others.
            let outputs: Vec<Vec<f32>> = (logarithms.par_chunks_mut(length).enumerate())
                .map(|(head, logarithms)| {
                    let mut output = vec![0.0; length * width];
                    self.head_forward(qkv, self.head(head), &mut output, logarithms);
                    output
                })
                .collect();
            for (head, from) in outputs.iter().enumerate() {
                for (to, from) in output.chunks_exact_mut(all).zip(from.chunks_exact(width)) {
                    to[head * width..][..width].copy_from_slice(from);
                }
            }
        });
    }

    fn head_forward(&self, qkv: &[f32], at: Head, output: &mut [f32], logarithms: &mut [f32]) {
        let width = self.width;
        let mut scores = vec![0.0; BLOCK.min(self.length) * self.length];
        for (first, count, keys) in self.blocks() {
            let q = View::pitched(qkv, first * at.row + at.query, at.row);
            let k = View::pitched(qkv, at.key, at.row).t();
            product((count, width, keys), q, k, self.scale(), Out::rows(&mut scores, keys), Threads::Own);
            let rows = &mut logarithms[first..][..count];
            vectors(
                #[inline(always)]
                || {
                    for (i, (row, logarithm)) in scores.chunks_exact_mut(keys).zip(rows).enumerate() {
                        let seen = if self.causal { first + i + 1 } else { keys };
                        let (row, unseen) = row.split_at_mut(seen);
                        unseen.fill(0.0);
                        *logarithm = normalise(row);
                    }
                },
            );
            let p = View::rows(&scores, keys);
            let v = View::pitched(qkv, at.value, at.row);
            let out = Out { data: output, start: first * width, row: width, add: false };
            product((count, keys, width), p, v, 1.0, out, Threads::Own);
        }
    }

    /// ∂L/∂(queries, keys, values), laid out like them.
    pub fn backward(
        &self,
        qkv: &[f32],
        output: &[f32],
        logarithms: &[f32],
        output_gradient: &[f32],
        qkv_gradient: &mut [f32],
    ) {
        let Self { length, heads, width, .. } = *self;
        let (of_sequence, all) = (length * heads * width, heads * width);
        let sequences = qkv.par_chunks(3 * of_sequence).zip(qkv_gradient.par_chunks_mut(3 * of_sequence));
        let outputs = output.par_chunks(of_sequence).zip(output_gradient.par_chunks(of_sequence));
        sequences.zip(outputs).zip(logarithms.par_chunks(heads * length)).for_each(
            |(((qkv, d), (output, gradient)), logarithms)| {
                let parts: Vec<[Vec<f32>; 3]> = (0..heads)
                    .into_par_iter()
                    .map(|head| {
                        let logarithms = &logarithms[head * length..][..length];
                        self.head_backward(qkv, self.head(head), head * width, (output, gradient), logarithms)
                    })
                    .collect();
                for (head, parts) in parts.iter().enumerate() {
                    for (which, part) in parts.iter().enumerate() {
                        for (to, from) in d.chunks_exact_mut(3 * all).zip(part.chunks_exact(width)) {
                            to[which * all + head * width..][..width].copy_from_slice(from);
                        }
                    }
                }
            },
        );
    }

    fn head_backward(
        &self,
        qkv: &[f32],
        at: Head,
        column: usize,
        (output, gradient): (&[f32], &[f32]),
        logarithms: &[f32],
    ) -> [Vec<f32>; 3] {
        let Self { length, heads, width, .. } = *self;
        let all = heads * width;
        let block = BLOCK.min(length) * length;
        let (mut p, mut s) = (vec![0.0; block], vec![0.0; block]);
        let mut gradients = [(); 3].map(|()| vec![0.0; length * width]);
        let [of_query, of_key, of_value] = &mut gradients;
        for (first, count, keys) in self.blocks() {
            let q = View::pitched(qkv, first * at.row + at.query, at.row);
            let k = View::pitched(qkv, at.key, at.row);
            let v = View::pitched(qkv, at.value, at.row);
            let g = View::pitched(gradient, first * all + column, all);
            product((count, width, keys), q, k.t(), self.scale(), Out::rows(&mut p, keys), Threads::Own);
            product((count, width, keys), g, v.t(), 1.0, Out::rows(&mut s, keys), Threads::Own);
            vectors(
                #[inline(always)]
                || {
                    for (i, (p, s)) in p.chunks_exact_mut(keys).zip(s.chunks_exact_mut(keys)).take(count).enumerate() {
                        let row = (first + i) * all + column;
                        let along = dot(&output[row..][..width], &gradient[row..][..width]);
                        let seen = if self.causal { first + i + 1 } else { keys };
                        let logarithm = logarithms[first + i];
                        for (p, s) in p[..seen].iter_mut().zip(&mut s[..seen]) {
                            *p = exp(*p - logarithm);
                            *s = *p * (*s - along);
                        }
                        p[seen..].fill(0.0);
                        s[seen..].fill(0.0);
                    }
                },
            );
            let (p, s) = (View::rows(&p, keys), View::rows(&s, keys));
            product((keys, count, width), p.t(), g, 1.0, Out::added(of_value, width), Threads::Own);
            let out = Out { data: of_query, start: first * width, row: width, add: false };
            product((count, keys, width), s, k, self.scale(), out, Threads::Own);
            product((keys, count, width), s.t(), q, self.scale(), Out::added(of_key, width), Threads::Own);
        }
        gradients
    }
}

/// Softmax of a row in place; gives ln Σ e^x.
#[inline(always)]
fn normalise(row: &mut [f32]) -> f32 {
    let most = largest(row);
    row.iter_mut().for_each(|x| *x = exp(*x - most));
    let total = super::norm::sum(row);
    let scale = 1.0 / total;
    row.iter_mut().for_each(|x| *x *= scale);
    most + total.ln()
}
