//! IDX, the format of MNIST and of the sets that followed it: one array behind a header of a few bytes, big endian.
//!
//! Two zero bytes, the type's number, the number of axes, an unsigned 32-bit length for each axis, the elements.
//! Files may be packed with gzip, as they are published. Bytes after the array are an error: in a format without a
//! check sum, they are the sign of a wrong length.

use std::path::Path;

use crate::examples::{Examples, numbered};
use crate::{Array, ElementType, Elements, Error, unpack};

/// Axes that are read; MNIST's pictures have three.
const MOST_AXES: usize = 8;

/// The ten classes of Fashion-MNIST, in the order of its labels, for [`Examples::named`].
pub const FASHION_MNIST: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Reads the array in the file `path`, packed or not.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`], [`Error::Dtype`], [`Error::Truncated`], [`Error::Shape`] or [`Error::Bomb`],
/// each naming the file.
pub fn read(path: impl AsRef<Path>) -> Result<Array, Error> {
    let path = path.as_ref();
    parse(&path.display().to_string(), unpack::content(path)?)
}

/// Reads the array in `bytes`, the content of an IDX file, packed or not; `name` says in errors where they came from.
///
/// # Errors
/// As [`read`], without the reading.
pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Array, Error> {
    parse(name, unpack::unpacked(name, bytes)?)
}

/// Reads labelled pictures from two files: `pictures` of unsigned bytes, `[n, height, width]` (or
/// `[n, height, width, channels]`), and `labels` of unsigned bytes, `[n]`.
///
/// The classes are called by their numbers, up to the largest label; see [`Examples::named`].
///
/// # Errors
/// As [`read`], and [`Error::Format`] if the arrays are not of these shapes and types or not of one length.
pub fn examples(pictures: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Examples, Error> {
    let (pictures, labels) = (pictures.as_ref(), labels.as_ref());
    joined((&pictures.display().to_string(), read(pictures)?), (&labels.display().to_string(), read(labels)?))
}

/// Labelled pictures from two arrays, each with the name of its file; what [`examples`] does when they are read.
///
/// # Errors
/// [`Error::Format`] if the arrays are not of these shapes and types or not of one length.
pub fn joined(pictures: (&str, Array), labels: (&str, Array)) -> Result<Examples, Error> {
    let bad = |place: &str, found: String| Error::Format { place: place.into(), format: "set of pictures", found };
    let is = |array: &Array| format!("{} {:?}", array.element_type(), array.shape());
    let (pictures_at, pictures) = pictures;
    let (labels_at, labels) = labels;

    let Elements::U8(classes) = labels.elements() else {
        return Err(bad(labels_at, format!("labels are {}, expected uint8 [n]", is(&labels))));
    };
    let shape = match *pictures.shape() {
        [_, height, width] => [1, height, width],
        [_, height, width, channels] => [channels, height, width],
        _ => [0; 3],
    };
    if pictures.element_type() != ElementType::U8 || shape.contains(&0) {
        return Err(bad(pictures_at, format!("pictures are {}, expected uint8 [n, height, width]", is(&pictures))));
    }
    let count = pictures.shape()[0];
    if *labels.shape() != [count] {
        return Err(bad(labels_at, format!("labels are {}, and there are {count} pictures", is(&labels))));
    }

    let labels: Vec<u32> = classes.iter().copied().map(u32::from).collect();
    let names = numbered(labels.iter().max().map_or(0, |&largest| largest as usize + 1));
    let Elements::U8(mut pixels) = pictures.into_elements() else { unreachable!("the type was checked") };
    if shape[0] > 1 {
        pixels = planes(&pixels, shape);
    }
    Examples::new(shape, pixels, labels, names).ok_or_else(|| bad(pictures_at, "sizes that do not agree".into()))
}

/// Pictures `[n, height, width, channels]` as `[n, channels, height, width]`.
pub(crate) fn planes(pixels: &[u8], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let area = height * width;
    let mut planes = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(area * channels) {
        for channel in 0..channels {
            planes.extend(picture.iter().skip(channel).step_by(channels));
        }
    }
    planes
}

fn parse(name: &str, mut bytes: Vec<u8>) -> Result<Array, Error> {
    let bad = |found: String| Error::Format { place: name.into(), format: "IDX file", found };
    let &[first, second, code, axes] = bytes.first_chunk().ok_or_else(|| bad(format!("{} bytes", bytes.len())))?;
    if (first, second) != (0, 0) {
        return Err(bad(format!("it begins with {first:#04x} {second:#04x}, expected two zero bytes")));
    }
    let element_type = match code {
        0x08 => ElementType::U8,
        0x09 => ElementType::I8,
        0x0b => ElementType::I16,
        0x0c => ElementType::I32,
        0x0d => ElementType::F32,
        0x0e => ElementType::F64,
        _ => return Err(bad(format!("byte 2 gives an unknown type, {code:#04x}"))),
    };
    if axes as usize > MOST_AXES {
        return Err(bad(format!("byte 3 gives {axes} axes; at most {MOST_AXES} are read")));
    }

    let start = 4 + 4 * axes as usize;
    let header = bytes
        .get(4..start)
        .ok_or_else(|| bad(format!("the header ends at byte {}, expected {start} bytes of it", bytes.len())))?;
    let (lengths, _) = header.as_chunks::<4>();
    let shape: Vec<u64> = lengths.iter().map(|&length| u32::from_be_bytes(length).into()).collect();
    let claimed = shape
        .iter()
        .try_fold(element_type.bytes() as u64, |n, &d| n.checked_mul(d))
        .ok_or_else(|| Error::Shape { place: name.into(), shape: shape.clone() })?;
    let found = (bytes.len() - start) as u64;
    if found < claimed {
        return Err(Error::Truncated { place: name.into(), expected: claimed, found });
    }
    if found > claimed {
        let end = start as u64 + claimed;
        return Err(bad(format!("the array {shape:?} ends at byte {end}, but {} bytes follow", found - claimed)));
    }

    bytes.drain(..start);
    let elements = match element_type {
        ElementType::U8 => Elements::U8(bytes),
        wide => {
            bytes.chunks_exact_mut(wide.bytes()).for_each(<[u8]>::reverse);
            Elements::from_le_bytes(wide, &bytes).ok_or_else(|| bad("a part of an element".into()))?
        }
    };
    let shape: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
    Array::new(shape, elements).ok_or_else(|| bad("sizes that do not agree".into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(code: u8, shape: &[u32], elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, code, shape.len() as u8];
        shape.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(elements);
        bytes
    }

    fn refused(bytes: Vec<u8>) -> String {
        from_bytes("x.idx", bytes).unwrap_err().to_string()
    }

    #[test]
    fn every_element_type_reads_big_endian() {
        let one = |code, bytes: &[u8]| from_bytes("x", file(code, &[1], bytes)).unwrap().into_elements();
        assert_eq!(one(0x08, &[200]), vec![200u8].into());
        assert_eq!(one(0x09, &[0xff]), vec![-1i8].into());
        assert_eq!(one(0x0b, &(-2i16).to_be_bytes()), vec![-2i16].into());
        assert_eq!(one(0x0c, &70_000i32.to_be_bytes()), vec![70_000i32].into());
        assert_eq!(one(0x0d, &1.5f32.to_be_bytes()), vec![1.5f32].into());
        assert_eq!(one(0x0e, &0.1f64.to_be_bytes()), vec![0.1f64].into());
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_that_names_it() {
        let whole = file(0x0b, &[2, 3], &[7; 12]);
        from_bytes("x.idx", whole.clone()).unwrap();
        from_bytes("x.idx", unpack::packed(&whole)).unwrap();
        for whole in [whole.clone(), unpack::packed(&whole)] {
            for cut in 0..whole.len() {
                assert!(refused(whole[..cut].to_vec()).starts_with("x.idx: "), "cut at {cut}");
            }
        }
    }

    #[test]
    fn lies_in_the_header_are_errors_that_say_where() {
        assert!(refused(file(0x08, &[u32::MAX; 8], &[])).contains("larger than memory"));
        assert!(
            refused(file(0x08, &[u32::MAX, 2], &[1])).contains("asks for 8589934590 bytes of elements, 1 are there")
        );
        assert!(refused(file(0x08, &[2], &[1, 2, 3])).contains("ends at byte 10, but 1 bytes follow"));
        assert!(refused(file(0x0a, &[1], &[1])).contains("byte 2 gives an unknown type, 0x0a"));
        assert!(refused(file(0x08, &[1; 9], &[1])).contains("byte 3 gives 9 axes"));
        assert!(refused(b"\x89PNG".to_vec()).contains("begins with 0x89 0x50"));
    }

    #[test]
    fn pictures_and_labels_become_examples() {
        let array = |shape: &[u32], elements: &[u8]| from_bytes("x", file(0x08, shape, elements)).unwrap();
        let grey = joined(("p", array(&[2, 1, 2], &[1, 2, 3, 4])), ("l", array(&[2], &[0, 3]))).unwrap();
        assert_eq!((grey.shape(), grey.picture(1), grey.labels()), ([1, 1, 2], &[3, 4][..], &[0, 3][..]));
        assert_eq!(grey.classes(), ["0", "1", "2", "3"]);
        let colour = joined(("p", array(&[1, 1, 2, 3], &[1, 2, 3, 4, 5, 6])), ("l", array(&[1], &[0]))).unwrap();
        assert_eq!((colour.shape(), colour.pixels()), ([3, 1, 2], &[1, 4, 2, 5, 3, 6][..]));

        let error = joined(("p", array(&[2, 1, 1], &[1, 2])), ("l", array(&[1], &[0]))).unwrap_err().to_string();
        assert!(error.contains("l: ") && error.contains("there are 2 pictures"), "{error}");
        assert!(joined(("p", array(&[2], &[1, 2])), ("l", array(&[2], &[0, 0]))).is_err());
        assert!(joined(("p", array(&[2, 0, 3], &[])), ("l", array(&[2], &[0, 0]))).is_err());
        let numbers = from_bytes("l", file(0x0c, &[1], &[0; 4])).unwrap();
        assert!(joined(("p", array(&[1, 1, 1], &[1])), ("l", numbers)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_array_or_an_error(
            head in prop_oneof![Just(vec![]), Just(vec![0, 0, 8, 1]), Just(vec![0, 0, 14, 2, 0, 0])],
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = from_bytes("x", [head, bytes].concat());
        }
    }
}
