//! Accuracy against sparsity, five ways: L1 and L2, without and with retraining, and L2 in rounds.
//!
//! Source: Learning both weights and connections (Han et al., NeurIPS 2015), figure 5: without retraining L1 is better,
//! with it L2; removing a little at a time, with retraining each time, is best.

use std::collections::HashMap;

use serde::Serialize;
use tersor_network::Network;
use tersor_network::float::Kernel;

use crate::Error;
use crate::evaluate::evaluate;
use crate::granularity::Granularity;
use crate::learn::{Lessons, Recipe, learn};
use crate::picture::Line;
use crate::plan::{Qualities, Target};
use crate::prune::{ChannelChoice, Pruning, Watch, prune};

/// One of the five ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Way {
    L1WithoutRetraining,
    L2WithoutRetraining,
    L1WithRetraining,
    L2WithRetraining,
    L2InRounds,
}

impl Way {
    /// In the order of the figure.
    pub const ALL: [Self; 5] = [
        Self::L2WithoutRetraining,
        Self::L1WithoutRetraining,
        Self::L1WithRetraining,
        Self::L2WithRetraining,
        Self::L2InRounds,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1WithoutRetraining => "L1, not retrained",
            Self::L2WithoutRetraining => "L2, not retrained",
            Self::L1WithRetraining => "L1, retrained",
            Self::L2WithRetraining => "L2, retrained",
            Self::L2InRounds => "L2, in rounds",
        }
    }
}

/// What a way came to at one ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// How.
    pub way: Way,
    /// Weights for each that stays.
    pub ratio: f64,
    /// Wrong answers, in percent.
    pub error: f64,
    /// Wrong answers of the dense network that it was cut from.
    pub dense_error: f64,
}

/// How the curves are measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ratios, ascending.
    pub ratios: Vec<f64>,
    /// The first training; its L2 is that of the L2 ways.
    pub dense: Recipe,
    /// λ of λ Σ |w| of the L1 ways.
    pub l1: f64,
    /// Retraining after a cut.
    pub retraining: Recipe,
}

/// Trains `network` with L1 and with L2 and cuts both to every ratio, five ways. Rounds go on from the network of the
/// ratio before; a single cut is retrained for as many epochs as rounds have had by then, so that none is better for
/// having learned longer.
///
/// # Errors
/// As [`learn`] and [`prune`].
pub fn measure(
    network: &Network,
    lessons: &Lessons,
    how: &Settings,
    watch: &mut dyn Watch,
) -> Result<Vec<Point>, Error> {
    let error = |network: &Network| {
        evaluate(network, Kernel::Auto, lessons.test(), lessons.normalisation()).map(|judged| judged.error())
    };
    let mut points = Vec::new();
    for l1 in [true, false] {
        let regular = |recipe: &Recipe| match l1 {
            true => Recipe { l1: how.l1, l2: 0.0, ..recipe.clone() },
            false => Recipe { l1: 0.0, ..recipe.clone() },
        };
        let dense = {
            let mut observer = watch.learning(if l1 { "dense, L1" } else { "dense, L2" }, how.dense.epochs);
            learn(network, &HashMap::new(), lessons, &regular(&how.dense), None, &mut *observer)?.network
        };
        let dense_error = error(&dense)?;
        let (without, with) = match l1 {
            true => (Way::L1WithoutRetraining, Way::L1WithRetraining),
            false => (Way::L2WithoutRetraining, Way::L2WithRetraining),
        };
        let cut = |from: &Network, ratio: f64, retraining: Option<Recipe>, watch: &mut dyn Watch| {
            let pruning = Pruning {
                granularity: Granularity::Element,
                target: Target::Ratio(ratio),
                rounds: 1,
                layers: None,
                qualities: Qualities::new(),
                retraining,
                alternate: false,
                channels: ChannelChoice::default(),
            };
            prune(from, &pruning, Some(lessons), None, watch)
        };
        let mut rounds = dense.clone();
        for (index, &ratio) in how.ratios.iter().enumerate() {
            let mut add = |way, error| points.push(Point { way, ratio, error, dense_error });
            let once = regular(&how.retraining);
            let long = Recipe { epochs: once.epochs * (index as u64 + 1), ..once.clone() };
            let pruned = cut(&dense, ratio, Some(long), watch)?;
            add(without, pruned.rounds[0].cut_error.unwrap_or(f64::NAN));
            add(with, error(&pruned.masked)?);
            if !l1 {
                rounds = cut(&rounds, ratio, Some(once), watch)?.masked;
                add(Way::L2InRounds, error(&rounds)?);
            }
        }
    }
    Ok(points)
}

/// The curves of points from any number of runs: of each way and ratio the mean of what it adds to the dense error.
pub fn curves(points: &[Point]) -> Vec<Line> {
    let curve = |way: Way| {
        let mut ratios: Vec<f64> = points.iter().filter(|p| p.way == way).map(|p| p.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.dedup();
        let mean = |ratio: f64| {
            let of = points.iter().filter(|p| p.way == way && p.ratio == ratio).map(|p| p.error - p.dense_error);
            of.clone().sum::<f64>() / of.count().max(1) as f64
        };
        Line { name: way.name().into(), points: ratios.iter().map(|&r| (100.0 * (1.0 - 1.0 / r), mean(r))).collect() }
    };
    Way::ALL.map(curve).into_iter().filter(|line| !line.points.is_empty()).collect()
}
