//! `tersor data`: real models and data sets by name, through the package managers that a machine has.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde::Serialize;
use tersor::data::fetch::{self, Cache, Progress};
use tersor::data::registry::{self, Entry};

use super::quantity;
use super::show::{Output, print, table};

/// Real models and data sets, by name
#[derive(Subcommand)]
pub enum Data {
    List(List),
    Get(Get),
    Path(Where),
}

impl Data {
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Get(get) => get.run(),
            Self::Path(path) => path.run(),
        }
    }
}

/// The terminal's width from which on each field of an entry has a column of its own.
const WIDE: u16 = 160;

/// Show what can be fetched, and what is here already
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    entry: &'static Entry,
    /// Whether the file is in the cache.
    here: bool,
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let cache = Cache::new()?;
        let listed = |entry: &'static Entry| Listed { entry, here: cache.path(&entry.name).is_ok() };
        let list: Vec<Listed> = registry::list().iter().map(listed).collect();
        self.output.show(&list, || {
            let mut wide = table(["=name", "here", ">bytes", "package", "licence", "purpose"]);
            let mut narrow = table(["=name", "here", ">bytes", "purpose and package"]);
            for Listed { entry, here } in &list {
                let Entry { name, manager, package, version, licence, purpose, .. } = entry;
                let here = if *here { "yes" } else { "" };
                let bytes = quantity::thousands(entry.size);
                let package = format!("{manager} {package} {version}");
                narrow.add_row([name, here, &bytes, &format!("{purpose}\n{package}, {licence}")]);
                wide.add_row([name, here, &bytes, &package, licence, purpose]);
            }
            let table = if wide.width().is_some_and(|columns| columns < WIDE) { narrow } else { wide };
            table.trim_fmt()
        })
    }
}

/// Fetch files, verify them and print where they are
#[derive(Args)]
pub struct Get {
    /// Names, as `tersor data list` shows them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Got {
    name: &'static str,
    path: PathBuf,
    bytes: u64,
    sha256: &'static str,
    seconds: f64,
    already_here: bool,
}

impl Get {
    fn run(self) -> anyhow::Result<()> {
        let cache = Cache::new()?;
        // All names before any download: a slip in the last one should not cost the first ones' time.
        let entries = self.names.iter().map(|name| registry::entry(name)).collect::<Result<Vec<_>, _>>()?;
        let mut all = Vec::new();
        for entry in entries {
            let got = got(entry, &cache, &self.output)?;
            if !self.output.json {
                print(format!("{}\n", got.path.display()).as_bytes())?;
            }
            all.push(got);
        }
        if self.output.json { self.output.show(&all, String::new) } else { Ok(()) }
    }
}

fn got(entry: &'static Entry, cache: &Cache, output: &Output) -> anyhow::Result<Got> {
    let start = Instant::now();
    let already_here = Cell::new(false);
    let spinner = output.spinner();
    let path = fetch::get(&entry.name, cache, &|progress| {
        already_here.set(matches!(progress, Progress::Present { .. }));
        spinner.set_message(format!("{}: {}", entry.name, said(progress)));
    })?;
    Ok(Got {
        name: &entry.name,
        path,
        bytes: entry.size,
        sha256: &entry.sha256,
        seconds: start.elapsed().as_secs_f64(),
        already_here: already_here.get(),
    })
}

/// What a download is doing, for the line of progress.
pub fn said(progress: Progress<'_>) -> String {
    match progress {
        Progress::Running { command } => command.into(),
        Progress::Unpacking { .. } => "unpacking and verifying".into(),
        _ => "here".into(),
    }
}

/// Print where a fetched file is, without fetching it
#[derive(Args)]
pub struct Where {
    /// A name, as `tersor data list` shows it
    name: String,
}

impl Where {
    fn run(self) -> anyhow::Result<()> {
        let path = fetch::path(&self.name)?;
        print(format!("{}\n", path.display()).as_bytes())
    }
}
