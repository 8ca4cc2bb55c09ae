//! Independence of the lengths: which arcs matter at which scale, and what shrinks to a point.
//!
//! At scale R only arcs of length ≤ R matter, inside their strongly connected components: a closed walk of length ≤ R
//! leaves neither. And the components of the arcs no longer than θ = εR/n² are *pieces*, shrunk to points: a simple path
//! spends less than nθ = εR/n inside pieces, so every distance moves by less than that. Lengths count by their *level*,
//! the least l with length ≤ 2^l. An arc is *closed* at the level at which it first lies on a closed walk of arcs
//! of no higher level; it matters from there up to `2 + 2 log2 n` levels later, when its ends are one piece.
//!
//! When pieces merge, a tree out of one of them and a tree into it, over arcs ≤ θ, are kept: at most 2(n − 1) arcs over all
//! merges, and the thinned graph joins each piece with arcs ≤ θ too. Zero lengths are the lowest level: pairs at distance 0
//! are joined by the first merge.
//!
//! All closing levels are found together, by halving the range of levels: `O(m log(levels))`, whatever the lengths.
//! Source: *A fast algorithm for source-wise round-trip spanners* (2021), the step that makes it independent of the weights.

use crate::Arc;
use crate::components::{Components, Rows};
use crate::digraph::{Digraph, Direction};

/// ε: contraction moves distances at scale R by less than εR/n.
pub(super) const EPSILON: f64 = 0.25;

/// The level of length 0.
pub(super) const ZERO: i32 = i32::MIN;

/// The least l with `length` ≤ 2^l.
pub(super) fn level(length: f64) -> i32 {
    const FRACTION: u32 = 52;
    let bits = length.to_bits();
    let (exponent, fraction) = ((bits >> FRACTION) as i32, bits & ((1 << FRACTION) - 1));
    match (exponent, fraction) {
        (0, 0) => ZERO,
        (0, _) => fraction.ilog2() as i32 - 1074 + i32::from(!fraction.is_power_of_two()),
        _ => exponent - 1023 + i32::from(fraction != 0),
    }
}

/// 2^level, infinite above all lengths.
pub(super) fn length_of(level: i32) -> f64 {
    match level {
        1024.. => f64::INFINITY,
        -1022.. => f64::from_bits(((level + 1023) as u64) << 52),
        _ => f64::from_bits(1 << (level + 1074)),
    }
}

const NONE: u32 = u32::MAX;

/// Sets of vertices that only grow together; each is known by its smallest vertex.
#[derive(Debug)]
pub(super) struct Joined {
    above: Vec<u32>,
}

impl Joined {
    fn none(vertices: usize) -> Self {
        Self { above: (0..vertices as u32).collect() }
    }

    /// The smallest vertex of the set of `vertex`.
    #[inline]
    pub(super) fn find(&mut self, mut vertex: u32) -> u32 {
        loop {
            let above = self.above[vertex as usize];
            if above == vertex {
                return vertex;
            }
            let over = self.above[above as usize];
            self.above[vertex as usize] = over;
            vertex = over;
        }
    }

    /// Makes two sets one; gives it, if they were two.
    fn join(&mut self, u: u32, v: u32) -> Option<u32> {
        let (u, v) = (self.find(u), self.find(v));
        self.above[u.max(v) as usize] = u.min(v);
        (u != v).then_some(u.min(v))
    }
}

/// The arcs by the level at which they are closed, and the components and pieces of the scale at hand.
#[derive(Debug)]
pub(super) struct Hierarchy {
    arcs: Vec<Arc>,
    /// The numbers of the arcs that are ever closed, and at which level, ascending.
    order: Vec<(i32, u32)>,
    /// How many of `order` lie within pieces.
    contracted: usize,
    pieces: Joined,
    /// How many of `order` lie within components.
    joined: usize,
    components: Joined,
    /// By how many levels pieces are behind components.
    lag: i32,
    /// The place of each piece in a quotient; only while one is made.
    place: Vec<u32>,
}

