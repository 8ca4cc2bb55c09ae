//! Which clusters of keys a cluster of queries reads: the fewest that carry the share `p` of its weight, by centroids.
//!
//! `S_ij = scale·q_i·k_j`, `P_ij = |K_j|·e^{S_ij} / Σ_j |K_j|·e^{S_ij}`: a cluster weighs as many keys as it has. Clusters are
//! taken by falling `P_ij`, each if those before it carry no more than `p`, so the first always is, and the one that crosses
//! `p` too; and the first `⌊ratio·C_k⌋` whatever they carry. Source: Sparse VideoGen2 (NeurIPS 2025), as it was run.

use rayon::prelude::*;

use crate::Error;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// The share of the weight that the clusters read shall carry, p in [0, 1]; 1 reads all clusters that are not empty.
    pub top_p: f64,
    /// The share of the clusters of keys that is read at least, in [0, 1].
    pub min_ratio: f64,
}

impl Budget {
    /// Whether both are shares.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the one that is not.
    pub fn check(&self) -> Result<(), Error> {
        for (field, value) in [("top_p", self.top_p), ("min_ratio", self.min_ratio)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::parameter(field, value, "a number from 0 to 1"));
            }
        }
        Ok(())
    }
}

/// The map `[clusters of queries, clusters of keys]` of what is read, from centroids of `width` numbers and how many keys
/// each cluster has.
///
/// # Errors
/// [`Error::Parameter`] as [`Budget::check`] and for a scale that is not finite, [`Error::Shape`] for centroids that are not
/// whole rows or not as many as sizes, [`Error::Malformed`] for centroids whose products are no numbers.
pub fn top_p(
    (q_centroids, k_centroids, width): (&[f32], &[f32], usize),
    k_sizes: &[usize],
    scale: f32,
    budget: Budget,
) -> Result<Vec<bool>, Error> {
    budget.check()?;
    if !scale.is_finite() {
        return Err(Error::parameter("scale", scale, "a finite number"));
    }
    if width == 0 || q_centroids.is_empty() || !q_centroids.len().is_multiple_of(width) {
        let expected = format!("rows of {width} numbers, at least one");
        return Err(Error::Shape { what: "q_centroids".into(), found: vec![q_centroids.len()], expected });
    }
    let across = k_sizes.len();
    if across == 0 || k_centroids.len() != across * width {
        let expected = format!("[{across}, {width}], as many rows as sizes, at least one");
        return Err(Error::Shape { what: "k_centroids".into(), found: vec![k_centroids.len()], expected });
    }
    let rows = q_centroids.par_chunks_exact(width).map(|q| row(q, k_centroids, k_sizes, scale, budget));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
}

fn row(q: &[f32], k_centroids: &[f32], k_sizes: &[usize], scale: f32, budget: Budget) -> Result<Vec<bool>, Error> {
    let weights = weights(q, k_centroids, k_sizes, scale)?;
    let mut falling: Vec<usize> = (0..weights.len()).collect();
    falling.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let least = (budget.min_ratio * weights.len() as f64) as usize;
    let (mut reads, mut before) = (vec![false; weights.len()], 0.0);
    for (rank, cluster) in falling.into_iter().enumerate() {
        let wanted = if budget.top_p >= 1.0 { k_sizes[cluster] > 0 } else { before <= budget.top_p };
        reads[cluster] = rank < least || wanted;
        before += weights[cluster];
    }
    Ok(reads)
}

/// P_i: softmax over clusters, each as heavy as it has keys.
fn weights(q: &[f32], k_centroids: &[f32], k_sizes: &[usize], scale: f32) -> Result<Vec<f64>, Error> {
    let score = |k: &[f32]| f64::from(scale) * q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
    let scores: Vec<f64> = k_centroids.chunks_exact(q.len()).map(score).collect();
    if scores.iter().any(|score| !score.is_finite()) {
        return Err(Error::Malformed { field: "centroids", why: "one of their products is no finite number".into() });
    }
    let of_some = scores.iter().zip(k_sizes).filter(|(_, size)| **size > 0);
    let most = of_some.map(|(&score, _)| score).fold(f64::NEG_INFINITY, f64::max);
    let weight = |(score, &size): (&f64, &usize)| if size > 0 { size as f64 * (score - most).exp() } else { 0.0 };
    let weights: Vec<f64> = scores.iter().zip(k_sizes).map(weight).collect();
    let sum = weights.iter().sum::<f64>().max(1e-12);
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}
