//! Sparse VideoGen, the method before clusters: a head looks at neighbours in its own frames, or at its own place in all.
//!
//! A *spatial* head reads a band around the diagonal in the order of frames, and the first frame, the sink. A *temporal* head
//! reads the same in another order: place by place, the frames of a place side by side. Which a head is, is tried on a few
//! queries: the kind whose output is nearer to that of dense attention.
//! Source: *Sparse VideoGen: Accelerating Video Diffusion Transformers with Spatial-Temporal Sparsity* (ICML 2025), as it was run,
//! by blocks; here it is what Sparse VideoGen2 is compared with.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::attend::{self, Plan, Tensors};
use crate::clusters::{ClusterMask, Groups, HeadMask, MOST_GROUPS};

/// What a head looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Tokens of its own and of near frames.
    Spatial,
    /// Its own and near places in all frames.
    Temporal,
}

/// A video's tokens, and how far heads look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Svg1 {
    /// Frames of tokens, f.
    pub frames: usize,
    /// Tokens in a frame, s.
    pub tokens_per_frame: usize,
    /// Blocks are read that are less than so many tokens apart, along either order.
    pub band: usize,
    /// Tokens in a block.
    pub block: usize,
    /// Queries on which a head's kind is tried, at most.
    pub rows: usize,
    /// For their draw.
    pub seed: u64,
}

/// Queries among which those are that a head is tried on: the first so many.
const TRIED_AMONG: usize = 10_000;

impl Svg1 {
    /// As it was run: a band of two frames, blocks of 128, 64 queries.
    pub fn new(frames: usize, tokens_per_frame: usize) -> Self {
        Self { frames, tokens_per_frame, band: 2 * tokens_per_frame, block: 128, rows: 64, seed: 1 }
    }

    /// All tokens, f·s.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming what is 0, [`Error::TooLarge`].
    pub fn tokens(&self) -> Result<usize, Error> {
        let Self { frames, tokens_per_frame, band, block, rows, .. } = *self;
        for (field, value) in [
            ("frames", frames),
            ("tokens_per_frame", tokens_per_frame),
            ("band", band),
            ("block", block),
            ("rows", rows),
        ] {
            if value == 0 {
                return Err(Error::zero(field));
            }
        }
        let most = u32::MAX as usize;
        frames.checked_mul(tokens_per_frame).filter(|tokens| *tokens <= most).ok_or_else(|| Error::TooLarge {
            field: "frames",
            value: format!("{frames} of {tokens_per_frame} tokens"),
            most: most as u64,
            hint: "",
        })
    }

    /// The mask of a head of a kind.
    ///
    /// # Errors
    /// As [`Svg1::tokens`]; [`Error::TooLarge`] above [`MOST_GROUPS`] or [`MOST_PAIRS`](crate::clusters::MOST_PAIRS) of them.
    pub fn head(&self, kind: Kind) -> Result<HeadMask, Error> {
        let (tokens, Self { frames, tokens_per_frame: s, band, block, .. }) = (self.tokens()?, *self);
        let place = |token: usize| match kind {
            Kind::Spatial => token,
            Kind::Temporal => token % s * frames + token / s,
        };
        let (blocks, near, sink) = (tokens.div_ceil(block), (band / block).max(1), s.div_ceil(block));
        if blocks > MOST_GROUPS {
            let (value, hint) = (blocks.to_string(), "; take larger ones");
            return Err(Error::TooLarge { field: "blocks", value, most: MOST_GROUPS as u64, hint });
        }
        let labels: Vec<u32> = (0..tokens).map(|token| (place(token) / block) as u32).collect();
        let groups = Groups::new("blocks", labels, blocks)?;
        HeadMask::of(groups.clone(), groups, |query, key| query.abs_diff(key) < near || key < sink)
    }

    /// The widest band whose masks read no more than the share `density` of all pairs, but no less than one block.
    ///
    /// # Errors
    /// As [`Svg1::head`].
    pub fn with_density(self, density: f64) -> Result<Self, Error> {
        let blocks = self.tokens()?.div_ceil(self.block);
        let of = |near: usize| Self { band: near * self.block, ..self };
        let (mut low, mut high) = (1, blocks + 1);
        while low + 1 < high {
            let middle = (low + high) / 2;
            if of(middle).head(Kind::Spatial)?.density() <= density { low = middle } else { high = middle }
        }
        Ok(of(low))
    }

    /// The mask of each head, of the kind that serves it better, and the kinds.
    ///
    /// # Errors
    /// As [`Svg1::head`]; [`Error::Unlike`] if there are not as many queries and keys as tokens, [`Error::Attention`] if a number
    /// is not finite.
    pub fn plan(&self, tensors: &Tensors<'_>) -> Result<(ClusterMask, Vec<Kind>), Error> {
        let (shape, tokens) = (*tensors.shape(), self.tokens()?);
        for (what, there) in [("queries", shape.queries), ("keys", shape.keys)] {
            if there != tokens {
                return Err(Error::Unlike { what, here: tokens, there });
            }
        }
        let masks = [self.head(Kind::Spatial)?, self.head(Kind::Temporal)?];
        let errors = self.errors(tensors, &masks)?;
        let kind = |[spatial, temporal]: &[f64; 2]| if temporal < spatial { Kind::Temporal } else { Kind::Spatial };
        let kinds: Vec<Kind> = errors.iter().map(kind).collect();
        let heads = kinds.iter().map(|kind| masks[usize::from(*kind == Kind::Temporal)].clone()).collect();
        Ok((ClusterMask::new(heads)?, kinds))
    }

    /// For each head, the squared difference of either mask's output to the dense one, on a few queries.
    fn errors(&self, tensors: &Tensors<'_>, masks: &[HeadMask; 2]) -> Result<Vec<[f64; 2]>, Error> {
        let shape = *tensors.shape();
        let among = shape.queries.min(TRIED_AMONG);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut rows = index::sample(&mut random, among, self.rows.min(among)).into_vec();
        rows.sort_unstable();
        let gathered = tensors.gather(&rows);
        let some = gathered.tensors(tensors);
        let dense = attend::run(&some, Plan::Dense)?.output;
        let mut errors = vec![[0.0; 2]; shape.heads];
        for (which, mask) in masks.iter().enumerate() {
            let labels = rows.iter().map(|&row| mask.queries().labels()[row]).collect();
            let queries = Groups::new("blocks", labels, mask.queries().count())?;
            let mask = ClusterMask::new(vec![HeadMask::new(queries, mask.keys().clone(), &mask.map())?])?;
            let output = attend::run(&some, Plan::Clusters(&mask))?.output;
            let per_head = rows.len() * shape.value_width;
            let of_heads = output.chunks_exact(per_head).zip(dense.chunks_exact(per_head));
            for (errors, (found, dense)) in errors.iter_mut().zip(of_heads) {
                errors[which] = found.iter().zip(dense).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            }
        }
        Ok(errors)
    }
}
