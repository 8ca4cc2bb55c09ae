//! The default construction: the stretch holds for every pair with certainty; chance only changes size and time.
//!
//! At scale R it answers the round trips of length in (R/q, R]. A cluster around c of radius r ≥ R *serves* the sources with
//! `rt(c, u) ≤ r − R`, since their whole R-balls are inside, if all members have a round trip of at most
//! `ρ = tR/2q` to c in H: then `rt_H(u, v) ≤ 2ρ = tR/q ≤ t·rt(u, v)`. A cluster that serves its centre alone may take
//! `tR/q`. One that covers a strongly connected component serves it at all higher scales too.
//!
//! Three things keep it near-linear. Balls are explored by halves (`ball.rs`), within the strongly connected component of
//! the arcs no longer than R. Where the balls of waiting sources overlap, a cluster grows to ρ and serves many; it goes on to
//! do so only while that serves more sources for the same work than balls of their own. And balls that hardly meet are
//! explored side by side, in batches whose size the balls alone decide.
//!
//! Derived from *A fast algorithm for source-wise round-trip spanners*: its clusters are carved one by one instead of
//! drawn, so that the covering needs no repetition and the constant is the user's. The paper's partition (`paper/`) is no way
//! out where one-way balls are everything and round-trip balls are small: at a constant stretch its clusters would have to be
//! as wide as R/ln s, and it takes the sources' own balls there as well.

use std::str::FromStr;
use std::sync::Mutex;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::ball::{ArcPositions, Explorer, Grown, Member};
use super::{Cluster, Spanner};
use crate::components::Components;
use crate::digraph::Direction;
use crate::order::Ordered;
use crate::{Digraph, Error};

/// q: the ratio of neighbouring scales.
pub const RATIO: f64 = 2.0;

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The stretch t, at least 4.
    pub stretch: f64,
    /// How hard to try for few arcs.
    pub effort: Effort,
    /// The order in which sources become centres; other seeds give other arcs, hardly fewer or more.
    pub seed: u64,
}

/// How much time to give for fewer arcs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// Near-linear time.
    #[default]
    Fast,
    /// Round trips in H are looked for everywhere and not only near the ball. A spanner of half the stretch is tried as
    /// well, and for small inputs (sources times arcs up to 10^8) clusters that serve their centre alone; the one
    /// with the fewest arcs is the result.
    Small,
}

impl FromStr for Effort {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "fast" => Ok(Self::Fast),
            "small" => Ok(Self::Small),
            _ => Err("known: fast, small".into()),
        }
    }
}

/// The spanner of `graph` for `sources`, its stretch certain.
///
/// # Errors
/// [`Error::Stretch`] if the stretch is below 4 or not finite; [`Error::NoSuchSource`].
pub fn certified(graph: &Digraph, sources: &[u32], settings: &Settings) -> Result<Spanner, Error> {
    /// Up to so many sources times arcs each source may have clusters of its own.
    const SMALL: usize = 100_000_000;
    let &Settings { stretch, effort, seed } = settings;
    if !(stretch.is_finite() && stretch >= LEAST) {
        return Err(Error::Stretch { stretch });
    }
    super::check_sources(graph, sources)?;
    let ordered = Ordered::by_breadth(graph);
    let sources: Vec<_> = sources.iter().map(|&source| ordered.new[source as usize]).collect();
    let components = Components::of(&ordered.graph);
    let small = sources.len().saturating_mul(graph.arcs()) <= SMALL;
    let ways: &[(f64, bool)] = match effort {
        Effort::Fast => &[(1.0, true)],
        Effort::Small if small => &[(1.0, true), (0.5, true), (1.0, false), (0.5, false)],
        Effort::Small => &[(1.0, true), (0.5, true)],
    };
    let mut best: Option<Spanner> = None;
    let mut relaxations = 0;
    for &(part, share) in ways.iter().filter(|way| way.0 == 1.0 || way.0 * stretch >= LEAST) {
        let mut construction = Construction::new(&ordered.graph, &components, &sources, part * stretch, seed);
        (construction.share, construction.wide) = (share, effort == Effort::Small);
        construction.run();
        let found = construction.spanner();
        relaxations += found.relaxations;
        if best.as_ref().is_none_or(|best| found.arcs.len() < best.arcs.len()) {
            best = Some(found);
        }
    }
    let mut found = best.expect("one way at least was tried");
    for cluster in &mut found.clusters {
        cluster.centre = ordered.old[cluster.centre as usize];
    }
    Ok(Spanner { arcs: ordered.restore(&found.arcs, graph), relaxations, ..found })
}

