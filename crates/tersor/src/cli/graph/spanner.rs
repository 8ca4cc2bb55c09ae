//! `tersor graph spanner`: a graph with fewer arcs that still answers its sources' round trips.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::graph::file::{self, Format, GraphFile};
use tersor::graph::spanner::certified::{Effort, Settings};
use tersor::graph::spanner::hierarchy::Level;
use tersor::graph::spanner::paper::{self, Centres};
use tersor::graph::spanner::{self, Spanner, certificate};
use tersor::graph::{Dropped, picture, sources};

use super::{GraphInput, Sources, decimal, line, need_coordinates, parse_stretch};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Thin a graph so that every round trip between a source and any vertex stays within a factor
///
/// The stretch of a pair is its round trip (there and back) in the thinned graph H over that in the graph G. With the
/// method certified it is at most --stretch for every pair, with certainty; `tersor graph verify` measures it, and
/// `tersor graph check` proves it from the certificate.
///
/// H has the ids of G; where --relabel numbers them, H has the new ones, and --map tells which is which. All lengths
/// shown and written are in the unit of G's file.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("which sources").required(true).args(["sources", "sample"])))]
pub struct Spanning {
    #[command(flatten)]
    input: GraphInput,
    #[command(flatten)]
    sources: Sources,
    /// Write the sources, one id a line, for `verify` and `check`
    #[arg(long, value_name = "FILE")]
    write_sources: Option<PathBuf>,
    /// How to thin
    #[arg(long, value_enum, default_value_t = Method::Certified)]
    method: Method,
    /// certified (at least 4), greedy: no round trip may become so many times longer; others heed --k [default: 16]
    #[arg(long, value_name = "T", value_parser = parse_stretch)]
    stretch: Option<f64>,
    /// paper (at least 2), exact-cover: the trade of arcs for stretch, n s^(1/k) for 2k [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    k: Option<u32>,
    /// certified: how much to search for fewer arcs [default: fast]
    #[arg(long)]
    effort: Option<Effort>,
    /// paper: which vertices may be centres of clusters [default: sources]
    #[arg(long)]
    centres: Option<Centres>,
    /// certified: let the measured stretch, not the proven bound, reach --stretch; four searches for each source and try
    #[arg(long)]
    calibrate: bool,
    /// certified: drop clusters that others make needless
    #[arg(long)]
    prune: bool,
    /// Write H; the name tells the format, .gz packs it, and coordinates go to a .co beside it
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write which vertex of H is which id of G, for --relabel: lines of `new old`
    #[arg(long, value_name = "FILE", requires = "relabel")]
    map: Option<PathBuf>,
    /// Write what proves the stretch, for `check`: stretch, ratio, sources and clusters
    #[arg(long, value_name = "FILE.json")]
    certificate: Option<PathBuf>,
    /// Draw G light, H dark and the sources, where the graph has coordinates
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Carved clusters: near-linear time, the stretch is certain
    Certified,
    /// The published algorithm, with its proofs: stretch O(k log n) with high probability
    Paper,
    /// Covers from exact distances: stretch 2k + 1/4, slow
    ExactCover,
    /// All shortest paths of the sources: stretch 1, slow
    Preserver,
    /// Pair by pair: the fewest arcs, for small graphs
    Greedy,
}

/// The step between scales of the method exact-cover, and what its stretch is above 2k.
const EPSILON: f64 = 0.25;

/// What was built, and what was written.
#[derive(Serialize)]
struct Spanned<'a> {
    /// Arcs of H: the lines of its file.
    arcs: usize,
    /// Of the graph's arcs; 1 of none.
    share: f64,
    /// To build H, without reading and writing.
    seconds: f64,
    /// In `paper` with high probability, else with certainty.
    certified_stretch: f64,
    clusters: usize,
    relaxations: u64,
    method: &'static str,
    vertices: usize,
    graph_arcs: usize,
    #[serde(flatten)]
    dropped: Dropped,
    sources: usize,
    /// The sources drawn by `--sample`.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ids: Option<Vec<u64>>,
    seed: u64,
    hierarchy: Vec<Level>,
    out: Option<&'a PathBuf>,
    coordinates: Option<PathBuf>,
    map: Option<&'a PathBuf>,
    certificate: Option<&'a PathBuf>,
    picture: Option<&'a PathBuf>,
    sources_file: Option<&'a PathBuf>,
}

impl Spanning {
    pub fn run(self) -> anyhow::Result<()> {
        self.check_flags()?;
        self.note_flags();
        self.threads.start()?;
        let progress = self.output.spinner().with_message("reading");
        let graph = self.input.read()?;
        need_coordinates(&graph, &self.input.file, self.picture.as_ref())?;
        let sources = self.sources.of(&graph)?;
        progress.set_message("thinning");
        let start = Instant::now();
        let spanner = self.build(&graph, &sources)?;
        let seconds = start.elapsed().as_secs_f64();
        progress.set_message("writing");
        let report = self.report(&graph, &sources, &spanner, seconds);
        self.write(&graph, &sources, &spanner, &report)?;
        progress.finish_and_clear();
        self.output.show(&report, || told(&report))
    }

