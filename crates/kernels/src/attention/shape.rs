//! One call of attention: its sizes, where its tensors lie, and what is refused.

use super::finite::first_not_finite;
use super::mask::Mask;
use super::storage::Storage;

/// The sizes of one call.
///
/// Query head h of a sequence attends to the keys of head `h / (heads / kv_heads)` (grouped-query attention).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Heads of queries, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Queries of a sequence.
    pub queries: usize,
    /// Keys of a sequence.
    pub keys: usize,
    /// Numbers of a query and of a key.
    pub width: usize,
    /// Numbers of a value and of an output.
    pub value_width: usize,
    /// What q · k is multiplied by: 1 / √width, as a rule.
    pub scale: f32,
    /// Query i sees key j only if j ≤ i + keys - queries: the last query sees all keys, as with a cache of earlier keys
    /// (bottom-right alignment). With more queries than keys, the first queries see none.
    pub causal: bool,
}

/// Where a tensor of `[batch, heads, rows, width]` lies: the distance from one to the next, in numbers. The numbers of a row
/// are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// From one sequence to the next.
    pub batch: usize,
    /// From one head to the next.
    pub head: usize,
    /// From one row to the next.
    pub row: usize,
}

impl Layout {
    /// `[batch, heads, rows, width]`.
    pub fn heads_first(heads: usize, rows: usize, width: usize) -> Self {
        Self { batch: heads * rows * width, head: rows * width, row: width }
    }

    /// `[batch, rows, heads, width]`, as a linear layer writes it.
    pub fn rows_first(heads: usize, rows: usize, width: usize) -> Self {
        Self { batch: heads * rows * width, head: width, row: heads * width }
    }

    /// Where a row starts.
    pub(super) fn start(&self, batch: usize, head: usize, row: usize) -> usize {
        batch * self.batch + head * self.head + row * self.row
    }

    /// Numbers that a slice must hold; `None` if that is beyond counting.
    fn reach(&self, [batch, heads, rows]: [usize; 3], width: usize) -> Option<usize> {
        if batch * heads * rows * width == 0 {
            return Some(0);
        }
        let along = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        along(batch, self.batch)?
            .checked_add(along(heads, self.head)?)?
            .checked_add(along(rows, self.row)?)?
            .checked_add(width)
    }

    /// Whether no two rows share a number.
    fn apart(&self, [batch, heads, rows]: [usize; 3], width: usize) -> bool {
        let mut axes = [(self.batch, batch), (self.head, heads), (self.row, rows)];
        axes.sort_unstable();
        let mut reach = width;
        axes.into_iter().filter(|&(_, count)| count > 1).all(|(stride, count)| {
            let apart = stride >= reach;
            reach += (count - 1) * stride;
            apart
        })
    }
}

/// A tensor that is read; forth, it may be stored in halves.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a, T = f32> {
    /// The numbers.
    pub data: &'a [T],
    /// Where they lie.
    pub layout: Layout,
}

impl<'a, T> Tensor<'a, T> {
    /// One row.
    pub(super) fn row(&self, (batch, head): (usize, usize), row: usize, width: usize) -> &'a [T] {
        &self.data[self.layout.start(batch, head, row)..][..width]
    }
}

/// A tensor that is written.
#[derive(Debug)]
pub struct TensorMut<'a> {
    /// The numbers.
    pub data: &'a mut [f32],
    /// Where they lie.
    pub layout: Layout,
}

/// What the rows of an output were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows without a key, or whose scores are all -∞: their output is 0 and their logarithm -∞.
    pub empty: usize,
    /// Rows with a score beyond f32: their output is 0 and their logarithm +∞.
    pub overflowed: usize,
}

impl Report {
    pub(super) fn and(self, other: Self) -> Self {
        Self { empty: self.empty + other.empty, overflowed: self.overflowed + other.overflowed }
    }
}

