//! Clustering a dynamic graph that many sites watch.

pub mod bits;
pub mod transport;
pub mod undirected;
