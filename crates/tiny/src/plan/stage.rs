//! How operators become steps over pieces: whole tensors, patches, or rows in rings.
//!
//! Source: MCUNetV2 (NeurIPS 2021), section 3.1, for patches; the geometry is exact (every tensor's rectangle is what the
//! patch needs, clipped; what was cut off is real padding), so patches are bit-equal to layers.

use super::program::{Buffer, Kind, Program, Rect};

/// A rectangle of a buffer, stored in the arena from its first step to its last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub buffer: usize,
    pub rect: Rect,
    /// Rows kept at once; row `y` lies at `y mod ring`. The height of `rect` where all are kept.
    pub ring: usize,
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

/// Computes a rectangle of one operator's output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub op: usize,
    pub out: Rect,
    /// Pieces read, one for each operand.
    pub reads: Vec<usize>,
    /// Pieces written.
    pub writes: Vec<usize>,
}

/// Steps in order, over pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    pub pieces: Vec<Piece>,
    pub steps: Vec<Step>,
    /// Multiply-adds of all steps.
    pub macs: u64,
    /// The first step after the parts.
    pub cut: usize,
}

/// Where a network is split: the first `ops` operators run in parts, the rest whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// How many operators of the program, from the start.
    pub ops: usize,
    /// The buffer that alone crosses.
    pub buffer: usize,
}

/// How the split part runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// Patches, in rows and columns of the split buffer.
    Grid(usize, usize),
    /// Row by row, each row computed once and kept while it is needed.
    Rows,
}

/// Every legal split: one image alone crosses, and only local operators stand before it.
pub(super) fn splits(program: &Program) -> Vec<Split> {
    let ops = &program.ops;
    let local = ops.iter().take_while(|op| {
        let images = op.reads.iter().chain(&op.writes).all(|&b| program.buffers[b].local);
        op.is_local() && images && op.writes.len() == 1
    });
    let local = local.count();
    let mut splits = Vec::new();
    for count in 1..=local {
        let buffer = ops[count - 1].writes[0];
        let written: Vec<usize> = ops[..count].iter().map(|op| op.writes[0]).collect();
        let needed_later =
            |b: &usize| ops[count..].iter().any(|op| op.reads.contains(b)) || program.outputs.contains(b);
        let crossing: Vec<usize> = written.iter().chain(&program.inputs).copied().filter(needed_later).collect();
        // An operand that is one pixel for all would have to be whole before the first patch ends.
        let spatial = ops[..count].iter().all(|op| match &op.kind {
            Kind::Elementwise { spatial } => spatial.iter().all(|&s| s),
            _ => true,
        });
        if spatial && crossing == [buffer] {
            splits.push(Split { ops: count, buffer });
        }
    }
    splits
}

/// The whole network, operator by operator.
pub(super) fn layers(program: &Program) -> Schedule {
    let mut schedule = Schedule::default();
    let mut whole = Whole::new(program);
    whole.run(&mut schedule, 0);
    whole.finish(&mut schedule);
    schedule
}

/// The first operators in parts, the rest whole. `streamed`: the caller feeds what each part needs, so the input is never
/// whole.
pub(super) fn parts(program: &Program, split: Split, parts: Parts, streamed: bool) -> Schedule {
    let mut schedule = Schedule::default();
    let mut whole = Whole::new(program);
    let output = whole.piece(&mut schedule, split.buffer, 0);
    if !streamed {
        for &input in &program.inputs {
            whole.piece(&mut schedule, input, 0);
        }
    }
    match parts {
        Parts::Grid(rows, columns) => {
            let buffer = &program.buffers[split.buffer];
            for i in 0..rows {
                for j in 0..columns {
                    let part = |n: usize, i: usize, of: usize| [i * n / of, (i + 1) * n / of];
                    let out = Rect { rows: part(buffer.height, i, rows), columns: part(buffer.width, j, columns) };
                    if out.pixels() > 0 {
                        patch(program, split, out, output, &mut whole, &mut schedule);
                    }
                }
            }
        }
        Parts::Rows => rings(program, split, output, &mut whole, &mut schedule),
    }
    schedule.cut = schedule.steps.len();
    whole.run(&mut schedule, split.ops);
    whole.finish(&mut schedule);
    schedule
}

/// Pieces that hold whole buffers.
struct Whole<'p> {
    program: &'p Program,
    pieces: Vec<Option<usize>>,
}

impl<'p> Whole<'p> {
    fn new(program: &'p Program) -> Self {
        Self { program, pieces: vec![None; program.buffers.len()] }
    }

