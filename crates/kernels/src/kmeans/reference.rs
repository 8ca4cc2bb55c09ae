//! Lloyd's iteration in f64, as the formulas read: what the tiled one is held to, and an exact mode in its own right.

use rayon::prelude::*;

use super::{Clustering, Error, Settings, check, check_finite, shift};

/// As [`lloyd`](super::lloyd), every step in f64.
///
/// # Errors
/// As [`lloyd`](super::lloyd).
pub fn lloyd(points: &[f64], width: usize, centroids: &[f64], settings: &Settings) -> Result<Clustering<f64>, Error> {
    check(points, width, centroids, settings)?;
    check_finite("points", points, width)?;
    check_finite("centroids", centroids, width)?;
    let (mut centroids, mut inertia) = (centroids.to_vec(), Vec::new());
    loop {
        let nearest: Vec<(u32, f64)> = points.par_chunks_exact(width).map(|x| nearest(x, &centroids)).collect();
        let labels: Vec<u32> = nearest.iter().map(|&(label, _)| label).collect();
        let distance: f64 = nearest.iter().map(|&(_, distance)| distance).sum();
        if !distance.is_finite() {
            return Err(Error::Overflow);
        }
        inertia.push(distance);
        let (means, sizes) = means(points, width, &labels, &centroids);
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

/// argmin ‖x − c‖², the first of equals, and the distance.
fn nearest(x: &[f64], centroids: &[f64]) -> (u32, f64) {
    let distance = |c: &[f64]| x.iter().zip(c).map(|(x, c)| (x - c).powi(2)).sum::<f64>();
    let distances = (0..).zip(centroids.chunks_exact(x.len()).map(distance));
    distances.fold((0, f64::INFINITY), |least, found| if found.1 < least.1 { found } else { least })
}

/// Σ x / |cluster|; the centroid before where there is no x.
fn means(points: &[f64], width: usize, labels: &[u32], centroids: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let (mut sums, mut sizes) = (vec![0.0; centroids.len()], vec![0; centroids.len() / width]);
    for (x, &label) in points.chunks_exact(width).zip(labels) {
        let sum = &mut sums[label as usize * width..][..width];
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
        sizes[label as usize] += 1;
    }
    for ((sum, centroid), &size) in sums.chunks_exact_mut(width).zip(centroids.chunks_exact(width)).zip(&sizes) {
        match size {
            0 => sum.copy_from_slice(centroid),
            _ => sum.iter_mut().for_each(|sum| *sum /= size as f64),
        }
    }
    (sums, sizes)
}
