//! The plan of a sparse attention: which blocks of keys each block of queries reads.
//!
//! The run that obeys it is elsewhere (`tersor_kernels`); what a plan costs is known without running it: its share of
//! blocks, of pairs of tokens, and the speed-up that a kernel without overhead would reach.
//!
//! Memory: 4 bytes for each block that is read, never `n × n`.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tersor_data::{Array, ElementType, atomic, npy};
use tersor_kernels::attention::Blocks;

use crate::Error;

/// Blocks along an axis of a plan, at most: 2 million tokens in blocks of 128.
pub const MOST_BLOCKS: usize = 1 << 14;
/// Blocks that a plan reads, at most: 256 MiB of columns.
pub const MOST_ACTIVE: usize = 1 << 26;

/// Who reads what, query by query.
pub trait Reads {
    /// Queries and keys, in tokens.
    fn tokens(&self) -> [usize; 2];

    /// Replaces `runs` by the keys that the query `query` reads: ascending, disjoint, none empty.
    ///
    /// # Panics
    /// If there is no such query.
    fn runs(&self, query: usize, runs: &mut Vec<Range<usize>>);
}

/// The blocks of keys that each block of queries reads, in compressed sparse rows.
///
/// Block `b` of an axis is tokens `b·block` to `(b + 1)·block`; the last may be shorter. A plan may be square or not, and
/// its two sides may have blocks of different sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct BlockMask {
    /// Queries in a block.
    pub query_block: usize,
    /// Keys in a block.
    pub key_block: usize,
    /// Queries, in tokens.
    pub queries: usize,
    /// Keys, in tokens.
    pub keys: usize,
    /// Where the columns of each row of blocks begin, and where the last row's end: one more than there are rows.
    pub offsets: Vec<usize>,
    /// The blocks of keys that are read, row by row, ascending in each.
    pub columns: Vec<u32>,
}

/// What a [`BlockMask`] is read from, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    query_block: usize,
    key_block: usize,
    queries: usize,
    keys: usize,
    offsets: Vec<usize>,
    columns: Vec<u32>,
}

impl TryFrom<Fields> for BlockMask {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self, Error> {
        let Fields { query_block, key_block, queries, keys, offsets, columns } = fields;
        let mask = Self { query_block, key_block, queries, keys, offsets, columns };
        mask.check()?;
        Ok(mask)
    }
}

/// How two plans of the same blocks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Blocks that both read.
    pub both: usize,
    /// Blocks that only this one reads.
    pub only_here: usize,
    /// Blocks that only the other one reads.
    pub only_there: usize,
}

