//! Four small networks by which training is measured, in Burn's operations and in ours, as `bench/peers/training.py` has
//! them in PyTorch's.
//!
//! | probe | batch | network | optimiser |
//! | --- | --- | --- | --- |
//! | cnn | 32 of 3 x 32 x 32 | conv 3-32, pool, conv 32-64, pool, linear 4096-128-10 | SGD, momentum |
//! | resnet20 | 32 of 3 x 32 x 32 | ResNet-20 (He et al. 2016) with group norm | SGD, momentum, decay |
//! | lstm | 32 of 64 characters | embedding 128, LSTM 256, linear 65 | Adam |
//! | transformer | 8 of 256 characters | 4 blocks, width 256, 8 heads | AdamW |

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, PaddingConfig2d,
};
use burn::tensor::{Bool, Device, Int, Tensor, activation};
use tersor_kernels::training::activation::Activation;

use crate::nn::Fast;
use crate::op::{self, Look};

/// Characters that the sequence probes know.
pub const VOCABULARY: usize = 65;

/// Whose operations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Ours.
    Us,
    /// Burn's own.
    Burn,
}

impl By {
    fn conv(self, layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    fn pool(self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    fn norm(self, layer: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    fn linear<const D: usize>(self, layer: &Linear, x: Tensor<D>) -> Tensor<D> {
        if self == Self::Us { layer.fast(x) } else { layer.forward(x) }
    }

    fn relu<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if self == Self::Us { op::activation(Activation::Relu, x) } else { activation::relu(x) }
    }

    fn layer_norm(self, layer: &LayerNorm, x: Tensor<3>) -> Tensor<3> {
        match &layer.beta {
            Some(beta) if self == Self::Us => op::layer_norm(x, layer.gamma.val(), beta.val(), 1e-5),
            _ => layer.forward(x),
        }
    }
}

/// A network that is measured.
pub trait Probe: Module {
    /// What it reads.
    type Input: Clone;

    /// Scores `[rows, classes]`.
    fn scores(&self, input: Self::Input, by: By) -> Tensor<2>;
}

fn conv(channels: [usize; 2], kernel: usize, stride: usize, bias: bool, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(bias)
        .init(device)
}

/// The small CNN: 545,098 parameters.
#[derive(Module, Debug)]
pub struct Cnn {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
    hidden: Linear,
    scores: Linear,
}

impl Cnn {
    /// With random weights.
    pub fn new(device: &Device) -> Self {
        Self {
            convs: vec![conv([3, 32], 3, 1, true, device), conv([32, 64], 3, 1, true, device)],
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            hidden: LinearConfig::new(4096, 128).init(device),
            scores: LinearConfig::new(128, 10).init(device),
        }
    }
}

impl Probe for Cnn {
    type Input = Tensor<4>;

    fn scores(&self, x: Tensor<4>, by: By) -> Tensor<2> {
        let x = self.convs.iter().fold(x, |x, conv| by.pool(&self.pool, by.relu(by.conv(conv, x))));
        let x = by.relu(by.linear(&self.hidden, x.flatten::<2>(1, 3)));
        by.linear(&self.scores, x)
    }
}

/// Two convolutions and what passes by them.
#[derive(Module, Debug)]
pub struct Block {
    convs: Vec<Conv2d>,
    norms: Vec<GroupNorm>,
    shortcut: Option<Conv2d>,
    shortcut_norm: Option<GroupNorm>,
}

/// ResNet-20 with group norm of 8 groups: 272,474 parameters.
#[derive(Module, Debug)]
pub struct ResNet20 {
    first: Conv2d,
    norm: GroupNorm,
    blocks: Vec<Block>,
    scores: Linear,
}

impl ResNet20 {
    /// With random weights, for `classes` classes.
    pub fn new(classes: usize, device: &Device) -> Self {
        let norm = |width| GroupNormConfig::new(8, width).init(device);
        let block = |(from, to, stride): (usize, usize, usize)| Block {
            convs: vec![conv([from, to], 3, stride, false, device), conv([to, to], 3, 1, false, device)],
            norms: vec![norm(to), norm(to)],
            shortcut: (from != to).then(|| conv([from, to], 1, stride, false, device)),
            shortcut_norm: (from != to).then(|| norm(to)),
        };
        let stages = [(16, 16, 1), (16, 32, 2), (32, 64, 2)];
        let blocks = stages.into_iter().flat_map(|(from, to, stride)| [(from, to, stride), (to, to, 1), (to, to, 1)]);
        Self {
            first: conv([3, 16], 3, 1, false, device),
            norm: norm(16),
            blocks: blocks.map(block).collect(),
            scores: LinearConfig::new(64, classes).init(device),
        }
    }
}

impl Probe for ResNet20 {
    type Input = Tensor<4>;

    fn scores(&self, x: Tensor<4>, by: By) -> Tensor<2> {
        let x = by.relu(by.norm(&self.norm, by.conv(&self.first, x)));
        let x = self.blocks.iter().fold(x, |x, block| {
            let passed = match (&block.shortcut, &block.shortcut_norm) {
                (Some(conv), Some(norm)) => by.norm(norm, by.conv(conv, x.clone())),
                _ => x.clone(),
            };
            let y = by.relu(by.norm(&block.norms[0], by.conv(&block.convs[0], x)));
            by.relu(by.norm(&block.norms[1], by.conv(&block.convs[1], y)) + passed)
        });
        let [images, channels, height, width] = x.dims();
        let mean = match by {
            By::Us => op::mean_pool(x, [height, width], Look::default()).reshape([images, channels]),
            By::Burn => x.reshape([images, channels, height * width]).mean_dim(2).reshape([images, channels]),
        };
        by.linear(&self.scores, mean)
    }
}

/// A character model with one layer of LSTM: 419,265 parameters (PyTorch's second bias, 1,024, is not there).
#[derive(Module, Debug)]
pub struct Lstm {
    embedding: Embedding,
    weights: Param<Tensor<2>>,
    recurrent: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    scores: Linear,
}

impl Lstm {
    /// With random weights.
    pub fn new(device: &Device) -> Self {
        let (inputs, hidden) = (128, 256);
        let range = Initializer::Uniform { min: -1.0 / 16.0, max: 1.0 / 16.0 };
        Self {
            embedding: EmbeddingConfig::new(VOCABULARY, inputs).init(device),
            weights: range.init([inputs, 4 * hidden], device),
            recurrent: range.init([hidden, 4 * hidden], device),
            bias: range.init([4 * hidden], device),
            scores: LinearConfig::new(hidden, VOCABULARY).init(device),
        }
    }
}

impl Probe for Lstm {
    type Input = Tensor<2, Int>;

    fn scores(&self, ids: Tensor<2, Int>, by: By) -> Tensor<2> {
        let x = self.embedding.forward(ids);
        let [batch, length, _] = x.dims();
        let (w, u, b) = (self.weights.val(), self.recurrent.val(), self.bias.val());
        let h = match by {
            By::Us => op::lstm(x, w, u, b),
            By::Burn => op::lstm_of_burn(x, w, u, b),
        };
        let hidden = h.dims()[2];
        by.linear(&self.scores, h.reshape([batch * length, hidden]))
    }
}

/// Attention and a feed-forward layer, each with a norm before it.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    norms: Vec<LayerNorm>,
    qkv: Linear,
    projection: Linear,
    wide: Linear,
    narrow: Linear,
}

/// A character model of 4 blocks: 3,258,433 parameters.
#[derive(Module, Debug)]
pub struct Transformer {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    scores: Linear,
}

/// Heads of the transformer.
const HEADS: usize = 8;

impl Transformer {
    /// With random weights.
    pub fn new(device: &Device) -> Self {
        let width = 256;
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let norm = || LayerNormConfig::new(width).init(device);
        let block = |_| TransformerBlock {
            norms: vec![norm(), norm()],
            qkv: linear(width, 3 * width),
            projection: linear(width, width),
            wide: linear(width, 4 * width),
            narrow: linear(4 * width, width),
        };
        Self {
            tokens: EmbeddingConfig::new(VOCABULARY, width).init(device),
            positions: EmbeddingConfig::new(256, width).init(device),
            blocks: (0..4).map(block).collect(),
            norm: norm(),
            scores: linear(width, VOCABULARY),
        }
    }
}

impl Probe for Transformer {
    type Input = Tensor<2, Int>;

