//! The training ground: what every training run shares, on Burn.
//!
//! | file | idea |
//! | --- | --- |
//! | [`loader`] | batches of an epoch from (seed, epoch), made ahead; a position to resume from |
//! | [`augment`] | random crops, flips, turns and holes, drawn from (seed, epoch, example) |
//! | [`op`] | our kernels as differentiable functions of Burn's tensors; steps of SGD and Adam as its optimisers |
//! | [`nn`] | Burn's modules, run by our kernels |
//! | [`probe`] | four networks by which training is measured |
//! | [`dual`] | dual numbers: the gradient of a function of gradients, by one reverse pass over (value, tangent) |
//!
//! Kernels of training at the machine's speed are in `tersor_kernels::training`.

pub mod augment;
pub mod dual;
mod error;
pub mod loader;
pub mod nn;
pub mod op;
pub mod probe;

pub use error::Error;
