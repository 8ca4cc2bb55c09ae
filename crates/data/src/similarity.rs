//! How alike two pictures are: PSNR and SSIM.
//!
//! PSNR = 10 log₁₀(255² / mean square difference), in decibels. SSIM compares means, variances and covariance in windows:
//! (2 μ_a μ_b + C₁)(2 σ_ab + C₂) / ((μ_a² + μ_b² + C₁)(σ_a² + σ_b² + C₂)), C₁ = (0.01 · 255)², C₂ = (0.03 · 255)², windows of
//! 11 × 11 with Gaussian weights of deviation 1.5, mean over all windows that lie inside and all channels.
//!
//! Source: Wang, Bovik, Sheikh, Simoncelli, *Image quality assessment: from error visibility to structural similarity*
//! (IEEE Transactions on Image Processing, 2004), eq. 13 and section III.C.

/// Pixels along a window of SSIM.
pub const WINDOW: usize = 11;
/// The deviation of its weights.
const DEVIATION: f64 = 1.5;

/// PSNR in decibels; infinite where the two are equal.
///
/// # Panics
/// If they are not equally long, or empty.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert!(a.len() == b.len() && !a.is_empty(), "psnr: {} and {} numbers", a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum as f64).log10()
}

/// SSIM of two pictures of `[height, width, channels]`; at most 1, where they are equal. `None` if a window does not fit.
///
/// # Panics
/// If they do not have that shape.
pub fn ssim(a: &[u8], b: &[u8], [height, width, channels]: [usize; 3]) -> Option<f64> {
    assert!(a.len() == b.len() && a.len() == height * width * channels, "ssim: {} and {} numbers", a.len(), b.len());
    if height < WINDOW || width < WINDOW || channels == 0 {
        return None;
    }
    let of_channel = |channel| {
        let plane = |x: &[u8]| x[channel..].iter().step_by(channels).map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (a, b) = (plane(a), plane(b));
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            blurred(&a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect::<Vec<_>>(), height, width)
        };
        let (mu_a, mu_b) = (mean(&|a, _| a), mean(&|_, b| b));
        let (aa, bb, ab) = (mean(&|a, _| a * a), mean(&|_, b| b * b), mean(&|a, b| a * b));
        let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
        let window = |i: usize| {
            let (m, n) = (mu_a[i], mu_b[i]);
            let (variance_a, variance_b, covariance) = (aa[i] - m * m, bb[i] - n * n, ab[i] - m * n);
            (2.0 * m * n + c1) * (2.0 * covariance + c2) / ((m * m + n * n + c1) * (variance_a + variance_b + c2))
        };
        (0..mu_a.len()).map(window).sum::<f64>() / mu_a.len() as f64
    };
    Some((0..channels).map(of_channel).sum::<f64>() / channels as f64)
}

/// The weighted mean of each window that lies inside.
fn blurred(x: &[f64], height: usize, width: usize) -> Vec<f64> {
    let middle = (WINDOW / 2) as f64;
    let bell: [f64; WINDOW] = std::array::from_fn(|i| (-0.5 * ((i as f64 - middle) / DEVIATION).powi(2)).exp());
    let total: f64 = bell.iter().sum();
    let along =
        |row: &[f64], stride: usize| bell.iter().zip(row.iter().step_by(stride)).map(|(g, x)| g / total * x).sum();
    let inside = width - WINDOW + 1;
    let rows: Vec<f64> = x.chunks(width).flat_map(|row| (0..inside).map(move |i| along(&row[i..], 1))).collect();
    (0..(height - WINDOW + 1) * inside).map(|i| along(&rows[i..], inside)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// scikit-image 0.25: `structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    /// data_range=255)` over the windows that lie inside, and `peak_signal_noise_ratio`.
    #[test]
    fn two_pictures_are_as_alike_as_scikit_image_says() {
        let a: Vec<u8> = (0..16 * 20).map(|i| ((i * 37) % 251) as u8).collect();
        let b: Vec<u8> = a.iter().enumerate().map(|(i, &a)| a.saturating_add((i * i % 23) as u8)).collect();
        assert!((psnr(&a, &b) - 28.392_888_674_298_256).abs() < 1e-9, "{}", psnr(&a, &b));
        let ssim = ssim(&a, &b, [16, 20, 1]).unwrap();
        assert!((ssim - 0.994_106_185_001_843_8).abs() < 1e-9, "{ssim}");
    }

    proptest! {
        #[test]
        fn a_picture_is_like_itself_and_likeness_has_no_direction(
            a in prop::collection::vec(any::<u8>(), 12 * 13 * 3),
            b in prop::collection::vec(any::<u8>(), 12 * 13 * 3),
        ) {
            let shape = [12, 13, 3];
            prop_assert_eq!(psnr(&a, &a), f64::INFINITY);
            prop_assert!((ssim(&a, &a, shape).unwrap() - 1.0).abs() < 1e-12);
            prop_assert_eq!(psnr(&a, &b), psnr(&b, &a));
            prop_assert!((ssim(&a, &b, shape).unwrap() - ssim(&b, &a, shape).unwrap()).abs() < 1e-12);
            prop_assert_eq!(ssim(&a[..10 * 12 * 3], &b[..10 * 12 * 3], [10, 12, 3]), None);
        }
    }
}
