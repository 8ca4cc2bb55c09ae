//! The model, and its file.
//!
//! A clip `[frames, channels, height, width]` becomes tokens of p × p pixels. The time of the flow, t = 1000 σ, becomes a
//! vector e; from it, and from a table of each layer, come shift, scale and gate of both halves of the layer:
//!
//! x += gate₁ · o(Attention(LN(x) (1 + scale₁) + shift₁)), x += gate₂ · fc₂(GELU(fc₁(LN(x) (1 + scale₂) + shift₂)))
//!
//! with queries and keys through an RMS norm over all heads, then turned by their positions. The answer is the velocity
//! ε - x of x_σ = (1 - σ) x + σ ε (Peebles and Xie, *Scalable diffusion models with transformers*, ICCV 2023; Lipman et
//! al., *Flow matching for generative modeling*, ICLR 2023).

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tersor_kernels::training::activation::Activation;
use tersor_train::burn;
use tersor_train::burn::module::{Module, Param};
use tersor_train::burn::nn::Linear;
use tersor_train::burn::tensor::{Device, Tensor, TensorData};
use tersor_train::op::{activation, layer_norm, linear, rms_norm, rotary};

use super::attention::Attend;
use super::clip::Clip;
use super::lora::{Adapters, Projection};
use super::position::angles;
use super::weights;
use crate::{Error, Grid};

/// ε of all norms.
const EPSILON: f32 = 1e-6;
/// The period of the slowest of the waves by which a time is told, over 2π.
const SLOWEST: f64 = 10_000.0;
/// More tokens than that in a clip are refused.
const MOST_TOKENS: usize = 1 << 20;

/// The sizes of a model; in its file the JSON under the key `config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Numbers of a token.
    pub dim: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Numbers of a head's query.
    pub head_dim: usize,
    /// Layers.
    pub layers: usize,
    /// Pixels along a side of a token.
    pub patch: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// Frames of the clips that it learned from.
    pub frames: usize,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
    /// θ of rotary positions.
    pub rope_theta: f64,
    /// Numbers of a head that are turned by frame, row and column.
    pub rope_dims: [usize; 3],
    /// Numbers by which a time is told.
    pub timestep_embed: usize,
    /// What it answers: a velocity ε - x.
    pub prediction: String,
    /// What σ is multiplied by to be a time.
    pub timestep_scale: f64,
    /// How far steps of sampling are shifted towards noise: σ = f s / (1 + (f - 1) s).
    pub flow_shift: f64,
}

impl Config {
    /// The tokens of a clip of so many frames.
    pub fn grid(&self, frames: usize) -> Grid {
        Grid { frames, height: self.height / self.patch, width: self.width / self.patch }
    }

    /// The same, if it is not empty and not too long to be sampled.
    ///
    /// # Errors
    /// [`Error::Parameter`] without frames, [`Error::TooLarge`].
    pub(super) fn bounded_grid(&self, frames: usize) -> Result<Grid, Error> {
        let grid = self.grid(frames);
        if grid.tokens()? > MOST_TOKENS {
            let most = MOST_TOKENS / (grid.height * grid.width);
            return Err(Error::TooLarge { field: "frames", value: frames.to_string(), most: most as u64, hint: "" });
        }
        Ok(grid)
    }

    /// Numbers of a token's pixels.
    fn pixels(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Sizes that fit each other; the reason if they do not.
    fn check(&self) -> Result<(), String> {
        let Self { dim, heads, head_dim, patch, height, width, rope_dims, timestep_embed, .. } = *self;
        let sizes =
            [dim, heads, head_dim, self.layers, patch, self.channels, self.frames, height, width, timestep_embed];
        if sizes.iter().any(|&size| size == 0 || size > 1 << 16) {
            return Err("a size is 0, or above 65536".into());
        }
        if heads * head_dim != dim {
            return Err(format!("{heads} heads of {head_dim} are not {dim}"));
        }
        if rope_dims.iter().any(|dims| !dims.is_multiple_of(2) || *dims > head_dim)
            || rope_dims.iter().sum::<usize>() != head_dim
        {
            return Err(format!("rope_dims {rope_dims:?} are no pairs that add up to {head_dim}"));
        }
        if !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            return Err(format!("patches of {patch} do not fill {height} x {width} pixels"));
        }
        if !timestep_embed.is_multiple_of(2) {
            return Err(format!("timestep_embed is {timestep_embed}, which is odd"));
        }
        let numbers = [self.rope_theta, self.timestep_scale, self.flow_shift];
        if numbers.iter().any(|number| !number.is_finite() || *number <= 0.0) {
            return Err("rope_theta, timestep_scale or flow_shift is not above 0".into());
        }
        // The other sign would sample noise from a clip.
        if self.prediction != "flow velocity eps-x0" {
            return Err(format!("it predicts `{}`; known: flow velocity eps-x0", self.prediction));
        }
        Ok(())
    }
}

