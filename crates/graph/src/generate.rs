//! Graphs of known families, by seed: for growth curves, and for shapes that no shared file has.
//!
//! | family | what it is like | lengths |
//! | --- | --- | --- |
//! | `grid` | streets of a city: two-way, 15 % one-way; coordinates | 1..=100, both ways the same |
//! | `geo` | points in a square, roads from each to its 6 nearest; coordinates | 1 to 2 distances, each way its own |
//! | `rand` | random arcs, 10 for each vertex: an expander | 1..=1000 |
//! | `rmat` | a web: few vertices with many arcs; R-MAT with .57, .19, .19, .05, 8 arcs for each vertex | 1..=1000 |
//! | `trap` | many vertices near by short ways out, and ways back long at 4 scales | 1..=10 out, 10^2..=10^6 back |
//!
//! The same seed gives the same graph on any number of threads: work is cut into blocks, each with its own stream.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::file::{Format, GraphFile};
use crate::{Arc, Digraph, Error};

/// A family of graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Streets of a city.
    Grid,
    /// Roads between near points.
    Geo,
    /// Random arcs.
    Rand,
    /// A web.
    Rmat,
    /// Short ways out, long ways back.
    Trap,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 5] = [Self::Grid, Self::Geo, Self::Rand, Self::Rmat, Self::Trap];

    /// The name by which a user asks for the family.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Geo => "geo",
            Self::Rand => "rand",
            Self::Rmat => "rmat",
            Self::Trap => "trap",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|family| family.name() == name).ok_or_else(|| format!("known: {}", names()))
    }
}

/// A graph of `family` with about `arcs` arcs, within 3 % from 1e4 arcs on.
///
/// # Errors
/// [`Error::TooLarge`] above 2^30 arcs.
pub fn generate(family: Family, arcs: usize, seed: u64) -> Result<GraphFile, Error> {
    if arcs > 1 << 30 {
        return Err(Error::TooLarge { what: format!("{arcs} arcs") });
    }
    let (vertices, list, coordinates) = match family {
        Family::Grid => grid(arcs, seed),
        Family::Geo => geo(arcs, seed),
        Family::Rand => rand_arcs(arcs, seed),
        Family::Rmat => rmat(arcs, seed),
        Family::Trap => trap(arcs, seed),
    };
    let (graph, _) = Digraph::from_arcs(vertices, list)?;
    Ok(GraphFile { coordinates, ..GraphFile::new(graph, Format::Dimacs) })
}

type Parts = (usize, Vec<Arc>, Option<Vec<[f64; 2]>>);

/// The arcs that `of` draws for each of `items`, in order. Each block of items has its own stream of the seed.
fn draw(items: usize, seed: u64, of: impl Fn(usize, &mut ChaCha8Rng, &mut Vec<Arc>) + Sync) -> Vec<Arc> {
    const BLOCK: usize = 1 << 14;
    let blocks: Vec<Vec<Arc>> = (0..items.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let mut random = stream(seed, 1 + block as u64);
            let mut arcs = Vec::new();
            for item in block * BLOCK..items.min((block + 1) * BLOCK) {
                of(item, &mut random, &mut arcs);
            }
            arcs
        })
        .collect();
    blocks.concat()
}

/// Stream `number` of a seed: streams are independent.
pub(crate) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    random
}

fn arc(from: usize, to: usize, length: u32) -> Arc {
    Arc { from: from as u32, to: to as u32, length: length.into() }
}

/// A square of `side`² crossings has 2 side (side - 1) streets, and a street .85 * 2 + .15 arcs.
fn grid(arcs: usize, seed: u64) -> Parts {
    let streets = arcs as f64 / 1.85;
    let side = (0.5 + (0.25 + streets / 2.0).sqrt()).round().max(2.0) as usize;
    let street = |a: usize, b: usize, random: &mut ChaCha8Rng, arcs: &mut Vec<Arc>| {
        // Of 200: 15 go only from a to b, 15 only back.
        let (ways, length) = (random.random_range(0..200), random.random_range(1..=100));
        if !(15..30).contains(&ways) {
            arcs.push(arc(a, b, length));
        }
        if ways >= 15 {
            arcs.push(arc(b, a, length));
        }
    };
    let list = draw(side * side, seed, |crossing, random, arcs| {
        if crossing % side + 1 < side {
            street(crossing, crossing + 1, random, arcs);
        }
        if crossing + side < side * side {
            street(crossing, crossing + side, random, arcs);
        }
    });
    let coordinates = (0..side * side).map(|crossing| [(crossing % side) as f64, (crossing / side) as f64]).collect();
    (side * side, list, Some(coordinates))
}

