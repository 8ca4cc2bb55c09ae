//! What is measured while training: the mean loss and the share of right answers, over examples and not over batches.
//!
//! A mean of means would weigh each example of a last, smaller batch more. So sums are kept, in `f64`, and divided once.

use serde::{Deserialize, Serialize};

/// What one batch gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The mean loss of its examples.
    pub loss: f64,
    /// Right answers among them, where answers are right or wrong.
    pub correct: Option<u64>,
    /// How many there are (characters, where each is predicted).
    pub examples: u64,
}

/// Sums over the batches seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Of the losses of all examples.
    pub loss: f64,
    /// Of right answers, if every batch counted them.
    pub correct: Option<u64>,
    /// Of examples.
    pub examples: u64,
}

/// What a tally comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss of an example.
    pub loss: f64,
    /// Right answers in all answers, in [0, 1].
    pub accuracy: Option<f64>,
    /// Examples seen.
    pub examples: u64,
}

impl Tally {
    /// With one more batch.
    pub fn add(&mut self, score: &Score) {
        let first = self.examples == 0;
        self.loss += score.loss * score.examples as f64;
        self.correct = match (self.correct, score.correct) {
            (Some(before), Some(now)) => Some(before + now),
            (None, now) if first => now,
            _ => None,
        };
        self.examples += score.examples;
    }

    /// The means; a loss that is no number if nothing was seen.
    pub fn metrics(&self) -> Metrics {
        let examples = self.examples as f64;
        let accuracy = self.correct.filter(|_| self.examples > 0).map(|correct| correct as f64 / examples);
        Metrics { loss: self.loss / examples, accuracy, examples: self.examples }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ragged_last_batch_weighs_by_its_examples() {
        let mut tally = Tally::default();
        tally.add(&Score { loss: 1.0, correct: Some(3), examples: 4 });
        tally.add(&Score { loss: 6.0, correct: Some(0), examples: 1 });
        assert_eq!(tally.metrics(), Metrics { loss: 2.0, accuracy: Some(0.6), examples: 5 });
    }

    #[test]
    fn without_answers_there_is_no_accuracy() {
        let mut tally = Tally::default();
        tally.add(&Score { loss: 1.0, correct: None, examples: 2 });
        tally.add(&Score { loss: 1.0, correct: Some(1), examples: 2 });
        assert_eq!(tally.metrics().accuracy, None);
        assert!(Tally::default().metrics().loss.is_nan());
    }

    proptest! {
        #[test]
        fn batches_do_not_matter(right in prop::collection::vec((0.0..9.0, any::<bool>()), 1..60), batch in 1usize..9) {
            let mut tally = Tally::default();
            for part in right.chunks(batch) {
                let examples = part.len() as u64;
                let loss = part.iter().map(|one| one.0).sum::<f64>() / examples as f64;
                let correct = Some(part.iter().filter(|one| one.1).count() as u64);
                tally.add(&Score { loss, correct, examples });
            }
            let metrics = tally.metrics();
            let all = right.len() as f64;
            prop_assert!((metrics.loss - right.iter().map(|one| one.0).sum::<f64>() / all).abs() < 1e-12);
            prop_assert_eq!(metrics.accuracy, Some(right.iter().filter(|one| one.1).count() as f64 / all));
        }
    }
}
