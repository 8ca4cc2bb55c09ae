//! `tersor train`: networks from data, in runs that can be killed and resumed.

use clap::Subcommand;

mod bench;
mod fit;

/// Networks from data, in runs that can be killed and resumed
#[derive(Subcommand)]
pub enum Train {
    Fit(Box<fit::Fitting>),
    Bench(bench::Bench),
}

impl Train {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Fit(fitting) => fitting.run(),
            Self::Bench(bench) => bench.run(),
        }
    }
}
