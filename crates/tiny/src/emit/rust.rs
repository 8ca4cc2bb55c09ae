//! Firmware as a Rust crate without dependencies, without `std` and without `unsafe`.
//!
//! | emitted file | what is in it |
//! | --- | --- |
//! | `src/lib.rs` | what a user sees: [`Firmware`]'s ports, `Model` with `run`, `run_streamed` and `reset` |
//! | `src/constants.rs` | what lies in Flash |
//! | `src/operators.rs` | what is computed, in numbers |
//! | `src/calls.rs` | the run, call after call |
//! | `src/kernels/*.rs` | the kernels that are called (`emit/rust/kernels`), and no others |
//! | `check/vector.rs`, `examples/check.rs` | the test vector, and a program for the host that checks it |
//! | `check/firmware.rs`, `check/smallest.rs` | the same for qemu, and the least program that runs the model |
//! | `check/startup.rs`, `check/*.ld` | what they need: with them the only files with `unsafe` |
//!
//! All reads and writes go through one `&mut [i8; N]`, by index: outputs may lie over their operands, which two slices could
//! not. Inner loops run over slices of a checked length.
//!
//! | file here | idea |
//! | --- | --- |
//! | `rust/library.rs` | `src/lib.rs`: what the firmware's user sees |
//! | `rust/constants.rs` | `src/constants.rs`, and arrays as Rust writes them |
//! | `rust/operators.rs` | `src/operators.rs`: a static for each operator |
//! | `rust/calls.rs` | `src/calls.rs`, and the statics that calls share |
//! | `rust/vector.rs` | `check/vector.rs` |
//! | `rust/kernels/`, `rust/program/` | the kernels, and what is the same for every network |
//!
//! What this file does not do: run anything (`verify/rust.rs`).

mod calls;
mod constants;
mod library;
mod operators;
mod vector;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use self::library::coordinates;
use self::vector::vectors;
use super::firmware::{ConstantId, Firmware};
use super::vector::Vector;
use crate::error::Error;

/// The kernels, and what each needs of the others.
const KERNELS: [(&str, &str, &[&str]); 25] = [
    ("add", include_str!("rust/kernels/add.rs"), &["pair", "sum"]),
    ("bilinear", include_str!("rust/kernels/bilinear.rs"), &["place"]),
    ("convolution", include_str!("rust/kernels/convolution.rs"), &["filter", "place"]),
    ("convolution_sum", include_str!("rust/kernels/convolution_sum.rs"), &["convolution", "sum"]),
    ("copies", include_str!("rust/kernels/copies.rs"), &["place"]),
    ("depthwise", include_str!("rust/kernels/depthwise.rs"), &["filter", "place"]),
    ("depthwise_many", include_str!("rust/kernels/depthwise_many.rs"), &["filter", "place", "sum"]),
    ("depthwise_sum", include_str!("rust/kernels/depthwise_sum.rs"), &["depthwise", "sum"]),
    ("extremum", include_str!("rust/kernels/extremum.rs"), &["pair"]),
    ("filter", include_str!("rust/kernels/filter.rs"), &["fixed_point", "place"]),
    ("fixed_point", include_str!("rust/kernels/fixed_point.rs"), &[]),
    ("grouped", include_str!("rust/kernels/grouped.rs"), &["filter", "place", "sum"]),
    ("matrix", include_str!("rust/kernels/matrix.rs"), &["filter", "place"]),
    ("mean", include_str!("rust/kernels/mean.rs"), &["fixed_point", "place"]),
    ("nearest", include_str!("rust/kernels/nearest.rs"), &["place"]),
    ("pair", include_str!("rust/kernels/pair.rs"), &["place"]),
    ("place", include_str!("rust/kernels/place.rs"), &[]),
    ("pointwise", include_str!("rust/kernels/pointwise.rs"), &["filter", "place"]),
    ("pointwise_sum", include_str!("rust/kernels/pointwise_sum.rs"), &["pointwise", "sum"]),
    ("pool", include_str!("rust/kernels/pool.rs"), &["filter", "place"]),
    ("prelu", include_str!("rust/kernels/prelu.rs"), &["fixed_point", "pair"]),
    ("product", include_str!("rust/kernels/product.rs"), &["fixed_point", "pair"]),
    ("softmax", include_str!("rust/kernels/softmax.rs"), &["fixed_point", "place"]),
    ("sum", include_str!("rust/kernels/sum.rs"), &["fixed_point", "place"]),
    ("table", include_str!("rust/kernels/table.rs"), &["place"]),
];

