//! What a run has spared and what it cost, time by time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::message::{Kind, Tally};
use super::protocol::{Model, Rate};

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How sites told what they knew.
    pub model: Model,
    /// How many sites there were.
    pub sites: usize,
    /// k
    pub clusters: usize,
    /// How many vertices there are.
    pub vertices: usize,
    /// How many edges are kept, as asked for.
    pub rate: Rate,
    /// The public seed.
    pub seed: u64,
    /// b, the bits of a vertex.
    pub id_bits: u32,
    /// W, the bits of a weight.
    pub weight_bits: u32,
    /// All bits: the start, and those of all times.
    pub bits: u64,
    /// What shipping every change would have taken.
    pub ship_all_bits: u64,
    /// The start, once to every site or once on the board.
    pub start_bits: u64,
    /// Bytes on the wire, with frames and padding.
    pub wire_bytes: u64,
    /// The times that were asked for, in order.
    pub times: Vec<Time>,
}

/// What there was at one time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Time {
    /// When.
    pub at: f64,
    /// Edges of the graph, parallel ones counted.
    pub edges: usize,
    /// Edges that the coordinator knows.
    pub kept: usize,
    /// c, as it was at the end.
    pub c: f64,
    /// Bits that sites sent since the time before: those of all their messages.
    pub bits: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bits that the coordinator sent: whether c is doubled, and labels if they are sent back.
    pub coordinator_bits: u64,
    /// All bits up to here, with the start and the coordinator's.
    pub bits_so_far: u64,
    /// What shipping every change up to here would have taken.
    pub ship_all_bits_so_far: u64,
    /// Messages and bits by kind.
    pub by_kind: BTreeMap<&'static str, Count>,
    /// Bits by site.
    pub by_site: Vec<u64>,
    /// How good the labels are, on the whole graph.
    #[serde(flatten)]
    pub quality: Quality,
    /// How well the labels agree with the truth, if that is given.
    #[serde(flatten)]
    pub truth: Option<Truth>,
    /// Seconds: of the protocol, of clustering at the coordinator, and of clustering the whole graph.
    pub seconds: [f64; 3],
}

/// Messages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many there were.
    pub messages: u64,
    /// How many bits they took.
    pub bits: u64,
}

/// How good labels are: on the whole graph, beside those that one gets from the whole graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Normalised cut: Σ cut/volume over the clusters.
    pub ncut: f64,
    /// That of labels from the whole graph.
    pub central_ncut: f64,
    /// `ncut` by `central_ncut`.
    pub ncut_ratio: Option<f64>,
    /// The largest conductance of a cluster.
    pub conductance: f64,
    /// Modularity.
    pub modularity: f64,
    /// Adjusted Rand index to the labels from the whole graph.
    pub ari: f64,
    /// Normalised mutual information with the labels from the whole graph (arithmetic mean).
    pub nmi: f64,
    /// Vertices of no cluster, since nothing is known of their edges.
    pub unlabelled: usize,
    /// Connected components of what the coordinator knows, without vertices alone.
    pub components: usize,
}

/// How well labels agree with the truth, and how well those from the whole graph do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Truth {
    /// Adjusted Rand index.
    pub truth_ari: f64,
    /// Normalised mutual information.
    pub truth_nmi: f64,
    /// That of labels from the whole graph.
    pub central_truth_ari: f64,
    /// That of labels from the whole graph.
    pub central_truth_nmi: f64,
}

impl Report {
    /// Bits as a part of those of shipping everything.
    pub fn share(&self) -> f64 {
        self.bits as f64 / self.ship_all_bits as f64
    }
}

/// A tally by names.
pub(super) fn by_kind(tally: &Tally) -> BTreeMap<&'static str, Count> {
    Kind::ALL.map(|kind| (kind.name(), Count { messages: tally.messages(kind), bits: tally.bits(kind) })).into()
}
