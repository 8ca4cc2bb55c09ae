//! Means in place of what is left out: of a group of keys that is not read, one key and one value stand for all.
//!
//! `o = (Σ_read e^{s·q·k} v + Σ_left |K_j| e^{s·q·k̄_j} v̄_j) / (Σ_read e^{s·q·k} + Σ_left |K_j| e^{s·q·k̄_j})`, with the mean key k̄_j and
//! the mean value v̄_j of a group that is left out, as heavy as it has keys. Sparse attention shares the weight of what it
//! leaves out among what it reads; where a model looks nearly evenly at much of a clip, that is most of its error. A mean costs
//! one pair for each query, whatever the size of its group.
//!
//! Not in the papers of this room: with any plan by groups, by meaning or by position, where it is asked for.

use std::time::Instant;

use rayon::prelude::*;
use tersor_kernels::attention::{Attention, Clusters, Layout, Mask, Tensor, TensorMut, merge};

use crate::Error;
use crate::attend::{Attended, Tensors};
use crate::clusters::{ClusterMask, HeadMask};

/// A plan by groups, whose queries read the means of the groups that the plan leaves out.
#[derive(Debug, Clone, Copy)]
pub struct WithMeans<'a> {
    /// What is read.
    pub mask: &'a ClusterMask,
    /// So many groups at the end, of queries and of keys, have nothing to do with means: those of text, whose padding nobody
    /// may see.
    pub text: usize,
}

impl<'a> WithMeans<'a> {
    /// Of a video without text.
    pub fn new(mask: &'a ClusterMask) -> Self {
        Self { mask, text: 0 }
    }

    /// The groups of keys whose means a group of queries reads in a head, ascending.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn left_out(&self, head: usize, group: usize) -> impl Iterator<Item = usize> + 'a {
        let head = self.mask.head(head);
        let row = head.row(group);
        let reads_means = group < head.queries().count().saturating_sub(self.text);
        let video = if reads_means { head.keys().count().saturating_sub(self.text) } else { 0 };
        (0..video)
            .filter(move |&keys| row.binary_search(&(keys as u32)).is_err() && !head.keys().members(keys).is_empty())
    }

    /// Pairs of a query and what it reads in a head, a mean being one.
    pub fn pairs(&self, head: usize) -> u64 {
        let of = self.mask.head(head);
        let means = |group: usize| (of.queries().members(group).len() * self.left_out(head, group).count()) as u64;
        of.pairs() + (0..of.queries().count()).map(means).sum::<u64>()
    }

    /// The share of a head's pairs that are read, a mean counting as one.
    pub fn density(&self, head: usize) -> f64 {
        let [queries, keys] = self.mask.tokens();
        self.pairs(head) as f64 / (queries as f64 * keys as f64).max(1.0)
    }
}

/// Adds the means to what was read.
///
/// # Errors
/// [`Error::Attention`] if a mean is not finite.
pub(crate) fn add(tensors: &Tensors<'_>, plan: WithMeans<'_>, mut read: Attended) -> Result<Attended, Error> {
    let start = Instant::now();
    let shape = *tensors.shape();
    let means = Means::of(tensors, plan.mask);
    let heads = plan.mask.heads();
    let left: Vec<Left> = (0..heads.len()).map(|head| Left::of(&plan, head)).collect();
    let singles = Singles { order: (0..means.groups as u32).collect(), bounds: (0..=means.groups).collect() };
    let clusters: Vec<_> = heads.iter().zip(&left).map(|(head, left)| left.clusters(head, &singles)).collect();

    let value_width = shape.value_width + 1;
    let of_means = Attention { kv_heads: shape.heads, keys: means.groups, value_width, ..shape };
    let mask = Mask::Clusters(&clusters);
    let tensor = |data, width| Tensor { data, layout: Layout::heads_first(shape.heads, means.groups, width) };
    let inputs = [tensors.inputs()[0], tensor(&means.keys, shape.width), tensor(&means.values, value_width)];
    let (mut output, mut logarithms) = (vec![0.0; shape.rows() * value_width], vec![0.0; shape.rows()]);
    let layout = Layout::heads_first(shape.heads, shape.queries, value_width);
    of_means.forward(inputs, &mask, TensorMut { data: &mut output, layout }, Some(&mut logarithms))?;

    let [rows, wider] = [shape.value_width, value_width].map(|width| shape.queries * width);
    let of_heads = read.output.par_chunks_exact_mut(rows).zip(read.logarithms.par_chunks_exact_mut(shape.queries));
    let of_means_heads = output.par_chunks_exact(wider).zip(logarithms.par_chunks_exact_mut(shape.queries));
    of_heads.zip(of_means_heads).for_each(|((o, l), (means, means_l))| {
        merge(o, l, &divided(means, means_l, value_width), means_l);
    });
    read.empty = read.logarithms.iter().filter(|l| **l == f32::NEG_INFINITY).count();
    read.pairs += mask.pairs(&of_means);
    read.seconds += start.elapsed().as_secs_f64();
    Ok(read)
}