/// The files of the crate: path, and text.
///
/// # Errors
/// [`Error::Emit`] if a number is larger than the crate's types.
pub(super) fn print(firmware: &Firmware, vector: &Vector) -> Result<Vec<(String, String)>, Error> {
    let mut printer = Printer::new(firmware)?;
    let calls = printer.calls()?;
    let lib = printer.lib();
    let reset = printer.reset();
    let mut files = vec![
        ("Cargo.toml".to_string(), printer.manifest()),
        ("README.md".into(), printer.readme()),
        ("src/lib.rs".into(), lib + &reset),
        ("src/calls.rs".into(), calls),
        ("src/operators.rs".into(), printer.operators_file()),
        ("src/constants.rs".into(), printer.constants_file()),
        ("check/vector.rs".into(), vectors(firmware, &printer.name, vector)),
        (
            "check/firmware.rs".into(),
            include_str!("rust/program/firmware.rs").replace("model::", &format!("{}::", printer.name)),
        ),
        (
            "check/smallest.rs".into(),
            include_str!("rust/program/smallest.rs").replace("model::", &format!("{}::", printer.name)),
        ),
        ("check/startup.rs".into(), include_str!("rust/program/startup.rs").into()),
        ("check/cortex-m.ld".into(), include_str!("rust/program/cortex-m.ld").into()),
        ("check/mps3-an547.ld".into(), include_str!("rust/program/mps3-an547.ld").into()),
        (
            "examples/check.rs".into(),
            include_str!("rust/program/check.rs").replace("model::", &format!("{}::", printer.name)),
        ),
    ];
    let kernels = printer.modules();
    let mut modules = String::new();
    for &(name, text, _) in KERNELS.iter().filter(|k| kernels.contains(k.0)) {
        let _ = writeln!(modules, "pub mod {name};");
        files.push((format!("src/kernels/{name}.rs"), text.into()));
    }
    files.push(("src/kernels/mod.rs".into(), format!("//! The kernels that the run calls.\n\n// A network may need a part of a kernel only.\n#![allow(dead_code)]\n\n{modules}")));
    Ok(files)
}

struct Printer<'a> {
    firmware: &'a Firmware,
    /// The crate's name.
    name: String,
    kernels: BTreeSet<&'static str>,
    /// Constants that are printed, by position.
    constants: BTreeSet<ConstantId>,
    operators: String,
    /// Statics that calls share: text, and name.
    shared: HashMap<String, String>,
}

impl<'a> Printer<'a> {
    fn new(firmware: &'a Firmware) -> Result<Self, Error> {
        let largest = coordinates(firmware).max().unwrap_or(0);
        if largest > usize::from(u16::MAX) || firmware.arena_bytes > i32::MAX as usize {
            let why = format!("an image of {largest} rows or columns is too large for firmware in Rust");
            return Err(Error::Emit { network: firmware.name.clone(), why });
        }
        Ok(Self {
            firmware,
            name: crate_name(&firmware.name),
            kernels: ["place"].into(),
            constants: BTreeSet::new(),
            operators: String::new(),
            shared: HashMap::new(),
        })
    }

    fn fault(&self, why: impl Into<String>) -> Error {
        Error::Emit { network: self.firmware.name.clone(), why: why.into() }
    }

    /// The kernels that are called, and those that they need.
    fn modules(&self) -> BTreeSet<&'static str> {
        let mut kernels = self.kernels.clone();
        loop {
            let known = KERNELS.iter().filter(|k| kernels.contains(k.0));
            let all: BTreeSet<&str> = known.flat_map(|k| k.2.iter().copied().chain([k.0])).collect();
            if all.len() == kernels.len() {
                return all;
            }
            kernels = all;
        }
    }

    /// The name of a kernel, which is thereby used.
    fn kernel(&mut self, name: &'static str) -> &'static str {
        self.kernels.insert(name);
        name
    }

    fn manifest(&self) -> String {
        format!(
            "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2021\"\nrust-version = \"1.85\"\npublish = false\n\n[profile.release]\nopt-level = \"s\"\nlto = true\n\n[workspace]\n",
            self.name
        )
    }

    fn readme(&self) -> String {
        let name = &self.name;
        format!(
            "# {name}\n\nMade from `{}` by `tersor tiny emit --target rust`. `{name}::Model` computes it in {} bytes.\n\n\
             - On the host: `cargo run --example check` says `ok`, or what differs.\n\
             - For a chip: `cargo build --release --target thumbv7em-none-eabi`; `check/firmware.rs` with `check/*.ld` is a \
             whole program for qemu's boards.\n",
            file_name(&self.firmware.name),
            self.firmware.arena_bytes
        )
    }
}

/// Without its folder.
fn file_name(file: &str) -> String {
    std::path::Path::new(file).file_name().map_or_else(|| file.into(), |name| plain(&name.to_string_lossy()))
}

/// Letters, digits and underscores.
fn crate_name(file: &str) -> String {
    let stem =
        std::path::Path::new(file).file_stem().map_or_else(|| "model".into(), |s| s.to_string_lossy().to_lowercase());
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("model_{name}") }
}

/// Without what ends a comment's line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
