//! Softmax, its logarithm, and the cross-entropy of labels.

use burn::tensor::{Int, Tensor, activation as burn_activation};
use tersor_kernels::training::softmax;

use super::join::{Array, Operation, apply, input};

/// e^x / Σ e^x along the last axis.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    along_rows(Rows::Softmax, x)
}

/// ln softmax(x) along the last axis.
pub fn log_softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    along_rows(Rows::LogSoftmax, x)
}

fn along_rows<const D: usize>(of: Rows, x: Tensor<D>) -> Tensor<D> {
    let tracked = x.is_autodiff();
    match apply(of, [input(x.clone(), tracked)], tracked) {
        Some(y) => Tensor::from_dispatch(y),
        None if of == Rows::Softmax => burn_activation::softmax(x, D - 1),
        None => burn_activation::log_softmax(x, D - 1),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Softmax,
    LogSoftmax,
}

impl Operation<1> for Rows {
    type Kept = Array;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Array) {
        let mut y = vec![0.0; x.values().len()];
        let width = x.shape().as_slice().last().copied().unwrap_or(1);
        match self {
            Self::Softmax => softmax::softmax(x.values(), width, &mut y),
            Self::LogSoftmax => softmax::log_softmax(x.values(), width, &mut y),
        }
        let y = Array::new(y, x.shape().clone());
        (y.clone(), y)
    }

    fn backward(&self, y: Array, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let mut d = vec![0.0; gradient.values().len()];
        let width = y.shape().as_slice().last().copied().unwrap_or(1);
        match self {
            Self::Softmax => softmax::softmax_backward(y.values(), gradient.values(), width, &mut d),
            Self::LogSoftmax => softmax::log_softmax_backward(y.values(), gradient.values(), width, &mut d),
        }
        [Some(d.into())]
    }
}

/// The mean over rows of -ln softmax(x) at the row's label: `x` `[rows, classes]`, `labels` `[rows]`.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn cross_entropy(x: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [rows, classes] = x.dims();
    assert!(rows == labels.len() && rows > 0, "cross entropy: {} labels for {rows} rows", labels.len());
    assert!(labels.iter().all(|&label| (label as usize) < classes), "cross entropy: a label is not below {classes}");
    let tracked = x.is_autodiff();
    let operation = CrossEntropy { labels: labels.into() };
    if let Some(loss) = apply(operation, [input(x.clone(), tracked)], tracked) {
        return Tensor::from_dispatch(loss);
    }
    let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &x.device().inner());
    -burn_activation::log_softmax(x, 1).gather(1, labels.unsqueeze_dim(1)).mean()
}

#[derive(Debug, Clone)]
struct CrossEntropy {
    labels: std::sync::Arc<[u32]>,
}

impl Operation<1> for CrossEntropy {
    type Kept = Vec<f32>;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Vec<f32>) {
        let mut gradient = vec![0.0; x.values().len()];
        let loss = softmax::cross_entropy(x.values(), &self.labels, x.shape()[1], &mut gradient);
        (Array::new(vec![loss], [1]), gradient)
    }

    fn backward(&self, mut kept: Vec<f32>, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let gradient = gradient.values()[0];
        if gradient != 1.0 {
            kept.iter_mut().for_each(|d| *d *= gradient);
        }
        [Some(kept.into())]
    }
}