impl BlockMask {
    /// The plan as the kernel takes it.
    pub(crate) fn blocks(&self) -> Blocks<'_> {
        let Self { query_block, key_block, offsets, columns, .. } = self;
        Blocks { query_block: *query_block, key_block: *key_block, offsets, columns }
    }

    /// The plan of which `row` gives the rows: it sets in a [`Row`] the blocks that block `b` of the queries reads.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a number is 0, [`Error::TooLarge`] above [`MOST_BLOCKS`] or [`MOST_ACTIVE`].
    pub fn of_rows(
        [query_block, key_block]: [usize; 2],
        [queries, keys]: [usize; 2],
        mut row: impl FnMut(usize, &mut Row),
    ) -> Result<Self, Error> {
        let rows = blocks("query_block", "queries", query_block, queries)?;
        let across = blocks("key_block", "keys", key_block, keys)?;
        let mut mask = Self { query_block, key_block, queries, keys, offsets: vec![0], columns: Vec::new() };
        let mut set = Row::empty(across);
        for query_block in 0..rows {
            row(query_block, &mut set);
            set.drain_to(&mut mask.columns);
            if mask.columns.len() > MOST_ACTIVE {
                let value = format!("more than {MOST_ACTIVE}");
                let hint = "; take larger blocks";
                return Err(Error::TooLarge { field: "active blocks", value, most: MOST_ACTIVE as u64, hint });
            }
            mask.offsets.push(mask.columns.len());
        }
        mask.columns.shrink_to_fit();
        Ok(mask)
    }

    /// The plan that reads everything.
    ///
    /// # Errors
    /// As [`BlockMask::of_rows`].
    pub fn full(blocks: [usize; 2], tokens: [usize; 2]) -> Result<Self, Error> {
        Self::of_rows(blocks, tokens, |_, row| row.set(0..row.len()))
    }

    /// The plan of a boolean grid `[query blocks, key blocks]`, row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] if the grid is not of that size; as [`BlockMask::of_rows`].
    pub fn from_grid(grid: &[bool], sizes: [usize; 2], tokens: [usize; 2]) -> Result<Self, Error> {
        let rows = blocks("query_block", "queries", sizes[0], tokens[0])?;
        let across = blocks("key_block", "keys", sizes[1], tokens[1])?;
        if grid.len() != rows * across {
            let expected = format!("[{rows}, {across}]");
            return Err(Error::Shape { what: "the grid of blocks".into(), found: vec![grid.len()], expected });
        }
        Self::of_rows(sizes, tokens, |block, row| {
            let reads = grid[block * across..][..across].iter().enumerate().filter(|(_, reads)| **reads);
            reads.for_each(|(column, _)| row.set(column..column + 1));
        })
    }

    /// Whether the fields make a plan.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the field that does not fit; [`Error::Parameter`], [`Error::TooLarge`].
    pub fn check(&self) -> Result<(), Error> {
        let rows = blocks("query_block", "queries", self.query_block, self.queries)?;
        let across = blocks("key_block", "keys", self.key_block, self.keys)?;
        let malformed = |field, why| Err(Error::Malformed { field, why });
        if self.offsets.len() != rows + 1 {
            return malformed("offsets", format!("{} for {rows} rows; there must be one more", self.offsets.len()));
        }
        if self.offsets[0] != 0 || !self.offsets.is_sorted() || self.offsets[rows] != self.columns.len() {
            return malformed("offsets", format!("they must ascend from 0 to the {} columns", self.columns.len()));
        }
        for row in 0..rows {
            let columns = &self.columns[self.offsets[row]..self.offsets[row + 1]];
            if !columns.is_sorted_by(|a, b| a < b) || columns.last().is_some_and(|last| *last as usize >= across) {
                return malformed("columns", format!("those of row {row} must ascend and be less than {across}"));
            }
        }
        Ok(())
    }

    /// Blocks of queries.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Blocks of keys.
    pub fn across(&self) -> usize {
        self.keys.div_ceil(self.key_block)
    }

    /// The blocks of keys that block `row` of the queries reads, ascending.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.columns[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Whether block `row` of the queries reads block `column` of the keys.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn is_active(&self, row: usize, column: usize) -> bool {
        u32::try_from(column).is_ok_and(|column| self.row(row).binary_search(&column).is_ok())
    }

    /// Blocks that are read.
    pub fn active(&self) -> usize {
        self.columns.len()
    }

    /// The share of blocks that are read.
    pub fn density(&self) -> f64 {
        self.active() as f64 / (self.rows() * self.across()) as f64
    }

    /// The share of blocks that are read, of the first `rows` and the first `across`.
    pub fn density_of_first(&self, [rows, across]: [usize; 2]) -> f64 {
        let (rows, across) = (rows.min(self.rows()), across.min(self.across()));
        let active: usize =
            (0..rows).map(|row| self.row(row).partition_point(|&column| (column as usize) < across)).sum();
        active as f64 / (rows * across) as f64
    }

    /// Pairs of a query and a key in the blocks that are read, the last ones with their real size.
    pub fn pairs(&self) -> u64 {
        let across = self.across();
        let last = self.keys - (across - 1) * self.key_block;
        let keys = |row: usize| match self.row(row) {
            [.., column] if *column as usize == across - 1 => (self.row(row).len() - 1) * self.key_block + last,
            columns => columns.len() * self.key_block,
        };
        (0..self.rows()).map(|row| keys(row) as u64 * block(row, self.query_block, self.queries).len() as u64).sum()
    }

    /// The share of pairs of tokens that are read.
    pub fn token_density(&self) -> f64 {
        self.pairs() as f64 / (self.queries as f64 * self.keys as f64)
    }

    /// How many times as fast as dense a kernel is that spends its time on pairs alone; a real one stays below.
    pub fn predicted_speed_up(&self) -> f64 {
        1.0 / self.token_density()
    }

    /// Whether each block, row by row, is read.
    pub fn grid(&self) -> Vec<bool> {
        let across = self.across();
        let mut grid = vec![false; self.rows() * across];
        for row in 0..self.rows() {
            self.row(row).iter().for_each(|&column| grid[row * across + column as usize] = true);
        }
        grid
    }

    /// How this plan differs from `other`.
    ///
    /// # Errors
    /// [`Error::Unlike`] naming what the two do not have in common.
    pub fn difference(&self, other: &Self) -> Result<Difference, Error> {
        let of = |mask: &Self| [mask.queries, mask.keys, mask.query_block, mask.key_block];
        let names = ["queries", "keys", "query_block", "key_block"];
        for (what, (here, there)) in names.into_iter().zip(of(self).into_iter().zip(of(other))) {
            if here != there {
                return Err(Error::Unlike { what, here, there });
            }
        }
        let common = |row| self.row(row).iter().filter(|column| other.row(row).binary_search(column).is_ok()).count();
        let both = (0..self.rows()).map(common).sum();
        Ok(Difference { both, only_here: self.active() - both, only_there: other.active() - both })
    }

    /// Writes the grid of blocks to an `.npy` file: booleans `[query blocks, key blocks]`.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file.
    pub fn write_npy(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let shape = [self.rows(), self.across()];
        Ok(npy::write_streamed(path, ElementType::Bool, &shape, |file| {
            let mut line = vec![0; shape[1]];
            for row in 0..shape[0] {
                line.fill(0);
                self.row(row).iter().for_each(|&column| line[column as usize] = 1);
                file.write_all(&line)?;
            }
            Ok(())
        })?)
    }

    /// Reads the grid of an `.npy` file, for blocks and tokens of these sizes.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::Shape`] naming the file; as [`BlockMask::of_rows`].
    pub fn read_npy(path: impl AsRef<Path>, sizes: [usize; 2], tokens: [usize; 2]) -> Result<Self, Error> {
        let array = npy::read(&path)?;
        let expected =
            [blocks("query_block", "queries", sizes[0], tokens[0])?, blocks("key_block", "keys", sizes[1], tokens[1])?];
        let unlike = |array: &Array| Error::Shape {
            what: path.as_ref().display().to_string(),
            found: array.shape().to_vec(),
            expected: format!("booleans {expected:?}"),
        };
        let grid = array.elements().as_bool().filter(|_| array.shape() == expected).ok_or_else(|| unlike(&array))?;
        Self::from_grid(grid, sizes, tokens)
    }

    /// Writes the plan itself, as JSON.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file.
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(atomic::write(path, |file| Ok(serde_json::to_writer(file, self)?))?)
    }

    /// Reads a plan that [`write_json`](Self::write_json) wrote.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read, [`Error::Malformed`] if it is no plan; both name the file.
    pub fn read_json(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = |source| tersor_data::Error::Read { path: path.into(), source };
        let bytes = std::fs::read(path).map_err(read)?;
        serde_json::from_slice(&bytes)
            .map_err(|why| Error::Malformed { field: "plan", why: format!("{}: {why}", path.display()) })
    }
}

