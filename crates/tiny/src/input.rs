//! From a file to what a network takes: arrays, batches of them, and pictures.

use std::path::Path;

use tersor_data::picture::Picture;
use tersor_data::{Array, ElementType, Elements, npy, npz};
use tersor_kernels::int8::{Affine, quantize};
use tersor_network::operator::Operator;
use tersor_network::{Network, Tensor, TensorId};

use crate::error::Error;

/// Samples that run at once; each is an array of its own.
const MOST_SAMPLES: usize = 1 << 18;
/// Pixels of an input that a picture is stretched to.
const MOST_PIXELS: usize = 1 << 22;

/// Samples for a network, each a value for every tensor that is fed.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The tensors fed: the graph's inputs, or the output of a QUANTIZE that the file has already done.
    pub tensors: Vec<TensorId>,
    /// One array per tensor, for each sample.
    pub samples: Vec<Vec<Array>>,
}

impl Batch {
    /// The samples as the engine takes them.
    pub fn feed(&self, sample: usize) -> Vec<(TensorId, &Array)> {
        self.tensors.iter().copied().zip(&self.samples[sample]).collect()
    }
}

/// How pixels (0 to 255) become real numbers: x = pixel·scale − mean·scale, in f32.
#[derive(Debug, Clone, Copy, Default)]
pub struct Normalization {
    /// The pixel value that becomes 0; by default what the network's quantisation suggests.
    pub mean: Option<f64>,
    /// Real step per pixel step; by default what the network's quantisation suggests.
    pub scale: Option<f64>,
}

/// Reads `file` as input for `network`.
///
/// `.npy`, or `.npz` with one array: a batch if it holds several times the input's elements. A network of several
/// inputs takes an `.npz` with `in0`, `in1`, …. Anything else is read as a picture and stretched to the input's size.
///
/// # Errors
/// [`Error::Input`] if the elements do not fit, [`Error::Data`] if the file cannot be read.
pub fn read(network: &Network, file: &Path, normalization: Normalization) -> Result<Batch, Error> {
    let suffix = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match suffix.as_str() {
        "npy" => from_arrays(network, file, vec![npy::read(file)?]),
        "npz" => {
            let archive = npz::open(file)?;
            let count = network.main().inputs.len();
            let names: Vec<String> = match archive.names() {
                [name] if count == 1 => vec![name.clone()],
                names if count == 1 => {
                    let why = format!("holds {} arrays ({}); give an .npz with one", names.len(), names.join(", "));
                    return Err(Error::Input { file: file.into(), why });
                }
                _ => (0..count).map(|i| format!("in{i}")).collect(),
            };
            let arrays = names.iter().map(|name| archive.read(name)).collect::<Result<_, _>>()?;
            from_arrays(network, file, arrays)
        }
        _ => from_picture(network, file, &Picture::read(file)?, normalization),
    }
}

/// A batch from one array per input of `network`; errors call the source `file`.
///
/// # Errors
/// [`Error::Input`] naming what was expected and found.
pub fn from_arrays(network: &Network, file: &Path, arrays: Vec<Array>) -> Result<Batch, Error> {
    let fault = |why: String| Error::Input { file: file.into(), why };
    let inputs = &network.main().inputs;
    if arrays.len() != inputs.len() {
        return Err(fault(format!("holds {} arrays, the network takes {} inputs", arrays.len(), inputs.len())));
    }
    let mut tensors = Vec::new();
    let mut columns: Vec<Vec<Array>> = Vec::new();
    for (&t, array) in inputs.iter().zip(arrays) {
        let (t, column) = samples(network, t, array).map_err(fault)?;
        tensors.push(t);
        columns.push(column);
    }
    let count = columns.first().map_or(0, Vec::len);
    if columns.iter().any(|column| column.len() != count) {
        let counts: Vec<usize> = columns.iter().map(Vec::len).collect();
        return Err(fault(format!("its arrays hold {counts:?} samples; every input needs as many")));
    }
    let samples = (0..count).map(|i| columns.iter().map(|column| column[i].clone()).collect()).collect();
    Ok(Batch { tensors, samples })
}

