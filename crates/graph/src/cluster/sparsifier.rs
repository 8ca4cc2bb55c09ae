//! The sparsifier H, as it is known from messages: few edges of the graph, each standing for 2^level as many.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::message::{Codec, Message, Tally};
use super::undirected::{Edge, Undirected};

/// An edge of the sparsifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Its weight in the graph.
    pub weight: f64,
    /// Its level: here it weighs 2^level times as much.
    pub level: u8,
    /// Whether it was added in this round.
    pub fresh: bool,
}

/// What one site has in the sparsifier. Parallel edges stand in the order in which they were added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    edges: BTreeMap<(u32, u32), Vec<Kept>>,
    count: usize,
}

impl Part {
    /// How many edges there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many edges there are between two ends.
    pub fn parallel(&self, u: u32, v: u32) -> usize {
        self.edges.get(&(u, v)).map_or(0, Vec::len)
    }

    /// Does what a message says. Ranks exist, as [`Codec::read`](super::message::Codec::read) makes sure.
    pub fn apply(&mut self, message: &Message) {
        match *message {
            Message::Add { u, v, level, weight } => {
                self.edges.entry((u, v)).or_default().push(Kept { weight, level, fresh: true });
                self.count += 1;
            }
            Message::Del { u, v, rank } => {
                let Some(parallel) = self.edges.get_mut(&(u, v)) else { return };
                parallel.remove(rank as usize);
                if parallel.is_empty() {
                    self.edges.remove(&(u, v));
                }
                self.count -= 1;
            }
            Message::Level { u, v, level, rank } => {
                if let Some(kept) = self.edges.get_mut(&(u, v)).and_then(|parallel| parallel.get_mut(rank as usize)) {
                    kept.level = level;
                }
            }
            Message::Clear => *self = Self::default(),
            Message::End => {}
        }
    }

    /// All levels above 0 fall by one: c has doubled.
    pub fn halve_rarity(&mut self) {
        for kept in self.edges.values_mut().flatten() {
            kept.level = kept.level.saturating_sub(1);
        }
    }

    /// The round is over: no edge is fresh any more.
    pub fn settle(&mut self) {
        for kept in self.edges.values_mut().flatten() {
            kept.fresh = false;
        }
    }

    /// All edges, by their ends.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, Kept)> + '_ {
        self.edges.iter().flat_map(|(&(u, v), parallel)| parallel.iter().map(move |&kept| (u, v, kept)))
    }
}

/// The union of what sites keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparsifier {
    vertices: usize,
    parts: Vec<Part>,
}

impl Sparsifier {
    /// Nothing yet, of so many sites.
    pub fn new(vertices: usize, sites: usize) -> Self {
        Self { vertices, parts: vec![Part::default(); sites] }
    }

    /// How many sites there are.
    pub fn sites(&self) -> usize {
        self.parts.len()
    }

    /// What a site has in it.
    pub fn part(&self, site: usize) -> &Part {
        &self.parts[site]
    }

    /// What a site has in it, to change.
    pub fn part_mut(&mut self, site: usize) -> &mut Part {
        &mut self.parts[site]
    }

