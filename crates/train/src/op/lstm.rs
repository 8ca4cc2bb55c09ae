//! Long short-term memory.

use std::sync::Arc;

use burn::tensor::{Tensor, activation as burn_activation, module};
use tersor_kernels::training::lstm::{Lstm, Trace, Weights};

use super::join::{Array, Operation, apply, input};

/// A layer of long short-term memory from zeros: `x` `[batch, length, inputs]`, `weights` `[inputs, 4 hidden]`,
/// `recurrent` `[hidden, 4 hidden]`, `bias` `[4 hidden]`, gates in the order i, f, g, o; gives `[batch, length, hidden]`.
///
/// # Panics
/// If shapes do not fit each other.
pub fn lstm(x: Tensor<3>, weights: Tensor<2>, recurrent: Tensor<2>, bias: Tensor<1>) -> Tensor<3> {
    let [batch, length, inputs] = x.dims();
    let [hidden, wide] = recurrent.dims();
    assert!(
        wide == 4 * hidden && weights.dims() == [inputs, wide] && bias.dims() == [wide],
        "lstm: weights {:?}, {:?} and {:?} do not fit an input of {:?}",
        weights.dims(),
        recurrent.dims(),
        bias.dims(),
        x.dims()
    );
    let shape = Lstm { batch, length, inputs, hidden };
    let tracked = x.is_autodiff() || weights.is_autodiff() || recurrent.is_autodiff() || bias.is_autodiff();
    let operands = [
        input(x.clone(), tracked),
        input(weights.clone(), tracked),
        input(recurrent.clone(), tracked),
        input(bias.clone(), tracked),
    ];
    match apply(Remembered(shape), operands, tracked) {
        Some(h) => Tensor::from_dispatch(h),
        None => lstm_of_burn(x, weights, recurrent, bias),
    }
}

/// [`lstm`] in Burn's operations.
pub fn lstm_of_burn(x: Tensor<3>, weights: Tensor<2>, recurrent: Tensor<2>, bias: Tensor<1>) -> Tensor<3> {
    let [batch, length, _] = x.dims();
    let [hidden, wide] = recurrent.dims();
    let z = module::linear(x, weights, Some(bias));
    let (mut h, mut c): (Option<Tensor<2>>, Option<Tensor<2>>) = (None, None);
    let mut all = Vec::new();
    for t in 0..length {
        let z = z.clone().narrow(1, t, 1).reshape([batch, wide]);
        let z = match &h {
            Some(h) => z + h.clone().matmul(recurrent.clone()),
            None => z,
        };
        let gate = |at: usize| z.clone().narrow(1, at * hidden, hidden);
        let new = burn_activation::sigmoid(gate(0)) * gate(2).tanh();
        let cell = match c {
            Some(c) => burn_activation::sigmoid(gate(1)) * c + new,
            None => new,
        };
        let output = burn_activation::sigmoid(gate(3)) * cell.clone().tanh();
        all.push(output.clone().unsqueeze_dim::<3>(1));
        (h, c) = (Some(output), Some(cell));
    }
    Tensor::cat(all, 1)
}

#[derive(Debug, Clone, Copy)]
struct Remembered(Lstm);

impl Operation<4> for Remembered {
    type Kept = ([Array; 4], Array, Arc<Trace>);

    fn forward(&self, operands: [Array; 4]) -> (Array, Self::Kept) {
        let Lstm { batch, length, hidden, .. } = self.0;
        let mut h = vec![0.0; batch * length * hidden];
        let [x, input, recurrent, bias] = operands.each_ref().map(Array::values);
        let trace = self.0.forward(x, Weights { input, recurrent, bias }, &mut h);
        let h = Array::new(h, [batch, length, hidden]);
        (h.clone(), (operands, h, trace.into()))
    }

    fn backward(&self, (operands, h, trace): Self::Kept, gradient: Array, _: [bool; 4]) -> [Option<Array>; 4] {
        let [x, input, recurrent, bias] = operands.each_ref().map(Array::values);
        let d = self.0.backward(x, Weights { input, recurrent, bias }, h.values(), &trace, gradient.values());
        [d.input, d.weights, d.recurrent, d.bias].map(|d| Some(d.into()))
    }
}
