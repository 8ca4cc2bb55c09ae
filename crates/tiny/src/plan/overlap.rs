//! How far an output may reach into an operand that dies with it.
//!
//! An operator that goes through its output pixel by pixel needs less and less of its operand. The output may therefore
//! start before the operand and overlap it, so long as no pixel is written over an element that a later one reads
//! (the distance is computed exactly, by going through the pixels). Beyond both MCUNet papers, whose in-place depthwise
//! convolution is the special case of one channel.

use std::cmp::Ordering;

use super::program::{Kind, Op, Program, Rect};
use super::stage::{Piece, Schedule, Step};

/// In which order a step goes through the pixels of its output; where it meets an operand element by element, through the
/// elements too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the first pixel.
    #[default]
    Forward,
    /// From the last pixel.
    Backward,
}

impl Direction {
    /// The other one.
    pub fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

/// What a step allows between its output and one of its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overlap {
    pub input: usize,
    pub output: usize,
    /// Forward: `output + distance ≤ input`. Backward: `output ≥ input + distance`. In bytes of the arena.
    pub distance: i64,
}

/// The better direction of a step, and its overlaps; empty where none is possible. Of equals, the `preferred` one.
pub(super) fn overlaps(
    program: &Program,
    schedule: &Schedule,
    at: usize,
    preferred: Direction,
) -> (Direction, Vec<Overlap>) {
    let step = &schedule.steps[at];
    let op = &program.ops[step.op];
    let &[output] = step.writes.as_slice() else { return (Direction::Forward, Vec::new()) };
    let out = &schedule.pieces[output];
    // A ring is written over and over, and a piece that other steps write too is never out of use.
    let alone = |p: &Piece| p.ring == p.rect.height();
    if !op.is_local() || out.rect != step.out || out.first != at || !alone(out) {
        return (Direction::Forward, Vec::new());
    }
    let candidates: Vec<(usize, usize)> = step
        .reads
        .iter()
        .copied()
        .enumerate()
        .filter(|&(i, p)| {
            let piece = &schedule.pieces[p];
            let spatial = !matches!(&op.kind, Kind::Elementwise { spatial } if !spatial[i]);
            let once = step.reads.iter().filter(|&&other| other == p).count() == 1;
            piece.last == at && alone(piece) && spatial && once && program.buffers[piece.buffer].variable.is_none()
        })
        .collect();
    let along = |direction: Direction| -> Vec<Overlap> {
        let distance = |(i, input): (usize, usize)| Overlap {
            input,
            output,
            distance: distance(program, op, step, i, &schedule.pieces[input], out, direction),
        };
        candidates.iter().map(|&c| distance(c)).collect()
    };
    let (forward, backward) = (along(Direction::Forward), along(Direction::Backward));
    // Bytes that the pairs would take: the direction that takes less wins.
    let bytes = |overlaps: &[Overlap], direction: Direction| -> i64 {
        let union = |o: &Overlap| {
            let (input, output) = (schedule.pieces[o.input].bytes as i64, out.bytes as i64);
            let shift = o.distance.max(0);
            match direction {
                Direction::Forward => output.max(shift + input),
                Direction::Backward => input.max(shift + output),
            }
        };
        overlaps.iter().map(union).min().unwrap_or(i64::MAX)
    };
    let (f, b) = (bytes(&forward, Direction::Forward), bytes(&backward, Direction::Backward));
    let direction = match f.cmp(&b) {
        Ordering::Less => Direction::Forward,
        Ordering::Equal => preferred,
        Ordering::Greater => Direction::Backward,
    };
    (direction, if direction == Direction::Forward { forward } else { backward })
}

/// The least distance between output and operand `i`, over all pixels.
fn distance(
    program: &Program,
    op: &Op,
    step: &Step,
    i: usize,
    input: &Piece,
    out: &Piece,
    direction: Direction,
) -> i64 {
    let from = &program.buffers[input.buffer];
    let to = &program.buffers[out.buffer];
    let address = |piece: &Piece, pixel: usize, y: usize, x: usize| {
        (((y - piece.rect.rows[0]) * piece.rect.width() + x - piece.rect.columns[0]) * pixel) as i64
    };
    let [top, bottom] = step.out.rows;
    let [left, right] = step.out.columns;
    let mut distance = i64::MIN;
    // What the pixels that come later need of the input: its first byte (forward), or the end of its last (backward).
    let mut later: Option<i64> = None;
    let mut visit = |y: usize, x: usize| {
        let need = op.needs(i, from, Rect { rows: [y, y + 1], columns: [x, x + 1] });
        match direction {
            // Pixels are visited from the last, so that `later` is known.
            Direction::Forward => {
                if let Some(later) = later {
                    distance = distance.max(address(out, to.pixel, y, x) + to.pixel as i64 - later);
                }
                let first = address(input, from.pixel, need.rows[0], need.columns[0]);
                later = Some(later.map_or(first, |l| l.min(first)));
            }
            Direction::Backward => {
                if let Some(later) = later {
                    distance = distance.max(later - address(out, to.pixel, y, x));
                }
                let end = address(input, from.pixel, need.rows[1] - 1, need.columns[1] - 1) + from.pixel as i64;
                later = Some(later.map_or(end, |l| l.max(end)));
            }
        }
    };
    match direction {
        Direction::Forward => (top..bottom).rev().for_each(|y| (left..right).rev().for_each(|x| visit(y, x))),
        Direction::Backward => (top..bottom).for_each(|y| (left..right).for_each(|x| visit(y, x))),
    }
    // The window's pixel is computed before it is written; what is met element by element must not be overtaken within
    // a pixel either.
    let element_wise = i > 0 || matches!(op.kind, Kind::Elementwise { .. });
    distance.max(if element_wise { 0 } else { -(input.bytes as i64) })
}