impl Reads for BlockMask {
    fn tokens(&self) -> [usize; 2] {
        [self.queries, self.keys]
    }

    fn runs(&self, query: usize, runs: &mut Vec<Range<usize>>) {
        assert!(query < self.queries, "query {query} of {}", self.queries);
        runs.clear();
        for &column in self.row(query / self.query_block) {
            let read = block(column as usize, self.key_block, self.keys);
            match runs.last_mut() {
                Some(last) if last.end == read.start => last.end = read.end,
                _ => runs.push(read),
            }
        }
    }
}

/// The tokens of block `number`; the last block ends with the tokens.
pub(crate) fn block(number: usize, size: usize, tokens: usize) -> Range<usize> {
    number * size..tokens.min((number + 1) * size)
}

/// Blocks of `size` that `tokens` take.
pub(crate) fn blocks(
    size_field: &'static str,
    field: &'static str,
    size: usize,
    tokens: usize,
) -> Result<usize, Error> {
    if size == 0 {
        return Err(Error::zero(size_field));
    }
    if tokens == 0 {
        return Err(Error::zero(field));
    }
    let blocks = tokens.div_ceil(size);
    if blocks > MOST_BLOCKS {
        let value = format!("{tokens}, {blocks} blocks of {size}");
        let hint = "; take larger blocks or fewer tokens";
        return Err(Error::TooLarge { field, value, most: (MOST_BLOCKS * size) as u64, hint });
    }
    Ok(blocks)
}

