//! The construction from exact distances: covers whose clusters grow while their sources multiply.
//!
//! At scale R a cluster around a source c takes the sources within jR out of the game and holds all vertices within
//! (j + 1)R, where j < k is the first with `|S ∩ ball((j+1)R)| ≤ s^(1/k) · |S ∩ ball(jR)|`. A pair with rt(u, v) in
//! (R/(1+ε), R] then has `rt_H ≤ jR + (j+1)R ≤ (2k−1)(1+ε) rt ≤ (2k+ε) rt`. Deterministic; the cost is 2s searches of the
//! whole graph. Source: the source-wise round-trip spanners of Zhu and Lam (Theoretical Computer Science, 2017).

use rayon::prelude::*;

use super::ball::{Explorer, Grown};
use super::{Cluster, Spanner, check_sources};
use crate::Error;
use crate::components::Components;
use crate::digraph::{Digraph, Direction};
use crate::order::Ordered;
use crate::search::{Search, Whole};

/// The spanner of stretch 2k + ε, ε in (0, 1].
///
/// # Errors
/// [`Error::NoSuchSource`]; [`Error::Parameter`] if k < 1 or ε is out of range; [`Error::TooLarge`] above 20,000 sources,
/// since all distances between them are held at once.
pub fn exact_cover(graph: &Digraph, sources: &[u32], k: u32, epsilon: f64) -> Result<Spanner, Error> {
    check_sources(graph, sources)?;
    if k < 1 {
        return Err(Error::Parameter { what: "k", value: k.into(), range: "at least 1" });
    }
    if !(epsilon > 0.0 && epsilon <= 1.0) {
        return Err(Error::Parameter { what: "epsilon", value: epsilon, range: "in (0, 1]" });
    }
    if sources.len() > 20_000 {
        return Err(Error::TooLarge { what: format!("{} sources for the method exact-cover", sources.len()) });
    }
    let ordered = Ordered::by_breadth(graph);
    let mut roots: Vec<_> = sources.iter().map(|&source| ordered.new[source as usize]).collect();
    roots.sort_unstable();
    roots.dedup();
    let graph_here = &ordered.graph;
    let components = Components::of(graph_here);
    let Trips { between, farthest, mut relaxations } = Trips::of(graph_here, &components, &roots);
    // The scales' ratio: ε, or less where (2k−1)(1+ε) would exceed 2k+ε.
    let ratio = 1.0 + epsilon.min(1.0 / (2.0 * f64::from(k) - 2.0));
    let mut clusters = cover(graph_here.lengths().0, &between, &farthest, k, ratio);

    // A larger ball around the same centre has the same tree and more: one ball for each centre.
    let mut widest = vec![-1.0; roots.len()];
    for cluster in &clusters {
        let radius: &mut f64 = &mut widest[cluster.centre as usize];
        *radius = radius.max(cluster.radius);
    }
    let mut kept = Grown::none(graph_here);
    let mut explorer = Explorer::new(graph_here);
    for (&root, &radius) in roots.iter().zip(&widest).filter(|(_, radius)| **radius >= 0.0) {
        explorer.explore(graph_here, root, radius, true, |vertex| components.together(root, vertex));
        for arc in explorer.trees(graph_here, &kept) {
            kept.insert(arc);
        }
    }
    relaxations += explorer.relaxations();
    for cluster in &mut clusters {
        cluster.centre = ordered.old[roots[cluster.centre as usize] as usize];
    }
    let arcs = ordered.restore(&kept.out, graph);
    let stretch = 2.0 * f64::from(k) + epsilon;
    Ok(Spanner { arcs, stretch, provable: stretch, clusters, relaxations })
}

/// Exact round trips from all roots.
struct Trips {
    /// Between roots, row by row.
    between: Vec<Vec<f64>>,
    /// The longest from each root to any vertex; -1 if it is alone in its component.
    farthest: Vec<f64>,
    relaxations: u64,
}

impl Trips {
    fn of(graph: &Digraph, components: &Components, roots: &[u32]) -> Self {
        let share = roots.len().div_ceil(rayon::current_num_threads()).max(1);
        let parts: Vec<_> = roots.par_chunks(share).map(|part| Self::of_some(graph, components, roots, part)).collect();
        let mut all = Self { between: Vec::new(), farthest: Vec::new(), relaxations: 0 };
        for part in parts {
            all.between.extend(part.between);
            all.farthest.extend(part.farthest);
            all.relaxations += part.relaxations;
        }
        all
    }

    fn of_some(graph: &Digraph, components: &Components, roots: &[u32], part: &[u32]) -> Self {
        let [mut out, mut back] = [Search::new(graph), Search::new(graph)];
        let (mut between, mut farthest) = (Vec::new(), Vec::new());
        for &root in part {
            for (search, direction) in [(&mut out, Direction::Out), (&mut back, Direction::In)] {
                search.start(root, f64::INFINITY);
                search.advance(&Whole(graph, direction), f64::INFINITY, |vertex| components.together(root, vertex));
            }
            let trip = |&vertex: &u32| out.distance(vertex) + back.distance(vertex);
            between.push(roots.iter().map(trip).collect());
            let alone = components.size(root) == 1;
            farthest.push(if alone { -1.0 } else { out.reached().iter().map(trip).fold(0.0, f64::max) });
        }
        Self { between, farthest, relaxations: out.relaxations() + back.relaxations() }
    }
}

/// The clusters of all scales, from distance 0 to the farthest; centres as indices of roots.
fn cover(shortest: f64, trips: &[Vec<f64>], farthest: &[f64], k: u32, ratio: f64) -> Vec<Cluster> {
    let growth = (trips.len() as f64).powf(1.0 / f64::from(k));
    let mut clusters = Vec::new();
    let mut scale = 0.0;
    loop {
        // Pairs of this scale are longer than the last scale was.
        let mut uncovered: Vec<_> =
            farthest.iter().map(|&farthest| farthest * ratio > scale || farthest == scale).collect();
        if !uncovered.contains(&true) {
            return clusters;
        }
        for centre in 0..trips.len() {
            if !uncovered[centre] {
                continue;
            }
            let within = |radius: f64| trips[centre].iter().filter(|&&trip| trip <= radius).count() as f64;
            let j = (0..k).find(|&j| within(f64::from(j + 1) * scale) <= growth * within(f64::from(j) * scale));
            let j = f64::from(j.unwrap_or(k - 1));
            for (covered, &trip) in uncovered.iter_mut().zip(&trips[centre]) {
                *covered &= trip > j * scale;
            }
            let radius = (j + 1.0) * scale;
            clusters.push(Cluster { scale, centre: centre as u32, radius, limit: radius });
        }
        scale = if scale == 0.0 { shortest } else { scale * ratio };
        if scale == 0.0 {
            return clusters; // no length is positive
        }
    }
}
