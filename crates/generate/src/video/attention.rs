//! Who attends: a method for each call of a run of sampling, and what it took.

use std::collections::HashMap;
use std::time::Instant;

use serde::Serialize;
use tersor_kernels::attention::{Attention, Layout, Mask, Tensor as Slice, TensorMut};
use tersor_train::burn::tensor::{Tensor, TensorData};
use tersor_train::op::Pattern;

use crate::radial::{DensePolicy, Radial};
use crate::{Block, BlockMask, Error, Family, Grid};

/// Makes the calls of attention of a model.
pub trait Attend {
    /// The output `[1, n, heads · width]` of a layer's queries, keys and values, of the same shape.
    ///
    /// # Errors
    /// What the method says.
    fn attend(&mut self, layer: usize, qkv: [Tensor<3>; 3]) -> Result<Tensor<3>, Error>;
}

/// How attention is made where it is not dense.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// All pairs.
    Dense,
    /// Those of a radial mask of the clip.
    Radial {
        /// Tokens in a block.
        block: Block,
        /// How windows shrink; see [`Radial`].
        decay: f64,
        /// Whose rule.
        family: Family,
    },
}

impl Method {
    /// Radial by blocks of 64 and without decay, as small models want it.
    pub fn radial() -> Self {
        Self::Radial { block: Block::square(64), decay: 1.0, family: Family::Wan }
    }

    /// The plan for a clip; none where all pairs are read.
    ///
    /// # Errors
    /// What [`Radial::plan`] says.
    pub fn plan(&self, grid: Grid) -> Result<Option<BlockMask>, Error> {
        match *self {
            Self::Dense => Ok(None),
            Self::Radial { block, decay, family } => {
                let radial = Radial::new(grid.frames, grid.tokens_per_frame()?);
                Radial { block, decay, family, ..radial }.plan().map(Some)
            }
        }
    }
}

/// A plan as the training ground takes it.
impl Pattern for BlockMask {
    fn with<R>(&self, f: impl FnOnce(Mask<'_>) -> R) -> R {
        f(Mask::Blocks(&[self.blocks()]))
    }
}

/// What a call of attention took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Call {
    /// The step of sampling, from 0.
    pub step: usize,
    /// The layer, from 0.
    pub layer: usize,
    /// The share of pairs that was read, over all heads.
    pub density: f64,
    /// Seconds.
    pub seconds: f64,
}

/// The attention of a run of sampling: a method, where it gives way to dense attention, and a log of all calls.
#[derive(Debug)]
pub struct Sampling {
    method: Method,
    dense: DensePolicy,
    heads: usize,
    grid: Option<Grid>,
    step: usize,
    /// By the number of tokens.
    plan: Option<BlockMask>,
    calls: Vec<Call>,
}

impl Sampling {
    /// A run by `method`, dense where `dense` says.
    pub fn new(method: Method, dense: DensePolicy) -> Self {
        Self { method, dense, heads: 1, grid: None, step: 0, plan: None, calls: Vec::new() }
    }

    /// Plans for a clip; called before the first step.
    pub(super) fn begin(&mut self, grid: Grid, heads: usize) -> Result<(), Error> {
        self.plan = self.method.plan(grid)?;
        (self.grid, self.heads, self.step) = (Some(grid), heads, 0);
        self.calls.clear();
        Ok(())
    }

    /// The next calls are those of this step.
    pub(super) fn at_step(&mut self, step: usize) {
        self.step = step;
    }

    /// Every call so far.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The share of pairs that was read so far.
    pub fn density(&self) -> f64 {
        self.calls.iter().map(|call| call.density).sum::<f64>() / self.calls.len().max(1) as f64
    }

    /// Seconds in attention so far.
    pub fn seconds(&self) -> f64 {
        self.calls.iter().map(|call| call.seconds).sum()
    }

    /// The plan of the clip, if there is one.
    pub fn plan(&self) -> Option<&BlockMask> {
        self.plan.as_ref()
    }
}

impl Attend for Sampling {
    fn attend(&mut self, layer: usize, qkv: [Tensor<3>; 3]) -> Result<Tensor<3>, Error> {
        let plan = self.plan.as_ref().filter(|_| !self.dense.is_dense(self.step, layer));
        let device = qkv[0].device();
        let (shape, inputs) = slices(qkv, self.heads);
        let start = Instant::now();
        let blocks = plan.map(|plan| [plan.blocks()]);
        let mask = blocks.as_ref().map_or(Mask::All, |blocks| Mask::Blocks(blocks));
        let output = run(&shape, &inputs, &mask)?;
        let seconds = start.elapsed().as_secs_f64();
        let density = mask.pairs(&shape) as f64 / Mask::All.pairs(&shape) as f64;
        self.calls.push(Call { step: self.step, layer, density, seconds });
        let dims = [1, shape.queries, shape.heads * shape.width];
        Ok(Tensor::from_data(TensorData::new(output, dims), &device))
    }
}

/// Queries, keys and values out of tensors, `[n, heads, width]` each.
fn slices(qkv: [Tensor<3>; 3], heads: usize) -> (Attention, [Vec<f32>; 3]) {
    let [_, tokens, all] = qkv[0].dims();
    let inputs = qkv.map(|tensor| tensor.into_data().try_into_vec::<f32>().expect("a model computes in f32"));
    (Attention::new(heads, tokens, tokens, all / heads), inputs)
}

fn run(shape: &Attention, inputs: &[Vec<f32>; 3], mask: &Mask<'_>) -> Result<Vec<f32>, Error> {
    let layout = Layout::rows_first(shape.heads, shape.queries, shape.width);
    let mut output = vec![0.0; inputs[0].len()];
    let tensors = inputs.each_ref().map(|data| Slice { data, layout });
    shape.forward(tensors, mask, TensorMut { data: &mut output, layout }, None)?;
    Ok(output)
}

/// Keeps the queries, keys and values of every layer, and attends densely.
#[derive(Debug)]
pub struct Captured {
    heads: usize,
    /// Of each layer, `[heads, n, width]` each.
    layers: HashMap<usize, [Vec<f32>; 3]>,
}

impl Captured {
    /// Nothing yet, of a model of so many heads.
    pub fn new(heads: usize) -> Self {
        Self { heads, layers: HashMap::new() }
    }

    /// Queries, keys and values of a layer, `[heads, n, width]` each.
    pub fn layer(&self, layer: usize) -> Option<&[Vec<f32>; 3]> {
        self.layers.get(&layer)
    }
}

impl Attend for Captured {
    fn attend(&mut self, layer: usize, qkv: [Tensor<3>; 3]) -> Result<Tensor<3>, Error> {
        let device = qkv[0].device();
        let (shape, inputs) = slices(qkv, self.heads);
        let output = run(&shape, &inputs, &Mask::All)?;
        let (heads, rows, width) = (shape.heads, shape.queries, shape.width);
        let heads_first = |x: &Vec<f32>| {
            let row = |head: usize, row: usize| &x[(row * heads + head) * width..][..width];
            (0..heads).flat_map(|head| (0..rows).flat_map(move |at| row(head, at))).copied().collect()
        };
        self.layers.insert(layer, inputs.each_ref().map(heads_first));
        Ok(Tensor::from_data(TensorData::new(output, [1, rows, heads * width]), &device))
    }
}