/// A row of blocks while it is made: one bit for each.
#[derive(Debug)]
pub struct Row {
    bits: Vec<u64>,
    len: usize,
}

impl Row {
    fn empty(len: usize) -> Self {
        Self { bits: vec![0; len.div_ceil(64)], len }
    }

    /// Blocks in the row.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no blocks at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the block is read.
    pub fn has(&self, block: usize) -> bool {
        self.bits[block / 64] >> (block % 64) & 1 == 1
    }

    /// Has `blocks` read.
    ///
    /// # Panics
    /// If they lie beyond the row.
    pub fn set(&mut self, blocks: Range<usize>) {
        assert!(blocks.end <= self.len, "block {} of {}", blocks.end, self.len);
        let mut at = blocks.start;
        while at < blocks.end {
            let end = blocks.end.min((at / 64 + 1) * 64);
            let ones = u64::MAX >> (64 - (end - at));
            self.bits[at / 64] |= ones << (at % 64);
            at = end;
        }
    }

    /// Adds the blocks to `columns`, ascending, and leaves none.
    fn drain_to(&mut self, columns: &mut Vec<u32>) {
        for (word, bits) in self.bits.iter_mut().enumerate() {
            while *bits != 0 {
                columns.push(64 * word as u32 + bits.trailing_zeros());
                *bits &= *bits - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any plan of few blocks, the last ones ragged.
    pub(crate) fn masks() -> impl Strategy<Value = BlockMask> {
        (1usize..9, 1usize..9, 1usize..200, 1usize..200).prop_flat_map(|(query_block, key_block, queries, keys)| {
            let count = queries.div_ceil(query_block) * keys.div_ceil(key_block);
            proptest::collection::vec(any::<bool>(), count)
                .prop_map(move |grid| BlockMask::from_grid(&grid, [query_block, key_block], [queries, keys]).unwrap())
        })
    }

    proptest! {
        #[test]
        fn a_grid_becomes_the_plan_and_the_plan_the_grid(mask in masks()) {
            let (sizes, tokens) = ([mask.query_block, mask.key_block], [mask.queries, mask.keys]);
            prop_assert_eq!(&BlockMask::from_grid(&mask.grid(), sizes, tokens)?, &mask);
            mask.check()?;
            let folder = tempfile::tempdir()?;
            mask.write_npy(folder.path().join("m.npy"))?;
            prop_assert_eq!(&BlockMask::read_npy(folder.path().join("m.npy"), sizes, tokens)?, &mask);
            mask.write_json(folder.path().join("m.json"))?;
            prop_assert_eq!(&BlockMask::read_json(folder.path().join("m.json"))?, &mask);
        }

        #[test]
        fn pairs_are_those_of_the_runs(mask in masks()) {
            let (grid, across) = (mask.grid(), mask.across());
            let mut runs = Vec::new();
            let mut pairs = 0;
            for query in 0..mask.queries {
                mask.runs(query, &mut runs);
                prop_assert!(runs.iter().all(|run| !run.is_empty()));
                prop_assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
                for key in 0..mask.keys {
                    let read = grid[query / mask.query_block * across + key / mask.key_block];
                    prop_assert_eq!(runs.iter().any(|run| run.contains(&key)), read);
                    pairs += u64::from(read);
                }
            }
            prop_assert_eq!(mask.pairs(), pairs);
        }

        #[test]
        fn differences_add_up(mask in masks(), other in masks()) {
            let count = mask.active();
            prop_assert_eq!(mask.difference(&mask)?, Difference { both: count, only_here: 0, only_there: 0 });
            let full = BlockMask::full([mask.query_block, mask.key_block], [mask.queries, mask.keys])?;
            let all = Difference { both: count, only_here: 0, only_there: mask.rows() * mask.across() - count };
            prop_assert_eq!(mask.difference(&full)?, all);
            if mask.queries != other.queries {
                let what = mask.difference(&other).unwrap_err();
                prop_assert!(what.to_string().contains("differ in queries"), "{}", what);
            }
        }
    }

    #[test]
    fn densities_count_blocks_and_tokens() {
        // Rows of 2, 2 and 1 queries; columns of 4 and 1 keys.
        let mask = BlockMask::from_grid(&[true, false, true, true, false, true], [2, 4], [5, 5]).unwrap();
        assert_eq!((mask.active(), mask.rows(), mask.across()), (4, 3, 2));
        assert_eq!(mask.pairs(), 2 * 4 + 2 * 5 + 1);
        assert_eq!((mask.density(), mask.token_density()), (4.0 / 6.0, 19.0 / 25.0));
        assert_eq!((mask.density_of_first([2, 1]), mask.predicted_speed_up()), (1.0, 25.0 / 19.0));
        assert!(mask.is_active(2, 1) && !mask.is_active(2, 0) && !mask.is_active(2, usize::MAX));
    }

    #[test]
    fn what_is_no_plan_is_refused_naming_the_field() {
        let plan = r#"{"query_block": 2, "key_block": 2, "queries": 4, "keys": 4, "offsets": O, "columns": C}"#;
        for (offsets, columns, told) in [
            ("[0, 1]", "[0]", "offsets"),
            ("[]", "[]", "offsets"),
            ("[0, 2, 1]", "[0]", "offsets"),
            ("[1, 1, 1]", "[0]", "offsets"),
            ("[0, 1, 9]", "[0]", "offsets"),
            ("[0, 2, 2]", "[1, 0]", "columns"),
            ("[0, 2, 2]", "[1, 1]", "columns"),
            ("[0, 1, 2]", "[1, 2]", "columns"),
        ] {
            let text = plan.replace('O', offsets).replace('C', columns);
            let error = serde_json::from_str::<BlockMask>(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        let empty = plan.replace("\"queries\": 4", "\"queries\": 0").replace('O', "[0]").replace('C', "[]");
        assert!(serde_json::from_str::<BlockMask>(&empty).unwrap_err().to_string().contains("queries is 0"));
        let large = BlockMask::full([1, 1], [MOST_BLOCKS + 1, 1]).unwrap_err();
        assert!(matches!(large, Error::TooLarge { field: "queries", .. }), "{large}");
        let dense = BlockMask::full([1, 1], [MOST_BLOCKS, MOST_BLOCKS]).unwrap_err();
        assert!(matches!(dense, Error::TooLarge { field: "active blocks", .. }), "{dense}");
    }
}
