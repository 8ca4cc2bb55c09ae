//! `tersor train`: networks from data, in runs that can be killed and resumed.

use clap::Subcommand;

mod dataset;
mod fit;

/// Networks from data, in runs that can be killed and resumed
#[derive(Subcommand)]
pub enum Train {
    Fit(Box<fit::Fitting>),
}

impl Train {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Fit(fitting) => fitting.run(),
        }
    }
}
