//! Dense or sparse, whichever the cost model gives less time: no layer is slower for having been pruned.

use super::convolution::SparseConvolution;
use super::cost::{self, Choice, Kernel};
use super::dense;
use super::ending::Ending;
use super::linear::SparseLinear;
use crate::training::convolution::Convolution;

/// A linear layer in the form that is faster for the number of rows that it was made for.
#[derive(Debug, Clone)]
pub struct Linear {
    choice: Choice,
    shape: (usize, usize),
    /// The weights, where the dense form is taken.
    form: Form<SparseLinear>,
}

/// A convolution in the form that is faster.
#[derive(Debug, Clone)]
pub struct Conv {
    choice: Choice,
    geometry: Convolution,
    form: Form<SparseConvolution>,
}

#[derive(Debug, Clone)]
enum Form<S> {
    Dense(Vec<f32>),
    Sparse(S),
}

impl Linear {
    /// Of `weights` `[outputs][inputs]`, for about `batch` rows of x.
    ///
    /// # Panics
    /// As [`SparseLinear::pack`].
    pub fn new(weights: &[f32], (outputs, inputs): (usize, usize), batch: usize) -> Self {
        let sparse = SparseLinear::pack(weights, outputs, inputs);
        let choice = sparse.choice(batch);
        let form = match choice.kernel {
            Kernel::Sparse => Form::Sparse(sparse),
            Kernel::Dense => Form::Dense(weights.to_vec()),
        };
        Self { choice, shape: (outputs, inputs), form }
    }

    /// What was chosen, and why.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// As [`SparseLinear::run`].
    ///
    /// # Panics
    /// As there.
    pub fn run(&self, x: &[f32], bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        match &self.form {
            Form::Sparse(sparse) => sparse.run(x, bias, ending, y),
            Form::Dense(weights) => dense::linear(x, weights, bias, self.shape, ending, y),
        }
    }
}

impl Conv {
    /// Of weights as [`SparseConvolution::pack`] has them.
    ///
    /// # Panics
    /// As there.
    pub fn new(weights: &[f32], geometry: &Convolution) -> Self {
        let nonzeros = weights.iter().filter(|weight| **weight != 0.0).count();
        let choice = cost::convolution(geometry, nonzeros);
        let form = match choice.kernel {
            Kernel::Sparse => Form::Sparse(SparseConvolution::pack(weights, geometry)),
            Kernel::Dense => Form::Dense(weights.to_vec()),
        };
        Self { choice, geometry: *geometry, form }
    }

    /// What was chosen, and why.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// As [`SparseConvolution::run`], for as many images as there are in `x`.
    ///
    /// # Panics
    /// As there.
    pub fn run(&self, x: &[f32], bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        match &self.form {
            Form::Sparse(sparse) => sparse.run(x, bias, ending, y),
            Form::Dense(weights) => {
                let one = Convolution { images: 1, ..self.geometry };
                let images = x.len().checked_div(one.input_len()).unwrap_or(0);
                dense::convolution(&Convolution { images, ..one }, x, weights, bias, ending, y);
            }
        }
    }
}
