//! Queries and keys whose attention obeys the decay law, with any α and β, at the shape of any model.
//!
//! The weights of a video transformer cannot always be had; their law can. Wanted are features `φ` of a token with
//! `φ(i,k)·φ(j,l) = const − α·|i − j| − β·distance(k, l)`, so that the weights after softmax are the product of two
//! exponential kernels. Each term is a Fourier series with coefficients above 0, which features of cosines and sines add
//! up to:
//!
//! - a distance on a line is a triangle wave, `|x| = T/2 − 4T/π² Σ cos(mπx/T) / m²` over odd `m` for `|x| ≤ T`, and on
//!   whole numbers a finite sum, so few frames are exact;
//! - a distance in the plane is `π/2` times the mean distance along a random direction, so directions are drawn, spread
//!   evenly, with another turn in each head (random Fourier features of a kernel that is the same in all directions).
//!
//! Of more terms than the dimension has room for, the largest are kept: short distances are then told apart less well.

use std::f64::consts::PI;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{Error, Grid};

/// Attention to make up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// Decay for each frame of distance, α.
    pub alpha: f64,
    /// Decay for each token of distance in the plane of a frame, β.
    pub beta: f64,
}

/// The largest α and β.
const MOST_DECAY: f64 = 100.0;

/// The most elements, of queries or of keys.
const MOST_ELEMENTS: usize = 1 << 31;

/// One frequency: the cosine and sine of `down·row + across·column + forth·frame`, and their weight in the product.
struct Frequency {
    forth: f64,
    down: f64,
    across: f64,
    weight: f64,
}

impl Law {
    /// Queries, which are the keys too: `[heads, tokens, dim]`, for the scale `1 / √dim`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an α or β that is negative, above 100 or no number, no heads, or a `dim` that is odd or less
    /// than 4; [`Error::TooLarge`].
    pub fn sample(&self, grid: &Grid, heads: usize, dim: usize, seed: u64) -> Result<Vec<f32>, Error> {
        for (field, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            if !(0.0..=MOST_DECAY).contains(&value) {
                return Err(Error::parameter(field, value, "a number from 0 to 100"));
            }
        }
        if heads == 0 {
            return Err(Error::zero("heads"));
        }
        if dim < 4 || !dim.is_multiple_of(2) {
            return Err(Error::parameter("dim", dim, "even, and at least 4"));
        }
        let tokens = grid.tokens()?;
        let count = tokens.checked_mul(dim).and_then(|count| count.checked_mul(heads));
        let count = count.filter(|count| *count <= MOST_ELEMENTS).ok_or_else(|| Error::TooLarge {
            field: "heads * tokens * dim",
            value: format!("{heads} * {tokens} * {dim}"),
            most: MOST_ELEMENTS as u64,
            hint: "",
        })?;
        let mut features = vec![0.0; count];
        features.par_chunks_mut(tokens * dim).enumerate().for_each(|(head, features)| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(head as u64);
            let frequencies = self.frequencies(grid, dim / 2, random.random());
            for (token, features) in features.chunks_exact_mut(dim).enumerate() {
                write_features(features, grid, token, &frequencies);
            }
        });
        Ok(features)
    }

    /// At most `room` frequencies; `turn` in `0..1` turns the directions in the plane.
    fn frequencies(&self, grid: &Grid, room: usize, turn: f64) -> Vec<Frequency> {
        let line = |length: usize, rate: f64, room: usize, of: fn(f64) -> [f64; 3]| -> Vec<Frequency> {
            let waves = triangle(length).take(room);
            waves
                .map(|(frequency, weight)| {
                    let [forth, down, across] = of(frequency);
                    Frequency { forth, down, across, weight: rate * weight }
                })
                .collect()
        };
        let mut found = line(grid.frames, self.alpha, room / 2, |x| [x, 0.0, 0.0]);
        let room = room - found.len();
        match (grid.height, grid.width) {
            (1, width) => found.extend(line(width, self.beta, room, |x| [0.0, 0.0, x])),
            (height, 1) => found.extend(line(height, self.beta, room, |x| [0.0, x, 0.0])),
            (height, width) => {
                let harmonics = room.isqrt();
                let directions = room / harmonics;
                let reach = (height as f64 - 1.0).hypot(width as f64 - 1.0);
                for direction in 0..directions {
                    let (down, across) = ((direction as f64 + turn) * PI / directions as f64).sin_cos();
                    for harmonic in (1..).step_by(2).take(harmonics).map(f64::from) {
                        let frequency = harmonic * PI / reach;
                        let weight = self.beta * 2.0 * reach / (PI * directions as f64 * harmonic * harmonic);
                        let (down, across) = (frequency * down, frequency * across);
                        found.push(Frequency { forth: 0.0, down, across, weight });
                    }
                }
            }
        }
        found
    }
}