/// The groups of keys of all heads, each as one key and one value of an attention of their own.
struct Means {
    /// Groups of a head, the most of any.
    groups: usize,
    /// `[heads, groups, width]`: the mean key, 0 where there is none.
    keys: Vec<f32>,
    /// `[heads, groups, value_width + 1]`: the sum of the values and, behind it, how many there are, so that one product
    /// gives `Σ e^s |K_j| v̄_j` and `Σ e^s |K_j|`.
    values: Vec<f32>,
}

impl Means {
    fn of(tensors: &Tensors<'_>, mask: &ClusterMask) -> Self {
        let Attention { heads, width, value_width, .. } = *tensors.shape();
        let groups = mask.heads().iter().map(|head| head.keys().count()).max().unwrap_or(0);
        let mut keys = vec![0.0; heads * groups * width];
        let mut values = vec![0.0; heads * groups * (value_width + 1)];
        let of_heads =
            keys.par_chunks_exact_mut(groups * width).zip(values.par_chunks_exact_mut(groups * (value_width + 1)));
        of_heads.enumerate().for_each(|(head, (keys, values))| {
            let [k, v] = tensors.keys_and_values_of(head);
            let of = mask.head(head).keys();
            let of_groups = keys.chunks_exact_mut(width).zip(values.chunks_exact_mut(value_width + 1));
            for (group, (key, value)) in of_groups.enumerate().take(of.count()) {
                let members = of.members(group);
                let size = members.len().max(1) as f64;
                key.iter_mut().zip(sum(k, width, members)).for_each(|(key, sum)| *key = (sum / size) as f32);
                value.iter_mut().zip(sum(v, value_width, members)).for_each(|(value, sum)| *value = sum as f32);
                value[value_width] = members.len() as f32;
            }
        });
        Self { groups, keys, values }
    }
}

/// The sum of some rows of `x`.
fn sum(x: &[f32], width: usize, rows: &[u32]) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for &row in rows {
        let row = &x[row as usize * width..][..width];
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums
}

/// Rows of sums and, behind each, its weight w: the sums over w, and ln w added to the row's logarithm.
fn divided(rows: &[f32], logarithms: &mut [f32], width: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(logarithms.len() * (width - 1));
    for (row, l) in rows.chunks_exact(width).zip(logarithms) {
        let (sums, weight) = (&row[..width - 1], row[width - 1]);
        // A row that reads no mean is 0 with L = -∞, and stays so.
        let weight = if weight > 0.0 { weight } else { 1.0 };
        all.extend(sums.iter().map(|sum| sum / weight));
        *l += weight.ln();
    }
    all
}

/// Each mean a group of its own.
struct Singles {
    order: Vec<u32>,
    bounds: Vec<usize>,
}

/// The means that each group of queries reads.
struct Left {
    offsets: Vec<usize>,
    columns: Vec<u32>,
}

impl Left {
    fn of(plan: &WithMeans<'_>, head: usize) -> Self {
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for group in 0..plan.mask.head(head).queries().count() {
            columns.extend(plan.left_out(head, group).map(|group| group as u32));
            offsets.push(columns.len());
        }
        Self { offsets, columns }
    }

    fn clusters<'a>(&'a self, of: &'a HeadMask, singles: &'a Singles) -> Clusters<'a> {
        let Self { offsets, columns } = self;
        Clusters { key_order: &singles.order, key_offsets: &singles.bounds, offsets, columns, ..of.clusters() }
    }
}
