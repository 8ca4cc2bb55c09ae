//! Matrix Market coordinate files: a square sparse matrix whose entry (u, v) is an arc from u to v; ids from 1.
//!
//! Source: Boisvert, Pozo, Remington, *The Matrix Market exchange formats* (NISTIR 5935, 1996). Read: `real`, `integer`
//! and `pattern` (all lengths 1), `general` and `symmetric` (an entry is two arcs). Refused, since they are no lengths:
//! `array`, `complex`, `hermitian`, `skew-symmetric`.

use std::io::{self, Write};

use super::decimal::{digits_of, push_length, push_whole};
use super::dimacs::is_offset;
use super::fault::Fault;
use super::lines::{Fields, Lines};
use super::listing::Listing;
use super::{GraphFile, write_lines};
use crate::Error;

const BANNER: &str = "%%MatrixMarket matrix coordinate real|integer|pattern general|symmetric";
const SIZES: &str = "ROWS COLUMNS ENTRIES, as many columns as rows";
const ENTRY: &str = "ROW COLUMN VALUE (no value in a pattern)";

/// Reads the entries of a `.mtx`.
pub(super) fn read(lines: &mut Lines, relabel: bool) -> Result<Listing, Error> {
    let mut listing = Listing::from(1, relabel);
    let mut pattern = None;
    let mut entries = None;
    lines.each(|number, line| {
        let mut fields = Fields::of(line);
        let Some(pattern) = pattern else {
            let (is_pattern, symmetric) = banner(fields).ok_or(Fault::Header { expected: BANNER })?;
            (pattern, listing.undirected) = (Some(is_pattern), symmetric);
            return Ok(());
        };
        match fields.peek() {
            None => Ok(()),
            Some(b'%') => {
                listing.zero_based |= is_offset(fields, b"%");
                Ok(())
            }
            Some(_) if entries.is_none() => {
                let (rows, columns) = (fields.required(SIZES)?, fields.required(SIZES)?);
                entries = Some(fields.required(SIZES)?);
                fields.end(SIZES)?;
                if rows != columns {
                    return Err(Fault::Header { expected: SIZES });
                }
                listing.declare(number, rows)
            }
            Some(_) => {
                let (from, to) = (fields.required(ENTRY)?, fields.required(ENTRY)?);
                let length = match pattern {
                    true => 1.0,
                    false => listing.decimals.length(&mut fields)?.ok_or(Fault::Line { expected: ENTRY })?,
                };
                fields.end(ENTRY)?;
                listing.within("entries", entries)?;
                if listing.undirected { listing.add_edge(from, to, length) } else { listing.add(from, to, length) }
            }
        }
    })?;
    listing.complete(lines, if pattern.is_some() { SIZES } else { BANNER }, "entries", entries)?;
    Ok(listing)
}

/// Whether the values are left out, and whether an entry stands for its mirror image too.
fn banner(mut fields: Fields) -> Option<(bool, bool)> {
    let mut word = || fields.word().map(<[u8]>::to_ascii_lowercase);
    for expected in [&b"%%matrixmarket"[..], b"matrix", b"coordinate"] {
        word().filter(|found| found == expected)?;
    }
    let pattern = match word()?.as_slice() {
        b"pattern" => true,
        b"real" | b"integer" => false,
        _ => return None,
    };
    let symmetric = match word()?.as_slice() {
        b"symmetric" => true,
        b"general" => false,
        _ => return None,
    };
    word().is_none().then_some((pattern, symmetric))
}

/// Writes a `.mtx`; a symmetric one by its lower triangle.
pub(super) fn write(file: &GraphFile, symmetric: bool, out: &mut dyn Write) -> io::Result<()> {
    let (digits, weighted) = (digits_of(file.unit), file.is_weighted());
    let whole = digits == 0 && file.graph.list().all(|arc| arc.length.fract() == 0.0);
    let values = if !weighted {
        "pattern"
    } else if whole {
        "integer"
    } else {
        "real"
    };
    let (symmetry, entries) = match symmetric {
        true => ("symmetric", file.graph.arcs() / 2),
        false => ("general", file.graph.arcs()),
    };
    writeln!(out, "%%MatrixMarket matrix coordinate {values} {symmetry}")?;
    if file.first_id == 0 {
        writeln!(out, "% id_offset 1")?;
    }
    let vertices = file.graph.vertices();
    writeln!(out, "{vertices} {vertices} {entries}")?;
    let listed = file.graph.list().filter(|arc| !symmetric || arc.from > arc.to);
    write_lines(listed, out, |text, arc| {
        push_whole(text, u64::from(arc.from) + 1);
        text.push(b' ');
        push_whole(text, u64::from(arc.to) + 1);
        if weighted {
            text.push(b' ');
            push_length(text, arc.length, digits);
        }
        text.push(b'\n');
    })
}
