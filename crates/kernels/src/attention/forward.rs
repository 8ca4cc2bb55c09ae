//! The tiled softmax: O = softmax(scale · Q Kᵀ) V over the keys that the mask leaves, 128 keys at a time.
//!
//! Rows of queries keep a reference r, a sum ℓ = Σ 2^(s - r) and O = Σ 2^(s - r) v while their keys go by (Milakov,
//! Gimelshein, *Online normalizer calculation for softmax*, 2018; Dao, *FlashAttention-2*, ICLR 2024). Scores are in base 2:
//! log₂ e is part of the scale. r need not be the maximum, since any r gives the same quotient O / ℓ: it moves, and O and ℓ
//! are rescaled, only when a score exceeds it by more than 2^8, so that after the first tiles almost nothing is.
//!
//! Keys of whole heads are packed once, those of clusters once for each group of queries. One thread computes a row from
//! first key to last, in an order that the mask alone decides, so the result does not depend on their number.

use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::mask::{Groups, Mask};
use super::memory::{Lines, Shared, in_order, take, whole_lines};
use super::pack::{self, Machine, Rows, row_at};
use super::product::{KEYS, PITCH, block, by_rows};
use super::shape::{Attention, Error, Layout, Of, Report, Tensor, TensorMut};
use super::step::{LOWEST, Panel, Step};
use super::storage::Storage;
use crate::training::tile::VECTORS;

/// Queries that share a pass over their keys. K and V of a tile stay in L1 and L2, and so do Q and O of so many queries.
const QUERIES: usize = 128;
/// The same where keys are gathered for them.
const GATHERED_FOR: usize = 512;

/// Queries that are computed together.
struct Item {
    /// Over all sequences.
    head: usize,
    /// Of queries, in the head's list.
    group: usize,
    positions: Range<usize>,
    /// Pairs.
    cost: usize,
}

impl Attention {
    /// The output `[batch, heads, queries, value_width]`, and if wished, for each row, `[batch, heads, queries]`, the natural
    /// logarithm L of the sum of its scores' exponentials. Inputs may be stored in halves; the output is f32.
    ///
    /// # Errors
    /// [`Error`] names a size, slice or mask that does not fit, or the first input that is not finite.
    pub fn forward<T: Storage>(
        &self,
        [q, k, v]: [Tensor<'_, T>; 3],
        mask: &Mask<'_>,
        out: TensorMut<'_>,
        logarithms: Option<&mut [f32]>,
    ) -> Result<Report, Error> {
        self.forward_on(Arch::new(), [q, k, v], mask, out, logarithms)
    }

    pub(super) fn forward_on<T: Storage>(
        &self,
        arch: Arch,
        [q, k, v]: [Tensor<'_, T>; 3],
        mask: &Mask<'_>,
        out: TensorMut<'_>,
        logarithms: Option<&mut [f32]>,
    ) -> Result<Report, Error> {
        self.check(mask)?;
        self.check_input("q", Of::Query, &q)?;
        self.check_input("k", Of::Key, &k)?;
        self.check_input("v", Of::Value, &v)?;
        self.check_output("out", Of::Output, &out)?;
        if let Some(logarithms) = &logarithms {
            self.check_logarithms(logarithms.len())?;
        }
        let machine = Machine::of(arch);
        let mut own = Vec::new();
        let logarithms = logarithms.unwrap_or_else(|| {
            own = vec![0.0; self.rows()];
            &mut own
        });
        let rows = Layout { batch: self.heads * self.queries, head: self.queries, row: 1 };
        let forward = Forward {
            shape: self,
            mask,
            machine,
            q,
            k,
            v,
            packed: Lines::new(0),
            out: Shared::new(out.data, out.layout),
            logarithms: Shared::new(logarithms, rows),
        };
        Ok(forward.run(arch))
    }
}

struct Forward<'a, T> {
    shape: &'a Attention,
    mask: &'a Mask<'a>,
    machine: Machine,
    q: Tensor<'a, T>,
    k: Tensor<'a, T>,
    v: Tensor<'a, T>,
    /// Keys and values of all heads, panel by panel, unless they are gathered.
    packed: Lines,
    out: Shared<'a>,
    logarithms: Shared<'a>,
}

impl<'a, T: Storage> Forward<'a, T> {
    fn run(mut self, arch: Arch) -> Report {
        let gathers = matches!(self.mask, Mask::Clusters(_));
        let mut unseen = 0;
        if gathers {
            unseen = self.leave_out();
        } else {
            self.pack();
        }
        let items = self.items();
        let done = in_order(
            items.len(),
            || Lines::new(0),
            |memory, index| arch.dispatch(Tile { forward: &self, item: &items[index], memory }),
        );
        done.and(Report { empty: unseen, overflowed: 0 })
    }

