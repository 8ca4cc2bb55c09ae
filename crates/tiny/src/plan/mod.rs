//! Memory plans: where every tensor lies, when, and in which order and parts the network runs.
//!
//! Sources: MCUNet (NeurIPS 2020), section 3.2, for the scheduling of memory; MCUNetV2 (NeurIPS 2021), section 3.1, for
//! patches. Beyond them: ADD done pixel by pixel with the convolution before it, outputs that overlap a dying operand as
//! far as is exact, and rows in rings instead of patches, which computes nothing twice.
//!
//! A plan describes direct kernels, which compute a pixel from its window with no buffer of their own; where an output
//! overlaps the operand of its own window, one pixel of scratch holds it until it is whole. [`arena`] executes a plan and
//! traps any read of a byte that the plan has not made valid.
//!
//! | file | idea |
//! | --- | --- |
//! | `program.rs` | what firmware would call: fused, and known to be local |
//! | `stage.rs` | steps over pieces: layers, patches, rows |
//! | `order.rs` | the order of operators |
//! | `overlap.rs` | how far an output may reach into a dying operand |
//! | `placement.rs` | offsets |
//! | `search.rs` | which split, and which parts |
//! | [`arena`] | a plan executed, and watched |
//! | [`picture`] | a plan drawn |

pub mod arena;
pub(crate) mod bound;
pub mod fast;
mod order;
mod overlap;
pub mod picture;
mod placement;
mod program;
mod search;
mod stage;

use std::path::Path;

use serde::{Deserialize, Serialize};
use tersor_network::{Graph, Network, TensorId, cost, liveness};

pub use overlap::Direction;
pub use search::{Point, Search, layers, parts, search};

use crate::error::Error;
use placement::{Allowance, Item, Problem};
use program::{Kind, Program};
use stage::Schedule;

/// Who holds the input image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputMode {
    /// The arena, whole.
    #[default]
    Resident,
    /// The caller, who feeds the rows or crops that are asked for.
    Streamed,
}

/// How the first operators run in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patches {
    /// Operator of the file whose output is put together from the parts.
    pub layer: usize,
    /// Parts along the height; with `streaming`, as many as it has rows.
    pub rows: usize,
    /// Parts along the width.
    pub columns: usize,
    /// Row by row through rings: nothing is computed twice.
    pub streaming: bool,
}

/// Where everything lies, and when. Bytes; positions are those of `order`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The network's file.
    pub file: String,
    /// Who holds the input.
    pub input: InputMode,
    /// How the first operators run in parts, if they do.
    pub patches: Option<Patches>,
    /// Offsets are multiples of this.
    pub align: usize,
    /// Bytes of the arena, scratch included.
    pub peak_bytes: usize,
    /// The least arena of the layers in place (see [`crate::inspect`]), which overlaps and parts may fall below.
    pub lower_bound_bytes: u64,
    /// Weights, biases and requantisation data.
    pub flash_bytes: u64,
    /// Multiply-adds of the network.
    pub macs: u64,
    /// Multiply-adds that patches do again.
    pub extra_macs: u64,
    /// What the fast engine needs outside the arena for outputs that overlap their operands; firmware does not.
    pub host_scratch_bytes: usize,
    /// Every stored piece of a tensor; fused tensors are not stored.
    pub tensors: Vec<Piece>,
    /// Buffers of single steps.
    pub scratch: Vec<Scratch>,
    /// Operators of the file, in the order in which they run; patches run some several times.
    pub order: Vec<usize>,
    /// What a run does, step by step.
    pub steps: Vec<Step>,
}

/// A piece of a tensor, and its place in the arena.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The tensor.
    pub index: TensorId,
    /// Its name in the file.
    pub name: String,
    /// Start in the arena.
    pub offset: usize,
    /// Length in the arena.
    pub bytes: usize,
    /// Position in `order` from which it is held.
    pub first: usize,
    /// Last position at which it is held.
    pub last: usize,
    /// Rows of the image that it holds, the end exclusive.
    pub rows: [usize; 2],
    /// Columns of the image that it holds, the end exclusive.
    pub columns: [usize; 2],
    /// Rows kept at once: row `y` lies at `y mod ring`.
    pub ring: usize,
}

