//! The content of a plain or packed file, whole: gzip is opened, and what it may open to is bounded.
//!
//! Whether a file is packed is seen from its first two bytes, not from its name.

use std::io::{ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::Error;

/// A packed file may open to this many bytes whatever its size.
pub(crate) const ALWAYS_ALLOWED: u64 = 8 << 20;

/// Beyond [`ALWAYS_ALLOWED`], a file may open to this many times its size: handwritten digits reach 5:1, the same as
/// decimal numbers 8:1.
pub(crate) const LARGEST_RATIO: u64 = 20;

/// The bytes in the file `path`, unpacked.
pub(crate) fn content(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    unpacked(&path.display().to_string(), bytes)
}

/// `bytes` as they are or, if they are a gzip file, what it opens to.
pub(crate) fn unpacked(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let packed = bytes.len() as u64;
    let limit = allowed(packed);
    let mut content = Vec::new();
    MultiGzDecoder::new(&bytes[..]).take(limit + 1).read_to_end(&mut content).map_err(|error| {
        let found = match error.kind() {
            ErrorKind::UnexpectedEof => format!("it is cut: it ends after {packed} bytes in the middle of its content"),
            _ => error.to_string(),
        };
        Error::Format { place: name.into(), format: "gzip file", found }
    })?;
    if content.len() as u64 > limit {
        return Err(Error::Bomb { place: name.into(), packed, limit });
    }
    Ok(content)
}

/// The most bytes to which `packed` bytes may open.
pub(crate) fn allowed(packed: u64) -> u64 {
    packed.saturating_mul(LARGEST_RATIO).max(ALWAYS_ALLOWED)
}

/// `bytes` as a gzip file, for tests.
#[cfg(test)]
pub(crate) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_packed_give_the_same_content() {
        assert_eq!(unpacked("x", b"plain".to_vec()).unwrap(), b"plain");
        assert_eq!(unpacked("x.gz", packed(b"plain")).unwrap(), b"plain");
        let twice = [packed(b"one "), packed(b"after another")].concat();
        assert_eq!(unpacked("x.gz", twice).unwrap(), b"one after another");
    }

    #[test]
    fn a_packed_file_cut_anywhere_is_an_error_that_names_it() {
        let whole = packed(b"a handful of bytes, a handful of bytes");
        for cut in 2..whole.len() {
            let error = unpacked("x.gz", whole[..cut].to_vec()).unwrap_err().to_string();
            assert!(error.starts_with("x.gz: not a readable gzip file"), "{error}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = packed(&vec![0; ALWAYS_ALLOWED as usize + 1]);
        assert!(bomb.len() as u64 * LARGEST_RATIO < ALWAYS_ALLOWED);
        assert!(matches!(unpacked("x.gz", bomb), Err(Error::Bomb { limit: ALWAYS_ALLOWED, .. })));
    }
}
