//! The plan of an attention by groups: which groups of keys each group of queries reads, head by head.
//!
//! A group is any tokens, not neighbours as in a [`BlockMask`](crate::BlockMask): tokens that mean alike
//! ([`semantic`](crate::semantic)), a place in all frames ([`svg1`](crate::svg1)), a frame. Nothing is moved: the kernel
//! gathers the keys of a group when a group of queries reads them.
//!
//! Memory: 8 bytes for each token and head, 4 for each pair of groups that is read. Files are in `file`.

mod file;

use std::ops::Range;

use tersor_kernels::attention::Clusters;
use tersor_kernels::kmeans::order;

use crate::Error;

pub use file::{ClusterFile, whole};

/// Groups of queries, or of keys, at most.
pub const MOST_GROUPS: usize = 1 << 16;
/// Pairs of groups, over all heads, at most.
pub const MOST_PAIRS: usize = 1 << 28;

/// Tokens in groups, some of which may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    labels: Vec<u32>,
    order: Vec<u32>,
    offsets: Vec<usize>,
}

impl Groups {
    /// The groups of which `labels` tells, one for each token, below `count`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming `field` and the first token whose label is no group, [`Error::TooLarge`] above
    /// [`MOST_GROUPS`].
    pub fn new(field: &'static str, labels: Vec<u32>, count: usize) -> Result<Self, Error> {
        if count > MOST_GROUPS {
            return Err(Error::TooLarge { field, value: count.to_string(), most: MOST_GROUPS as u64, hint: "" });
        }
        if let Some(token) = labels.iter().position(|&label| label as usize >= count) {
            let why = format!("token {token} is in group {}; there are {count}", labels[token]);
            return Err(Error::Malformed { field, why });
        }
        let (order, offsets) = order(&labels, count);
        Ok(Self { labels, order, offsets })
    }

    /// The group of each token.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// How many groups there are.
    pub fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The tokens of a group, ascending.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn members(&self, group: usize) -> &[u32] {
        &self.order[self.offsets[group]..self.offsets[group + 1]]
    }

    /// Tokens of each group.
    pub fn sizes(&self) -> Vec<usize> {
        (0..self.count()).map(|group| self.members(group).len()).collect()
    }
}

/// Which groups of keys each group of queries reads in one head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadMask {
    queries: Groups,
    keys: Groups,
    offsets: Vec<usize>,
    columns: Vec<u32>,
}

impl HeadMask {
    /// Groups of queries and of keys, and the map `[groups of queries, groups of keys]` of what is read.
    ///
    /// # Errors
    /// [`Error::Shape`] if the map is of another size, [`Error::TooLarge`] above [`MOST_PAIRS`].
    pub fn new(queries: Groups, keys: Groups, map: &[bool]) -> Result<Self, Error> {
        let (down, across) = (queries.count(), keys.count());
        if map.len() != down * across {
            let expected = format!("[{down}, {across}], the groups of queries and of keys");
            return Err(Error::Shape { what: "map".into(), found: vec![map.len()], expected });
        }
        Self::of(queries, keys, |row, column| map[row * across + column])
    }

    /// Groups of queries and of keys, and whether a group of queries reads a group of keys.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`MOST_PAIRS`].
    pub fn of(queries: Groups, keys: Groups, reads: impl Fn(usize, usize) -> bool) -> Result<Self, Error> {
        let (down, across) = (queries.count(), keys.count());
        check_pairs(down * across)?;
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for row in 0..down {
            columns.extend((0..across).filter(|&column| reads(row, column)).map(|column| column as u32));
            offsets.push(columns.len());
        }
        Ok(Self { queries, keys, offsets, columns })
    }

    /// Groups of queries.
    pub fn queries(&self) -> &Groups {
        &self.queries
    }

    /// Groups of keys.
    pub fn keys(&self) -> &Groups {
        &self.keys
    }

