//! A shortest round trip, as the vertices along it.

use serde::Serialize;

use crate::digraph::{ArcSet, Digraph, Direction};
use crate::search::{Search, Whole};

/// A walk from u to v and back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// The vertices on the way there, both ends included.
    pub there: Vec<u32>,
    /// The vertices on the way back, both ends included.
    pub back: Vec<u32>,
    /// The length there.
    pub length_there: f64,
    /// The length back.
    pub length_back: f64,
}

impl Route {
    /// The arcs of `graph` on the way there and back.
    pub fn arcs(&self, graph: &Digraph) -> ArcSet {
        let mut arcs = ArcSet::none(graph);
        for step in self.there.windows(2).chain(self.back.windows(2)) {
            if let Some(position) = graph.position(Direction::Out, step[0], step[1]) {
                arcs.insert(graph.number(Direction::Out, position));
            }
        }
        arcs
    }
}

/// A shortest round trip from `u` to `v` in `graph`, or `None` if there is none. Both are vertices of the graph.
pub fn route(graph: &Digraph, u: u32, v: u32) -> Option<Route> {
    let mut search = Search::new(graph);
    let mut way = |from: u32, to: u32| {
        search.run(&Whole(graph, Direction::Out), from, f64::INFINITY);
        let length = search.distance(to);
        let walk = || std::iter::successors(Some(to), |&vertex| (vertex != from).then(|| search.parent(vertex)));
        length.is_finite().then(|| (walk().collect::<Vec<_>>().into_iter().rev().collect(), length))
    };
    let ((there, length_there), (back, length_back)) = (way(u, v)?, way(v, u)?);
    Some(Route { there, back, length_there, length_back })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arc;

    #[test]
    fn there_and_back_on_a_ring() {
        let arcs = (0..5).map(|v| Arc { from: v, to: (v + 1) % 5, length: 2.0 }).collect();
        let (ring, _) = Digraph::from_arcs(6, arcs).unwrap();
        let trip = route(&ring, 1, 3).unwrap();
        assert_eq!(trip.arcs(&ring).len(), 5);
        assert_eq!((trip.there, trip.back), (vec![1, 2, 3], vec![3, 4, 0, 1]));
        assert_eq!((trip.length_there, trip.length_back), (4.0, 6.0));
        assert_eq!(route(&ring, 0, 5), None);
        assert_eq!(route(&ring, 2, 2).unwrap().there, [2]);
    }
}
