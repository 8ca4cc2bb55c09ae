//! `tersor compress run`: a network on an array.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tersor::compress::evaluate::inputs;
use tersor::data::{Array, Elements, npy};
use tersor::network::float::{Float, Kernel, Layer};

use super::{layers, source};
use crate::cli::quantity::seconds;
use crate::cli::show::{Output, Threads, check_outputs};

/// Run a network on an array, skipping the weights that are 0 where that is faster
#[derive(Args)]
pub struct Run {
    /// A network: .safetensors, .onnx, or efficientnet-lite0
    model: PathBuf,
    /// One input or a batch of them; bytes are pixels, and become numbers as the model was taught. Axes that an ONNX file
    /// leaves open are as long as these
    #[arg(long, value_name = "FILE.npy")]
    input: PathBuf,
    /// Write the outputs
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    /// How layers are computed: dense, sparse, or for each whichever is predicted to be faster
    #[arg(long, default_value = "auto")]
    kernel: Kernel,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Ran<'a> {
    network: &'a str,
    images: usize,
    kernel: Kernel,
    seconds: f64,
    layers: &'a [Layer],
    out: &'a PathBuf,
}

impl Run {
    pub fn run(self) -> anyhow::Result<()> {
        check_outputs(&[&self.model, &self.input], &[Some(&self.out)])?;
        self.threads.start()?;
        let array = npy::read(&self.input)?;
        let model = source::trained_for(&self.model, array.shape())?;
        let network = model.network("a run")?;
        let (images, values) = inputs(network, &self.input, &array, model.normalisation.as_ref())?;
        let network = network.with_batch(images)?;
        let engine = Float::prepare(&network, self.kernel)?;
        let began = Instant::now();
        let outputs = engine.run(&mut engine.session(), &[&values])?;
        let took = began.elapsed().as_secs_f64();
        let graph = network.main();
        let shape = graph.tensors[graph.outputs[0]].shape.clone();
        let Some(array) = outputs.into_iter().next().and_then(|output| Array::new(shape, Elements::F32(output))) else {
            bail!("{}: has no output", model.name)
        };
        npy::write(&self.out, &array)?;
        let report = Ran {
            network: &network.name,
            images,
            kernel: self.kernel,
            seconds: took,
            layers: engine.layers(),
            out: &self.out,
        };
        self.output.show(&report, || {
            let shape = array.shape();
            let head =
                format!("{}: {images} in {}, output {shape:?} in {}", model.name, seconds(took), self.out.display());
            format!("{head}\n\n{}", layers::kernels(engine.layers()))
        })
    }
}
