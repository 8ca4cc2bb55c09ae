//! A list of edges as a stream over time: edges come in equal slices, and some of those that are there go.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::instance::MOST_EDGES;
use super::undirected::Edge;
use crate::Error;
use crate::file::temporal::Update;
use crate::generate::stream as random_stream;

/// How edges come and go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Edges come at times 1 to this one, equally many at each, to within one.
    pub times: usize,
    /// At each time so many edges go for each that comes, from 0 to 1, rounded to whole edges; drawn of those that came
    /// at earlier times and are still there. At time 1 there are none.
    pub deletions: f64,
    /// How often each edge comes, as parallel copies.
    pub repeat: usize,
}

/// The updates of a stream in which all of `edges` come, ordered by time; at each time first what goes. The end `from` of
/// an update is the edge's `u`, and what goes has the weight with which it came.
///
/// # Errors
/// [`Error::Parameter`]: no time or more times than edges come (unless there are no edges), deletions outside [0, 1], no
/// copy; [`Error::TooLarge`] if more than 2^28 edges come.
pub fn stream(edges: &[Edge], schedule: &Schedule, seed: u64) -> Result<Vec<Update>, Error> {
    let &Schedule { times, deletions, repeat } = schedule;
    if !(0.0..=1.0).contains(&deletions) {
        return Err(Error::Parameter { what: "deletions", value: deletions, range: "a share, from 0 to 1" });
    }
    if repeat == 0 {
        return Err(Error::Parameter { what: "repeat", value: 0.0, range: "at least 1" });
    }
    let count = edges.len().checked_mul(repeat).filter(|&count| count <= MOST_EDGES);
    let count = count.ok_or_else(|| Error::TooLarge {
        what: format!("{} edges, each {repeat} times, of at most {MOST_EDGES} here", edges.len()),
    })?;
    if times == 0 || times > count && count > 0 {
        let range = "from 1 to the number of edges that come";
        return Err(Error::Parameter { what: "times", value: times as f64, range });
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut random = random_stream(seed, 0);
    let mut order: Vec<u32> = (0..repeat).flat_map(|_| 0..edges.len() as u32).collect();
    order.shuffle(&mut random);

    let update = |time: usize, edge: u32, insert: bool| {
        let Edge { u, v, weight } = edges[edge as usize];
        Update { time: time as f64, from: u, to: v, insert, weight }
    };
    let mut updates = Vec::with_capacity(count + (count as f64 * deletions) as usize);
    let mut there: Vec<u32> = Vec::new();
    for time in 1..=times {
        let part = |time: usize| (time as u64 * count as u64 / times as u64) as usize;
        let come = &order[part(time - 1)..part(time)];
        let go = (come.len() as f64 * deletions).round() as usize;
        for _ in 0..go.min(there.len()) {
            let gone = there.swap_remove(random.random_range(0..there.len()));
            updates.push(update(time, gone, false));
        }
        updates.extend(come.iter().map(|&edge| update(time, edge, true)));
        there.extend(come);
    }
    Ok(updates)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn path(edges: u32) -> Vec<Edge> {
        (0..edges).map(|u| Edge { u, v: u + 1, weight: 1.0 + f64::from(u) }).collect()
    }

    proptest! {
        #[test]
        fn what_goes_came_before_and_is_there(
            edges in 1u32..60, repeat in 1usize..4, times in 1usize..60, deletions in 0.0..=1.0, seed: u64,
        ) {
            let list = path(edges);
            let schedule = Schedule { times, deletions, repeat };
            prop_assume!(times <= list.len() * repeat);
            let updates = stream(&list, &schedule, seed)?;
            prop_assert_eq!(&updates, &stream(&list, &schedule, seed)?);
            prop_assert!(updates.is_sorted_by(|a, b| (a.time, a.insert) <= (b.time, b.insert)));
            let mut there: HashMap<(u32, u32), usize> = HashMap::new();
            let mut expected = 0;
            for at in updates.chunk_by(|a, b| a.time == b.time) {
                let come = at.iter().filter(|update| update.insert).count();
                let slice = list.len() * repeat / times;
                prop_assert!(come == slice || come == slice + 1);
                let before: usize = there.values().sum();
                let go = (come as f64 * deletions).round() as usize;
                prop_assert_eq!(at.len() - come, go.min(before));
                for update in at {
                    let copies = there.entry((update.from, update.to)).or_default();
                    prop_assert!(update.insert || *copies > 0, "{:?}", update);
                    *copies = if update.insert { *copies + 1 } else { *copies - 1 };
                    prop_assert!(*copies <= repeat);
                    prop_assert_eq!(update.weight, 1.0 + f64::from(update.from));
                }
                expected = before + come - (at.len() - come);
            }
            let inserted = updates.iter().filter(|update| update.insert).count();
            prop_assert_eq!(inserted, list.len() * repeat);
            prop_assert_eq!(updates.last().map(|update| update.time), Some(times as f64));
            prop_assert_eq!(there.values().sum::<usize>(), expected);
            prop_assert_eq!(expected, inserted - (updates.len() - inserted));
        }
    }

    #[test]
    fn another_seed_is_another_order() {
        let schedule = Schedule { times: 20, deletions: 0.05, repeat: 1 };
        let updates = stream(&path(10_000), &schedule, 1).unwrap();
        assert_eq!(updates.len(), 10_000 + 19 * 25);
        assert_ne!(updates, stream(&path(10_000), &schedule, 2).unwrap());
    }

    #[test]
    fn parameters_out_of_range_are_errors() {
        let usual = Schedule { times: 2, deletions: 0.5, repeat: 1 };
        let wrong = [
            Schedule { times: 0, ..usual },
            Schedule { times: 11, ..usual },
            Schedule { times: usize::MAX, ..usual },
            Schedule { repeat: 0, ..usual },
            Schedule { deletions: -0.1, ..usual },
            Schedule { deletions: 1.5, ..usual },
            Schedule { deletions: f64::NAN, ..usual },
        ];
        for schedule in wrong {
            assert!(matches!(stream(&path(10), &schedule, 1), Err(Error::Parameter { .. })), "{schedule:?}");
        }
        for repeat in [1 << 28, usize::MAX] {
            assert!(matches!(stream(&path(10), &Schedule { repeat, ..usual }, 1), Err(Error::TooLarge { .. })));
        }
        assert!(stream(&[], &usual, 1).unwrap().is_empty());
    }
}
