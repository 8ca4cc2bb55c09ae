//! Random digraphs, and the judge of their spanners: all distances by Floyd and Warshall.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tersor_data::testing::Failure;
use tersor_graph::spanner::Spanner;
use tersor_graph::{Arc, Digraph};

/// A random digraph of 2 to 60 vertices with zero and equal lengths and several components, and some of its vertices.
pub struct Case {
    pub number: usize,
    pub graph: Digraph,
    pub sources: Vec<u32>,
}

impl Case {
    pub fn random(number: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(number as u64);
        let vertices = random.random_range(2..=60u32);
        let longest = [1, 5, 100, 100_000][number % 4];
        let zeros = [0.0, 0.1, 0.5][number / 4 % 3];
        let arcs = (0..random.random_range(0..6 * vertices)).map(|_| Arc {
            from: random.random_range(0..vertices),
            to: random.random_range(0..vertices),
            length: if random.random_bool(zeros) { 0.0 } else { random.random_range(1..=longest).into() },
        });
        let graph = Digraph::from_arcs(vertices as usize, arcs.collect()).unwrap().0;
        let mut sources: Vec<_> = (0..vertices).collect();
        sources.shuffle(&mut random);
        sources.truncate(random.random_range(1..=vertices as usize));
        Self { number, graph, sources }
    }

    /// No pair of S x V is stretched more than `stretch`, by Floyd and Warshall's distances.
    pub fn holds(&self, stretch: f64, spanner: &Spanner) -> Result<(), Failure> {
        assert!(spanner.stretch <= stretch * (1.0 + 1e-12));
        let (g, h) = (distances(&self.graph), distances(&self.graph.subgraph(&spanner.arcs)));
        let slack = 1.0 + 4.0 * self.graph.tolerance();
        for &u in &self.sources {
            for v in 0..self.graph.vertices() {
                let trip = |d: &[Vec<f64>]| d[u as usize][v] + d[v][u as usize];
                if trip(&h) > stretch * trip(&g) * slack {
                    return Err(format!("{u} and {v}: {} is more than {stretch} times {}", trip(&h), trip(&g)).into());
                }
            }
        }
        Ok(())
    }
}

/// All distances, by Floyd and Warshall.
pub fn distances(graph: &Digraph) -> Vec<Vec<f64>> {
    let n = graph.vertices();
    let mut d = vec![vec![f64::INFINITY; n]; n];
    (0..n).for_each(|v| d[v][v] = 0.0);
    graph.list().for_each(|arc| d[arc.from as usize][arc.to as usize] = arc.length);
    for over in 0..n {
        for from in 0..n {
            for to in 0..n {
                d[from][to] = d[from][to].min(d[from][over] + d[over][to]);
            }
        }
    }
    d
}
