//! Pictures as plain bytes: PNG, JPEG and BMP in, eight-bit red, green and blue out.
//!
//! The format is found from the content, not from the file's name. Grey becomes three equal channels, 16 bits become
//! 8, and **transparency is dropped, not blended**: a transparent pixel keeps the colour stored under it. A JPEG's EXIF
//! orientation is applied. Resizing is the plain bilinear stretch that small networks were trained with; reducing is
//! the smooth one for the eye.
//!
//! What this file does not do: colour profiles, animation.

use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageReader, Limits};

use crate::{Error, atomic};

/// The most pixels that are decoded.
pub const MOST_PIXELS: u64 = 40_000_000;

/// The most bytes that a decoder may ask for at once: what a hostile header can cost.
pub const MOST_BYTES: u64 = 128 << 20;

/// A picture: rows from the top, pixels from the left, three bytes (red, green, blue) each.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture of `width * height * 3` bytes; `None` if the number differs.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        (bytes == rgb.len()).then_some(Self { width, height, rgb })
    }

    /// A picture from one byte of grey per pixel; `None` if there are not `width * height`.
    pub fn from_grey(width: usize, height: usize, grey: &[u8]) -> Option<Self> {
        Self::new(width, height, grey.iter().flat_map(|&y| [y; 3]).collect())
    }

    /// Reads the picture in the file `path`.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::TooManyPixels`], or [`Error::Format`] if it is damaged, over [`MOST_BYTES`] or none of
    /// PNG, JPEG and BMP.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(Error::read(path))?;
        Self::decode(&path.display().to_string(), BufReader::new(file))
    }

    /// Reads the picture in `bytes`, the content of a file; `name` says in errors where they came from.
    ///
    /// # Errors
    /// As [`Picture::read`], without the reading.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        Self::decode(name, Cursor::new(bytes))
    }

    fn decode(name: &str, reader: impl BufRead + Seek) -> Result<Self, Error> {
        let bad = |found: String| Error::Format { place: name.into(), format: "picture (PNG, JPEG, BMP)", found };
        let mut limits = Limits::default();
        limits.max_alloc = Some(MOST_BYTES);
        let mut reader = ImageReader::new(reader).with_guessed_format().map_err(|e| bad(e.to_string()))?;
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(|e| bad(e.to_string()))?;

        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(Error::TooManyPixels { place: name.into(), width, height, limit: MOST_PIXELS });
        }
        limits.reserve(decoder.total_bytes()).map_err(|e| bad(e.to_string()))?;
        decoder.set_limits(limits).map_err(|e| bad(e.to_string()))?;
        // Cameras write odd EXIF blocks around sound pictures.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| bad(e.to_string()))?;
        picture.apply_orientation(orientation);

        let rgb = picture.into_rgb8();
        let (width, height) = (rgb.width() as usize, rgb.height() as usize);
        Ok(Self { width, height, rgb: rgb.into_raw() })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes: `[height, width, 3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The bytes, without the size.
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// Luma by ITU-R BT.601, `0.299 R + 0.587 G + 0.114 B`, rounded half up: `[height, width]`.
    ///
    /// Computed in integers (thousandths), so that it is the same on every machine.
    pub fn grey(&self) -> Vec<u8> {
        let (pixels, _) = self.rgb.as_chunks::<3>();
        pixels
            .iter()
            .map(|&[r, g, b]| ((299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000) as u8)
            .collect()
    }

    /// The part `width` × `height` whose corner is (`left`, `top`); `None` if it does not lie within the picture.
    pub fn cropped(&self, left: usize, top: usize, width: usize, height: usize) -> Option<Self> {
        let (right, bottom) = (left.checked_add(width)?, top.checked_add(height)?);
        if right > self.width() || bottom > self.height() {
            return None;
        }
        let rows = self.rgb().chunks_exact(3 * self.width()).skip(top).take(height);
        Self::new(width, height, rows.flat_map(|row| row[3 * left..3 * right].to_vec()).collect())
    }

    /// The picture stretched to `width` × `height`, bilinear with half-pixel centres and no smoothing.
    ///
    /// Output pixel `i` looks at `(i + ½) · in / out − ½`, clamped to the picture, on each axis (as
    /// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`); values round to the nearest, half up.
    /// The same size gives the same bytes. An empty picture stretched to a larger size is black.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        if self.rgb.is_empty() {
            return Self { width, height, rgb: vec![0; width * height * 3] };
        }
        let (rows, columns) = (Taps::new(self.height, height), Taps::new(self.width, width));
        let whole = rows.whole * columns.whole;
        let mut rgb = Vec::with_capacity(width * height * 3);
        for row in &rows.taps {
            let top = &self.rgb[row.first * self.width * 3..][..self.width * 3];
            let bottom = &self.rgb[row.second * self.width * 3..][..self.width * 3];
            for column in &columns.taps {
                for channel in 0..3 {
                    let (left, right) = (column.first * 3 + channel, column.second * 3 + channel);
                    let mix = |a: u64, b: u64, weight: u64, whole: u64| a * (whole - weight) + b * weight;
                    let across =
                        |line: &[u8]| mix(u64::from(line[left]), u64::from(line[right]), column.weight, columns.whole);
                    let value = mix(across(top), across(bottom), row.weight, rows.whole);
                    rgb.push(((2 * value + whole) / (2 * whole)) as u8);
                }
            }
        }
        Self { width, height, rgb }
    }

    /// The picture reduced to `width` × `height`, each pixel a mean of all that fall on it and its neighbours: a linear
    /// filter two output pixels wide, so that no detail turns into noise (Pillow's `BILINEAR`, to within rounding).
    ///
    /// To a larger size it is as [`Picture::resized`], to within rounding. An empty picture becomes black.
    pub fn reduced(&self, width: usize, height: usize) -> Self {
        let sides = [self.width, self.height, width, height].map(u32::try_from);
        let (false, [Ok(from_width), Ok(from_height), Ok(to_width), Ok(to_height)]) = (self.rgb.is_empty(), sides)
        else {
            return self.resized(width, height);
        };
        let whole =
            image::RgbImage::from_raw(from_width, from_height, self.rgb.clone()).expect("the bytes fit the size");
        let reduced = image::imageops::resize(&whole, to_width, to_height, FilterType::Triangle);
        Self { width, height, rgb: reduced.into_raw() }
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::Format`] if a side is zero or longer than PNG allows.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let bad = |found: String| Error::Format { place: "picture to write".into(), format: "PNG", found };
        let side = |pixels: usize| u32::try_from(pixels).map_err(|e| bad(e.to_string()));
        let mut png = Vec::new();
        image::codecs::png::PngEncoder::new(&mut png)
            .write_image(&self.rgb, side(self.width)?, side(self.height)?, image::ExtendedColorType::Rgb8)
            .map_err(|e| bad(e.to_string()))?;
        Ok(png)
    }

    /// Writes the picture to `path` as PNG, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`] naming the file, [`Error::Format`] as [`Picture::to_png`].
    pub fn write_png(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let png = self.to_png()?;
        atomic::write(path, |w| w.write_all(&png))
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}