/// A video transformer. Sequences are one clip each.
#[derive(Module, Debug)]
pub struct VideoTransformer {
    patch: Linear,
    /// Of the time: to e, and from e to the six vectors of every layer.
    t1: Linear,
    t2: Linear,
    tmod: Linear,
    pub(super) blocks: Vec<Block>,
    head_mod: Param<Tensor<2>>,
    head: Linear,
    #[module(skip)]
    config: Config,
}

/// A layer.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub attention: SelfAttention,
    fc1: Linear,
    fc2: Linear,
    /// What this layer adds to shift, scale and gate: `[6, dim]`.
    modulation: Param<Tensor<2>>,
}

/// The projections around attention.
#[derive(Module, Debug)]
pub(super) struct SelfAttention {
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub o: Linear,
    norm_q: Param<Tensor<1>>,
    norm_k: Param<Tensor<1>>,
}

impl SelfAttention {
    pub fn projection(&self, projection: Projection) -> &Linear {
        match projection {
            Projection::Q => &self.q,
            Projection::K => &self.k,
            Projection::V => &self.v,
            Projection::O => &self.o,
        }
    }

    pub fn projection_mut(&mut self, projection: Projection) -> &mut Linear {
        match projection {
            Projection::Q => &mut self.q,
            Projection::K => &mut self.k,
            Projection::V => &mut self.v,
            Projection::O => &mut self.o,
        }
    }
}

impl VideoTransformer {
    /// Its sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The velocity of a noised clip at the time σ, each call of attention made by `attend`, with what `adapters` add.
    ///
    /// # Errors
    /// [`Error::Shape`] for pictures of another size than the model's, and what `attend` says.
    pub fn velocity<A: Attend>(
        &self,
        clip: &Clip,
        sigma: f64,
        adapters: Option<&Adapters>,
        attend: &mut A,
    ) -> Result<Clip, Error> {
        let velocity = self.velocity_tensor(clip.to_tensor(&self.device()), sigma, adapters, attend)?;
        Ok(Clip::from_tensor(&velocity))
    }

    pub(super) fn device(&self) -> Device {
        self.head_mod.val().device()
    }

    pub(super) fn velocity_tensor<A: Attend>(
        &self,
        clip: Tensor<4>,
        sigma: f64,
        adapters: Option<&Adapters>,
        attend: &mut A,
    ) -> Result<Tensor<4>, Error> {
        let Config { dim, patch, channels, height, width, .. } = self.config;
        let [frames, found @ ..] = clip.dims();
        let grid = self.config.bounded_grid(frames)?;
        if found != [channels, height, width] {
            let expected = format!("[frames, {channels}, {height}, {width}]");
            return Err(Error::Shape { what: "the clip".into(), found: clip.dims().to_vec(), expected });
        }
        let (rows, columns) = (grid.height, grid.width);
        let tokens = clip.reshape([frames, channels, rows, patch, columns, patch]).permute([0, 2, 4, 1, 3, 5]);
        let tokens = tokens.reshape([1, frames * rows * columns, self.config.pixels()]);
        let positions = angles(&self.config, grid).into();

        let e = self.time(sigma);
        let of_time = through(&self.tmod, activation(Activation::Silu, e.clone())).reshape([6, dim]);
        let mut x = through(&self.patch, tokens);
        for (layer, block) in self.blocks.iter().enumerate() {
            let modulation = of_time.clone() + block.modulation.val();
            let row = |at| modulation.clone().narrow(0, at, 1).reshape([dim]);
            let attention = &block.attention;
            let project = |projection: Projection, x: Tensor<3>| {
                let y = through(attention.projection(projection), x.clone());
                match adapters.and_then(|adapters| adapters.of(layer, projection, x)) {
                    Some(change) => y + change,
                    None => y,
                }
            };
            let y = layer_norm(x.clone(), row(1) + 1.0, row(0), EPSILON);
            let normed = |projection, norm: &Param<Tensor<1>>| {
                rotary(rms_norm(project(projection, y.clone()), norm.val(), EPSILON), &positions)
            };
            let (q, k) = (normed(Projection::Q, &attention.norm_q), normed(Projection::K, &attention.norm_k));
            let attended = attend.attend(layer, [q, k, project(Projection::V, y)])?;
            x = x + project(Projection::O, attended) * row(2).unsqueeze();
            let y = layer_norm(x.clone(), row(4) + 1.0, row(3), EPSILON);
            let y = through(&block.fc2, activation(Activation::GeluTanh, through(&block.fc1, y)));
            x = x + y * row(5).unsqueeze();
        }
        let last = e + self.head_mod.val();
        let row = |at| last.clone().narrow(0, at, 1).reshape([dim]);
        let y = through(&self.head, layer_norm(x, row(1) + 1.0, row(0), EPSILON));
        let pictures = y.reshape([frames, rows, columns, channels, patch, patch]).permute([0, 3, 1, 4, 2, 5]);
        Ok(pictures.reshape([frames, channels, height, width]))
    }

