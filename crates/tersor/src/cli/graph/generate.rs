//! `tersor graph generate`: graphs of known families, by seed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use tersor::graph::Error;
use tersor::graph::cluster::block_model::{BlockModel, block_model};
use tersor::graph::cluster::instance::Instance;
use tersor::graph::cluster::points;
use tersor::graph::cluster::schedule::{Schedule, stream};
use tersor::graph::cluster::similarity::{self, Kernel};
use tersor::graph::file::{self, Format, temporal};
use tersor::graph::generate::{Family, generate};
use tersor_data::picture::Picture;

use super::parse_count;
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs};

/// Write a graph of a known family: to thin (grid to trap) or to cluster (sbm to photo)
#[derive(Subcommand)]
pub enum Generate {
    /// Streets of a city: two-way, some one-way, with coordinates
    Grid(Directed),
    /// Roads between near points, with coordinates
    Geo(Directed),
    /// Random arcs: an expander
    Rand(Directed),
    /// A web: few vertices with many arcs
    Rmat(Directed),
    /// Short ways out, long ways back
    Trap(Directed),
    /// Stochastic block model: equal blocks, more edges within than between
    Sbm(Sbm),
    /// Similarity of points of Gaussians in the plane: clear clusters that touch a little
    Gaussians(Gaussians),
    /// Similarity of the pixels of a photo, by place and colour
    Photo(Photo),
}

impl Generate {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Grid(directed) => directed.run(Family::Grid),
            Self::Geo(directed) => directed.run(Family::Geo),
            Self::Rand(directed) => directed.run(Family::Rand),
            Self::Rmat(directed) => directed.run(Family::Rmat),
            Self::Trap(directed) => directed.run(Family::Trap),
            Self::Sbm(sbm) => sbm.run(),
            Self::Gaussians(gaussians) => gaussians.run(),
            Self::Photo(photo) => photo.run(),
        }
    }
}

