//! What the coordinator does: it hears the sites, and knows the clusters at every time that is asked for.

use std::time::Instant;

use super::bits::Bits;
use super::blackboard::Board;
use super::coin::mix;
use super::message::Tally;
use super::protocol::{Model, Protocol, Rate};
use super::report::{Quality, Report, Time, Truth, by_kind};
use super::score::{ari, nmi, score};
use super::ship_all::Everything;
use super::sparsifier::Part;
use super::spectral::{self, Clustering, Tau, cluster};
use super::stream::Change;
use super::transport::{HEADER, Link, Party, Reach};
use super::undirected::Undirected;
use crate::Error;

/// From how high an adjusted Rand index on the labels at c and at c/2 agree.
const AGREE: f64 = 0.98;

/// What is asked of the coordinator, besides the protocol.
#[derive(Debug, Clone)]
pub struct Questions<'a> {
    /// The times, ascending.
    pub times: &'a [f64],
    /// How graphs are regularised before they are clustered.
    pub tau: Tau,
    /// The true label of every vertex.
    pub truth: Option<&'a [u32]>,
    /// What sites see, for measuring: each change with the site that sees it. No protocol reads it.
    pub changes: &'a [(Change, u32)],
}

/// What the coordinator knows in the end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was spared and what it cost.
    pub report: Report,
    /// At every time, the label of every vertex; k where there is none.
    pub labels: Vec<Vec<u32>>,
    /// At every time, the graph that was clustered.
    pub graphs: Vec<Undirected>,
    /// At every time, what each site has said.
    pub said: Vec<Vec<Bits>>,
}

/// Takes part as the coordinator. `on_time` is told of every time that is done.
///
/// # Errors
/// Those of the link; [`Error::Garbled`] if a site's bits are no messages; those of [`cluster`].
pub fn coordinate(
    link: &mut dyn Link,
    protocol: &Protocol,
    questions: &Questions<'_>,
    on_time: &mut dyn FnMut(&Time),
) -> Result<Answer, Error> {
    let start = protocol.start();
    let recipients = if protocol.model.reach() == Reach::Board { 1 } else { protocol.sites as u64 };
    // Whoever ships everything must know n and k alone: its start is free.
    let start_bits = if protocol.model == Model::ShipAll { 0 } else { start.write().len() * recipients };
    link.write(&start.write())?;

    let mut knowledge = Knowledge::new(protocol);
    let mut judge = Judge::new(protocol, questions);
    let (mut c, mut bits_so_far) = (f64::from(start.c), start_bits);
    let mut answer = Answer {
        report: Report {
            model: protocol.model,
            sites: protocol.sites,
            clusters: protocol.clusters,
            vertices: protocol.vertices,
            rate: protocol.rate,
            seed: protocol.seed,
            id_bits: protocol.codec.id_bits,
            weight_bits: protocol.codec.weights.bits(),
            bits: 0,
            ship_all_bits: 0,
            start_bits,
            wire_bytes: 0,
            times: Vec::new(),
        },
        labels: Vec::new(),
        graphs: Vec::new(),
        said: Vec::new(),
    };
    let mut warm = None;
    for &at in questions.times {
        let begun = Instant::now();
        let mut said = Said::new(protocol.sites);
        for _ in 0..protocol.model.turns(protocol.vertices) {
            knowledge.hear(link, protocol, &mut said)?;
        }
        let mut of_protocol = begun.elapsed().as_secs_f64();
        let (mut of_clustering, mut coordinator_bits) = (0.0, 0);
        let (graph, found) = loop {
            link.alive()?;
            let begun = Instant::now();
            let graph = knowledge.graph(protocol.vertices);
            let found = cluster(&graph, &judge.settings, warm.as_ref().map(|last: &Clustering| &last.start))?;
            let again = match (&knowledge, protocol.rate) {
                (Knowledge::Sparsifier(board), Rate::Auto) => {
                    let half = cluster(&at_half_of_c(board, protocol.seed), &judge.settings, Some(&found.start))?;
                    Some(ari(&found.labels, &half.labels) < AGREE)
                }
                _ => None,
            };
            of_clustering += begun.elapsed().as_secs_f64();
            let Some(again) = again else { break (graph, found) };
            let mut word = Bits::default();
            word.push(again.into(), 1);
            link.write(&word)?;
            coordinator_bits += recipients;
            if !again {
                break (graph, found);
            }
            let begun = Instant::now();
            c *= 2.0;
            if let Knowledge::Sparsifier(board) = &mut knowledge {
                board.sparsifier.parts_mut().for_each(Part::halve_rarity);
            }
            knowledge.hear(link, protocol, &mut said)?;
            of_protocol += begun.elapsed().as_secs_f64();
        };
        knowledge.end();
        if protocol.labels_back {
            let mut back = Bits::default();
            found.labels.iter().for_each(|&label| back.push(label.into(), protocol.label_bits()));
            link.write(&back)?;
            coordinator_bits += back.len() * recipients;
        }

        link.alive()?;
        let begun = Instant::now();
        let (edges, changes, quality, truth) = judge.judge(at, &found)?;
        let of_judging = begun.elapsed().as_secs_f64();
        let bits = said.bits.iter().map(Bits::len).sum::<u64>();
        debug_assert_eq!(bits, said.tally.all_bits(), "every bit is one of a message");
        bits_so_far += bits + coordinator_bits;
        let time = Time {
            at,
            edges,
            kept: knowledge.edges(),
            c,
            bits,
            messages: said.tally.all_messages(),
            coordinator_bits,
            bits_so_far,
            ship_all_bits_so_far: changes as u64 * protocol.codec.update_bits(),
            by_kind: by_kind(&said.tally),
            by_site: said.bits.iter().map(Bits::len).collect(),
            quality,
            truth,
            seconds: [of_protocol, of_clustering, of_judging],
        };
        on_time(&time);
        answer.report.ship_all_bits = time.ship_all_bits_so_far;
        answer.report.wire_bytes += said.wire_bytes;
        answer.report.times.push(time);
        answer.labels.push(found.labels.clone());
        answer.graphs.push(graph);
        answer.said.push(said.bits);
        warm = Some(found);
    }
    answer.report.bits = bits_so_far;
    answer.report.wire_bytes += link.wire_bytes();
    Ok(answer)
}

