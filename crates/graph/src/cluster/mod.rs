//! Clustering a dynamic graph that many sites watch.

pub mod bits;
pub mod block_model;
pub mod curve;
pub mod instance;
pub mod points;
pub mod segments;
pub mod similarity;
pub mod schedule;
pub mod transport;
pub mod undirected;
