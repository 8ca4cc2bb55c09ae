//! `tersor graph cluster`: clusters of a graph that many sites watch, and the bits that they take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::data::atomic;
use tersor::data::picture::Picture;
use tersor::graph::Error as GraphError;
use tersor::graph::cluster::coordinator::Answer;
use tersor::graph::cluster::curve::{self, Point};
use tersor::graph::cluster::instance::Instance;
use tersor::graph::cluster::message::Weights;
use tersor::graph::cluster::points::shrunk;
use tersor::graph::cluster::protocol::{Model, Protocol, Rate};
use tersor::graph::cluster::report::{Report, Time};
use tersor::graph::cluster::run::Run;
use tersor::graph::cluster::similarity::{self, Kernel};
use tersor::graph::cluster::spectral::Tau;
use tersor::graph::cluster::stream::{Change, Partition, Stream, Third};
#[cfg(feature = "mpi")]
use tersor::graph::cluster::transport::{Party, mpi};
use tersor::graph::cluster::{labels, segments};
use tersor::graph::file::{Format, ReadOptions};

use super::line;
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Cluster a graph that many sites watch, with few bits
///
/// FILE is an edge list with times (`u v t [+|- [w]]`: an edge comes or goes), a graph (all edges come at time 0), or a
/// picture, whose pixels are clustered. Sites hold only what they see; a coordinator hears of few edges, and clusters
/// those. Labels are scored on the whole graph, beside those that one gets from it.
///
/// In the JSON, `times` has for each time the bits and messages of the sites since the time before, normalised cut,
/// conductance and modularity on the whole graph, and the agreement (`ari`, `nmi`) with the labels from the whole graph;
/// `bits` are all of the run, with the start and the coordinator's answers.
#[derive(Args)]
pub struct Cluster {
    /// An edge list with times or a graph (.txt, .gr, .graph or .mtx, plain or .gz), or a picture (.jpg, .png, .bmp)
    file: PathBuf,
    /// How many sites watch
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    sites: u32,
    /// How many clusters there are
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    clusters: u32,
    /// How sites tell what they know
    #[arg(long, value_enum, default_value_t = ModelName::MessagePassing)]
    model: ModelName,
    /// Keep as many edges as make every cut right within 1 ± E, proven: c = 4 ln n / E²
    #[arg(long, value_name = "E", conflicts_with = "c", value_parser = eps)]
    eps: Option<f64>,
    /// Keep an edge with C times its leverage; `auto` doubles C until the labels no longer change
    #[arg(long, value_name = "C|auto", allow_negative_numbers = true, default_value = "auto")]
    c: C,
    /// Which site sees an edge: by a hash of the edge, by its smaller id, or by the time when it comes
    #[arg(long, value_enum, default_value_t = PartitionName::Edge)]
    partition: PartitionName,
    /// Ask for clusters at this time; may be given several times (default: the end)
    #[arg(long, value_name = "T", allow_negative_numbers = true, conflicts_with = "times", value_parser = finite)]
    at: Vec<f64>,
    /// Ask for clusters N times, at equal steps from the first change to the last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    times: Option<u32>,
    /// Sites are threads of this process, or ranks of an MPI job: mpirun -n S+1 tersor graph cluster …
    #[arg(long, value_enum, default_value_t = Transport::Threads)]
    transport: Transport,
    /// Seconds to wait for a sign of life (default: 30 over MPI, 600 between threads)
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Regularise by adding T/n to every weight before clustering; `auto` tries 0 and the mean degree, `lowest` also
    /// rows of any length, which may cut off few vertices that hang by a thread
    #[arg(long, value_name = "T|auto|lowest", allow_negative_numbers = true, default_value = "auto")]
    tau: TauName,
    /// Bits of a weight, 8 to 64 (default: 32, or none if all weights are 1)
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(8..=64))]
    weight_bits: Option<u32>,
    /// True labels to compare with: `id label` lines
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Send the labels back to the sites, and count that
    #[arg(long)]
    labels_back: bool,
    /// For all that is drawn: the same seed gives the same bits and labels, on any number of threads
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write `id label` lines, or `at id label` for several times; label K is no cluster
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write what each site said at each time, as JSON lines
    #[arg(long, value_name = "FILE.jsonl")]
    messages: Option<PathBuf>,
    /// Write the graph that was clustered at each time T, as PREFIX.T.mtx
    #[arg(long, value_name = "PREFIX")]
    sparsifier: Option<PathBuf>,
    /// Draw bits and quality over time
    #[arg(long, value_name = "FILE.svg")]
    curve: Option<PathBuf>,
    /// Draw the clustered picture, at the last time
    #[arg(long, value_name = "FILE.png")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    photo: Photo,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

