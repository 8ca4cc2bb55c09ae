//! One tile of keys: its ∂k and ∂v, and its part of the ∂q of all queries that see it.
//!
//! Three kinds of products, for each tile of queries: along the width (scores and ∂P), along the queries (∂v and ∂k), along
//! the keys (∂q).

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Simd, WithSimd};

use super::backward::{Backward, QUERIES, scaled};
use super::exp2::exp2;
use super::memory::{Lines, Shared, take, whole_lines};
use super::pack::{self, Rows, row_at};
use super::product::{PITCH, Row, add_transposed, add_weighted, block, by_rows, each_group, scores, store};
use crate::training::tile::VECTORS;

/// One tile of keys on one thread.
pub(super) struct KeyTile<'a> {
    pub backward: &'a Backward<'a>,
    /// Where ∂q is added up.
    pub sums: &'a Shared<'a>,
    pub head: usize,
    pub tile: usize,
    pub memory: &'a mut Lines,
}

/// Tells the others if this thread panics.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl WithSimd for KeyTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { backward, sums, head, tile, memory } = self;
        let _guard = Guard(&backward.broken);
        let (shape, machine, list) = (backward.shape, backward.machine, backward.list(head));
        let (width, value_width) = (shape.width, shape.value_width);
        let (padded, value_padded) = (machine.padded(width), machine.padded(value_width));
        let (lanes, panel) = (machine.lanes, machine.panel());
        let keys = list.keys[tile].clone();
        let (count, capacity) = (keys.len(), keys.len().next_multiple_of(panel));
        let sizes = [
            capacity * width,
            capacity * value_width,
            count * padded,
            count * padded,
            count * value_padded,
            panel * width.max(value_width),
            QUERIES * PITCH,
            QUERIES * PITCH,
        ];
        memory.hold(sizes.map(whole_lines).iter().sum());
        let mut memory = &mut memory[..];
        let [k_columns, v_columns, k_groups, dk, dv, stage, p, ds] = sizes.map(|size| take(&mut memory, size));
        let (p, ds) = (p.as_chunks_mut::<PITCH>().0, ds.as_chunks_mut::<PITCH>().0);
        dk.fill(0.0);
        dv.fill(0.0);

        let (place, order) = (shape.kv_place(head), list.groups.key_order());
        let k = Rows { tensor: backward.inputs.k, place, width, order };
        let v = Rows { tensor: backward.inputs.v, place, width: value_width, order };
        for first in (0..count).step_by(panel) {
            let some = panel.min(count - first);
            let side = if some <= lanes { lanes } else { panel };
            let positions = keys.start + first..keys.start + first + some;
            pack::columns(&k, positions.clone(), side, stage, &mut k_columns[first * width..]);
            pack::columns(&v, positions, side, stage, &mut v_columns[first * value_width..]);
        }
        pack::groups(&k, keys.clone(), count, lanes, k_groups);

        let of_head = backward.of_head(&backward.packed[head * backward.head_len()..][..backward.head_len()]);
        let [q_blocks, g_blocks, q_groups, g_groups, logarithms, along] = of_head;
        for &(query_tile, before) in &list.seen_by[tile] {
            let queries = list.queries[query_tile as usize].clone();
            let (start, rows) = (queries.start, queries.len());
            for index in 0..rows.div_ceil(machine.rows) {
                let (first, height) = block(rows, index, machine.rows);
                let at = start + first;
                by_rows!(S, height, {
                    simd.vectorize(Weights::<M> {
                        q: &q_blocks[at * width..][..M * width],
                        g: &g_blocks[at * value_width..][..M * value_width],
                        k_columns,
                        v_columns,
                        count,
                        logarithms: &logarithms[at..][..M],
                        along: &along[at..][..M],
                        limits: shape
                            .causal
                            .then(|| std::array::from_fn(|i| shape.limit(at + i).saturating_sub(keys.start))),
                        p: p[first..].first_chunk_mut().expect("a row for each query"),
                        ds: ds[first..].first_chunk_mut().expect("a row for each query"),
                    });
                });
            }
            let g_groups = &g_groups[start * value_padded..][..rows * value_padded];
            let q_groups = &q_groups[start * padded..][..rows * padded];
            for index in 0..count.div_ceil(machine.rows) {
                let (column, height) = block(count, index, machine.rows);
                by_rows!(S, height, {
                    let sums = &mut dv[column * value_padded..][..M * value_padded];
                    let weights = &p[..rows];
                    simd.vectorize(AddTransposed::<M> {
                        weights,
                        column,
                        values: g_groups,
                        padded: value_padded,
                        sums,
                    });
                    let sums = &mut dk[column * padded..][..M * padded];
                    let weights = &ds[..rows];
                    simd.vectorize(AddTransposed::<M> { weights, column, values: q_groups, padded, sums });
                });
            }
            let ticket = &backward.tickets[backward.tickets_at[head] + query_tile as usize];
            backward.wait(ticket, before);
            // SAFETY: the ticket says that these sums are this thread's now.
            let sums = unsafe { sums.row(shape.place(head), start, rows * padded) };
            for index in 0..rows.div_ceil(machine.rows) {
                let (first, height) = block(rows, index, machine.rows);
                by_rows!(S, height, {
                    let sums = &mut sums[first * padded..][..M * padded];
                    let weights = ds[first..].first_chunk().expect("a row for each query");
                    simd.vectorize(AddWeighted::<M> { weights, count, values: k_groups, padded, sums });
                });
            }
            ticket.store(before + 1, Ordering::Release);
        }

        for (sums, to, width, scale) in [(dk, &backward.dk, width, shape.scale), (dv, &backward.dv, value_width, 1.0)] {
            pack::each_of_blocks(sums, (count, width), machine, |i, column, from| {
                // SAFETY: a key is in one tile of a head, and each head has gradients of its own.
                let to = unsafe { to.row(shape.place(head), row_at(order, keys.start + i), width) };
                scaled(scale, from, &mut to[column..]);
            });
        }
    }
}

