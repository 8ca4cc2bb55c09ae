//! Methods beside each other: what each keeps of the weight and of the output, over what it reads.
//!
//! Not all reach all densities: a radial mask reads near frames whole, a window of frames is a number of frames. Each gives
//! the points that it has.

use crate::attend::Plan;
use crate::baseline::{frame_window, random_blocks};
use crate::means::WithMeans;
use crate::quality::{Curve, Judge, Quality};
use crate::semantic::{CentroidCache, SemanticAttention};
use crate::{Block, Error, Family, Grid, Radial, Svg1};

/// Tokens of a block, where a method has blocks: few, so that its densities are many.
const BLOCK: usize = 32;
/// Decays of radial masks, the least of which reads as little as there is.
const DECAYS: [f64; 5] = [1e-6, 0.25, 0.5, 0.75, 1.0];

/// The names of the curves, in their order. A point with means keeps the recall of what it reads without them, and no more
/// pairs than one without.
const NAMES: [&str; 8] = [
    "clusters",
    "positions",
    "clusters with means",
    "positions with means",
    "SVG1",
    "radial",
    "near frames",
    "random blocks",
];

/// The curves of attention by clusters and by position, each without and with means, by SVG1, by radial masks, by near frames
/// and by random blocks, at `densities` or those that there are, on a video without text.
///
/// # Errors
/// [`Error::Parameter`] for a density that is no share; [`Error::Unlike`] if the grid has other tokens; what the methods say.
pub fn curves(
    judge: &Judge<'_>,
    grid: &Grid,
    semantic: &SemanticAttention,
    densities: &[f64],
) -> Result<Vec<Curve>, Error> {
    let (frames, s, tokens) = (grid.frames, grid.tokens_per_frame()?, grid.tokens()?);
    let most = densities.iter().copied().fold(0.0, f64::max);
    let tensors = judge.tensors();
    let (clusters, _) = semantic.cluster(0, tensors, &mut CentroidCache::new())?;
    let positions = semantic.by_position(tensors)?;
    let mut curves: [(&str, Vec<Quality>); 8] = NAMES.map(|name| (name, Vec::new()));
    let [by_clusters, by_positions, cluster_means, position_means, svg1, radial, near, random] = &mut curves;
    for &density in densities {
        for (clustered, plain, with_means) in [
            (&clusters, &mut *by_clusters, &mut *cluster_means),
            (&positions, &mut *by_positions, &mut *position_means),
        ] {
            let mask = clustered.mask_of_density(density)?.1;
            plain.1.push(judge.quality(Plan::Clusters(&mask))?);
            // Each query reads so many means at most.
            let means = mask.head(0).keys().count() as f64 / tokens as f64;
            let mask = clustered.mask_of_density((density - means).max(0.0))?.1;
            let recall = judge.quality(Plan::Clusters(&mask))?.recall;
            with_means.1.push(Quality { recall, ..judge.quality(Plan::WithMeans(WithMeans::new(&mask)))? });
        }
        let banded = Svg1 { block: BLOCK, seed: semantic.seed, ..Svg1::new(frames, s) }.with_density(density)?;
        svg1.1.push(judge.quality(Plan::Clusters(&banded.plan(tensors)?.0))?);
        random.1.push(judge.quality(Plan::Blocks(&random_blocks(tokens, BLOCK, density, semantic.seed)?))?);
    }
    for decay in DECAYS {
        let block = Block::square(BLOCK);
        let mask = Radial { decay, block, family: Family::Hunyuan, ..Radial::new(frames, s) }.plan()?;
        radial.1.push(judge.quality(Plan::Blocks(&mask))?);
    }
    for reach in 0..frames {
        let mask = frame_window(frames, s, reach)?;
        if reach > 0 && mask.density() > most {
            break;
        }
        near.1.push(judge.quality(Plan::Clusters(&mask))?);
    }
    Ok(curves.into_iter().map(|(name, points)| Curve::new(name, points)).collect())
}
