//! Pictures and videos with less.
//!
//! A video transformer lets every token of every frame read every other: 13 billion pairs for five seconds of video, in
//! each head, layer and step. Here a *plan* says which blocks of keys each block of queries reads, before anything runs:
//! a value that one can print, save, compare and draw.
//!
//! ```
//! use tersor_generate::{Family, Radial};
//!
//! // Wan's default clip, 69 pictures of 768 x 1280: 18 frames of 48 x 80 tokens.
//! let mask = Radial { decay: 0.2, ..Radial::new(18, 3_840) }.plan()?;
//! assert_eq!((mask.rows(), mask.active()), (540, 83_728));
//! assert!((mask.predicted_speed_up() - 3.48).abs() < 0.01);
//!
//! // Any resolution: 480 x 832 has 1,560 tokens in a frame, no multiple of a block.
//! let mask = Radial { decay: 0.2, family: Family::Hunyuan, text: 256, ..Radial::new(21, 1_560) }.plan()?;
//! assert!((0..mask.rows()).all(|row| mask.is_active(row, row)));
//! # Ok::<(), tersor_generate::Error>(())
//! ```
//!
//! Papers: *Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video Generation* (NeurIPS 2025); *Sparse
//! VideoGen2: Accelerate Video Generation with Sparse Attention via Semantic-Aware Permutation* (NeurIPS 2025).
//!
//! | file | idea |
//! | --- | --- |
//! | [`attend`] | attention that obeys a plan, and what it achieved |
//! | [`bench`] | attention timed beside PyTorch's |
//! | [`grid`] | the tokens of a clip |
//! | [`mask`] | the plan: which blocks of keys each block of queries reads |
//! | [`radial`] | radial masks, by blocks as they were run, and (`exact`) by tokens as they were written; `dense` |
//! | [`decay`] | how attention decays with distance, and what a mask keeps of it; `synthetic` queries and keys |
//! | [`clusters`] | the plan by groups of any tokens: which groups of keys each group of queries reads; its file |
//! | [`semantic`] | groups that k-means finds, the `map` of what they read, the `cache` of centroids |
//! | [`means`] | means in place of the groups that a plan leaves out |
//! | [`svg1`] | heads that look at their frames or at their place, told apart by trying |
//! | [`baseline`] | plans that any method must beat: near frames, random blocks |
//! | [`quality`] | what a plan loses of the weight and of the output |
//! | [`compare`] | the quality of methods over what they read |
//! | [`picture`] | plans, clusters, decay and quality, drawn |
//! | `video` | a small video transformer with attention by any plan: sampling, and longer clips by LoRA (feature `video`) |
//! | [`tour`] | the stop on the tour |

pub mod attend;
pub mod baseline;
pub mod bench;
pub mod clusters;
pub mod compare;
pub mod decay;
mod error;
pub mod grid;
pub mod mask;
pub mod means;
pub mod picture;
pub mod quality;
pub mod radial;
pub mod semantic;
pub mod svg1;
pub mod tour;
#[cfg(feature = "video")]
pub mod video;

pub use clusters::{ClusterFile, ClusterMask, Groups, HeadMask};
pub use error::Error;
pub use grid::Grid;
pub use mask::{BlockMask, Reads};
pub use radial::{Block, DensePolicy, ExactMask, Family, Radial};
pub use semantic::{Budget, CentroidCache, SemanticAttention};
pub use svg1::Svg1;
