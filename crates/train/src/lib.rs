//! The training ground: what every training run shares.

mod error;

pub use error::Error;
