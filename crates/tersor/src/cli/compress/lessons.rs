//! Labelled pictures for learning and judging: by name, or from a folder or file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tersor::compress::evaluate::named_by_class;
use tersor::compress::learn::Lessons;
use tersor::data::{Examples, fetch, idx, shared};
use tersor::train::loader::{Normalisation, Split};

use crate::cli::dataset::{self, DataSet};

/// The data sets that have names.
pub const NAMES: &str = "mnist-8k, mnist-5k, fashion-mnist, cifar-1k";

/// Share of each class that is held back for judging where the data has no such part.
const HELD: f64 = 0.2;

/// Reads `data`, for a network that takes pictures of `shape`. Pixels become numbers from 0 to 1, or as `normalisation`
/// says.
///
/// A folder of pictures whose names begin with the number of their class is to judge by; with such pictures in `train` and
/// `test`, to learn from too.
///
/// `mnist-8k`: the 10,000 test digits of MNIST, every fifth of which judges. `fashion-mnist`: 60,000 and 10,000.
pub fn read(
    data: &Path,
    shape: [usize; 3],
    normalisation: Option<&Normalisation>,
    seed: u64,
) -> anyhow::Result<Lessons> {
    let normalised = |lessons: Lessons| match normalisation {
        Some(normalisation) => lessons.normalised(normalisation.clone()),
        None => lessons,
    };
    if data.is_dir()
        && let Some(lessons) = named(data, shape)?
    {
        return Ok(normalised(lessons));
    }
    let DataSet { train, validation } = match data.to_str() {
        _ if data.exists() => dataset::read(data, shape)?,
        Some("mnist-8k") => mnist_8k()?,
        Some("mnist-5k") => dataset::read(&fetch::path("mnist-5k")?, shape)?,
        Some("fashion-mnist") => fashion_mnist()?,
        Some("cifar-1k") => dataset::read(&in_shared("vision/common/cifar10_jpg_1000.zip")?, shape)?,
        _ => bail!(
            "{}: there is no such folder or file, and no data set of this name; there are: {NAMES}",
            data.display()
        ),
    };
    let (train, test) = match validation {
        Some(test) => (train, test),
        None => {
            let Split { train: learned, validation } = Split::stratified(train.labels(), HELD, seed)?;
            (train.selected(&learned), train.selected(&validation))
        }
    };
    for examples in [&train, &test] {
        if examples.shape() != shape {
            let found = examples.shape();
            bail!("{}: pictures of {found:?} (channels, height, width); the network takes {shape:?}", data.display());
        }
    }
    Ok(normalised(Lessons::new(train, test)?))
}

/// Pictures whose names begin with the number of their class: in `train` and `test`, or, to judge by alone, in the folder
/// itself.
fn named(data: &Path, shape: [usize; 3]) -> anyhow::Result<Option<Lessons>> {
    let (train, test) = (data.join("train"), data.join("test"));
    let pictures = |folder: &Path| named_by_class(folder, shape).map(|(examples, _)| examples);
    if is_named(&train) && is_named(&test) {
        return Ok(Some(Lessons::new(pictures(&train)?, pictures(&test)?)?));
    }
    Ok(if is_named(data) { Some(Lessons::judging(pictures(data)?)?) } else { None })
}

/// Whether a folder holds files whose names begin with a number and `_`.
fn is_named(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |name: &str| name.split_once('_').is_some_and(|(class, _)| class.parse::<u32>().is_ok());
    files.filter(|file| file.path().is_file()).any(|file| file.file_name().to_str().is_some_and(number))
}

fn in_shared(file: &str) -> anyhow::Result<PathBuf> {
    shared::file(file).with_context(|| {
        format!("{file} is not in the shared data ({}); set TERSOR_DATA to their folder", shared::root().display())
    })
}

fn mnist_8k() -> anyhow::Result<DataSet> {
    let pictures = in_shared("tiny/mnist_10k_images_idx3.gz")?;
    let all = idx::examples(&pictures, in_shared("tiny/mnist_10k_labels_idx1.gz")?)?;
    let of = |judges: bool| -> Examples {
        let indices: Vec<u32> = (0..all.len() as u32).filter(|index| (index % 5 == 4) == judges).collect();
        all.selected(&indices)
    };
    Ok(DataSet { train: of(false), validation: Some(of(true)) })
}

fn fashion_mnist() -> anyhow::Result<DataSet> {
    let part = |part: &str| -> anyhow::Result<Examples> {
        let file = |what: &str| fetch::path(&format!("fashion-mnist-{part}-{what}"));
        Ok(idx::examples(file("images")?, file("labels")?)?)
    };
    Ok(DataSet { train: part("train")?, validation: Some(part("test")?) })
}
