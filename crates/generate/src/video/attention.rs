//! Who attends: a method for each call of a run of sampling, and what it took.

use std::time::Instant;

use serde::Serialize;
use tersor_kernels::attention::Mask;
use tersor_train::burn::tensor::{Device, Tensor, TensorData};
use tersor_train::op::Pattern;

use crate::attend::{self, Attended, Plan, Tensors};
use crate::radial::{DensePolicy, Radial};
use crate::svg1::Kind;
use crate::{Block, BlockMask, CentroidCache, Error, Family, Grid, SemanticAttention, Svg1};

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
    /// Those near in space or in time, as each head prefers in each call.
    Svg1 {
        /// Frames that a head looks away from its own.
        band: f64,
        /// Tokens in a block.
        block: usize,
    },
    /// Those of clusters that mean alike, found anew in each call from the centroids of the step before.
    Svg2 {
        /// How it clusters and what it reads.
        semantic: SemanticAttention,
        /// Whether clusters are found in dense steps, too, so that the first sparse one begins with centroids.
        warm: bool,
    },
}

impl Method {
    /// Radial by blocks of 64 and without decay, as small models want it.
    pub fn radial() -> Self {
        Self::Radial { block: Block::square(64), decay: 1.0, family: Family::Wan }
    }

    /// The plan for all calls of a clip; none where all pairs are read, or each call has a plan of its own.
    ///
    /// # Errors
    /// What [`Radial::plan`] says.
    pub fn plan(&self, grid: Grid) -> Result<Option<BlockMask>, Error> {
        let &Self::Radial { block, decay, family } = self else { return Ok(None) };
        let radial = Radial::new(grid.frames, grid.tokens_per_frame()?);
        Radial { block, decay, family, ..radial }.plan().map(Some)
    }

    /// Masks of heads near in space or time, of a clip.
    fn svg1(&self, grid: Grid) -> Result<Option<Svg1>, Error> {
        let &Self::Svg1 { band, block } = self else { return Ok(None) };
        let tokens_per_frame = grid.tokens_per_frame()?;
        if !(0.0..=grid.frames as f64).contains(&band) {
            return Err(Error::parameter("band", band, "a number of frames of the clip"));
        }
        let band = (band * tokens_per_frame as f64).round().max(1.0) as usize;
        Ok(Some(Svg1 { band, block, ..Svg1::new(grid.frames, tokens_per_frame) }))
    }

    /// The share of pairs that a call reads, if it is known before.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn density(&self, grid: Grid) -> Result<Option<f64>, Error> {
        Ok(match self {
            Self::Dense => Some(1.0),
            Self::Radial { .. } => self.plan(grid)?.map(|plan| plan.token_density()),
            Self::Svg1 { .. } => {
                self.svg1(grid)?.map(|svg1| svg1.head(Kind::Spatial)).transpose()?.map(|head| head.density())
            }
            Self::Svg2 { .. } => None,
        })
    }
}

/// A plan as the training ground takes it.
impl Pattern for BlockMask {
    fn with<R>(&self, f: impl FnOnce(Mask<'_>) -> R) -> R {
        f(Mask::Blocks(&[self.blocks()]))
    }
}

/// What a call of attention took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// The step of sampling, from 0.
    pub step: usize,
    /// Its time of the flow, as the model is told it.
    pub timestep: f64,
    /// The layer, from 0.
    pub layer: usize,
    /// The share of pairs that was read, over all heads.
    pub avg_density: f64,
    /// The same head by head.
    pub density: Vec<f64>,
    /// Seconds, with all that decides what is read.
    pub seconds: f64,
    /// Of these, seconds to find clusters.
    pub clustering_seconds: f64,
}

/// The attention of a run of sampling: a method, where it gives way to dense attention, and a log of all calls.
#[derive(Debug)]
pub struct Sampling {
    method: Method,
    dense: DensePolicy,
    heads: usize,
    step: usize,
    timestep: f64,
    plan: Option<BlockMask>,
    svg1: Option<Svg1>,
    cache: CentroidCache,
    calls: Vec<Call>,
}

impl Sampling {
    /// A run by `method`, dense where `dense` says.
    pub fn new(method: Method, dense: DensePolicy) -> Self {
        Self {
            method,
            dense,
            heads: 1,
            step: 0,
            timestep: 0.0,
            plan: None,
            svg1: None,
            cache: CentroidCache::new(),
            calls: Vec::new(),
        }
    }

    /// Plans for a clip; called before the first step.
    pub(super) fn begin(&mut self, grid: Grid, heads: usize) -> Result<(), Error> {
        self.plan = self.method.plan(grid)?;
        self.svg1 = self.method.svg1(grid)?;
        self.heads = heads;
        self.cache.reset();
        self.calls.clear();
        Ok(())
    }

    /// The next calls are those of this step.
    pub(super) fn at_step(&mut self, step: usize, timestep: f64) {
        (self.step, self.timestep) = (step, timestep);
    }

    /// Every call so far.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The share of pairs that was read so far.
    pub fn density(&self) -> f64 {
        self.calls.iter().map(|call| call.avg_density).sum::<f64>() / self.calls.len().max(1) as f64
    }

    /// The same over those calls alone that were not dense; 1 without any.
    pub fn sparse_density(&self) -> f64 {
        let sparse = self.calls.iter().filter(|call| !self.dense.is_dense(call.step, call.layer));
        let (sum, count) = sparse.fold((0.0, 0), |(sum, count), call| (sum + call.avg_density, count + 1));
        if count == 0 { 1.0 } else { sum / f64::from(count) }
    }

    /// Seconds in attention so far.
    pub fn seconds(&self) -> f64 {
        self.calls.iter().map(|call| call.seconds).sum()
    }

