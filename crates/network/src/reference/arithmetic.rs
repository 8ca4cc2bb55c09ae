//! Operators that compute: each from the quantisation of its tensors to a kernel over slices.
//!
//! An operator is here in int8 and in f32; the formulas are those of `tersor_kernels::int8` and `tersor_kernels::float`.

use std::sync::Arc;

use tersor_data::ElementType::{F16, F32, I8, I16, I32, U8};
use tersor_data::Elements;
use tersor_kernels::float;
use tersor_kernels::int8::{
    self, Activation, Affine, Binary, FloatSum, HardSwish, Interpolation, LeakyRelu, Mean, Multiplier, Prelu, Range,
    Requantization, Rescale, Softmax, Table,
};
use tersor_kernels::layout::{self, Broadcast};
use tersor_kernels::window::{Padding, Window};

use super::{Kernel, Site, affine, one_type};
use crate::graph::Tensor;
use crate::operator::{Operator, Pool};
use crate::shape;

/// What a multiplier that has no fixed-point form means to the user.
const NO_MULTIPLIER: &str = "the scales of its tensors have a ratio that fixed point cannot express";

/// Scales of a pooling's input and output that differ by less than this are one scale (TensorFlow Lite's bound).
const SAME_SCALE: f64 = 1e-6;

/// The kernel of an operator that computes.
pub(super) fn kernel(site: &Site, operator: &Operator) -> Result<Kernel, String> {
    match operator {
        Operator::Conv2d { .. } | Operator::DepthwiseConv2d { .. } => convolution(site, operator),
        Operator::FullyConnected { activation, .. } => fully_connected(site, *activation),
        Operator::Add { activation } | Operator::Sub { activation } | Operator::Mul { activation } => {
            binary(site, operator, *activation)
        }
        Operator::Maximum => extremum(site, true),
        Operator::Minimum => extremum(site, false),
        Operator::Prelu => prelu(site),
        Operator::AveragePool2d(pool) => pooling(site, pool, false),
        Operator::MaxPool2d(pool) => pooling(site, pool, true),
        Operator::Mean { .. } => mean(site),
        Operator::Softmax { beta } => softmax(site, *beta),
        Operator::Logistic => table(site, Table::logistic, [1.0 / 256.0, -128.0], float::logistic),
        Operator::Tanh => table(site, Table::tanh, [1.0 / 128.0, 0.0], f32::tanh),
        Operator::Relu => rectifier(site, Activation::Relu),
        Operator::Relu6 => rectifier(site, Activation::Relu6),
        Operator::ReluN1To1 => rectifier(site, Activation::ReluN1To1),
        Operator::LeakyRelu { alpha } => leaky_relu(site, *alpha),
        Operator::HardSwish => hard_swish(site),
        Operator::ResizeBilinear { align_corners, half_pixel_centers } => {
            resize_bilinear(site, *align_corners, *half_pixel_centers)
        }
        Operator::Quantize => quantize(site),
        Operator::Dequantize => dequantize(site),
        other => Err(format!("{} does not compute", other.name())),
    }
}

/// Runs `f` on the int8 elements of the first operand and of the output.
fn int8_kernel(f: impl Fn(&[i8], &mut [i8]) + Send + Sync + 'static) -> Kernel {
    Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| match (inputs[0], &mut outputs[0]) {
        (Elements::I8(x), Elements::I8(y)) => {
            f(x, y);
            Ok(())
        }
        _ => Err("its tensors are not int8".into()),
    })
}

/// Runs `f` on the int8 elements of two operands and of the output.
fn int8_pair_kernel(f: impl Fn(&[i8], &[i8], &mut [i8]) + Send + Sync + 'static) -> Kernel {
    Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| match (inputs[0], inputs[1], &mut outputs[0]) {
        (Elements::I8(a), Elements::I8(b), Elements::I8(y)) => {
            f(a, b, y);
            Ok(())
        }
        _ => Err("its tensors are not int8".into()),
    })
}

