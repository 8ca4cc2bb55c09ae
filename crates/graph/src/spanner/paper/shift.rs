//! Exponential-shift clustering: every centre starts at a random time, and a vertex joins whom it hears first.
//!
//! Each centre c draws a head start `x_c ~ Exp(β)`; v joins the centre with the largest `f_c(v) = x_c − d(c → v)` if that is
//! at least 0, else it stays in the rest. Two vertices with a round trip of R land in one part with probability at
//! least `e^(−βR)`. One search does it for all centres: c enters at key `X − x_c`, X the largest head start.
//!
//! **Padding.** With `M1 ≥ M2` the two largest f of u, of different centres: if `M1 − max(M2, 0) > R`, or `M1 < −R`, then
//! every v with `rt(u, v) ≤ R` lands in u's part. For f changes by at most R from u to v, that of all centres taken
//! together: `f_c(v) ≥ f_c(u) − d(u → v)` and `f_c'(v) ≤ f_c'(u) + d(v → u)`. So two labels for each vertex tell who is safe. A
//! vertex's two best centres are among the two best of the vertex before it, so no label but these need go on.
//!
//! Source: Miller, Peng, Xu (2013) as used by *A fast algorithm for source-wise round-trip spanners* (2021). Cost: about
//! twice one shortest-path search.

use crate::digraph::{Digraph, Direction};
use crate::search::Buckets;

/// A centre's claim on a vertex.
#[derive(Debug, Clone, Copy)]
struct Label {
    /// X − f.
    key: f64,
    centre: u32,
    walked: bool,
}

impl Label {
    const NONE: Self = Self { key: f64::INFINITY, centre: u32::MAX, walked: true };

    fn before(&self, other: &Self) -> bool {
        (self.key, self.centre) < (other.key, other.centre)
    }
}

/// The search. Make one, and run it again and again.
#[derive(Debug)]
pub(super) struct Shifts {
    labels: Vec<[Label; 2]>,
    stamps: Vec<u32>,
    epoch: u32,
    buckets: Buckets,
    reached: Vec<u32>,
    latest: f64,
    relaxations: u64,
}

impl Shifts {
    pub(super) fn new(graph: &Digraph) -> Self {
        Self {
            labels: vec![[Label::NONE; 2]; graph.vertices()],
            stamps: vec![0; graph.vertices()],
            epoch: 0,
            buckets: Buckets::new(graph),
            reached: Vec::new(),
            latest: 0.0,
            relaxations: 0,
        }
    }

    /// Runs from `centres`, each with its head start, the largest first, among the vertices that `admit` lets in. First labels
    /// are found down to f = −`margin`, second ones down to 0.
    pub(super) fn run(
        &mut self,
        graph: &Digraph,
        direction: Direction,
        centres: &[(f64, u32)],
        margin: f64,
        admit: impl Fn(u32) -> bool,
    ) {
        let latest = centres.first().map_or(0.0, |&(start, _)| start);
        self.latest = latest;
        let bound = latest + margin;
        self.buckets.start(bound);
        self.reached.clear();
        self.epoch += 1;
        let mut entering = centres.iter().map(|&(start, centre)| (latest - start, centre)).peekable();
        loop {
            let next = entering.peek().map_or(bound, |&(key, _)| key);
            let labels = &self.labels;
            let waits =
                |vertex: u32| labels[vertex as usize].iter().find(|label| !label.walked).map_or(0.0, |label| label.key);
            if let Some(vertex) = self.buckets.pop(next, waits) {
                for slot in 0..2 {
                    self.walk(graph, direction, vertex, slot, bound, &admit);
                }
            } else if let Some((key, centre)) = entering.next() {
                self.buckets.move_to(key);
                self.offer(centre, Label { key, centre, walked: false });
            } else {
                return;
            }
        }
    }

    /// Carries a label of `vertex` on, if it is due and was not.
    fn walk(
        &mut self,
        graph: &Digraph,
        direction: Direction,
        vertex: u32,
        slot: usize,
        bound: f64,
        admit: impl Fn(u32) -> bool,
    ) {
        let label = &mut self.labels[vertex as usize][slot];
        if label.walked || !self.buckets.is_due(label.key) {
            return;
        }
        label.walked = true;
        let Label { key, centre, .. } = *label;
        let bound = if slot == 0 { bound } else { self.latest };
        let steps = graph.steps(direction, vertex);
        self.relaxations += steps.len() as u64;
        for step in steps {
            let key = key + step.length;
            if key <= bound && admit(step.to) {
                self.offer(step.to, Label { key, centre, walked: false });
            }
        }
    }