/// What all families ask for.
#[derive(Args)]
struct Written {
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

#[derive(Args)]
pub struct Directed {
    /// About so many arcs, such as 200000 or 2e5
    #[arg(long, value_name = "M", value_parser = parse_count)]
    arcs: usize,
    #[command(flatten)]
    written: Written,
}

/// What was written of a directed family.
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

impl Directed {
    fn run(self, family: Family) -> anyhow::Result<()> {
        let Written { seed, out, threads, output } = self.written;
        threads.start()?;
        let format = Format::of(&out)?;
        let start = Instant::now();
        let graph = generate(family, self.arcs, seed)?.numbered_for(format);
        let generated = start.elapsed().as_secs_f64();
        graph.write(&out, Some(format))?;
        let report = Generated {
            file: &out,
            format,
            family: family.name(),
            seed,
            vertices: graph.graph.vertices(),
            arcs: graph.graph.arcs(),
            coordinates: graph.coordinates.as_ref().map(|_| file::coordinates::beside(&out)),
            seconds: [generated, start.elapsed().as_secs_f64() - generated],
        };
        output.show(&report, || {
            let arcs = format!("{} arcs", thousands(report.arcs as u64));
            let beside = report.coordinates.as_deref().map(|file| (file, "coordinates"));
            told(&out, format, report.vertices, &arcs, beside, report.seconds)
        })
    }
}

#[derive(Args)]
pub struct Sbm {
    /// How many vertices
    #[arg(long, value_name = "N", value_parser = parse_count)]
    vertices: usize,
    /// How many blocks of equal size
    #[arg(long, value_name = "K", value_parser = parse_count)]
    clusters: usize,
    /// The probability of an edge within a block
    #[arg(long, value_name = "P")]
    inside: f64,
    /// The probability of an edge between blocks
    #[arg(long, value_name = "P")]
    between: f64,
    /// Write the blocks too: a line `id label` for each vertex, both from 0
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    #[command(flatten)]
    over_time: OverTime,
    #[command(flatten)]
    written: Written,
}

#[derive(Args)]
pub struct Gaussians {
    /// How many points
    #[arg(long, value_name = "N", value_parser = parse_count)]
    vertices: usize,
    /// How many Gaussians of equal size: standard deviation 1, on a circle, neighbours 5.75 apart
    #[arg(long, value_name = "K", value_parser = parse_count)]
    clusters: usize,
    /// Weights are exp(-d²/2σ²) of the distance d
    #[arg(long, value_name = "S", default_value_t = Kernel::GAUSSIANS.sigma)]
    sigma: f64,
    #[command(flatten)]
    kept: Kept,
    /// Write the Gaussians too: a line `id label` for each vertex, both from 0
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    #[command(flatten)]
    over_time: OverTime,
    #[command(flatten)]
    written: Written,
}

#[derive(Args)]
pub struct Photo {
    /// The photo: PNG, JPEG or BMP
    picture: PathBuf,
    /// The photo is shrunk until its longer side has so many pixels; vertices are its pixels, row by row
    #[arg(long, value_name = "PIXELS", default_value_t = 44, value_parser = parse_count)]
    side: usize,
    /// Weights are exp(-d²/2σ²) of the distance d in (x, y, red, green, blue): pixels, and colours from 0 to 255
    #[arg(long, value_name = "S", default_value_t = Kernel::PHOTO.sigma)]
    sigma: f64,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    over_time: OverTime,
    #[command(flatten)]
    written: Written,
}

/// Which edges a similarity graph keeps.
#[derive(Args)]
struct Kept {
    /// Edges of a smaller weight are left out
    #[arg(long, value_name = "F", default_value_t = Kernel::FLOOR)]
    floor: f64,
    /// Keep only the edges to the K nearest of each point
    #[arg(long, value_name = "K", value_parser = parse_count)]
    nearest: Option<usize>,
}

/// Edges that come and go.
#[derive(Args)]
struct OverTime {
    /// Write a temporal edge list: the edges in random order, in equal parts at times 1 to T
    #[arg(long, value_name = "T", value_parser = parse_count)]
    times: Option<usize>,
    /// At each time so many earlier edges go for each that comes, such as 0.05
    #[arg(long, value_name = "D", requires = "times", default_value_t = 0.0, hide_default_value = true)]
    deletions: f64,
    /// Each edge comes R times, as parallel copies
    #[arg(long, value_name = "R", requires = "times", default_value_t = 1, hide_default_value = true, value_parser = parse_count)]
    repeat: usize,
}

/// What was written of a family to cluster.
#[derive(Serialize)]
struct Clustered<'a> {
    file: &'a Path,
    format: Format,
    family: &'static str,
    seed: u64,
    vertices: usize,
    edges: usize,
    /// Width and height of the photo, shrunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pixels: Option<[usize; 2]>,
    truth: Option<&'a Path>,
    over_time: Option<Stream>,
    /// To generate, and to write.
    seconds: [f64; 2],
}

/// What a stream of updates holds.
#[derive(Serialize)]
struct Stream {
    times: usize,
    insertions: usize,
    deletions: usize,
}

impl Sbm {
    fn run(self) -> anyhow::Result<()> {
        let Self { vertices, clusters, inside, between, truth, over_time, written } = self;
        let model = BlockModel { vertices, clusters, inside, between };
        let files = Files { read: None, truth: truth.as_deref() };
        written.graph("sbm", &files, &over_time, || Ok((block_model(&model, written.seed)?, None)))
    }
}

impl Gaussians {
    fn run(self) -> anyhow::Result<()> {
        let Self { vertices, clusters, sigma, kept, truth, over_time, written } = self;
        let kernel = kept.kernel(sigma);
        let files = Files { read: None, truth: truth.as_deref() };
        let generate = || Ok((similarity::gaussians(vertices, clusters, written.seed, &kernel)?, None));
        written.graph("gaussians", &files, &over_time, generate)
    }
}

impl Photo {
    fn run(self) -> anyhow::Result<()> {
        let Self { picture, side, sigma, kept, over_time, written } = self;
        let files = Files { read: Some(&picture), truth: None };
        written.graph("photo", &files, &over_time, || {
            let photo = points::shrunk(&Picture::read(&picture)?, side)?;
            Ok((similarity::photo(&photo, &kept.kernel(sigma))?, Some([photo.width(), photo.height()])))
        })
    }
}

