//! A small video transformer whose attention can be chosen call by call: what masks are judged by.
//!
//! Published video models have billions of weights; this one has as many as a CPU samples in seconds, and is built alike:
//! patches as tokens, rotary positions in time, rows and columns, modulation by the time of the flow, velocity as its answer.
//! Each of its calls of attention is given away ([`Attend`]), to be dense, sparse, captured or learned through.
//!
//! ```no_run
//! use tersor_generate::DensePolicy;
//! use tersor_generate::video::{Method, Sampler, Sampling, VideoTransformer};
//!
//! let model = VideoTransformer::read("vdit.safetensors")?;
//! let sampler = Sampler { steps: 20, seed: 1, ..Sampler::new(model.config()) };
//! // The first layer and the first five steps read everything, the others what a radial mask leaves.
//! let mut attention = Sampling::new(Method::radial(), DensePolicy { layers: 1, timesteps: 5 });
//! let clip = sampler.sample(&model, None, &mut attention, &mut |_| ())?;
//! clip.to_video().strip(8).write_png("clip.png")?;
//! println!("{:.1} % of all pairs were read", 100.0 * attention.density());
//! # Ok::<(), tersor_generate::Error>(())
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | `transformer` | the model, and its file |
//! | `weights` | tensors in files |
//! | `position` | where a token is, as angles |
//! | `attention` | who attends: a method for each call of a run of sampling, and what it took |
//! | `clip` | pictures as the model takes them |
//! | [`compare`] | methods beside each other on the model's own attention |
//! | `sample` | from noise to a clip |
//! | `lora` | small matrices that are learned beside the frozen ones |
//! | `extend` | clips longer than those that the model learned from, by LoRA |

mod attention;
mod clip;
pub mod compare;
mod extend;
mod lora;
mod position;
mod sample;
mod transformer;
mod weights;

pub use attention::{Attend, Call, Captured, HeadsFirst, Method, Sampling};
pub use clip::Clip;
pub use extend::{Cut, Extended, Extension, HeldOut, Lessons, Recipe, Report};
pub use lora::{Adapters, Lora, Projection};
pub use sample::Sampler;
/// The training ground: a run of [`Extension`] is its `fit`.
pub use tersor_train as train;
pub use transformer::{Config, VideoTransformer};
