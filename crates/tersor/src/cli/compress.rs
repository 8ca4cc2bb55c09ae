//! `tersor compress`: networks with fewer weights, that run faster for it.

use clap::Subcommand;

mod bench;
mod curve;
mod eval;
mod export;
mod finetune;
mod inspect;
mod layers;
mod lessons;
mod prune;
mod run;
mod sensitivity;
mod source;

/// Networks with fewer weights, that run faster for it
#[derive(Subcommand)]
pub enum Compress {
    Prune(Box<prune::Prune>),
    Sensitivity(sensitivity::Scan),
    Curve(curve::Curve),
    Finetune(finetune::Finetune),
    Eval(eval::Eval),
    Run(run::Run),
    Inspect(inspect::Inspect),
    Export(export::Export),
    Bench(bench::Bench),
}

impl Compress {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Prune(prune) => prune.run(),
            Self::Sensitivity(scan) => scan.run(),
            Self::Curve(curve) => curve.run(),
            Self::Finetune(finetune) => finetune.run(),
            Self::Eval(eval) => eval.run(),
            Self::Run(run) => run.run(),
            Self::Inspect(inspect) => inspect.run(),
            Self::Export(export) => export.run(),
            Self::Bench(bench) => bench.run(),
        }
    }
}
