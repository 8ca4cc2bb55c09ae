//! The true stretch of a thinned graph, measured pair by pair.
//!
//! This is the judge of every construction, so it shares no search with them: Dijkstra's algorithm as the textbook has it,
//! with a binary heap, four times for each source.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;
use serde::Serialize;

use crate::digraph::{Digraph, Direction, Step};
use crate::{Arc, Error};

/// What the round trips between sources and all other vertices are in H, against G.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// How many pairs (u, v), u a source, v ≠ u, have a round trip in G.
    pub pairs: u64,
    /// Pairs whose round trip in H is longer than allowed: above the stretch asked for, or without end if none was.
    pub violations: u64,
    /// Pairs that have no round trip in H at all.
    pub unreachable: u64,
    /// The largest stretch; infinite if H lacks a round trip that G has.
    pub max: f64,
    /// The mean stretch, over pairs at a positive distance.
    pub mean: f64,
    /// Half, nine tenths, 99 and 99.9 hundredths of the pairs have no larger stretch (upper ends of histogram bins).
    pub quantiles: [f64; 4],
    /// Sum of all round trips in G.
    pub sum_rt: f64,
    /// The longest of them.
    pub max_rt: f64,
    /// The pair with the largest stretch, as vertices.
    pub worst: Option<(u32, u32)>,
    /// How many pairs have each stretch: bins of [`BIN`] from 1 on, the last one open.
    pub histogram: Vec<u64>,
}

/// The width of a bin of the histogram.
pub const BIN: f64 = 0.05;

/// How many bins there are: up to stretch 52.15, and one for all above.
const BINS: usize = 1024;

/// Measures `spanner` against `graph` for every pair of `sources` and all vertices; counts as violations what is above
/// `stretch`.
///
/// # Errors
/// [`Error::NotInGraph`] if `spanner` has an arc that `graph` lacks, or one of another length, or more vertices;
/// [`Error::NoSuchSource`].
pub fn measure(graph: &Digraph, spanner: &Digraph, sources: &[u32], stretch: Option<f64>) -> Result<Measured, Error> {
    contained(spanner, graph)?;
    let vertices = graph.vertices();
    if let Some(&vertex) = sources.iter().find(|&&source| source as usize >= vertices) {
        return Err(Error::NoSuchSource { vertex, vertices });
    }
    let allowed = stretch.unwrap_or(f64::MAX) * (1.0 + 2.0 * graph.tolerance());
    let from_each: Vec<_> = sources.par_iter().map(|&source| from(graph, spanner, source, allowed)).collect();
    let mut all = from_each.into_iter().fold(Measured::none(), Measured::and);
    all.mean /= (all.pairs as f64).max(1.0);
    all.quantiles = [0.5, 0.9, 0.99, 0.999].map(|share| all.quantile(share));
    Ok(all)
}

/// Every arc of `part` is an arc of `whole`, of the same length.
///
/// # Errors
/// [`Error::NotInGraph`] naming the first that is not.
pub fn contained(part: &Digraph, whole: &Digraph) -> Result<(), Error> {
    let strange = |arc: &Arc| {
        let Arc { from, to, length } = *arc;
        let steps = (from as usize) < whole.vertices() && (to as usize) < whole.vertices();
        !steps || !whole.steps(Direction::Out, from).contains(&Step { to, length })
    };
    match part.list().find(strange) {
        Some(Arc { from, to, length }) => Err(Error::NotInGraph { from, to, length }),
        None => Ok(()),
    }
}

/// One source's pairs. `mean` is a sum for now.
fn from(graph: &Digraph, spanner: &Digraph, source: u32, allowed: f64) -> Measured {
    let [there, back] = [Direction::Out, Direction::In].map(|direction| distances(graph, direction, source));
    let [h_there, h_back] = [Direction::Out, Direction::In].map(|direction| distances(spanner, direction, source));
    let mut measured = Measured::none();
    for vertex in 0..graph.vertices() {
        let round_trip = there[vertex] + back[vertex];
        if vertex == source as usize || round_trip.is_infinite() {
            continue;
        }
        let trip =
            |ways: [&Vec<f64>; 2]| ways.map(|way| way.get(vertex).copied().unwrap_or(f64::INFINITY)).iter().sum();
        let in_spanner: f64 = trip([&h_there, &h_back]);
        // A round trip of length 0 must stay one.
        let stretch = if in_spanner == round_trip { 1.0 } else { in_spanner / round_trip };
        measured.pairs += 1;
        measured.violations += u64::from(stretch > allowed);
        measured.unreachable += u64::from(in_spanner.is_infinite());
        measured.mean += stretch;
        measured.sum_rt += round_trip;
        measured.max_rt = measured.max_rt.max(round_trip);
        measured.histogram[(((stretch - 1.0) / BIN) as usize).min(BINS - 1)] += 1;
        if stretch > measured.max || measured.worst.is_none() {
            (measured.max, measured.worst) = (stretch, Some((source, vertex as u32)));
        }
    }
    measured
}