/// The samples in `array` for input `t`, and the tensor that takes them.
fn samples(network: &Network, t: TensorId, array: Array) -> Result<(TensorId, Vec<Array>), String> {
    let graph = network.main();
    let input = &graph.tensors[t];
    let found = array.element_type();
    let (t, elements) = match (input.element_type(), found) {
        (Some(takes), found) if takes == found => (t, array.elements().clone()),
        (Some(ElementType::I8), ElementType::F32) => {
            (t, quantized(array.elements(), input).map_err(|why| format!("cannot be quantised: {why}"))?)
        }
        (Some(ElementType::F32), ElementType::I8) => match quantized_input(network, t) {
            Some(quantized) => (quantized, array.elements().clone()),
            None => return Err(mismatch(input, found)),
        },
        _ => return Err(mismatch(input, found)),
    };
    let shape = &graph.tensors[t].shape;
    let one: usize = shape.iter().product();
    if elements.len() / one.max(1) > MOST_SAMPLES {
        return Err(format!(
            "holds {} samples; at most {MOST_SAMPLES} run at once, split the file",
            elements.len() / one
        ));
    }
    if one == 0 || elements.is_empty() || !elements.len().is_multiple_of(one) {
        let asked = format!("the input {} takes {one} elements (shape {shape:?}) or a multiple", input.name);
        return Err(format!("holds {} elements (shape {:?}); {asked}", elements.len(), array.shape()));
    }
    let sample = |i: usize| Array::new(shape.clone(), elements.slice(i * one, (i + 1) * one));
    (0..elements.len() / one).map(sample).collect::<Option<_>>().map(|s| (t, s)).ok_or_else(|| "is no array".into())
}

fn mismatch(input: &Tensor, found: ElementType) -> String {
    let hint = match (input.element_type(), found) {
        (Some(ElementType::I8), ElementType::U8) => {
            "; give the picture itself, or `(x.astype(numpy.int16) - 128).astype(numpy.int8)` if that is its meaning"
        }
        (Some(ElementType::I8 | ElementType::F32), ElementType::F64 | ElementType::F16) => {
            "; convert with `x.astype(numpy.float32)`"
        }
        _ => "",
    };
    format!("holds {found}, the input {} takes {}{hint}", input.name, input.kind)
}

/// The int8 output of a QUANTIZE that is the network's first operator and reads input `t`.
pub fn quantized_input(network: &Network, t: TensorId) -> Option<TensorId> {
    let graph = network.main();
    let first = graph.nodes.first()?;
    let output = *first.outputs.first()?;
    let readers = graph.nodes.iter().filter(|node| node.inputs.contains(&Some(t))).count();
    let quantizes = first.operator == Operator::Quantize && first.inputs.first() == Some(&Some(t)) && readers == 1;
    (quantizes && graph.tensors[output].element_type() == Some(ElementType::I8)).then_some(output)
}

fn quantized(x: &Elements, input: &Tensor) -> Result<Elements, String> {
    let q = affine(input).ok_or("the input has no single scale")?;
    let x = x.as_f32().ok_or("the elements are not float32")?;
    let value = |(i, &x): (usize, &f32)| {
        quantize(x, q, -128, 127).map(|q| q as i8).ok_or_else(|| format!("element {i} is not a number"))
    };
    Ok(x.iter().enumerate().map(value).collect::<Result<Vec<i8>, String>>()?.into())
}

fn affine(tensor: &Tensor) -> Option<Affine> {
    tensor.quantization.as_ref()?.affine()
}

