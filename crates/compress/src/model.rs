//! A network as a file: ONNX, or safetensors with its weights dense or sparse.
//!
//! # Layout of a `.safetensors` file
//!
//! - A tensor `NAME` that is stored dense is there under its name.
//! - A tensor `NAME` that is stored sparse is there as `NAME.values` (its weights that are not 0, in row-major order) and
//!   `NAME.gaps` (u8: the zeros before each, in codes of a few bits; see [`crate::relative`]).
//! - `tersor.graph` (u8), where the operators are known: the network as ONNX, without the elements of the tensors above.
//! - The metadata key `tersor` is JSON: `{"version": 1, "network": …, "sparse": {NAME: {"shape": […], "width": bits}},
//!   "normalisation": {"mean": […], "deviation": […]}}`.
//!
//! A `.safetensors` file from elsewhere is a set of tensors without a graph: its weights can be pruned and stored, and
//! that is all.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tersor_data::Elements;
use tersor_network::operator::Operator;
use tersor_network::{Network, onnx};
use tersor_train::loader::Normalisation;

use crate::Error;
use crate::relative::Gaps;
use crate::weights::{Weight, weights_of, with_values};

/// A network, or at least its weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// What errors and tables call it.
    pub name: String,
    /// How the pixels become numbers that it was taught with, if that is known.
    pub normalisation: Option<Normalisation>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// All operators are known.
    Network(Box<Network>),
    /// ONNX with operators that are not known here, and why they are not. All in the file but weights stays.
    Onnx(Box<onnx::File>, String),
    /// Tensors without a graph.
    Tensors(Vec<Stored>),
}

/// A tensor as it lies in a file.
#[derive(Debug, Clone)]
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Safetensors, with zeros.
    Dense,
    /// Safetensors, without zeros where that is smaller.
    Sparse,
    /// ONNX, with zeros.
    Onnx,
}

impl Form {
    /// The form that a file's name asks for: `.onnx`, otherwise sparse.
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("onnx")) {
            Self::Onnx
        } else {
            Self::Sparse
        }
    }
}

impl Form {
    /// The same kind of file, with zeros.
    pub fn dense(self) -> Self {
        if self == Self::Sparse { Self::Dense } else { self }
    }
}

const GRAPH: &str = "tersor.graph";
const ABOUT: &str = "tersor";
const NO_GRAPH: &str = "the file holds tensors and no graph";
const VERSION: u32 = 1;
/// Elements of sparse tensors for each byte of their file, at most: a small file must not ask for any amount of memory. A
/// tensor with fewer weights than that is stored dense.
const SPARSEST: usize = 1024;

#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    version: u32,
    network: String,
    sparse: BTreeMap<String, Sparse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normalisation: Option<Normalisation>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sparse {
    shape: Vec<usize>,
    width: u32,
}

impl From<Network> for Model {
    fn from(network: Network) -> Self {
        Self { name: network.name.clone(), normalisation: None, content: Content::Network(Box::new(network)) }
    }
}

