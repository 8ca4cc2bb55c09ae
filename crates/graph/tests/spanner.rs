//! Round-trip spanners: on random digraphs against all distances, and on real files pair by pair.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tersor_data::shared;
use tersor_data::testing::{Failure, Trials};
use tersor_graph::components::Components;
use tersor_graph::file::{self, ReadOptions};
use tersor_graph::generate::{Family, generate};
use tersor_graph::spanner::certified::{Effort, Settings};
use tersor_graph::spanner::check::{Rejection, check};
use tersor_graph::spanner::{Certificate, Spanner, calibrate, certified, exact_cover, greedy, preserver, prune};
use tersor_graph::verify::measure;
use tersor_graph::{Arc, ArcSet, Digraph, Error, sources};

use crate::random::Case;

mod random;

fn main() {
    Trials::new()
        .test("certified_stretches_no_round_trip_more_than_allowed", || {
            on_random_digraphs(300, |case| {
                let stretch = [4.0, 8.0, 16.0][case.number % 3];
                proves(case, stretch, &certified(&case.graph, &case.sources, &settings(stretch, case.number as u64))?)
            })
        })
        .test("with_more_effort_too", || {
            on_random_digraphs(150, |case| {
                let stretch = [4.0, 8.0, 16.0][case.number % 3];
                let settings = Settings { effort: Effort::Small, ..settings(stretch, case.number as u64) };
                proves(case, stretch, &certified(&case.graph, &case.sources, &settings)?)
            })
        })
        .test("pruned_spanners_keep_their_certificates", || {
            on_random_digraphs(300, |case| {
                let stretch = [4.0, 8.0, 16.0][case.number % 3];
                let spanner = certified(&case.graph, &case.sources, &settings(stretch, case.number as u64))?;
                let pruned = prune(&case.graph, &case.sources, &spanner);
                assert!(pruned.arcs.len() <= spanner.arcs.len() && pruned.clusters.len() <= spanner.clusters.len());
                proves(case, stretch, &pruned)
            })
        })
        .test("calibrated_spanners_stretch_none_more_than_allowed", || {
            on_random_digraphs(100, |case| {
                let stretch = [4.0, 8.0, 16.0][case.number % 3];
                let settings = settings(stretch, case.number as u64);
                let calibrated = calibrate(&case.graph, &case.sources, &settings, case.number % 2 == 0)?;
                assert_eq!(calibrated.provable, 2.0 * stretch);
                case.holds(stretch, &calibrated)?;
                proves(case, 2.0 * stretch, &calibrated)
            })
        })
        .test("a_real_stretch_holds_for_real_lengths", || {
            on_random_digraphs(100, |case| {
                let graph = Digraph::from_arcs(
                    case.graph.vertices(),
                    case.graph.list().map(|arc| Arc { length: arc.length * 0.1, ..arc }).collect(),
                )?
                .0;
                let spanner = certified(&graph, &case.sources, &settings(5.3, 0))?;
                let measured = measure(&graph, &graph.subgraph(&spanner.arcs), &case.sources, Some(5.3))?;
                check(&graph, &graph.subgraph(&spanner.arcs), &spanner.certificate(&case.sources), None)??;
                (measured.violations == 0).then_some(()).ok_or_else(|| format!("{measured:?}").into())
            })
        })
        .test("exact_cover_stretches_none_more_than_2k_and_epsilon", || {
            on_random_digraphs(100, |case| {
                let k = 1 + case.number as u32 % 4;
                case.holds(2.0 * f64::from(k) + 0.25, &exact_cover(&case.graph, &case.sources, k, 0.25)?)
            })
        })
        .test("preserver_stretches_none", || {
            on_random_digraphs(100, |case| case.holds(1.0, &preserver(&case.graph, &case.sources)?))
        })
        .test("greedy_stretches_none_more_than_allowed", || {
            on_random_digraphs(100, |case| {
                let stretch = [1.0, 3.0, 8.0][case.number % 3];
                case.holds(stretch, &greedy(&case.graph, &case.sources, stretch)?)
            })
        })
        .test("certificates_are_accepted_and_broken_ones_are_not", mutants)
        .test("bad_parameters_are_named", bad_parameters)
        .test("threads_change_nothing", threads_change_nothing)
        .test("work_grows_as_arcs_do_and_traps_are_none", work)
        .needs(&["graph/chicago_regional.gr.gz"])
        .test("chicago", || {
            on_file("chicago_regional.gr.gz", 200, [32_875, 32_217, 30_138], &[28_079, 27_320])?;
            calibrated("chicago_regional.gr.gz", 50, 1.12, 25_391)
        })
        .needs(&["graph/birmingham.gr.gz"])
        .test("birmingham", || on_file("birmingham.gr.gz", 200, [30_309, 29_201, 27_495], &[27_958]))
        .needs(&["graph/wiki_vote.txt.gz"])
        .test("wiki_vote", || {
            on_file("wiki_vote.txt.gz", 100, [5_787, 6_052, 3_356], &[5_728, 3_413])?;
            calibrated("wiki_vote.txt.gz", 100, 1.3, 3_204)
        })
        .needs(&["graph/email_eu_core.txt.gz"])
        .test("email_eu_core", || {
            on_file("email_eu_core.txt.gz", 100, [4_165, 3_898, 1_610], &[3_952, 2_548])?;
            calibrated("email_eu_core.txt.gz", 100, 1.3, 2_119)
        })
        .run()
}