/// Distances of all vertices from `source`, in `direction`.
fn distances(graph: &Digraph, direction: Direction, source: u32) -> Vec<f64> {
    let mut distance = vec![f64::INFINITY; graph.vertices()];
    let Some(own) = distance.get_mut(source as usize) else { return distance };
    *own = 0.0;
    // Numbers that are not negative compare as their bits do.
    let mut heap = BinaryHeap::from([Reverse((0.0f64.to_bits(), source))]);
    while let Some(Reverse((bits, vertex))) = heap.pop() {
        let here = f64::from_bits(bits);
        if here > distance[vertex as usize] {
            continue;
        }
        for &Step { to, length } in graph.steps(direction, vertex) {
            let through = here + length;
            if through < distance[to as usize] {
                distance[to as usize] = through;
                heap.push(Reverse((through.to_bits(), to)));
            }
        }
    }
    distance
}

impl Measured {
    fn none() -> Self {
        Self {
            pairs: 0,
            violations: 0,
            unreachable: 0,
            max: 1.0,
            mean: 0.0,
            quantiles: [1.0; 4],
            sum_rt: 0.0,
            max_rt: 0.0,
            worst: None,
            histogram: vec![0; BINS],
        }
    }

    fn and(mut self, other: Self) -> Self {
        if other.worst.is_some() && (self.worst.is_none() || other.max > self.max) {
            (self.max, self.worst) = (other.max, other.worst);
        }
        self.pairs += other.pairs;
        self.violations += other.violations;
        self.unreachable += other.unreachable;
        self.mean += other.mean;
        self.sum_rt += other.sum_rt;
        self.max_rt = self.max_rt.max(other.max_rt);
        self.histogram.iter_mut().zip(other.histogram).for_each(|(count, more)| *count += more);
        self
    }

    fn quantile(&self, share: f64) -> f64 {
        let enough = (share * self.pairs as f64).ceil() as u64;
        let mut counted = 0;
        let bin = self.histogram.iter().position(|&count| {
            counted += count;
            counted >= enough
        });
        match bin {
            Some(bin) if bin + 1 < BINS => (1.0 + BIN * (bin + 1) as f64).min(self.max),
            _ => self.max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(arcs: &[(u32, u32, f64)]) -> Digraph {
        Digraph::from_arcs(4, arcs.iter().copied().map(Arc::from).collect()).unwrap().0
    }

    #[test]
    fn a_square_without_its_diagonal() {
        let ring = [(0, 1, 3.0), (1, 2, 3.0), (2, 3, 3.0), (3, 0, 3.0)];
        let square = graph(&[&ring[..], &[(0, 2, 1.0), (2, 0, 2.0)]].concat());
        let measured = measure(&square, &graph(&ring), &[0], Some(2.0)).unwrap();
        // rt(0, 1) = 3 + 3 + 2, rt(0, 2) = 3, rt(0, 3) = 1 + 3 + 3; in the ring 12 each.
        assert_eq!((measured.pairs, measured.violations, measured.worst), (3, 1, Some((0, 2))));
        assert_eq!((measured.max, measured.sum_rt, measured.max_rt), (4.0, 18.0, 8.0));
        assert!((measured.mean - (12.0 / 8.0 + 12.0 / 3.0 + 12.0 / 7.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_lost_round_trip_is_a_violation() {
        let whole = graph(&[(0, 1, 1.0), (1, 0, 1.0), (2, 3, 0.0), (3, 2, 0.0)]);
        let measured = measure(&whole, &graph(&[(0, 1, 1.0)]), &[0, 2], None).unwrap();
        assert_eq!((measured.pairs, measured.violations, measured.max), (2, 2, f64::INFINITY));
        assert_eq!(measured.unreachable, 2);
        let measured = measure(&whole, &whole, &[0, 2], Some(1.0)).unwrap();
        assert_eq!((measured.violations, measured.max, measured.mean), (0, 1.0, 1.0));
    }

    #[test]
    fn an_arc_that_is_not_the_graphs_is_named() {
        let whole = graph(&[(0, 1, 1.0), (1, 0, 1.0)]);
        let error = measure(&whole, &graph(&[(0, 1, 0.5)]), &[0], None).unwrap_err();
        assert!(error.to_string().contains("0 -> 1 of length 0.5"), "{error}");
    }
}
