//! `tersor tour`: one stop for each system, on real input, one table.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use tersor::data::fetch::Cache;
use tersor::data::tour::{Outcome, Visit, walk};

use super::machine::Machine;
use super::show::{Output, table};
use super::{data, quantity, report};

/// Walk through all systems: what each spares on real input, and what that costs
#[derive(Args)]
pub struct Tour {
    /// Walk through one room only
    #[arg(long, value_parser = PossibleValuesParser::new(rooms()))]
    room: Option<String>,
    /// Write the figures and a report, tour.html, into this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Download nothing; stops that lack their input say so
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    output: Output,
}

/// The terminal's width from which on a row's input has a column of its own.
const WIDE: u16 = 120;

/// A tour that was walked.
#[derive(Serialize)]
pub struct Walked {
    /// Tersor's version.
    pub version: &'static str,
    /// When it ended, in UTC.
    pub date: String,
    /// Where it was walked.
    pub machine: Machine,
    /// The stops, in order.
    pub visits: Vec<Visit>,
}

impl Tour {
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(folder) = &self.out {
            let cannot = || format!("{}: the folder cannot be made", folder.display());
            std::fs::create_dir_all(folder).with_context(cannot)?;
        }
        let walked = Walked::now(self.visits()?);
        if let Some(folder) = &self.out {
            let page = report::write(&walked, folder)?;
            self.output.note(&format!("report: {}", page.display()));
        }
        self.output.show(&walked, || walked.table())?;

        let failed = walked.visits.iter().filter(|visit| matches!(visit.outcome, Outcome::Failed(_))).count();
        ensure!(failed == 0, "{failed} of {} stops failed", walked.visits.len());
        Ok(())
    }

    fn visits(&self) -> anyhow::Result<Vec<Visit>> {
        let mut stops = tersor::stops();
        stops.retain(|stop| self.room.as_ref().is_none_or(|room| stop.room() == room));
        let cache = Cache::new()?;
        let spinner = self.output.spinner();
        let mut visits = Vec::new();
        for (index, stop) in stops.iter().enumerate() {
            let title = format!("{}/{} {}, {}", index + 1, stops.len(), stop.room(), stop.system());
            spinner.set_message(title.clone());
            visits.push(walk(stop.as_ref(), &cache, !self.offline, &|progress| {
                spinner.set_message(format!("{title}: {}", data::said(progress)));
            }));
        }
        Ok(visits)
    }
}

/// The rooms that are built in, in the order of the tour.
fn rooms() -> Vec<&'static str> {
    let mut rooms: Vec<_> = tersor::stops().iter().map(|stop| stop.room()).collect();
    rooms.dedup();
    rooms
}

impl Walked {
    /// The tour that has just ended on this machine.
    pub fn now(visits: Vec<Visit>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine: Machine::this(),
            visits,
        }
    }

    /// One line for each stop; below, why some have no numbers.
    fn table(&self) -> String {
        if self.visits.is_empty() {
            return format!("{NO_ROOMS}\n");
        }
        let mut wide = table(["=room", "system", "spared", "before", "after", "cost", "input", ">time"]);
        let mut narrow = table(["system and input", "spared", "before", "after", "cost", ">time"]);
        let mut reasons = String::new();
        for visit in &self.visits {
            let Visit { room, system, outcome, .. } = visit;
            let [spared, before, after, cost, input] = match outcome {
                Outcome::Shown(row) => {
                    [&row.spared, &row.before, &row.after, &row.cost, &row.input].map(String::as_str)
                }
                Outcome::Lacking(why) | Outcome::Failed(why) => {
                    let why = why.trim().replace('\n', "\n    ");
                    reasons += &format!("\n{room}, {system}: {}: {why}\n", ending(outcome));
                    [ending(outcome), "", "", "", ""]
                }
            };
            let taken = time_taken(visit);
            wide.add_row([room, system, spared, before, after, cost, input, &taken]);
            narrow.add_row([format!("{room}, {system}\n{input}").trim_end(), spared, before, after, cost, &taken]);
        }
        let table = if wide.width().is_some_and(|columns| columns < WIDE) { narrow } else { wide };
        format!("{}\n{reasons}", table.trim_fmt())
    }
}

/// What a tour without stops says.
pub const NO_ROOMS: &str = "No room is built into this tersor, so there is nothing to see; build it with the default \
                            features, or name rooms: --features tiny";

/// How a visit ended, in a word.
pub fn ending(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Shown(_) => "shown",
        Outcome::Lacking(_) => "lacking",
        Outcome::Failed(_) => "failed",
    }
}

/// A visit's time, and below it the stop's budget if that is less; empty if nothing ran.
pub fn time_taken(visit: &Visit) -> String {
    match visit.outcome {
        Outcome::Lacking(_) => String::new(),
        _ if visit.seconds > visit.budget => {
            format!("{}\nover {}", quantity::seconds(visit.seconds), quantity::seconds(visit.budget))
        }
        _ => quantity::seconds(visit.seconds),
    }
}
