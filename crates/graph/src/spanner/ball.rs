//! Round-trip balls: the vertices within a round trip of a centre, with shortest paths there and back.
//!
//! Every closed walk of length at most r through u lies within `W = out(u, r/2) ∪ in(u, r/2)`: a vertex on it is at most r/2
//! from u one way or the other. So two searches go to r/2, and on to r only inside W. On expanders, where a one-way
//! ball of radius r is everything, this is what keeps small balls cheap.

use crate::digraph::{ArcSet, Digraph, Direction};
use crate::search::{Kept, KeptOrAdded, Search, Whole};

/// A sub-graph that grows: its arcs by the positions of each direction, so that searches walk it both ways.
#[derive(Debug, Clone)]
pub struct Grown {
    /// Positions along the arcs: their numbers.
    pub out: ArcSet,
    /// Positions against the arcs.
    pub back: ArcSet,
}

impl Grown {
    /// Without arcs.
    pub fn none(graph: &Digraph) -> Self {
        Self { out: ArcSet::none(graph), back: ArcSet::none(graph) }
    }

    /// Of these arcs.
    pub fn of(graph: &Digraph, arcs: &ArcSet) -> Self {
        let mut grown = Self { out: arcs.clone(), back: ArcSet::none(graph) };
        for position in 0..graph.arcs() {
            if arcs.contains(graph.number(Direction::In, position)) {
                grown.back.insert(position as u32);
            }
        }
        grown
    }

    /// Adds an arc by its positions.
    pub fn insert(&mut self, arc: ArcPositions) {
        self.out.insert(arc.out);
        self.back.insert(arc.back);
    }

    fn remove(&mut self, arc: ArcPositions) {
        self.out.remove(arc.out);
        self.back.remove(arc.back);
    }
}

/// Where an arc stands in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArcPositions {
    out: u32,
    back: u32,
}

impl ArcPositions {
    /// Those of the arc between `from` and `to`, which is one of the graph's.
    pub fn of(graph: &Digraph, from: u32, to: u32) -> Self {
        let position =
            |direction, vertex, to| graph.position(direction, vertex, to).expect("an arc of the graph") as u32;
        Self { out: position(Direction::Out, from, to), back: position(Direction::In, to, from) }
    }

    /// Those of the arc at `position` among the steps of `direction`, between `vertex` and `other`.
    fn at(graph: &Digraph, direction: Direction, position: usize, vertex: u32, other: u32) -> Self {
        match direction {
            Direction::Out => {
                let back = graph.position(Direction::In, other, vertex).expect("an arc of the graph");
                Self { out: position as u32, back: back as u32 }
            }
            Direction::In => Self { out: graph.number(direction, position), back: position as u32 },
        }
    }
}

/// A member of a ball.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// The vertex.
    pub vertex: u32,
    /// Its round trip to the centre in G.
    pub round_trip: f64,
}

/// What one exploration needs; used again and again by one thread. 76 bytes for each vertex and 2 bits
/// for each arc.
#[derive(Debug)]
pub struct Explorer {
    out: Search,
    back: Search,
    kept_out: Search,
    kept_back: Search,
    /// W of the last exploration, by stamp.
    near: Vec<u32>,
    /// Vertices whose paths there, and back, are complete, by round.
    complete: [Vec<u32>; 2],
    stamp: u32,
    round: u32,
    members: Vec<Member>,
    near_arcs: usize,
    centre: u32,
    radius: f64,
    /// What the last [`Explorer::missing`] found.
    added: Grown,
    arcs: Vec<ArcPositions>,
    /// The last path added: each vertex with the one before it.
    path: Vec<(u32, u32)>,
}

impl Explorer {
    /// For graphs like `graph`.
    pub fn new(graph: &Digraph) -> Self {
        let search = || Search::new(graph);
        let stamps = || vec![0; graph.vertices()];
        Self {
            out: search(),
            back: search(),
            kept_out: search(),
            kept_back: search(),
            near: stamps(),
            complete: [stamps(), stamps()],
            stamp: 0,
            round: 0,
            members: Vec::new(),
            near_arcs: 0,
            centre: 0,
            radius: 0.0,
            added: Grown::none(graph),
            arcs: Vec::new(),
            path: Vec::new(),
        }
    }