/// Runs `f` on the f32 elements of the first operand and of the output.
fn float_kernel(f: impl Fn(&[f32], &mut [f32]) + Send + Sync + 'static) -> Kernel {
    Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| match (inputs[0], &mut outputs[0]) {
        (Elements::F32(x), Elements::F32(y)) => {
            f(x, y);
            Ok(())
        }
        _ => Err("its tensors are not float32".into()),
    })
}

/// Runs `f` on every f32 element.
fn float_map(f: impl Fn(f32) -> f32 + Send + Sync + 'static) -> Kernel {
    float_kernel(move |x, y| x.iter().zip(y).for_each(|(&x, y)| *y = f(x)))
}

/// `y[i] = f(a[i], b[i])` in f32, broadcast.
fn float_pair(broadcast: Broadcast, f: impl Fn(f32, f32) -> f32 + Send + Sync + 'static) -> Kernel {
    Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| match (inputs[0], inputs[1], &mut outputs[0]) {
        (Elements::F32(a), Elements::F32(b), Elements::F32(y)) => {
            broadcast.apply(a, b, y, |&a, &b| f(a, b));
            Ok(())
        }
        _ => Err("its tensors are not float32".into()),
    })
}

/// The constant weights and bias of a convolution or matrix product, operands 1 and 2.
fn int8_weights(site: &Site) -> Result<(Vec<i8>, Vec<i32>), String> {
    let computed = "its weights are computed at run time; only constant ones are supported";
    let weights = match site.constant(1).ok_or(computed)? {
        Elements::I8(w) => w.clone(),
        other => return Err(format!("weights of type {} are not supported; supported: int8", other.element_type())),
    };
    let bias = match (site.input(2), site.constant(2)) {
        (Err(_), _) => Vec::new(),
        (Ok(_), Some(Elements::I32(b))) => b.clone(),
        (Ok(b), Some(_)) => return Err(format!("a bias of type {} is not supported; supported: int32", b.kind)),
        (Ok(_), None) => return Err("its bias is computed at run time; only a constant one is supported".into()),
    };
    Ok((weights, bias))
}

/// As [`int8_weights`], in f32.
fn float_weights(site: &Site) -> Result<(Vec<f32>, Vec<f32>), String> {
    let constant = |i: usize| match site.constant(i) {
        Some(Elements::F32(v)) => Ok(v.clone()),
        Some(other) => Err(format!("weights of type {} are not supported; supported: float32", other.element_type())),
        None => Err("its weights are computed at run time; only constant ones are supported".to_string()),
    };
    Ok((constant(1)?, if site.input(2).is_ok() { constant(2)? } else { Vec::new() }))
}

fn check_bias(bias: usize, outputs: usize) -> Result<(), String> {
    if bias == 0 || bias == outputs { Ok(()) } else { Err(format!("{bias} bias values for {outputs} outputs")) }
}

/// Multipliers of the output channels: s_x s_w[c] / s_y.
fn requantization(site: &Site, x: Affine, y: Affine, channels: usize) -> Result<Requantization, String> {
    let weights = site.input(1)?;
    let q = weights.quantization.as_ref().ok_or("its weights have no scale")?;
    if q.zero_point.iter().any(|&z| z != 0) {
        return Err("weights with a zero point other than 0 are not supported".into());
    }
    let scales: Vec<f64> = match q.scale.len() {
        1 => vec![q.scale[0]; channels],
        n if n == channels => q.scale.clone(),
        n => return Err(format!("{n} weight scales for {channels} output channels")),
    };
    if scales.iter().any(|s| !s.is_finite() || *s < 0.0) {
        return Err("a weight scale is no positive number".into());
    }
    if site.float_arithmetic() {
        return Ok(Requantization::Float(scales.iter().map(|s| (x.scale * s / y.scale) as f32).collect()));
    }
    let multipliers = scales.iter().map(|s| Multiplier::new(x.scale * s / y.scale)).collect::<Option<_>>();
    Ok(Requantization::FixedPoint(multipliers.ok_or(NO_MULTIPLIER)?, site.options.rounding))
}

/// The kernel's size, and the windows along rows and columns, of a convolution whose input has shape `shape`.
struct Windows {
    vertical: Window,
    horizontal: Window,
    activation: Activation,
    depthwise: bool,
}