/// The least stretch that can be certified: a ball of R must fit into one of ρ.
const LEAST: f64 = 4.0;

struct Construction<'a> {
    graph: &'a Digraph,
    stretch: f64,
    /// Whether clusters may grow to serve more than their centre.
    share: bool,
    /// Whether round trips in H are looked for beyond the ball's neighbourhood.
    wide: bool,
    /// Strongly connected components of G.
    components: &'a Components,
    /// Sources that have pairs left at this scale or above, in random order.
    open: Vec<u32>,
    /// Whether each vertex is a source that no cluster serves yet at this scale.
    waiting: Vec<bool>,
    kept: Grown,
    clusters: Vec<Cluster>,
    explorers: Mutex<Vec<Explorer>>,
    /// Mean number of arcs that leave W, as last sampled and seen.
    mean_near: f64,
    /// How many arcs leave vertices that have a round trip to a source.
    arcs: usize,
}

/// One scale: R, ρ, and within which vertices balls of these radii stay.
struct Scale<'a> {
    r: f64,
    rho: f64,
    within_r: &'a Components,
    within_rho: &'a Components,
    /// Whether clusters grow to serve more than their centre.
    grow: bool,
}

/// A cluster, ready to be kept.
struct Carved {
    cluster: Cluster,
    arcs: Vec<ArcPositions>,
    serves: Vec<u32>,
    /// It covers its strongly connected component.
    whole: bool,
    /// How many arcs leave W of its exploration.
    near_arcs: usize,
    /// If it was grown: how many arcs the searches to R looked at, and how many all of them.
    work: Option<[u64; 2]>,
}

/// Whether clusters that grow serve more sources for the same work, as seen so far at one scale.
#[derive(Default)]
struct Growth {
    clusters: u64,
    served: u64,
    to_r: u64,
    in_all: u64,
}

impl Growth {
    fn note(&mut self, carved: &Carved) {
        if let Some([to_r, in_all]) = carved.work {
            self.clusters += 1;
            self.served += carved.serves.len() as u64;
            self.to_r += to_r;
            self.in_all += in_all;
        }
    }

    /// A cluster that does not grow serves one source; its searches in H cost about as much as those in G.
    fn pays(&self) -> bool {
        const TRIALS: u64 = 8;
        self.clusters < TRIALS || self.served * 2 * self.to_r >= self.clusters * self.in_all
    }
}

impl<'a> Construction<'a> {
    fn new(graph: &'a Digraph, components: &'a Components, sources: &[u32], stretch: f64, seed: u64) -> Self {
        let mut open: Vec<_> = sources.iter().copied().filter(|&source| components.size(source) > 1).collect();
        open.sort_unstable();
        open.dedup();
        open.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut of_sources = vec![false; components.sizes.len()];
        open.iter().for_each(|&source| of_sources[components.of[source as usize] as usize] = true);
        let arcs_of = |vertex| graph.row(Direction::Out, vertex).len();
        let has_trips = |&vertex: &u32| of_sources[components.of[vertex as usize] as usize];
        let arcs = (0..graph.vertices() as u32).filter(has_trips).map(arcs_of).sum();
        Self {
            graph,
            stretch,
            share: true,
            wide: false,
            components,
            open,
            waiting: vec![false; graph.vertices()],
            kept: Grown::none(graph),
            clusters: Vec::new(),
            explorers: Mutex::new(Vec::new()),
            mean_near: 0.0,
            arcs,
        }
    }

