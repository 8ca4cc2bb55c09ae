//! The training ground: what every training run shares.

pub mod dual;
mod error;

pub use error::Error;
