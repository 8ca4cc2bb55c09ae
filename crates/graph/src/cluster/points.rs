//! Points to cluster: a mixture of Gaussians in the plane, and the pixels of a photo.

use std::f64::consts::TAU;

use rand::RngExt;
use tersor_data::picture::Picture;

use super::instance::{check_sizes, equal_blocks};
use crate::Error;
use crate::generate::stream;

/// The most points: their pairs are 5·10^11.
pub const MOST_POINTS: usize = 1 << 20;

/// How far neighbouring centres are apart, in standard deviations: clear clusters that touch a little. Of two neighbours
/// about 4 points in 1000 lie on the other's side.
const APART: f64 = 5.75;

/// Points of `clusters` Gaussians in the plane, and the Gaussian of each; standard deviation 1, neighbouring centres on
/// a circle 5.75 apart.
///
/// The Gaussians have equally many points, to within one; the lower points are of the lower Gaussians.
///
/// # Errors
/// [`Error::Parameter`]: no point, no cluster or more than points; [`Error::TooLarge`] above 2^20 points.
pub fn gaussians(points: usize, clusters: usize, seed: u64) -> Result<(Vec<[f64; 2]>, Vec<u32>), Error> {
    check_sizes(points, clusters, MOST_POINTS)?;
    let truth = equal_blocks(points, clusters);
    let part = TAU / clusters as f64;
    let radius = if clusters == 1 { 0.0 } else { APART / 2.0 / (part / 2.0).sin() };
    let mut random = stream(seed, 0);
    let point = |&cluster: &u32| {
        // Box and Muller: two uniform numbers make two normal ones.
        let (far, turn) = (1.0 - random.random::<f64>(), TAU * random.random::<f64>());
        let far = (-2.0 * far.ln()).sqrt();
        let (y, x) = (part * f64::from(cluster)).sin_cos();
        [radius * x + far * turn.cos(), radius * y + far * turn.sin()]
    };
    Ok((truth.iter().map(point).collect(), truth))
}

/// Each pixel of a picture, row by row, as (x, y, red, green, blue): places in pixels, colours from 0 to 255.
pub fn pixels(picture: &Picture) -> Vec<[f64; 5]> {
    let width = picture.width();
    let (colours, _) = picture.rgb().as_chunks::<3>();
    let point = |(number, colour): (usize, &[u8; 3])| {
        let [red, green, blue] = colour.map(f64::from);
        [(number % width) as f64, (number / width) as f64, red, green, blue]
    };
    colours.iter().enumerate().map(point).collect()
}

/// A picture reduced until its longer side is `side` pixels; a smaller one stays as it is.
///
/// # Errors
/// [`Error::Parameter`] if `side` is 0.
pub fn shrunk(picture: &Picture, side: usize) -> Result<Picture, Error> {
    if side == 0 {
        return Err(Error::Parameter { what: "side", value: 0.0, range: "at least 1 pixel" });
    }
    let (width, height) = (picture.width(), picture.height());
    let longer = width.max(height);
    if longer <= side {
        return Ok(picture.clone());
    }
    let scaled = |length: usize| (length as f64 * side as f64 / longer as f64).round().max(1.0) as usize;
    Ok(picture.reduced(scaled(width), scaled(height)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaussians_have_their_centres_and_deviations() {
        for clusters in [1, 2, 4, 9] {
            let (points, truth) = gaussians(9_000, clusters, 3).unwrap();
            let mut centres = Vec::new();
            for cluster in 0..clusters as u32 {
                let own: Vec<_> = points.iter().zip(&truth).filter(|(_, label)| **label == cluster).collect();
                let mean =
                    |of: &dyn Fn(&[f64; 2]) -> f64| own.iter().map(|(p, _)| of(p)).sum::<f64>() / own.len() as f64;
                let centre = [mean(&|p| p[0]), mean(&|p| p[1])];
                let variance = mean(&|p| (p[0] - centre[0]).powi(2) + (p[1] - centre[1]).powi(2)) / 2.0;
                assert!((variance - 1.0).abs() < 0.15, "{clusters} {cluster}: {variance}");
                centres.push(centre);
            }
            let apart = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
            for pair in centres.windows(2) {
                assert!((apart(pair[0], pair[1]) - APART).abs() < 0.25, "{clusters}: {centres:?}");
            }
        }
        assert_eq!(gaussians(50, 3, 1).unwrap(), gaussians(50, 3, 1).unwrap());
        assert_ne!(gaussians(50, 3, 1).unwrap(), gaussians(50, 3, 2).unwrap());
    }

    #[test]
    fn pixels_know_where_they_are() {
        let picture = Picture::new(2, 2, (0..12).collect()).unwrap();
        let expected = [[0., 0., 0., 1., 2.], [1., 0., 3., 4., 5.], [0., 1., 6., 7., 8.], [1., 1., 9., 10., 11.]];
        assert_eq!(pixels(&picture), expected);
        assert!(pixels(&Picture::new(0, 0, Vec::new()).unwrap()).is_empty());
    }

    #[test]
    fn a_picture_is_shrunk_by_its_longer_side() {
        let size = |width, height, side| {
            let small = shrunk(&Picture::from_grey(width, height, &vec![9; width * height]).unwrap(), side).unwrap();
            (small.width(), small.height())
        };
        assert_eq!(size(100, 50, 44), (44, 22));
        assert_eq!(size(3, 200, 10), (1, 10));
        assert_eq!(size(30, 20, 44), (30, 20));
        assert_eq!(size(0, 0, 44), (0, 0));
        assert!(shrunk(&Picture::from_grey(1, 1, &[0]).unwrap(), 0).is_err());
    }

    #[test]
    fn parameters_out_of_range_are_errors() {
        for (points, clusters) in [(0, 1), (5, 0), (5, 6), (5, usize::MAX)] {
            assert!(matches!(gaussians(points, clusters, 1), Err(Error::Parameter { .. })));
        }
        assert!(matches!(gaussians(usize::MAX, 4, 1), Err(Error::TooLarge { .. })));
    }
}
