//! The stochastic block model: vertices in equal blocks, an edge within a block with one probability, between two with
//! another.
//!
//! Source: Holland, Laskey, Leinhardt, *Stochastic blockmodels: first steps* (Social Networks, 1983). Pairs without an
//! edge are skipped by geometric steps (Batagelj, Brandes 2005): the work is that of vertices and edges, not of pairs.

use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::instance::{Instance, MOST_EDGES, check_sizes, equal_blocks};
use super::undirected::Edge;
use crate::Error;
use crate::generate::stream;

/// The most vertices.
const MOST_VERTICES: usize = 1 << 28;

/// A stochastic block model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockModel {
    /// How many vertices there are, at most 2^28.
    pub vertices: usize,
    /// How many blocks.
    pub clusters: usize,
    /// The probability of an edge between two vertices of one block.
    pub inside: f64,
    /// The probability of an edge between vertices of two blocks.
    pub between: f64,
}

impl BlockModel {
    /// The mean number of edges within blocks, and of edges between them.
    pub fn expected(&self) -> [f64; 2] {
        let (vertices, clusters) = (self.vertices as f64, self.clusters as f64);
        let (small, larger) = ((vertices / clusters).floor(), vertices % clusters);
        let pairs = |count: f64| count * (count - 1.0) / 2.0;
        let within = (clusters - larger) * pairs(small) + larger * pairs(small + 1.0);
        [self.inside * within, self.between * (pairs(vertices) - within)]
    }

    /// The block of `vertex`, as the vertices from it on.
    fn rest_of_block(&self, vertex: usize) -> Range<usize> {
        let (vertices, clusters) = (self.vertices as u64, self.clusters as u64);
        let block = vertex as u64 * clusters / vertices;
        vertex..((block + 1) * vertices).div_ceil(clusters) as usize
    }
}

/// A graph of the model, with weights of 1; the truth is the blocks.
///
/// Each vertex draws its edges to higher ones from a stream of its own: the same seed gives the same graph on any number
/// of threads.
///
/// # Errors
/// [`Error::Parameter`]: no vertex, no block or more than vertices, probabilities outside [0, 1]; [`Error::TooLarge`]
/// above 2^28 vertices or edges.
pub fn block_model(model: &BlockModel, seed: u64) -> Result<Instance, Error> {
    check_sizes(model.vertices, model.clusters, MOST_VERTICES)?;
    for (what, value) in [("inside", model.inside), ("between", model.between)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(Error::Parameter { what, value, range: "a probability, from 0 to 1" });
        }
    }
    let [within, across] = model.expected();
    let mean = within + across;
    if mean + 6.0 * mean.sqrt() > MOST_EDGES as f64 {
        return Err(Error::TooLarge { what: format!("about {mean:.0} edges, of at most {MOST_EDGES} here") });
    }
    let row = |u: usize, edges: &mut Vec<Edge>| {
        let mut random = stream(seed, u as u64);
        let mut push = |v: usize| edges.push(Edge { u: u as u32, v: v as u32, weight: 1.0 });
        let block = model.rest_of_block(u);
        draw(u + 1..block.end, model.inside, &mut random, &mut push);
        draw(block.end..model.vertices, model.between, &mut random, &mut push);
    };
    const ROWS: usize = 256;
    let blocks: Vec<Vec<Edge>> = (0..model.vertices.div_ceil(ROWS))
        .into_par_iter()
        .map(|block| {
            let mut edges = Vec::new();
            (block * ROWS..model.vertices.min((block + 1) * ROWS)).for_each(|u| row(u, &mut edges));
            edges
        })
        .collect();
    let truth = Some(equal_blocks(model.vertices, model.clusters));
    Ok(Instance { vertices: model.vertices, edges: blocks.concat(), truth })
}

