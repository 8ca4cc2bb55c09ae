//! A module's tensors by name, and the file that holds them (safetensors).
//!
//! A name is the path of the parameter's field (`blocks.0.first.weight`), which stays what it is from run to run; the
//! `ParamId` by which Burn knows a parameter is drawn anew for each module. Values are those that Burn's own records
//! hold: as on saving (`transform_for_save`), with running statistics settled (`valid`).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor, TensorData, kind::Basic};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::Error;

/// Tensors by name.
pub type Tensors = BTreeMap<String, TensorData>;

/// The tensors of `module`.
pub fn of<M: Module>(module: &M) -> Tensors {
    let mut collector = Collector::default();
    module.valid().visit(&mut collector);
    collector.tensors
}

/// `module` with the values of `tensors`, which come from `file`.
///
/// # Errors
/// [`Error::Architecture`] naming the first tensor that is missing, too much, or of another shape or type.
pub fn put<M: Module>(module: M, tensors: Tensors, file: &Path) -> Result<M, Error> {
    let mut putter = Putter { path: Vec::new(), tensors, fault: None };
    let module = module.map(&mut putter);
    let unknown = putter.tensors.into_iter().next().map(|(name, data)| (name, told(&data), "nothing".into()));
    match putter.fault.or(unknown) {
        None => Ok(module),
        Some((tensor, found, expected)) => Err(Error::Architecture { file: file.into(), tensor, found, expected }),
    }
}

/// Writes the tensors of `module`, whole or not at all; `about` is text that the file carries, such as JSON.
///
/// # Errors
/// [`Error::Dtype`] for a tensor that cannot be saved, [`Error::Data`] if the file cannot be written.
pub fn write<M: Module>(file: &Path, module: &M, about: &str) -> Result<(), Error> {
    let bytes = encode(&of(module), about)?;
    Ok(tersor_data::atomic::write(file, |out| out.write_all(&bytes))?)
}

/// Reads a file into `module`; also gives the text that it carries.
///
/// # Errors
/// [`Error::Data`] if the file cannot be read, [`Error::Damaged`] if it is not of this kind,
/// [`Error::Architecture`] if it is for another network.
pub fn read<M: Module>(file: &Path, module: M) -> Result<(M, String), Error> {
    let bytes = bytes_of(file)?;
    let (tensors, about) = decode(&bytes).map_err(|fault| Error::Damaged {
        file: file.into(),
        kind: "file of weights",
        fault,
        earlier: None,
    })?;
    Ok((put(module, tensors, file)?, about))
}

pub(crate) fn bytes_of(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|source| tersor_data::Error::Read { path: file.into(), source }.into())
}

/// The key of the text that a file carries.
const ABOUT: &str = "tersor";

/// The types of elements in files.
const TYPES: [(DType, Dtype); 12] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U64, Dtype::U64),
    (DType::U32, Dtype::U32),
    (DType::U16, Dtype::U16),
    (DType::U8, Dtype::U8),
];

/// The bytes of a file.
pub(crate) fn encode(tensors: &Tensors, about: &str) -> Result<Vec<u8>, Error> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, data) in tensors {
        let unsaved = || Error::Dtype { tensor: name.clone(), dtype: format!("{:?}", data.dtype()) };
        let (_, dtype) = TYPES.iter().find(|(ours, _)| *ours == data.dtype()).ok_or_else(unsaved)?;
        let view = TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes()).map_err(|_| unsaved())?;
        views.push((name.as_str(), view));
    }
    let about = HashMap::from([(ABOUT.to_owned(), about.to_owned())]);
    safetensors::serialize(views, Some(about))
        .map_err(|error| Error::Dtype { tensor: "all together".into(), dtype: error.to_string() })
}

/// The tensors and the text in the bytes of a file, or what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Tensors, String), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let about = header.metadata().as_ref().and_then(|texts| texts.get(ABOUT)).cloned().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = |(name, view): (String, TensorView)| {
        let dtype = TYPES.iter().find(|(_, theirs)| *theirs == view.dtype());
        let (dtype, _) = dtype.ok_or_else(|| format!("`{name}` has elements of type {:?}", view.dtype()))?;
        Ok((name, TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), *dtype)))
    };
    let tensors = file.tensors().into_iter().map(tensor).collect::<Result<_, String>>()?;
    Ok((tensors, about))
}

/// A tensor as a person names it: `f32 [16, 3, 3, 3]`.
pub(crate) fn told(data: &TensorData) -> String {
    described(data.dtype(), data.shape())
}

fn described(dtype: DType, shape: &Shape) -> String {
    format!("{} {:?}", format!("{dtype:?}").to_lowercase(), shape.to_vec())
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    tensors: Tensors,
}

macro_rules! visit {
    ($visit:ident, $kind:ty) => {
        fn $visit<const D: usize>(&mut self, param: &Param<Tensor<D, $kind>>) {
            self.tensors.insert(self.path.join("."), param.transform_for_save().val().into_data());
        }
    };
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    visit!(visit_float, burn::tensor::Float);
    visit!(visit_int, Int);
    visit!(visit_bool, Bool);
}

struct Putter {
    path: Vec<String>,
    tensors: Tensors,
    /// The first tensor that does not fit: its name, what it is, what it should be.
    fault: Option<(String, String, String)>,
}

impl Putter {
    fn take<const D: usize, K: Basic>(&mut self, device: &Device, dtype: DType, shape: &Shape) -> Option<Tensor<D, K>> {
        let name = self.path.join(".");
        match self.tensors.remove(&name) {
            Some(data) if data.dtype() == dtype && data.shape() == shape => {
                Some(Tensor::from_data(data, (device, dtype)))
            }
            found => {
                let found = found.map_or("absent".into(), |data| told(&data));
                self.fault.get_or_insert((name, found, described(dtype, shape)));
                None
            }
        }
    }
}

macro_rules! map {
    ($map:ident, $kind:ty) => {
        fn $map<const D: usize>(&mut self, param: Param<Tensor<D, $kind>>) -> Param<Tensor<D, $kind>> {
            let saved = param.transform_for_save().val(); // a mapped parameter has another shape in its file
            match self.take(&param.lazy_device(), saved.dtype(), &saved.shape()) {
                Some(tensor) => {
                    let id = param.id;
                    param.transform_for_load(tensor, id)
                }
                None => param,
            }
        }
    };
}

impl ModuleMapper for Putter {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    map!(map_float, burn::tensor::Float);
    map!(map_int, Int);
    map!(map_bool, Bool);
}
