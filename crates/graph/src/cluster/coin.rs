//! Which edges are kept: a coin for each edge, known from its name, and levels, which say how rare an edge becomes.
//!
//! At level j an edge is kept with probability 2^-j, as if its coin were thrown j times and fell well each time. The
//! coin depends on the edge and the public seed alone. So a lower level only adds edges and a higher one only removes
//! them, nothing is ever drawn again, and every transport and thread draws the same.

/// The rarest level: 2^-31, so that a level is five bits of a message.
pub const RAREST: u8 = 31;

/// What names an edge: its ends, who holds it, and which of parallel edges it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The lower end.
    pub u: u32,
    /// The higher end.
    pub v: u32,
    /// How many parallel edges of that site were there before it.
    pub copy: u32,
}

/// The highest level at which the edge is kept: j or more with probability 2^-j.
pub fn coin(seed: u64, site: usize, name: Name) -> u8 {
    let words = [u64::from(name.u) << 32 | u64::from(name.v), (site as u64) << 32 | u64::from(name.copy)];
    let hash = words.into_iter().fold(mix(seed), |hash, word| mix(hash ^ word));
    hash.leading_zeros() as u8
}

/// The level whose probability is at least `probability`, and less than twice it.
///
/// Too high a probability costs bits, never truth; so what is above 1, or no number, is 1.
pub fn level(probability: f64) -> u8 {
    if probability > 0.0 && probability < 1.0 { (-probability.log2()).floor().min(f64::from(RAREST)) as u8 } else { 0 }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every bit of the word.
pub fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_keeps_its_share_of_edges() {
        let coins: Vec<_> =
            (0..1_000_000).map(|v| coin(7, 3, Name { u: v / 1000, v: 1000 + v, copy: v % 3 })).collect();
        for level in 0..8 {
            let kept = coins.iter().filter(|&&coin| coin >= level).count() as f64;
            let expected = 1e6 * 0.5f64.powi(level.into());
            assert!((kept - expected).abs() <= 4.0 * expected.sqrt(), "level {level}: {kept} of {expected}");
        }
    }

    #[test]
    fn coins_of_sites_copies_and_seeds_are_their_own() {
        let name = |copy| Name { u: 1, v: 2, copy };
        let equal = |a: &dyn Fn(u32) -> u8, b: &dyn Fn(u32) -> u8| (0..4000).filter(|&i| a(i) == b(i)).count();
        let of = |seed, site| move |copy| coin(seed, site, name(copy));
        // Two coins are equal with probability 1/3.
        for other in [&of(1, 1) as &dyn Fn(u32) -> u8, &of(2, 0), &|copy| coin(1, 0, name(copy + 1))] {
            let share = equal(&of(1, 0), other) as f64 / 4000.0;
            assert!((share - 1.0 / 3.0).abs() < 0.03, "{share}");
        }
    }

    #[test]
    fn what_is_no_probability_is_certain() {
        assert_eq!([f64::NAN, f64::INFINITY, 1.0, 2.0, 0.0, -1.0].map(level), [0; 6]);
        assert_eq!([0.5, 0.51, 0.49, 0.25, 1e-300].map(level), [1, 0, 1, 2, RAREST]);
    }

    proptest! {
        #[test]
        fn a_level_is_at_least_as_likely_and_less_than_twice(p in 1e-9f64..1.0) {
            let likely = 0.5f64.powi(level(p).into());
            prop_assert!(likely >= p * (1.0 - 1e-12) && likely < 2.0 * p * (1.0 + 1e-12));
        }
    }
}
