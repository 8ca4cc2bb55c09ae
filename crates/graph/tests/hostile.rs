//! Hostile graph files: random, damaged, huge, packed into bombs. Each is read or refused within a second and 256 MiB;
//! none panics.
//!
//! The coverage-guided twin of this gate is `fuzz/fuzz_targets/graph.rs`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tersor_data::testing::{Counting, Failure, Trials, within_limits};
use tersor_graph::Error;
use tersor_graph::cluster::labels;
use tersor_graph::cluster::message::Weights;
use tersor_graph::cluster::protocol::{Model, Protocol, Rate};
use tersor_graph::cluster::run::Run;
use tersor_graph::cluster::spectral::Tau;
use tersor_graph::cluster::stream::{Partition, Stream, Third};
use tersor_graph::file::{self, ReadOptions, temporal};
use tersor_graph::stats::stats;

type Result<T = ()> = std::result::Result<T, Failure>;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A valid file of each format, with all that it may hold.
const VALID: [(&str, &str); 7] = [
    ("x.gr", "c id_offset 1\np sp 5 5\na 1 2 3\na 2 3 0.25\na 3 1 1e2\na 4 4 1\na 5 1\n"),
    ("x.txt", "# vertices 9 first_id 1\n1 2\n2\t3 4.5\n% c\n3,1,1e-3\n\n8 9 100\n"),
    ("x.graph", "% c\n4 4 11 2\n1 2 2 5 3 6\n1 2 1 5 3 7\n1 2 1 6 2 7 4 8\n1 2 3 8\n"),
    ("plain.graph", "5 4\n2 3\n1\n1 4\n3 5\n4\n"),
    ("x.mtx", "%%MatrixMarket matrix coordinate real symmetric\n% c\n4 4 3\n2 1 0.5\n3 3 1\n4 1 2\n"),
    ("pattern.mtx", "%%MatrixMarket matrix coordinate pattern general\n3 3 2\n1 2\n3 1\n"),
    ("temporal.txt", "# c\n1 2 100\n2 3 101 +\n1 2 102 - 1\n5 1 103.5 + 2.5\n"),
];

fn main() {
    Trials::new()
        .test("random_bytes_are_refused_or_read", || random_bytes(20_000))
        .test("damaged_files_are_refused_or_read", || damaged(40_000))
        .test("damaged_packed_files_are_refused_or_read", || damaged_packed(4_000))
        .test("damaged_labels_are_refused_or_read", || damaged_labels(20_000))
        .test("claims_are_not_believed", claims)
        .test("bombs_are_refused_within_bounds", bombs)
        .run()
}

/// The same numbers on every run: a failure can be looked at again.
fn random(seed: u8) -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])
}

/// Reads it in every way that a user can, and uses what was read. Says whether any way worked.
fn use_it(name: &str, bytes: &[u8]) -> bool {
    let options = |relabel, temporal| ReadOptions { relabel, temporal, ..ReadOptions::default() };
    let mut read = false;
    for (relabel, temporal) in [(false, false), (true, false), (false, true), (true, true)] {
        if temporal && !name.contains("txt") {
            continue;
        }
        match file::from_bytes(name, bytes.to_vec(), &options(relabel, temporal)) {
            Ok(file) => {
                let found = stats(&file);
                assert!(found.vertices >= found.isolated && found.largest_component <= found.vertices);
                read = true;
            }
            Err(error) => named(&error),
        }
    }
    match temporal::from_bytes(name, bytes.to_vec(), false) {
        Ok(stream) => assert!(stream.updates.iter().all(|update| (update.to as usize) < stream.vertices)),
        Err(error) => named(&error),
    }
    for third in [Third::Guess, Third::Time, Third::Weight, Third::Nothing] {
        let relabel = third == Third::Time && bytes.len() % 2 == 1;
        let options = ReadOptions { relabel, ..ReadOptions::default() };
        match Stream::from_bytes(Path::new(name), bytes, third, &options) {
            Ok(stream) => watch(stream, bytes),
            // A graph of arcs may have those of length 0; an edge of weight 0 is none.
            Err(Error::NoWeight { .. }) => (),
            Err(error) => named(&error),
        }
    }
    read
}

