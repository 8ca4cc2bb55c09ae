//! Attention of many heads.

use burn::tensor::{Bool, Tensor, activation as burn_activation};
use tersor_kernels::training::attention::Attention;

use super::join::{Array, Operation, apply, input};

/// Self-attention of many heads: `qkv` `[batch, length, 3 · heads · width]` to `[batch, length, heads · width]`.
///
/// # Panics
/// If 3 · `heads` does not divide the last axis.
pub fn attention(qkv: Tensor<3>, heads: usize, causal: bool) -> Tensor<3> {
    let [batch, length, all] = qkv.dims();
    assert!(heads > 0 && all.is_multiple_of(3 * heads), "attention: 3 x {heads} heads do not divide {all}");
    let width = all / (3 * heads);
    let tracked = qkv.is_autodiff();
    let shape = Attention { batch, length, heads, width, causal };
    if let Some(output) = apply(Attended(shape), [input(qkv.clone(), tracked)], tracked) {
        return Tensor::from_dispatch(output);
    }
    let part = |at: usize| {
        qkv.clone().narrow(2, at * heads * width, heads * width).reshape([batch, length, heads, width]).swap_dims(1, 2)
    };
    let scores = part(0).matmul(part(1).transpose()) / (width as f32).sqrt();
    let scores = if causal {
        let unseen = Tensor::<2, Bool>::tril_mask([length, length], 0, &scores.device().inner());
        scores.mask_fill(unseen.unsqueeze(), f32::NEG_INFINITY)
    } else {
        scores
    };
    burn_activation::softmax(scores, 3).matmul(part(2)).swap_dims(1, 2).reshape([batch, length, heads * width])
}

#[derive(Debug, Clone, Copy)]
struct Attended(Attention);

impl Operation<1> for Attended {
    type Kept = (Array, Array, Vec<f32>);

    fn forward(&self, [qkv]: [Array; 1]) -> (Array, Self::Kept) {
        let Attention { batch, length, heads, width, .. } = self.0;
        let (mut output, mut logarithms) = (vec![0.0; self.0.len()], vec![0.0; batch * heads * length]);
        self.0.forward(qkv.values(), &mut output, &mut logarithms);
        let output = Array::new(output, [batch, length, heads * width]);
        (output.clone(), (qkv, output, logarithms))
    }

    fn backward(&self, (qkv, output, logarithms): Self::Kept, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let mut d = vec![0.0; qkv.values().len()];
        self.0.backward(qkv.values(), output.values(), &logarithms, gradient.values(), &mut d);
        [Some(d.into())]
    }
}
