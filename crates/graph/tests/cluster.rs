//! Distributed clustering: what sites say is a sparsifier, every bit is counted, and nothing depends on threads.

use std::thread;
use std::time::{Duration, Instant};

use faer::linalg::solvers::SelfAdjointEigen;
use faer::{Mat, Side};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tersor_data::fetch::Cache;
use tersor_data::testing::{Failure, Trials, fetched};
use tersor_data::tour::{Drawing, Outcome, walk};
use tersor_graph::Error;
use tersor_graph::cluster::bench::{Along, Case, Input, growth, measure};
use tersor_graph::cluster::bits::Bits;
use tersor_graph::cluster::coordinator::{Answer, Questions, coordinate};
use tersor_graph::cluster::desks::Desks;
use tersor_graph::cluster::message::{Codec, Weights};
use tersor_graph::cluster::protocol::{Model, Protocol, Rate};
use tersor_graph::cluster::run::Run;
use tersor_graph::cluster::site::watch;
use tersor_graph::cluster::sparsifier::{Part, Sparsifier};
use tersor_graph::cluster::spectral::Tau;
use tersor_graph::cluster::stream::{Change, Partition, Stream};
use tersor_graph::cluster::transport::{Link, Party, threads};
use tersor_graph::cluster::undirected::{Edge, Undirected};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .test("the_sparsifier_of_messages_is_within_eps", || sparsifier_truth(Model::MessagePassing))
        .test("the_sparsifier_of_the_board_is_within_eps", || sparsifier_truth(Model::Blackboard))
        .test("every_bit_is_counted_and_says_what_the_coordinator_knows", every_bit_is_counted)
        .test("threads_change_nothing", threads_change_nothing)
        .test("deleting_everything_leaves_nothing", deleting_everything)
        .test("labels_are_near_central_ones_for_few_bits", near_central)
        .test("over_time_a_fifth_of_the_static_protocols_bits_will_do", over_time)
        .test("bits_grow_with_sites_by_messages_and_not_on_a_board", growth_in_sites)
        .test("bad_options_are_refused", bad_options)
        .test("a_site_that_dies_is_named_at_once", || missing_site(Duration::ZERO))
        .test("a_site_that_is_silent_is_named_after_the_time_out", || missing_site(Duration::from_secs(5)))
        .test("a_site_that_talks_nonsense_is_named", nonsense)
        .test("the_tour_clusters_a_photograph_with_few_bits", tour)
        .run()
}

/// A dense graph of parallel edges, weights over two orders of magnitude, in random order; then `share` of it goes.
fn dense(n: u32, copies: u32, share: f64, weighted: bool, seed: u64) -> Stream {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut edges = Vec::new();
    for u in 0..n {
        for v in u + 1..n {
            for _ in 0..copies {
                let weight = if weighted { 10f64.powf(rng.random_range(-1.0..1.0)) } else { 1.0 };
                edges.push(Change { time: 0.0, u, v, weight, insert: true });
            }
        }
    }
    for last in (1..edges.len()).rev() {
        edges.swap(last, rng.random_range(0..=last));
    }
    let gone: Vec<_> = edges.iter().take((share * edges.len() as f64) as usize).copied().collect();
    let gone = gone.iter().map(|edge| Change { time: 1.0, insert: false, ..*edge });
    Stream::new(n as usize, edges.iter().copied().chain(gone).collect::<Vec<_>>()).expect("a stream")
}

fn run(
    stream: &Stream,
    protocol: &Protocol,
    times: &[f64],
    partition: Partition,
) -> std::result::Result<Answer, Error> {
    let timeout = Duration::from_secs(60);
    let run = Run { stream, partition, times, tau: Tau::Fixed(0.0), truth: None, timeout };
    run.with_threads(protocol, &mut |_| {})
}

/// The graph of a stream up to a time: of parallel edges the latest goes.
fn graph_at(stream: &Stream, time: f64) -> Undirected {
    let mut there = std::collections::BTreeMap::<_, Vec<f64>>::new();
    for change in stream.changes.iter().filter(|change| change.time <= time) {
        let weights = there.entry((change.u, change.v)).or_default();
        if change.insert {
            weights.push(change.weight);
        } else {
            weights.pop();
        }
    }
    let parallel =
        there.into_iter().flat_map(|((u, v), weights)| weights.into_iter().map(move |weight| Edge { u, v, weight }));
    Undirected::from_edges(stream.vertices, &parallel.collect::<Vec<_>>())
}

