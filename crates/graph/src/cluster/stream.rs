//! A graph as it changes: edges that come and go, in the order in which they do.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::coin::mix;
use super::message::Weights;
use crate::file::lines::{Fields, Lines, SHORT};
use crate::file::temporal::Update;
use crate::file::{self, Fault, Format, GraphFile, ReadOptions, temporal};
use crate::{Error, digraph::Direction};

/// An edge that comes or goes; `u` < `v`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub time: f64,
    /// The lower end.
    pub u: u32,
    /// The higher end.
    pub v: u32,
    /// Its weight: finite, above 0.
    pub weight: f64,
    /// Whether it comes; else the latest of parallel edges goes.
    pub insert: bool,
}

/// Changes of an undirected graph over time. Times never go back, and only what is there goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// How many vertices there are, known to all.
    pub vertices: usize,
    /// The changes.
    pub changes: Vec<Change>,
    /// The id of each vertex in its file, where they were numbered by first appearance.
    pub labels: Option<Vec<u64>>,
    /// Edges from a vertex to itself, which no cut counts: left out.
    pub loops: usize,
    /// Whether the file has times.
    pub timed: bool,
}

/// What the third column of an edge list, or the length of a graph's arc, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Third {
    /// As it looks: times, if it never goes back; or if any line says `+` or `-` after it.
    #[default]
    Guess,
    /// Times.
    Time,
    /// Weights.
    Weight,
    /// Nothing: every edge weighs 1. A road's length does not say how alike its ends are.
    Nothing,
}

/// Which site sees an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// By a hash of its ends.
    #[default]
    Edge,
    /// The lower end, modulo the number of sites.
    Vertex,
    /// As many consecutive slices of the stream as there are sites. An edge goes where it came.
    Time,
}

impl From<Update> for Change {
    fn from(update: Update) -> Self {
        let Update { time, from, to, insert, weight } = update;
        Self { time, u: from.min(to), v: from.max(to), weight, insert }
    }
}

impl Stream {
    /// Checks changes and takes them in order.
    ///
    /// # Errors
    /// [`Error::Change`] naming the first wrong one, from 0.
    pub fn new(vertices: usize, changes: impl IntoIterator<Item = Change>) -> Result<Self, Error> {
        let mut gathered = Gathered::default();
        for (number, change) in changes.into_iter().enumerate() {
            let wrong = |fault| Error::Change { number, fault };
            if change.u.max(change.v) as usize >= vertices {
                let (id, vertices) = (change.u.max(change.v).into(), vertices as u64);
                return Err(wrong(Fault::IdRange { id, first: 0, vertices }));
            }
            gathered.add(change).map_err(wrong)?;
        }
        Ok(gathered.into_stream(vertices, None, true))
    }

    /// All edges of a graph, at time 0. An edge is there if either arc is; of two weights it has the larger.
    ///
    /// # Errors
    /// [`Error::NoWeight`] naming an edge of length 0.
    pub fn of_graph(file: &GraphFile) -> Result<Self, Error> {
        Self::weighed(file, |length| length * file.unit)
    }

    fn weighed(file: &GraphFile, weight: impl Fn(f64) -> f64) -> Result<Self, Error> {
        let graph = &file.graph;
        let mut gathered = Gathered::default();
        for u in 0..graph.vertices() as u32 {
            let mut ends: Vec<_> = [Direction::Out, Direction::In]
                .into_iter()
                .flat_map(|direction| graph.steps(direction, u))
                .filter(|step| step.to > u)
                .map(|step| (step.to, weight(step.length)))
                .collect();
            ends.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
            ends.dedup_by_key(|end| end.0);
            for (v, weight) in ends {
                let change = Change { time: 0.0, u, v, weight, insert: true };
                gathered.add(change).map_err(|_| Error::NoWeight { from: file.id(u), to: file.id(v) })?;
            }
        }
        gathered.loops = file.dropped.loops;
        Ok(gathered.into_stream(graph.vertices(), file.labels.clone(), false))
    }

    /// Reads a graph file of any format, or an edge list with times (`u v t [+|- [w]]`).
    ///
    /// # Errors
    /// [`Error::File`] naming the line: besides what the formats' readers refuse, times that go back, weights of 0,
    /// deletions of what is not there. Otherwise as [`file::read`].
    pub fn read(path: impl AsRef<Path>, third: Third, options: &ReadOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let open = || Lines::open(path, SHORT);
        Self::from(path, third, options, &open, &|| file::read(path, options))
    }

