//! CIFAR-10 and CIFAR-100 in their binary form: records of one size, without a header.
//!
//! A record is the label (CIFAR-100: the coarse one, then the fine one) and 3,072 bytes: 32×32 red, then green, then
//! blue. Nothing in a file says which of the two it is; whoever reads it does. Files may be packed with gzip.

use std::path::Path;

use crate::examples::{Examples, numbered};
use crate::{Error, unpack};

/// Bytes of a picture: three planes of 32×32.
const PICTURE: usize = 3 * 32 * 32;

/// The ten classes of CIFAR-10, in the order of its labels.
pub const TEN: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Which of the sets a file belongs to, and for CIFAR-100 which of its two labels is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// CIFAR-10: ten classes.
    Ten,
    /// CIFAR-100 with its 20 coarse classes.
    Coarse,
    /// CIFAR-100 with its 100 fine classes.
    Fine,
}

impl Set {
    fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Coarse => 20,
            Self::Fine => 100,
        }
    }

    /// Bytes before the picture, and which of them is the label.
    fn labels(self) -> (usize, usize) {
        match self {
            Self::Ten => (1, 0),
            Self::Coarse => (2, 0),
            Self::Fine => (2, 1),
        }
    }

    /// The file of names that lies beside the batches.
    fn names(self) -> &'static str {
        match self {
            Self::Ten => "batches.meta.txt",
            Self::Coarse => "coarse_label_names.txt",
            Self::Fine => "fine_label_names.txt",
        }
    }
}

/// Reads the batches `files`, one after another, as one set of examples.
///
/// The classes are called by their names if the set's own list of them lies beside the first file, CIFAR-10's in any
/// case, and by their numbers otherwise.
///
/// # Errors
/// [`Error::Read`], [`Error::Bomb`], or [`Error::Format`] if a file is not whole records of `set` or a label is too
/// large, naming the file, the record and the byte.
pub fn read(files: &[impl AsRef<Path>], set: Set) -> Result<Examples, Error> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        let file = file.as_ref();
        records(&file.display().to_string(), &unpack::content(file)?, set, &mut pixels, &mut labels)?;
    }
    let beside = files.first().and_then(|file| file.as_ref().parent()).map(|folder| folder.join(set.names()));
    let names = beside.and_then(|file| names(&file, set)).unwrap_or_else(|| default_names(set));
    Ok(Examples::new([3, 32, 32], pixels, labels, names).expect("every record was checked"))
}

/// Reads one batch from `bytes`, packed or not; `name` says in errors where they came from.
///
/// # Errors
/// As [`read`], without the reading.
pub fn from_bytes(name: &str, bytes: Vec<u8>, set: Set) -> Result<Examples, Error> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    records(name, &unpack::unpacked(name, bytes)?, set, &mut pixels, &mut labels)?;
    Ok(Examples::new([3, 32, 32], pixels, labels, default_names(set)).expect("every record was checked"))
}

fn records(name: &str, bytes: &[u8], set: Set, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<(), Error> {
    let bad = |found: String| Error::Format { place: name.into(), format: "CIFAR batch", found };
    let (before, which) = set.labels();
    let size = before + PICTURE;
    let records = bytes.chunks_exact(size);
    if bytes.is_empty() || !records.remainder().is_empty() {
        let whole = bytes.len() / size;
        return Err(bad(format!(
            "{} bytes are not whole records of {size}: after {whole} of them, at byte {}, {} are left",
            bytes.len(),
            whole * size,
            records.remainder().len()
        )));
    }
    pixels.reserve(records.len() * PICTURE);
    for (index, record) in records.enumerate() {
        let label = record[which];
        if label as usize >= set.classes() {
            let byte = index * size + which;
            return Err(bad(format!(
                "record {index} (byte {byte}) has label {label}, {set:?} has classes 0 to {}",
                set.classes() - 1
            )));
        }
        labels.push(label.into());
        pixels.extend_from_slice(&record[before..]);
    }
    Ok(())
}

/// The names in a file beside the batches, if they are as many as the set has classes.
fn names(path: &Path, set: Set) -> Option<Vec<String>> {
    let length = std::fs::metadata(path).ok()?.len();
    let text = if length < 1 << 16 { std::fs::read_to_string(path).ok()? } else { return None };
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    (names.len() == set.classes()).then_some(names)
}

fn default_names(set: Set) -> Vec<String> {
    match set {
        Set::Ten => TEN.map(str::to_owned).to_vec(),
        Set::Coarse | Set::Fine => numbered(set.classes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(labels: &[u8], first: u8) -> Vec<u8> {
        let mut record = labels.to_vec();
        record.extend((0..PICTURE).map(|i| (i / 1024) as u8 + first));
        record
    }

    fn refused(bytes: Vec<u8>, set: Set) -> String {
        from_bytes("batch.bin", bytes, set).unwrap_err().to_string()
    }

    #[test]
    fn records_become_examples_in_planes() {
        let batch = [record(&[3], 10), record(&[9], 20)].concat();
        let examples = from_bytes("batch.bin", unpack::packed(&batch), Set::Ten).unwrap();
        assert_eq!((examples.len(), examples.shape(), examples.labels()), (2, [3, 32, 32], &[3, 9][..]));
        assert_eq!(examples.classes()[3], "cat");
        assert_eq!([0, 1024, 2048].map(|at| examples.picture(1)[at]), [20, 21, 22]);
    }

    #[test]
    fn the_hundred_have_two_labels() {
        let batch = record(&[19, 99], 0);
        assert_eq!(from_bytes("b", batch.clone(), Set::Coarse).unwrap().labels(), [19]);
        assert_eq!(from_bytes("b", batch, Set::Fine).unwrap().labels(), [99]);
        assert!(refused(record(&[20, 0], 0), Set::Coarse).contains("label 20"));
    }

    #[test]
    fn batches_are_read_one_after_another_with_the_names_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..100).map(|class| format!("class {class}")).collect();
        std::fs::write(folder.path().join("fine_label_names.txt"), names.join("\n")).unwrap();
        let files = ["a.bin", "b.bin"].map(|name| folder.path().join(name));
        std::fs::write(&files[0], record(&[0, 7], 1)).unwrap();
        std::fs::write(&files[1], record(&[0, 8], 2)).unwrap();
        let examples = read(&files, Set::Fine).unwrap();
        assert_eq!((examples.labels(), &examples.classes()[8][..]), (&[7, 8][..], "class 8"));
    }

    #[test]
    fn a_batch_cut_anywhere_but_between_records_is_an_error_that_says_where() {
        let batch = [record(&[3], 0), record(&[9], 0)].concat();
        for cut in (0..batch.len()).filter(|&cut| cut != PICTURE + 1) {
            assert!(refused(batch[..cut].to_vec(), Set::Ten).starts_with("batch.bin: "));
        }
        assert!(refused(batch[..4000].to_vec(), Set::Ten).contains("after 1 of them, at byte 3073, 927 are left"));
    }

    #[test]
    fn a_label_that_no_class_has_names_its_record_and_byte() {
        let batch = [record(&[3], 0), record(&[10], 0)].concat();
        assert!(refused(batch, Set::Ten).contains("record 1 (byte 3073) has label 10"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_examples_or_an_error(length in 0usize..3 * PICTURE, byte in any::<u8>()) {
            for set in [Set::Ten, Set::Coarse, Set::Fine] {
                let _ = from_bytes("x", vec![byte; length], set);
            }
        }
    }
}
