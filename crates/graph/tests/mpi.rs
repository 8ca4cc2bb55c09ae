//! Links between the ranks of an MPI job: this program starts itself again under `mpirun`, once for each play.

use std::io::{Read, Seek};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, process, thread};

use mpi::traits::{Communicator, Destination};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tersor_data::testing::{Failure, Skip, Trials};
use tersor_graph::Error;
use tersor_graph::cluster::bits::Bits;
use tersor_graph::cluster::block_model::{BlockModel, block_model};
use tersor_graph::cluster::coordinator::Answer;
use tersor_graph::cluster::message::Weights;
use tersor_graph::cluster::protocol::{Model, Protocol, Rate};
use tersor_graph::cluster::run::Run;
use tersor_graph::cluster::schedule::{Schedule, stream};
use tersor_graph::cluster::spectral::Tau;
use tersor_graph::cluster::stream::{Change, Partition, Stream};
use tersor_graph::cluster::transport::mpi::{Ranks, abort, start};
use tersor_graph::cluster::transport::{Link, Party, Reach, threads};

/// Names the play that a rank is in.
const PLAY: &str = "TERSOR_MPI_PLAY";
/// In which something must happen that happens at once.
const SOON: Duration = Duration::from_secs(60);
/// After which a rank ends itself, whatever it waits for, so that no test leaves one behind.
const END: Duration = Duration::from_secs(120);
/// After which a party is called silent, where a test waits for that.
const SILENCE: Duration = Duration::from_secs(2);

/// How long `mpirun` may take to start a job, on a machine that does other things too.
const START: Duration = Duration::from_secs(15);

const MESSAGES: usize = 200;

fn main() -> ExitCode {
    let Ok(play) = env::var(PLAY) else { tests() };
    thread::spawn(|| {
        thread::sleep(END);
        process::exit(99)
    });
    let played = match play.as_str() {
        "exchange over messages" => exchange(Reach::Messages),
        "exchange on a board" => exchange(Reach::Board),
        "silent over messages" => absent(Reach::Messages, asleep),
        "silent on a board" => absent(Reach::Board, asleep),
        "exit" => absent(Reach::Messages, || process::exit(3)),
        "leave over messages" => leave(Reach::Messages),
        "leave on a board" => leave(Reach::Board),
        "slow over messages" => slow(Reach::Messages),
        "slow on a board" => slow(Reach::Board),
        "garbled" => garbled(),
        "abort" => aborted(),
        "alone" => start(Reach::Board, SOON).map(|_| ()),
        play => match Model::ALL.into_iter().find(|model| play == model.name()) {
            Some(model) => cluster(model),
            None => unreachable!("{play}"),
        },
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            abort(1)
        }
    }
}

fn tests() -> ! {
    let mut trials = Trials::new();
    for reach in ["over messages", "on a board"] {
        let play = |play: &str| format!("{play} {reach}");
        for ranks in [3, 5] {
            let exchange = play("exchange");
            let name = format!("{ranks} ranks hear each other {reach}");
            trials = trials.test(&name, move || job(ranks, &exchange)?.succeeds(SOON));
        }
        let silent = play("silent");
        trials = trials.test(&play("a silent rank is named"), move || {
            let job = job(5, &silent)?;
            job.fails(4 * SILENCE + START, &["the coordinator: site 3 has said nothing for 2 s"])?;
            job.all_name(3);
            Ok(())
        });
        let leave = play("leave");
        trials = trials.test(&play("a rank that leaves is named"), move || {
            let job = job(5, &leave)?;
            job.fails(SOON / 2, &["the coordinator: site 3 is gone"])?;
            job.all_name(3);
            Ok(())
        });
        let slow = play("slow");
        trials = trials.test(&play("a slow rank that lives is waited for"), move || job(5, &slow)?.succeeds(SOON));
    }
    for model in Model::ALL {
        for ranks in [3, 5] {
            let name = format!("{} on {ranks} ranks equals threads, bit for bit", model.name());
            trials = trials.test(&name, move || job(ranks, model.name())?.succeeds(SOON));
        }
    }
    trials
        .test("a rank that exits ends the job", || job(3, "exit")?.fails(SOON / 2, &[]))
        .test("bytes that are no frame are refused", || {
            job(2, "garbled")?.fails(SOON / 2, &["site 0 sent bits that are no messages: a broken frame"])
        })
        .test("a rank that aborts ends the job", || {
            let job = job(3, "abort")?;
            assert_eq!(job.code, Some(7), "{}", job.output);
            job.fails(SOON / 2, &[])
        })
        .test("one rank is too few", || job(1, "alone")?.fails(SOON / 2, &["1 MPI rank: ", "mpirun -n SITES+1"]))
        .run()
}

