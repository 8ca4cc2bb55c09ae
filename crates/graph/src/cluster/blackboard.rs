//! D2-CABL: all sites read a board, on which the sparsifier H of the whole graph stands, and judge their edges by it.
//!
//! A redundant edge is recognised whoever has it, since R is taken in H, which all sites know; so every edge that is
//! kept is written once, by its owner, and sites cost no more than their END marks.
//!
//! Judged one by one by a board that is still empty, far too many edges would be kept. So a round goes through stages
//! l = ⌈log2 n⌉, …, 1, 0, and in stage l the graph is what stood on the board before, and of the edges that are new in
//! this round those whose coins reach l: half of those of the next stage. The sparsifier of a uniform half gives
//! leverages that are enough for the whole, and at most about twice as many edges as exact ones (Cohen, Lee, Musco,
//! Musco, Peng, Sidford, *Uniform sampling for matrix approximation*, ITCS 2015). Coins make the halves nested, so what
//! one stage keeps the next one keeps as well, and it is written once:
//!
//! a new edge's level is the least over the stages of l + level(c w R_l(u, v)), R_l in the old edges and the new ones of
//! stage l + 1, each new one with 2^-(l + 1) of its weight on the board. It is written when its coin reaches that, with
//! the level that it will probably have in the end, and written again (LEVEL) if that turns out otherwise.

use std::sync::Arc;

use super::bits::Bits;
use super::coin::{Name, RAREST, level};
use super::desks::Desks;
use super::local::{Held, Local};
use super::message::{Codec, Kind, Tally};
use super::resistance::Resistances;
use super::sparsifier::{Kept, Part, Sparsifier};
use super::stream::Change;

/// By how much a leverage in the H of one half may be too low for the whole, or one that wavers too high.
const HALF: f64 = 2.0;

/// How many stages a round has.
pub fn stages(vertices: usize) -> u8 {
    vertices.max(2).next_power_of_two().trailing_zeros() as u8 + 1
}

/// The board, as everyone who reads it knows it.
#[derive(Debug)]
pub struct Board {
    /// What stands on it.
    pub sparsifier: Sparsifier,
    codec: Codec,
    resistances: Option<Arc<Resistances>>,
    /// How often the resistances were taken.
    version: u64,
    edges_then: usize,
    changed: u64,
    /// New edges of this round.
    fresh: u64,
    deleted: u64,
}

impl Board {
    /// An empty board.
    pub fn new(vertices: usize, sites: usize, codec: Codec) -> Self {
        let sparsifier = Sparsifier::new(vertices, sites);
        Self { sparsifier, codec, resistances: None, version: 0, edges_then: 0, changed: 0, fresh: 0, deleted: 0 }
    }

    /// Reads what a site has written in one turn.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn hear(&mut self, site: usize, bits: &Bits) -> Result<Tally, String> {
        let tally = self.sparsifier.hear(&self.codec, site, bits)?;
        self.changed += tally.messages(Kind::Add) + tally.messages(Kind::Del);
        self.fresh += tally.messages(Kind::Add);
        self.deleted += tally.messages(Kind::Del);
        Ok(tally)
    }

    /// The round is over.
    pub fn settle(&mut self) {
        self.sparsifier.parts_mut().for_each(Part::settle);
        self.fresh = 0;
    }

    /// Everything is wiped off: the static protocol begins again.
    pub fn wipe(&mut self) {
        self.sparsifier.parts_mut().for_each(|part| *part = Part::default());
        (self.resistances, self.edges_then, self.fresh) = (None, 0, 0);
    }

    /// Whether so many edges are gone that levels must be looked at again.
    fn thinned(&self) -> bool {
        self.deleted > 0 && self.deleted * 8 >= self.sparsifier.edges() as u64
    }

    /// Takes the resistances again, for stage `stage`, if a tenth of H has changed since, or if a tenth of it is new and
    /// counts for twice as much in every stage. All who read the board do so at the same times.
    fn refresh(&mut self, stage: u8, seed: u64, desks: &Desks) {
        let edges = self.sparsifier.edges() as u64;
        let changed = self.changed > 0 && self.changed * 10 >= self.edges_then as u64;
        let new = self.fresh > 0 && self.fresh * 10 >= edges;
        if !(changed || new) {
            return;
        }
        self.version += 1;
        let sample = i32::from(stage) + 1;
        let weight = |kept: Kept| match kept.fresh {
            true => kept.weight * f64::exp2((i32::from(kept.level).max(sample) - sample).into()),
            false => kept.weight * f64::exp2(kept.level.into()),
        };
        let take = || Resistances::of(&self.sparsifier.graph_by(weight), seed);
        self.resistances = Some(desks.board(self.version, take));
        (self.edges_then, self.changed) = (edges as usize, 0);
    }
}

