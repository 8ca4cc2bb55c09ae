//! `tersor compress sensitivity`: what each layer loses alone.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use tersor::compress::granularity::Granularity;
use tersor::compress::picture;
use tersor::compress::prune::pattern;
use tersor::compress::sensitivity::{self, DENSITIES, Sensitivity};
use tersor::compress::weights::{selected, weights_of};

use super::{lessons, source};
use crate::cli::show::{BadUsage, Output, Threads, check_outputs, table};

/// Prune each layer alone, without retraining, and see what that costs
#[derive(Args)]
pub struct Scan {
    /// A trained network: .safetensors, .onnx, or efficientnet-lite0
    model: PathBuf,
    /// Pictures: mnist-8k, mnist-5k, fashion-mnist, cifar-1k, a folder, a .zip or a .csv
    #[arg(long, value_name = "NAME|DIR")]
    data: PathBuf,
    /// Shares of the weights that stay
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = DENSITIES)]
    densities: Vec<f64>,
    /// What is removed together: element, 1x8, 8x1, 2:4 or kernel
    #[arg(long, default_value = "element")]
    granularity: Granularity,
    /// Only weights whose names this regular expression finds
    #[arg(long, value_name = "REGEX")]
    layers: Option<String>,
    /// Draw the curves
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

impl Scan {
    pub fn run(self) -> anyhow::Result<()> {
        if matches!(self.granularity, Granularity::Channel | Granularity::TwoOfFour) {
            bail!(BadUsage(format!("{} has no threshold to scan", self.granularity)));
        }
        if let Some(density) = self.densities.iter().find(|density| !(**density > 0.0 && **density <= 1.0)) {
            bail!(BadUsage(format!("a density of {density} is not above 0 and at most 1")));
        }
        check_outputs(&[&self.model], &[self.svg.as_ref()])?;
        self.threads.start()?;
        let model = source::trained(&self.model)?;
        let network = model.network("a scan")?;
        let lessons = lessons::read(&self.data, source::picture(&model)?, model.normalisation.as_ref(), 1)?;
        let pattern = self.layers.as_deref().map(pattern).transpose()?;
        let weights = selected(&network.name, weights_of(network), pattern.as_ref())?;
        let bar = self.output.progress("layers", weights.len() as u64);
        let scan =
            sensitivity::scan(network, &weights, &lessons, self.granularity, &self.densities, &mut |_| bar.inc(1))?;
        bar.finish_and_clear();
        if let Some(file) = &self.svg {
            let svg = picture::sensitivity(&scan)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        self.output.show(&scan, || told(&scan))
    }
}

fn told(scan: &Sensitivity) -> String {
    let mut rows = table(["=weights of", ">density", ">quality", ">error", ">loss"]);
    for curve in &scan.layers {
        for point in &curve.points {
            rows.add_row([
                curve.tensor.clone(),
                format!("{:.1} %", 100.0 * point.density),
                format!("{:.2}", point.quality),
                format!("{:.2} %", point.error),
                format!("{:.4}", point.loss),
            ]);
        }
    }
    format!("{}: {:.2} % wrong, loss {:.4}\n\n{}\n", scan.network, scan.error, scan.loss, rows.trim_fmt())
}
