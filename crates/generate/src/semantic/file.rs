//! Centroids as a file gives them, for a map alone: `q_centroids`, `[heads, cq, width]`, `k_centroids`, `[heads, ck, width]`,
//! and `k_sizes`, `[heads, ck]`; or each without the axis of heads.

use std::path::Path;

use tersor_data::{Array, Elements, npz};

use super::map::{Budget, top_p};
use crate::Error;

/// Centroids of queries and keys, and the sizes of the clusters of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct CentroidFile {
    /// Heads, clusters of queries, clusters of keys, numbers of a centroid.
    pub shape: [usize; 4],
    q: Vec<f32>,
    k: Vec<f32>,
    k_sizes: Vec<usize>,
}

impl CentroidFile {
    /// Reads the arrays.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file; [`Error::Shape`], [`Error::Malformed`] naming the array.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::of(&npz::open(path)?)
    }

    /// What an archive holds.
    ///
    /// # Errors
    /// As [`CentroidFile::read`].
    pub fn of(file: &npz::Npz) -> Result<Self, Error> {
        let (q, [heads, cq, width]) = centroids(file, "q_centroids")?;
        let (k, [k_heads, ck, k_width]) = centroids(file, "k_centroids")?;
        if [k_heads, k_width] != [heads, width] {
            let expected = format!("[{heads}, clusters, {width}], as q_centroids have");
            return Err(Error::Shape { what: "k_centroids".into(), found: vec![k_heads, ck, k_width], expected });
        }
        let sizes = file.read("k_sizes")?;
        if sizes.len() != heads * ck || sizes.shape().last() != Some(&ck) {
            let expected = format!("[{heads}, {ck}], a size for each cluster of keys");
            return Err(Error::Shape { what: "k_sizes".into(), found: sizes.shape().to_vec(), expected });
        }
        let sizes = crate::clusters::whole("k_sizes", &sizes)?;
        Ok(Self { shape: [heads, cq, ck, width], q, k, k_sizes: sizes.into_iter().map(|size| size as usize).collect() })
    }

    /// The map of each head, `[heads, cq, ck]`.
    ///
    /// # Errors
    /// As [`top_p`].
    pub fn maps(&self, scale: Option<f32>, budget: Budget) -> Result<Vec<bool>, Error> {
        let [heads, cq, ck, width] = self.shape;
        let scale = scale.unwrap_or(1.0 / (width as f32).sqrt());
        let of_head = |head: usize| {
            let centroids =
                (&self.q[head * cq * width..][..cq * width], &self.k[head * ck * width..][..ck * width], width);
            top_p(centroids, &self.k_sizes[head * ck..][..ck], scale, budget)
        };
        Ok((0..heads).map(of_head).collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// How many keys each cluster has, `[heads, ck]`.
    pub fn k_sizes(&self) -> &[usize] {
        &self.k_sizes
    }
}

/// Centroids in f32, and their shape with the axis of heads.
fn centroids(file: &npz::Npz, name: &'static str) -> Result<(Vec<f32>, [usize; 3]), Error> {
    let array: Array = file.read(name)?;
    let shape = match *array.shape() {
        [clusters, width] => [1, clusters, width],
        [heads, clusters, width] => [heads, clusters, width],
        _ => [0; 3],
    };
    if shape.contains(&0) {
        let (found, expected) = (array.shape().to_vec(), "[heads, clusters, width], none of them 0".into());
        return Err(Error::Shape { what: name.into(), found, expected });
    }
    let found = array.element_type();
    let numbers: Vec<f32> = match array.into_elements() {
        Elements::F16(x) => x.into_iter().map(f32::from).collect(),
        Elements::F32(x) => x,
        Elements::F64(x) => x.into_iter().map(|x| x as f32).collect(),
        _ => return Err(Error::Malformed { field: name, why: format!("{found} elements; expected floats") }),
    };
    if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
        let why = format!("element {at} is {}; expected finite numbers", numbers[at]);
        return Err(Error::Malformed { field: name, why });
    }
    Ok((numbers, shape))
}