    /// Thins by the method asked for.
    fn build(&self, graph: &GraphFile, sources: &[u32]) -> anyhow::Result<Spanner> {
        let (graph, seed) = (&graph.graph, self.sources.seed);
        Ok(match self.method {
            Method::Certified => {
                let settings = Settings { stretch: self.stretch(), effort: self.effort.unwrap_or_default(), seed };
                if self.calibrate {
                    spanner::calibrate(graph, sources, &settings, self.prune)?
                } else {
                    let spanner = spanner::certified(graph, sources, &settings)?;
                    if self.prune { spanner::prune(graph, sources, &spanner) } else { spanner }
                }
            }
            Method::Paper => {
                let (k, centres) = (self.k.unwrap_or(2), self.centres.unwrap_or_default());
                spanner::paper(graph, sources, &paper::Settings { k, centres, seed })?
            }
            Method::ExactCover => spanner::exact_cover(graph, sources, self.k.unwrap_or(2), EPSILON)?,
            Method::Preserver => spanner::preserver(graph, sources)?,
            Method::Greedy => spanner::greedy(graph, sources, self.stretch())?,
        })
    }

    fn stretch(&self) -> f64 {
        self.stretch.unwrap_or(16.0)
    }

    /// Says which of stretch and k the method does not heed, so that one command line serves to compare methods.
    fn note_flags(&self) {
        use Method::{Certified, ExactCover, Greedy, Paper};
        let heeded: [(&str, bool, &[Method]); 2] =
            [("stretch", self.stretch.is_some(), &[Certified, Greedy]), ("k", self.k.is_some(), &[Paper, ExactCover])];
        for (flag, given, methods) in heeded {
            if given && !methods.contains(&self.method) {
                self.output.note(&format!("the method {} does not heed --{flag}", self.method.name()));
            }
        }
    }

    /// Each flag is one that the method uses, and can take; all files can be written.
    fn check_flags(&self) -> anyhow::Result<()> {
        use Method::{Certified, ExactCover, Paper};
        let given: [(&str, bool, &[Method]); 5] = [
            ("effort", self.effort.is_some(), &[Certified]),
            ("centres", self.centres.is_some(), &[Paper]),
            ("calibrate", self.calibrate, &[Certified]),
            ("prune", self.prune, &[Certified]),
            ("certificate", self.certificate.is_some(), &[Certified, ExactCover]),
        ];
        let method = self.method.name();
        if let Some((flag, _, users)) = given.iter().find(|(_, given, users)| *given && !users.contains(&self.method)) {
            let users: Vec<_> = users.iter().map(|user| user.name()).collect();
            let users = users.join(" and ");
            bail!(BadUsage(format!("--{flag} is not for the method {method}; it is for {users}")));
        }
        if self.method == Certified && self.stretch() < 4.0 {
            bail!(BadUsage(tersor::graph::Error::Stretch { stretch: self.stretch() }.to_string()));
        }
        if self.method == Paper && self.k == Some(1) {
            bail!(BadUsage("the method paper needs a --k of at least 2".into()));
        }
        if let Some(out) = &self.out {
            let file = out.display();
            match Format::of(out) {
                Ok(Format::Metis) => {
                    bail!("{file}: METIS holds undirected graphs, and H is directed; write .gr, .txt or .mtx")
                }
                Ok(_) => {}
                Err(_) => {
                    bail!("{file}: the name tells no format; let it end in .gr, .txt or .mtx, with .gz or without")
                }
            }
        }
        let inputs: Vec<_> = [Some(&self.input.file), self.sources.sources.as_ref()].into_iter().flatten().collect();
        let inputs: Vec<_> = inputs.iter().map(|input| input.as_path()).collect();
        let outputs = [&self.out, &self.map, &self.certificate, &self.picture, &self.write_sources];
        check_outputs(&inputs, &outputs.map(Option::as_ref))
    }

