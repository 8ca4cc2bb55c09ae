//! `tersor graph cluster-bench`: bits and quality against sites, vertices and times, and on every input.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tersor::data::picture::Picture;
use tersor::graph::cluster::bench::{self, Along, Case, Growth, Input, Row, measure};
use tersor::graph::cluster::labels;
use tersor::graph::cluster::points::shrunk;
use tersor::graph::cluster::protocol::{Model, Rate};
use tersor::graph::cluster::schedule::Schedule;
use tersor::graph::cluster::similarity::{self, Kernel};
use tersor::graph::cluster::stream::{Partition, Stream, Third};
use tersor::graph::file::{Format, ReadOptions};

use crate::cli::machine::Machine;
use crate::cli::quantity::thousands;
use crate::cli::show::{Output, Threads, table};

/// Measure the bits and the quality of distributed clustering: growth, and every input in one table
///
/// Figures are medians over seeds; of a run over time they are those of its worst time. `near` says whether normalised
/// cut is within 2 % of that of the whole graph's labels (or .003, where it is below .1) and the adjusted Rand index is
/// at least .95, at every time.
#[derive(Args)]
pub struct ClusterBench {
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "quality,time,sites,vertices,updates,inputs"
    )]
    part: Vec<Part>,
    /// Seeds, of which the median counts; 3 of them for the static protocols over time
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// quality: a picture to cluster the pixels of, as well
    #[arg(long, value_name = "PICTURE")]
    photo: Option<PathBuf>,
    /// inputs: a graph, the number of its clusters and, if it is known, the file of its true labels; roads (.gr) count
    /// as unweighted
    #[arg(long, value_name = "FILE:K[:TRUTH]")]
    input: Vec<Given>,
    /// inputs: the number of times at which clusters of a stream are asked for
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// Of all parts but `inputs`: keep edges with C times their leverage, instead of what each input needs
    #[arg(long)]
    c: Option<f64>,
    /// Write the growth curves
    #[arg(short, long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// All edges at once: are the labels as good, and how many bits did they take?
    Quality,
    /// 20 times, and for each edge that comes 5 % go; beside the static protocols, run again at every time
    Time,
    /// 2 to 64 sites
    Sites,
    /// 500 to 4,000 vertices of the same density
    Vertices,
    /// Every edge 1 to 16 times
    Updates,
    /// The graphs of --input
    Inputs,
}

/// A graph, k, and its true labels.
#[derive(Clone)]
struct Given {
    file: PathBuf,
    clusters: usize,
    truth: Option<PathBuf>,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (file, clusters, truth) = (parts.next(), parts.next(), parts.next());
        let clusters = clusters.and_then(|clusters| clusters.parse().ok()).ok_or("expected FILE:K[:TRUTH]")?;
        Ok(Self { file: file.unwrap_or_default().into(), clusters, truth: truth.map(PathBuf::from) })
    }
}

#[derive(Serialize)]
struct Measured {
    machine: Machine,
    rows: Vec<Row>,
    growth: Vec<Growth>,
}

impl ClusterBench {
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let spinner = self.output.spinner();
        let (mut rows, mut growth) = (Vec::new(), Vec::new());
        for &part in &self.part {
            let mut of_part = Vec::new();
            for case in self.cases(part)? {
                spinner.set_message(format!("{}, {} sites", case.model.name(), case.sites));
                // The static protocols, run again at 20 times, take far longer than all others, and vary little.
                let again = part == Part::Time && matches!(case.model, Model::Static | Model::StaticBlackboard);
                of_part.push(measure(&case, if again { self.seeds.min(3) } else { self.seeds } as usize)?);
            }
            let along = match part {
                Part::Sites => Some(Along::Sites),
                Part::Vertices => Some(Along::Vertices),
                Part::Updates => Some(Along::Updates),
                _ => None,
            };
            growth.extend(along.into_iter().flat_map(|along| bench::growth(&of_part, along)));
            rows.extend(of_part);
        }
        spinner.finish_and_clear();
        if let Some(file) = &self.out {
            let svg = bench::svg(&growth)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        let measured = Measured { machine: Machine::this(), rows, growth };
        self.output.show(&measured, || told(&measured))
    }

    fn rate(&self, c: f64) -> Rate {
        Rate::C(self.c.unwrap_or(c))
    }

