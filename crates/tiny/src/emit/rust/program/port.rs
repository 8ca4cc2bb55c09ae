/// A tensor that goes in or comes out. Quantised values mean `(q − zero_point)·scale`; a scale of 0 says that there is none.
pub struct Port {
    /// Its name in the file.
    pub name: &'static str,
    /// Its shape.
    pub shape: &'static [usize],
    /// Real distance between neighbouring values.
    pub scale: f64,
    /// The value that means 0.
    pub zero_point: i32,
    /// Bytes of all of it.
    pub bytes: usize,
}

/// A part of an input: rows and columns, the ends exclusive.
#[derive(Clone, Copy)]
pub struct Rect {
    /// Position in [`INPUTS`].
    pub input: usize,
    /// Rows.
    pub rows: [usize; 2],
    /// Columns.
    pub columns: [usize; 2],
}

/// What the caller gives before a call.
struct Feed {
    input: u8,
    rows: [Coordinate; 2],
    columns: [Coordinate; 2],
    offset: Offset,
    bytes: u32,
}

#[inline(never)]
fn feed(arena: &mut [i8; ARENA_BYTES], read_rect: &mut dyn FnMut(Rect, &mut [i8]), feed: &Feed) {
    let rows = feed.rows.map(|y| y as usize);
    let columns = feed.columns.map(|x| x as usize);
    let from = feed.offset as usize;
    let rect = Rect { input: feed.input.into(), rows, columns };
    read_rect(rect, &mut arena[from..from + feed.bytes as usize]);
}

/// Copies a part of an image of rows of `row` bytes and pixels of `pixel`.
fn copy_rect(image: &[i8], row: usize, pixel: usize, rect: &Rect, to: &mut [i8]) {
    let [left, right] = rect.columns;
    for (y, to) in (rect.rows[0]..).zip(to.chunks_mut((right - left) * pixel)) {
        to.copy_from_slice(&image[y * row + left * pixel..][..to.len()]);
    }
}
