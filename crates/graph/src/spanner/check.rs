//! A certificate, checked from scratch: no trust in the construction, and no pair-by-pair audit.
//!
//! First every cluster is what it says: each x with `rt_G(c, x) ≤ radius` has `rt_H(c, x) ≤ limit`. Then each source u with
//! `rt_G(c, u) ≤ radius` is served by it at distances from `(rt_H(c, u) + limit) / t`, since
//! `rt_H(u, v) ≤ rt_H(u, c) + rt_H(c, v)`, up to `radius − rt_G(c, u)`, since such v are members; without end if the
//! members are u's whole strongly connected component. Together the clusters must serve u at every distance at which it
//! can have a pair. It has none up to R if it is alone in its component of the arcs of length ≤ R, and none
//! below the shortest positive length.
//!
//! Cost: two bounded searches in G and two in H for each cluster (twice that to reject), and one pass over the arcs for each scale.

use std::collections::HashSet;
use std::sync::Mutex;

use rayon::prelude::*;

use super::Certificate;
use super::ball::{Explorer, Grown, Member};
use crate::components::Components;
use crate::digraph::{ArcSet, Digraph};
use crate::{Error, verify};

/// Why a certificate proves nothing. Vertices are numbers from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The stretch or ratio is no number, or too small.
    #[error("stretch {stretch}, ratio {ratio}: the stretch must be at least 1 and the ratio above 1")]
    Terms {
        /// The stretch claimed.
        stretch: f64,
        /// The ratio claimed.
        ratio: f64,
    },
    /// Sources of the certificate are not those that were asked for.
    #[error("source {0} is missing in the certificate")]
    MissingSource(u32),
    /// More sources than asked for, or one twice.
    #[error("source {0} of the certificate was not asked for, or is listed twice")]
    StrangeSource(u32),
    /// A cluster's numbers are no distances, or its centre no vertex.
    #[error("cluster {0}: its centre is no vertex, or its scale, radius or limit no distance")]
    Malformed(usize),
    /// The same cluster twice.
    #[error("cluster {0} is listed twice")]
    Twice(usize),
    /// A member that is too far from the centre in H.
    #[error(
        "cluster {cluster}: member {member} has a round trip of {round_trip} to its centre, above the limit {limit}"
    )]
    TooFar {
        /// Which cluster, from 0.
        cluster: usize,
        /// The member.
        member: u32,
        /// Its round trip in H.
        round_trip: f64,
        /// The cluster's limit.
        limit: f64,
    },
    /// A source that no cluster serves at some distance.
    #[error("source {vertex}: no cluster answers for round trips between {from} and {to}")]
    Gap {
        /// The source.
        vertex: u32,
        /// Round trips longer than this,
        from: f64,
        /// and up to this.
        to: f64,
    },
    /// A source that has lost a vertex at distance 0.
    #[error("source {0} is no longer at distance 0 from all that it was")]
    Zero(u32),
}

/// Checks that `certificate` proves its stretch for `spanner`, a sub-graph of `graph`; with `sources`, for exactly those.
/// Gives `Ok(Ok(()))` if it does.
///
/// # Errors
/// [`Error::NotInGraph`] if `spanner` is no sub-graph.
pub fn check(
    graph: &Digraph,
    spanner: &Digraph,
    certificate: &Certificate,
    sources: Option<&[u32]>,
) -> Result<Result<(), Rejection>, Error> {
    verify::contained(spanner, graph)?;
    Ok(Check::new(graph, spanner, certificate).run(sources))
}

struct Check<'a> {
    graph: &'a Digraph,
    kept: Grown,
    certificate: &'a Certificate,
    components: Components,
    /// The place of each source, or `NONE`.
    place: Vec<u32>,
    slack: f64,
}

const NONE: u32 = u32::MAX;

/// Distances at which one source is served.
#[derive(Debug, Clone, Copy)]
struct Served {
    place: u32,
    from: f64,
    to: f64,
}

impl<'a> Check<'a> {
    fn new(graph: &'a Digraph, spanner: &Digraph, certificate: &'a Certificate) -> Self {
        let mut kept = Grown::none(graph);
        spanner.list().for_each(|arc| kept.insert(super::ball::ArcPositions::of(graph, arc.from, arc.to)));
        let slack = 1.0 + 4.0 * graph.tolerance();
        let place = vec![NONE; graph.vertices()];
        Self { graph, kept, certificate, components: Components::of(graph), place, slack }
    }

    fn run(mut self, sources: Option<&[u32]>) -> Result<(), Rejection> {
        self.terms()?;
        self.sources(sources)?;
        self.distance_zero()?;
        // Round trips in H near each ball mostly suffice, and are found quickly; if not, all count.
        self.clusters(false).or_else(|_| self.clusters(true))
    }

    /// All clusters are what they say, and no source has a gap.
    fn clusters(&self, wide: bool) -> Result<(), Rejection> {
        let clusters = &self.certificate.clusters;
        let explorers = Mutex::new(Vec::new());
        let numbered: Vec<_> = (0..clusters.len()).collect();
        let parts: Vec<_> = numbered
            .par_chunks(16)
            .map(|part| {
                let idle = explorers.lock().expect("no thread panicked").pop();
                let mut explorer = idle.unwrap_or_else(|| Explorer::new(self.graph));
                let mut served = Vec::new();
                part.iter().try_for_each(|&cluster| self.cluster(&mut explorer, cluster, wide, &mut served))?;
                explorers.lock().expect("no thread panicked").push(explorer);
                Ok(served)
            })
            .collect::<Result<_, _>>()?;
        self.no_gaps(parts.concat())
    }