fn settings(stretch: f64, seed: u64) -> Settings {
    Settings { stretch, effort: Effort::Fast, seed }
}

fn on_random_digraphs(cases: usize, test: impl Fn(&Case) -> Result<(), Failure>) -> Result<(), Failure> {
    (0..cases)
        .try_for_each(|number| test(&Case::random(number)).map_err(|error| format!("case {number}: {error}").into()))
}

/// No pair is stretched more than `stretch`, and its certificate says so.
fn proves(case: &Case, stretch: f64, spanner: &Spanner) -> Result<(), Failure> {
    case.holds(stretch, spanner)?;
    assert!(spanner.provable <= stretch);
    let thinned = case.graph.subgraph(&spanner.arcs);
    Ok(check(&case.graph, &thinned, &spanner.certificate(&case.sources), Some(&case.sources))??)
}

/// Each certificate is accepted; with one thing changed that the proof needs, it is rejected.
fn mutants() -> Result<(), Failure> {
    let mut rejected = 0;
    for number in 0..1000 {
        let case = Case::random(number);
        let spanner = certified(&case.graph, &case.sources, &settings(8.0, 0))?;
        let certificate = spanner.certificate(&case.sources);
        let judge = |arcs: &ArcSet, certificate: &Certificate| {
            check(&case.graph, &case.graph.subgraph(arcs), certificate, Some(&case.sources))
        };
        judge(&spanner.arcs, &certificate)?.map_err(|rejection| format!("case {number}: {rejection}"))?;
        if spanner.arcs.len() < 4 || rejected == 100 {
            continue;
        }
        let mut random = ChaCha8Rng::seed_from_u64(number as u64);
        let (mut arcs, mut mutant) = (spanner.arcs.clone(), certificate.clone());
        let any = random.random_range(0..mutant.clusters.len());
        let what = ["arc", "radius", "limit", "source", "twice", "not a number"][rejected % 6];
        match what {
            // An arc whose loss breaks a pair's promise; not every arc's does.
            "arc" => {
                let numbers: Vec<_> = arcs.iter().collect();
                let needed = numbers.into_iter().find(|&arc| {
                    let mut fewer = arcs.clone();
                    fewer.remove(arc);
                    measure(&case.graph, &case.graph.subgraph(&fewer), &case.sources, Some(8.0)).unwrap().violations > 0
                });
                let Some(needed) = needed else { continue };
                arcs.remove(needed);
            }
            // A whole component's cluster that claims to be less leaves long round trips without an answer.
            "radius" => {
                let Some(top) = mutant.clusters.iter_mut().max_by(|a, b| a.scale.total_cmp(&b.scale)) else { continue };
                top.radius /= 4.0;
            }
            // Members are farther than the limit says, or the distances served end above the next scale's.
            "limit" => {
                let scale = mutant.clusters.iter().map(|cluster| cluster.scale).fold(0.0, f64::max);
                mutant.clusters.iter_mut().filter(|cluster| cluster.scale == scale).for_each(|top| top.limit *= 64.0);
            }
            "source" => {
                mutant.sources.pop();
            }
            "twice" => mutant.clusters.push(mutant.clusters[any]),
            _ => mutant.clusters[any].limit = f64::NAN,
        }
        let verdict = judge(&arcs, &mutant)?;
        if verdict.is_ok() {
            return Err(format!("case {number}: a mutant passes ({what})").into());
        }
        rejected += 1;
    }
    assert_eq!(rejected, 100, "enough mutants were tried");
    Ok(())
}

