//! One input sample from a .npy file, as the bytes that an engine wants.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, ensure};
use npyz::{DType, NpyFile, Order};

/// The bytes of the array in `path`, or as many zeros; `kind` is numpy's name of the element (`i1`, `u1`, `f4`).
///
/// # Errors
/// If the file is no array of that type and shape.
pub fn bytes(path: Option<&Path>, kind: &str, shape: &[usize]) -> anyhow::Result<Vec<u8>> {
    let width: usize = kind[1..].parse().context("the type's width")?;
    let length = width * shape.iter().product::<usize>();
    let Some(path) = path else { return Ok(vec![0; length]) };
    let named = || path.display().to_string();
    let file = NpyFile::new(BufReader::new(File::open(path).with_context(named)?)).with_context(named)?;
    let found = match file.dtype() {
        DType::Plain(plain) => plain.to_string(),
        other => other.descr(),
    };
    let same_shape = file.shape().iter().copied().eq(shape.iter().map(|&n| n as u64));
    ensure!(
        found.trim_start_matches(['<', '|']) == kind && same_shape && file.order() == Order::C,
        "{} holds {found} {:?}, the model wants {kind} {shape:?}",
        path.display(),
        file.shape()
    );
    let mut bytes = vec![0; length];
    file.into_inner().read_exact(&mut bytes).with_context(named)?;
    Ok(bytes)
}
