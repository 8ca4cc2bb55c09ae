//! `tersor compress eval`: what a network gets right.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tersor::compress::evaluate::{evaluate, named_by_class};
use tersor::network::float::Kernel;
use tersor::train::loader::Normalisation;

use super::source;
use crate::cli::show::{BadUsage, Output, Threads};

/// Show labelled pictures to a network: the class of `012_anything.jpg` is 12
///
/// Pictures of another size than the network's are scaled so that its square is 7/8 of their shorter side, and their
/// middle is cut out.
#[derive(Args)]
pub struct Eval {
    /// A trained network: .safetensors, .onnx, or efficientnet-lite0
    model: PathBuf,
    /// A folder of pictures; the class is the file's name up to the first `_`
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How layers are computed: dense, sparse or auto
    #[arg(long, default_value = "auto")]
    kernel: Kernel,
    /// The pixel that becomes 0, for each channel, from 0 to 1 [default: the model's own, else 0]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    mean: Vec<f32>,
    /// What pixels are then divided by [default: the model's own, else 1]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    deviation: Vec<f32>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Evaluated {
    network: String,
    count: usize,
    top1: usize,
    top5: usize,
    error: f64,
    loss: f64,
    /// The names of the pictures whose first answer was wrong.
    wrong: Vec<String>,
}

impl Eval {
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.start()?;
        let model = source::trained(&self.model)?;
        let picture = source::picture(&model)?;
        let normalisation = normalisation(&self.mean, &self.deviation, model.normalisation.clone(), picture[0])?;
        let spinner = self.output.spinner().with_message("looking at pictures");
        let (examples, names) = named_by_class(&self.data, picture)?;
        let judged = evaluate(model.network("looking at pictures")?, self.kernel, &examples, &normalisation)?;
        spinner.finish_and_clear();
        let answers = names.into_iter().zip(&judged.answers).zip(examples.labels());
        let wrong = answers.filter(|((_, answer), label)| answer != label).map(|((name, _), _)| name).collect();
        let report = Evaluated {
            network: model.name.clone(),
            count: judged.count,
            top1: judged.top1,
            top5: judged.top5,
            error: judged.error(),
            loss: judged.loss,
            wrong,
        };
        self.output.show(&report, || {
            let Evaluated { network, count, top1, top5, error, loss, wrong } = &report;
            let mut text = format!(
                "{network}: first answer right {top1} of {count}, among five {top5}; {error:.2} % wrong, loss {loss:.4}\n"
            );
            for name in wrong {
                text += &format!("wrong: {name}\n");
            }
            text
        })
    }
}

/// What the flags say, else what the model says, else pixels from 0 to 1.
fn normalisation(
    mean: &[f32],
    deviation: &[f32],
    own: Option<Normalisation>,
    channels: usize,
) -> anyhow::Result<Normalisation> {
    let own = own.unwrap_or(Normalisation { mean: vec![0.0; channels], deviation: vec![1.0; channels] });
    let given = |values: &[f32], own: Vec<f32>, what: &str| match values {
        [] => Ok(own),
        &[one] => Ok(vec![one; channels]),
        many if many.len() == channels => Ok(many.to_vec()),
        many => Err(BadUsage(format!("{what} has {} numbers for {channels} channels", many.len()))),
    };
    let (mean, deviation) = (given(mean, own.mean, "--mean")?, given(deviation, own.deviation, "--deviation")?);
    if deviation.iter().any(|&d| !(d > 0.0 && d.is_finite())) || mean.iter().any(|m| !m.is_finite()) {
        return Err(BadUsage("--deviation must be above 0, and --mean finite".into()).into());
    }
    Ok(Normalisation { mean, deviation })
}
