//! Lines of a plain or packed file, one at a time: numbered, bounded, never the whole file at once.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::fault::{Fault, shown};
use super::format::is_packed;
use crate::Error;

/// As long as a line of most formats may be.
pub const SHORT: usize = 1 << 20;
/// As long as a line may be that lists all neighbours of a vertex.
pub const LONG: usize = 1 << 26;

/// The lines of a file, read in pieces.
pub struct Lines {
    file: PathBuf,
    source: Box<dyn Read>,
    longest: usize,
    piece: Vec<u8>,
    number: u64,
}

impl Lines {
    /// The lines of the file at `path`, unpacked where it is packed; a line of more than `longest` bytes is a fault.
    ///
    /// # Errors
    /// [`tersor_data::Error::Read`] if there is no such file.
    pub fn open(path: impl AsRef<Path>, longest: usize) -> Result<Self, Error> {
        let path = path.as_ref();
        let unread = |source| tersor_data::Error::Read { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(unread)?;
        Self::of(path, Box::new(file), longest).map_err(|source| unread(source).into())
    }

    /// The lines of `bytes`, as if they were the file `name`.
    ///
    /// # Errors
    /// None in practice.
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>, longest: usize) -> Result<Self, Error> {
        let read = |source| tersor_data::Error::Read { path: name.as_ref().to_path_buf(), source };
        Self::of(name.as_ref(), Box::new(Cursor::new(bytes)), longest).map_err(|source| read(source).into())
    }

    fn of(path: &Path, mut source: Box<dyn Read>, longest: usize) -> io::Result<Self> {
        let mut magic = Vec::with_capacity(2);
        source.by_ref().take(2).read_to_end(&mut magic)?;
        let packed = is_packed(path) || magic == [0x1f, 0x8b];
        let whole = Cursor::new(magic).chain(source);
        let source: Box<dyn Read> = if packed { Box::new(Unpacked::of(whole)) } else { Box::new(whole) };
        Ok(Self { file: path.to_path_buf(), source, longest, piece: vec![0; 1 << 18], number: 0 })
    }

    /// Gives each line to `line` with its number, from 1, without its end (`\n`, `\r\n`), until one is at fault.
    ///
    /// # Errors
    /// [`Error::File`] naming the line.
    pub fn each(&mut self, mut line: impl FnMut(u64, &[u8]) -> Result<(), Fault>) -> Result<(), Error> {
        let (mut begin, mut end) = (0, 0); // of what is read and not yet given
        loop {
            if begin > 0 {
                self.piece.copy_within(begin..end, 0);
                (begin, end) = (0, end - begin);
            }
            if end == self.piece.len() {
                if end > self.longest {
                    return Err(self.fault(self.number + 1, Fault::LineTooLong { limit: self.longest }));
                }
                self.piece.resize(2 * end, 0);
            }
            let read = match self.source.read(&mut self.piece[end..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(self.number + 1, unreadable(error))),
            };
            let fresh = end;
            end += read;
            if read == 0 {
                return if end > 0 { self.give(0..end, &mut line) } else { Ok(()) };
            }
            // What was left over from before holds no line's end.
            let mut scanned = fresh;
            while let Some(length) = memchr::memchr(b'\n', &self.piece[scanned..end]) {
                self.give(begin..scanned + length, &mut line)?;
                scanned += length + 1;
                begin = scanned;
            }
        }
    }

    fn give(
        &mut self,
        range: std::ops::Range<usize>,
        line: &mut impl FnMut(u64, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        self.number += 1;
        let text = &self.piece[range];
        if text.len() > self.longest {
            return Err(self.fault(self.number, Fault::LineTooLong { limit: self.longest }));
        }
        line(self.number, text.strip_suffix(b"\r").unwrap_or(text)).map_err(|fault| self.fault(self.number, fault))
    }

    /// The number of the last line given: how many there were.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A fault of a line as an error.
    pub fn fault(&self, line: u64, fault: Fault) -> Error {
        Error::File { file: self.file.clone(), line, fault }
    }
}

fn unreadable(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Cut,
        io::ErrorKind::FileTooLarge => Fault::Bomb,
        _ => Fault::Read { source: error },
    }
}

/// A packed stream that refuses to unpack to absurdly much.
struct Unpacked<R> {
    decoder: MultiGzDecoder<Counted<R>>,
    bytes: u64,
}

struct Counted<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Unpacked<R> {
    /// Lists compress to a fifth; 200 allows for the most regular of them. Small files may be as regular as they like.
    const RATIO: u64 = 200;
    const ALWAYS: u64 = 16 << 20;

