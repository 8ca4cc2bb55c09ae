//! Small matrices that are learned beside frozen ones: W' = W + (α / r) B A.
//!
//! A is drawn, B begins at 0, so that nothing changes before the first step; once learned, both can be added to the weights
//! (Hu et al., *LoRA: low-rank adaptation of large language models*, ICLR 2022, section 4.1).

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tersor_train::burn;
use tersor_train::burn::module::{Module, Param};
use tersor_train::burn::tensor::{Device, Tensor, TensorData};
use tersor_train::init::Initial;
use tersor_train::op::linear;

use super::transformer::{Config, VideoTransformer};
use super::weights;
use crate::Error;

/// A linear layer around attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "queries, keys, values and output are what they are called")]
pub enum Projection {
    Q,
    K,
    V,
    O,
}

impl Projection {
    /// All, in the order of files.
    pub const ALL: [Self; 4] = [Self::Q, Self::K, Self::V, Self::O];

    /// Its place in a layer.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Q => "attn.q",
            Self::K => "attn.k",
            Self::V => "attn.v",
            Self::O => "attn.o",
        }
    }
}

impl std::str::FromStr for Projection {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|projection| projection.path().ends_with(name) && name.len() == 1);
        known.ok_or_else(|| Error::parameter("target", name, "q, k, v or o"))
    }
}

/// The size of the change that may be learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Rows of A and columns of B.
    #[serde(rename = "r")]
    pub rank: usize,
    /// α: the change is α / r times B A.
    #[serde(rename = "lora_alpha")]
    pub alpha: f64,
    /// Which layers change.
    #[serde(rename = "target_modules")]
    pub targets: Vec<Projection>,
}

/// Rank 16 with α = 16 on all four, for a model 128 wide; published runs have rank 128 where it is 1,536 and more.
impl Default for Lora {
    fn default() -> Self {
        Self { rank: 16, alpha: 16.0, targets: Projection::ALL.to_vec() }
    }
}

impl Lora {
    fn check(&self, dim: usize) -> Result<(), Error> {
        if self.rank == 0 || self.rank > dim {
            return Err(Error::parameter("rank", self.rank, "from 1 to the width of the model"));
        }
        if !self.alpha.is_finite() || self.alpha <= 0.0 {
            return Err(Error::parameter("alpha", self.alpha, "above 0"));
        }
        let twice = self.targets.iter().enumerate().any(|(at, target)| self.targets[..at].contains(target));
        if self.targets.is_empty() || twice {
            return Err(Error::parameter("targets", format!("{:?}", self.targets), "some of q, k, v, o, each once"));
        }
        Ok(())
    }

    fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// A and B beside one layer, as the product reads them: `[inputs, rank]` and `[rank, outputs]`.
#[derive(Module, Debug)]
struct Adapter {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
}

/// What is learned beside a frozen [`VideoTransformer`].
#[derive(Module, Debug)]
pub struct Adapters {
    /// By layer, then by target.
    layers: Vec<Vec<Adapter>>,
    #[module(skip)]
    lora: Lora,
}

impl Adapters {
    /// Adapters that change nothing yet: A uniform in ±1/√inputs, B zero.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the field.
    pub fn new(config: &Config, lora: Lora, seed: u64) -> Result<Self, Error> {
        lora.check(config.dim)?;
        let mut initial = Initial::new(seed, &Device::flex());
        let mut adapter = || Adapter {
            a: initial.uniform([config.dim, lora.rank], config.dim),
            b: initial.constant([lora.rank, config.dim], 0.0),
        };
        let layers = (0..config.layers).map(|_| lora.targets.iter().map(|_| adapter()).collect()).collect();
        Ok(Self { layers, lora })
    }

    /// Rank, α and targets.
    pub fn lora(&self) -> &Lora {
        &self.lora
    }

    /// What is added to a projection of `x`: (α / r) (x A) B; nothing if it is no target.
    pub(super) fn of(&self, layer: usize, projection: Projection, x: Tensor<3>) -> Option<Tensor<3>> {
        let target = self.lora.targets.iter().position(|&target| target == projection)?;
        let Adapter { a, b } = &self.layers[layer][target];
        Some(linear(linear(x, a.val(), None), b.val() * self.lora.scale(), None))
    }

    /// Writes them as peft names them: `base_model.model.blocks.0.attn.q.lora_A.weight` `[rank, inputs]` and `…lora_B.weight`
    /// `[outputs, rank]`; rank, α and targets are JSON under the key `lora`.
    ///
    /// # Errors
    /// [`Error::Data`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut tensors = Vec::new();
        for (layer, adapters) in self.layers.iter().enumerate() {
            for (target, Adapter { a, b }) in self.lora.targets.iter().zip(adapters) {
                for (part, matrix) in [("A", a), ("B", b)] {
                    let [rows, columns] = matrix.dims();
                    let values = matrix.val().transpose().to_data().try_to_vec::<f32>().expect("adapters are f32");
                    tensors.push((name(layer, *target, part), vec![columns, rows], values));
                }
            }
        }
        let lora = serde_json::to_string(&self.lora).expect("numbers and names are JSON");
        weights::write(path.as_ref(), &tensors, ("lora", lora))
    }

