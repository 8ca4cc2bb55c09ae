//! Bounded shortest paths from one vertex: the loop in which every construction spends its time.
//!
//! Dijkstra's order by buckets of equal width instead of a heap: no comparison tree, eight bytes for each entry. The
//! width is the shortest positive length, or a thousandth of the longest if that is more. Where lengths differ so much, a
//! bucket may hold a vertex and those after it: it is then emptied through a heap, which stays small. A label that is
//! corrected has its vertex walked again, so distances are exact in any case. Labels are stamped with the search they
//! belong to and never cleared. Source: Dial (1969), Brown's calendar queue (1988).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::digraph::{ArcSet, Digraph, Direction, Step};

/// The steps that a search may take from a vertex.
pub trait View: Sync {
    /// Calls `take` with each of them.
    fn steps(&self, vertex: u32, take: impl FnMut(Step));
}

/// All arcs of a graph, walked in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a>(pub &'a Digraph, pub Direction);

impl View for Whole<'_> {
    #[inline]
    fn steps(&self, vertex: u32, take: impl FnMut(Step)) {
        self.0.steps(self.1, vertex).iter().copied().for_each(take);
    }
}

/// The arcs in a set, walked in one direction. The set holds *positions* of that direction
/// ([`Digraph::row`]), which along the arcs are their numbers.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a>(pub &'a Digraph, pub Direction, pub &'a ArcSet);

impl View for Kept<'_> {
    #[inline]
    fn steps(&self, vertex: u32, mut take: impl FnMut(Step)) {
        let row = self.0.row(self.1, vertex);
        let steps = self.0.steps(self.1, vertex);
        self.2.within(row.clone(), |position| take(steps[position - row.start]));
    }
}

/// The arcs in either of two sets, as [`Kept`] walks those of one.
#[derive(Debug, Clone, Copy)]
pub struct KeptOrAdded<'a>(pub Kept<'a>, pub &'a ArcSet);

impl View for KeptOrAdded<'_> {
    #[inline]
    fn steps(&self, vertex: u32, mut take: impl FnMut(Step)) {
        let Self(Kept(graph, direction, kept), added) = *self;
        let (row, steps) = (graph.row(direction, vertex), graph.steps(direction, vertex));
        kept.within_either(added, row.clone(), |position| take(steps[position - row.start]));
    }
}

/// What a search knows of a vertex.
#[derive(Debug, Clone, Copy)]
struct Label {
    distance: f64,
    parent: u32,
    /// The search that wrote this label, times two; plus one if the vertex was walked at this distance.
    stamp: u32,
}

/// A bounded search from one vertex. Make one for each thread and direction, and start it again and again.
#[derive(Debug)]
pub struct Search {
    labels: Vec<Label>,
    epoch: u32,
    bound: f64,
    buckets: Buckets,
    reached: Vec<u32>,
    relaxations: u64,
}

impl Search {
    /// A search on graphs like `graph`: 16 bytes for each vertex.
    pub fn new(graph: &Digraph) -> Self {
        Self {
            labels: vec![Label { distance: 0.0, parent: 0, stamp: 0 }; graph.vertices()],
            epoch: 0,
            bound: 0.0,
            buckets: Buckets::new(graph),
            reached: Vec::new(),
            relaxations: 0,
        }
    }

    /// Begins again at `root`. Nothing farther than `bound` will be reached.
    pub fn start(&mut self, root: u32, bound: f64) {
        if self.epoch == u32::MAX >> 1 {
            self.labels.fill(Label { distance: 0.0, parent: 0, stamp: 0 });
            self.epoch = 0;
        }
        self.epoch += 1;
        self.bound = bound;
        self.reached.clear();
        self.buckets.start(bound);
        self.labels[root as usize] = Label { distance: 0.0, parent: root, stamp: self.epoch << 1 };
        self.reached.push(root);
        self.buckets.push(root, 0.0);
    }