fn bad_parameters() -> Result<(), Failure> {
    let graph = Digraph::from_arcs(3, vec![(0, 1, 1.0).into(), (1, 0, 1.0).into()])?.0;
    assert!(matches!(certified(&graph, &[0], &settings(3.9, 0)), Err(Error::Stretch { .. })));
    assert!(matches!(certified(&graph, &[0], &settings(f64::NAN, 0)), Err(Error::Stretch { .. })));
    assert!(matches!(certified(&graph, &[3], &settings(8.0, 0)), Err(Error::NoSuchSource { vertex: 3, vertices: 3 })));
    assert!(matches!(exact_cover(&graph, &[0], 0, 0.25), Err(Error::Parameter { what: "k", .. })));
    assert!(matches!(exact_cover(&graph, &[0], 2, 0.0), Err(Error::Parameter { what: "epsilon", .. })));
    let nothing = Digraph::from_arcs(0, Vec::new())?.0;
    assert!(certified(&nothing, &[], &settings(8.0, 0))?.arcs.is_empty());
    let certificate = Certificate { stretch: 8.0, ratio: 2.0, sources: vec![0, 0], clusters: Vec::new() };
    assert_eq!(check(&graph, &graph, &certificate, None)?, Err(Rejection::StrangeSource(0)));
    Ok(())
}

fn threads_change_nothing() -> Result<(), Failure> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let n = 3000u32;
    let arcs = (0..10 * n).map(|_| Arc {
        from: random.random_range(0..n),
        to: random.random_range(0..n),
        length: random.random_range(1..=1000u32).into(),
    });
    let graph = Digraph::from_arcs(n as usize, arcs.collect())?.0;
    let sources: Vec<_> = (0..n).step_by(10).collect();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| certified(&graph, &sources, &settings(16.0, 3)))
    };
    let (one, two, four) = (on(1)?, on(2)?, on(4)?);
    assert!(one == two && one == four);
    let slower = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let few = &sources[..40];
        pool.install(|| {
            let small = certified(&graph, few, &Settings { effort: Effort::Small, ..settings(8.0, 3) })?;
            let pruned = prune(&graph, few, &small);
            Ok::<_, Error>((
                small,
                pruned,
                calibrate(&graph, few, &settings(8.0, 3), true)?,
                exact_cover(&graph, few, 2, 0.25)?,
            ))
        })
    };
    assert!(slower(1)? == slower(3)?);
    let other = certified(&graph, &sources, &settings(16.0, 4))?;
    let change = other.arcs.len() as f64 / one.arcs.len() as f64;
    assert!((0.97..=1.03).contains(&change), "another seed changes the arcs by {change}");
    Ok(())
}

