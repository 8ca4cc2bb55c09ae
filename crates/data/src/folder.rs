//! Folders of pictures: `CLASS/NAME.jpg`, or `train/CLASS/NAME.jpg` and the like, on disk or in a zip archive.
//!
//! A class is a folder; classes and the pictures in them are in the order of their names, byte by byte, so that the
//! same folder gives the same examples on every machine and packed or not. What is no PNG, JPEG or BMP by its name is
//! passed over. Archives are read where they lie; no path in one becomes a path on disk.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::examples::Examples;
use crate::idx::planes;
use crate::picture::MOST_PIXELS;
use crate::{Error, Picture};

/// Pictures that are read of one folder.
pub const MOST_PICTURES: usize = 1 << 21;

/// Bytes of one picture's file.
pub const MOST_FILE: u64 = 64 << 20;

/// All pictures of an archive may be this many bytes of pixels, whatever its size.
const ALWAYS_ALLOWED: u64 = 64 << 20;

/// Beyond [`ALWAYS_ALLOWED`], an archive's pictures may be this many times its size: photographs reach 10:1, drawings
/// of few colours 100:1.
const LARGEST_RATIO: u64 = 200;

const SUFFIXES: [&str; 4] = ["jpg", "jpeg", "png", "bmp"];

/// What is read, and as what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The folder of the classes inside the folder or archive (`train`), if they do not lie at its top.
    pub part: Option<String>,
    /// Height and width to which every picture is stretched; without it, all must have the size of the first.
    pub size: Option<(usize, usize)>,
    /// One channel of grey rather than three of colour.
    pub grey: bool,
}

/// Reads the pictures in the folder or zip archive `path`.
///
/// # Errors
/// [`Error::Read`], or [`Error::Format`] if there is no picture, one is damaged or of another size, or the archive is;
/// [`Error::TooManyPixels`]; [`Error::Bomb`] if an archive's pictures are absurdly large for its size.
pub fn read(path: impl AsRef<Path>, options: &Options) -> Result<Examples, Error> {
    let path = path.as_ref();
    if path.is_dir() {
        return on_disk(path, options);
    }
    let file = File::open(path).map_err(Error::read(path))?;
    let length = file.metadata().map_err(Error::read(path))?.len();
    in_archive(&path.display().to_string(), BufReader::new(file), length, options)
}

/// Reads the pictures in `bytes`, the content of a zip archive; `name` says in errors where they came from.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(name: &str, bytes: &[u8], options: &Options) -> Result<Examples, Error> {
    in_archive(name, Cursor::new(bytes), bytes.len() as u64, options)
}

/// A picture that was found: its class, its name in it, and where its bytes are.
struct Found<T> {
    class: String,
    name: String,
    at: T,
}

fn on_disk(root: &Path, options: &Options) -> Result<Examples, Error> {
    let top = options.part.as_ref().map_or_else(|| root.to_path_buf(), |part| root.join(part));
    let mut found = Vec::new();
    let mut hints = Hints::default();
    for class in folder(&top)? {
        if !class.is_dir() {
            continue;
        }
        for file in folder(&class)? {
            if file.is_dir() {
                hints.deeper(&shown(&class));
            } else if is_picture(&shown(&file)) {
                found.push(Found { class: shown(&class), name: shown(&file), at: file });
                at_most(found.len(), root)?;
            }
        }
    }
    let place = root.display().to_string();
    gathered(&place, found, &hints, options, |file: &PathBuf| {
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|open| open.take(MOST_FILE + 1).read_to_end(&mut bytes))
            .map_err(Error::read(file))?;
        Ok((file.display().to_string(), bytes, u64::MAX))
    })
}

/// What is in a folder, unsorted.
fn folder(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(path).map_err(Error::read(path))?;
    entries.map(|entry| Ok(entry.map_err(Error::read(path))?.path())).collect()
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn in_archive(place: &str, source: impl Read + Seek, length: u64, options: &Options) -> Result<Examples, Error> {
    let bad = |found: String| Error::Format { place: place.into(), format: "zip archive", found };
    let mut archive = ZipArchive::new(source).map_err(|e| bad(e.to_string()))?;
    let prefix = options.part.as_ref().map(|part| format!("{}/", part.trim_end_matches('/')));
    let mut found = Vec::new();
    let mut hints = Hints::default();
    for (index, path) in archive.file_names().enumerate() {
        let Ok(path) = path else { continue };
        let Some(inside) = path.strip_prefix(prefix.as_deref().unwrap_or("")) else { continue };
        let mut parts = inside.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(class), Some(name), None) if !class.is_empty() && is_picture(name) => {
                found.push(Found { class: class.into(), name: name.into(), at: index });
                at_most(found.len(), Path::new(place))?;
            }
            (Some(part), Some(_), Some(_)) => hints.deeper(part),
            _ => (),
        }
    }
    let allowed = length.saturating_mul(LARGEST_RATIO).max(ALWAYS_ALLOWED);
    gathered(place, found, &hints, options, |&index| {
        let mut member = archive.by_index(index).map_err(|e| bad(e.to_string()))?;
        let name = member.name().map_or_else(|_| index.to_string(), |name| name.into_owned());
        let place = format!("{place}[{name}]");
        let mut bytes = Vec::new();
        // The size that the archive claims is not believed; deflate opens to a thousandfold, no picture's file does.
        let limit = member.compressed_size().min(length).saturating_mul(LARGEST_RATIO).min(MOST_FILE);
        member.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::Format {
            place: place.clone(),
            format: "zip member",
            found: e.to_string(),
        })?;
        if bytes.len() as u64 > limit {
            return Err(Error::Bomb { place, packed: member.compressed_size(), limit });
        }
        Ok((place, bytes, allowed))
    })
}

