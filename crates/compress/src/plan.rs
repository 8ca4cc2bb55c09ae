//! The plan of a pruning: for each layer a threshold and the mask that follows from it.
//!
//! A weight, or a part of weights, goes if it is weaker than q·σ: the quality q times the standard deviation of its
//! layer's weights. One quality for all layers already gives each a threshold of its own; a layer that is more sensitive
//! gets a smaller one (`sensitivity.rs`, `search.rs`).
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015), section 3.5. The plan is a value: saved,
//! printed, compared, drawn, before and without any training.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::channel::Removal;
use crate::granularity::{self, Granularity};
use crate::mask::Mask;
use crate::weights::Weight;

/// Which weights of a network stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The network that it is for.
    pub network: String,
    /// The layers that it prunes, in the order of the network.
    pub layers: Vec<LayerPlan>,
    /// The channels that go, where whole channels are pruned: what the masks of layers follow from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Removal>,
}

/// Which weights of a layer stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPlan {
    /// The name of the tensor of weights.
    pub tensor: String,
    /// Its shape, `[out, in, …]`.
    pub shape: Vec<usize>,
    /// What is removed together.
    pub granularity: Granularity,
    /// q: the threshold in standard deviations.
    pub quality: f64,
    /// q·σ: parts below it go. 0 where none is compared (two of four).
    pub threshold: f64,
    /// What stays.
    pub mask: Mask,
}

/// How much is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// What is weaker than so many standard deviations of its layer.
    Quality(f64),
    /// This share of the weights, in [0, 1).
    Sparsity(f64),
    /// So many weights for each that stays, at least 1.
    Ratio(f64),
}

impl Target {
    /// The share of weights to remove; `None` for a quality, whose share follows from the weights.
    ///
    /// # Errors
    /// [`Error::Setting`] if the number is out of range.
    pub fn sparsity(self) -> Result<Option<f64>, Error> {
        let setting = |what, value, range, fits: bool| fits.then_some(()).ok_or(Error::Setting { what, value, range });
        match self {
            Self::Quality(q) => {
                setting("the quality", q, "a finite number from 0", q.is_finite() && q >= 0.0)?;
                Ok(None)
            }
            Self::Sparsity(s) => {
                setting("the sparsity", s, "from 0 to less than 1", (0.0..1.0).contains(&s))?;
                Ok(Some(s))
            }
            Self::Ratio(r) => {
                setting("the ratio", r, "a finite number from 1", r.is_finite() && r >= 1.0)?;
                Ok(Some(1.0 - 1.0 / r))
            }
        }
    }
}

/// The qualities of layers relative to each other, by the tensor's name; a layer without one has 1.
pub type Qualities = BTreeMap<String, f64>;

/// The plan that removes `target` from `weights`, all of one network, at `granularity` (not [`Granularity::Channel`],
/// which needs the graph).
///
/// A share is met by one quality for all layers, times `qualities`; parts at the threshold stay, so that not more than
/// the share goes except where fewer parts would miss it, and every layer keeps its strongest part.
///
/// # Errors
/// [`Error::Setting`], [`Error::NotFinite`], [`Error::NoWeights`] if kernels are asked for and no layer has them.
pub fn plan(
    name: &str,
    weights: &[Weight],
    granularity: Granularity,
    target: Target,
    qualities: &Qualities,
) -> Result<Plan, Error> {
    let sparsity = target.sparsity()?;
    let has_parts = |weight: &&Weight| granularity != Granularity::Kernel || weight.is_convolution();
    let weights: Vec<&Weight> = weights.iter().filter(has_parts).collect();
    if weights.is_empty() {
        let why = "no layer is a convolution, and only convolutions have kernels".into();
        return Err(Error::NoWeights { name: name.into(), why, present: "linear".into() });
    }
    for weight in &weights {
        if let Some((at, &value)) = weight.values.iter().enumerate().find(|(_, w)| !w.is_finite()) {
            return Err(Error::NotFinite { name: name.into(), tensor: weight.name.clone(), at, value });
        }
    }
    let unit = |weight: &Weight| weight.deviation_of_kept() * qualities.get(&weight.name).copied().unwrap_or(1.0);
    let quality = match (target, sparsity) {
        (Target::Quality(quality), _) => quality,
        (_, Some(sparsity)) => quality_for(&weights, granularity, sparsity, &unit),
        (_, None) => 0.0,
    };
    let layers = weights.iter().map(|weight| {
        let mut threshold = quality * unit(weight);
        if granularity == Granularity::TwoOfFour {
            threshold = 0.0;
        }
        let deviation = weight.deviation_of_kept();
        LayerPlan {
            tensor: weight.name.clone(),
            shape: weight.shape.clone(),
            granularity,
            quality: if deviation > 0.0 { threshold / deviation } else { 0.0 },
            threshold,
            mask: granularity::cut(granularity, &weight.shape, &weight.values, threshold),
        }
    });
    Ok(Plan { network: name.into(), layers: layers.collect(), channels: None })
}

