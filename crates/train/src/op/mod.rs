//! Operations whose kernels are our own, as functions of Burn's tensors: differentiable, and for any backend, since where
//! our kernels do not run, Burn's do.

mod join;
pub mod step;

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Int, Tensor, activation as burn_activation, module};
use tersor_kernels::training::activation::Activation;
use tersor_kernels::training::attention::Attention;
use tersor_kernels::training::convolution::Convolution;
use tersor_kernels::training::depthwise::Depthwise;
use tersor_kernels::training::lstm::{Lstm, Trace, Weights};
use tersor_kernels::training::matrix;
use tersor_kernels::training::norm::{self, Channels, Moments};
use tersor_kernels::training::pool::Pool;
use tersor_kernels::training::softmax;
use tersor_kernels::window::{Padding, Window};

use join::{Array, Operation, apply, input, serves};

/// y = f(x), number by number; in the place of x where nobody else needs it.
pub fn activation<const D: usize>(kind: Activation, x: Tensor<D>) -> Tensor<D> {
    let tracked = x.is_autodiff();
    if serves(&x, tracked) {
        // Moved, so that nobody else holds it.
        return apply(kind, [input(x, tracked)], tracked).map(Tensor::from_dispatch).expect("it serves");
    }
    match kind {
        Activation::Relu => burn_activation::relu(x),
        Activation::Gelu => burn_activation::gelu(x),
        Activation::Silu => burn_activation::silu(x),
        Activation::Sigmoid => burn_activation::sigmoid(x),
        Activation::Tanh => burn_activation::tanh(x),
    }
}

/// max(x, 0).
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation(Activation::Relu, x)
}

impl Operation<1> for Activation {
    type Kept = Array;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Array) {
        if self.keeps_output() {
            let y = self.infer([x]);
            (y.clone(), y)
        } else {
            (self.infer([x.clone()]), x)
        }
    }

    fn infer(&self, [x]: [Array; 1]) -> Array {
        x.changed(|x| Activation::forward(*self, x)).0
    }

    fn backward(&self, kept: Array, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        [Some(gradient.changed(|d| Activation::backward(*self, kept.values(), d)).0)]
    }
}

/// How a convolution looks at its input: rows, then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Distance between neighbouring outputs.
    pub stride: [usize; 2],
    /// Zeros on both sides.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

impl Look {
    fn window(&self, axis: usize, input: usize, kernel: usize) -> Option<Window> {
        let padding = Padding::Explicit { before: self.padding[axis], after: self.padding[axis] };
        Window::new(input, kernel, self.stride[axis], self.dilation[axis], padding)
    }
}

/// y = x ∗ w + b: `x` `[images, channels, height, width]`, `weights` `[out, channels / groups, rows, columns]`, `bias`
/// `[out]`.
///
/// # Panics
/// If shapes do not fit each other, as Burn's own convolution.
pub fn convolution(x: Tensor<4>, weights: Tensor<4>, bias: Option<Tensor<1>>, look: Look) -> Tensor<4> {
    let [images, in_channels, height, width] = x.dims();
    let [out_channels, in_group, kernel_rows, kernel_columns] = weights.dims();
    assert!(
        in_group * look.groups == in_channels && out_channels.is_multiple_of(look.groups),
        "convolution: weights {:?} in {} groups do not fit an input of {in_channels} channels",
        weights.dims(),
        look.groups
    );
    let windows = look.window(0, height, kernel_rows).zip(look.window(1, width, kernel_columns));
    if let Some((rows, columns)) = windows {
        let shape = Convolution { images, in_channels, out_channels, groups: look.groups, rows, columns };
        let tracked = x.is_autodiff() || weights.is_autodiff() || bias.as_ref().is_some_and(Tensor::is_autodiff);
        let (x, weights) = (input(x.clone(), tracked), input(weights.clone(), tracked));
        let done = match bias.clone() {
            Some(bias) => apply(Convolved(shape), [x, weights, input(bias, tracked)], tracked),
            None => apply(Convolved(shape), [x, weights], tracked),
        };
        if let Some(y) = done {
            return Tensor::from_dispatch(y);
        }
    }
    let Look { stride, padding, dilation, groups } = look;
    module::conv2d(x, weights, bias, ConvOptions::new(stride, padding, dilation, groups))
}

