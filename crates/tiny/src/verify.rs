//! Comparing a network's values with goldens, or with another engine's dump, to the first difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tersor_data::{Array, ElementType, Elements, npy, npz};
use tersor_network::{Network, TensorId};

use crate::error::Error;
use crate::input::{self, Batch};
use crate::run::{self, Settings};

/// Bytes that the arrays of one archive of goldens may take.
const MOST_BYTES: usize = 160 << 20;

/// Arrays to be held against a network: an `.npz`, or a folder of `.npy`.
#[derive(Debug, Clone)]
pub struct Golden {
    path: PathBuf,
    /// By name; arrays of strings and the like are left out.
    arrays: BTreeMap<String, Array>,
}

/// What was compared, and where the first difference lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The network's file.
    pub file: String,
    /// The goldens.
    pub golden: PathBuf,
    /// Samples that ran.
    pub samples: usize,
    /// Every tensor compared, in execution order.
    pub compared: Vec<Comparison>,
    /// The first difference in execution order, if there is one.
    pub first_difference: Option<Difference>,
}

impl Verdict {
    /// Whether every compared value agrees.
    pub fn agrees(&self) -> bool {
        self.first_difference.is_none()
    }
}

/// One tensor held against one golden array.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The tensor.
    pub tensor: TensorId,
    /// Its name in the network.
    pub name: String,
    /// The golden array.
    pub array: String,
    /// Samples compared; a golden array may hold fewer than the input.
    pub samples: usize,
    /// Values compared.
    pub values: usize,
    /// Values that differ.
    pub differing: usize,
}

/// One value that is not what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The tensor.
    pub tensor: TensorId,
    /// Its name in the network.
    pub name: String,
    /// Where in the tensor, sample first.
    pub index: Vec<usize>,
    /// The golden value.
    pub expected: f64,
    /// The network's value.
    pub got: f64,
}