/// `around`: what stands before and after rows and columns, if the convolution pads for a PAD before it.
fn windows(site: &Site, operator: &Operator, around: Option<[[usize; 2]; 2]>) -> Result<Windows, String> {
    let (stride, dilation, padding, activation, depthwise) = match *operator {
        Operator::Conv2d { stride, dilation, padding, activation } => (stride, dilation, padding, activation, false),
        Operator::DepthwiseConv2d { stride, dilation, padding, activation } => {
            (stride, dilation, padding, activation, true)
        }
        _ => return Err("not a convolution".into()),
    };
    let kernel = match site.input(1)?.shape.as_slice() {
        &[_, kh, kw, _] => [kh, kw],
        other => return Err(format!("weights of shape {other:?} have no kernel")),
    };
    let mut shape = site.input(0)?.shape.clone();
    let mut padding = padding;
    if let Some(around) = around {
        for (axis, [before, after]) in around.into_iter().enumerate() {
            shape[axis + 1] -= before + after;
            padding[axis] = Padding::Explicit { before, after };
        }
    }
    let [vertical, horizontal] = shape::windows(&shape, kernel, stride, dilation, padding)?;
    Ok(Windows { vertical, horizontal, activation, depthwise })
}

/// CONV_2D or DEPTHWISE_CONV_2D in int8; `around` as in [`windows`].
pub(crate) fn int8_convolution(
    site: &Site,
    operator: &Operator,
    around: Option<[[usize; 2]; 2]>,
) -> Result<int8::Convolution, String> {
    let Windows { vertical, horizontal, activation, .. } = windows(site, operator, around)?;
    let (input, output) = (site.input(0)?, site.output(0)?);
    let in_channels = shape::image(&input.shape)?[3];
    let out_channels = shape::image(&output.shape)?[3];
    let (x, y) = (affine(input)?, affine(output)?);
    let (weights, bias) = int8_weights(site)?;
    check_bias(bias.len(), out_channels)?;
    Ok(int8::Convolution {
        vertical,
        horizontal,
        in_channels,
        out_channels,
        weights,
        bias,
        input_zero: x.zero_point,
        requantization: requantization(site, x, y, out_channels)?,
        output_zero: y.zero_point,
        range: Range::of(activation, y),
    })
}

fn convolution(site: &Site, operator: &Operator) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let Windows { vertical, horizontal, activation, depthwise } = windows(site, operator, None)?;
    if one_type(&[input, output], &[I8, F32])? == I8 {
        let c = int8_convolution(site, operator, None)?;
        let f = if depthwise { int8::depthwise_conv2d } else { int8::conv2d };
        return Ok(int8_kernel(move |x, y| f(&c, x, y)));
    }
    let in_channels = shape::image(&input.shape)?[3];
    let out_channels = shape::image(&output.shape)?[3];
    let (weights, bias) = float_weights(site)?;
    check_bias(bias.len(), out_channels)?;
    let bounds = activation.bounds();
    let c = float::Convolution { vertical, horizontal, in_channels, out_channels, weights, bias, bounds };
    let f = if depthwise { float::depthwise_conv2d } else { float::conv2d };
    Ok(float_kernel(move |x, y| f(&c, x, y)))
}

