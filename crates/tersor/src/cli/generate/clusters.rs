//! The flags and reports of attention by clusters, and by SVG1.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::generate::attend::Tensors;
use tersor::generate::semantic::{Found, Text};
use tersor::generate::svg1::Kind;
use tersor::generate::{Budget, CentroidCache, ClusterFile, ClusterMask, Grid, SemanticAttention, Svg1, picture};

use super::{ends_in, usage, within};
use crate::cli::show::BadUsage;

/// Which clusters, and how much of them is read.
#[derive(Debug, Clone, Args)]
pub struct ClusterFlags {
    /// Clusters of queries (default: 250 queries in each on average)
    #[arg(long, value_name = "C")]
    cq: Option<usize>,
    /// Clusters of keys (default: 75 keys in each on average)
    #[arg(long, value_name = "C")]
    ck: Option<usize>,
    /// Iterations of k-means, at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    iters: usize,
    /// The share of its weight that a cluster of queries shall read, by centroids
    #[arg(long, value_name = "P", default_value_t = 0.9, allow_negative_numbers = true)]
    top_p: f64,
    /// The share of the clusters of keys that is read at least
    #[arg(long, value_name = "R", default_value_t = 0.1, allow_negative_numbers = true)]
    min_ratio: f64,
    /// For the tokens that are the first centroids, and for the queries on which SVG1 tries its heads
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tokens of padding behind the text: they read and are read by themselves alone
    #[arg(long, value_name = "N", default_value_t = 0)]
    padding: usize,
    /// Let the mean key and mean value of each cluster that is left out stand for it (not in the paper; svg2 and svg1); a
    /// plan with text that is read wants its --text and --padding again, of which there are no means
    #[arg(long)]
    pub means: bool,
    /// Write the plan: q_labels, k_labels, map, q_centroids, k_centroids
    #[arg(long, value_name = "P.npz")]
    plan_out: Option<PathBuf>,
    /// Read the plan instead of making one; labels and map suffice
    #[arg(long, value_name = "P.npz", conflicts_with_all = ["cq", "ck", "plan_out"])]
    plan_in: Option<PathBuf>,
    /// Paint the clusters of the first head's queries on the frames of --frames and --grid
    #[arg(long, value_name = "C.png", requires_all = ["frames", "grid"])]
    paint: Option<PathBuf>,
    /// Tokens of a frame: rows x tokens in a row, such as 48x80
    #[arg(long, value_name = "HxW", value_parser = super::parse_grid)]
    grid: Option<(usize, usize)>,
}

/// A plan of clusters, and what making it took.
#[derive(Serialize)]
pub struct Clusters {
    /// Groups of queries and of keys.
    groups: [usize; 2],
    #[serde(flatten)]
    found: Option<Found>,
    /// What SVG1 takes the heads for.
    #[serde(skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<Kind>>,
    /// The share of pairs that are read, head by head.
    density: Vec<f64>,
    /// Of clustering and making the map.
    pub plan_seconds: f64,
    #[serde(skip)]
    pub mask: ClusterMask,
}

impl ClusterFlags {
    /// What is read and written.
    pub fn files(&self) -> [Option<&PathBuf>; 3] {
        [self.plan_in.as_ref(), self.plan_out.as_ref(), self.paint.as_ref()]
    }

    /// Whether a flag of clusters was given that other methods have no use for.
    pub fn check(&self, semantic: bool) -> anyhow::Result<()> {
        if !semantic && (self.files().iter().any(Option::is_some) || self.cq.is_some() || self.ck.is_some()) {
            bail!(BadUsage("--cq, --ck, --plan-in, --plan-out and --paint are of --method svg2".into()));
        }
        if let Some(paint) = self.paint.as_ref().filter(|paint| !ends_in(paint, "png")) {
            bail!(BadUsage(format!("{}: clusters are painted on a .png", paint.display())));
        }
        Ok(())
    }

    pub fn budget(&self) -> Budget {
        Budget { top_p: self.top_p, min_ratio: self.min_ratio }
    }

    /// The tokens behind the video.
    pub fn text(&self, prompt: usize) -> Text {
        Text { prompt, padding: self.padding }
    }

    pub fn semantic(&self, text: usize) -> SemanticAttention {
        let Self { cq, ck, iters, seed, means, .. } = *self;
        let text = self.text(text);
        SemanticAttention {
            cq,
            ck,
            budget: self.budget(),
            iters_init: iters,
            seed,
            text,
            means,
            ..SemanticAttention::default()
        }
    }

    /// The plan of clusters, made of the tensors of `files` or read; written and painted as asked.
    pub fn plan(
        &self,
        tensors: &Tensors<'_>,
        files: &str,
        frames: Option<usize>,
        text: usize,
    ) -> anyhow::Result<Clusters> {
        self.budget().check().map_err(usage)?;
        let start = Instant::now();
        let (file, found) = match &self.plan_in {
            Some(path) => (ClusterFile::read(path).map_err(within(path))?, None),
            None => {
                let semantic = self.semantic(text);
                let clustered = semantic.cluster(0, tensors, &mut CentroidCache::new()).map_err(usage);
                let (clustered, found) = clustered.with_context(|| files.to_owned())?;
                (clustered.file(semantic.budget)?, Some(found))
            }
        };
        let plan_seconds = start.elapsed().as_secs_f64();
        if let Some(path) = &self.plan_out {
            file.write(path)?;
        }
        if let (Some(path), Some(frames), Some((height, width))) = (&self.paint, frames, self.grid) {
            let labels = file.mask.head(0).queries().labels();
            picture::clusters(labels, &Grid { frames, height, width }).map_err(usage)?.write_png(path)?;
        }
        Ok(Clusters::of(file.mask, found, None, plan_seconds))
    }

    /// The plan of SVG1, of the tensors of `files`.
    pub fn svg1(&self, tensors: &Tensors<'_>, files: &str, svg1: Svg1) -> anyhow::Result<Clusters> {
        let start = Instant::now();
        let planned = Svg1 { seed: self.seed, ..svg1 }.plan(tensors).map_err(usage);
        let (mask, kinds) = planned.with_context(|| files.to_owned())?;
        Ok(Clusters::of(mask, None, Some(kinds), start.elapsed().as_secs_f64()))
    }
}

impl Clusters {
    fn of(mask: ClusterMask, found: Option<Found>, kinds: Option<Vec<Kind>>, plan_seconds: f64) -> Self {
        let groups = [mask.head(0).queries().count(), mask.head(0).keys().count()];
        let density = mask.heads().iter().map(|head| head.density()).collect();
        Self { groups, found, kinds, density, plan_seconds, mask }
    }

    /// As a line tells it.
    pub fn told(&self) -> String {
        let [queries, keys] = self.groups;
        match (&self.kinds, &self.found) {
            (Some(kinds), _) => {
                let temporal = kinds.iter().filter(|kind| **kind == Kind::Temporal).count();
                format!("{} heads spatial, {temporal} temporal, in {queries} blocks", kinds.len() - temporal)
            }
            (_, Some(found)) => {
                let iterations = found.iterations;
                format!("{queries} of queries, {keys} of keys, by {iterations} iterations at most")
            }
            _ => format!("{queries} of queries, {keys} of keys, as planned"),
        }
    }
}
