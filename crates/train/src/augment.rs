//! Pictures changed a little every time they are seen: shifted, mirrored, turned, with a hole.
//!
//! What happens to a picture is first a value, its [`Change`], drawn from (seed, epoch, example) alone: neither the
//! batch that it falls into, nor the thread that makes it, nor an interruption of the run has a part in it. Shift and
//! mirror are those of the usual recipe for CIFAR; the hole is Cutout (DeVries and Taylor, 2017).

use std::ops::Range;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::loader::{Normalisation, Purpose, draws};

/// Which changes are made, and how large they may be. The default is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pixels of black put around a picture before its old size is cut out of it anywhere; 4 is usual for 32×32.
    pub padding: usize,
    /// Whether every second picture is mirrored, left to right.
    pub flip: bool,
    /// The side of a square, anywhere with its centre in the picture, that is set to the training set's mean; 0 for
    /// none.
    pub hole: usize,
    /// The largest turn in degrees, either way round.
    pub turn: f32,
}

/// What happens to one picture, in this order: turned, shifted, mirrored, normalised, holed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where the first row that is seen lies in the picture, negative above it.
    pub top: isize,
    /// Where the first column that is seen lies in the picture, negative left of it.
    pub left: isize,
    /// Whether it is mirrored.
    pub mirrored: bool,
    /// The turn around the picture's centre in radians, counter-clockwise.
    pub angle: f32,
    /// Corner and side of the hole in what is then seen; the corner may lie outside.
    pub hole: Option<(isize, isize, usize)>,
}

impl Augment {
    /// The recipe of most papers on CIFAR: four pixels of padding, mirrored or not.
    pub const CIFAR: Self = Self { padding: 4, flip: true, hole: 0, turn: 0.0 };

    /// What happens to the example `index` in `epoch`, if it is `height` × `width`.
    pub fn change(&self, seed: u64, epoch: u64, index: u32, height: usize, width: usize) -> Change {
        let mut change = Change { top: 0, left: 0, mirrored: false, angle: 0.0, hole: None };
        if *self == Self::default() {
            return change;
        }
        // Everything is drawn, wanted or not: switching one change off leaves the others as they were.
        let mut draw = draws(seed, Purpose::Augment, epoch, index.into());
        let padding = i32::try_from(self.padding).unwrap_or(i32::MAX);
        change.top = draw.random_range(-padding..=padding) as isize;
        change.left = draw.random_range(-padding..=padding) as isize;
        change.mirrored = draw.random::<bool>() && self.flip;
        let turn: f32 = draw.random_range(-1.0..=1.0);
        change.angle = (turn * self.turn).to_radians();
        let centre = (draw.random_range(0..height.max(1)), draw.random_range(0..width.max(1)));
        if self.hole > 0 {
            let corner = |centre: usize| centre as isize - (self.hole / 2) as isize;
            change.hole = Some((corner(centre.0), corner(centre.1), self.hole));
        }
        change
    }
}

impl Change {
    /// Writes the changed and normalised `picture`, both `[channels, height, width]`, to `out`.
    ///
    /// What comes from outside of the picture is black, a hole is 0, the mean. A turned picture is read with bilinear
    /// weights.
    ///
    /// # Panics
    /// If the lengths do not fit the shape or the normalisation the channels.
    pub fn apply(&self, picture: &[u8], shape: [usize; 3], normalisation: &Normalisation, out: &mut [f32]) {
        let [channels, height, width] = shape;
        let area = height * width;
        assert_eq!((picture.len(), out.len()), (channels * area, channels * area), "pixels of the shape");
        if self.angle != 0.0 {
            self.turned(picture, shape, out);
        }
        let planes = picture.chunks_exact(area).zip(out.chunks_exact_mut(area));
        for (channel, (plane, out)) in planes.enumerate() {
            let (scale, shift) = normalisation.line(channel);
            if self.angle == 0.0 {
                self.shifted(plane, (height, width), (scale, shift), out);
            } else {
                out.iter_mut().for_each(|pixel| *pixel = *pixel * scale + shift);
            }
            if let Some((top, left, side)) = self.hole {
                for y in within(top, side, height) {
                    out[y * width..][within(left, side, width)].fill(0.0);
                }
            }
        }
    }

