//! Similarity graphs of points: an edge of weight `exp(-|a - b|² / 2σ²)` between any two points that are near enough.
//!
//! Source: von Luxburg, *A tutorial on spectral clustering* (Statistics and Computing, 2007), section 2.2. Cost: all pairs
//! are looked at; memory grows with the edges that are kept, and no matrix of pairs is ever made.

use std::array;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use tersor_data::picture::Picture;

use super::instance::{Instance, MOST_EDGES};
use super::points::{self, MOST_POINTS};
use super::undirected::Edge;
use crate::Error;

/// How weights fall with distance, and which edges are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kernel {
    /// σ, in the unit of the points, from 1e-100 to 1e100.
    pub sigma: f64,
    /// Edges of a smaller weight are left out; from 1e-30, so that single precision holds all weights, to 1.
    pub floor: f64,
    /// Of the edges at a point only those to so many nearest points, or to points that have it among theirs; between
    /// equally near ones, the lower.
    pub nearest: Option<usize>,
}

impl Kernel {
    /// The usual floor: edges end at 3.7 σ.
    pub const FLOOR: f64 = 1e-3;
    /// For [`gaussians`], of standard deviation 1.
    pub const GAUSSIANS: Self = Self { sigma: 1.0, floor: Self::FLOOR, nearest: None };
    /// For [`photo`], in pixels and steps of colour.
    pub const PHOTO: Self = Self { sigma: 20.0, floor: Self::FLOOR, nearest: None };

    fn check(&self) -> Result<(), Error> {
        let within = |what, value, range: (f64, f64), told| match (range.0..=range.1).contains(&value) {
            true => Ok(()),
            false => Err(Error::Parameter { what, value, range: told }),
        };
        within("sigma", self.sigma, (1e-100, 1e100), "above 0: from 1e-100 to 1e100")?;
        within("floor", self.floor, (1e-30, 1.0), "above 0: from 1e-30 to 1")?;
        within("nearest", self.nearest.unwrap_or(1) as f64, (1.0, f64::INFINITY), "at least 1")
    }

    /// The weight of an edge between points at a squared distance.
    fn weight(&self, squared: f64) -> f64 {
        (-squared / (2.0 * self.sigma * self.sigma)).exp()
    }

    /// A squared distance beyond which every weight is below the floor, for all that rounding may do.
    fn reach(&self) -> f64 {
        2.0 * self.sigma * self.sigma * (1e-15 - self.floor.ln() * (1.0 + 1e-9))
    }
}

/// The similarity graph of [points of Gaussians](points::gaussians).
///
/// # Errors
/// As [`points::gaussians`] and [`edges`].
pub fn gaussians(points: usize, clusters: usize, seed: u64, kernel: &Kernel) -> Result<Instance, Error> {
    let (points, truth) = points::gaussians(points, clusters, seed)?;
    Ok(Instance { vertices: points.len(), edges: edges(&points, kernel)?, truth: Some(truth) })
}

/// The similarity graph of the [pixels](points::pixels) of a picture, which was [shrunk](points::shrunk) before: σ
/// weighs a pixel of distance as much as a step of colour.
///
/// # Errors
/// As [`edges`].
pub fn photo(picture: &Picture, kernel: &Kernel) -> Result<Instance, Error> {
    let points = picture.width().saturating_mul(picture.height());
    if points > MOST_POINTS {
        return Err(Error::TooLarge { what: format!("{points} pixels, of at most {MOST_POINTS} here") });
    }
    Ok(Instance { vertices: points, edges: edges(&points::pixels(picture), kernel)?, truth: None })
}

