//! Early stop: an end when nothing has got better for a while.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::metric::Metrics;

/// The measure that says which of two networks is the better one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The least validation loss.
    #[default]
    Loss,
    /// The most right answers in validation.
    Accuracy,
}

/// When to stop early.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Epochs in a row that may bring nothing, at least 1.
    pub patience: u64,
    /// By how much a value must be better to count.
    pub min_delta: f64,
}

/// What an early stop has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The best value so far.
    pub best: Option<f64>,
    /// Epochs since then.
    pub epochs: u64,
}

impl Goal {
    /// The value to be compared; none where answers are not counted.
    pub fn of(self, metrics: &Metrics) -> Option<f64> {
        match self {
            Self::Loss => Some(metrics.loss),
            Self::Accuracy => metrics.accuracy,
        }
    }

    /// Whether `new` is better than `old` by more than `delta`.
    pub fn is_better(self, new: f64, old: f64, delta: f64) -> bool {
        match self {
            Self::Loss => new < old - delta,
            Self::Accuracy => new > old + delta,
        }
    }
}

impl EarlyStop {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the one that is not.
    pub fn check(&self) -> Result<(), Error> {
        if self.patience == 0 {
            return Err(Error::Setting { what: "the patience", value: 0.0, range: "at least 1 epoch" });
        }
        if !(self.min_delta >= 0.0 && self.min_delta.is_finite()) {
            return Err(Error::Setting { what: "the least change", value: self.min_delta, range: "at least 0" });
        }
        Ok(())
    }

    /// Notes an epoch's value; whether it is time to stop.
    pub fn note(&self, goal: Goal, value: f64, waiting: &mut Waiting) -> bool {
        if waiting.best.is_none_or(|best| goal.is_better(value, best, self.min_delta)) {
            *waiting = Waiting { best: Some(value), epochs: 0 };
        } else {
            waiting.epochs += 1;
        }
        waiting.epochs >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops_after(goal: Goal, stop: EarlyStop, values: &[f64]) -> Option<usize> {
        let mut waiting = Waiting::default();
        values.iter().position(|&value| stop.note(goal, value, &mut waiting))
    }

    #[test]
    fn it_waits_as_long_as_it_has_patience() {
        let stop = EarlyStop { patience: 2, min_delta: 0.0 };
        assert_eq!(stops_after(Goal::Loss, stop, &[3.0, 2.0, 2.5, 1.0, 1.0, 1.5, 0.0]), Some(5));
        assert_eq!(stops_after(Goal::Accuracy, stop, &[0.1, 0.2, 0.3, 0.2, 0.4, 0.3]), None);
    }

    #[test]
    fn a_change_below_the_least_is_none() {
        let stop = EarlyStop { patience: 3, min_delta: 0.1 };
        // Small steps that come to something in the end, measured from the best value and not from the last.
        assert_eq!(stops_after(Goal::Loss, stop, &[1.0, 0.95, 0.92, 0.85, 0.8]), None);
        assert_eq!(stops_after(Goal::Loss, stop, &[1.0, 0.99, 0.98, 0.97]), Some(3));
    }
}