    fn scores(&self, ids: Tensor<2, Int>, by: By) -> Tensor<2> {
        let [batch, length] = ids.dims();
        let positions = Tensor::<1, Int>::arange(0..length as i64, &ids.device()).reshape([1, length]);
        let x = self.tokens.forward(ids) + self.positions.forward(positions);
        let x = self.blocks.iter().fold(x, |x, block| {
            let qkv = by.linear(&block.qkv, by.layer_norm(&block.norms[0], x.clone()));
            let attended = match by {
                By::Us => op::attention(qkv, HEADS, true),
                By::Burn => attention_of_burn(qkv),
            };
            let x = x + by.linear(&block.projection, attended);
            let wide = by.linear(&block.wide, by.layer_norm(&block.norms[1], x.clone()));
            let bent = match by {
                By::Us => op::activation(Activation::Gelu, wide),
                By::Burn => activation::gelu(wide),
            };
            x + by.linear(&block.narrow, bent)
        });
        let x = by.layer_norm(&self.norm, x);
        let width = x.dims()[2];
        by.linear(&self.scores, x.reshape([batch * length, width]))
    }
}

fn attention_of_burn(qkv: Tensor<3>) -> Tensor<3> {
    let [batch, length, all] = qkv.dims();
    let width = all / 3;
    let part = |at: usize| {
        let part = qkv.clone().narrow(2, at * width, width);
        part.reshape([batch, length, HEADS, width / HEADS]).swap_dims(1, 2)
    };
    let scores = part(0).matmul(part(1).transpose()) / ((width / HEADS) as f32).sqrt();
    let unseen = Tensor::<2, Bool>::tril_mask([length, length], 0, &scores.device());
    let scores = scores.mask_fill(unseen.unsqueeze(), f32::NEG_INFINITY);
    activation::softmax(scores, 3).matmul(part(2)).swap_dims(1, 2).reshape([batch, length, width])
}
