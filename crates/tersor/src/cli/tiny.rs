//! `tersor tiny`: networks in a microcontroller's memory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tersor::kernels::int8::Rounding;
use tersor::network::reference::Options;
use tersor::network::{self, Quantization};
use tersor::tiny::bench::{self, Missing, Server};
use tersor::tiny::board::{self, Board};
use tersor::tiny::fit::{Fit, fit};
use tersor::tiny::input::{self, Normalization};
use tersor::tiny::inspect::{Inspection, inspect};
use tersor::tiny::plan::{self, InputMode, Patches, Plan, Point, Search};
use tersor::tiny::profile;
use tersor::tiny::run::{self, Report, Settings};
use tersor::tiny::verify::{Golden, Verdict, verify};

mod emit;

use super::machine::Machine;
use super::quantity;
use super::show::{Output, Threads, table};

/// Networks in a microcontroller's memory
#[derive(Subcommand)]
pub enum Tiny {
    Inspect(Inspect),
    Plan(Planning),
    Fit(Fitting),
    Run(Run),
    Verify(Verify),
    Bench(Bench),
    Emit(emit::Emit),
}

impl Tiny {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Inspect(inspect) => inspect.run(),
            Self::Plan(plan) => plan.run(),
            Self::Fit(fit) => fit.run(),
            Self::Run(run) => run.run(),
            Self::Verify(verify) => verify.run(),
            Self::Bench(bench) => bench.run(),
            Self::Emit(emit) => emit.run(),
        }
    }
}

/// Show what a network is and needs: operators, costs, memory
#[derive(Args)]
pub struct Inspect {
    /// The network: .tflite, or .json/.safetensors of a graph file
    model: PathBuf,
    /// Draw the bytes alive while each operator runs
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Inspect {
    fn run(self) -> anyhow::Result<()> {
        let inspection = inspect(&network::read(&self.model)?);
        if let Some(file) = &self.svg {
            let svg = profile::svg(&inspection)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        self.output.show(&inspection, || inspection_table(&inspection))
    }
}

/// Plan the memory of a network: where every tensor lies, and in which parts it runs
#[derive(Args)]
pub struct Planning {
    /// The network: .tflite, or .json/.safetensors of a graph file
    model: PathBuf,
    /// auto, none, rows, rows@LAYER or ROWSxCOLS@LAYER: LAYER is the operator whose output is put together from parts
    #[arg(long, default_value = "auto", value_parser = parse_parts)]
    patches: PartsAsked,
    /// Who holds the input image
    #[arg(long, value_enum, default_value_t = Holder::Resident)]
    input: Holder,
    /// Choose the plan with the least extra work that fits (K, KB, KiB = 1024)
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_bytes)]
    sram: Option<u64>,
    /// Offsets are multiples of this
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4096))]
    align: u16,
    /// Draw the arena over time
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Save the plan, for `run --plan`
    #[arg(short, long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Holder {
    /// The arena
    Resident,
    /// The caller, who feeds rows or crops
    Streamed,
}

/// Which parts `--patches` asks for.
#[derive(Clone, Copy)]
enum PartsAsked {
    Auto,
    None,
    Rows,
    Given(Patches),
}

fn parse_parts(text: &str) -> Result<PartsAsked, String> {
    let usage = || format!("`{text}` is none of auto, none, rows, rows@LAYER, ROWSxCOLS@LAYER");
    let given = |parts: &str, layer: &str| {
        let layer = layer.parse().ok()?;
        let (rows, columns, streaming) = match parts.split_once('x') {
            None if parts == "rows" => (1, 1, true),
            None => return None,
            Some((rows, columns)) => (rows.parse().ok()?, columns.parse().ok()?, false),
        };
        let sane = (1..=64).contains(&rows) && (1..=64).contains(&columns);
        sane.then_some(PartsAsked::Given(Patches { layer, rows, columns, streaming }))
    };
    match (text, text.split_once('@')) {
        ("auto", _) => Ok(PartsAsked::Auto),
        ("none", _) => Ok(PartsAsked::None),
        ("rows", _) => Ok(PartsAsked::Rows),
        (_, Some((parts, layer))) => given(parts, layer).ok_or_else(usage),
        _ => Err(usage()),
    }
}

/// A plan, with what else was possible.
#[derive(Serialize)]
struct Planned<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    pareto: &'a [Point],
}

