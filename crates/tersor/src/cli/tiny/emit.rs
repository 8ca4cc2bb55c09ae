//! `tersor tiny emit`: from a file to firmware.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::network;
use tersor::tiny::emit::firmware::Port;
use tersor::tiny::emit::verify::{self, Run};
use tersor::tiny::emit::{Emission, Target, emit};
use tersor::tiny::plan::{self, InputMode, Plan, Search};

use super::{Holder, plain, shape};
use crate::cli::quantity;
use crate::cli::show::{Output, table};

/// Write firmware that runs a network as a plan says: weights in Flash, one static arena, only the kernels used
#[derive(Args)]
pub struct Emit {
    /// The network: .tflite
    model: PathBuf,
    /// The language of the program
    #[arg(long, value_enum, default_value_t = Language::C)]
    target: Language,
    /// The plan to follow (default: the layers, whole)
    #[arg(long, value_name = "PLAN.json", conflicts_with_all = ["sram", "input"])]
    plan: Option<PathBuf>,
    /// Follow the plan with the least extra work that fits here (K, KB, KiB = 1024)
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_bytes)]
    sram: Option<u64>,
    /// Who holds the input image
    #[arg(long, value_enum, default_value_t = Holder::Resident)]
    input: Holder,
    /// Compile it, and run it on this machine and in qemu: every bit must be that of `run`
    #[arg(long)]
    verify: bool,
    /// The folder to write to
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    /// C99
    C,
    /// A Rust crate without dependencies and without `std`
    Rust,
}

/// What was written, and what became of it.
#[derive(Serialize)]
struct Emitted<'a> {
    target: Target,
    folder: &'a PathBuf,
    files: Vec<&'a str>,
    arena_bytes: usize,
    constant_bytes: usize,
    variable_bytes: usize,
    operators: usize,
    calls: usize,
    frames: usize,
    inputs: Vec<Value<'a>>,
    outputs: Vec<Value<'a>>,
    /// What ran where, with `--verify`.
    runs: Vec<Run>,
}

/// An input or an output as the program has it.
#[derive(Serialize)]
struct Value<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    shape: &'a [usize],
    bytes: usize,
    scale: Option<f64>,
    zero_point: Option<i32>,
}

impl<'a> Value<'a> {
    fn of(port: &'a Port) -> Self {
        let (scale, zero_point) = port.affine.map(|q| (q.scale, q.zero_point)).unzip();
        let kind = port.element_type.name();
        Self { name: &port.name, kind, shape: &port.shape, bytes: port.bytes, scale, zero_point }
    }
}

impl Emit {
    pub fn run(self) -> anyhow::Result<()> {
        let model = network::read(&self.model)?;
        let plan = match &self.plan {
            Some(file) => Plan::read(file)?,
            None => self.planned(&model)?,
        };
        let target = match self.target {
            Language::C => Target::C,
            Language::Rust => Target::Rust,
        };
        let emission = emit(&model, &plan, target)?;
        emission.write(&self.out)?;
        let runs = if self.verify {
            let spinner = self.output.spinner();
            spinner.set_message(match target {
                Target::C => "compiling and running",
                Target::Rust => {
                    "compiling and running; the first time also Rust's core, half a minute for each of two targets"
                }
            });
            verify::verify(&emission, &self.out, &verify::PLACES)?
        } else {
            Vec::new()
        };
        let emitted = emitted(&emission, &self.out, runs);
        self.output.show(&emitted, || emitted_table(&emitted))?;
        let wrong: Vec<&str> = emitted.runs.iter().filter(|r| r.wrong.is_some()).map(|r| r.place).collect();
        if !wrong.is_empty() {
            bail!("{}: the program could not be built, or is wrong, on {}", self.model.display(), wrong.join(", "));
        }
        if self.verify && emitted.runs.iter().all(|r| r.missing.is_some()) {
            let first = if target == Target::C { "gcc" } else { "a Rust toolchain" };
            bail!("nothing could be verified: install {first}, or what else is named above");
        }
        Ok(())
    }

