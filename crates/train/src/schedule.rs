//! The learning rate over a run, as a share of the full rate.
//!
//! A schedule is a function of (step, steps) alone: whoever knows the step knows the rate, so a run that is resumed
//! needs no state. Places in the run are shares of it and not step numbers, so that one schedule serves any number of
//! epochs and any batch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// How the learning rate goes from the first step to the last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Always the full rate.
    #[default]
    Constant,
    /// Times `factor` at each milestone passed: `factor^|{m : s ≥ m S}|` at step `s` of `S`.
    ///
    /// As in Deep residual learning (He et al., CVPR 2016, section 4.2), where the milestones are 1/2 and 3/4.
    Step {
        /// Shares of the run, in [0, 1], ascending.
        milestones: Vec<f64>,
        /// In (0, 1].
        factor: f64,
    },
    /// Down a half wave of a cosine, after a straight rise: with `W` the steps of the rise,
    ///
    /// - `(s + 1) / W` for `s < W` (Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2);
    /// - `(1 + cos(π (s − W) / (S − W))) / 2` from there on (SGDR, Loshchilov and Hutter, ICLR 2017, eq. 5, with
    ///   `η_min = 0` and no restart).
    Cosine {
        /// The share of the run that rises, in [0, 1); `W` is this times `S`, rounded.
        warm_up: f64,
    },
}

impl Schedule {
    /// The share of the full rate at `step` (from 0) of `total`, in [0, 1].
    pub fn at(&self, step: u64, total: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Step { milestones, factor } => {
                let passed = milestones.iter().filter(|&&milestone| step as f64 >= milestone * total as f64).count();
                factor.powi(passed as i32)
            }
            Self::Cosine { warm_up } => {
                let rise = (warm_up * total as f64).round() as u64;
                if step < rise {
                    return (step + 1) as f64 / rise as f64;
                }
                let along = (step.min(total) - rise) as f64 / (total - rise).max(1) as f64;
                (1.0 + (std::f64::consts::PI * along).cos()) / 2.0
            }
        }
    }

    /// Whether all its numbers are in range.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Constant => Ok(()),
            Self::Step { milestones, factor } => {
                if let Some(&value) = milestones.iter().find(|share| !(0.0..=1.0).contains(*share)) {
                    return Err(Error::Setting { what: "a milestone", value, range: "a share of the run, 0 to 1" });
                }
                if let Some(pair) = milestones.windows(2).find(|pair| pair[0] >= pair[1]) {
                    return Err(Error::Setting { what: "a milestone", value: pair[1], range: "above the one before" });
                }
                let fits = *factor > 0.0 && *factor <= 1.0;
                fits.then_some(()).ok_or(Error::Setting {
                    what: "the factor of a step",
                    value: *factor,
                    range: "above 0, at most 1",
                })
            }
            Self::Cosine { warm_up } => (0.0..1.0).contains(warm_up).then_some(()).ok_or(Error::Setting {
                what: "the warm-up",
                value: *warm_up,
                range: "a share of the run, from 0 to less than 1",
            }),
        }
    }
}

/// As a person types it: `constant`, `step:0.5,0.75:0.1`, `cosine`, `cosine:0.05`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Step { milestones, factor } => {
                let milestones: Vec<_> = milestones.iter().map(f64::to_string).collect();
                write!(f, "step:{}:{factor}", milestones.join(","))
            }
            Self::Cosine { warm_up } if *warm_up == 0.0 => f.write_str("cosine"),
            Self::Cosine { warm_up } => write!(f, "cosine:{warm_up}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unread = || Error::Schedule { text: text.into() };
        let number = |text: &str| text.parse::<f64>().map_err(|_| unread());
        let parts: Vec<&str> = text.split(':').collect();
        let schedule = match parts[..] {
            ["constant"] => Self::Constant,
            ["cosine"] => Self::Cosine { warm_up: 0.0 },
            ["cosine", warm_up] => Self::Cosine { warm_up: number(warm_up)? },
            ["step", milestones, factor] => Self::Step {
                milestones: milestones.split(',').map(number).collect::<Result<_, _>>()?,
                factor: number(factor)?,
            },
            _ => return Err(unread()),
        };
        schedule.check()?;
        Ok(schedule)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap()
    }

    #[test]
    fn steps_fall_at_their_milestones() {
        let falls = schedule("step:0.5,0.75:0.1");
        let rates = [0, 49, 50, 74, 75, 99].map(|step| falls.at(step, 100));
        for (rate, expected) in rates.into_iter().zip([1.0, 1.0, 0.1, 0.1, 0.01, 0.01]) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn a_cosine_has_its_known_values() {
        let cosine = schedule("cosine");
        // Thirds and halves of π: cos = 1, 1/2, 0, −1/2, −1.
        for (step, expected) in [(0, 1.0), (20, 0.75), (30, 0.5), (40, 0.25), (60, 0.0)] {
            assert!((cosine.at(step, 60) - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn a_warm_up_rises_to_the_full_rate_and_then_falls() {
        let warm = schedule("cosine:0.1");
        assert_eq!([0, 4, 9, 10].map(|step| warm.at(step, 100)), [0.1, 0.5, 1.0, 1.0]);
        assert!((warm.at(55, 100) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn what_cannot_be_a_schedule_is_refused() {
        for text in ["", "cosin", "cosine:1", "cosine:NaN", "step:0.5", "step:0.7,0.5:0.1", "step:0.5:0", "constant:1"]
        {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_rate_is_a_share(warm_up in 0.0..1.0, cut in 0.0..1.0, step in 0u64..2_000, total in 0u64..1_000) {
            for schedule in [Schedule::Cosine { warm_up }, Schedule::Step { milestones: vec![cut], factor: 0.1 }] {
                let share = schedule.at(step, total);
                prop_assert!((0.0..=1.0).contains(&share), "{schedule} {share}");
            }
        }

        #[test]
        fn what_is_written_reads_back(warm_up in 0.0..1.0, cut in 0.0..1.0, factor in 0.01..1.0) {
            for written in [Schedule::Cosine { warm_up }, Schedule::Step { milestones: vec![cut], factor }] {
                prop_assert_eq!(written.to_string().parse::<Schedule>().unwrap(), written);
            }
        }
    }
}