    /// The whole buffer `b`, needed from step `at` on.
    fn piece(&mut self, schedule: &mut Schedule, b: usize, at: usize) -> usize {
        if let Some(piece) = self.pieces[b] {
            return piece;
        }
        let rect = self.program.buffers[b].whole();
        let piece = add(schedule, &self.program.buffers[b], b, rect, rect.height(), at);
        self.pieces[b] = Some(piece);
        piece
    }

    /// Every operator from `from` on, whole.
    fn run(&mut self, schedule: &mut Schedule, from: usize) {
        let program = self.program;
        if from == 0 {
            for &input in &program.inputs {
                self.piece(schedule, input, 0);
            }
        }
        for (op, operator) in program.ops.iter().enumerate().skip(from) {
            let at = schedule.steps.len();
            let reads: Vec<usize> = operator.reads.iter().map(|&b| self.piece(schedule, b, at)).collect();
            let writes: Vec<usize> = operator.writes.iter().map(|&b| self.piece(schedule, b, at)).collect();
            for &p in reads.iter().chain(&writes) {
                schedule.pieces[p].last = schedule.pieces[p].last.max(at);
            }
            let out = program.buffers[operator.writes[0]].whole();
            schedule.steps.push(Step { op, out, reads, writes });
            schedule.macs += operator.macs;
        }
    }

    /// Outputs live to the end, variables for ever.
    fn finish(&mut self, schedule: &mut Schedule) {
        let end = schedule.steps.len().saturating_sub(1);
        for (b, buffer) in self.program.buffers.iter().enumerate() {
            let Some(p) = self.pieces[b] else { continue };
            if buffer.variable.is_some() {
                schedule.pieces[p].first = 0;
            }
            if buffer.variable.is_some() || self.program.outputs.contains(&b) {
                schedule.pieces[p].last = end;
            }
        }
    }
}

fn add(schedule: &mut Schedule, buffer: &Buffer, b: usize, rect: Rect, ring: usize, at: usize) -> usize {
    let bytes = ring * rect.width() * buffer.pixel;
    schedule.pieces.push(Piece { buffer: b, rect, ring, bytes, first: at, last: at });
    schedule.pieces.len() - 1
}

/// What each buffer must hold for the part `out` of the split buffer: `None` where nothing is needed.
fn needed(program: &Program, split: Split, out: Rect) -> Vec<Option<Rect>> {
    let mut need: Vec<Option<Rect>> = vec![None; program.buffers.len()];
    need[split.buffer] = Some(out);
    for op in program.ops[..split.ops].iter().rev() {
        let Some(rect) = need[op.writes[0]] else { continue };
        for (i, &b) in op.reads.iter().enumerate() {
            let part = op.needs(i, &program.buffers[b], rect);
            need[b] = Some(need[b].map_or(part, |known| known.hull(part)));
        }
    }
    need
}

/// One patch: every operator computes the rectangle that the patch needs.
fn patch(program: &Program, split: Split, out: Rect, output: usize, whole: &mut Whole, schedule: &mut Schedule) {
    let need = needed(program, split, out);
    let start = schedule.steps.len();
    let mut held = whole.pieces.clone();
    let mut hold = |schedule: &mut Schedule, b: usize, at: usize| {
        *held[b].get_or_insert_with(|| {
            let rect = need[b].expect("what is read is needed");
            add(schedule, &program.buffers[b], b, rect, rect.height(), at)
        })
    };
    for (op, operator) in program.ops[..split.ops].iter().enumerate() {
        let Some(rect) = need[operator.writes[0]] else { continue };
        let at = schedule.steps.len();
        // The crop of the input is there when its patch begins.
        let reads: Vec<usize> = operator
            .reads
            .iter()
            .map(|&b| hold(schedule, b, if program.inputs.contains(&b) { start } else { at }))
            .collect();
        let write = if operator.writes[0] == split.buffer { output } else { hold(schedule, operator.writes[0], at) };
        for &p in reads.iter().chain([&write]) {
            schedule.pieces[p].last = schedule.pieces[p].last.max(at);
        }
        schedule.macs += share(operator.macs, rect, &program.buffers[operator.writes[0]]);
        schedule.steps.push(Step { op, out: rect, reads, writes: vec![write] });
    }
}

/// The multiply-adds of a part of an operator's output.
fn share(macs: u64, part: Rect, whole: &Buffer) -> u64 {
    macs / (whole.height * whole.width).max(1) as u64 * part.pixels() as u64
}

