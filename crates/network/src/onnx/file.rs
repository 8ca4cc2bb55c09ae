//! The file as it stands, for those who change weights only.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use onnx_schema::{ModelProto, NodeProto, TensorProto};
use prost::Message;

use super::{bytes, tensor};
use crate::error::Error;

/// A decoded `.onnx` file: weights can be read and replaced, all else is kept, unknown operators included.
///
/// Its weights are the floating-point initialisers of the main graph and what its `Constant` nodes hold (some exporters
/// keep all weights there), under the name of the value that they give. Those within the branches of control flow are
/// kept, but not listed. Fields that ONNX 1.23's schema does not know are lost.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    name: String,
    model: ModelProto,
    places: HashMap<String, Place>,
    listed: Vec<Weight>,
}

/// Where a floating-point constant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Initialiser(usize),
    Constant { node: usize, attribute: usize },
}

/// A weight of a [`File`]: a floating-point constant of two axes or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The name of its value in the graph.
    pub name: String,
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// Bytes that one element takes in the file: 2 (float16, bfloat16), 4 or 8.
    pub element_bytes: usize,
    /// The operators that read it, as `Conv`, each once, in the file's order.
    pub readers: Vec<String>,
}

impl Weight {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

impl File {
    /// Reads a `.onnx` file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Malformed`] naming the tensor at fault: a name that is given twice, a shape that its
    /// data does not have, external data.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_bytes(&path.display().to_string(), &bytes::of_file(path)?)
    }

    /// Reads the bytes of a `.onnx` file; errors call it `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] as [`read`](Self::read).
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let model = bytes::decode(name, bytes)?;
        let mut file = Self { name: name.into(), model, places: HashMap::new(), listed: Vec::new() };
        file.index()?;
        Ok(file)
    }

    fn index(&mut self) -> Result<(), Error> {
        let Some(graph) = &self.model.graph else {
            return Err(self.malformed("the file".into(), "it holds no graph"));
        };
        let initialisers = graph.initializer.iter().enumerate();
        let initialisers = initialisers.map(|(i, t)| (t.name().to_string(), Place::Initialiser(i), t));
        let constants = graph.node.iter().enumerate().filter_map(|(i, node)| {
            let (attribute, tensor) = constant(node)?;
            Some((node.output.first()?.clone(), Place::Constant { node: i, attribute }, tensor))
        });
        let (mut readers, mut pairs) = (HashMap::<&str, Vec<String>>::new(), HashSet::new());
        for node in &graph.node {
            for input in &node.input {
                if pairs.insert((input.as_str(), node.op_type())) {
                    readers.entry(input).or_default().push(node.op_type().into());
                }
            }
        }
        let (mut places, mut listed) = (HashMap::new(), Vec::new());
        for (name, place, tensor) in initialisers.chain(constants) {
            let Some(element_bytes) = tensor::float_bytes(tensor) else { continue };
            let spot = || format!("initialiser {name}");
            let (shape, ..) = tensor::read(tensor).map_err(|why| self.malformed(spot(), why))?;
            if places.insert(name.clone(), place).is_some() {
                return Err(self.malformed(spot(), "its name is given twice"));
            }
            if shape.len() >= 2 {
                let readers = readers.get(name.as_str()).cloned().unwrap_or_default();
                listed.push(Weight { name, shape, element_bytes, readers });
            }
        }
        (self.places, self.listed) = (places, listed);
        Ok(())
    }

    /// What errors call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The inputs of the main graph, in the file's order, with the lengths of their axes where the file says them; no axes
    /// where it says nothing.
    pub fn inputs(&self) -> Vec<(&str, Vec<Option<usize>>)> {
        let Some(graph) = &self.model.graph else { return Vec::new() };
        // Before version 4 the file lists its initialisers among its inputs.
        let constants: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        let inputs = graph.input.iter().filter(|input| !constants.contains(input.name()));
        inputs.map(|input| (input.name(), super::read::axes(input))).collect()
    }

    /// The weights, in the file's order: initialisers, then what `Constant` nodes hold.
    pub fn weights(&self) -> impl Iterator<Item = Weight> + '_ {
        self.listed.iter().cloned()
    }

    /// The elements of the floating-point constant `name` (of any number of axes), row-major; f64 is rounded to f32.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is none of that name.
    pub fn values(&self, name: &str) -> Result<Vec<f32>, Error> {
        let tensor = self.place(name).and_then(|place| self.tensor(place)).ok_or_else(|| self.missing(name))?;
        let (_, _, elements) =
            tensor::read(tensor).map_err(|why| self.malformed(format!("initialiser {name}"), why))?;
        elements.as_ref().and_then(|e| e.as_f32()).map(<[f32]>::to_vec).ok_or_else(|| self.missing(name))
    }

    /// Replaces the elements of the floating-point constant `name`, row-major; its shape and element type stay, so that
    /// float16 and bfloat16 round to the nearest value that they have.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is none of that name, or it does not have as many elements.
    pub fn replace(&mut self, name: &str, values: &[f32]) -> Result<(), Error> {
        let place = self.place(name).ok_or_else(|| self.missing(name))?;
        let count: i64 = self.tensor(place).map_or(0, |t| t.dims.iter().product());
        if count as usize != values.len() {
            let why = format!("it has {count} elements, {} are given", values.len());
            return Err(self.malformed(format!("initialiser {name}"), why));
        }
        let graph = self.model.graph.as_mut();
        let tensor = graph.and_then(|graph| match place {
            Place::Initialiser(i) => graph.initializer.get_mut(i),
            Place::Constant { node, attribute } => graph.node.get_mut(node)?.attribute.get_mut(attribute)?.t.as_mut(),
        });
        match tensor {
            Some(tensor) => tensor::replace(tensor, values),
            None => return Err(self.missing(name)),
        }
        Ok(())
    }

    /// The bytes of the file as it stands now.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = self.to_bytes();
        tersor_data::atomic::write(path, |file| file.write_all(&bytes))?;
        Ok(())
    }

    fn place(&self, name: &str) -> Option<Place> {
        self.places.get(name).copied()
    }

    fn tensor(&self, place: Place) -> Option<&TensorProto> {
        let graph = self.model.graph.as_ref()?;
        match place {
            Place::Initialiser(i) => graph.initializer.get(i),
            Place::Constant { node, attribute } => graph.node.get(node)?.attribute.get(attribute)?.t.as_ref(),
        }
    }

    fn missing(&self, name: &str) -> Error {
        self.malformed(format!("initialiser {name}"), "the file holds no floating-point constant of that name")
    }

    fn malformed(&self, place: String, why: impl Into<String>) -> Error {
        Error::Malformed { network: self.name.clone(), place, why: why.into() }
    }
}

/// The tensor that a `Constant` node holds, and the attribute where it stands.
pub(super) fn constant(node: &NodeProto) -> Option<(usize, &TensorProto)> {
    let of_onnx = matches!(node.domain(), "" | "ai.onnx");
    let attributes = node.attribute.iter().enumerate();
    let mut tensors = attributes.filter(|(_, a)| a.name() == "value").filter_map(|(i, a)| Some((i, a.t.as_ref()?)));
    (of_onnx && node.op_type() == "Constant").then(|| tensors.next()).flatten()
}
