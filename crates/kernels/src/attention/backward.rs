//! The gradients of attention: ∂q, ∂k, ∂v from o, L and ∂o, on the pairs that the mask leaves.
//!
//! P = e^(S - L), ∂P = ∂o vᵀ, ∂S = P (∂P - Σ o ∂o), ∂v = Pᵀ ∂o, ∂k = scale · ∂Sᵀ q, ∂q = scale · ∂S k (Dao, Fu, Ermon, Rudra,
//! Ré, *FlashAttention*, NeurIPS 2022). P is computed again, so that five products are made and no matrix of pairs is kept.
//!
//! A thread takes a tile of up to 128 keys, keeps its ∂k and ∂v, and goes through the queries that see it. Their ∂q is what
//! tiles of keys have in common: each adds its part when the tiles before it have. Tiles are taken in order, so a thread
//! waits only for work that another has already begun; and it waits with its products done. So sums are added up in one
//! order on any number of threads, without the seven products of two passes and without partial sums for each thread.

use std::f32::consts::LOG2_E;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pulp::Arch;
use rayon::prelude::*;

use super::key_tile::KeyTile;
use super::mask::{Groups, Mask};
use super::memory::{Lines, Shared, in_order, take, whole_lines};
use super::pack::{self, Machine, Rows, row_at};
use super::product::{KEYS, block};
use super::shape::{Attention, Error, Layout, Of, Report, Tensor, TensorMut};
use crate::training::function::vectors;
use crate::training::norm::dot;

/// Queries of a tile, at most.
pub(super) const QUERIES: usize = 128;
/// The logarithm of a row that gives no gradient: scores of 0 are far below it.
const ENDLESS: f32 = f32::MAX / 2.0;

/// A list of a mask as tiles of keys, each with the tiles of queries that see it.
pub(super) struct Tiles<'a> {
    pub groups: Groups<'a>,
    /// Positions of queries.
    pub queries: Vec<Range<usize>>,
    /// Positions of keys.
    pub keys: Vec<Range<usize>>,
    /// For each tile of keys, the tiles of queries, ascending, with the number of tiles of keys before it that they see.
    pub seen_by: Vec<Vec<(u32, u32)>>,
}

impl<'a> Tiles<'a> {
    fn new(shape: &Attention, groups: Groups<'a>) -> Self {
        let (queries, query_tiles) = split((0..groups.query_groups()).map(|group| groups.queries(group)), QUERIES);
        let (keys, key_tiles) = split((0..groups.key_groups()).map(|group| groups.keys(group)), KEYS);
        let mut seen_by = vec![Vec::new(); keys.len()];
        for (group, tiles) in query_tiles.into_iter().enumerate() {
            for tile in tiles {
                let mut before = 0;
                let limit = queries[tile].end.checked_sub(1).map_or(0, |last: usize| shape.limit(last));
                for &column in groups.row(group) {
                    for key_tile in key_tiles[column as usize].clone() {
                        if shape.causal && keys[key_tile].start >= limit {
                            continue;
                        }
                        seen_by[key_tile].push((tile as u32, before));
                        before += 1;
                    }
                }
            }
        }
        Self { groups, queries, keys, seen_by }
    }
}

/// Cuts groups into tiles of at most `most`, and tells which tiles each became.
fn split(groups: impl Iterator<Item = Range<usize>>, most: usize) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut tiles, mut of_groups) = (Vec::new(), Vec::new());
    for group in groups {
        let before = tiles.len();
        for index in 0..group.len().div_ceil(most) {
            let (first, count) = block(group.len(), index, most);
            tiles.push(group.start + first..group.start + first + count);
        }
        of_groups.push(before..tiles.len());
    }
    (tiles, of_groups)
}

