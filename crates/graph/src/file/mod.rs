//! Graph files: four formats and temporal lists, plain or packed, read into one value and written from it.
//!
//! | file | idea |
//! | --- | --- |
//! | `format.rs` | formats, and how names tell them |
//! | `dimacs.rs`, `edge_list.rs`, `metis.rs`, `matrix_market.rs` | a format each, read and written |
//! | [`temporal`] | edges that come and go |
//! | [`coordinates`] | where vertices lie: `.co` files |
//! | `part.rs` | a thinned graph, read beside the graph that it is part of |
//! | [`lines`] | lines of a plain or packed file, numbered and bounded |
//! | `decimal.rs` | lengths: read fast, made whole where that is exact, written as they were |
//! | `ids.rs`, `listing.rs` | what readers gather: ids as vertices, and the arcs |
//! | `fault.rs` | what can be wrong with a line |
//!
//! Rules: a missing length is 1. Loops and all but the shortest of parallel arcs are dropped and counted. Counts in
//! headers must be true, but memory grows with what is read, never with what is declared. Lengths are written as they
//! were read.

pub mod coordinates;
pub(crate) mod decimal;
mod dimacs;
mod edge_list;
mod fault;
mod format;
mod ids;
pub mod lines;
mod listing;
mod matrix_market;
mod metis;
mod part;
pub mod temporal;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

pub use fault::Fault;
pub use format::Format;

use self::lines::{LONG, Lines, SHORT};
use self::listing::Listing;
use crate::{Digraph, Dropped, Error};

/// A graph with what its file says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphFile {
    /// The graph. Vertex v has the id v + `first_id` in the file, unless there are `labels`.
    pub graph: Digraph,
    /// The id of vertex 0: 0 or 1.
    pub first_id: u32,
    /// The id of each vertex in the file, where they were numbered by first appearance.
    pub labels: Option<Vec<u64>>,
    /// What a length of 1 in `graph` is in the file: 10^-d, where the file has lengths of d decimals.
    pub unit: f64,
    /// Where vertices lie.
    pub coordinates: Option<Vec<[f64; 2]>>,
    /// The format lists edges, each of which is two arcs.
    pub undirected: bool,
    /// The format of the file.
    pub format: Format,
    /// What the file lists and the graph does not hold.
    pub dropped: Dropped,
}

/// How to read a graph file.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The format, if not the name of the file tells it.
    pub format: Option<Format>,
    /// Read an edge list's third column as a time: the graph is what is left at the end.
    pub temporal: bool,
    /// Number ids by first appearance; for ids that are far apart.
    pub relabel: bool,
    /// Where the coordinates are, if not beside the file.
    pub coordinates: Option<PathBuf>,
}

/// Reads the graph file at `path`, and the coordinates if they are given or lie beside it.
///
/// # Errors
/// [`Error::File`] naming file and line; [`Error::UnknownFormat`], [`Error::NotTemporal`], [`Error::TooLarge`];
/// [`Error::Data`] if there is no such file.
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<GraphFile, Error> {
    let path = path.as_ref();
    let format = options.format_of(path)?;
    let mut file = from_lines(&mut Lines::open(path, longest_line(format))?, path, format, options, 0)?;
    let beside = coordinates::beside(path);
    let coordinates = options.coordinates.clone().or_else(|| beside.exists().then_some(beside));
    file.coordinates = coordinates.map(|path| coordinates::read(&mut Lines::open(path, SHORT)?, &file)).transpose()?;
    Ok(file)
}

/// As [`read`], from the bytes of a file called `name`; without coordinates.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>, options: &ReadOptions) -> Result<GraphFile, Error> {
    let name = name.as_ref();
    let format = options.format_of(name)?;
    from_lines(&mut Lines::from_bytes(name, bytes, longest_line(format))?, name, format, options, 0)
}

impl ReadOptions {
    fn format_of(&self, path: &Path) -> Result<Format, Error> {
        let format = match self.format {
            Some(format) => format,
            None => Format::of(path)?,
        };
        if self.temporal && format != Format::EdgeList {
            return Err(Error::NotTemporal { file: path.to_path_buf(), format });
        }
        Ok(format)
    }
}

fn longest_line(format: Format) -> usize {
    if format == Format::Metis { LONG } else { SHORT }
}

/// `expected` vertices are held without an arc for most of them; more would be a trap.
fn from_lines(
    lines: &mut Lines,
    path: &Path,
    format: Format,
    options: &ReadOptions,
    expected: usize,
) -> Result<GraphFile, Error> {
    let listing = match format {
        Format::EdgeList if options.temporal => temporal::listing(lines, options.relabel),
        Format::EdgeList => edge_list::read(lines, options.relabel),
        Format::Dimacs => dimacs::read(lines, options.relabel),
        Format::Metis => metis::read(lines, options.relabel),
        Format::MatrixMarket => matrix_market::read(lines, options.relabel),
    }?;
    let Listing { mut arcs, ids, decimals, undirected, zero_based, header, .. } = listing;
    if ids.vertices() > expected as u64 {
        ids.check_density(lines.number()).map_err(|fault| lines.fault(header, fault))?;
    }
    let vertices = ids.vertices() as usize;
    let unit = decimals.scale(vertices, &mut arcs);
    let (graph, dropped) = Digraph::from_arcs(vertices, arcs).map_err(|error| match error {
        Error::TooLarge { what } => Error::TooLarge { what: format!("{}: {what}", path.display()) },
        other => other,
    })?;
    if let Some((a, b)) = metis::one_sided(&graph).filter(|_| undirected) {
        let [a, b] = [a, b].map(|vertex| u64::from(vertex) + 1);
        return Err(lines.fault(header, Fault::OneSided { a, b }));
    }
    let first_id = u32::from(!zero_based);
    let added = u64::from(format.base()) - u64::from(format.base().min(first_id));
    let labels = ids.into_labels().map(|ids| ids.iter().map(|id| id - added).collect());
    Ok(GraphFile { graph, first_id, labels, unit, coordinates: None, undirected, format, dropped })
}