/// One pixel that an operator computes before it writes it over its own operand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scratch {
    /// The operator of the file.
    pub op: usize,
    /// The step.
    pub step: usize,
    /// Start in the arena.
    pub offset: usize,
    /// Length in the arena.
    pub bytes: usize,
}

/// One call of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The operator of the file that names the call.
    pub op: usize,
    /// Rows of the output that it computes.
    pub rows: [usize; 2],
    /// Columns of the output that it computes.
    pub columns: [usize; 2],
    /// Pieces read, by position in `tensors`.
    pub reads: Vec<usize>,
    /// Pieces written, by position in `tensors`.
    pub writes: Vec<usize>,
    /// The order of its pixels.
    pub direction: Direction,
}

impl Plan {
    /// Reads a plan that was saved as JSON.
    ///
    /// # Errors
    /// [`Error::Plan`] if the file is no plan.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let fault = |why: String| Error::Plan { network: path.display().to_string(), why };
        let bytes = std::fs::read(path).map_err(|e| fault(e.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|e| fault(format!("is no plan: {e}")))
    }

    /// Bytes of the pieces held at each position of `order`; what overlaps counts twice, scratch not.
    pub fn live_bytes(&self) -> Vec<usize> {
        let mut live = vec![0; self.order.len()];
        for piece in &self.tensors {
            live.iter_mut().take(piece.last + 1).skip(piece.first).for_each(|b| *b += piece.bytes);
        }
        live
    }
}