impl Hierarchy {
    pub(super) fn of(graph: &Digraph) -> Self {
        let n = graph.vertices();
        let arcs: Vec<_> = graph.list().collect();
        let order = in_order_of_closing(n, &arcs);
        let lag = (f64::log2(n.max(2) as f64).mul_add(2.0, -f64::log2(EPSILON))).ceil() as i32;
        Self {
            arcs,
            order,
            contracted: 0,
            pieces: Joined::none(n),
            joined: 0,
            components: Joined::none(n),
            lag,
            place: vec![NONE; n],
        }
    }

    /// The next level at which an arc is closed.
    pub(super) fn next_level(&self) -> Option<i32> {
        self.order.get(self.joined).map(|&(level, _)| level)
    }

    /// Goes up to the scale 2^level: calls `grown` with each component that grows, and gives the arcs of the trees that join
    /// merged pieces.
    pub(super) fn rise(&mut self, level: i32, mut grown: impl FnMut(u32)) -> Vec<u32> {
        while let Some(&(closed, arc)) = self.order.get(self.joined)
            && closed <= level
        {
            let Arc { from, to, .. } = self.arcs[arc as usize];
            if let Some(component) = self.components.join(from, to) {
                grown(component);
            }
            self.joined += 1;
        }
        self.contract(if level == ZERO { ZERO } else { level - self.lag })
    }

    fn contract(&mut self, level: i32) -> Vec<u32> {
        let begin = self.contracted;
        while self.order.get(self.contracted).is_some_and(|&(closed, _)| closed <= level) {
            self.contracted += 1;
        }
        let merging: Vec<_> = self.order[begin..self.contracted].iter().map(|&(_, arc)| arc).collect();
        if merging.is_empty() {
            return merging;
        }
        let quotient = self.quotient(merging.clone());
        for arc in merging {
            let Arc { from, to, .. } = self.arcs[arc as usize];
            self.pieces.join(from, to);
        }
        quotient.trees()
    }

    /// The component of `vertex` at this scale.
    #[inline]
    pub(super) fn component(&mut self, vertex: u32) -> u32 {
        self.components.find(vertex)
    }

    /// The piece of `vertex` at this scale.
    #[inline]
    pub(super) fn piece(&mut self, vertex: u32) -> u32 {
        self.pieces.find(vertex)
    }

    /// The arcs that matter at this scale, of the components that `open` names, ascending.
    pub(super) fn active(&mut self, open: impl Fn(u32) -> bool) -> Vec<u32> {
        let Self { arcs, order, components, pieces, .. } = self;
        let mut active: Vec<_> = order[self.contracted..self.joined]
            .iter()
            .map(|&(_, arc)| arc)
            .filter(|&arc| {
                let Arc { from, to, .. } = arcs[arc as usize];
                open(components.find(from)) && pieces.find(from) != pieces.find(to)
            })
            .collect();
        active.sort_unstable();
        active
    }

    /// The graph of the pieces that `arcs`, ascending, join. Every piece has an arc out, since it has a round trip.
    pub(super) fn quotient(&mut self, arcs: Vec<u32>) -> Quotient {
        let Self { pieces, place, .. } = self;
        let mut vertices = Vec::new();
        for &arc in &arcs {
            let piece = pieces.find(self.arcs[arc as usize].from);
            if place[piece as usize] == NONE {
                place[piece as usize] = vertices.len() as u32;
                vertices.push(piece);
            }
        }
        let mut at = |vertex| place[pieces.find(vertex) as usize];
        let mut list: Vec<_> = arcs
            .into_iter()
            .map(|number| {
                let Arc { from, to, length } = self.arcs[number as usize];
                (Arc { from: at(from), to: at(to), length }, number)
            })
            .filter(|(arc, _)| arc.from != arc.to)
            .collect();
        // Of parallel arcs the shortest stays, as in a graph of its own.
        list.sort_unstable_by(|(a, number), (b, other)| {
            (a.from, a.to).cmp(&(b.from, b.to)).then(a.length.total_cmp(&b.length)).then(number.cmp(other))
        });
        list.dedup_by_key(|(arc, _)| (arc.from, arc.to));
        let numbers = list.iter().map(|&(_, number)| number).collect();
        let list = list.into_iter().map(|(arc, _)| arc).collect();
        let (graph, _) = Digraph::from_arcs(vertices.len(), list).expect("arcs of a graph make a graph");
        for &piece in &vertices {
            self.place[piece as usize] = NONE;
        }
        Quotient { graph, numbers, vertices }
    }
}