/// A batch of one picture, stretched to the input's size (bilinear), its pixels normalised and quantised.
///
/// # Errors
/// [`Error::Input`] if the network does not take one picture.
pub fn from_picture(network: &Network, file: &Path, picture: &Picture, by: Normalization) -> Result<Batch, Error> {
    let fault = |why: String| Error::Input { file: file.into(), why };
    let &[t] = network.main().inputs.as_slice() else {
        return Err(fault(format!("a picture is one input, the network takes {}", network.main().inputs.len())));
    };
    let input = &network.main().tensors[t];
    let &[1, height, width, channels @ (1 | 3)] = input.shape.as_slice() else {
        return Err(fault(format!("a picture does not fit an input of shape {:?}; give an .npy", input.shape)));
    };
    if height.saturating_mul(width) > MOST_PIXELS {
        return Err(fault(format!("pictures are not stretched to {width}x{height}")));
    }
    let resized = picture.resized(width, height);
    let pixels = if channels == 1 { resized.grey() } else { resized.into_rgb() };
    let array = normalized(network, t, &pixels, by).map_err(fault)?;
    Ok(Batch { tensors: vec![t], samples: vec![vec![array]] })
}

/// A batch from pixels (uint8) that already have the input's size; they are normalised as pictures are.
///
/// # Errors
/// [`Error::Input`] if they do not fit the network's one input.
pub fn from_pixels(network: &Network, file: &Path, pixels: &Array) -> Result<Batch, Error> {
    let fault = |why: String| Error::Input { file: file.into(), why };
    let &[t] = network.main().inputs.as_slice() else { return Err(fault("the network takes several inputs".into())) };
    let one = network.main().tensors[t].len();
    let pixels = pixels.elements().as_u8().ok_or_else(|| fault("holds no uint8 pixels".into()))?;
    if one == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(one) {
        return Err(fault(format!("holds {} pixels; the input takes {one} or a multiple", pixels.len())));
    }
    let sample = |pixels| Ok(vec![normalized(network, t, pixels, Normalization::default()).map_err(fault)?]);
    Ok(Batch { tensors: vec![t], samples: pixels.chunks(one).map(sample).collect::<Result<_, Error>>()? })
}

/// Pixels as the values that input `t` takes.
fn normalized(network: &Network, t: TensorId, pixels: &[u8], by: Normalization) -> Result<Array, String> {
    let input = &network.main().tensors[t];
    let (mean, scale) = suggested(network, t);
    let (mean, scale) = (by.mean.unwrap_or(mean), by.scale.unwrap_or(scale));
    let shift = (mean * scale) as f32;
    let real: Vec<f32> = pixels.iter().map(|&p| (f64::from(p) * scale) as f32 - shift).collect();
    let elements = match input.element_type() {
        Some(ElementType::F32) => real.into(),
        Some(ElementType::I8) => quantized(&real.into(), input)?,
        Some(ElementType::U8) => pixels.to_vec().into(),
        _ => return Err(format!("a picture cannot become {}", input.kind)),
    };
    Array::new(input.shape.clone(), elements).ok_or_else(|| "is no picture".into())
}

/// Mean and scale that map pixels 0…255 onto the real range that the network was trained on, as far as its quantisation
/// tells.
///
/// Training pipelines use [−1, 1], [0, 1] or [0, 255]: a quantised range within two steps of one of them is taken to be
/// it. A wider range around 0 is what calibration leaves of [−1, 1]; any other is used as it is. `--mean` and `--scale`
/// have the last word.
fn suggested(network: &Network, t: TensorId) -> (f64, f64) {
    let graph = network.main();
    let quantized = quantized_input(network, t).unwrap_or(t);
    let range = affine(&graph.tensors[quantized]).map_or((-1.0, 1.0), |q| {
        let real = |q8: i32| f64::from(q8 - q.zero_point) * q.scale;
        let (low, high) = (real(-128), real(127));
        let near = |a: f64, b: f64| (a - b).abs() <= 2.0 * q.scale;
        let usual = [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)];
        let named = usual.into_iter().find(|&(l, h)| near(l, low) && near(h, high));
        let around_zero = (-16.0..=-1.0).contains(&low) && (1.0..=16.0).contains(&high);
        named.unwrap_or(if around_zero { (-1.0, 1.0) } else { (low, high) })
    });
    let (low, high) = range;
    let scale = (high - low) / 255.0;
    (-low / scale, scale)
}
