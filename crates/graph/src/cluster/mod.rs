//! Clustering a dynamic graph that many sites watch.

pub mod bits;
pub mod eigen;
pub mod kmeans;
pub mod score;
pub mod spectral;
pub mod transport;
pub mod undirected;