    /// All parts, to change.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.parts.iter_mut()
    }

    /// How many edges there are, parallel ones counted.
    pub fn edges(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// Reads what a site has said in one turn, up to its END, which is the last; counts what it took.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn hear(&mut self, codec: &Codec, site: usize, bits: &Bits) -> Result<Tally, String> {
        let part = &mut self.parts[site];
        let (mut reader, mut tally) = (bits.read(), Tally::default());
        loop {
            let before = reader.position();
            let message = codec.read(&mut reader, |u, v| part.parallel(u, v))?;
            tally.count(message.kind(), reader.position() - before);
            part.apply(&message);
            if message == Message::End {
                break;
            }
        }
        if reader.left() > 0 { Err(format!("{} bits follow END", reader.left())) } else { Ok(tally) }
    }

    /// The graph to cluster.
    pub fn graph(&self) -> Undirected {
        self.graph_by(|kept| kept.weight * f64::from(kept.level).exp2())
    }

    /// The graph in which an edge has another weight.
    pub(super) fn graph_by(&self, weight: impl Fn(Kept) -> f64) -> Undirected {
        self.part_of_graph(|_, kept| Some(weight(kept)))
    }

    /// The graph in which an edge, by its site, ends and rank, has another weight, or is left out.
    pub(super) fn part_of_graph(&self, weight: impl Fn((usize, u32, u32, usize), Kept) -> Option<f64>) -> Undirected {
        let mut edges = Vec::with_capacity(self.edges());
        for (site, part) in self.parts.iter().enumerate() {
            for (&(u, v), parallel) in &part.edges {
                for (rank, &kept) in parallel.iter().enumerate() {
                    let weight = weight((site, u, v, rank), kept);
                    edges.extend(weight.map(|weight| Edge { u, v, weight }));
                }
            }
        }
        Undirected::from_edges(self.vertices, &edges)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::message::Weights;

    #[test]
    fn messages_change_the_sparsifier_as_they_say() {
        let mut sparsifier = Sparsifier::new(4, 2);
        let add = |u, v, level, weight| Message::Add { u, v, level, weight };
        let said = [(0, add(0, 1, 2, 1.0)), (1, add(0, 1, 0, 0.5)), (0, add(0, 1, 1, 1.5)), (0, add(2, 3, 5, 1.0))];
        for (site, message) in said {
            sparsifier.part_mut(site).apply(&message);
        }
        let list = |sparsifier: &Sparsifier| {
            sparsifier.graph().list().map(|edge| (edge.u, edge.v, edge.weight)).collect::<Vec<_>>()
        };
        assert_eq!((sparsifier.edges(), list(&sparsifier)), (4, vec![(0, 1, 7.5), (2, 3, 32.0)]));
        sparsifier.part_mut(0).apply(&Message::Del { u: 0, v: 1, rank: 0 });
        sparsifier.part_mut(0).apply(&Message::Level { u: 2, v: 3, level: 4, rank: 0 });
        assert_eq!((sparsifier.edges(), list(&sparsifier)), (3, vec![(0, 1, 3.5), (2, 3, 16.0)]));
        sparsifier.parts_mut().for_each(Part::halve_rarity);
        assert_eq!(list(&sparsifier), [(0, 1, 2.0), (2, 3, 8.0)]);
        sparsifier.part_mut(0).apply(&Message::Clear);
        assert_eq!((sparsifier.part(0).is_empty(), list(&sparsifier)), (true, vec![(0, 1, 0.5)]));
        sparsifier.part_mut(1).apply(&Message::Del { u: 0, v: 1, rank: 0 });
        assert_eq!((sparsifier.edges(), list(&sparsifier)), (0, vec![]));
    }

    proptest! {
        #[test]
        fn what_is_heard_is_known_or_refused(
            turns in proptest::collection::vec((0usize..2, proptest::collection::vec(any::<u8>(), 0..40)), 1..6),
            vertices in prop_oneof![0usize..6, 6usize..3000],
            weights in prop_oneof![Just(0u32), 8u32..=64],
        ) {
            let weights = Weights::new(weights).unwrap_or(Weights::NONE);
            let (codec, mut sparsifier) = (Codec::new(vertices, weights), Sparsifier::new(vertices, 2));
            for (site, bytes) in turns {
                let length = 8 * bytes.len() as u64;
                let bits = Bits::from_bytes(bytes, length).unwrap();
                match sparsifier.hear(&codec, site, &bits) {
                    Ok(tally) => prop_assert_eq!(tally.all_bits(), length),
                    Err(reason) => prop_assert!(!reason.is_empty()),
                }
                let listed = (0..2).map(|site| sparsifier.part(site).iter().count()).sum::<usize>();
                prop_assert_eq!(sparsifier.edges(), listed);
            }
            let known = sparsifier.graph();
            prop_assert!(known.list().all(|edge| edge.u < edge.v && (edge.v as usize) < vertices && edge.weight > 0.0));
        }
    }
}