/// The edges between `points`, by lower end, then by higher end; the same bits on any number of threads.
///
/// # Errors
/// [`Error::Parameter`]: no point, one that is not finite, a kernel out of its ranges; [`Error::TooLarge`] above 2^20
/// points or 2^28 edges.
pub fn edges<const D: usize>(points: &[[f64; D]], kernel: &Kernel) -> Result<Vec<Edge>, Error> {
    kernel.check()?;
    if points.is_empty() {
        return Err(Error::Parameter { what: "points", value: 0.0, range: "at least 1" });
    }
    if points.len() > MOST_POINTS {
        return Err(Error::TooLarge { what: format!("{} points, of at most {MOST_POINTS} here", points.len()) });
    }
    if let Some(&value) = points.iter().flatten().find(|value| !value.is_finite()) {
        return Err(Error::Parameter { what: "a coordinate", value, range: "finite" });
    }
    let count = points.len();
    let space = Space::<D> { columns: array::from_fn(|axis| points.iter().map(|point| point[axis]).collect()), kernel };
    let Some(nearest) = kernel.nearest else {
        return collect(count, |u, near, edges| {
            space.near(u, u + 1..count, near);
            edges.extend(near.iter().map(|near| near.edge(u)));
        });
    };
    let mut edges = collect(count, |u, near, edges| {
        space.near(u, 0..count, near);
        near.retain(|near| near.vertex != u as u32);
        if near.len() > nearest {
            near.select_nth_unstable_by(nearest, |a, b| a.squared.total_cmp(&b.squared).then(a.vertex.cmp(&b.vertex)));
            near.truncate(nearest);
        }
        edges.extend(near.iter().map(|near| near.edge(u)));
    })?;
    edges.par_sort_unstable_by_key(|edge| (edge.u, edge.v));
    edges.dedup_by_key(|edge| (edge.u, edge.v)); // those found from both ends
    Ok(edges)
}

/// A point near another one.
struct Near {
    squared: f64,
    weight: f64,
    vertex: u32,
}

impl Near {
    fn edge(&self, u: usize) -> Edge {
        let (u, v) = (self.vertex.min(u as u32), self.vertex.max(u as u32));
        Edge { u, v, weight: self.weight }
    }
}

/// Points, axis by axis, so that distances to many are taken at once.
struct Space<'a, const D: usize> {
    columns: [Vec<f64>; D],
    kernel: &'a Kernel,
}

impl<const D: usize> Space<'_, D> {
    /// Those of `among` whose weight reaches the floor, ascending; `u` itself too, if it is one of them.
    fn near(&self, u: usize, among: Range<usize>, near: &mut Vec<Near>) {
        const BLOCK: usize = 512;
        let reach = self.kernel.reach();
        near.clear();
        let mut begin = among.start;
        while begin < among.end {
            let block = begin..among.end.min(begin + BLOCK);
            let mut squared = [0.0; BLOCK];
            for column in &self.columns {
                let from = column[u];
                for (sum, to) in squared.iter_mut().zip(&column[block.clone()]) {
                    *sum += (from - to) * (from - to);
                }
            }
            for (vertex, &squared) in block.clone().zip(&squared).filter(|(_, squared)| **squared <= reach) {
                let weight = self.kernel.weight(squared);
                if weight >= self.kernel.floor {
                    near.push(Near { squared, weight, vertex: vertex as u32 });
                }
            }
            begin = block.end;
        }
    }
}