fn laplacian(graph: &Undirected) -> Mat<f64> {
    let n = graph.vertices();
    let mut laplacian = Mat::zeros(n, n);
    for Edge { u, v, weight } in graph.list() {
        let (u, v) = (u as usize, v as usize);
        laplacian[(u, u)] += weight;
        laplacian[(v, v)] += weight;
        laplacian[(u, v)] -= weight;
        laplacian[(v, u)] -= weight;
    }
    laplacian
}

/// The least and the largest x'L_H x / x'L_G x, for a connected G.
fn extremes(sparsifier: &Undirected, graph: &Undirected) -> (f64, f64) {
    let n = graph.vertices();
    let eigen = SelfAdjointEigen::new(laplacian(graph).as_ref(), Side::Lower).expect("finite");
    let whiten = Mat::from_fn(n, n - 1, |i, j| eigen.U()[(i, j + 1)] / eigen.S()[j + 1].sqrt());
    let pencil = whiten.transpose() * laplacian(sparsifier) * &whiten;
    let values = SelfAdjointEigen::new(pencil.as_ref(), Side::Lower).expect("finite");
    (values.S()[0], values.S()[n - 2])
}

/// c = 4 ln n / ε² with ε = 0.5: within 1 ± ε in at least 95 % of 200 runs, after insertions, and after 30 % are gone.
fn sparsifier_truth(model: Model) -> Result {
    const EPS: f64 = 0.5;
    let one = |seed: u64| {
        let weighted = seed % 2 == 1;
        let stream = dense(40, 40, 0.3, weighted, seed);
        let weights = if weighted { Weights::new(64).expect("64 bits") } else { Weights::NONE };
        let sites = [1, 2, 4][seed as usize % 3];
        let protocol = Protocol::new(model, (sites, 40, 2), Rate::Eps(EPS), seed, weights).expect("a protocol");
        let answer = run(&stream, &protocol, &[0.0, 1.0], Partition::Edge).expect("a run");
        [0, 1].map(|time| {
            let (least, most) = extremes(&answer.graphs[time], &graph_at(&stream, time as f64));
            let kept = answer.report.times[time].kept as f64 / answer.report.times[time].edges as f64;
            (least >= 1.0 - EPS && most <= 1.0 + EPS, kept)
        })
    };
    let runs: Vec<_> = (0..200u64).into_par_iter().map(one).collect();
    for time in [0, 1] {
        let within = runs.iter().filter(|run| run[time].0).count();
        let kept = runs.iter().map(|run| run[time].1).sum::<f64>() / 200.0;
        assert!(within >= 190, "time {time}: {within} of 200, {kept:.2} of the edges kept");
        assert!(kept < 0.75, "the test is empty: {kept:.2} of the edges are kept");
    }
    Ok(())
}

