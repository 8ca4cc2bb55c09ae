//! How exact sums become 8 bits again, and how large those sums can be: the bound on every input decides which arithmetic
//! a program may use.

use tersor_kernels::int8::{self, Convolution};

use super::Requantization;
use super::constants::Constant;
use super::lowering::Builder;
use crate::error::Error;

impl Builder<'_> {
    /// How the sums of operator `node` become 8 bits.
    ///
    /// `depthwise`: the weights of a channel lie so far apart, not one after the other.
    ///
    /// # Errors
    /// [`Error::Emit`] if some input makes a sum that 32 bits may not hold.
    pub(super) fn requantization(
        &mut self,
        node: usize,
        c: &Convolution,
        weight_zero: i32,
        depthwise: Option<usize>,
    ) -> Result<Requantization, Error> {
        let int8::Requantization::FixedPoint(multipliers, _) = &c.requantization else {
            return Err(self.fault(node, "is brought back to 8 bits in floating point"));
        };
        // The greatest sum of any input, channel by channel.
        let furthest = (127 - c.input_zero).abs().max((-128 - c.input_zero).abs());
        let size = |w: i8| i64::from((i32::from(w) - weight_zero).abs());
        let per_channel = c.weights.len() / c.out_channels.max(1);
        let weights = |o: usize| -> i64 {
            match depthwise {
                Some(step) => c.weights.iter().skip(o).step_by(step).map(|&w| size(w)).sum(),
                None => c.weights[o * per_channel..][..per_channel].iter().map(|&w| size(w)).sum(),
            }
        };
        let bias = |o: usize| c.bias.get(o).map_or(0, |&b| i64::from(b).abs());
        let most = (0..c.out_channels).map(|o| weights(o) * i64::from(furthest) + bias(o)).max().unwrap_or(0);
        if most > i64::from(i32::MAX) {
            return Err(self.fault(node, "has sums that 32 bits may not hold"));
        }
        let bounded = most < 1 << 30;
        let narrow = bounded && multipliers.iter().all(|m| m.shift <= 0);
        let single = multipliers.windows(2).all(|m| m[0] == m[1]);
        let kept = if single { &multipliers[..1.min(multipliers.len())] } else { multipliers };
        Ok(Requantization {
            mantissas: self.constants.keep(Constant::I32(kept.iter().map(|m| m.mantissa).collect())),
            shifts: self.constants.keep(Constant::I8(kept.iter().map(|m| m.shift as i8).collect())),
            single,
            narrow,
            bounded,
            output_zero: c.output_zero,
            range: c.range,
        })
    }
}
