//! Edge lists as SNAP, KONECT and spreadsheets write them: `u v` or `u v w` a line, `#` or `%` comments, ids as given.
//!
//! Without a header a list cannot tell of vertices that no arc touches, nor that its ids begin with 1; what is written
//! here says so in a comment, `# vertices 12 first_id 1`, which is heeded when read.

use std::io::{self, Write};

use super::decimal::{digits_of, push_length, push_whole};
use super::lines::{Fields, Lines};
use super::listing::Listing;
use super::{GraphFile, write_lines};
use crate::Error;

const LINE: &str = "FROM TO [LENGTH] (with times, ask for --temporal)";

/// Reads the arcs of an edge list.
pub(super) fn read(lines: &mut Lines, relabel: bool) -> Result<Listing, Error> {
    let mut listing = Listing::from(0, relabel);
    let mut largest = 0;
    lines.each(|number, line| {
        let mut fields = Fields::of(line);
        match fields.peek() {
            None => Ok(()),
            Some(b'#' | b'%') => match declared(fields) {
                Some((vertices, first)) if listing.listed == 0 && !relabel => {
                    listing.ids.first = first;
                    listing.declare(number, vertices)
                }
                _ => Ok(()),
            },
            Some(_) => {
                let (from, to) = (fields.required(LINE)?, fields.required(LINE)?);
                let length = listing.decimals.length(&mut fields)?.unwrap_or(1.0);
                fields.end(LINE)?;
                if from.max(to) > largest && !listing.ids.is_declared() {
                    (largest, listing.header) = (from.max(to), number);
                }
                listing.add(from, to, length)
            }
        }
    })?;
    listing.zero_based = listing.ids.first == 0;
    Ok(listing)
}

/// The count and first id of `# vertices 12 first_id 1`.
pub(super) fn declared(mut fields: Fields) -> Option<(u64, u64)> {
    for expected in [&b"#"[..], b"vertices"] {
        fields.word().filter(|&word| word == expected)?;
    }
    let vertices = fields.whole().ok()??;
    fields.word().filter(|word| word == b"first_id")?;
    let first = fields.whole().ok()?.filter(|&first| first <= 1)?;
    fields.end(LINE).ok()?;
    Some((vertices, first))
}

/// Writes an edge list; lengths only if any is not 1.
pub(super) fn write(file: &GraphFile, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# vertices {} first_id {}", file.graph.vertices(), file.first_id)?;
    let (digits, weighted) = (digits_of(file.unit), file.is_weighted());
    let first = u64::from(file.first_id);
    write_lines(file.graph.list(), out, |text, arc| {
        push_whole(text, u64::from(arc.from) + first);
        text.push(b'\t');
        push_whole(text, u64::from(arc.to) + first);
        if weighted {
            text.push(b'\t');
            push_length(text, arc.length, digits);
        }
        text.push(b'\n');
    })
}
