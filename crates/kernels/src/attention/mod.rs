//! Attention: softmax(scale · q kᵀ) v without the matrix of all pairs, dense or only where a mask says.
//!
//! One tiled softmax serves three forms: dense (causal if wished), blocks of a compressed-row mask, and ragged groups of
//! queries and keys in any order. All have keys and queries of different number, grouped-query heads, and tensors of any
//! strides; all have their gradients, on the same pairs.
//!
//! Who needs it: Radial Attention (Li et al., NeurIPS 2025) makes masks of blocks, Sparse VideoGen2 (Yang et al., NeurIPS
//! 2025) masks of clusters. What this module does not do: decide what to attend to (rooms `generate`, `lm`).
//!
//! Vectors are those that the machine has, found at run time (`pulp`); threads are those of the caller's rayon pool, and
//! results are the same bytes on any number of them. Sums are in f32, in the order of the keys.
//!
//! ```
//! use tersor_kernels::attention::{Attention, Layout, Mask, Tensor, TensorMut};
//!
//! // Two queries, two keys, one head of width 1; the second key is far ahead for both.
//! let shape = Attention::new(1, 2, 2, 1);
//! let layout = Layout::heads_first(1, 2, 1);
//! let [q, k, v] = [[1.0, 2.0], [0.0, 100.0], [3.0, 5.0]];
//! let tensors = [&q, &k, &v].map(|data| Tensor { data, layout });
//! let (mut out, mut logarithms) = ([0.0; 2], [0.0; 2]);
//! let report = shape
//!     .forward(tensors, &Mask::All, TensorMut { data: &mut out, layout }, Some(&mut logarithms))
//!     .unwrap();
//! assert_eq!((out, report.empty), ([5.0, 5.0], 0));
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | `shape` | sizes, layouts, and what is refused |
//! | `storage` | inputs in f32, f16 or bf16 |
//! | `mask` | which queries see which keys |
//! | `forward` | the tiled softmax |
//! | `step` | its innermost step |
//! | `backward` | its gradients |
//! | `key_tile` | those that a tile of keys has part in |
//! | `merge` | two results over different keys become one |
//! | [`reference`] | the formula in f64, which all is held to |
//! | `finite` | the first number that is not finite |
//! | `exp2` | 2^x in vectors |
//! | `product` | the products on register tiles |
//! | `pack` | rows as the products read them |
//! | `peak` | what the machine's multiply-adds reach at best |
//! | `memory` | memory on cache lines, rows that threads share, the queue of work |

mod backward;
mod exp2;
mod finite;
mod forward;
mod key_tile;
mod mask;
pub(crate) mod memory;
mod merge;
pub(crate) mod pack;
mod peak;
pub(crate) mod product;
pub mod reference;
mod shape;
mod step;
mod storage;

pub use finite::first_not_finite;
pub use mask::{Blocks, Clusters, Mask};
pub use merge::merge;
pub use peak::peak;
pub use shape::{Attention, Error, Layout, Report, Tensor, TensorMut};
pub use storage::Storage;