    /// Reads adapters of a model of these sizes. Without `lora` in the file, targets and rank are those of its tensors, and
    /// α is the rank.
    ///
    /// # Errors
    /// [`Error::Data`] if the file cannot be read; [`Error::Model`] naming the tensor that is missing, too much, of another
    /// shape or type, or not finite.
    pub fn read(path: impl AsRef<Path>, config: &Config) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_bytes(path, &weights::bytes(path)?, config)
    }

    /// Reads adapters from the bytes of their file; `path` says in errors where they came from.
    ///
    /// # Errors
    /// [`Error::Model`], as [`read`](Self::read).
    pub fn from_bytes(path: &Path, bytes: &[u8], config: &Config) -> Result<Self, Error> {
        let fault = |place: &str, why: String| Error::Model { file: path.into(), place: place.into(), why };
        let header = |error: safetensors::SafeTensorError| fault("the header", error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(header)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(header)?;
        let lora = match metadata.metadata().as_ref().and_then(|metadata| metadata.get("lora")) {
            Some(text) => serde_json::from_str(text).map_err(|error| fault("lora", error.to_string()))?,
            None => found(&tensors),
        };
        lora.check(config.dim).map_err(|error| fault("lora", error.to_string()))?;
        if tensors.len() != 2 * config.layers * lora.targets.len() {
            let (found, layers, targets) = (tensors.len(), config.layers, lora.targets.len());
            let why = format!("{found} tensors; expected A and B for {targets} targets in each of {layers} layers");
            return Err(fault("the header", why));
        }
        let device = Device::flex();
        let matrix = |layer, target, part, shape: [usize; 2]| {
            let name = name(layer, target, part);
            let view = tensors.tensor(&name).map_err(|_| fault(&name, "it is missing".into()))?;
            if view.shape() != shape {
                return Err(fault(&name, format!("its shape is {:?}; expected {shape:?}", view.shape())));
            }
            let values = weights::numbers(&view).map_err(|why| fault(&name, why))?;
            let lying = Tensor::<2>::from_data(TensorData::new(values, shape), &device).transpose();
            Ok(Param::from_tensor(Tensor::from_data(lying.to_data(), &device)))
        };
        let adapter = |layer, target| {
            let (dim, rank) = (config.dim, lora.rank);
            let (a, b) = (matrix(layer, target, "A", [rank, dim])?, matrix(layer, target, "B", [dim, rank])?);
            Ok(Adapter { a, b })
        };
        let of_layer = |layer| lora.targets.iter().map(|&target| adapter(layer, target)).collect();
        let layers = (0..config.layers).map(of_layer).collect::<Result<_, Error>>()?;
        Ok(Self { layers, lora })
    }
}

/// Rank and targets of a file that does not say them.
fn found(tensors: &SafeTensors<'_>) -> Lora {
    let a = |target| tensors.tensor(&name(0, target, "A")).ok();
    let targets: Vec<_> = Projection::ALL.into_iter().filter(|&target| a(target).is_some()).collect();
    let rank = targets.first().and_then(|&target| a(target)?.shape().first().copied()).unwrap_or(0);
    Lora { rank, alpha: rank as f64, targets }
}

fn name(layer: usize, target: Projection, part: &str) -> String {
    format!("base_model.model.blocks.{layer}.{}.lora_{part}.weight", target.path())
}

impl VideoTransformer {
    /// The model with `adapters` in its weights: W + (α / r) B A.
    pub fn merged(&self, adapters: &Adapters) -> Self {
        self.changed(adapters, 1.0)
    }

    /// The model without the `adapters` that were [merged](Self::merged): W - (α / r) B A.
    pub fn unmerged(&self, adapters: &Adapters) -> Self {
        self.changed(adapters, -1.0)
    }

    fn changed(&self, adapters: &Adapters, sign: f64) -> Self {
        let mut model = self.clone();
        let scale = sign * adapters.lora.scale();
        for (block, adapters_of) in model.blocks.iter_mut().zip(&adapters.layers) {
            for (target, Adapter { a, b }) in adapters.lora.targets.iter().zip(adapters_of) {
                let layer = block.attention.projection_mut(*target);
                let change = a.val().matmul(b.val()) * scale;
                layer.weight = Param::from_tensor(layer.weight.val() + change);
            }
        }
        model
    }
}