    fn spanner(self) -> Spanner {
        let explorers = self.explorers.into_inner().expect("no thread panicked");
        let relaxations = explorers.iter().map(Explorer::relaxations).sum();
        let Self { kept, stretch, clusters, .. } = self;
        Spanner { arcs: kept.out, stretch, provable: stretch, clusters, relaxations }
    }

    fn run(&mut self) {
        self.at_distance_zero();
        let (shortest, longest) = self.graph.lengths();
        let mut r = RATIO * shortest;
        if longest == 0.0 {
            return; // every round trip has length 0
        }
        let mut ladder = Ladder::default();
        while !self.open.is_empty() {
            let rho = self.stretch * r / (2.0 * RATIO);
            ladder.climb(self.graph, r, rho, longest);
            let (within_r, within_rho) = ladder.at(r, rho, self.components);
            let mut scale = Scale { r, rho, within_r, within_rho, grow: false };
            self.at(&mut scale);
            r *= RATIO;
        }
    }

    /// Pairs without distance: a cluster of radius 0 for each group of sources that zero arcs join.
    fn at_distance_zero(&mut self) {
        let zero = Components::up_to(self.graph, 0.0);
        let scale = Scale { r: 0.0, rho: 0.0, within_r: &zero, within_rho: &zero, grow: false };
        let open = self.open.clone();
        self.wait(&open, &zero);
        for centre in open {
            if self.waiting[centre as usize] {
                for carved in self.carve_all(&scale, &[centre]) {
                    self.commit(carved);
                }
            }
        }
    }

    /// All sources of `open` that are not alone in their component wait to be served.
    fn wait(&mut self, open: &[u32], within: &Components) -> Vec<u32> {
        let waiting: Vec<_> = open.iter().copied().filter(|&source| within.size(source) > 1).collect();
        for &source in &waiting {
            self.waiting[source as usize] = true;
        }
        waiting
    }

    fn at(&mut self, scale: &mut Scale<'_>) {
        let open = std::mem::take(&mut self.open);
        let roots = self.wait(&open, scale.within_r);
        self.open = open;
        scale.grow = self.sharing_pays(scale, &roots);

        // Roots whose balls hardly overlap are explored side by side and kept in order; others one after the other, so that
        // each sees what the arcs kept before it give. The batch depends on the balls alone, not on the number of threads.
        let mut roots = roots.into_iter();
        let mut growth = Growth::default();
        loop {
            scale.grow &= growth.pays();
            let waiting = &self.waiting;
            let centres: Vec<_> = roots.by_ref().filter(|&root| waiting[root as usize]).take(self.batch()).collect();
            if centres.is_empty() {
                break;
            }
            for carved in self.carve_all(scale, &centres) {
                self.mean_near += (carved.near_arcs as f64 - self.mean_near) / 16.0;
                growth.note(&carved);
                self.commit(carved);
            }
        }
    }

    /// How many balls of the mean size are unlikely to meet.
    fn batch(&self) -> usize {
        const MOST: f64 = 8.0;
        (self.arcs as f64 / (4.0 * self.mean_near.max(1.0))).clamp(1.0, MOST) as usize
    }

