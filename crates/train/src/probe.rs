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
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d,
};
use burn::tensor::{Bool, Device, Int, Tensor, activation};

use crate::model::{Classifier, ResNet20};
use crate::nn::By;
use crate::op;

/// Characters that the sequence probes know.
pub const VOCABULARY: usize = 65;

/// A network that is measured.
pub trait Probe: Module {
    /// What it reads.
    type Input: Clone + Send;

    /// Scores `[rows, classes]`.
    fn scores(&self, input: Self::Input, by: By) -> Tensor<2>;
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
        let same = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(same.clone()).init(device);
        Self {
            convs: vec![conv([3, 32]), conv([32, 64])],
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

impl Probe for ResNet20 {
    type Input = Tensor<4>;

    fn scores(&self, x: Tensor<4>, by: By) -> Tensor<2> {
        self.logits_by(x, by)
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
            x + by.linear(&block.narrow, by.gelu(wide))
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