/// Each of `range` with probability `share`, ascending.
fn draw(range: Range<usize>, share: f64, random: &mut ChaCha8Rng, push: &mut impl FnMut(usize)) {
    if share >= 1.0 {
        return range.for_each(push);
    }
    if share <= 0.0 {
        return;
    }
    let per_miss = (-share).ln_1p(); // ln(1 - p), and not 0 where p is tiny
    let mut at = range.start;
    while at < range.end {
        // How many are missed before the next one: P(k or more) = (1 - p)^k.
        let missed = (1.0 - random.random::<f64>()).ln() / per_miss;
        if missed >= (range.end - at) as f64 {
            return;
        }
        at += missed as usize;
        push(at);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Edges within blocks, and between them.
    fn counts(instance: &Instance) -> [usize; 2] {
        let truth = instance.truth.as_ref().unwrap();
        let within = instance.edges.iter().filter(|edge| truth[edge.u as usize] == truth[edge.v as usize]).count();
        [within, instance.edges.len() - within]
    }

    #[test]
    fn edges_are_as_many_as_expected_within_4_standard_deviations() {
        let models = [
            (2000, 4, 0.4, 0.05),
            (2000, 4, 0.01, 0.001),
            (997, 7, 0.9, 0.0),
            (500, 1, 0.2, 1.0),
            (300, 300, 1.0, 0.5),
        ];
        for (vertices, clusters, inside, between) in models {
            let model = BlockModel { vertices, clusters, inside, between };
            let found = counts(&block_model(&model, 5).unwrap());
            for ((found, mean), share) in found.into_iter().zip(model.expected()).zip([inside, between]) {
                let deviation = (mean * (1.0 - share)).sqrt();
                assert!((found as f64 - mean).abs() <= 4.0 * deviation, "{model:?}: {found} for {mean}");
            }
        }
    }

    #[test]
    fn every_pair_is_as_likely_as_any_other() {
        let model = BlockModel { vertices: 12, clusters: 2, inside: 0.3, between: 0.1 };
        let mut times = [[0u32; 12]; 12];
        for seed in 0..4_000 {
            for edge in block_model(&model, seed).unwrap().edges {
                times[edge.u as usize][edge.v as usize] += 1;
            }
        }
        for (u, row) in times.iter().enumerate() {
            for (v, &found) in row.iter().enumerate().skip(u + 1) {
                let mean = 4_000.0 * if (u < 6) == (v < 6) { 0.3 } else { 0.1 };
                assert!((f64::from(found) - mean).abs() < 4.5 * f64::sqrt(mean), "{u} {v}: {found}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_graph_on_any_number_of_threads() {
        let model = BlockModel { vertices: 3_000, clusters: 5, inside: 0.02, between: 0.004 };
        let on = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| block_model(&model, seed).unwrap())
        };
        let graph = on(1, 7);
        assert!(graph == on(3, 7) && graph != on(1, 8));
        assert!(
            graph.edges.is_sorted_by(|a, b| (a.u, a.v) < (b.u, b.v)) && graph.edges.iter().all(|edge| edge.u < edge.v)
        );
    }

    #[test]
    fn a_large_sparse_graph_costs_its_edges() {
        let model = BlockModel { vertices: 200_000, clusters: 10, inside: 1e-4, between: 1e-6 };
        let edges = block_model(&model, 1).unwrap().edges.len(); // of 2·10^10 pairs
        assert!((200_000..240_000).contains(&edges), "{edges}");
    }

    #[test]
    fn parameters_out_of_range_are_errors() {
        let model = BlockModel { vertices: 10, clusters: 2, inside: 0.5, between: 0.1 };
        let wrong = [
            BlockModel { vertices: 0, ..model },
            BlockModel { clusters: 0, ..model },
            BlockModel { clusters: 11, ..model },
            BlockModel { inside: f64::NAN, ..model },
            BlockModel { inside: -0.1, ..model },
            BlockModel { between: 1.1, ..model },
            BlockModel { between: f64::INFINITY, ..model },
        ];
        for model in wrong {
            assert!(matches!(block_model(&model, 1), Err(Error::Parameter { .. })), "{model:?}");
        }
        for vertices in [100_000, 1 << 28, 1 << 40, usize::MAX] {
            let model = BlockModel { vertices, ..model };
            assert!(matches!(block_model(&model, 1), Err(Error::TooLarge { .. })), "{model:?}");
        }
    }

    proptest! {
        #[test]
        fn any_model_is_a_graph_or_an_error(
            vertices in 0usize..40, clusters in 0usize..50, inside in -0.2..1.2, between in -0.2..1.2, seed: u64,
        ) {
            let model = BlockModel { vertices, clusters, inside, between };
            let fits = (1..=vertices).contains(&clusters) && [inside, between].iter().all(|p| (0.0..=1.0).contains(p));
            match block_model(&model, seed) {
                Ok(graph) => {
                    prop_assert!(fits);
                    prop_assert!(graph.edges.is_sorted_by(|a, b| (a.u, a.v) < (b.u, b.v)));
                    prop_assert!(graph.edges.iter().all(|edge| edge.u < edge.v && (edge.v as usize) < vertices));
                }
                Err(_) => prop_assert!(!fits),
            }
        }
    }
}
