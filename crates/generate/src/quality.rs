//! What a plan loses: how much of the attention's weight it keeps, and how far its output is from the dense one.
//!
//! Of any plan. No weights are made: a row's logarithm `L = ln Σ e^s` over what a plan reads, less that over all keys, is the
//! logarithm of the share of its weight that is kept. So a quality costs one run of the plan; dense attention is run once.

use serde::Serialize;

use crate::Error;
use crate::attend::{self, Attended, Plan, Tensors};

/// What a plan keeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// The share of pairs that are read.
    pub density: f64,
    /// The share of the weight after softmax that is read, the mean over queries: 1 loses nothing.
    pub recall: f64,
    /// ‖o − o_dense‖ / ‖o_dense‖, over all numbers of the output.
    pub error: f64,
}

/// Queries, keys and values with their dense attention.
#[derive(Debug)]
pub struct Judge<'a> {
    tensors: Tensors<'a>,
    dense: Attended,
}

impl<'a> Judge<'a> {
    /// Attends densely.
    ///
    /// # Errors
    /// [`Error::Attention`] if a number is not finite.
    pub fn new(tensors: Tensors<'a>) -> Result<Self, Error> {
        let dense = attend::run(&tensors, Plan::Dense)?;
        Ok(Self { tensors, dense })
    }

    /// The tensors.
    pub fn tensors(&self) -> &Tensors<'a> {
        &self.tensors
    }

    /// The dense output.
    pub fn dense(&self) -> &Attended {
        &self.dense
    }

    /// What a plan keeps, over all heads.
    ///
    /// # Errors
    /// As [`attend`](crate::attend::attend).
    pub fn quality(&self, plan: Plan<'_>) -> Result<Quality, Error> {
        Ok(self.of(&attend::run(&self.tensors, plan)?))
    }

    /// What an output keeps, over all heads.
    pub fn of(&self, attended: &Attended) -> Quality {
        let heads = self.heads(attended);
        let (mut apart, mut size, mut recall) = (0.0, 0.0, 0.0);
        for head in &heads {
            apart += head.apart;
            size += head.size;
            recall += head.recall;
        }
        let rows = attended.logarithms.len().max(1) as f64;
        Quality { density: attended.density(), recall: recall / rows, error: relative(apart, size) }
    }

    /// What an output keeps, head by head. The density is that of all heads.
    pub fn per_head(&self, attended: &Attended) -> Vec<Quality> {
        let queries = self.tensors.shape().queries as f64;
        let quality = |head: &Sums| Quality {
            density: attended.density(),
            recall: head.recall / queries,
            error: relative(head.apart, head.size),
        };
        self.heads(attended).iter().map(quality).collect()
    }

    fn heads(&self, attended: &Attended) -> Vec<Sums> {
        let shape = self.tensors.shape();
        let numbers = shape.queries * shape.value_width;
        let of_head = |head: usize| {
            let outputs = [&attended.output, &self.dense.output].map(|x| &x[head * numbers..][..numbers]);
            let logarithms = [&attended.logarithms, &self.dense.logarithms];
            let [kept, all] = logarithms.map(|x| &x[head * shape.queries..][..shape.queries]);
            let pairs = || outputs[0].iter().zip(outputs[1]).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            Sums {
                apart: pairs().map(|(a, b)| (a - b).powi(2)).sum(),
                size: pairs().map(|(_, b)| b.powi(2)).sum(),
                recall: kept
                    .iter()
                    .zip(all)
                    .map(|(&kept, &all)| (f64::from(kept) - f64::from(all)).exp().min(1.0))
                    .sum(),
            }
        };
        (0..shape.heads).map(of_head).collect()
    }
}

/// Squares and shares, added up over a head.
struct Sums {
    apart: f64,
    size: f64,
    recall: f64,
}

/// 0 if nothing is apart, whatever the size.
fn relative(apart: f64, size: f64) -> f64 {
    if apart == 0.0 { 0.0 } else { (apart / size).sqrt() }
}

/// A method's qualities at several densities.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The method.
    pub name: String,
    /// By ascending density.
    pub points: Vec<Quality>,
}

impl Curve {
    /// Points in the order of their density.
    pub fn new(name: impl Into<String>, mut points: Vec<Quality>) -> Self {
        points.sort_by(|a, b| a.density.total_cmp(&b.density));
        Self { name: name.into(), points }
    }

    /// The quality at a density, along the line between two points; `None` beyond them.
    pub fn at(&self, density: f64) -> Option<Quality> {
        let after = self.points.iter().position(|point| point.density >= density)?;
        let high = self.points[after];
        if high.density == density {
            return Some(high);
        }
        let low = *self.points.get(after.checked_sub(1)?)?;
        let share = (density - low.density) / (high.density - low.density);
        let mix = |low: f64, high: f64| low + share * (high - low);
        Some(Quality { density, recall: mix(low.recall, high.recall), error: mix(low.error, high.error) })
    }
}