/// A graph whose vertices are pieces of another, numbered densely.
#[derive(Debug)]
pub(super) struct Quotient {
    pub(super) graph: Digraph,
    /// The number in the whole graph of each arc.
    pub(super) numbers: Vec<u32>,
    /// A vertex of each piece.
    pub(super) vertices: Vec<u32>,
}

impl Quotient {
    /// For each component a tree out of its first vertex and a tree into it, as arcs of the whole graph.
    fn trees(&self) -> Vec<u32> {
        let n = self.graph.vertices();
        let mut arcs = Vec::with_capacity(2 * n);
        for direction in [Direction::Out, Direction::In] {
            let mut seen = vec![false; n];
            let mut open = Vec::new();
            for root in 0..n as u32 {
                // The components are strongly connected and apart: what a root reaches is its own.
                if !std::mem::replace(&mut seen[root as usize], true) {
                    open.push(root);
                }
                while let Some(vertex) = open.pop() {
                    let row = self.graph.row(direction, vertex);
                    for (position, step) in row.zip(self.graph.steps(direction, vertex)) {
                        if !std::mem::replace(&mut seen[step.to as usize], true) {
                            open.push(step.to);
                            arcs.push(self.numbers[self.graph.number(direction, position) as usize]);
                        }
                    }
                }
            }
        }
        arcs
    }
}

/// An arc among vertices that may be components found before.
#[derive(Debug, Clone, Copy)]
struct Link {
    from: u32,
    to: u32,
    arc: u32,
}

/// Links by their tails.
struct LinkRows {
    rows: Vec<u32>,
    heads: Vec<u32>,
}

impl Rows for LinkRows {
    fn vertices(&self) -> usize {
        self.rows.len() - 1
    }

    #[inline]
    fn start(&self, vertex: u32) -> u32 {
        self.rows[vertex as usize]
    }

    #[inline]
    fn heads(&self, vertex: u32, position: u32) -> impl Iterator<Item = (u32, u32)> {
        self.heads[position as usize..self.rows[vertex as usize + 1] as usize].iter().copied().zip(position + 1..)
    }
}

impl LinkRows {
    fn of(vertices: usize, links: &[Link], mut take: impl FnMut(&Link) -> bool) -> Self {
        let mut rows = vec![0; vertices + 1];
        let taken: Vec<_> = links.iter().filter(|link| take(link)).collect();
        for link in &taken {
            rows[link.from as usize] += 1;
        }
        let mut end = 0;
        for row in &mut rows {
            end += *row;
            *row = end;
        }
        let mut heads = vec![0; taken.len()];
        for link in taken {
            let row = &mut rows[link.from as usize];
            *row -= 1;
            heads[*row as usize] = link.to;
        }
        Self { rows, heads }
    }
}

/// The arcs that are ever closed, with the level at which they are, by that level and then by number.
fn in_order_of_closing(vertices: usize, arcs: &[Arc]) -> Vec<(i32, u32)> {
    let mut levels: Vec<_> = arcs.iter().map(|arc| level(arc.length)).collect();
    levels.sort_unstable();
    levels.dedup();
    let own: Vec<u16> = arcs
        .iter()
        .map(|arc| levels.binary_search(&level(arc.length)).expect("a level of the list") as u16) // at most 2099
        .collect();

    // Links whose ends come together at a level from `low` to `high`, or, where that is past the last, never.
    let mut order = Vec::new();
    let all: Vec<_> = (0..).zip(arcs).map(|(arc, &Arc { from, to, .. })| Link { from, to, arc }).collect();
    let mut tasks = vec![(0, levels.len(), vertices, all)];
    let mut place = vec![NONE; vertices];
    while let Some((low, high, vertices, links)) = tasks.pop() {
        if low == high {
            if let Some(&together) = levels.get(low) {
                let closed = |link: Link| (together.max(levels[own[link.arc as usize] as usize]), link.arc);
                order.extend(links.into_iter().map(closed));
            }
            continue;
        }
        let middle = usize::midpoint(low, high);
        let rows = LinkRows::of(vertices, &links, |link| own[link.arc as usize] as usize <= middle);
        let of = Components::of_rows(&rows).of;
        let (mut within, mut between): (Vec<_>, Vec<_>) =
            links.into_iter().partition(|link| of[link.from as usize] == of[link.to as usize]);
        for link in &mut between {
            (link.from, link.to) = (of[link.from as usize], of[link.to as usize]);
        }
        for (low, high, mut links) in
            [(middle + 1, high, std::mem::take(&mut between)), (low, middle, std::mem::take(&mut within))]
        {
            if !links.is_empty() {
                let vertices = renumber(&mut links, &mut place);
                tasks.push((low, high, vertices, links));
            }
        }
    }
    order.sort_unstable();
    order
}