/// Row streaming: a row of the split buffer asks for the rows it needs, each computed once and kept in a ring.
fn rings(program: &Program, split: Split, output: usize, whole: &mut Whole, schedule: &mut Schedule) {
    let ops = &program.ops[..split.ops];
    let writer = |b: usize| ops.iter().position(|op| op.writes[0] == b);
    let height = program.buffers[split.buffer].height;
    // Demand: rows are computed depth first, in the order in which the split buffer's rows ask for them.
    let mut computed = vec![0usize; program.buffers.len()];
    let mut order: Vec<(usize, usize)> = Vec::new();
    for y in 0..height {
        demand(program, &writer, split.buffer, y + 1, &mut computed, &mut order);
    }
    // A row must stay until the last step that reads it; the ring holds the rows that overlap in time.
    let mut ring = vec![1usize; program.buffers.len()];
    let mut done = vec![0usize; program.buffers.len()];
    let mut first_needed: Vec<Vec<(usize, usize)>> = vec![Vec::new(); program.buffers.len()];
    for (step, &(op, y)) in order.iter().enumerate() {
        for (i, &b) in ops[op].reads.iter().enumerate() {
            let [from, _] = needs_rows(program, op, i, y);
            first_needed[b].push((step, from));
        }
    }
    // From the end: the least row that any later step needs.
    let mut least_later: Vec<Vec<(usize, usize)>> = first_needed;
    for list in &mut least_later {
        let mut least = usize::MAX;
        for entry in list.iter_mut().rev() {
            least = least.min(entry.1);
            entry.1 = least;
        }
    }
    for (step, &(op, y)) in order.iter().enumerate() {
        let b = ops[op].writes[0];
        done[b] = y + 1;
        if let Some(&(_, least)) = least_later[b].iter().find(|(at, _)| *at > step) {
            ring[b] = ring[b].max(done[b].saturating_sub(least));
        }
    }
    for &b in &program.inputs {
        for &(step, least) in &least_later[b] {
            let (op, y) = order[step];
            for (i, _) in ops[op].reads.iter().enumerate().filter(|(_, r)| **r == b) {
                let [_, end] = needs_rows(program, op, i, y);
                ring[b] = ring[b].max(end - least);
            }
        }
    }
    let mut held = whole.pieces.clone();
    for (op, y) in order {
        let operator = &ops[op];
        let at = schedule.steps.len();
        let written = operator.writes[0];
        let buffer = &program.buffers[written];
        let out = Rect { rows: [y, y + 1], columns: [0, buffer.width] };
        for &b in &operator.reads {
            if held[b].is_none() {
                let buffer = &program.buffers[b];
                held[b] = Some(add(schedule, buffer, b, buffer.whole(), ring[b].min(buffer.height), at));
            }
        }
        // A row of which no other is kept beside it is a piece of its own: it lives from its writer to its reader, and
        // rows of different tensors take turns in the same bytes.
        if written == split.buffer {
            held[written] = Some(output);
        } else if ring[written] == 1 {
            held[written] = Some(add(schedule, buffer, written, out, 1, at));
        } else if held[written].is_none() {
            held[written] = Some(add(schedule, buffer, written, buffer.whole(), ring[written].min(buffer.height), at));
        }
        let piece = |b: usize| held[b].expect("what is read was written or fed");
        let reads: Vec<usize> = operator.reads.iter().map(|&b| piece(b)).collect();
        let write = piece(written);
        for &p in reads.iter().chain([&write]) {
            schedule.pieces[p].last = schedule.pieces[p].last.max(at);
        }
        schedule.macs += share(operator.macs, out, buffer);
        schedule.steps.push(Step { op, out, reads, writes: vec![write] });
    }
}

/// Rows of operand `i` that row `y` of an operator's output needs.
fn needs_rows(program: &Program, op: usize, i: usize, y: usize) -> [usize; 2] {
    let operator = &program.ops[op];
    let width = program.buffers[operator.writes[0]].width;
    let out = Rect { rows: [y, y + 1], columns: [0, width] };
    operator.needs(i, &program.buffers[operator.reads[i]], out).rows
}

/// Computes the rows of buffer `b` up to `end`, and first what they need.
fn demand(
    program: &Program,
    writer: &dyn Fn(usize) -> Option<usize>,
    b: usize,
    end: usize,
    computed: &mut [usize],
    order: &mut Vec<(usize, usize)>,
) {
    let Some(op) = writer(b) else { return };
    while computed[b] < end {
        let y = computed[b];
        for (i, &read) in program.ops[op].reads.iter().enumerate() {
            let [_, needed] = needs_rows(program, op, i, y);
            demand(program, writer, read, needed, computed, order);
        }
        order.push((op, y));
        computed[b] = y + 1;
    }
}
