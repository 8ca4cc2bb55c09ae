//! What can be wrong with a line of a graph file.

use std::io;

/// What is wrong with a line; [`Error::File`](crate::Error::File) says which file and line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Fault {
    /// A field that should be a length, or a coordinate.
    #[error("`{found}` is not a number")]
    NotANumber { found: String },
    /// A field that should be an id or a count.
    #[error("`{found}` is not an id or a count, which are whole, not negative and below 2^64")]
    NotWhole { found: String },
    /// A length below 0.
    #[error("length {found} is negative; lengths are 0 or more")]
    Negative { found: String },
    /// A length that is infinite, not a number, or larger than an f64.
    #[error("length {found} is not finite")]
    NotFinite { found: String },
    /// An id that the file has not declared.
    #[error("id {id} is out of range: the file declares {vertices} vertices from id {first}")]
    IdRange { id: u64, first: u64, vertices: u64 },
    /// An id that needs more than 32 bits.
    #[error("id {id} is too large for 32 bits; --relabel numbers the ids by first appearance")]
    IdTooLarge { id: u64 },
    /// Far more vertices than lines could make use of.
    #[error(
        "{vertices} vertices for {lines} lines: refused, the file would take far more memory than it holds; \
         --relabel numbers only the ids that appear"
    )]
    Sparse { vertices: u64, lines: u64 },
    /// A count in the header that the file does not keep.
    #[error("the header declares {declared} {what}, the file holds {found}; it is cut or damaged")]
    Count { what: &'static str, declared: u64, found: u64 },
    /// Coordinates of another graph.
    #[error("coordinates of {declared} vertices, but the graph has {vertices}")]
    OtherGraph { declared: u64, vertices: u64 },
    /// A missing or wrong header.
    #[error("expected the header `{expected}`")]
    Header { expected: &'static str },
    /// A line of another form.
    #[error("expected `{expected}`")]
    Line { expected: &'static str },
    /// A line that never ends.
    #[error("the line is longer than {limit} bytes")]
    LineTooLong { limit: usize },
    /// A packed file that ends too early.
    #[error("the gzip stream ends too early; the file is cut")]
    Cut,
    /// A packed file that unpacks to very much.
    #[error("unpacks to more than 200 times its size; refused as a decompression bomb (if you trust it, unpack it)")]
    Bomb,
    /// The file cannot be read on.
    #[error("cannot be read: {source}")]
    Read { source: io::Error },
    /// An undirected graph whose edge has no equal twin.
    #[error("the edge {a} - {b} is not listed alike by both of its ends")]
    OneSided { a: u64, b: u64 },
    /// A deletion of what is not there.
    #[error("there is no edge {from} -> {to} to delete")]
    NotThere { from: u64, to: u64 },
    /// A change before the one that stands before it.
    #[error("time {time} comes after time {after}; times never go back")]
    BackInTime { time: f64, after: f64 },
    /// A weight that no edge has.
    #[error("weight {weight}: weights are finite and above 0")]
    Weight { weight: f64 },
    /// A weight that cannot be written in so few bits.
    #[error("weight {weight} cannot be written in {bits} bits; --weight-bits 64 writes every weight")]
    WeightBits { weight: f64, bits: u32 },
    /// A label that needs more than 32 bits.
    #[error("label {label} is too large for 32 bits")]
    Label { label: u64 },
    /// A vertex of two clusters.
    #[error("vertex {id} has two labels")]
    TwoLabels { id: u64 },
    /// A vertex of no cluster.
    #[error("vertex {id} has no label in this file; it must label all vertices")]
    NoLabel { id: u64 },
    /// A file that should list something.
    #[error("the file lists no {what}")]
    Nothing { what: &'static str },
}

/// A field of a file as an error may repeat it: short, on one line.
pub(super) fn shown(field: &[u8]) -> String {
    let clear = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let text: String = String::from_utf8_lossy(&field[..field.len().min(40)]).chars().map(clear).collect();
    if field.len() > 40 { text + "…" } else { text }
}