/// The quality at which `sparsity` of all weights goes.
fn quality_for(weights: &[&Weight], granularity: Granularity, sparsity: f64, unit: &dyn Fn(&Weight) -> f64) -> f64 {
    let mut parts: Vec<(f64, usize)> = Vec::new();
    for weight in weights {
        let unit = unit(weight).max(f64::MIN_POSITIVE);
        let strengths = granularity::strengths(granularity, &weight.shape, &weight.values);
        let (of, count) = granularity::parts(granularity, &weight.shape);
        let mut members = vec![0; count];
        (0..weight.values.len()).for_each(|i| members[of(i)] += 1);
        parts.extend(strengths.into_iter().map(|strength| strength / unit).zip(members));
    }
    parts.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let all: usize = weights.iter().map(|weight| weight.values.len()).sum();
    // Rounding must not keep a weight more than was asked for.
    let wanted = (sparsity * all as f64 - 1e-6).ceil() as usize;
    let mut gone = 0;
    let beyond = parts.last().map_or(0.0, |&(strongest, _)| 2.0 * strongest);
    for (strength, members) in parts {
        if gone >= wanted {
            return strength;
        }
        gone += members;
    }
    beyond
}

impl Plan {
    /// The masks by tensor.
    pub fn masks(&self) -> HashMap<String, Mask> {
        self.layers.iter().map(|layer| (layer.tensor.clone(), layer.mask.clone())).collect()
    }

    /// Weights that stay, and weights in all.
    pub fn counts(&self) -> (usize, usize) {
        let kept = self.layers.iter().map(|layer| layer.mask.kept()).sum();
        (kept, self.layers.iter().map(|layer| layer.mask.len()).sum())
    }

    /// The share of weights that stay.
    pub fn density(&self) -> f64 {
        let (kept, all) = self.counts();
        kept as f64 / all.max(1) as f64
    }

    /// The weights of `weights` with those set to 0 that the plan removes, by name.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming a tensor of the plan that is not there or has another shape.
    pub fn applied(&self, weights: &[Weight]) -> Result<BTreeMap<String, Vec<f32>>, Error> {
        let layer = |layer: &LayerPlan| {
            let fault = |why: String| Error::Tensor { name: self.network.clone(), tensor: layer.tensor.clone(), why };
            let weight = weights.iter().find(|weight| weight.name == layer.tensor);
            let weight = weight.ok_or_else(|| fault("the network has no such weights".into()))?;
            if weight.shape != layer.shape || weight.values.len() != layer.mask.len() {
                return Err(fault(format!("has the shape {:?}, not the plan's {:?}", weight.shape, layer.shape)));
            }
            let mut values = weight.values.clone();
            layer.mask.apply(&mut values);
            Ok((layer.tensor.clone(), values))
        };
        self.layers.iter().map(layer).collect()
    }

    /// What two plans have in common and what each has alone, layer by layer.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming a layer that the other does not have, or has in another shape.
    pub fn compared(&self, other: &Self) -> Result<Vec<Difference>, Error> {
        let layer = |layer: &LayerPlan| {
            let theirs = other.layers.iter().find(|theirs| theirs.tensor == layer.tensor);
            let theirs = theirs.filter(|theirs| theirs.shape == layer.shape && theirs.mask.len() == layer.mask.len());
            let theirs = theirs.ok_or_else(|| Error::Tensor {
                name: other.network.clone(),
                tensor: layer.tensor.clone(),
                why: format!("the other plan has no such layer of shape {:?}", layer.shape),
            })?;
            let both = layer.mask.and(&theirs.mask).kept();
            Ok(Difference {
                tensor: layer.tensor.clone(),
                both,
                first: layer.mask.kept() - both,
                second: theirs.mask.kept() - both,
            })
        };
        self.layers.iter().map(layer).collect()
    }
}

