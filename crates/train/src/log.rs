//! What is known when an epoch ends, and the line that a program reads.

use serde::{Deserialize, Serialize};

use crate::metric::Metrics;

/// An epoch that is over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Which one, from 0.
    pub epoch: u64,
    /// Steps since the run began.
    pub step: u64,
    /// The learning rate of its last step.
    pub rate: f64,
    /// Of its batches, each measured before its step.
    pub train: Metrics,
    /// Of the validation data, after its last step.
    pub validation: Option<Metrics>,
    /// Whether validation was better than ever before.
    pub best: bool,
    /// Since the run began, pauses not counted.
    pub seconds: f64,
}

impl Epoch {
    /// As one line of JSON, without its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("numbers and names are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_and_reads_back_to_the_last_bit() {
        let metrics = Metrics { loss: 0.1 + 0.2, accuracy: Some(1.0 / 3.0), examples: 3 };
        let (step, rate, seconds) = (7, 2.0f64.sqrt() / 1e3, 0.7 * 1.1);
        let epoch = Epoch { epoch: 0, step, rate, train: metrics, validation: None, best: false, seconds };
        let line = epoch.line();
        assert!(!line.contains('\n') && line.starts_with(r#"{"epoch":0,"step":7,"#), "{line}");
        assert_eq!(serde_json::from_str::<Epoch>(&line).unwrap(), epoch);
    }
}
