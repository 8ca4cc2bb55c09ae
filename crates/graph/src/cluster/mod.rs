//! Clustering a dynamic graph that many sites watch, with hardly a word between them.
//!
//! Every site sees a part of a graph's changes; a coordinator must know the clusters at any time. Sites send it a spectral
//! sparsifier, few edges with larger weights whose cuts are all those of the graph, and keep it right as the graph changes.
//!
//! Paper: Zhu, Zhu, Lam, Han, Bi, *Communication-Optimal Distributed Dynamic Graph Clustering* (AAAI 2019). Its text could
//! not be had; the protocols are derived from its claims and from the results that it builds on, with the bounds they keep.
//!
//! ```
//! use std::time::Duration;
//! use tersor_graph::cluster::block_model::{BlockModel, block_model};
//! use tersor_graph::cluster::message::Weights;
//! use tersor_graph::cluster::protocol::{Model, Protocol, Rate};
//! use tersor_graph::cluster::run::Run;
//! use tersor_graph::cluster::spectral::Tau;
//! use tersor_graph::cluster::stream::{Change, Partition, Stream};
//!
//! let blocks = block_model(&BlockModel { vertices: 200, clusters: 2, inside: 0.6, between: 0.05 }, 1)?;
//! let change = |edge: &tersor_graph::cluster::undirected::Edge| {
//!     Change { time: 0.0, u: edge.u, v: edge.v, weight: 1.0, insert: true }
//! };
//! let stream = Stream::new(200, blocks.edges.iter().map(change))?;
//! let protocol = Protocol::new(Model::Blackboard, (4, 200, 2), Rate::C(2.0), 1, Weights::NONE)?;
//! let run = Run {
//!     stream: &stream,
//!     partition: Partition::Edge,
//!     times: &[0.0],
//!     tau: Tau::Auto,
//!     truth: None,
//!     timeout: Duration::from_secs(60),
//! };
//! let answer = run.with_threads(&protocol, &mut |_| {})?;
//! assert!(answer.report.share() < 0.5, "less than half of the bits");
//! assert!(answer.report.times[0].quality.ari > 0.95, "and the same clusters");
//! # Ok::<(), tersor_graph::Error>(())
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | [`stream`] | a graph as it changes; which site sees what |
//! | [`protocol`] | what all agree on: model, rate, seed |
//! | [`message_passing`] | D2-CAMP: every site sparsifies its own graph |
//! | [`blackboard`] | D2-CABL: all judge their edges by the board |
//! | [`ship_all`] | sending everything, to compare with |
//! | [`site`], [`coordinator`], [`run`] | the programs of the parties, and all of them together |
//! | [`local`], [`sparsifier`] | what a site knows, and what is known of it |
//! | [`coin`], [`resistance`] | which edges are kept: coins, and leverages |
//! | [`bits`], [`message`] | what is said, bit by bit |
//! | [`transport`] | threads, or ranks of an MPI job |
//! | [`desks`] | work that sites of one process share |
//! | [`spectral`], [`eigen`], [`kmeans`] | labels of a graph |
//! | [`score`], [`report`], [`labels`] | how good they are, what they took, and their files |
//! | [`undirected`] | a graph with weights |
//! | [`instance`], [`block_model`], [`points`], [`similarity`], [`schedule`] | graphs to cluster, and how they come and go |
//! | [`bench`], [`curve`], [`segments`] | measured and drawn |

pub mod bench;
pub mod bits;
pub mod blackboard;
pub mod block_model;
pub mod coin;
pub mod coordinator;
pub mod curve;
pub mod desks;
pub mod eigen;
pub mod instance;
pub mod kmeans;
pub mod labels;
pub mod local;
pub mod message;
pub mod message_passing;
pub mod points;
pub mod protocol;
pub mod report;
pub mod resistance;
pub mod run;
pub mod schedule;
pub mod score;
pub mod segments;
pub mod ship_all;
pub mod similarity;
pub mod site;
pub mod sparsifier;
pub mod spectral;
pub mod stream;
pub mod transport;
pub mod undirected;
