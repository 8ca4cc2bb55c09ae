//! Strongly connected components: the vertices between which round trips exist.
//!
//! Source: Tarjan, *Depth-first search and linear graph algorithms* (SIAM Journal on Computing, 1972), with a stack of
//! its own, since a road of a million vertices is a recursion of that depth. Cost: one look at each arc.

use crate::Digraph;
use crate::digraph::Direction;

/// Arcs by their tails, as the walk reads them. Positions of all rows are numbered on.
pub(crate) trait Rows {
    /// How many rows there are.
    fn vertices(&self) -> usize;
    /// Where the row of `vertex` begins.
    fn start(&self, vertex: u32) -> u32;
    /// The heads in the row of `vertex` from `position` on, each with the position behind it.
    fn heads(&self, vertex: u32, position: u32) -> impl Iterator<Item = (u32, u32)>;
}

/// The arcs of a graph that are no longer than a length.
struct UpTo<'a>(&'a Digraph, f64);

impl Rows for UpTo<'_> {
    fn vertices(&self) -> usize {
        self.0.vertices()
    }

    #[inline]
    fn start(&self, vertex: u32) -> u32 {
        self.0.row(Direction::Out, vertex).start as u32
    }

    #[inline]
    fn heads(&self, vertex: u32, position: u32) -> impl Iterator<Item = (u32, u32)> {
        let &Self(graph, length) = self;
        let steps = &graph.steps(Direction::Out, vertex)[(position - self.start(vertex)) as usize..];
        steps
            .iter()
            .zip(position + 1..)
            .filter(move |(step, _)| step.length <= length)
            .map(|(step, next)| (step.to, next))
    }
}

/// To which component each vertex belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// The component of each vertex; components are numbered from 0, against the direction of the arcs between them.
    pub of: Vec<u32>,
    /// How many vertices each component has.
    pub sizes: Vec<u32>,
}

impl Components {
    /// Those of the whole graph.
    pub fn of(graph: &Digraph) -> Self {
        Self::up_to(graph, f64::INFINITY)
    }

    /// Those of the arcs that are no longer than `length`: a closed walk no longer than that stays within one.
    pub fn up_to(graph: &Digraph, length: f64) -> Self {
        Self::of_rows(&UpTo(graph, length))
    }

    /// Those of any rows of arcs.
    pub(crate) fn of_rows(rows: &impl Rows) -> Self {
        Tarjan::new(rows).run()
    }

    /// The number of vertices in the component of `vertex`.
    #[inline]
    pub fn size(&self, vertex: u32) -> u32 {
        self.sizes[self.of[vertex as usize] as usize]
    }

    /// Whether two vertices have a round trip between them.
    #[inline]
    pub fn together(&self, u: u32, v: u32) -> bool {
        self.of[u as usize] == self.of[v as usize]
    }
}

/// No number: the vertex has not been seen, or has no component yet.
const NONE: u32 = u32::MAX;

struct Tarjan<'a, R> {
    rows: &'a R,
    /// When each vertex was first seen; lowered to the earliest vertex on the stack that it reaches (the low link).
    low: Vec<u32>,
    component: Vec<u32>,
    sizes: Vec<u32>,
    /// Vertices seen that have no component yet.
    open: Vec<u32>,
    /// The walk: a vertex, when it was first seen, and the position of its next step.
    path: Vec<(u32, u32, u32)>,
    seen: u32,
}

impl<'a, R: Rows> Tarjan<'a, R> {
    fn new(rows: &'a R) -> Self {
        let n = rows.vertices();
        let (low, component) = (vec![NONE; n], vec![NONE; n]);
        Self { rows, low, component, sizes: Vec::new(), open: Vec::new(), path: Vec::new(), seen: 0 }
    }

    fn run(mut self) -> Components {
        for root in 0..self.rows.vertices() as u32 {
            if self.low[root as usize] == NONE {
                self.enter(root);
                while let Some((vertex, first_seen, position)) = self.path.pop() {
                    self.step(vertex, first_seen, position);
                }
            }
        }
        Components { of: self.component, sizes: self.sizes }
    }

    fn enter(&mut self, vertex: u32) {
        self.low[vertex as usize] = self.seen;
        self.open.push(vertex);
        self.path.push((vertex, self.seen, self.rows.start(vertex)));
        self.seen += 1;
    }

    /// Goes on at `vertex` from `position`: down to the next vertex not seen, or back with what was found below.
    fn step(&mut self, vertex: u32, first_seen: u32, position: u32) {
        let rows = self.rows;
        let mut low = self.low[vertex as usize];
        for (head, next) in rows.heads(vertex, position) {
            let to = head as usize;
            if self.component[to] != NONE {
                continue;
            }
            if self.low[to] == NONE {
                self.low[vertex as usize] = low;
                self.path.push((vertex, first_seen, next));
                self.enter(head);
                return;
            }
            low = low.min(self.low[to]);
        }
        self.low[vertex as usize] = low;
        if low == first_seen {
            self.close(vertex);
        }
        if let Some(&(parent, ..)) = self.path.last() {
            let above = &mut self.low[parent as usize];
            *above = low.min(*above);
        }
    }

    /// All open vertices from `root` on are one component.
    fn close(&mut self, root: u32) {
        let number = self.sizes.len() as u32;
        let mut size = 0;
        while let Some(vertex) = self.open.pop() {
            self.component[vertex as usize] = number;
            size += 1;
            if vertex == root {
                break;
            }
        }
        self.sizes.push(size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Arc;

    /// Whether each vertex reaches each other, by Warshall's closure.
    fn reach(vertices: usize, arcs: &[(u32, u32, f64)], length: f64) -> Vec<Vec<bool>> {
        let mut reach: Vec<Vec<_>> = (0..vertices).map(|u| (0..vertices).map(|v| u == v).collect()).collect();
        for &(from, to, _) in arcs.iter().filter(|arc| arc.2 <= length) {
            reach[from as usize][to as usize] = true;
        }
        for over in 0..vertices {
            for from in 0..vertices {
                for to in 0..vertices {
                    reach[from][to] |= reach[from][over] && reach[over][to];
                }
            }
        }
        reach
    }

    proptest! {
        #[test]
        fn together_are_those_that_reach_each_other(
            arcs in prop::collection::vec((0u32..25, 0u32..25, (0u8..4).prop_map(f64::from)), 0..90),
            length in 0u8..4,
        ) {
            let (graph, _) = Digraph::from_arcs(25, arcs.iter().copied().map(Arc::from).collect()).unwrap();
            let components = Components::up_to(&graph, length.into());
            let reach = reach(25, &arcs, length.into());
            for u in 0..25 {
                let mates = |v: &u32| reach[u as usize][*v as usize] && reach[*v as usize][u as usize];
                prop_assert_eq!(components.size(u) as usize, (0..25).filter(mates).count());
                for v in 0..25 {
                    prop_assert_eq!(components.together(u, v), mates(&v));
                }
            }
        }
    }

    #[test]
    fn a_ring_of_a_million_is_one() {
        let n = 1_000_000;
        let arcs = (0..n).map(|v| Arc { from: v, to: (v + 1) % n, length: 1.0 }).collect();
        let (ring, _) = Digraph::from_arcs(n as usize, arcs).unwrap();
        assert_eq!(Components::of(&ring).sizes, [n]);
        assert_eq!(Components::up_to(&ring, 0.5).sizes.len(), n as usize);
    }
}