    fn list(&self, head: usize) -> Groups<'a> {
        self.mask.groups(self.shape, head % self.mask.lists())
    }

    /// Queries in groups of a size that is worth a pass over their keys, those with most pairs first: the last to be done is
    /// then a short one.
    fn items(&self) -> Vec<Item> {
        let most = if matches!(self.mask, Mask::Clusters(_)) { GATHERED_FOR } else { QUERIES };
        let mut items = Vec::new();
        for head in 0..self.shape.batch * self.shape.heads {
            let list = self.list(head);
            for group in 0..list.query_groups() {
                let all = list.queries(group);
                let keys: usize = list.row(group).iter().map(|&column| list.keys(column as usize).len()).sum();
                for index in 0..all.len().div_ceil(most) {
                    let (first, count) = block(all.len(), index, most);
                    let positions = all.start + first..all.start + first + count;
                    let seen = if self.shape.causal { keys.min(self.shape.limit(positions.end - 1)) } else { keys };
                    items.push(Item { head, group, positions, cost: count * seen });
                }
            }
        }
        items.sort_by_key(|item| std::cmp::Reverse(item.cost));
        items
    }

    /// Queries of no group: 0 and -∞. Gives their number.
    fn leave_out(&self) -> usize {
        let mut count = 0;
        for head in 0..self.shape.batch * self.shape.heads {
            let order = self.list(head).query_order().unwrap_or(&[]);
            if order.len() == self.shape.queries {
                continue;
            }
            let mut left = vec![true; self.shape.queries];
            order.iter().for_each(|&query| left[query as usize] = false);
            for query in (0..self.shape.queries).filter(|&query| left[query]) {
                // SAFETY: there are no other threads yet.
                unsafe { self.write(head, query).0.fill(0.0) };
                // SAFETY: as above.
                unsafe { *self.write(head, query).1 = f32::NEG_INFINITY };
                count += 1;
            }
        }
        count
    }

    /// # Safety
    /// No one else has this row at the same time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn write(&self, head: usize, query: usize) -> (&mut [f32], &mut f32) {
        let place = self.shape.place(head);
        // SAFETY: as the caller promises.
        unsafe { (self.out.row(place, query, self.shape.value_width), &mut self.logarithms.row(place, query, 1)[0]) }
    }

    fn panel_len(&self) -> usize {
        self.machine.panel() * (self.shape.width + self.machine.padded(self.shape.value_width))
    }

    /// Numbers of the rows of a panel, or of a block.
    fn stage_len(&self) -> usize {
        self.machine.panel().max(self.machine.rows) * self.shape.width
    }

    fn kv(&self, place: (usize, usize), order: Option<&'a [u32]>) -> [Rows<'a, T>; 2] {
        let keys = Rows { tensor: self.k, place, width: self.shape.width, order };
        [keys, Rows { tensor: self.v, width: self.shape.value_width, ..keys }]
    }

    /// Packs keys and values of all heads.
    fn pack(&mut self) {
        let (panel, kv_heads) = (self.machine.panel(), self.shape.kv_heads);
        let (panels, len) = (self.shape.keys.div_ceil(panel), self.panel_len());
        let mut packed = Lines::new(self.shape.batch * kv_heads * panels * len);
        packed.par_chunks_mut(len).enumerate().for_each_init(
            || vec![0.0; self.stage_len()],
            |stage, (index, to)| {
                let (head, first) = (index / panels, index % panels * panel);
                let rows = self.kv((head / kv_heads, head % kv_heads), None);
                self.pack_panel(rows, first..self.shape.keys.min(first + panel), stage, to);
            },
        );
        self.packed = packed;
    }

    /// Keys as columns, of one vector if that holds them; then values as groups.
    fn pack_panel(&self, [k, v]: [Rows<'_, T>; 2], positions: Range<usize>, stage: &mut [f32], to: &mut [f32]) {
        let (lanes, panel) = (self.machine.lanes, self.machine.panel());
        let (keys, values) = to.split_at_mut(panel * self.shape.width);
        let padded = if positions.len() <= lanes { lanes } else { panel };
        pack::columns(&k, positions.clone(), padded, stage, keys);
        pack::groups(&v, positions, panel, lanes, values);
    }
}