/// How the masks of a layer in two plans differ, in weights that stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The tensor of weights.
    pub tensor: String,
    /// In both.
    pub both: usize,
    /// In the first alone.
    pub first: usize,
    /// In the second alone.
    pub second: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layers() -> impl Strategy<Value = Vec<Weight>> {
        let layer = (1..24usize, 1..24usize, 0.01..3.0f32).prop_flat_map(|(out, inputs, scale)| {
            let values = proptest::collection::vec((-1.0..1.0f32).prop_map(move |w| w * scale), out * inputs);
            values.prop_map(move |values| Weight { name: String::new(), shape: vec![out, inputs], values })
        });
        proptest::collection::vec(layer, 1..5).prop_map(|mut layers| {
            layers.iter_mut().enumerate().for_each(|(i, layer)| layer.name = format!("fc{i}.weight"));
            layers
        })
    }

    proptest! {
        #[test]
        fn a_share_is_met(weights in layers(), sparsity in 0.0..0.99f64) {
            let plan = plan("net", &weights, Granularity::Element, Target::Sparsity(sparsity), &Qualities::new()).unwrap();
            let (kept, all) = plan.counts();
            prop_assert!(kept > 0);
            // One weight more or less, and one for each layer that would have lost its last.
            let wanted = (1.0 - sparsity) * all as f64;
            prop_assert!((kept as f64 - wanted).abs() <= 1.0 + weights.len() as f64, "{kept} of {all} for {sparsity}");
        }

        #[test]
        fn thresholds_are_qualities_times_deviations(weights in layers(), quality in 0.0..2.0f64) {
            let plan = plan("net", &weights, Granularity::Element, Target::Quality(quality), &Qualities::new()).unwrap();
            for (layer, weight) in plan.layers.iter().zip(&weights) {
                let values = || weight.values.iter().map(|&w| f64::from(w)).filter(|&w| w != 0.0);
                let count = values().count().max(1) as f64;
                let mean = values().sum::<f64>() / count;
                let threshold = quality * (values().map(|w| (w - mean).powi(2)).sum::<f64>() / count).sqrt();
                prop_assert!((layer.threshold - threshold).abs() <= 1e-12 * threshold.abs());
                let strongest = weight.values.iter().fold(0.0f32, |most, w| most.max(w.abs()));
                for (i, w) in weight.values.iter().enumerate() {
                    let stays = f64::from(w.abs()) >= layer.threshold.min(f64::from(strongest));
                    prop_assert_eq!(layer.mask.stays(i), stays);
                }
            }
            let text = serde_json::to_string(&plan).unwrap();
            prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }

    #[test]
    fn nothing_goes_at_quality_zero() {
        let weights = [Weight { name: "w".into(), shape: vec![2, 2], values: vec![0.5, -0.1, 0.2, 0.9] }];
        let plan = plan("net", &weights, Granularity::Element, Target::Quality(0.0), &Qualities::new()).unwrap();
        assert_eq!(plan.counts(), (4, 4));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let weights = [Weight { name: "w".into(), shape: vec![1, 2], values: vec![0.5, f32::NAN] }];
        for target in [Target::Quality(-1.0), Target::Sparsity(1.0), Target::Ratio(0.5), Target::Ratio(f64::NAN)] {
            assert!(matches!(
                plan("net", &weights, Granularity::Element, target, &Qualities::new()),
                Err(Error::Setting { .. })
            ));
        }
        assert!(matches!(
            plan("net", &weights, Granularity::Element, Target::Quality(1.0), &Qualities::new()),
            Err(Error::NotFinite { at: 1, .. })
        ));
        let linear = [Weight { name: "w".into(), shape: vec![1, 2], values: vec![0.5, 1.0] }];
        assert!(plan("net", &linear, Granularity::Kernel, Target::Quality(1.0), &Qualities::new()).is_err());
    }
}