/// What `row` gives for each of `0..rows`, in order.
fn collect(rows: usize, row: impl Fn(usize, &mut Vec<Near>, &mut Vec<Edge>) + Sync) -> Result<Vec<Edge>, Error> {
    const ROWS: usize = 64;
    let all = AtomicUsize::new(0);
    let block = |block: usize| {
        let (mut near, mut edges) = (Vec::new(), Vec::new());
        for u in block * ROWS..rows.min((block + 1) * ROWS) {
            let before = edges.len();
            row(u, &mut near, &mut edges);
            let added = edges.len() - before;
            if all.fetch_add(added, Ordering::Relaxed) + added > MOST_EDGES {
                let what = format!("more than {MOST_EDGES} edges (a higher floor or a smaller sigma leaves out more)");
                return Err(Error::TooLarge { what });
            }
        }
        Ok(edges)
    };
    let blocks: Vec<Vec<Edge>> = (0..rows.div_ceil(ROWS)).into_par_iter().map(block).collect::<Result<_, _>>()?;
    let mut edges = Vec::with_capacity(all.into_inner());
    blocks.into_iter().for_each(|block| edges.extend(block));
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the formula reads.
    fn by_definition<const D: usize>(points: &[[f64; D]], kernel: &Kernel) -> Vec<Edge> {
        let squared =
            |u: usize, v: usize| points[u].iter().zip(&points[v]).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let weight = |u, v| (-squared(u, v) / (2.0 * kernel.sigma * kernel.sigma)).exp();
        let among_nearest = |u: usize, v: usize| {
            let nearer = |w: &usize| *w != u && (squared(u, *w), *w) < (squared(u, v), v);
            (0..points.len()).filter(nearer).count() < kernel.nearest.unwrap_or(usize::MAX)
        };
        let mut edges = Vec::new();
        for u in 0..points.len() {
            for v in u + 1..points.len() {
                if weight(u, v) >= kernel.floor && (among_nearest(u, v) || among_nearest(v, u)) {
                    edges.push(Edge { u: u as u32, v: v as u32, weight: weight(u, v) });
                }
            }
        }
        edges
    }

    proptest! {
        #[test]
        fn edges_are_those_of_the_definition(
            points in prop::collection::vec(prop::array::uniform3(prop_oneof![-5.0..5.0, (-3i32..3).prop_map(f64::from)]), 1..80),
            sigma in 0.05..4.0, floor in prop_oneof![1e-30..1e-3, 1e-3..1.0, Just(1.0)], nearest in prop::option::of(1usize..20),
        ) {
            let kernel = Kernel { sigma, floor, nearest };
            prop_assert_eq!(edges(&points, &kernel)?, by_definition(&points, &kernel));
        }
    }

    #[test]
    fn many_points_give_the_same_edges_on_any_number_of_threads() {
        for nearest in [None, Some(10)] {
            let kernel = Kernel { nearest, ..Kernel::GAUSSIANS };
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| gaussians(1_500, 4, 1, &kernel).unwrap())
            };
            let one = on(1);
            assert!(one == on(2) && one == on(3));
            let points = points::gaussians(1_500, 4, 1).unwrap().0;
            if nearest.is_none() {
                assert_eq!(one.edges, by_definition(&points, &kernel));
            }
        }
    }

    #[test]
    fn gaussians_have_about_300_000_edges_mostly_within_clusters() {
        let graph = gaussians(1_500, 4, 1, &Kernel::GAUSSIANS).unwrap();
        let truth = graph.truth.unwrap();
        let within = graph.edges.iter().filter(|edge| truth[edge.u as usize] == truth[edge.v as usize]).count();
        println!("{} edges, {within} within", graph.edges.len());
        assert!((295_000..315_000).contains(&graph.edges.len()) && within > 260_000, "{} {within}", graph.edges.len());
    }

    #[test]
    fn parameters_out_of_range_are_errors() {
        let points = [[0.0, 0.0], [1.0, 0.0]];
        let usual = Kernel::GAUSSIANS;
        let mut wrong = vec![Kernel { nearest: Some(0), ..usual }];
        wrong.extend([0.0, -1.0, f64::NAN, f64::INFINITY, 1e-200].map(|sigma| Kernel { sigma, ..usual }));
        wrong.extend([0.0, -1.0, f64::NAN, 1.1].map(|floor| Kernel { floor, ..usual }));
        for kernel in wrong {
            assert!(matches!(edges(&points, &kernel), Err(Error::Parameter { .. })), "{kernel:?}");
        }
        for points in [&[][..], &[[f64::NAN, 0.0]], &[[0.0, 0.0], [0.0, f64::NEG_INFINITY]]] {
            assert!(matches!(edges(points, &usual), Err(Error::Parameter { .. })), "{points:?}");
        }
        assert!(matches!(edges(&vec![[0.0]; MOST_POINTS + 1], &usual), Err(Error::TooLarge { .. })));
        let empty = Picture::new(0, 7, Vec::new()).unwrap();
        assert!(matches!(photo(&empty, &usual), Err(Error::Parameter { .. })));
        for sigma in [1e-100, 1e100] {
            assert!(edges(&[[-1e308, 0.0], [1e308, 0.0], [1e308, 0.0]], &Kernel { sigma, ..usual }).is_ok());
        }
    }
}
