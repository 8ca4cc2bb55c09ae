//! How time, memory and arcs grow, measured on generated graphs with all methods in one run.
//!
//! Machines are noisy: the methods take turns, round by round, and the median is shown. Slopes are fitted to logarithms by
//! least squares. The constructions from exact distances take hours at full size; since their time is proportional to
//! the sources they may be timed on some and scaled, which the rows then say.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::generate::{Family, generate};
use crate::spanner::certified::{self, Effort, certified};
use crate::spanner::check::check;
use crate::spanner::{Method, Spanner, exact_cover, greedy, paper, preserver};
use crate::{Digraph, Error, sources};

mod memory;
mod picture;

pub use picture::svg;

/// What to measure: every combination.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Families of graphs.
    pub families: Vec<Family>,
    /// About how many arcs they have.
    pub arcs: Vec<usize>,
    /// How many sources are drawn; no more than there are vertices.
    pub sources: Vec<usize>,
    /// Stretches, for the methods that take one.
    pub stretches: Vec<f64>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Methods, which take turns.
    pub methods: Vec<Method>,
    /// The k of the methods paper and exact-cover.
    pub k: u32,
    /// How hard the method certified tries.
    pub effort: Effort,
    /// Rounds, of which the median counts.
    pub rounds: usize,
    /// No further round of a method that has taken so many seconds in one place.
    pub most_seconds: f64,
    /// On how many sources the methods exact-cover and preserver are timed; the time is scaled to all.
    pub timed_sources: usize,
    /// The seed of graphs, sources and methods.
    pub seed: u64,
}

/// One method on one graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The family.
    pub family: &'static str,
    /// The graph's vertices.
    pub vertices: usize,
    /// The graph's arcs.
    pub arcs: usize,
    /// How many sources.
    pub sources: usize,
    /// The stretch asked for; of methods that take none, what they promise.
    pub stretch: f64,
    /// The method's name.
    pub method: &'static str,
    /// Threads.
    pub threads: usize,
    /// How many rounds were run.
    pub rounds: usize,
    /// Median time of a construction, in seconds.
    pub seconds: f64,
    /// On how many sources it was timed, if not on all; time and relaxations are scaled.
    pub timed_sources: Option<usize>,
    /// Time to check the certificate from scratch, once; of the method certified.
    pub check_seconds: Option<f64>,
    /// Arcs that the searches looked at.
    pub relaxations: u64,
    /// Arcs of H; unknown if only some sources were timed.
    pub kept: Option<usize>,
    /// Clusters of H.
    pub clusters: usize,
    /// The most memory that the process held meanwhile, the graph included, in bytes; unknown except on Linux.
    pub peak_bytes: Option<u64>,
}

/// How one method grows with one quantity, everything else equal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// The family.
    pub family: &'static str,
    /// The method's name.
    pub method: &'static str,
    /// Threads.
    pub threads: usize,
    /// `arcs` or `sources`.
    pub along: &'static str,
    /// The other of the two, which is equal.
    pub other: usize,
    /// The stretch, of the first row if the method takes none.
    pub stretch: f64,
    /// The quantity's least and greatest value.
    pub over: [usize; 2],
    /// The exponent of seconds.
    pub seconds: f64,
    /// The exponent of relaxations.
    pub relaxations: f64,
    /// The exponent that theory gives over this range, logarithms included.
    pub theory: f64,
}

/// How many times as long another method takes in the same place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The family.
    pub family: &'static str,
    /// The graph's arcs.
    pub arcs: usize,
    /// How many sources.
    pub sources: usize,
    /// The stretch of `certified`.
    pub stretch: f64,
    /// Threads.
    pub threads: usize,
    /// The other method.
    pub other: &'static str,
    /// Its seconds over those of `certified`.
    pub times: f64,
}

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Every method on every graph.
    pub rows: Vec<Row>,
    /// Fitted exponents, where a quantity has several values.
    pub growth: Vec<Growth>,
    /// Other methods beside `certified`.
    pub ratios: Vec<Ratio>,
}

/// Measures, and tells `progress` what comes next.
///
/// # Errors
/// Those of [`generate`], [`sources::sample`] and the methods; [`Error::Parameter`] for threads that cannot be started;
/// [`Error::Rejected`] if a certificate proves nothing, which would be a fault of ours.
pub fn bench(settings: &Settings, progress: &dyn Fn(&str)) -> Result<Report, Error> {
    let mut rows = Vec::new();
    for &family in &settings.families {
        for &arcs in &settings.arcs {
            progress(&format!("generating {family}, {arcs} arcs"));
            let graph = generate(family, arcs, settings.seed)?.graph;
            for &count in &settings.sources {
                let roots = sources::sample(&graph, count.min(graph.vertices()), settings.seed)?;
                for &stretch in &settings.stretches {
                    for &threads in &settings.threads {
                        let place = Place { family, graph: &graph, roots: &roots, stretch, threads };
                        rows.extend(place.measure(settings, progress)?);
                    }
                }
            }
        }
    }
    let (growth, ratios) = (growth(&rows, settings.k), ratios(&rows));
    Ok(Report { rows, growth, ratios })
}

