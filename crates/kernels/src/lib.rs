//! CPU kernels over plain slices.
//!
//! This is the ground floor: no file formats, no graphs, no Burn. Each kernel is a function over slices whose shapes are
//! given beside them; it checks with `debug_assert!` what its caller must have checked once.
//!
//! The int8 kernels compute what TensorFlow Lite Micro's reference kernels compute, to the bit. They are the scalar
//! reference that [`int8::fast`] is held to.
//!
//! ```
//! use tersor_kernels::int8::{Affine, Binary, Range, Rounding};
//! use tersor_kernels::layout::Broadcast;
//!
//! // 0.5 + 0.25 = 0.75, all three tensors at scale 1/128.
//! let q = Affine { scale: 1.0 / 128.0, zero_point: 0 };
//! let add = Binary::sum(q, q, q, Range::FULL, Rounding::Double).unwrap();
//! let mut out = [0i8];
//! add.apply(&[64], &[32], &Broadcast::new(&[1], &[1]).unwrap(), &mut out);
//! assert_eq!(out, [96]);
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | [`window`] | where a sliding window looks: output size, padding, taps |
//! | [`layout`] | moving elements: transpose, slice, pad, broadcast |
//! | [`int8`] | the int8 operators, and the fixed-point arithmetic under them |
//! | [`float`] | the same operators on f32 |
//! | `sparse` | pruned linear layers and convolutions (feature `training`) |
//! | `attention` | attention, dense, block-sparse and ragged, forward and backward (feature `training`) |
//! | `kmeans` | points in clusters (feature `training`) |
//! | `training` | forward and backward in f32, at the machine's speed (feature `training`) |

#[cfg(feature = "training")]
pub mod attention;
pub mod float;
pub mod int8;
#[cfg(feature = "training")]
pub mod kmeans;
pub mod layout;
#[cfg(feature = "training")]
pub mod sparse;
#[cfg(feature = "training")]
pub mod training;
pub mod window;