/// A schedule with everything placed.
fn placed(network: &Network, program: &Program, schedule: &Schedule, how: How, tries: usize) -> Plan {
    let mut items: Vec<Item> =
        schedule.pieces.iter().map(|p| Item { bytes: p.bytes, first: p.first, last: p.last }).collect();
    let mut allowances = Vec::new();
    let mut directions = Vec::with_capacity(schedule.steps.len());
    let mut scratch = Vec::new();
    let mut bound = 0;
    let mut preferred = Direction::Forward;
    let live = live_bytes(schedule);
    for (at, step) in schedule.steps.iter().enumerate() {
        let (direction, overlaps) = overlap::overlaps(program, schedule, at, preferred);
        directions.push(direction);
        // A step that moves its output away from its operand is answered by one that moves it back; all in one direction,
        // the shifts would add up.
        if overlaps.iter().any(|o| o.distance > 0) {
            preferred = direction.reversed();
        }
        let output = &schedule.pieces[step.writes[0]];
        let windowed = matches!(program.ops[step.op].kind, Kind::Window { .. });
        let mut held = live[at];
        if let Some(most) = overlaps.iter().map(|o| shared(schedule, o, direction)).max() {
            held -= most;
            // The window's operand is the first; the operand of a fused ADD is met pixel by pixel.
            if windowed && overlaps.iter().any(|o| o.input == step.reads[0]) {
                let bytes = program.buffers[output.buffer].pixel;
                scratch.push((at, items.len()));
                items.push(Item { bytes, first: at, last: at });
                held += bytes;
            }
        }
        bound = bound.max(held);
        allowances.extend(overlaps.into_iter().map(|o| Allowance {
            input: o.input,
            output: o.output,
            distance: o.distance,
            direction,
        }));
    }
    let problem = Problem::new(items.clone(), &allowances, how.align);
    let placement = problem.solve(bound, tries, schedule.cut);
    let lies = |p: usize| placement.offsets[p]..placement.offsets[p] + schedule.pieces[p].bytes;
    let meet = |a: usize, b: usize| lies(a).start < lies(b).end && lies(b).start < lies(a).end;
    // Scratch that the offsets made needless is dropped.
    scratch.retain(|&(at, _)| meet(schedule.steps[at].reads[0], schedule.steps[at].writes[0]));

    let (order, starts) = order_of(network.main(), program, schedule);
    let span = |step: usize| [starts[step], starts.get(step + 1).copied().unwrap_or(order.len()) - 1];
    let graph = network.main();
    let tensors: Vec<Piece> = schedule
        .pieces
        .iter()
        .zip(&placement.offsets)
        .map(|(p, &offset)| {
            let index = program.buffers[p.buffer].tensor;
            Piece {
                index,
                name: graph.tensors[index].name.clone(),
                offset,
                bytes: p.bytes,
                first: if p.first == 0 { 0 } else { span(p.first)[0] },
                last: span(p.last)[1],
                rows: p.rect.rows,
                columns: p.rect.columns,
                ring: p.ring,
            }
        })
        .collect();
    let scratch: Vec<Scratch> = scratch
        .into_iter()
        .map(|(step, item)| Scratch {
            op: program.ops[schedule.steps[step].op].main,
            step,
            offset: placement.offsets[item],
            bytes: items[item].bytes,
        })
        .collect();
    let steps = schedule.steps.iter().zip(directions).map(|(step, direction)| Step {
        op: program.ops[step.op].main,
        rows: step.out.rows,
        columns: step.out.columns,
        reads: step.reads.clone(),
        writes: step.writes.clone(),
        direction,
    });
    let steps = steps.collect();
    let ends = tensors.iter().map(|t| t.offset + t.bytes).chain(scratch.iter().map(|s| s.offset + s.bytes));
    let macs: u64 = program.ops.iter().map(|op| op.macs).sum();
    let overlapping = schedule.steps.iter().filter(|step| step.reads.iter().any(|&p| meet(p, step.writes[0])));
    let pixel = |step: &stage::Step| program.buffers[schedule.pieces[step.writes[0]].buffer].pixel;
    let beside = overlapping.map(|step| step.out.pixels() * pixel(step)).max().unwrap_or(0);
    Plan {
        file: network.name.clone(),
        input: how.input,
        patches: how.patches,
        align: how.align,
        peak_bytes: ends.max().unwrap_or(0),
        lower_bound_bytes: liveness::in_place(network).bound_bytes,
        flash_bytes: graph.nodes.iter().map(|node| cost::flash_bytes(graph, node)).sum(),
        macs,
        extra_macs: schedule.macs.saturating_sub(macs),
        host_scratch_bytes: beside,
        tensors,
        scratch,
        order,
        steps,
    }
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
struct How {
    input: InputMode,
    patches: Option<Patches>,
    align: usize,
}

/// Bytes that an overlap saves.
fn shared(schedule: &Schedule, o: &overlap::Overlap, direction: Direction) -> usize {
    let (input, output) = (schedule.pieces[o.input].bytes as i64, schedule.pieces[o.output].bytes as i64);
    let shift = o.distance.max(0);
    let union = match direction {
        Direction::Forward => output.max(shift + input),
        Direction::Backward => input.max(shift + output),
    };
    (input + output - union).max(0) as usize
}

/// Bytes of pieces held during each step.
fn live_bytes(schedule: &Schedule) -> Vec<usize> {
    let mut change = vec![0i64; schedule.steps.len() + 1];
    for piece in &schedule.pieces {
        change[piece.first] += piece.bytes as i64;
        change[piece.last + 1] -= piece.bytes as i64;
    }
    let mut live = 0;
    change[..schedule.steps.len()]
        .iter()
        .map(|c| {
            live += c;
            live as usize
        })
        .collect()
}

/// The file's operators in the order of the steps, and where each step starts in it. Operators that cost nothing stand
/// where what they read is there, the rest at the end.
fn order_of(graph: &Graph, program: &Program, schedule: &Schedule) -> (Vec<usize>, Vec<usize>) {
    let mut there = vec![true; graph.tensors.len()];
    graph.nodes.iter().flat_map(|n| &n.outputs).for_each(|&t| there[t] = false);
    let mut free = program.free.clone();
    let (mut order, mut starts) = (Vec::new(), Vec::new());
    let run = |node: usize, order: &mut Vec<usize>, there: &mut Vec<bool>| {
        order.push(node);
        graph.nodes[node].outputs.iter().for_each(|&t| there[t] = true);
    };
    for step in &schedule.steps {
        let op = &program.ops[step.op];
        starts.push(order.len());
        free.retain(|&node| {
            let ready = graph.nodes[node].inputs.iter().flatten().all(|&t| there[t]);
            if ready {
                run(node, &mut order, &mut there);
            }
            !ready
        });
        op.nodes.iter().for_each(|&node| run(node, &mut order, &mut there));
    }
    order.extend(free);
    (order, starts)
}