    /// Keeps a label if it is among the best two of different centres.
    #[inline]
    fn offer(&mut self, vertex: u32, label: Label) {
        let [first, second] = &mut self.labels[vertex as usize];
        let stamp = &mut self.stamps[vertex as usize];
        if *stamp != self.epoch {
            *stamp = self.epoch;
            (*first, *second) = (label, Label::NONE);
            self.reached.push(vertex);
        } else if label.centre == first.centre {
            if label.key >= first.key {
                return;
            }
            *first = label;
        } else if label.before(first) {
            *second = std::mem::replace(first, label);
        } else if label.key <= self.latest && label.before(second) {
            *second = label;
        } else {
            return;
        }
        self.buckets.push(vertex, label.key);
    }

    /// All vertices with a label.
    pub(super) fn reached(&self) -> &[u32] {
        &self.reached
    }

    /// The largest f of `vertex` and whose it is; none if that is below −margin.
    pub(super) fn first(&self, vertex: u32) -> Option<(f64, u32)> {
        let label = &self.labels[vertex as usize][0];
        (self.stamps[vertex as usize] == self.epoch).then_some((self.latest - label.key, label.centre))
    }

    /// The largest f of `vertex` of another centre than the first's; none if that is negative.
    pub(super) fn second(&self, vertex: u32) -> Option<(f64, u32)> {
        let label = &self.labels[vertex as usize][1];
        let there = self.stamps[vertex as usize] == self.epoch && label.key <= self.latest;
        there.then_some((self.latest - label.key, label.centre))
    }

    /// Whose part `vertex` is in; none for the rest.
    pub(super) fn part(&self, vertex: u32) -> Option<u32> {
        self.first(vertex).filter(|&(f, _)| f >= 0.0).map(|(_, centre)| centre)
    }

    /// Whether every vertex within a round trip of `r` of `vertex` is in its part: `margin` must have been more than r.
    pub(super) fn is_padded(&self, vertex: u32, r: f64) -> bool {
        match self.first(vertex) {
            None => true,
            Some((first, _)) => first < -r || first - self.second(vertex).map_or(0.0, |(f, _)| f) > r,
        }
    }

