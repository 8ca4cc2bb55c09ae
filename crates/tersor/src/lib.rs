//! Tersor (terse + tensor): the same work with less.
//!
//! Networks, language models, videos, graphs: each needs something scarce, be it the SRAM of a microcontroller, the
//! cache of a language model or the bits on a wire. Every system in here spares one such resource, shows what it
//! spared, and shows what that cost in accuracy. The systems are published ones; each room's documentation names its
//! papers.
//!
//! A *room* is one field with its systems, and one word opens three doors to it: the crate (`tersor-tiny`), the module
//! here (`tersor::tiny`) and the command (`tersor tiny`). Rooms are Cargo features, all on by default.
//!
//! ```
//! use tersor::data::{registry, tour::LONGEST_BUDGET};
//!
//! // A real model, by name: where it comes from, before anything is downloaded.
//! let model = registry::entry("person-detect")?;
//! assert_eq!((model.file_name(), model.size), ("person_detect.tflite", 300_568));
//!
//! // What `tersor tour` walks: one stop for each system of the rooms that are built in.
//! for stop in tersor::stops() {
//!     assert!(stop.budget() <= LONGEST_BUDGET, "{} {}", stop.room(), stop.system());
//! }
//! # Ok::<(), tersor::data::Error>(())
//! ```
//!
//! # Map
//!
//! | module | what it is | feature |
//! | --- | --- | --- |
//! | [`data`] | real files in, plain values out; real models and data sets by name | always |
//! | [`kernels`] | the arithmetic, over plain slices | always |
//! | [`network`] | a network as a value: graph, shapes, cost, TFLite in and out, reference execution | always |
//! | `compress` | room: networks with fewer weights, that run faster for it | `compress` |
//! | `generate` | room: pictures and videos whose attention reads few pairs | `generate` |
//! | `graph` | room: graphs with fewer arcs and fewer bits | `graph` |
//! | `tiny` | room: networks in a microcontroller's memory | `tiny` |
//! | `train` | what every training run shares, on Burn: loop, checkpoints, kernels | `train` |
//!
//! This crate is the facade and the command line (`src/main.rs`, `src/cli/`). It holds no algorithm.

#[cfg(feature = "compress")]
pub use tersor_compress as compress;
pub use tersor_data as data;
#[cfg(feature = "generate")]
pub use tersor_generate as generate;
#[cfg(feature = "graph")]
pub use tersor_graph as graph;
pub use tersor_kernels as kernels;
pub use tersor_network as network;
#[cfg(feature = "tiny")]
pub use tersor_tiny as tiny;
#[cfg(feature = "train")]
pub use tersor_train as train;

use data::tour::Stop;

/// The stops of all rooms that are built in, in the order of the tour.
pub fn stops() -> Vec<Box<dyn Stop>> {
    #[allow(unused_mut, reason = "without a room nothing is added")]
    let mut stops: Vec<Box<dyn Stop>> = Vec::new();
    #[cfg(feature = "tiny")]
    stops.extend(tiny::tour::stops());
    #[cfg(feature = "compress")]
    stops.extend(compress::tour::stops());
    #[cfg(feature = "generate")]
    stops.extend(generate::tour::stops());
    #[cfg(feature = "graph")]
    stops.extend(graph::tour::stops());
    #[cfg(feature = "train")]
    stops.extend(train::tour::stops());
    stops
}
