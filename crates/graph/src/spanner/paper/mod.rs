//! The published method: near-linear time in the arcs, a stretch of O(k log n) that holds with high probability.
//!
//! At each scale R a *cover* of clusters is drawn at random such that every pair of a source and a vertex within a round trip
//! of R shares one; H is the union of the clusters' trees out of and into their centres. With a cluster's radius at most
//! r, `rt_H(u, v) ≤ 2r` for a pair that shares it, and `rt(u, v) > R/2` if it was not served at a lower scale.
//!
//! Claimed: time `O(m s^(1/k) log^5 n)`, stretch `O(k log n)`, `O(n s^(1/k) log² n)` arcs, with high probability. Here the stretch
//! that [`Spanner::stretch`] names is what the clusters drawn give, `max 4r/R + 8ε/n` over all scales, ε = 1/4 (the second
//! term is what `contract.rs` may add), and never more than [`Settings::bound`].
//!
//! The guarantee's constants are large: where a few sources' balls are not cheap (see `cover.rs`), clusters have a radius of up to
//! hundreds of R. [`certified`](fn@super::certified) gives the stretch that one asks for, with certainty; this method is
//! here for its growth and for the theorem.
//!
//! | file | idea |
//! | --- | --- |
//! | `contract.rs` | which arcs matter at which scale, independent of the lengths |
//! | `cover.rs` | the recursion, its repetitions, and when they may end |
//! | `shift.rs` | exponential-shift clustering with the certificate of padding |
//! | `estimate.rs` | how many sources each source's balls hold |
//!
//! Against the paper: with [`Centres::Sources`] only sources are centres of clusterings, so that the stretch is `O(k log s)`; β
//! and ρ are set by each component's sources instead of all; repetitions end when every source is known to be served.
//! Sources in one piece count as one.
//!
//! Source: Zhu, Han, Lam, *A fast algorithm for source-wise round-trip spanners* (Theoretical Computer Science, 2021), after
//! Pachocki, Roditty, Sidford, Tov, Vassilevska Williams, *Approximating cycles in directed graphs* (SODA 2018).

mod contract;
mod cover;
mod estimate;
mod shift;

use std::str::FromStr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::contract::{EPSILON, Hierarchy, ZERO, length_of};
use self::cover::{Component, Covers, depth, reach};
use super::{Cluster, Spanner, check_sources};
use crate::order::Ordered;
use crate::{ArcSet, Digraph, Error};

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// k ≥ 2: larger is fewer arcs and more stretch.
    pub k: u32,
    /// Which vertices are centres of the clusterings.
    pub centres: Centres,
    /// The same seed gives the same arcs.
    pub seed: u64,
}

/// Which vertices are centres of the exponential-shift clusterings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Centres {
    /// Sources: stretch O(k log s).
    #[default]
    Sources,
    /// All vertices, as in the paper: stretch O(k log n).
    All,
}

impl FromStr for Centres {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "sources" => Ok(Self::Sources),
            "all" => Ok(Self::All),
            _ => Err("known: sources, all".into()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { k: 2, centres: Centres::Sources, seed: 0 }
    }
}

impl Settings {
    /// The stretch that no spanner of a graph with n vertices, for s sources, claims to exceed:
    /// `4 (4k ln N + k ln s) / ln(8/7) + 8ε/n`, N = s for [`Centres::Sources`] and n for [`Centres::All`], at least 8; ε = 1/4.
    pub fn bound(&self, vertices: usize, sources: usize) -> f64 {
        let centres = match self.centres {
            Centres::Sources => sources,
            Centres::All => vertices,
        };
        let radius = 2.0 * reach(self.k.into(), centres) + f64::from(self.k) * depth(sources.max(1));
        stretch(radius, vertices)
    }
}

/// The stretch of clusters whose radius is at most `radius` times their scale.
fn stretch(radius: f64, vertices: usize) -> f64 {
    4.0 * radius + 8.0 * EPSILON / vertices.max(1) as f64
}

/// The spanner of `graph` for `sources`. Its stretch holds with high probability: by the theorem at least `1 − 1/n`, if head
/// starts longer than ρ, which are drawn again, are left out of the count. (Where the repetitions end because all sources
/// are known to be served, nothing is left to chance.)
///
/// A cluster's members are those of its ball *inside a part* of the graph at its scale, up to `radius` in the contracted
/// graph; its `limit` is its radius.
///
/// # Errors
/// [`Error::Parameter`] if k is below 2; [`Error::NoSuchSource`] if a source is no vertex.
pub fn paper(graph: &Digraph, sources: &[u32], settings: &Settings) -> Result<Spanner, Error> {
    check_sources(graph, sources)?;
    if settings.k < 2 {
        return Err(Error::Parameter { what: "k", value: settings.k.into(), range: "at least 2" });
    }
    let ordered = Ordered::by_breadth(graph);
    let mut sources: Vec<_> = sources.iter().map(|&source| ordered.new[source as usize]).collect();
    sources.sort_unstable();
    sources.dedup();
    let mut construction = Construction::new(&ordered.graph, sources, *settings);
    construction.run();
    let Construction { mut clusters, kept, relaxations, .. } = construction;
    let radius = clusters.iter().map(|cluster| cluster.radius / cluster.scale).fold(0.0, f64::max);
    let stretch = if clusters.is_empty() { 1.0 } else { stretch(radius, graph.vertices()).max(1.0) };
    for cluster in &mut clusters {
        cluster.centre = ordered.old[cluster.centre as usize];
    }
    Ok(Spanner { arcs: ordered.restore(&kept, graph), stretch, provable: stretch, clusters, relaxations })
}

