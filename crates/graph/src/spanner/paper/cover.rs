//! The cover at one scale: clusters such that every pair of a source and a vertex within a round trip of R shares one.
//!
//! `cover(P, U)` as the paper's recursion, on a list of parts P with their sources U, s' of them:
//!
//! 1. A part whose sources' own balls rtb(u, R) cost no more than a few looks at its arcs emits those. (One source always
//!    does. The paper does so for s' = 1 alone: more would be as many clusters for a vertex in the worst case, but here all
//!    balls together are no larger than a few times P, so that the bounds hold, with a radius of R instead of hundreds.)
//! 2. If a ball rtb(u, 2ρ) of one of a few sources drawn holds a quarter of U, it is emitted with a radius drawn from
//!    [2ρ, 2ρ + kLR], and the rest of P goes on; or all of P is, if it is within 2ρ + kLR.
//! 3. Else the fractions of U in out(u, ρ) and in(u, ρ) are estimated (`estimate.rs`). A source with three quarters both ways
//!    is such a centre too.
//! 4. Else few sources have large balls one way: that way the others, or all such vertices, are centres of an
//!    exponential-shift clustering (`shift.rs`), whose parts and rest go on. That no part has more than 7/8 of U is verified by
//!    counting; if one has, the estimate was wrong, and more samples are taken.
//!
//! So the depth is at most `L = ln s / ln(8/7)`. With `β = ln s / kRL = ln(8/7) / kR` a pair survives all levels with
//! probability `s^(−1/k)`, and `s^(1/k) · 3 ln n` repetitions cover all pairs with high probability. `ρ = 2 ln(N)/β` bounds all
//! head starts, N the number of centres (at least 8; drawn again, at most 20 times, if not). L, s and N are those of
//! the component and of the part at hand.
//!
//! **Stopping early.** A source is *padded* if its R-ball was cut by no step of this repetition: the shift's certificate at
//! step 4, at step 2 a round trip to c outside `(r − R, r + R]`. For a padded u in P all of rtb_G(u, R) is in P, and so are the
//! closed walks through u of that length, which visit nothing else: within them distances in P are those in G. Hence a
//! padded u with `rt_P(c, u) ≤ r − R` has its R-ball inside the ball emitted, one with more than r + R has it outside, and one
//! that emits its own ball is done. Sources that are done are counted, drawn and recursed on no more, and the repetitions end
//! when all are.

use std::sync::Mutex;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::contract::Quotient;
use super::estimate::{Estimator, Fractions};
use super::shift::Shifts;
use super::{Centres, Settings};
use crate::digraph::{ArcSet, Direction};
use crate::spanner::Cluster;
use crate::spanner::ball::{ArcPositions, Explorer, Grown};

/// A level leaves at most 7/8 of the sources together.
const SHRINK: f64 = 8.0 / 7.0;

/// How many looks at its arcs a part's own balls may cost; 4 is enough that they are kept where they hardly overlap.
const OWN: f64 = 4.0;

/// What sums of lengths may be off by, generously, against R.
const CAUTION: f64 = 1.0 + 1e-9;

/// In what part a vertex is that a ball of this repetition took.
const TAKEN: u32 = u32::MAX;

/// L for s sources: how many levels the recursion has at most.
pub(super) fn depth(sources: usize) -> f64 {
    (sources as f64).ln() / SHRINK.ln()
}

/// ρ/R: how far the head starts of this many centres reach.
pub(super) fn reach(k: f64, centres: usize) -> f64 {
    2.0 * (centres.max(8) as f64).ln() * k / SHRINK.ln()
}

/// The covers of one graph, at one scale after the other.
#[derive(Debug)]
pub(super) struct Covers {
    pub(super) quotient: Quotient,
    k: f64,
    centres: Centres,
    /// The sources' own balls are emitted if all their explorations look at no more than so many times the part's arcs.
    own: f64,
    /// ln of the number of vertices of the whole graph.
    ln_n: f64,
    pub(super) components: Vec<Component>,
    kept: Grown,
    clusters: Vec<Cluster>,
    r: f64,
    /// In what part each vertex is, at this point of the repetition.
    part: Vec<u32>,
    parts: u32,
    /// Whether each vertex is a source that is not done at this scale.
    waiting: Vec<bool>,
    /// Whether the R-ball of each source is uncut in this repetition.
    padded: Vec<bool>,
    explorers: Mutex<Vec<Explorer>>,
    shifts: Shifts,
    estimator: Estimator,
}