/// Decodes what was found, in order; `open` gives a picture's place and bytes, and how many bytes of pixels all of
/// them together may be.
fn gathered<T>(
    place: &str,
    mut found: Vec<Found<T>>,
    hints: &Hints,
    options: &Options,
    mut open: impl FnMut(&T) -> Result<(String, Vec<u8>, u64), Error>,
) -> Result<Examples, Error> {
    let format = "folder of pictures";
    if found.is_empty() {
        return Err(Error::Format { place: place.into(), format, found: hints.say(options) });
    }
    if let Some((height, width)) = options.size
        && (height == 0 || width == 0)
    {
        let found = format!("pictures stretched to {width}×{height} have no pixel");
        return Err(Error::Format { place: place.into(), format, found });
    }
    found.sort_by(|a, b| (&a.class, &a.name).cmp(&(&b.class, &b.name)));
    let (mut pixels, mut labels, mut classes) = (Vec::new(), Vec::with_capacity(found.len()), Vec::<String>::new());
    let mut size = options.size;
    let (mut decoded, mut read) = (0u64, 0u64);
    for Found { class, at, .. } in &found {
        let (place, bytes, allowed) = open(at)?;
        read += bytes.len() as u64;
        if bytes.len() as u64 > MOST_FILE {
            return Err(Error::Format { place, format, found: format!("a file of more than {MOST_FILE} bytes") });
        }
        decoded = decoded.saturating_add(claimed_pixels(&bytes).saturating_mul(3));
        if decoded > allowed {
            return Err(Error::Bomb { place, packed: read, limit: allowed });
        }
        let picture = Picture::from_bytes(&place, &bytes)?;
        let is = (picture.height(), picture.width());
        let (height, width) = *size.get_or_insert(is);
        if options.size.is_none() && is != (height, width) {
            let found = format!(
                "the picture is {}×{}, the first one {width}×{height} (width × height); give a size to stretch all to",
                is.1, is.0
            );
            return Err(Error::Format { place, format, found });
        }
        let picture = picture.resized(width, height);
        if options.grey {
            pixels.append(&mut picture.grey());
        } else {
            pixels.append(&mut planes(picture.rgb(), [3, height, width]));
        }
        if classes.last() != Some(class) {
            classes.push(class.clone());
        }
        labels.push(classes.len() as u32 - 1);
    }
    let (height, width) = size.unwrap_or_default();
    let channels = if options.grey { 1 } else { 3 };
    Examples::new([channels, height, width], pixels, labels, classes).ok_or_else(|| Error::Format {
        place: place.into(),
        format,
        found: format!("pictures of {width}×{height} have no pixel"),
    })
}

/// How many pixels the header speaks of; none if it cannot be read, which decoding will say.
fn claimed_pixels(bytes: &[u8]) -> u64 {
    let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let size = reader.ok().and_then(|reader| reader.into_dimensions().ok());
    // More than the decoder accepts is its error to report.
    size.map_or(0, |(width, height)| u64::from(width) * u64::from(height)).min(MOST_PIXELS)
}

fn at_most(count: usize, place: &Path) -> Result<(), Error> {
    if count <= MOST_PICTURES {
        return Ok(());
    }
    Err(Error::Format {
        place: place.display().to_string(),
        format: "folder of pictures",
        found: format!("more than {MOST_PICTURES} pictures"),
    })
}

fn is_picture(name: &str) -> bool {
    let suffix = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, suffix)| suffix);
    suffix.is_some_and(|suffix| SUFFIXES.iter().any(|known| suffix.eq_ignore_ascii_case(known)))
}

/// Where pictures might lie instead, for the one who named the wrong folder.
#[derive(Default)]
struct Hints(Vec<String>);

impl Hints {
    fn deeper(&mut self, part: &str) {
        if self.0.len() < 4 && !self.0.iter().any(|known| known == part) {
            self.0.push(part.into());
        }
    }