/// FULLY_CONNECTED in int8: a 1x1 convolution over rows, and the zero point of the weights.
pub(crate) fn int8_matrix(site: &Site, activation: Activation) -> Result<(int8::Convolution, i32), String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let &[outputs, inputs] = site.input(1)?.shape.as_slice() else { return Err("its weights are no matrix".into()) };
    let (x, y) = (affine(input)?, affine(output)?);
    let (weights, bias) = int8_weights(site)?;
    check_bias(bias.len(), outputs)?;
    let q = site.input(1)?.quantization.as_ref().ok_or("its weights have no scale")?;
    let (requantization, weight_zero) = match q.affine() {
        Some(w) if !site.float_arithmetic() => {
            let multiplier = Multiplier::new(x.scale * w.scale / y.scale).ok_or(NO_MULTIPLIER)?;
            let zero = affine(site.input(1)?)?.zero_point;
            (Requantization::FixedPoint(vec![multiplier; outputs], site.options.rounding), zero)
        }
        _ => (requantization(site, x, y, outputs)?, 0),
    };
    let window = |n| Window::new(n, 1, 1, 1, Padding::Valid).ok_or("it multiplies nothing");
    let c = int8::Convolution {
        vertical: window(1)?,
        horizontal: window(input.len() / inputs.max(1))?,
        in_channels: inputs,
        out_channels: outputs,
        weights,
        bias,
        input_zero: x.zero_point,
        requantization,
        output_zero: y.zero_point,
        range: Range::of(activation, y),
    };
    Ok((c, weight_zero))
}

fn fully_connected(site: &Site, activation: Activation) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let &[outputs, _] = site.input(1)?.shape.as_slice() else { return Err("its weights are no matrix".into()) };
    if one_type(&[input, output], &[I8, F32])? == I8 {
        let (c, weight_zero) = int8_matrix(site, activation)?;
        return Ok(int8_kernel(move |x, y| int8::fully_connected(&c, weight_zero, x, y)));
    }
    let (weights, bias) = float_weights(site)?;
    check_bias(bias.len(), outputs)?;
    let bounds = activation.bounds();
    Ok(float_kernel(move |x, y| float::fully_connected(x, &weights, &bias, bounds, y, outputs)))
}

/// ADD, SUB or MUL in int8, of operands quantised as `a` and `b`.
pub(crate) fn int8_pair(
    site: &Site,
    operator: &Operator,
    activation: Activation,
    [a, b]: [Affine; 2],
) -> Result<Binary, String> {
    let y = affine(site.output(0)?)?;
    let formula = match operator {
        Operator::Add { .. } => Binary::sum,
        Operator::Sub { .. } => Binary::difference,
        _ => Binary::product,
    };
    Ok(formula(a, b, y, Range::of(activation, y), site.options.rounding).ok_or(NO_MULTIPLIER)?)
}

fn binary(site: &Site, operator: &Operator, activation: Activation) -> Result<Kernel, String> {
    let (a, b, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let broadcast = shape::broadcast(&a.shape, &b.shape)?;
    if one_type(&[a, b, output], &[I8, F32])? == I8 {
        let (a, b, y) = (affine(a)?, affine(b)?, affine(output)?);
        if site.float_arithmetic() && matches!(operator, Operator::Add { .. }) {
            let sum = FloatSum::new(a, b, y, Range::of(activation, y));
            return Ok(int8_pair_kernel(move |a, b, y| sum.apply(a, b, &broadcast, y)));
        }
        let formula = int8_pair(site, operator, activation, [a, b])?;
        return Ok(int8_pair_kernel(move |a, b, y| formula.apply(a, b, &broadcast, y)));
    }
    let bounds = activation.bounds();
    Ok(match operator {
        Operator::Add { .. } => float_pair(broadcast, move |a, b| float::clamp(a + b, bounds)),
        Operator::Sub { .. } => float_pair(broadcast, move |a, b| float::clamp(a - b, bounds)),
        _ => float_pair(broadcast, move |a, b| float::clamp(a * b, bounds)),
    })
}

/// MAXIMUM and MINIMUM compare values as they are, so all tensors must be quantised alike.
fn extremum(site: &Site, greatest: bool) -> Result<Kernel, String> {
    let (a, b, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let broadcast = shape::broadcast(&a.shape, &b.shape)?;
    match one_type(&[a, b, output], &[I8, F32])? {
        I8 => {
            if affine(a)? != affine(output)? || affine(b)? != affine(output)? {
                return Err("its tensors are quantised differently".into());
            }
            Ok(int8_pair_kernel(move |a, b, y| {
                broadcast.apply(a, b, y, |&a, &b| if greatest { a.max(b) } else { a.min(b) });
            }))
        }
        _ => Ok(float_pair(broadcast, move |a, b| if greatest { a.max(b) } else { a.min(b) })),
    }
}

fn prelu(site: &Site) -> Result<Kernel, String> {
    let (x, alpha, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let broadcast = shape::broadcast(&x.shape, &alpha.shape)?;
    match one_type(&[x, alpha, output], &[I8, F32])? {
        I8 => {
            let prelu = Prelu::new(affine(x)?, affine(alpha)?, affine(output)?, site.options.rounding);
            let prelu = prelu.ok_or(NO_MULTIPLIER)?;
            Ok(int8_pair_kernel(move |x, alpha, y| prelu.apply(x, alpha, &broadcast, y)))
        }
        _ => Ok(float_pair(broadcast, |x, alpha| if x >= 0.0 { x } else { x * alpha })),
    }
}

fn pooling(site: &Site, pool: &Pool, greatest: bool) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let [v, h] = shape::pool_windows(&input.shape, pool)?;
    // A pool has no gaps, so only the first or the last window can miss the image.
    if [&v, &h].iter().any(|w: &&Window| w.taps(0).is_empty() || w.taps(w.output - 1).is_empty()) {
        return Err("a window lies wholly on padding".into());
    }
    let channels = shape::image(&input.shape)?[3];
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            let (x, y) = (affine(input)?, affine(output)?);
            if (x.scale - y.scale).abs() > SAME_SCALE || x.zero_point != y.zero_point {
                return Err("its input and output are quantised differently".into());
            }
            let range = Range::of(pool.activation, y);
            let f = if greatest { int8::max_pool } else { int8::average_pool };
            Ok(int8_kernel(move |x, y| f(&v, &h, channels, range, x, y)))
        }
        _ => {
            let bounds = pool.activation.bounds();
            let f = if greatest { float::max_pool } else { float::average_pool };
            Ok(float_kernel(move |x, y| f(&v, &h, channels, bounds, x, y)))
        }
    }
}

