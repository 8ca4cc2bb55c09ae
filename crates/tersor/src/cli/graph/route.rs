//! `tersor graph route`: a shortest round trip.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tersor::graph::picture;
use tersor::graph::spanner::route::route;

use super::{GraphInput, decimal, line, need_coordinates, vertex};
use crate::cli::show::{Output, check_outputs};

/// Show a shortest round trip between two vertices of a graph, thinned or not
///
/// Exit code 1 if there is none.
#[derive(Args)]
pub struct Routing {
    #[command(flatten)]
    input: GraphInput,
    /// From here, by its id
    from: u64,
    /// To here and back
    to: u64,
    /// Draw the graph light and the round trip dark, where the graph has coordinates
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// A round trip in the ids and the unit of the graph's file.
#[derive(Serialize)]
struct Routed<'a> {
    round_trip: f64,
    length_there: f64,
    length_back: f64,
    there: Vec<u64>,
    back: Vec<u64>,
    picture: Option<&'a PathBuf>,
}

impl Routing {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[&self.input.file], &[self.picture.as_ref()])?;
        let graph = self.input.read()?;
        need_coordinates(&graph, &self.input.file, self.picture.as_ref())?;
        let [from, to] = [self.from, self.to].map(|id| vertex(&graph, &self.input.file, id));
        let (from, to) = (from?, to?);
        let Some(trip) = route(&graph.graph, from, to) else {
            bail!("{}: there is no round trip between {} and {}", self.input.file.display(), self.from, self.to);
        };
        let report = Routed {
            round_trip: graph.in_file(trip.length_there + trip.length_back),
            length_there: graph.in_file(trip.length_there),
            length_back: graph.in_file(trip.length_back),
            there: trip.there.iter().map(|&vertex| graph.id(vertex)).collect(),
            back: trip.back.iter().map(|&vertex| graph.id(vertex)).collect(),
            picture: self.picture.as_ref(),
        };
        if let Some(file) = &self.picture {
            let title = format!("{} to {} and back: {}", self.from, self.to, decimal(report.round_trip));
            let svg = picture::svg(&graph, &graph.graph.subgraph(&trip.arcs(&graph.graph)), &[from, to], &title)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        self.output.show(&report, || told(&report))
    }
}

fn told(routed: &Routed) -> String {
    let mut text = String::new();
    for (name, way, length) in
        [("there", &routed.there, routed.length_there), ("back", &routed.back, routed.length_back)]
    {
        let ids: Vec<_> = way.iter().map(u64::to_string).collect();
        line(&mut text, name, &format!("{}, {} arcs", decimal(length), way.len() - 1));
        line(&mut text, "", &ids.join(" "));
    }
    line(&mut text, "round trip", &decimal(routed.round_trip));
    if let Some(file) = routed.picture {
        line(&mut text, "written", &format!("{}: picture", file.display()));
    }
    text
}
