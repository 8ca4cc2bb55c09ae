//! Operations whose kernels are our own, as functions of Burn's tensors: differentiable, and for any backend, since where
//! our kernels do not run, Burn's do.
//!
//! `join` is how they join Burn's autodiff; [`step`] has the steps of optimisers; the other files have an operation each,
//! and one that it lacks goes into a file of its own, as `impl Operation`.

mod activation;
mod attention;
mod convolution;
mod join;
mod linear;
mod lstm;
mod masked;
mod norm;
mod pool;
mod rotary;
mod softmax;
pub mod step;
mod weighted;

pub use activation::{activation, relu};
pub use attention::attention;
pub use convolution::{Look, convolution, convolution_1d};
pub use linear::linear;
pub use lstm::{lstm, lstm_of_burn};
pub use masked::{Dense, Pattern, masked_attention};
pub use norm::{batch_norm, group_norm, group_norm_relu, layer_norm, rms_norm};
pub use pool::{max_pool, mean_pool};
pub use rotary::{Angles, rotary};
pub use softmax::{cross_entropy, log_softmax, softmax};
