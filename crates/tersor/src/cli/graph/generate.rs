//! `tersor graph generate`: graphs of known families, by seed.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tersor::graph::file::{self, Format};
use tersor::graph::generate::{Family, generate};

use super::parse_count;
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{Output, Threads};

/// Write a graph of a known family: grid, geo, rand, rmat or trap
#[derive(Args)]
pub struct Generate {
    /// grid (streets), geo (roads between near points), rand (an expander), rmat (a web) or trap (long ways back)
    family: Family,
    /// About so many arcs, such as 200000 or 2e5
    #[arg(long, value_name = "M", value_parser = parse_count)]
    arcs: usize,
    /// The same seed gives the same graph, on any number of threads
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write; its name tells the format, and .gz packs it
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// What was written.
#[derive(Serialize)]
struct Generated<'a> {
    file: &'a PathBuf,
    format: Format,
    family: &'static str,
    seed: u64,
    vertices: usize,
    arcs: usize,
    coordinates: Option<PathBuf>,
    /// To generate, and to write.
    seconds: [f64; 2],
}

impl Generate {
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let format = Format::of(&self.out)?;
        let start = Instant::now();
        let graph = generate(self.family, self.arcs, self.seed)?.numbered_for(format);
        let generated = start.elapsed().as_secs_f64();
        graph.write(&self.out, Some(format))?;
        let report = Generated {
            file: &self.out,
            format,
            family: self.family.name(),
            seed: self.seed,
            vertices: graph.graph.vertices(),
            arcs: graph.graph.arcs(),
            coordinates: graph.coordinates.as_ref().map(|_| file::coordinates::beside(&self.out)),
            seconds: [generated, start.elapsed().as_secs_f64() - generated],
        };
        self.output.show(&report, || told(&report))
    }
}

fn told(report: &Generated) -> String {
    let [generated, written] = report.seconds.map(seconds);
    let of = |count: usize| thousands(count as u64);
    let mut text = format!(
        "{}: {}, {} vertices, {} arcs; generated in {generated}, written in {written}",
        report.file.display(),
        report.format,
        of(report.vertices),
        of(report.arcs),
    );
    if let Some(file) = &report.coordinates {
        text += &format!("\n{}: coordinates", file.display());
    }
    text
}