/// Where methods take turns.
struct Place<'a> {
    family: Family,
    graph: &'a Digraph,
    roots: &'a [u32],
    stretch: f64,
    threads: usize,
}

/// What the rounds of one method gave.
struct Rounds {
    method: Method,
    seconds: Vec<f64>,
    peak_bytes: Option<u64>,
    check_seconds: Option<f64>,
    spanner: Option<Spanner>,
}

impl Place<'_> {
    fn measure(&self, settings: &Settings, progress: &dyn Fn(&str)) -> Result<Vec<Row>, Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build();
        let value = self.threads as f64;
        let pool = pool.map_err(|_| Error::Parameter { what: "threads", value, range: "what the system can start" })?;
        let of = |&method| Rounds { method, seconds: Vec::new(), peak_bytes: None, check_seconds: None, spanner: None };
        let mut all: Vec<Rounds> = settings.methods.iter().map(of).collect();
        for round in 0..settings.rounds.max(1) {
            for rounds in &mut all {
                if round > 0 && rounds.seconds.iter().sum::<f64>() > settings.most_seconds {
                    continue;
                }
                let Self { family, graph, roots, .. } = self;
                let (method, arcs) = (rounds.method.name(), graph.arcs());
                let (sources, t) = (roots.len(), self.stretch);
                progress(&format!(
                    "{family}, {arcs} arcs, {sources} sources, stretch {t}: {method}, round {}",
                    round + 1
                ));
                memory::reset_peak();
                let start = Instant::now();
                let spanner = pool.install(|| self.build(rounds.method, settings))?;
                rounds.seconds.push(start.elapsed().as_secs_f64());
                rounds.peak_bytes = rounds.peak_bytes.max(memory::peak());
                if method == Method::Certified.name() && round == 0 {
                    let (kept, certificate) = (graph.subgraph(&spanner.arcs), spanner.certificate(roots));
                    let start = Instant::now();
                    pool.install(|| check(graph, &kept, &certificate, Some(roots)))??;
                    rounds.check_seconds = Some(start.elapsed().as_secs_f64());
                }
                rounds.spanner = Some(spanner);
            }
        }
        Ok(all.into_iter().filter_map(|rounds| self.row(rounds, settings)).collect())
    }

    /// The sources on which a method is timed.
    fn timed(&self, method: Method, settings: &Settings) -> &[u32] {
        let exact = matches!(method, Method::ExactCover | Method::Preserver);
        let count = if exact { settings.timed_sources.min(self.roots.len()) } else { self.roots.len() };
        &self.roots[..count]
    }

    fn build(&self, method: Method, settings: &Settings) -> Result<Spanner, Error> {
        let &Settings { k, effort, seed, .. } = settings;
        let (graph, stretch, roots) = (self.graph, self.stretch, self.timed(method, settings));
        match method {
            Method::Certified => certified(graph, roots, &certified::Settings { stretch, effort, seed }),
            Method::Paper => paper(graph, roots, &paper::Settings { k, seed, ..Default::default() }),
            Method::ExactCover => exact_cover(graph, roots, k, 0.25),
            Method::Preserver => preserver(graph, roots),
            Method::Greedy => greedy(graph, roots, stretch),
        }
    }

    fn row(&self, rounds: Rounds, settings: &Settings) -> Option<Row> {
        let Rounds { method, mut seconds, peak_bytes, check_seconds, spanner } = rounds;
        let spanner = spanner?;
        let timed = self.timed(method, settings).len();
        let scale = self.roots.len() as f64 / timed.max(1) as f64;
        let all = timed == self.roots.len();
        let takes_stretch = matches!(method, Method::Certified | Method::Greedy);
        Some(Row {
            family: self.family.name(),
            vertices: self.graph.vertices(),
            arcs: self.graph.arcs(),
            sources: self.roots.len(),
            stretch: if takes_stretch { self.stretch } else { spanner.stretch },
            method: method.name(),
            threads: self.threads,
            rounds: seconds.len(),
            seconds: scale * median(&mut seconds),
            timed_sources: (!all).then_some(timed),
            check_seconds,
            relaxations: (scale * spanner.relaxations as f64) as u64,
            kept: all.then(|| spanner.arcs.len()),
            clusters: spanner.clusters.len(),
            peak_bytes,
        })
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// What else is equal among rows that one exponent is fitted to.
type Alike = (&'static str, &'static str, usize, usize, u64);

/// Exponents along arcs, and along sources.
fn growth(rows: &[Row], k: u32) -> Vec<Growth> {
    let mut found = Vec::new();
    for along in ["arcs", "sources"] {
        // The other quantity is equal: sources, or the graph (by its arcs).
        let mut alike: BTreeMap<Alike, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            let other = if along == "arcs" { row.sources } else { row.arcs };
            // What a method promises may change with the graph; what was asked of it does not.
            let stretch = if row.method == Method::Certified.name() { row.stretch.to_bits() } else { 0 };
            alike.entry((row.family, row.method, row.threads, other, stretch)).or_default().push(row);
        }
        for ((family, method, threads, other, _), rows) in alike {
            let quantity = |row: &Row| if along == "arcs" { row.arcs } else { row.sources };
            let (least, greatest) =
                (rows.iter().map(|row| quantity(row)).min(), rows.iter().map(|row| quantity(row)).max());
            let (Some(least), Some(greatest)) = (least, greatest) else { continue };
            if least == greatest {
                continue;
            }
            let of = |value: fn(&Row) -> f64| slope(rows.iter().map(|row| (quantity(row) as f64, value(row))));
            let theory = slope(rows.iter().map(|row| (quantity(row) as f64, in_theory(row, along, k))));
            found.push(Growth {
                family,
                method,
                threads,
                along,
                other,
                stretch: rows[0].stretch,
                over: [least, greatest],
                seconds: of(|row| row.seconds),
                relaxations: of(|row| row.relaxations as f64),
                theory,
            });
        }
    }
    found
}

