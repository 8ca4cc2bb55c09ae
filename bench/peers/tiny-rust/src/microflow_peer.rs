//! microflow: models that a macro turned into Rust while this program was compiled, found again by their bytes.
//!
//! A call takes the integer input by value and gives the output as f32, so its time holds a copy of the one and a product
//! per value of the other. The output's integers are what scale and zero point in the model's file give back.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, ensure};
use microflow::buffer::{Buffer2D, Buffer4D};
use nalgebra::Scalar;
use tract_tflite::tflite::{self, TensorType};

use crate::{Network, sample};

/// One model that was compiled in: its file, and how it starts with an input.
struct Compiled {
    file: &'static [u8],
    load: fn(&[u8], Option<&Path>) -> anyhow::Result<Box<dyn Network>>,
}

include!(concat!(env!("OUT_DIR"), "/models.rs"));

/// Whether this build holds any model.
pub fn has_models() -> bool {
    !MODELS.is_empty()
}

/// # Errors
/// If `model` is not one of those compiled in, or the sample does not fit it.
pub fn open(model: &Path, input: Option<&Path>) -> anyhow::Result<Box<dyn Network>> {
    let file = fs::read(model).with_context(|| model.display().to_string())?;
    let compiled = MODELS.iter().find(|compiled| compiled.file == file);
    let compiled = compiled.context("not compiled in: name it in TERSOR_PEERS_MODELS while building")?;
    (compiled.load)(&file, input)
}

/// A tensor of one byte an element, made from row-major bytes.
trait Input: Copy + 'static {
    fn from_bytes(bytes: &[u8]) -> Self;
}

/// A dequantised tensor, read in row-major order.
trait Output {
    fn values(&self) -> Vec<f32>;
}

trait Byte: Scalar + Copy {
    fn from_byte(byte: u8) -> Self;
}

impl Byte for i8 {
    fn from_byte(byte: u8) -> i8 {
        byte.cast_signed()
    }
}

impl Byte for u8 {
    fn from_byte(byte: u8) -> u8 {
        byte
    }
}

impl<T: Byte, const R: usize, const C: usize> Input for Buffer2D<T, R, C> {
    fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_fn(|row, column| T::from_byte(bytes[row * C + column]))
    }
}

impl<T: Byte, const B: usize, const R: usize, const C: usize, const D: usize> Input for Buffer4D<T, B, R, C, D> {
    fn from_bytes(bytes: &[u8]) -> Self {
        let at = |b, row, column, d| T::from_byte(bytes[((b * R + row) * C + column) * D + d]);
        std::array::from_fn(|b| Buffer2D::from_fn(|row, column| std::array::from_fn(|d| at(b, row, column, d))))
    }
}

impl<const R: usize, const C: usize> Output for Buffer2D<f32, R, C> {
    fn values(&self) -> Vec<f32> {
        (0..R * C).map(|i| self[(i / C, i % C)]).collect()
    }
}

impl<const B: usize, const R: usize, const C: usize, const D: usize> Output for Buffer4D<f32, B, R, C, D> {
    fn values(&self) -> Vec<f32> {
        let pixels = self.iter().flat_map(|image| (0..R * C).map(move |i| image[(i / C, i % C)]));
        pixels.flatten().collect()
    }
}

struct Microflow<I, F> {
    input: I,
    predict: F,
    scale: f32,
    zero_point: i64,
}

#[allow(dead_code)] // a build without models never calls it
fn load<I: Input, O: Output + 'static>(
    file: &[u8],
    input: Option<&Path>,
    predict: impl Fn(I) -> O + 'static,
) -> anyhow::Result<Box<dyn Network>> {
    let graph = tflite::root_as_model(file)?.subgraphs().context("a model without graph")?.get(0);
    let tensors = graph.tensors().context("a graph without tensors")?;
    let (ins, outs) = (graph.inputs().context("no inputs")?, graph.outputs().context("no outputs")?);
    ensure!(ins.len() == 1 && outs.len() == 1, "{} inputs and {} outputs, one is supported", ins.len(), outs.len());
    let source = tensors.get(ins.get(0) as usize);
    let shape: Vec<usize> = source.shape().context("an input of unknown shape")?.iter().map(|n| n as usize).collect();
    let kind = if source.type_() == TensorType::UINT8 { "u1" } else { "i1" };
    let quantised = tensors.get(outs.get(0) as usize).quantization().context("an output that is not quantised")?;
    Ok(Box::new(Microflow {
        input: I::from_bytes(&sample::bytes(input, kind, &shape)?),
        predict,
        scale: quantised.scale().context("an output without scale")?.get(0),
        zero_point: quantised.zero_point().context("an output without zero point")?.get(0),
    }))
}

impl<I: Input, O: Output, F: Fn(I) -> O> Network for Microflow<I, F> {
    fn run(&mut self) -> anyhow::Result<()> {
        black_box((self.predict)(black_box(self.input)));
        Ok(())
    }

    fn outputs(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let values = (self.predict)(self.input).values();
        let integer = |value: &f32| (value / self.scale).round() as i64 + self.zero_point;
        Ok(vec![values.iter().map(|value| integer(value) as u8).collect()]) // two's complement: i8 and u8 alike
    }
}
