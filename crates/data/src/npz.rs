//! NumPy's `.npz`: a zip archive of `.npy` members, each one named array.
//!
//! A member that cannot be read (strings, records, damage) is an error of its own and does not prevent reading the
//! others. Writing stores members uncompressed, so that equal arrays give equal files.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::{Array, Error, atomic, npy};

/// A member may unpack to this many bytes whatever its packed size.
pub const ALWAYS_ALLOWED: u64 = 128 << 20;

/// Beyond [`ALWAYS_ALLOWED`], a member may unpack to this many times its packed size. Deflate reaches 1000:1 on zeros;
/// weights and pictures stay below 20:1.
pub const LARGEST_RATIO: u64 = 200;

trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// An open archive of named arrays. Reading takes `&self`; threads wait for each other.
pub struct Npz {
    path: PathBuf,
    names: Vec<String>,
    /// The archive's own length in bytes: no member's packed size is believed beyond it.
    length: u64,
    archive: Mutex<ZipArchive<Box<dyn ReadSeek>>>,
}

/// Opens the archive at `path` and reads its list of members.
///
/// # Errors
/// [`Error::Read`], or [`Error::Format`] if it is not a zip archive.
pub fn open(path: impl AsRef<Path>) -> Result<Npz, Error> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Error::read(path))?;
    let length = file.metadata().map_err(Error::read(path))?.len();
    Npz::new(path.to_path_buf(), Box::new(BufReader::new(file)), length)
}

/// Opens an archive held in memory; `name` says in errors where it came from.
///
/// # Errors
/// [`Error::Format`] if it is not a zip archive.
pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Npz, Error> {
    let length = bytes.len() as u64;
    Npz::new(name.into(), Box::new(Cursor::new(bytes)), length)
}

impl Npz {
    fn new(path: PathBuf, reader: Box<dyn ReadSeek>, length: u64) -> Result<Self, Error> {
        let archive = ZipArchive::new(reader).map_err(|e| not_readable(path.display().to_string(), "npz", &e))?;
        let names = archive.file_names().filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned())).collect();
        Ok(Self { path, names, length, archive: Mutex::new(archive) })
    }

    /// Names of the arrays, without `.npy`, in the archive's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether there is an array `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|present| present == name)
    }

    /// Where the archive was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the array `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchArray`] listing what is there, [`Error::Bomb`], or any error of [`npy::from_bytes`].
    pub fn read(&self, name: &str) -> Result<Array, Error> {
        let bytes = self.unpack(name)?;
        npy::from_bytes(&self.place(name), &bytes)
    }

    /// Every array with its name; those that cannot be read come as their error.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, Result<Array, Error>)> {
        self.names.iter().map(|name| (name.as_str(), self.read(name)))
    }

    fn place(&self, name: &str) -> String {
        format!("{}[{name}]", self.path.display())
    }

    fn unpack(&self, name: &str) -> Result<Vec<u8>, Error> {
        if !self.contains(name) {
            return Err(Error::NoSuchArray { path: self.path.clone(), name: name.into(), present: self.names.clone() });
        }
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let mut member =
            archive.by_name(&format!("{name}.npy")).map_err(|e| not_readable(self.place(name), "npz member", &e))?;
        let packed = member.compressed_size().min(self.length);
        let limit = packed.saturating_mul(LARGEST_RATIO).max(ALWAYS_ALLOWED);
        let bomb = || Error::Bomb { place: self.place(name), packed, limit };
        if member.size() > limit {
            return Err(bomb());
        }
        // Sizes in the archive are claims: what is allocated follows what really unpacks, and stops above the limit.
        let mut bytes = Vec::new();
        member.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::Format {
            place: self.place(name),
            format: "npz member",
            found: e.to_string(),
        })?;
        if bytes.len() as u64 > limit {
            return Err(bomb());
        }
        Ok(bytes)
    }
}

impl std::fmt::Debug for Npz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Npz").field("path", &self.path).field("names", &self.names).finish_non_exhaustive()
    }
}

/// Writes named arrays to the archive `path`, uncompressed, whole or not at all.
///
/// # Errors
/// [`Error::Write`] naming the file, also for two arrays of one name.
pub fn write(path: impl AsRef<Path>, arrays: &[(impl AsRef<str>, &Array)]) -> Result<(), Error> {
    atomic::write_seekable(path, |file| {
        let mut archive = ZipWriter::new(file);
        for (name, array) in arrays {
            let large =
                array.len().saturating_mul(array.element_type().bytes()) as u64 > u64::from(u32::MAX) - (1 << 20);
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
            archive.start_file(format!("{}.npy", name.as_ref()), options).map_err(io::Error::other)?;
            npy::write_to(&mut archive, array)?;
        }
        archive.finish().map_err(io::Error::other)?.flush()
    })
}

