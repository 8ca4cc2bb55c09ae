//! Pruned layers at speed: linear layers and convolutions most of whose weights are absent.
//!
//! The complaint about pruning is that it makes nothing faster. A general sparse product loses against a dense one until
//! nine of ten weights are gone, since it fetches single numbers where the dense one streams vectors. These kernels fetch
//! vectors too, each in its own way; [`cost`] says where the dense form is faster.
//!
//! Source of the problem: Han, Pool, Tran, Dally, *Learning both weights and connections for efficient neural networks*
//! (NeurIPS 2015). What this module does not do: prune (room `compress`), or train.
//!
//! Threads are those of the caller's rayon pool, and no result depends on their number. Sums are in f32, in the order of the
//! layout; they differ from the dense form's by rounding alone. A weight that is absent contributes nothing, whatever its
//! input, infinite or not a number.
//!
//! ```
//! use tersor_kernels::sparse::{Ending, linear::SparseLinear};
//!
//! // Two outputs, three inputs.
//! let layer = SparseLinear::pack(&[0.0, 2.0, 0.0, -1.0, 0.0, 0.0], 2, 3);
//! let mut y = [0.0; 2];
//! layer.run(&[1.0, 2.0, 3.0], Some(&[0.5, 0.5]), Ending::Relu, &mut y);
//! assert_eq!((y, layer.nonzeros()), ([4.5, 0.0], 2));
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | [`linear`] | a pruned linear layer: the layout that its non-zeros fit best |
//! | [`convolution`] | a pruned convolution, directly over its non-zeros |
//! | [`dense`] | the dense forms |
//! | [`cost`] | predicted seconds of both, and the density where they meet |
//! | `lockstep` | scattered non-zeros: eight rows (sixteen with AVX-512) share a sliding window of inputs |
//! | `compact` | the same without gaps, where bytes count |
//! | `windows` | how rows of either share windows |
//! | `gathered` | few scattered non-zeros: rows |
//! | `blocks` | blocks of 8x1 and 1x8 |
//! | `half` | two of four |
//! | `batch` | many rows at once |
//! | `band` | part of an image with its padding |
//! | `nonzeros` | what layouts are packed from |
//! | `ending` | bias, ReLU, ReLU6 |
//! | `transpose` | squares turned in registers |
//! | `scratch` | memory that threads keep |

mod band;
mod batch;
mod blocks;
mod compact;
pub mod convolution;
pub mod cost;
pub mod dense;
mod ending;
mod gathered;
mod half;
pub mod linear;
mod lockstep;
mod nonzeros;
mod scratch;
pub(crate) mod transpose;
mod windows;

pub use ending::Ending;
