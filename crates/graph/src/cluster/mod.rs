//! Clustering a dynamic graph that many sites watch.

pub mod bits;
pub mod blackboard;
pub mod coin;
pub mod coordinator;
pub mod desks;
pub mod labels;
pub mod local;
pub mod message;
pub mod message_passing;
pub mod protocol;
pub mod report;
pub mod resistance;
pub mod run;
pub mod score;
pub mod ship_all;
pub mod site;
pub mod sparsifier;
pub mod spectral;
pub mod stream;
pub mod transport;
pub mod undirected;