/// MEAN of an int8 image over all its pixels: the channels, and the mean of a channel from the sum of its elements.
/// `None` over other axes.
pub(crate) fn int8_mean_of_pixels(
    site: &Site,
) -> Result<Option<(usize, impl Fn(i64) -> i8 + Send + Sync + 'static)>, String> {
    let input = site.input(0)?;
    let reduced = shape::reduced_axes(&input.shape, site.operand(1)?)?;
    let Some((&false, outer)) = reduced.split_last() else { return Ok(None) };
    let over_pixels = input.shape.iter().zip(outer).all(|(&n, &reduced)| reduced || n == 1);
    let channels = input.shape[outer.len()];
    if !over_pixels || channels == 0 {
        return Ok(None);
    }
    Ok(Some((channels, int8_mean(site, input.len() / channels)?)))
}

/// The mean of `count` elements from their sum.
fn int8_mean(site: &Site, count: usize) -> Result<impl Fn(i64) -> i8 + Send + Sync + 'static, String> {
    let (x, y) = (affine(site.input(0)?)?, affine(site.output(0)?)?);
    let mean = Mean::new(count, x, y, site.options.rounding).ok_or(NO_MULTIPLIER)?;
    let float = site.float_arithmetic();
    if float && x != y {
        return Err("its input and output are quantised differently".into());
    }
    Ok(move |sum| if float { int8::float_mean(sum, count) } else { mean.value(sum) })
}

fn mean(site: &Site) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let reduced = shape::reduced_axes(&input.shape, site.operand(1)?)?;
    let count: usize = input.shape.iter().zip(&reduced).filter(|(_, r)| **r).map(|(n, _)| n).product();
    let to = output_positions(&input.shape, &reduced);
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            let mean = int8_mean(site, count)?;
            Ok(int8_kernel(move |x, y| {
                let mut sums = vec![0i64; y.len()];
                to(&mut |from, to| sums[to] += i64::from(x[from]));
                y.iter_mut().zip(&sums).for_each(|(y, &sum)| *y = mean(sum));
            }))
        }
        _ => Ok(float_kernel(move |x, y| {
            y.fill(0.0);
            to(&mut |from, to| y[to] += x[from]);
            y.iter_mut().for_each(|y| *y /= count as f32);
        })),
    }
}

