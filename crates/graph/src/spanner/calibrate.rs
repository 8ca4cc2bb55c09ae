//! The sparsest spanner whose stretch, measured for every pair, is what was asked for.
//!
//! A certified bound is pessimistic: the true stretch is two to three times below it. So spanners are made for larger and
//! larger bounds, up to none at all, each is repaired where a pair is stretched more than t, and the one with the fewest
//! arcs is kept. The repair looks at every pair, so the stretch is certain too; it costs four searches of the graph for
//! each source and bound.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::ball::{Explorer, Grown, Member};
use super::certified::{RATIO, Settings, certified};
use super::{Cluster, Spanner, prune};
use crate::components::Components;
use crate::digraph::ArcSet;
use crate::order::Ordered;
use crate::{Digraph, Error};

/// The bounds that are tried, as multiples of the stretch.
const BOUNDS: [f64; 3] = [1.5, 3.0, 6.0];

/// The sparsest spanner found with `settings.stretch` for every pair of `sources` and all vertices. With `pruned`, spanners
/// are pruned before they are repaired.
///
/// Its clusters are balls around every source at every scale; they prove twice the stretch to whoever checks them.
///
/// # Errors
/// As [`certified`].
pub fn calibrate(graph: &Digraph, sources: &[u32], settings: &Settings, pruned: bool) -> Result<Spanner, Error> {
    let stretch = settings.stretch;
    let mut best = certified(graph, sources, settings)?; // refuses what is out of range, and is the bound t itself
    if pruned {
        best = prune(graph, sources, &best);
    }
    let mut relaxations = best.relaxations;
    best = repair(graph, sources, &best.arcs, stretch, settings.seed)?;
    let mut consider = |repaired: Spanner| {
        relaxations += repaired.relaxations;
        if repaired.arcs.len() < best.arcs.len() {
            best = repaired;
        }
    };
    consider(repair(graph, sources, &ArcSet::none(graph), stretch, settings.seed)?);
    for bound in BOUNDS {
        let mut loose = certified(graph, sources, &Settings { stretch: bound * stretch, ..*settings })?;
        if pruned {
            loose = prune(graph, sources, &loose);
        }
        let repaired = repair(graph, sources, &loose.arcs, stretch, settings.seed)?;
        consider(Spanner { relaxations: loose.relaxations + repaired.relaxations, ..repaired });
    }
    Ok(Spanner { relaxations, ..best })
}

/// The arcs in `kept` with shortest paths for pairs that are stretched more than `stretch`, the farthest first, until there
/// are none.
///
/// # Errors
/// [`Error::NoSuchSource`].
pub fn repair(graph: &Digraph, sources: &[u32], kept: &ArcSet, stretch: f64, seed: u64) -> Result<Spanner, Error> {
    super::check_sources(graph, sources)?;
    let ordered = Ordered::by_breadth(graph);
    let components = Components::of(&ordered.graph);
    let mut roots: Vec<_> = sources.iter().map(|&source| ordered.new[source as usize]).collect();
    roots.sort_unstable();
    roots.dedup();
    roots.retain(|&root| components.size(root) > 1);
    roots.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));

    let mut kept = Grown::of(&ordered.graph, &ordered.translate(kept, graph));
    let mut explorer = Explorer::new(&ordered.graph);
    let mut clusters = Vec::new();
    let shortest = graph.lengths().0;
    for root in roots {
        let members =
            explorer.explore(&ordered.graph, root, f64::INFINITY, true, |vertex| components.together(root, vertex));
        let farthest = members.iter().map(|member| member.round_trip).fold(0.0, f64::max);
        let allowed = |member: &Member| Some(stretch * member.round_trip);
        for arc in explorer.missing(&ordered.graph, &kept, allowed, stretch * farthest, true, true) {
            kept.insert(arc);
        }
        let centre = ordered.old[root as usize];
        if shortest > 0.0 {
            // From the shortest round trips to the first scale whose ball is everything.
            let scales =
                std::iter::successors(Some(RATIO * shortest), |scale| (*scale < farthest).then(|| scale * RATIO));
            clusters.extend(scales.map(|scale| Cluster { scale, centre, radius: scale, limit: stretch * scale }));
        }
    }
    let arcs = ordered.restore(&kept.out, graph);
    Ok(Spanner { arcs, stretch, provable: RATIO * stretch, clusters, relaxations: explorer.relaxations() })
}
