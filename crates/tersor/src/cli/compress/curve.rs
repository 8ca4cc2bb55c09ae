//! `tersor compress curve`: accuracy against sparsity, five ways.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tersor::compress::architecture::Architecture;
use tersor::compress::learn::Recipe;
use tersor::compress::picture;
use tersor::compress::tradeoff::{self, Point, Settings, Way};

use super::lessons;
use super::prune::Bars;
use super::source::Source;
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Cut a network to several ratios with L1 and L2, with and without retraining, at once and in rounds
#[derive(Args)]
pub struct Curve {
    /// lenet-300-100, lenet-5, vgg, resnet-8 or resnet-20
    model: PathBuf,
    /// Pictures: mnist-8k, mnist-5k, fashion-mnist, cifar-1k, a folder, a .zip or a .csv
    #[arg(long, value_name = "NAME|DIR")]
    data: PathBuf,
    /// Weights for each that stays, ascending
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "2,4,8,12,20,32")]
    ratios: Vec<f64>,
    /// Epochs of the first training [default: the network's recipe]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    dense_epochs: Option<u64>,
    /// Epochs of retraining for each ratio
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// λ of λ Σ |w|
    #[arg(long, value_name = "LAMBDA", default_value_t = 3e-5)]
    l1: f64,
    /// λ of λ/2 Σ w² [default: the network's recipe]
    #[arg(long, value_name = "LAMBDA")]
    l2: Option<f64>,
    /// Seeds from 1, of which the mean is drawn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Draw the curves
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Measured {
    network: &'static str,
    seeds: u64,
    points: Vec<Point>,
}

impl Curve {
    pub fn run(self) -> anyhow::Result<()> {
        let rising = self.ratios.windows(2).all(|pair| pair[0] < pair[1])
            && self.ratios.iter().all(|r| *r >= 1.0 && r.is_finite());
        if !rising {
            bail!(BadUsage("--ratios must rise, from 1 or more".into()));
        }
        check_outputs(&[], &[self.svg.as_ref()])?;
        self.threads.start()?;
        let Source::Untrained(architecture) = Source::read(&self.model)? else {
            bail!(BadUsage(
                "curves begin with untrained networks: lenet-300-100, lenet-5, vgg, resnet-8, resnet-20".into()
            ))
        };
        let mut points = Vec::new();
        for seed in 1..=self.seeds {
            points.extend(self.measure(architecture, seed)?);
        }
        if let Some(file) = &self.svg {
            let title = format!("{} on {}", architecture.name(), self.data.display());
            let curves = tradeoff::curves(&points);
            let svg = picture::lines(&title, "weights removed, %", "error over the dense one's, points", &curves)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        let report = Measured { network: architecture.name(), seeds: self.seeds, points };
        self.output.show(&report, || told(&report, &self.ratios))
    }

    fn measure(&self, architecture: Architecture, seed: u64) -> anyhow::Result<Vec<Point>> {
        let lessons = lessons::read(&self.data, architecture.picture(), None, seed)?;
        let mut dense = Recipe::dense(Some(architecture), seed);
        dense.epochs = self.dense_epochs.unwrap_or(dense.epochs);
        dense.l2 = self.l2.unwrap_or(dense.l2);
        let retraining = dense.retraining(Recipe::RETRAINING, self.epochs);
        let settings = Settings { ratios: self.ratios.clone(), dense, l1: self.l1, retraining };
        let network = architecture.build(lessons.classes(), seed)?;
        Ok(tradeoff::measure(&network, &lessons, &settings, &mut Bars { output: &self.output })?)
    }
}

fn told(report: &Measured, ratios: &[f64]) -> String {
    let mut rows =
        table([">ratio", ">L2 not retrained", ">L1 not retrained", ">L1 retrained", ">L2 retrained", ">L2 in rounds"]);
    let cell = |way: Way, ratio: f64| {
        let of = report.points.iter().filter(|p| p.way == way && p.ratio == ratio).map(|p| p.error - p.dense_error);
        format!("{:+.2}", of.clone().sum::<f64>() / of.count().max(1) as f64)
    };
    for &ratio in ratios {
        let cells = Way::ALL.map(|way| cell(way, ratio));
        rows.add_row(std::iter::once(format!("{ratio}")).chain(cells));
    }
    let head = format!("{}: wrong answers over the dense network's, in points; {} seeds", report.network, report.seeds);
    format!("{head}\n\n{}\n", rows.trim_fmt())
}