    fn cases(&self, part: Part) -> anyhow::Result<Vec<Case>> {
        use Model::{Blackboard, MessagePassing, ShipAll, Static, StaticBlackboard};
        let mut cases = Vec::new();
        let mut add = |case: Case| cases.push(case);
        let (blocks, gaussians) = (Input::Blocks, Input::Gaussians);
        match part {
            Part::Quality => {
                let photo = self.photo.as_ref().map(photo).transpose()?;
                let inputs = [(Some(blocks(2000)), 2.0, 3.0), (Some(gaussians(1500)), 2.0, 3.0), (photo, 6.0, 10.0)];
                for (input, messages, board) in inputs {
                    let Some(input) = input else { continue };
                    add(Case::at_once(input.clone(), MessagePassing, 4, self.rate(messages)));
                    for sites in [4, 16, 64] {
                        add(Case::at_once(input.clone(), Blackboard, sites, self.rate(board)));
                    }
                }
                add(Case::at_once(gaussians(3000), MessagePassing, 4, self.rate(2.0)));
                add(Case::at_once(gaussians(3000), Blackboard, 4, self.rate(3.0)));
                for sites in [4, 16, 64] {
                    add(Case::at_once(blocks(4000), Blackboard, sites, self.rate(3.0)));
                }
            }
            Part::Time => {
                for (input, messages, board) in [(blocks(2000), 1.25, 2.8), (gaussians(1500), 1.0, 2.0)] {
                    for (model, c) in
                        [(MessagePassing, messages), (Static, messages), (Blackboard, board), (StaticBlackboard, board)]
                    {
                        add(Case::over_time(input.clone(), model, 4, self.rate(c)));
                    }
                }
            }
            Part::Sites => {
                for input in [blocks(2000), gaussians(1500)] {
                    for model in [MessagePassing, Blackboard] {
                        for sites in [2, 4, 8, 16, 32, 64] {
                            // So few edges that all sites stay dense: n s c is well below m.
                            let c = if model == MessagePassing { 0.5 } else { 2.0 };
                            add(Case::at_once(input.clone(), model, sites, self.rate(c)));
                        }
                    }
                }
            }
            Part::Vertices => {
                for model in [MessagePassing, Blackboard, ShipAll] {
                    for vertices in [500, 1000, 2000, 4000] {
                        add(Case::at_once(blocks(vertices), model, 4, self.rate(1.0)));
                    }
                }
            }
            Part::Updates => {
                for model in [MessagePassing, Blackboard, ShipAll] {
                    for repeat in [1, 2, 4, 8, 16] {
                        let schedule = Schedule { times: 5 * repeat, deletions: 0.0, repeat };
                        let case = Case::at_once(blocks(1000), model, 4, self.rate(1.0));
                        add(Case { schedule, ..case });
                    }
                }
            }
            Part::Inputs => {
                for given in &self.input {
                    let input = given.read()?;
                    for model in [MessagePassing, Blackboard] {
                        let times = self.times as usize;
                        let case = Case::at_once(input.clone(), model, 4, Rate::Auto);
                        let schedule = Schedule { times, deletions: 0.0, repeat: 1 };
                        add(Case { schedule, partition: Partition::Vertex, ..case });
                    }
                }
            }
        }
        Ok(cases)
    }
}

fn photo(file: &PathBuf) -> anyhow::Result<Input> {
    let picture = shrunk(&Picture::read(file)?, 44)?;
    Ok(Input::Given(similarity::photo(&picture, &Kernel::PHOTO)?, 3, "photo".into()))
}

impl Given {
    fn read(&self) -> anyhow::Result<Input> {
        let third = if Format::of(&self.file)? == Format::Dimacs { Third::Nothing } else { Third::Guess };
        let stream = Stream::read(&self.file, third, &ReadOptions::default())?;
        let truth = self.truth.as_ref().map(|truth| labels::read(truth, &stream)).transpose()?;
        let name = self.file.file_name().context("--input names no file")?.to_string_lossy();
        let name = name.split('.').next().unwrap_or_default().to_owned();
        Ok(Input::Stream(stream, self.clusters, truth, name))
    }
}

fn told(measured: &Measured) -> String {
    let mut rows = table([
        "input",
        ">n",
        ">updates",
        "model",
        ">s",
        ">c",
        ">times",
        ">known",
        ">bits",
        ">% of all",
        ">Ncut",
        ">central",
        ">ratio",
        ">ARI",
        ">NMI - central's",
        "near",
    ]);
    for row in &measured.rows {
        rows.add_row([
            row.input.clone(),
            thousands(row.vertices as u64),
            thousands(row.updates as u64),
            row.model.name().into(),
            row.sites.to_string(),
            if row.model == Model::ShipAll { String::new() } else { format!("{:.2}", row.c) },
            row.times.to_string(),
            thousands(row.kept as u64),
            thousands(row.bits as u64),
            format!("{:.1}", 100.0 * row.share),
            format!("{:.4}", row.ncut),
            format!("{:.4}", row.central_ncut),
            format!("{:.4}", row.ncut_ratio),
            format!("{:.3}", row.ari),
            row.truth_nmi_difference.map_or_else(String::new, |difference| format!("{difference:+.3}")),
            if row.is_near_central() { "yes".into() } else { "no".into() },
        ]);
    }
    let mut text = rows.trim_fmt();
    if !measured.growth.is_empty() {
        let mut rows =
            table(["bits of", "model", "against", ">from", ">to", ">exponent", ">linear, R2", ">most/fewest"]);
        for growth in &measured.growth {
            let (first, last) = (growth.points[0].0, growth.points[growth.points.len() - 1].0);
            rows.add_row([
                growth.input.clone(),
                growth.model.name().into(),
                growth.along.name().into(),
                thousands(first as u64),
                thousands(last as u64),
                format!("{:.2}", growth.exponent),
                format!("{:.4}", growth.linear),
                format!("{:.2}", growth.ratio),
            ]);
        }
        text += &format!("\n\n{}", rows.trim_fmt());
    }
    text
}