#[derive(Debug, Clone, Copy)]
struct Convolved(Convolution);

impl Convolved {
    fn depthwise(&self) -> Option<Depthwise> {
        let Convolution { in_channels, out_channels, groups, rows, columns, .. } = self.0;
        let alone = groups == in_channels && groups > 1;
        alone.then(|| Depthwise { channels: groups, multiplier: out_channels / groups, rows, columns })
    }

    fn output(&self, x: &Array, weights: &Array, bias: &[f32]) -> Array {
        let shape = &self.0;
        let mut y = vec![0.0; shape.output_len()];
        match self.depthwise() {
            Some(depthwise) => depthwise.forward(x.values(), weights.values(), bias, &mut y),
            None => shape.forward(x.values(), weights.values(), bias, &mut y),
        }
        Array::new(y, [shape.images, shape.out_channels, shape.rows.output, shape.columns.output])
    }

    fn gradients(&self, (x, weights): (Array, Array), gradient: &[f32], wanted: [bool; 2]) -> [Option<Array>; 2] {
        let depthwise = self.depthwise();
        let of_input = wanted[0].then(|| {
            let mut d = vec![0.0; self.0.input_len()];
            match &depthwise {
                Some(depthwise) => depthwise.backward_input(gradient, weights.values(), &mut d),
                None => self.0.backward_input(gradient, weights.values(), &mut d),
            }
            d.into()
        });
        let of_weights = wanted[1].then(|| {
            let mut d = vec![0.0; self.0.weights_len()];
            match &depthwise {
                Some(depthwise) => depthwise.backward_weights(x.values(), gradient, &mut d),
                None => self.0.backward_weights(x.values(), gradient, &mut d),
            }
            d.into()
        });
        [of_input, of_weights]
    }
}

impl Operation<2> for Convolved {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights]: [Array; 2]) -> (Array, Self::Kept) {
        (self.output(&x, &weights, &[]), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 2]) -> [Option<Array>; 2] {
        self.gradients(kept, gradient.values(), wanted)
    }
}

impl Operation<3> for Convolved {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights, bias]: [Array; 3]) -> (Array, Self::Kept) {
        (self.output(&x, &weights, bias.values()), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
        let [of_input, of_weights] = self.gradients(kept, gradient.values(), [wanted[0], wanted[1]]);
        let of_bias = wanted[2].then(|| {
            let mut d = vec![0.0; self.0.out_channels];
            self.0.backward_bias(gradient.values(), &mut d);
            d.into()
        });
        [of_input, of_weights, of_bias]
    }
}

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

/// y = x w + b along the last axis: `weights` `[inputs, outputs]`, `bias` `[outputs]`.
pub fn linear<const D: usize>(x: Tensor<D>, weights: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [inputs, outputs] = weights.dims();
    assert_eq!(x.dims()[D - 1], inputs, "linear: weights {:?} do not fit an input of {:?}", weights.dims(), x.dims());
    let tracked = x.is_autodiff() || weights.is_autodiff() || bias.as_ref().is_some_and(Tensor::is_autodiff);
    let (from, w) = (input(x.clone(), tracked), input(weights.clone(), tracked));
    let done = match bias.clone() {
        Some(bias) => apply(Linear { inputs, outputs }, [from, w, input(bias, tracked)], tracked),
        None => apply(Linear { inputs, outputs }, [from, w], tracked),
    };
    done.map_or_else(|| module::linear(x, weights, bias), Tensor::from_dispatch)
}

#[derive(Debug, Clone, Copy)]
struct Linear {
    inputs: usize,
    outputs: usize,
}

impl Linear {
    fn output(&self, x: &Array, weights: &Array, bias: &[f32]) -> Array {
        let mut shape = x.shape().clone();
        let last = shape.num_dims() - 1;
        shape[last] = self.outputs;
        let mut y = vec![0.0; shape.num_elements()];
        matrix::linear(x.values(), weights.values(), bias, (self.inputs, self.outputs), &mut y);
        Array::new(y, shape)
    }

