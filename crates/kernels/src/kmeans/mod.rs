//! k-means: points in C clusters, each point with the nearest centroid, each centroid the mean of its points.
//!
//! Lloyd's iteration (*Least squares quantization in PCM*, 1982) as Sparse VideoGen2 (Yang et al., NeurIPS 2025) runs it on the
//! queries and on the keys of a head: few clusters of many points, from given centroids, few iterations. An iteration is a
//! product of points and centroids, 2·n·C·width operations, whose tiles never leave the registers: each is compared with the
//! least distance so far. No `n × C` matrix is made.
//!
//! Vectors are those that the machine has, threads those of the caller's rayon pool; results are the same bytes on any number
//! of threads. What this module does not do: draw the first centroids (room `generate`).
//!
//! ```
//! use tersor_kernels::kmeans::{Settings, lloyd};
//!
//! // Six points on a line, two clusters; the first centroids are the first two points.
//! let points = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
//! let found = lloyd(&points, 1, &points[..2], &Settings::default())?;
//! assert_eq!((found.labels, found.centroids), (vec![0, 0, 0, 1, 1, 1], vec![1.0, 11.0]));
//! # Ok::<(), tersor_kernels::kmeans::Error>(())
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | `assign` | the nearest centroid of each point, on register tiles |
//! | `update` | means of clusters |
//! | [`reference`] | both in f64, as the formulas read |

mod assign;
pub mod reference;
mod update;

use assign::Nearest;
pub use update::order;

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Assignments, each followed by an update, at most.
    pub iterations: usize,
    /// No further iteration once no centroid has moved so far.
    pub tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { iterations: 50, tolerance: 1e-4 }
    }
}

/// Points in clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering<T> {
    /// The cluster of each point, by the last assignment.
    pub labels: Vec<u32>,
    /// Points of each cluster.
    pub sizes: Vec<usize>,
    /// `[clusters, width]`: the means of these very clusters, an empty one's its centroid before. Where the centroids had
    /// come to rest they are those of the iteration before, which are less than the tolerance away.
    pub centroids: Vec<T>,
    /// For each iteration the sum of squared distances of points to the centroids that they were assigned to, before these
    /// were updated. But for rounding it does not rise.
    pub inertia: Vec<f64>,
    /// How far the last update moved a centroid, at most.
    pub shift: f64,
}

/// What cannot be clustered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size that means nothing.
    #[error("{field} is {value}; expected {expected}")]
    Size {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What it must be.
        expected: String,
    },
    /// NaN or ±∞, of which no mean is a number.
    #[error("{tensor} has the number {value} in row {row}, column {column}; means of it mean nothing")]
    NotFinite {
        /// `points` or `centroids`.
        tensor: &'static str,
        /// The point or the centroid.
        row: usize,
        /// The dimension.
        column: usize,
        /// The number.
        value: f64,
    },
    /// Finite points whose squares are not.
    #[error("squared distances of points to centroids exceed f32; smaller values do not")]
    Overflow,
}

/// Clusters `points`, `[n, width]`, from the first `centroids`, `[C, width]`.
///
/// Ties go to the lowest cluster. Distances are in f32, means in f64, rounded.
///
/// # Errors
/// [`Error::Size`] if a size is 0, not whole, or there are more centroids than points, [`Error::NotFinite`] naming the row,
/// [`Error::Overflow`].
pub fn lloyd(points: &[f32], width: usize, centroids: &[f32], settings: &Settings) -> Result<Clustering<f32>, Error> {
    check(points, width, centroids, settings)?;
    let mut nearest = Nearest::new(points, width);
    if !nearest.squares().is_finite() {
        // Only now: the squares tell as much of a number that is not finite as a look at each.
        check_finite("points", points, width)?;
        return Err(Error::Overflow);
    }
    check_finite("centroids", centroids, width)?;
    let (mut centroids, mut inertia) = (centroids.to_vec(), Vec::new());
    loop {
        let (labels, distance) = nearest.assign(&centroids);
        if !distance.is_finite() {
            return Err(Error::Overflow);
        }
        inertia.push(distance);
        let (means, sizes) = update::means(points, width, &labels, &centroids);
        let shift = shift(&centroids, &means, width);
        let rested = shift < settings.tolerance;
        if !rested {
            centroids = means;
        }
        if rested || inertia.len() == settings.iterations {
            return Ok(Clustering { labels, sizes, centroids, inertia, shift });
        }
    }
}

/// The distance of a centroid from where it was, at most.
fn shift<T: Copy + Into<f64>>(from: &[T], to: &[T], width: usize) -> f64 {
    let apart =
        |(a, b): (&[T], &[T])| a.iter().zip(b).map(|(&a, &b)| (a.into() - b.into()).powi(2)).sum::<f64>().sqrt();
    from.chunks_exact(width).zip(to.chunks_exact(width)).map(apart).fold(0.0, f64::max)
}

fn check<T: Copy + Into<f64>>(points: &[T], width: usize, centroids: &[T], settings: &Settings) -> Result<(), Error> {
    let size = |field, value, expected: &str| Err(Error::Size { field, value, expected: expected.into() });
    if width == 0 {
        return size("width", 0, "at least 1");
    }
    if settings.iterations == 0 {
        return size("iterations", 0, "at least 1");
    }
    for (tensor, numbers) in [("points", points), ("centroids", centroids)] {
        if numbers.is_empty() || !numbers.len().is_multiple_of(width) {
            return size(tensor, numbers.len(), &format!("numbers of whole rows of {width}, at least one"));
        }
    }
    let (n, clusters) = (points.len() / width, centroids.len() / width);
    if u32::try_from(n).is_err() {
        return size("points", n, "fewer than 2^32");
    }
    if clusters > n {
        return size("clusters", clusters, &format!("at most the {n} points"));
    }
    Ok(())
}

fn check_finite<T: Copy + Into<f64>>(tensor: &'static str, numbers: &[T], width: usize) -> Result<(), Error> {
    match numbers.iter().map(|&x| x.into()).enumerate().find(|(_, value): &(_, f64)| !value.is_finite()) {
        None => Ok(()),
        Some((at, value)) => Err(Error::NotFinite { tensor, row: at / width, column: at % width, value }),
    }
}