/// Random points, numbered cell by cell of a raster as map files are; a road from each to its 6 nearest, both ways.
fn geo(arcs: usize, seed: u64) -> Parts {
    /// Roads to 6 nearest, those found from both ends counted once, make so many arcs for each point.
    const ARCS: f64 = 7.06;
    const NEAREST: usize = 6;
    let count = ((arcs as f64 / ARCS).round() as usize).max(NEAREST + 1);
    let mut random = stream(seed, 0);
    let raster = Raster::of((0..count).map(|_| [random.random(), random.random()]).collect());
    let near: Vec<[u32; NEAREST]> = (0..count).into_par_iter().map(|point| raster.nearest(point)).collect();
    let mean = 1.0 / (count as f64).sqrt(); // about the distance between neighbours, which becomes a length of 1000
    let list = draw(count, seed, |point, random, arcs| {
        for &other in &near[point] {
            // A road found from both ends is drawn from the lower one.
            let other = other as usize;
            if other < point && near[other].contains(&(point as u32)) {
                continue;
            }
            let distance = squared(raster.points[point], raster.points[other]).sqrt() / mean * 1000.0;
            let mut length = || (distance * random.random_range(1.0..2.0)).ceil().max(1.0) as u32;
            arcs.push(arc(point, other, length()));
            arcs.push(arc(other, point, length()));
        }
    });
    (count, list, Some(raster.points))
}