    /// e, `[1, dim]`: the time told by cosines and sines of falling frequency, through two layers.
    fn time(&self, sigma: f64) -> Tensor<2> {
        let half = self.config.timestep_embed / 2;
        let t = self.config.timestep_scale * sigma;
        let phase = |k: usize| t * (-SLOWEST.ln() * k as f64 / half as f64).exp();
        let cosines = (0..half).map(|k| phase(k).cos() as f32);
        let waves: Vec<f32> = cosines.chain((0..half).map(|k| phase(k).sin() as f32)).collect();
        let waves = Tensor::<1>::from_floats(waves.as_slice(), &self.device()).reshape([1, 2 * half]);
        through(&self.t2, activation(Activation::Silu, through(&self.t1, waves)))
    }

    /// Reads a model; weights in f16, bf16 or f32, linear ones as `[outputs, inputs]`.
    ///
    /// # Errors
    /// [`Error::Data`] if the file cannot be read; [`Error::Model`] naming the tensor that is missing, too much, of another
    /// shape or type, or not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_bytes(path, &weights::bytes(path)?)
    }

    /// Reads a model from the bytes of its file; `path` says in errors where they came from.
    ///
    /// # Errors
    /// [`Error::Model`], as [`read`](Self::read).
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let fault = |place: &str, why: String| Error::Model { file: path.into(), place: place.into(), why };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| fault("the header", error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get("config"));
        let text = text.ok_or_else(|| fault("the header", "it has no `config`, the model's sizes as JSON".into()))?;
        let config: Config = serde_json::from_str(text).map_err(|error| fault("config", error.to_string()))?;
        config.check().map_err(|why| fault("config", why))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| fault("the header", error.to_string()))?;
        let mut reader = Reader { tensors, taken: 0, device: Device::flex() };
        let model = reader.model(&config).map_err(|(place, why)| fault(&place, why))?;
        if reader.taken != reader.tensors.len() {
            let why = format!("{} tensors where the config has {}", reader.tensors.len(), reader.taken);
            return Err(fault("the header", why));
        }
        Ok(model)
    }

    /// Writes the model in f32, as [`read`](Self::read) takes it; whole or not at all.
    ///
    /// # Errors
    /// [`Error::Data`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut tensors = Vec::new();
        let mut push = |name: String, shape: Vec<usize>, data: TensorData| {
            tensors.push((name, shape, data.try_to_vec::<f32>().expect("weights are f32")));
        };
        self.visit(&mut |name, part| match part {
            Part::Linear(layer) => {
                let [inputs, outputs] = layer.weight.dims();
                push(format!("{name}.weight"), vec![outputs, inputs], layer.weight.val().transpose().to_data());
                if let Some(bias) = &layer.bias {
                    push(format!("{name}.bias"), vec![outputs], bias.val().to_data());
                }
            }
            Part::Table(table) => push(name, table.dims().to_vec(), table.val().to_data()),
            Part::Norm(norm) => push(format!("{name}.weight"), norm.dims().to_vec(), norm.val().to_data()),
        });
        let config = serde_json::to_string(&self.config).expect("sizes are JSON");
        weights::write(path.as_ref(), &tensors, ("config", config))
    }

    /// All that is learned, by name.
    fn visit<'a>(&'a self, f: &mut dyn FnMut(String, Part<'a>)) {
        let layers = [("patch", &self.patch), ("t1", &self.t1), ("t2", &self.t2), ("tmod", &self.tmod)];
        for (name, layer) in layers.into_iter().chain([("head", &self.head)]) {
            f(name.into(), Part::Linear(layer));
        }
        f("head_mod".into(), Part::Table(&self.head_mod));
        for (index, block) in self.blocks.iter().enumerate() {
            let name = |part: &str| format!("blocks.{index}.{part}");
            for projection in Projection::ALL {
                let layer = block.attention.projection(projection);
                f(name(projection.path()), Part::Linear(layer));
            }
            f(name("attn.norm_q"), Part::Norm(&block.attention.norm_q));
            f(name("attn.norm_k"), Part::Norm(&block.attention.norm_k));
            f(name("fc1"), Part::Linear(&block.fc1));
            f(name("fc2"), Part::Linear(&block.fc2));
            f(name("mod"), Part::Table(&block.modulation));
        }
    }
}