/// Calls its argument with (position in the input, position in the reduced output) for every element.
fn output_positions(
    shape: &[usize],
    reduced: &[bool],
) -> impl Fn(&mut dyn FnMut(usize, usize)) + Send + Sync + 'static {
    let kept: Vec<usize> = shape.iter().zip(reduced).map(|(&n, &r)| if r { 1 } else { n }).collect();
    let along = layout::strides(&kept);
    let steps: Vec<isize> = along.iter().zip(reduced).map(|(&step, &r)| if r { 0 } else { step as isize }).collect();
    let shape = shape.to_vec();
    move |f| {
        let mut from = 0;
        layout::each_offset(&shape, [0], [&steps], |[to]| {
            f(from, to);
            from += 1;
        });
    }
}

fn softmax(site: &Site, beta: f32) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let depth = *input.shape.last().ok_or("a scalar has no softmax")?;
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            quantised_by(output, [1.0 / 256.0, -128.0])?;
            let scale = affine(input)?.scale;
            let softmax = Softmax::new(beta, scale);
            let softmax = softmax.ok_or_else(|| format!("beta {beta} times the input's scale {scale} is too small"))?;
            Ok(int8_kernel(move |x, y| softmax.apply(depth, x, y)))
        }
        _ => Ok(float_kernel(move |x, y| float::softmax(beta, depth, x, y))),
    }
}

/// The output must be quantised as the operator defines it.
fn quantised_by(output: &Tensor, [scale, zero_point]: [f64; 2]) -> Result<(), String> {
    let q = affine(output)?;
    if q.scale == scale && f64::from(q.zero_point) == zero_point {
        return Ok(());
    }
    Err(format!("its output is quantised by ({}, {}), not ({scale}, {zero_point})", q.scale, q.zero_point))
}

fn table(
    site: &Site,
    table: fn(Affine) -> Table,
    quantised: [f64; 2],
    real: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            quantised_by(output, quantised)?;
            let table = table(affine(input)?);
            Ok(int8_kernel(move |x, y| table.apply(x, y)))
        }
        _ => Ok(float_map(real)),
    }
}

fn rectifier(site: &Site, activation: Activation) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            let (x, y) = (affine(input)?, affine(output)?);
            if activation != Activation::Relu && x != y {
                return Err("its input and output are quantised differently".into());
            }
            let rescale = Rescale::new(x, y, site.options.rounding).ok_or(NO_MULTIPLIER)?;
            let range = Range::of(activation, y);
            Ok(int8_kernel(move |x, y| rescale.apply(x, range, y)))
        }
        _ => Ok(float_map(move |x| float::clamp(x, activation.bounds()))),
    }
}

fn leaky_relu(site: &Site, alpha: f32) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            let leaky = LeakyRelu::new(affine(input)?, alpha, affine(output)?, site.options.rounding);
            let leaky = leaky.ok_or(NO_MULTIPLIER)?;
            Ok(int8_kernel(move |x, y| leaky.apply(x, y)))
        }
        _ => Ok(float_map(move |x| if x >= 0.0 { x } else { x * alpha })),
    }
}

fn hard_swish(site: &Site) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    match one_type(&[input, output], &[I8, F32])? {
        I8 => {
            let hard_swish = HardSwish::new(affine(input)?, affine(output)?).ok_or(NO_MULTIPLIER)?;
            Ok(int8_kernel(move |x, y| hard_swish.apply(x, y)))
        }
        _ => Ok(float_map(float::hard_swish)),
    }
}

fn resize_bilinear(site: &Site, align_corners: bool, half_pixel_centers: bool) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    one_type(&[input, output], &[I8])?;
    if affine(input)? != affine(output)? {
        return Err("its input and output are quantised differently".into());
    }
    if align_corners && half_pixel_centers {
        return Err("aligned corners and half-pixel centres exclude each other".into());
    }
    let [_, height, width, channels] = shape::image(&input.shape)?;
    let [_, rows, columns, _] = shape::image(&output.shape)?;
    let along = |from, to| Interpolation::new(from, to, align_corners, half_pixel_centers);
    let (rows, columns) = (along(height, rows), along(width, columns));
    Ok(int8_kernel(move |x, y| int8::resize_bilinear(&rows, &columns, [height, width, channels], x, y)))
}

