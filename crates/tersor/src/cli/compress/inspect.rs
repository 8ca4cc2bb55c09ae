//! `tersor compress inspect`: what a network or a plan keeps.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tersor::compress::account::Account;
use tersor::compress::channel::Removal;
use tersor::compress::granularity::Granularity;
use tersor::compress::mask::Mask;
use tersor::compress::picture;
use tersor::compress::plan::{Difference, LayerPlan, Plan};
use tersor::network::float::{Float, Kernel, Layer};

use super::{layers, source};
use crate::cli::quantity::thousands;
use crate::cli::show::{Output, table};

/// Show what is left of each layer, how it would run, and where two plans differ
#[derive(Args)]
pub struct Inspect {
    /// A network (.safetensors, .onnx, efficientnet-lite0) or a plan (.json)
    model: PathBuf,
    /// Another network or plan to compare with
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// Pictures at once that a run is planned for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Draw how dense each layer is, and the pattern of its connections
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Inspected {
    account: Option<Account>,
    /// How each layer would be computed, if the operators are known.
    kernels: Option<Vec<Layer>>,
    plan: Option<Summary>,
    diff: Option<Vec<Difference>>,
}

#[derive(Serialize)]
struct Summary {
    network: String,
    layers: Vec<Line>,
    /// Channels that go together, if channels were pruned.
    channels: Option<Removal>,
}

#[derive(Serialize)]
struct Line {
    tensor: String,
    shape: Vec<usize>,
    granularity: Granularity,
    quality: f64,
    threshold: f64,
    kept: usize,
    weights: usize,
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<()> {
        let (plan, account, kernels) = self.read(&self.model)?;
        let diff = match &self.diff {
            Some(other) => Some(plan.compared(&self.read(other)?.0)?),
            None => None,
        };
        if let Some(file) = &self.svg {
            let svg = picture::plan(&plan)?;
            tersor::data::atomic::write(file, |out| out.write_all(svg.as_bytes()))?;
        }
        let summary = account.is_none().then(|| summary(&plan));
        let report = Inspected { account, kernels, plan: summary, diff };
        self.output.show(&report, || told(&report))
    }

    /// The plan in a file: its own, or the zeros of a network.
    fn read(&self, path: &Path) -> anyhow::Result<(Plan, Option<Account>, Option<Vec<Layer>>)> {
        if path.extension().is_some_and(|suffix| suffix == "json") {
            let text = std::fs::read_to_string(path)
                .map_err(|source| tersor::data::Error::Read { path: path.into(), source })?;
            let plan: Plan = serde_json::from_str(&text)
                .map_err(|error| anyhow::anyhow!("{}: not a plan: {error}", path.display()))?;
            let odd = plan.layers.iter().find(|layer| layer.shape.iter().product::<usize>() != layer.mask.len());
            if let Some(layer) = odd {
                let (tensor, shape, bits) = (&layer.tensor, &layer.shape, layer.mask.len());
                anyhow::bail!("{}: `{tensor}` of shape {shape:?} has a mask of {bits} weights", path.display());
            }
            return Ok((plan, None, None));
        }
        let model = source::trained(path)?;
        let weights = model.weights()?;
        let account = Account::of(&weights);
        let kernels = match model.network("") {
            Ok(network) => {
                let engine = Float::prepare(&network.with_batch(self.batch as usize)?, Kernel::Auto);
                engine.ok().map(|engine| engine.layers().to_vec())
            }
            Err(_) => None,
        };
        let layers = weights.into_iter().map(|weight| LayerPlan {
            mask: Mask::of_nonzeros(&weight.values),
            tensor: weight.name,
            shape: weight.shape,
            granularity: Granularity::Element,
            quality: 0.0,
            threshold: 0.0,
        });
        Ok((Plan { network: model.name.clone(), layers: layers.collect(), channels: None }, Some(account), kernels))
    }
}

fn summary(plan: &Plan) -> Summary {
    let line = |layer: &LayerPlan| Line {
        tensor: layer.tensor.clone(),
        shape: layer.shape.clone(),
        granularity: layer.granularity,
        quality: layer.quality,
        threshold: layer.threshold,
        kept: layer.mask.kept(),
        weights: layer.mask.len(),
    };
    Summary {
        network: plan.network.clone(),
        layers: plan.layers.iter().map(line).collect(),
        channels: plan.channels.clone(),
    }
}

fn told(report: &Inspected) -> String {
    let mut text = report.account.as_ref().map_or(String::new(), layers::accounts);
    if let Some(kernels) = &report.kernels {
        text += &format!("\n{}", layers::kernels(kernels));
    }
    if let Some(plan) = &report.plan {
        let mut rows = table(["=weights of", "granularity", ">quality", ">threshold", ">kept", ">weights", ">density"]);
        for layer in &plan.layers {
            rows.add_row([
                layer.tensor.clone(),
                layer.granularity.to_string(),
                format!("{:.3}", layer.quality),
                format!("{:.5}", layer.threshold),
                thousands(layer.kept as u64),
                thousands(layer.weights as u64),
                format!("{:.1} %", 100.0 * layer.kept as f64 / layer.weights.max(1) as f64),
            ]);
        }
        text += &format!("{}\n", rows.trim_fmt());
    }
    if let Some(removal) = report.plan.as_ref().and_then(|plan| plan.channels.as_ref()) {
        let mut rows = table(["=channels of", ">channels", ">taken out"]);
        for group in &removal.groups {
            rows.add_row([group.layers.join(", "), group.channels.to_string(), group.removed.len().to_string()]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    if let Some(diff) = &report.diff {
        let mut rows = table(["=weights of", ">in both", ">in the first alone", ">in the second alone"]);
        for layer in diff {
            rows.add_row([
                layer.tensor.clone(),
                thousands(layer.both as u64),
                thousands(layer.first as u64),
                thousands(layer.second as u64),
            ]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    text
}