/// Relaxations, which are the same on every machine: near-linear in the arcs, and within four times the grid's an arc where
/// one-way balls are everything, also at the stretch that is hardest there.
fn work() -> Result<(), Failure> {
    let an_arc = |family, arcs, stretch| {
        let graph = generate(family, arcs, 1)?.graph;
        let sources = sources::sample(&graph, 1000, 1)?;
        let spanner = certified(&graph, &sources, &settings(stretch, 1))?;
        Ok::<_, Error>(spanner.relaxations as f64 / graph.arcs() as f64)
    };
    let grid = an_arc(Family::Grid, 100_000, 16.0)?;
    for (family, stretch) in [(Family::Rand, 16.0), (Family::Rand, 8.0), (Family::Trap, 16.0)] {
        let found = an_arc(family, 100_000, stretch)?;
        println!("{family} t {stretch}: {found:.0} relaxations an arc, grid {grid:.0}");
        assert!(found <= 4.0 * grid, "{family} t {stretch}: {found} relaxations an arc against the grid's {grid}");
    }
    for family in [Family::Grid, Family::Geo, Family::Rmat] {
        let exponent = 1.0 + (an_arc(family, 400_000, 16.0)? / an_arc(family, 50_000, 16.0)?).log(8.0);
        println!("{family}: exponent {exponent:.2}");
        assert!(exponent <= 1.1, "{family}: relaxations grow with the exponent {exponent}");
    }
    Ok(())
}

/// A shared file's graph, and as many of its vertices that are on round trips.
fn shared_graph(name: &str, count: usize) -> Result<(Digraph, Vec<u32>), Failure> {
    let path = shared::file(&format!("graph/{name}")).ok_or("absent")?;
    let graph = file::read(path, &ReadOptions::default())?.graph;
    let components = Components::of(&graph);
    let mut sources: Vec<_> = (0..graph.vertices() as u32).filter(|&v| components.size(v) > 1).collect();
    sources.shuffle(&mut ChaCha8Rng::seed_from_u64(7));
    sources.truncate(count);
    Ok((graph, sources))
}

/// Every pair of a shared file, at stretch 4, 8 and 16, and its certificate. Arcs stay within 5 % of those of the prototype
/// behind the sheet: `fast` at stretch 4, 8, 16, and `small` at 4, 8.
fn on_file(name: &str, count: usize, fast: [usize; 3], small: &[usize]) -> Result<(), Failure> {
    let (graph, sources) = shared_graph(name, count)?;
    let rows = [(Effort::Fast, &fast[..]), (Effort::Small, small)];
    for (effort, bars) in rows {
        for (stretch, &bar) in [4.0, 8.0, 16.0].into_iter().zip(bars) {
            let spanner = certified(&graph, &sources, &Settings { effort, ..settings(stretch, 1) })?;
            let thinned = graph.subgraph(&spanner.arcs);
            let measured = measure(&graph, &thinned, &sources, Some(stretch))?;
            let arcs = spanner.arcs.len();
            println!("{name} {effort:?} t {stretch}: {arcs} arcs (prototype {bar}), max {:.3}", measured.max);
            assert_eq!(measured.violations, 0, "{measured:?}");
            check(&graph, &thinned, &spanner.certificate(&sources), Some(&sources))??;
            assert!(arcs as f64 <= 1.05 * bar as f64);
        }
    }
    Ok(())
}

/// Calibrated to stretch 4, a file's spanner has at most `share` times the arcs of the greedy one.
fn calibrated(name: &str, count: usize, share: f64, greedy: usize) -> Result<(), Failure> {
    let (graph, sources) = shared_graph(name, count)?;
    let calibrated = calibrate(&graph, &sources, &settings(4.0, 1), true)?;
    let measured = measure(&graph, &graph.subgraph(&calibrated.arcs), &sources, Some(4.0))?;
    let arcs = calibrated.arcs.len();
    println!("{name} calibrated to 4: {arcs} arcs (greedy {greedy}), max {:.3}", measured.max);
    assert_eq!(measured.violations, 0);
    assert!(arcs as f64 <= share * greedy as f64);
    Ok(())
}
