//! `tersor graph check`: a certificate, checked from scratch.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tersor::graph::sources;
use tersor::graph::spanner::certificate;
use tersor::graph::spanner::check::check;
use tersor::graph::spanner::verdict::{Verdict, verdict};

use super::{GraphInput, decimal, line};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{Output, Threads};

/// Check that a certificate proves the stretch of a thinned graph, without trust in who made it
///
/// In near-linear time, against G and H alone. Exit code 1 if the certificate is rejected; the reason names the cluster
/// (as in the file, from 0) or the source.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    input: GraphInput,
    /// The thinned graph, with the ids of G, or the new ones if G is read with --relabel
    spanner: PathBuf,
    /// The certificate that `spanner --certificate` wrote
    certificate: PathBuf,
    /// Those that the certificate must be for, all and no other: one id a line
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// A verdict, and on what.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    verdict: Verdict,
    stretch: f64,
    ratio: f64,
    sources: usize,
    clusters: usize,
    arcs: usize,
    graph_arcs: usize,
    seconds: f64,
}

impl Check {
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let progress = self.output.spinner().with_message("reading");
        let graph = self.input.read()?;
        let spanner = graph.read_part(&self.spanner)?;
        let certificate = certificate::read(&self.certificate, &graph)?;
        let asked = self.sources.as_ref().map(|file| sources::read(file, &graph)).transpose()?;
        progress.set_message(format!("checking {} clusters", certificate.clusters.len()));
        let start = Instant::now();
        let checked = check(&graph.graph, &spanner, &certificate, asked.as_deref())?;
        progress.finish_and_clear();
        let report = Checked {
            verdict: verdict(checked, &certificate, &graph),
            stretch: certificate.stretch,
            ratio: certificate.ratio,
            sources: certificate.sources.len(),
            clusters: certificate.clusters.len(),
            arcs: spanner.arcs(),
            graph_arcs: graph.graph.arcs(),
            seconds: start.elapsed().as_secs_f64(),
        };
        self.output.show(&report, || told(&report))?;
        match report.verdict.reason {
            Some(reason) => bail!("{}: {reason}", self.certificate.display()),
            None => Ok(()),
        }
    }
}

fn told(checked: &Checked) -> String {
    let mut text = String::new();
    let count = |count: usize| thousands(count as u64);
    let verdict = if checked.verdict.accepted { "accepted" } else { "rejected" };
    let (sources, clusters) = (count(checked.sources), count(checked.clusters));
    line(&mut text, "verdict", verdict);
    line(
        &mut text,
        "claim",
        &format!("stretch {} for {sources} sources, by {clusters} clusters", decimal(checked.stretch)),
    );
    line(&mut text, "H", &format!("{} of the graph's {} arcs", count(checked.arcs), count(checked.graph_arcs)));
    line(&mut text, "checked in", &seconds(checked.seconds));
    text
}
