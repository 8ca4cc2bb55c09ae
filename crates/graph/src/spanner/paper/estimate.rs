//! How many sources each source's balls hold, estimated by searches from a sample.
//!
//! A search *against* the arcs from z tells for every u at once whether z is in out(u, ρ); one along them, whether z is in
//! in(u, ρ). So q samples z, drawn among the sources, estimate all fractions `|out(u, ρ) ∩ U| / |U|` and the same of in(u, ρ).
//! By Hoeffding's bound q ≥ 32 ln(2n/δ) samples are within 1/8 everywhere with probability 1 − δ. Fewer do where the
//! decision taken is verified by counting, as `cover.rs` does.

use crate::digraph::{Digraph, Direction};
use crate::search::{Search, Whole};

/// What share of the sources a vertex's balls hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fractions {
    /// Those in out(u, ρ).
    pub(super) out: f64,
    /// Those in in(u, ρ).
    pub(super) back: f64,
}

impl Fractions {
    /// That of the ball in a direction.
    pub(super) fn in_ball(&self, direction: Direction) -> f64 {
        match direction {
            Direction::Out => self.out,
            Direction::In => self.back,
        }
    }
}

/// The searches. Make one, and use it again and again.
#[derive(Debug)]
pub(super) struct Estimator {
    out: Search,
    back: Search,
}

impl Estimator {
    pub(super) fn new(graph: &Digraph) -> Self {
        Self { out: Search::new(graph), back: Search::new(graph) }
    }

    /// The fractions of each vertex of `asked`, estimated by the sources in `samples`, among the vertices that `admit` lets
    /// in. If the samples are all sources, each once, they are exact.
    pub(super) fn fractions(
        &mut self,
        graph: &Digraph,
        samples: &[u32],
        asked: &[u32],
        reach: f64,
        admit: impl Fn(u32) -> bool + Sync,
    ) -> Vec<Fractions> {
        let Self { out, back } = self;
        let count = |search: &mut Search, direction| {
            let mut counts = vec![0u32; asked.len()];
            for &sample in samples {
                search.start(sample, reach);
                search.advance(&Whole(graph, direction), reach, &admit);
                for (count, &vertex) in counts.iter_mut().zip(asked) {
                    *count += u32::from(search.distance(vertex) <= reach);
                }
            }
            counts
        };
        let (held_out, held_back) = rayon::join(|| count(back, Direction::In), || count(out, Direction::Out));
        let share = |count| f64::from(count) / samples.len() as f64;
        held_out
            .into_iter()
            .zip(held_back)
            .map(|(out, back)| Fractions { out: share(out), back: share(back) })
            .collect()
    }

    /// How many arcs all searches have looked at.
    pub(super) fn relaxations(&self) -> u64 {
        self.out.relaxations() + self.back.relaxations()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::Arc;

    /// Hoeffding's q for δ = 1/4 on 40 vertices: in at least 99 of 100 draws all estimates are within 1/8.
    #[test]
    fn enough_samples_are_within_an_eighth() {
        let (mut good, draws, n) = (0, 200, 40u32);
        for seed in 0..draws {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let any = |random: &mut ChaCha8Rng| Arc {
                from: random.random_range(0..n),
                to: random.random_range(0..n),
                length: random.random_range(0..20u32).into(),
            };
            let arcs = (0..120).map(|_| any(&mut random)).collect();
            let (graph, _) = Digraph::from_arcs(n as usize, arcs).unwrap();
            let sources: Vec<_> = (0..n).step_by(2).collect();
            let samples: Vec<_> = (0..187).map(|_| sources[random.random_range(0..sources.len())]).collect();
            let asked: Vec<_> = (0..n).collect();
            let mut estimator = Estimator::new(&graph);
            let estimates = estimator.fractions(&graph, &samples, &asked, 25.0, |_| true);
            let exact = estimator.fractions(&graph, &sources, &asked, 25.0, |_| true);
            for &u in &asked {
                let mut search = Search::new(&graph);
                let mut held = |direction| {
                    search.run(&Whole(&graph, direction), u, 25.0);
                    sources.iter().filter(|&&z| search.distance(z) <= 25.0).count() as f64 / sources.len() as f64
                };
                let counted = Fractions { out: held(Direction::Out), back: held(Direction::In) };
                assert_eq!(exact[u as usize], counted);
            }
            let near =
                |a: &Fractions, b: &Fractions| (a.out - b.out).abs() <= 0.125 && (a.back - b.back).abs() <= 0.125;
            good += usize::from(estimates.iter().zip(&exact).all(|(a, b)| near(a, b)));
        }
        assert!(good * 100 >= draws as usize * 99, "{good} of {draws}");
    }
}
