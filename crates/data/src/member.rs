//! One named file out of a package, and nothing else.
//!
//! Archives are searched for exactly the path that the registry names; no path of an archive ever becomes a path on
//! disk, so an archive cannot write elsewhere. The copy stops one byte after the expected size.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::Error;
use crate::package::{Package, last_lines, no_file};
use crate::registry::Entry;

/// The most bytes unpacked of an archive inside a package.
const LARGEST_NESTED: u64 = 1 << 30;

/// What a copied file turned out to be.
#[derive(Debug, PartialEq)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Copies the file of `entry` out of `package` to `out`, at most one byte beyond the entry's size.
pub(crate) fn copy(entry: &Entry, package: &Package, out: &mut dyn Write) -> Result<Copied, Error> {
    let (outer, inner) = entry.outer_and_inner();
    let at = package.path();
    let copied = match inner {
        None => with_member(entry, package, outer, &mut |file| hashed_copy(file, out, entry.size))?,
        Some(inner) => {
            let mut nested = tempfile::tempfile().map_err(Error::write(at))?;
            with_member(entry, package, outer, &mut |file| io::copy(&mut file.take(LARGEST_NESTED), &mut nested))?;
            with_zip_member(nested, inner, &mut |file| hashed_copy(file, out, entry.size))
                .map_err(Error::read(at))?
                .ok_or_else(|| no_file(entry, &entry.path))?
        }
    };
    Ok(copied)
}

/// The size and SHA-256 of everything that `file` gives.
pub(crate) fn hash(file: &mut dyn Read) -> io::Result<Copied> {
    hashed_copy(file, &mut io::sink(), u64::MAX - 1)
}

fn hashed_copy(file: &mut dyn Read, out: &mut dyn Write, expected: u64) -> io::Result<Copied> {
    let mut file = file.take(expected + 1);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Copied { bytes, sha256 })
}

/// What is done with a member while it is open.
type Use<'a, T> = &'a mut dyn FnMut(&mut dyn Read) -> io::Result<T>;

fn with_member<T>(entry: &Entry, package: &Package, path: &str, use_it: Use<'_, T>) -> Result<T, Error> {
    let found = match package {
        Package::Folder(folder) => with_file(&folder.join(path), use_it),
        Package::Zip(archive) => File::open(archive).and_then(|file| with_zip_member(file, path, use_it)),
        Package::TarGz(archive) => {
            let path = format!("package/{path}");
            File::open(archive).and_then(|file| with_tar_member(GzDecoder::new(BufReader::new(file)), &path, use_it))
        }
        Package::Deb(archive) => return with_deb_member(entry, archive, path, use_it),
    };
    found.map_err(Error::read(package.path()))?.ok_or_else(|| no_file(entry, path))
}

