//! `tersor generate map`: which clusters of keys each cluster of queries reads, from centroids alone.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tersor::data::{Array, Elements, npy};
use tersor::generate::Budget;
use tersor::generate::semantic::CentroidFile;

use super::{line, usage, within};
use crate::cli::show::{Output, check_outputs};

/// Choose the clusters of keys that each cluster of queries reads, from centroids and sizes
///
/// A cluster of keys weighs its size times the exponential of its centroid's score. The heaviest are read until those before
/// carry more than P, and the first R of all in any case; with P = 1 all that are not empty.
#[derive(Args)]
pub struct Map {
    /// q_centroids [heads, cq, width], k_centroids [heads, ck, width], k_sizes [heads, ck]; or without the axis of heads
    #[arg(long, value_name = "C.npz")]
    centroids: PathBuf,
    /// The share of the weight, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.9, allow_negative_numbers = true)]
    top_p: f64,
    /// The share of the clusters of keys that is read at least
    #[arg(long, value_name = "R", default_value_t = 0.1, allow_negative_numbers = true)]
    min_ratio: f64,
    /// Products are multiplied by this before softmax (default: 1 / √width)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    scale: Option<f32>,
    /// Write the map: booleans [heads, cq, ck]
    #[arg(short, long, value_name = "MAP.npy")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report<'a> {
    heads: usize,
    cq: usize,
    ck: usize,
    /// Pairs of clusters that are read, and their share.
    read: usize,
    share: f64,
    /// The share of keys that a cluster of queries reads, the mean.
    keys: f64,
    out: &'a PathBuf,
}

impl Map {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[&self.centroids], &[Some(&self.out)])?;
        let budget = Budget { top_p: self.top_p, min_ratio: self.min_ratio };
        budget.check().map_err(usage)?;
        let centroids = CentroidFile::read(&self.centroids).map_err(within(&self.centroids))?;
        let map = centroids.maps(self.scale, budget).map_err(within(&self.centroids))?;
        let [heads, cq, ck, _] = centroids.shape;
        let read = map.iter().filter(|read| **read).count();
        let of_head = |(map, sizes): (&[bool], &[usize])| {
            let kept =
                |row: &[bool]| row.iter().zip(sizes).filter(|(read, _)| **read).map(|(_, size)| size).sum::<usize>();
            let all = (cq * sizes.iter().sum::<usize>()).max(1);
            map.chunks_exact(ck).map(kept).sum::<usize>() as f64 / all as f64
        };
        let of_heads = map.chunks_exact(cq * ck).zip(centroids.k_sizes().chunks_exact(ck));
        let report = Report {
            heads,
            cq,
            ck,
            read,
            share: read as f64 / map.len() as f64,
            keys: of_heads.map(of_head).sum::<f64>() / heads as f64,
            out: &self.out,
        };
        let array = Array::new([heads, cq, ck], Elements::Bool(map)).context("a map fits its shape")?;
        npy::write(&self.out, &array)?;
        self.output.show(&report, || {
            let mut text = String::new();
            line(&mut text, "clusters", &format!("{cq} of queries, {ck} of keys, {heads} heads"));
            let share = 100.0 * report.share;
            line(
                &mut text,
                "read",
                &format!("{read} pairs of clusters ({share:.2} %), {:.2} % of the keys", 100.0 * report.keys),
            );
            line(&mut text, "written", &self.out.display().to_string());
            text
        })
    }
}
