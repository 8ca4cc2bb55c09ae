//! Relative indices: the distance from one weight that is kept to the next, in a few bits.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015, section 5) and Deep compression (ICLR 2016,
//! section 2): distances take 5 bits in linear layers and 8 in convolutions, and where one is too long, a weight of 0
//! fills the gap. On disk a filler need not be a weight: the largest code here means "as many zeros, and no weight", so
//! it costs its few bits alone. The width that gives the smallest file is chosen for each tensor.

/// Widths that a code may have, in bits.
pub const WIDTHS: std::ops::RangeInclusive<u32> = 1..=16;

/// Distances of one tensor, as they lie in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gaps {
    /// Bits of a code.
    pub width: u32,
    /// Codes one after another, each with its lowest bit first; the last byte is filled up with zeros.
    pub bytes: Vec<u8>,
}

/// The zeros before each weight that is kept.
fn zeros_before(weights: &[f32]) -> impl Iterator<Item = usize> {
    let mut start = 0;
    weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0).map(move |(at, _)| {
        let zeros = at - start;
        start = at + 1;
        zeros
    })
}

impl Gaps {
    /// The distances between the weights that are not 0, in codes of the best width.
    pub fn of(weights: &[f32]) -> Self {
        // ⌊zeros / skip⌋ codes that skip, and one for the rest.
        let codes = |width: u32| zeros_before(weights).map(|zeros| zeros / skip(width) + 1).sum::<usize>();
        let width = WIDTHS.min_by_key(|&width| codes(width) * width as usize).unwrap_or(8);
        let mut bytes = Bits::default();
        for zeros in zeros_before(weights) {
            (0..zeros / skip(width)).for_each(|_| bytes.put(skip(width), width));
            bytes.put(zeros % skip(width), width);
        }
        Self { width, bytes: bytes.bytes }
    }

    /// A tensor of `len` weights with `values` in their places; the error says why they have none.
    pub fn place(&self, values: &[f32], len: usize) -> Result<Vec<f32>, String> {
        if !WIDTHS.contains(&self.width) {
            return Err(format!("codes of {} bits are not 1 to 16 bits wide", self.width));
        }
        let short = || format!("{} bytes of distances end before the {} weights do", self.bytes.len(), values.len());
        let mut weights = vec![0.0; len];
        let (mut bit, mut at) = (0, 0);
        for &value in values {
            loop {
                let code = self.code(bit).ok_or_else(short)?;
                bit += self.width as usize;
                at += code;
                if code < skip(self.width) {
                    break;
                }
            }
            let place: Option<&mut f32> = weights.get_mut(at);
            *place.ok_or_else(|| format!("the distances lead to weight {at} of {len}"))? = value;
            at += 1;
        }
        if bit.div_ceil(8) < self.bytes.len() {
            return Err(format!("{} bytes of distances for {} weights are too many", self.bytes.len(), values.len()));
        }
        Ok(weights)
    }

    fn code(&self, bit: usize) -> Option<usize> {
        let end = bit + self.width as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        Some((bit..end).enumerate().map(|(i, bit)| usize::from(self.bytes[bit / 8] >> (bit % 8) & 1) << i).sum())
    }
}

/// The code that skips, and how many zeros it skips.
fn skip(width: u32) -> usize {
    (1 << width) - 1
}

/// Bits on their way into bytes.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, code: usize, width: u32) {
        for i in 0..width {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((code >> i & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }
}

/// What the paper counts for a tensor with relative indices of `width` bits: a stored weight takes 32 bits and its
/// index; a gap that the index cannot hold is filled with weights of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Weights that are not 0.
    pub weights: usize,
    /// Weights of 0 that fill gaps.
    pub fillers: usize,
    /// Bits of all.
    pub bits: usize,
}

/// Counts as the paper does.
pub fn counted(weights: &[f32], width: u32) -> Counted {
    let longest = 1 << width;
    let (mut kept, mut fillers) = (0, 0);
    for zeros in zeros_before(weights) {
        kept += 1;
        fillers += zeros / longest;
    }
    Counted { weights: kept, fillers, bits: (kept + fillers) * (32 + width as usize) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sparse() -> impl Strategy<Value = Vec<f32>> {
        let weight = |share: u32| (0..1000u32, -1.0..1.0f32).prop_map(move |(u, w)| if u < share { w } else { 0.0 });
        prop_oneof![Just(0u32), Just(3), Just(80), Just(500), Just(1000)]
            .prop_flat_map(move |share| proptest::collection::vec(weight(share), 0..3000))
    }

    proptest! {
        #[test]
        fn weights_come_back(weights in sparse()) {
            let values: Vec<f32> = weights.iter().copied().filter(|&w| w != 0.0).collect();
            let gaps = Gaps::of(&weights);
            prop_assert_eq!(gaps.place(&values, weights.len()).unwrap(), weights);
        }

        #[test]
        fn damage_is_an_error_or_another_tensor(width in any::<u32>(), bytes in proptest::collection::vec(any::<u8>(), 0..40),
                                                values in proptest::collection::vec(-1.0..1.0f32, 0..40), len in 0..200usize) {
            if let Ok(weights) = (Gaps { width, bytes }).place(&values, len) {
                prop_assert_eq!(weights.len(), len);
            }
        }
    }

    /// Check 6 of the sheet: at a density of a tenth, indices take at most a fifth of what the weights take.
    #[test]
    fn indices_are_a_sixth_of_the_weights_at_a_tenth() {
        let mut state = 1u64;
        let weights: Vec<f32> = (0..1_000_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f32::from(u8::from(state >> 33 & 1023 < 102))
            })
            .collect();
        let kept = weights.iter().filter(|&&w| w != 0.0).count();
        let gaps = Gaps::of(&weights);
        assert!((gaps.bytes.len() as f64) < 0.17 * (4 * kept) as f64, "{} bytes for {kept} weights", gaps.bytes.len());
        // The paper's own: 5/32, and fillers.
        let counted = counted(&weights, 5);
        assert!((counted.fillers as f64) < 0.05 * kept as f64);
    }
}
