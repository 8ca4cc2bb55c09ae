//! What a graph is: size, components, degrees, lengths.

use serde::Serialize;

use crate::components::Components;
use crate::digraph::Direction;
use crate::file::{Format, GraphFile};
use crate::{Digraph, Dropped};

/// A graph in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The format that it was read from.
    pub format: Format,
    /// Whether the file lists edges, each of which is two arcs.
    pub undirected: bool,
    /// How many vertices there are.
    pub vertices: usize,
    /// How many of them have no arc.
    pub isolated: usize,
    /// How many arcs there are.
    pub arcs: usize,
    /// What the file lists besides.
    pub dropped: Dropped,
    /// The id of the first vertex: 0 or 1.
    pub first_id: u32,
    /// Whether ids were numbered by first appearance.
    pub relabelled: bool,
    /// Strongly connected components.
    pub components: usize,
    /// The vertices of the largest of them.
    pub largest_component: usize,
    /// The vertices that are on some round trip: in a component of more than one.
    pub on_round_trips: usize,
    /// The share of arcs whose reverse is there too, of any length; 1 without arcs.
    pub reciprocity: f64,
    /// How many arcs leave a vertex.
    pub out_degree: Quantiles,
    /// How many arcs enter a vertex.
    pub in_degree: Quantiles,
    /// Lengths, in the file's unit; absent without arcs.
    pub length: Option<Quantiles>,
    /// Arcs of length 0.
    pub zero_arcs: usize,
    /// What a length of 1 is inside, in the file's unit: 10^-d for lengths of d decimals.
    pub unit: f64,
    /// Whether sums of lengths are exact, so that distances compare exactly.
    pub exact: bool,
    /// Whether vertices have coordinates.
    pub coordinates: bool,
}

/// Least, most and between: the value that so many of all do not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min: f64,
    /// 25 % are no more.
    pub quarter: f64,
    /// Half are no more.
    pub median: f64,
    /// 75 % are no more.
    pub three_quarters: f64,
    /// 99 % are no more.
    pub nearly_all: f64,
    /// The most.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
}

impl Quantiles {
    /// Those of `values`; `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        let last = values.len().checked_sub(1)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() as f64 * share).ceil() as usize).saturating_sub(1).min(last)];
        let [quarter, median, three_quarters, nearly_all] = [0.25, 0.5, 0.75, 0.99].map(at);
        Some(Self { min: values[0], quarter, median, three_quarters, nearly_all, max: values[last], mean })
    }

    fn times(self, unit: f64) -> Self {
        let power = (1.0 / unit).round(); // dividing by a power of ten rounds once, multiplying by its inverse twice
        let of = |value: f64| value / power;
        Self {
            min: of(self.min),
            quarter: of(self.quarter),
            median: of(self.median),
            three_quarters: of(self.three_quarters),
            nearly_all: of(self.nearly_all),
            max: of(self.max),
            mean: of(self.mean),
        }
    }
}

/// The numbers of a graph file. Cost: two sorts of the lengths and degrees, one search for components.
pub fn stats(file: &GraphFile) -> Stats {
    let graph = &file.graph;
    let components = Components::of(graph);
    let degrees = |direction| (0..graph.vertices() as u32).map(move |v| graph.steps(direction, v).len());
    let isolated = degrees(Direction::Out).zip(degrees(Direction::In)).filter(|&(out, back)| out + back == 0).count();
    let quantiles = |direction| Quantiles::of(degrees(direction).map(|degree| degree as f64).collect());
    let lengths: Vec<f64> = graph.list().map(|arc| arc.length).collect();
    let arcs = graph.arcs();
    Stats {
        format: file.format,
        undirected: file.undirected,
        vertices: graph.vertices(),
        isolated,
        arcs,
        dropped: file.dropped,
        first_id: file.first_id,
        relabelled: file.labels.is_some(),
        components: components.sizes.len(),
        largest_component: components.sizes.iter().max().map_or(0, |&size| size as usize),
        on_round_trips: components.sizes.iter().filter(|&&size| size > 1).map(|&size| size as usize).sum(),
        reciprocity: if arcs == 0 { 1.0 } else { answered(graph) as f64 / arcs as f64 },
        out_degree: quantiles(Direction::Out).unwrap_or_default(),
        in_degree: quantiles(Direction::In).unwrap_or_default(),
        zero_arcs: lengths.iter().filter(|&&length| length == 0.0).count(),
        length: Quantiles::of(lengths).map(|lengths| lengths.times(file.unit)),
        unit: file.unit,
        exact: graph.tolerance() == 0.0,
        coordinates: file.coordinates.is_some(),
    }
}

/// How many arcs have a reverse: the steps of both directions are ascending, so one pass merges them.
fn answered(graph: &Digraph) -> usize {
    let both = |vertex| {
        let mut back = graph.steps(Direction::In, vertex).iter().map(|step| step.to).peekable();
        let out = graph.steps(Direction::Out, vertex).iter().map(|step| step.to);
        out.filter(|&to| {
            while back.next_if(|&from| from < to).is_some() {}
            back.next_if_eq(&to).is_some()
        })
        .count()
    };
    (0..graph.vertices() as u32).map(both).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{self, ReadOptions};

    #[test]
    fn a_small_graph_in_numbers() {
        // A two-way street, a one-way ring through it, a dead end, a loop, a parallel arc and a lonely vertex.
        let text = "p sp 5 8\na 1 2 0.5\na 2 1 0.25\na 2 3 1\na 3 1 0\na 3 4 2\na 4 4 1\na 1 2 0.75\na 2 3 1\n";
        let file = file::from_bytes("g.gr", text.into(), &ReadOptions::default()).unwrap();
        let found = stats(&file);
        assert_eq!((found.vertices, found.isolated, found.arcs), (5, 1, 5));
        assert_eq!(found.dropped, Dropped { loops: 1, parallel: 2 });
        assert_eq!((found.components, found.largest_component, found.on_round_trips), (3, 3, 3));
        assert_eq!((found.reciprocity, found.zero_arcs), (0.4, 1));
        assert_eq!((found.unit, found.exact), (0.01, true));
        let length = found.length.unwrap();
        assert_eq!([length.min, length.quarter, length.median, length.max, length.mean], [0.0, 0.25, 0.5, 2.0, 0.75]);
        assert_eq!([found.out_degree.median, found.out_degree.max, found.in_degree.max], [1.0, 2.0, 2.0]);
    }

    #[test]
    fn an_empty_graph_has_no_lengths() {
        let file = file::from_bytes("g.gr", b"p sp 0 0\n".to_vec(), &ReadOptions::default()).unwrap();
        let found = stats(&file);
        assert_eq!((found.vertices, found.components, found.length), (0, 0, None));
    }
}