    fn gradients(&self, (x, weights): (Array, Array), gradient: &[f32], wanted: [bool; 2]) -> [Option<Array>; 2] {
        let sizes = (self.inputs, self.outputs);
        let of_input = wanted[0].then(|| {
            let mut d = vec![0.0; x.values().len()];
            matrix::linear_backward_input(gradient, weights.values(), sizes, &mut d);
            d.into()
        });
        let of_weights = wanted[1].then(|| {
            let mut d = vec![0.0; self.inputs * self.outputs];
            matrix::linear_backward_weights(x.values(), gradient, sizes, &mut d);
            d.into()
        });
        [of_input, of_weights]
    }
}

impl Operation<2> for Linear {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights]: [Array; 2]) -> (Array, Self::Kept) {
        (self.output(&x, &weights, &[]), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 2]) -> [Option<Array>; 2] {
        self.gradients(kept, gradient.values(), wanted)
    }
}

impl Operation<3> for Linear {
    type Kept = (Array, Array);

    fn forward(&self, [x, weights, bias]: [Array; 3]) -> (Array, Self::Kept) {
        (self.output(&x, &weights, bias.values()), (x, weights))
    }

    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
        let [of_input, of_weights] = self.gradients(kept, gradient.values(), [wanted[0], wanted[1]]);
        let of_bias = wanted[2].then(|| {
            let mut d = vec![0.0; self.outputs];
            matrix::sum_of_rows(gradient.values(), &mut d);
            d.into()
        });
        [of_input, of_weights, of_bias]
    }
}

/// Layer norm along the last axis: γ (x - mean) / √(variance + ε) + β.
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let tracked = x.is_autodiff() || gamma.is_autodiff() || beta.is_autodiff();
    let inputs = [input(x.clone(), tracked), input(gamma.clone(), tracked), input(beta.clone(), tracked)];
    if let Some(y) = apply(LayerNorm { epsilon }, inputs, tracked) {
        return Tensor::from_dispatch(y);
    }
    let mean = x.clone().mean_dim(D - 1);
    let apart = x - mean;
    let variance = apart.clone().powi_scalar(2).mean_dim(D - 1);
    apart / (variance + epsilon).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}

#[derive(Debug, Clone, Copy)]
struct LayerNorm {
    epsilon: f32,
}

impl Operation<3> for LayerNorm {
    type Kept = (Array, Array, Moments);

    fn forward(&self, [x, gamma, beta]: [Array; 3]) -> (Array, Self::Kept) {
        let mut y = vec![0.0; x.values().len()];
        let at = norm::layer_norm(x.values(), gamma.values(), beta.values(), self.epsilon, &mut y);
        (Array::new(y, x.shape().clone()), (x, gamma, at))
    }

    fn backward(&self, (x, gamma, at): Self::Kept, gradient: Array, _: [bool; 3]) -> [Option<Array>; 3] {
        let (d, (of_gamma, of_beta)) =
            gradient.changed(|d| norm::layer_norm_backward(x.values(), gamma.values(), &at, d));
        [Some(d), Some(of_gamma.into()), Some(of_beta.into())]
    }
}

