//! `tersor generate cluster`: k-means of any points.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tersor::data::{Array, Elements, npy, npz};
use tersor::generate::clusters::whole;
use tersor::generate::semantic::first_rows;
use tersor::kernels::kmeans::{self, Clustering, Settings, lloyd, reference};

use super::{ends_in, line, usage};
use crate::cli::quantity::{seconds, thousands};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs};

/// Cluster points by k-means (Lloyd's iteration), as attention by clusters does
///
/// Ties go to the lowest cluster, an empty cluster keeps its centroid, and iterations end once no centroid moves by 1e-4.
#[derive(Args)]
pub struct Cluster {
    /// Points: .npy [points, width] of float16, float32 or float64; of an .npz, the array x
    #[arg(long, value_name = "X.npy")]
    x: PathBuf,
    /// How many clusters
    #[arg(long, value_name = "C")]
    clusters: usize,
    /// The first centroids: whole numbers are rows of X, [C]; others are centroids, [C, width] (default: rows by --seed)
    #[arg(long, value_name = "ROWS.npy")]
    init: Option<PathBuf>,
    /// Iterations, at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    iters: usize,
    /// For the rows that are the first centroids
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Compute in f64, as the formulas read
    #[arg(long)]
    f64: bool,
    /// Write labels, sizes, centroids, and the inertia before each update
    #[arg(short, long, value_name = "C.npz")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report<'a> {
    points: usize,
    width: usize,
    clusters: usize,
    empty_clusters: usize,
    largest_cluster: usize,
    iterations: usize,
    /// Squared distances of points to their centroids, before the first update and before the last.
    first_inertia: f64,
    inertia: f64,
    last_shift: f64,
    seconds: f64,
    out: &'a PathBuf,
}

impl Cluster {
    pub fn run(self) -> anyhow::Result<()> {
        let inputs: Vec<&Path> = [Some(&self.x), self.init.as_ref()].into_iter().flatten().map(|p| &**p).collect();
        check_outputs(&inputs, &[Some(&self.out)])?;
        self.threads.start()?;
        let (x, width) = matrix(&self.x, "x")?;
        let points = x.len() / width;
        if self.clusters == 0 || self.clusters > points {
            bail!(BadUsage(format!("--clusters is {}; it must be from 1 to the {points} points", self.clusters)));
        }
        if self.iters == 0 {
            bail!(BadUsage("--iters is 0; it must be at least 1".into()));
        }
        let first = self.first(&x, width)?;
        let settings = Settings { iterations: self.iters, ..Settings::default() };
        let progress = self.output.spinner().with_message("clustering");
        let start = Instant::now();
        let named = |why: kmeans::Error| anyhow::Error::new(why).context(self.x.display().to_string());
        let (found, centroids) = if self.f64 {
            let found = reference::lloyd(&x, width, &first, &settings).map_err(named)?;
            let centroids = Elements::F64(found.centroids.clone());
            (found, centroids)
        } else {
            let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            let found = lloyd(&narrow(&x), width, &narrow(&first), &settings).map_err(named)?;
            let Clustering { labels, sizes, centroids, inertia, shift } = found;
            (Clustering { labels, sizes, centroids: Vec::new(), inertia, shift }, Elements::F32(centroids))
        };
        let seconds = start.elapsed().as_secs_f64();
        progress.finish_and_clear();
        let array = |shape: Vec<usize>, elements| Array::new(shape, elements).context("an array fits its shape");
        let arrays = [
            ("labels", array(vec![points], Elements::I32(found.labels.iter().map(|&label| label as i32).collect()))?),
            (
                "sizes",
                array(vec![self.clusters], Elements::I64(found.sizes.iter().map(|&size| size as i64).collect()))?,
            ),
            ("centroids", array(vec![self.clusters, width], centroids)?),
            ("inertia", array(vec![found.inertia.len()], Elements::F64(found.inertia.clone()))?),
        ];
        npz::write(&self.out, &arrays.each_ref().map(|(name, array)| (*name, array)))?;
        let report = Report {
            points,
            width,
            clusters: self.clusters,
            empty_clusters: found.sizes.iter().filter(|size| **size == 0).count(),
            largest_cluster: found.sizes.iter().copied().max().unwrap_or(0),
            iterations: found.inertia.len(),
            first_inertia: found.inertia[0],
            inertia: found.inertia[found.inertia.len() - 1],
            last_shift: found.shift,
            seconds,
            out: &self.out,
        };
        self.output.show(&report, || shown(&report))
    }

    /// The first centroids.
    fn first(&self, x: &[f64], width: usize) -> anyhow::Result<Vec<f64>> {
        let points = x.len() / width;
        let rows = |rows: Vec<usize>| rows.into_iter().flat_map(|row| &x[row * width..][..width]).copied().collect();
        let Some(path) = &self.init else {
            return Ok(rows(first_rows(points, self.clusters, self.seed).map_err(usage)?));
        };
        let (file, clusters) = (path.display(), self.clusters);
        let array = npy::read(path)?;
        if matches!(array.elements(), Elements::F16(_) | Elements::F32(_) | Elements::F64(_)) {
            if array.shape() != [clusters, width] {
                bail!("{file}: the array has the shape {:?}; expected [{clusters}, {width}]", array.shape());
            }
            return wide(path, array);
        }
        let numbers = whole("init", &array).with_context(|| file.to_string())?;
        if array.shape() != [clusters] {
            bail!("{file}: the array has the shape {:?}; expected [{clusters}]", array.shape());
        }
        if let Some(bad) = numbers.iter().find(|&&row| row as usize >= points) {
            bail!("{file}: row {bad} of {points} points");
        }
        Ok(rows(numbers.into_iter().map(|row| row as usize).collect()))
    }
}

/// Rows of numbers, and their width.
fn matrix(path: &Path, name: &str) -> anyhow::Result<(Vec<f64>, usize)> {
    let array = if ends_in(path, "npz") { npz::open(path)?.read(name)? } else { npy::read(path)? };
    let (&[_, width] | &[1, _, width]) = array.shape() else {
        bail!("{}: the array has the shape {:?}; expected [points, width]", path.display(), array.shape());
    };
    if array.is_empty() {
        bail!("{}: the array has the shape {:?}; expected at least one number", path.display(), array.shape());
    }
    Ok((wide(path, array)?, width))
}

fn wide(path: &Path, array: Array) -> anyhow::Result<Vec<f64>> {
    let found = array.element_type();
    Ok(match array.into_elements() {
        Elements::F16(x) => x.into_iter().map(f64::from).collect(),
        Elements::F32(x) => x.into_iter().map(f64::from).collect(),
        Elements::F64(x) => x,
        _ => bail!("{}: elements of type {found}; expected float16, float32 or float64", path.display()),
    })
}

fn shown(report: &Report) -> String {
    let Report { points, width, clusters, empty_clusters, largest_cluster, iterations, .. } = *report;
    let mut text = String::new();
    line(&mut text, "points", &format!("{} of {width} numbers", thousands(points as u64)));
    let sizes = format!("{clusters}, {empty_clusters} of them empty, the largest of {largest_cluster} points");
    line(&mut text, "clusters", &sizes);
    line(&mut text, "inertia", &format!("{:.6e}, from {:.6e} at first", report.inertia, report.first_inertia));
    line(&mut text, "time", &format!("{}, iterations: {iterations}", seconds(report.seconds)));
    line(&mut text, "written", &report.out.display().to_string());
    text
}
