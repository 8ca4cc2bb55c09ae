//! This room's stops on the tour: roads thinned for a hundred depots, every round trip measured, the certificate checked;
//! and a photograph whose pixels four sites cluster with few bits.

use std::time::Duration;

use tersor_data::picture::Picture;
use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};

use crate::cluster::message::Weights;
use crate::cluster::points::shrunk;
use crate::cluster::protocol::{Model, Protocol, Rate};
use crate::cluster::run::Run;
use crate::cluster::segments;
use crate::cluster::similarity::{self, Kernel};
use crate::cluster::spectral::Tau;
use crate::cluster::stream::{Change, Partition, Stream};
use crate::cluster::undirected::Edge;
use crate::generate::{Family, generate};
use crate::spanner::certified::{Effort, Settings, certified};
use crate::spanner::check::check;
use crate::verify::measure;
use crate::{histogram, picture, sources};

/// The stops of the room, in the order of the papers.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(Roads), Box::new(Pixels)]
}

/// Roads from each of many places to its 6 nearest, each way with its own length; no file is needed.
struct Roads;

const ARCS: usize = 100_000;
const DEPOTS: usize = 100;
const STRETCH: f64 = 16.0;
const SEED: u64 = 1;

impl Stop for Roads {
    fn room(&self) -> &'static str {
        "graph"
    }

    fn system(&self) -> &'static str {
        "Round-trip spanner"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn visit(&self, _: &Supplies) -> Result<Outcome, Failure> {
        let roads = generate(Family::Geo, ARCS, SEED)?;
        let graph = &roads.graph;
        let depots = sources::sample(graph, DEPOTS, SEED)?;
        let spanner = certified(graph, &depots, &Settings { stretch: STRETCH, effort: Effort::Fast, seed: SEED })?;
        let kept = graph.subgraph(&spanner.arcs);
        check(graph, &kept, &spanner.certificate(&depots), Some(&depots))?
            .map_err(|rejection| format!("the certificate is rejected: {rejection}"))?;
        let measured = measure(graph, &kept, &depots, Some(STRETCH))?;
        if measured.violations > 0 {
            return Err(format!("{} round trips are longer than promised", measured.violations).into());
        }

        let [all, left, pairs, places] =
            [graph.arcs() as u64, kept.arcs() as u64, measured.pairs, graph.vertices() as u64].map(grouped);
        let share = 100.0 * kept.arcs() as f64 / graph.arcs() as f64;
        let row = Row::new(
            "arcs",
            &all,
            format!("{left} ({share:.0} %)"),
            format!(
                "none of {pairs} round trips above the certified {STRETCH}x; mean {:.2}x, worst {:.2}x",
                measured.mean, measured.max
            ),
            format!("roads between {places} places (generated), {DEPOTS} depots"),
        );
        let map =
            picture::svg(&roads, &kept, &depots, &format!("{left} of {all} arcs ({share:.0} %), {DEPOTS} depots"))?;
        let bars = histogram::svg(&measured, Some(STRETCH), &format!("{pairs} round trips of {DEPOTS} depots"))?;
        let row = row.with_figure(Figure {
            name: "graph-roads".into(),
            caption: "The roads, light, and those that are kept, dark; depots are dots.".into(),
            drawing: Drawing::Svg(map),
        });
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "graph-roads-stretch".into(),
            caption: "How many round trips become how much longer, over all pairs of a depot and a place.".into(),
            drawing: Drawing::Svg(bars),
        })))
    }
}

/// The pixels of a photograph, joined to those of like place and colour; four sites see a part of the edges each.
struct Pixels;

/// The middle of the photograph, in pixels: left, top, side of a square.
const MIDDLE: [usize; 3] = [265, 0, 1136];
/// Pixels along a side, as many as take half of the budget.
const SIDE: usize = 36;
const SITES: usize = 4;
const CLUSTERS: usize = 4;
/// The first whole number at which the cut is near that of the whole graph.
const C: f64 = 6.0;

impl Stop for Pixels {
    fn room(&self) -> &'static str {
        "graph"
    }

    fn system(&self) -> &'static str {
        "Distributed clustering"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["solvay-1927"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let [left, top, side] = MIDDLE;
        let photo = Picture::read(supplies.path("solvay-1927")?)?;
        let photo = shrunk(&photo.cropped(left, top, side, side).ok_or("the photograph is too small")?, SIDE)?;
        let graph = similarity::photo(&photo, &Kernel::PHOTO)?;
        let change = |edge: &Edge| Change { time: 0.0, u: edge.u, v: edge.v, weight: edge.weight, insert: true };
        let mut stream = Stream::new(graph.vertices, graph.edges.iter().map(change))?;
        stream.round(Weights::F32)?;
        let counts = (SITES, stream.vertices, CLUSTERS);
        let protocol = Protocol::new(Model::Blackboard, counts, Rate::C(C), SEED, Weights::F32)?;
        let run = Run {
            stream: &stream,
            partition: Partition::Edge,
            times: &[0.0],
            tau: Tau::Auto,
            truth: None,
            timeout: Duration::from_secs(60),
        };
        let answer = run.with_threads(&protocol, &mut |_| ())?;
        let (report, labels) = (&answer.report, answer.labels.last().ok_or("there are no labels")?);
        let quality = &report.times.last().ok_or("there is no time")?.quality;

        let megabits = |bits: u64| format!("{:.2} Mbit", bits as f64 / 1e6);
        let share = 100.0 * report.share();
        let row = Row::new(
            "bits sent",
            megabits(report.ship_all_bits),
            format!("{} ({share:.0} %)", megabits(report.bits)),
            format!(
                "normalised cut {:.3}, {:.3} if all is known; labels agree (ARI {:.2})",
                quality.ncut, quality.central_ncut, quality.ari
            ),
            format!(
                "Solvay 1927, {SIDE} x {SIDE} pixels, {} similarities at {SITES} sites, {CLUSTERS} clusters",
                grouped(stream.changes.len() as u64)
            ),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "graph-pixels".into(),
            caption: format!(
                "The photograph and its {CLUSTERS} clusters, found with {share:.0} % of the bits; each has its mean colour."
            ),
            drawing: Drawing::Png(segments::png(&photo, labels, CLUSTERS)?),
        })))
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |place: usize| if place > 0 && (digits.len() - place).is_multiple_of(3) { "," } else { "" };
    digits.char_indices().map(|(place, digit)| format!("{}{digit}", comma(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_needs_nothing_and_shows_fewer_arcs() {
        let stop = &stops()[0];
        assert!(stop.needs().is_empty());
        let Outcome::Shown(row) = stop.visit(&Supplies::default()).unwrap() else { panic!("nothing is shown") };
        let arcs = |of: &str| of.split(' ').next().unwrap().replace(',', "").parse::<usize>().unwrap();
        assert!(2 * arcs(&row.after) < arcs(&row.before), "{} of {}", row.after, row.before);
        assert!(row.cost.starts_with("none of ") && row.cost.contains("certified 16x"), "{}", row.cost);
        let names: Vec<_> = row.figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["graph-roads", "graph-roads-stretch"]);
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!([0, 999, 1_000, 14_164, 1_416_300].map(grouped), ["0", "999", "1,000", "14,164", "1,416,300"]);
    }
}
