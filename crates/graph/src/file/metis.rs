//! METIS graphs: `n m [flags [constraints]]`, then for each vertex a line of its neighbours; `%` comments, ids from 1.
//!
//! Source: the METIS 5 manual, section 4.1. Flags are three digits: lines begin with a vertex size, with vertex weights,
//! and each neighbour is followed by the edge's length. Sizes and weights of vertices are read over. The format is for
//! undirected graphs: each edge stands at both ends and becomes two arcs, and only such graphs can be written.

use std::io::{self, Write};

use super::decimal::{digits_of, push_length, push_whole};
use super::dimacs::is_offset;
use super::fault::Fault;
use super::lines::{Fields, Lines};
use super::listing::Listing;
use super::{GraphFile, write_lines};
use crate::digraph::Direction;
use crate::{Digraph, Error};

const HEADER: &str = "VERTICES EDGES [FLAGS [CONSTRAINTS]]";
const LINE: &str = "[SIZE] [WEIGHTS] {NEIGHBOUR [LENGTH]}";

struct Header {
    vertices: u64,
    edges: u64,
    sizes: bool,
    weights: u64,
    lengths: bool,
}

/// Reads the edges of a METIS graph.
pub(super) fn read(lines: &mut Lines, relabel: bool) -> Result<Listing, Error> {
    let mut listing = Listing { undirected: true, ..Listing::from(1, relabel) };
    let mut header: Option<Header> = None;
    let (mut vertex, mut loops) = (0, 0);
    lines.each(|number, line| {
        let mut fields = Fields::of(line);
        if fields.peek() == Some(b'%') {
            listing.zero_based |= is_offset(fields, b"%");
            return Ok(());
        }
        let Some(header) = &header else {
            if fields.peek().is_some() {
                let found = header_of(fields)?;
                listing.declare(number, found.vertices)?;
                header = Some(found);
            }
            return Ok(());
        };
        vertex += 1;
        if vertex > header.vertices {
            let rest = Fault::Count { what: "vertices", declared: header.vertices, found: vertex };
            return if fields.peek().is_some() { Err(rest) } else { Ok(()) };
        }
        for _ in 0..u64::from(header.sizes) + header.weights {
            fields.required(LINE)?;
        }
        while let Some(neighbour) = fields.whole()? {
            let length = match header.lengths {
                true => listing.decimals.length(&mut fields)?.ok_or(Fault::Line { expected: LINE })?,
                false => 1.0,
            };
            loops += u64::from(neighbour == vertex);
            // Parallel edges could be many, but not more than twice what is declared.
            listing.within("edges (twice)", Some(2 * header.edges.min(u64::MAX / 2)))?;
            listing.add(vertex, neighbour, length)?;
        }
        Ok(())
    })?;
    let Some(header) = header else {
        return Err(lines.fault(lines.number().max(1), Fault::Header { expected: HEADER }));
    };
    let count = |what, declared, found| Err(lines.fault(listing.header, Fault::Count { what, declared, found }));
    if vertex < header.vertices {
        return count("vertices", header.vertices, vertex);
    }
    // A loop stands once in some writers' lists, twice in others'.
    if ![listing.listed, listing.listed + loops].contains(&(2 * header.edges)) {
        return count("edges", header.edges, listing.listed.div_ceil(2));
    }
    Ok(listing)
}

fn header_of(mut fields: Fields) -> Result<Header, Fault> {
    let (vertices, edges) = (fields.required(HEADER)?, fields.required(HEADER)?);
    let flags = fields.word().unwrap_or(b"0");
    let constraints = fields.whole()?;
    fields.end(HEADER)?;
    if flags.len() > 3 || flags.iter().any(|flag| !b"01".contains(flag)) || constraints.is_some_and(|count| count > 64)
    {
        return Err(Fault::Header { expected: HEADER });
    }
    let flag = |from_right: usize| flags.len() > from_right && flags[flags.len() - 1 - from_right] == b'1';
    let weights = if flag(1) { constraints.unwrap_or(1) } else { 0 };
    Ok(Header { vertices, edges, sizes: flag(2), weights, lengths: flag(0) })
}

/// An edge that only one of its ends lists, or each with another length.
pub(super) fn one_sided(graph: &Digraph) -> Option<(u32, u32)> {
    (0..graph.vertices() as u32).find_map(|vertex| {
        let (out, back) = (graph.steps(Direction::Out, vertex), graph.steps(Direction::In, vertex));
        if out == back {
            return None;
        }
        let twins = out.iter().zip(back).take_while(|(a, b)| a == b).count();
        let other = [out, back].iter().filter_map(|steps| steps.get(twins)).map(|step| step.to).min();
        Some((vertex, other?))
    })
}

/// Writes a METIS graph, which `file` must be: undirected.
pub(super) fn write(file: &GraphFile, out: &mut dyn Write) -> io::Result<()> {
    if file.first_id == 0 {
        writeln!(out, "% id_offset 1")?;
    }
    let (digits, weighted) = (digits_of(file.unit), file.is_weighted());
    writeln!(out, "{} {}{}", file.graph.vertices(), file.graph.arcs() / 2, if weighted { " 001" } else { "" })?;
    write_lines(0..file.graph.vertices() as u32, out, |text, vertex| {
        let steps = file.graph.steps(Direction::Out, vertex);
        for (position, step) in steps.iter().enumerate() {
            if position > 0 {
                text.push(b' ');
            }
            push_whole(text, u64::from(step.to) + 1);
            if weighted {
                text.push(b' ');
                push_length(text, step.length, digits);
            }
        }
        text.push(b'\n');
    })
}
