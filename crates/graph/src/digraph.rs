//! A directed graph with lengths, in compressed sparse rows, forward and reverse.
//!
//! Lengths are `f64`. Integers stay exact, sums too, as long as no path is longer than 2^53: then comparisons are
//! exact and [`Digraph::tolerance`] is 0. Readers scale decimals to integers for that reason.

use std::ops::Range;

use rayon::slice::ParallelSliceMut;

use crate::Error;

/// One arc of a list from which a graph is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arc {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// Its length: finite, not negative.
    pub length: f64,
}

/// An arc as seen from one end, in 12 bytes: rows are read in the innermost loops of every search.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, packed(4))]
pub struct Step {
    /// The vertex at the other end.
    pub to: u32,
    /// The arc's length.
    pub length: f64,
}

/// A directed graph without loops or parallel arcs. Arcs are numbered by tail, then head.
#[derive(Debug, Clone, PartialEq)]
pub struct Digraph {
    out_rows: Vec<u32>,
    out_steps: Vec<Step>,
    in_rows: Vec<u32>,
    in_steps: Vec<Step>,
    /// The number of each arc of `in_steps`.
    in_arcs: Vec<u32>,
    lengths: (f64, f64),
    tolerance: f64,
}

/// What [`Digraph::from_arcs`] left out, since no shortest walk needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// Arcs from a vertex to itself.
    pub loops: usize,
    /// Arcs beside a parallel one that is no longer.
    pub parallel: usize,
}

/// A direction to walk in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Along the arcs.
    Out,
    /// Against them.
    In,
}

/// A set of a graph's arcs, by number. A sub-graph, as the algorithms grow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcSet {
    words: Vec<u64>,
    count: usize,
}

impl Digraph {
    /// The graph of `arcs` on vertices `0..vertices`. Loops go, and of parallel arcs the shortest stays.
    ///
    /// # Errors
    /// [`Error::NoSuchVertex`], [`Error::Length`] naming the first bad arc; [`Error::TooLarge`].
    pub fn from_arcs(vertices: usize, mut arcs: Vec<Arc>) -> Result<(Self, Dropped), Error> {
        check(vertices, &arcs)?;
        let listed = arcs.len();
        arcs.retain(|arc| arc.from != arc.to);
        let loops = listed - arcs.len();
        arcs.par_sort_unstable_by(|a, b| (a.from, a.to).cmp(&(b.from, b.to)).then(a.length.total_cmp(&b.length)));
        arcs.dedup_by_key(|arc| (arc.from, arc.to)); // the first of equals stays: the shortest
        let parallel = listed - loops - arcs.len();

        let out_rows = rows(vertices, arcs.iter().map(|arc| arc.from));
        let in_rows = rows(vertices, arcs.iter().map(|arc| arc.to));
        let out_steps = arcs.iter().map(|arc| Step { to: arc.to, length: arc.length }).collect();
        let mut next = in_rows.clone();
        let mut in_steps = vec![Step { to: 0, length: 0.0 }; arcs.len()];
        let mut in_arcs = vec![0; arcs.len()];
        for (number, arc) in arcs.iter().enumerate() {
            let slot = &mut next[arc.to as usize];
            in_steps[*slot as usize] = Step { to: arc.from, length: arc.length };
            in_arcs[*slot as usize] = number as u32;
            *slot += 1;
        }
        let (lengths, tolerance) = (lengths(&arcs), tolerance(vertices, &arcs));
        Ok((Self { out_rows, out_steps, in_rows, in_steps, in_arcs, lengths, tolerance }, Dropped { loops, parallel }))
    }

    /// How many vertices there are.
    pub fn vertices(&self) -> usize {
        self.out_rows.len() - 1
    }

    /// How many arcs there are.
    pub fn arcs(&self) -> usize {
        self.out_steps.len()
    }

    /// Steps from `vertex` in `direction`: arcs that leave it, or, walked backwards, those that enter it.
    #[inline]
    pub fn steps(&self, direction: Direction, vertex: u32) -> &[Step] {
        match direction {
            Direction::Out => &self.out_steps[self.row(direction, vertex)],
            Direction::In => &self.in_steps[self.row(direction, vertex)],
        }
    }

    /// Where the steps of `vertex` stand among all steps of that direction.
    #[inline]
    pub fn row(&self, direction: Direction, vertex: u32) -> Range<usize> {
        let rows = match direction {
            Direction::Out => &self.out_rows,
            Direction::In => &self.in_rows,
        };
        rows[vertex as usize] as usize..rows[vertex as usize + 1] as usize
    }

