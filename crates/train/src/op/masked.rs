//! Attention over the pairs that a mask leaves.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::{Bool, DType, Tensor, TensorData, activation as burn_activation};
use tersor_kernels::attention::{Attention, Error, Layout, Mask, Tensor as Slice, TensorMut, reference};

use super::join::{Array, Operation, apply, input};

/// Which queries see which keys; kept for the way back.
pub trait Pattern: Debug + Send + Sync + 'static {
    /// What `f` says of the mask.
    fn with<R>(&self, f: impl FnOnce(Mask<'_>) -> R) -> R;
}

/// Every query sees every key.
#[derive(Debug, Clone, Copy)]
pub struct Dense;

impl Pattern for Dense {
    fn with<R>(&self, f: impl FnOnce(Mask<'_>) -> R) -> R {
        f(Mask::All)
    }
}

/// softmax(q kᵀ / √width) v over the pairs of `pattern`: `q` `[batch, queries, heads · width]`, `k` and `v`
/// `[batch, keys, heads · width]`, the output as `q`.
///
/// Where a number is not finite, all of the output is NaN, so that a loss says so.
///
/// # Panics
/// If the shapes do not fit each other, the heads or the mask.
pub fn masked_attention<P: Pattern>([q, k, v]: [Tensor<3>; 3], heads: usize, pattern: &Arc<P>) -> Tensor<3> {
    let ([batch, queries, all], [_, keys, _]) = (q.dims(), k.dims());
    assert!(heads > 0 && all.is_multiple_of(heads), "attention: {heads} heads do not divide {all}");
    assert!(k.dims() == [batch, keys, all] && v.dims() == k.dims(), "attention: q {:?}, k {:?}", q.dims(), k.dims());
    let tracked = [&q, &k, &v].into_iter().any(Tensor::is_autodiff);
    let shape = Attention { batch, ..Attention::new(heads, queries, keys, all / heads) };
    let inputs = [&q, &k, &v].map(|tensor| input(tensor.clone(), tracked));
    if let Some(output) = apply(Masked { shape, pattern: Arc::clone(pattern) }, inputs, tracked) {
        return Tensor::from_dispatch(output);
    }
    let by_heads = |x: Tensor<3>, rows| x.reshape([batch, rows, heads, shape.width]).swap_dims(1, 2);
    let scores = by_heads(q, queries).matmul(by_heads(k, keys).transpose()) * f64::from(shape.scale);
    let hidden = pattern.with(|mask| {
        let of_head = |head| reference::seen(&shape, &mask, head).into_iter().flatten().map(|seen| !seen);
        (0..batch * heads).flat_map(of_head).collect::<Vec<bool>>()
    });
    let hidden = TensorData::new(hidden, [batch, heads, queries, keys]);
    let hidden = Tensor::<4, Bool>::from_data(hidden, &scores.device().inner());
    // The least number and not -∞, of which a row that sees nothing would make NaN; there the output is then 0.
    let least = if scores.dtype() == DType::F64 { f64::from(f32::MIN) } else { -1e30 };
    let weights = burn_activation::softmax(scores.mask_fill(hidden.clone(), least), 3).mask_fill(hidden, 0.0);
    weights.matmul(by_heads(v, keys)).swap_dims(1, 2).reshape([batch, queries, all])
}

#[derive(Debug)]
struct Masked<P> {
    shape: Attention,
    pattern: Arc<P>,
}

impl<P> Clone for Masked<P> {
    fn clone(&self) -> Self {
        Self { shape: self.shape, pattern: Arc::clone(&self.pattern) }
    }
}

impl<P: Pattern> Masked<P> {
    fn layouts(&self) -> [Layout; 2] {
        let Attention { heads, queries, keys, width, .. } = self.shape;
        [queries, keys].map(|rows| Layout::rows_first(heads, rows, width))
    }

    /// The output, and the logarithms of its rows.
    fn attended(&self, [q, k, v]: [&Array; 3]) -> (Array, Vec<f32>) {
        let Attention { batch, heads, queries, width, .. } = self.shape;
        let [rows, keys] = self.layouts();
        let inputs = [slice(q, rows), slice(k, keys), slice(v, keys)];
        let mut output = vec![0.0; batch * queries * heads * width];
        let mut logarithms = vec![0.0; self.shape.rows()];
        let out = TensorMut { data: &mut output, layout: rows };
        if let Err(error) = self.pattern.with(|mask| self.shape.forward(inputs, &mask, out, Some(&mut logarithms))) {
            refused(&error, &mut output);
        }
        (Array::new(output, [batch, queries, heads * width]), logarithms)
    }
}

fn slice(x: &Array, layout: Layout) -> Slice<'_> {
    Slice { data: x.values(), layout }
}

/// What is not finite is told by the loss; everything else is a mistake in the program.
fn refused(error: &Error, output: &mut [f32]) {
    match error {
        Error::NotFinite { .. } => output.fill(f32::NAN),
        other => panic!("attention: {other}"),
    }
}

impl<P: Pattern> Operation<3> for Masked<P> {
    type Kept = ([Array; 3], Array, Vec<f32>);

    fn forward(&self, [q, k, v]: [Array; 3]) -> (Array, Self::Kept) {
        let (output, logarithms) = self.attended([&q, &k, &v]);
        (output.clone(), ([q, k, v], output, logarithms))
    }

    fn backward(&self, (inputs, output, logarithms): Self::Kept, gradient: Array, _: [bool; 3]) -> [Option<Array>; 3] {
        let [rows, keys] = self.layouts();
        let [q, k, v] = &inputs;
        let mut gradients = inputs.each_ref().map(|x| vec![0.0; x.values().len()]);
        let [dq, dk, dv] = &mut gradients;
        let into = [(dq, rows), (dk, keys), (dv, keys)].map(|(data, layout)| TensorMut { data, layout });
        let done = self.pattern.with(|mask| {
            let given = (slice(&output, rows), &logarithms[..], slice(&gradient, rows));
            self.shape.backward([slice(q, rows), slice(k, keys), slice(v, keys)], &mask, given, into)
        });
        if let Err(error) = done {
            gradients.iter_mut().for_each(|gradient| refused(&error, gradient));
        }
        gradients.map(|gradient| Some(gradient.into()))
    }
}