    fn shifted(&self, plane: &[u8], (height, width): (usize, usize), (scale, shift): (f32, f32), out: &mut [f32]) {
        // Columns of the output, before mirroring, that lie in the picture.
        let seen = within(-self.left, width, width);
        for (y, row) in out.chunks_exact_mut(width).enumerate() {
            let from = y as isize + self.top;
            if from < 0 || from >= height as isize {
                row.fill(shift);
                continue;
            }
            let first = (seen.start as isize + self.left).max(0) as usize;
            let source = &plane[from as usize * width..][..width][first.min(width)..][..seen.len()];
            row[..seen.start].fill(shift);
            row[seen.end..].fill(shift);
            for (to, &byte) in row[seen.clone()].iter_mut().zip(source) {
                *to = f32::from(byte) * scale + shift;
            }
            if self.mirrored {
                row.reverse();
            }
        }
    }

    /// Pixels from 0 to 255, not normalised: where a pixel comes from is computed once for all channels.
    fn turned(&self, picture: &[u8], [_, height, width]: [usize; 3], out: &mut [f32]) {
        let area = height * width;
        let (sin, cos) = self.angle.sin_cos();
        let centre = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);
        for to in 0..area {
            let (row, column) = (to / width, to % width);
            let column = if self.mirrored { width - 1 - column } else { column };
            let dy = (row as isize + self.top) as f32 - centre.0;
            let dx = (column as isize + self.left) as f32 - centre.1;
            let (y, x) = (centre.0 + sin * dx + cos * dy, centre.1 + cos * dx - sin * dy);
            let (top, left) = (floor(y), floor(x));
            let (down, right) = (y - top as f32, x - left as f32);
            // Each of the four pixels around, and nothing where there is none.
            let inside = |y: isize, x: isize| (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
            let tap = |y: isize, x: isize, weight: f32| {
                if inside(y, x) { (y as usize * width + x as usize, weight) } else { (0, 0.0) }
            };
            let taps = [
                tap(top, left, (1.0 - down) * (1.0 - right)),
                tap(top, left + 1, (1.0 - down) * right),
                tap(top + 1, left, down * (1.0 - right)),
                tap(top + 1, left + 1, down * right),
            ];
            for (plane, out) in picture.chunks_exact(area).zip(out.chunks_exact_mut(area)) {
                out[to] = taps.iter().map(|&(from, weight)| f32::from(plane[from]) * weight).sum();
            }
        }
    }
}

/// The largest whole number not above `x`; the standard one is a call of a library on processors without SSE4.1.
fn floor(x: f32) -> isize {
    let toward_zero = x as isize;
    toward_zero - isize::from(x < toward_zero as f32)
}