    fn say(&self, options: &Options) -> String {
        let below = options.part.as_ref().map_or(String::new(), |part| format!("{part}/"));
        let hint = match &self.0[..] {
            [] => String::new(),
            parts => format!("; there are deeper folders (name one as the part: {})", parts.join(", ")),
        };
        format!("no picture lies at {below}CLASS/NAME.jpg (.png, .bmp){hint}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn bmp(width: usize, height: usize, colour: [u8; 3]) -> Vec<u8> {
        let pixels = colour.repeat(width * height);
        let picture = image::RgbImage::from_raw(width as u32, height as u32, pixels).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Bmp).unwrap();
        bytes.into_inner()
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn small() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("train/cat/2.bmp", bmp(2, 1, [1, 2, 3])),
            ("train/ant/1.BMP", bmp(2, 1, [4, 5, 6])),
            ("train/cat/1.bmp", bmp(2, 1, [7, 8, 9])),
            ("train/cat/readme.txt", b"no picture".to_vec()),
            ("train/cat/.bmp", b"no picture".to_vec()),
            ("test/cat/1.bmp", bmp(3, 3, [0, 0, 0])),
        ]
    }

    fn small_archive() -> Vec<u8> {
        let small = small();
        let members: Vec<(&str, &[u8])> = small.iter().map(|(name, content)| (*name, &content[..])).collect();
        archive(&members)
    }

    fn train() -> Options {
        Options { part: Some("train".into()), ..Options::default() }
    }

    #[test]
    fn classes_and_pictures_are_in_the_order_of_their_names_packed_or_not() {
        let packed = from_bytes("x.zip", &small_archive(), &train()).unwrap();
        assert_eq!(packed.classes(), ["ant", "cat"]);
        assert_eq!((packed.labels(), packed.shape()), (&[0, 1, 1][..], [3, 1, 2]));
        assert_eq!(packed.picture(1), [7, 7, 8, 8, 9, 9]);

        let folder = tempfile::tempdir().unwrap();
        for (name, content) in small() {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        assert_eq!(read(folder.path(), &train()).unwrap(), packed);
        let zipped = folder.path().join("x.zip");
        std::fs::write(&zipped, small_archive()).unwrap();
        assert_eq!(read(&zipped, &train()).unwrap(), packed);

        let error = read(folder.path(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains("no picture lies at CLASS/NAME.jpg") && error.contains("train"), "{error}");
    }

    #[test]
    fn pictures_are_grey_or_stretched_when_asked() {
        let grey = Options { grey: true, size: Some((4, 3)), ..train() };
        let examples = from_bytes("x.zip", &small_archive(), &grey).unwrap();
        assert_eq!(examples.shape(), [1, 4, 3]);
        assert_eq!(examples.picture(0), [5; 12]);
        assert!(from_bytes("x.zip", &small_archive(), &Options { size: Some((0, 3)), ..train() }).is_err());
    }

    #[test]
    fn a_picture_of_another_size_or_a_damaged_one_names_itself() {
        let bytes = archive(&[("a/1.bmp", &bmp(2, 1, [0; 3])), ("a/2.bmp", &bmp(1, 2, [0; 3]))]);
        let error = from_bytes("x.zip", &bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("x.zip[a/2.bmp]: ") && error.contains("1×2, the first one 2×1"), "{error}");
        let bytes = archive(&[("a/1.bmp", b"BM")]);
        let error = from_bytes("x.zip", &bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("x.zip[a/1.bmp]: not a readable picture"), "{error}");
    }

    #[test]
    fn an_archive_without_pictures_says_where_they_would_lie() {
        let error = from_bytes("x.zip", &small_archive(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains("name one as the part: train, test"), "{error}");
        let error = from_bytes("x.zip", &archive(&[]), &train()).unwrap_err().to_string();
        assert!(error.contains("no picture lies at train/CLASS/NAME.jpg"), "{error}");
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error_that_names_it() {
        let whole = small_archive();
        for cut in 0..whole.len() {
            let error = from_bytes("x.zip", &whole[..cut], &train()).unwrap_err().to_string();
            assert!(error.starts_with("x.zip"), "{error}");
        }
    }

    #[test]
    fn small_files_of_huge_pictures_are_refused() {
        // One picture of 4000×4000 in a BMP of run lengths would be small; a PNG of nothing is as good.
        let picture = image::RgbImage::new(3000, 3000);
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let bytes = bytes.into_inner();
        let names = ["a/1.png", "a/2.png", "a/3.png", "a/4.png"];
        let bytes = archive(&names.map(|name| (name, &bytes[..])));
        let error = from_bytes("x.zip", &bytes, &Options::default()).unwrap_err();
        assert!(matches!(error, Error::Bomb { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0.0f64..1.0, byte in any::<u8>(), cut in 0.0f64..1.0) {
            let mut bytes = small_archive();
            let position = (at * bytes.len() as f64) as usize;
            bytes[position] = byte;
            let _ = from_bytes("x.zip", &bytes, &train());
            let _ = from_bytes("x.zip", &bytes[..(cut * bytes.len() as f64) as usize], &train());
        }

        #[test]
        fn any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(from_bytes("x.zip", &bytes, &Options::default()).is_err());
        }
    }
}
