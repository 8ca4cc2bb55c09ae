//! What a site knows: the edges it has seen, and what it has told of them.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

use super::bits::Bits;
use super::coin::{Name, coin};
use super::message::{Codec, Message};
use super::undirected::{Edge, Undirected};

/// The level of an edge of which nothing has been decided.
pub const UNDECIDED: u8 = u8::MAX;

/// An edge that a site has seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Its weight.
    pub weight: f64,
    /// The highest level at which it is kept.
    pub coin: u8,
    /// Its level: it is kept if its coin reaches so high.
    pub level: u8,
    /// The level that was told, if it is in the sparsifier.
    pub told: Option<u8>,
    /// A board's edge: from now on its level only falls.
    pub settled: bool,
}

/// A site's edges, and the bits that it is about to say.
#[derive(Debug)]
pub struct Local {
    site: usize,
    seed: u64,
    codec: Codec,
    vertices: usize,
    held: BTreeMap<Name, Held>,
    degrees: Vec<f64>,
    told: Told,
    bits: Bits,
}

/// For ends, which copies are in the sparsifier, in the order in which they were added.
type Told = BTreeMap<(u32, u32), Vec<u32>>;

impl Local {
    /// Of a site that has seen nothing.
    pub fn new(site: usize, seed: u64, vertices: usize, codec: Codec) -> Self {
        let (held, told, bits) = (BTreeMap::new(), Told::new(), Bits::default());
        Self { site, seed, codec, vertices, held, degrees: vec![0.0; vertices], told, bits }
    }

    /// How many edges it holds.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// All edges that it holds.
    pub fn graph(&self) -> Undirected {
        let edges: Vec<_> =
            self.held.iter().map(|(name, held)| Edge { u: name.u, v: name.v, weight: held.weight }).collect();
        Undirected::from_edges(self.vertices, &edges)
    }

    /// The sum of the weights that it holds at a vertex.
    pub fn degree(&self, vertex: u32) -> f64 {
        self.degrees[vertex as usize]
    }

    /// The edges by name.
    pub fn edges(&self) -> impl Iterator<Item = (Name, &Held)> + '_ {
        self.held.iter().map(|(&name, held)| (name, held))
    }

    /// An edge, if it is held.
    pub fn get(&self, name: Name) -> Option<&Held> {
        self.held.get(&name)
    }

    /// An edge comes. Beside an equal one it is a parallel edge, with a coin of its own.
    pub fn insert(&mut self, u: u32, v: u32, weight: f64) -> Name {
        let copy = self.latest(u, v).map_or(0, |name| name.copy + 1);
        let name = Name { u, v, copy };
        let coin = coin(self.seed, self.site, name);
        self.degrees[u as usize] += weight;
        self.degrees[v as usize] += weight;
        self.held.insert(name, Held { weight, coin, level: UNDECIDED, told: None, settled: false });
        name
    }

    /// An edge goes, the latest of parallel ones; if it was told, DEL is said. Nothing is done if there is none.
    pub fn delete(&mut self, u: u32, v: u32) -> Option<Name> {
        let name = self.latest(u, v)?;
        let held = self.held.remove(&name)?;
        self.degrees[u as usize] -= held.weight;
        self.degrees[v as usize] -= held.weight;
        if held.told.is_some() {
            let rank = rank(&self.told, name);
            self.say(&Message::Del { u, v, rank });
            let copies = self.told.get_mut(&(u, v)).expect("a told edge is listed");
            copies.remove(rank as usize);
            if copies.is_empty() {
                self.told.remove(&(u, v));
            }
        }
        Some(name)
    }

    fn latest(&self, u: u32, v: u32) -> Option<Name> {
        let name = |copy| Name { u, v, copy };
        let range = (Included(name(0)), Excluded(Name { u, v: v + 1, copy: 0 }));
        self.held.range(range).next_back().map(|(&name, _)| name)
    }

    /// Lowers the level of an edge to `level`, if that is lower, and says what changes: LEVEL if it was told, ADD if it
    /// is kept only now.
    pub fn lower(&mut self, name: Name, level: u8) {
        let Some(held) = self.held.get_mut(&name) else { return };
        if level < held.level {
            held.level = level;
            self.tell(name, level);
        }
    }

    /// Sets the level of an edge and says nothing.
    pub fn set(&mut self, name: Name, level: u8, settled: bool) {
        if let Some(held) = self.held.get_mut(&name) {
            (held.level, held.settled) = (level, settled);
        }
    }

    /// Says of a kept edge that its level is `level`, if that is not known.
    pub fn tell(&mut self, name: Name, level: u8) {
        let Some(held) = self.held.get_mut(&name) else { return };
        let (Name { u, v, copy }, weight) = (name, held.weight);
        if held.coin < held.level || held.told == Some(level) {
            return;
        }
        if held.told.replace(level).is_some() {
            let rank = rank(&self.told, name);
            self.say(&Message::Level { u, v, level, rank });
        } else {
            self.say(&Message::Add { u, v, level, weight });
            self.told.entry((u, v)).or_default().push(copy);
        }
    }

    /// c has doubled: all levels above 0 fall by one, which nobody need say, and what is kept only now is told.
    pub fn double(&mut self) {
        let names: Vec<_> = self.held.keys().copied().collect();
        for name in names {
            let held = self.held.get_mut(&name).expect("it was just listed");
            held.level = held.level.saturating_sub(1);
            held.told = held.told.map(|told| told.saturating_sub(1));
            let level = held.level;
            self.tell(name, level);
        }
    }

    /// Takes back all that was told, and forgets all levels; says CLEAR if `aloud`.
    pub fn forget(&mut self, aloud: bool) {
        for held in self.held.values_mut() {
            (held.level, held.told, held.settled) = (UNDECIDED, None, false);
        }
        self.told.clear();
        if aloud {
            self.say(&Message::Clear);
        }
    }

    /// Drops what was about to be said in this turn.
    pub fn unsay(&mut self) {
        self.bits = Bits::default();
    }

    /// Ends the turn: the bits that were said in it, with END.
    pub fn finish(&mut self) -> Bits {
        self.say(&Message::End);
        std::mem::take(&mut self.bits)
    }

    fn say(&mut self, message: &Message) {
        let parallel = match *message {
            Message::Del { u, v, .. } | Message::Level { u, v, .. } => self.told.get(&(u, v)).map_or(0, Vec::len),
            _ => 0,
        };
        self.codec.write(&mut self.bits, message, parallel);
    }

    /// How edges are written.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }
}

