//! Source-wise round-trip spanners: fewer arcs, and every round trip between a source and any vertex within a factor.
//!
//! Round-trip distance is `rt(u, v) = d(u → v) + d(v → u)`. A sub-graph H of G is an *S-source-wise round-trip spanner of
//! stretch t* if `rt_H(u, v) ≤ t · rt_G(u, v)` for every source u in S and every vertex v. Pairs without a round trip in
//! G ask for nothing.
//!
//! Source: Zhu, Han, Lam, *A fast algorithm for source-wise round-trip spanners* (Theoretical Computer Science, 2021).

pub mod ball;
pub mod calibrate;
pub mod certificate;
pub mod certified;
pub mod check;
pub mod exact_cover;
pub mod greedy;
pub mod hierarchy;
pub mod paper;
pub mod preserver;
pub mod prune;
pub mod route;
pub mod verdict;

pub use calibrate::calibrate;
pub use certified::certified;
pub use exact_cover::exact_cover;
pub use greedy::greedy;
pub use hierarchy::hierarchy;
pub use paper::paper;
pub use preserver::preserver;
pub use prune::prune;

use serde::{Deserialize, Serialize};

use crate::{ArcSet, Digraph, Error};

/// A way to thin a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// [`certified()`]
    Certified,
    /// [`paper()`]
    Paper,
    /// [`exact_cover()`]
    ExactCover,
    /// [`preserver()`]
    Preserver,
    /// [`greedy()`]
    Greedy,
}

impl Method {
    /// The name by which a user asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Paper => "paper",
            Self::ExactCover => "exact-cover",
            Self::Preserver => "preserver",
            Self::Greedy => "greedy",
        }
    }
}

/// A thinned graph, with what shows that it is thin enough and not too thin.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanner {
    /// The arcs kept, by their numbers in G.
    pub arcs: ArcSet,
    /// The stretch that holds for every pair: with certainty, or in mode `paper` with high probability.
    pub stretch: f64,
    /// The stretch that the clusters prove to whoever checks them; never below `stretch`.
    pub provable: f64,
    /// The clusters of which H is made.
    pub clusters: Vec<Cluster>,
    /// How many arcs all searches looked at.
    pub relaxations: u64,
}

/// A ball whose members all have a short round trip to its centre in H.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// The scale R for whose round trips, in (R/ratio, R], the cluster was made.
    pub scale: f64,
    /// The centre.
    pub centre: u32,
    /// Members are the vertices with `rt_G(centre, x) ≤ radius`.
    pub radius: f64,
    /// All members have `rt_H(centre, x) ≤ limit`.
    pub limit: f64,
}

/// What anybody can check without trust in the construction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The stretch t that is claimed.
    pub stretch: f64,
    /// The ratio q of neighbouring scales.
    pub ratio: f64,
    /// The sources. As a file: ids as in the graph's file.
    pub sources: Vec<u32>,
    /// The clusters; together they serve every source at every distance.
    pub clusters: Vec<Cluster>,
}

impl Spanner {
    /// What its clusters prove for `sources`.
    pub fn certificate(&self, sources: &[u32]) -> Certificate {
        let (stretch, clusters) = (self.provable, self.clusters.clone());
        Certificate { stretch, ratio: certified::RATIO, sources: sources.to_vec(), clusters }
    }
}

/// Sources are vertices.
fn check_sources(graph: &Digraph, sources: &[u32]) -> Result<(), Error> {
    let vertices = graph.vertices();
    match sources.iter().find(|&&source| source as usize >= vertices) {
        Some(&vertex) => Err(Error::NoSuchSource { vertex, vertices }),
        None => Ok(()),
    }
}