    /// Walks on until every vertex that `view` and `admit` let it reach within `limit` (at most the bound) has its final
    /// distance; some beyond may have theirs. `admit` says whether a vertex may be walked through, or reached.
    pub fn advance(&mut self, view: &impl View, limit: f64, admit: impl Fn(u32) -> bool) {
        let Self { labels, buckets, reached, bound, .. } = self;
        let (fresh, walked) = (self.epoch << 1, self.epoch << 1 | 1);
        let mut relaxations = 0;
        while let Some(vertex) = buckets.pop(limit, |vertex| labels[vertex as usize].distance) {
            let label = &mut labels[vertex as usize];
            if label.stamp == walked || !admit(vertex) {
                continue;
            }
            label.stamp = walked;
            let distance = label.distance;
            view.steps(vertex, |step| {
                relaxations += 1;
                let through = distance + step.length;
                if through > *bound {
                    return;
                }
                let label = &mut labels[step.to as usize];
                if label.stamp < fresh {
                    if !admit(step.to) {
                        return;
                    }
                    reached.push(step.to);
                } else if label.distance <= through {
                    return;
                }
                *label = Label { distance: through, parent: vertex, stamp: fresh };
                buckets.push(step.to, through);
            });
        }
        self.relaxations += relaxations;
    }

    /// Takes note of a way to `vertex` over `parent` that the search has not walked: an arc added since it began, say. The
    /// next [`advance`](Self::advance) walks on from it. A vertex known to be as near, or beyond the bound, stays as it is.
    pub fn lower(&mut self, vertex: u32, distance: f64, parent: u32) {
        let (fresh, label) = (self.epoch << 1, &mut self.labels[vertex as usize]);
        if distance > self.bound || label.stamp >= fresh && label.distance <= distance {
            return;
        }
        if label.stamp < fresh {
            self.reached.push(vertex);
        }
        *label = Label { distance, parent, stamp: fresh };
        self.buckets.step_back(distance);
        self.buckets.push(vertex, distance);
    }

    /// A whole search: all that `view` reaches from `root` within `bound`.
    pub fn run(&mut self, view: &impl View, root: u32, bound: f64) {
        self.start(root, bound);
        self.advance(view, bound, |_| true);
    }

    /// The distance of `vertex`, infinite if it was not reached. Final once the search has advanced as far.
    #[inline]
    pub fn distance(&self, vertex: u32) -> f64 {
        let label = &self.labels[vertex as usize];
        if label.stamp >= self.epoch << 1 { label.distance } else { f64::INFINITY }
    }

    /// The vertex before `vertex` on a shortest path from the root, for one that was reached; the root's is itself.
    #[inline]
    pub fn parent(&self, vertex: u32) -> u32 {
        self.labels[vertex as usize].parent
    }

    /// All vertices reached, each once, the root first.
    pub fn reached(&self) -> &[u32] {
        &self.reached
    }

    /// How many arcs all searches have looked at.
    pub fn relaxations(&self) -> u64 {
        self.relaxations
    }
}

/// How many buckets there are. Keys in the queue differ by at most one arc, so that positions may wrap around.
const BUCKETS: usize = 1024;

/// Buckets wider than so many of the shortest lengths are emptied in order.
const WIDE: f64 = 4.0;

/// A list of vertices for each interval of distance, all in one pool.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// The first entry of each list.
    first: Box<[u32; BUCKETS]>,
    /// One bit for each list that is not empty.
    filled: [u64; BUCKETS / 64],
    /// Vertex and next entry.
    entries: Vec<(u32, u32)>,
    /// Entries to use again, as a list.
    free: u32,
    /// The interval at which the search stands, counted from distance 0.
    current: u64,
    per_unit: f64,
    shortest: f64,
    longest: f64,
    len: usize,
    /// Whether buckets are so wide that their order matters.
    wide: bool,
    /// The entries of the interval `opened`, the nearest first, if buckets are wide. (Distances that are not negative
    /// compare as their bits do.)
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    opened: u64,
}

/// No interval is opened.
const NONE: u64 = u64::MAX;

const END: u32 = u32::MAX;

impl Buckets {
    pub(crate) fn new(graph: &Digraph) -> Self {
        let (shortest, longest) = graph.lengths();
        Self {
            first: Box::new([END; BUCKETS]),
            filled: [0; BUCKETS / 64],
            entries: Vec::new(),
            free: END,
            current: 0,
            per_unit: 1.0,
            shortest,
            longest,
            len: 0,
            wide: false,
            heap: BinaryHeap::new(),
            opened: NONE,
        }
    }