    /// Where the step from `vertex` to `to` stands among the steps of `direction`, if there is one.
    #[inline]
    pub fn position(&self, direction: Direction, vertex: u32, to: u32) -> Option<usize> {
        let steps = self.steps(direction, vertex);
        let found = steps.binary_search_by(|step| { step.to }.cmp(&to)).ok()?; // rows ascend
        Some(self.row(direction, vertex).start + found)
    }

    /// The number of the arc at `position` among the steps of `direction`, as [`row`](Self::row) counts them.
    #[inline]
    pub fn number(&self, direction: Direction, position: usize) -> u32 {
        match direction {
            Direction::Out => position as u32,
            Direction::In => self.in_arcs[position],
        }
    }

    /// The shortest positive length and the longest, both 0 if no length is positive.
    pub fn lengths(&self) -> (f64, f64) {
        self.lengths
    }

    /// All arcs, in the order of their numbers.
    pub fn list(&self) -> impl Iterator<Item = Arc> + '_ {
        (0..self.vertices() as u32).flat_map(move |from| {
            self.steps(Direction::Out, from).iter().map(move |&Step { to, length }| Arc { from, to, length })
        })
    }

    /// The sub-graph of the arcs in `kept`, on all vertices.
    pub fn subgraph(&self, kept: &ArcSet) -> Self {
        let arcs = self.list().zip(0..).filter(|&(_, number)| kept.contains(number)).map(|(arc, _)| arc).collect();
        let (mut graph, _) = Self::from_arcs(self.vertices(), arcs).expect("arcs of a graph make a graph");
        graph.tolerance = self.tolerance;
        graph
    }

    /// The relative error that comparisons of distances must allow: 0 where sums are exact (whole lengths, and no
    /// simple path longer than 2^53), else 1e-12.
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }
}

/// Each arc must join vertices that exist, by a length that can be added up.
fn check(vertices: usize, arcs: &[Arc]) -> Result<(), Error> {
    let too_large = |what| Err(Error::TooLarge { what });
    if vertices >= u32::MAX as usize {
        return too_large(format!("{vertices} vertices"));
    }
    if arcs.len() >= u32::MAX as usize {
        return too_large(format!("{} arcs", arcs.len()));
    }
    for &Arc { from, to, length } in arcs {
        if from.max(to) as usize >= vertices {
            return Err(Error::NoSuchVertex { from, to, vertices });
        }
        if !(length.is_finite() && length >= 0.0) {
            return Err(Error::Length { from, to, length });
        }
    }
    let longest = lengths(arcs).1;
    if !(4.0 * vertices as f64 * longest).is_finite() {
        return too_large(format!("a walk of {vertices} arcs of length {longest}"));
    }
    Ok(())
}

/// The shortest positive length and the longest, both 0 if no length is positive.
fn lengths(arcs: &[Arc]) -> (f64, f64) {
    let positive = arcs.iter().map(|arc| arc.length).filter(|&length| length > 0.0);
    let (shortest, longest) =
        positive.fold((f64::INFINITY, 0.0), |(shortest, longest), length| (length.min(shortest), length.max(longest)));
    if longest > 0.0 { (shortest, longest) } else { (0.0, 0.0) }
}

fn tolerance(vertices: usize, arcs: &[Arc]) -> f64 {
    const EXACT: f64 = (1u64 << 53) as f64;
    let whole = arcs.iter().all(|arc| arc.length.fract() == 0.0);
    // A round trip is two simple paths; a triangle of them, as checks form it, four.
    let exact = whole && 4.0 * vertices as f64 * lengths(arcs).1 < EXACT;
    if exact { 0.0 } else { 1e-12 }
}

/// Where each vertex's row begins, and behind them where the last one ends.
fn rows(vertices: usize, ends: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut rows = vec![0; vertices + 1];
    for end in ends {
        rows[end as usize + 1] += 1;
    }
    for vertex in 0..vertices {
        rows[vertex + 1] += rows[vertex];
    }
    rows
}

impl From<(u32, u32, f64)> for Arc {
    fn from((from, to, length): (u32, u32, f64)) -> Self {
        Self { from, to, length }
    }
}

impl ArcSet {
    /// The empty set of the arcs of `graph`.
    pub fn none(graph: &Digraph) -> Self {
        Self { words: vec![0; graph.arcs().div_ceil(64)], count: 0 }
    }

    /// Whether the arc with this number is in the set.
    #[inline]
    pub fn contains(&self, arc: u32) -> bool {
        self.words[arc as usize / 64] >> (arc % 64) & 1 == 1
    }

    /// Adds an arc; says whether it is new.
    #[inline]
    pub fn insert(&mut self, arc: u32) -> bool {
        let new = !self.contains(arc);
        self.words[arc as usize / 64] |= 1 << (arc % 64);
        self.count += usize::from(new);
        new
    }

