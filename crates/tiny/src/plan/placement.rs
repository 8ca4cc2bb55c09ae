//! Offsets: where in the arena each piece lies.
//!
//! First fit in many orders: by size, by time, then orders a move away from the best. The lower bound (the bytes that some
//! step must hold) ends the search early.

use std::collections::HashMap;

use super::overlap::Direction;

/// Something to place: bytes that are held during steps `first..=last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

/// Two items that may overlap although both are held: `direction` as in [`super::overlap::Overlap`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub input: usize,
    pub output: usize,
    pub distance: i64,
    pub direction: Direction,
}

/// Offsets of all items, and the bytes that they take together.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    pub offsets: Vec<usize>,
    pub peak: usize,
}

pub(super) struct Problem {
    items: Vec<Item>,
    /// For each item, those that are held at some time together with it.
    meets: Vec<Vec<usize>>,
    allowances: HashMap<(usize, usize), Allowance>,
    align: usize,
}

impl Problem {
    pub fn new(items: Vec<Item>, allowances: &[Allowance], align: usize) -> Self {
        let mut by_start: Vec<usize> = (0..items.len()).collect();
        by_start.sort_by_key(|&i| items[i].first);
        let mut meets = vec![Vec::new(); items.len()];
        let mut held: Vec<usize> = Vec::new();
        for &i in &by_start {
            held.retain(|&j| items[j].last >= items[i].first);
            for &j in &held {
                meets[i].push(j);
                meets[j].push(i);
            }
            held.push(i);
        }
        let mut known = HashMap::new();
        for a in allowances {
            known.insert((a.input, a.output), *a);
            known.insert((a.output, a.input), *a);
        }
        Self { items, meets, allowances: known, align }
    }

    /// Whether `i` at `at` and `j` at `other` may be held together.
    fn apart(&self, i: usize, at: usize, j: usize, other: usize) -> bool {
        let disjoint = at + self.items[i].bytes <= other || other + self.items[j].bytes <= at;
        disjoint
            || self.allowances.get(&(i, j)).is_some_and(|a| {
                let (input, output) = if a.input == i { (at, other) } else { (other, at) };
                match a.direction {
                    Direction::Forward => output as i64 + a.distance <= input as i64,
                    Direction::Backward => output as i64 >= input as i64 + a.distance,
                }
            })
    }

    /// First fit of `order` around the items that have their place already.
    fn place(&self, fixed: &Placement, order: &[usize]) -> Placement {
        let Placement { mut offsets, mut peak } = fixed.clone();
        let mut candidates = Vec::new();
        for &i in order {
            candidates.clear();
            candidates.push(0);
            for &j in &self.meets[i] {
                if offsets[j] == usize::MAX {
                    continue;
                }
                candidates.push(self.up((offsets[j] + self.items[j].bytes) as i64));
                if let Some(a) = self.allowances.get(&(i, j)) {
                    let other = offsets[j] as i64;
                    candidates.push(match (a.direction, a.input == i) {
                        // As high as the output may lie below the operand, or as low as the operand may above it.
                        (Direction::Forward, true) => self.up(other + a.distance),
                        (Direction::Forward, false) => self.down(other - a.distance),
                        (Direction::Backward, true) => self.down(other - a.distance),
                        (Direction::Backward, false) => self.up(other + a.distance),
                    });
                }
            }
            candidates.sort_unstable();
            candidates.dedup();
            let fits =
                |at: usize| self.meets[i].iter().all(|&j| offsets[j] == usize::MAX || self.apart(i, at, j, offsets[j]));
            let at = candidates.iter().copied().find(|&at| fits(at)).unwrap_or(0);
            offsets[i] = at;
            peak = peak.max(at + self.items[i].bytes);
        }
        Placement { offsets, peak }
    }

    fn up(&self, at: i64) -> usize {
        (at.max(0) as usize).next_multiple_of(self.align)
    }

    fn down(&self, at: i64) -> usize {
        let at = at.max(0) as usize;
        at - at % self.align
    }

    /// The best placement found; stops at `bound`.
    ///
    /// What lives at step `cut` or later is placed first, and well: it is what the network does whole. The pieces of
    /// parts, of which there are many and all alike, then fit around it.
    pub fn solve(&self, bound: usize, tries: usize, cut: usize) -> Placement {
        let nothing = Placement { offsets: vec![usize::MAX; self.items.len()], peak: 0 };
        let (rest, parts): (Vec<usize>, Vec<usize>) = (0..self.items.len()).partition(|&i| self.items[i].last >= cut);
        let rest = self.improve(&nothing, &rest, bound, tries);
        self.improve(&rest, &parts, bound, tries)
    }

