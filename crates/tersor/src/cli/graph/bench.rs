//! `tersor graph bench`: how time, memory and arcs grow with the graph and its sources, all methods in one run.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tersor::graph::bench::{self, Report, Settings, bench};
use tersor::graph::generate::Family;
use tersor::graph::spanner::certified::Effort;

use super::spanner::Method;
use super::{parse_count, parse_stretch};
use crate::cli::machine::Machine;
use crate::cli::quantity::{bytes, seconds, thousands};
use crate::cli::show::{Output, table};

/// Measure how time, memory and arcs grow: generated graphs, all methods in one run
///
/// Every combination of the lists is measured; methods take turns, round by round, and medians are shown. Exponents are
/// fitted to logarithms where a list has several values. exact-cover and preserver are timed on --timed-sources of the
/// sources and scaled to all, since their time is proportional to them.
#[derive(Args)]
pub struct Bench {
    /// Families of graphs
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "grid,geo,rand,rmat")]
    family: Vec<Family>,
    /// About how many arcs they have
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_count, default_value = "1e5,3e5,1e6")]
    arcs: Vec<usize>,
    /// How many sources are drawn
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_count, default_value = "1000")]
    sample: Vec<usize>,
    /// Stretches, for the method certified
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_stretch, default_value = "16")]
    stretch: Vec<f64>,
    /// Methods to compare
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "certified,paper,exact-cover,preserver"
    )]
    method: Vec<Method>,
    /// Numbers of threads [default: as many as there are cores]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Vec<u16>,
    /// paper, exact-cover: the trade of arcs for stretch
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=64))]
    k: u32,
    /// certified: how much to search for fewer arcs
    #[arg(long, default_value = "fast")]
    effort: Effort,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// No further round of a method that has taken so many seconds in one place
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    most_seconds: f64,
    /// exact-cover, preserver: time them on so many of the sources
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    timed_sources: u32,
    /// The seed of graphs, sources and methods
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the growth curves
    #[arg(short, long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Measured<'a> {
    machine: Machine,
    #[serde(flatten)]
    report: &'a Report,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        let spinner = self.output.spinner();
        let report = bench(&self.settings(), &|message| spinner.set_message(message.to_owned()))?;
        spinner.finish_and_clear();
        if let Some(file) = &self.out {
            let svg = bench::svg(&report)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        let measured = Measured { machine: Machine::this(), report: &report };
        self.output.show(&measured, || told(&measured))
    }

    fn settings(&self) -> Settings {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = self.threads.iter().map(|&threads| threads.into()).collect();
        Settings {
            families: self.family.clone(),
            arcs: self.arcs.clone(),
            sources: self.sample.clone(),
            stretches: self.stretch.clone(),
            threads: if threads.is_empty() { vec![cores] } else { threads },
            methods: self.method.iter().map(|method| method.in_library()).collect(),
            k: self.k,
            effort: self.effort,
            rounds: self.rounds as usize,
            most_seconds: self.most_seconds,
            timed_sources: self.timed_sources as usize,
            seed: self.seed,
        }
    }
}

fn told(measured: &Measured) -> String {
    let count = |count: usize| thousands(count as u64);
    let Measured { machine, report } = measured;
    let mut rows = table([
        "family",
        ">arcs",
        ">sources",
        "method",
        ">stretch",
        ">threads",
        ">seconds",
        ">rounds",
        ">check",
        ">relaxations / arc",
        ">kept",
        ">share",
        ">peak memory",
    ]);
    for row in &report.rows {
        let scaled = row.timed_sources.map_or(String::new(), |timed| format!(" (from {timed} sources)"));
        rows.add_row([
            row.family.into(),
            count(row.arcs),
            count(row.sources),
            row.method.into(),
            format!("{:.4}", row.stretch).trim_end_matches('0').trim_end_matches('.').into(),
            row.threads.to_string(),
            seconds(row.seconds) + &scaled,
            row.rounds.to_string(),
            row.check_seconds.map_or(String::new(), seconds),
            format!("{:.1}", row.relaxations as f64 / row.arcs.max(1) as f64),
            row.kept.map_or(String::new(), count),
            row.kept.map_or(String::new(), |kept| format!("{:.3}", kept as f64 / row.arcs.max(1) as f64)),
            row.peak_bytes.map_or(String::new(), bytes),
        ]);
    }
    let mut text = format!("{machine}\n\n{}\n", rows.trim_fmt());
    if !report.growth.is_empty() {
        let mut rows = table([
            "family",
            "method",
            ">threads",
            "along",
            ">from",
            ">to",
            ">exponent of seconds",
            ">of relaxations",
            ">theory",
        ]);
        for growth in &report.growth {
            let exponent = |exponent: f64| format!("{exponent:.2}");
            rows.add_row([
                growth.family.into(),
                growth.method.into(),
                growth.threads.to_string(),
                growth.along.into(),
                count(growth.over[0]),
                count(growth.over[1]),
                exponent(growth.seconds),
                exponent(growth.relaxations),
                exponent(growth.theory),
            ]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    if !report.ratios.is_empty() {
        let mut rows =
            table(["family", ">arcs", ">sources", ">stretch", ">threads", "other", ">times certified's seconds"]);
        for ratio in &report.ratios {
            rows.add_row([
                ratio.family.into(),
                count(ratio.arcs),
                count(ratio.sources),
                ratio.stretch.to_string(),
                ratio.threads.to_string(),
                ratio.other.into(),
                format!("{:.1}", ratio.times),
            ]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    text
}