fn not_readable(place: String, format: &'static str, error: &zip::result::ZipError) -> Error {
    Error::Format { place, format, found: error.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small() -> Array {
        Array::new([2, 3], vec![1i32, 2, 3, 4, 5, 6].into()).unwrap()
    }

    /// An archive with members of any bytes, deflated.
    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            archive.start_file(*name, options).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn npy_bytes(array: &Array) -> Vec<u8> {
        let mut bytes = Vec::new();
        npy::write_to(&mut bytes, array).unwrap();
        bytes
    }

    #[test]
    fn written_arrays_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let scalar = Array::new([], vec![0.5f64].into()).unwrap();
        write(&path, &[("weights", &small()), ("β", &scalar)]).unwrap();
        let npz = open(&path).unwrap();
        assert_eq!(npz.names(), ["weights", "β"]);
        assert_eq!(npz.read("weights").unwrap(), small());
        assert_eq!(npz.read("β").unwrap(), scalar);
        let error = npz.read("bias").unwrap_err().to_string();
        assert!(error.contains("x.npz") && error.contains("`bias`") && error.contains("weights, β"), "{error}");
    }

    #[test]
    fn two_arrays_of_one_name_are_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        assert!(write(&path, &[("a", &small()), ("a", &small())]).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn equal_arrays_give_equal_files() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.npz"), folder.path().join("b.npz"));
        write(&a, &[("x", &small())]).unwrap();
        write(&b, &[("x", &small())]).unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }

    #[test]
    fn a_bad_member_does_not_hide_the_others() {
        let mut strings = npy_bytes(&small());
        let at = strings.windows(3).position(|w| w == b"<i4").unwrap();
        strings[at..at + 3].copy_from_slice(b"<U1");
        let members: &[(&str, &[u8])] = &[
            ("good.npy", &npy_bytes(&small())),
            ("labels.npy", &strings),
            ("cut.npy", b"\x93NUM"),
            ("readme.txt", b""),
        ];
        let npz = from_bytes("mixed.npz", archive(members)).unwrap();
        let arrays: Vec<_> = npz.arrays().collect();
        assert_eq!(arrays.len(), 3);
        assert_eq!(arrays[0].1.as_ref().unwrap(), &small());
        let error = arrays[1].1.as_ref().unwrap_err().to_string();
        assert!(error.contains("mixed.npz[labels]") && error.contains("<U1"), "{error}");
        assert!(matches!(arrays[2].1, Err(Error::Format { .. })));
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_memory() {
        let zeros = vec![0u8; ALWAYS_ALLOWED as usize + 1];
        let mut bytes = archive(&[("bomb.npy", &zeros)]);
        assert!(bytes.len() as u64 * LARGEST_RATIO < ALWAYS_ALLOWED);
        drop(zeros);
        let honest = from_bytes("bomb.npz", bytes.clone()).unwrap().read("bomb").unwrap_err();
        assert!(matches!(honest, Error::Bomb { limit: ALWAYS_ALLOWED, .. }), "{honest}");
        // The same with a lie about its size, in both of the archive's headers.
        let claim = (ALWAYS_ALLOWED as u32 + 1).to_le_bytes();
        while let Some(at) = bytes.windows(4).position(|w| w == claim) {
            bytes[at..at + 4].copy_from_slice(&64u32.to_le_bytes());
        }
        assert!(from_bytes("liar.npz", bytes).and_then(|npz| npz.read("bomb")).is_err());
    }

    #[test]
    fn what_is_no_archive_is_an_error_naming_the_file() {
        let error = from_bytes("x.npz", b"no archive".to_vec()).unwrap_err().to_string();
        assert!(error.contains("x.npz"), "{error}");
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0.0f64..1.0, byte in any::<u8>(), cut in 0.0f64..1.0) {
            let mut bytes = archive(&[("a.npy", &npy_bytes(&small())), ("b.npy", &npy_bytes(&small()))]);
            let position = (at * bytes.len() as f64) as usize;
            bytes[position] = byte;
            for bytes in [bytes.clone(), bytes[..(cut * bytes.len() as f64) as usize].to_vec()] {
                if let Ok(npz) = from_bytes("damaged", bytes) {
                    npz.arrays().for_each(|(_, array)| drop(array));
                }
            }
        }
    }
}
