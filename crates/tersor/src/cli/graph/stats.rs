//! `tersor graph stats`: a graph in numbers.

use std::fmt::Write as _;

use clap::Args;
use tersor::graph::stats::{self, Quantiles, stats};

use super::GraphInput;
use crate::cli::quantity::thousands;
use crate::cli::show::{Output, table};

/// Show what a graph is: size, components, degrees, lengths
#[derive(Args)]
pub struct Stats {
    #[command(flatten)]
    input: GraphInput,
    #[command(flatten)]
    output: Output,
}

impl Stats {
    pub fn run(self) -> anyhow::Result<()> {
        let found = stats(&self.input.read()?);
        self.output.show(&found, || stats_table(&found))
    }
}

fn stats_table(found: &stats::Stats) -> String {
    let count = |count: usize| thousands(count as u64);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    let kind = if found.undirected { ", undirected: each edge is two arcs" } else { "" };
    let labels = if found.relabelled { "numbered by first appearance" } else { "as in the file" };
    line("format", format!("{}{kind}", found.format));
    line("vertices", format!("{}, {} without arcs", count(found.vertices), count(found.isolated)));
    line("", format!("ids from {}, {labels}", found.first_id));
    line("arcs", format!("{}, {:.1} % with a reverse", count(found.arcs), 100.0 * found.reciprocity));
    let dropped = found.dropped;
    line("dropped", format!("{} loops, {} longer parallel arcs", count(dropped.loops), count(dropped.parallel)));
    line("components", format!("{}, strongly connected", count(found.components)));
    line("", format!("{} vertices in the largest", count(found.largest_component)));
    line("", format!("{} vertices on round trips", count(found.on_round_trips)));
    line("coordinates", if found.coordinates { "yes".into() } else { "no".into() });
    let sums = if found.exact { "sums are exact" } else { "sums are rounded: compared within 1e-12" };
    line("lengths", format!("in units of {}, {sums}; {} are 0", found.unit, count(found.zero_arcs)));

    let mut rows = table(["", ">least", ">25 %", ">median", ">75 %", ">99 %", ">most", ">mean"]);
    let mut row = |name: &str, q: Quantiles| {
        let number = |value: f64| if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.4}") };
        let between = [q.min, q.quarter, q.median, q.three_quarters, q.nearly_all, q.max].map(number);
        let [min, quarter, median, three_quarters, nearly_all, max] = between;
        rows.add_row([name.into(), min, quarter, median, three_quarters, nearly_all, max, number(q.mean)]);
    };
    row("arcs out", found.out_degree);
    row("arcs in", found.in_degree);
    if let Some(length) = found.length {
        row("length", length);
    }
    format!("{text}\n{}", rows.trim_fmt())
}
