//! NumPy's `.npy`: one array behind a small text header, versions 1 to 3.
//!
//! Reads either byte order and either memory order, and always returns row-major elements; writes version 1, little
//! endian, row-major. Bytes after the array are ignored, as NumPy does.
//!
//! The header is a Python dictionary of three known keys, read here by a scanner without recursion. The crate `npyz`
//! is the peer in the tests and not the reader: it multiplies hostile shapes unchecked and its literal parser recurses.
//!
//! What this file does not do: strings, records, complex numbers, pickled objects (each is an [`Error::Dtype`]).

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use crate::{Array, ElementType, Elements, Error, atomic};

/// The first bytes of every `.npy`.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header read, in bytes. NumPy itself refuses above 10,000 unless told otherwise.
const LONGEST_HEADER: usize = 1 << 20;

/// The most axes read; NumPy's own limit.
const MOST_AXES: usize = 64;

/// Reads the array in the file `path`.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`], [`Error::Dtype`], [`Error::Truncated`] or [`Error::Shape`], each naming the file.
pub fn read(path: impl AsRef<Path>) -> Result<Array, Error> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    from_bytes(&path.display().to_string(), &bytes)
}

/// Reads the array in `bytes`, the content of an `.npy` file; `name` says in errors where they came from.
///
/// # Errors
/// As [`read`], without the reading.
pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Array, Error> {
    let (header, data) = Header::split_from(name, bytes)?;
    let (element_type, byte_order) =
        scalar_type(&header.dtype).ok_or_else(|| Error::Dtype { place: name.into(), dtype: header.dtype.clone() })?;

    let too_large = || Error::Shape { place: name.into(), shape: header.shape.clone() };
    let shape: Vec<usize> =
        header.shape.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>().ok_or_else(too_large)?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(too_large)?;
    let length = count.checked_mul(element_type.bytes()).ok_or_else(too_large)?;

    let data = data.get(..length).ok_or_else(|| Error::Truncated {
        place: name.into(),
        expected: length as u64,
        found: data.len() as u64,
    })?;
    let data = match byte_order {
        ByteOrder::Little => Cow::Borrowed(data),
        ByteOrder::Big => Cow::Owned(swapped(data, element_type.bytes())),
    };
    let data = if header.fortran_order { Cow::Owned(row_major(&data, element_type.bytes(), &shape)) } else { data };
    let elements = Elements::from_le_bytes(element_type, &data).ok_or_else(too_large)?;
    Array::new(shape, elements).ok_or_else(too_large)
}

/// Writes `array` to the file `path`, whole or not at all.
///
/// # Errors
/// [`Error::Write`] naming the file.
pub fn write(path: impl AsRef<Path>, array: &Array) -> Result<(), Error> {
    atomic::write(path, |w| write_to(w, array))
}

/// Writes an array that need not be in memory: `content` writes its elements, row-major, each little endian.
///
/// # Errors
/// [`Error::Write`] naming the file, also if `content` writes more or fewer bytes than `shape` takes.
pub fn write_streamed(
    path: impl AsRef<Path>,
    element_type: ElementType,
    shape: &[usize],
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let length = shape.iter().try_fold(element_type.bytes() as u64, |n, &d| n.checked_mul(d as u64));
    atomic::write(path, |w| {
        let length = length.ok_or_else(|| io::Error::other("the shape is larger than a file can be"))?;
        w.write_all(&header_of(element_type, shape))?;
        let mut counted = Counted { to: w, left: length };
        content(&mut counted)?;
        let left = counted.left;
        if left > 0 { Err(io::Error::other(format!("{left} of {length} bytes are missing"))) } else { Ok(()) }
    })
}

/// Writes no more bytes than are left.
struct Counted<'a> {
    to: &'a mut dyn Write,
    left: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("more bytes than the shape takes"));
        }
        let written = self.to.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes `array` to `w` as an `.npy` file.
///
/// # Errors
/// Whatever `w` fails with.
pub fn write_to(w: &mut dyn Write, array: &Array) -> io::Result<()> {
    w.write_all(&header_bytes(array))?;
    w.write_all(&array.elements().to_le_bytes())
}