/// Group norm of `[images, channels, height, width]`; `gamma`, `beta`: `[channels]`.
///
/// # Panics
/// If the groups do not divide the channels.
pub fn group_norm(x: Tensor<4>, groups: usize, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<4> {
    normed(x, (groups, epsilon, false), (gamma, beta), None)
}

/// max(group norm + `passed`, 0): the end of a residual block, in one pass over memory; see [`group_norm`].
///
/// # Panics
/// If the groups do not divide the channels, or what passed has another shape.
pub fn group_norm_relu(
    x: Tensor<4>,
    groups: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
    passed: Option<Tensor<4>>,
) -> Tensor<4> {
    if let Some(passed) = &passed {
        assert_eq!(passed.dims(), x.dims(), "group norm: what passed has another shape");
    }
    normed(x, (groups, epsilon, true), (gamma, beta), passed)
}

fn normed(
    x: Tensor<4>,
    (groups, epsilon, relu): (usize, f32, bool),
    (gamma, beta): (Tensor<1>, Tensor<1>),
    passed: Option<Tensor<4>>,
) -> Tensor<4> {
    let [images, channels, height, width] = x.dims();
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "group norm: {groups} groups do not divide {channels} channels"
    );
    let tracked = [x.is_autodiff(), gamma.is_autodiff(), beta.is_autodiff()].contains(&true)
        || passed.as_ref().is_some_and(Tensor::is_autodiff);
    let operation = norm::GroupNorm { of: Channels { channels, plane: height * width }, groups, epsilon, relu };
    let serves = serves(&x, tracked)
        && [&gamma, &beta].into_iter().all(|tensor| serves(tensor, tracked))
        && passed.as_ref().is_none_or(|passed| serves(passed, tracked));
    if serves {
        let inputs = [input(x, tracked), input(gamma, tracked), input(beta, tracked)];
        let done = match passed {
            Some(passed) => {
                let [x, gamma, beta] = inputs;
                apply(operation, [x, gamma, beta, input(passed, tracked)], tracked)
            }
            None => apply(operation, inputs, tracked),
        };
        return done.map(Tensor::from_dispatch).expect("it serves");
    }
    let x = x.reshape([images, groups, channels / groups * height * width]);
    let apart = x.clone() - x.mean_dim(2);
    let variance = apart.clone().powi_scalar(2).mean_dim(2);
    let normal = (apart / (variance + epsilon).sqrt()).reshape([images, channels, height, width]);
    let y = normal * gamma.reshape([1, channels, 1, 1]) + beta.reshape([1, channels, 1, 1]);
    let y = match passed {
        Some(passed) => y + passed,
        None => y,
    };
    if relu { burn_activation::relu(y) } else { y }
}

/// What [`norm::GroupNorm`] needs on the way back: x, γ, the moments, and with ReLU y.
type Normed = (Array, Array, Moments, Option<Array>);

fn normed_forward(of: &norm::GroupNorm, x: Array, affine: [&Array; 2], passed: &[f32]) -> (Array, Moments) {
    let [gamma, beta] = affine.map(Array::values);
    x.changed(|x| of.forward(x, (gamma, beta), passed))
}

fn normed_backward(
    of: &norm::GroupNorm,
    (x, gamma, at, y): Normed,
    gradient: Array,
    passed: &mut [f32],
) -> [Option<Array>; 3] {
    let y = y.as_ref().map_or(&[][..], Array::values);
    let (d, (of_gamma, of_beta)) = gradient.changed(|d| of.backward(x.values(), gamma.values(), &at, y, d, passed));
    [Some(d), Some(of_gamma.into()), Some(of_beta.into())]
}

impl Operation<3> for norm::GroupNorm {
    type Kept = Normed;

    fn forward(&self, [x, gamma, beta]: [Array; 3]) -> (Array, Normed) {
        let (y, at) = normed_forward(self, x.clone(), [&gamma, &beta], &[]);
        (y.clone(), (x, gamma, at, self.relu.then_some(y)))
    }

    fn infer(&self, [x, gamma, beta]: [Array; 3]) -> Array {
        normed_forward(self, x, [&gamma, &beta], &[]).0
    }

    fn backward(&self, kept: Normed, gradient: Array, _: [bool; 3]) -> [Option<Array>; 3] {
        normed_backward(self, kept, gradient, &mut [])
    }
}

impl Operation<4> for norm::GroupNorm {
    type Kept = Normed;

    fn forward(&self, [x, gamma, beta, passed]: [Array; 4]) -> (Array, Normed) {
        let (y, at) = normed_forward(self, x.clone(), [&gamma, &beta], passed.values());
        (y.clone(), (x, gamma, at, self.relu.then_some(y)))
    }

    fn infer(&self, [x, gamma, beta, passed]: [Array; 4]) -> Array {
        normed_forward(self, x, [&gamma, &beta], passed.values()).0
    }