fn quantize(site: &Site) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let y = affine(output)?;
    let (low, high) = match one_type(&[output], &[I8, U8, I16, I32])? {
        I8 => (i32::from(i8::MIN), i32::from(i8::MAX)),
        U8 => (0, i32::from(u8::MAX)),
        I16 => (i32::from(i16::MIN), i32::from(i16::MAX)),
        _ => (i32::MIN, i32::MAX),
    };
    if one_type(&[input], &[F32, I8, U8, I16, I32])? == F32 {
        return Ok(Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| {
            let x = inputs[0].as_f32().ok_or("its input is not float32")?;
            let not_a_number = |i: usize| format!("element {i} of its input is not a number");
            let quantize = |(i, &x): (usize, &f32)| int8::quantize(x, y, low, high).ok_or_else(|| not_a_number(i));
            store(&mut outputs[0], &mut x.iter().enumerate().map(quantize))
        }));
    }
    let rescale = Rescale::new(affine(input)?, y, site.options.rounding).ok_or(NO_MULTIPLIER)?;
    Ok(Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| {
        let value = |x: i32| Ok(rescale.value(x).clamp(low, high));
        let y = &mut outputs[0];
        match inputs[0] {
            Elements::I8(x) => store(y, &mut x.iter().map(|&x| value(i32::from(x)))),
            Elements::U8(x) => store(y, &mut x.iter().map(|&x| value(i32::from(x)))),
            Elements::I16(x) => store(y, &mut x.iter().map(|&x| value(i32::from(x)))),
            Elements::I32(x) => store(y, &mut x.iter().map(|&x| value(x))),
            _ => Err("its input is no integer".into()),
        }
    }))
}

/// Stores values that are known to fit the type of `to`; stops at the first that cannot be computed.
fn store(to: &mut Elements, values: &mut dyn Iterator<Item = Result<i32, String>>) -> Result<(), String> {
    match to {
        Elements::I8(to) => to.iter_mut().zip(values).try_for_each(|(to, v)| v.map(|v| *to = v as i8)),
        Elements::U8(to) => to.iter_mut().zip(values).try_for_each(|(to, v)| v.map(|v| *to = v as u8)),
        Elements::I16(to) => to.iter_mut().zip(values).try_for_each(|(to, v)| v.map(|v| *to = v as i16)),
        Elements::I32(to) => to.iter_mut().zip(values).try_for_each(|(to, v)| v.map(|v| *to = v)),
        _ => Err("its output is no integer".into()),
    }
}

fn dequantize(site: &Site) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    one_type(&[output], &[F32])?;
    if one_type(&[input], &[I8, U8, I16, I32, F16])? == F16 {
        return Ok(Arc::new(|inputs: &[&Elements], outputs: &mut [Elements]| match (inputs[0], &mut outputs[0]) {
            (Elements::F16(x), Elements::F32(y)) => {
                x.iter().zip(y).for_each(|(x, y)| *y = x.to_f32());
                Ok(())
            }
            _ => Err("its tensors are not float16 and float32".into()),
        }));
    }
    let q = affine(input)?;
    Ok(Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| {
        let Elements::F32(y) = &mut outputs[0] else { return Err("its output is not float32".into()) };
        match inputs[0] {
            Elements::I8(x) => x.iter().zip(y).for_each(|(&x, y)| *y = q.real(i32::from(x))),
            Elements::U8(x) => x.iter().zip(y).for_each(|(&x, y)| *y = q.real(i32::from(x))),
            Elements::I16(x) => x.iter().zip(y).for_each(|(&x, y)| *y = q.real(i32::from(x))),
            Elements::I32(x) => x.iter().zip(y).for_each(|(&x, y)| *y = q.real(x)),
            _ => return Err("its input is no integer".into()),
        }
        Ok(())
    }))
}
