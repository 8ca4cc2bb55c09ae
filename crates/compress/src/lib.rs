//! Networks with fewer weights, that run faster for it.
//!
//! A trained network has far more weights than it needs, but which of them it needs is only known once it is trained.
//! Pruning tools stop at a mask of zeros: the file is no smaller and the network no faster. Here the published method
//! stands whole (train, remove what is weak, retrain the rest, again), its mask is a plan that can be saved, printed,
//! compared and drawn, and the result is stored without its zeros and run by kernels that skip them.
//!
//! Paper: *Learning both Weights and Connections for Efficient Neural Networks* (Han, Pool, Tran, Dally, NeurIPS 2015).
//!
//! ```
//! use tersor_compress::architecture::Architecture;
//! use tersor_compress::granularity::Granularity;
//! use tersor_compress::plan::{Qualities, Target, plan};
//! use tersor_compress::weights::{weights_of, with_values};
//!
//! let network = Architecture::LeNet300.build(10, 1)?;
//! let weights = weights_of(&network);
//! let plan = plan("lenet", &weights, Granularity::Element, Target::Ratio(12.0), &Qualities::new())?;
//! assert!(plan.density() <= 1.0 / 12.0 + 1e-5);
//! let pruned = with_values(&network, &plan.applied(&weights)?)?;
//! # assert_eq!(weights_of(&pruned).iter().map(|weight| weight.kept()).sum::<usize>(), plan.counts().0);
//! # Ok::<(), tersor_compress::Error>(())
//! ```
//!
//! # Files
//!
//! | file | its one idea |
//! | --- | --- |
//! | `prune.rs` | the three steps, in rounds |
//! | `plan.rs`, `mask.rs` | which weights stay: the plan, and one bit for each |
//! | `granularity.rs` | what is removed together: weights, blocks, two of four, kernels |
//! | `channel.rs` | coupled channels, followed through the graph and taken out |
//! | `dead.rs` | neurons without inputs or outputs, taken out |
//! | `sensitivity.rs`, `search.rs` | what each layer loses alone, and the thresholds that follow for a target |
//! | `tradeoff.rs` | accuracy against sparsity, with L1 and L2, with and without retraining |
//! | `learn.rs`, `trainable.rs` | training and retraining; a graph as Burn's module |
//! | `architecture/` | LeNet-300-100, LeNet-5, a VGG-type, ResNet-20 |
//! | `model.rs`, `relative.rs` | files: ONNX, dense and sparse safetensors; relative indices |
//! | `weights.rs` | the weights of a network that can be pruned |
//! | `account.rs` | weights and bytes, as the paper counts and as they lie on disk |
//! | `evaluate.rs` | answers to labelled pictures |
//! | `picture.rs` | plans and curves, drawn |
//! | `bench.rs` | pruned layers and networks beside their dense selves and the peers |
//! | `tour.rs` | the stop on the tour |
//! | `error.rs` | [`Error`], one for the crate |
//!
//! What this crate does not do: run networks (`tersor_network::float`) or multiply with sparse weights
//! (`tersor_kernels::sparse`).

pub mod account;
pub mod architecture;
pub mod bench;
pub mod channel;
pub mod dead;
mod error;
pub mod evaluate;
pub mod granularity;
pub mod learn;
pub mod mask;
pub mod model;
pub mod picture;
pub mod plan;
pub mod prune;
pub mod relative;
pub mod search;
pub mod sensitivity;
pub mod tour;
pub mod tradeoff;
pub mod trainable;
pub mod weights;

pub use error::Error;
