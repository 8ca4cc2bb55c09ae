//! Which queries see which keys, as lists of blocks; never a matrix of all pairs.

use std::ops::Range;

use super::shape::{Attention, Error};

/// Blocks of keys start at multiples of it, so that they are whole panels on every machine.
const ALIGNED: usize = 32;

/// Which queries see which keys. Lists are one for all heads, or one per head over all sequences, or one per head.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// Every query sees every key.
    All,
    /// Blocks of queries see blocks of keys.
    Blocks(&'a [Blocks<'a>]),
    /// Groups of queries see groups of keys, in any order of both. Not together with `causal`.
    Clusters(&'a [Clusters<'a>]),
}

/// A block-sparse mask, by compressed rows: block r of the queries sees the blocks
/// `columns[offsets[r]..offsets[r + 1]]` of the keys, ascending. The last block on each side may be short.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a> {
    /// Queries of a block.
    pub query_block: usize,
    /// Keys of a block, a multiple of 32.
    pub key_block: usize,
    /// One more than there are blocks of queries.
    pub offsets: &'a [usize],
    /// Blocks of keys.
    pub columns: &'a [u32],
}

/// A mask of ragged groups: group r of the queries sees the groups `columns[offsets[r]..offsets[r + 1]]` of the keys,
/// ascending.
///
/// A query or key is in one group at most. A query in none has no key; a key in none is not seen. Groups may be empty.
#[derive(Debug, Clone, Copy)]
pub struct Clusters<'a> {
    /// Queries, group by group.
    pub query_order: &'a [u32],
    /// Where each group begins in `query_order`; one more than there are groups.
    pub query_offsets: &'a [usize],
    /// Keys, group by group.
    pub key_order: &'a [u32],
    /// Where each group begins in `key_order`; one more than there are groups.
    pub key_offsets: &'a [usize],
    /// One more than there are groups of queries.
    pub offsets: &'a [usize],
    /// Groups of keys.
    pub columns: &'a [u32],
}

impl Mask<'_> {
    /// How many lists there are; at least 1.
    pub(super) fn lists(&self) -> usize {
        match self {
            Mask::All => 1,
            Mask::Blocks(lists) => lists.len(),
            Mask::Clusters(lists) => lists.len(),
        }
    }

    pub(super) fn check(&self, shape: &Attention) -> Result<(), Error> {
        let lists = self.lists();
        if ![1, shape.heads, shape.batch * shape.heads].contains(&lists) {
            let problem = format!("{lists} masks for {} heads; expected one, or one per head", shape.heads);
            return Err(Error::Mask { mask: 0, problem });
        }
        let of = |mask: usize, found: Result<(), String>| found.map_err(|problem| Error::Mask { mask, problem });
        match self {
            Mask::All => Ok(()),
            Mask::Blocks(lists) => lists.iter().enumerate().try_for_each(|(i, blocks)| of(i, blocks.check(shape))),
            Mask::Clusters(_) if shape.causal => of(0, Err("clusters cannot be causal".into())),
            Mask::Clusters(lists) => lists.iter().enumerate().try_for_each(|(i, list)| of(i, list.check(shape))),
        }
    }

    /// Pairs of query and key that are seen, over all heads: `4 · width` arithmetic operations each, forward, if values are
    /// as wide as keys.
    pub fn pairs(&self, shape: &Attention) -> u64 {
        let heads = (shape.batch * shape.heads) as u64;
        let all_lists: u64 = match self {
            Mask::All => (0..shape.queries).map(|query| shape.limit(query) as u64).sum(),
            Mask::Blocks(lists) => lists.iter().map(|list| list.pairs(shape)).sum(),
            Mask::Clusters(lists) => lists.iter().map(Clusters::pairs).sum(),
        };
        all_lists * heads / self.lists() as u64
    }
}

impl<'a> Blocks<'a> {
    /// The keys of a block.
    pub(super) fn keys(&self, column: u32, keys: usize) -> Range<usize> {
        let first = column as usize * self.key_block;
        first..keys.min(first + self.key_block)
    }

    /// The blocks of keys that a block of queries sees.
    pub(super) fn row(&self, row: usize) -> &'a [u32] {
        &self.columns[self.offsets[row]..self.offsets[row + 1]]
    }

    fn pairs(&self, shape: &Attention) -> u64 {
        let seen = |query: usize| {
            let limit = shape.limit(query);
            let columns = self.row(query / self.query_block).iter();
            columns
                .map(|&column| self.keys(column, shape.keys))
                .map(|keys| limit.clamp(keys.start, keys.end) - keys.start)
                .sum::<usize>()
        };
        (0..shape.queries).map(|query| seen(query) as u64).sum()
    }

    fn check(&self, shape: &Attention) -> Result<(), String> {
        if self.query_block == 0 {
            return Err("query_block is 0; expected at least 1".into());
        }
        if self.key_block == 0 || !self.key_block.is_multiple_of(ALIGNED) {
            return Err(format!("key_block is {}; expected a multiple of {ALIGNED}", self.key_block));
        }
        let (rows, columns) = (shape.queries.div_ceil(self.query_block), shape.keys.div_ceil(self.key_block));
        check_rows((self.offsets, self.columns), rows, columns)
    }
}

