//! Where labelled pictures lie in what `--data` names: which reader reads it, and what in it is kept for validation.
//!
//! A new format plugs in here: one more way to recognise it, one more call of its reader in `tersor::data`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tersor::data::csv::{self, Layout};
use tersor::data::folder::Options;
use tersor::data::{Error, Examples, cifar, folder, idx};

/// Pictures to learn from, and others to validate with if the data set has such a part.
pub struct DataSet {
    pub train: Examples,
    pub validation: Option<Examples>,
}

/// Reads `path` for a network that takes pictures of `shape` (channels, height, width).
///
/// A folder of MNIST's kind (`train-images…`, `train-labels…`, `t10k-…`, packed or not), of CIFAR-10 (`data_batch_1.bin`…),
/// or of pictures by class, at its top or in `train` and `test`; a .zip of pictures; one file `…images…` of MNIST's kind
/// with its `…labels…` beside it; a .csv of pixels with the label last.
pub fn read(path: &Path, shape: [usize; 3]) -> anyhow::Result<DataSet> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() {
        let files = listed(path)?;
        let of = |begin: &str, what: &str| {
            let fits = |name: &str| name.starts_with(begin) && name.contains(what);
            files.iter().find(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(fits))
        };
        if let Some(pictures) = of("train", "images") {
            let train = beside_labels(pictures)?;
            let validation = of("t10k", "images").or_else(|| of("test", "images"));
            let validation = validation.map(|pictures| beside_labels(pictures)).transpose()?;
            return Ok(DataSet { train, validation });
        }
        if let Some(pictures) = of("", "images") {
            return Ok(DataSet { train: beside_labels(pictures)?, validation: None });
        }
        if of("data_batch", ".bin").is_some() {
            let begins = |begin: &str| {
                let fits = |file: &&PathBuf| {
                    file.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(begin))
                };
                files.iter().filter(fits).filter(|file| file.to_string_lossy().contains(".bin")).collect::<Vec<_>>()
            };
            let test = begins("test_batch");
            let validation = (!test.is_empty()).then(|| cifar::read(&test, cifar::Set::Ten)).transpose()?;
            return Ok(DataSet { train: cifar::read(&begins("data_batch"), cifar::Set::Ten)?, validation });
        }
        return pictures(path, shape);
    }
    if name.ends_with(".zip") {
        return pictures(path, shape);
    }
    let train = if name.contains("images") {
        beside_labels(path)?
    } else if name.contains(".csv") {
        csv::read(path, &Layout::default())?.into_pictures(shape)?
    } else {
        bail!(
            "{}: no set of labelled pictures is known by this name; give a folder, a .zip of pictures by class, a .csv, \
             or a file of MNIST's kind with `images` in its name",
            path.display()
        );
    };
    Ok(DataSet { train, validation: None })
}

/// Pictures by class, in the parts `train` and `test` (or `val`, `validation`) if it has them.
fn pictures(path: &Path, [channels, height, width]: [usize; 3]) -> anyhow::Result<DataSet> {
    let part = |part: Option<&str>| {
        let (size, grey) = (Some((height, width)), channels == 1);
        folder::read(path, &Options { part: part.map(str::to_owned), size, grey })
    };
    // In an archive a part that is not there is one without pictures.
    let maybe = |name: &str| match part(Some(name)) {
        _ if path.is_dir() && !path.join(name).is_dir() => Ok(None),
        Ok(examples) => Ok(Some(examples)),
        Err(Error::Format { .. } | Error::Read { .. }) if !path.is_dir() => Ok(None),
        Err(other) => Err(other),
    };
    let Some(train) = maybe("train")? else { return Ok(DataSet { train: part(None)?, validation: None }) };
    let mut validation = None;
    for name in ["test", "val", "validation"] {
        if validation.is_none() {
            validation = maybe(name)?;
        }
    }
    Ok(DataSet { train, validation })
}

/// Pictures of MNIST's kind; their labels lie beside them under the same name but for what it says of the content.
fn beside_labels(pictures: &Path) -> anyhow::Result<Examples> {
    let name = pictures.file_name().and_then(|name| name.to_str()).context("the file's name is not Unicode")?;
    let labels = pictures.with_file_name(name.replace("images", "labels").replace("idx3", "idx1"));
    Ok(idx::examples(pictures, labels)?)
}

fn listed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("{}: cannot be read", folder.display());
    let entries = std::fs::read_dir(folder).with_context(unreadable)?;
    let mut files =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(unreadable)?;
    files.sort();
    Ok(files)
}
