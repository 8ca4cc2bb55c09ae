//! `tersor generate bench`: attention beside PyTorch's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tersor::data::peer::Peers;
use tersor::generate::bench::{Case, ClusterCase, Row, growth, measure};

use crate::cli::machine::Machine;
use crate::cli::show::{Output, Threads, table};

/// Time attention, dense, over radial masks and by clusters, and k-means: ours and PyTorch's or scikit-learn's, in turn
#[derive(Args)]
pub struct Bench {
    /// Only cases whose name holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Also one head of Wan's default clip, 69,120 tokens of width 128: half a minute a round
    #[arg(long)]
    large: bool,
    /// Instead, clips of 8 to 128 frames of 256 tokens: how the time of a radial mask grows with length
    #[arg(long, conflicts_with = "large")]
    lengths: bool,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: u16,
    /// Python with the peers
    #[arg(long, value_name = "PROGRAM", env = "TERSOR_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// The script that serves them
    #[arg(long, value_name = "FILE", default_value = "bench/peers/attention.py")]
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
    /// With `--lengths`, the exponent of seconds over tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<f64>,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let mut cases = if self.lengths { Case::lengths()? } else { Case::standard(self.large)? };
        let wanted = |name: &str| self.only.as_deref().is_none_or(|only| name.contains(only));
        cases.retain(|case| wanted(&case.name));
        let mut of_clusters = ClusterCase::STANDARD.to_vec();
        of_clusters.retain(|case| !self.lengths && wanted(&case.name()));
        let mut python = Command::new(&self.python);
        python.arg(&self.script);
        let (mut peers, missing) = match Peers::start(python) {
            Ok(peers) => (Some(peers), None),
            Err(why) => (None, Some(format!("{why} ({} says how to install the peers)", self.script.display()))),
        };
        let folder = tempfile::tempdir().context("a folder for what the peers are given")?;
        let bar = self.output.progress("measuring", (cases.len() + of_clusters.len()) as u64);
        let mut rows = Vec::new();
        for case in &cases {
            rows.push(measure(case, self.rounds.into(), peers.as_mut(), folder.path())?);
            bar.inc(1);
        }
        for case in &of_clusters {
            rows.push(case.measure(self.rounds.into(), peers.as_mut(), folder.path())?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let benched = Benched {
            machine: Machine::this(),
            threads: rayon::current_num_threads(),
            rounds: self.rounds,
            peers: peers.map_or_else(Vec::new, |peers| peers.present),
            missing,
            growth: self.lengths.then(|| growth(&cases, &rows)).flatten(),
            rows,
        };
        self.output.show(&benched, || told(&benched))
    }
}

fn told(benched: &Benched) -> String {
    let mut rows = table(["=case", "pass", ">density", ">ms", ">GFLOP/s", ">peak", "peers / ours"]);
    for row in &benched.rows {
        let peers = row.peers.iter().map(|(name, seconds)| format!("{name} {:.2}", seconds / row.seconds));
        rows.add_row([
            row.name.clone(),
            row.pass.into(),
            format!("{:.3}", row.density),
            format!("{:.1}", 1e3 * row.seconds),
            format!("{:.1}", row.gigaflops),
            format!("{:.0}", row.peak_gigaflops),
            peers.collect::<Vec<_>>().join(", "),
        ]);
    }
    let versions =
        benched.peers.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ");
    let growth = benched
        .growth
        .map_or_else(String::new, |growth| format!("seconds grow as tokens to the power of {growth:.2}\n"));
    let peers = benched.missing.as_ref().map_or(versions, |why| format!("missing: {why}"));
    format!(
        "{}\n\n{growth}{}\nthreads: {}; median of {} rounds\npeers: {peers}\n",
        rows.trim_fmt(),
        benched.machine,
        benched.threads,
        benched.rounds
    )
}
