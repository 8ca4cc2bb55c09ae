//! What a network takes: weights, and bytes as the paper counts them and as they lie on disk.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015), tables 1 to 5 and section 5: FLOP of a layer
//! count what is left of its multiply-adds, weights that are kept; relative indices of 5 bits in linear layers and 8 in
//! convolutions.

use serde::Serialize;

use crate::relative::{self, Gaps};
use crate::weights::Weight;

/// A network's weights, layer by layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// In the order of the network.
    pub layers: Vec<LayerAccount>,
    /// Weights in all.
    pub weights: usize,
    /// Weights that are not 0.
    pub kept: usize,
    /// `weights / kept`.
    pub ratio: f64,
    /// 4 bytes a weight.
    pub dense_bytes: usize,
    /// Bytes as the paper counts them.
    pub paper_bytes: usize,
    /// Bytes in our files.
    pub sparse_bytes: usize,
}

/// The weights of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerAccount {
    /// The tensor's name.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Weights.
    pub weights: usize,
    /// Weights that are not 0.
    pub kept: usize,
    /// `kept / weights`.
    pub density: f64,
    /// As the paper counts: 32 bits a weight and its index, fillers too.
    pub paper_bytes: usize,
    /// In our files: whichever is less, sparse or dense.
    pub sparse_bytes: usize,
    /// What indices take, of what weights take.
    pub index_overhead: f64,
}

impl Account {
    /// The account of `weights`.
    pub fn of(weights: &[Weight]) -> Self {
        let layers: Vec<_> = weights.iter().map(LayerAccount::of).collect();
        let sum = |of: fn(&LayerAccount) -> usize| layers.iter().map(of).sum::<usize>();
        let (weights, kept) = (sum(|layer| layer.weights), sum(|layer| layer.kept));
        Self {
            weights,
            kept,
            ratio: weights as f64 / kept.max(1) as f64,
            dense_bytes: 4 * weights,
            paper_bytes: sum(|layer| layer.paper_bytes),
            sparse_bytes: sum(|layer| layer.sparse_bytes),
            layers,
        }
    }
}

impl LayerAccount {
    fn of(weight: &Weight) -> Self {
        let (weights, kept) = (weight.values.len(), weight.kept());
        let bits = if weight.is_convolution() { 8 } else { 5 };
        let gaps = Gaps::of(&weight.values);
        Self {
            tensor: weight.name.clone(),
            shape: weight.shape.clone(),
            weights,
            kept,
            density: kept as f64 / weights.max(1) as f64,
            paper_bytes: relative::counted(&weight.values, bits).bits.div_ceil(8),
            sparse_bytes: (4 * kept + gaps.bytes.len()).min(4 * weights),
            index_overhead: gaps.bytes.len() as f64 / (4 * kept).max(1) as f64,
        }
    }
}