/// The time that theory gives, up to a factor: `m s^(1/k) log^5 n` for the published algorithm and, as the aim, for the
/// certified one along s (near-linear, `m log n`, along m); `s m log n` for exact distances.
fn in_theory(row: &Row, along: &str, k: u32) -> f64 {
    let (n, m, s) = (row.vertices.max(2) as f64, row.arcs as f64, row.sources as f64);
    let of_sources = s.powf(1.0 / f64::from(k));
    match row.method {
        "paper" => m * of_sources * n.ln().powi(5),
        "certified" if along == "arcs" => m * n.ln(),
        "certified" => m * of_sources,
        _ => s * m * n.ln(),
    }
}

/// The slope of a line through the logarithms of points, by least squares.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<_> = points.map(|(x, y)| (x.ln(), y.max(f64::MIN_POSITIVE).ln())).collect();
    let n = points.len() as f64;
    let (mean_x, mean_y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let across: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    across / points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>()
}

/// Every other method beside `certified` in the same place. What takes no stretch stands beside each.
fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let is_certified = |row: &&Row| row.method == Method::Certified.name();
    let place = |row: &Row| (row.family, row.arcs, row.sources, row.threads);
    let mut ratios: Vec<Ratio> = Vec::new();
    for row in rows.iter().filter(is_certified) {
        for other in rows.iter().filter(|other| !is_certified(other) && place(other) == place(row)) {
            let Row { family, arcs, sources, stretch, threads, .. } = *row;
            let known = ratios.iter().any(|ratio| {
                (ratio.family, ratio.arcs, ratio.sources, ratio.threads) == place(row)
                    && (ratio.stretch, ratio.other) == (stretch, other.method)
            });
            if !known {
                let times = other.seconds / row.seconds;
                ratios.push(Ratio { family, arcs, sources, stretch, threads, other: other.method, times });
            }
        }
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            families: vec![Family::Grid, Family::Rand],
            arcs: vec![2_000, 8_000],
            sources: vec![10, 40],
            stretches: vec![8.0, 16.0],
            threads: vec![1, 2],
            methods: vec![Method::Certified, Method::Paper, Method::ExactCover, Method::Preserver],
            k: 2,
            effort: Effort::Fast,
            rounds: 2,
            most_seconds: 10.0,
            timed_sources: 20,
            seed: 1,
        }
    }

    #[test]
    fn every_combination_has_a_row_and_every_quantity_a_growth() {
        let report = bench(&settings(), &|_| {}).unwrap();
        assert_eq!(report.rows.len(), 2 * 2 * 2 * 2 * 2 * 4);
        for row in &report.rows {
            let exact = ["exact-cover", "preserver"].contains(&row.method);
            assert_eq!(row.timed_sources, (exact && row.sources == 40).then_some(20));
            assert_eq!(row.kept.is_none(), row.timed_sources.is_some());
            assert_eq!(row.check_seconds.is_some(), row.method == "certified");
            assert!(row.rounds == 2 && row.seconds > 0.0 && row.relaxations > 0);
            assert!(row.kept.is_none_or(|kept| kept <= row.arcs));
        }
        let along = |what| report.growth.iter().filter(|growth| growth.along == what).count();
        // Of each family, method and number of threads; certified also of each stretch. Along sources of each graph,
        // along arcs of each number of sources.
        assert_eq!((along("arcs"), along("sources")), (2 * 2 * 2 * (2 + 3), 2 * 2 * 2 * (2 + 3)));
        assert_eq!(report.ratios.len(), 2 * 2 * 2 * 2 * 2 * 3);
        let svg = svg(&report).unwrap();
        assert!(svg.contains("grid") && svg.contains("</svg>"));
    }

    #[test]
    fn a_power_is_found_again() {
        let points = [1e5, 3e5, 1e6, 1e7].map(|x: f64| (x, 3.0 * x.powf(1.15)));
        assert!((slope(points.into_iter()) - 1.15).abs() < 1e-9);
        assert_eq!((median(&mut [3.0, 1.0, 2.0]), median(&mut [4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }
}