/// How to read FILE, if it is a graph.
#[derive(Args)]
struct Reading {
    /// The file's format, if not its name tells it: dimacs, edge-list, metis or matrix-market
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// An edge list's third column is a time (default: if it never goes back, or is followed by + or -)
    #[arg(long)]
    temporal: bool,
    /// An edge list's third column is a weight
    #[arg(long, conflicts_with = "temporal")]
    weighted: bool,
    /// Every edge weighs 1, whatever length, weight or time the file has: a road's length is no likeness
    #[arg(long, conflicts_with_all = ["temporal", "weighted"])]
    unweighted: bool,
    /// Number ids by first appearance; for ids that are far apart
    #[arg(long)]
    relabel: bool,
}

/// How to read FILE, if it is a picture.
#[derive(Args)]
struct Photo {
    /// Of a picture: shrink it to so many pixels along its longer side (default: 44)
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(2..=512))]
    side: Option<u32>,
    /// Of a picture: the distance of two pixels (x, y, r, g, b) at which their similarity has fallen to exp(-1/2) (default: 20)
    #[arg(long)]
    sigma: Option<f64>,
    /// Of a picture: leave out similarities below this (default: 0.001)
    #[arg(long)]
    floor: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModelName {
    /// Each site talks to the coordinator alone
    MessagePassing,
    /// What one site writes, all read: fewer edges are kept twice
    Blackboard,
    /// Every change is sent as it is: what the others are compared with
    ShipAll,
    /// Message passing, all said afresh at every time
    Static,
    /// The blackboard, all written afresh at every time
    StaticBlackboard,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartitionName {
    Edge,
    Vertex,
    Time,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Threads,
    Mpi,
}

#[derive(Clone, Copy)]
struct C(Option<f64>);

#[derive(Clone, Copy)]
struct TauName(Tau);

impl FromStr for C {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        auto_or(text, |c| c > 0.0, "above 0").map(Self)
    }
}

impl FromStr for TauName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "lowest" {
            return Ok(Self(Tau::Lowest));
        }
        Ok(Self(auto_or(text, |tau| tau >= 0.0, "of at least 0")?.map_or(Tau::Auto, Tau::Fixed)))
    }
}

fn auto_or(text: &str, fits: impl Fn(f64) -> bool, range: &str) -> Result<Option<f64>, String> {
    if text == "auto" {
        return Ok(None);
    }
    let number = finite(text).ok().filter(|&number| fits(number));
    number.map(Some).ok_or_else(|| format!("expected a number {range}, or auto"))
}

fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "expected a number".into())
}

fn eps(text: &str) -> Result<f64, String> {
    let within = finite(text).ok().filter(|&eps| eps > 1e-4 && eps < 1.0);
    within.ok_or_else(|| "expected a number above 0.0001 and below 1".into())
}

/// What is shown.
#[derive(Serialize)]
struct Clustered<'a> {
    file: &'a Path,
    #[serde(flatten)]
    report: &'a Report,
    partition: Partition,
    transport: Transport,
    updates: usize,
    loops: usize,
    /// Files that were written.
    files: BTreeMap<&'static str, &'a Path>,
}

/// A line of `--messages`.
#[derive(Serialize)]
struct Said {
    at: f64,
    site: usize,
    bits: u64,
    hex: String,
}

/// What there is to cluster.
struct Input {
    stream: Stream,
    /// The pixels, if it is a picture.
    photo: Option<Picture>,
}

