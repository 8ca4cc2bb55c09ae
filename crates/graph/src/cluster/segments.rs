//! A clustered photo as a picture: the original, and beside it each pixel in the mean colour of its cluster.
//!
//! Pixels are enlarged, thin lines run between clusters, and pixels of no cluster are hatched.

use tersor_data::picture::Picture;

use super::instance::check_sizes;
use super::points::MOST_POINTS;
use crate::Error;

/// Between the two halves, in pixels of the drawing.
const GAP: usize = 16;
/// The side of an enlarged pixel, unless the photo is large.
const ENLARGED: usize = 8;
/// The longer side of a half, in pixels of the drawing, up to which pixels are enlarged.
const LONGEST: usize = 1024;

const INK: [u8; 3] = [40, 48, 56];
const WHITE: [u8; 3] = [255; 3];
const HATCH: [[u8; 3]; 2] = [[255, 0, 200], [255, 225, 250]];

/// The PNG of a photo whose pixels, row by row, have `labels`: clusters `0..clusters`, any other label is none.
///
/// # Errors
/// [`Error::Parameter`] if there is no pixel, not one label for each, no cluster or more than pixels;
/// [`Error::TooLarge`] above 2^20 pixels.
pub fn png(photo: &Picture, labels: &[u32], clusters: usize) -> Result<Vec<u8>, Error> {
    let pixels = photo.rgb().len() / 3;
    check_sizes(pixels, clusters, MOST_POINTS)?;
    if labels.len() != pixels {
        return Err(Error::Parameter { what: "labels", value: labels.len() as f64, range: "one for each pixel" });
    }
    Ok(drawn(photo, labels, &means(photo, labels, clusters)).to_png()?)
}

/// The mean colour of each cluster; black if it is empty.
fn means(photo: &Picture, labels: &[u32], clusters: usize) -> Vec<[u8; 3]> {
    let mut sums = vec![([0u64; 3], 0u64); clusters];
    for (colour, &label) in colours(photo).iter().zip(labels) {
        if let Some((sum, count)) = sums.get_mut(label as usize) {
            *count += 1;
            sum.iter_mut().zip(colour).for_each(|(sum, &value)| *sum += u64::from(value));
        }
    }
    let mean = |(sum, count): ([u64; 3], u64)| sum.map(|sum| ((2 * sum + count) / (2 * count.max(1))) as u8);
    sums.into_iter().map(mean).collect()
}

fn drawn(photo: &Picture, labels: &[u32], means: &[[u8; 3]]) -> Picture {
    let (width, height) = (photo.width(), photo.height());
    let scale = (LONGEST / width.max(height)).clamp(1, ENLARGED);
    let cluster = |x: usize, y: usize| labels[y * width + x].min(means.len() as u32);
    // A line stands on the first column and row of the later pixel, where pixels are wide enough for one; also at its
    // corner, so that no line has a gap.
    let other_side = |x: usize, y: usize| {
        let (column, row) = (x / scale, y / scale);
        let wide = scale >= 3;
        let (first_column, first_row) = (wide && x.is_multiple_of(scale), wide && y.is_multiple_of(scale));
        let before = [(first_column, 1, 0), (first_row, 0, 1), (first_column && first_row, 1, 1)];
        let others = before.into_iter().filter(|(first, ..)| *first);
        others
            .filter_map(|(_, left, up)| Some(cluster(column.checked_sub(left)?, row.checked_sub(up)?)))
            .find(|&other| other != cluster(column, row))
    };
    let mut rgb = Vec::new();
    for y in 0..height * scale {
        for x in 0..width * scale {
            rgb.extend(colours(photo)[y / scale * width + x / scale]);
        }
        rgb.extend([WHITE; GAP].as_flattened());
        for x in 0..width * scale {
            let here = cluster(x / scale, y / scale);
            let colour = means.get(here as usize).copied().unwrap_or(HATCH[usize::from((x + y) % 6 >= 3)]);
            let line = |other: u32| between([here, other].map(|side| means.get(side as usize).unwrap_or(&HATCH[0])));
            rgb.extend(other_side(x, y).map_or(colour, line));
        }
    }
    Picture::new(2 * width * scale + GAP, height * scale, rgb).expect("as many bytes as pixels")
}

/// A colour for lines that is seen between two colours.
fn between(sides: [&[u8; 3]; 2]) -> [u8; 3] {
    let light = |[red, green, blue]: &[u8; 3]| 299 * u32::from(*red) + 587 * u32::from(*green) + 114 * u32::from(*blue);
    if sides.map(light).iter().sum::<u32>() < 220_000 { WHITE } else { INK }
}

fn colours(photo: &Picture) -> &[[u8; 3]] {
    photo.rgb().as_chunks().0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The colour at a place of the drawing.
    fn at(drawing: &Picture, x: usize, y: usize) -> [u8; 3] {
        colours(drawing)[y * drawing.width() + x]
    }

    #[test]
    fn clusters_have_their_mean_colour_beside_the_photo() {
        let photo = Picture::from_grey(3, 2, &[10, 20, 200, 10, 21, 100]).unwrap();
        let drawing = Picture::from_bytes("drawn", &png(&photo, &[0, 0, 1, 0, 0, 9], 2).unwrap()).unwrap();
        assert_eq!((drawing.width(), drawing.height()), (2 * 24 + 16, 16));
        let right = 24 + 16;
        assert_eq!([at(&drawing, 4, 4), at(&drawing, 20, 4), at(&drawing, 30, 4)], [[10; 3], [200; 3], WHITE]);
        assert_eq!(at(&drawing, right + 4, 4), [15; 3]); // (10 + 20 + 10 + 21) / 4
        assert_eq!(at(&drawing, right + 12, 12), [15; 3]);
        assert_eq!(at(&drawing, right + 20, 4), [200; 3]);
        // A line where the cluster changes, none where it does not.
        assert_eq!([at(&drawing, right + 16, 4), at(&drawing, right + 8, 4)], [WHITE, [15; 3]]);
        // No cluster: hatched.
        let hatched: Vec<_> = (17..24).map(|x| at(&drawing, right + x, 12)).collect();
        assert!(HATCH.iter().all(|colour| hatched.contains(colour)), "{hatched:?}");
    }

    #[test]
    fn a_large_photo_is_not_enlarged() {
        let photo = Picture::from_grey(1500, 2, &[7; 3000]).unwrap();
        let drawing = Picture::from_bytes("drawn", &png(&photo, &[0; 3000], 1).unwrap()).unwrap();
        assert_eq!((drawing.width(), drawing.height()), (3016, 2));
    }

    #[test]
    fn wrong_labels_are_errors() {
        let photo = Picture::from_grey(2, 1, &[1, 2]).unwrap();
        let refused = |labels: &[u32], clusters| matches!(png(&photo, labels, clusters), Err(Error::Parameter { .. }));
        assert!(refused(&[0], 1) && refused(&[0, 0, 0], 1) && refused(&[0, 0], 0) && refused(&[0, 0], usize::MAX));
        assert!(png(&photo, &[u32::MAX, 7], 1).is_ok());
        assert!(png(&Picture::new(0, 0, Vec::new()).unwrap(), &[], 0).is_err());
    }
}