impl Planning {
    fn run(self) -> anyhow::Result<()> {
        let model = network::read(&self.model)?;
        let align = usize::from(self.align);
        let input = match self.input {
            Holder::Resident => InputMode::Resident,
            Holder::Streamed => InputMode::Streamed,
        };
        let search = Search { input, align, sram: self.sram, ..Search::default() };
        let (plan, front) = match self.patches {
            PartsAsked::None => (plan::layers(&model, align)?, Vec::new()),
            PartsAsked::Given(patches) => (plan::parts(&model, patches, input, align)?, Vec::new()),
            PartsAsked::Auto => plan::search(&model, search)?,
            PartsAsked::Rows => plan::search(&model, Search { rows_only: true, ..search })?,
        };
        if let Some(file) = &self.svg {
            let svg = plan::picture::svg(&plan, &inspect(&model), &front)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        if let Some(file) = &self.out {
            let json = serde_json::to_vec_pretty(&plan)?;
            tersor::data::atomic::write(file, |out| out.write_all(&json))?;
        }
        self.output.show(&Planned { plan: &plan, pareto: &front }, || plan_table(&plan, &front))?;
        if let Some(sram) = self.sram.filter(|&sram| plan.peak_bytes as u64 > sram) {
            bail!(
                "{}: the smallest plan found takes {} bytes, {sram} are allowed (try --input streamed)",
                self.model.display(),
                plan.peak_bytes
            );
        }
        Ok(())
    }
}

/// Say whether a network fits a device, and with which plan
#[derive(Args)]
#[command(group(clap::ArgGroup::new("device").required(true).args(["board", "sram"])))]
pub struct Fitting {
    /// The network: .tflite, or .json/.safetensors of a graph file
    model: PathBuf,
    /// A known board, such as stm32f746, nrf52840 or rp2040
    #[arg(long, value_name = "NAME", value_parser = parse_board)]
    board: Option<Board>,
    /// SRAM for the arena (K, KB, KiB = 1024)
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_bytes, requires = "flash")]
    sram: Option<u64>,
    /// Flash for data and code
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_bytes)]
    flash: Option<u64>,
    #[command(flatten)]
    output: Output,
}

fn parse_board(name: &str) -> Result<Board, String> {
    let names: Vec<&str> = board::BOARDS.iter().map(|b| b.name).collect();
    board::named(name).copied().ok_or_else(|| format!("unknown board; known: {}", names.join(", ")))
}

/// A fit, with the board it is for.
#[derive(Serialize)]
struct Fitted<'a> {
    board: Option<Board>,
    estimated_seconds: Option<f64>,
    #[serde(flatten)]
    fit: &'a Fit,
}

impl Fitting {
    fn run(self) -> anyhow::Result<()> {
        let model = network::read(&self.model)?;
        let sram = self.sram.or(self.board.map(|b| b.sram)).unwrap_or_default();
        let flash = self.flash.or(self.board.map(|b| b.flash)).unwrap_or_default();
        let fit = fit(&model, sram, flash)?;
        let estimated_seconds = self.board.map(|b| b.estimated_seconds(&fit.plan));
        let fitted = Fitted { board: self.board, estimated_seconds, fit: &fit };
        self.output.show(&fitted, || fit_table(&fitted))?;
        if !fit.fits {
            bail!("{}: does not fit: {}", self.model.display(), fit.advice.join("; "));
        }
        Ok(())
    }
}

/// Run a network, to the bit as the reference kernels of TensorFlow Lite Micro do
#[derive(Args)]
pub struct Run {
    /// The network: .tflite, or .json/.safetensors of a graph file
    model: PathBuf,
    /// .npy or .npz (one sample or a batch), or a picture (PNG, JPEG, BMP)
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,
    /// Write the output to an .npy, or all outputs to an .npz (out0, out1, …)
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write every tensor that is fed or computed to DIR/t<index>.npy
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Execute this plan; with --engine reference in an arena that traps any read the plan has not made valid
    #[arg(long, value_name = "PLAN.json", conflicts_with_all = ["dump", "rounding"])]
    plan: Option<PathBuf>,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Pixel value that becomes 0 (default: by the input's quantisation)
    #[arg(long, allow_negative_numbers = true)]
    mean: Option<f64>,
    /// Real step per pixel step: x = (pixel - mean) * scale (default: by the input's quantisation)
    #[arg(long, allow_negative_numbers = true)]
    scale: Option<f64>,
    #[command(flatten)]
    engine: Engine,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let model = network::read(&self.model)?;
        if let Some(file) = &self.out {
            run::check_output(&model, file)?;
        }
        let batch = input::read(&model, &self.input, Normalization { mean: self.mean, scale: self.scale })?;
        let labels = self.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default();
        let bar = self.output.progress("running", batch.samples.len() as u64);
        let settings = Settings { keep_all: self.dump.is_some(), ..self.engine.settings() };
        let start = Instant::now();
        let progress = |done| bar.set_position(done as u64);
        let results = match &self.plan {
            Some(file) => run::run_plan(&model, Plan::read(file)?, &batch, settings, &progress)?,
            None => run::run(&model, &batch, settings, &progress)?,
        };
        let seconds = start.elapsed().as_secs_f64();
        bar.finish_and_clear();
        if let Some(file) = &self.out {
            run::write_outputs(&model, &results, file)?;
        }
        if let Some(folder) = &self.dump {
            run::dump(&results, folder)?;
        }
        let report = Ran { input: &self.input, seconds, report: run::report(&model, &results, &labels) };
        self.output.show(&report, || run_table(&report))
    }
}

