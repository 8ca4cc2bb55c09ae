//! Graphs with fewer arcs and fewer bits.
//!
//! A road, web or mail graph is thinned until it is cheap to keep, and still answers every round trip between the
//! sources that matter and all other vertices within a factor that is certified, not hoped for.
//!
//! ```
//! use tersor_graph::{Arc, Digraph};
//!
//! // A one-way square with a two-way diagonal.
//! let arcs = [(0, 1, 3.0), (1, 2, 3.0), (2, 3, 3.0), (3, 0, 3.0), (0, 2, 4.0), (2, 0, 4.0)];
//! let (square, dropped) = Digraph::from_arcs(4, arcs.map(Arc::from).to_vec())?;
//! assert_eq!((square.vertices(), square.arcs(), dropped.loops), (4, 6, 0));
//! # Ok::<(), tersor_graph::Error>(())
//! ```
//!
//! And a graph that many sites watch is clustered with few bits between them: see [`cluster`].
//!
//! Papers: *A fast algorithm for source-wise round-trip spanners* (Theoretical Computer Science 2021);
//! *Communication-Optimal Distributed Dynamic Graph Clustering* (AAAI 2019).
//!
//! | file | idea |
//! | --- | --- |
//! | [`digraph`] | a directed graph with lengths, in compressed sparse rows both ways |
//! | [`generate`] | graphs of known families, by seed |
//! | [`sources`] | the vertices whose round trips matter, from a file or drawn |
//! | [`stats`] | what a graph is: size, components, degrees, lengths |
//! | [`file`] | graph files: DIMACS, edge lists, METIS, Matrix Market, temporal lists |
//! | [`components`] | strongly connected components |
//! | [`histogram`] | how often each stretch occurs, drawn |
//! | [`order`] | neighbours near each other in memory |
//! | [`picture`] | a graph and what is kept of it, as a map |
//! | [`search`] | bounded shortest paths |
//! | [`spanner`] | the thinned graph with its certificate |
//! | [`cluster`] | clusters of a dynamic graph that many sites watch |
//! | [`tour`] | the room's stops on the tour |
//! | [`verify`] | the true stretch, measured pair by pair |
//! | [`bench`] | how time, memory and arcs grow |

pub mod bench;
pub mod cluster;
pub mod components;
pub mod digraph;
mod error;
pub mod file;
pub mod generate;
pub mod histogram;
pub mod order;
pub mod picture;
pub mod search;
pub mod sources;
pub mod spanner;
pub mod stats;
pub mod tour;
pub mod verify;

pub use digraph::{Arc, ArcSet, Digraph, Dropped};
pub use error::Error;
