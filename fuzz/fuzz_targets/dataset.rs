//! Any bytes as every file that examples come from: IDX, CIFAR, an archive of pictures, a table, a text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_data::csv::{self, Label, Layout};
use tersor_data::{cifar, folder, idx, text};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(array) = idx::from_bytes("fuzz.idx", bytes.to_vec()) {
        let _ = idx::joined(("fuzz.idx", array.clone()), ("fuzz.idx", array));
    }
    for set in [cifar::Set::Ten, cifar::Set::Coarse, cifar::Set::Fine] {
        let _ = cifar::from_bytes("fuzz.bin", bytes.to_vec(), set);
    }
    for size in [None, Some((3, 2))] {
        let options = folder::Options { part: None, size, grey: size.is_none() };
        let _ = folder::from_bytes("fuzz.zip", bytes, &options);
    }
    for label in [Label::Absent, Label::Last, Label::Named("a".into())] {
        let layout = Layout { header: label != Label::Last, label, skip: vec![1] };
        if let Ok(table) = csv::from_bytes("fuzz.csv", bytes.to_vec(), &layout) {
            let columns = table.columns.len();
            let _ = table.into_pictures([1, 1, columns]);
        }
    }
    if let Ok(text) = text::from_bytes("fuzz.txt", bytes.to_vec()) {
        assert!(text.vocabulary.decode(&text.ids).is_some());
    }
});
