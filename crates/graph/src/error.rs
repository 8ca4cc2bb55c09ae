//! What can be wrong with a graph, its file, or what is asked of it.

/// An error of this room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),
    /// An arc that joins a vertex that does not exist.
    #[error("arc {from} -> {to}: the graph has {vertices} vertices, numbered from 0")]
    NoSuchVertex {
        /// The arc's tail.
        from: u32,
        /// The arc's head.
        to: u32,
        /// How many vertices there are.
        vertices: usize,
    },
    /// A length that is negative, not a number, or without end.
    #[error("arc {from} -> {to}: length {length}; lengths are finite and not negative")]
    Length {
        /// The arc's tail.
        from: u32,
        /// The arc's head.
        to: u32,
        /// The length.
        length: f64,
    },
    /// More vertices or arcs than 32 bits count, or lengths whose sum overflows.
    #[error("{what}: too large; a graph has fewer than 2^32 - 1 vertices and arcs, and lengths with a finite sum")]
    TooLarge {
        /// What is too large.
        what: String,
    },
    /// A stretch that cannot be certified.
    #[error("stretch {stretch}: a certified stretch is a number of at least 4")]
    Stretch {
        /// The stretch asked for.
        stretch: f64,
    },
    /// A source that is no vertex.
    #[error("source {vertex}: the graph has {vertices} vertices, numbered from 0")]
    NoSuchSource {
        /// The source.
        vertex: u32,
        /// How many vertices there are.
        vertices: usize,
    },
}