impl Model {
    /// Reads `.onnx`, and anything else as `.safetensors`.
    ///
    /// # Errors
    /// [`Error::Data`] if the file cannot be read, [`Error::Network`] or [`Error::Malformed`] naming what is wrong in it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read_for(path, &[])
    }

    /// As [`read`](Self::read), for an input of this shape: axes beyond the first that an ONNX file leaves open for its only
    /// input are as long as those of `shape`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_for(path: impl AsRef<Path>, shape: &[usize]) -> Result<Self, Error> {
        let path = path.as_ref();
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        let bytes = fs::read(path).map_err(|source| tersor_data::Error::Read { path: path.into(), source })?;
        Self::decode(path, name, &bytes, shape)
    }

    /// Reads the bytes of a file; `path` is what errors call it, and its suffix says of what kind it is.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::decode(path, path.display().to_string(), bytes, &[])
    }

    fn of_onnx(name: String, bytes: &[u8], file: onnx::File, shape: &[usize]) -> Result<Self, Error> {
        let network = match &file.inputs()[..] {
            // `shape` may be that of a batch, or of one input without the first axis.
            [(input, axes)]
                if axes.iter().skip(1).any(Option::is_none)
                    && matches!(axes.len().wrapping_sub(shape.len()), 0 | 1) =>
            {
                let lead = axes.len() - shape.len();
                let length =
                    |(at, axis): (usize, &Option<usize>)| axis.unwrap_or(if at == 0 { 1 } else { shape[at - lead] });
                let shape: Vec<usize> = axes.iter().enumerate().map(length).collect();
                onnx::from_bytes_with_inputs(&name, bytes, &[(*input, &shape[..])])
            }
            _ => onnx::from_bytes(&name, bytes),
        };
        let content = match network {
            Ok(network) => match unknown(&network) {
                None => Content::Network(Box::new(network)),
                Some(why) => Content::Onnx(Box::new(file), why),
            },
            Err(error) => Content::Onnx(Box::new(file), error.to_string()),
        };
        Ok(Self { name, normalisation: None, content })
    }

    fn decode(path: &Path, name: String, bytes: &[u8], shape: &[usize]) -> Result<Self, Error> {
        if Form::of(path) == Form::Onnx {
            let file = onnx::File::from_bytes(&name, bytes)?;
            return Self::of_onnx(name, bytes, file, shape);
        }
        let malformed = |place: &str, why: String| Error::malformed(path, place, why);
        let header = |error: safetensors::SafeTensorError| malformed("header", error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(header)?;
        let about = metadata.metadata().as_ref().and_then(|texts| texts.get(ABOUT));
        let about = about.map(|text| serde_json::from_str::<About>(text)).transpose();
        // Another program of the family may have written the key: then these are tensors like any others.
        let about = about.unwrap_or_default().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes).map_err(header)?;
        let mut stored = Vec::new();
        let mut left = bytes.len().saturating_mul(SPARSEST);
        for (tensor, sparse) in &about.sparse {
            let fault = |why: String| malformed(tensor, why);
            let count = sparse.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= left);
            let count = count.ok_or_else(|| {
                fault(format!(
                    "a shape of {:?} is more than the {SPARSEST} elements that a byte of the file may stand for",
                    sparse.shape
                ))
            })?;
            left -= count;
            let part = |part: &str| {
                let name = format!("{tensor}.{part}");
                file.tensor(&name).map_err(|_| fault(format!("`{name}` is missing")))
            };
            let (values, gaps) = (part("values")?, part("gaps")?);
            let kept = numbers(values.dtype(), values.data())
                .ok_or_else(|| fault(format!("values of type {:?} are no real numbers", values.dtype())))?;
            let placed =
                Gaps { width: sparse.width, bytes: gaps.data().to_vec() }.place(&kept, count).map_err(fault)?;
            let bytes = bytes_of(values.dtype(), &placed).ok_or_else(|| fault("no real numbers".into()))?;
            stored.push(Stored { name: tensor.clone(), dtype: values.dtype(), shape: sparse.shape.clone(), bytes });
        }
        let mut graph = None;
        for (tensor, view) in file.tensors() {
            let part_of_sparse = |part: &str| tensor.strip_suffix(part).is_some_and(|of| about.sparse.contains_key(of));
            if tensor == GRAPH {
                graph = Some(view.data().to_vec());
            } else if !part_of_sparse(".values") && !part_of_sparse(".gaps") {
                if about.sparse.contains_key(&tensor) {
                    return Err(malformed(&tensor, "is there both dense and sparse".into()));
                }
                let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
                stored.push(Stored { name: tensor, dtype, shape, bytes });
            }
        }
        let Some(graph) = graph else {
            return Ok(Self { name, normalisation: about.normalisation, content: Content::Tensors(stored) });
        };
        let mut elements = BTreeMap::new();
        for tensor in stored {
            let values = numbers(tensor.dtype, &tensor.bytes);
            let values = values.ok_or_else(|| malformed(&tensor.name, format!("is of type {:?}", tensor.dtype)))?;
            elements.insert(tensor.name, values);
        }
        let mut network = onnx::from_graph(&name, &graph, elements)?;
        if !about.network.is_empty() {
            network.name = about.network;
        }
        if let Some(why) = unknown(&network) {
            return Err(malformed(GRAPH, why));
        }
        Ok(Self { name, normalisation: about.normalisation, content: Content::Network(Box::new(network)) })
    }

    /// The network, if all its operators are known.
    ///
    /// # Errors
    /// [`Error::NoNetwork`] saying what it was wanted for.
    pub fn network(&self, what: &'static str) -> Result<&Network, Error> {
        match &self.content {
            Content::Network(network) => Ok(network),
            Content::Onnx(_, why) => Err(self.no_network(what, why)),
            Content::Tensors(_) => Err(self.no_network(what, NO_GRAPH)),
        }
    }

    fn no_network(&self, what: &'static str, why: &str) -> Error {
        Error::NoNetwork { name: self.name.clone(), what, why: why.into() }
    }

    /// The weights that can be pruned: those of convolutions and linear layers; of a file without a known graph, every
    /// tensor of real numbers with two axes or more.
    ///
    /// # Errors
    /// [`Error::Network`] if the elements of a tensor cannot be read.
    pub fn weights(&self) -> Result<Vec<Weight>, Error> {
        match &self.content {
            Content::Network(network) => Ok(weights_of(network)),
            Content::Onnx(file, _) => {
                let weight = |weight: onnx::Weight| {
                    let values = file.values(&weight.name)?;
                    Ok(Weight { name: weight.name, shape: weight.shape, values })
                };
                file.weights().map(weight).collect()
            }
            Content::Tensors(tensors) => {
                let matrices = tensors.iter().filter(|tensor| tensor.shape.len() >= 2);
                let weight = |tensor: &Stored| {
                    let values = numbers(tensor.dtype, &tensor.bytes)?;
                    Some(Weight { name: tensor.name.clone(), shape: tensor.shape.clone(), values })
                };
                Ok(matrices.filter_map(weight).collect())
            }
        }
    }

    /// The model with other elements for some tensors.
    ///
    /// # Errors
    /// [`Error::Tensor`] or [`Error::Network`] naming a tensor that is not there or has another number of elements.
    pub fn with_values(&self, values: &BTreeMap<String, Vec<f32>>) -> Result<Self, Error> {
        let content = match &self.content {
            Content::Network(network) => Content::Network(Box::new(with_values(network, values)?)),
            Content::Onnx(file, why) => {
                let mut file = file.clone();
                for (name, values) in values {
                    file.replace(name, values)?;
                }
                Content::Onnx(file, why.clone())
            }
            Content::Tensors(tensors) => {
                let mut tensors = tensors.clone();
                for (name, values) in values {
                    let fault =
                        |why: &str| Error::Tensor { name: self.name.clone(), tensor: name.clone(), why: why.into() };
                    let tensor = tensors.iter_mut().find(|tensor| tensor.name == *name);
                    let tensor = tensor.ok_or_else(|| fault("the file has no such tensor"))?;
                    let bytes = bytes_of(tensor.dtype, values).filter(|bytes| bytes.len() == tensor.bytes.len());
                    tensor.bytes = bytes.ok_or_else(|| fault("has another type or number of elements"))?;
                }
                Content::Tensors(tensors)
            }
        };
        Ok(Self { name: self.name.clone(), normalisation: self.normalisation.clone(), content })
    }

    /// Another network, taught on the same pictures.
    pub fn with_network(&self, network: Network) -> Self {
        Self { normalisation: self.normalisation.clone(), ..Self::from(network) }
    }

    /// The bytes of the model in a form.
    ///
    /// # Errors
    /// [`Error::NoNetwork`] if ONNX is asked for and there is no graph; [`Error::Network`] for what ONNX cannot say.
    pub fn encode(&self, form: Form) -> Result<Vec<u8>, Error> {
        match (&self.content, form) {
            (Content::Onnx(file, _), Form::Onnx) => Ok(file.to_bytes()),
            (Content::Network(network), Form::Onnx) => Ok(onnx::write(network)?),
            (Content::Tensors(_), Form::Onnx) => Err(self.no_network("ONNX", NO_GRAPH)),
            (Content::Network(network), _) => {
                let (graph, left_out) = onnx::write_graph(network)?;
                let constants = network.main().tensors.iter().filter(|tensor| left_out.contains(&tensor.name));
                let constants = constants.filter_map(|tensor| match tensor.constant.as_deref() {
                    Some(Elements::F32(values)) => Some(Stored {
                        name: tensor.name.clone(),
                        dtype: Dtype::F32,
                        shape: tensor.shape.clone(),
                        bytes: values.iter().flat_map(|w| w.to_le_bytes()).collect(),
                    }),
                    _ => None,
                });
                let mut tensors: Vec<Stored> = constants.collect();
                let shape = vec![graph.len()];
                tensors.push(Stored { name: GRAPH.into(), dtype: Dtype::U8, shape, bytes: graph });
                self.safetensors(&network.name, &tensors, form)
            }
            (Content::Onnx(_, why), _) => Err(self.no_network("safetensors", why)),
            (Content::Tensors(tensors), _) => self.safetensors(&self.name, tensors, form),
        }
    }

    fn safetensors(&self, network: &str, tensors: &[Stored], form: Form) -> Result<Vec<u8>, Error> {
        let mut about = About {
            version: VERSION,
            network: network.into(),
            normalisation: self.normalisation.clone(),
            ..About::default()
        };
        let mut parts: Vec<Stored> = Vec::new();
        for tensor in tensors {
            match (form == Form::Sparse).then(|| sparse(tensor)).flatten() {
                Some((width, two)) => {
                    about.sparse.insert(tensor.name.clone(), Sparse { shape: tensor.shape.clone(), width });
                    parts.extend(two);
                }
                None => parts.push(tensor.clone()),
            }
        }
        let fault = |tensor: &str, why: String| Error::Tensor { name: self.name.clone(), tensor: tensor.into(), why };
        let mut views = Vec::new();
        for part in &parts {
            let view = TensorView::new(part.dtype, part.shape.clone(), &part.bytes);
            views.push((part.name.as_str(), view.map_err(|error| fault(&part.name, error.to_string()))?));
        }
        let text = serde_json::to_string(&about).map_err(|error| fault(ABOUT, error.to_string()))?;
        let about = HashMap::from([(ABOUT.to_owned(), text)]);
        safetensors::serialize(views, Some(about)).map_err(|error| fault("all together", error.to_string()))
    }

    /// Writes the model, whole or not at all, and says how many bytes it takes.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and [`Error::Data`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, form: Form) -> Result<u64, Error> {
        let bytes = self.encode(form)?;
        tersor_data::atomic::write(path, |file| file.write_all(&bytes))?;
        Ok(bytes.len() as u64)
    }
}

