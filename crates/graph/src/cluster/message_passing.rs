//! D2-CAMP: each site sparsifies its own graph, and the union of the sparsifiers is one of the union.
//!
//! An edge is kept with probability min(1, c τ), rounded up to a power of two, τ its leverage in the site's own graph.
//! More edges only lower leverages (Rayleigh), so what was decided stays right as a graph grows, and nothing is said
//! again; the leverages of edges that come one by one sum to O(n log m). Deletions raise leverages: once an eighth of
//! the edges is gone, levels that have become too high are lowered, or, where that is cheaper, all is said afresh.

use super::bits::Bits;
use super::coin::{Name, level};
use super::local::Local;
use super::message::Codec;
use super::resistance::Resistances;
use super::stream::Change;

/// A site that talks to the coordinator alone.
#[derive(Debug)]
pub struct MessagePassing {
    local: Local,
    c: f64,
    seed: u64,
    resistances: Option<Resistances>,
    edges_then: usize,
    inserted: usize,
    deleted: usize,
    /// The static protocol: says everything afresh every time.
    afresh: bool,
}

impl MessagePassing {
    /// A site that has seen nothing. With `afresh` it is the static protocol, run again at every time.
    pub fn new(local: Local, c: f64, seed: u64, afresh: bool) -> Self {
        Self { local, c, seed, resistances: None, edges_then: 0, inserted: 0, deleted: 0, afresh }
    }

    /// What it says after `changes`.
    pub fn turn(&mut self, changes: &[Change]) -> Bits {
        let mut fresh = Vec::new();
        for change in changes {
            if change.insert {
                fresh.push(self.local.insert(change.u, change.v, change.weight));
                self.inserted += 1;
            } else if self.local.delete(change.u, change.v).is_some() {
                self.deleted += 1;
            }
        }
        if self.afresh {
            // What was said of the times before is void: also the DELs of this one.
            let first = self.resistances.is_none();
            self.local.unsay();
            self.local.forget(!first);
            self.refresh();
            self.decide_all();
            return self.local.finish();
        }
        let grown = self.inserted * 10 >= self.edges_then.max(1);
        let thinned = self.deleted > 0 && self.deleted * 8 >= self.local.len();
        if grown || thinned {
            self.refresh();
        }
        if thinned {
            if self.afresh_is_cheaper() {
                self.local.forget(true);
            }
            self.decide_all();
        } else {
            for name in fresh {
                self.decide(name);
            }
        }
        self.local.finish()
    }

    /// c has doubled: what it says of that.
    pub fn double(&mut self) -> Bits {
        self.c *= 2.0;
        self.local.double();
        self.local.finish()
    }

    fn refresh(&mut self) {
        self.resistances = Some(Resistances::of(&self.local.graph(), self.seed));
        (self.edges_then, self.inserted, self.deleted) = (self.local.len(), 0, 0);
    }

    fn decide(&mut self, name: Name) {
        let Some(weight) = self.local.get(name).map(|held| held.weight) else { return };
        self.local.lower(name, self.needed(name, weight));
    }

    fn decide_all(&mut self) {
        let names: Vec<_> = self.local.edges().map(|(name, _)| name).collect();
        for name in names {
            self.decide(name);
        }
    }

    fn needed(&self, name: Name, weight: f64) -> u8 {
        let leverage = self.resistances.as_ref().map_or(1.0, |known| known.leverage(name.u, name.v, weight));
        level(self.c * leverage)
    }

    /// Whether CLEAR and a fresh sample take fewer bits than lowering levels.
    fn afresh_is_cheaper(&self) -> bool {
        let Codec { id_bits, weights, .. } = *self.local.codec();
        let (clear, say) = (u64::from(2 + 2 * id_bits), u64::from(2 + 2 * id_bits + 5));
        let add = say + u64::from(weights.bits());
        let (mut lowered, mut again) = (0, clear);
        for (name, held) in self.local.edges() {
            let needed = self.needed(name, held.weight);
            if held.coin >= needed {
                again += add;
                lowered += match held.told {
                    Some(told) if told > needed => say,
                    Some(_) => 0,
                    None => add,
                };
            }
        }
        again < lowered
    }
}