    /// Of these, seconds to find clusters.
    pub fn clustering_seconds(&self) -> f64 {
        self.calls.iter().map(|call| call.clustering_seconds).sum()
    }

    /// The plan of the clip, if there is one.
    pub fn plan(&self) -> Option<&BlockMask> {
        self.plan.as_ref()
    }

    /// The output of a call, the density of each head, and the seconds to find clusters.
    fn call(&mut self, layer: usize, inputs: &HeadsFirst) -> Result<(Attended, Vec<f64>, f64), Error> {
        let tensors = inputs.tensors()?;
        let heads = inputs.shape[0];
        if self.dense.is_dense(self.step, layer) {
            let start = Instant::now();
            let mut clustering = 0.0;
            if let Method::Svg2 { semantic, warm: true } = &self.method
                && layer >= self.dense.layers
            {
                semantic.cluster(layer, &tensors, &mut self.cache)?;
                clustering = start.elapsed().as_secs_f64();
            }
            return Ok((attend::run(&tensors, Plan::Dense)?, vec![1.0; heads], clustering));
        }
        match &self.method {
            Method::Dense => Ok((attend::run(&tensors, Plan::Dense)?, vec![1.0; heads], 0.0)),
            Method::Radial { .. } => {
                let plan = self.plan.as_ref().expect("a run of sampling has begun");
                let attended = attend::run(&tensors, Plan::Blocks(plan))?;
                let density = attended.density();
                Ok((attended, vec![density; heads], 0.0))
            }
            Method::Svg1 { .. } => {
                let (mask, _) = self.svg1.as_ref().expect("a run of sampling has begun").plan(&tensors)?;
                let attended = attend::run(&tensors, Plan::Clusters(&mask))?;
                Ok((attended, (0..heads).map(|head| mask.head(head).density()).collect(), 0.0))
            }
            Method::Svg2 { semantic, .. } => {
                let (attended, stats) = semantic.step(layer, &tensors, &mut self.cache)?;
                Ok((attended, stats.density, stats.seconds[0]))
            }
        }
    }
}

impl Attend for Sampling {
    fn attend(&mut self, layer: usize, qkv: [Tensor<3>; 3]) -> Result<Tensor<3>, Error> {
        let device = qkv[0].device();
        let inputs = HeadsFirst::of(qkv, self.heads);
        let start = Instant::now();
        let (attended, density, clustering_seconds) = self.call(layer, &inputs)?;
        let seconds = start.elapsed().as_secs_f64();
        let avg_density = density.iter().sum::<f64>() / density.len() as f64;
        let (step, timestep) = (self.step, self.timestep);
        self.calls.push(Call { step, timestep, layer, avg_density, density, seconds, clustering_seconds });
        Ok(inputs.rows_first(&attended.output, &device))
    }
}

/// Queries, keys and values out of a model, `[heads, n, width]` each.
#[derive(Debug)]
pub struct HeadsFirst {
    shape: [usize; 3],
    qkv: [Vec<f32>; 3],
}

impl HeadsFirst {
    fn of(qkv: [Tensor<3>; 3], heads: usize) -> Self {
        let [_, rows, all] = qkv[0].dims();
        let shape = [heads, rows, all / heads];
        let qkv = qkv.map(|tensor| {
            let x = tensor.into_data().try_into_vec::<f32>().expect("a model computes in f32");
            swapped(&x, [rows, heads, all / heads])
        });
        Self { shape, qkv }
    }

    /// As attention takes them.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are none.
    pub fn tensors(&self) -> Result<Tensors<'_>, Error> {
        let [q, k, v] = self.qkv.each_ref().map(|x| (&x[..], self.shape));
        Tensors::new(q, k, v)
    }

    /// An output `[heads, n, width]` as the model takes it, `[1, n, heads · width]`.
    fn rows_first(&self, output: &[f32], device: &Device) -> Tensor<3> {
        let [heads, rows, width] = self.shape;
        let output = swapped(output, [heads, rows, width]);
        Tensor::from_data(TensorData::new(output, [1, rows, heads * width]), device)
    }
}

/// `[a, b, width]` as `[b, a, width]`.
fn swapped(x: &[f32], [a, b, width]: [usize; 3]) -> Vec<f32> {
    let row = |i: usize, j: usize| &x[(i * b + j) * width..][..width];
    (0..b).flat_map(|j| (0..a).flat_map(move |i| row(i, j))).copied().collect()
}

/// Keeps the queries, keys and values of every layer, and attends densely.
#[derive(Debug)]
pub struct Captured {
    heads: usize,
    layers: Vec<HeadsFirst>,
}

impl Captured {
    /// Nothing yet, of a model of so many heads.
    pub fn new(heads: usize) -> Self {
        Self { heads, layers: Vec::new() }
    }

    /// Layer by layer, in the order of the calls.
    pub fn layers(&self) -> &[HeadsFirst] {
        &self.layers
    }

    /// Queries, keys and values of a layer, `[heads, n, width]` each.
    pub fn layer(&self, layer: usize) -> Option<&[Vec<f32>; 3]> {
        self.layers.get(layer).map(|layer| &layer.qkv)
    }
}

impl Attend for Captured {
    fn attend(&mut self, _: usize, qkv: [Tensor<3>; 3]) -> Result<Tensor<3>, Error> {
        let device = qkv[0].device();
        let inputs = HeadsFirst::of(qkv, self.heads);
        let attended = attend::run(&inputs.tensors()?, Plan::Dense)?;
        let output = inputs.rows_first(&attended.output, &device);
        self.layers.push(inputs);
        Ok(output)
    }
}