/// Why a network is not fully known: its first unknown operator.
fn unknown(network: &Network) -> Option<String> {
    network.main().nodes.iter().enumerate().find_map(|(index, node)| match &node.operator {
        Operator::Other { name, .. } => Some(format!("operator {index} ({name}) is not known here")),
        _ => None,
    })
}

/// A tensor in its sparse parts, if they are smaller, and the width of its codes.
fn sparse(tensor: &Stored) -> Option<(u32, [Stored; 2])> {
    if tensor.shape.len() < 2 {
        return None;
    }
    let values = numbers(tensor.dtype, &tensor.bytes)?;
    let kept: Vec<f32> = values.iter().copied().filter(|&w| w != 0.0).collect();
    let gaps = Gaps::of(&values);
    let bytes = bytes_of(tensor.dtype, &kept)?;
    let size = bytes.len() + gaps.bytes.len();
    if size >= tensor.bytes.len() || values.len() / SPARSEST > size {
        return None;
    }
    let part = |part: &str, dtype, count, bytes| Stored {
        name: format!("{}.{part}", tensor.name),
        dtype,
        shape: vec![count],
        bytes,
    };
    let (count, codes) = (kept.len(), gaps.bytes.len());
    Some((gaps.width, [part("values", tensor.dtype, count, bytes), part("gaps", Dtype::U8, codes, gaps.bytes)]))
}

/// Elements as single-precision numbers; `None` if they are no real numbers.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        _ => return None,
    })
}

/// The bytes of numbers in a type of real numbers.
fn bytes_of(dtype: Dtype, values: &[f32]) -> Option<Vec<u8>> {
    Some(match dtype {
        Dtype::F32 => values.iter().flat_map(|w| w.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&w| f16::from_f32(w).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|&w| bf16::from_f32(w).to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|&w| f64::from(w).to_le_bytes()).collect(),
        _ => return None,
    })
}
