//! Which split, and which parts: every plan that a network admits, from its cost alone.
//!
//! Source: MCUNetV2, section 3.2 (the search over patches), made exhaustive: every legal split, grids up to 8 x 8, and row
//! streaming. No kernel runs. Peaks are estimated first (bytes that some step must hold), and only promising candidates
//! are placed.

use serde::Serialize;
use tersor_network::Network;

use super::program::{Kind, Program};
use super::stage::{self, Parts, Schedule, Split};
use super::{How, InputMode, Patches, Plan, live_bytes, order, placed};
use crate::error::Error;

/// Largest number of patches along each side.
const MOST_PATCHES: usize = 8;
/// Orders tried when a plan is placed.
const TRIES: usize = 4000;

/// Steps that the patches of all candidates may have together: a second's work. Rows are always looked at.
const MOST_STEPS: usize = 600_000;
/// Candidates placed at most, the most promising first.
const MOST_PLACED: usize = 12;

/// What a search may use.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Who holds the input.
    pub input: InputMode,
    /// Offsets are multiples of this.
    pub align: usize,
    /// A plan that fits here and does the least extra work is chosen; without it, the least peak.
    pub sram: Option<u64>,
    /// Extra multiply-adds allowed, as a share of the network's.
    pub extra: f64,
    /// Row streaming only.
    pub rows_only: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self { input: InputMode::Resident, align: 4, sram: None, extra: 0.10, rows_only: false }
    }
}

/// A candidate on the Pareto front: no other has both a lower peak and fewer extra multiply-adds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// How it runs in parts; `None` for layers.
    pub patches: Option<Patches>,
    /// Bytes that some step must hold; the placed plan may take a little more.
    pub estimated_bytes: usize,
    /// Multiply-adds done again.
    pub extra_macs: u64,
}

/// What firmware would call, in the order that takes least.
fn ordered(network: &Network, fuse: bool) -> Result<Program, Error> {
    let mut program = Program::of(network, fuse)?;
    order::improve(&mut program);
    Ok(program)
}

/// The plan of the layers, whole.
///
/// # Errors
/// [`Error::Plan`] if the network cannot be planned.
pub fn layers(network: &Network, align: usize) -> Result<Plan, Error> {
    let how = How { input: InputMode::Resident, patches: None, align };
    let plan = |fuse: bool| -> Result<Plan, Error> {
        let program = ordered(network, fuse)?;
        Ok(placed(network, &program, &stage::layers(&program), how, TRIES))
    };
    let (fused, apart) = (plan(true)?, plan(false)?);
    Ok(if apart.peak_bytes < fused.peak_bytes { apart } else { fused })
}

/// The plan with the given parts. `patches.layer` is the operator of the file whose output is split.
///
/// # Errors
/// [`Error::Plan`] if the split is not legal, naming those that are.
pub fn parts(network: &Network, patches: Patches, input: InputMode, align: usize) -> Result<Plan, Error> {
    let program = ordered(network, true)?;
    let splits = stage::splits(&program);
    let split = splits.iter().find(|s| program.ops[s.ops - 1].nodes.contains(&patches.layer));
    let Some(&split) = split else {
        let legal: Vec<String> = splits.iter().map(|s| layer(&program, *s).to_string()).collect();
        let why = format!("operator {} cannot be split; legal: {}", patches.layer, legal.join(", "));
        return Err(Error::Plan { network: network.name.clone(), why });
    };
    let candidate = Candidate { split, parts: patches.parts() };
    Ok(candidate.placed(network, &program, input, align))
}

impl Patches {
    fn parts(self) -> Parts {
        if self.streaming { Parts::Rows } else { Parts::Grid(self.rows, self.columns) }
    }
}

/// The operator of the file whose output a split puts together.
fn layer(program: &Program, split: Split) -> usize {
    let nodes = &program.ops[split.ops - 1].nodes;
    nodes[nodes.len() - 1]
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    split: Split,
    parts: Parts,
}

impl Candidate {
    fn schedule(&self, program: &Program, input: InputMode) -> Schedule {
        stage::parts(program, self.split, self.parts, input == InputMode::Streamed)
    }

    fn patches(&self, program: &Program) -> Patches {
        let height = program.buffers[self.split.buffer].height;
        let (rows, columns, streaming) = match self.parts {
            Parts::Grid(rows, columns) => (rows, columns, false),
            Parts::Rows => (height, 1, true),
        };
        Patches { layer: layer(program, self.split), rows, columns, streaming }
    }

    fn placed(&self, network: &Network, program: &Program, input: InputMode, align: usize) -> Plan {
        let how = How { input, patches: Some(self.patches(program)), align };
        placed(network, program, &self.schedule(program, input), how, TRIES / 10)
    }
}