impl Cluster {
    pub fn run(mut self) -> anyhow::Result<()> {
        let parties = self.parties()?;
        self.output.quiet |= !parties.has_coordinator(); // of many ranks one shows what happens
        let outputs = [&self.out, &self.messages, &self.curve, &self.picture].map(Option::as_ref);
        let inputs: Vec<_> =
            [Some(&self.file), self.truth.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
        check_outputs(&inputs, &outputs)?;
        if let Some(prefix) = &self.sparsifier {
            check_outputs(&inputs, &[Some(&sparsifier_at(prefix, 0.0))])?;
        }
        self.threads.start()?;
        let progress = self.output.spinner().with_message("reading");
        let mut input = self.read()?;
        let (clusters, vertices) = (self.clusters as usize, input.stream.vertices);
        if clusters > vertices {
            bail!("{}: {clusters} clusters take as many vertices, but there are {vertices}", self.file.display());
        }
        let weights = match self.weight_bits {
            Some(bits) => Weights::new(bits)?,
            None if input.stream.weighted() => Weights::F32,
            None => Weights::NONE,
        };
        input.stream.round(weights)?;
        let truth = self.truth.as_ref().map(|file| labels::read(file, &input.stream)).transpose()?;
        let times = self.times(&input.stream);
        let mut protocol = self.protocol(input.stream.vertices, weights)?;
        protocol.labels_back = self.labels_back;
        let run = Run {
            stream: &input.stream,
            partition: self.partition(),
            times: &times,
            tau: self.tau.0,
            truth: truth.as_deref(),
            timeout: self.timeout()?,
        };
        let all = times.len();
        progress.set_message(format!("{} sites, {all} times", self.sites));
        let mut done = 0;
        let mut on_time = |time: &Time| {
            done += 1;
            progress.set_message(format!("{done} of {all} times, {} bits", thousands(time.bits_so_far)));
        };
        let answer = parties.take_part(&run, &protocol, &mut on_time)?;
        progress.finish_and_clear();
        // Over MPI only the coordinator has something to show.
        let Some(answer) = answer else { return Ok(()) };
        self.write(&input, &times, &answer)?;
        let clustered = Clustered {
            file: &self.file,
            report: &answer.report,
            partition: self.partition(),
            transport: self.transport,
            updates: input.stream.changes.len(),
            loops: input.stream.loops,
            files: self.files(),
        };
        self.output.show(&clustered, || told(&clustered, truth.is_some()))
    }

    fn read(&self) -> anyhow::Result<Input> {
        let Reading { format, temporal, weighted, unweighted, relabel } = self.reading;
        let name = self.file.to_string_lossy().to_lowercase();
        if format.is_none() && [".jpg", ".jpeg", ".png", ".bmp"].iter().any(|ending| name.ends_with(ending)) {
            let of_graphs = [
                ("--temporal", temporal),
                ("--weighted", weighted),
                ("--unweighted", unweighted),
                ("--relabel", relabel),
            ];
            self.refuse(&of_graphs, "a picture")?;
            let Photo { side, sigma, floor } = self.photo;
            let photo = shrunk(&Picture::read(&self.file)?, side.unwrap_or(44) as usize)?;
            let (sigma, floor) = (sigma.unwrap_or(Kernel::PHOTO.sigma), floor.unwrap_or(Kernel::PHOTO.floor));
            let kernel = Kernel { sigma, floor, ..Kernel::PHOTO };
            let Instance { vertices, edges, .. } = similarity::photo(&photo, &kernel)?;
            let changes =
                edges.iter().map(|edge| Change { time: 0.0, u: edge.u, v: edge.v, weight: edge.weight, insert: true });
            let stream = Stream { timed: false, ..Stream::new(vertices, changes)? };
            return Ok(Input { stream, photo: Some(photo) });
        }
        let Photo { side, sigma, floor } = self.photo;
        let of_pictures = [
            ("--picture", self.picture.is_some()),
            ("--side", side.is_some()),
            ("--sigma", sigma.is_some()),
            ("--floor", floor.is_some()),
        ];
        self.refuse(&of_pictures, "no picture")?;
        let third = match (temporal, weighted, unweighted) {
            (true, ..) => Third::Time,
            (_, true, _) => Third::Weight,
            (.., true) => Third::Nothing,
            _ => Third::Guess,
        };
        let options = ReadOptions { format, relabel, ..ReadOptions::default() };
        let stream = Stream::read(&self.file, third, &options).map_err(|error| match error {
            error @ GraphError::NoWeight { .. } => anyhow::Error::new(error).context(self.file.display().to_string()),
            error => error.into(),
        })?;
        // A deletion makes it sure.
        if third == Third::Guess && stream.timed && stream.changes.iter().all(|change| change.insert) {
            self.output.note("note: the third column is read as times; --weighted reads weights");
        }
        Ok(Input { stream, photo: None })
    }

    /// Refuses options that a file of this kind would not heed.
    fn refuse(&self, options: &[(&str, bool)], kind: &str) -> Result<(), BadUsage> {
        let given = options.iter().find(|(_, given)| *given);
        given.map_or(Ok(()), |(option, _)| {
            Err(BadUsage(format!("{option} does not fit: {} is {kind}", self.file.display())))
        })
    }

    fn times(&self, stream: &Stream) -> Vec<f64> {
        if self.at.is_empty() {
            return stream.times(self.times.map_or(1, |count| count as usize));
        }
        let mut times = self.at.clone();
        times.sort_by(f64::total_cmp);
        times.dedup();
        times
    }

    fn protocol(&self, vertices: usize, weights: Weights) -> anyhow::Result<Protocol> {
        let rate = match (self.eps, self.c) {
            (Some(eps), _) => Rate::Eps(eps),
            (None, C(Some(c))) => Rate::C(c),
            (None, C(None)) => Rate::Auto,
        };
        let counts = (self.sites as usize, vertices, self.clusters as usize);
        Ok(Protocol::new(self.model(), counts, rate, self.seed, weights)?)
    }

    fn partition(&self) -> Partition {
        match self.partition {
            PartitionName::Edge => Partition::Edge,
            PartitionName::Vertex => Partition::Vertex,
            PartitionName::Time => Partition::Time,
        }
    }

    #[cfg(feature = "mpi")]
    fn parties(&self) -> anyhow::Result<Parties> {
        if self.transport == Transport::Threads {
            return Ok(Parties::All);
        }
        let (party, link) = mpi::start(self.model().reach(), self.timeout()?)?;
        let (sites, ranks) = (self.sites as usize, link.sites() + 1);
        if ranks != sites + 1 {
            if party == Party::Coordinator {
                eprintln!(
                    "error: --sites {sites} takes {} ranks, there are {ranks}: start with mpirun -n {}",
                    sites + 1,
                    sites + 1
                );
            }
            drop(link);
            mpi::abort(2);
        }
        Ok(Parties::One(party, Box::new(link)))
    }

    #[cfg(not(feature = "mpi"))]
    fn parties(&self) -> anyhow::Result<Parties> {
        match self.transport {
            Transport::Threads => Ok(Parties::All),
            Transport::Mpi => bail!(
                "--transport mpi: this tersor was built without MPI; `cargo build --release --features mpi` builds it in"
            ),
        }
    }

    fn model(&self) -> Model {
        match self.model {
            ModelName::MessagePassing => Model::MessagePassing,
            ModelName::Blackboard => Model::Blackboard,
            ModelName::ShipAll => Model::ShipAll,
            ModelName::Static => Model::Static,
            ModelName::StaticBlackboard => Model::StaticBlackboard,
        }
    }

    fn timeout(&self) -> anyhow::Result<Duration> {
        let default = if self.transport == Transport::Mpi { 30.0 } else { 600.0 };
        let seconds = self.timeout.unwrap_or(default);
        if !(0.001..=1e6).contains(&seconds) {
            bail!(BadUsage("--timeout: expected seconds, 0.001 to 1e6".into()));
        }
        Ok(Duration::from_secs_f64(seconds))
    }

    fn write(&self, input: &Input, times: &[f64], answer: &Answer) -> anyhow::Result<()> {
        if let Some(file) = &self.out {
            labels::write(file, &input.stream, times, &answer.labels)?;
        }
        if let Some(file) = &self.messages {
            atomic::write(file, |out| {
                for (&at, said) in times.iter().zip(&answer.said) {
                    for (site, bits) in said.iter().enumerate() {
                        serde_json::to_writer(&mut *out, &Said { at, site, bits: bits.len(), hex: bits.hex() })?;
                        out.write_all(b"\n")?;
                    }
                }
                Ok(())
            })?;
        }
        if let Some(prefix) = &self.sparsifier {
            for (&at, graph) in times.iter().zip(&answer.graphs) {
                let edges = graph.list().collect();
                let instance = Instance { vertices: graph.vertices(), edges, truth: None };
                instance.write(sparsifier_at(prefix, at), Some(Format::MatrixMarket))?;
            }
        }
        if let Some(file) = &self.curve {
            let name = self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy();
            let title = format!("{name}: {} sites, {}", self.sites, answer.report.model.name());
            let svg = curve::svg(&points(&answer.report), &title)?;
            atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        if let (Some(file), Some(photo)) = (&self.picture, &input.photo) {
            let labels = answer.labels.last().map_or(&[][..], Vec::as_slice);
            let png = segments::png(photo, labels, self.clusters as usize)?;
            atomic::write(file, |out| out.write_all(&png))?;
        }
        Ok(())
    }

    fn files(&self) -> BTreeMap<&'static str, &Path> {
        let files = [
            ("labels", &self.out),
            ("messages", &self.messages),
            ("sparsifier", &self.sparsifier),
            ("curve", &self.curve),
            ("picture", &self.picture),
        ];
        files.into_iter().filter_map(|(name, file)| Some((name, file.as_deref()?))).collect()
    }
}

fn sparsifier_at(prefix: &Path, at: f64) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!(".{at}.mtx"));
    name.into()
}

