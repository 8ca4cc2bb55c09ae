//! Weights in files: safetensors, with a text about them.

use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tersor_data::atomic;

use crate::Error;

/// The content of a file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(std::fs::read(path).map_err(|source| tersor_data::Error::Read { path: path.into(), source })?)
}

/// Writes tensors, each with its name and shape, in f32, whole or not at all. `about` is a key and its text; of more than one
/// key the order in the file would not be the same each time.
///
/// # Panics
/// If a tensor has not as many numbers as its shape says.
pub(super) fn write(
    path: &Path,
    tensors: &[(String, Vec<usize>, Vec<f32>)],
    about: (&str, String),
) -> Result<(), Error> {
    let bytes = tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect());
    let bytes: Vec<Vec<u8>> = bytes.collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many numbers as the shape says"))
    });
    let about = [(about.0.to_owned(), about.1)].into();
    let file = safetensors::serialize(views, Some(about))
        .map_err(|error| tersor_data::Error::Write { path: path.into(), source: std::io::Error::other(error) })?;
    Ok(atomic::write(path, |out| out.write_all(&file))?)
}

/// A tensor's numbers in f32; why not, if it has none.
pub(super) fn numbers(view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let bytes = view.data();
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F16 => pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect(),
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
        other => return Err(format!("elements of type {other}; expected F16, BF16 or F32")),
    };
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!("element {at} is {}", values[at])),
        None => Ok(values),
    }
}