    /// Forgets all entries. No arc longer than `bound` will be pushed.
    pub(crate) fn start(&mut self, bound: f64) {
        if self.len > 0 {
            self.first.fill(END);
            self.filled.fill(0);
        }
        self.entries.clear();
        (self.free, self.current, self.len) = (END, 0, 0);
        let widest_arc = self.longest.min(bound);
        let width = self.shortest.max(widest_arc / (BUCKETS - 2) as f64);
        self.per_unit = if width > 0.0 && width.is_finite() { 1.0 / width } else { 1.0 };
        self.wide = width > WIDE * self.shortest;
        self.heap.clear();
        self.opened = NONE;
    }

    /// Makes room for an entry nearer than where the search stands. Entries may then lie farther apart than there are
    /// buckets; some come too early for it and are corrected, none too late.
    fn step_back(&mut self, distance: f64) {
        let interval = (distance * self.per_unit) as u64;
        self.current = if self.len == 0 { interval } else { self.current.min(interval) };
        self.opened = NONE;
        while let Some(Reverse((bits, vertex))) = self.heap.pop() {
            self.list(vertex, (f64::from_bits(bits) * self.per_unit) as u64);
        }
    }

    /// Moves on to where `distance` lies; nothing nearer may be in the queue.
    pub(crate) fn move_to(&mut self, distance: f64) {
        self.current = (distance * self.per_unit) as u64;
    }

    /// Whether the search stands where `distance` lies, or beyond.
    #[inline]
    pub(crate) fn is_due(&self, distance: f64) -> bool {
        (distance * self.per_unit) as u64 <= self.current
    }

    /// Adds a vertex at a distance not nearer than where the search stands.
    #[inline]
    pub(crate) fn push(&mut self, vertex: u32, distance: f64) {
        let interval = (distance * self.per_unit) as u64;
        self.len += 1;
        if interval == self.opened {
            self.heap.push(Reverse((distance.to_bits(), vertex)));
        } else {
            self.list(vertex, interval);
        }
    }

    #[inline]
    fn list(&mut self, vertex: u32, interval: u64) {
        let place = interval as usize % BUCKETS;
        let next = self.first[place];
        let entry = if self.free == END {
            self.entries.push((vertex, next));
            self.entries.len() as u32 - 1
        } else {
            let entry = self.free;
            self.free = std::mem::replace(&mut self.entries[entry as usize], (vertex, next)).1;
            entry
        };
        self.first[place] = entry;
        self.filled[place / 64] |= 1 << (place % 64);
    }