    fn backward(&self, kept: Normed, gradient: Array, _: [bool; 4]) -> [Option<Array>; 4] {
        let mut of_passed = vec![0.0; gradient.values().len()];
        let [x, gamma, beta] = normed_backward(self, kept, gradient, &mut of_passed);
        [x, gamma, beta, Some(of_passed.into())]
    }
}

/// The mean over rows of -ln softmax(x) at the row's label: `x` `[rows, classes]`, `labels` `[rows]`.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn cross_entropy(x: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [rows, classes] = x.dims();
    assert!(rows == labels.len() && rows > 0, "cross entropy: {} labels for {rows} rows", labels.len());
    assert!(labels.iter().all(|&label| (label as usize) < classes), "cross entropy: a label is not below {classes}");
    let tracked = x.is_autodiff();
    let operation = CrossEntropy { labels: labels.into() };
    if let Some(loss) = apply(operation, [input(x.clone(), tracked)], tracked) {
        return Tensor::from_dispatch(loss);
    }
    let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &x.device().inner());
    -burn_activation::log_softmax(x, 1).gather(1, labels.unsqueeze_dim(1)).mean()
}

#[derive(Debug, Clone)]
struct CrossEntropy {
    labels: std::sync::Arc<[u32]>,
}

impl Operation<1> for CrossEntropy {
    type Kept = Vec<f32>;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Vec<f32>) {
        let mut gradient = vec![0.0; x.values().len()];
        let loss = softmax::cross_entropy(x.values(), &self.labels, x.shape()[1], &mut gradient);
        (Array::new(vec![loss], [1]), gradient)
    }

    fn backward(&self, mut kept: Vec<f32>, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let gradient = gradient.values()[0];
        if gradient != 1.0 {
            kept.iter_mut().for_each(|d| *d *= gradient);
        }
        [Some(kept.into())]
    }
}

/// Self-attention of many heads: `qkv` `[batch, length, 3 · heads · width]` to `[batch, length, heads · width]`.
///
/// # Panics
/// If 3 · `heads` does not divide the last axis.
pub fn attention(qkv: Tensor<3>, heads: usize, causal: bool) -> Tensor<3> {
    let [batch, length, all] = qkv.dims();
    assert!(heads > 0 && all.is_multiple_of(3 * heads), "attention: 3 x {heads} heads do not divide {all}");
    let width = all / (3 * heads);
    let tracked = qkv.is_autodiff();
    let shape = Attention { batch, length, heads, width, causal };
    if let Some(output) = apply(Attended(shape), [input(qkv.clone(), tracked)], tracked) {
        return Tensor::from_dispatch(output);
    }
    let part = |at: usize| {
        qkv.clone().narrow(2, at * heads * width, heads * width).reshape([batch, length, heads, width]).swap_dims(1, 2)
    };
    let scores = part(0).matmul(part(1).transpose()) / (width as f32).sqrt();
    let scores = if causal {
        let unseen = Tensor::<2, burn::tensor::Bool>::tril_mask([length, length], 0, &scores.device().inner());
        scores.mask_fill(unseen.unsqueeze(), f32::NEG_INFINITY)
    } else {
        scores
    };
    burn_activation::softmax(scores, 3).matmul(part(2)).swap_dims(1, 2).reshape([batch, length, heads * width])
}

#[derive(Debug, Clone, Copy)]
struct Attended(Attention);

impl Operation<1> for Attended {
    type Kept = (Array, Array, Vec<f32>);

    fn forward(&self, [qkv]: [Array; 1]) -> (Array, Self::Kept) {
        let Attention { batch, length, heads, width, .. } = self.0;
        let (mut output, mut logarithms) = (vec![0.0; self.0.len()], vec![0.0; batch * heads * length]);
        self.0.forward(qkv.values(), &mut output, &mut logarithms);
        let output = Array::new(output, [batch, length, heads * width]);
        (output.clone(), (qkv, output, logarithms))
    }

