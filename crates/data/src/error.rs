//! What can go wrong with a file or a download, said so that a person can act on it.

use std::io;
use std::path::{Path, PathBuf};

/// Everything that reading, writing or fetching can fail with.
///
/// In the variants about arrays, `place` is the file, or `file[array]` for an array inside an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },

    /// A file could not be written; nothing was left behind.
    #[error("{}: cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },

    /// The bytes are not what the format says.
    #[error("{place}: not a readable {format}: {found}")]
    Format { place: String, format: &'static str, found: String },

    /// An array of strings, records or another type that [`Array`](crate::Array) does not hold.
    #[error(
        "{place}: elements of type {dtype} are not supported; supported: bool, int8 to int64, uint8 to uint64, \
         float16, float32, float64 in either byte order (convert with `array.astype(…)` in NumPy)"
    )]
    Dtype { place: String, dtype: String },

    /// The file ends before its array does.
    #[error("{place}: the header asks for {expected} bytes of elements, {found} are there; the file is cut or damaged")]
    Truncated { place: String, expected: u64, found: u64 },

    /// The shape's product does not fit in memory's addresses.
    #[error("{place}: an array of shape {shape:?} is larger than memory can be")]
    Shape { place: String, shape: Vec<u64> },

    /// The archive holds no such array.
    #[error("{}: holds no array `{name}`; it holds: {}", path.display(), listed(present))]
    NoSuchArray { path: PathBuf, name: String, present: Vec<String> },

    /// A small file or member that unpacks to very much.
    #[error(
        "{place}: unpacks to more than {limit} bytes from {packed}; refused as a decompression bomb \
         (if you trust it, unpack it and read what is inside)"
    )]
    Bomb { place: String, packed: u64, limit: u64 },

    /// A picture with more pixels than the limit.
    #[error("{place}: {width}×{height} pixels are more than the limit of {limit}; scale the picture down first")]
    TooManyPixels { place: String, width: u32, height: u32, limit: u64 },

    /// No registry entry has this name.
    #[error("no data is called `{name}`; `tersor data list` shows all names{}", suggestion(nearest))]
    NoSuchEntry { name: String, nearest: Option<String> },

    /// The entry has not been downloaded.
    #[error("`{name}` is not here yet; get it with: tersor data get {name}")]
    NotFetched { name: String },

    /// Neither `TERSOR_CACHE` nor a home directory says where to keep downloads.
    #[error("no folder for downloads: there is no home directory; set TERSOR_CACHE to a folder")]
    NoCache,

    /// The package manager is not installed.
    #[error(
        "`{name}` comes through `{tool}`, which is not installed; {install}, then run again (or by hand: {command})"
    )]
    NoTool { name: String, tool: String, install: &'static str, command: String },

    /// The package manager ran and failed.
    #[error("`{name}`: `{command}` failed ({status}); its last words:\n{stderr}")]
    Download { name: String, command: String, status: String, stderr: String },

    /// The package came, but without the file.
    #[error("`{name}`: {package} holds no file `{path}`")]
    NoSuchFile { name: String, package: String, path: String },

    /// The file came, but is another one.
    #[error(
        "`{name}`: the file is not the one that was verified: expected {expected}, found {found}; nothing was kept"
    )]
    Mismatch { name: String, expected: String, found: String },
}

impl Error {
    pub(crate) fn read(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.as_ref().to_path_buf(), source }
    }

    pub(crate) fn write(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { path: path.as_ref().to_path_buf(), source }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        names if names.len() <= 12 => names.join(", "),
        names => format!("{}, … ({} in all)", names[..12].join(", "), names.len()),
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
