//! Where a token is, as angles: so many for its frame, its row and its column.

use tersor_train::op::Angles;

use super::transformer::Config;
use crate::Grid;

/// The angles of the tokens of `grid`: for each axis of `dims` numbers, position · θ^(-2j / dims), j below dims / 2.
pub(super) fn angles(config: &Config, grid: Grid) -> Angles {
    let Grid { frames, height, width } = grid;
    let tokens = frames * height * width;
    let frequencies = config.rope_dims.map(|dims| {
        let frequency = |j: usize| config.rope_theta.powf(-2.0 * j as f64 / dims as f64);
        (0..dims / 2).map(frequency).collect::<Vec<f64>>()
    });
    let mut angles = Vec::with_capacity(tokens * config.head_dim / 2);
    for token in 0..tokens {
        let places = [token / (height * width), token / width % height, token % width];
        for (place, frequencies) in places.into_iter().zip(&frequencies) {
            angles.extend(frequencies.iter().map(|frequency| place as f64 * frequency));
        }
    }
    Angles::new(tokens, &angles)
}
