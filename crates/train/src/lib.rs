//! The training ground: what every training run shares.

pub mod augment;
pub mod dual;
mod error;
pub mod loader;

pub use error::Error;
