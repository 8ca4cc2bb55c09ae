//! The training ground: what every training run shares.

pub mod augment;
mod error;
pub mod loader;

pub use error::Error;