fn rank(told: &Told, name: Name) -> u32 {
    let copies = told.get(&(name.u, name.v)).map_or(&[][..], Vec::as_slice);
    copies.iter().position(|&copy| copy == name.copy).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::message::Weights;
    use crate::cluster::sparsifier::Part;

    fn heard(part: &mut Part, codec: &Codec, bits: &Bits) -> Vec<Message> {
        let mut reader = bits.read();
        let mut messages = Vec::new();
        while reader.left() > 0 {
            let message = codec.read(&mut reader, |u, v| part.parallel(u, v)).unwrap();
            part.apply(&message);
            messages.push(message);
        }
        messages
    }

    #[test]
    fn parallel_edges_are_told_apart() {
        let codec = Codec::new(10, Weights::NONE);
        let (mut local, mut part) = (Local::new(0, 1, 10, codec), Part::default());
        let names: Vec<_> = (0..5).map(|_| local.insert(2, 7, 1.0)).collect();
        for &name in &names {
            local.lower(name, 0); // level 0 keeps everything
        }
        heard(&mut part, &codec, &local.finish());
        assert_eq!((local.len(), part.parallel(2, 7)), (5, 5));
        assert_eq!(local.delete(2, 7), Some(names[4]));
        assert_eq!(local.delete(2, 7), Some(names[3]));
        assert_eq!(local.delete(2, 8), None);
        let bits = local.finish();
        // Of 5 copies 3 bits say which, of 4 two.
        assert_eq!(bits.len(), (2 + 8 + 3) + (2 + 8 + 2) + 2);
        assert_eq!(heard(&mut part, &codec, &bits)[1], Message::Del { u: 2, v: 7, rank: 3 });
        assert_eq!(local.insert(2, 7, 1.0), names[3]);
    }

    #[test]
    fn levels_fall_and_only_changes_are_said() {
        let codec = Codec::new(1000, Weights::NONE);
        let (mut local, mut part) = (Local::new(3, 9, 1000, codec), Part::default());
        let names: Vec<_> = (1..1000).map(|v| local.insert(0, v, 1.0)).collect();
        for level in [3, 5, 1] {
            for &name in &names {
                local.lower(name, level);
            }
            heard(&mut part, &codec, &local.finish());
        }
        assert!((400..600).contains(&part.len()));
        assert!(part.iter().all(|(_, _, kept)| kept.level == 1));
        let ends = |part: &Part| part.iter().map(|(u, v, _)| (u, v)).collect::<Vec<_>>();
        let before = ends(&part);
        part.halve_rarity();
        local.double();
        let said = heard(&mut part, &codec, &local.finish());
        assert!(said.iter().all(|message| matches!(message, Message::Add { level: 0, .. } | Message::End)));
        assert_eq!(part.len(), 999);
        assert!(before.len() + said.len() == 1000 && ends(&part).len() == 999);
        local.forget(true);
        heard(&mut part, &codec, &local.finish());
        assert!(part.is_empty() && local.len() == 999);
    }
}