    /// How many arcs all runs have looked at.
    pub(super) fn relaxations(&self) -> u64 {
        self.relaxations
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::Arc;

    /// f of every centre at `vertex`, largest first, by a table of all distances.
    fn claims(d: &[Vec<f64>], direction: Direction, centres: &[(f64, u32)], vertex: u32) -> Vec<(f64, u32)> {
        let distance = |centre: u32| match direction {
            Direction::Out => d[centre as usize][vertex as usize],
            Direction::In => d[vertex as usize][centre as usize],
        };
        let mut claims: Vec<_> = centres.iter().map(|&(start, centre)| (start - distance(centre), centre)).collect();
        claims.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        claims
    }

    /// All distances among the vertices that `admit` lets in, by Floyd and Warshall.
    fn distances(graph: &Digraph, admit: impl Fn(u32) -> bool) -> Vec<Vec<f64>> {
        let n = graph.vertices();
        let mut d = vec![vec![f64::INFINITY; n]; n];
        (0..n).for_each(|v| d[v][v] = 0.0);
        let inside = graph.list().filter(|arc| admit(arc.from) && admit(arc.to));
        inside.for_each(|Arc { from, to, length }| d[from as usize][to as usize] = length);
        for over in 0..n {
            for from in 0..n {
                for to in 0..n {
                    d[from][to] = d[from][to].min(d[from][over] + d[over][to]);
                }
            }
        }
        d
    }

    fn graph(arcs: Vec<(u32, u32, u32)>) -> Digraph {
        let arcs = arcs.into_iter().map(|(from, to, length)| Arc { from, to, length: length.into() }).collect();
        Digraph::from_arcs(30, arcs).unwrap().0
    }

    /// Centres among the first `count` vertices of those admitted, with head starts of this mean.
    fn draw(count: u32, mean: f64, admit: impl Fn(u32) -> bool, random: &mut ChaCha8Rng) -> Vec<(f64, u32)> {
        let start = |centre| (-mean * (1.0 - random.random::<f64>()).ln(), centre);
        let mut centres: Vec<_> = (0..count).filter(|&centre| admit(centre)).map(start).collect();
        centres.sort_by(|a, b| b.0.total_cmp(&a.0));
        centres
    }

    proptest! {
        #[test]
        fn the_best_two_labels_are_those_of_one_search_for_each_centre(
            arcs in prop::collection::vec((0u32..30, 0u32..30, prop_oneof![0u32..5, 1u32..100, 1u32..100_000]), 0..150),
            count in 0u32..30,
            mean in prop_oneof![0.5..5.0, 5.0..200.0, 1e3..1e5f64],
            margin in prop_oneof![0.0..3.0, 1.0..1000.0f64],
            missing in 0u32..30,
            seed: u64,
        ) {
            let graph = graph(arcs);
            let admit = |vertex| vertex != missing;
            let d = distances(&graph, admit);
            let mut shifts = Shifts::new(&graph);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            for direction in [Direction::Out, Direction::In, Direction::Out] {
                let centres = draw(count, mean, admit, &mut random);
                shifts.run(&graph, direction, &centres, margin, admit);
                let least = 1e-9 * mean;
                for vertex in (0..30).filter(|&vertex| admit(vertex)) {
                    let claims = claims(&d, direction, &centres, vertex);
                    let agree = |found: Option<(f64, u32)>, at: usize, from: f64| match (found, claims.get(at)) {
                        (Some((f, centre)), Some(claim)) => (f - claim.0).abs() < least && centre == claim.1,
                        (None, claim) => claim.is_none_or(|claim| claim.0 < from + least),
                        _ => false,
                    };
                    prop_assert!(agree(shifts.first(vertex), 0, -margin));
                    prop_assert!(agree(shifts.second(vertex), 1, 0.0));
                    let part = claims.first().filter(|claim| claim.0 >= 0.0).map(|claim| claim.1);
                    prop_assert_eq!(shifts.part(vertex), part);
                }
                prop_assert!(shifts.reached().iter().all(|&vertex| admit(vertex)));
            }
        }

        #[test]
        fn a_padded_vertex_has_its_round_trips_in_its_part(
            arcs in prop::collection::vec((0u32..30, 0u32..30, 0u32..20), 60..200),
            count in 1u32..30,
            mean in 1.0..60.0f64,
            r in 1.0..40.0f64,
            seed: u64,
        ) {
            let graph = graph(arcs);
            let d = distances(&graph, |_| true);
            let mut shifts = Shifts::new(&graph);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            for direction in [Direction::Out, Direction::In] {
                shifts.run(&graph, direction, &draw(count, mean, |_| true, &mut random), r, |_| true);
                for u in (0..30).filter(|&u| shifts.is_padded(u, r)) {
                    for v in (0..30).filter(|&v| d[u as usize][v as usize] + d[v as usize][u as usize] <= r) {
                        prop_assert_eq!(shifts.part(u), shifts.part(v));
                    }
                }
            }
        }
    }

    /// Pr[same part] ≥ e^(−βR) and Pr[padded] ≥ e^(−2βR), by 4000 draws, within 4 standard deviations.
    #[test]
    fn near_vertices_are_separated_as_seldom_as_promised() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let arcs =
            (0..120).map(|_| (random.random_range(0..30), random.random_range(0..30), random.random_range(1..10)));
        let graph = graph(arcs.collect());
        let d = distances(&graph, |_| true);
        let (draws, mean, r) = (4000, 40.0, 20.0);
        let mut shifts = Shifts::new(&graph);
        let mut together = vec![[0; 30]; 30];
        let mut padded = [0; 30];
        for draw_number in 0..draws {
            let direction = [Direction::Out, Direction::In][draw_number % 2];
            shifts.run(&graph, direction, &draw(25, mean, |_| true, &mut random), r, |_| true);
            for u in 0..30u32 {
                padded[u as usize] += usize::from(shifts.is_padded(u, r));
                for v in 0..30u32 {
                    together[u as usize][v as usize] += usize::from(shifts.part(u) == shifts.part(v));
                }
            }
        }
        let at_least = |count: usize, probability: f64| {
            let deviation = (draws as f64 * probability * (1.0 - probability)).sqrt();
            count as f64 >= draws as f64 * probability - 4.0 * deviation
        };
        for u in 0..30 {
            assert!(at_least(padded[u], (-2.0 * r / mean).exp()), "{u}: {}", padded[u]);
            for v in 0..30 {
                let trip = d[u][v] + d[v][u];
                assert!(!trip.is_finite() || at_least(together[u][v], (-trip / mean).exp()), "{u}, {v}");
            }
        }
    }
}