    /// Whether the balls of the waiting sources overlap enough for one cluster to serve many: together their neighbourhoods
    /// W have several times the arcs that there are.
    fn sharing_pays(&mut self, scale: &Scale<'_>, roots: &[u32]) -> bool {
        const SAMPLES: usize = 16;
        // The larger the stretch, the wider a cluster may grow, and the sooner it pays; `Growth` corrects what is too soon.
        let overlap = 4.0 * (16.0 / self.stretch).powi(2).min(1.0);
        let enough = overlap * self.arcs as f64 / roots.len().max(1) as f64;
        // W only grows with R: what paid at the last scale is not sampled again.
        if self.mean_near <= enough && !roots.is_empty() {
            let sample = &roots[..SAMPLES.min(roots.len())];
            let near: Vec<_> = sample
                .par_iter()
                .map(|&root| {
                    self.with_explorer(|explorer| {
                        explorer
                            .explore(self.graph, root, scale.r, false, |vertex| scale.within_r.together(root, vertex));
                        explorer.near_arcs()
                    })
                })
                .collect();
            self.mean_near = near.iter().sum::<usize>() as f64 / near.len() as f64;
        }
        self.share && self.mean_near > enough
    }

    /// One cluster for each centre, side by side.
    fn carve_all(&mut self, scale: &Scale<'_>, centres: &[u32]) -> Vec<Carved> {
        match centres {
            &[centre] => vec![self.with_explorer(|explorer| self.carve(explorer, scale, centre, true))],
            _ => {
                let carve = |&centre| self.with_explorer(|explorer| self.carve(explorer, scale, centre, false));
                centres.par_iter().with_max_len(1).map(carve).collect()
            }
        }
    }

    /// The cluster around `centre`: grown while that serves others, cut where it serves most for its size.
    fn carve(&self, explorer: &mut Explorer, scale: &Scale<'_>, centre: u32, both: bool) -> Carved {
        let &Scale { r, rho, within_r, within_rho, .. } = scale;
        let before = explorer.relaxations();
        explorer.explore(self.graph, centre, r, both, |vertex| within_r.together(centre, vertex));
        let others = |explorer: &Explorer| {
            explorer.members().iter().any(|member| member.vertex != centre && self.waiting[member.vertex as usize])
        };
        let to_r = explorer.relaxations() - before;
        let grown = scale.grow && rho > r && others(explorer);
        if grown {
            explorer.explore(self.graph, centre, rho, both, |vertex| within_rho.together(centre, vertex));
        }
        let (radius, whole) = self.best_radius(explorer, scale, centre);
        let serves: Vec<_> = explorer
            .members()
            .iter()
            .filter(|member| whole || member.round_trip <= radius - r)
            .map(|member| member.vertex)
            .filter(|&vertex| self.waiting[vertex as usize])
            .collect();
        let alone = serves.iter().all(|&source| source == centre);
        let limit = if alone { self.stretch * r / RATIO } else { radius.max(rho) };
        let allowed = |member: &Member| (member.round_trip <= radius).then_some(limit);
        let arcs = explorer.missing(self.graph, &self.kept, allowed, limit, self.wide, both);
        let near_arcs = explorer.near_arcs();
        let work = grown.then(|| [to_r, explorer.relaxations() - before]);
        Carved { cluster: Cluster { scale: r, centre, radius, limit }, arcs, serves, whole, near_arcs, work }
    }

