//! The flags that verbs share, and how results are shown: a table for people, one JSON document for programs.

#![allow(dead_code, reason = "a build with few rooms needs few of these")]

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use serde::Serialize;

/// A verb's flags about its output.
#[derive(Debug, Clone, Default, Args)]
pub struct Output {
    /// Write one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// The flag of a verb that computes in parallel.
#[derive(Debug, Clone, Args)]
pub struct Threads {
    /// Threads to compute with; 0 takes all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    pub threads: u16,
}

/// Flags that do not go together in a way that clap cannot see: the exit code is 2, as when clap refuses.
#[derive(Debug)]
pub struct BadUsage(pub String);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; for more, try '--help'", self.0)
    }
}

impl std::error::Error for BadUsage {}

impl Output {
    /// Shows a result on stdout: `report` with `--json`, else `table`.
    pub fn show(&self, report: &impl Serialize, table: impl FnOnce() -> String) -> anyhow::Result<()> {
        let mut text = if self.json { serde_json::to_string_pretty(report)? } else { table() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        print(text.as_bytes())
    }

    /// Tells on stderr what is not a result, unless asked to be quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A line that says what is going on, for work of unknown length. It vanishes when dropped.
    pub fn spinner(&self) -> ProgressBar {
        let bar = self.bar(ProgressBar::new_spinner(), "{spinner} {wide_msg} {elapsed}");
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A bar with rate and time left, for `length` steps of work. It vanishes when dropped.
    pub fn progress(&self, what: &'static str, length: u64) -> ProgressBar {
        let template = "{msg} {wide_bar} {human_pos}/{human_len}, {per_sec}, {eta} left";
        self.bar(ProgressBar::new(length), template).with_message(what)
    }

    fn bar(&self, bar: ProgressBar, template: &str) -> ProgressBar {
        let visible = !self.quiet && io::stderr().is_terminal();
        bar.set_draw_target(if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
            .with_finish(ProgressFinish::AndClear)
    }
}

impl Threads {
    /// Makes rayon's pool as `--threads` says. Call it once, before the work.
    pub fn start(&self) -> anyhow::Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads.into()).build_global();
        pool.with_context(|| format!("{} threads cannot be started", self.threads))
    }
}

/// Files that a verb will write, before it works for them: each another than those it reads and writes besides, in a
/// folder that is there.
pub fn check_outputs(inputs: &[&Path], outputs: &[Option<&PathBuf>]) -> anyhow::Result<()> {
    let outputs: Vec<_> = outputs.iter().copied().flatten().collect();
    for (at, output) in outputs.iter().enumerate() {
        let same = |other: &Path| other == output.as_path() || output.exists() && is_same(other, output);
        if inputs.iter().any(|input| same(input)) || outputs[..at].iter().any(|other| same(other)) {
            bail!(BadUsage(format!("{} is read or written already; name another file", output.display())));
        }
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            bail!("{}: cannot be written: there is no folder {}", output.display(), folder.display());
        }
    }
    Ok(())
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Writes to stdout. A reader that has seen enough and left (`| head`) is not an error.
pub fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the output cannot be written"),
    }
}

/// An empty table, as wide as the terminal at most; without a terminal it wraps nothing.
///
/// A header that begins with `>` stands over numbers, which are set to the right; one that begins with `=` over names
/// that one copies. Neither are ever wrapped.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    const RULED: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    let mut table = Table::new();
    let bold = |name: &str| Cell::new(name.trim_start_matches(['>', '='])).add_attribute(Attribute::Bold);
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.map(bold).to_vec());
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if name.starts_with(['>', '=']) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
