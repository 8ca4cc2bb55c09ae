//! Examples kept apart: some to train on, some to validate with.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Purpose, draws};
use crate::Error;

/// Which examples train and which validate, both ascending; a plan that can be saved and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Examples to train on.
    pub train: Vec<u32>,
    /// Examples that no step of training sees.
    pub validation: Vec<u32>,
}

impl Split {
    /// Takes the share `fraction` of every class, to the nearest whole example, for validation; which ones, `seed` says.
    ///
    /// # Errors
    /// [`Error::Fraction`] if it does not lie in [0, 1).
    pub fn stratified(labels: &[u32], fraction: f64, seed: u64) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&fraction) {
            return Err(Error::Fraction { fraction });
        }
        let mut by_class: Vec<u32> = (0..labels.len() as u32).collect();
        by_class.sort_by_key(|&index| labels[index as usize]); // stable: ascending within a class
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for class in by_class.chunk_by_mut(|&a, &b| labels[a as usize] == labels[b as usize]) {
            let label = labels[class[0] as usize];
            class.shuffle(&mut draws(seed, Purpose::Split, 0, label.into()));
            let (held, kept) = class.split_at((class.len() as f64 * fraction).round() as usize);
            validation.extend_from_slice(held);
            train.extend_from_slice(kept);
        }
        train.sort_unstable();
        validation.sort_unstable();
        Ok(Self { train, validation })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_seed_is_another_split_and_the_same_one_the_same() {
        let labels: Vec<u32> = (0..200).map(|index| index % 3).collect();
        let split = |seed| Split::stratified(&labels, 0.25, seed).unwrap();
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
        assert!(Split::stratified(&labels, 1.0, 0).is_err() && Split::stratified(&labels, f64::NAN, 0).is_err());
    }

    proptest! {
        #[test]
        fn every_example_is_on_one_side_and_every_class_in_its_share(
            labels in prop::collection::vec(0u32..5, 0..200), fraction in 0.0..0.99, seed: u64,
        ) {
            let split = Split::stratified(&labels, fraction, seed).unwrap();
            let mut all = [&split.train[..], &split.validation].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
            prop_assert!(split.train.is_sorted() && split.validation.is_sorted());
            for class in 0..5 {
                let count = |indices: &[u32]| indices.iter().filter(|&&index| labels[index as usize] == class).count();
                let (held, of) = (count(&split.validation), count(&split.train) + count(&split.validation));
                prop_assert!((held as f64 - fraction * of as f64).abs() <= 0.5, "{held} of {of}");
            }
        }
    }
}