    /// Explores the ball of `radius` around `centre` within the vertices that `admit` lets in, which must hold all closed
    /// walks through the centre of that length. With `both`, the two directions go side by side.
    pub fn explore(
        &mut self,
        graph: &Digraph,
        centre: u32,
        radius: f64,
        both: bool,
        admit: impl Fn(u32) -> bool + Sync,
    ) -> &[Member] {
        let Self { out, back, near, stamp, .. } = self;
        let (ahead, behind) = (Whole(graph, Direction::Out), Whole(graph, Direction::In));
        let half = radius / 2.0;
        let first = |search: &mut Search, view: &Whole<'_>| {
            search.start(centre, radius);
            search.advance(view, half, &admit);
        };
        side_by_side(both, || first(out, &ahead), || first(back, &behind));

        *stamp += 1;
        self.near_arcs = 0;
        for search in [&*out, &*back] {
            for &vertex in search.reached() {
                let mark = &mut near[vertex as usize];
                if *mark != *stamp && search.distance(vertex) <= half {
                    *mark = *stamp;
                    self.near_arcs += graph.row(Direction::Out, vertex).len();
                }
            }
        }
        let within = |vertex: u32| near[vertex as usize] == *stamp;
        side_by_side(both, || out.advance(&ahead, radius, within), || back.advance(&behind, radius, within));

