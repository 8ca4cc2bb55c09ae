//! Networks in a microcontroller's memory.
//!
//! A microcontroller has 64 to 512 kB of SRAM and 0.5 to 2 MB of Flash. Whoever ships a network on one must know what it
//! is and needs, and must be able to compute it exactly as the device will. This room reads a `.tflite` (or a JSON +
//! safetensors graph), says both, plans its memory, and holds values against goldens.
//!
//! ```
//! use tersor_tiny::{inspect, network};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Some(file) = tersor_data::shared::file("tiny/resnet8_cifar10_int8.tflite") else { return Ok(()) };
//! let resnet8 = network::read(file)?;
//! let inspection = inspect::inspect(&resnet8);
//! assert_eq!(inspection.macs, 12_501_632);
//! assert_eq!(inspection.lower_bound_bytes, 49_152);
//! assert!(inspection.runnable);
//! # Ok(()) }
//! ```
//!
//! Papers: *MCUNet: Tiny Deep Learning on IoT Devices* (NeurIPS 2020) for the scheduling of memory, *MCUNetV2:
//! Memory-Efficient Patch-based Inference for Tiny Deep Learning* (NeurIPS 2021) for patches.
//!
//! | file | idea |
//! | --- | --- |
//! | [`fit`], [`board`] | does it fit, and if not, what would |
//! | [`inspect`] | operators, costs, live bytes, bounds |
//! | [`plan`] | memory plans: layers, patches, rows; executed and watched |
//! | [`profile`] | live bytes as a picture |
//! | [`input`] | arrays, batches and pictures as a network's input |
//! | [`run`] | running batches and streams; what came out |
//! | [`verify`] | holding values against goldens |
//! | [`emit`] | firmware that runs as a plan says, in C or Rust, verified on an emulated chip |
//! | [`bench`] | the fast engine beside its peers |
//! | [`tour`] | this room's stop on the tour |

pub mod bench;
pub mod board;
pub mod emit;
mod error;
pub mod fit;
pub mod input;
pub mod inspect;
pub mod plan;
pub mod profile;
pub mod run;
pub mod tour;
pub mod verify;

pub use error::Error;
pub use tersor_network as network;
