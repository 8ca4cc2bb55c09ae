//! How much accuracy each layer loses when it alone is pruned, without retraining.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015), section 4.1 and figure 6: the first
//! convolution loses most, linear layers least; the curves say which threshold each layer bears.

use serde::{Deserialize, Serialize};
use tersor_network::Network;
use tersor_network::float::Kernel;

use crate::Error;
use crate::evaluate::evaluate;
use crate::granularity::Granularity;
use crate::learn::Lessons;
use crate::plan::{self, Qualities, Target};
use crate::weights::{Weight, with_values};

/// The curves of all layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The network.
    pub network: String,
    /// What was removed together.
    pub granularity: Granularity,
    /// Wrong answers of the whole network, in percent.
    pub error: f64,
    /// Its mean loss.
    pub loss: f64,
    /// A curve for each layer.
    pub layers: Vec<Curve>,
}

/// What a layer loses at each density.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Its tensor of weights.
    pub tensor: String,
    /// Weights that it has.
    pub weights: usize,
    /// From dense to sparse.
    pub points: Vec<Point>,
}

/// The network with one layer pruned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The share of the layer's weights that stays.
    pub density: f64,
    /// The quality that gives it.
    pub quality: f64,
    /// Wrong answers, in percent.
    pub error: f64,
    /// Mean loss.
    pub loss: f64,
}

/// Shares of weights that stay at which layers are measured.
pub const DENSITIES: [f64; 9] = [0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.02];

/// Prunes each of `weights` (layers of `network`) alone to each of `densities`, and shows the test pictures.
/// `watch` hears of every layer that is done.
///
/// # Errors
/// As [`plan::plan`] and [`evaluate`].
pub fn scan(
    network: &Network,
    weights: &[Weight],
    lessons: &Lessons,
    granularity: Granularity,
    densities: &[f64],
    watch: &mut dyn FnMut(&Curve),
) -> Result<Sensitivity, Error> {
    let judge = |network: &Network| evaluate(network, Kernel::Dense, lessons.test(), lessons.normalisation());
    let whole = judge(network)?;
    let mut layers = Vec::new();
    for weight in weights {
        if granularity == Granularity::Kernel && !weight.is_convolution() {
            continue;
        }
        let mut curve = Curve { tensor: weight.name.clone(), weights: weight.values.len(), points: Vec::new() };
        for &density in densities {
            let one = std::slice::from_ref(weight);
            let target = Target::Sparsity(1.0 - density);
            let plan = plan::plan(&network.name, one, granularity, target, &Qualities::new())?;
            let judged = judge(&with_values(network, &plan.applied(one)?)?)?;
            let quality = plan.layers[0].quality;
            let density = plan.density();
            curve.points.push(Point { density, quality, error: judged.error(), loss: judged.loss });
        }
        watch(&curve);
        layers.push(curve);
    }
    let (error, loss) = (whole.error(), whole.loss);
    Ok(Sensitivity { network: network.name.clone(), granularity, error, loss, layers })
}