/// A component of the graph at a scale.
#[derive(Debug, Default)]
pub(super) struct Component {
    pub(super) vertices: Vec<u32>,
    pub(super) sources: Vec<u32>,
    /// One cluster holds it all: nothing is left to do at higher scales.
    pub(super) settled: bool,
}

/// A part of a component, in the course of a repetition.
struct Part {
    number: u32,
    vertices: Vec<u32>,
    sources: Vec<u32>,
}

/// A source that emits its own ball, and within which part.
#[derive(Clone, Copy)]
struct Own {
    source: u32,
    part: u32,
    component: usize,
}

/// A ball ready to be kept.
struct Ball {
    farthest: f64,
    members: usize,
    arcs: Vec<ArcPositions>,
}

impl Covers {
    /// Of a quotient with these components, of which `kept` arcs are kept.
    pub(super) fn new(
        quotient: Quotient,
        components: Vec<Component>,
        kept: &ArcSet,
        settings: Settings,
        ln_n: f64,
    ) -> Self {
        let n = quotient.graph.vertices();
        let mut grown = Grown::none(&quotient.graph);
        for (position, arc) in quotient.graph.list().enumerate() {
            if kept.contains(quotient.numbers[position]) {
                grown.insert(ArcPositions::of(&quotient.graph, arc.from, arc.to));
            }
        }
        let (shifts, estimator) = (Shifts::new(&quotient.graph), Estimator::new(&quotient.graph));
        Self {
            k: settings.k.into(),
            centres: settings.centres,
            own: OWN,
            ln_n,
            components,
            kept: grown,
            clusters: Vec::new(),
            r: 0.0,
            part: vec![TAKEN; n],
            parts: 0,
            waiting: vec![false; n],
            padded: vec![false; n],
            explorers: Mutex::new(Vec::new()),
            shifts,
            estimator,
            quotient,
        }
    }

    /// Covers all components at scale `r`; gives the clusters, with centres by their numbers in the whole graph.
    pub(super) fn at(&mut self, r: f64, random: &mut ChaCha8Rng) -> Vec<Cluster> {
        self.r = r;
        let mut components = std::mem::take(&mut self.components);
        let mut single = Vec::new();
        for (index, component) in components.iter().enumerate() {
            let part = self.new_part();
            self.assign(&component.vertices, part);
            for &source in &component.sources {
                (self.waiting[source as usize], self.padded[source as usize]) = (true, true);
            }
            if let [source] = component.sources[..] {
                single.push(Own { source, part, component: index });
            }
        }
        self.emit_own(&single, &mut components);
        for index in 0..components.len() {
            if components[index].sources.len() > 1 {
                self.cover(index, &mut components, random);
            }
        }
        self.components = components;
        let mut clusters = std::mem::take(&mut self.clusters);
        for cluster in &mut clusters {
            cluster.centre = self.quotient.vertices[cluster.centre as usize];
        }
        clusters
    }

    /// Adds the arcs kept so far to a set of the whole graph's.
    pub(super) fn keep(&self, kept: &mut ArcSet) {
        for position in self.kept.out.iter() {
            kept.insert(self.quotient.numbers[position as usize]);
        }
    }

    /// How many arcs all searches have looked at.
    pub(super) fn relaxations(&self) -> u64 {
        let explored =
            self.explorers.lock().expect("no thread panicked").iter().map(Explorer::relaxations).sum::<u64>();
        explored + self.shifts.relaxations() + self.estimator.relaxations()
    }

    fn new_part(&mut self) -> u32 {
        if self.parts == TAKEN - 1 {
            self.parts = 0; // those of four billion parts ago are no more
        }
        self.parts += 1;
        self.parts - 1
    }

    fn assign(&mut self, vertices: &[u32], part: u32) {
        for &vertex in vertices {
            self.part[vertex as usize] = part;
        }
    }

