//! Centroids from one step of a sampler to the next: a warm start that makes two iterations do for fifty.
//!
//! The cache is a value that its owner passes along, keyed by layer and branch: two samplers, or two layers, never share
//! one by accident. It can be saved and read again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tersor_data::{Array, Elements, npz};

use crate::Error;

/// An attention of a model: its layer, and the branch of classifier-free guidance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Site {
    /// Counted from 0.
    pub layer: usize,
    /// 0 where there is one alone.
    pub branch: usize,
}

impl From<usize> for Site {
    fn from(layer: usize) -> Self {
        Self { layer, branch: 0 }
    }
}

/// The centroids of an attention, head by head.
#[derive(Debug, Clone, PartialEq)]
pub struct Centroids {
    /// Of queries, for each head `[cq, width]`.
    pub q: Vec<Vec<f32>>,
    /// Of keys, for each head of keys `[ck, width]`.
    pub k: Vec<Vec<f32>>,
    /// Numbers of a centroid.
    pub width: usize,
}

/// The centroids of all attentions of a sampler.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CentroidCache {
    sites: BTreeMap<Site, Centroids>,
}

impl CentroidCache {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all: before another clip, or another size.
    pub fn reset(&mut self) {
        self.sites.clear();
    }

    /// The centroids of an attention, if it has been clustered.
    pub fn get(&self, site: Site) -> Option<&Centroids> {
        self.sites.get(&site)
    }

    /// Keeps centroids for the next step.
    pub fn put(&mut self, site: Site, centroids: Centroids) {
        self.sites.insert(site, centroids);
    }

    /// Attentions that have been clustered.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Writes an `.npz` of two arrays `[heads, clusters, width]` for each attention, such as `3_0_q` and `3_0_k` of layer 3.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut arrays = Vec::new();
        for (Site { layer, branch }, of) in &self.sites {
            for (side, heads) in [("q", &of.q), ("k", &of.k)] {
                let array = array(heads, of.width).ok_or_else(|| malformed(format!("layer {layer} is ragged")))?;
                arrays.push((format!("{layer}_{branch}_{side}"), array));
            }
        }
        let arrays: Vec<_> = arrays.iter().map(|(name, array)| (name, array)).collect();
        Ok(npz::write(path, &arrays)?)
    }

    /// Reads what [`CentroidCache::write`] wrote.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file, [`Error::Malformed`] naming the array that is no centroids.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::of(&npz::open(path)?)
    }

    /// The cache that an archive holds.
    ///
    /// # Errors
    /// As [`CentroidCache::read`].
    pub fn of(file: &npz::Npz) -> Result<Self, Error> {
        let mut sites = BTreeMap::new();
        for name in file.names().iter().filter(|name| name.ends_with("_q")) {
            let stem = name.trim_end_matches("_q");
            let site = stem
                .split_once('_')
                .and_then(|(layer, branch)| Some(Site { layer: layer.parse().ok()?, branch: branch.parse().ok()? }));
            let site = site.ok_or_else(|| malformed(format!("{name} is not LAYER_BRANCH_q")))?;
            let (q, width) = heads(file, name)?;
            let (k, k_width) = heads(file, &format!("{stem}_k"))?;
            if width != k_width {
                return Err(malformed(format!("{name} is {width} wide, {stem}_k {k_width}")));
            }
            sites.insert(site, Centroids { q, k, width });
        }
        Ok(Self { sites })
    }
}

fn array(heads: &[Vec<f32>], width: usize) -> Option<Array> {
    let clusters = heads.first()?.len() / width;
    Array::new([heads.len(), clusters, width], Elements::F32(heads.concat()))
}

fn heads(file: &npz::Npz, name: &str) -> Result<(Vec<Vec<f32>>, usize), Error> {
    let array = file.read(name)?;
    let ([_, clusters, width], Some(numbers)) = (array.shape(), array.elements().as_f32()) else {
        return Err(malformed(format!("{name} is no float32 [heads, clusters, width]")));
    };
    if numbers.is_empty() || numbers.iter().any(|number| !number.is_finite()) {
        return Err(malformed(format!("{name} is empty or holds a number that is not finite")));
    }
    Ok((numbers.chunks_exact(clusters * width).map(<[f32]>::to_vec).collect(), *width))
}

fn malformed(why: String) -> Error {
    Error::Malformed { field: "cache", why }
}
