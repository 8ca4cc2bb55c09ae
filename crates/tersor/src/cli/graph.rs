//! `tersor graph`: graphs with fewer arcs and fewer bits.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use tersor::graph::file::{self, Format, GraphFile, ReadOptions};

mod convert;
mod generate;
mod stats;

/// Graphs with fewer arcs and fewer bits
#[derive(Subcommand)]
pub enum Graph {
    Stats(stats::Stats),
    Convert(convert::Convert),
    Generate(generate::Generate),
}

impl Graph {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Stats(stats) => stats.run(),
            Self::Convert(convert) => convert.run(),
            Self::Generate(generate) => generate.run(),
        }
    }
}

/// A graph to read, for the verbs that read one.
#[derive(Debug, Clone, Args)]
pub struct GraphInput {
    /// The graph: .gr, .txt (edge list), .graph (METIS) or .mtx, plain or .gz
    pub file: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
    /// Number ids by first appearance; for ids that are far apart
    #[arg(long)]
    pub relabel: bool,
}

/// How to read a graph file.
#[derive(Debug, Clone, Default, Args)]
pub struct Reading {
    /// The file's format, if not its name tells it: dimacs, edge-list, metis or matrix-market
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// An edge list's third column is a time, not a length (`u v t [+|-]`): the graph is what is left at the end
    #[arg(long)]
    pub temporal: bool,
    /// Where vertices lie (default: beside the graph, G.co beside G.gr)
    #[arg(long, value_name = "FILE.co")]
    pub coordinates: Option<PathBuf>,
}

impl GraphInput {
    /// Reads the graph.
    pub fn read(&self) -> anyhow::Result<GraphFile> {
        Ok(file::read(&self.file, &self.reading.options(self.relabel))?)
    }
}

impl Reading {
    fn options(&self, relabel: bool) -> ReadOptions {
        let (temporal, coordinates) = (self.temporal, self.coordinates.clone());
        ReadOptions { format: self.format, temporal, relabel, coordinates }
    }
}

/// A count as a person types it: `200000` or `2e5`.
pub fn parse_count(text: &str) -> anyhow::Result<usize> {
    let wrong = "expected a whole number, such as 200000 or 2e5";
    if let Ok(count) = text.parse() {
        return Ok(count);
    }
    let count: f64 = text.parse().ok().context(wrong)?;
    let whole = count.fract() == 0.0 && (0.0..1e15).contains(&count);
    whole.then_some(count as usize).context(wrong)
}
