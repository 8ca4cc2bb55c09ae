//! `tersor compress export`: the same network in another form.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::compress::model::{Form, Model};

use super::source;
use crate::cli::quantity::bytes;
use crate::cli::show::Output;

/// Write a network in another form
#[derive(Args)]
pub struct Export {
    /// A network: .safetensors, .onnx, or efficientnet-lite0
    model: PathBuf,
    /// dense: safetensors with zeros; sparse: safetensors without them; onnx
    #[arg(long, value_enum)]
    form: FormName,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum FormName {
    Dense,
    Sparse,
    Onnx,
}

#[derive(Serialize)]
struct Exported {
    form: FormName,
    bytes: u64,
    out: PathBuf,
}

impl Export {
    pub fn run(self) -> anyhow::Result<()> {
        let model: Model = source::trained(&self.model)?;
        let form = match self.form {
            FormName::Dense => Form::Dense,
            FormName::Sparse => Form::Sparse,
            FormName::Onnx => Form::Onnx,
        };
        let written = model.write(&self.out, form)?;
        let report = Exported { form: self.form, bytes: written, out: self.out };
        self.output.show(&report, || format!("{}: {}\n", report.out.display(), bytes(report.bytes)))
    }
}
