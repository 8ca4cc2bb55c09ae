//! `tersor train bench`: steps of training beside Burn's own and PyTorch's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use tersor::train::bench::{self, Kind, Mode, PyTorch, Row, Settings};

use crate::cli::machine::Machine;
use crate::cli::show::{Output, Threads, table};

/// Time steps of training and inference: our kernels, Burn's own and PyTorch's, in turn
///
/// Four networks: a small CNN, ResNet-20 (32 pictures of 32x32), an LSTM (32 times 64 characters) and a transformer of
/// four blocks (8 times 256 characters). A figure is the median over rounds of the median step of a round.
#[derive(Args)]
pub struct Bench {
    /// The networks
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "cnn,resnet20,lstm,transformer",
        value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|name| Kind::named(&name).ok_or("no such network"))
    )]
    probe: Vec<Kind>,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: u16,
    /// Milliseconds of one peer in one round
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    milliseconds: u16,
    /// Python with PyTorch
    #[arg(long, value_name = "PROGRAM", env = "TERSOR_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// The script that serves PyTorch
    #[arg(long, value_name = "FILE", default_value = "bench/peers/training.py")]
    script: PathBuf,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Benched {
    machine: Machine,
    threads: usize,
    rounds: u16,
    /// PyTorch's version, if it was there.
    pytorch: Option<String>,
    /// Why it was not.
    missing: Option<String>,
    rows: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    row: Row,
    to_pytorch: Option<f64>,
    to_burn: f64,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let threads = rayon::current_num_threads();
        let mut python = Command::new(&self.python);
        python.arg(&self.script).args(["--threads", &threads.to_string()]);
        let (mut pytorch, missing) = match PyTorch::start(python) {
            Ok(pytorch) => (Some(pytorch), None),
            Err(why) => (None, Some(format!("PyTorch: {why} ({} says how to install it)", self.script.display()))),
        };
        let settings = Settings {
            probes: self.probe.clone(),
            rounds: self.rounds.into(),
            seconds: f64::from(self.milliseconds) / 1e3,
        };
        let bar = self.output.progress("measuring", (2 * settings.probes.len() * (settings.rounds + 1)) as u64);
        let rows = bench::bench(&settings, pytorch.as_mut(), &|rounds| bar.set_position(rounds as u64));
        bar.finish_and_clear();
        let rows = match rows {
            Ok(rows) => rows,
            Err(why) => bail!("PyTorch: {why}"),
        };
        let benched = Benched {
            machine: Machine::this(),
            threads,
            rounds: self.rounds,
            pytorch: pytorch.map(|pytorch| pytorch.version),
            missing,
            rows: rows
                .into_iter()
                .map(|row| Shown { to_pytorch: row.to_pytorch(), to_burn: row.to_burn(), row })
                .collect(),
        };
        self.output.show(&benched, || told(&benched))
    }
}

fn told(benched: &Benched) -> String {
    let mut rows = table(["=network", "mode", ">ms a step", ">Burn's", ">PyTorch's", ">ours / Burn's", ">/ PyTorch's"]);
    let ms = |seconds: f64| format!("{:.2}", 1e3 * seconds);
    for Shown { row, to_pytorch, to_burn } in &benched.rows {
        rows.add_row([
            row.probe.name().into(),
            if row.mode == Mode::Train { "train" } else { "infer" }.into(),
            ms(row.seconds),
            ms(row.burn_seconds),
            row.pytorch_seconds.map_or(String::new(), ms),
            format!("{to_burn:.2}"),
            to_pytorch.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    let peer = match (&benched.pytorch, &benched.missing) {
        (Some(version), _) => format!("PyTorch {version}"),
        (None, Some(why)) => format!("missing: {why}"),
        (None, None) => String::new(),
    };
    format!(
        "{}\n\n{}\nthreads: {}; median of {} rounds\n{peer}\n",
        rows.trim_fmt(),
        benched.machine,
        benched.threads,
        benched.rounds
    )
}