/// The bit strings of all sites, decoded anew, have the length that was counted, and say the graph that was clustered.
fn every_bit_is_counted() -> Result {
    let stream = dense(30, 6, 0.4, true, 3);
    for model in Model::ALL {
        for (sites, partition) in [(1, Partition::Edge), (3, Partition::Vertex), (5, Partition::Time)] {
            let protocol = Protocol::new(model, (sites, 30, 2), Rate::C(2.0), 7, Weights::F32)?;
            let mut stream = stream.clone();
            stream.round(Weights::F32)?;
            let answer = run(&stream, &protocol, &[0.0, 0.5, 1.0], partition)?;
            let codec = Codec::new(30, Weights::F32);
            let mut heard = Sparsifier::new(30, sites);
            let (mut total, mut shipped) = (answer.report.start_bits, 0);
            for (number, (time, said)) in answer.report.times.iter().zip(&answer.said).enumerate() {
                for (site, bits) in said.iter().enumerate() {
                    assert_eq!(bits.bytes().len() as u64, bits.len().div_ceil(8));
                    if model == Model::ShipAll {
                        shipped += bits.len();
                        continue;
                    }
                    let mut reader = bits.read();
                    while reader.left() > 0 {
                        let message = codec.read(&mut reader, |u, v| heard.part(site).parallel(u, v))?;
                        heard.part_mut(site).apply(&message);
                    }
                }
                let of_kinds: u64 = time.by_kind.values().map(|count| count.bits).sum();
                let lengths: Vec<_> = said.iter().map(|bits| bits.len()).collect();
                assert_eq!((time.bits, time.bits), (lengths.iter().sum(), of_kinds));
                assert_eq!(time.by_site, lengths);
                assert_eq!(time.messages, time.by_kind.values().map(|count| count.messages).sum::<u64>());
                if model == Model::ShipAll {
                    assert_eq!(shipped, time.ship_all_bits_so_far);
                    assert_eq!(
                        answer.graphs[answer.report.times.iter().position(|t| t.at == time.at).unwrap()],
                        graph_at(&stream, time.at)
                    );
                } else {
                    heard.parts_mut().for_each(Part::settle);
                    assert_eq!(heard.edges(), time.kept);
                    assert_eq!(heard.graph(), answer.graphs[number], "{model:?} {partition:?}");
                }
                total += time.bits + time.coordinator_bits;
                assert_eq!(total, time.bits_so_far);
            }
            assert_eq!(total, answer.report.bits);
        }
    }
    Ok(())
}

/// The same bits, labels and figures on 1, 2 and 8 threads.
fn threads_change_nothing() -> Result {
    let stream = dense(60, 4, 0.2, false, 5);
    for model in Model::ALL {
        let protocol = Protocol::new(model, (4, 60, 3), Rate::Auto, 11, Weights::NONE)?;
        let on = |threads| -> Result<Answer> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            Ok(pool.install(|| run(&stream, &protocol, &[0.0, 1.0], Partition::Edge))?)
        };
        let first = on(1)?;
        for threads in [2, 8] {
            let other = on(threads)?;
            assert_eq!((&first.said, &first.labels), (&other.said, &other.labels));
            assert_eq!(first.report.bits, other.report.bits);
        }
    }
    Ok(())
}

fn deleting_everything() -> Result {
    let mut changes = dense(20, 8, 1.0, false, 1).changes;
    let again: Vec<_> =
        changes.iter().filter(|change| change.insert).map(|change| Change { time: 2.0, ..*change }).collect();
    changes.extend(again);
    let stream = Stream::new(20, changes)?;
    for model in Model::ALL {
        let protocol = Protocol::new(model, (3, 20, 2), Rate::C(1.0), 1, Weights::NONE)?;
        let answer = run(&stream, &protocol, &[0.0, 1.0, 2.0], Partition::Edge)?;
        assert_eq!((answer.report.times[1].kept, answer.graphs[1].edges()), (0, 0), "{model:?}");
        assert!(answer.labels[1].iter().all(|&label| label == 2), "no edge, no cluster");
        assert!(answer.report.times[2].kept > 0);
    }
    Ok(())
}

fn bad_options() -> Result {
    let new = |sites, n, k, rate| Protocol::new(Model::Blackboard, (sites, n, k), rate, 1, Weights::NONE).is_err();
    assert!(
        new(0, 5, 2, Rate::Auto) && new(2, 5, 6, Rate::Auto) && new(2, 5, 0, Rate::Auto) && new(2, 0, 1, Rate::Auto)
    );
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(new(2, 5, 2, Rate::C(c)) && new(2, 5, 2, Rate::Eps(c)));
    }
    assert!(new(2, 5, 2, Rate::Eps(1.0)));
    let stream = dense(5, 1, 0.0, false, 1);
    let protocol = Protocol::new(Model::Blackboard, (2, 5, 2), Rate::Auto, 1, Weights::NONE)?;
    for times in [&[][..], &[1.0, 1.0], &[2.0, 1.0], &[f64::NAN]] {
        assert!(matches!(run(&stream, &protocol, times, Partition::Edge), Err(Error::Parameter { .. })));
    }
    let begun = Instant::now();
    run(&stream, &protocol, &[-1.0], Partition::Edge)?;
    assert!(begun.elapsed() < Duration::from_secs(1));
    Ok(())
}

