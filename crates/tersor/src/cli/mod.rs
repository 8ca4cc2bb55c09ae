//! The command line: a verb reads, plans, runs and shows. No algorithm lives here.
//!
//! | file | its one idea |
//! | --- | --- |
//! | `tour.rs` | `tersor tour`: one stop for each system, one table |
//! | `report.rs` | the tour as a single HTML file with its figures |
//! | `data.rs` | `tersor data`: real models and data sets by name |
//! | `dataset.rs` | labelled pictures, wherever they lie |
//! | `compress.rs`, `tiny.rs` | `tersor compress`, and so on, a file for each room |
//! | `show.rs` | the flags that all verbs share; tables, JSON and progress |
//! | `quantity.rs` | numbers as a person reads them |
//! | `machine.rs` | on what a measurement was taken |
//!
//! The exit code is 0 when the work is done, 1 when it failed and 2 when the command was not understood. Results go
//! to stdout, everything else to stderr.

#[cfg(feature = "compress")]
mod compress;
mod data;
#[cfg(feature = "train")]
mod dataset;
#[cfg(feature = "generate")]
mod generate;
#[cfg(feature = "graph")]
mod graph;
mod machine;
mod quantity;
mod report;
mod show;
#[cfg(feature = "tiny")]
mod tiny;
mod tour;
#[cfg(feature = "train")]
mod train;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// The same work with less: what each system spares, and what that costs
#[derive(Parser)]
#[command(name = "tersor", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Tour(tour::Tour),
    #[cfg(feature = "compress")]
    #[command(subcommand)]
    Compress(compress::Compress),
    #[command(subcommand)]
    Data(data::Data),
    #[cfg(feature = "generate")]
    #[command(subcommand)]
    Generate(generate::Generate),
    #[cfg(feature = "graph")]
    #[command(subcommand)]
    Graph(graph::Graph),
    #[cfg(feature = "tiny")]
    #[command(subcommand)]
    Tiny(tiny::Tiny),
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Train(train::Train),
    /// Print the completion script of a shell
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
}

/// Runs the verb on the command line. Clap ends the process itself on `--help` and on bad usage.
pub fn main() -> ExitCode {
    match Cli::parse().verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", in_one_line(&error));
            if error.is::<show::BadUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

impl Verb {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Tour(tour) => tour.run(),
            #[cfg(feature = "compress")]
            Self::Compress(compress) => compress.run(),
            Self::Data(data) => data.run(),
            #[cfg(feature = "generate")]
            Self::Generate(generate) => generate.run(),
            #[cfg(feature = "graph")]
            Self::Graph(graph) => graph.run(),
            #[cfg(feature = "tiny")]
            Self::Tiny(tiny) => tiny.run(),
            #[cfg(feature = "train")]
            Self::Train(train) => train.run(),
            Self::Completions { shell } => completions(shell),
        }
    }
}

fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new(); // clap_complete panics if its writer fails, and stdout may
    clap_complete::generate(shell, &mut Cli::command(), "tersor", &mut script);
    show::print(&script)
}

/// The error and its causes, outermost first. A cause that its error has told already is not said twice.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    // Names in a hostile file may hold what a terminal obeys.
    said.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        let error = anyhow!("no such file").context("a.npy: cannot be read: no such file").context("reading the input");
        assert_eq!(in_one_line(&error), "reading the input: a.npy: cannot be read: no such file");
    }
}
