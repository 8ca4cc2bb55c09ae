//! Archives of any arrays, read as plans of clusters, as centroids and as caches: what is asked for, or an error that names
//! an array; never a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use tersor_data::{Array, Elements, npz};
use tersor_generate::semantic::CentroidFile;
use tersor_generate::{Budget, CentroidCache, ClusterFile, Error};

/// Elements of any type: small ones, and those at its ends.
fn elements(count: usize) -> BoxedStrategy<Elements> {
    let float = prop_oneof![-2.0..2.0f64, Just(f64::from(f32::MAX)), Just(f64::MIN), Just(f64::NAN)];
    let number = prop_oneof![6 => 0..4i64, 1 => Just(-1), 1 => Just(i64::MAX), 1 => Just(1 << 31)];
    prop_oneof![
        vec(any::<bool>(), count).prop_map(Elements::Bool),
        vec(float.clone(), count).prop_map(|x| Elements::F32(x.into_iter().map(|x| x as f32).collect())),
        vec(float, count).prop_map(Elements::F64),
        vec(0..4u8, count).prop_map(Elements::U8),
        vec(number.clone(), count).prop_map(|x| Elements::I32(x.into_iter().map(|x| x as i32).collect())),
        vec(number, count).prop_map(Elements::I64),
    ]
    .boxed()
}

fn of(shape: Vec<usize>, elements: Elements) -> Array {
    Array::new(shape, elements).expect("as many elements as the shape has")
}

/// Up to four sides of few elements.
fn any_array() -> impl Strategy<Value = Array> {
    let filled =
        |shape: Vec<usize>| elements(shape.iter().product()).prop_map(move |elements| of(shape.clone(), elements));
    vec(0usize..5, 0..=4).prop_flat_map(filled)
}

/// Two heads, 5 tokens, 3 groups of queries and 4 of keys, 2 numbers in a centroid: what is asked for.
fn sound() -> impl Strategy<Value = Vec<(&'static str, Array)>> {
    let labels = |count: i32| vec(0..count, 10).prop_map(|labels| of(vec![2, 5], Elements::I32(labels)));
    let map = vec(any::<bool>(), 24).prop_map(|map| of(vec![2, 3, 4], Elements::Bool(map)));
    let sizes = vec(0..9i64, 8).prop_map(|sizes| of(vec![2, 4], Elements::I64(sizes)));
    let centroids =
        |clusters: usize| vec(-9.0..9.0f32, 4 * clusters).prop_map(move |x| of(vec![2, clusters, 2], Elements::F32(x)));
    let arrays = (labels(3), labels(4), map, centroids(3), centroids(4), sizes, centroids(3), centroids(4));
    arrays.prop_map(|(q, k, map, cq, ck, sizes, q_kept, k_kept)| {
        let plan = [("q_labels", q), ("k_labels", k), ("map", map), ("q_centroids", cq), ("k_centroids", ck)];
        plan.into_iter().chain([("k_sizes", sizes), ("0_0_q", q_kept), ("0_0_k", k_kept)]).collect()
    })
}

/// A sound archive in which arrays are replaced by any others, or left out.
fn arrays() -> impl Strategy<Value = Vec<(&'static str, Array)>> {
    let other = proptest::option::weighted(0.9, any_array());
    (sound(), vec(proptest::option::weighted(0.15, other), 8)).prop_map(|(sound, others)| {
        let replaced = sound.into_iter().zip(others).map(|((name, array), other)| (name, other.unwrap_or(Some(array))));
        replaced.filter_map(|(name, array)| Some((name, array?))).collect()
    })
}

/// Writes the arrays and opens the archive.
fn archive(folder: &TempDir, arrays: &[(&str, Array)]) -> npz::Npz {
    let path = folder.path().join("any.npz");
    let arrays: Vec<_> = arrays.iter().map(|(name, array)| (name, array)).collect();
    npz::write(&path, &arrays).expect("an archive can be written");
    npz::open(&path).expect("what was written can be read")
}

/// An error says which array it is about, or which file lacks it.
fn named(error: &Error) {
    let told = error.to_string();
    let words = ["labels", "map", "centroids", "k_sizes", "cache", "any.npz"];
    assert!(words.iter().any(|word| told.contains(word)), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_arrays_are_a_plan_or_an_error(arrays in arrays()) {
        let folder = TempDir::new()?;
        match ClusterFile::of(&archive(&folder, &arrays)) {
            Err(error) => named(&error),
            Ok(plan) => {
                let path = folder.path().join("again.npz");
                plan.write(&path)?;
                prop_assert_eq!(ClusterFile::read(&path)?.mask, plan.mask);
            }
        }
    }

    #[test]
    fn any_arrays_are_centroids_or_an_error(arrays in arrays(), top_p in 0.0..=1.0, min_ratio in 0.0..=1.0) {
        let folder = TempDir::new()?;
        let maps = CentroidFile::of(&archive(&folder, &arrays))
            .and_then(|file| Ok((file.maps(None, Budget { top_p, min_ratio })?, file.shape)));
        match maps {
            Err(error) => named(&error),
            // Each cluster of queries reads the heaviest of the keys.
            Ok((map, [heads, cq, ck, _])) => {
                prop_assert_eq!(map.len(), heads * cq * ck);
                prop_assert!(map.chunks_exact(ck).all(|row| top_p == 1.0 || row.contains(&true)));
            }
        }
    }

    #[test]
    fn any_arrays_are_a_cache_or_an_error(arrays in arrays()) {
        let folder = TempDir::new()?;
        match CentroidCache::of(&archive(&folder, &arrays)) {
            Err(error) => named(&error),
            Ok(cache) => {
                let path = folder.path().join("again.npz");
                cache.write(&path)?;
                prop_assert_eq!(CentroidCache::read(&path)?, cache);
            }
        }
    }
}