/// A site that writes on the board.
#[derive(Debug)]
pub struct Blackboard {
    /// The board as this site knows it.
    pub board: Board,
    local: Local,
    c: f64,
    seed: u64,
    desks: Desks,
    fresh: Vec<Name>,
    /// The static protocol: says everything afresh every time.
    afresh: bool,
    rounds: usize,
}

impl Blackboard {
    /// A site that has seen nothing, before an empty board. With `afresh` it is the static protocol, run at every time.
    pub fn new(board: Board, local: Local, c: f64, seed: u64, desks: Desks, afresh: bool) -> Self {
        Self { board, local, c, seed, desks, fresh: Vec::new(), afresh, rounds: 0 }
    }

    /// A round begins, with what changed since the last one.
    pub fn begin(&mut self, changes: &[Change]) {
        self.fresh.clear();
        for change in changes {
            if change.insert {
                self.fresh.push(self.local.insert(change.u, change.v, change.weight));
            } else {
                self.local.delete(change.u, change.v);
            }
        }
        if self.afresh {
            self.board.wipe();
            self.local.unsay();
            self.local.forget(self.rounds > 0);
            self.fresh = self.local.edges().map(|(name, _)| name).collect();
        }
        self.rounds += 1;
    }

    /// Stage `stage` begins: the board is looked at, as it stands for all sites.
    pub fn look(&mut self, stage: u8) {
        self.board.refresh(stage, self.seed, &self.desks);
    }

    /// What it writes in stage `stage`, after [`look`](Self::look).
    pub fn turn(&mut self, stage: u8) -> Bits {
        if stage == 0 && self.board.thinned() {
            self.board.deleted = 0;
            self.lower_all();
        }
        for &name in &self.fresh {
            let Some(&held) = self.local.get(name) else { continue };
            let needed = needed(&self.board, self.c, name, &held);
            let (level, settled) = next(&held, stage, needed);
            self.local.set(name, level, settled);
            if settled {
                self.local.tell(name, level);
            } else if held.told.is_none() {
                let guess = if self.rounds == 1 || self.afresh { self.guess(name, held.weight) } else { needed };
                self.local.tell(name, guess.min(level));
            }
        }
        self.local.finish()
    }

    /// What level an edge will probably have, while the board is too bare to tell: in a dense graph R(u, v) is near
    /// 1/d_u + 1/d_v, and this site has about its share of both degrees. A wrong guess costs a LEVEL, nothing else.
    fn guess(&self, name: Name, weight: f64) -> u8 {
        let sites = self.board.sparsifier.sites() as f64;
        let resistance = 1.0 / self.local.degree(name.u) + 1.0 / self.local.degree(name.v);
        level(HALF * self.c * weight * resistance / sites)
    }

    /// c has doubled: what it writes of that.
    pub fn double(&mut self) -> Bits {
        self.c *= 2.0;
        self.board.sparsifier.parts_mut().for_each(Part::halve_rarity);
        self.local.double();
        self.local.finish()
    }

    /// Deletions have raised leverages: levels that are too high are lowered.
    fn lower_all(&mut self) {
        let names: Vec<_> = self.local.edges().filter(|(_, held)| held.settled).map(|(name, _)| name).collect();
        for name in names {
            let Some(held) = self.local.get(name) else { continue };
            let needed = needed(&self.board, HALF * self.c, name, held);
            if needed + 1 < held.level {
                self.local.lower(name, needed);
            }
        }
    }
}

fn needed(board: &Board, c: f64, name: Name, held: &Held) -> u8 {
    let leverage = board.resistances.as_ref().map_or(1.0, |known| known.leverage(name.u, name.v, held.weight));
    level(c * leverage)
}

/// The level of an edge after stage `stage`, and whether it will only fall from now on: it does once it has stopped
/// falling from stage to stage.
///
/// Estimates waver from stage to stage: a settled level falls only if it is too high by two or more.
fn next(held: &Held, stage: u8, needed: u8) -> (u8, bool) {
    let level = (needed + stage).min(RAREST);
    let falls = if held.settled { level + 1 < held.level } else { level < held.level };
    let settled = held.settled || !falls || stage == 0;
    (if falls { level } else { held.level }, settled)
}