    /// Repeats the recursion on a component until all its sources are done.
    fn cover(&mut self, index: usize, components: &mut [Component], random: &mut ChaCha8Rng) {
        let mut sources = components[index].sources.clone();
        let most = ((sources.len() as f64).powf(1.0 / self.k) * 3.0 * self.ln_n).ceil() as usize;
        for _ in 0..most {
            sources.retain(|&source| self.waiting[source as usize]);
            if sources.is_empty() || components[index].settled {
                return;
            }
            let number = self.new_part();
            self.assign(&components[index].vertices, number);
            for &source in &sources {
                self.padded[source as usize] = true;
            }
            let whole = Part { number, vertices: components[index].vertices.clone(), sources: sources.clone() };
            self.repetition(whole, index, components, random);
        }
    }

    /// One run of the recursion, on a list of parts instead of the call stack.
    fn repetition(&mut self, whole: Part, component: usize, components: &mut [Component], random: &mut ChaCha8Rng) {
        let offset = (self.k * depth(whole.sources.len()) * self.r).min(0.2 * f64::MAX);
        let mut own = Vec::new();
        let mut parts = vec![whole];
        while let Some(mut part) = parts.pop() {
            part.sources.retain(|&source| self.waiting[source as usize]);
            let own_of = |&source: &u32| Own { source, part: part.number, component };
            match part.sources[..] {
                [] => {}
                [_] => own.extend(part.sources.iter().map(own_of)),
                _ if self.own_balls_are_cheap(&part, random) => own.extend(part.sources.iter().map(own_of)),
                _ => {
                    let ball = self.take_ball(&part, offset, random);
                    let ball = ball.or_else(|| self.split(&part, offset, random, &mut parts));
                    if ball == Some(components[component].vertices.len()) {
                        components[component].settled = true;
                        return;
                    }
                    part.vertices.retain(|&vertex| self.part[vertex as usize] == part.number);
                    part.sources.retain(|&source| self.part[source as usize] == part.number);
                    parts.push(part);
                }
            }
        }
        self.emit_own(&own, components);
    }

    /// Whether the explorations of all sources' R-balls will look at no more than a few times the part's arcs, by some of them.
    fn own_balls_are_cheap(&self, part: &Part, random: &mut ChaCha8Rng) -> bool {
        const SAMPLES: usize = 4;
        let graph = &self.quotient.graph;
        let arcs: usize = part.vertices.iter().map(|&vertex| graph.row(Direction::Out, vertex).len()).sum();
        let (samples, all) = (SAMPLES.min(part.sources.len().div_ceil(2)), part.sources.len() as f64);
        let allowed = self.own * arcs as f64 * samples as f64 / all;
        let mut looked_at = 0;
        for _ in 0..samples {
            let source = part.sources[random.random_range(0..part.sources.len())];
            looked_at += self.with_explorer(|explorer| {
                let before = explorer.relaxations();
                explorer.explore(graph, source, self.r, true, |vertex| self.part[vertex as usize] == part.number);
                explorer.relaxations() - before
            });
            if looked_at as f64 > allowed {
                return false;
            }
        }
        true
    }

    /// Emits the sources' own balls: those whose are uncut are done.
    fn emit_own(&mut self, own: &[Own], components: &mut [Component]) {
        /// So many balls are made side by side and kept in order; a number of its own, so that threads change nothing.
        const BATCH: usize = 16;
        for batch in own.chunks(BATCH) {
            let both = batch.len() == 1;
            let explore = |&Own { source, part, component }: &Own| {
                let open = !components[component].settled;
                open.then(|| self.with_explorer(|explorer| self.explore_own(explorer, source, part, both)))
            };
            let balls: Vec<_> = batch.par_iter().with_max_len(1).map(explore).collect();
            for (&Own { source, component, .. }, ball) in batch.iter().zip(balls) {
                let component = &mut components[component];
                let Some(ball) = ball.filter(|_| !component.settled) else { continue };
                component.settled = ball.members == component.vertices.len();
                if self.padded[source as usize] {
                    self.waiting[source as usize] = false;
                }
                self.emit(source, ball);
            }
        }
    }

    fn explore_own(&self, explorer: &mut Explorer, source: u32, part: u32, both: bool) -> Ball {
        let graph = &self.quotient.graph;
        explorer.explore(graph, source, self.r * CAUTION, both, |vertex| self.part[vertex as usize] == part);
        self.ball(explorer)
    }

