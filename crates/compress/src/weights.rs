//! The weights of a network that can be pruned, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use tersor_data::Elements;
use tersor_network::Network;
use tersor_network::operator::Operator;

use crate::Error;

/// The weights of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// The tensor's name.
    pub name: String,
    /// `[out, in, …]`.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Weight {
    /// Whether they are of a convolution, whose weights have more than two axes.
    pub fn is_convolution(&self) -> bool {
        self.shape.len() > 2
    }

    /// σ: the standard deviation (of the population) of the weights that are not 0, by which thresholds are measured. Weights
    /// that are gone say nothing about those that are left, so rounds go by what is left.
    pub fn deviation_of_kept(&self) -> f64 {
        deviation(self.values.iter().filter(|&&w| w != 0.0).map(|&w| f64::from(w)))
    }

    /// Weights that are not 0.
    pub fn kept(&self) -> usize {
        self.values.iter().filter(|&&w| w != 0.0).count()
    }
}

/// The standard deviation of a population; 0 of none.
pub(crate) fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|w| (w - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// The weights of convolutions and linear layers, in the order of the graph, each tensor once.
pub fn weights_of(network: &Network) -> Vec<Weight> {
    let graph = network.main();
    let mut seen = Vec::new();
    let mut weights = Vec::new();
    for node in &graph.nodes {
        if !matches!(node.operator, Operator::Conv2d { .. } | Operator::FullyConnected { .. }) {
            continue;
        }
        let Some(id) = node.inputs.get(1).copied().flatten().filter(|id| !seen.contains(id)) else { continue };
        seen.push(id);
        let tensor = &graph.tensors[id];
        if let Some(Elements::F32(values)) = tensor.constant.as_deref() {
            weights.push(Weight { name: tensor.name.clone(), shape: tensor.shape.clone(), values: values.clone() });
        }
    }
    weights
}

/// The network with other values for the tensors named.
///
/// # Errors
/// [`Error::Tensor`] naming one that is not a constant of the network, or has another number of elements.
pub fn with_values(network: &Network, values: &BTreeMap<String, Vec<f32>>) -> Result<Network, Error> {
    let mut network = network.clone();
    let name = network.name.clone();
    for (tensor, values) in values {
        let fault = |why: String| Error::Tensor { name: name.clone(), tensor: tensor.clone(), why };
        let place = network.graphs[0].tensors.iter_mut().find(|t| t.name == *tensor && t.constant.is_some());
        let place = place.ok_or_else(|| fault("the network has no constant of this name".into()))?;
        if place.len() != values.len() {
            return Err(fault(format!("{} values for the shape {:?}", values.len(), place.shape)));
        }
        place.constant = Some(Arc::new(Elements::F32(values.clone())));
    }
    Ok(network)
}

/// Those whose names `pattern` finds; all without one.
///
/// # Errors
/// [`Error::NoWeights`] if there are none.
pub fn selected(name: &str, weights: Vec<Weight>, pattern: Option<&Regex>) -> Result<Vec<Weight>, Error> {
    let present: Vec<String> = weights.iter().take(20).map(|weight| weight.name.clone()).collect();
    let chosen: Vec<_> =
        weights.into_iter().filter(|weight| pattern.is_none_or(|pattern| pattern.is_match(&weight.name))).collect();
    if chosen.is_empty() {
        let why = pattern.map_or("there is nothing to prune".into(), |pattern| format!("no weights match `{pattern}`"));
        return Err(Error::NoWeights { name: name.into(), why, present: present.join(", ") });
    }
    Ok(chosen)
}
