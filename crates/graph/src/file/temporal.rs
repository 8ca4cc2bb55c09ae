//! Temporal edge lists: `u v t [+|- [w]]`, an edge that came or went at a time; `#` or `%` comments, ids as given.
//!
//! Lines stay in the file's order; whether times may go back is for the reader of the updates to say. What is written
//! here begins with a comment, `# vertices 12 first_id 0`, since a list cannot tell of vertices that no edge touches;
//! it is heeded when read.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::decimal::{Decimals, number, push_length, push_whole};
use super::edge_list::declared;
use super::fault::{Fault, shown};
use super::ids::Ids;
use super::lines::{Fields, Lines, SHORT};
use super::listing::Listing;
use super::{write_lines, write_text};
use crate::{Arc, Error};

const LINE: &str = "FROM TO TIME [+|- [LENGTH]]";

/// Changes of a graph over time, in the order of their file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TemporalEdges {
    /// How many vertices there are: as the file says, or one more than the largest.
    pub vertices: usize,
    /// The id of each vertex in the file, where they were numbered by first appearance.
    pub labels: Option<Vec<u64>>,
    /// The changes.
    pub updates: Vec<Update>,
}

/// One edge that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// When: the file's unit, finite.
    pub time: f64,
    /// Where the edge begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// Whether it came; else it went.
    pub insert: bool,
    /// Its length or weight, 1 if the file gives none.
    pub weight: f64,
}

/// Reads a temporal edge list; `relabel` numbers ids by first appearance.
///
/// # Errors
/// [`Error::File`] naming the line: not a number, not finite, too large an id, another form of line.
pub fn read(path: impl AsRef<Path>, relabel: bool) -> Result<TemporalEdges, Error> {
    updates(&mut Lines::open(path, SHORT)?, relabel)
}

/// As [`read`], from the bytes of a file called `name`.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>, relabel: bool) -> Result<TemporalEdges, Error> {
    updates(&mut Lines::from_bytes(name, bytes, SHORT)?, relabel)
}

/// Writes a temporal edge list, packed if `path` ends in `.gz`: ids from 0, and weights only where they are not 1.
///
/// # Errors
/// [`Error::Data`] if `path` cannot be written.
pub fn write(path: impl AsRef<Path>, vertices: usize, updates: &[Update]) -> Result<(), Error> {
    write_text(path.as_ref(), |out| {
        writeln!(out, "# vertices {vertices} first_id 0")?;
        write_lines(updates, out, |text, update| {
            push_whole(text, update.from.into());
            text.push(b' ');
            push_whole(text, update.to.into());
            text.push(b' ');
            push_time(text, update.time);
            text.extend_from_slice(if update.insert { b" +" } else { b" -" });
            if update.weight != 1.0 {
                text.push(b' ');
                push_length(text, update.weight, 0);
            }
            text.push(b'\n');
        })
    })
}

/// Appends a time: the shortest decimal that is read as the same.
fn push_time(text: &mut Vec<u8>, time: f64) {
    if time < 0.0 {
        text.push(b'-');
    }
    push_length(text, time.abs(), 0);
}

fn updates(lines: &mut Lines, relabel: bool) -> Result<TemporalEdges, Error> {
    let mut updates = Vec::new();
    let (vertices, labels) = each(lines, relabel, |update| {
        updates.push(update);
        Ok(())
    })?;
    Ok(TemporalEdges { vertices, labels, updates })
}

/// Hands every update to `use_it`, in order; gives the number of vertices and, if they were relabelled, their ids.
pub(crate) fn each(
    lines: &mut Lines,
    relabel: bool,
    mut use_it: impl FnMut(Update) -> Result<(), Fault>,
) -> Result<(usize, Option<Vec<u64>>), Error> {
    let mut ids = Ids::from(0, relabel);
    let (mut largest, mut line_of_largest) = (0, 0);
    lines.each(|number, line| {
        if let Some(vertices) = declaration(line).filter(|_| ids.vertices() == 0 && !relabel) {
            (largest, line_of_largest) = (vertices, number);
            return ids.declare(vertices);
        }
        if let Some(update) = update(line, &mut ids, &mut Decimals::default())? {
            if ids.vertices() > largest {
                (largest, line_of_largest) = (ids.vertices(), number);
            }
            use_it(update)?;
        }
        Ok(())
    })?;
    ids.check_density(lines.number()).map_err(|fault| lines.fault(line_of_largest, fault))?;
    Ok((ids.vertices() as usize, ids.into_labels()))
}

/// The count of `# vertices 12 first_id 0`.
fn declaration(line: &[u8]) -> Option<u64> {
    declared(Fields::of(line)).filter(|&(_, first)| first == 0).map(|(vertices, _)| vertices)
}