/// Gives each change to a site, reads the same bytes as labels and, if it is small, clusters it.
fn watch(mut stream: Stream, bytes: &[u8]) {
    for partition in [Partition::Edge, Partition::Vertex, Partition::Time] {
        let sites = stream.sites(3, partition);
        assert!(sites.len() == stream.changes.len() && sites.iter().all(|&site| site < 3));
    }
    assert!(stream.changes.windows(2).all(|pair| pair[0].time <= pair[1].time));
    if let Err(error) = labels::from_bytes(Path::new("labels.txt"), bytes.to_vec(), &stream) {
        named(&error);
    }
    // One in eight, since threads cost more than reading.
    if !(1..=50).contains(&stream.vertices) || stream.changes.len() > 50 || !bytes.len().is_multiple_of(8) {
        return;
    }
    // A weight that is no f32, such as 1e-300, is refused.
    if stream.round(Weights::F32).is_err() {
        return;
    }
    let model = Model::ALL[bytes.len() / 8 % Model::ALL.len()];
    let counts = (2, stream.vertices, stream.vertices.min(2));
    let protocol = Protocol::new(model, counts, Rate::Auto, 1, Weights::F32).unwrap();
    let times = stream.times(2);
    let partition = Partition::Time;
    let timeout = Duration::from_secs(10);
    let run = Run { stream: &stream, partition, times: &times, tau: Tau::Auto, truth: None, timeout };
    let answer = run.with_threads(&protocol, &mut |_| ()).unwrap();
    assert_eq!(answer.labels.len(), times.len());
    for time in &answer.report.times {
        assert!(time.quality.ncut.is_finite() && time.quality.ari <= 1.0 && time.kept <= time.edges, "{time:?}");
    }
}

/// An error names file and line, in a line.
fn named(error: &Error) {
    let text = error.to_string();
    assert!(matches!(error, Error::File { line: 1.., .. } | Error::TooLarge { .. }), "{error:?}");
    assert!(text.contains(": ") && !text.chars().any(char::is_control), "{text:?}");
}

/// Labels of five vertices, by their number or by their ids.
fn damaged_labels(times: usize) -> Result {
    let edges = "0 1\n1 2\n2 3\n3 4\n";
    let stream = |text: &str, relabel| {
        let options = ReadOptions { relabel, ..ReadOptions::default() };
        Stream::from_bytes(Path::new("x.txt"), text.as_bytes(), Third::Guess, &options)
    };
    let streams = [stream(edges, false)?, stream(&edges.replace('4', "9000000000"), true)?];
    let valid = ["# labels\n0 1\n1\t1\n2,0\n3 4294967295\n4 0\n", "9000000000 3\n0 1\n1 1\n2 0\n3 7\n77 1\n"];
    let (mut random, mut read) = (random(4), 0);
    for i in 0..times {
        let (stream, mut bytes) = (&streams[i % 2], valid[i % 2].as_bytes().to_vec());
        let mut name = "y.txt";
        if i % 10 == 0 {
            (bytes, name) = (packed(&bytes, Compression::default())?, "y.txt.gz");
        }
        damage(&mut bytes, &mut random);
        let labels = || labels::from_bytes(Path::new(name), bytes.clone(), stream);
        match within_limits(|| format!("{name}: {:?}", String::from_utf8_lossy(&bytes)), labels) {
            Ok(labels) => {
                assert_eq!(labels.len(), 5);
                read += 1;
            }
            Err(error) => named(&error),
        }
    }
    assert!(read > times / 20 && read < times, "{read} of {times} were read");
    Ok(())
}

fn random_bytes(times: usize) -> Result {
    let alphabet = b"0123456789 0123456789 \n\n\t.,-+eaAcp#%vsp sp";
    let mut random = random(1);
    for i in 0..times {
        let length = random.next_u32() as usize % 300;
        let mut byte = || random.next_u32() as u8;
        let any = (0..length).map(|_| if i % 4 == 0 { byte() } else { alphabet[usize::from(byte()) % alphabet.len()] });
        let mut bytes: Vec<u8> = any.collect();
        let (name, valid) = VALID[i % VALID.len()];
        if i % 3 == 0 {
            // Behind a header that lets it in.
            bytes.splice(0..0, valid.bytes().take(valid.len() / 2));
        }
        within_limits(|| format!("{name}: {:?}", String::from_utf8_lossy(&bytes)), || use_it(name, &bytes));
    }
    Ok(())
}