/// A link whose party says nothing more after a while.
struct Failing<L> {
    link: L,
    writes: usize,
    sleep: Duration,
}

impl<L: Link> Link for Failing<L> {
    fn write(&mut self, bits: &Bits) -> std::result::Result<(), Error> {
        if self.writes == 0 {
            thread::sleep(self.sleep);
            return Err(Error::Lost { party: Party::Site(1) });
        }
        self.writes -= 1;
        self.link.write(bits)
    }

    fn read(&mut self, from: Party) -> std::result::Result<Bits, Error> {
        self.link.read(from)
    }

    fn alive(&mut self) -> std::result::Result<(), Error> {
        if self.writes == 0 { Ok(()) } else { self.link.alive() }
    }

    fn wire_bytes(&self) -> u64 {
        self.link.wire_bytes()
    }
}

/// Site 1 of 3 dies at its second writing, after having been silent for `sleep`. The coordinator names it, and all others
/// end as well.
fn missing_site(sleep: Duration) -> Result {
    let timeout = Duration::from_secs(1);
    let stream = dense(12, 2, 0.5, false, 1);
    for model in Model::ALL {
        let protocol = Protocol::new(model, (3, 12, 2), Rate::C(1.0), 1, Weights::NONE)?;
        let begun = Instant::now();
        let mut links = threads::links(3, model.reach(), timeout).into_iter();
        let mut coordinator = links.next().expect("the coordinator's");
        let error = thread::scope(|scope| {
            for (me, link) in links.enumerate() {
                let (protocol, stream) = (&protocol, &stream);
                scope.spawn(move || {
                    let batch = |time| stream.changes.iter().filter(|change| change.time == time).copied().collect();
                    let batches = if me == 0 { [batch(0.0), batch(1.0)] } else { [vec![], vec![]] };
                    let desks = Desks::new(2);
                    if me == 1 {
                        let mut link = Failing { link, writes: 1, sleep };
                        let _ = watch(&mut link, me, protocol, &batches, &desks);
                    } else {
                        let mut link = link;
                        let _ = watch(&mut link, me, protocol, &batches, &desks);
                    }
                });
            }
            let seen: Vec<_> = stream.changes.iter().map(|&change| (change, 0)).collect();
            let questions = Questions { times: &[0.0, 1.0], tau: Tau::Fixed(0.0), truth: None, changes: &seen };
            let error = coordinate(&mut coordinator, &protocol, &questions, &mut |_| {}).err();
            drop(coordinator);
            error
        });
        let expected = match (&error, sleep.is_zero()) {
            (Some(Error::Lost { party }), true) => *party == Party::Site(1),
            (Some(Error::Silent { party, after }), false) => *party == Party::Site(1) && *after == timeout,
            _ => false,
        };
        assert!(expected, "{model:?}: {error:?}");
        assert!(begun.elapsed() < sleep + 4 * timeout, "{model:?}: {:?}", begun.elapsed());
    }
    Ok(())
}

/// Bits that are no messages, of every kind of wrong: the coordinator says whose they are.
fn nonsense() -> Result {
    let strings: [&[(u64, u32)]; 6] = [
        &[],                                 // nothing, not even END
        &[(0, 2), (3, 4)],                   // cut within an ADD
        &[(3, 2), (3, 2)],                   // something after END
        &[(0, 2), (13, 4), (14, 4), (0, 5)], // vertex 13 of 12
        &[(0, 2), (5, 4), (3, 4), (0, 5)],   // ends not in order
        &[(1, 2), (1, 4), (2, 4), (3, 2)],   // DEL of what is not there
    ];
    for model in [Model::MessagePassing, Model::Blackboard, Model::Static] {
        for string in strings {
            let protocol = Protocol::new(model, (1, 12, 2), Rate::C(1.0), 1, Weights::NONE)?;
            let mut links = threads::links(1, model.reach(), Duration::from_secs(5)).into_iter();
            let (mut coordinator, mut site) = (links.next().expect("two links"), links.next().expect("two links"));
            let mut bits = Bits::default();
            string.iter().for_each(|&(value, width)| bits.push(value, width));
            site.write(&bits)?;
            let questions = Questions { times: &[0.0], tau: Tau::Fixed(0.0), truth: None, changes: &[] };
            let error = coordinate(&mut coordinator, &protocol, &questions, &mut |_| {}).err();
            assert!(matches!(error, Some(Error::Garbled { party: Party::Site(0), .. })), "{string:?}: {error:?}");
        }
    }
    Ok(())
}