    fn report(&self, graph: &GraphFile, sources: &[u32], spanner: &Spanner, seconds: f64) -> Spanned<'_> {
        let (arcs, of) = (spanner.arcs.len(), graph.graph.arcs());
        let placed = graph.coordinates.as_ref().and(self.out.as_ref());
        Spanned {
            arcs,
            share: if of == 0 { 1.0 } else { arcs as f64 / of as f64 },
            seconds,
            certified_stretch: spanner.stretch,
            clusters: spanner.clusters.len(),
            relaxations: spanner.relaxations,
            method: self.method.name(),
            vertices: graph.graph.vertices(),
            graph_arcs: of,
            dropped: graph.dropped,
            sources: sources.len(),
            source_ids: self.sources.sample.map(|_| sources.iter().map(|&source| graph.id(source)).collect()),
            seed: self.sources.seed,
            hierarchy: spanner::hierarchy(&spanner.clusters, graph),
            out: self.out.as_ref(),
            coordinates: placed.map(|out| file::coordinates::beside(out)),
            map: self.map.as_ref(),
            certificate: self.certificate.as_ref(),
            picture: self.picture.as_ref(),
            sources_file: self.write_sources.as_ref(),
        }
    }

    fn write(&self, graph: &GraphFile, sources: &[u32], spanner: &Spanner, report: &Spanned) -> anyhow::Result<()> {
        let kept = graph.graph.subgraph(&spanner.arcs);
        let title = || {
            let (h, g) = (thousands(report.arcs as u64), thousands(report.graph_arcs as u64));
            let share = 100.0 * report.share;
            format!("{h} of {g} arcs ({share:.1} %), {} sources", thousands(sources.len() as u64))
        };
        if let Some(file) = &self.picture {
            let svg = picture::svg(graph, &kept, sources, &title())?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        if let Some(file) = &self.out {
            graph.with_graph(kept).write(file, None)?;
        }
        if let Some(file) = &self.map {
            graph.write_labels(file)?;
        }
        if let Some(file) = &self.certificate {
            certificate::write(file, &spanner.certificate(sources), graph)?;
        }
        if let Some(file) = &self.write_sources {
            sources::write(file, sources, graph)?;
        }
        Ok(())
    }
}

impl Method {
    /// The same in the library.
    pub fn in_library(self) -> spanner::Method {
        match self {
            Self::Certified => spanner::Method::Certified,
            Self::Paper => spanner::Method::Paper,
            Self::ExactCover => spanner::Method::ExactCover,
            Self::Preserver => spanner::Method::Preserver,
            Self::Greedy => spanner::Method::Greedy,
        }
    }

    fn name(self) -> &'static str {
        self.in_library().name()
    }
}

/// Scales listed in the table, and sources; `--json` lists all.
const LISTED: usize = 40;
const SOURCES_LISTED: usize = 12;

fn told(spanned: &Spanned) -> String {
    let count = |count: usize| thousands(count as u64);
    let mut text = String::new();
    let dropped = spanned.dropped;
    line(&mut text, "G", &format!("{} vertices, {} arcs", count(spanned.vertices), count(spanned.graph_arcs)));
    if dropped != Dropped::default() {
        let (loops, parallel) = (count(dropped.loops), count(dropped.parallel));
        line(&mut text, "", &format!("{loops} loops and {parallel} longer parallel arcs left out"));
    }
    line(&mut text, "sources", &count(spanned.sources));
    if let Some(ids) = &spanned.source_ids {
        let listed: Vec<_> = ids.iter().take(SOURCES_LISTED).map(u64::to_string).collect();
        let more = if ids.len() > SOURCES_LISTED { ", …" } else { "" };
        line(&mut text, "", &format!("drawn with seed {}: {}{more}", spanned.seed, listed.join(", ")));
    }
    let promise = if spanned.method == "paper" { "with high probability" } else { "certain" };
    line(&mut text, "method", spanned.method);
    line(&mut text, "stretch", &format!("at most {}, {promise}", decimal(spanned.certified_stretch)));
    line(&mut text, "H", &format!("{} arcs, {:.1} % of the graph's", count(spanned.arcs), 100.0 * spanned.share));
    line(&mut text, "work", &format!("{} relaxations, {}", thousands(spanned.relaxations), seconds(spanned.seconds)));
    let written = [
        (spanned.out, "H"),
        (spanned.coordinates.as_ref(), "its coordinates"),
        (spanned.map, "ids, new and old"),
        (spanned.certificate, "certificate"),
        (spanned.sources_file, "sources"),
        (spanned.picture, "picture"),
    ];
    for (file, what) in written {
        if let Some(file) = file {
            line(&mut text, "written", &format!("{}: {what}", file.display()));
        }
    }
    if !spanned.hierarchy.is_empty() {
        let mut rows = table([">scale", ">clusters", ">mean radius", ">max radius", ">max limit"]);
        for level in spanned.hierarchy.iter().take(LISTED) {
            let [scale, mean, max, limit] =
                [level.scale, level.mean_radius, level.max_radius, level.max_limit].map(decimal);
            rows.add_row([scale, count(level.clusters), mean, max, limit]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
        if spanned.hierarchy.len() > LISTED {
            text += &format!("… and {} more scales; --json lists all\n", spanned.hierarchy.len() - LISTED);
        }
    }
    text
}