/// The update of a line, unless that is blank or a comment.
fn update(line: &[u8], ids: &mut Ids, decimals: &mut Decimals) -> Result<Option<Update>, Fault> {
    let mut fields = Fields::of(line);
    if fields.peek().is_none_or(|byte| byte == b'#' || byte == b'%') {
        return Ok(None);
    }
    let (from, to) = (fields.required(LINE)?, fields.required(LINE)?);
    let word = fields.word().ok_or(Fault::Line { expected: LINE })?;
    let time = number(word)?;
    if !time.is_finite() {
        return Err(Fault::NotANumber { found: shown(word) });
    }
    let insert = match fields.word() {
        None | Some(b"+") => true,
        Some(b"-") => false,
        Some(_) => return Err(Fault::Line { expected: LINE }),
    };
    let weight = decimals.length(&mut fields)?.unwrap_or(1.0);
    fields.end(LINE)?;
    Ok(Some(Update { time, from: ids.vertex(from)?, to: ids.vertex(to)?, insert, weight }))
}

/// The graph that is left at the end, as arcs: an edge is there as often as it came and did not go.
pub(super) fn listing(lines: &mut Lines, relabel: bool) -> Result<Listing, Error> {
    let mut listing = Listing { zero_based: true, ..Listing::from(0, relabel) };
    let mut there: HashMap<(u32, u32), (u64, f64)> = HashMap::new();
    lines.each(|number, line| {
        if let Some(vertices) = declaration(line).filter(|_| listing.ids.vertices() == 0 && !relabel) {
            return listing.declare(number, vertices);
        }
        let before = listing.ids.vertices();
        let Some(update) = update(line, &mut listing.ids, &mut listing.decimals)? else { return Ok(()) };
        if listing.ids.vertices() > before {
            listing.header = number;
        }
        let key = (update.from, update.to);
        if update.insert {
            let (times, length) = there.entry(key).or_default();
            (*times, *length) = (*times + 1, update.weight);
        } else {
            match there.get_mut(&key) {
                Some((times, _)) if *times > 1 => *times -= 1,
                Some(_) => drop(there.remove(&key)),
                None => {
                    let mut fields = Fields::of(line);
                    return Err(Fault::NotThere { from: fields.required(LINE)?, to: fields.required(LINE)? });
                }
            }
        }
        Ok(())
    })?;
    for ((from, to), (times, length)) in there {
        listing.arcs.extend((0..times).map(|_| Arc { from, to, length }));
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::file::{ReadOptions, read as read_graph};

    fn updates() -> impl Strategy<Value = Vec<Update>> {
        let time = prop_oneof![
            (1u32..30).prop_map(f64::from),
            -1e3..1e3,
            any::<f64>().prop_filter("finite", |t| t.is_finite())
        ];
        let weight = prop_oneof![Just(1.0), 0.0..2.0, 0.0..f64::MAX];
        let update = (time, 0u32..40, 0u32..40, any::<bool>(), weight)
            .prop_map(|(time, from, to, insert, weight)| Update { time, from, to, insert, weight });
        prop::collection::vec(update, 0..60)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(updates in updates(), packed in any::<bool>(), more in 0usize..9) {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join(if packed { "x.txt.gz" } else { "x.txt" });
            let vertices = 40 + more;
            write(&path, vertices, &updates)?;
            prop_assert_eq!(read(&path, false)?, TemporalEdges { vertices, labels: None, updates });
        }
    }

    #[test]
    fn the_header_tells_of_vertices_that_no_edge_touches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        let update = |time, from, insert, weight| Update { time, from, to: 3, insert, weight };
        write(&path, 9, &[update(1.0, 0, true, 1.0), update(1.5, 2, true, 0.25), update(2.0, 0, false, 1.0)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# vertices 9 first_id 0\n0 3 1 +\n2 3 1.5 + 0.25\n0 3 2 -\n");
        let graph = read_graph(&path, &ReadOptions { temporal: true, ..ReadOptions::default() }).unwrap().graph;
        assert_eq!((graph.vertices(), graph.arcs()), (9, 1));
        let refused = from_bytes("x.txt", b"# vertices 3 first_id 0\n0 3 1\n".to_vec(), false).unwrap_err();
        assert!(refused.to_string().starts_with("x.txt:2: "), "{refused}");
        let sparse = from_bytes("x.txt", b"# vertices 4000000000 first_id 0\n0 3 1\n".to_vec(), false).unwrap_err();
        assert!(sparse.to_string().starts_with("x.txt:1: "), "{sparse}");
    }
}