/// P and ∂S of a block of rows and a tile of keys.
struct Weights<'a, const M: usize> {
    q: &'a [f32],
    g: &'a [f32],
    k_columns: &'a [f32],
    v_columns: &'a [f32],
    count: usize,
    logarithms: &'a [f32],
    along: &'a [f32],
    /// For each row, the first key of the tile that it does not see.
    limits: Option<[usize; M]>,
    p: &'a mut [Row; M],
    ds: &'a mut [Row; M],
}

impl<const M: usize> WithSimd for Weights<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let panel = VECTORS * S::F32_LANES;
        for first in (0..self.count).step_by(panel) {
            if self.count - first > S::F32_LANES {
                self.panel::<S, VECTORS>(simd, first);
            } else {
                self.panel::<S, 1>(simd, first);
            }
        }
        for (i, limit) in self.limits.into_iter().flatten().enumerate() {
            for row in [&mut self.p[i], &mut self.ds[i]] {
                row[limit.min(self.count)..self.count].fill(0.0);
            }
        }
    }
}

impl<const M: usize> Weights<'_, M> {
    /// N vectors of keys.
    #[inline(always)]
    fn panel<S: Simd, const N: usize>(&mut self, simd: S, first: usize) {
        let columns = N * S::F32_LANES;
        let (width, value_width) = (self.q.len() / M, self.g.len() / M);
        let mut tile = scores::<S, M, N>(simd, self.q, &self.k_columns[first * width..][..columns * width]);
        for (i, row) in tile.iter_mut().enumerate() {
            let logarithm = simd.splat_f32s(self.logarithms[i]);
            for score in row {
                *score = exp2(simd, simd.sub_f32s(*score, logarithm));
            }
        }
        store(simd, &tile, first, self.p);
        let mut tile = scores::<S, M, N>(simd, self.g, &self.v_columns[first * value_width..][..columns * value_width]);
        for (i, row) in tile.iter_mut().enumerate() {
            let along = simd.splat_f32s(self.along[i]);
            let (p, _) = S::as_simd_f32s(&self.p[i][first..][..columns]);
            for j in 0..N {
                row[j] = simd.mul_f32s(p[j], simd.sub_f32s(row[j], along));
            }
        }
        store(simd, &tile, first, self.ds);
    }
}

/// Adds the transpose of some columns of `weights`, times `values`, `[group][row][vectors]`.
struct AddTransposed<'a, const M: usize> {
    weights: &'a [Row],
    column: usize,
    values: &'a [f32],
    padded: usize,
    sums: &'a mut [f32],
}

impl<const M: usize> WithSimd for AddTransposed<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, column, values, padded, sums } = self;
        let of_group = weights.len() * VECTORS * S::F32_LANES;
        each_group!(S, M, sums, padded / S::F32_LANES, |group, tile| {
            let values = &values[group * of_group..];
            let values = &values[..weights.len() * tile[0].len() * S::F32_LANES];
            add_transposed(simd, weights, column, values, tile);
        });
    }
}

/// Adds `count` columns of `weights` times `values`, `[group][column][vectors]`.
struct AddWeighted<'a, const M: usize> {
    weights: &'a [Row; M],
    count: usize,
    values: &'a [f32],
    padded: usize,
    sums: &'a mut [f32],
}

impl<const M: usize> WithSimd for AddWeighted<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, count, values, padded, sums } = self;
        each_group!(S, M, sums, padded / S::F32_LANES, |group, tile| {
            let values = &values[group * count * VECTORS * S::F32_LANES..];
            let values = &values[..count * tile[0].len() * S::F32_LANES];
            add_weighted(simd, weights, 0, values, tile);
        });
    }
}
