//! Coordinates of vertices: DIMACS `.co` files, `p aux sp co n`, then `v id x y` for each vertex.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::decimal::number;
use super::dimacs::is_offset;
use super::fault::{Fault, shown};
use super::lines::{Fields, Lines};
use super::{GraphFile, format::is_packed};
use crate::Error;

const HEADER: &str = "p aux sp co VERTICES";
const VERTEX: &str = "v ID X Y";

/// Where the coordinates of the graph in `path` lie: `city.co` beside `city.gr`, both `.gz` or neither.
pub fn beside(path: &Path) -> PathBuf {
    if is_packed(path) { path.with_extension("").with_extension("co.gz") } else { path.with_extension("co") }
}

/// Reads the coordinates of all vertices of `graph`.
pub(super) fn read(lines: &mut Lines, graph: &GraphFile) -> Result<Vec<[f64; 2]>, Error> {
    let vertices = graph.graph.vertices();
    let lookup = graph.lookup();
    let mut coordinates = vec![[f64::NAN; 2]; vertices];
    let (mut header, mut declared, mut listed, mut offset) = (1, None, 0, None);
    lines.each(|number_of_line, line| {
        let mut fields = Fields::of(line);
        match (fields.peek(), declared) {
            (None, _) => Ok(()),
            (Some(b'c'), _) => {
                if is_offset(fields, b"c") {
                    offset = Some(1);
                }
                Ok(())
            }
            (Some(b'p'), None) => {
                for expected in [&b"p"[..], b"aux", b"sp", b"co"] {
                    fields.word().filter(|&word| word == expected).ok_or(Fault::Header { expected: HEADER })?;
                }
                (header, declared) = (number_of_line, Some(fields.required(HEADER)?));
                fields.end(HEADER)
            }
            (Some(_), None) => Err(Fault::Header { expected: HEADER }),
            (Some(_), Some(_)) => {
                fields.word().filter(|word| word == b"v").ok_or(Fault::Line { expected: VERTEX })?;
                let id = fields.required(VERTEX)?;
                let at = [coordinate(&mut fields)?, coordinate(&mut fields)?];
                fields.end(VERTEX)?;
                // In a `.co` of its own, ids are the graph's.
                let offset = offset.unwrap_or(graph.format.base() - graph.format.base().min(graph.first_id));
                match id.checked_sub(offset.into()).and_then(|id| lookup.vertex(id)) {
                    Some(vertex) => {
                        let place = &mut coordinates[vertex as usize];
                        listed += u64::from(place[0].is_nan());
                        *place = at;
                        Ok(())
                    }
                    // The file may cover more than a graph of only those vertices that have arcs.
                    None if graph.labels.is_some() => Ok(()),
                    None => {
                        let first = u64::from(offset + graph.first_id);
                        Err(Fault::IdRange { id, first, vertices: vertices as u64 })
                    }
                }
            }
        }
    })?;
    if declared.is_none() {
        return Err(lines.fault(lines.number(), Fault::Header { expected: HEADER }));
    }
    let vertices = vertices as u64;
    if let Some(declared) = declared.filter(|&declared| declared != vertices && graph.labels.is_none()) {
        return Err(lines.fault(header, Fault::OtherGraph { declared, vertices }));
    }
    if listed != vertices {
        return Err(lines.fault(header, Fault::Count { what: "vertices", declared: vertices, found: listed }));
    }
    Ok(coordinates)
}

fn coordinate(fields: &mut Fields) -> Result<f64, Fault> {
    let word = fields.word().ok_or(Fault::Line { expected: VERTEX })?;
    let value = number(word)?;
    if value.is_finite() { Ok(value) } else { Err(Fault::NotANumber { found: shown(word) }) }
}

/// Writes a `.co`.
pub(super) fn write(file: &GraphFile, coordinates: &[[f64; 2]], out: &mut dyn Write) -> io::Result<()> {
    if file.first_id == 0 {
        writeln!(out, "c id_offset 1")?;
    }
    writeln!(out, "p aux sp co {}", coordinates.len())?;
    for ([x, y], id) in coordinates.iter().zip(1u64..) {
        writeln!(out, "v {id} {x} {y}")?;
    }
    Ok(())
}
