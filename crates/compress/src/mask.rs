//! Which weights of a tensor stay: one bit for each.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One bit for each weight of a tensor, in row-major order: whether it stays.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    bits: Vec<u64>,
    len: usize,
}

impl Mask {
    /// A mask of `len` weights, of which those stay for which `stays` says so.
    pub fn of(len: usize, stays: impl Fn(usize) -> bool) -> Self {
        let mut bits = vec![0; len.div_ceil(64)];
        for i in 0..len {
            bits[i / 64] |= u64::from(stays(i)) << (i % 64);
        }
        Self { bits, len }
    }

    /// All of `len` weights stay.
    pub fn full(len: usize) -> Self {
        Self::of(len, |_| true)
    }

    /// The weights that are not 0.
    pub fn of_nonzeros(weights: &[f32]) -> Self {
        Self::of(weights.len(), |i| weights[i] != 0.0)
    }

    /// How many weights it speaks of.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it speaks of none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether weight `i` stays.
    ///
    /// # Panics
    /// If there is no weight `i`.
    pub fn stays(&self, i: usize) -> bool {
        self.bits[i / 64] >> (i % 64) & 1 == 1
    }

    /// How many weights stay.
    pub fn kept(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The share of weights that stay; 1 if there are none at all.
    pub fn density(&self) -> f64 {
        if self.len == 0 { 1.0 } else { self.kept() as f64 / self.len as f64 }
    }

    /// What stays in both.
    ///
    /// # Panics
    /// If they speak of different numbers of weights.
    pub fn and(&self, other: &Self) -> Self {
        assert_eq!(self.len, other.len, "masks of different tensors");
        Self { bits: self.bits.iter().zip(&other.bits).map(|(a, b)| a & b).collect(), len: self.len }
    }

    /// Sets to 0 what does not stay.
    pub fn apply(&self, weights: &mut [f32]) {
        for (i, weight) in weights.iter_mut().enumerate().take(self.len) {
            if !self.stays(i) {
                *weight = 0.0;
            }
        }
    }

    /// 1 for a weight that stays, 0 for one that does not.
    pub fn as_numbers(&self) -> Vec<f32> {
        (0..self.len).map(|i| f32::from(u8::from(self.stays(i)))).collect()
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} of {})", self.kept(), self.len)
    }
}

/// In files: the number of weights, and the bits as bytes in base64, the first weight in the lowest bit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    weights: usize,
    bits: String,
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.bits.iter().flat_map(|word| word.to_le_bytes()).take(self.len.div_ceil(8)).collect();
        Written { weights: self.len, bits: BASE64_STANDARD.encode(bytes) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { weights, bits } = Written::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(bits).map_err(de::Error::custom)?;
        if bytes.len() != weights.div_ceil(8) {
            return Err(de::Error::custom(format!("{} bytes of bits for {weights} weights", bytes.len())));
        }
        Ok(Self::of(weights, |i| bytes[i / 8] >> (i % 8) & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back_from_its_file(bits in proptest::collection::vec(any::<bool>(), 0..300)) {
            let mask = Mask::of(bits.len(), |i| bits[i]);
            let text = serde_json::to_string(&mask).unwrap();
            prop_assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask.clone());
            prop_assert_eq!(mask.kept(), bits.iter().filter(|&&bit| bit).count());
        }

        #[test]
        fn what_does_not_stay_is_zero(weights in proptest::collection::vec(-1.0..1.0f32, 0..200), every in 1usize..5) {
            let mut masked = weights.clone();
            let mask = Mask::of(weights.len(), |i| i % every == 0);
            mask.apply(&mut masked);
            for i in 0..weights.len() {
                prop_assert_eq!(masked[i], if i % every == 0 { weights[i] } else { 0.0 });
            }
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        assert!(serde_json::from_str::<Mask>(r#"{"weights": 9, "bits": "AA=="}"#).is_err());
        assert!(serde_json::from_str::<Mask>(r#"{"weights": 18446744073709551615, "bits": "AA=="}"#).is_err());
        assert!(serde_json::from_str::<Mask>(r#"{"weights": 8, "bits": "?"}"#).is_err());
    }
}