struct Construction {
    settings: Settings,
    sources: Vec<u32>,
    hierarchy: Hierarchy,
    /// Whether one cluster holds all of the component with this number.
    settled: Vec<bool>,
    kept: ArcSet,
    clusters: Vec<Cluster>,
    relaxations: u64,
    /// The last scale's graph: the next one's too if the same arcs matter.
    covers: Option<Covers>,
    /// The arcs that mattered at the last scale.
    active: Vec<u32>,
}

impl Construction {
    fn new(graph: &Digraph, sources: Vec<u32>, settings: Settings) -> Self {
        Self {
            settings,
            sources,
            hierarchy: Hierarchy::of(graph),
            settled: vec![false; graph.vertices()],
            kept: ArcSet::none(graph),
            clusters: Vec::new(),
            relaxations: 0,
            covers: None,
            active: Vec::new(),
        }
    }

    fn run(&mut self) {
        let mut random = ChaCha8Rng::seed_from_u64(self.settings.seed);
        self.rise(ZERO);
        let mut next = self.hierarchy.next_level();
        while let Some(level) = next {
            self.rise(level);
            if self.prepare() {
                let covers = self.covers.as_mut().expect("prepared");
                self.clusters.extend(covers.at(length_of(level), &mut random));
            }
            next = if self.settle() { self.hierarchy.next_level() } else { Some(level + 1) };
        }
        self.leave();
    }

    /// Goes up to a level and keeps the trees of the pieces that merge.
    fn rise(&mut self, level: i32) {
        let Self { hierarchy, settled, .. } = self;
        for arc in hierarchy.rise(level, |component| settled[component as usize] = false) {
            self.kept.insert(arc);
        }
    }

    /// Makes the graph of the arcs that matter ready; whether there are any.
    fn prepare(&mut self) -> bool {
        let Self { hierarchy, sources, settled, .. } = self;
        let mut open = vec![false; settled.len()];
        for &source in &*sources {
            let component = hierarchy.component(source) as usize;
            open[component] = !settled[component];
        }
        let active = hierarchy.active(|component| open[component as usize]);
        if self.covers.is_some() && active == self.active {
            return true;
        }
        self.leave();
        self.active = active;
        if self.active.is_empty() {
            return false;
        }
        let quotient = self.hierarchy.quotient(self.active.clone());
        let components = self.components(&quotient.vertices);
        let ln_n = (self.settled.len() as f64).ln();
        self.covers = Some(Covers::new(quotient, components, &self.kept, self.settings, ln_n));
        true
    }

    /// The components of the graph whose vertices are these pieces, with their sources.
    fn components(&mut self, pieces: &[u32]) -> Vec<Component> {
        const NONE: u32 = u32::MAX;
        let Self { hierarchy, sources, .. } = self;
        let mut places = vec![NONE; self.settled.len()];
        let mut components: Vec<Component> = Vec::new();
        for (number, &piece) in (0..).zip(pieces) {
            let place = &mut places[hierarchy.component(piece) as usize];
            if *place == NONE {
                *place = components.len() as u32;
                components.push(Component::default());
            }
            components[*place as usize].vertices.push(number);
        }
        let mut numbers = vec![NONE; self.settled.len()];
        for (number, &piece) in (0..).zip(pieces) {
            numbers[piece as usize] = number;
        }
        for &source in &*sources {
            let number = std::mem::replace(&mut numbers[hierarchy.piece(source) as usize], NONE);
            if number != NONE {
                components[places[hierarchy.component(source) as usize] as usize].sources.push(number);
            }
        }
        components
    }

    /// Notes which components are settled; whether all are.
    fn settle(&mut self) -> bool {
        let Self { hierarchy, covers, settled, .. } = self;
        let Some(covers) = covers else { return true };
        let mut all = true;
        for component in &covers.components {
            all &= component.settled;
            if component.settled {
                let vertex = covers.quotient.vertices[component.vertices[0] as usize];
                settled[hierarchy.component(vertex) as usize] = true;
            }
        }
        all
    }

    /// Done with the last scale's graph.
    fn leave(&mut self) {
        if let Some(covers) = self.covers.take() {
            covers.keep(&mut self.kept);
            self.relaxations += covers.relaxations();
        }
    }
}
