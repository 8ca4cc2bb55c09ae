//! What can be wrong with a graph, its file, or what is asked of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::transport::Party;
use crate::file::{Fault, Format};

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
    /// A parameter out of its range.
    #[error("{what} = {value}: it must be {range}")]
    Parameter {
        /// Its name.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A source that is no vertex.
    #[error("source {vertex}: the graph has {vertices} vertices, numbered from 0")]
    NoSuchSource {
        /// The source.
        vertex: u32,
        /// How many vertices there are.
        vertices: usize,
    },
    /// An arc of a thinned graph that is none of the graph's.
    #[error("arc {from} -> {to} of length {length}: the graph has no such arc")]
    NotInGraph {
        /// The arc's tail.
        from: u32,
        /// Its head.
        to: u32,
        /// Its length.
        length: f64,
    },
    /// A graph file, or a file beside it, that is wrong at a line.
    #[error("{}:{line}: {fault}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A file whose name does not tell its format.
    #[error("{}: the name tells no format (.gr, .txt, .graph, .mtx, …); name one with --format", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
    },
    /// Times asked of a format that has none.
    #[error("{}: a {format} file has no times; --temporal is for edge lists", file.display())]
    NotTemporal {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: Format,
    },
    /// A directed graph for a format of undirected ones.
    #[error(
        "{}: METIS holds undirected graphs, but {from} -> {to} and {to} -> {from} are not both there with one length; \
         write .gr, .txt or .mtx",
        file.display()
    )]
    NotSymmetric {
        /// The file.
        file: PathBuf,
        /// One end, by its id.
        from: u64,
        /// The other end.
        to: u64,
    },
    /// More sources than there are vertices, or none.
    #[error("{count} sources cannot be drawn from {vertices} vertices; ask for 1 to {vertices}")]
    Sample {
        /// How many were asked for.
        count: usize,
        /// How many vertices there are.
        vertices: usize,
    },
    /// An arc in a file of a thinned graph that is none of the graph's.
    #[error("{}: arc {from} -> {to} of length {length}: the graph has no such arc", file.display())]
    NotAPart {
        /// The file of the thinned graph.
        file: PathBuf,
        /// The arc's tail, by its id.
        from: u64,
        /// Its head.
        to: u64,
        /// Its length, in the file's unit.
        length: f64,
    },
    /// A file that is no certificate of this graph.
    #[error("{}: {fault}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A map without places.
    #[error("there are no coordinates to draw by; put a .co beside the graph, or name one with --coordinates")]
    NoCoordinates,
    /// A picture that cannot be drawn.
    #[error("the picture cannot be drawn: {0}")]
    Drawing(String),
    /// A change of a graph that cannot be.
    #[error("change {number}: {fault}")]
    Change {
        /// Which, from 0.
        number: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// An edge of a graph to cluster whose length is 0.
    #[error("the edge {from} - {to} has the weight 0; an edge to cluster by has a weight above 0 (--unweighted: 1)")]
    NoWeight {
        /// One end, by its id.
        from: u64,
        /// The other end.
        to: u64,
    },
    /// Bits of a party that are no messages.
    #[error("{party} sent bits that are no messages: {fault}")]
    Garbled {
        /// Who it is.
        party: Party,
        /// What is wrong with them.
        fault: String,
    },
    /// A party of a protocol that is gone.
    #[error("{party} is gone; what it knew of the graph is lost, so there is no result")]
    Lost {
        /// Who it is.
        party: Party,
    },
    /// A party of a protocol that says nothing.
    #[error("{party} has said nothing for {} s; a longer time-out (--timeout) waits longer", after.as_secs_f64())]
    Silent {
        /// Who it is.
        party: Party,
        /// How long it was waited for.
        after: Duration,
    },
    /// An MPI job without a site.
    #[error("{ranks} MPI rank: the coordinator and each site take one; start with mpirun -n SITES+1")]
    Ranks {
        /// How many ranks there are.
        ranks: usize,
    },
    /// MPI that was started before.
    #[error("MPI starts once in a process, and it was started before")]
    MpiStarted,
    /// A certificate that proves nothing.
    #[error("the certificate is rejected: {0}")]
    Rejected(#[from] crate::spanner::check::Rejection),
}