    /// A vertex that is no farther than `limit`, or hardly: the nearest, or one in the nearest list. `distance` tells the
    /// distance of a vertex.
    #[inline]
    pub(crate) fn pop(&mut self, limit: f64, distance: impl Fn(u32) -> f64) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        if self.wide {
            return self.pop_nearest(limit, distance);
        }
        let place = self.nearest();
        if self.current > (limit * self.per_unit) as u64 {
            return None;
        }
        self.len -= 1;
        Some(self.unlist(place))
    }

    fn pop_nearest(&mut self, limit: f64, distance: impl Fn(u32) -> f64) -> Option<u32> {
        if self.heap.is_empty() {
            let place = self.nearest();
            if self.current > (limit * self.per_unit) as u64 {
                return None;
            }
            self.opened = self.current;
            while self.first[place] != END {
                let vertex = self.unlist(place);
                // One whose distance has changed since is in another list too.
                let (key, here) = (distance(vertex), self.opened);
                let key = if (key * self.per_unit) as u64 == here { key } else { 0.0 };
                self.heap.push(Reverse((key.to_bits(), vertex)));
            }
        }
        let Reverse((bits, _)) = self.heap.peek()?;
        if f64::from_bits(*bits) > limit {
            return None;
        }
        self.len -= 1;
        self.heap.pop().map(|Reverse((_, vertex))| vertex)
    }

    /// Takes a vertex from a list that is not empty.
    #[inline]
    fn unlist(&mut self, place: usize) -> u32 {
        let entry = self.first[place];
        let (vertex, next) = self.entries[entry as usize];
        self.entries[entry as usize].1 = self.free;
        self.free = entry;
        self.first[place] = next;
        if next == END {
            self.filled[place / 64] &= !(1 << (place % 64));
        }
        vertex
    }

    /// Moves on to the next list that is not empty (there is one); gives its place.
    #[inline]
    fn nearest(&mut self) -> usize {
        let from = self.current as usize % BUCKETS;
        let here = self.filled[from / 64] >> (from % 64);
        if here & 1 == 1 {
            return from;
        }
        let mut ahead = if here != 0 { here.trailing_zeros() as usize } else { 64 - from % 64 };
        if here == 0 {
            while self.filled[(from + ahead) / 64 % (BUCKETS / 64)] == 0 {
                ahead += 64;
            }
            ahead += self.filled[(from + ahead) / 64 % (BUCKETS / 64)].trailing_zeros() as usize;
        }
        self.current += ahead as u64;
        (from + ahead) % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Arc;

    /// Distances from `root` by Bellman and Ford: relax all arcs until nothing changes.
    fn bellman_ford(graph: &Digraph, root: u32) -> Vec<f64> {
        let mut distance = vec![f64::INFINITY; graph.vertices()];
        distance[root as usize] = 0.0;
        for _ in 0..graph.vertices() {
            for Arc { from, to, length } in graph.list() {
                distance[to as usize] = distance[to as usize].min(distance[from as usize] + length);
            }
        }
        distance
    }

    fn lengths() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), (1u32..50).prop_map(f64::from), (1u32..2_000_000).prop_map(f64::from), 0.0..1.0f64]
    }

    proptest! {
        #[test]
        fn distances_are_those_of_bellman_and_ford(
            arcs in prop::collection::vec((0u32..30, 0u32..30, lengths()), 0..150),
            root in 0u32..30,
            bound in prop_oneof![Just(f64::INFINITY), 0.0..100.0, 0.0..5e6f64],
        ) {
            let (graph, _) = Digraph::from_arcs(30, arcs.into_iter().map(Arc::from).collect()).unwrap();
            let expected = bellman_ford(&graph, root);
            let mut search = Search::new(&graph);
            for _ in 0..2 {
                search.run(&Whole(&graph, Direction::Out), root, bound);
                for v in 0..30 {
                    let within = if expected[v as usize] <= bound { expected[v as usize] } else { f64::INFINITY };
                    prop_assert_eq!(search.distance(v), within);
                    prop_assert_eq!(search.reached().contains(&v), within.is_finite());
                    if within.is_finite() && v != root {
                        let parent = search.parent(v);
                        let step = graph.steps(Direction::Out, parent).iter().find(|step| step.to == v).unwrap();
                        prop_assert_eq!(search.distance(parent) + step.length, within);
                    }
                }
            }
        }

        #[test]
        fn to_walk_in_two_parts_is_to_walk_once(
            arcs in prop::collection::vec((0u32..30, 0u32..30, lengths()), 0..150),
            part in 0.0..1.0f64,
        ) {
            let (graph, _) = Digraph::from_arcs(30, arcs.into_iter().map(Arc::from).collect()).unwrap();
            let view = Whole(&graph, Direction::In);
            let (mut once, mut twice) = (Search::new(&graph), Search::new(&graph));
            once.run(&view, 0, 1000.0);
            twice.start(0, 1000.0);
            twice.advance(&view, 1000.0 * part, |_| true);
            let near = (0..30).all(|v| once.distance(v) > 1000.0 * part || once.distance(v) == twice.distance(v));
            prop_assert!(near);
            twice.advance(&view, 1000.0, |_| true);
            for v in 0..30 {
                prop_assert_eq!(once.distance(v), twice.distance(v));
            }
        }

        #[test]
        fn a_set_of_arcs_is_walked_as_its_sub_graph(
            arcs in prop::collection::vec((0u32..30, 0u32..30, lengths()), 0..150),
            every in 1usize..4,
        ) {
            let (graph, _) = Digraph::from_arcs(30, arcs.into_iter().map(Arc::from).collect()).unwrap();
            let mut kept = ArcSet::none(&graph);
            (0..graph.arcs() as u32).step_by(every).for_each(|arc| { kept.insert(arc); });
            let mut search = Search::new(&graph);
            search.run(&Kept(&graph, Direction::Out, &kept), 0, f64::INFINITY);
            let expected = bellman_ford(&graph.subgraph(&kept), 0);
            for v in 0..30 {
                prop_assert_eq!(search.distance(v), expected[v as usize]);
            }
        }
    }
}