/// The part of `start..start + length` that lies in `0..end`.
fn within(start: isize, length: usize, end: usize) -> Range<usize> {
    let clamp = |at: isize| at.clamp(0, end as isize) as usize;
    clamp(start)..clamp(start.saturating_add_unsigned(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STILL: Change = Change { top: 0, left: 0, mirrored: false, angle: 0.0, hole: None };

    /// Bytes as they are, so that tests read them.
    fn plain(channels: usize) -> Normalisation {
        Normalisation { mean: vec![0.0; channels], deviation: vec![1.0 / 255.0; channels] }
    }

    fn applied(change: Change, picture: &[u8], [channels, height, width]: [usize; 3]) -> Vec<f32> {
        let mut out = vec![f32::NAN; picture.len()];
        change.apply(picture, [channels, height, width], &plain(channels), &mut out);
        out.iter().map(|value| value.round()).collect()
    }

    #[test]
    fn no_change_is_the_picture_itself() {
        assert_eq!(Augment::default().change(7, 3, 9, 2, 3), STILL);
        assert_eq!(applied(STILL, &[1, 2, 3, 4, 5, 6], [1, 2, 3]), [1., 2., 3., 4., 5., 6.]);
    }

    #[test]
    fn shifting_brings_black_in_from_outside() {
        let picture = [1, 2, 3, 4, 5, 6];
        assert_eq!(applied(Change { top: 1, left: -1, ..STILL }, &picture, [1, 2, 3]), [0., 4., 5., 0., 0., 0.]);
        assert_eq!(applied(Change { left: 2, ..STILL }, &picture, [1, 2, 3]), [3., 0., 0., 6., 0., 0.]);
        let mirrored = Change { left: 2, mirrored: true, ..STILL };
        assert_eq!(applied(mirrored, &picture, [1, 2, 3]), [0., 0., 3., 0., 0., 6.]);
        assert_eq!(applied(Change { left: 9, top: -9, ..STILL }, &picture, [1, 2, 3]), [0.; 6]);
        assert_eq!(applied(Change { left: -9, ..STILL }, &picture, [1, 2, 3]), [0.; 6]);
    }

    #[test]
    fn a_hole_is_the_mean_and_clipped_to_the_picture() {
        let half = Normalisation { mean: vec![0.5], deviation: vec![0.25] };
        let mut out = vec![0.0; 9];
        Change { hole: Some((-1, 1, 2)), ..STILL }.apply(&[255; 9], [1, 3, 3], &half, &mut out);
        assert_eq!(out, [2., 0., 0., 2., 2., 2., 2., 2., 2.]);
    }

    #[test]
    fn a_quarter_turn_moves_every_pixel_to_its_place() {
        let quarter = Change { angle: std::f32::consts::FRAC_PI_2, ..STILL };
        let turned = applied(quarter, &[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3]);
        assert_eq!(turned, [3., 6., 9., 2., 5., 8., 1., 4., 7.]);
    }

    #[test]
    fn all_shifts_occur_and_half_of_the_pictures_are_mirrored() {
        let changes: Vec<Change> = (0..4000).map(|index| Augment::CIFAR.change(1, 0, index, 32, 32)).collect();
        for shift in -4..=4 {
            let share = changes.iter().filter(|change| change.top == shift).count();
            assert!((330..560).contains(&share), "{shift}: {share} of 4000, expected 444");
        }
        let mirrored = changes.iter().filter(|change| change.mirrored).count();
        assert!((1850..2150).contains(&mirrored), "{mirrored} of 4000");
        assert_ne!(changes[0], Augment::CIFAR.change(1, 1, 0, 32, 32), "another epoch, another change");
    }

    proptest! {
        #[test]
        fn a_tiny_turn_is_close_to_none(
            picture in prop::collection::vec(any::<u8>(), 2 * 5 * 7), top in -6isize..6, left in -8isize..8,
            mirrored: bool,
        ) {
            let straight = Change { top, left, mirrored, angle: 0.0, hole: None };
            let turned = Change { angle: 1e-7, ..straight };
            let [mut a, mut b] = [vec![0.0; 70], vec![0.0; 70]];
            straight.apply(&picture, [2, 5, 7], &plain(2), &mut a);
            turned.apply(&picture, [2, 5, 7], &plain(2), &mut b);
            prop_assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.01), "{a:?} {b:?}");
        }

        #[test]
        fn a_picture_mirrored_twice_is_itself(picture in prop::collection::vec(any::<u8>(), 12), left in -3isize..=3) {
            let change = Change { left, mirrored: true, ..STILL };
            let mut once = applied(change, &picture, [1, 3, 4]);
            once.chunks_exact_mut(4).for_each(<[f32]>::reverse);
            prop_assert_eq!(once, applied(Change { mirrored: false, ..change }, &picture, [1, 3, 4]));
        }
    }
}
