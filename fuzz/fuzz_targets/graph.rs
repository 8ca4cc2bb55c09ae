//! Any bytes as a graph file, the first byte says of which format and how it is read; and as a certificate.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
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
});