/// Who takes part in this process.
enum Parties {
    All,
    #[cfg(feature = "mpi")]
    One(Party, Box<mpi::Ranks>),
}

impl Parties {
    fn has_coordinator(&self) -> bool {
        match self {
            Self::All => true,
            #[cfg(feature = "mpi")]
            Self::One(party, _) => *party == Party::Coordinator,
        }
    }

    /// Runs the protocol. Over MPI only the coordinator gets the answer; a failure ends all ranks of the job.
    fn take_part(
        self,
        run: &Run<'_>,
        protocol: &Protocol,
        on_time: &mut dyn FnMut(&Time),
    ) -> anyhow::Result<Option<Answer>> {
        match self {
            Self::All => Ok(Some(run.with_threads(protocol, on_time)?)),
            #[cfg(feature = "mpi")]
            Self::One(party, mut link) => match run.as_party(party, &mut *link, protocol, on_time) {
                Ok(answer) => {
                    link.close()?;
                    Ok(answer)
                }
                Err(error) => {
                    eprintln!("error: {party}: {error}");
                    drop(link);
                    mpi::abort(1);
                }
            },
        }
    }
}

/// The curve over time.
fn points(report: &Report) -> Vec<Point> {
    let point = |time: &Time| Point {
        at: time.at,
        bits: time.bits_so_far,
        ship_all_bits: time.ship_all_bits_so_far,
        ncut: time.quality.ncut,
        central_ncut: time.quality.central_ncut,
        ari: time.quality.ari,
    };
    report.times.iter().map(point).collect()
}