/// Finds vertices by the ids of a file.
#[derive(Debug, Clone)]
pub struct Lookup {
    first: u64,
    vertices: u64,
    labelled: Option<HashMap<u64, u32>>,
}

impl Lookup {
    /// The vertex with this id.
    pub fn vertex(&self, id: u64) -> Option<u32> {
        match &self.labelled {
            Some(vertices) => vertices.get(&id).copied(),
            None => id.checked_sub(self.first).filter(|&vertex| vertex < self.vertices).map(|vertex| vertex as u32),
        }
    }
}

impl GraphFile {
    /// A graph that comes from no file, to be written in `format`.
    pub fn new(graph: Digraph, format: Format) -> Self {
        let first_id = format.base();
        let dropped = Dropped::default();
        Self { graph, first_id, labels: None, unit: 1.0, coordinates: None, undirected: false, format, dropped }
    }

    /// The same, with ids as `format` usually numbers them: from 0 or from 1.
    pub fn numbered_for(self, format: Format) -> Self {
        Self { first_id: format.base(), format, ..self }
    }

    /// Another graph on the same vertices, with this one's ids, unit and coordinates: a thinned graph, say.
    pub fn with_graph(&self, graph: Digraph) -> Self {
        let undirected = self.undirected && metis::one_sided(&graph).is_none();
        let (labels, coordinates) = (self.labels.clone(), self.coordinates.clone());
        Self { graph, labels, coordinates, undirected, dropped: Dropped::default(), ..*self }
    }

    /// The id of a vertex in the file.
    pub fn id(&self, vertex: u32) -> u64 {
        match &self.labels {
            Some(ids) => ids[vertex as usize],
            None => u64::from(vertex) + u64::from(self.first_id),
        }
    }

    /// A way back from ids to vertices.
    pub fn lookup(&self) -> Lookup {
        let labelled = self.labels.as_ref().map(|ids| ids.iter().copied().zip(0..).collect());
        Lookup { first: self.first_id.into(), vertices: self.graph.vertices() as u64, labelled }
    }

    /// A length of `graph`, or a sum of such, in the unit of the file.
    pub fn in_file(&self, length: f64) -> f64 {
        length / 10f64.powi(self.decimals() as i32) // rounds once; times the unit would round twice
    }

    /// How many decimals lengths of the file have that are whole in `graph`.
    pub(crate) fn decimals(&self) -> u32 {
        decimal::digits_of(self.unit)
    }

    /// Whether any length is not 1.
    pub fn is_weighted(&self) -> bool {
        let one = 10f64.powi(self.decimals() as i32);
        self.graph.list().any(|arc| arc.length != one)
    }

    /// Writes the graph to `path`, packed if that ends in `.gz`, and the coordinates, if any, to a `.co` beside it.
    ///
    /// Vertices are numbered densely: labels are not written. A format whose ids begin with 1 gets 1 added to ids that
    /// begin with 0, and a comment line `id_offset 1` that says so.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`]; [`Error::NotSymmetric`] for METIS; [`Error::Data`] if `path` cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, format: Option<Format>) -> Result<(), Error> {
        let path = path.as_ref();
        let format = format.map_or_else(|| Format::of(path), Ok)?;
        let one_sided = || metis::one_sided(&self.graph);
        if let Some((from, to)) = (format == Format::Metis).then(one_sided).flatten() {
            let [from, to] = [from, to].map(|vertex| self.id(vertex));
            return Err(Error::NotSymmetric { file: path.to_path_buf(), from, to });
        }
        write_text(path, |out| match format {
            Format::Dimacs => dimacs::write(self, out),
            Format::EdgeList => edge_list::write(self, out),
            Format::Metis => metis::write(self, out),
            Format::MatrixMarket => matrix_market::write(self, self.undirected && one_sided().is_none(), out),
        })?;
        match &self.coordinates {
            Some(of) => write_text(&coordinates::beside(path), |out| coordinates::write(self, of, out)),
            None => Ok(()),
        }
    }

    /// Writes which id of the file became which: a line `new old` for each vertex, numbered from `first_id`.
    ///
    /// # Errors
    /// [`Error::Data`] if `path` cannot be written.
    pub fn write_labels(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_text(path.as_ref(), |out| {
            writeln!(out, "# new old")?;
            write_lines(0..self.graph.vertices() as u32, out, |text, vertex| {
                decimal::push_whole(text, u64::from(vertex) + u64::from(self.first_id));
                text.push(b' ');
                decimal::push_whole(text, self.id(vertex));
                text.push(b'\n');
            })
        })
    }
}

/// Writes a file whole or not at all, packed if its name says so.
pub(crate) fn write_text(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let packed = format::is_packed(path);
    tersor_data::atomic::write(path, |out| {
        if !packed {
            return content(out);
        }
        let mut encoder = GzEncoder::new(out, Compression::default());
        content(&mut encoder)?;
        encoder.finish().map(drop)
    })?;
    Ok(())
}

/// Writes one piece of text for each item, many at once.
pub(crate) fn write_lines<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut dyn Write,
    mut push: impl FnMut(&mut Vec<u8>, T),
) -> io::Result<()> {
    const PIECE: usize = 1 << 16;
    let mut text = Vec::with_capacity(2 * PIECE);
    for item in items {
        push(&mut text, item);
        if text.len() >= PIECE {
            out.write_all(&text)?;
            text.clear();
        }
    }
    out.write_all(&text)
}
