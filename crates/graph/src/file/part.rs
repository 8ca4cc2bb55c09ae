//! A part of a graph in a file of its own: a thinned graph, read beside the graph that it was made from.
//!
//! Its arcs are found by the ids that the graph would be written with, and their lengths in the unit that the graph
//! has, whatever the file's own decimals suggest.

use std::path::Path;

use super::lines::Lines;
use super::{Format, GraphFile, ReadOptions, decimal, from_lines, longest_line};
use crate::digraph::Direction;
use crate::{Arc, ArcSet, Digraph, Error};

impl GraphFile {
    /// Reads the sub-graph of `graph` that the file at `path` holds. Its name tells the format; if not, it is this one's.
    /// Where this graph was numbered by first appearance, the file's ids are those numbers, since they are what is written.
    ///
    /// # Errors
    /// [`Error::NotAPart`] naming an arc that the graph lacks or has with another length; else as [`read`](super::read).
    pub fn read_part(&self, path: impl AsRef<Path>) -> Result<Digraph, Error> {
        let path = path.as_ref();
        let format = Format::of(path).unwrap_or(self.format);
        let mut lines = Lines::open(path, longest_line(format))?;
        let part = from_lines(&mut lines, path, format, &ReadOptions::default(), self.graph.vertices())?;
        let mut kept = ArcSet::none(&self.graph);
        for arc in part.graph.list() {
            let number = self.number_of(&part, arc).ok_or_else(|| Error::NotAPart {
                file: path.to_path_buf(),
                from: part.id(arc.from),
                to: part.id(arc.to),
                length: part.in_file(arc.length),
            })?;
            kept.insert(number);
        }
        Ok(self.graph.subgraph(&kept))
    }

    /// The number in `graph` of an arc of `part`, if it is one of its arcs.
    fn number_of(&self, part: &Self, arc: Arc) -> Option<u32> {
        let vertex = |vertex| {
            let vertex = part.id(vertex).checked_sub(self.first_id.into())?;
            u32::try_from(vertex).ok().filter(|&vertex| (vertex as usize) < self.graph.vertices())
        };
        let (from, to) = (vertex(arc.from)?, vertex(arc.to)?);
        let position = self.graph.position(Direction::Out, from, to)?;
        let row = self.graph.row(Direction::Out, from);
        let length = self.graph.steps(Direction::Out, from)[position - row.start].length;
        let number = || self.graph.number(Direction::Out, position);
        if self.decimals() == part.decimals() {
            return (length == arc.length).then(number);
        }
        // Both are decimals, in units that differ: compared in the finer one.
        let digits = self.decimals().max(part.decimals());
        let told = |length: f64, decimals: u32| {
            let mut text = String::new();
            decimal::push_shifted(&mut text, length, decimals);
            decimal::shifted(&text, digits)
        };
        (told(length, self.decimals()) == told(arc.length, part.decimals())).then(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    fn graph(name: &str, text: &str) -> GraphFile {
        file::from_bytes(name, text.into(), &ReadOptions::default()).unwrap()
    }

    /// The arcs of the part of `graph` that a file of this name and text holds.
    fn part(graph: &GraphFile, name: &str, text: &str) -> Result<Vec<Arc>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let part = graph.read_part(&path).map_err(|error| error.to_string())?;
        assert_eq!(part.vertices(), graph.graph.vertices());
        Ok(part.list().collect())
    }

    #[test]
    fn a_part_is_found_by_ids_and_lengths_of_the_file() {
        let whole = graph("g.gr", "p sp 4 3\na 1 2 0.25\na 2 1 3\na 4 1 1.5\n");
        let there_and_back = [(0, 1, 25.0), (1, 0, 300.0)].map(Arc::from).to_vec();
        assert_eq!(part(&whole, "h.gr", "p sp 4 2\na 2 1 3\na 1 2 0.25\n"), Ok(there_and_back.clone()));
        // Fewer decimals, fewer vertices, another format, ids from another number on.
        assert_eq!(part(&whole, "h.txt", "2 1 3\n"), Ok(there_and_back[1..].to_vec()));
        assert_eq!(part(&whole, "h.txt", "4 1 1.50\n"), Ok(vec![Arc::from((3, 0, 150.0))]));
        assert_eq!(part(&whole, "h.gr", "c id_offset 1\np sp 5 1\na 3 2 3\n"), Ok(there_and_back[1..].to_vec()));
        // A name that tells nothing.
        assert_eq!(part(&whole, "h", "p sp 4 1\na 2 1 3\n"), Ok(there_and_back[1..].to_vec()));

        for wrong in ["2 1 3.001", "2 1 0.03", "1 3 1", "9 1 1", "0 1 1"] {
            let error = part(&whole, "h.txt", wrong).unwrap_err();
            let [from, to, length] = wrong.split(' ').collect::<Vec<_>>()[..] else { panic!() };
            assert!(
                error.ends_with(&format!("arc {from} -> {to} of length {length}: the graph has no such arc")),
                "{error}"
            );
        }
    }

    #[test]
    fn lengths_too_long_to_be_whole_are_compared_as_they_were_read() {
        let whole = graph("g.gr", "p sp 2 2\na 1 2 9000000000000000.5\na 2 1 0.1\n");
        assert_eq!(whole.unit, 1.0);
        assert_eq!(part(&whole, "h.gr", "p sp 2 1\na 2 1 0.1\n"), Ok(vec![Arc::from((1, 0, 0.1))]));
    }

    #[test]
    fn a_part_may_leave_most_vertices_without_arcs() {
        let n = 1_100_000;
        let ring = (0..n).map(|v| Arc { from: v, to: (v + 1) % n, length: 1.0 }).collect();
        let whole = GraphFile::new(Digraph::from_arcs(n as usize, ring).unwrap().0, Format::Dimacs);
        assert_eq!(part(&whole, "h.gr", "p sp 1100000 1\na 1 2 1\n").map(|arcs| arcs.len()), Ok(1));
        let error = part(&whole, "h.gr", "p sp 1200000 1\na 1 2 1\n").unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }

    #[test]
    fn a_part_of_a_relabelled_graph_has_the_numbers_that_are_written() {
        let options = ReadOptions { relabel: true, ..ReadOptions::default() };
        let whole = file::from_bytes("g.txt", b"70 80\n80 70\n80 90\n".to_vec(), &options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["h.txt", "h.gr"] {
            let path = folder.path().join(name);
            whole.write(&path, None).unwrap();
            assert_eq!(whole.read_part(&path).unwrap(), whole.graph);
        }
    }
}
