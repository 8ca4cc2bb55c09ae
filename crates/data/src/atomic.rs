//! Files that are whole or absent: written under a temporary name beside the target, then renamed.
//!
//! A reader never sees half a file, and a failed write leaves the old one as it was. What this does not promise:
//! survival of a power cut (the file is not synced to disk).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::Error;

/// Writes `path` through `content`; if `content` fails, nothing is left and an existing file stays.
///
/// # Errors
/// [`Error::Write`] naming `path`.
pub fn write(path: impl AsRef<Path>, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    write_seekable(path, |file| content(file))
}

/// As [`write()`], for formats whose writers go back to fill in sizes (archives).
///
/// # Errors
/// [`Error::Write`] naming `path`.
pub fn write_seekable(
    path: impl AsRef<Path>,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let whole = || -> io::Result<()> {
        let temporary = beside(path)?;
        let (file, name) = temporary.into_parts();
        let mut writer = BufWriter::new(file);
        content(&mut writer)?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        tempfile::NamedTempFile::from_parts(file, name).persist(path)?;
        Ok(())
    };
    whole().map_err(Error::write(path))
}

/// A temporary file in the folder of `path`, since a rename is atomic only within one file system.
pub(crate) fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tersor-");
    #[cfg(unix)]
    {
        // A temporary file is private by default; what replaces a user's file gets the user's usual permissions.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        write(&path, |w| w.write_all(b"old")).unwrap();
        let error = write(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::other("the disk is full"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("plan.json") && error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_naming_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path().join("no/such/file"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_lets_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, usual) = (folder.path().join("ours"), folder.path().join("usual"));
        write(&ours, |_| Ok(())).unwrap();
        std::fs::write(&usual, b"").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(usual));
    }
}
