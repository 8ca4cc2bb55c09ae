//! `tersor graph`: graphs with fewer arcs and fewer bits.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use tersor::graph::file::{self, Format, GraphFile, ReadOptions};
use tersor::graph::sources;

use super::show::BadUsage;

mod bench;
mod check;
mod cluster;
mod cluster_bench;
mod convert;
mod generate;
mod route;
mod spanner;
mod stats;
mod verify;

/// Graphs with fewer arcs and fewer bits
#[derive(Subcommand)]
pub enum Graph {
    Stats(stats::Stats),
    Convert(convert::Convert),
    #[command(subcommand, subcommand_value_name = "FAMILY", subcommand_help_heading = "Families")]
    Generate(generate::Generate),
    Bench(bench::Bench),
    Spanner(Box<spanner::Spanning>),
    Verify(verify::Verify),
    Check(check::Check),
    Route(route::Routing),
    Cluster(Box<cluster::Cluster>),
    ClusterBench(cluster_bench::ClusterBench),
}

impl Graph {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Stats(stats) => stats.run(),
            Self::Convert(convert) => convert.run(),
            Self::Generate(generate) => generate.run(),
            Self::Bench(bench) => bench.run(),
            Self::Spanner(spanner) => spanner.run(),
            Self::Verify(verify) => verify.run(),
            Self::Check(check) => check.run(),
            Self::Route(route) => route.run(),
            Self::Cluster(cluster) => cluster.run(),
            Self::ClusterBench(bench) => bench.run(),
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

/// Where sources come from.
#[derive(Debug, Clone, Args)]
pub struct Sources {
    /// The vertices whose round trips matter: one id a line, as in the graph's file
    #[arg(long, value_name = "FILE")]
    pub sources: Option<PathBuf>,
    /// Draw so many, of the vertices on round trips; in `verify`, of those in --sources where that is given
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub sample: Option<usize>,
    /// For all that is drawn: the same seed gives the same result, on any number of threads
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Sources {
    /// The sources, ascending.
    pub fn of(&self, graph: &GraphFile) -> anyhow::Result<Vec<u32>> {
        match (&self.sources, self.sample) {
            (Some(file), Some(count)) => Ok(sources::some_of(&sources::read(file, graph)?, count, self.seed)),
            (Some(file), None) => Ok(sources::read(file, graph)?),
            (None, Some(count)) => Ok(sources::sample(&graph.graph, count, self.seed)?),
            (None, None) => {
                bail!(BadUsage("which sources? --sources FILE lists them, --sample N draws them".into()))
            }
        }
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

/// A stretch: a finite number of at least 1.
fn parse_stretch(text: &str) -> Result<f64, String> {
    let stretch = text.parse().ok().filter(|stretch: &f64| stretch.is_finite() && *stretch >= 1.0);
    stretch.ok_or_else(|| "expected a number of at least 1".into())
}

/// The vertex that the file of `graph` calls `id`.
fn vertex(graph: &GraphFile, file: &Path, id: u64) -> anyhow::Result<u32> {
    let vertices = graph.graph.vertices() as u32;
    let numbered = (graph.labels.is_none() && vertices > 0).then(|| (graph.id(0), graph.id(vertices - 1)));
    let range = numbered.map_or_else(String::new, |(first, last)| format!("; ids are {first} to {last}"));
    graph.lookup().vertex(id).with_context(|| format!("{}: there is no vertex {id}{range}", file.display()))
}

/// A picture is asked for: there must be places to draw it by.
fn need_coordinates(graph: &GraphFile, file: &Path, picture: Option<&PathBuf>) -> anyhow::Result<()> {
    match picture {
        Some(_) if graph.coordinates.is_none() => {
            Err(tersor::graph::Error::NoCoordinates).with_context(|| format!("{}: --picture", file.display()))
        }
        _ => Ok(()),
    }
}

/// A length or a stretch as a person reads it: whole, or four digits after the point.
fn decimal(value: f64) -> String {
    if !value.is_finite() {
        return "without end".into();
    }
    if value >= 1e15 {
        return format!("{value:.4e}");
    }
    let digits = format!("{value:.4}");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let whole = super::quantity::thousands(whole.parse().unwrap_or(0));
    format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text under a name, the names in a column.
fn line(text: &mut String, name: &str, value: &str) {
    *text += &format!("{name:<11} {value}\n");
}