    /// The ball explored, cut to its farthest member, with the arcs of its trees.
    fn ball(&self, explorer: &mut Explorer) -> Ball {
        let farthest = explorer.members().iter().map(|member| member.round_trip).fold(0.0, f64::max);
        let members = explorer.members().len();
        Ball { farthest, members, arcs: explorer.trees(&self.quotient.graph, &self.kept) }
    }

    fn emit(&mut self, centre: u32, ball: Ball) {
        for arc in ball.arcs {
            self.kept.insert(arc);
        }
        if ball.members > 1 {
            self.clusters.push(Cluster { scale: self.r, centre, radius: ball.farthest, limit: ball.farthest });
        }
    }

    /// Step 2 with a few centres drawn, as [`Self::take_ball_of`].
    fn take_ball(&mut self, part: &Part, offset: f64, random: &mut ChaCha8Rng) -> Option<usize> {
        const TRIES: usize = 3;
        (0..TRIES).find_map(|_| {
            let centre = part.sources[random.random_range(0..part.sources.len())];
            self.take_ball_of(centre, part, offset, random)
        })
    }

    /// Emits a ball around `centre`, if the one of radius 2ρ holds a quarter of the sources; says how many members it has.
    fn take_ball_of(&mut self, centre: u32, part: &Part, offset: f64, random: &mut ChaCha8Rng) -> Option<usize> {
        let r = self.r * CAUTION;
        let least = 2.0 * self.reach(part);
        let radius = least + offset * random.random::<f64>();
        let mut explorer = self.idle_explorer();
        let graph = &self.quotient.graph;
        explorer.explore(graph, centre, radius + r, true, |vertex| self.part[vertex as usize] == part.number);
        let mut trips: Vec<_> = explorer
            .members()
            .iter()
            .filter(|member| self.waiting[member.vertex as usize])
            .map(|member| (member.round_trip, member.vertex))
            .collect();
        let enough = 4 * trips.iter().filter(|trip| trip.0 <= least).count() >= part.sources.len();
        let members = enough.then(|| {
            let farthest = explorer.members().iter().map(|member| member.round_trip).fold(0.0, f64::max);
            let whole = explorer.members().len() == part.vertices.len() && farthest <= least + offset;
            if !whole {
                explorer.cut(radius);
            }
            for (trip, source) in trips.drain(..) {
                if whole || trip <= radius - r {
                    self.waiting[source as usize] &= !self.padded[source as usize];
                } else {
                    self.padded[source as usize] = false; // within r of the cut
                }
            }
            for member in explorer.members() {
                self.part[member.vertex as usize] = TAKEN;
            }
            let ball = self.ball(&mut explorer);
            let members = ball.members;
            self.emit(centre, ball);
            members
        });
        self.explorers.lock().expect("no thread panicked").push(explorer);
        members
    }

    /// ρ of a part.
    fn reach(&self, part: &Part) -> f64 {
        let centres = match self.centres {
            Centres::Sources => part.sources.len(),
            Centres::All => part.vertices.len(),
        };
        (self.r * reach(self.k, centres)).min(0.3 * f64::MAX) // no round trip is longer than f64::MAX / 2
    }

    /// Steps 3 and 4: takes a ball that the estimate finds, and says how many members it has; or splits clusters off.
    fn split(&mut self, part: &Part, offset: f64, random: &mut ChaCha8Rng, parts: &mut Vec<Part>) -> Option<usize> {
        const SAMPLES: usize = 16;
        let mut samples = SAMPLES;
        loop {
            let fractions = self.fractions(part, samples, random);
            let of_sources = &fractions[..part.sources.len()];
            let both = |of: &Fractions| of.out >= 0.75 && of.back >= 0.75;
            if let Some(centre) = of_sources.iter().position(both) {
                let ball = self.take_ball_of(part.sources[centre], part, offset, random);
                if ball.is_some() {
                    return ball;
                }
            } else {
                let large = |direction| of_sources.iter().filter(|it| it.in_ball(direction) >= 0.75).count();
                let few_out = large(Direction::Out) <= large(Direction::In);
                let direction = if few_out { Direction::Out } else { Direction::In };
                let asked = self.asked(part);
                let centres: Vec<_> = asked
                    .iter()
                    .zip(&fractions)
                    .filter(|(_, it)| it.in_ball(direction) < 0.75)
                    .map(|(&vertex, _)| vertex)
                    .collect();
                if self.cluster(part, direction, &centres, random) {
                    self.divide(part, parts);
                    return None;
                }
            }
            samples *= 4; // the decision did not hold: the estimate was wrong
        }
    }

