//! DIMACS shortest-path files: `c` comments, one `p sp n m`, then `a u v w` for each arc, ids from 1.
//!
//! Source: 9th DIMACS Implementation Challenge (2006). Lengths there are whole; decimals are read and written too.
//! Where vertex 0 is called 0, a comment line `c id_offset 1` says that 1 was added to all ids.

use std::io::{self, Write};

use super::decimal::{digits_of, push_length, push_whole};
use super::fault::Fault;
use super::lines::{Fields, Lines};
use super::listing::Listing;
use super::{GraphFile, write_lines};
use crate::Error;

const HEADER: &str = "p sp VERTICES ARCS";
const ARC: &str = "a FROM TO LENGTH";

/// Reads the arcs of a `.gr`.
pub(super) fn read(lines: &mut Lines, relabel: bool) -> Result<Listing, Error> {
    let mut listing = Listing::from(1, relabel);
    let mut declared = None;
    lines.each(|number, line| {
        let mut fields = Fields::of(line);
        match fields.peek() {
            Some(b'a') if declared.is_some() => {
                fields.word().filter(|word| word == b"a").ok_or(Fault::Line { expected: ARC })?;
                let (from, to) = (fields.required(ARC)?, fields.required(ARC)?);
                let length = listing.decimals.length(&mut fields)?.unwrap_or(1.0);
                fields.end(ARC)?;
                listing.within("arcs", declared)?;
                listing.add(from, to, length)
            }
            Some(b'p') if declared.is_none() => {
                fields.word().filter(|word| word == b"p").ok_or(Fault::Header { expected: HEADER })?;
                fields.word().filter(|word| word == b"sp").ok_or(Fault::Header { expected: HEADER })?;
                let vertices = fields.required(HEADER)?;
                declared = Some(fields.required(HEADER)?);
                fields.end(HEADER)?;
                listing.declare(number, vertices)
            }
            Some(b'c') => {
                listing.zero_based |= is_offset(fields, b"c");
                Ok(())
            }
            None => Ok(()),
            Some(_) if declared.is_none() => Err(Fault::Header { expected: HEADER }),
            Some(_) => Err(Fault::Line { expected: ARC }),
        }
    })?;
    listing.complete(lines, HEADER, "arcs", declared)?;
    Ok(listing)
}

/// Whether a comment line is `c id_offset 1`, `c` being the format's mark of a comment.
pub(super) fn is_offset(mut fields: Fields, mark: &[u8]) -> bool {
    [fields.word(), fields.word(), fields.word(), fields.word()] == [Some(mark), Some(b"id_offset"), Some(b"1"), None]
}

/// Writes a `.gr`.
pub(super) fn write(file: &GraphFile, out: &mut dyn Write) -> io::Result<()> {
    if file.first_id == 0 {
        writeln!(out, "c id_offset 1")?;
    }
    writeln!(out, "p sp {} {}", file.graph.vertices(), file.graph.arcs())?;
    let digits = digits_of(file.unit);
    write_lines(file.graph.list(), out, |text, arc| {
        text.extend_from_slice(b"a ");
        push_whole(text, u64::from(arc.from) + 1);
        text.push(b' ');
        push_whole(text, u64::from(arc.to) + 1);
        text.push(b' ');
        push_length(text, arc.length, digits);
        text.push(b'\n');
    })
}
