//! Rotary positions.

use std::sync::Arc;

use burn::tensor::Tensor;
use tersor_kernels::training::rotary::{Turn, rotate};

use super::join::{Array, Operation, apply, input};

/// The angles θ of rows, as cosines and sines of `[rows, width / 2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Angles {
    rows: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Angles {
    /// `angles`: `[rows, width / 2]`, in radians.
    ///
    /// # Panics
    /// If there are not as many for each row.
    pub fn new(rows: usize, angles: &[f64]) -> Self {
        assert!(rows > 0 && angles.len().is_multiple_of(rows), "rotary: {} angles of {rows} rows", angles.len());
        let (sines, cosines) = angles.iter().map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Self { rows, cosines, sines }
    }

    /// Numbers that are turned in a head of a row.
    pub fn width(&self) -> usize {
        2 * self.cosines.len() / self.rows
    }
}

/// Each pair of neighbours in `x`, `[batch, rows, heads · width]`, turned by its row's angle: (c a - s b, s a + c b).
///
/// # Panics
/// If `angles` are of other rows, or their width does not divide the last axis.
pub fn rotary(x: Tensor<3>, angles: &Arc<Angles>) -> Tensor<3> {
    let [batch, rows, all] = x.dims();
    let width = angles.width();
    assert!(rows == angles.rows && all.is_multiple_of(width), "rotary: angles do not fit {rows} rows of {all}");
    let tracked = x.is_autodiff();
    if let Some(y) = apply(Rotary(Arc::clone(angles)), [input(x.clone(), tracked)], tracked) {
        return Tensor::from_dispatch(y);
    }
    let device = x.device();
    let table =
        |values: &[f32]| Tensor::<1>::from_floats(values, &device).cast(x.dtype()).reshape([1, rows, 1, width / 2]);
    let (cosines, sines) = (table(&angles.cosines), table(&angles.sines));
    let pairs = x.reshape([batch, rows, all / width, width / 2, 2]);
    let part = |at| pairs.clone().narrow(4, at, 1).reshape([batch, rows, all / width, width / 2]);
    let (a, b) = (part(0), part(1));
    let turned = [a.clone() * cosines.clone() - b.clone() * sines.clone(), a * sines + b * cosines];
    Tensor::stack::<5>(turned.to_vec(), 4).reshape([batch, rows, all])
}

#[derive(Debug, Clone)]
struct Rotary(Arc<Angles>);

impl Rotary {
    fn turn(&self, x: Array, turn: Turn) -> Array {
        let Angles { cosines, sines, .. } = &*self.0;
        let (all, width) = (x.shape().as_slice().last().copied().unwrap_or(0), self.0.width());
        x.changed(|x| rotate(x, [all / width, width], cosines, sines, turn)).0
    }
}

impl Operation<1> for Rotary {
    type Kept = ();

    fn forward(&self, [x]: [Array; 1]) -> (Array, Self::Kept) {
        (self.turn(x, Turn::Forth), ())
    }

    fn backward(&self, (): (), gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        [Some(self.turn(gradient, Turn::Back))]
    }
}
