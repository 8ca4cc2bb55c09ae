//! Pixels as numbers around zero: `(pixel / 255 − mean) / deviation`, per channel.

use serde::{Deserialize, Serialize};
use tersor_data::Examples;

/// Mean and standard deviation of each channel, for pixels from 0 (black) to 1.
///
/// Part of a trained network: who uses it must normalise as it was taught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Subtracted.
    pub mean: Vec<f32>,
    /// Divided by.
    pub deviation: Vec<f32>,
}

impl Normalisation {
    /// That of the examples at `indices`: the training set, without what validates. Sums are of integers, so the same
    /// examples give the same numbers in any order. A channel of one value is divided by 1; no examples give 0 and 1.
    ///
    /// # Panics
    /// If an index is not below the number of examples.
    pub fn of(examples: &Examples, indices: &[u32]) -> Self {
        let [channels, height, width] = examples.shape();
        let area = height * width;
        let mut sums = vec![(0u64, 0u64); channels];
        for &index in indices {
            for ((sum, squares), plane) in sums.iter_mut().zip(examples.picture(index as usize).chunks_exact(area)) {
                *sum += plane.iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
                *squares += plane.iter().map(|&pixel| u64::from(pixel) * u64::from(pixel)).sum::<u64>();
            }
        }
        let count = (area * indices.len()).max(1) as f64;
        let moments = sums.into_iter().map(|(sum, squares)| {
            let mean = sum as f64 / count;
            let variance = (squares as f64 / count - mean * mean).max(0.0);
            let constant = variance * count < 0.5; // less than one pixel off by one
            ((mean / 255.0) as f32, if constant { 1.0 } else { (variance.sqrt() / 255.0) as f32 })
        });
        let (mean, deviation) = moments.unzip();
        Self { mean, deviation }
    }

    /// Scale and shift with which `pixel * scale + shift` normalises the bytes of a channel.
    pub(crate) fn line(&self, channel: usize) -> (f32, f32) {
        let (mean, deviation) = (self.mean[channel], self.deviation[channel]);
        (1.0 / (255.0 * deviation), -mean / deviation)
    }

    /// Whether it is for pictures of `channels`, with finite means and positive deviations.
    pub fn fits(&self, channels: usize) -> bool {
        (self.mean.len(), self.deviation.len()) == (channels, channels)
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.deviation.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_pixels_have_mean_0_and_deviation_1() {
        let pixels: Vec<u8> = (0..5 * 2 * 12).map(|i| (i * i % 251) as u8).collect();
        let examples = Examples::new([2, 3, 4], pixels, vec![0; 5], vec!["a".into()]).unwrap();
        let normalisation = Normalisation::of(&examples, &[4, 0, 2]);
        for channel in 0..2 {
            let (scale, shift) = normalisation.line(channel);
            let values: Vec<f64> = [0, 2, 4]
                .iter()
                .flat_map(|&index| &examples.picture(index)[channel * 12..][..12])
                .map(|&pixel| f64::from(f32::from(pixel) * scale + shift))
                .collect();
            let mean = values.iter().sum::<f64>() / 36.0;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 36.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        }
        assert_eq!(normalisation, Normalisation::of(&examples, &[0, 2, 4]));
    }

    #[test]
    fn a_channel_of_one_value_is_not_divided_by_zero() {
        let examples = Examples::new([1, 1, 2], vec![51; 4], vec![0; 2], vec!["a".into()]).unwrap();
        let normalisation = Normalisation::of(&examples, &[0, 1]);
        assert_eq!(normalisation, Normalisation { mean: vec![0.2], deviation: vec![1.0] });
        assert!(normalisation.fits(1) && !normalisation.fits(3));
    }
}
