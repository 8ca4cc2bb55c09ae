//! An undirected graph with weights, in compressed sparse rows: what is clustered, and what sparsifiers stand for.

use serde::{Deserialize, Serialize};

/// An edge with its weight; `u` < `v`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// One end.
    pub u: u32,
    /// The other end.
    pub v: u32,
    /// Its weight: finite and above 0.
    pub weight: f64,
}

/// An undirected graph with positive weights, without loops; parallel edges are one edge with the sum of their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Undirected {
    rows: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
    degrees: Vec<f64>,
}

impl Undirected {
    /// The graph of `edges` on vertices `0..vertices`. The order of the edges does not matter.
    ///
    /// Ends are below `vertices` and differ; weights are finite and above 0.
    pub fn from_edges(vertices: usize, edges: &[Edge]) -> Self {
        let mut sorted: Vec<_> = edges.iter().map(|edge| (edge.u, edge.v, edge.weight)).collect();
        sorted.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        sorted.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 += next.2;
            }
            same
        });
        let mut rows = vec![0; vertices + 1];
        for &(u, v, _) in &sorted {
            rows[u as usize + 1] += 1;
            rows[v as usize + 1] += 1;
        }
        for vertex in 0..vertices {
            rows[vertex + 1] += rows[vertex];
        }
        let mut next = rows.clone();
        let (mut columns, mut weights) = (vec![0; rows[vertices]], vec![0.0; rows[vertices]]);
        let mut put = |row: u32, column: u32, weight: f64| {
            let slot = &mut next[row as usize];
            (columns[*slot], weights[*slot]) = (column, weight);
            *slot += 1;
        };
        // First all lower neighbours, then all higher ones: rows ascend.
        for &(u, v, weight) in &sorted {
            put(v, u, weight);
        }
        for &(u, v, weight) in &sorted {
            put(u, v, weight);
        }
        let degrees = (0..vertices).map(|vertex| weights[rows[vertex]..rows[vertex + 1]].iter().sum()).collect();
        Self { rows, columns, weights, degrees }
    }

    /// How many vertices there are.
    pub fn vertices(&self) -> usize {
        self.degrees.len()
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.columns.len() / 2
    }

    /// The neighbours of a vertex, ascending, with the weights of the edges to them.
    pub fn row(&self, vertex: usize) -> (&[u32], &[f64]) {
        let range = self.rows[vertex]..self.rows[vertex + 1];
        (&self.columns[range.clone()], &self.weights[range])
    }

    /// The sum of the weights at each vertex.
    pub fn degrees(&self) -> &[f64] {
        &self.degrees
    }

    /// All edges, by lower end, then by higher end.
    pub fn list(&self) -> impl Iterator<Item = Edge> + '_ {
        (0..self.vertices()).flat_map(|u| {
            let (columns, weights) = self.row(u);
            let higher = columns.partition_point(|&v| (v as usize) < u);
            let pairs = columns[higher..].iter().zip(&weights[higher..]);
            pairs.map(move |(&v, &weight)| Edge { u: u as u32, v, weight })
        })
    }

    /// The connected component of each vertex, numbered by lowest vertex, and how many there are.
    pub fn components(&self) -> (Vec<u32>, usize) {
        const NONE: u32 = u32::MAX;
        let (mut component, mut count) = (vec![NONE; self.vertices()], 0);
        let mut queue = Vec::new();
        for root in 0..self.vertices() {
            if component[root] != NONE {
                continue;
            }
            component[root] = count;
            queue.push(root);
            while let Some(vertex) = queue.pop() {
                for &next in self.row(vertex).0 {
                    if component[next as usize] == NONE {
                        component[next as usize] = count;
                        queue.push(next as usize);
                    }
                }
            }
            count += 1;
        }
        (component, count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_parallel_edges_add_up_and_components_are_found() {
        let edges = [(2, 3, 1.0), (0, 1, 2.0), (1, 2, 0.5), (0, 1, 0.25), (0, 2, 4.0)];
        let edges = edges.map(|(u, v, weight)| Edge { u, v, weight });
        let graph = Undirected::from_edges(6, &edges);
        assert_eq!((graph.vertices(), graph.edges()), (6, 4));
        assert_eq!(graph.row(2), (&[0, 1, 3][..], &[4.0, 0.5, 1.0][..]));
        assert_eq!(graph.degrees(), [6.25, 2.75, 5.5, 1.0, 0.0, 0.0]);
        assert_eq!(graph.components(), (vec![0, 0, 0, 0, 1, 2], 3));
        let list: Vec<_> = graph.list().map(|edge| (edge.u, edge.v, edge.weight)).collect();
        assert_eq!(list, [(0, 1, 2.25), (0, 2, 4.0), (1, 2, 0.5), (2, 3, 1.0)]);
        let mut backwards = edges;
        backwards.reverse();
        assert_eq!(Undirected::from_edges(6, &backwards), graph);
    }
}
