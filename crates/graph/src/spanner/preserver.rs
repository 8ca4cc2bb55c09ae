//! Shortest paths to and from every source: what a spanner is thinned from, and the time it must beat.
//!
//! Cost: 2s searches of the sources' whole components.

use rayon::prelude::*;

use super::{Spanner, check_sources};
use crate::Error;
use crate::components::Components;
use crate::digraph::{ArcSet, Digraph, Direction};
use crate::order::Ordered;
use crate::search::{Search, Whole};

/// The union of all shortest paths' trees from and to the sources: stretch 1.
///
/// # Errors
/// [`Error::NoSuchSource`].
pub fn preserver(graph: &Digraph, sources: &[u32]) -> Result<Spanner, Error> {
    check_sources(graph, sources)?;
    let ordered = Ordered::by_breadth(graph);
    let components = Components::of(&ordered.graph);
    let roots: Vec<_> = sources.iter().map(|&source| ordered.new[source as usize]).collect();
    let share = roots.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts: Vec<_> = roots.par_chunks(share).map(|roots| trees(&ordered.graph, &components, roots)).collect();
    let mut kept = ArcSet::none(&ordered.graph);
    let mut relaxations = 0;
    for (arcs, looked_at) in parts {
        kept.union(&arcs);
        relaxations += looked_at;
    }
    Ok(Spanner { arcs: ordered.restore(&kept, graph), stretch: 1.0, provable: 1.0, clusters: Vec::new(), relaxations })
}

/// The trees of some sources, each within its component, and how many arcs were looked at.
fn trees(graph: &Digraph, components: &Components, roots: &[u32]) -> (ArcSet, u64) {
    let mut arcs = ArcSet::none(graph);
    let mut search = Search::new(graph);
    for &root in roots {
        for direction in [Direction::Out, Direction::In] {
            search.start(root, f64::INFINITY);
            search.advance(&Whole(graph, direction), f64::INFINITY, |vertex| components.together(root, vertex));
            for &vertex in &search.reached()[1..] {
                let position =
                    graph.position(direction, search.parent(vertex), vertex).expect("a tree is made of arcs");
                arcs.insert(graph.number(direction, position));
            }
        }
    }
    (arcs, search.relaxations())
}
