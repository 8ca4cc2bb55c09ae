//! RESIZE_BILINEAR with 10-bit weights: four products a pixel, rounded once.

/// Bits of a weight.
const BITS: u32 = 10;

/// Where the outputs along one axis read: two neighbours, and the weight of the second out of 2^10.
#[derive(Debug, Clone)]
pub struct Interpolation(pub Vec<(usize, usize, i64)>);

impl Interpolation {
    /// From `input` positions to `output` positions, both at least 1.
    pub fn new(input: usize, output: usize, align_corners: bool, half_pixel_centers: bool) -> Self {
        let one = 1i64 << BITS;
        let (from, to) = (input as i64, output as i64);
        let scale = if align_corners && to > 1 {
            (one * (from - 1) + (to - 1) / 2) / (to - 1)
        } else {
            (one * from + to / 2) / to
        };
        let source = |i: i64| {
            let at = if half_pixel_centers { i * scale + scale / 2 - one / 2 } else { i * scale };
            let low = (at / one).max(0);
            let high = ((at + one - 1) / one).min(from - 1);
            (low as usize, high.max(0) as usize, at - one * low)
        };
        Self((0..to).map(source).collect())
    }

    /// How many outputs there are.
    fn outputs(&self) -> usize {
        self.0.len()
    }
}

/// RESIZE_BILINEAR. `input`: `[images, height, width, channels]`, the height and width that `rows` and `columns` read.
pub fn resize_bilinear(
    rows: &Interpolation,
    columns: &Interpolation,
    [height, width, channels]: [usize; 3],
    input: &[i8],
    output: &mut [i8],
) {
    let one = 1i64 << BITS;
    let images = input.chunks(height * width * channels);
    for (input, output) in images.zip(output.chunks_mut(rows.outputs() * columns.outputs() * channels)) {
        let pixels = rows.0.iter().flat_map(|row| columns.0.iter().map(move |column| (row, column)));
        for ((&(top, bottom, v), &(left, right, h)), out) in pixels.zip(output.chunks_mut(channels)) {
            let at = |row, column, c| i64::from(input[(row * width + column) * channels + c]);
            for (c, out) in out.iter_mut().enumerate() {
                let sum = at(top, left, c) * (one - v) * (one - h)
                    + at(bottom, left, c) * v * (one - h)
                    + at(top, right, c) * (one - v) * h
                    + at(bottom, right, c) * v * h;
                let half = if sum > 0 { 1 << (2 * BITS - 1) } else { -(1 << (2 * BITS - 1)) };
                *out = ((sum + half) / (1 << (2 * BITS))) as i8;
            }
        }
    }
}
