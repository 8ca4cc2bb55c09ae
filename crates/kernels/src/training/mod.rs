//! Kernels of training in f32: forward, and the gradients backward, over plain slices.
//!
//! Images are `[images, channels, height, width]`, as Burn and PyTorch have them. Every kernel has a reference that reads
//! like its formula, in its tests, and is held to it and to finite differences. Vectors are those that the machine has,
//! found at run time (`pulp`); threads are rayon's, and no result depends on their number.
//!
//! | file | idea |
//! | --- | --- |
//! | [`convolution`] | 2-d (and so 1-d) convolution, grouped and depthwise, and both its gradients |
//! | `correlation` | the gradient of its weights |
//! | [`padded`] | one image with its padding, laid out so that every tap of a strided window reads a contiguous row |
//! | [`tile`] | the register tiles under convolution |
//! | [`depthwise`] | convolution of each channel by itself |
//! | [`pool`] | largest and mean of windows |
//! | [`activation`] | ReLU, GELU (and by tanh), SiLU, sigmoid, tanh |
//! | [`function`] | exp, tanh and erf that vectorise |
//! | `lanes` | loops a vector at a time |
//! | [`softmax`] | softmax, log-softmax and their cross-entropy |
//! | [`norm`] | layer, group and batch norm |
//! | [`rms`] | norm by the root of the mean square |
//! | [`rotary`] | positions as turns of pairs |
//! | [`attention`] | attention of many heads, without the matrix of all pairs |
//! | [`lstm`] | a layer of long short-term memory over a whole sequence |
//! | [`matrix`] | products of matrices, on the crate `gemm` |
//! | [`packed`] | a matrix packed once, for few rows many times |
//! | [`step`] | a step of SGD, Adam and AdamW in one pass |
//! | `stretch` | what places along a padded axis read, and its copy |

pub mod activation;
pub mod attention;
pub mod convolution;
mod correlation;
pub mod depthwise;
pub mod function;
pub(crate) mod lanes;
pub mod lstm;
pub mod matrix;
pub mod norm;
pub mod packed;
pub mod padded;
pub mod pool;
pub mod rms;
pub mod rotary;
pub mod softmax;
pub mod step;
pub(crate) mod stretch;
pub mod tile;
