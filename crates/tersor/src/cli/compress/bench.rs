//! `tersor compress bench`: pruned layers and networks beside their dense selves and the peers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::compress::bench::{self, Case, Row, Settings};
use tersor::compress::granularity::Granularity;
use tersor::data::peer::Peers;

use super::source;
use crate::cli::machine::Machine;
use crate::cli::show::{BadUsage, Output, Threads, table};

/// Time pruned layers and networks: dense and sparse kernels, onnxruntime, PyTorch, torch.sparse, SciPy and Torch-Pruning, in turn
#[derive(Args)]
pub struct Bench {
    /// Networks to time as they are (.safetensors, .onnx, efficientnet-lite0) [default: layers and networks of the papers]
    models: Vec<PathBuf>,
    /// Cut the given networks to this share of their weights first
    #[arg(long, value_name = "SHARE", requires = "models")]
    density: Option<f64>,
    /// Inputs at once, for the given networks
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,
    /// Only cases whose name holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: u16,
    /// Milliseconds of one measurement in one round
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    milliseconds: u16,
    /// Python with the peers
    #[arg(long, value_name = "PROGRAM", env = "TERSOR_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// The script that serves them
    #[arg(long, value_name = "FILE", default_value = "bench/peers/compress.py")]
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
    /// Peers and their versions.
    peers: Vec<(String, String)>,
    /// Why there are none.
    missing: Option<String>,
    rows: Vec<Row>,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        if self.density.is_some_and(|density| !(density > 0.0 && density <= 1.0)) {
            bail!(BadUsage("--density must be above 0 and at most 1".into()));
        }
        self.threads.start()?;
        let threads = rayon::current_num_threads();
        let cases = self.cases()?;
        let mut python = Command::new(&self.python);
        python.arg(&self.script);
        let (mut peers, missing) = match Peers::start(python) {
            Ok(peers) => (Some(peers), None),
            Err(why) => (None, Some(format!("{why} ({} says how to install the peers)", self.script.display()))),
        };
        let settings = Settings { rounds: self.rounds.into(), seconds: f64::from(self.milliseconds) / 1e3, threads };
        let folder = tempfile::tempdir().context("a folder for what the peers are given")?;
        let bar = self.output.progress("measuring", cases.len() as u64);
        let rows = bench::bench(&cases, settings, peers.as_mut(), folder.path(), &mut |_| bar.inc(1))?;
        bar.finish_and_clear();
        let benched = Benched {
            machine: Machine::this(),
            threads,
            rounds: self.rounds,
            peers: peers.map_or_else(Vec::new, |peers| peers.present),
            missing,
            rows,
        };
        self.output.show(&benched, || told(&benched))
    }

    fn cases(&self) -> anyhow::Result<Vec<Case>> {
        let mut cases = Vec::new();
        for path in &self.models {
            let model = source::trained(path)?;
            let network = model.network("timing")?;
            for &batch in &self.batch {
                let density = self.density.unwrap_or(1.0);
                cases.push(Case::pruned(&model.name, network, density, Granularity::Element, batch.into())?);
            }
        }
        if self.models.is_empty() {
            cases = Case::standard()?;
        }
        cases.retain(|case| self.only.as_deref().is_none_or(|only| case.name.contains(only)));
        Ok(cases)
    }
}

fn told(benched: &Benched) -> String {
    let mut rows = table([
        "=case",
        ">batch",
        ">density",
        ">ms dense",
        ">ms sparse",
        ">ms auto",
        ">sparse layers",
        ">break-even",
        ">dense / auto",
        "peers / auto",
        ">answers apart",
    ]);
    let ms =
        |seconds: f64| if seconds < 1e-3 { format!("{:.4}", 1e3 * seconds) } else { format!("{:.3}", 1e3 * seconds) };
    for row in &benched.rows {
        let peers = row.peers.iter().map(|peer| format!("{} {:.2}", peer.name, peer.seconds / row.auto_seconds));
        let apart = row.peers.iter().filter_map(|peer| peer.difference).reduce(f64::max);
        rows.add_row([
            row.name.clone(),
            row.batch.to_string(),
            format!("{:.1} %", 100.0 * row.density),
            ms(row.dense_seconds),
            ms(row.sparse_seconds),
            ms(row.auto_seconds),
            format!("{} of {}", row.sparse_layers.0, row.sparse_layers.1),
            row.break_even.map_or(String::new(), |density| format!("{:.0} %", 100.0 * density)),
            format!("{:.2}", row.speedup()),
            peers.collect::<Vec<_>>().join(", "),
            apart.map_or(String::new(), |apart| format!("{apart:.0e}")),
        ]);
    }
    let versions =
        benched.peers.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ");
    let peers = benched.missing.as_ref().map_or(versions, |why| format!("missing: {why}"));
    format!(
        "{}\n\n{}\nthreads: {}; median of {} rounds\npeers: {peers}\n",
        rows.trim_fmt(),
        benched.machine,
        benched.threads,
        benched.rounds
    )
}
