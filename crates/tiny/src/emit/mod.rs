//! From a network and a plan to firmware: readable source that runs as the plan says, and a proof of it.
//!
//! A network on a microcontroller is usually a source tree edited by hand, or an interpreter with a blob; either way, wrong
//! numbers show on the device. Here one command writes a program (weights in Flash, one static arena of the plan's peak,
//! straight-line calls of the kernels that are used, nothing else), with a test vector beside it, and runs it on an emulated
//! chip.
//!
//! Source: MCUNet (NeurIPS 2020), section 3.2 (TinyEngine: code generated instead of interpreted, kernels specialised by
//! shape).
//!
//! | file | idea |
//! | --- | --- |
//! | [`firmware`] | the program as a value, between plan and text |
//! | [`vector`] | inputs, and the outputs that they must give |
//! | `c.rs`, `c/` | the program in C99 |
//! | `rust.rs`, `rust/` | the program in Rust |
//! | [`verify`] | compiled and run on the host and in qemu: bits, arena, stack, sizes, instructions |

mod c;
pub mod firmware;
mod rust;
pub mod vector;
pub mod verify;

use std::path::Path;

use serde::Serialize;
use tersor_network::Network;

use crate::error::Error;
use crate::plan::Plan;
use firmware::Firmware;
use vector::Vector;

/// The language of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// C99.
    C,
    /// A Rust crate without dependencies and without `std`.
    Rust,
}

/// A program, and what it was made from.
#[derive(Debug, Clone)]
pub struct Emission {
    /// Its language.
    pub target: Target,
    /// Path below the folder, and text.
    pub files: Vec<(String, String)>,
    /// The program as a value.
    pub firmware: Firmware,
    /// What it is checked with.
    pub vector: Vector,
}

/// Writes the program that runs `network` as `plan` says, with a test vector made by the reference engine.
///
/// The plan is executed once in the arena that watches ([`crate::plan::arena`]), so that firmware is never made from a plan
/// that reads what is not there.
///
/// # Errors
/// [`Error::Plan`] if the plan is not this network's, [`Error::Emit`] naming the operator that firmware cannot do.
pub fn emit(network: &Network, plan: &Plan, target: Target) -> Result<Emission, Error> {
    let firmware = Firmware::new(network, plan)?;
    let vector = Vector::new(network, plan)?;
    let files = match target {
        Target::C => c::print(&firmware, &vector)?,
        Target::Rust => rust::print(&firmware, &vector)?,
    };
    Ok(Emission { target, files, firmware, vector })
}

impl Emission {
    /// Writes every file below `folder`, which is made if it does not exist. Files of an earlier program are replaced, no
    /// others.
    ///
    /// # Errors
    /// [`Error::Output`] or [`Error::Data`] naming the file that cannot be written, or that somebody else wrote.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let output = |file: &Path, why: &str| Error::Output { file: file.into(), why: why.into() };
        if folder.exists() && !folder.is_dir() {
            return Err(output(folder, "is a file, and must be a folder"));
        }
        let written_before = self.files.iter().any(|(path, text)| {
            let says = |text: &str| text.contains("by `tersor tiny emit");
            says(text) && std::fs::read_to_string(folder.join(path)).is_ok_and(|found| says(&found))
        });
        let foreign = self.files.iter().map(|(path, _)| folder.join(path)).find(|file| file.exists());
        if let Some(file) = foreign.filter(|_| !written_before) {
            return Err(output(&file, "is not of `tersor tiny emit` and would be lost: choose an empty folder"));
        }
        for (path, text) in &self.files {
            let file = folder.join(path);
            let parent = file.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .map_err(|e| Error::Output { file: parent.into(), why: format!("cannot be made: {e}") })?;
            tersor_data::atomic::write(&file, |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }
}
