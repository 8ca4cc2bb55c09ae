//! The training ground: what every training run shares, on Burn.
//!
//! A run must be worth trusting and cheap to lose. So all of it is a value: the recipe ([`fit::Fit`]: rate, schedule,
//! optimiser, clipping, early stop), the place in the data ([`loader::Position`]) and the state of the optimiser are
//! saved together ([`checkpoint`]), and a run that is killed and resumed ends with the bits of one that was not.
//! Everything random is drawn from (seed, place), on any number of threads.
//!
//! ```
//! use std::sync::Arc;
//! use burn::tensor::Device;
//! use tersor_data::Examples;
//! use tersor_train::augment::Augment;
//! use tersor_train::fit::{Data, Fit};
//! use tersor_train::init::Initial;
//! use tersor_train::loader::Pictures;
//! use tersor_train::model::{Classification, LeNet5};
//! use tersor_train::optimizer::Choice;
//!
//! // Two pictures, black and white, told apart after a few steps.
//! let pixels = [vec![0; 28 * 28], vec![255; 28 * 28]].concat();
//! let examples = Examples::new([1, 28, 28], pixels, vec![0, 1], vec!["black".into(), "white".into()]).ok_or("pixels")?;
//! let train = Arc::new(Pictures::training(Arc::new(examples), vec![0, 1], 2, Augment::default(), 1)?);
//!
//! let fit = Fit { epochs: 12, rate: 1e-2, optimizer: Choice::adamw(0.0), ..Fit::default() };
//! let network = LeNet5::new(2, &mut Initial::new(1, &Device::flex()));
//! let data = Data { train, validation: None, threads: 0 };
//! let trained = fit.run(&Classification::new(), network, &data, None, &mut ())?;
//! assert_eq!(trained.history[11].train.accuracy, Some(1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! | file | its one idea |
//! | --- | --- |
//! | `fit.rs` | the loop, and the traits that a task and an observer implement |
//! | `schedule.rs` | the learning rate over a run, a function of the step |
//! | `optimizer.rs` | the choice of an optimiser, clipping, the optimiser's state by name |
//! | `metric.rs`, `stop.rs` | mean loss and accuracy; what is best, and when to stop |
//! | `checkpoint.rs` | a run on disk, whole at every moment |
//! | `weights.rs` | a module's tensors by name, in safetensors |
//! | `init.rs` | initial weights from a seed of their own |
//! | `log.rs`, `curve.rs` | an epoch as a line of JSON; a run as CSV and SVG |
//! | `loader.rs`, `augment.rs` | seeded batches, made ahead on other threads |
//! | `op/` | our kernels as differentiable functions of Burn's tensors; steps of SGD and Adam as its optimisers |
//! | `nn.rs` | Burn's modules, run by our kernels or its own |
//! | `pool.rs` | work on a thread of the pool itself |
//! | `probe.rs` | four networks by which training is measured |
//! | `bench.rs` | their steps by our kernels, Burn's and PyTorch's |
//! | `dual.rs` | gradients of functions of gradients |
//! | `model/` | LeNet-5, ResNet-20, and the task of classification |
//! | `tour.rs` | the stop on the tour: digits learned in a few seconds |
//! | `error.rs` | [`Error`], one for the crate |

pub mod augment;
pub mod bench;
pub mod checkpoint;
pub mod curve;
pub mod dual;
mod error;
pub mod fit;
pub mod init;
pub mod loader;
pub mod log;
pub mod metric;
pub mod model;
pub mod nn;
pub mod op;
pub mod optimizer;
pub mod pool;
pub mod probe;
pub mod schedule;
pub mod stop;
pub mod tour;
pub mod weights;

pub use burn;
pub use error::Error;
