//! A plan of groups as an `.npz`: `q_labels` and `k_labels`, `[heads, tokens]`, `map`, `[heads, groups of queries, groups of
//! keys]`, and where k-means made it, `q_centroids` and `k_centroids`, `[heads, clusters, width]`.
//!
//! A plan that is read needs the labels and the map alone, and is believed in nothing before it is checked.

use std::path::Path;

use tersor_data::{Array, Elements, npz};

use super::{ClusterMask, Groups, HeadMask, MOST_PAIRS};
use crate::Error;

/// What a file of a plan holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFile {
    /// The plan.
    pub mask: ClusterMask,
    /// Centroids of queries and of keys, `[heads, clusters, width]`, if there are any.
    pub centroids: Option<[Array; 2]>,
}

impl ClusterFile {
    /// Writes the plan.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file, [`Error::Unlike`] if heads have different numbers of groups.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let heads = self.mask.heads();
        let counts = |of: &HeadMask| [of.queries.count(), of.keys.count()];
        let first = counts(&heads[0]);
        for head in heads {
            for (what, (here, there)) in ["q_labels", "k_labels"].into_iter().zip(first.into_iter().zip(counts(head))) {
                if here != there {
                    return Err(Error::Unlike { what, here, there });
                }
            }
        }
        let labels = |of: fn(&HeadMask) -> &Groups| {
            let labels = heads.iter().flat_map(|head| of(head).labels()).map(|&label| label as i32);
            array(vec![heads.len(), of(&heads[0]).labels().len()], Elements::I32(labels.collect()))
        };
        let map = heads.iter().flat_map(HeadMask::map).collect();
        let mut arrays = vec![
            ("q_labels", labels(HeadMask::queries)),
            ("k_labels", labels(HeadMask::keys)),
            ("map", array(vec![heads.len(), first[0], first[1]], Elements::Bool(map))),
        ];
        if let Some([q, k]) = &self.centroids {
            arrays.extend([("q_centroids", q.clone()), ("k_centroids", k.clone())]);
        }
        let arrays: Vec<_> = arrays.iter().map(|(name, array)| (*name, array)).collect();
        Ok(npz::write(path, &arrays)?)
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file; [`Error::Shape`], [`Error::Malformed`], [`Error::TooLarge`] naming the array.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::of(&npz::open(path)?)
    }

    /// The plan that an archive holds.
    ///
    /// # Errors
    /// As [`ClusterFile::read`].
    pub fn of(file: &npz::Npz) -> Result<Self, Error> {
        let map = file.read("map")?;
        let (heads, down, across) = match *map.shape() {
            [down, across] => (1, down, across),
            [heads, down, across] => (heads, down, across),
            _ => return Err(shape("map", &map, "[heads, groups of queries, groups of keys]")),
        };
        let Some(reads) = map.elements().as_bool() else {
            return Err(Error::Malformed {
                field: "map",
                why: format!("{} elements; expected booleans", map.element_type()),
            });
        };
        if reads.is_empty() || reads.len() > MOST_PAIRS {
            return Err(shape("map", &map, "at least one of each, and no more than 2^28 pairs of groups"));
        }
        let queries = groups(file, "q_labels", heads, down)?;
        let keys = groups(file, "k_labels", heads, across)?;
        let of_heads = queries.into_iter().zip(keys).zip(reads.chunks_exact(down * across));
        let masks = of_heads.map(|((queries, keys), map)| HeadMask::new(queries, keys, map));
        let mask = ClusterMask::new(masks.collect::<Result<_, _>>()?)?;
        let centroids = match ["q_centroids", "k_centroids"].map(|name| file.contains(name)) {
            [true, true] => Some([file.read("q_centroids")?, file.read("k_centroids")?]),
            _ => None,
        };
        Ok(Self { mask, centroids })
    }
}

/// The groups of each head.
fn groups(file: &npz::Npz, name: &'static str, heads: usize, count: usize) -> Result<Vec<Groups>, Error> {
    let array = file.read(name)?;
    let tokens = match *array.shape() {
        [tokens] if heads == 1 => tokens,
        [of_heads, tokens] if of_heads == heads => tokens,
        _ => return Err(shape(name, &array, &format!("[{heads}, tokens], as many heads as the map has"))),
    };
    if tokens == 0 {
        return Err(shape(name, &array, "at least one token"));
    }
    let labels = whole(name, &array)?;
    labels.chunks_exact(tokens).map(|labels| Groups::new(name, labels.to_vec(), count)).collect()
}

/// Numbers of groups or of rows, of any type of whole numbers; `field` names the array in errors.
///
/// # Errors
/// [`Error::Malformed`] for other elements, and naming the first that is below 0 or beyond 32 bits.
pub fn whole(field: &'static str, array: &Array) -> Result<Vec<u32>, Error> {
    fn all<T: Copy + TryInto<u32> + std::fmt::Display>(field: &'static str, numbers: &[T]) -> Result<Vec<u32>, Error> {
        let number = |(at, &number): (usize, &T)| {
            let why = || format!("element {at} is {number}; expected a number from 0 on");
            number.try_into().map_err(|_| Error::Malformed { field, why: why() })
        };
        numbers.iter().enumerate().map(number).collect()
    }
    match array.elements() {
        Elements::I8(x) => all(field, x),
        Elements::U8(x) => all(field, x),
        Elements::I16(x) => all(field, x),
        Elements::U16(x) => all(field, x),
        Elements::I32(x) => all(field, x),
        Elements::U32(x) => all(field, x),
        Elements::I64(x) => all(field, x),
        Elements::U64(x) => all(field, x),
        _ => Err(Error::Malformed { field, why: format!("{} elements; expected whole numbers", array.element_type()) }),
    }
}

fn shape(what: &str, array: &Array, expected: &str) -> Error {
    Error::Shape { what: what.into(), found: array.shape().to_vec(), expected: expected.into() }
}

fn array(shape: Vec<usize>, elements: Elements) -> Array {
    Array::new(shape, elements).expect("as many elements as the shape has")
}
