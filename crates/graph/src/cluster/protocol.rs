//! What all parties agree on before they begin, and whose turn it is.

use serde::{Deserialize, Serialize};

use super::blackboard;
use super::message::{Codec, Start, Weights};
use super::transport::Reach;
use crate::Error;

/// How sites tell a coordinator what it needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// D2-CAMP: every site talks to the coordinator alone.
    MessagePassing,
    /// D2-CABL: what a site writes, all read.
    Blackboard,
    /// Every change is sent as it is (CNTRL).
    ShipAll,
    /// The static protocol of message passing, run again at every time (STMP).
    Static,
    /// The static protocol of the blackboard, run again at every time (STBL).
    StaticBlackboard,
}

impl Model {
    /// All models.
    pub const ALL: [Self; 5] =
        [Self::MessagePassing, Self::Blackboard, Self::ShipAll, Self::Static, Self::StaticBlackboard];

    /// The name by which a user asks for the model.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessagePassing => "message-passing",
            Self::Blackboard => "blackboard",
            Self::ShipAll => "ship-all",
            Self::Static => "static",
            Self::StaticBlackboard => "static-blackboard",
        }
    }

    /// Who hears what is said.
    pub fn reach(self) -> Reach {
        match self {
            Self::Blackboard | Self::StaticBlackboard => Reach::Board,
            Self::MessagePassing | Self::ShipAll | Self::Static => Reach::Messages,
        }
    }

    /// How often each site speaks in a round.
    pub(super) fn turns(self, vertices: usize) -> u8 {
        match self.reach() {
            Reach::Board => blackboard::stages(vertices),
            Reach::Messages => 1,
        }
    }
}

/// How many times its leverage an edge is kept: c.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// As given.
    C(f64),
    /// c = 4 ln n / ε²: enough for a (1 ± ε)-sparsifier with high probability.
    Eps(f64),
    /// From 1, doubled until the labels at c and at c/2 agree (adjusted Rand index of 0.98 at least).
    Auto,
}

/// What every party knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Protocol {
    /// The model.
    pub model: Model,
    /// How many sites there are.
    pub sites: usize,
    /// How many vertices there are.
    pub vertices: usize,
    /// k
    pub clusters: usize,
    /// How many edges are kept.
    pub rate: Rate,
    /// The public seed of all coins.
    pub seed: u64,
    /// How messages are written.
    pub codec: Codec,
    /// Whether the labels are sent back.
    pub labels_back: bool,
}

impl Protocol {
    /// A protocol for a graph of `vertices`.
    ///
    /// # Errors
    /// [`Error::Parameter`]: no site, no cluster or more than vertices, c or ε that is not above 0.
    pub fn new(
        model: Model,
        (sites, vertices, clusters): (usize, usize, usize),
        rate: Rate,
        seed: u64,
        weights: Weights,
    ) -> Result<Self, Error> {
        let wrong = |what, value: f64, range| Error::Parameter { what, value, range };
        if !(1..=1 << 16).contains(&sites) {
            return Err(wrong("sites", sites as f64, "1 to 65,536"));
        }
        if clusters == 0 || clusters > vertices {
            return Err(wrong("clusters", clusters as f64, "at least 1 and at most the number of vertices"));
        }
        match rate {
            Rate::C(c) if !(c > 0.0 && c <= 1e9) => return Err(wrong("c", c, "above 0 and at most 1e9")),
            Rate::Eps(eps) if !(eps > 1e-4 && eps < 1.0) => return Err(wrong("eps", eps, "between 0.0001 and 1")),
            _ => {}
        }
        let codec = Codec::new(vertices, weights);
        Ok(Self { model, sites, vertices, clusters, rate, seed, codec, labels_back: false })
    }

    /// What the coordinator says first.
    pub fn start(&self) -> Start {
        let (c, eps) = match self.rate {
            Rate::C(c) => (c, 0.0),
            Rate::Eps(eps) => (4.0 * (self.vertices.max(2) as f64).ln() / (eps * eps), eps),
            Rate::Auto => (1.0, 0.0),
        };
        let (vertices, clusters) = (self.vertices as u32, self.clusters as u32);
        Start { seed: self.seed, vertices, clusters, c: c as f32, eps: eps as f32 }
    }

    /// The bits of a label: ⌈log2 (k + 1)⌉, since a vertex may be in no cluster.
    pub(super) fn label_bits(&self) -> u32 {
        (self.clusters + 1).next_power_of_two().trailing_zeros()
    }
}
