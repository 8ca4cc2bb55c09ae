//! Sliding windows: how large the output is, what padding stands around the input, which taps fall inside.
//!
//! Source: the TensorFlow definition of SAME and VALID.

use std::ops::Range;

/// How the borders of the input are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Enough zeros for `⌈input / stride⌉` outputs; the odd one goes after.
    Same,
    /// None: windows lie wholly inside.
    Valid,
    /// So many before and after the input.
    Explicit {
        /// Above or left of the input.
        before: usize,
        /// Below or right of the input.
        after: usize,
    },
}

/// A window along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Taps.
    pub kernel: usize,
    /// Distance between neighbouring outputs.
    pub stride: usize,
    /// Distance between neighbouring taps.
    pub dilation: usize,
    /// Padding before the first input.
    pub before: usize,
    /// Length of the input.
    pub input: usize,
    /// Length of the output.
    pub output: usize,
}

impl Window {
    /// The window of `kernel` taps over `input` elements; `None` if a number is zero, nothing fits, or it overflows.
    pub fn new(input: usize, kernel: usize, stride: usize, dilation: usize, padding: Padding) -> Option<Self> {
        if input == 0 || kernel == 0 || stride == 0 || dilation == 0 {
            return None;
        }
        let span = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
        let (before, output) = match padding {
            Padding::Same => {
                let output = input.div_ceil(stride);
                let total = (output - 1).checked_mul(stride)?.checked_add(span)?.saturating_sub(input);
                (total / 2, output)
            }
            Padding::Valid => (0, input.checked_sub(span)? / stride + 1),
            Padding::Explicit { before, after } => {
                let padded = input.checked_add(before)?.checked_add(after)?;
                (before, padded.checked_sub(span)? / stride + 1)
            }
        };
        Some(Self { kernel, stride, dilation, before, input, output })
    }

    /// Whether output `o` is input `o`, for all of them.
    pub fn is_identity(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before == 0 && self.input == self.output
    }

    /// The taps of output `o` that fall on the input; the others fall on padding.
    pub fn taps(&self, o: usize) -> Range<usize> {
        let start = o * self.stride;
        let first = self.before.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.input + self.before).saturating_sub(start).div_ceil(self.dilation);
        let end = end.min(self.kernel);
        first.min(end)..end
    }

    /// The input position under tap `k` of output `o`, for a tap within [`taps`](Self::taps).
    pub fn position(&self, o: usize, k: usize) -> usize {
        o * self.stride + k * self.dilation - self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn taps_are_those_inside_the_input(
            input in 1usize..20, kernel in 1usize..8, stride in 1usize..5, dilation in 1usize..4, which in 0usize..3,
            before in 0usize..4, after in 0usize..4,
        ) {
            let padding = [Padding::Same, Padding::Valid, Padding::Explicit { before, after }][which];
            let Some(w) = Window::new(input, kernel, stride, dilation, padding) else { return Ok(()) };
            for o in 0..w.output {
                let inside: Vec<usize> = (0..kernel)
                    .filter(|k| {
                        let at = (o * stride + k * dilation) as i64 - w.before as i64;
                        (0..input as i64).contains(&at)
                    })
                    .collect();
                prop_assert_eq!(w.taps(o).collect::<Vec<_>>(), inside.clone());
                for k in inside {
                    prop_assert!(w.position(o, k) < input);
                }
            }
        }

        #[test]
        fn same_gives_one_output_per_stride(input in 1usize..50, kernel in 1usize..8, stride in 1usize..5) {
            let w = Window::new(input, kernel, stride, 1, Padding::Same).unwrap();
            prop_assert_eq!(w.output, input.div_ceil(stride));
        }
    }

    #[test]
    fn a_window_wider_than_its_input_is_refused() {
        assert_eq!(Window::new(3, 5, 1, 1, Padding::Valid), None);
        assert_eq!(Window::new(usize::MAX, usize::MAX, 1, usize::MAX, Padding::Same), None);
    }
}