        (self.centre, self.radius) = (centre, radius);
        self.members.clear();
        let fewer = if out.reached().len() <= back.reached().len() { &*out } else { &*back };
        self.members.extend(fewer.reached().iter().filter_map(|&vertex| {
            let round_trip = out.distance(vertex) + back.distance(vertex);
            (round_trip <= radius).then_some(Member { vertex, round_trip })
        }));
        &self.members
    }

    /// Leaves out of the last ball the members beyond `radius`.
    pub fn cut(&mut self, radius: f64) {
        self.members.retain(|member| member.round_trip <= radius);
        self.radius = radius;
    }

    /// The members of the last ball explored.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The radius of the last ball explored.
    pub fn radius(&self) -> f64 {
        self.radius
    }

    /// How many arcs leave the vertices of W of the last ball explored.
    pub fn near_arcs(&self) -> usize {
        self.near_arcs
    }

    /// The arcs that `kept` lacks for every member to have a round trip to the centre that is `allowed`, of those that
    /// have a limit: the shortest paths there and back of the farthest member whose round trip is longer, then of the
    /// next, each with the arcs found before it in place. No limit is above `bound`. Unless `wide`, round trips in
    /// `kept` are looked for inside W alone, which is quick and errs on the safe side.
    pub fn missing(
        &mut self,
        graph: &Digraph,
        kept: &Grown,
        allowed: impl Fn(&Member) -> Option<f64>,
        bound: f64,
        wide: bool,
        both: bool,
    ) -> Vec<ArcPositions> {
        self.search_kept(graph, kept, bound, wide, both);
        let near = std::mem::take(&mut self.near);
        let stamp = self.stamp;
        let admit = |vertex: u32| wide || near[vertex as usize] == stamp;
        self.begin_paths();
        self.members.sort_unstable_by(|a, b| b.round_trip.total_cmp(&a.round_trip).then(a.vertex.cmp(&b.vertex)));
        let mut up_to_date = true;
        for index in 0..self.members.len() {
            let Member { vertex, .. } = self.members[index];
            let Some(limit) = allowed(&self.members[index]) else { continue };
            if self.kept_trip(vertex) <= limit {
                continue;
            }
            if !std::mem::replace(&mut up_to_date, false) {
                for (direction, search, kept, added) in [
                    (Direction::Out, &mut self.kept_out, &kept.out, &self.added.out),
                    (Direction::In, &mut self.kept_back, &kept.back, &self.added.back),
                ] {
                    search.advance(&KeptOrAdded(Kept(graph, direction, kept), added), bound, admit);
                }
                if self.kept_trip(vertex) <= limit {
                    up_to_date = true;
                    continue;
                }
            }
            for direction in [Direction::Out, Direction::In] {
                self.add_path(graph, kept, direction, vertex);
                let (tree, search) = match direction {
                    Direction::Out => (&self.out, &mut self.kept_out),
                    Direction::In => (&self.back, &mut self.kept_back),
                };
                for &(vertex, before) in &self.path {
                    search.lower(vertex, tree.distance(vertex), before);
                }
            }
        }
        self.near = near;
        self.take_arcs()
    }

    /// Searches `kept` from the last ball's centre, both ways, up to `limit`; inside W alone unless `wide`.
    pub fn search_kept(&mut self, graph: &Digraph, kept: &Grown, limit: f64, wide: bool, both: bool) {
        let Self { kept_out, kept_back, centre, near, stamp, .. } = self;
        let search = |search: &mut Search, direction, positions| {
            search.start(*centre, limit);
            search.advance(&Kept(graph, direction, positions), limit, |vertex| wide || near[vertex as usize] == *stamp);
        };
        side_by_side(
            both,
            || search(kept_out, Direction::Out, &kept.out),
            || search(kept_back, Direction::In, &kept.back),
        );
    }

    /// The round trip between the last ball's centre and `vertex` in what [`Self::search_kept`] searched; infinite if it
    /// was not found.
    #[inline]
    pub fn kept_trip(&self, vertex: u32) -> f64 {
        self.kept_out.distance(vertex) + self.kept_back.distance(vertex)
    }

    /// The arcs that `kept` lacks of the shortest paths there and back of every member.
    pub fn trees(&mut self, graph: &Digraph, kept: &Grown) -> Vec<ArcPositions> {
        self.begin_paths();
        for index in 0..self.members.len() {
            for direction in [Direction::Out, Direction::In] {
                self.add_path(graph, kept, direction, self.members[index].vertex);
            }
        }
        self.take_arcs()
    }

    /// The arcs added, which are then forgotten.
    fn take_arcs(&mut self) -> Vec<ArcPositions> {
        for &arc in &self.arcs {
            self.added.remove(arc);
        }
        std::mem::take(&mut self.arcs)
    }

    /// No path is complete but the centre's own.
    fn begin_paths(&mut self) {
        self.round += 1;
        for complete in &mut self.complete {
            complete[self.centre as usize] = self.round;
        }
    }

    /// Adds the arcs that `kept` lacks of a shortest path between the centre and `vertex`, up to where an earlier path is
    /// joined. (An arc that is kept already ends nothing: what comes before it may be missing.)
    ///
    /// Of several shortest paths it takes one over arcs that are kept, else over the vertex with the most arcs, which other
    /// centres will take too.
    fn add_path(&mut self, graph: &Digraph, kept: &Grown, direction: Direction, mut vertex: u32) {
        let (tree, complete, towards, kept_towards) = match direction {
            Direction::Out => (&self.out, &mut self.complete[0], Direction::In, &kept.back),
            Direction::In => (&self.back, &mut self.complete[1], Direction::Out, &kept.out),
        };
        self.path.clear();
        while std::mem::replace(&mut complete[vertex as usize], self.round) != self.round {
            let distance = tree.distance(vertex);
            let (mut best, mut chosen) = ((false, 0), None);
            for (position, step) in graph.row(towards, vertex).zip(graph.steps(towards, vertex)) {
                let before = tree.distance(step.to);
                // Along arcs of length 0 only the tree is sure to lead to the centre.
                let leads = before < distance || tree.parent(vertex) == step.to;
                if !leads || before + step.length != distance {
                    continue;
                }
                let merit = (kept_towards.contains(position as u32), graph.row(direction, step.to).len());
                if chosen.is_none() || merit > best {
                    (best, chosen) = (merit, Some((position, step.to)));
                }
            }
            // Sums of real lengths may be off by a rounding at the edge of W: then the tree says.
            let (position, parent) = chosen.unwrap_or_else(|| {
                let parent = tree.parent(vertex);
                (graph.position(towards, vertex, parent).expect("an arc of the graph"), parent)
            });
            if !best.0 {
                let arc = ArcPositions::at(graph, towards, position, vertex, parent);
                self.added.insert(arc);
                self.arcs.push(arc);
            }
            self.path.push((vertex, parent));
            vertex = parent;
        }
    }

    /// How many arcs all explorations have looked at.
    pub fn relaxations(&self) -> u64 {
        [&self.out, &self.back, &self.kept_out, &self.kept_back].iter().map(|search| search.relaxations()).sum()
    }
}

fn side_by_side(both: bool, one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    if both {
        rayon::join(one, other);
    } else {
        one();
        other();
    }
}