impl Attention {
    /// ∂q, ∂k, ∂v, overwritten, from what [`forward`](Attention::forward) gave, o and L, and from ∂o. Rows that nothing
    /// attends to, or that attend to nothing, get 0.
    ///
    /// # Errors
    /// [`Error`] names a size, slice or mask that does not fit, or the first input that is not finite.
    pub fn backward(
        &self,
        [q, k, v]: [Tensor<'_>; 3],
        mask: &Mask<'_>,
        (out, logarithms, out_gradient): (Tensor<'_>, &[f32], Tensor<'_>),
        [dq, dk, dv]: [TensorMut<'_>; 3],
    ) -> Result<(), Error> {
        self.backward_on(Arch::new(), [q, k, v], mask, (out, logarithms, out_gradient), [dq, dk, dv])
    }

    pub(super) fn backward_on(
        &self,
        arch: Arch,
        [q, k, v]: [Tensor<'_>; 3],
        mask: &Mask<'_>,
        (out, logarithms, out_gradient): (Tensor<'_>, &[f32], Tensor<'_>),
        [dq, dk, dv]: [TensorMut<'_>; 3],
    ) -> Result<(), Error> {
        self.check(mask)?;
        let inputs = [("q", Of::Query, &q), ("k", Of::Key, &k), ("v", Of::Value, &v)];
        let outputs = [("out", Of::Output, &out), ("out_gradient", Of::Output, &out_gradient)];
        for (name, of, tensor) in inputs.into_iter().chain(outputs) {
            self.check_input(name, of, tensor)?;
        }
        self.check_logarithms(logarithms.len())?;
        if let Some(row) = logarithms.iter().position(|logarithm| logarithm.is_nan()) {
            let (batch, head) = self.place(row / self.queries);
            return Err(Error::NotFinite { tensor: "logarithms", batch, head, row: row % self.queries });
        }
        for (name, of, tensor) in [("dq", Of::Query, &dq), ("dk", Of::Key, &dk), ("dv", Of::Value, &dv)] {
            self.check_output(name, of, tensor)?;
        }
        let inputs = Inputs { q, k, v, out, logarithms, out_gradient };
        if self.heads == self.kv_heads {
            Backward::new(self, arch, mask, &inputs, [dq, dk, dv]).run(arch);
            return Ok(());
        }
        // Heads that share keys have gradients of their own first: two threads do not write one row.
        let heads = self.batch * self.heads;
        let mut own = [self.width, self.value_width].map(|width| vec![0.0; heads * self.keys * width]);
        let [own_k, own_v] = &mut own;
        let apart = |data, width| TensorMut { data, layout: Layout::heads_first(self.heads, self.keys, width) };
        let to = [dq, apart(own_k, self.width), apart(own_v, self.value_width)];
        Backward::new(self, arch, mask, &inputs, to).run(arch);
        for (own, to, width) in [(&own[0], dk, self.width), (&own[1], dv, self.value_width)] {
            self.add_up(own, Shared::new(to.data, to.layout), width);
        }
        Ok(())
    }

    /// Adds up the gradients of heads that share keys.
    fn add_up(&self, own: &[f32], to: Shared<'_>, width: usize) {
        let share = self.heads / self.kv_heads;
        (0..self.batch * self.kv_heads).into_par_iter().for_each(|head| {
            for key in 0..self.keys {
                // SAFETY: a row is of one head.
                let row = unsafe { to.row((head / self.kv_heads, head % self.kv_heads), key, width) };
                row.fill(0.0);
                for of_head in head * share..(head + 1) * share {
                    let own = &own[(of_head * self.keys + key) * width..][..width];
                    row.iter_mut().zip(own).for_each(|(to, x)| *to += x);
                }
            }
        });
    }
}

pub(super) struct Inputs<'a> {
    pub q: Tensor<'a>,
    pub k: Tensor<'a>,
    pub v: Tensor<'a>,
    pub out: Tensor<'a>,
    pub logarithms: &'a [f32],
    pub out_gradient: Tensor<'a>,
}

/// What all threads know.
pub(super) struct Backward<'a> {
    pub shape: &'a Attention,
    pub machine: Machine,
    pub inputs: &'a Inputs<'a>,
    pub lists: Vec<Tiles<'a>>,
    /// For each head, what its queries bring along, position by position; see [`Backward::per_query`].
    pub packed: Lines,
    /// For each head, where its tickets begin.
    pub tickets_at: Vec<usize>,
    /// For each head and tile of queries, how many tiles of keys have added their part.
    pub tickets: Vec<AtomicU32>,
    /// A thread has panicked: no one shall wait for it.
    pub broken: AtomicBool,
    pub dq: Shared<'a>,
    pub dk: Shared<'a>,
    pub dv: Shared<'a>,
}

impl<'a> Backward<'a> {
    fn new(
        shape: &'a Attention,
        arch: Arch,
        mask: &'a Mask<'a>,
        inputs: &'a Inputs<'a>,
        [dq, dk, dv]: [TensorMut<'a>; 3],
    ) -> Self {
        let lists: Vec<_> = (0..mask.lists()).map(|index| Tiles::new(shape, mask.groups(shape, index))).collect();
        let heads = shape.batch * shape.heads;
        let mut tickets = 0;
        let tickets_at = (0..heads)
            .map(|head| {
                let at = tickets;
                tickets += lists[head % lists.len()].queries.len();
                at
            })
            .collect();
        let mut this = Self {
            shape,
            machine: Machine::of(arch),
            inputs,
            lists,
            packed: Lines::new(0),
            tickets_at,
            tickets: (0..tickets).map(|_| AtomicU32::new(0)).collect(),
            broken: AtomicBool::new(false),
            dq: Shared::new(dq.data, dq.layout),
            dk: Shared::new(dk.data, dk.layout),
            dv: Shared::new(dv.data, dv.layout),
        };
        this.pack();
        this
    }

    fn run(self, arch: Arch) {
        let shape = self.shape;
        let heads = shape.batch * shape.heads;
        self.leave_out();
        // ∂q / scale, `[head][tile][block][group][row][vectors]`.
        let padded = self.machine.padded(shape.width);
        let len = padded * shape.queries;
        let mut sums = Lines::new(heads * len);
        let sums = Shared::new(&mut sums, Layout { batch: shape.heads * len, head: len, row: padded });
        // First the first tile of every head: heads do not wait for each other.
        let longest = self.lists.iter().map(|list| list.keys.len()).max().unwrap_or(0);
        let items: Vec<_> = (0..longest)
            .flat_map(|tile| (0..heads).map(move |head| (head, tile)))
            .filter(|&(head, tile)| tile < self.list(head).keys.len())
            .collect();
        in_order(
            items.len(),
            || Lines::new(0),
            |memory, index| {
                let (head, tile) = items[index];
                arch.dispatch(KeyTile { backward: &self, sums: &sums, head, tile, memory });
                Report::default()
            },
        );
        let parts = (0..heads).flat_map(|head| (0..self.list(head).queries.len()).map(move |tile| (head, tile)));
        let parts: Vec<_> = parts.collect();
        parts.into_par_iter().for_each(|(head, tile)| self.write_dq(&sums, head, tile));
    }

    pub fn list(&self, head: usize) -> &Tiles<'a> {
        &self.lists[head % self.lists.len()]
    }

    /// Numbers of a query: of q and ∂o as blocks, of q and ∂o as groups, L and Σ o ∂o. What a head's queries bring along is
    /// six arrays of so many numbers per position.
    fn per_query(&self) -> [usize; 6] {
        let (width, value_width) = (self.shape.width, self.shape.value_width);
        [width, value_width, self.machine.padded(width), self.machine.padded(value_width), 1, 1]
    }

    pub fn head_len(&self) -> usize {
        self.per_query().map(|numbers| whole_lines(numbers * self.shape.queries)).iter().sum()
    }

    /// The six arrays of a head.
    pub fn of_head<'b>(&self, mut head: &'b [f32]) -> [&'b [f32]; 6] {
        self.per_query().map(|numbers| {
            let (array, rest) = head.split_at(whole_lines(numbers * self.shape.queries));
            head = rest;
            array
        })
    }

    fn rows(&self, tensor: Tensor<'a>, head: usize, width: usize) -> Rows<'a> {
        Rows { tensor, place: self.shape.place(head), width, order: self.list(head).groups.query_order() }
    }

    /// Packs what queries bring along.
    fn pack(&mut self) {
        let (shape, machine, len) = (self.shape, self.machine, self.head_len());
        let mut packed = Lines::new(shape.batch * shape.heads * len);
        packed.par_chunks_mut(len.max(1)).enumerate().for_each(|(head, mut memory)| {
            let arrays = self.per_query().map(|numbers| take(&mut memory, numbers * shape.queries));
            let [q_blocks, g_blocks, q_groups, g_groups, logarithms, along] = arrays;
            let q = self.rows(self.inputs.q, head, shape.width);
            let g = self.rows(self.inputs.out_gradient, head, shape.value_width);
            let out = self.rows(self.inputs.out, head, shape.value_width);
            let mut stage = vec![0.0; machine.rows * shape.width.max(shape.value_width)];
            for tile in &self.list(head).queries {
                let at = |numbers: usize| numbers * tile.start..numbers * tile.end;
                pack::blocks(
                    &q,
                    tile.clone(),
                    shape.scale * LOG2_E,
                    machine.rows,
                    &mut stage,
                    &mut q_blocks[at(shape.width)],
                );
                pack::blocks(&g, tile.clone(), 1.0, machine.rows, &mut stage, &mut g_blocks[at(shape.value_width)]);
                let to = &mut q_groups[at(machine.padded(shape.width))];
                pack::groups(&q, tile.clone(), tile.len(), machine.lanes, to);
                let to = &mut g_groups[at(machine.padded(shape.value_width))];
                pack::groups(&g, tile.clone(), tile.len(), machine.lanes, to);
                for position in tile.clone() {
                    let logarithm = self.inputs.logarithms[head * shape.queries + row_at(q.order, position)];
                    logarithms[position] = logarithm * LOG2_E;
                    if !logarithm.is_finite() {
                        // An output that is 0 whatever happens: its scores become 0, far below this.
                        logarithms[position] = ENDLESS;
                        let (i, q_blocks) = (position - tile.start, &mut q_blocks[at(shape.width)]);
                        pack::clear_in_blocks(i, (tile.len(), shape.width), machine.rows, q_blocks);
                    }
                    along[position] = vectors(
                        #[inline(always)]
                        || dot(out.at(position), g.at(position)),
                    );
                }
            }
        });
        self.packed = packed;
    }

    /// Zeros for queries and keys in no group.
    fn leave_out(&self) {
        let shape = self.shape;
        (0..shape.batch * shape.heads).into_par_iter().for_each(|head| {
            let groups = self.list(head).groups;
            let left = |order: Option<&[u32]>, count: usize| {
                let mut left = vec![order.is_some_and(|order| order.len() < count); count];
                order.into_iter().flatten().for_each(|&row| left[row as usize] = false);
                (0..count).filter(move |&row| left[row])
            };
            // SAFETY: a row is of one head, and each head is one thread's.
            let zero = |to: &Shared<'_>, row, width| unsafe { to.row(shape.place(head), row, width) }.fill(0.0);
            left(groups.query_order(), shape.queries).for_each(|row| zero(&self.dq, row, shape.width));
            for key in left(groups.key_order(), shape.keys) {
                zero(&self.dk, key, shape.width);
                zero(&self.dv, key, shape.value_width);
            }
        });
    }

    /// ∂q of a tile: what has been added up, times the scale.
    fn write_dq(&self, sums: &Shared<'_>, head: usize, tile: usize) {
        let (shape, machine) = (self.shape, self.machine);
        let list = self.list(head);
        let positions = list.queries[tile].clone();
        let len = positions.len() * machine.padded(shape.width);
        // SAFETY: these sums are of one tile of one head.
        let sums = unsafe { sums.row(shape.place(head), positions.start, len) };
        let order = list.groups.query_order();
        pack::each_of_blocks(sums, (positions.len(), shape.width), machine, |i, column, from| {
            // SAFETY: a query is in one tile of one head.
            let to = unsafe { self.dq.row(shape.place(head), row_at(order, positions.start + i), shape.width) };
            scaled(shape.scale, from, &mut to[column..]);
        });
    }

    /// Waits until all tiles of keys before this one have added their part to the ∂q of some queries.
    pub fn wait(&self, ticket: &AtomicU32, before: u32) {
        let mut turns = 0;
        while ticket.load(Ordering::Acquire) != before {
            assert!(!self.broken.load(Ordering::Relaxed), "another thread panicked");
            turns += 1;
            if turns < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// to = scale · from, as far as both go.
pub(super) fn scaled(scale: f32, from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to = x * scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Clusters;

    /// o, L, ∂q, ∂k and ∂v.
    fn all(arch: Arch, shape: &Attention, mask: &Mask<'_>) -> [Vec<f32>; 5] {
        let numbers = |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin() * 1.5).collect::<Vec<f32>>();
        let layout = |heads, rows| Layout::heads_first(heads, rows, shape.width);
        let (queries, keys) = (layout(shape.heads, shape.queries), layout(shape.kv_heads, shape.keys));
        let (rows, kv) = (shape.rows() * shape.width, shape.kv_heads * shape.keys * shape.width);
        let (q, k, v, g) = (numbers(rows, 0.7), numbers(kv, 0.9), numbers(kv, 1.1), numbers(rows, 1.3));
        let tensor = |data, layout| Tensor { data, layout };
        let inputs = [tensor(&q, queries), tensor(&k, keys), tensor(&v, keys)];
        let [mut o, mut dq] = [(); 2].map(|()| vec![f32::NAN; rows]);
        let [mut dk, mut dv] = [(); 2].map(|()| vec![f32::NAN; kv]);
        let mut logarithms = vec![0.0; shape.rows()];
        let out = TensorMut { data: &mut o, layout: queries };
        shape.forward_on(arch, inputs, mask, out, Some(&mut logarithms)).unwrap();
        let given = (tensor(&o, queries), &logarithms[..], tensor(&g, queries));
        let gradients = [(&mut dq, queries), (&mut dk, keys), (&mut dv, keys)];
        let gradients = gradients.map(|(data, layout)| TensorMut { data, layout });
        shape.backward_on(arch, inputs, mask, given, gradients).unwrap();
        [o, logarithms, dq, dk, dv]
    }

    #[test]
    fn every_machine_gives_the_same_but_for_rounding() {
        let mut machines = vec![Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        machines.extend(pulp::x86::V3::try_new().map(Arch::V3));
        let orders: [Vec<u32>; 2] = [(0..149).rev().collect(), (0..203).map(|i| i * 2 % 203).collect()];
        let clusters = [Clusters {
            query_order: &orders[0],
            query_offsets: &[0, 100, 100, 149],
            key_order: &orders[1],
            key_offsets: &[0, 3, 20, 180, 203],
            offsets: &[0, 3, 4, 6],
            columns: &[0, 1, 3, 0, 1, 2],
        }];
        let shape = Attention { kv_heads: 1, ..Attention::new(2, 149, 203, 19) };
        let causal = Attention { causal: true, ..shape };
        for (shape, mask) in [(shape, Mask::All), (causal, Mask::All), (shape, Mask::Clusters(&clusters))] {
            let widest = all(Arch::new(), &shape, &mask);
            for &machine in &machines {
                for (a, b) in widest.iter().zip(&all(machine, &shape, &mask)) {
                    let far = |(a, b): (&f32, &f32)| a != b && (a - b).abs() > 2e-4;
                    assert!(!a.iter().zip(b).any(far), "{machine:?}");
                }
            }
        }
    }
}