    /// The radius, of nine between R and the ball's, with the fewest members for each source served, and whether the ball
    /// of that radius is a whole component. Of equals the larger.
    fn best_radius(&self, explorer: &Explorer, scale: &Scale<'_>, centre: u32) -> (f64, bool) {
        const STEPS: usize = 8;
        let (r, members) = (scale.r, explorer.members());
        let size = self.components.size(centre) as usize;
        let farthest = explorer.radius();
        let step = (farthest - r) / STEPS as f64;
        let radii = if step > 0.0 { STEPS + 1 } else { 1 };
        let (mut held, mut served) = ([0usize; STEPS + 1], [0usize; STEPS + 1]);
        let radius_at = |index: usize| if index == STEPS { farthest } else { r + step * index as f64 };
        for member in members {
            let waiting = self.waiting[member.vertex as usize] && member.vertex != centre;
            let first_within = |distance: f64| {
                (0..radii).find(|&index| distance <= if radii == 1 { farthest } else { radius_at(index) })
            };
            if let Some(index) = first_within(member.round_trip) {
                held[index] += 1;
            }
            if waiting && let Some(index) = first_within(member.round_trip + r) {
                served[index] += 1;
            }
        }
        let all_waiting =
            members.iter().filter(|member| self.waiting[member.vertex as usize] && member.vertex != centre).count();
        let mut best = (f64::INFINITY, r, false);
        let (mut members_within, mut served_within) = (0, 0);
        for index in 0..radii {
            members_within += held[index];
            served_within += served[index];
            let whole = members_within == size;
            let serves = if whole { all_waiting } else { served_within };
            let price = (members_within + 1) as f64 / (serves + 1) as f64;
            if price <= best.0 {
                best = (price, if radii == 1 { farthest } else { radius_at(index) }, whole);
            }
        }
        (best.1, best.2)
    }

    /// Keeps a cluster, unless an earlier one serves its centre.
    fn commit(&mut self, carved: Carved) -> Option<()> {
        let Carved { cluster, arcs, serves, whole, .. } = carved;
        if !std::mem::take(&mut self.waiting[cluster.centre as usize]) {
            return None;
        }
        for arc in arcs {
            self.kept.insert(arc);
        }
        for source in serves {
            self.waiting[source as usize] = false;
        }
        if whole && cluster.scale > 0.0 {
            self.finish(cluster);
        }
        self.clusters.push(cluster);
        Some(())
    }

    /// Nothing is left to do at higher scales for whom a cluster around a whole component serves: all its sources, or the
    /// centre alone if the limit was made for it alone.
    fn finish(&mut self, cluster: Cluster) {
        let for_all = cluster.limit <= self.stretch * cluster.scale / (2.0 * RATIO);
        let Self { components, open, waiting, .. } = self;
        open.retain(|&source| {
            let done = source == cluster.centre || for_all && components.together(source, cluster.centre);
            if done {
                waiting[source as usize] = false;
            }
            !done
        });
    }

    fn with_explorer<T>(&self, work: impl FnOnce(&mut Explorer) -> T) -> T {
        let idle = self.explorers.lock().expect("no thread panicked").pop();
        let mut explorer = idle.unwrap_or_else(|| Explorer::new(self.graph));
        let result = work(&mut explorer);
        self.explorers.lock().expect("no thread panicked").push(explorer);
        result
    }
}

/// The components of the arcs up to each length of a ladder of scales, found when first needed and dropped when passed.
#[derive(Default)]
struct Ladder {
    rungs: Vec<(f64, Components)>,
    longest: f64,
}

impl Ladder {
    /// Makes sure that there are rungs for R and for ρ. (A rung at the next power of the ratio above ρ does as well.)
    fn climb(&mut self, graph: &Digraph, r: f64, rho: f64, longest: f64) {
        self.longest = longest;
        self.rungs.retain(|rung| rung.0 >= r);
        let mut height = self.rungs.last().map_or(r, |rung| rung.0 * RATIO);
        let mut missing = Vec::new();
        while self.rungs.last().map_or(0.0, |rung| rung.0).max(missing.last().copied().unwrap_or(0.0))
            < rho.min(longest)
        {
            missing.push(height);
            height *= RATIO;
        }
        self.rungs.par_extend(missing.into_par_iter().map(|height| (height, Components::up_to(graph, height))));
    }

    /// Components for R and for ρ; `all` where no arc is longer.
    fn at<'a>(&'a self, r: f64, rho: f64, all: &'a Components) -> (&'a Components, &'a Components) {
        let at_least = |length: f64| {
            let rung = self.rungs.iter().find(|rung| rung.0 >= length);
            rung.filter(|_| length < self.longest).map_or(all, |rung| &rung.1)
        };
        (at_least(r), at_least(rho))
    }
}
