//! Methods beside each other on a model's own attention: the mean over its layers, heads and several times of the flow.

use super::attention::Captured;
use super::clip::Clip;
use super::sample::noise;
use super::transformer::VideoTransformer;
use crate::compare;
use crate::quality::{Curve, Judge, Quality};
use crate::{Error, SemanticAttention};

/// The curves of [`compare::curves`], each point the mean over all layers of `model`, as it looks at `clip` noised to each σ.
/// The noise is drawn from the seed of `semantic`. `progress` is told how many layers are done, over all times.
///
/// # Errors
/// [`Error::Parameter`] without times or for one that is not in [0, 1], and as [`compare::curves`].
pub fn curves(
    model: &VideoTransformer,
    clip: &Clip,
    sigmas: &[f64],
    semantic: &SemanticAttention,
    densities: &[f64],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Curve>, Error> {
    if sigmas.is_empty() {
        return Err(Error::zero("sigmas"));
    }
    if let Some(sigma) = sigmas.iter().find(|sigma| !(0.0..=1.0).contains(*sigma)) {
        return Err(Error::parameter("sigmas", sigma, "numbers from 0 to 1"));
    }
    let config = model.config();
    let grid = config.grid(clip.shape()[0]);
    let noise = noise(semantic.seed, clip.values().len());
    let mut mean: Vec<Curve> = Vec::new();
    let mut done = 0;
    for &sigma in sigmas {
        let mut captured = Captured::new(config.heads);
        model.velocity(&clip.noised(&noise, sigma as f32), sigma, None, &mut captured)?;
        for layer in captured.layers() {
            let judge = Judge::new(layer.tensors()?)?;
            let curves = compare::curves(&judge, &grid, semantic, densities)?;
            if mean.is_empty() {
                let none = Quality { density: 0.0, recall: 0.0, error: 0.0 };
                mean = curves
                    .iter()
                    .map(|curve| Curve { points: vec![none; curve.points.len()], ..curve.clone() })
                    .collect();
            }
            let share = 1.0 / (sigmas.len() * config.layers) as f64;
            for (mean, curve) in mean.iter_mut().zip(&curves) {
                for (mean, point) in mean.points.iter_mut().zip(&curve.points) {
                    mean.density += share * point.density;
                    mean.recall += share * point.recall;
                    mean.error += share * point.error;
                }
            }
            done += 1;
            progress(done);
        }
    }
    Ok(mean)
}
