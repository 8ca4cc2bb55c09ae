//! Plain plans that any method must beat at the same density: frames that are near, and blocks at random.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::Error;
use crate::clusters::{ClusterMask, Groups, HeadMask};
use crate::mask::BlockMask;

/// Whole frames, those at most `reach` away.
///
/// # Errors
/// [`Error::Parameter`] naming what is 0, [`Error::TooLarge`].
pub fn frame_window(frames: usize, tokens_per_frame: usize, reach: usize) -> Result<ClusterMask, Error> {
    for (field, value) in [("frames", frames), ("tokens_per_frame", tokens_per_frame)] {
        if value == 0 {
            return Err(Error::zero(field));
        }
    }
    let labels = (0..frames).flat_map(|frame| std::iter::repeat_n(frame as u32, tokens_per_frame)).collect();
    let groups = Groups::new("frames", labels, frames)?;
    ClusterMask::new(vec![HeadMask::of(groups.clone(), groups, |query, key| query.abs_diff(key) <= reach)?])
}

/// The diagonal, and further blocks of keys at random, as many in each row as make up the share `density` of the blocks.
///
/// # Errors
/// [`Error::Parameter`] for a density that is no share, or sizes of 0; [`Error::TooLarge`].
pub fn random_blocks(tokens: usize, block: usize, density: f64, seed: u64) -> Result<BlockMask, Error> {
    if !(0.0..=1.0).contains(&density) {
        return Err(Error::parameter("density", density, "a number from 0 to 1"));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    BlockMask::of_rows([block, block], [tokens, tokens], |number, row| {
        row.set(number..number + 1);
        let others = row.len() - 1;
        let more = ((density * row.len() as f64).round() as usize).saturating_sub(1).min(others);
        for other in index::sample(&mut random, others, more) {
            let column = other + usize::from(other >= number);
            row.set(column..column + 1);
        }
    })
}