/// Hold a network's values against goldens, to the first difference
#[derive(Args)]
pub struct Verify {
    /// The network: .tflite, or .json/.safetensors of a graph file
    model: PathBuf,
    /// .npz, or a folder of .npy: outputs out0, out1, …; tensors t<index>; the input, if --input does not give it
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    /// The input: as in `run`, or an .npz of goldens that holds one
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Values may differ by so much; 0 asks for the same bits
    #[arg(long, default_value_t = 0.0)]
    tolerance: f64,
    #[command(flatten)]
    engine: Engine,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

impl Verify {
    fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let model = network::read(&self.model)?;
        let golden = Golden::open(&self.golden)?;
        let batch = match &self.input {
            None => golden.input(&model)?,
            Some(file) if file.extension().is_some_and(|e| e == "npz") || file.is_dir() => {
                Golden::open(file)?.input(&model)?
            }
            Some(file) => input::read(&model, file, Normalization::default())?,
        };
        let bar = self.output.progress("verifying", batch.samples.len() as u64);
        let progress = |done| bar.set_position(done as u64);
        let verdict = verify(&model, batch, &golden, self.engine.settings(), self.tolerance, &progress)?;
        bar.finish_and_clear();
        self.output.show(&verdict, || verdict_table(&verdict))?;
        if let Some(d) = verdict.first_difference {
            bail!(
                "{}: tensor {} ({}) at {:?}: expected {}, got {}",
                self.model.display(),
                d.tensor,
                d.name,
                d.index,
                d.expected,
                d.got
            );
        }
        Ok(())
    }
}

/// Time the fast engine beside LiteRT, tflite-micro, tract and microflow, round by round in one run
#[derive(Args)]
pub struct Bench {
    /// The networks
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: u16,
    /// Milliseconds of one engine in one round
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    milliseconds: u16,
    /// Threads of one run, of this engine and of the peers that can use several
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Python with the packages that bench/peers/tiny.py names
    #[arg(long, value_name = "PROGRAM", env = "TERSOR_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// The script of the Python peers
    #[arg(long, value_name = "FILE", default_value = "bench/peers/tiny.py")]
    script: PathBuf,
    /// The program of the Rust peers
    #[arg(
        long,
        value_name = "PROGRAM",
        env = "TERSOR_PEERS",
        default_value = "bench/peers/tiny-rust/target/release/tersor-peers"
    )]
    peers: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// What was measured, and where.
#[derive(Serialize)]
struct Benched<'a> {
    machine: Machine,
    #[serde(flatten)]
    report: &'a bench::Report,
}