    /// Whose fractions count: those of all that may be centres, the sources first.
    fn asked<'a>(&self, part: &'a Part) -> std::borrow::Cow<'a, [u32]> {
        match self.centres {
            Centres::Sources => part.sources.as_slice().into(),
            Centres::All => {
                let others = part.vertices.iter().copied().filter(|&vertex| !self.waiting[vertex as usize]);
                part.sources.iter().copied().chain(others).collect()
            }
        }
    }

    /// The fractions of all that are asked, by so many samples, or exact where that is no more work.
    fn fractions(&mut self, part: &Part, samples: usize, random: &mut ChaCha8Rng) -> Vec<Fractions> {
        let sources = &part.sources;
        let sample = if samples < sources.len() {
            (0..samples).map(|_| sources[random.random_range(0..sources.len())]).collect()
        } else {
            sources.clone()
        };
        let (reach, asked) = (self.reach(part), self.asked(part));
        let Self { quotient, estimator, part: of, .. } = self;
        estimator.fractions(&quotient.graph, &sample, &asked, reach, |vertex| of[vertex as usize] == part.number)
    }

    /// Clusters the part; whether no cluster has more than 7/8 of its sources.
    fn cluster(&mut self, part: &Part, direction: Direction, centres: &[u32], random: &mut ChaCha8Rng) -> bool {
        const DRAWS: usize = 20;
        let (reach, mean) = (self.reach(part), self.k * self.r / SHRINK.ln());
        let mut starts = Vec::new();
        for _ in 0..DRAWS {
            starts.clear();
            starts.extend(centres.iter().map(|&centre| (-mean * (1.0 - random.random::<f64>()).ln(), centre)));
            if starts.iter().all(|&(start, _)| start <= reach) {
                break;
            }
        }
        for (start, _) in &mut starts {
            *start = start.min(reach);
        }
        starts.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let Self { quotient, shifts, part: of, .. } = self;
        let margin = self.r * CAUTION;
        shifts.run(&quotient.graph, direction, &starts, margin, |vertex| of[vertex as usize] == part.number);
        let mut joined: Vec<_> = part.sources.iter().filter_map(|&source| shifts.part(source)).collect();
        joined.sort_unstable();
        let largest = joined.chunk_by(u32::eq).map(<[u32]>::len).max().unwrap_or(0);
        let rest = part.sources.len() - joined.len();
        8 * largest.max(rest) <= 7 * part.sources.len()
    }

    /// Makes the clusters of the last clustering that have a source parts of their own.
    fn divide(&mut self, part: &Part, parts: &mut Vec<Part>) {
        for &source in &part.sources {
            self.padded[source as usize] &= self.shifts.is_padded(source, self.r * CAUTION);
        }
        let first = parts.len();
        let mut sources: Vec<_> =
            part.sources.iter().filter_map(|&source| Some((self.shifts.part(source)?, source))).collect();
        sources.sort_unstable();
        // The parts' places, by their centres.
        let mut centres = Vec::new();
        for of_centre in sources.chunk_by(|a, b| a.0 == b.0) {
            let sources = of_centre.iter().map(|&(_, source)| source).collect();
            centres.push(of_centre[0].0);
            let number = self.new_part();
            parts.push(Part { number, vertices: Vec::new(), sources });
        }
        for &vertex in self.shifts.reached() {
            if let Some(centre) = self.shifts.part(vertex) {
                self.part[vertex as usize] = match centres.binary_search(&centre) {
                    Ok(place) => {
                        let part = &mut parts[first + place];
                        part.vertices.push(vertex);
                        part.number
                    }
                    Err(_) => TAKEN, // a part without a source
                };
            }
        }
    }

    fn idle_explorer(&self) -> Explorer {
        let idle = self.explorers.lock().expect("no thread panicked").pop();
        idle.unwrap_or_else(|| Explorer::new(&self.quotient.graph))
    }

    fn with_explorer<T>(&self, work: impl FnOnce(&mut Explorer) -> T) -> T {
        let mut explorer = self.idle_explorer();
        let result = work(&mut explorer);
        self.explorers.lock().expect("no thread panicked").push(explorer);
        result
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::contract::Hierarchy;
    use super::*;
    use crate::search::{Search, Whole};
    use crate::{Arc, Digraph};

    /// A ring of streets, most of them two-way, and some long chords.
    fn ring(n: u32, random: &mut ChaCha8Rng) -> Digraph {
        let mut arcs = Vec::new();
        for v in 0..n {
            let next = (v + 1) % n;
            arcs.push(Arc { from: v, to: next, length: random.random_range(1..=2u32).into() });
            if !random.random_bool(0.02) {
                arcs.push(Arc { from: next, to: v, length: random.random_range(1..=2u32).into() });
            }
            if random.random_bool(0.1) {
                arcs.push(Arc { from: v, to: (v + random.random_range(2..6)) % n, length: 4.0 });
            }
        }
        Digraph::from_arcs(n as usize, arcs).unwrap().0
    }

    fn covers(graph: &Digraph, sources: Vec<u32>, settings: Settings) -> Covers {
        let mut hierarchy = Hierarchy::of(graph);
        while let Some(level) = hierarchy.next_level() {
            hierarchy.rise(level, |_| ());
        }
        let active = hierarchy.active(|_| true);
        let quotient = hierarchy.quotient(active);
        assert_eq!(quotient.vertices, (0..graph.vertices() as u32).collect::<Vec<_>>(), "nothing is contracted");
        let vertices = quotient.vertices.clone();
        let component = Component { vertices, sources, settled: false };
        let ln_n = (graph.vertices() as f64).ln();
        Covers::new(quotient, vec![component], &ArcSet::none(graph), settings, ln_n)
    }

    /// With constants so small that parts are clustered, balls cut and repetitions needed: once all sources are done, which is
    /// when a cover ends, every pair within R shares a cluster.
    #[test]
    fn every_pair_shares_a_cluster_once_its_source_is_done() {
        let (mut clustered, mut repeated) = (0, 0);
        for number in 0..16 {
            let mut random = ChaCha8Rng::seed_from_u64(number);
            let graph = ring(400, &mut random);
            let sources: Vec<_> = (0..400).step_by(4 + number as usize % 5).collect();
            let centres = [Centres::Sources, Centres::All][number as usize % 2];
            let mut covers = covers(&graph, sources.clone(), Settings { centres, ..Settings::default() });
            (covers.k, covers.own) = (0.3, 0.0);
            let r = f64::from(3 + number as u32 % 4);
            let clusters = covers.at(r, &mut random);
            clustered += usize::from(covers.shifts.relaxations() > 0);
            let whole = covers.components[0].settled;
            assert!(whole || sources.iter().all(|&source| !covers.waiting[source as usize]));
            let arcs_of_one = 2 * (graph.vertices() - 1);
            repeated += usize::from(!whole && clusters.len() > 8);

            let mut kept = ArcSet::none(&graph);
            covers.keep(&mut kept);
            assert!(!whole || kept.len() >= arcs_of_one / 2);
            let thinned = graph.subgraph(&kept);
            let radius = clusters.iter().map(|cluster| cluster.radius).fold(0.0, f64::max);
            let centres = if centres == Centres::All { 400 } else { sources.len() };
            assert!(radius <= r * (2.0 * reach(0.3, centres) + 0.3 * depth(sources.len())));
            let trips = |graph: &Digraph, source| {
                let (mut out, mut back) = (Search::new(graph), Search::new(graph));
                out.run(&Whole(graph, Direction::Out), source, f64::INFINITY);
                back.run(&Whole(graph, Direction::In), source, f64::INFINITY);
                (0..400).map(|vertex| out.distance(vertex) + back.distance(vertex)).collect::<Vec<_>>()
            };
            for source in sources {
                for (in_graph, in_thinned) in trips(&graph, source).into_iter().zip(trips(&thinned, source)) {
                    assert!(in_graph > r || in_thinned <= 2.0 * radius, "case {number}: {in_graph}, {in_thinned}");
                }
            }
        }
        assert!(clustered >= 8 && repeated >= 8, "the recursion is tried: {clustered}, {repeated}");
    }
}