    /// Takes an arc out; says whether it was in.
    pub fn remove(&mut self, arc: u32) -> bool {
        let was = self.contains(arc);
        self.words[arc as usize / 64] &= !(1 << (arc % 64));
        self.count -= usize::from(was);
        was
    }

    /// Adds all members of `other`, a set of the same graph's arcs.
    pub fn union(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.count = self.words.iter().map(|word| word.count_ones() as usize).sum();
    }

    /// How many arcs are in the set.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no arc is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Calls `take` with each member in `range`, ascending; looks at one bit for each number and 64 at a time.
    #[inline]
    pub fn within(&self, range: Range<usize>, take: impl FnMut(usize)) {
        bits_within(range, |word| self.words[word], take);
    }

    /// As [`within`](Self::within), of the members of either set.
    #[inline]
    pub fn within_either(&self, other: &Self, range: Range<usize>, take: impl FnMut(usize)) {
        bits_within(range, |word| self.words[word] | other.words[word], take);
    }

    /// The arcs' numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip((0..).step_by(64)).flat_map(|(&word, first)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(first + bit)
            })
        })
    }
}

#[inline]
fn bits_within(range: Range<usize>, word: impl Fn(usize) -> u64, mut take: impl FnMut(usize)) {
    let mut at = range.start;
    while at < range.end {
        let mut left = word(at / 64) >> (at % 64);
        let end = (at / 64 * 64 + 64).min(range.end);
        if end - at < 64 {
            left &= (1 << (end - at)) - 1;
        }
        while left != 0 {
            take(at + left.trailing_zeros() as usize);
            left &= left - 1;
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(vertices: usize, arcs: &[(u32, u32, f64)]) -> (Digraph, Dropped) {
        Digraph::from_arcs(vertices, arcs.iter().copied().map(Arc::from).collect()).unwrap()
    }

    #[test]
    fn loops_and_longer_parallels_go() {
        let (graph, dropped) = graph(3, &[(1, 1, 0.0), (2, 0, 5.0), (0, 1, 4.0), (0, 1, 3.0), (0, 1, 3.0)]);
        assert_eq!(dropped, Dropped { loops: 1, parallel: 2 });
        assert_eq!(graph.list().collect::<Vec<_>>(), [(0, 1, 3.0), (2, 0, 5.0)].map(Arc::from));
    }

    #[test]
    fn both_directions_number_the_same_arcs() {
        let (graph, _) = graph(4, &[(0, 1, 1.0), (2, 1, 2.0), (3, 1, 3.0), (1, 0, 4.0), (3, 2, 5.0)]);
        let listed: Vec<_> = graph.list().collect();
        for to in 0..4 {
            let row = graph.row(Direction::In, to);
            for (position, &Step { to: from, length }) in row.clone().zip(graph.steps(Direction::In, to)) {
                let number = graph.number(Direction::In, position);
                assert_eq!(listed[number as usize], Arc { from, to, length });
            }
        }
        assert_eq!(graph.row(Direction::In, 1).len(), 3);
    }

    #[test]
    fn bad_arcs_are_named() {
        let of = |arc: (u32, u32, f64)| Digraph::from_arcs(2, vec![arc.into()]).unwrap_err().to_string();
        assert_eq!(of((0, 2, 1.0)), "arc 0 -> 2: the graph has 2 vertices, numbered from 0");
        assert!(of((0, 1, -1.0)).contains("length -1;"));
        assert!(of((0, 1, f64::NAN)).contains("length NaN;"));
        assert!(of((0, 1, f64::MAX)).contains("too large"));
    }

    #[test]
    fn whole_lengths_are_exact_until_a_round_trip_may_pass_2_to_53() {
        assert_eq!(graph(2, &[(0, 1, 1e6)]).0.tolerance(), 0.0);
        assert!(graph(2, &[(0, 1, 0.1)]).0.tolerance() > 0.0);
        assert!(graph(2, &[(0, 1, 2f64.powi(52))]).0.tolerance() > 0.0);
        assert_eq!(graph(0, &[]).0.vertices(), 0);
    }

    #[test]
    fn a_set_of_arcs_keeps_count() {
        let arcs: Vec<_> = (0..200).map(|i| (0, i + 1, 1.0)).collect();
        let (graph, _) = graph(201, &arcs);
        let mut set = ArcSet::none(&graph);
        for arc in [199, 0, 64, 63, 64] {
            set.insert(arc);
        }
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (4, vec![0, 63, 64, 199]));
        assert!(set.remove(63) && !set.remove(63));
        assert_eq!(graph.subgraph(&set).list().map(|arc| arc.to).collect::<Vec<_>>(), [1, 65, 200]);
    }
}
