//! The network that a verb is given: a file, or one that is known by its name.

use std::path::Path;

use anyhow::{Context, bail};
use tersor::compress::architecture::{Architecture, efficientnet};
use tersor::compress::model::Model;
use tersor::data::fetch;

/// The name under which EfficientNet-Lite0 comes.
const EFFICIENTNET: &str = "efficientnet-lite0";

/// What MODEL says.
pub enum Source {
    /// A network that is built here, untrained.
    Untrained(Architecture),
    /// A trained network, or at least its weights.
    Trained(Model),
}

impl Source {
    /// Reads what `model` names, for inputs of this shape where its file leaves axes open.
    fn read_for(model: &Path, shape: &[usize]) -> anyhow::Result<Self> {
        let name = model.to_str().unwrap_or_default();
        if !model.exists() {
            if let Some(architecture) = Architecture::named(name) {
                return Ok(Self::Untrained(architecture));
            }
            if name == EFFICIENTNET {
                return Ok(Self::Trained(efficientnet::read(fetch::path(EFFICIENTNET)?)?));
            }
        }
        if model.extension().is_some_and(|suffix| suffix == "pth") {
            return Ok(Self::Trained(efficientnet::read(model)?));
        }
        let known: Vec<_> = Architecture::ALL.iter().map(|architecture| architecture.name()).collect();
        let read = Model::read_for(model, shape);
        if !model.exists() {
            let names = format!("networks known by name: {}, {EFFICIENTNET}", known.join(", "));
            return read.map(Self::Trained).context(names);
        }
        Ok(Self::Trained(read?))
    }

    /// Reads what `model` names.
    pub fn read(model: &Path) -> anyhow::Result<Self> {
        Self::read_for(model, &[])
    }
}

/// A trained network from `model`.
pub fn trained(model: &Path) -> anyhow::Result<Model> {
    trained_for(model, &[])
}

/// The same, for inputs of this shape where its file leaves axes open.
pub fn trained_for(model: &Path, shape: &[usize]) -> anyhow::Result<Model> {
    match Source::read_for(model, shape)? {
        Source::Trained(model) => Ok(model),
        Source::Untrained(architecture) => bail!(
            "{name} is not trained; `tersor compress prune {name} --data DATA --sparsity 0 -o FILE.safetensors` trains it",
            name = architecture.name()
        ),
    }
}

/// Channels, height and width of what a network takes.
pub fn picture(model: &Model) -> anyhow::Result<[usize; 3]> {
    let network = model.network("looking at pictures")?;
    let graph = network.main();
    let shape = graph.inputs.first().map(|&t| graph.tensors[t].shape.clone()).unwrap_or_default();
    match shape[..] {
        [_, channels, height, width] => Ok([channels, height, width]),
        _ => bail!("{}: takes an input of shape {shape:?}, not pictures", model.name),
    }
}
