//! Attention as the formula reads, in f64: what the fast paths are held to. Slow, and with the matrix of all pairs.
//!
//! Tensors are `[batch, heads, rows, width]`, one after another.

use super::mask::Mask;
use super::shape::Attention;

/// Which query sees which key, `[queries][keys]`, of a head counted over all sequences.
pub fn seen(shape: &Attention, mask: &Mask<'_>, head: usize) -> Vec<Vec<bool>> {
    let list = mask.groups(shape, head % mask.lists());
    let mut seen = vec![vec![false; shape.keys]; shape.queries];
    for group in 0..list.query_groups() {
        for query in list.queries(group) {
            let query = list.query_order().map_or(query, |order| order[query] as usize);
            for &column in list.row(group) {
                for key in list.keys(column as usize) {
                    let key = list.key_order().map_or(key, |order| order[key] as usize);
                    seen[query][key] = !shape.causal || key + shape.queries <= query + shape.keys;
                }
            }
        }
    }
    seen
}

/// What belongs to one head.
struct Head<'a> {
    q: &'a [f64],
    k: &'a [f64],
    v: &'a [f64],
    seen: Vec<Vec<bool>>,
}

impl<'a> Head<'a> {
    fn new(shape: &Attention, mask: &Mask<'_>, head: usize, [q, k, v]: [&'a [f64]; 3]) -> Self {
        let (queries, keys) = (shape.queries * shape.width, shape.keys * shape.width);
        let values = shape.keys * shape.value_width;
        let kv = kv_head(shape, head);
        Self {
            q: &q[head * queries..][..queries],
            k: &k[kv * keys..][..keys],
            v: &v[kv * values..][..values],
            seen: seen(shape, mask, head),
        }
    }

    /// Softmax of a query's scores, 0 where it sees nothing; and the logarithm of its sum.
    fn weights(&self, shape: &Attention, query: usize) -> (Vec<f64>, f64) {
        let q = &self.q[query * shape.width..][..shape.width];
        let score = |key: usize| {
            let k = &self.k[key * shape.width..][..shape.width];
            if self.seen[query][key] { f64::from(shape.scale) * dot(q, k) } else { f64::NEG_INFINITY }
        };
        let scores: Vec<f64> = (0..shape.keys).map(score).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return (vec![0.0; shape.keys], most);
        }
        let total: f64 = scores.iter().map(|score| (score - most).exp()).sum();
        (scores.iter().map(|score| (score - most).exp() / total).collect(), most + total.ln())
    }
}

fn kv_head(shape: &Attention, head: usize) -> usize {
    head / shape.heads * shape.kv_heads + head % shape.heads / (shape.heads / shape.kv_heads)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += factor * x);
}

/// o = softmax(scale · q kᵀ) v, and L.
pub fn forward(shape: &Attention, qkv: [&[f64]; 3], mask: &Mask<'_>) -> (Vec<f64>, Vec<f64>) {
    let mut out = vec![0.0; shape.rows() * shape.value_width];
    let mut logarithms = vec![0.0; shape.rows()];
    for head in 0..shape.batch * shape.heads {
        let of_head = Head::new(shape, mask, head, qkv);
        for query in 0..shape.queries {
            let row = head * shape.queries + query;
            let (weights, logarithm) = of_head.weights(shape, query);
            logarithms[row] = logarithm;
            for (weight, v) in weights.iter().zip(of_head.v.chunks_exact(shape.value_width)) {
                add(&mut out[row * shape.value_width..][..shape.value_width], *weight, v);
            }
        }
    }
    (out, logarithms)
}

/// ∂q, ∂k, ∂v from ∂o: ∂P = ∂o vᵀ, ∂S = P (∂P - Σ P ∂P), ∂q = scale · ∂S k, ∂k = scale · ∂Sᵀ q, ∂v = Pᵀ ∂o.
pub fn backward(shape: &Attention, qkv: [&[f64]; 3], mask: &Mask<'_>, out_gradient: &[f64]) -> [Vec<f64>; 3] {
    let (width, value_width) = (shape.width, shape.value_width);
    let mut gradients = qkv.map(|x| vec![0.0; x.len()]);
    let [dq, dk, dv] = &mut gradients;
    for head in 0..shape.batch * shape.heads {
        let of_head = Head::new(shape, mask, head, qkv);
        let kv = kv_head(shape, head) * shape.keys;
        for query in 0..shape.queries {
            let row = head * shape.queries + query;
            let g = &out_gradient[row * value_width..][..value_width];
            let (p, _) = of_head.weights(shape, query);
            let dp: Vec<f64> = of_head.v.chunks_exact(value_width).map(|v| dot(g, v)).collect();
            let along = dot(&p, &dp);
            for key in 0..shape.keys {
                let ds = f64::from(shape.scale) * p[key] * (dp[key] - along);
                add(&mut dq[row * width..][..width], ds, &of_head.k[key * width..][..width]);
                add(&mut dk[(kv + key) * width..][..width], ds, &of_head.q[query * width..][..width]);
                add(&mut dv[(kv + key) * value_width..][..value_width], p[key], g);
            }
        }
    }
    gradients
}