impl Golden {
    /// Opens an `.npz` or a folder of `.npy` files (a dump of `run --dump`).
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read; arrays that are no numbers are left out.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let arrays = if path.is_dir() {
            let fault = |e: std::io::Error| Error::Golden { file: path.into(), why: e.to_string() };
            let mut arrays = BTreeMap::new();
            for entry in std::fs::read_dir(path).map_err(fault)? {
                let file = entry.map_err(fault)?.path();
                let name = file.file_stem().and_then(|n| n.to_str());
                if let Some(name) = name.filter(|_| file.extension().is_some_and(|e| e == "npy")) {
                    arrays.insert(name.to_string(), npy::read(&file)?);
                }
            }
            arrays
        } else {
            let archive = npz::open(path)?;
            let (mut arrays, mut held) = (BTreeMap::new(), 0);
            for (name, array) in archive.arrays() {
                match array {
                    Ok(array) => {
                        held += array.len() * array.element_type().bytes();
                        if held > MOST_BYTES {
                            let why = format!("holds more than {MOST_BYTES} bytes of arrays; give fewer");
                            return Err(Error::Golden { file: path.into(), why });
                        }
                        arrays.insert(name.to_string(), array);
                    }
                    Err(tersor_data::Error::Dtype { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            arrays
        };
        Ok(Self { path: path.into(), arrays })
    }

    fn fault(&self, why: String) -> Error {
        Error::Golden { file: self.path.clone(), why }
    }

    /// Names of the arrays, for messages.
    fn names(&self) -> String {
        self.arrays.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The golden inputs of `network`: the arrays of its input tensors (`t<index>`), or `in0`, `in1`, …, or the one
    /// array that fits and is not called an output or a label. Pixels (uint8) are normalised as pictures are.
    ///
    /// # Errors
    /// [`Error::Golden`] if no array, or more than one, can be the input.
    pub fn input(&self, network: &Network) -> Result<Batch, Error> {
        let graph = network.main();
        let numbered: Option<Vec<Array>> =
            (0..graph.inputs.len()).map(|i| self.arrays.get(&format!("in{i}")).cloned()).collect();
        if let Some(arrays) = numbered.filter(|arrays| !arrays.is_empty()) {
            return input::from_arrays(network, &self.path, arrays);
        }
        // A dump holds what was fed, which may be the quantised input.
        let dumped = |&t: &TensorId| {
            let fed = input::quantized_input(network, t).filter(|_| !self.arrays.contains_key(&format!("t{t}")));
            self.arrays.get(&format!("t{}", fed.unwrap_or(t))).cloned()
        };
        let dumped: Option<Vec<Array>> = graph.inputs.iter().map(dumped).collect();
        if let Some(arrays) = dumped.filter(|arrays| !arrays.is_empty()) {
            return input::from_arrays(network, &self.path, arrays);
        }
        let &[t] = graph.inputs.as_slice() else {
            let why = format!("the network takes {} inputs: name the arrays in0, in1, …", graph.inputs.len());
            return Err(self.fault(why));
        };
        let one = graph.tensors[t].len().max(1);
        let fits = |(name, array): &(&String, &Array)| {
            let other =
                ["out", "logit", "label"].iter().any(|word| name.contains(word)) || tensor_index(name).is_some();
            let takes = [ElementType::U8, ElementType::I8, ElementType::F32].contains(&array.element_type());
            !other && takes && !array.is_empty() && array.len().is_multiple_of(one)
        };
        let fitting: Vec<(&String, &Array)> = self.arrays.iter().filter(fits).collect();
        match fitting.as_slice() {
            [(_, array)] if array.element_type() == ElementType::U8 && !takes_bytes(network, t) => {
                input::from_pixels(network, &self.path, array)
            }
            [(_, array)] => input::from_arrays(network, &self.path, vec![(*array).clone()]),
            [] => {
                let shape = &graph.tensors[t].shape;
                let why = format!(
                    "none of its arrays ({}) fits the input of shape {shape:?}; give the input with --input",
                    self.names()
                );
                Err(self.fault(why))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
                let why = format!("{} all fit the input; give it with --input", names.join(", "));
                Err(self.fault(why))
            }
        }
    }

    /// The arrays to compare: intermediates by their name `t<index>`, outputs by their name `out<position>`, or the one
    /// array with the output's type and size.
    fn expected(&self, network: &Network, samples: usize) -> Result<Vec<(TensorId, &String, &Array)>, Error> {
        let graph = network.main();
        let mut expected = Vec::new();
        for (name, array) in &self.arrays {
            let output = name.strip_prefix("out").and_then(|n| n.parse::<usize>().ok());
            match (tensor_index(name), output) {
                (Some(t), _) if t < graph.tensors.len() => expected.push((t, name, array)),
                (Some(t), _) => return Err(self.fault(format!("{name}: the network has no tensor {t}"))),
                (_, Some(i)) if i < graph.outputs.len() => expected.push((graph.outputs[i], name, array)),
                (_, Some(i)) => return Err(self.fault(format!("{name}: the network has no output {i}"))),
                _ => {}
            }
        }
        if !expected.is_empty() {
            return Ok(expected);
        }
        for &t in &graph.outputs {
            let tensor = &graph.tensors[t];
            let fits = |(name, array): &(&String, &Array)| {
                let called = name.contains("out") || name.contains("logit");
                let alike = Some(array.element_type()) == tensor.element_type();
                called && alike && array.len() == samples * tensor.len()
            };
            let fitting: Vec<(&String, &Array)> = self.arrays.iter().filter(fits).collect();
            if let [(name, array)] = fitting.as_slice() {
                expected.push((t, name, array));
            }
        }
        if expected.is_empty() {
            let why = format!(
                "none of its arrays ({}) is an output (out0, …) or a tensor (t<index>) of the network",
                self.names()
            );
            return Err(self.fault(why));
        }
        Ok(expected)
    }
}

/// The index in `t<index>`.
fn tensor_index(name: &str) -> Option<TensorId> {
    // Exactly as written by a dump: `t01` is some other name.
    let digits = name.strip_prefix('t')?;
    let index: TensorId = digits.parse().ok()?;
    (index.to_string() == digits).then_some(index)
}

fn takes_bytes(network: &Network, t: TensorId) -> bool {
    network.main().tensors[t].element_type() == Some(ElementType::U8)
}

/// Runs `network` on `batch` and compares every array of `golden` that names a tensor or an output.
///
/// An array may hold fewer samples than the batch: the first ones are compared. Floats agree within `tolerance`.
///
/// # Errors
/// [`Error::Golden`] if nothing can be compared, or an array has another type or size than its tensor.
pub fn verify(
    network: &Network,
    mut batch: Batch,
    golden: &Golden,
    settings: Settings,
    tolerance: f64,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Verdict, Error> {
    let expected = golden.expected(network, batch.samples.len())?;
    let graph = network.main();
    let mut wanted = 0;
    for &(t, name, array) in &expected {
        let tensor = &graph.tensors[t];
        let one = tensor.len().max(1);
        let samples = array.len() / one;
        if array.is_empty() {
            return Err(golden.fault(format!("{name} is empty")));
        }
        if Some(array.element_type()) != tensor.element_type() || samples * one != array.len() {
            let found = format!("{} {:?}", array.element_type(), array.shape());
            return Err(golden.fault(format!("{name} is {found}, tensor {t} is {} {:?}", tensor.kind, tensor.shape)));
        }
        if samples > batch.samples.len() {
            let given = batch.samples.len();
            return Err(golden.fault(format!("{name} holds {samples} samples, the input {given}")));
        }
        wanted = wanted.max(samples);
    }
    batch.samples.truncate(wanted);
    let outputs_only = expected.iter().all(|(t, ..)| graph.outputs.contains(t));
    let results = run::run(network, &batch, Settings { keep_all: !outputs_only, ..settings }, progress)?;
    let mut got: BTreeMap<TensorId, &Array> = results.tensors.iter().map(|(&t, array)| (t, array)).collect();
    got.extend(results.outputs.iter().map(|(t, array)| (*t, array)));

    // In the order in which a run computes them, so that the first difference is where things went wrong.
    let order: Vec<TensorId> =
        graph.inputs.iter().copied().chain(graph.nodes.iter().flat_map(|n| n.outputs.iter().copied())).collect();
    let mut compared = Vec::new();
    let mut first_difference = None;
    for t in order {
        for &(_, array_name, array) in expected.iter().filter(|(e, ..)| *e == t) {
            let Some(got) = got.get(&t) else { continue };
            let (differing, first) = differences(array.elements(), got.elements(), tolerance);
            let name = &graph.tensors[t].name;
            if let (None, Some(at)) = (&first_difference, first) {
                first_difference = Some(Difference {
                    tensor: t,
                    name: name.clone(),
                    index: position(got.shape(), at),
                    expected: value(array.elements(), at),
                    got: value(got.elements(), at),
                });
            }
            compared.push(Comparison {
                tensor: t,
                name: name.clone(),
                array: array_name.clone(),
                samples: array.len() / graph.tensors[t].len().max(1),
                values: array.len(),
                differing,
            });
        }
    }
    if compared.is_empty() {
        return Err(golden.fault("its tensors are constants, or are not computed; nothing was compared".into()));
    }
    let (file, golden) = (network.name.clone(), golden.path.clone());
    Ok(Verdict { file, golden, samples: results.samples, compared, first_difference })
}

/// How many of the expected values differ, and the first of them.
fn differences(expected: &Elements, got: &Elements, tolerance: f64) -> (usize, Option<usize>) {
    let mut differing = (0..expected.len()).filter(|&i| !alike(expected, got, i, tolerance));
    let first = differing.next();
    (first.map_or(0, |_| 1 + differing.count()), first)
}

/// Whether value `i` is the same: the same bits without a tolerance, else no further apart than it.
fn alike(expected: &Elements, got: &Elements, i: usize, tolerance: f64) -> bool {
    let same_bits = match (expected, got) {
        (Elements::F32(e), Elements::F32(g)) => e[i].to_bits() == g[i].to_bits(),
        (Elements::F64(e), Elements::F64(g)) => e[i].to_bits() == g[i].to_bits(),
        (Elements::F16(e), Elements::F16(g)) => e[i].to_bits() == g[i].to_bits(),
        (Elements::I64(e), Elements::I64(g)) => e[i] == g[i],
        (Elements::U64(e), Elements::U64(g)) => e[i] == g[i],
        _ => value(expected, i) == value(got, i),
    };
    same_bits || tolerance > 0.0 && (value(expected, i) - value(got, i)).abs() <= tolerance
}

fn value(elements: &Elements, i: usize) -> f64 {
    match elements {
        Elements::Bool(v) => f64::from(u8::from(v[i])),
        Elements::I8(v) => f64::from(v[i]),
        Elements::U8(v) => f64::from(v[i]),
        Elements::I16(v) => f64::from(v[i]),
        Elements::U16(v) => f64::from(v[i]),
        Elements::I32(v) => f64::from(v[i]),
        Elements::U32(v) => f64::from(v[i]),
        Elements::I64(v) => v[i] as f64,
        Elements::U64(v) => v[i] as f64,
        Elements::F16(v) => v[i].to_f64(),
        Elements::F32(v) => f64::from(v[i]),
        Elements::F64(v) => v[i],
    }
}

/// Position along each axis of element `at`.
fn position(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i = at % n.max(1);
        at /= n.max(1);
    }
    index
}