/// What cannot be attended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A size that means nothing.
    #[error("{field} is {value}; expected {expected}")]
    Size {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A slice that is too short.
    #[error("{tensor} holds {held} numbers; its shape and layout need {needed}")]
    Length {
        /// The tensor.
        tensor: &'static str,
        /// Numbers of the slice.
        held: usize,
        /// Numbers that are needed.
        needed: usize,
    },
    /// An output whose rows lie on each other.
    #[error("the rows of {tensor} overlap: {layout:?}")]
    Overlap {
        /// The tensor.
        tensor: &'static str,
        /// Where it was to lie.
        layout: Layout,
    },
    /// A mask that does not fit.
    #[error("mask {mask}: {problem}")]
    Mask {
        /// Which of the masks, counted from 0.
        mask: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// NaN or ±∞ in an input. It would spread to outputs that do not even attend to it, since 0 · ∞ is NaN.
    #[error("{tensor} has a number that is not finite: sequence {batch}, head {head}, row {row}")]
    NotFinite {
        /// The tensor.
        tensor: &'static str,
        /// Its sequence.
        batch: usize,
        /// Its head.
        head: usize,
        /// Its row.
        row: usize,
    },
}

impl Attention {
    /// One sequence, as many heads of keys as of queries, values as wide as keys, scale 1 / √width, not causal.
    pub fn new(heads: usize, queries: usize, keys: usize, width: usize) -> Self {
        let scale = 1.0 / (width.max(1) as f32).sqrt();
        let (kv_heads, value_width) = (heads, width);
        Self { batch: 1, heads, kv_heads, queries, keys, width, value_width, scale, causal: false }
    }

    /// Numbers of all logarithms: `[batch, heads, queries]`.
    pub fn rows(&self) -> usize {
        self.batch * self.heads * self.queries
    }

    /// Sequence and head of the head counted over all sequences.
    pub(super) fn place(&self, head: usize) -> (usize, usize) {
        (head / self.heads, head % self.heads)
    }

    /// Sequence and head of the keys that it attends to.
    pub(super) fn kv_place(&self, head: usize) -> (usize, usize) {
        (head / self.heads, head % self.heads / (self.heads / self.kv_heads))
    }

    /// The first key that a query does not see.
    pub(super) fn limit(&self, query: usize) -> usize {
        if self.causal { (query + 1 + self.keys).saturating_sub(self.queries).min(self.keys) } else { self.keys }
    }

    /// Counts of batch, heads and rows, and the width of a tensor.
    pub(super) fn extent(&self, of: Of) -> ([usize; 3], usize) {
        match of {
            Of::Query => ([self.batch, self.heads, self.queries], self.width),
            Of::Key => ([self.batch, self.kv_heads, self.keys], self.width),
            Of::Value => ([self.batch, self.kv_heads, self.keys], self.value_width),
            Of::Output => ([self.batch, self.heads, self.queries], self.value_width),
        }
    }

    /// Sizes that mean something.
    pub(super) fn check(&self, mask: &Mask<'_>) -> Result<(), Error> {
        let positive = [
            ("batch", self.batch),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("width", self.width),
            ("value_width", self.value_width),
        ];
        for (field, value) in positive {
            if value == 0 {
                return Err(Error::Size { field, value: "0".into(), expected: "at least 1" });
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let value = format!("{}, with {} kv_heads", self.heads, self.kv_heads);
            return Err(Error::Size { field: "heads", value, expected: "a multiple of kv_heads" });
        }
        if !self.scale.is_finite() {
            return Err(Error::Size { field: "scale", value: self.scale.to_string(), expected: "a finite number" });
        }
        for (field, value) in [("queries", self.queries), ("keys", self.keys)] {
            if u32::try_from(value).is_err() {
                return Err(Error::Size { field, value: value.to_string(), expected: "less than 2^32" });
            }
        }
        mask.check(self)
    }

    /// An input that lies in its slice, and is finite.
    pub(super) fn check_input<T: Storage>(
        &self,
        name: &'static str,
        of: Of,
        tensor: &Tensor<'_, T>,
    ) -> Result<(), Error> {
        self.check_length(name, of, tensor.data.len(), tensor.layout)?;
        let (extent, width) = self.extent(of);
        match first_not_finite(tensor, extent, width) {
            Some([batch, head, row]) => Err(Error::NotFinite { tensor: name, batch, head, row }),
            None => Ok(()),
        }
    }

    pub(super) fn check_length(&self, tensor: &'static str, of: Of, held: usize, layout: Layout) -> Result<(), Error> {
        let (extent, width) = self.extent(of);
        let needed = layout.reach(extent, width).unwrap_or(usize::MAX);
        if held < needed { Err(Error::Length { tensor, held, needed }) } else { Ok(()) }
    }

    pub(super) fn check_output(&self, tensor: &'static str, of: Of, out: &TensorMut<'_>) -> Result<(), Error> {
        let layout = out.layout;
        self.check_length(tensor, of, out.data.len(), layout)?;
        let (extent, width) = self.extent(of);
        if layout.apart(extent, width) { Ok(()) } else { Err(Error::Overlap { tensor, layout }) }
    }

    pub(super) fn check_logarithms(&self, held: usize) -> Result<(), Error> {
        let needed = self.rows();
        if held == needed { Ok(()) } else { Err(Error::Length { tensor: "logarithms", held, needed }) }
    }
}

/// Which tensor's extent is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Query,
    Key,
    Value,
    Output,
}