/// The sheet's bars at real sizes, medians of 3 seeds (the bench has 10): as good as labels from the whole graph, for at
/// most 15 % of the bits of shipping everything.
fn near_central() -> Result {
    for (input, messages, board) in [(Input::Blocks(2000), 2.0, 3.0), (Input::Gaussians(1500), 2.0, 3.0)] {
        for (model, sites, c) in [(Model::MessagePassing, 4, messages), (Model::Blackboard, 16, board)] {
            let row = measure(&Case::at_once(input.clone(), model, sites, Rate::C(c)), 3)?;
            assert!(row.is_near_central() && row.share <= 0.15, "{row:?}");
            assert!(row.truth_nmi_difference.is_some_and(|difference| difference >= -0.02), "{row:?}");
        }
    }
    Ok(())
}

/// 20 times, 5 % deletions: near the labels from the whole graph at every time, for at most a quarter of the bits of shipping
/// everything and a fifth of those of the static protocol, run again at every time.
fn over_time() -> Result {
    for (model, again, c) in
        [(Model::MessagePassing, Model::Static, 1.0), (Model::Blackboard, Model::StaticBlackboard, 2.0)]
    {
        let case = |model| Case::over_time(Input::Gaussians(1500), model, 4, Rate::C(c));
        let (row, again) = (measure(&case(model), 1)?, measure(&case(again), 1)?);
        assert!(row.times == 20 && row.is_near_central() && row.share <= 0.25, "{row:?}");
        assert!(5.0 * row.bits <= again.bits, "{} of {}", row.bits, again.bits);
    }
    Ok(())
}

fn growth_in_sites() -> Result {
    for (model, c) in [(Model::MessagePassing, 0.5), (Model::Blackboard, 2.0)] {
        let row = |sites| measure(&Case::at_once(Input::Blocks(1000), model, sites, Rate::C(c)), 2);
        let rows = [2, 4, 8, 16, 32].map(row).into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        let found = &growth(&rows, Along::Sites)[0];
        if model == Model::MessagePassing {
            assert!(found.linear >= 0.98 && (0.9..1.15).contains(&found.exponent), "{found:?}");
            assert!(rows.iter().all(|row| (0.5..=1.6).contains(&row.by_theory)), "{rows:?}");
        } else {
            assert!(found.ratio < 1.10, "{found:?}");
        }
    }
    Ok(())
}

fn tour() -> Result {
    fetched("solvay-1927")?;
    let stops = tersor_graph::tour::stops();
    let stop = stops.iter().find(|stop| stop.system() == "Distributed clustering").ok_or("no stop")?;
    assert_eq!(stop.needs(), ["solvay-1927"]);
    let Outcome::Shown(row) = walk(&**stop, &Cache::new()?, false, &|_| ()).outcome else {
        return Err("nothing is shown".into());
    };
    let megabits = |told: &str| told.split(' ').next().and_then(|number| number.parse::<f64>().ok());
    let (before, after) = (megabits(&row.before).ok_or("no bits")?, megabits(&row.after).ok_or("no bits")?);
    assert!(0.0 < after && 5.0 * after < before, "{after} of {before}");
    let numbers: Vec<f64> = row.cost.split([' ', ',', ')']).filter_map(|word| word.parse().ok()).collect();
    let [cut, central, ari] = numbers[..] else { return Err(row.cost.into()) };
    assert!(cut < 1.04 * central && ari > 0.9, "{}", row.cost);
    assert_eq!((row.figures.len(), row.figures[0].name.as_str()), (1, "graph-pixels"));
    assert!(matches!(&row.figures[0].drawing, Drawing::Png(bytes) if bytes.starts_with(b"\x89PNG")));
    Ok(())
}