/// What the dictionary at the start says.
struct Header {
    /// The dtype as written: `<f4`, or the whole text of a record's description.
    dtype: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    /// The header of `bytes`, and the bytes behind it.
    fn split_from<'a>(name: &str, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let bad = |found: String| Error::Format { place: name.into(), format: "npy", found };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("it does not begin with \\x93NUMPY".into()))?;
        let short = || bad("it ends within its header".into());
        let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let (length, rest) = match version {
            [1, 0] => rest.split_first_chunk().map(|(n, rest)| (u16::from_le_bytes(*n) as usize, rest)),
            [2 | 3, 0] => rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
            [major, minor] => {
                return Err(bad(format!("version {major}.{minor} is unknown; 1.0, 2.0 and 3.0 are known")));
            }
        }
        .ok_or_else(short)?;
        if length > LONGEST_HEADER {
            return Err(bad(format!("its header claims {length} bytes; at most {LONGEST_HEADER} are read")));
        }
        let (text, data) = rest.split_at_checked(length).ok_or_else(short)?;
        let header = Self::parse(text).ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(text).trim_end().chars().take(160).collect();
            bad(format!("its header should be a dictionary of descr, fortran_order and shape, found {shown:?}"))
        })?;
        Ok((header, data))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut scanner = Scanner { rest: text };
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        scanner.token(b"{")?;
        while scanner.token(b"}").is_none() {
            let key = scanner.string()?;
            scanner.token(b":")?;
            match key {
                b"descr" => dtype = Some(scanner.dtype()?),
                b"fortran_order" => fortran_order = Some(scanner.boolean()?),
                b"shape" => shape = Some(scanner.shape()?),
                _ => return None,
            }
            if scanner.token(b",").is_none() {
                scanner.token(b"}")?;
                break;
            }
        }
        scanner.skip_space();
        if !scanner.rest.is_empty() {
            return None;
        }
        Some(Self { dtype: dtype?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// Walks over a Python literal; every method takes what it names from the front, or gives `None`.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn token(&mut self, token: &[u8]) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    /// A quoted string, without its quotes and with its escapes left as written.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let (&quote, inside) = self.rest.split_first()?;
        if quote != b'\'' && quote != b'"' {
            return None;
        }
        let mut at = 0;
        loop {
            match *inside.get(at)? {
                b'\\' => at += 2,
                byte if byte == quote => break,
                _ => at += 1,
            }
        }
        self.rest = &inside[at + 1..];
        Some(&inside[..at])
    }

    fn boolean(&mut self) -> Option<bool> {
        self.token(b"True").map(|()| true).or_else(|| self.token(b"False").map(|()| false))
    }

    /// `(2, 3)`, `(5,)`, `()`; Python 2 wrote `5L`.
    fn shape(&mut self) -> Option<Vec<u64>> {
        self.token(b"(")?;
        let mut shape = Vec::new();
        while self.token(b")").is_none() {
            shape.push(self.number()?);
            if shape.len() > MOST_AXES {
                return None;
            }
            if self.token(b",").is_none() {
                self.token(b")")?;
                break;
            }
        }
        Some(shape)
    }

    fn number(&mut self) -> Option<u64> {
        self.skip_space();
        let end = self.rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b"L").unwrap_or(rest);
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The type: a string, or the text of a record's list, brackets matched by counting.
    fn dtype(&mut self) -> Option<String> {
        if let Some(plain) = self.string() {
            return Some(String::from_utf8_lossy(plain).into_owned());
        }
        let start = self.rest;
        let mut depth = 0usize;
        loop {
            self.skip_space();
            match *self.rest.first()? {
                b'\'' | b'"' => {
                    self.string()?;
                    continue;
                }
                b'[' | b'(' => depth += 1,
                b']' | b')' => depth = depth.checked_sub(1)?,
                _ if depth == 0 => return None,
                _ => {}
            }
            self.rest = &self.rest[1..];
            if depth == 0 {
                let length = start.len() - self.rest.len();
                return Some(String::from_utf8_lossy(&start[..length]).into_owned());
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum ByteOrder {
    Little,
    Big,
}

/// The type that NumPy writes as `dtype`, if an [`Array`] can hold it.
fn scalar_type(dtype: &str) -> Option<(ElementType, ByteOrder)> {
    let (order, name) = dtype.split_at_checked(1)?;
    let element_type = match name {
        "b1" => ElementType::Bool,
        "i1" => ElementType::I8,
        "u1" => ElementType::U8,
        "i2" => ElementType::I16,
        "u2" => ElementType::U16,
        "i4" => ElementType::I32,
        "u4" => ElementType::U32,
        "i8" => ElementType::I64,
        "u8" => ElementType::U64,
        "f2" => ElementType::F16,
        "f4" => ElementType::F32,
        "f8" => ElementType::F64,
        _ => return None,
    };
    match order {
        "<" => Some((element_type, ByteOrder::Little)),
        ">" => Some((element_type, ByteOrder::Big)),
        "|" if element_type.bytes() == 1 => Some((element_type, ByteOrder::Little)),
        _ => None,
    }
}

/// How NumPy writes the type: kind and bytes, little endian.
fn dtype_of(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "|b1",
        ElementType::I8 => "|i1",
        ElementType::U8 => "|u1",
        ElementType::I16 => "<i2",
        ElementType::U16 => "<u2",
        ElementType::I32 => "<i4",
        ElementType::U32 => "<u4",
        ElementType::I64 => "<i8",
        ElementType::U64 => "<u8",
        ElementType::F16 => "<f2",
        ElementType::F32 => "<f4",
        ElementType::F64 => "<f8",
    }
}

/// Each element's bytes in reverse.
fn swapped(bytes: &[u8], element_bytes: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(element_bytes).for_each(<[u8]>::reverse);
    bytes
}

/// Column-major elements (first axis fastest) of `size` bytes each in row-major order (last axis fastest).
fn row_major(column_major: &[u8], size: usize, shape: &[usize]) -> Vec<u8> {
    let strides: Vec<usize> =
        shape.iter().scan(1, |stride, &length| Some(std::mem::replace(stride, *stride * length))).collect();
    let mut index = vec![0; shape.len()];
    let mut from = 0;
    let mut elements = Vec::with_capacity(column_major.len());
    for _ in 0..column_major.len() / size {
        elements.extend_from_slice(&column_major[from * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    elements
}

/// Everything before the elements, padded so that they begin at a multiple of 64 bytes.
pub(crate) fn header_bytes(array: &Array) -> Vec<u8> {
    header_of(array.element_type(), array.shape())
}

fn header_of(element_type: ElementType, shape: &[usize]) -> Vec<u8> {
    let shape = match shape {
        [one] => format!("({one},)"),
        many => format!("({})", many.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", dtype_of(element_type));
    // Version 1 counts the header in 16 bits; only absurd ranks need version 2.
    let (version, prefix) = if text.len() < 65_000 { (1, 10) } else { (2, 12) };
    let padding = 64 - (prefix + text.len() + 1) % 64;
    text.extend(std::iter::repeat_n(' ', padding % 64));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([version, 0]);
    if version == 1 {
        bytes.extend((text.len() as u16).to_le_bytes());
    } else {
        bytes.extend((text.len() as u32).to_le_bytes());
    }
    bytes.extend(text.into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use half::f16;
    use npyz::WriterBuilder;
    use proptest::prelude::*;

    use super::*;

    /// Any array of up to three axes, of any type.
    fn arrays() -> impl Strategy<Value = Array> {
        proptest::collection::vec(0usize..5, 0..4).prop_flat_map(|shape| {
            let count: usize = shape.iter().product();
            (0usize..TYPES.len(), proptest::collection::vec(any::<u8>(), count * 8)).prop_map(move |(kind, bytes)| {
                let element_type = TYPES[kind];
                let bytes: Vec<u8> = match element_type {
                    ElementType::Bool => bytes[..count].iter().map(|b| b & 1).collect(),
                    _ => bytes[..count * element_type.bytes()].to_vec(),
                };
                Array::new(shape.clone(), Elements::from_le_bytes(element_type, &bytes).unwrap()).unwrap()
            })
        })
    }

    const TYPES: [ElementType; 12] = [
        ElementType::Bool,
        ElementType::I8,
        ElementType::U8,
        ElementType::I16,
        ElementType::U16,
        ElementType::I32,
        ElementType::U32,
        ElementType::I64,
        ElementType::U64,
        ElementType::F16,
        ElementType::F32,
        ElementType::F64,
    ];

    fn written(array: &Array) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_to(&mut bytes, array).unwrap();
        bytes
    }

    /// A file as NumPy would write it, header text and version free to choose.
    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn header(dtype: &str, shape: &str) -> String {
        format!("{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n")
    }

    #[test]
    fn a_streamed_array_is_the_same_file_and_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let (streamed, whole) = (folder.path().join("s.npy"), folder.path().join("w.npy"));
        let array = Array::new([2, 3], vec![1i16, 2, 3, 4, 5, 6].into()).unwrap();
        write(&whole, &array).unwrap();
        let bytes = array.elements().to_le_bytes();
        write_streamed(&streamed, ElementType::I16, &[2, 3], |w| {
            bytes.chunks(5).try_for_each(|part| w.write_all(part))
        })
        .unwrap();
        assert_eq!(std::fs::read(&streamed).unwrap(), std::fs::read(&whole).unwrap());
        for count in [11, 13] {
            let wrong = write_streamed(&streamed, ElementType::I16, &[2, 3], |w| w.write_all(&[0; 13][..count]));
            assert!(wrong.unwrap_err().to_string().contains("s.npy"), "{count}");
        }
        assert!(write_streamed(&streamed, ElementType::I16, &[usize::MAX, 2], |_| Ok(())).is_err());
        assert_eq!(std::fs::read(&streamed).unwrap(), std::fs::read(&whole).unwrap());
    }

    proptest! {
        #[test]
        fn writing_and_reading_gives_the_same_bits(array in arrays()) {
            let read = from_bytes("written", &written(&array))?;
            prop_assert_eq!(read.shape(), array.shape());
            prop_assert_eq!(read.element_type(), array.element_type());
            prop_assert_eq!(read.elements().to_le_bytes(), array.elements().to_le_bytes());
        }

        #[test]
        fn the_peer_reads_what_is_written(values in proptest::collection::vec(any::<i32>(), 12)) {
            let array = Array::new([3, 4], values.clone().into()).unwrap();
            let bytes = written(&array);
            let peer = npyz::NpyFile::new(&bytes[..]).unwrap();
            prop_assert_eq!(peer.shape(), &[3, 4]);
            prop_assert_eq!(peer.into_vec::<i32>().unwrap(), values);
        }

        #[test]
        fn big_endian_and_column_major_read_the_same(values in proptest::collection::vec(any::<i16>(), 24)) {
            let expected = Array::new([2, 3, 4], values.clone().into()).unwrap();
            for dtype in ["<i2", ">i2"] {
                for order in [npyz::Order::C, npyz::Order::Fortran] {
                    let in_order: Vec<i16> = match order {
                        npyz::Order::C => values.clone(),
                        npyz::Order::Fortran => (0..24).map(|n| values[(n % 2) * 12 + (n / 2 % 3) * 4 + n / 6]).collect(),
                    };
                    let mut bytes = Vec::new();
                    let options = npyz::WriteOptions::new()
                        .dtype(npyz::DType::Plain(dtype.parse().unwrap()))
                        .order(order)
                        .shape(&[2, 3, 4])
                        .writer(&mut bytes);
                    let mut writer = options.begin_nd().unwrap();
                    writer.extend(in_order).unwrap();
                    writer.finish().unwrap();
                    prop_assert_eq!(&from_bytes("peer's", &bytes)?, &expected);
                }
            }
        }

        #[test]
        fn damage_never_panics(array in arrays(), at in 0.0f64..1.0, byte in any::<u8>(), cut in 0.0f64..1.0) {
            let mut bytes = written(&array);
            let position = (at * bytes.len() as f64) as usize;
            bytes[position] = byte;
            let _ = from_bytes("damaged", &bytes);
            bytes.truncate((cut * bytes.len() as f64) as usize);
            prop_assert!(from_bytes("cut", &bytes).is_err() || cut > 0.0);
        }

        #[test]
        fn any_header_text_is_an_array_or_an_error(text in "[{}()\\[\\]'\",: 0-9a-zL<>|\\\\]{0,80}") {
            let _ = from_bytes("text", &file(1, &text, &[0; 64]));
            let _ = from_bytes("text", &file(1, &header(&text, "(2,)"), &[0; 64]));
            let _ = from_bytes("text", &file(1, &header("'<f4'", &text), &[0; 64]));
        }
    }

    #[test]
    fn versions_two_and_three_read_like_one() {
        for version in 1..=3 {
            let bytes = file(version, &header("'<u2'", "(2,)"), &[1, 0, 2, 0]);
            assert_eq!(from_bytes("v", &bytes).unwrap(), Array::new([2], vec![1u16, 2].into()).unwrap());
        }
        let error = from_bytes("v", &file(4, &header("'<u2'", "(2,)"), &[0; 4])).unwrap_err();
        assert!(error.to_string().contains("version 4.0"), "{error}");
    }

    #[test]
    fn half_floats_and_scalars_read() {
        let bytes = file(1, &header("'>f2'", "()"), &f16::from_f32(1.5).to_be_bytes());
        assert_eq!(from_bytes("s", &bytes).unwrap(), Array::new([], vec![f16::from_f32(1.5)].into()).unwrap());
        assert_eq!(from_bytes("python 2", &file(1, &header("'|i1'", "(1L, 2L)"), &[3, 4])).unwrap().shape(), [1, 2]);
    }

    #[test]
    fn strings_records_and_objects_are_named_errors() {
        for (dtype, shown) in [
            ("'<U5'", "<U5"),
            ("'|O'", "|O"),
            ("'<c8'", "<c8"),
            ("'=i4'", "=i4"),
            ("[('id', '<i4'), ('xy', '<f4', (2,))]", "[('id', '<i4'), ('xy', '<f4', (2,))]"),
        ] {
            match from_bytes("labels.npy", &file(1, &header(dtype, "(1,)"), &[0; 64])).unwrap_err() {
                Error::Dtype { place, dtype } => assert_eq!((place.as_str(), dtype.as_str()), ("labels.npy", shown)),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn claims_beyond_the_file_allocate_nothing() {
        let claims = |shape: &str| from_bytes("claim", &file(1, &header("'<f8'", shape), &[0; 16])).unwrap_err();
        assert!(matches!(claims("(1000000000000,)"), Error::Truncated { expected: 8_000_000_000_000, found: 16, .. }));
        for shape in ["(18446744073709551615, 2)", "(4611686018427387904, 4611686018427387904, 0)"] {
            assert!(matches!(claims(shape), Error::Shape { .. }), "{shape}");
        }
        for shape in ["(-1,)", "(18446744073709551616,)", "(1.5,)", "2"] {
            assert!(matches!(claims(shape), Error::Format { .. }), "{shape}");
        }
        let mut long = file(2, "", &[]);
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(from_bytes("claim", &long).unwrap_err().to_string().contains("claims 4294967295 bytes"));
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        assert!(matches!(from_bytes("deep", &file(2, &header(&deep, "(1,)"), &[])), Err(Error::Dtype { .. })));
    }

    #[test]
    fn a_written_file_is_aligned_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let array = Array::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0].into()).unwrap();
        write(&path, &array).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len() % 64, 16);
        assert_eq!(read(&path).unwrap(), array);
        assert!(read(folder.path().join("y.npy")).unwrap_err().to_string().contains("y.npy"));
    }
}