    /// The groups of keys that a group of queries reads, ascending.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn row(&self, group: usize) -> &[u32] {
        &self.columns[self.offsets[group]..self.offsets[group + 1]]
    }

    /// Whether each group of queries reads each group of keys, `[groups of queries, groups of keys]`.
    pub fn map(&self) -> Vec<bool> {
        let across = self.keys.count();
        let mut map = vec![false; self.queries.count() * across];
        for group in 0..self.queries.count() {
            self.row(group).iter().for_each(|&column| map[group * across + column as usize] = true);
        }
        map
    }

    /// Pairs of a query and a key that is read: Σ |Q_i|·|K_j| over the map.
    pub fn pairs(&self) -> u64 {
        let keys = |group: usize| -> usize {
            self.row(group).iter().map(|&column| self.keys.members(column as usize).len()).sum()
        };
        (0..self.queries.count()).map(|group| (self.queries.members(group).len() * keys(group)) as u64).sum()
    }

    /// The share of pairs that are read.
    pub fn density(&self) -> f64 {
        self.pairs() as f64 / (self.queries.labels.len() as f64 * self.keys.labels.len() as f64).max(1.0)
    }

    /// Replaces `runs` by the keys that a query reads, ascending.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn runs(&self, query: usize, runs: &mut Vec<Range<usize>>) {
        let columns = self.row(self.queries.labels[query] as usize).iter();
        let mut keys: Vec<u32> = columns.flat_map(|&column| self.keys.members(column as usize)).copied().collect();
        keys.sort_unstable();
        runs.clear();
        for key in keys.into_iter().map(|key| key as usize) {
            match runs.last_mut() {
                Some(last) if last.end == key => last.end += 1,
                _ => runs.push(key..key + 1),
            }
        }
    }

    pub(crate) fn clusters(&self) -> Clusters<'_> {
        Clusters {
            query_order: &self.queries.order,
            query_offsets: &self.queries.offsets,
            key_order: &self.keys.order,
            key_offsets: &self.keys.offsets,
            offsets: &self.offsets,
            columns: &self.columns,
        }
    }
}

fn check_pairs(pairs: usize) -> Result<(), Error> {
    if pairs > MOST_PAIRS {
        let (value, hint) = (pairs.to_string(), "; take fewer groups");
        return Err(Error::TooLarge { field: "pairs of groups", value, most: MOST_PAIRS as u64, hint });
    }
    Ok(())
}

/// What each head reads: one mask for all heads, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMask {
    heads: Vec<HeadMask>,
}

impl ClusterMask {
    /// A mask for all heads, or one for each.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is none, [`Error::Unlike`] if two are of different numbers of tokens,
    /// [`Error::TooLarge`] above [`MOST_PAIRS`].
    pub fn new(heads: Vec<HeadMask>) -> Result<Self, Error> {
        let Some(first) = heads.first() else { return Err(Error::zero("heads")) };
        let tokens = |of: &HeadMask| [of.queries.labels.len(), of.keys.labels.len()];
        let mut pairs = 0;
        for head in &heads {
            pairs += head.queries.count() * head.keys.count();
            for (what, (here, there)) in
                ["queries", "keys"].into_iter().zip(tokens(first).into_iter().zip(tokens(head)))
            {
                if here != there {
                    return Err(Error::Unlike { what, here, there });
                }
            }
        }
        check_pairs(pairs)?;
        Ok(Self { heads })
    }

    /// The mask for all heads, or those of each.
    pub fn heads(&self) -> &[HeadMask] {
        &self.heads
    }

    /// The mask of a head.
    pub fn head(&self, head: usize) -> &HeadMask {
        &self.heads[head % self.heads.len()]
    }

    /// Queries and keys.
    pub fn tokens(&self) -> [usize; 2] {
        [self.heads[0].queries.labels.len(), self.heads[0].keys.labels.len()]
    }

    /// The share of pairs that are read, over all heads.
    pub fn density(&self) -> f64 {
        self.heads.iter().map(HeadMask::density).sum::<f64>() / self.heads.len() as f64
    }
}
