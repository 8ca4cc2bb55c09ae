//! The nearest centroid of each point: a product of points and centroids whose tiles are compared where they are made.
//!
//! ‖x − c‖² = ‖x‖² + ‖c‖² − 2·x·c, and ‖x‖² is the same for all centroids: the nearest has the least ‖c‖² − 2·x·c. Points lie
//! side by side in vectors, so that a comparison serves as many of them as a vector has lanes, and a point's sums go through
//! the dimensions in one order whatever the tile. The cost beyond the product is a comparison and two selections for each
//! vector of a tile, against `width` multiply-adds. Points are laid side by side once for all iterations: with 16 clusters of width
//! 64 that takes as long as half a product.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::attention::memory::{Lines, whole_lines};
use crate::attention::pack::{self, Machine, Rows};
use crate::attention::product::{block, by_rows, scores};
use crate::attention::{Layout, Tensor};
use crate::sparse::transpose::{Pitched, transpose};
use crate::training::norm::dot;
use crate::training::tile::VECTORS;

/// Points that one task takes, whole panels: they stay in L2, 128 KB at width 128.
const POINTS: usize = 256;
/// Numbers of the centroids that stay in L1 while the panels of a task pass by: 16 KB.
const KEPT: usize = 4096;

/// Points whose nearest centroids are asked for, again and again.
pub(super) struct Nearest {
    count: usize,
    width: usize,
    arch: Arch,
    machine: Machine,
    /// The points in panels, `[width, panel]` each.
    panels: Lines,
    /// Σ ‖x‖² of the points of each task.
    squares: Vec<f64>,
    blocks: Lines,
}

impl Nearest {
    pub fn new(points: &[f32], width: usize) -> Self {
        let arch = Arch::new();
        let machine = Machine::of(arch);
        let (count, panel) = (points.len() / width, machine.panel());
        let mut panels = Lines::new(count.next_multiple_of(panel) * width);
        let tasks = panels.par_chunks_mut(POINTS * width).zip(points.par_chunks(POINTS * width));
        let squares = tasks.map(|(panels, points)| {
            for (panel_of, points) in panels.chunks_exact_mut(panel * width).zip(points.chunks(panel * width)) {
                let to = Pitched { data: panel_of, pitch: panel };
                transpose(Pitched { data: points, pitch: width }, (points.len() / width, width), to);
            }
            arch.dispatch(Squares { points, width })
        });
        let squares = squares.collect();
        Self { count, width, arch, machine, panels, squares, blocks: Lines::new(0) }
    }

    /// Σ ‖x‖² of all points.
    pub fn squares(&self) -> f64 {
        self.squares.iter().sum()
    }

    /// The nearest of the centroids for each point, and the sum of squared distances to them.
    pub fn assign(&mut self, centroids: &[f32]) -> (Vec<u32>, f64) {
        let (width, machine) = (self.width, self.machine);
        let clusters = centroids.len() / width;
        self.blocks.hold(whole_lines(clusters * width));
        let tensor = Tensor { data: centroids, layout: Layout::heads_first(1, clusters, width) };
        let rows = Rows { tensor, place: (0, 0), width, order: None };
        let mut stage = vec![0.0; machine.rows * width];
        let blocks = &mut self.blocks[..clusters * width];
        pack::blocks(&rows, 0..clusters, -2.0, machine.rows, &mut stage, blocks);
        let square = |centroid: &[f32]| centroid.iter().map(|&c| f64::from(c) * f64::from(c)).sum::<f64>() as f32;
        let squares: Vec<f32> = centroids.chunks_exact(width).map(square).collect();

        // Whole panels, so that a task writes its labels as vectors.
        let mut labels = vec![0; self.count.next_multiple_of(machine.panel())];
        let (blocks, squares) = (&self.blocks[..clusters * width], &squares);
        let tasks = labels.par_chunks_mut(POINTS).zip(self.panels.par_chunks(POINTS * width)).enumerate();
        let least = tasks.map(|(task, (labels, panels))| {
            let points = POINTS.min(self.count - task * POINTS);
            self.arch.dispatch(Task { points, panels, width, machine, blocks, squares, labels })
        });
        // Added up in the order of the points, whichever thread was first.
        let least: Vec<f64> = least.collect();
        labels.truncate(self.count);
        (labels, least.iter().zip(&self.squares).map(|(least, squares)| (squares + least).max(0.0)).sum())
    }
}

/// Σ ‖x‖².
struct Squares<'a> {
    points: &'a [f32],
    width: usize,
}

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut sum = 0.0;
        for x in self.points.chunks_exact(self.width) {
            sum += f64::from(dot(x, x));
        }
        sum
    }
}

/// The points of one task.
struct Task<'a> {
    /// How many, without those that fill the last panel.
    points: usize,
    panels: &'a [f32],
    width: usize,
    machine: Machine,
    /// −2·c, in blocks.
    blocks: &'a [f32],
    /// ‖c‖².
    squares: &'a [f32],
    /// Of whole panels.
    labels: &'a mut [u32],
}

impl WithSimd for Task<'_> {
    type Output = f64;

    /// Writes the labels; gives the sum of what is least, ‖c‖² − 2·x·c, over the points.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let Self { points, panels, width, machine, blocks, squares, labels } = self;
        let panel = machine.panel();
        let mut least = [f32::INFINITY; POINTS];
        labels.fill(0);

        let clusters = squares.len();
        let tiles = clusters.div_ceil(machine.rows);
        let kept = (KEPT / (machine.rows * width)).max(1);
        for from in (0..tiles).step_by(kept) {
            let of_panels = least.chunks_exact_mut(panel).zip(labels.chunks_exact_mut(panel));
            for (columns, (least, labels)) in panels.chunks_exact(panel * width).zip(of_panels) {
                for index in from..tiles.min(from + kept) {
                    let (first, height) = block(clusters, index, machine.rows);
                    let (block, squares) = (&blocks[first * width..][..height * width], &squares[first..]);
                    by_rows!(S, height, {
                        simd.vectorize(Compare::<M> { first, block, squares, columns, least, labels });
                    });
                }
            }
        }
        least[..points].iter().map(|&least| f64::from(least)).sum()
    }
}

/// M centroids and a panel of points.
struct Compare<'a, const M: usize> {
    /// The first centroid.
    first: usize,
    block: &'a [f32],
    squares: &'a [f32],
    columns: &'a [f32],
    least: &'a mut [f32],
    labels: &'a mut [u32],
}

impl<const M: usize> WithSimd for Compare<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { first, block, squares, columns, least, labels } = self;
        let tile = scores::<S, M, VECTORS>(simd, block, columns);
        let squares: &[f32; M] = squares.first_chunk().expect("one for each centroid");
        let (least, _) = S::as_mut_simd_f32s(least);
        let (labels, _) = S::as_mut_simd_u32s(labels);
        for j in 0..VECTORS {
            let (mut distance, mut label) = (least[j], labels[j]);
            for i in 0..M {
                let found = simd.add_f32s(tile[i][j], simd.splat_f32s(squares[i]));
                // Strictly: of equals the first stays.
                let closer = simd.less_than_f32s(found, distance);
                distance = simd.min_f32s(found, distance);
                label = simd.select_u32s(closer, simd.splat_u32s((first + i) as u32), label);
            }
            (least[j], labels[j]) = (distance, label);
        }
    }
}
