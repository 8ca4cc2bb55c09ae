//! `tersor graph verify`: the true stretch of a thinned graph, pair by pair.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tersor::graph::file::GraphFile;
use tersor::graph::histogram;
use tersor::graph::verify::{Measured, measure};

use super::{GraphInput, Sources, decimal, line, parse_stretch};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{Output, Threads, check_outputs};

/// Measure how much longer a thinned graph makes the round trips of its sources
///
/// Shortest paths are found anew in G and in H, by other code than any that thins. Exit code 1 if a round trip is longer
/// than --stretch allows, or, without --stretch, if one is lost. The sources that `spanner --sample N --seed S` drew are
/// drawn again by --sample N --seed S.
///
/// In the JSON, max, mean, quantiles and the worst pair's stretch are null where they have no end: a round trip is lost
/// (`unreachable` counts such pairs), or was of length 0 and no longer is.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("which sources").required(true).multiple(true).args(["sources", "sample"])))]
pub struct Verify {
    #[command(flatten)]
    input: GraphInput,
    /// The thinned graph, with the ids of G, or the new ones if G is read with --relabel
    spanner: PathBuf,
    #[command(flatten)]
    sources: Sources,
    /// The stretch that no pair may exceed
    #[arg(long, value_name = "T", value_parser = parse_stretch)]
    stretch: Option<f64>,
    /// Draw how often each stretch occurs
    #[arg(long, value_name = "FILE.svg")]
    histogram: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// What was measured, in ids and in the unit of the graph's file.
#[derive(Serialize)]
struct Verified<'a> {
    pairs: u64,
    violations: u64,
    unreachable: u64,
    max: f64,
    mean: f64,
    quantiles: Quantiles,
    worst: Option<Worst>,
    sum_rt: f64,
    max_rt: f64,
    stretch: Option<f64>,
    sources: usize,
    arcs: usize,
    graph_arcs: usize,
    seconds: f64,
    histogram: Option<&'a PathBuf>,
}

/// So many per cent of the pairs have no larger stretch.
#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
}

/// The pair with the largest stretch.
#[derive(Serialize)]
struct Worst {
    source: u64,
    vertex: u64,
}

impl Verify {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[&self.input.file, &self.spanner], &[self.histogram.as_ref()])?;
        self.threads.start()?;
        let progress = self.output.spinner().with_message("reading");
        let graph = self.input.read()?;
        let spanner = graph.read_part(&self.spanner)?;
        let sources = self.sources.of(&graph)?;
        progress.set_message(format!("measuring the round trips of {} sources", sources.len()));
        let start = Instant::now();
        let measured = measure(&graph.graph, &spanner, &sources, self.stretch)?;
        let seconds = start.elapsed().as_secs_f64();
        progress.finish_and_clear();
        if let Some(file) = &self.histogram {
            let title = format!("{} round trips in {}", thousands(measured.pairs), self.spanner.display());
            let svg = histogram::svg(&measured, self.stretch, &title)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        let report = self.report(&graph, &measured, spanner.arcs(), sources.len(), seconds);
        self.output.show(&report, || told(&report))?;
        if report.violations > 0 {
            bail!("{}: {}", self.spanner.display(), blame(&report));
        }
        Ok(())
    }

    fn report(&self, graph: &GraphFile, found: &Measured, arcs: usize, sources: usize, seconds: f64) -> Verified<'_> {
        let [p50, p90, p99, p999] = found.quantiles;
        let worst = found.worst.map(|(source, vertex)| Worst { source: graph.id(source), vertex: graph.id(vertex) });
        Verified {
            pairs: found.pairs,
            violations: found.violations,
            unreachable: found.unreachable,
            max: found.max,
            mean: found.mean,
            quantiles: Quantiles { p50, p90, p99, p999 },
            worst,
            sum_rt: graph.in_file(found.sum_rt),
            max_rt: graph.in_file(found.max_rt),
            stretch: self.stretch,
            sources,
            arcs,
            graph_arcs: graph.graph.arcs(),
            seconds,
            histogram: self.histogram.as_ref(),
        }
    }
}

/// What is wrong, in a sentence.
fn blame(found: &Verified) -> String {
    let (violations, pairs) = (thousands(found.violations), thousands(found.pairs));
    let what = match found.stretch {
        Some(stretch) => format!("{violations} of {pairs} round trips are stretched more than {stretch} times"),
        None => format!("{violations} of {pairs} round trips are lost"),
    };
    let worst = found.worst.as_ref().map_or_else(String::new, |worst| {
        let (Worst { source, vertex }, max) = (worst, decimal(found.max));
        format!(
            "; the worst, of source {source} and {vertex}, is stretched {max}{}",
            if found.max.is_finite() { " times" } else { "" }
        )
    });
    what + &worst
}

fn told(found: &Verified) -> String {
    let mut text = String::new();
    let count = |count: usize| thousands(count as u64);
    line(&mut text, "H", &format!("{} of the graph's {} arcs", count(found.arcs), count(found.graph_arcs)));
    line(&mut text, "pairs", &format!("{}, of {} sources", thousands(found.pairs), count(found.sources)));
    let (violations, unreachable) = (thousands(found.violations), thousands(found.unreachable));
    let violations = match found.stretch {
        Some(stretch) => format!("{violations} above stretch {stretch}, {unreachable} of them lost"),
        None => format!("{violations} round trips lost"),
    };
    line(&mut text, "violations", &violations);
    let worst = match &found.worst {
        Some(Worst { source, vertex }) if found.max > 1.0 => format!(", of source {source} and {vertex}"),
        _ => String::new(),
    };
    line(&mut text, "stretch", &format!("{} at most{worst}", decimal(found.max)));
    line(&mut text, "", &format!("{} on average", decimal(found.mean)));
    let Quantiles { p50, p90, p99, p999 } = found.quantiles;
    let [p50, p90, p99, p999] = [p50, p90, p99, p999].map(decimal);
    line(&mut text, "", &format!("{p50} or less for 50 %, {p90} for 90 %, {p99} for 99 %, {p999} for 99.9 %"));
    let (sum, max) = (decimal(found.sum_rt), decimal(found.max_rt));
    line(&mut text, "round trips", &format!("{max} the longest, {sum} all together, in G"));
    line(&mut text, "measured in", &seconds(found.seconds));
    if let Some(file) = found.histogram {
        line(&mut text, "written", &format!("{}: histogram", file.display()));
    }
    text
}
