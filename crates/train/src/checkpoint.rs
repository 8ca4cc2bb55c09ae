//! A run on disk: all that it needs to go on as if it had never stopped, bit for bit.
//!
//! A checkpoint is one safetensors file, `step-000000001200.safetensors`: weights (`model/…`), the best weights so far
//! (`best/…`), the optimiser's moments (`optimizer/…`), and a text with the recipe, the position in the data, the
//! metrics so far and a CRC-32 of every tensor and of itself. It is written under another name, synced to the disk and
//! renamed; then the folder is synced, and only then goes the oldest. So at every moment a whole file is there: after
//! `kill -9`, and after a power cut as far as the disk keeps what it said.
//!
//! Two are kept. When the newest is damaged, that is an error, not a silent step back: who runs decides.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Error;
use crate::fit::Progress;
use crate::optimizer::State;
use crate::weights::{self, Tensors};

/// How often a checkpoint is written, besides at the end of each epoch. Whichever comes first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Every {
    /// After so many steps.
    pub steps: Option<u64>,
    /// After so many seconds.
    pub seconds: Option<f64>,
}

/// The folder of one run's checkpoints, locked for as long as this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    every: Every,
    about: Value,
    /// Holds the lock; the system releases it even after `kill -9`.
    _lock: File,
}

/// All that a run is.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub recipe: Value,
    pub progress: Progress,
    pub model: Tensors,
    pub best: Option<Tensors>,
    pub optimizer: State,
}

/// The text of a file, and what proves that it is whole.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    crc32: u32,
    #[serde(borrow)]
    note: &'a RawValue,
}

/// What a file says besides its tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    version: u32,
    recipe: Value,
    progress: Progress,
    numbers: BTreeMap<String, u64>,
    crc32: BTreeMap<String, u32>,
}

const VERSION: u32 = 1;
const KEPT: usize = 2;
const LOCK: &str = "lock";
const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";

impl Folder {
    /// For a run that begins: `path` is made if need be and must hold no checkpoint. `about` is what the recipe is
    /// besides the loop's settings (network, data, batch), compared when the run is resumed.
    ///
    /// # Errors
    /// [`Error::Occupied`], [`Error::InUse`], [`Error::Data`] if it cannot be made.
    pub fn begin(path: impl Into<PathBuf>, every: Every, about: Value) -> Result<Self, Error> {
        let folder = Self::resume(path, every, about)?;
        if folder.files()?.is_empty() { Ok(folder) } else { Err(Error::Occupied { folder: folder.path }) }
    }