/// The frequencies and weights of which cosines add up to `length/2 − |x|`, for whole `|x| < length`, largest first.
fn triangle(length: usize) -> impl Iterator<Item = (f64, f64)> {
    let t = length as f64;
    (1..=length).step_by(2).filter(move |_| length > 1).map(move |m| {
        let twice = if m == length { 1.0 } else { 2.0 };
        let angle = PI * m as f64 / t;
        (angle, twice / (2.0 * t * (angle / 2.0).sin().powi(2)))
    })
}

fn write_features(features: &mut [f32], grid: &Grid, token: usize, frequencies: &[Frequency]) {
    let s = grid.height * grid.width;
    let [frame, row, column] = [token / s, token % s / grid.width, token % grid.width].map(|at| at as f64);
    let root = (features.len() as f64).sqrt();
    for (pair, frequency) in features.chunks_exact_mut(2).zip(frequencies) {
        let angle = frequency.forth * frame + frequency.down * row + frequency.across * column;
        let size = (root * frequency.weight).sqrt();
        pair[0] = (size * angle.cos()) as f32;
        pair[1] = (size * angle.sin()) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle_wave_is_the_distance() {
        for length in [2usize, 3, 8, 17, 30] {
            for x in 0..length {
                let sum: f64 = triangle(length).map(|(angle, weight)| weight * (angle * x as f64).cos()).sum();
                assert!((sum - (length as f64 / 2.0 - x as f64)).abs() < 1e-9, "{length}: {x}: {sum}");
            }
        }
        assert_eq!(triangle(1).count(), 0);
    }

    #[test]
    fn products_follow_the_law() {
        let grid = Grid { frames: 12, height: 9, width: 11 };
        let (law, dim) = (Law { alpha: 0.4, beta: 0.3 }, 128);
        let features = law.sample(&grid, 1, dim, 7).unwrap();
        let product = |a: usize, b: usize| {
            let of = |token: usize| &features[token * dim..][..dim];
            of(a).iter().zip(of(b)).map(|(a, b)| f64::from(a * b)).sum::<f64>() / (dim as f64).sqrt()
        };
        let (mut worst, s) = (0f64, 99);
        for a in (0..grid.tokens().unwrap()).step_by(7) {
            for b in (0..grid.tokens().unwrap()).step_by(5) {
                let time = (a / s).abs_diff(b / s) as f64;
                let space = ((a % s / 11).abs_diff(b % s / 11) as f64).hypot((a % 11).abs_diff(b % 11) as f64);
                let told = product(a, a) - product(a, b);
                worst = worst.max((told - law.alpha * time - law.beta * space).abs());
            }
        }
        // The kink of the distance at 0 is rounded by the frequencies that there is no room for.
        assert!(worst < 0.6 * law.beta, "{worst}");
        assert_eq!(features, law.sample(&grid, 1, dim, 7).unwrap());
        assert_ne!(features, law.sample(&grid, 1, dim, 8).unwrap());
    }

    #[test]
    fn what_cannot_be_made_up_is_named() {
        let grid = Grid { frames: 2, height: 3, width: 4 };
        let law = Law { alpha: 0.1, beta: 0.1 };
        let told = |law: Law, grid: Grid, heads, dim| law.sample(&grid, heads, dim, 0).unwrap_err().to_string();
        assert!(told(Law { alpha: f64::NAN, ..law }, grid, 1, 8).starts_with("alpha is NaN"));
        assert!(told(Law { beta: -1.0, ..law }, grid, 1, 8).starts_with("beta is -1"));
        assert!(told(law, grid, 0, 8).starts_with("heads is 0"));
        assert!(told(law, grid, 1, 7).starts_with("dim is 7"));
        assert!(told(law, Grid { width: 0, ..grid }, 1, 8).starts_with("width is 0"));
        assert!(told(law, Grid { frames: usize::MAX, ..grid }, 1, 8).contains("frames"));
        assert!(told(law, grid, usize::MAX, 8).starts_with("heads * tokens * dim is"));
    }
}