    /// As [`read`](Self::read), from the bytes of a file called `name`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(name: &Path, bytes: &[u8], third: Third, options: &ReadOptions) -> Result<Self, Error> {
        let open = || Lines::from_bytes(name, bytes.to_vec(), SHORT);
        Self::from(name, third, options, &open, &|| file::from_bytes(name, bytes.to_vec(), options))
    }

    fn from(
        path: &Path,
        third: Third,
        options: &ReadOptions,
        lines: &dyn Fn() -> Result<Lines, Error>,
        graph: &dyn Fn() -> Result<GraphFile, Error>,
    ) -> Result<Self, Error> {
        let format = options.format.map_or_else(|| Format::of(path), Ok)?;
        // Looked through even if it is said to have times: a bomb is refused before its changes, five times as large as
        // their lines, are kept.
        let timed = matches!(third, Third::Guess | Third::Time);
        let looks = format == Format::EdgeList && timed && has_times(&mut lines()?)?;
        if format == Format::EdgeList && (third == Third::Time || looks) {
            let mut gathered = Gathered::default();
            let (vertices, labels) =
                temporal::each(&mut lines()?, options.relabel, |update| gathered.add(update.into()))?;
            return Ok(gathered.into_stream(vertices, labels, true));
        }
        match third {
            Third::Nothing => Self::weighed(&graph()?, |_| 1.0),
            _ => Self::of_graph(&graph()?),
        }
    }

    /// Whether any weight is not 1.
    pub fn weighted(&self) -> bool {
        self.changes.iter().any(|change| change.insert && change.weight != 1.0)
    }

    /// Rounds all weights to those that can be written: the ones that everyone uses.
    ///
    /// # Errors
    /// [`Error::Change`] naming the first whose weight cannot be written so.
    pub fn round(&mut self, weights: Weights) -> Result<(), Error> {
        for (number, change) in self.changes.iter_mut().enumerate() {
            let rounded = weights.round(change.weight);
            let (weight, bits) = (change.weight, weights.bits());
            change.weight = rounded.ok_or(Error::Change { number, fault: Fault::WeightBits { weight, bits } })?;
        }
        Ok(())
    }

    /// The site that sees each change. A deletion is seen where the edge is held.
    pub fn sites(&self, sites: usize, partition: Partition) -> Vec<u32> {
        let slice = |number: usize| (number as u128 * sites as u128 / self.changes.len() as u128) as u32;
        let mut there: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        let site = |(number, change): (usize, &Change)| match partition {
            Partition::Edge => (mix(u64::from(change.u) << 32 | u64::from(change.v)) % sites as u64) as u32,
            Partition::Vertex => change.u % sites as u32,
            Partition::Time => {
                let held = there.entry((change.u, change.v)).or_default();
                match change.insert {
                    true => {
                        held.push(slice(number));
                        slice(number)
                    }
                    false => held.pop().unwrap_or(slice(number)),
                }
            }
        };
        self.changes.iter().enumerate().map(site).collect()
    }

    /// The id of a vertex in the stream's file, from 0 whatever the format.
    pub fn id(&self, vertex: usize) -> u64 {
        self.labels.as_ref().map_or(vertex as u64, |labels| labels[vertex])
    }

    /// So many times at equal steps, the last that of the last change, whole numbers if all times are; only that one if
    /// all changes come at once.
    pub fn times(&self, count: usize) -> Vec<f64> {
        let (first, last) = (self.changes.first().map_or(0.0, |change| change.time), self.end());
        if count < 2 || first == last {
            return vec![last];
        }
        let whole = self.changes.iter().all(|change| change.time.fract() == 0.0 && change.time.abs() < 1e15);
        // Times 1 to `count` are each one of the times.
        let from = if whole { first - 1.0 } else { first };
        let step = |number: usize| from + (last - from) * number as f64 / count as f64;
        let mut times: Vec<_> = (1..count).map(step).chain([last]).collect();
        if whole {
            times.iter_mut().for_each(|time| *time = time.floor());
        }
        times.retain(|&time| time >= first);
        times.dedup();
        times
    }

    fn end(&self) -> f64 {
        self.changes.last().map_or(0.0, |change| change.time)
    }
}

/// Whether the lines of an edge list are of the form `u v t [+|- [w]]`, as [`Third::Guess`] guesses.
fn has_times(lines: &mut Lines) -> Result<bool, Error> {
    let (mut three, mut signs, mut back) = (true, false, false);
    let mut last = f64::NEG_INFINITY;
    lines.each(|_, line| {
        let mut fields = Fields::of(line);
        if signs || fields.peek().is_none_or(|byte| byte == b'#' || byte == b'%') {
            return Ok(());
        }
        let (_, _, third) = (fields.word(), fields.word(), fields.word());
        let time = third.and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse::<f64>().ok());
        signs = matches!(fields.word(), Some(b"+" | b"-"));
        match time {
            Some(time) => {
                back |= time < last;
                last = time;
            }
            None => three = false,
        }
        Ok(())
    })?;
    Ok(signs || (three && !back && last > f64::NEG_INFINITY))
}

#[derive(Default)]
struct Gathered {
    changes: Vec<Change>,
    there: HashMap<(u32, u32), u32>,
    loops: usize,
}