/// One item on one thread.
struct Tile<'a, T> {
    forward: &'a Forward<'a, T>,
    item: &'a Item,
    memory: &'a mut Lines,
}

impl<T: Storage> WithSimd for Tile<'_, T> {
    type Output = Report;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Report {
        let Self { forward, item, memory } = self;
        let (shape, machine) = (forward.shape, forward.machine);
        let (count, panel) = (item.positions.len(), machine.panel());
        let lanes = S::F32_LANES;
        let padded = machine.padded(shape.value_width);
        let panels = KEYS / panel;
        let gathered = forward.panel_len() * panels;
        let sizes =
            [count * shape.width, count, count * lanes, count * padded, gathered, forward.stage_len(), 12 * PITCH];
        memory.hold(sizes.map(whole_lines).iter().sum());
        let mut memory = &mut memory[..];
        let [q, reference, sums, out, gathered, stage, scores] = sizes.map(|size| take(&mut memory, size));
        reference.fill(LOWEST);
        sums.fill(0.0);
        out.fill(0.0);

        let list = forward.list(item.head);
        let place = shape.place(item.head);
        let queries = Rows { tensor: forward.q, place, width: shape.width, order: list.query_order() };
        pack::blocks(&queries, item.positions.clone(), shape.scale * LOG2_E, machine.rows, stage, q);
        let limits: Vec<usize> =
            if shape.causal { item.positions.clone().map(|query| shape.limit(query)).collect() } else { Vec::new() };
        let limit = limits.last().copied().unwrap_or(shape.keys);

        let kv_place = shape.kv_place(item.head);
        let rows = forward.kv(kv_place, list.key_order());
        let base = (kv_place.0 * shape.kv_heads + kv_place.1) * shape.keys.div_ceil(panel) * forward.panel_len();
        let (scores, _) = scores.as_chunks_mut::<PITCH>();
        let mut state = State { q, reference, sums, out };
        let mut tile = [Panel::default(); KEYS / VECTORS];
        let mut held = 0;
        let mut attend = |data: &[f32], tile: &[Panel]| {
            for index in 0..count.div_ceil(machine.rows) {
                let (first, height) = block(count, index, machine.rows);
                let limits = limits.get(first..first + height).unwrap_or(&[]);
                if limits.last().is_some_and(|&limit| limit <= tile[0].first) {
                    continue;
                }
                by_rows!(S, height, {
                    let (q, reference, sums, out) = state.block::<M>(first, shape.width, lanes, padded);
                    let scores = scores.first_chunk_mut().expect("12 rows");
                    let width = shape.width;
                    simd.vectorize(Step::<M> { width, padded, q, data, tile, limits, scores, reference, sums, out });
                });
            }
        };
        if list.key_order().is_some() {
            let mut columns = list.row(item.group).iter();
            let (mut run, mut positions) = (0..0, [0; KEYS]);
            loop {
                let filled = next_keys(&list, &mut columns, &mut run, &mut positions);
                if filled == 0 {
                    break;
                }
                let order = &positions[..filled];
                let rows = rows.map(|rows| Rows { order: Some(order), ..rows });
                held = 0;
                for first in (0..filled).step_by(panel) {
                    let (start, count) = (held * forward.panel_len(), panel.min(filled - first));
                    let to = &mut gathered[start..][..forward.panel_len()];
                    forward.pack_panel(rows, first..first + count, stage, to);
                    tile[held] = Panel { start, first: 0, count };
                    held += 1;
                }
                attend(gathered, &tile[..held]);
            }
        } else {
            for &column in list.row(item.group) {
                let keys = list.keys(column as usize);
                for first in (keys.start..keys.end.min(limit)).step_by(panel) {
                    let start = base + first / panel * forward.panel_len();
                    tile[held] = Panel { start, first, count: panel.min(keys.end - first) };
                    held += 1;
                    if held == panels {
                        attend(&forward.packed, &tile[..held]);
                        held = 0;
                    }
                }
            }
            if held > 0 {
                attend(&forward.packed, &tile[..held]);
            }
        }
        state.finish(simd, forward, item, &list)
    }
}

