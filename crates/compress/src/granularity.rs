//! What is removed together: single weights, blocks, two of four, kernels.
//!
//! Coarser parts cost more accuracy and run faster. A part's strength is the root mean square of its weights, so that
//! single weights have their magnitude and one threshold means the same for all. Channels are another matter, since
//! several layers lose them at once: `channel.rs`.

use serde::{Deserialize, Serialize};

use crate::mask::Mask;

/// What is removed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Granularity {
    /// Single weights.
    #[default]
    #[serde(rename = "element")]
    Element,
    /// Eight neighbours along the inputs of one output; the last block of a row may be shorter.
    #[serde(rename = "1x8")]
    Inputs8,
    /// Eight neighbouring outputs of one input; the last block may be shorter.
    #[serde(rename = "8x1")]
    Outputs8,
    /// Of every four neighbours along the inputs the two strongest stay.
    #[serde(rename = "2:4")]
    TwoOfFour,
    /// The kernel between one input channel and one output channel; only convolutions have them.
    #[serde(rename = "kernel")]
    Kernel,
    /// Output channels, with all that read and make them; see `channel.rs`.
    #[serde(rename = "channel")]
    Channel,
}

impl Granularity {
    /// Every granularity, in the order of their size.
    pub const ALL: [Self; 6] =
        [Self::Element, Self::TwoOfFour, Self::Inputs8, Self::Outputs8, Self::Kernel, Self::Channel];

    /// As the command line writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Element => "element",
            Self::Inputs8 => "1x8",
            Self::Outputs8 => "8x1",
            Self::TwoOfFour => "2:4",
            Self::Kernel => "kernel",
            Self::Channel => "channel",
        }
    }
}

impl std::fmt::Display for Granularity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Granularity {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|granularity| granularity.name() == name)
            .ok_or_else(|| format!("`{name}` is no granularity; there are: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The parts of a weight tensor that are removed together: which part each weight belongs to, and how many there are.
///
/// `shape`: `[out, in, …]`, row-major. Channels are rows here: all weights of one output.
pub(crate) fn parts(granularity: Granularity, shape: &[usize]) -> (impl Fn(usize) -> usize + use<>, usize) {
    let rows = shape.first().copied().unwrap_or(1);
    let width = shape.iter().skip(1).product::<usize>().max(1);
    let plane = shape.iter().skip(2).product::<usize>().max(1);
    let (across, down) = match granularity {
        Granularity::Element | Granularity::TwoOfFour => (1, 1),
        Granularity::Inputs8 => (8, 1),
        Granularity::Outputs8 => (1, 8),
        Granularity::Kernel => (plane, 1),
        Granularity::Channel => (width, 1),
    };
    let in_row = width.div_ceil(across);
    let of = move |weight: usize| weight / width / down * in_row + weight % width / across;
    (of, rows.div_ceil(down) * in_row)
}

/// The strength of every part: the root mean square of its weights; for two of four, of every weight.
pub(crate) fn strengths(granularity: Granularity, shape: &[usize], weights: &[f32]) -> Vec<f64> {
    let (of, count) = parts(granularity, shape);
    let mut sums = vec![(0.0, 0u32); count];
    for (i, &weight) in weights.iter().enumerate() {
        let (sum, members) = &mut sums[of(i)];
        *sum += f64::from(weight) * f64::from(weight);
        *members += 1;
    }
    sums.into_iter().map(|(sum, members)| (sum / f64::from(members.max(1))).sqrt()).collect()
}

/// The mask that keeps the parts at or above `threshold`, and in any case the strongest, so that no layer is cut off.
///
/// Two of four takes no threshold: it keeps the two strongest of every four along the inputs (of a shorter rest half,
/// rounded up), the first among equals.
pub(crate) fn cut(granularity: Granularity, shape: &[usize], weights: &[f32], threshold: f64) -> Mask {
    if granularity == Granularity::TwoOfFour {
        return two_of_four(shape, weights);
    }
    let strengths = strengths(granularity, shape, weights);
    let strongest = strengths.iter().copied().fold(0.0, f64::max);
    let (of, _) = parts(granularity, shape);
    Mask::of(weights.len(), |i| strengths[of(i)] >= threshold.min(strongest))
}

fn two_of_four(shape: &[usize], weights: &[f32]) -> Mask {
    let width = shape.iter().skip(1).product::<usize>().max(1);
    let mut stays = vec![false; weights.len()];
    for (row, stays) in weights.chunks(width).zip(stays.chunks_mut(width)) {
        for (four, stays) in row.chunks(4).zip(stays.chunks_mut(4)) {
            let mut order: Vec<usize> = (0..four.len()).collect();
            order.sort_by(|&a, &b| four[b].abs().total_cmp(&four[a].abs()));
            order.truncate(four.len().div_ceil(2));
            order.into_iter().for_each(|i| stays[i] = true);
        }
    }
    Mask::of(weights.len(), |i| stays[i])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tensors() -> impl Strategy<Value = (Vec<usize>, Vec<f32>)> {
        let shapes = prop_oneof![
            (1..20usize, 1..30usize).prop_map(|(o, i)| vec![o, i]),
            (1..12usize, 1..9usize, 1..4usize, 1..4usize).prop_map(|(o, i, h, w)| vec![o, i, h, w]),
        ];
        shapes.prop_flat_map(|shape| {
            let count = shape.iter().product::<usize>();
            (Just(shape), proptest::collection::vec(-1.0..1.0f32, count))
        })
    }

    proptest! {
        #[test]
        fn a_part_stays_or_goes_whole((shape, weights) in tensors(), threshold in 0.0..1.2f64, which in 0..6usize) {
            let granularity = Granularity::ALL[which];
            let mask = cut(granularity, &shape, &weights, threshold);
            prop_assert!(mask.kept() > 0);
            if granularity == Granularity::TwoOfFour {
                let width = weights.len() / shape[0];
                for start in (0..weights.len()).step_by(width) {
                    for four in (start..start + width).collect::<Vec<_>>().chunks(4) {
                        let kept = four.iter().filter(|&&i| mask.stays(i)).count();
                        prop_assert_eq!(kept, four.len().div_ceil(2));
                    }
                }
                return Ok(());
            }
            let (of, count) = parts(granularity, &shape);
            let mut seen = vec![None; count];
            for i in 0..weights.len() {
                prop_assert_eq!(*seen[of(i)].get_or_insert(mask.stays(i)), mask.stays(i));
            }
            prop_assert!(seen.iter().all(Option::is_some), "every part has weights");
        }

        #[test]
        fn nothing_goes_at_zero((shape, weights) in tensors()) {
            for granularity in [Granularity::Element, Granularity::Inputs8, Granularity::Outputs8, Granularity::Kernel] {
                prop_assert_eq!(cut(granularity, &shape, &weights, 0.0).kept(), weights.len());
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for granularity in Granularity::ALL {
            assert_eq!(granularity.name().parse(), Ok(granularity));
        }
        assert!("block".parse::<Granularity>().is_err());
    }

    #[test]
    fn blocks_lie_where_they_should() {
        // Nine outputs of two inputs: blocks of eight outputs and of the last one.
        let (of, count) = parts(Granularity::Outputs8, &[9, 2]);
        assert_eq!((count, of(0), of(1), of(15), of(16), of(17)), (4, 0, 1, 1, 2, 3));
        // One output of ten inputs: eight and two.
        let (of, count) = parts(Granularity::Inputs8, &[1, 10]);
        assert_eq!((count, of(7), of(8)), (2, 0, 1));
    }
}