impl Gathered {
    fn add(&mut self, change: Change) -> Result<(), Fault> {
        let (u, v) = (change.u.min(change.v), change.u.max(change.v));
        if let Some(last) = self.changes.last()
            && change.time < last.time
        {
            return Err(Fault::BackInTime { time: change.time, after: last.time });
        }
        if !change.time.is_finite() {
            return Err(Fault::NotFinite { found: change.time.to_string() });
        }
        if change.insert && !(change.weight > 0.0 && change.weight.is_finite()) {
            return Err(Fault::Weight { weight: change.weight });
        }
        if u == v {
            self.loops += 1;
            return Ok(());
        }
        let there = self.there.entry((u, v)).or_default();
        match change.insert {
            true => *there += 1,
            false if *there == 0 => return Err(Fault::NotThere { from: u.into(), to: v.into() }),
            false => *there -= 1,
        }
        self.changes.push(Change { u, v, ..change });
        Ok(())
    }

    fn into_stream(self, vertices: usize, labels: Option<Vec<u64>>, timed: bool) -> Stream {
        Stream { vertices, changes: self.changes, labels, loops: self.loops, timed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, third: Third) -> Result<Stream, Error> {
        Stream::from_bytes(Path::new("x.txt"), text.as_bytes(), third, &ReadOptions::default())
    }

    fn fault(text: &str) -> String {
        read(text, Third::Guess).unwrap_err().to_string()
    }

    #[test]
    fn times_are_told_from_weights() {
        let timed = |text| read(text, Third::Guess).unwrap().timed;
        assert!(timed("0 1 5\n1 2 5\n2 0 7\n") && timed("0 1 5 +\n0 1 6 -\n"));
        assert!(!timed("0 1\n1 2\n") && !timed("0 1 5\n1 2 4\n") && !timed("0 1\n1 2 3\n") && !timed(""));
        assert!(!read("0 1 5\n1 2 6\n", Third::Weight).unwrap().timed);
        let weighted = read("0 1 0.5\n1 0 0.25\n1 2 3\n", Third::Weight).unwrap();
        let edges: Vec<_> = weighted.changes.iter().map(|change| (change.u, change.v, change.weight)).collect();
        assert_eq!(edges, [(0, 1, 0.5), (1, 2, 3.0)]);
    }

    #[test]
    fn wrong_changes_are_named_by_line() {
        assert!(fault("0 1 5 +\n1 2 4 +\n").starts_with("x.txt:2: time 4"));
        assert!(fault("0 1 5 +\n\n1 2 6 -\n").starts_with("x.txt:3: there is no edge 1 -> 2"));
        assert!(fault("0 1 5 + 0\n").starts_with("x.txt:1: weight 0"));
        assert!(fault("0 1 5 + -2\n").starts_with("x.txt:1:"));
        assert!(fault("0 1 5 + nan\n").starts_with("x.txt:1:"));
        assert!(fault("0 1 nan +\n").starts_with("x.txt:1:"));
        assert!(fault("0 1 5 *\n").starts_with("x.txt:1:"));
        let change = |u, v| Change { time: 0.0, u, v, weight: 1.0, insert: true };
        assert!(matches!(Stream::new(2, [change(0, 1), change(0, 2)]), Err(Error::Change { number: 1, .. })));
    }

    #[test]
    fn times_are_equal_steps_up_to_the_end() {
        let at = |times: &[f64]| {
            let change = |&time: &f64| Change { time, u: 0, v: 1, weight: 1.0, insert: true };
            Stream::new(2, times.iter().map(change)).unwrap()
        };
        let numbered = at(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(numbered.times(4), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(numbered.times(2), [2.0, 4.0]);
        assert_eq!(numbered.times(9), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((numbered.times(1), at(&[7.0, 7.0]).times(5)), (vec![4.0], vec![7.0]));
        assert_eq!(at(&[0.0, 0.5, 1.0]).times(4), [0.25, 0.5, 0.75, 1.0]);
        assert_eq!(at(&[]).times(3), [0.0]);
    }

    #[test]
    fn loops_are_left_out_and_an_edge_has_no_direction() {
        let stream = read("3 3 1 +\n2 0 1 +\n0 2 1 +\n0 2 2 -\n2 0 2 -\n", Third::Guess).unwrap();
        assert_eq!((stream.vertices, stream.loops, stream.changes.len()), (4, 1, 4));
        assert!(stream.changes.iter().all(|change| (change.u, change.v) == (0, 2)));
    }

    #[test]
    fn every_change_of_an_edge_is_seen_where_it_is_held() {
        let text: String = (0..300)
            .map(|i| format!("{} {} {i} {}\n", i % 7, 7 + i % 5, if i % 70 < 35 { '+' } else { '-' }))
            .collect();
        let stream = read(&text, Third::Guess).unwrap();
        for partition in [Partition::Edge, Partition::Vertex, Partition::Time] {
            let mut held: HashMap<(u32, u32, u32), i32> = HashMap::new();
            for (change, site) in stream.changes.iter().zip(stream.sites(4, partition)) {
                assert!(site < 4);
                let there = held.entry((change.u, change.v, site)).or_default();
                *there += if change.insert { 1 } else { -1 };
                assert!(*there >= 0, "{partition:?}");
            }
        }
        let sites = stream.sites(3, Partition::Vertex);
        assert!(stream.changes.iter().zip(sites).all(|(change, site)| site == change.u % 3));
        assert_eq!(stream.sites(1, Partition::Time), vec![0; 300]);
    }
}