/// x w + b.
pub(super) fn through<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    linear(x, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}

/// Something that is learned.
enum Part<'a> {
    Linear(&'a Linear),
    Table(&'a Param<Tensor<2>>),
    Norm(&'a Param<Tensor<1>>),
}

/// Takes a model out of its file; errors are a place and a reason.
struct Reader<'a> {
    tensors: SafeTensors<'a>,
    taken: usize,
    device: Device,
}

type Fault = (String, String);

impl Reader<'_> {
    fn model(&mut self, config: &Config) -> Result<VideoTransformer, Fault> {
        let &Config { dim, layers, timestep_embed, .. } = config;
        let pixels = config.pixels();
        Ok(VideoTransformer {
            patch: self.linear("patch", pixels, dim)?,
            t1: self.linear("t1", timestep_embed, dim)?,
            t2: self.linear("t2", dim, dim)?,
            tmod: self.linear("tmod", dim, 6 * dim)?,
            blocks: (0..layers).map(|layer| self.block(layer, dim)).collect::<Result<_, _>>()?,
            head_mod: self.table("head_mod", [2, dim])?,
            head: self.linear("head", dim, pixels)?,
            config: config.clone(),
        })
    }

    fn block(&mut self, layer: usize, dim: usize) -> Result<Block, Fault> {
        let name = |part: &str| format!("blocks.{layer}.{part}");
        let hidden = self.tensors.tensor(&name("fc1.bias")).map_or(0, |view| view.shape().iter().product());
        let mut project = |projection: Projection| self.linear(&name(projection.path()), dim, dim);
        let [q, k, v, o] = [Projection::Q, Projection::K, Projection::V, Projection::O].map(&mut project);
        let (q, k, v, o) = (q?, k?, v?, o?);
        let norm_q = self.vector(&name("attn.norm_q.weight"), dim)?;
        let norm_k = self.vector(&name("attn.norm_k.weight"), dim)?;
        Ok(Block {
            attention: SelfAttention { q, k, v, o, norm_q, norm_k },
            fc1: self.linear(&name("fc1"), dim, hidden)?,
            fc2: self.linear(&name("fc2"), hidden, dim)?,
            modulation: self.table(&name("mod"), [6, dim])?,
        })
    }

    /// A linear layer, whose weights lie as `[outputs, inputs]` in the file.
    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, Fault> {
        let weight = self.values(&format!("{name}.weight"), &[outputs, inputs])?;
        let weight = Tensor::<2>::from_data(TensorData::new(weight, [outputs, inputs]), &self.device).transpose();
        // In one piece, as the product reads it.
        let weight = Tensor::from_data(weight.to_data(), &self.device);
        let bias = self.vector(&format!("{name}.bias"), outputs)?;
        Ok(Linear { weight: Param::from_tensor(weight), bias: Some(bias) })
    }

    fn table(&mut self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Fault> {
        let values = self.values(name, &shape)?;
        Ok(Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device)))
    }

    fn vector(&mut self, name: &str, count: usize) -> Result<Param<Tensor<1>>, Fault> {
        let values = self.values(name, &[count])?;
        Ok(Param::from_tensor(Tensor::from_data(TensorData::new(values, [count]), &self.device)))
    }

    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Fault> {
        let fault = |why: String| (name.to_owned(), why);
        let view = self.tensors.tensor(name).map_err(|_| fault("it is missing".into()))?;
        if view.shape() != shape {
            return Err(fault(format!("its shape is {:?}; expected {shape:?}", view.shape())));
        }
        self.taken += 1;
        weights::numbers(&view).map_err(fault)
    }
}