impl Kept {
    fn kernel(&self, sigma: f64) -> Kernel {
        Kernel { sigma, floor: self.floor, nearest: self.nearest }
    }
}

/// Files besides the graph's.
struct Files<'a> {
    read: Option<&'a PathBuf>,
    truth: Option<&'a Path>,
}

impl Written {
    /// Writes the graph to cluster that `generate` gives, with the size of the photo if it is of one.
    fn graph(
        &self,
        family: &'static str,
        files: &Files,
        over_time: &OverTime,
        generate: impl FnOnce() -> Result<(Instance, Option<[usize; 2]>), Error>,
    ) -> anyhow::Result<()> {
        self.threads.start()?;
        let format = Format::of(&self.out)?;
        if over_time.times.is_some() && format != Format::EdgeList {
            let told = format!("--times writes a temporal edge list, which {} is not: name a .txt", self.out.display());
            bail!(BadUsage(told));
        }
        let truth = files.truth.map(Path::to_path_buf);
        check_outputs(
            &files.read.iter().map(|file| file.as_path()).collect::<Vec<_>>(),
            &[Some(&self.out), truth.as_ref()],
        )?;
        let start = Instant::now();
        let (graph, pixels) = generate().map_err(usage)?;
        let updates = over_time.updates(&graph, self.seed).map_err(usage)?;
        let generated = start.elapsed().as_secs_f64();
        match &updates {
            Some(updates) => temporal::write(&self.out, graph.vertices, updates)?,
            None => graph.write(&self.out, Some(format))?,
        }
        if let Some(file) = files.truth {
            graph.write_truth(file)?;
        }
        let stream = updates.zip(over_time.times).map(|(updates, times)| {
            let insertions = updates.iter().filter(|update| update.insert).count();
            Stream { times, insertions, deletions: updates.len() - insertions }
        });
        let report = Clustered {
            file: &self.out,
            format,
            family,
            seed: self.seed,
            vertices: graph.vertices,
            edges: graph.edges.len(),
            pixels,
            truth: files.truth,
            over_time: stream,
            seconds: [generated, start.elapsed().as_secs_f64() - generated],
        };
        self.output.show(&report, || {
            let of = |count: usize| thousands(count as u64);
            let mut edges = format!("{} edges", of(report.edges));
            if let Some(stream) = &report.over_time {
                let [insertions, deletions] = [stream.insertions, stream.deletions].map(of);
                edges += &format!(", {insertions} insertions and {deletions} deletions at {} times", of(stream.times));
            }
            told(
                &self.out,
                format,
                report.vertices,
                &edges,
                files.truth.map(|file| (file, "true clusters")),
                report.seconds,
            )
        })
    }
}

impl OverTime {
    /// The edges as a stream, if it is asked for.
    fn updates(&self, graph: &Instance, seed: u64) -> Result<Option<Vec<temporal::Update>>, Error> {
        let schedule = |times| Schedule { times, deletions: self.deletions, repeat: self.repeat };
        self.times.map(|times| stream(&graph.edges, &schedule(times), seed)).transpose()
    }
}

/// A parameter out of its range was typed by the user.
fn usage(error: Error) -> anyhow::Error {
    match error {
        Error::Parameter { .. } => BadUsage(error.to_string()).into(),
        other => other.into(),
    }
}

/// What was written, and what beside it.
fn told(
    file: &Path,
    format: Format,
    vertices: usize,
    contents: &str,
    beside: Option<(&Path, &str)>,
    times: [f64; 2],
) -> String {
    let [generated, written] = times.map(seconds);
    let vertices = thousands(vertices as u64);
    let file = file.display();
    let text =
        format!("{file}: {format}, {vertices} vertices, {contents}; generated in {generated}, written in {written}");
    match beside {
        Some((file, what)) => format!("{text}\n{}: {what}", file.display()),
        None => text,
    }
}