impl<'a> Clusters<'a> {
    /// The groups of keys that a group of queries sees.
    pub(super) fn row(&self, row: usize) -> &'a [u32] {
        &self.columns[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Where the keys of a group are in `key_order`.
    pub(super) fn keys(&self, column: u32) -> Range<usize> {
        self.key_offsets[column as usize]..self.key_offsets[column as usize + 1]
    }

    fn pairs(&self) -> u64 {
        let of_row = |(row, bounds): (usize, &[usize])| {
            let keys: usize = self.row(row).iter().map(|&column| self.keys(column).len()).sum();
            keys as u64 * (bounds[1] - bounds[0]) as u64
        };
        self.query_offsets.windows(2).enumerate().map(of_row).sum()
    }

    fn check(&self, shape: &Attention) -> Result<(), String> {
        check_groups("query", self.query_order, self.query_offsets, shape.queries)?;
        check_groups("key", self.key_order, self.key_offsets, shape.keys)?;
        check_rows((self.offsets, self.columns), self.query_offsets.len() - 1, self.key_offsets.len() - 1)
    }
}

/// Whether compressed rows are well formed: ascending columns below `columns`.
fn check_rows((offsets, entries): (&[usize], &[u32]), rows: usize, columns: usize) -> Result<(), String> {
    check_offsets("offsets", offsets, entries.len())?;
    if offsets.len() != rows + 1 {
        return Err(format!("{} offsets for {rows} rows; expected {}", offsets.len(), rows + 1));
    }
    for (row, bounds) in offsets.windows(2).enumerate() {
        let entries = &entries[bounds[0]..bounds[1]];
        if !entries.is_sorted_by(|a, b| a < b) {
            return Err(format!("row {row}: its columns do not ascend"));
        }
        if let Some(last) = entries.last().filter(|&&last| last as usize >= columns) {
            return Err(format!("row {row}: column {last} of {columns}"));
        }
    }
    Ok(())
}

fn check_offsets(name: &str, offsets: &[usize], end: usize) -> Result<(), String> {
    if offsets.first() != Some(&0) || offsets.last() != Some(&end) || !offsets.is_sorted() {
        return Err(format!("{name} do not ascend from 0 to {end}"));
    }
    Ok(())
}

/// Whether each of `count` rows is in one group at most: two threads write no row.
fn check_groups(of: &str, order: &[u32], offsets: &[usize], count: usize) -> Result<(), String> {
    check_offsets(&format!("{of}_offsets"), offsets, order.len())?;
    let mut seen = vec![false; count];
    for &row in order {
        match seen.get_mut(row as usize) {
            None => return Err(format!("row {row} of {count} in {of}_order")),
            Some(true) => return Err(format!("row {row} twice in {of}_order")),
            Some(seen) => *seen = true,
        }
    }
    Ok(())
}

/// One list of a mask as groups of queries that see groups of keys, whatever the mask. Positions count along the orders.
#[derive(Debug, Clone, Copy)]
pub(super) enum Groups<'a> {
    /// One of each.
    All {
        queries: usize,
        keys: usize,
    },
    Blocks {
        blocks: &'a Blocks<'a>,
        queries: usize,
        keys: usize,
    },
    Clusters(&'a Clusters<'a>),
}

impl<'a> Mask<'a> {
    /// The list at `index`.
    pub(super) fn groups(&self, shape: &Attention, index: usize) -> Groups<'a> {
        let (queries, keys) = (shape.queries, shape.keys);
        match *self {
            Mask::All => Groups::All { queries, keys },
            Mask::Blocks(lists) => Groups::Blocks { blocks: &lists[index], queries, keys },
            Mask::Clusters(lists) => Groups::Clusters(&lists[index]),
        }
    }
}

impl<'a> Groups<'a> {
    /// The query at each position; `None` if it is the position.
    pub fn query_order(&self) -> Option<&'a [u32]> {
        if let Self::Clusters(clusters) = self { Some(clusters.query_order) } else { None }
    }

    /// The key at each position; `None` if it is the position.
    pub fn key_order(&self) -> Option<&'a [u32]> {
        if let Self::Clusters(clusters) = self { Some(clusters.key_order) } else { None }
    }

    /// Groups of queries.
    pub fn query_groups(&self) -> usize {
        match self {
            Self::All { .. } => 1,
            Self::Blocks { blocks, .. } => blocks.offsets.len() - 1,
            Self::Clusters(clusters) => clusters.query_offsets.len() - 1,
        }
    }

    /// Groups of keys.
    pub fn key_groups(&self) -> usize {
        match self {
            Self::All { .. } => 1,
            Self::Blocks { blocks, keys, .. } => keys.div_ceil(blocks.key_block),
            Self::Clusters(clusters) => clusters.key_offsets.len() - 1,
        }
    }

    /// Positions of a group of queries.
    pub fn queries(&self, group: usize) -> Range<usize> {
        match *self {
            Self::All { queries, .. } => 0..queries,
            Self::Blocks { blocks, queries, .. } => {
                group * blocks.query_block..queries.min((group + 1) * blocks.query_block)
            }
            Self::Clusters(clusters) => clusters.query_offsets[group]..clusters.query_offsets[group + 1],
        }
    }

    /// Positions of a group of keys.
    pub fn keys(&self, group: usize) -> Range<usize> {
        match *self {
            Self::All { keys, .. } => 0..keys,
            Self::Blocks { blocks, keys, .. } => blocks.keys(group as u32, keys),
            Self::Clusters(clusters) => clusters.keys(group as u32),
        }
    }

    /// The groups of keys that a group of queries sees, ascending.
    pub fn row(&self, group: usize) -> &'a [u32] {
        match self {
            Self::All { .. } => &[0],
            Self::Blocks { blocks, .. } => blocks.row(group),
            Self::Clusters(clusters) => clusters.row(group),
        }
    }
}