/// The next keys of some groups, in order: those of several groups, however short, side by side in one tile. `run` is what is
/// left of the group before. Gives their number, 0 at the end.
fn next_keys(
    list: &Groups<'_>,
    columns: &mut std::slice::Iter<'_, u32>,
    run: &mut Range<usize>,
    keys: &mut [u32; KEYS],
) -> usize {
    let mut filled = 0;
    while filled < KEYS {
        if run.start == run.end {
            let Some(&column) = columns.next() else { break };
            *run = list.keys(column as usize);
        }
        let some = run.len().min(KEYS - filled);
        for (to, position) in keys[filled..][..some].iter_mut().zip(run.by_ref()) {
            *to = row_at(list.key_order(), position) as u32;
        }
        filled += some;
    }
    filled
}

/// What the rows of an item have come to, block by block.
struct State<'a> {
    q: &'a mut [f32],
    reference: &'a mut [f32],
    /// A vector for each row, whose lanes are not yet added up.
    sums: &'a mut [f32],
    /// `[block][group][row of the block][vectors of the group]`.
    out: &'a mut [f32],
}

type Block<'a, const M: usize> = (&'a [f32], &'a mut [f32; M], &'a mut [f32], &'a mut [f32]);

impl State<'_> {
    #[inline(always)]
    fn block<const M: usize>(&mut self, first: usize, width: usize, lanes: usize, padded: usize) -> Block<'_, M> {
        (
            &self.q[first * width..][..M * width],
            self.reference[first..].first_chunk_mut().expect("a whole block"),
            &mut self.sums[first * lanes..][..M * lanes],
            &mut self.out[first * padded..][..M * padded],
        )
    }

    /// O = O / ℓ and L = ln 2 · r + ln ℓ, row by row.
    #[inline(always)]
    fn finish<S: Simd, T: Storage>(self, simd: S, forward: &Forward<'_, T>, item: &Item, list: &Groups<'_>) -> Report {
        let (lanes, width) = (S::F32_LANES, forward.shape.value_width);
        let padded = forward.machine.padded(width);
        let (count, most) = (item.positions.len(), forward.machine.rows);
        let mut report = Report::default();
        let (sums, _) = S::as_simd_f32s(&*self.sums);
        for index in 0..count.div_ceil(most) {
            let (first, height) = block(count, index, most);
            let out = &self.out[first * padded..][..height * padded];
            for i in 0..height {
                let query = row_at(list.query_order(), item.positions.start + first + i);
                // SAFETY: a query is in one item alone.
                let (row, logarithm) = unsafe { forward.write(item.head, query) };
                let total = simd.reduce_sum_f32s(sums[first + i]);
                if total == 0.0 || !total.is_finite() {
                    row.fill(0.0);
                    report.empty += usize::from(total == 0.0);
                    report.overflowed += usize::from(total != 0.0);
                    *logarithm = if total == 0.0 { f32::NEG_INFINITY } else { f32::INFINITY };
                    continue;
                }
                *logarithm = self.reference[first + i].mul_add(LN_2, total.ln());
                let share = 1.0 / total;
                for (group, row) in row.chunks_mut(VECTORS * lanes).enumerate() {
                    let vectors = row.len().div_ceil(lanes);
                    let from = &out[group * VECTORS * lanes * height + i * vectors * lanes..];
                    row.iter_mut().zip(from).for_each(|(to, from)| *to = from * share);
                }
            }
        }
        report
    }
}