/// A job that ended.
struct Job {
    code: Option<i32>,
    output: String,
    took: Duration,
}

/// This program again, in `ranks` ranks, each in the play `play`.
fn job(ranks: usize, play: &str) -> Result<Job, Failure> {
    let begin = Instant::now();
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()]).arg(env::current_exe()?);
    // A container may have no ssh, which a job on one machine does not use, and may forbid to read others' memory.
    mpirun.env("OMPI_MCA_plm_rsh_agent", "/bin/false").env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
    mpirun.env(PLAY, play).stdin(Stdio::null());
    let mut said = tempfile::tempfile()?;
    let mut running = match mpirun.stdout(said.try_clone()?).stderr(said.try_clone()?).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Skip("mpirun is not installed (Debian: openmpi-bin)".into()).into());
        }
        running => running?,
    };
    while running.try_wait()?.is_none() {
        thread::sleep(SILENCE / 100);
        if begin.elapsed() > END + START {
            running.kill()?;
        }
    }
    let (code, took) = (running.wait()?.code(), begin.elapsed());
    let mut output = String::new();
    said.rewind()?;
    said.read_to_string(&mut output)?;
    Ok(Job { code, output, took })
}

impl Job {
    fn succeeds(&self, within: Duration) -> Result<(), Failure> {
        println!("{:.1?}", self.took);
        assert_eq!((self.code, self.took < within), (Some(0), true), "after {:?}: {}", self.took, self.output);
        Ok(())
    }

    /// Fails soon enough, and says all of `lines`.
    fn fails(&self, within: Duration, lines: &[&str]) -> Result<(), Failure> {
        println!("{:.1?}\n{}", self.took, self.output);
        let failed = self.code.is_some_and(|code| code != 0); // none if mpirun itself crashed or hung
        assert!(failed && self.took < within, "{:?} after {:?}: {}", self.code, self.took, self.output);
        for line in lines {
            assert!(self.output.contains(line), "{line} is missing: {}", self.output);
        }
        Ok(())
    }

    /// Every other party says that `site` failed.
    fn all_name(&self, site: usize) {
        for party in others(Party::Site(site), site + 1, Reach::Board) {
            assert!(
                self.output.contains(&format!("{party}: site {site} ")),
                "{party} blames someone else: {}",
                self.output
            );
        }
    }
}

/// Message `number` of a party: some are long, one is empty, and one of the coordinator and of the last site has 20 MB.
fn message(from: Party, number: usize, sites: usize) -> Bits {
    let seed = match from {
        Party::Coordinator => 0,
        Party::Site(site) => site + 1,
    };
    let mut random = ChaCha8Rng::seed_from_u64((seed * MESSAGES + number) as u64);
    let length = match number {
        7 => 0,
        100 if seed.is_multiple_of(sites) => 160_000_001,
        _ if random.random_bool(0.1) => random.random_range(0..1_000_000),
        _ => random.random_range(0..2_000),
    };
    let mut bytes = vec![0; usize::div_ceil(length, 8)];
    random.fill_bytes(&mut bytes);
    if let Some(last) = bytes.last_mut() {
        *last &= u8::MAX >> ((8 - length % 8) % 8);
    }
    Bits::from_bytes(bytes, length as u64).expect("padded with zeros")
}

fn others(me: Party, sites: usize, reach: Reach) -> impl Iterator<Item = Party> {
    let all = std::iter::once(Party::Coordinator).chain((0..sites).map(Party::Site));
    let heard = move |&other: &Party| reach == Reach::Board || [me, other].contains(&Party::Coordinator);
    all.filter(move |&other| other != me).filter(heard)
}

/// Everyone says everything, and only then listens. Both transports count the same bytes.
fn exchange(reach: Reach) -> Result<(), Error> {
    let (me, mut link) = start(reach, SOON)?;
    let sites = link.sites();
    let mut threads = threads::links(sites, reach, SOON);
    let index = others(me, sites, Reach::Board).take_while(|&other| other < me).count();
    for number in 0..MESSAGES {
        let message = message(me, number, sites);
        link.write(&message)?;
        threads[index].write(&message)?;
    }
    assert_eq!(link.wire_bytes(), threads[index].wire_bytes());
    for from in others(me, sites, reach) {
        for number in 0..MESSAGES {
            assert!(link.read(from)? == message(from, number, sites), "message {number} from {from}");
        }
    }
    link.close()?;
    assert!(matches!(start(reach, SOON), Err(Error::MpiStarted)));
    Ok(())
}