fn with_file<T>(path: &Path, use_it: Use<'_, T>) -> io::Result<Option<T>> {
    match File::open(path) {
        Ok(mut file) => use_it(&mut file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_zip_member<T>(archive: File, path: &str, use_it: Use<'_, T>) -> io::Result<Option<T>> {
    let mut archive = ZipArchive::new(BufReader::new(archive))?;
    match archive.by_name(path) {
        Ok(mut member) => use_it(&mut member).map(Some),
        Err(ZipError::FileNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn with_tar_member<T>(archive: impl Read, path: &str, use_it: Use<'_, T>) -> io::Result<Option<T>> {
    let mut archive = tar::Archive::new(archive);
    for member in archive.entries()? {
        let mut member = member?;
        let name = member.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if name == path.as_bytes() && member.header().entry_type().is_file() {
            return use_it(&mut member).map(Some);
        }
    }
    Ok(None)
}

/// `dpkg-deb` knows every compression that Debian used; it gives a plain tar archive.
fn with_deb_member<T>(entry: &Entry, archive: &Path, path: &str, use_it: Use<'_, T>) -> Result<T, Error> {
    let shown = || format!("dpkg-deb --fsys-tarfile {}", archive.display());
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| Error::NoTool {
            name: entry.name.clone(),
            tool: "dpkg-deb".into(),
            install: "install dpkg",
            command: shown(),
        })?;
    let found = match dpkg.stdout.take() {
        Some(tar) => with_tar_member(BufReader::new(tar), path, use_it),
        None => Ok(None),
    };
    // Its output is closed by now; it ends by itself, with an error if the file was found before the end.
    let output = dpkg.wait_with_output().map_err(Error::read(archive))?;
    match found {
        Ok(Some(found)) => Ok(found),
        _ if !output.status.success() => Err(Error::Download {
            name: entry.name.clone(),
            command: shown(),
            status: output.status.to_string(),
            stderr: last_lines(&output.stderr),
        }),
        Ok(None) => Err(no_file(entry, path)),
        Err(error) => Err(Error::read(archive)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Manager;
    use std::path::PathBuf;
    use zip::write::SimpleFileOptions;

    const CONTENT: &[u8] = b"weights";

    fn entry(path: &str) -> Entry {
        Entry {
            name: "trial".into(),
            manager: Manager::Pip,
            package: "p".into(),
            version: "1".into(),
            path: path.into(),
            size: CONTENT.len() as u64,
            sha256: String::new(),
            licence: "MIT".into(),
            purpose: "none".into(),
        }
    }

    fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in members {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn tgz_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            // Straight into the header: the builder itself refuses paths that climb.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn copied(path: &str, package: impl FnOnce(PathBuf) -> Package, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        std::fs::write(&archive, bytes).unwrap();
        let mut out = Vec::new();
        let copied = copy(&entry(path), &package(archive), &mut out)?;
        assert_eq!(copied.bytes, out.len() as u64);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else was written");
        Ok(out)
    }

    #[test]
    fn the_named_member_comes_out_of_every_kind_of_package() {
        let members: &[(&str, &[u8])] = &[("a/other", b"no"), ("a/it", CONTENT)];
        assert_eq!(copied("a/it", Package::Zip, &zip_of(members)).unwrap(), CONTENT);
        let packed: &[(&str, &[u8])] = &[("package/other", b"no"), ("package/a/it", CONTENT)];
        assert_eq!(copied("a/it", Package::TarGz, &tgz_of(packed)).unwrap(), CONTENT);

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("it"), CONTENT).unwrap();
        let mut out = Vec::new();
        copy(&entry("it"), &Package::Folder(folder.path().into()), &mut out).unwrap();
        assert_eq!(out, CONTENT);
    }

    #[test]
    fn a_member_of_a_nested_archive_comes_out() {
        let inner = zip_of(&[("deep/it", CONTENT)]);
        let outer = zip_of(&[("p/model.zip", &inner)]);
        assert_eq!(copied("p/model.zip!deep/it", Package::Zip, &outer).unwrap(), CONTENT);
        assert!(matches!(copied("p/model.zip!it", Package::Zip, &outer), Err(Error::NoSuchFile { .. })));
    }

    #[test]
    fn members_with_climbing_paths_are_passed_over() {
        let members: &[(&str, &[u8])] = &[("package/../../it", b"evil"), ("/it", b"evil"), ("package/it", CONTENT)];
        assert_eq!(copied("it", Package::TarGz, &tgz_of(members)).unwrap(), CONTENT);
    }

    #[test]
    fn a_missing_member_and_a_broken_archive_are_errors() {
        let archive = zip_of(&[("other", b"no")]);
        assert!(matches!(copied("it", Package::Zip, &archive), Err(Error::NoSuchFile { .. })));
        assert!(matches!(copied("it", Package::Zip, b"not a zip"), Err(Error::Read { .. })));
        assert!(matches!(copied("it", Package::TarGz, b"not a tar"), Err(Error::Read { .. })));
        assert!(copied("it", Package::Deb, b"not a package").is_err());
    }

    #[test]
    fn the_copy_stops_one_byte_after_the_expected_size() {
        let archive = zip_of(&[("it", &[7; 100_000])]);
        assert_eq!(copied("it", Package::Zip, &archive).unwrap().len(), CONTENT.len() + 1);
    }

    #[test]
    fn the_hash_is_sha_256() {
        let abc = hash(&mut &b"abc"[..]).unwrap();
        assert_eq!(abc.bytes, 3);
        assert_eq!(abc.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