/// A few bytes changed, left out, doubled or cut off.
fn damage(bytes: &mut Vec<u8>, random: &mut TestRng) {
    for _ in 0..=random.next_u32() % 3 {
        let at = random.next_u32() as usize % bytes.len().max(1);
        match random.next_u32() % 6 {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => {
                let end = (at + 12).min(bytes.len());
                let again = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => bytes.insert(at, b"9- .\n"[random.next_u32() as usize % 5]),
            _ if at < bytes.len() => bytes[at] = random.next_u32() as u8,
            _ => (),
        }
    }
}

fn damaged(times: usize) -> Result {
    let mut random = random(2);
    let mut read = 0;
    for i in 0..times {
        let (name, valid) = VALID[i % VALID.len()];
        let mut bytes = valid.as_bytes().to_vec();
        damage(&mut bytes, &mut random);
        let used = || use_it(name, &bytes);
        read += usize::from(within_limits(|| format!("{name}: {:?}", String::from_utf8_lossy(&bytes)), used));
    }
    assert!(
        read > times / 20 && read < times,
        "{read} of {times} were read: damage too hard or too soft to test anything"
    );
    Ok(())
}

fn packed(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn damaged_packed(times: usize) -> Result {
    let mut random = random(3);
    for i in 0..times {
        let (name, valid) = VALID[i % VALID.len()];
        let mut bytes = packed(valid.as_bytes(), Compression::default())?;
        damage(&mut bytes, &mut random);
        let name = format!("{name}.gz");
        within_limits(|| format!("{name}: {bytes:?}"), || use_it(&name, &bytes));
    }
    Ok(())
}

fn claims() -> Result {
    for (name, text) in [
        ("x.gr", "p sp 4294967294 0\n"),
        ("x.gr", "p sp 1000000 18446744073709551615\na 1 2 3\n"),
        ("x.txt", "4294967293 1\n"),
        ("x.txt", "# vertices 4294967293 first_id 0\n"),
        ("x.graph", "4000000000 18446744073709551615\n2\n1\n"),
        ("x.graph", "2 1 011 18446744073709551615\n2\n1\n"),
        ("x.mtx", "%%MatrixMarket matrix coordinate pattern general\n4000000000 4000000000 0\n"),
        ("x.mtx", "%%MatrixMarket matrix coordinate pattern general\n9 9 18446744073709551615\n1 2\n"),
    ] {
        let read = within_limits(|| text.to_string(), || file::from_bytes(name, text.into(), &ReadOptions::default()));
        named(&read.unwrap_err());
        for third in [Third::Guess, Third::Time, Third::Weight] {
            let stream = || Stream::from_bytes(Path::new(name), text.as_bytes(), third, &ReadOptions::default());
            named(&within_limits(|| text.to_string(), stream).unwrap_err());
        }
    }
    // Of labels, ids and sites that there are not.
    let ring = Stream::from_bytes(Path::new("x.txt"), b"0 1\n1 2\n2 0\n", Third::Guess, &ReadOptions::default())?;
    for text in ["18446744073709551615 0\n", "0 18446744073709551615\n", "99999999999999999999999999 0\n"] {
        let read = within_limits(|| text.into(), || labels::from_bytes(Path::new("y.txt"), text.into(), &ring));
        named(&read.unwrap_err());
    }
    Ok(())
}

fn bombs() -> Result {
    let options = ReadOptions::default();
    let refused = |name: &str, bytes: &[u8]| {
        let read = within_limits(|| name.to_string(), || file::from_bytes(name, bytes.to_vec(), &options));
        read.unwrap_err().to_string()
    };
    // 128 MiB of lines, of one line, and of blank lines.
    let many = packed(&b"1 2\n".repeat(32 << 20), Compression::best())?;
    assert!(refused("many.txt.gz", &many).contains("bomb"));
    let one = packed(&vec![b'1'; 128 << 20], Compression::fast())?;
    for name in ["one.txt.gz", "one.graph.gz"] {
        assert!(refused(name, &one).contains("longer than"));
    }
    for third in [Third::Guess, Third::Time] {
        let timed = packed(&b"1 2 3\n".repeat(32 << 20), Compression::best())?;
        let stream = || Stream::from_bytes(Path::new("many.txt.gz"), &timed, third, &options);
        assert!(within_limits(|| "timed".into(), stream).unwrap_err().to_string().contains("bomb"));
    }
    let blank = packed(&vec![b'\n'; 128 << 20], Compression::best())?;
    assert!(refused("blank.gr.gz", &blank).contains("bomb"));
    // A bomb within a bomb is a file that is no graph.
    assert!(refused("twice.txt.gz", &packed(&many, Compression::best())?).starts_with("twice.txt.gz:1: "));
    // An honest star of 200,000 neighbours in one line is read.
    let mut star = String::from("200001 200000\n");
    for leaf in 2..=200_001 {
        write!(star, "{leaf} ")?;
    }
    star += &format!("\n{}", "1\n".repeat(200_000));
    let read = within_limits(|| "star".into(), || file::from_bytes("star.graph", star.into_bytes(), &options));
    assert_eq!(read?.graph.arcs(), 400_000);
    Ok(())
}