/// A round as protocols have it: the coordinator hears the sites and answers. On a board, all hear them.
fn round(me: Party, link: &mut Ranks, reach: Reach) -> Result<(), Error> {
    let hello = message(me, 0, 1);
    if me != Party::Coordinator {
        link.write(&hello)?;
    }
    for from in others(me, link.sites(), reach).filter(|&from| from != Party::Coordinator) {
        link.read(from)?;
    }
    if me == Party::Coordinator { link.write(&hello) } else { link.read(Party::Coordinator).map(drop) }
}

/// Plays a round, and says what went wrong while the link is there.
fn play(me: Party, mut link: Ranks, reach: Reach) -> Result<(), Error> {
    let played = round(me, &mut link, reach);
    if let Err(error) = &played {
        println!("{me}: {error}");
    }
    played.and_then(|()| link.close())
}

/// The last site does something else than its part.
fn absent(reach: Reach, otherwise: fn() -> !) -> Result<(), Error> {
    let (me, link) = start(reach, SILENCE)?;
    if me == Party::Site(link.sites() - 1) {
        otherwise();
    }
    play(me, link, reach)
}

fn asleep() -> ! {
    loop {
        thread::sleep(END);
    }
}

/// The last site leaves before the end.
fn leave(reach: Reach) -> Result<(), Error> {
    let (me, link) = start(reach, SOON)?;
    if me == Party::Site(link.sites() - 1) { link.close() } else { play(me, link, reach) }
}

/// The first site works for longer than the time-out before it speaks, and again before it leaves; the second has nothing
/// more to do; nobody is called silent.
fn slow(reach: Reach) -> Result<(), Error> {
    let (me, mut link) = start(reach, SILENCE)?;
    if me == Party::Site(1) {
        link.write(&message(me, 0, 1))?;
        return link.close();
    }
    work(me, &mut link)?;
    round(me, &mut link, reach)?;
    work(me, &mut link)?;
    link.close()
}

/// The first site's work.
fn work(me: Party, link: &mut Ranks) -> Result<(), Error> {
    let begin = Instant::now();
    while me == Party::Site(0) && begin.elapsed() < 2 * SILENCE {
        link.alive()?;
        thread::sleep(SILENCE / 100);
    }
    Ok(())
}

/// The site is another program, by its bytes.
fn garbled() -> Result<(), Error> {
    let rank_is_site = env::var("OMPI_COMM_WORLD_RANK").or(env::var("PMI_RANK")).is_ok_and(|rank| rank == "1");
    if rank_is_site {
        let universe = mpi::initialize().expect("MPI starts");
        universe.world().process_at_rank(0).send(&[7_u8; 3]);
        asleep();
    }
    let (_, mut link) = start(Reach::Messages, SOON)?;
    link.read(Party::Site(0)).map(drop)
}

/// The last site has had enough, while the others wait for it.
fn aborted() -> Result<(), Error> {
    let (me, mut link) = start(Reach::Board, SOON)?;
    let last = Party::Site(link.sites() - 1);
    if me == last {
        abort(7);
    }
    link.read(last).map(drop)
}

/// A graph that comes and goes, clustered by these ranks and, at the coordinator, by threads: the same bits of every site,
/// the same labels, the same bytes on the wire.
fn cluster(model: Model) -> Result<(), Error> {
    let (party, mut link) = start(model.reach(), SOON)?;
    let blocks = BlockModel { vertices: 150, clusters: 3, inside: 0.5, between: 0.05 };
    let schedule = Schedule { times: 4, deletions: 0.3, repeat: 2 };
    let updates = stream(&block_model(&blocks, 1)?.edges, &schedule, 1)?;
    let stream = Stream::new(150, updates.into_iter().map(Change::from))?;
    let protocol = Protocol::new(model, (link.sites(), 150, 3), Rate::Auto, 5, Weights::NONE)?;
    let run = Run {
        stream: &stream,
        partition: Partition::Edge,
        times: &[1.0, 2.0, 3.0, 4.0],
        tau: Tau::Auto,
        truth: None,
        timeout: SOON,
    };
    let answer = run.as_party(party, &mut link, &protocol, &mut |_| {})?;
    link.close()?;
    if let Some(answer) = answer {
        let threads = run.with_threads(&protocol, &mut |_| {})?;
        assert!(answer.said == threads.said && answer.labels == threads.labels && answer.graphs == threads.graphs);
        let of = |answer: &Answer| (answer.report.bits, answer.report.wire_bytes);
        assert_eq!(of(&answer), of(&threads));
    }
    Ok(())
}
