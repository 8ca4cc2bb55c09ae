//! Any bytes as a graph file, the first byte says of which format and how it is read; as a stream of edges; as labels;
//! and as a certificate.
#![no_main]

use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tersor_graph::cluster::labels;
use tersor_graph::cluster::message::Weights;
use tersor_graph::cluster::protocol::{Model, Protocol, Rate};
use tersor_graph::cluster::run::Run;
use tersor_graph::cluster::spectral::Tau;
use tersor_graph::cluster::stream::{Partition, Stream, Third};
use tersor_graph::file::{self, Format, ReadOptions, temporal};
use tersor_graph::spanner::certificate;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, content)) = bytes.split_first() else { return };
    let format = Format::ALL[usize::from(choice) % Format::ALL.len()];
    let (relabel, temporal) = (choice & 4 != 0, choice & 8 != 0 && format == Format::EdgeList);
    let options = ReadOptions { format: Some(format), relabel, temporal, ..ReadOptions::default() };
    let name = Path::new(if choice & 16 != 0 { "fuzz.gz" } else { "fuzz" });
    if let Ok(read) = file::from_bytes(name, content.to_vec(), &options) {
        let _ = tersor_graph::stats::stats(&read);
        assert!(read.graph.vertices() == 0 || read.lookup().vertex(read.id(0)) == Some(0));
    }
    let ring = file::from_bytes("ring.txt", b"0 1 0.5\n1 2 1\n2 0 1\n".to_vec(), &ReadOptions::default()).unwrap();
    if let Ok(read) = certificate::from_bytes(name, content, &ring) {
        let text = certificate::to_text(&read, &ring);
        assert_eq!(certificate::from_bytes(name, text.as_bytes(), &ring).unwrap(), read);
    }
    let _ = temporal::from_bytes(name, content.to_vec(), relabel);
    let third = [Third::Guess, Third::Time, Third::Weight][usize::from(choice >> 5) % 3];
    if let Ok(stream) = Stream::from_bytes(name, content, third, &options) {
        watch(stream, choice, content);
    }
});

/// Gives each change to a site, reads the same bytes as labels and, if it is small, clusters it.
fn watch(mut stream: Stream, choice: u8, content: &[u8]) {
    for partition in [Partition::Edge, Partition::Vertex, Partition::Time] {
        assert!(stream.sites(3, partition).iter().all(|&site| site < 3));
    }
    let _ = labels::from_bytes(Path::new("labels"), content.to_vec(), &stream);
    let small = (1..=50).contains(&stream.vertices) && stream.changes.len() <= 50;
    if !small || stream.round(Weights::F32).is_err() {
        return;
    }
    let model = Model::ALL[usize::from(choice) % Model::ALL.len()];
    let counts = (2, stream.vertices, stream.vertices.min(2));
    let protocol = Protocol::new(model, counts, Rate::Auto, 1, Weights::F32).unwrap();
    let times = stream.times(2);
    let timeout = Duration::from_secs(60);
    let run =
        Run { stream: &stream, partition: Partition::Time, times: &times, tau: Tau::Auto, truth: None, timeout };
    let answer = run.with_threads(&protocol, &mut |_| ()).unwrap();
    assert!(answer.report.times.iter().all(|time| time.quality.ncut.is_finite() && time.kept <= time.edges));
}
