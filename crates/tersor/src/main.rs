//! The `tersor` command: `cli/mod.rs` has its verbs.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