    /// First fit in several orders, then in orders a move away from the best.
    fn improve(&self, fixed: &Placement, which: &[usize], bound: usize, tries: usize) -> Placement {
        let sorted = |key: &dyn Fn(usize) -> (i64, i64)| {
            let mut order = which.to_vec();
            order.sort_by_key(|&i| key(i));
            order
        };
        let (bytes, first, last) = (
            |i: usize| self.items[i].bytes as i64,
            |i: usize| self.items[i].first as i64,
            |i: usize| self.items[i].last as i64,
        );
        let starts = [
            sorted(&|i| (-bytes(i), first(i))),
            sorted(&|i| (first(i), -bytes(i))),
            sorted(&|i| (-last(i), -bytes(i))),
            sorted(&|i| (-(bytes(i) * (last(i) - first(i) + 1)), first(i))),
        ];
        let placed = starts.into_iter().map(|order| (self.place(fixed, &order), order));
        let Some((mut best, mut order)) = placed.min_by_key(|(placement, _)| placement.peak) else {
            return fixed.clone();
        };
        // A fixed sequence: the plan must not depend on the machine.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below.max(1)
        };
        let n = which.len();
        // The time that a try takes grows with the square of the items.
        for _ in 0..tries.min(20_000_000 / n.max(1).pow(2) + 20) {
            if best.peak <= bound.max(fixed.peak) || n < 2 {
                break;
            }
            // What lies highest must come earlier, or what it avoids must; now and then anything moves.
            let top = order.iter().position(|&i| best.offsets[i] + self.items[i].bytes == best.peak).unwrap_or(0);
            let neighbours: Vec<usize> = (0..n).filter(|&k| self.meets[order[top]].contains(&order[k])).collect();
            let from = match next(3) {
                0 => next(n),
                1 => top,
                _ if neighbours.is_empty() => top,
                _ => neighbours[next(neighbours.len())],
            };
            let mut trial = order.clone();
            let moved = trial.remove(from);
            trial.insert(next(n), moved);
            let placement = self.place(fixed, &trial);
            if placement.peak <= best.peak {
                (order, best) = (trial, placement);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// First fit in every order: for pieces that may not overlap, one of them is optimal.
    fn exhaustive(problem: &Problem, order: &mut Vec<usize>, from: usize, best: &mut usize) {
        if from == order.len() {
            let nothing = Placement { offsets: vec![usize::MAX; order.len()], peak: 0 };
            *best = (*best).min(problem.place(&nothing, order).peak);
            return;
        }
        for i in from..order.len() {
            order.swap(from, i);
            exhaustive(problem, order, from + 1, best);
            order.swap(from, i);
        }
    }

    fn items(sizes: &[(usize, usize, usize)]) -> Vec<Item> {
        sizes.iter().map(|&(bytes, first, length)| Item { bytes, first, last: first + length }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn no_placement_takes_less(sizes in prop::collection::vec((1usize..50, 0usize..8, 0usize..4), 1..8)) {
            let problem = Problem::new(items(&sizes), &[], 1);
            let mut least = usize::MAX;
            exhaustive(&problem, &mut (0..sizes.len()).collect(), 0, &mut least);
            prop_assert_eq!(problem.solve(0, 4000, 0).peak, least);
        }

        #[test]
        fn nothing_held_together_overlaps(
            sizes in prop::collection::vec((1usize..50, 0usize..20, 0usize..6), 1..40),
            align in 1usize..9,
        ) {
            let problem = Problem::new(items(&sizes), &[], align);
            let placement = problem.solve(0, 50, 5);
            for i in 0..sizes.len() {
                prop_assert_eq!(placement.offsets[i] % align, 0);
                for &j in &problem.meets[i] {
                    prop_assert!(problem.apart(i, placement.offsets[i], j, placement.offsets[j]));
                }
            }
        }
    }

    #[test]
    fn an_output_reaches_below_its_dying_operand() {
        // 100 bytes in, 100 out, the output 4 bytes ahead at most: 104 in all instead of 200.
        let items = items(&[(100, 0, 1), (100, 1, 1)]);
        let allowance = Allowance { input: 0, output: 1, distance: 4, direction: Direction::Forward };
        assert_eq!(Problem::new(items, &[allowance], 1).solve(0, 100, 0).peak, 104);
    }
}