/// Two neighbours along an axis, and the weight of the second out of [`Taps::whole`].
struct Tap {
    first: usize,
    second: usize,
    weight: u64,
}

/// Where the positions along an axis look. Weights are exact fractions, so that a tie is a tie on every machine.
struct Taps {
    taps: Vec<Tap>,
    whole: u64,
}

impl Taps {
    /// From `from` ≥ 1 positions to `to`.
    fn new(from: usize, to: usize) -> Self {
        // (i + ½)·from/to − ½ = ((2i + 1)·from − to) / 2to
        let (last, whole) = (from - 1, 2 * to as u64);
        let tap = |i: usize| {
            let at = ((2 * i as u64 + 1) * from as u64).saturating_sub(to as u64).min(last as u64 * whole);
            let first = (at / whole) as usize;
            Tap { first, second: (first + 1).min(last), weight: at % whole }
        };
        Self { taps: (0..to).map(tap).collect(), whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use image::{ExtendedColorType, ImageFormat};
    use proptest::prelude::*;

    #[test]
    fn a_fine_pattern_is_reduced_to_its_mean() {
        let stripes: Vec<u8> = (0..64 * 64).map(|i| if i % 2 == 0 { 0 } else { 200 }).collect();
        let reduced = Picture::from_grey(64, 64, &stripes).unwrap().reduced(8, 8);
        assert!(reduced.rgb().iter().all(|&value| value.abs_diff(100) <= 6), "{:?}", &reduced.rgb()[..24]);
        let empty = Picture::new(0, 3, Vec::new()).unwrap();
        assert_eq!((empty.reduced(2, 1).rgb(), empty.reduced(0, 0).rgb()), (&[0; 6][..], &[][..]));
    }

    #[test]
    fn a_crop_is_the_rectangle_asked_for() {
        let grey: Vec<u8> = (0..12).collect();
        let picture = Picture::from_grey(4, 3, &grey).unwrap();
        assert_eq!(picture.cropped(1, 1, 2, 2).unwrap(), Picture::from_grey(2, 2, &[5, 6, 9, 10]).unwrap());
        assert!(picture.cropped(3, 0, 2, 1).is_none() && picture.cropped(usize::MAX, 0, 1, 1).is_none());
    }

    /// As the definition reads, one output value at a time.
    fn resized_by_formula(picture: &Picture, width: usize, height: usize) -> Vec<f64> {
        let at = |y: usize, x: usize, c: usize| f64::from(picture.rgb()[(y * picture.width() + x) * 3 + c]);
        let source = |i: usize, from: usize, to: usize| {
            ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0).min(from as f64 - 1.0)
        };
        let mut values = Vec::new();
        for i in 0..height {
            for j in 0..width {
                let (y, x) = (source(i, picture.height(), height), source(j, picture.width(), width));
                let (y0, x0) = (y.floor() as usize, x.floor() as usize);
                let (y1, x1) = ((y0 + 1).min(picture.height() - 1), (x0 + 1).min(picture.width() - 1));
                let (fy, fx) = (y - y0 as f64, x - x0 as f64);
                for c in 0..3 {
                    let value = at(y0, x0, c) * (1.0 - fy) * (1.0 - fx)
                        + at(y0, x1, c) * (1.0 - fy) * fx
                        + at(y1, x0, c) * fy * (1.0 - fx)
                        + at(y1, x1, c) * fy * fx;
                    values.push(value);
                }
            }
        }
        values
    }

    fn pictures() -> impl Strategy<Value = Picture> {
        (1usize..12, 1usize..12).prop_flat_map(|(width, height)| {
            proptest::collection::vec(any::<u8>(), width * height * 3)
                .prop_map(move |rgb| Picture::new(width, height, rgb).unwrap())
        })
    }

    proptest! {
        #[test]
        fn resizing_is_the_formula(picture in pictures(), width in 1usize..20, height in 1usize..20) {
            let resized = picture.resized(width, height);
            let expected = resized_by_formula(&picture, width, height);
            for (found, expected) in resized.rgb().iter().zip(&expected) {
                // The nearest byte; at a tie, the formula's own rounding may fall on either side.
                prop_assert!((f64::from(*found) - expected).abs() <= 0.5 + 1e-9);
            }
        }

        #[test]
        fn the_same_size_is_the_same_picture(picture in pictures()) {
            prop_assert_eq!(picture.resized(picture.width(), picture.height()), picture);
        }

        #[test]
        fn reducing_averages(picture in pictures(), width in 1usize..20, height in 1usize..20) {
            let reduced = picture.reduced(width, height);
            prop_assert_eq!((reduced.width(), reduced.height()), (width, height));
            if width > picture.width() && height > picture.height() {
                for (a, b) in reduced.rgb().iter().zip(picture.resized(width, height).rgb()) {
                    prop_assert!(a.abs_diff(*b) <= 1);
                }
            }
            let range = |bytes: &[u8]| (bytes.iter().min().copied(), bytes.iter().max().copied());
            let (inner, outer) = (range(reduced.rgb()), range(picture.rgb()));
            prop_assert!(outer.0 <= inner.0 && inner.1 <= outer.1);
        }

        #[test]
        fn png_gives_the_picture_back(picture in pictures()) {
            prop_assert_eq!(Picture::from_bytes("written", &picture.to_png()?)?, picture);
        }

        #[test]
        fn damaged_pictures_are_errors_or_pictures(
            format in 0usize..3, cut in 0.0f64..1.0, at in 0.0f64..1.0, byte in any::<u8>(),
        ) {
            let mut bytes = encoded([ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp][format]);
            let position = (at * bytes.len() as f64) as usize;
            bytes[position] = byte;
            let _ = Picture::from_bytes("damaged", &bytes);
            bytes.truncate((cut * bytes.len() as f64) as usize);
            let _ = Picture::from_bytes("cut", &bytes);
        }
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let rgb: Vec<u8> = (0..16 * 12 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let mut bytes = Cursor::new(Vec::new());
        image::write_buffer_with_format(&mut bytes, &rgb, 16, 12, ExtendedColorType::Rgb8, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_format_is_found_by_content() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp] {
            let picture = Picture::from_bytes("no suffix", &encoded(format)).unwrap();
            assert_eq!((picture.width(), picture.height()), (16, 12), "{format:?}");
        }
        assert!(Picture::from_bytes("text", b"hello").unwrap_err().to_string().contains("text"));
    }

    #[test]
    fn a_photograph_taken_sideways_stands_upright() {
        let mut jpeg = encoded(ImageFormat::Jpeg);
        // An EXIF block with one tag: orientation (0x0112) 6, "turn clockwise to see it right".
        let mut exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
        exif.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        jpeg.splice(2..2, exif);
        let picture = Picture::from_bytes("sideways.jpg", &jpeg).unwrap();
        assert_eq!((picture.width(), picture.height()), (12, 16));
    }

    #[test]
    fn grey_alpha_and_sixteen_bits_become_rgb() {
        let read = |bytes: &[u8], color| {
            let mut png = Vec::new();
            image::codecs::png::PngEncoder::new(&mut png).write_image(bytes, 1, 1, color).unwrap();
            Picture::from_bytes("one pixel", &png).unwrap().into_rgb()
        };
        assert_eq!(read(&[9], ExtendedColorType::L8), [9, 9, 9]);
        assert_eq!(read(&[9, 0], ExtendedColorType::La8), [9, 9, 9], "transparency is dropped");
        assert_eq!(read(&[1, 2, 3, 0], ExtendedColorType::Rgba8), [1, 2, 3], "transparency is dropped");
        let white = 0xffffu16.to_ne_bytes();
        assert_eq!(read(&[white, white, white].concat(), ExtendedColorType::Rgb16), [255, 255, 255]);
    }

    #[test]
    fn a_header_that_claims_a_huge_picture_is_refused_before_decoding() {
        let mut bmp = encoded(ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
        assert!(matches!(Picture::from_bytes("huge.bmp", &bmp), Err(Error::TooManyPixels { width: 60_000, .. })));
        bmp[18..22].copy_from_slice(&6_300u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&6_300u32.to_le_bytes());
        assert!(matches!(Picture::from_bytes("large.bmp", &bmp), Err(Error::Format { .. })));
    }

    #[test]
    fn luma_weighs_the_channels_and_keeps_grey() {
        let picture = Picture::new(4, 1, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 77, 77, 77]).unwrap();
        assert_eq!(picture.grey(), [76, 150, 29, 77]);
    }
}
