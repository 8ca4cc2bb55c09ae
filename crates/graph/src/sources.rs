//! Sources: the vertices whose round trips matter, from a file or drawn.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::components::Components;
use crate::digraph::Direction;
use crate::file::lines::{Fields, Lines, SHORT};
use crate::file::{Fault, GraphFile};
use crate::{Digraph, Error};

const LINE: &str = "ID";

/// Reads a sources file of `graph`: one id a line, as in the graph's file; lines of `#`, `%` or `c` are comments.
///
/// Gives vertices, ascending, each once.
///
/// # Errors
/// [`Error::File`] naming the line: no id, no vertex of the graph, nothing listed.
pub fn read(path: impl AsRef<Path>, graph: &GraphFile) -> Result<Vec<u32>, Error> {
    from_lines(&mut Lines::open(path, SHORT)?, graph)
}

fn from_lines(lines: &mut Lines, graph: &GraphFile) -> Result<Vec<u32>, Error> {
    let lookup = graph.lookup();
    let mut sources = Vec::new();
    lines.each(|_, line| {
        let mut fields = Fields::of(line);
        if fields.peek().is_none_or(|first| b"#%c".contains(&first)) {
            return Ok(());
        }
        let id = fields.required(LINE)?;
        fields.end(LINE)?;
        let (first, vertices) = (graph.first_id.into(), graph.graph.vertices() as u64);
        sources.push(lookup.vertex(id).ok_or(Fault::IdRange { id, first, vertices })?);
        Ok(())
    })?;
    if sources.is_empty() {
        return Err(lines.fault(lines.number().max(1), Fault::Nothing { what: "sources" }));
    }
    sources.sort_unstable();
    sources.dedup();
    Ok(sources)
}

/// Draws `count` sources, ascending, none twice: vertices that are on a round trip, or, if those are too few, that have
/// arcs, or any.
///
/// # Errors
/// [`Error::Sample`] if `count` is 0 or more than there are vertices.
pub fn sample(graph: &Digraph, count: usize, seed: u64) -> Result<Vec<u32>, Error> {
    let vertices = graph.vertices();
    if count == 0 || count > vertices {
        return Err(Error::Sample { count, vertices });
    }
    let components = Components::of(graph);
    let on_a_round_trip = |&v: &u32| components.size(v) > 1;
    let has_arcs = |&v: &u32| [Direction::Out, Direction::In].iter().any(|&d| !graph.steps(d, v).is_empty());
    let all = || 0..vertices as u32;
    let mut pool: Vec<u32> = all().filter(on_a_round_trip).collect();
    if pool.len() < count {
        pool = all().filter(has_arcs).collect();
    }
    if pool.len() < count {
        pool = all().collect();
    }
    Ok(drawn(pool, count, seed))
}

/// `count` of `sources`, ascending; all of them if they are no more.
pub fn some_of(sources: &[u32], count: usize, seed: u64) -> Vec<u32> {
    drawn(sources.to_vec(), count.min(sources.len()), seed)
}

/// Writes a sources file: one id a line, as in the graph's file.
///
/// # Errors
/// [`Error::Data`] if `path` cannot be written.
pub fn write(path: impl AsRef<Path>, sources: &[u32], graph: &GraphFile) -> Result<(), Error> {
    tersor_data::atomic::write(path, |out| {
        sources.iter().try_for_each(|&source| writeln!(out, "{}", graph.id(source)))
    })?;
    Ok(())
}

/// The first `count` of a shuffled `pool`, ascending.
fn drawn(mut pool: Vec<u32>, count: usize, seed: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for drawn in 0..count {
        let other = random.random_range(drawn..pool.len());
        pool.swap(drawn, other);
    }
    pool.truncate(count);
    pool.sort_unstable();
    pool
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{self, ReadOptions};

    /// Ids 1 to 6: a ring of 1, 2, 3; an arc from 4 to 5; nothing at 6.
    fn graph() -> GraphFile {
        let text = b"p sp 6 4\na 1 2 1\na 2 3 1\na 3 1 1\na 4 5 1\n";
        file::from_bytes("g.gr", text.to_vec(), &ReadOptions::default()).unwrap()
    }

    fn listed(text: &str) -> Result<Vec<u32>, String> {
        let mut lines = Lines::from_bytes("s.txt", text.into(), SHORT).unwrap();
        from_lines(&mut lines, &graph()).map_err(|error| error.to_string())
    }

    #[test]
    fn sources_are_listed_by_the_ids_of_the_graph() {
        assert_eq!(listed("# depots\n6\n\n 2 \r\nc x\n2\n"), Ok(vec![1, 5]));
        assert_eq!(
            listed("1\n0\n").unwrap_err(),
            "s.txt:2: id 0 is out of range: the file declares 6 vertices from id 1"
        );
        assert!(listed("1\n7\n").unwrap_err().starts_with("s.txt:2: id 7 is out of range"));
        assert_eq!(listed("1 2\n").unwrap_err(), "s.txt:1: expected `ID`");
        assert_eq!(listed("# none\n").unwrap_err(), "s.txt:1: the file lists no sources");
        assert_eq!(listed("").unwrap_err(), "s.txt:1: the file lists no sources");
    }

    #[test]
    fn sources_are_drawn_where_there_are_round_trips_first() {
        let graph = graph().graph;
        assert_eq!(sample(&graph, 3, 1).unwrap(), [0, 1, 2]);
        assert_eq!(sample(&graph, 5, 1).unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(sample(&graph, 6, 1).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sample(&graph, 2, 5).unwrap(), sample(&graph, 2, 5).unwrap());
        assert_eq!(some_of(&[5, 1, 3], 9, 1), [1, 3, 5]);
        assert_eq!(some_of(&[1, 3, 5, 7], 2, 1).len(), 2);
        for wrong in [0, 7] {
            assert!(sample(&graph, wrong, 1).unwrap_err().to_string().contains("6 vertices"));
        }
    }
}
