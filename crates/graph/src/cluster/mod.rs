//! Clustering a dynamic graph that many sites watch.

pub mod bits;
pub mod coin;
pub mod local;
pub mod message;
pub mod resistance;
pub mod sparsifier;
pub mod stream;
pub mod transport;
pub mod undirected;
