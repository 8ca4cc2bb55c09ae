//! A graph to cluster, with its true clusters where they are known, and how both become files.

use std::path::Path;

use super::undirected::Edge;
use crate::file::decimal::push_whole;
use crate::file::{Format, GraphFile, write_lines, write_text};
use crate::{Arc, Digraph, Error};

/// The most edges of a generated graph: 2^28, which take 4 GiB.
pub const MOST_EDGES: usize = 1 << 28;

/// A graph to cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// How many vertices there are.
    pub vertices: usize,
    /// By lower end, then by higher end; no pair twice.
    pub edges: Vec<Edge>,
    /// The true cluster of each vertex, if there is one, numbered from 0.
    pub truth: Option<Vec<u32>>,
}

impl Instance {
    /// Writes the graph to `path`; the format is the one given, or else the one that the name tells. Ids begin with 0, or
    /// the file says that 1 was added.
    ///
    /// An edge list names each edge once, the lower end first. In the other formats an edge is two arcs: Matrix Market
    /// is then symmetric, METIS is so always, and DIMACS lists both.
    ///
    /// # Errors
    /// As [`GraphFile::write`]; [`Error::TooLarge`] above 2^32 - 1 arcs.
    pub fn write(&self, path: impl AsRef<Path>, format: Option<Format>) -> Result<(), Error> {
        let path = path.as_ref();
        let format = format.map_or_else(|| Format::of(path), Ok)?;
        let once = format == Format::EdgeList;
        let mut arcs: Vec<_> = self.edges.iter().map(|e| Arc { from: e.u, to: e.v, length: e.weight }).collect();
        if !once {
            arcs.extend(self.edges.iter().map(|e| Arc { from: e.v, to: e.u, length: e.weight }));
        }
        let (graph, _) = Digraph::from_arcs(self.vertices, arcs)?;
        GraphFile { first_id: 0, undirected: !once, ..GraphFile::new(graph, format) }.write(path, Some(format))
    }

    /// Writes a line `id label` for each vertex, both from 0; nothing if the truth is not known.
    ///
    /// # Errors
    /// [`Error::Data`] if `path` cannot be written.
    pub fn write_truth(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let Some(truth) = &self.truth else { return Ok(()) };
        write_text(path.as_ref(), |out| {
            write_lines(truth.iter().enumerate(), out, |text, (vertex, &label)| {
                push_whole(text, vertex as u64);
                text.push(b' ');
                push_whole(text, label.into());
                text.push(b'\n');
            })
        })
    }
}

/// The clusters of vertices in equal blocks, the lower ones first; sizes differ by 1 at most.
pub(super) fn equal_blocks(vertices: usize, clusters: usize) -> Vec<u32> {
    (0..vertices as u64).map(|vertex| (vertex * clusters as u64 / vertices as u64) as u32).collect()
}

/// There are vertices, at most `most`, and no more clusters than those.
pub(super) fn check_sizes(vertices: usize, clusters: usize, most: usize) -> Result<(), Error> {
    if vertices == 0 {
        return Err(Error::Parameter { what: "vertices", value: 0.0, range: "at least 1" });
    }
    if vertices > most {
        return Err(Error::TooLarge { what: format!("{vertices} vertices, of at most {most} here") });
    }
    if clusters == 0 || clusters > vertices {
        let range = "from 1 to the number of vertices";
        return Err(Error::Parameter { what: "clusters", value: clusters as f64, range });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{ReadOptions, read};

    #[test]
    fn an_edge_is_a_line_of_a_list_and_two_arcs_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let edges = vec![Edge { u: 0, v: 1, weight: 0.5 }, Edge { u: 1, v: 3, weight: 1.0 }];
        let instance = Instance { vertices: 5, edges, truth: Some(vec![0, 0, 1, 1, 2]) };
        for (name, arcs) in [("x.txt", 2), ("x.gr", 4), ("x.mtx.gz", 4), ("x.graph", 4)] {
            let path = folder.path().join(name);
            instance.write(&path, None).unwrap();
            let file = read(&path, &ReadOptions::default()).unwrap();
            assert_eq!((file.graph.vertices(), file.graph.arcs(), file.first_id), (5, arcs, 0), "{name}");
            assert_eq!(file.undirected, name.contains("mtx") || name.contains("graph"), "{name}");
        }
        assert!(instance.write(folder.path().join("x.dot"), None).is_err());
        let labels = folder.path().join("labels.txt");
        instance.write_truth(&labels).unwrap();
        assert_eq!(std::fs::read_to_string(labels).unwrap(), "0 0\n1 0\n2 1\n3 1\n4 2\n");
    }

    #[test]
    fn blocks_are_equal_to_within_a_vertex() {
        for (vertices, clusters) in [(1, 1), (7, 3), (1500, 4), (10, 10), (101, 7)] {
            let blocks = equal_blocks(vertices, clusters);
            assert!(blocks.is_sorted());
            for block in 0..clusters as u32 {
                let size = blocks.iter().filter(|&&found| found == block).count();
                assert!([vertices / clusters, vertices.div_ceil(clusters)].contains(&size), "{vertices} {clusters}");
            }
        }
    }
}
