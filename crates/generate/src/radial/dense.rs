//! Where attention stays dense: the first steps, which lay out the video, and the first layers.

use serde::{Deserialize, Serialize};

use super::Family;
use crate::Error;

/// The calls of attention that read everything: those in the first steps of sampling, and those in the first layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DensePolicy {
    /// Layers from the input on that are always dense.
    pub layers: usize,
    /// Steps of sampling from the start on that are dense in every layer.
    pub timesteps: usize,
}

impl DensePolicy {
    /// Whether attention in `layer` at `step` is dense, both from 0.
    pub fn is_dense(&self, step: usize, layer: usize) -> bool {
        step < self.timesteps || layer < self.layers
    }

    /// The share of pairs that a whole run reads: `density` where attention is sparse, all where it is dense.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there are no steps or layers.
    pub fn run_density(&self, density: f64, steps: usize, layers: usize) -> Result<f64, Error> {
        for (field, value) in [("steps", steps), ("layers", layers)] {
            if value == 0 {
                return Err(Error::zero(field));
            }
        }
        let share = |part: usize, of: usize| part.min(of) as f64 / of as f64;
        let sparse = (1.0 - share(self.timesteps, steps)) * (1.0 - share(self.layers, layers));
        Ok(1.0 - sparse + sparse * density)
    }
}

/// How a model was run with a radial mask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Preset {
    /// What it is called on the command line.
    pub key: &'static str,
    /// The model and the clip.
    pub name: &'static str,
    /// The pictures of the clip, where they are fixed.
    pub pictures: Option<usize>,
    /// Steps of sampling, where they are fixed.
    pub steps: Option<usize>,
    /// Where attention stays dense.
    pub dense: DensePolicy,
    /// The mask's decay, where it is fixed.
    pub decay: Option<f64>,
    /// Whose rule it is, where that is fixed.
    pub family: Option<Family>,
}

impl Preset {
    /// The published defaults.
    pub const ALL: [Self; 6] = [
        Self {
            key: "wan2.1",
            name: "Wan2.1-14B",
            pictures: Some(69),
            steps: Some(50),
            dense: DensePolicy { layers: 1, timesteps: 12 },
            decay: Some(0.2),
            family: Some(Family::Wan),
        },
        Self {
            key: "hunyuan",
            name: "HunyuanVideo",
            pictures: Some(117),
            steps: None,
            dense: DensePolicy { layers: 0, timesteps: 12 },
            decay: Some(0.95),
            family: Some(Family::Hunyuan),
        },
        Self {
            key: "wan2.2",
            name: "Wan2.2",
            pictures: Some(77),
            steps: None,
            dense: DensePolicy { layers: 1, timesteps: 11 },
            decay: Some(0.8),
            family: Some(Family::Wan),
        },
        Self {
            key: "distilled-4",
            name: "distilled LoRA, 4 steps",
            pictures: None,
            steps: Some(4),
            dense: DensePolicy { layers: 1, timesteps: 1 },
            decay: Some(0.2),
            family: None,
        },
        Self {
            key: "distilled-8",
            name: "distilled LoRA, 8 steps",
            pictures: None,
            steps: Some(8),
            dense: DensePolicy { layers: 1, timesteps: 2 },
            decay: None,
            family: None,
        },
        Self {
            key: "extended",
            name: "LoRA for 2 to 4 times the trained length",
            pictures: None,
            steps: None,
            dense: DensePolicy { layers: 2, timesteps: 2 },
            decay: None,
            family: None,
        },
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_and_layers_are_dense() {
        let policy = Preset::ALL[0].dense;
        assert!(policy.is_dense(11, 39) && policy.is_dense(49, 0));
        assert!(!policy.is_dense(12, 1));
        assert!(!DensePolicy::default().is_dense(0, 0));
    }

    #[test]
    fn a_run_reads_what_its_calls_read() {
        let (steps, layers, density) = (50, 40, 0.2871);
        for preset in Preset::ALL {
            let calls = (0..steps).flat_map(|step| (0..layers).map(move |layer| (step, layer)));
            let read = calls.map(|(step, layer)| if preset.dense.is_dense(step, layer) { 1.0 } else { density });
            let mean = read.sum::<f64>() / (steps * layers) as f64;
            let told = preset.dense.run_density(density, steps, layers).unwrap();
            assert!((told - mean).abs() < 1e-12, "{}: {told} {mean}", preset.name);
        }
        assert!(DensePolicy::default().run_density(0.5, 0, 1).unwrap_err().to_string().contains("steps"));
    }
}
