//! The greedy spanner: pairs from near to far, and shortest paths for each that the arcs kept so far stretch too much.
//!
//! Near the smallest that can be, and slow: for small graphs, and to measure the others against.

use super::ball::{ArcPositions, Grown};
use super::{Spanner, check_sources};
use crate::Error;
use crate::digraph::{Digraph, Direction};
use crate::search::{Kept, Search, Whole};

/// Pairs whose round trips differ by less are taken source by source, so that one search serves many.
const BUCKET: f64 = 1.25;

/// Most pairs that are held at once.
const MOST_PAIRS: usize = 100_000_000;

/// The greedy spanner of stretch `stretch` (t ≥ 1).
///
/// # Errors
/// [`Error::Parameter`] if t is below 1 or not finite, [`Error::NoSuchSource`], [`Error::TooLarge`] above 10^8 pairs.
pub fn greedy(graph: &Digraph, sources: &[u32], stretch: f64) -> Result<Spanner, Error> {
    check_sources(graph, sources)?;
    if !(stretch.is_finite() && stretch >= 1.0) {
        return Err(Error::Parameter { what: "stretch", value: stretch, range: "a number of at least 1" });
    }
    if sources.len().saturating_mul(graph.vertices()) > MOST_PAIRS {
        let what = format!("{} sources on {} vertices for the method greedy", sources.len(), graph.vertices());
        return Err(Error::TooLarge { what });
    }
    let mut search = [Search::new(graph), Search::new(graph)];
    let mut pairs = Vec::new();
    let mut trees = Vec::new();
    for (index, &source) in (0..).zip(sources) {
        for (search, direction) in search.iter_mut().zip(DIRECTIONS) {
            search.run(&Whole(graph, direction), source, f64::INFINITY);
        }
        let [out, back] = &search;
        for &vertex in &out.reached()[1..] {
            let round_trip = out.distance(vertex) + back.distance(vertex);
            if round_trip.is_finite() {
                pairs.push(Pair { round_trip, source: index, vertex });
            }
        }
        let vertices = 0..graph.vertices() as u32;
        trees.push([out, back].map(|tree| vertices.clone().map(|vertex| tree.parent(vertex)).collect::<Vec<_>>()));
    }
    let bucket =
        |pair: &Pair| if pair.round_trip > 0.0 { pair.round_trip.log(BUCKET).floor() } else { f64::NEG_INFINITY };
    pairs.sort_by(|a, b| {
        bucket(a).total_cmp(&bucket(b)).then(a.source.cmp(&b.source)).then(a.round_trip.total_cmp(&b.round_trip))
    });

    let mut kept = Grown::none(graph);
    for alike in pairs.chunk_by(|a, b| bucket(a) == bucket(b) && a.source == b.source) {
        let source = sources[alike[0].source as usize];
        let bound = stretch * alike[alike.len() - 1].round_trip;
        let search_kept = |search: &mut [Search; 2], kept: &Grown| {
            search[0].run(&Kept(graph, Direction::Out, &kept.out), source, bound);
            search[1].run(&Kept(graph, Direction::In, &kept.back), source, bound);
        };
        search_kept(&mut search, &kept);
        let mut stale = false;
        for &Pair { round_trip, source: index, vertex } in alike {
            let too_long =
                |search: &[Search; 2]| search[0].distance(vertex) + search[1].distance(vertex) > stretch * round_trip;
            // Round trips in H only shrink: one that is short enough stays so, one that is not is looked at again.
            if !too_long(&search) {
                continue;
            }
            if std::mem::take(&mut stale) {
                search_kept(&mut search, &kept);
            }
            if too_long(&search) {
                for (direction, parents) in DIRECTIONS.into_iter().zip(&trees[index as usize]) {
                    add_path(graph, &mut kept, direction, parents, source, vertex);
                }
                stale = true;
            }
        }
    }
    let relaxations = search.iter().map(Search::relaxations).sum();
    Ok(Spanner { arcs: kept.out, stretch, provable: stretch, clusters: Vec::new(), relaxations })
}

const DIRECTIONS: [Direction; 2] = [Direction::Out, Direction::In];

/// A source, by its place among the sources, and another vertex.
struct Pair {
    round_trip: f64,
    source: u32,
    vertex: u32,
}

/// Keeps the path between `source` and `vertex` of the tree with these `parents`.
fn add_path(graph: &Digraph, kept: &mut Grown, direction: Direction, parents: &[u32], source: u32, mut vertex: u32) {
    while vertex != source {
        let parent = parents[vertex as usize];
        let (from, to) = if direction == Direction::Out { (parent, vertex) } else { (vertex, parent) };
        kept.insert(ArcPositions::of(graph, from, to));
        vertex = parent;
    }
}