fn told(clustered: &Clustered<'_>, with_truth: bool) -> String {
    let report = clustered.report;
    let mut text = String::new();
    let updates = thousands(clustered.updates as u64);
    let loops = if clustered.loops > 0 { format!(", {} loops left out", clustered.loops) } else { String::new() };
    line(&mut text, "graph", &format!("{} vertices, {updates} updates{loops}", thousands(report.vertices as u64)));
    let c = report.times.last().map_or(0.0, |time| time.c);
    let auto = if report.rate == Rate::Auto { ", found by doubling" } else { "" };
    let c = if report.model == Model::ShipAll { String::new() } else { format!(", c = {c:.4}{auto}") };
    line(&mut text, "sites", &format!("{}, {}{c}", report.sites, report.model.name()));
    let bits = match report.ship_all_bits {
        0 => format!("{}; there is nothing to ship", thousands(report.bits)),
        all => format!(
            "{}: {:.1} % of the {} of shipping everything",
            thousands(report.bits),
            100.0 * report.share(),
            thousands(all)
        ),
    };
    line(&mut text, "bits", &bits);

    let truth = if with_truth { "NMI truth" } else { "" };
    let mut rows = table([">at", ">edges", ">known", ">bits", ">% so far", ">Ncut", ">central", ">ARI", ">NMI", truth]);
    for time in &report.times {
        let quality = &time.quality;
        let truth = time
            .truth
            .map_or_else(String::new, |of| format!("{:.3} (central {:.3})", of.truth_nmi, of.central_truth_nmi));
        rows.add_row([
            time.at.to_string(),
            thousands(time.edges as u64),
            thousands(time.kept as u64),
            thousands(time.bits),
            match time.ship_all_bits_so_far {
                0 => String::new(),
                all => format!("{:.1}", 100.0 * time.bits_so_far as f64 / all as f64),
            },
            format!("{:.4}", quality.ncut),
            format!("{:.4}", quality.central_ncut),
            format!("{:.3}", quality.ari),
            format!("{:.3}", quality.nmi),
            truth,
        ]);
    }
    text += &format!("\n{}\n", rows.trim_fmt());
    let last = report.times.last();
    if let Some(time) = last.filter(|time| time.quality.unlabelled > 0) {
        let count = time.quality.unlabelled;
        let are = if count == 1 { "vertex is" } else { "vertices are" };
        text += &format!("\n{count} {are} in no cluster (label {}): nothing is known of their edges", report.clusters);
    }
    if let Some(time) = last.filter(|time| time.quality.components > report.clusters) {
        text += &format!("\nthe graph falls into {} components, more than there are clusters", time.quality.components);
    }
    if report.share() > 1.0 && report.ship_all_bits > 0 {
        text += "\nshipping everything takes fewer bits: on a sparse graph, or if edges come twice, there is little to spare; \
                 a smaller --c keeps fewer edges";
    }
    let spent: f64 = report.times.iter().map(|time| time.seconds[0] + time.seconds[1]).sum();
    text += &format!("\nprotocol and clustering took {}", seconds(spent));
    for (what, file) in &clustered.files {
        let times = if *what == "sparsifier" { ".T.mtx" } else { "" };
        text += &format!("\n{}{times}: {what}", file.display());
    }
    text
}