    /// The plan of the layers, or the one that `plan --sram` chooses.
    fn planned(&self, model: &network::Network) -> anyhow::Result<Plan> {
        let input = match self.input {
            Holder::Resident => InputMode::Resident,
            Holder::Streamed => InputMode::Streamed,
        };
        if self.sram.is_none() && input == InputMode::Resident {
            return Ok(plan::layers(model, Search::default().align)?);
        }
        let (plan, _) = plan::search(model, Search { input, sram: self.sram, ..Search::default() })?;
        if let Some(sram) = self.sram.filter(|&sram| plan.peak_bytes as u64 > sram) {
            let try_next = if input == InputMode::Resident { " (try --input streamed)" } else { "" };
            bail!(
                "{}: the smallest plan found takes {} bytes, {sram} are allowed{try_next}",
                self.model.display(),
                plan.peak_bytes
            );
        }
        Ok(plan)
    }
}

fn emitted<'a>(emission: &'a Emission, folder: &'a PathBuf, runs: Vec<Run>) -> Emitted<'a> {
    let firmware = &emission.firmware;
    Emitted {
        target: emission.target,
        folder,
        files: emission.files.iter().map(|(path, _)| path.as_str()).collect(),
        arena_bytes: firmware.arena_bytes,
        constant_bytes: firmware.constant_bytes(),
        variable_bytes: firmware.variables.iter().map(|v| v.bytes).sum(),
        operators: firmware.operators.len(),
        calls: firmware.calls.len(),
        frames: emission.vector.frames.len(),
        inputs: firmware.inputs.iter().map(|i| Value::of(&i.port)).collect(),
        outputs: firmware.outputs.iter().map(|o| Value::of(&o.port)).collect(),
        runs,
    }
}

fn emitted_table(emitted: &Emitted) -> String {
    let mut text = String::new();
    if !emitted.runs.is_empty() {
        let mut rows = table(["place", "result", ">arena", ">stack", ">code", ">constants", ">Flash", ">instructions"]);
        let number = |n: Option<u64>| n.map_or("-".into(), quantity::thousands);
        for run in &emitted.runs {
            let result = match (&run.missing, &run.wrong) {
                (Some(_), _) => "not tried",
                (_, Some(_)) => "wrong",
                _ => "equal",
            };
            rows.add_row([
                run.place.to_string(),
                result.into(),
                number(run.arena_bytes),
                number(run.stack_bytes),
                number(run.code_bytes),
                number(run.constant_bytes),
                number(run.flash_bytes),
                number(run.instructions),
            ]);
        }
        text = rows.trim_fmt() + "\n";
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for run in &emitted.runs {
            let Some(reason) = run.missing.as_deref().or(run.wrong.as_deref()) else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, places)) => places.push(run.place),
                None => reasons.push((reason, vec![run.place])),
            }
        }
        for (reason, places) in reasons {
            let _ = writeln!(text, "\n{}: {reason}", places.join(", "));
        }
        text.push('\n');
    }
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line("written", format!("{} files to {}", emitted.files.len(), emitted.folder.display()));
    line("arena", quantity::bytes(emitted.arena_bytes as u64));
    line("constants", quantity::bytes(emitted.constant_bytes as u64));
    line("calls", format!("{} of {} operators", emitted.calls, emitted.operators));
    for (what, values) in [("input", &emitted.inputs), ("output", &emitted.outputs)] {
        for value in values {
            line(what, format!("{} {} {}", plain(value.name), value.kind, shape(value.shape)));
        }
    }
    if emitted.runs.is_empty() {
        let folder = emitted.folder.display().to_string();
        let folder = if folder.contains(char::is_whitespace) { format!("'{folder}'") } else { folder };
        line(
            "to check",
            match emitted.target {
                Target::C => format!("make -C {folder} check, in qemu: make -C {folder} check-cortex-m4"),
                Target::Rust => format!("cargo run --manifest-path {folder}/Cargo.toml --example check"),
            },
        );
    }
    text
}