impl Bench {
    fn run(self) -> anyhow::Result<()> {
        Threads { threads: self.threads }.start()?;
        let threads = self.threads.to_string();
        let mut python = Command::new(&self.python);
        python.arg(&self.script).args(["--threads", &threads]);
        let mut rust = Command::new(&self.peers);
        rust.args(["--threads", &threads]);
        let (mut servers, mut absent) = (Vec::new(), Vec::new());
        for (names, program) in [("LiteRT, tflite-micro", python), ("tract, microflow", rust)] {
            match Server::start(program) {
                Ok(server) => servers.push(server),
                Err(why) => absent.push(Missing { name: names.into(), why }),
            }
        }
        let settings = bench::Settings {
            rounds: self.rounds.into(),
            seconds: f64::from(self.milliseconds) / 1e3,
            threads: self.threads.into(),
        };
        let bar = self.output.progress("measuring", (self.models.len() * settings.rounds) as u64);
        let mut report = bench::bench(&self.models, &mut servers, &settings, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        report.missing.extend(absent);
        let benched = Benched { machine: Machine::this(), report: &report };
        self.output.show(&benched, || bench_table(&benched))
    }
}

fn bench_table(benched: &Benched) -> String {
    let report = benched.report;
    let mut rows = table(["=network", "=engine", ">µs a run", ">GMAC/s", ">ours / theirs", "same bits"]);
    for model in &report.models {
        let (time, rate) = (format!("{:.1}", model.microseconds), format!("{:.1}", model.gmacs));
        rows.add_row([model.file.clone(), "Tersor".into(), time, rate, String::new(), String::new()]);
        for (peer, of) in report.peers.iter().zip(&model.peers) {
            let number = |x: Option<f64>, digits| x.map_or_else(String::new, |x| format!("{x:.digits$}"));
            let rate = of.microseconds.map(|t| model.macs as f64 / t / 1e3);
            let last = match (&of.error, of.same_bits) {
                (Some(why), _) => plain(why),
                (None, Some(true)) => "yes".into(),
                (None, _) => "no".into(),
            };
            let name = format!("{} {}", peer.title, peer.version);
            rows.add_row([String::new(), name, number(of.microseconds, 1), number(rate, 1), number(of.ratio, 3), last]);
        }
    }
    let mut text = rows.trim_fmt();
    let _ = write!(
        text,
        "\n\n{}\n{} (peak {:.0} GMAC/s in registers, one thread); median of {} rounds; threads: {}\n",
        benched.machine, report.isa, report.peak_gmacs, report.rounds, report.threads
    );
    for (name, mean) in &report.geometric_mean {
        let _ = writeln!(text, "geometric mean of ours / {name}: {mean:.3}");
    }
    for missing in &report.missing {
        let _ = writeln!(text, "missing: {}: {}", missing.name, missing.why);
    }
    text
}

/// How the network is computed.
#[derive(Args)]
struct Engine {
    /// What computes: kernels written for this machine, or those that read like the formulas; the bits are the same
    #[arg(long, value_enum, default_value_t = Kernels::Fast)]
    engine: Kernels,
    /// How fixed-point products are rounded; LiteRT's FULLY_CONNECTED rounds once
    #[arg(long, value_enum, default_value_t = Round::Double)]
    rounding: Round,
    /// Start every sample of a network with state afresh, instead of taking them for one stream
    #[arg(long)]
    reset: bool,
    /// Most memory that activations may take (K, M, G = 1024, …)
    #[arg(long, value_name = "SIZE", default_value = "192M", value_parser = quantity::parse_bytes)]
    memory: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kernels {
    Fast,
    Reference,
}

#[derive(Clone, Copy, ValueEnum)]
enum Round {
    Double,
    Single,
}

impl Engine {
    fn settings(&self) -> Settings {
        let rounding = match self.rounding {
            Round::Double => Rounding::Double,
            Round::Single => Rounding::Single,
        };
        let options = Options { rounding, memory: self.memory, ..Options::default() };
        let engine = match self.engine {
            Kernels::Fast => run::Engine::Fast,
            Kernels::Reference => run::Engine::Reference,
        };
        Settings { engine, options, reset: self.reset, keep_all: false }
    }
}

fn read_labels(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read as text", file.display()))?;
    Ok(text.lines().map(|line| line.trim().to_string()).collect())
}

fn inspection_table(found: &Inspection) -> String {
    let mut rows = table([">#", "operator", "output", "meaning", ">MACs", ">parameters", ">live bytes", ">in place"]);
    for o in &found.operators {
        let output = o.outputs.first().map(|&t| &found.tensors[t]);
        let marked = |bytes: u64, bound: u64| {
            let mark = if bytes == bound { "*" } else { " " };
            format!("{}{mark}", quantity::thousands(bytes))
        };
        rows.add_row([
            o.index.to_string(),
            plain(&o.operator),
            output.map_or_else(String::new, |t| format!("{} {}", t.kind, shape(&t.shape))),
            output.and_then(|t| t.quantization.as_ref()).map_or_else(String::new, meaning),
            quantity::thousands(o.macs),
            quantity::thousands(o.parameters),
            marked(o.live_bytes, found.bound_bytes),
            marked(o.live_bytes_in_place, found.lower_bound_bytes),
        ]);
    }
    let mut text = rows.trim_fmt();
    text.push_str("\n\n");
    for (what, tensors) in [("input", &found.inputs), ("output", &found.outputs)] {
        for &t in tensors {
            let tensor = &found.tensors[t];
            let meaning = tensor.quantization.as_ref().map_or_else(String::new, |q| format!(", {}", meaning(q)));
            let _ = writeln!(
                text,
                "{what:<11} {t} {}: {} {}{meaning}",
                plain(&tensor.name),
                tensor.kind,
                shape(&tensor.shape)
            );
        }
    }
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line("MACs", quantity::thousands(found.macs));
    line("parameters", quantity::thousands(found.parameters));
    line("Flash", format!("{} of data", quantity::bytes(found.flash_bytes)));
    let at = |operator: usize| {
        found.operators.get(operator).map_or_else(String::new, |o| format!("{} {}", o.index, o.operator))
    };
    let stands = format!("as the file stands, at operator {}", at(found.bound_operator));
    line("SRAM", format!("{} {stands}", quantity::bytes(found.bound_bytes)));
    let in_place = format!("in place, at operator {}", at(found.lower_bound_operator));
    line("", format!("{} {in_place}", quantity::bytes(found.lower_bound_bytes)));
    if found.state_bytes > 0 {
        line("state", format!("{} that live between runs, counted above", quantity::bytes(found.state_bytes)));
    }
    line("runs", if found.runnable { "yes, exactly".into() } else { "no:".into() });
    for (i, fault) in found.unsupported.iter().enumerate() {
        let within = fault.subgraph.map_or_else(String::new, |g| format!("subgraph {g}, "));
        // The list of what is supported is said once.
        let why = if i == 0 { &fault.why } else { fault.why.split("; supported:").next().unwrap_or(&fault.why) };
        line("", format!("{within}operator {} ({}): {}", fault.index, plain(&fault.operator), cut(why, 700)));
    }
    text
}

fn plan_table(plan: &Plan, front: &[Point]) -> String {
    let mut text = String::new();
    // Patches and rows have hundreds of pieces, all alike; the picture and --json show them.
    if plan.patches.is_none() {
        let mut rows = table([">tensor", "name", ">offset", ">bytes", ">first", ">last"]);
        for piece in &plan.tensors {
            rows.add_row([
                piece.index.to_string(),
                plain(&piece.name),
                quantity::thousands(piece.offset as u64),
                quantity::thousands(piece.bytes as u64),
                piece.first.to_string(),
                piece.last.to_string(),
            ]);
        }
        text = rows.trim_fmt() + "\n\n";
    }
    if !front.is_empty() {
        let mut rows = table(["parts", ">bytes at least", ">extra MACs"]);
        for point in front {
            rows.add_row([parts(point.patches), quantity::thousands(point.estimated_bytes as u64), {
                format!("{:.1} %", 100.0 * point.extra_macs as f64 / plan.macs.max(1) as f64)
            }]);
        }
        let _ = writeln!(text, "What was possible (Pareto front):\n{}\n", rows.trim_fmt());
    }
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    let input = match plan.input {
        InputMode::Resident => "input image in the arena",
        InputMode::Streamed => "input image fed by the caller",
    };
    line("parts", format!("{}, {input}", parts(plan.patches)));
    let ratio = plan.peak_bytes as f64 / plan.lower_bound_bytes.max(1) as f64;
    let of = quantity::thousands(plan.lower_bound_bytes);
    line("SRAM", format!("{}, {ratio:.2} of the layers' bound of {of}", quantity::bytes(plan.peak_bytes as u64)));
    let scratch = plan.scratch.iter().map(|s| s.bytes).max().unwrap_or(0);
    line("", format!("scratch of {} at most, counted", quantity::bytes(scratch as u64)));
    line("Flash", format!("{} of data", quantity::bytes(plan.flash_bytes)));
    let share = 100.0 * plan.extra_macs as f64 / plan.macs.max(1) as f64;
    line(
        "MACs",
        format!("{} + {} ({share:.1} %)", quantity::thousands(plan.macs), quantity::thousands(plan.extra_macs)),
    );
    text
}

fn parts(patches: Option<Patches>) -> String {
    match patches {
        None => "layers, whole".into(),
        Some(p) if p.streaming => format!("rows up to operator {}", p.layer),
        Some(p) => format!("{}x{} patches up to operator {}", p.rows, p.columns, p.layer),
    }
}

fn fit_table(fitted: &Fitted) -> String {
    let fit = fitted.fit;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    if let Some(board) = fitted.board {
        line("board", format!("{} ({})", board.name, board.chip));
    }
    line("fits", if fit.fits { "yes".into() } else { "no".into() });
    line("parts", parts(fit.plan.patches));
    let of = |needed: u64, given: u64| format!("{} of {}", quantity::bytes(needed), quantity::bytes(given));
    line("SRAM", of(fit.plan.peak_bytes as u64, fit.sram_bytes));
    line("Flash", format!("{}, code estimated", of(fit.flash_needed, fit.flash_bytes)));
    if let Some(seconds) = fitted.estimated_seconds {
        line(
            "latency",
            format!("about {} (an estimate from multiply-adds, not a measurement)", quantity::seconds(seconds)),
        );
    }
    for advice in &fit.advice {
        line("", advice.clone());
    }
    text
}

/// A name from a file as a table may show it: the last of several joined ones, no control characters, not endless.
fn plain(name: &str) -> String {
    let last = name.rsplit(';').find(|part| !part.is_empty()).unwrap_or(name);
    cut(last, 40)
}

/// Text from a file as a terminal may show it: no control characters, and at most `longest` characters.
fn cut(text: &str, longest: usize) -> String {
    let mut shown: String = text.chars().take(longest).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

fn shape(shape: &[usize]) -> String {
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    if lengths.is_empty() { "scalar".into() } else { lengths.join("x") }
}

/// real = scale·(q − zero point), as short as it goes.
fn meaning(q: &Quantization) -> String {
    match (q.scale.as_slice(), q.zero_point.as_slice()) {
        (&[scale], &[0]) => format!("{scale:.6} q"),
        (&[scale], &[z]) if z < 0 => format!("{scale:.6} (q + {})", -z),
        (&[scale], &[z]) => format!("{scale:.6} (q - {z})"),
        (scales, _) => format!("{} scales", scales.len()),
    }
}

/// A run, with what only the command knows.
#[derive(Serialize)]
struct Ran<'a> {
    input: &'a Path,
    seconds: f64,
    #[serde(flatten)]
    report: Report,
}

/// Samples listed in the table; `--json` lists all.
const LISTED: usize = 20;

fn run_table(ran: &Ran) -> String {
    let report = &ran.report;
    let mut text = String::new();
    match report.top.as_slice() {
        [] => {}
        [one] => {
            let mut rows = table([">class", "label", ">score"]);
            for class in one {
                let label = class.label.clone().unwrap_or_default();
                rows.add_row([class.class.to_string(), label, format!("{:.4}", class.score)]);
            }
            text = rows.trim_fmt() + "\n\n";
        }
        many => {
            let mut rows = table([">sample", ">class", "label", ">score"]);
            for (i, classes) in many.iter().enumerate().take(LISTED) {
                let Some(class) = classes.first() else { continue };
                let label = class.label.clone().unwrap_or_default();
                rows.add_row([i.to_string(), class.class.to_string(), label, format!("{:.4}", class.score)]);
            }
            text = rows.trim_fmt() + "\n";
            if many.len() > LISTED {
                let _ = writeln!(text, "… and {} more; --json lists all", many.len() - LISTED);
            }
            text.push('\n');
        }
    }
    for output in &report.outputs {
        let _ = writeln!(
            text,
            "output {} {}: {} {}",
            output.tensor,
            plain(&output.name),
            output.kind,
            shape(&output.shape)
        );
    }
    let _ = writeln!(text, "{} in {}", count(report.samples, "sample"), quantity::seconds(ran.seconds));
    text
}

fn verdict_table(verdict: &Verdict) -> String {
    let mut rows = table([">tensor", "name", "golden", ">values", ">differing"]);
    for c in &verdict.compared {
        rows.add_row([
            c.tensor.to_string(),
            plain(&c.name),
            plain(&c.array),
            quantity::thousands(c.values as u64),
            quantity::thousands(c.differing as u64),
        ]);
    }
    let values: usize = verdict.compared.iter().map(|c| c.values).sum();
    let differing: usize = verdict.compared.iter().map(|c| c.differing).sum();
    format!(
        "{}\n\n{} of {} values differ, {} compared over {}\n",
        rows.trim_fmt(),
        quantity::thousands(differing as u64),
        quantity::thousands(values as u64),
        count(verdict.compared.len(), "tensor"),
        count(verdict.samples, "sample"),
    )
}

fn count(n: usize, what: &str) -> String {
    format!("{} {what}{}", quantity::thousands(n as u64), if n == 1 { "" } else { "s" })
}