/// What was said in one round.
struct Said {
    bits: Vec<Bits>,
    tally: Tally,
    wire_bytes: u64,
}

impl Said {
    fn new(sites: usize) -> Self {
        Self { bits: vec![Bits::default(); sites], tally: Tally::default(), wire_bytes: 0 }
    }
}

/// What the coordinator has heard.
enum Knowledge {
    Sparsifier(Box<Board>),
    Everything(Everything),
}

impl Knowledge {
    fn new(protocol: &Protocol) -> Self {
        match protocol.model {
            Model::ShipAll => Self::Everything(Everything::default()),
            _ => Self::Sparsifier(Box::new(Board::new(protocol.vertices, protocol.sites, protocol.codec))),
        }
    }

    /// Hears every site once.
    fn hear(&mut self, link: &mut dyn Link, protocol: &Protocol, said: &mut Said) -> Result<(), Error> {
        for site in 0..protocol.sites {
            let party = Party::Site(site);
            let bits = link.read(party)?;
            let tally = match self {
                Self::Sparsifier(board) => board.hear(site, &bits),
                Self::Everything(everything) => everything.hear(&protocol.codec, site, &bits),
            };
            said.tally.add(&tally.map_err(|fault| Error::Garbled { party, fault })?);
            said.bits[site].append(&bits);
            said.wire_bytes += (HEADER + bits.bytes().len()) as u64;
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Self::Sparsifier(board) = self {
            board.settle();
        }
    }

    fn edges(&self) -> usize {
        match self {
            Self::Sparsifier(board) => board.sparsifier.edges(),
            Self::Everything(everything) => everything.edges(),
        }
    }

    fn graph(&self, vertices: usize) -> Undirected {
        match self {
            Self::Sparsifier(board) => board.sparsifier.graph(),
            Self::Everything(everything) => everything.graph(vertices),
        }
    }
}

/// The sparsifier as it would be at c/2: every edge of a level above 0 stays with probability 1/2, and weighs twice as
/// much. Its coin is not known here, only that it reached the level, so another one is as good.
fn at_half_of_c(board: &Board, seed: u64) -> Undirected {
    board.sparsifier.part_of_graph(|(site, u, v, rank), kept| {
        let words = [u64::from(u) << 32 | u64::from(v), (site as u64) << 32 | rank as u64];
        let coin = words.into_iter().fold(mix(!seed), |hash, word| mix(hash ^ word));
        let weight = kept.weight * f64::from(kept.level).exp2();
        match kept.level {
            0 => Some(weight),
            _ => (coin >> 63 == 0).then_some(2.0 * weight),
        }
    })
}

/// Measures labels on the whole graph.
struct Judge<'a> {
    questions: &'a Questions<'a>,
    settings: spectral::Settings,
    vertices: usize,
    next: usize,
    everything: Everything,
    central: Option<Clustering>,
}

impl<'a> Judge<'a> {
    fn new(protocol: &Protocol, questions: &'a Questions<'a>) -> Self {
        let (clusters, seed, tau) = (protocol.clusters, protocol.seed, questions.tau);
        let settings = spectral::Settings { clusters, seed, tau };
        let everything = Everything::default();
        Self { questions, settings, vertices: protocol.vertices, next: 0, everything, central: None }
    }

    /// At time `at`: edges of the graph, changes up to now, and how good the labels are.
    fn judge(&mut self, at: f64, found: &Clustering) -> Result<(usize, usize, Quality, Option<Truth>), Error> {
        while let Some(&(change, site)) = self.questions.changes.get(self.next)
            && change.time <= at
        {
            let there = self.everything.apply(site as usize, change.insert, (change.u, change.v), change.weight);
            debug_assert_eq!(there, Ok(()), "streams are checked");
            self.next += 1;
        }
        let graph = self.everything.graph(self.vertices);
        let central = cluster(&graph, &self.settings, self.central.as_ref().map(|last| &last.start))?;
        let (own, best) = (score(&graph, &found.labels), score(&graph, &central.labels));
        let none = self.settings.clusters as u32;
        let quality = Quality {
            ncut: own.ncut,
            central_ncut: best.ncut,
            ncut_ratio: (best.ncut > 0.0).then(|| own.ncut / best.ncut),
            conductance: own.conductance,
            modularity: own.modularity,
            ari: ari(&found.labels, &central.labels),
            nmi: nmi(&found.labels, &central.labels),
            unlabelled: found.labels.iter().filter(|&&label| label == none).count(),
            components: found.components,
        };
        let truth = self.questions.truth.map(|truth| Truth {
            truth_ari: ari(&found.labels, truth),
            truth_nmi: nmi(&found.labels, truth),
            central_truth_ari: ari(&central.labels, truth),
            central_truth_nmi: nmi(&central.labels, truth),
        });
        self.central = Some(central);
        Ok((self.everything.edges(), self.next, quality, truth))
    }
}