    fn backward(&self, (qkv, output, logarithms): Self::Kept, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let mut d = vec![0.0; qkv.values().len()];
        self.0.backward(qkv.values(), output.values(), &logarithms, gradient.values(), &mut d);
        [Some(d.into())]
    }
}

/// A layer of long short-term memory from zeros: `x` `[batch, length, inputs]`, `weights` `[inputs, 4 hidden]`,
/// `recurrent` `[hidden, 4 hidden]`, `bias` `[4 hidden]`, gates in the order i, f, g, o; gives `[batch, length, hidden]`.
///
/// # Panics
/// If shapes do not fit each other.
pub fn lstm(x: Tensor<3>, weights: Tensor<2>, recurrent: Tensor<2>, bias: Tensor<1>) -> Tensor<3> {
    let [batch, length, inputs] = x.dims();
    let [hidden, wide] = recurrent.dims();
    assert!(
        wide == 4 * hidden && weights.dims() == [inputs, wide] && bias.dims() == [wide],
        "lstm: weights {:?}, {:?} and {:?} do not fit an input of {:?}",
        weights.dims(),
        recurrent.dims(),
        bias.dims(),
        x.dims()
    );
    let shape = Lstm { batch, length, inputs, hidden };
    let tracked = x.is_autodiff() || weights.is_autodiff() || recurrent.is_autodiff() || bias.is_autodiff();
    let operands = [
        input(x.clone(), tracked),
        input(weights.clone(), tracked),
        input(recurrent.clone(), tracked),
        input(bias.clone(), tracked),
    ];
    match apply(Remembered(shape), operands, tracked) {
        Some(h) => Tensor::from_dispatch(h),
        None => lstm_of_burn(x, weights, recurrent, bias),
    }
}

/// [`lstm`] in Burn's operations.
pub fn lstm_of_burn(x: Tensor<3>, weights: Tensor<2>, recurrent: Tensor<2>, bias: Tensor<1>) -> Tensor<3> {
    let [batch, length, _] = x.dims();
    let [hidden, wide] = recurrent.dims();
    let z = module::linear(x, weights, Some(bias));
    let (mut h, mut c): (Option<Tensor<2>>, Option<Tensor<2>>) = (None, None);
    let mut all = Vec::new();
    for t in 0..length {
        let z = z.clone().narrow(1, t, 1).reshape([batch, wide]);
        let z = match &h {
            Some(h) => z + h.clone().matmul(recurrent.clone()),
            None => z,
        };
        let gate = |at: usize| z.clone().narrow(1, at * hidden, hidden);
        let new = burn_activation::sigmoid(gate(0)) * gate(2).tanh();
        let cell = match c {
            Some(c) => burn_activation::sigmoid(gate(1)) * c + new,
            None => new,
        };
        let output = burn_activation::sigmoid(gate(3)) * cell.clone().tanh();
        all.push(output.clone().unsqueeze_dim::<3>(1));
        (h, c) = (Some(output), Some(cell));
    }
    Tensor::cat(all, 1)
}

#[derive(Debug, Clone, Copy)]
struct Remembered(Lstm);

impl Operation<4> for Remembered {
    type Kept = ([Array; 4], Array, std::sync::Arc<Trace>);

    fn forward(&self, operands: [Array; 4]) -> (Array, Self::Kept) {
        let Lstm { batch, length, hidden, .. } = self.0;
        let mut h = vec![0.0; batch * length * hidden];
        let [x, input, recurrent, bias] = operands.each_ref().map(Array::values);
        let trace = self.0.forward(x, Weights { input, recurrent, bias }, &mut h);
        let h = Array::new(h, [batch, length, hidden]);
        (h.clone(), (operands, h, trace.into()))
    }

    fn backward(&self, (operands, h, trace): Self::Kept, gradient: Array, _: [bool; 4]) -> [Option<Array>; 4] {
        let [x, input, recurrent, bias] = operands.each_ref().map(Array::values);
        let d = self.0.backward(x, Weights { input, recurrent, bias }, h.values(), &trace, gradient.values());
        [d.input, d.weights, d.recurrent, d.bias].map(|d| Some(d.into()))
    }
}