    fn terms(&self) -> Result<(), Rejection> {
        let &Certificate { stretch, ratio, ref clusters, .. } = self.certificate;
        if !(stretch.is_finite() && stretch >= 1.0 && ratio.is_finite() && ratio > 1.0) {
            return Err(Rejection::Terms { stretch, ratio });
        }
        let mut seen = HashSet::new();
        for (number, cluster) in clusters.iter().enumerate() {
            let lengths = [cluster.scale, cluster.radius, cluster.limit];
            let distances = lengths.iter().all(|length| length.is_finite() && *length >= 0.0);
            if !distances || cluster.centre as usize >= self.graph.vertices() {
                return Err(Rejection::Malformed(number));
            }
            if !seen.insert((cluster.centre, lengths.map(f64::to_bits))) {
                return Err(Rejection::Twice(number));
            }
        }
        Ok(())
    }

    fn sources(&mut self, asked: Option<&[u32]>) -> Result<(), Rejection> {
        for (number, &source) in (0..).zip(&self.certificate.sources) {
            match self.place.get_mut(source as usize) {
                Some(place) if *place == NONE => *place = number,
                _ => return Err(Rejection::StrangeSource(source)),
            }
        }
        let Some(asked) = asked else { return Ok(()) };
        if let Some(&missing) = asked.iter().find(|&&source| self.place.get(source as usize).is_none_or(|&p| p == NONE))
        {
            return Err(Rejection::MissingSource(missing));
        }
        let asked: HashSet<_> = asked.iter().collect();
        match self.certificate.sources.iter().find(|source| !asked.contains(source)) {
            Some(&strange) => Err(Rejection::StrangeSource(strange)),
            None => Ok(()),
        }
    }

    /// What zero arcs join with a source in G they join in H.
    fn distance_zero(&self) -> Result<(), Rejection> {
        let [in_graph, in_spanner] = [&Components::up_to(self.graph, 0.0), &Components::up_to(&self.spanner(), 0.0)];
        let lost = |&&source: &&u32| in_graph.size(source) != in_spanner.size(source);
        self.certificate.sources.iter().find(lost).map_or(Ok(()), |&source| Err(Rejection::Zero(source)))
    }

    fn spanner(&self) -> Digraph {
        let mut arcs = ArcSet::none(self.graph);
        arcs.union(&self.kept.out);
        self.graph.subgraph(&arcs)
    }

    /// The cluster is what it says; adds where it serves sources.
    fn cluster(
        &self,
        explorer: &mut Explorer,
        number: usize,
        wide: bool,
        served: &mut Vec<Served>,
    ) -> Result<(), Rejection> {
        let &super::Cluster { centre, radius, limit, .. } = &self.certificate.clusters[number];
        let stretch = self.certificate.stretch;
        explorer.explore(self.graph, centre, radius, false, |vertex| self.components.together(centre, vertex));
        let limit_here = limit * self.slack;
        explorer.search_kept(self.graph, &self.kept, limit_here, wide, false);
        let is_far = |member: &Member| explorer.kept_trip(member.vertex) > limit_here;
        if !wide && explorer.members().iter().any(is_far) {
            explorer.search_kept(self.graph, &self.kept, limit_here, true, false);
        }
        let whole = explorer.members().len() == self.components.size(centre) as usize;
        for member in explorer.members() {
            let round_trip = explorer.kept_trip(member.vertex);
            if round_trip > limit_here {
                return Err(Rejection::TooFar { cluster: number, member: member.vertex, round_trip, limit });
            }
            let place = self.place[member.vertex as usize];
            if place != NONE {
                let to = if whole { f64::INFINITY } else { radius - member.round_trip };
                let from = (round_trip + limit) / stretch;
                if from <= to {
                    served.push(Served { place, from, to });
                }
            }
        }
        Ok(())
    }

    /// Each source is served at all distances at which it has pairs.
    fn no_gaps(&self, mut served: Vec<Served>) -> Result<(), Rejection> {
        let (shortest, longest) = self.graph.lengths();
        // Up to which length each source is alone: tried for every scale and the one below.
        let &Certificate { ratio, ref clusters, ref sources, .. } = self.certificate;
        let mut scales: Vec<_> = clusters.iter().flat_map(|cluster| [cluster.scale, cluster.scale / ratio]).collect();
        scales.retain(|&scale| scale < longest);
        scales.sort_by(f64::total_cmp);
        scales.dedup();
        let alone_at = |&scale: &f64| {
            let components = Components::up_to(self.graph, scale);
            sources.iter().map(|&source| if components.size(source) == 1 { scale } else { 0.0 }).collect()
        };
        let lowest = || vec![shortest; sources.len()];
        let higher = |a: Vec<f64>, b: Vec<f64>| a.into_iter().zip(b).map(|(a, b)| a.max(b)).collect();
        let alone = scales.par_iter().map(alone_at).reduce(lowest, higher);
        served.sort_by(|a, b| a.place.cmp(&b.place).then(a.from.total_cmp(&b.from)));
        let mut served = served.into_iter().peekable();
        for ((place, &source), &alone) in (0..).zip(sources).zip(&alone) {
            let mut up_to = alone;
            while let Some(next) = served.next_if(|next| next.place == place) {
                if next.from <= up_to * self.slack {
                    up_to = up_to.max(next.to);
                }
            }
            if up_to.is_finite() && self.components.size(source) > 1 && longest > 0.0 {
                return Err(Rejection::Gap { vertex: source, from: up_to, to: f64::INFINITY });
            }
        }
        Ok(())
    }
}