    /// For a run that goes on; if there is no checkpoint, it begins.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Data`] if it cannot be made.
    pub fn resume(path: impl Into<PathBuf>, every: Every, about: Value) -> Result<Self, Error> {
        let path = path.into();
        let unwritable = |source| tersor_data::Error::Write { path: path.clone(), source };
        fs::create_dir_all(&path).map_err(unwritable)?;
        let lock = File::create(path.join(LOCK)).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { folder: path }),
            Err(TryLockError::Error(source)) => return Err(unwritable(source).into()),
        }
        let folder = Self { path, every, about, _lock: lock };
        folder.sweep()?;
        Ok(folder)
    }

    /// The checkpoints, oldest first.
    ///
    /// # Errors
    /// [`Error::Data`] if the folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, Error> {
        self.named(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
    }

    pub(crate) fn about(&self) -> &Value {
        &self.about
    }

    /// Writes a checkpoint, then removes all but the newest two.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> Result<PathBuf, Error> {
        let file = self.path.join(format!("{PREFIX}{:012}{SUFFIX}", snapshot.progress.step));
        let bytes = snapshot.encode()?;
        tersor_data::atomic::write_seekable(&file, |out| {
            out.write_all(&bytes)?;
            out.flush()?;
            out.get_ref().sync_all()
        })?;
        #[cfg(unix)]
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| tersor_data::Error::Write { path: self.path.clone(), source })?;
        let files = self.files()?;
        for old in &files[..files.len().saturating_sub(KEPT)] {
            remove(old)?;
        }
        Ok(file)
    }

    /// The newest checkpoint, if there is any.
    pub(crate) fn newest(&self) -> Result<Option<(PathBuf, Snapshot)>, Error> {
        let mut files = self.files()?;
        let Some(file) = files.pop() else { return Ok(None) };
        let bytes = weights::bytes_of(&file)?;
        match Snapshot::decode(&bytes) {
            Ok(snapshot) => Ok(Some((file, snapshot))),
            Err(fault) => Err(Error::Damaged { file, kind: "checkpoint", fault, earlier: files.pop() }),
        }
    }

    /// Removes what an interrupted write left.
    fn sweep(&self) -> Result<(), Error> {
        self.named(|name| name.starts_with(".tersor-"))?.iter().try_for_each(|file| remove(file))
    }

    fn named(&self, fits: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Error> {
        let unreadable = |source| tersor_data::Error::Read { path: self.path.clone(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.file_name().to_str().is_some_and(&fits) {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }
}

fn remove(file: &Path) -> Result<(), Error> {
    fs::remove_file(file).map_err(|source| tersor_data::Error::Write { path: file.into(), source }.into())
}

impl Snapshot {
    fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut tensors = Tensors::new();
        let parts =
            [("model", Some(&self.model)), ("best", self.best.as_ref()), ("optimizer", Some(&self.optimizer.tensors))];
        for (part, of) in parts {
            let named = of.into_iter().flatten().map(|(name, data)| (format!("{part}/{name}"), data.clone()));
            tensors.extend(named);
        }
        let note = Note {
            version: VERSION,
            recipe: self.recipe.clone(),
            progress: self.progress.clone(),
            numbers: self.optimizer.numbers.clone(),
            crc32: tensors.iter().map(|(name, data)| (name.clone(), crc32fast::hash(data.as_bytes()))).collect(),
        };
        let note = serde_json::value::to_raw_value(&note).expect("numbers and names are JSON");
        let sealed = Sealed { crc32: crc32fast::hash(note.get().as_bytes()), note: &note };
        weights::encode(&tensors, &serde_json::to_string(&sealed).expect("numbers and names are JSON"))
    }

    /// What the bytes hold, or what is wrong with them.
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (tensors, about) = weights::decode(bytes)?;
        let sealed: Sealed = serde_json::from_str(&about).map_err(|error| format!("no checkpoint's text: {error}"))?;
        if crc32fast::hash(sealed.note.get().as_bytes()) != sealed.crc32 {
            return Err("its text is not as it was written".into());
        }
        let note: Note = serde_json::from_str(sealed.note.get()).map_err(|error| error.to_string())?;
        if note.version != VERSION {
            return Err(format!("of version {}, not {VERSION}", note.version));
        }
        for (name, crc32) in &note.crc32 {
            let data = tensors.get(name).ok_or_else(|| format!("tensor `{name}` is absent"))?;
            if crc32fast::hash(data.as_bytes()) != *crc32 {
                return Err(format!("tensor `{name}` is not as it was written"));
            }
        }
        let mut parts = BTreeMap::from(["model", "best", "optimizer"].map(|part| (part, Tensors::new())));
        for (name, data) in tensors {
            let place = name.split_once('/').and_then(|(part, rest)| Some((parts.get_mut(part)?, rest.to_owned())));
            let (part, rest) = place.ok_or_else(|| format!("tensor `{name}` is no part of a checkpoint"))?;
            part.insert(rest, data);
        }
        let mut part = |name| parts.remove(name).unwrap_or_default();
        let best = Some(part("best")).filter(|best| !best.is_empty());
        let optimizer = State { tensors: part("optimizer"), numbers: note.numbers };
        Ok(Self { recipe: note.recipe, progress: note.progress, model: part("model"), best, optimizer })
    }
}

/// When the next checkpoint is due.
#[derive(Debug)]
pub(crate) struct Due {
    every: Every,
    steps: u64,
    last: Instant,
}

impl Due {
    pub fn new(folder: &Folder) -> Self {
        Self { every: folder.every, steps: 0, last: Instant::now() }
    }

    /// Counts a step; whether it is time.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let long = |seconds: f64| Duration::try_from_secs_f64(seconds).is_ok_and(|time| self.last.elapsed() >= time);
        self.every.steps.is_some_and(|steps| self.steps >= steps) || self.every.seconds.is_some_and(long)
    }

    pub fn saved(&mut self) {
        (self.steps, self.last) = (0, Instant::now());
    }
}

/// Where two recipes differ: `fit.rate: 0.1 there, 0.2 here`.
pub(crate) fn differences(there: &Value, here: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(String::new(), there, here, &mut found);
    found
}

fn compare(path: String, there: &Value, here: &Value, found: &mut Vec<String>) {
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(path, &of(a), &of(b), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: {a} there, {b} here")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_the_setting_and_both_values() {
        let there = json!({"fit": {"rate": 0.1, "epochs": 3, "stop": null}, "about": {"batch": 64}});
        let here = json!({"fit": {"rate": 0.2, "epochs": 3}, "about": {"batch": 64, "augment": "flip"}});
        let expected = ["about.augment: null there, \"flip\" here", "fit.rate: 0.1 there, 0.2 here"];
        assert_eq!(differences(&there, &here), expected);
    }
}