    fn of(source: R) -> Self {
        Self { decoder: MultiGzDecoder::new(Counted { source, bytes: 0 }), bytes: 0 }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > Self::ALWAYS + Self::RATIO * self.decoder.get_ref().bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(read)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The fields of a line: between blanks, tabs and commas.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `line`.
    pub fn of(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// The next field as it stands.
    pub fn word(&mut self) -> Option<&'a [u8]> {
        self.skip();
        let length = self.rest.iter().position(|&byte| separates(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The next field as an id or a count.
    ///
    /// # Errors
    /// [`Fault::NotWhole`] quoting it.
    #[inline]
    pub fn whole(&mut self) -> Result<Option<u64>, Fault> {
        self.skip();
        let all = self.rest;
        let (mut number, mut length) = (0u64, 0);
        while let Some(&byte) = all.get(length) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            let Some(next) = number.checked_mul(10).and_then(|tens| tens.checked_add(digit.into())) else { break };
            number = next;
            length += 1;
        }
        let field_ends = all.get(length).is_none_or(|&byte| separates(byte));
        if length > 0 && field_ends {
            self.rest = &all[length..];
            return Ok(Some(number));
        }
        self.word().map_or(Ok(None), |word| Err(Fault::NotWhole { found: shown(word) }))
    }

    /// The next field, which must be an id or a count; without one the line is not what was `expected`.
    ///
    /// # Errors
    /// [`Fault::NotWhole`], [`Fault::Line`].
    #[inline]
    pub fn required(&mut self, expected: &'static str) -> Result<u64, Fault> {
        self.whole()?.ok_or(Fault::Line { expected })
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// [`Fault::Line`].
    #[inline]
    pub fn end(&mut self, expected: &'static str) -> Result<(), Fault> {
        self.skip();
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Line { expected }) }
    }

    /// The first byte of what is left, if any is.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        self.skip();
        self.rest.first().copied()
    }

    #[inline]
    fn skip(&mut self) {
        while let Some((&byte, rest)) = self.rest.split_first()
            && separates(byte)
        {
            self.rest = rest;
        }
    }
}

#[inline]
fn separates(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',' | b'\r')
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(name: &str, bytes: &[u8], longest: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let mut all = Vec::new();
        Lines::from_bytes(name, bytes.to_vec(), longest)?.each(|number, line| {
            all.push((number, line.to_vec()));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn lines_are_numbered_from_1_packed_or_not_and_the_last_needs_no_end() {
        let expected = [(1, b"a b".to_vec()), (2, Vec::new()), (3, b"c".to_vec())];
        for text in [&b"a b\n\nc\n"[..], b"a b\r\n\r\nc"] {
            assert_eq!(lines("x", text, 10).unwrap(), expected);
            assert_eq!(lines("x.gz", &packed(text), 10).unwrap(), expected);
            assert_eq!(lines("x", &packed(text), 10).unwrap(), expected);
        }
        assert_eq!(lines("x", b"", 10).unwrap(), []);
    }

    #[test]
    fn lines_across_pieces_come_whole() {
        let text: String = (0..60_000).map(|i| format!("line number {i}\n")).collect();
        let read = lines("x", text.as_bytes(), 100).unwrap();
        assert_eq!(read.len(), 60_000);
        for (i, (number, line)) in read.iter().enumerate() {
            assert_eq!((*number, line.as_slice()), (i as u64 + 1, format!("line number {i}").as_bytes()));
        }
        let long = vec![b'x'; 3 << 18];
        assert_eq!(lines("x", &long, 1 << 20).unwrap(), [(1, long)]);
    }

    #[test]
    fn endless_lines_cut_streams_and_bombs_are_refused_by_line() {
        let refused = |name, bytes: &[u8], longest| lines(name, bytes, longest).unwrap_err().to_string();
        assert_eq!(refused("x", b"1\n123456", 5), "x:2: the line is longer than 5 bytes");
        assert!(refused("x.gz", &packed(&vec![b'1'; 1 << 22]), 1 << 20).contains("longer than 1048576 bytes"));
        let whole = packed(b"1\n2\n3\n");
        for cut in 0..whole.len() {
            assert!(refused("x.gz", &whole[..cut], 10).contains("cut"), "at {cut}");
        }
        assert!(refused("x.gz", b"plain text here", 100).starts_with("x.gz:1: cannot be read"));
        assert!(refused("x.gz", &packed(&b"1 2\n".repeat(8 << 20)), 100).contains("bomb"));
    }

    #[test]
    fn fields_are_words_and_whole_numbers() {
        let mut fields = Fields::of(b"a  12,\t18446744073709551615 18446744073709551616 -1 x");
        assert_eq!(fields.word(), Some(&b"a"[..]));
        assert_eq!(fields.whole().unwrap(), Some(12));
        assert_eq!(fields.whole().unwrap(), Some(u64::MAX));
        assert!(fields.whole().is_err() && fields.whole().is_err());
        assert!(fields.end("x").is_err());
        assert_eq!((fields.peek(), fields.word(), fields.peek()), (Some(b'x'), Some(&b"x"[..]), None));
        assert_eq!(fields.whole().unwrap(), None);
        assert!(fields.end("x").is_ok());
    }
}
