//! Shipping everything (CNTRL): what the protocols are measured against.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::message::{Codec, Kind, Tally};
use super::stream::Change;
use super::undirected::{Edge, Undirected};

/// What a site says of `changes`: each as it is.
pub fn turn(codec: &Codec, changes: &[Change]) -> Bits {
    let mut bits = Bits::default();
    for change in changes {
        codec.write_update(&mut bits, change.insert, (change.u, change.v), change.weight);
    }
    bits
}

/// All edges of all sites. Of parallel edges of a site the latest goes first.
#[derive(Debug, Clone, Default)]
pub struct Everything {
    edges: BTreeMap<(u32, u32), BTreeMap<usize, Vec<f64>>>,
    count: usize,
}

impl Everything {
    /// A change that a site saw.
    ///
    /// # Errors
    /// If what goes is not there.
    pub fn apply(&mut self, site: usize, insert: bool, (u, v): (u32, u32), weight: f64) -> Result<(), String> {
        if insert {
            self.edges.entry((u, v)).or_default().entry(site).or_default().push(weight);
            self.count += 1;
            return Ok(());
        }
        let gone = || format!("there is no edge {u} - {v} to delete");
        let of_sites = self.edges.get_mut(&(u, v)).ok_or_else(gone)?;
        let there = of_sites.get_mut(&site).ok_or_else(gone)?;
        there.pop();
        if there.is_empty() {
            of_sites.remove(&site);
        }
        if of_sites.is_empty() {
            self.edges.remove(&(u, v));
        }
        self.count -= 1;
        Ok(())
    }

    /// Reads what a site has said; counts insertions as ADD and deletions as DEL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn hear(&mut self, codec: &Codec, site: usize, bits: &Bits) -> Result<Tally, String> {
        let (mut reader, mut tally) = (bits.read(), Tally::default());
        while reader.left() > 0 {
            let before = reader.position();
            let (insert, ends, weight) = codec.read_update(&mut reader)?;
            tally.count(if insert { Kind::Add } else { Kind::Del }, reader.position() - before);
            self.apply(site, insert, ends, weight)?;
        }
        Ok(tally)
    }

    /// How many edges there are, parallel ones counted.
    pub fn edges(&self) -> usize {
        self.count
    }

    /// The graph.
    pub fn graph(&self, vertices: usize) -> Undirected {
        let weights = |of_sites: &BTreeMap<usize, Vec<f64>>| of_sites.values().flatten().sum();
        let edges: Vec<_> =
            self.edges.iter().map(|(&(u, v), of_sites)| Edge { u, v, weight: weights(of_sites) }).collect();
        Undirected::from_edges(vertices, &edges)
    }
}