fn squared(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

/// Points of the unit square, in the order of the cells of a raster, row by row.
struct Raster {
    points: Vec<[f64; 2]>,
    /// Cells in a row, and rows.
    side: usize,
    /// Where the points of each cell begin, and behind them where the last ones end.
    begins: Vec<usize>,
}

impl Raster {
    /// Of cells with about 2 points each.
    fn of(mut points: Vec<[f64; 2]>) -> Self {
        let side = ((points.len() as f64 / 2.0).sqrt() as usize).max(1);
        let cell = |&point: &[f64; 2]| {
            let [column, row] = Self::cell(point, side);
            row * side + column
        };
        points.sort_by_key(cell);
        let mut begins = vec![0; side * side + 1];
        for point in &points {
            begins[cell(point) + 1] += 1;
        }
        for cell in 0..side * side {
            begins[cell + 1] += begins[cell];
        }
        Self { points, side, begins }
    }

    /// Column and row of the cell in which a point lies.
    fn cell(point: [f64; 2], side: usize) -> [usize; 2] {
        point.map(|along| ((along * side as f64) as usize).min(side - 1))
    }

    /// The `K` points nearest to one: rings of cells around its own, until no nearer one can follow.
    fn nearest<const K: usize>(&self, point: usize) -> [u32; K] {
        let from = self.points[point];
        let [column, row] = Self::cell(from, self.side);
        let mut found = [(f64::INFINITY, u32::MAX); K]; // ascending by squared distance
        for ring in 0..self.side {
            for cell in self.ring(column, row, ring) {
                for other in (self.begins[cell]..self.begins[cell + 1]).filter(|&other| other != point) {
                    let distance = squared(self.points[other], from);
                    if distance < found[K - 1].0 {
                        let place = found.partition_point(|&(known, _)| known <= distance);
                        found[place..].rotate_right(1);
                        found[place] = (distance, other as u32);
                    }
                }
            }
            // Every point within `ring` widths of a cell has been seen.
            if found[K - 1].0 <= (ring as f64 / self.side as f64).powi(2) {
                break;
            }
        }
        found.map(|(_, other)| other)
    }

    /// The cells that are `ring` columns or rows from a cell, and no more.
    fn ring(&self, column: usize, row: usize, ring: usize) -> impl Iterator<Item = usize> {
        let side = self.side;
        let rows = row.saturating_sub(ring)..=(row + ring).min(side - 1);
        rows.flat_map(move |at| {
            let step = if at.abs_diff(row) == ring { 1 } else { 2 * ring }; // a whole row, or its two ends
            let columns = (0..=2 * ring).step_by(step.max(1)).map(move |right| (column + right).checked_sub(ring));
            columns.flatten().filter(move |&column| column < side).map(move |column| at * side + column)
        })
    }
}

fn rand_arcs(arcs: usize, seed: u64) -> Parts {
    let vertices = (arcs / 10).max(2);
    let list = draw(arcs, seed, |_, random, arcs| {
        let (from, to) = (random.random_range(0..vertices), random.random_range(0..vertices));
        arcs.push(arc(from, to, random.random_range(1..=1000)));
    });
    (vertices, list, None)
}

/// R-MAT (Chakrabarti, Zhan, Faloutsos 2004): each arc falls through the quadrants of the adjacency matrix.
fn rmat(arcs: usize, seed: u64) -> Parts {
    // Of 65536: a = .57, b = .19, c = .19, d = .05.
    const BOUNDS: [u16; 3] = [37_355, 49_807, 62_259];
    let levels = (arcs as f64 / 8.0).log2().round().max(1.0) as u32;
    let one = |_: usize, random: &mut ChaCha8Rng, arcs: &mut Vec<Arc>| {
        let (mut from, mut to) = (0usize, 0usize);
        let mut bits = 0u64;
        for level in 0..levels {
            if level % 4 == 0 {
                bits = random.next_u64();
            }
            let quadrant = BOUNDS.iter().filter(|&&bound| bits as u16 >= bound).count();
            (from, to) = (from << 1 | quadrant >> 1, to << 1 | quadrant & 1);
            bits >>= 16;
        }
        arcs.push(arc(from, to, random.random_range(1..=1000)));
    };
    // Heavy vertices get some arcs twice. What falls away is drawn again.
    let mut list = Vec::new();
    for round in 0..8 {
        let missing = arcs - list.len().min(arcs);
        if missing * 100 < arcs {
            break;
        }
        list.extend(draw(missing, seed ^ round << 48, one));
        list.par_sort_unstable_by(|a, b| (a.from, a.to).cmp(&(b.from, b.to)).then(a.length.total_cmp(&b.length)));
        list.dedup_by_key(|arc| (arc.from, arc.to));
    }
    (1 << levels, list, None)
}

/// From each vertex 4 short arcs to any later ones, and one long arc to any earlier: no round trip without a long arc,
/// and many vertices within reach of a walk that is far shorter.
fn trap(arcs: usize, seed: u64) -> Parts {
    const SHORT: usize = 4;
    let vertices = (arcs / (SHORT + 1)).max(2);
    let list = draw(vertices, seed, |vertex, random, arcs| {
        if vertex + 1 < vertices {
            for _ in 0..SHORT {
                let later = random.random_range(vertex + 1..vertices);
                arcs.push(arc(vertex, later, random.random_range(1..=10)));
            }
        }
        if vertex > 0 {
            let scale = 10u32.pow(2 + random.random_range(0..4));
            let earlier = random.random_range(0..vertex);
            arcs.push(arc(vertex, earlier, scale * random.random_range(1..=10)));
        }
    });
    (vertices, list, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_about_as_many_arcs_as_asked_for() {
        for family in Family::ALL {
            for arcs in [20_000, 100_000] {
                let found = generate(family, arcs, 1).unwrap().graph.arcs();
                assert!(found.abs_diff(arcs) * 100 <= arcs * 3, "{family}: {found} of {arcs}");
            }
            for arcs in 0..50 {
                generate(family, arcs, 1).unwrap();
            }
        }
        assert!(generate(Family::Grid, usize::MAX, 1).is_err());
    }

    #[test]
    fn the_same_seed_gives_the_same_graph_on_any_number_of_threads() {
        for family in Family::ALL {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| generate(family, 100_000, 7).unwrap())
            };
            assert!(on(1) == on(3), "{family}");
            assert!(on(2) != generate(family, 100_000, 8).unwrap(), "{family}");
        }
    }

    #[test]
    fn nearest_points_are_those_of_comparing_all() {
        let file = generate(Family::Geo, 5_000, 3).unwrap();
        let points = file.coordinates.unwrap();
        for (vertex, a) in points.iter().enumerate() {
            let squared = |b: &[f64; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            let mut all: Vec<usize> = (0..points.len()).filter(|&other| other != vertex).collect();
            all.sort_by(|&b, &c| squared(&points[b]).total_cmp(&squared(&points[c])));
            for &near in &all[..6] {
                let found = file.graph.steps(crate::digraph::Direction::Out, vertex as u32).iter();
                assert!(found.map(|step| step.to).any(|to| to as usize == near), "{vertex} to {near}");
            }
        }
    }

    #[test]
    fn streets_are_one_way_in_15_of_100() {
        let graph = generate(Family::Grid, 100_000, 5).unwrap().graph;
        let twins: std::collections::HashSet<(u32, u32)> = graph.list().map(|arc| (arc.from, arc.to)).collect();
        let one_way = twins.iter().filter(|&&(from, to)| !twins.contains(&(to, from))).count();
        let streets = (twins.len() + one_way) / 2;
        let share = one_way as f64 / streets as f64;
        assert!((share - 0.15).abs() < 0.01, "{share}");
    }
}
