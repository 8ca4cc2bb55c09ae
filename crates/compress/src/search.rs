//! The qualities of layers for a target: each layer gives up weights where they cost least.
//!
//! With the curves of `sensitivity.rs`, losses of layers are taken to add up. Then the densities with the least loss for a
//! number of weights solve, for one price λ of a weight, `min_d loss_l(d) + λ · weights_l(d)` for each layer by itself;
//! the price is found by bisection (Everett, Operations Research 1963, generalised Lagrange multipliers).

use crate::Error;
use crate::plan::{Qualities, Target};
use crate::sensitivity::{Curve, Sensitivity};

/// The density that each layer is given at `price` a weight: its quality and how many weights it then has.
fn given(curve: &Curve, loss: f64, price: f64) -> (f64, f64) {
    let cost = |added: f64, density: f64| added.max(0.0) + price * density * curve.weights as f64;
    let whole = (cost(0.0, 1.0), 0.0, 1.0);
    let points = curve.points.iter().map(|p| (cost(p.loss - loss, p.density), p.quality, p.density));
    let best = points.fold(whole, |best, point| if point.0 < best.0 { point } else { best });
    (best.1, best.2 * curve.weights as f64)
}

/// The qualities of layers, relative to each other, with which `target` loses least by the curves.
///
/// They are for [`plan`](crate::plan::plan), which meets the target exactly with one factor for all of them. A target of
/// a quality leaves all layers alike.
///
/// # Errors
/// [`Error::Setting`] for a target out of range.
pub fn qualities(sensitivity: &Sensitivity, target: Target) -> Result<Qualities, Error> {
    let Some(sparsity) = target.sparsity()? else { return Ok(Qualities::new()) };
    let all: f64 = sensitivity.layers.iter().map(|curve| curve.weights as f64).sum();
    let wanted = (1.0 - sparsity) * all;
    let weights =
        |price: f64| -> f64 { sensitivity.layers.iter().map(|curve| given(curve, sensitivity.loss, price).1).sum() };
    let (mut low, mut high) = (0.0, 1.0);
    // Dearer and dearer, until few enough weights are bought; curves end at their sparsest point.
    for _ in 0..64 {
        if weights(high) <= wanted {
            break;
        }
        high *= 4.0;
    }
    for _ in 0..100 {
        let price = 0.5 * (low + high);
        if weights(price) > wanted { low = price } else { high = price }
    }
    let qualities = sensitivity.layers.iter().map(|curve| {
        let (quality, _) = given(curve, sensitivity.loss, high);
        // A layer that keeps everything still takes part in the last correction, gently.
        (curve.tensor.clone(), quality.max(0.05))
    });
    Ok(qualities.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::granularity::Granularity;
    use crate::sensitivity::Point;

    #[test]
    fn the_layer_that_suffers_keeps_more() {
        let curve = |name: &str, harm: f64| Curve {
            tensor: name.into(),
            weights: 1000,
            points: [0.5, 0.2, 0.1, 0.05]
                .map(|density: f64| Point {
                    density,
                    quality: 1.0 / density,
                    error: 0.0,
                    loss: 0.1 + harm * (1.0 - density).powi(2),
                })
                .to_vec(),
        };
        let layers = vec![curve("sturdy", 0.01), curve("tender", 1.0)];
        let sensitivity =
            Sensitivity { network: "net".into(), granularity: Granularity::Element, error: 1.0, loss: 0.1, layers };
        let qualities = qualities(&sensitivity, Target::Sparsity(0.4)).unwrap();
        assert!(qualities["sturdy"] > qualities["tender"], "{qualities:?}");
    }
}
