//! `tersor graph convert`: from one format of graph files to another.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tersor::graph::file::{self, Format};

use super::Reading;
use crate::cli::quantity::thousands;
use crate::cli::show::Output;

/// Write a graph in another format
///
/// Ids stay as they are, except that a format whose ids begin with 1 (.gr, .graph, .mtx) gets 1 added to ids that begin
/// with 0, and a comment line `id_offset 1`. Loops and all but the shortest of parallel arcs are left out. Coordinates
/// go to a .co beside.
#[derive(Args)]
pub struct Convert {
    /// The graph to read: .gr, .txt (edge list), .graph (METIS) or .mtx, plain or .gz
    from: PathBuf,
    /// The file to write; its name tells the format, and .gz packs it
    to: PathBuf,
    /// The format to write, if not the name tells it
    #[arg(long, value_name = "FORMAT")]
    to_format: Option<Format>,
    /// Number ids by first appearance, and write which became which: lines of `new old`
    #[arg(long, value_name = "MAP")]
    relabel: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    output: Output,
}

/// What was written.
#[derive(Serialize)]
struct Converted<'a> {
    file: &'a PathBuf,
    format: Format,
    vertices: usize,
    arcs: usize,
    #[serde(flatten)]
    dropped: tersor::graph::Dropped,
    /// 1 was added to ids that begin with 0.
    id_offset: u32,
    coordinates: Option<PathBuf>,
    map: Option<&'a PathBuf>,
}

impl Convert {
    pub fn run(self) -> anyhow::Result<()> {
        let graph = file::read(&self.from, &self.reading.options(self.relabel.is_some()))?;
        let format = self.to_format.map_or_else(|| Format::of(&self.to), Ok)?;
        graph.write(&self.to, Some(format))?;
        if let Some(map) = &self.relabel {
            graph.write_labels(map)?;
        }
        let converted = Converted {
            file: &self.to,
            format,
            vertices: graph.graph.vertices(),
            arcs: graph.graph.arcs(),
            dropped: graph.dropped,
            id_offset: u32::from(format != Format::EdgeList && graph.first_id == 0),
            coordinates: graph.coordinates.as_ref().map(|_| file::coordinates::beside(&self.to)),
            map: self.relabel.as_ref(),
        };
        self.output.show(&converted, || told(&converted))
    }
}

fn told(converted: &Converted) -> String {
    let count = |count: usize| thousands(count as u64);
    let mut text = format!(
        "{}: {}, {} vertices, {} arcs ({} loops and {} longer parallel arcs left out)",
        converted.file.display(),
        converted.format,
        count(converted.vertices),
        count(converted.arcs),
        count(converted.dropped.loops),
        count(converted.dropped.parallel),
    );
    if converted.id_offset == 1 {
        text += "\nids begin with 0; 1 was added to each, as a comment line says";
    }
    for (beside, what) in [(converted.coordinates.as_ref(), "coordinates"), (converted.map, "ids, new and old")] {
        if let Some(file) = beside {
            text += &format!("\n{}: {what}", file.display());
        }
    }
    text
}
