//! The largest and the mean of windows.

use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};
use tersor_kernels::training::pool::Pool;

use super::convolution::Look;
use super::join::{Array, Operation, apply, input};

/// The largest of each window of `[images, channels, height, width]`.
pub fn max_pool(x: Tensor<4>, kernel: [usize; 2], look: Look) -> Tensor<4> {
    let tracked = x.is_autodiff();
    let pooled =
        Pooled::of(&x, kernel, &look).and_then(|pooled| apply(Largest(pooled), [input(x.clone(), tracked)], tracked));
    match pooled {
        Some(y) => Tensor::from_dispatch(y),
        None => module::max_pool2d(x, largest_by_burn(kernel, &look)),
    }
}

/// The mean of each window of `[images, channels, height, width]`; padding counts as zeros.
pub fn mean_pool(x: Tensor<4>, kernel: [usize; 2], look: Look) -> Tensor<4> {
    let tracked = x.is_autodiff();
    let pooled =
        Pooled::of(&x, kernel, &look).and_then(|pooled| apply(Mean(pooled), [input(x.clone(), tracked)], tracked));
    match pooled {
        Some(y) => Tensor::from_dispatch(y),
        None => module::avg_pool2d(x, mean_by_burn(kernel, &look)),
    }
}

fn largest_by_burn(kernel: [usize; 2], look: &Look) -> MaxPoolOptions<2> {
    let options = MaxPoolOptions::new(kernel).with_stride(look.stride);
    options.with_padding(look.padding).with_dilation(look.dilation)
}

fn mean_by_burn(kernel: [usize; 2], look: &Look) -> AvgPoolOptions<2> {
    AvgPoolOptions::new(kernel).with_stride(look.stride).with_padding(look.padding).with_count_include_pad(true)
}

#[derive(Debug, Clone, Copy)]
struct Pooled {
    pool: Pool,
    images: usize,
    channels: usize,
}

impl Pooled {
    fn of(x: &Tensor<4>, kernel: [usize; 2], look: &Look) -> Option<Self> {
        let [images, channels, height, width] = x.dims();
        let (rows, columns) = look.window(0, height, kernel[0]).zip(look.window(1, width, kernel[1]))?;
        Some(Self { pool: Pool { rows, columns }, images, channels })
    }

    fn output(&self) -> [usize; 4] {
        [self.images, self.channels, self.pool.rows.output, self.pool.columns.output]
    }

    fn input_len(&self) -> usize {
        self.images * self.channels * self.pool.rows.input * self.pool.columns.input
    }
}

#[derive(Debug, Clone, Copy)]
struct Largest(Pooled);

impl Operation<1> for Largest {
    type Kept = Vec<u32>;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Vec<u32>) {
        let count = self.0.output().iter().product();
        let (mut y, mut from) = (vec![0.0; count], vec![0; count]);
        self.0.pool.largest(x.values(), &mut y, &mut from);
        (Array::new(y, self.0.output()), from)
    }

    fn backward(&self, from: Vec<u32>, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let mut d = vec![0.0; self.0.input_len()];
        self.0.pool.largest_backward(&from, gradient.values(), &mut d);
        [Some(d.into())]
    }
}

#[derive(Debug, Clone, Copy)]
struct Mean(Pooled);

impl Operation<1> for Mean {
    type Kept = ();

    fn forward(&self, [x]: [Array; 1]) -> (Array, ()) {
        let mut y = vec![0.0; self.0.output().iter().product()];
        self.0.pool.mean(x.values(), true, &mut y);
        (Array::new(y, self.0.output()), ())
    }

    fn backward(&self, (): (), gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let mut d = vec![0.0; self.0.input_len()];
        self.0.pool.mean_backward(gradient.values(), true, &mut d);
        [Some(d.into())]
    }
}
