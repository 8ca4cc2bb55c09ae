//! Images in memory, NHWC without the N: whole, a part of one, or a few rows of one in a ring.

use std::ops::Range;

use crate::window::Window;

/// Rows and columns of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Rows.
    pub rows: Range<usize>,
    /// Columns.
    pub columns: Range<usize>,
}

impl Region {
    /// A whole image.
    pub fn whole(height: usize, width: usize) -> Self {
        Self { rows: 0..height, columns: 0..width }
    }
}

/// Where the pixels of a region lie: row `y` at `(y − first) mod ring`.
#[derive(Debug, Clone)]
struct Layout {
    region: Region,
    ring: usize,
    channels: usize,
}

impl Layout {
    fn new(region: Region, ring: usize, channels: usize, bytes: usize) -> Self {
        assert!(ring >= 1 && ring <= region.rows.len(), "a ring of {ring} rows for {}", region.rows.len());
        assert!(bytes >= ring * region.columns.len() * channels, "the image is larger than its memory");
        Self { region, ring, channels }
    }

    /// Bytes of a row.
    fn width(&self) -> usize {
        self.region.columns.len() * self.channels
    }

    fn row(&self, y: usize) -> Range<usize> {
        assert!(self.region.rows.contains(&y), "row {y} is not in memory");
        let mut at = y - self.region.rows.start;
        if at >= self.ring {
            at %= self.ring;
        }
        let at = at * self.width();
        at..at + self.width()
    }

    fn span(&self, y: usize, columns: &Range<usize>) -> Range<usize> {
        let held = &self.region.columns;
        assert!(held.start <= columns.start && columns.end <= held.end, "columns {columns:?} are not in memory");
        let start = self.row(y).start + (columns.start - held.start) * self.channels;
        start..start + columns.len() * self.channels
    }

    fn is_one_run(&self, region: &Region) -> bool {
        self.ring == self.region.rows.len() && region.columns == self.region.columns
    }
}

/// Pixels to read.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Image<'a> {
    /// The pixels of `region` in `bytes`, as many rows at once as `ring`.
    pub fn new(region: Region, ring: usize, channels: usize, bytes: &'a [u8]) -> Self {
        Self { layout: Layout::new(region, ring, channels, bytes.len()), bytes }
    }

    /// Rows and columns of which it holds pixels.
    pub fn region(&self) -> &Region {
        &self.layout.region
    }

    /// Bytes of a pixel.
    pub fn channels(&self) -> usize {
        self.layout.channels
    }

    /// The pixels of row `y` in `columns`.
    pub fn span(&self, y: usize, columns: Range<usize>) -> &'a [u8] {
        &self.bytes[self.layout.span(y, &columns)]
    }

    /// The pixels of `region` if they lie one after the other.
    pub fn run(&self, region: &Region) -> Option<&'a [u8]> {
        if !self.layout.is_one_run(region) {
            return None;
        }
        let start = self.layout.row(region.rows.start).start;
        let end = self.layout.row(region.rows.end - 1).end;
        Some(&self.bytes[start..end])
    }
}

/// Pixels to write.
#[derive(Debug)]
pub struct ImageMut<'a> {
    layout: Layout,
    bytes: &'a mut [u8],
}

impl<'a> ImageMut<'a> {
    /// As [`Image::new`].
    pub fn new(region: Region, ring: usize, channels: usize, bytes: &'a mut [u8]) -> Self {
        Self { layout: Layout::new(region, ring, channels, bytes.len()), bytes }
    }

    /// The pixels of row `y` in `columns`.
    pub fn span(&mut self, y: usize, columns: Range<usize>) -> &mut [u8] {
        &mut self.bytes[self.layout.span(y, &columns)]
    }

    /// The rows before `y` and those from it on; itself where rows lie in a ring.
    ///
    /// # Errors
    /// The image, whole, if it cannot be split.
    pub fn split_rows(self, y: usize) -> Result<(Self, Self), Self> {
        let held = &self.layout.region.rows;
        if self.layout.ring != held.len() || y <= held.start || held.end <= y {
            return Err(self);
        }
        let Self { layout, bytes } = self;
        let Region { rows, columns } = layout.region;
        let (top, bottom) = bytes.split_at_mut((y - rows.start) * columns.len() * layout.channels);
        let part = |rows: Range<usize>, bytes| {
            let ring = rows.len();
            let region = Region { rows, columns: columns.clone() };
            ImageMut { layout: Layout { region, ring, channels: layout.channels }, bytes }
        };
        Ok((part(rows.start..y, top), part(y..rows.end, bottom)))
    }

    /// The pixels of `region` if they lie one after the other.
    pub fn run(&mut self, region: &Region) -> Option<&mut [u8]> {
        if !self.layout.is_one_run(region) {
            return None;
        }
        let start = self.layout.row(region.rows.start).start;
        let end = self.layout.row(region.rows.end - 1).end;
        Some(&mut self.bytes[start..end])
    }
}

/// Columns of the input that stand under the windows of some columns of the output.
#[derive(Debug, Clone)]
pub(super) struct Under {
    /// How many, padding included.
    pub all: usize,
    /// How many of them are padding, or no tap, before the first that is read.
    pub left: usize,
    /// Those that are read; empty if all are padding.
    pub real: Range<usize>,
}

impl Under {
    /// The columns under outputs `columns`; an image in parts need not hold those that no tap reads.
    pub fn new(h: &Window, columns: &Range<usize>, input: &Image) -> Self {
        let all = (columns.len() - 1) * h.stride + (h.kernel - 1) * h.dilation + 1;
        let first = (columns.start * h.stride) as isize - h.before as isize;
        let inside = |at: isize| (at.max(0) as usize).min(h.input);
        let (mut start, mut end) = (inside(first), inside(first + all as isize));
        if has_gaps(h) {
            let held = &input.region().columns;
            (start, end) = (start.max(held.start), end.min(held.end));
        }
        if start >= end {
            return Self { all, left: 0, real: 0..0 };
        }
        Self { all, left: (start as isize - first) as usize, real: start..end }
    }
}

/// Whether some elements between the first and the last tap of several outputs are read by none.
pub(super) fn has_gaps(w: &Window) -> bool {
    w.dilation > 1 || w.stride > w.kernel
}

/// What every kernel asks of its images; rows and columns are checked as they are met.
pub(super) fn check(input: &Image, in_channels: usize, output: &ImageMut, out_channels: usize, region: &Region) {
    assert_eq!((input.layout.channels, output.layout.channels), (in_channels, out_channels), "channels of the images");
    assert!(!region.rows.is_empty() && !region.columns.is_empty(), "the region is empty");
}
