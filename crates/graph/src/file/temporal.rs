//! Temporal edge lists: `u v t [+|- [w]]`, an edge that came or went at a time; `#` or `%` comments, ids as given.
//!
//! Lines stay in the file's order; whether times may go back is for the reader of the updates to say.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::decimal::{Decimals, number};
use super::fault::{Fault, shown};
use super::ids::Ids;
use super::lines::{Fields, Lines, SHORT};
use super::listing::Listing;
use crate::{Arc, Error};

const LINE: &str = "FROM TO TIME [+|- [LENGTH]]";

/// Changes of a graph over time, in the order of their file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TemporalEdges {
    /// How many vertices there are: one more than the largest.
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