/// The best plan, and the Pareto front of all candidates.
///
/// With [`Search::sram`]: the plan with the least extra work that fits, or the smallest of all. Without: the smallest
/// with at most [`Search::extra`] of extra work.
///
/// # Errors
/// [`Error::Plan`] if the network cannot be planned.
pub fn search(network: &Network, how: Search) -> Result<(Plan, Vec<Point>), Error> {
    let program = ordered(network, true)?;
    let macs: u64 = program.ops.iter().map(|op| op.macs).sum();
    let whole = stage::layers(&program);
    let layers_point = Point { patches: None, estimated_bytes: estimate(&program, &whole), extra_macs: 0 };
    let mut points: Vec<(Option<Candidate>, Point)> = Vec::new();
    if !how.rows_only {
        points.push((None, layers_point));
    }
    let mut budget = MOST_STEPS;
    for split in stage::splits(&program) {
        let buffer = &program.buffers[split.buffer];
        let grids = (1..=MOST_PATCHES.min(buffer.height))
            .flat_map(|r| (1..=MOST_PATCHES.min(buffer.width)).map(move |c| Parts::Grid(r, c)))
            .filter(|&g| g != Parts::Grid(1, 1) && !how.rows_only);
        for parts in grids.chain([Parts::Rows]) {
            let candidate = Candidate { split, parts };
            if let Parts::Grid(rows, columns) = parts {
                let steps = rows * columns * split.ops;
                if steps > budget {
                    continue;
                }
                budget -= steps;
            }
            let schedule = candidate.schedule(&program, how.input);
            let extra_macs = schedule.macs.saturating_sub(macs);
            // Nobody wants to compute half the network again.
            if extra_macs as f64 <= 0.5 * macs as f64 {
                let estimated_bytes = estimate(&program, &schedule);
                let patches = Some(candidate.patches(&program));
                points.push((Some(candidate), Point { patches, estimated_bytes, extra_macs }));
            }
        }
    }
    let whole_plan = layers(network, how.align)?;
    let plan = |candidate: Option<Candidate>| match candidate {
        None => whole_plan.clone(),
        Some(candidate) => candidate.placed(network, &program, how.input, how.align),
    };
    let mut best: Option<Plan> = None;
    match how.sram {
        Some(sram) => {
            // Of equal work, the layers: nothing is simpler.
            points.sort_by_key(|(_, p)| (p.extra_macs, p.patches.is_some(), p.estimated_bytes));
            for (candidate, _) in points.iter().filter(|(_, p)| p.estimated_bytes as u64 <= sram) {
                let plan = plan(*candidate);
                if plan.peak_bytes as u64 <= sram {
                    return Ok((plan, front(&points)));
                }
            }
            points.sort_by_key(|(_, p)| (p.estimated_bytes, p.extra_macs));
        }
        None => points.sort_by_key(|(_, p)| (p.estimated_bytes, p.extra_macs)),
    }
    let allowed = (how.extra * macs as f64) as u64;
    let limit = if how.sram.is_some() { u64::MAX } else { allowed };
    for (tried, (candidate, point)) in points.iter().filter(|(_, p)| p.extra_macs <= limit).enumerate() {
        // Sorted by estimate: once a placed plan is below the next estimate, nothing better follows.
        if best.as_ref().is_some_and(|b| b.peak_bytes <= point.estimated_bytes) || tried > MOST_PLACED {
            break;
        }
        let plan = plan(*candidate);
        if best.as_ref().is_none_or(|b| plan.peak_bytes < b.peak_bytes) {
            best = Some(plan);
        }
    }
    // Estimates favour grids; the layers and the most promising rows are placed in any case.
    let whole = points.iter().filter(|(_, p)| p.patches.is_none());
    let rows = points.iter().filter(|(_, p)| p.patches.is_some_and(|p| p.streaming)).take(2 * MOST_PLACED);
    for (candidate, _) in whole.chain(rows) {
        let plan = plan(*candidate);
        if best.as_ref().is_none_or(|b| plan.peak_bytes < b.peak_bytes) {
            best = Some(plan);
        }
    }
    let best = best
        .ok_or_else(|| Error::Plan { network: network.name.clone(), why: "no operator of it can be split".into() })?;
    Ok((best, front(&points)))
}

fn front(points: &[(Option<Candidate>, Point)]) -> Vec<Point> {
    let mut sorted: Vec<Point> = points.iter().map(|(_, p)| *p).collect();
    sorted.sort_by_key(|p| (p.estimated_bytes, p.extra_macs));
    let mut front: Vec<Point> = Vec::new();
    for point in sorted {
        if front.last().is_none_or(|last| point.extra_macs < last.extra_macs) {
            front.push(point);
        }
    }
    front
}

/// Bytes that some step must hold, if outputs overlap their operands as far as sizes allow: never more than a placed plan.
fn estimate(program: &Program, schedule: &Schedule) -> usize {
    let live = live_bytes(schedule);
    let held = schedule.steps.iter().enumerate().map(|(at, step)| {
        let output = &schedule.pieces[step.writes[0]];
        let op = &program.ops[step.op];
        let dies = |&&p: &&usize| {
            let piece = &schedule.pieces[p];
            piece.last == at && piece.ring == piece.rect.height()
        };
        let whole = output.rect == step.out && output.first == at && output.ring == output.rect.height();
        let saved = match op.kind {
            Kind::Whole => 0,
            _ if !whole => 0,
            _ => step.reads.iter().filter(dies).map(|&p| schedule.pieces[p].bytes.min(output.bytes)).max().unwrap_or(0),
        };
        live[at] - saved
    });
    held.max().unwrap_or(0)
}