/// Numbers the links' ends from 0 in the order in which they come; says how many there are.
fn renumber(links: &mut [Link], place: &mut [u32]) -> usize {
    let mut seen = Vec::new();
    for link in links {
        for end in [&mut link.from, &mut link.to] {
            let number = &mut place[*end as usize];
            if *number == NONE {
                *number = seen.len() as u32;
                seen.push(*end);
            }
            *end = *number;
        }
    }
    for &end in &seen {
        place[end as usize] = NONE;
    }
    seen.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_the_next_powers_of_two() {
        for (length, expected) in [(1.0, 0), (1.1, 1), (2.0, 1), (0.5, -1), (3e-320, -1061), (f64::MAX, 1024)] {
            assert_eq!(level(length), expected);
        }
        assert_eq!(level(0.0), ZERO);
        for level_of in -1074..=1023 {
            assert_eq!(level(length_of(level_of)), level_of);
        }
    }

    proptest! {
        #[test]
        fn arcs_close_where_their_ends_come_together(
            arcs in prop::collection::vec((0u32..20, 0u32..20, (0u8..7).prop_map(|l| if l == 0 { 0.0 } else { 10f64.powi(l.into()) })), 0..80),
        ) {
            let (graph, _) = Digraph::from_arcs(20, arcs.into_iter().map(Arc::from).collect()).unwrap();
            let mut expected = Vec::new();
            for (arc, number) in graph.list().zip(0..) {
                let together = |other: &f64| Components::up_to(&graph, *other).together(arc.from, arc.to);
                let first = graph.list().map(|arc| arc.length).filter(together).min_by(f64::total_cmp);
                expected.extend(first.map(|first| (level(first.max(arc.length)), number)));
            }
            expected.sort_unstable();
            let arcs: Vec<_> = graph.list().collect();
            prop_assert_eq!(in_order_of_closing(20, &arcs), expected);
        }

        #[test]
        fn merged_pieces_are_joined_by_few_arcs(
            arcs in prop::collection::vec((0u32..20, 0u32..20, (-150i32..150).prop_map(|e| 10f64.powi(e))), 0..120),
        ) {
            let (graph, _) = Digraph::from_arcs(20, arcs.into_iter().map(Arc::from).collect()).unwrap();
            let mut hierarchy = Hierarchy::of(&graph);
            let mut kept = crate::ArcSet::none(&graph);
            let mut trees = 0;
            while let Some(level) = hierarchy.next_level() {
                for arc in hierarchy.rise(level, |_| ()) {
                    trees += 1;
                    kept.insert(arc);
                }
                let thinned = graph.subgraph(&kept);
                let theta = length_of((level - hierarchy.lag).max(-1000));
                let (in_graph, in_thinned) = (Components::up_to(&graph, theta), Components::up_to(&thinned, theta));
                for u in 0..20 {
                    for v in 0..20 {
                        let together = in_graph.together(u, v);
                        prop_assert_eq!(hierarchy.piece(u) == hierarchy.piece(v), together);
                        prop_assert_eq!(in_thinned.together(u, v), together);
                        let near = Components::up_to(&graph, length_of(level)).together(u, v);
                        prop_assert_eq!(hierarchy.component(u) == hierarchy.component(v), near);
                    }
                }
            }
            prop_assert!(trees <= 2 * 19);
        }
    }
}
