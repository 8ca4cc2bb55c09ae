//! Shape inference: what shapes an operator gives, from the shapes and constants it is given.
//!
//! Every function returns the reason as text when the operands do not fit; the caller adds the place.

use tersor_data::Elements;
use tersor_kernels::layout::{Broadcast, Slice};
use tersor_kernels::window::{Padding, Window};

use crate::graph::Layout;
use crate::operator::{Operator, Pair, Pool};

/// One operand of an operator.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    /// Its shape.
    pub shape: &'a [usize],
    /// Its elements, if they are constant.
    pub constant: Option<&'a Elements>,
}

/// Most parts of a SPLIT or an UNPACK: a hostile count must not be believed.
const MOST_PARTS: usize = 1 << 16;
/// Longest side of a resized image.
const LONGEST_SIDE: usize = 1 << 16;

/// The shapes that `operator` gives to images with their channels last; [`infer_in`] for either layout.
///
/// # Errors
/// Why the operands do not fit.
pub fn infer(operator: &Operator, operands: &[Option<Operand>]) -> Result<Option<Vec<Vec<usize>>>, String> {
    infer_in(Layout::ChannelsLast, operator, operands)
}

/// The shapes that `operator` gives; `None` if its operands do not determine them (variables, unknown operators).
///
/// # Errors
/// Why the operands do not fit.
pub fn infer_in(
    layout: Layout,
    operator: &Operator,
    operands: &[Option<Operand>],
) -> Result<Option<Vec<Vec<usize>>>, String> {
    let operand = |i: usize| {
        let operand = operands.get(i).copied().flatten();
        operand.ok_or_else(|| format!("operand {i} is missing; the operator has {}", operands.len()))
    };
    let shape = |i: usize| operand(i).map(|o| o.shape);
    let one = |shape: Vec<usize>| Ok(Some(vec![shape]));
    match operator {
        Operator::Add { .. }
        | Operator::Sub { .. }
        | Operator::Mul { .. }
        | Operator::Maximum
        | Operator::Minimum
        | Operator::Prelu => one(broadcast(shape(0)?, shape(1)?)?.shape().to_vec()),
        Operator::Conv2d { stride, dilation, padding, .. } => {
            let image = Image::of(layout, shape(0)?)?;
            let channels = image.channels;
            let (out, kh, kw, per_group) = match (layout, shape(1)?) {
                (Layout::ChannelsLast, &[out, kh, kw, per_group])
                | (Layout::ChannelsFirst, &[out, per_group, kh, kw]) => (out, kh, kw, per_group),
                (Layout::ChannelsLast, other) => return Err(weights_are_not("[out, kh, kw, in]", other)),
                (Layout::ChannelsFirst, other) => return Err(weights_are_not("[out, in, kh, kw]", other)),
            };
            if per_group == 0
                || !channels.is_multiple_of(per_group)
                || !out.is_multiple_of((channels / per_group).max(1))
            {
                return Err(format!("weights {:?} do not fit {channels} input channels", shape(1)?));
            }
            let windows = image.windows([kh, kw], *stride, *dilation, *padding)?;
            one(image.through(windows, out))
        }
        Operator::DepthwiseConv2d { .. } if layout == Layout::ChannelsFirst => {
            Err("does not stand among channels first; it is a CONV_2D there".into())
        }
        Operator::DepthwiseConv2d { stride, dilation, padding, .. } => {
            let [images, _, _, channels] = image(shape(0)?)?;
            let &[1, kh, kw, out] = shape(1)? else { return Err(weights_are_not("[1, kh, kw, out]", shape(1)?)) };
            if channels == 0 || out == 0 || !out.is_multiple_of(channels) {
                return Err(format!("weights {:?} do not fit {channels} input channels", shape(1)?));
            }
            let [v, h] = windows(shape(0)?, [kh, kw], *stride, *dilation, *padding)?;
            one(vec![images, v.output, h.output, out])
        }
        Operator::FullyConnected { keep_num_dims, .. } => {
            let x = shape(0)?;
            let &[outputs, inputs] = shape(1)? else { return Err(weights_are_not("[out, in]", shape(1)?)) };
            let count: usize = x.iter().product();
            if inputs == 0 || !count.is_multiple_of(inputs) {
                return Err(format!("an input of shape {x:?} is not rows of {inputs}"));
            }
            match x.split_last() {
                Some((&last, rest)) if *keep_num_dims && last == inputs => one([rest, &[outputs]].concat()),
                _ => one(vec![count / inputs, outputs]),
            }
        }
        Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool) => {
            let image = Image::of(layout, shape(0)?)?;
            one(image.through(image.windows(pool.kernel, pool.stride, [1, 1], pool.padding)?, image.channels))
        }
        Operator::BatchNormalization { .. } => {
            let x = shape(0)?;
            let at = match layout {
                Layout::ChannelsFirst => 1,
                Layout::ChannelsLast => x.len().saturating_sub(1),
            };
            let &channels = x.get(at).ok_or_else(|| format!("an input of shape {x:?} has no channels"))?;
            for i in 1..5 {
                if shape(i)? != [channels] {
                    return Err(format!(
                        "operand {i} of shape {:?} is not one number a channel: {channels}",
                        shape(i)?
                    ));
                }
            }
            one(x.to_vec())
        }
        Operator::Mean { keep_dims } => {
            let reduced = reduced_axes(shape(0)?, operand(1)?)?;
            let kept = shape(0)?.iter().zip(&reduced).filter(|(_, reduced)| *keep_dims || !**reduced);
            one(kept.map(|(&n, &reduced)| if reduced { 1 } else { n }).collect())
        }
        Operator::Softmax { .. }
        | Operator::Logistic
        | Operator::Tanh
        | Operator::Relu
        | Operator::Relu6
        | Operator::ReluN1To1
        | Operator::LeakyRelu { .. }
        | Operator::HardSwish
        | Operator::Quantize
        | Operator::Dequantize => one(shape(0)?.to_vec()),
        Operator::ResizeNearestNeighbor { .. } | Operator::ResizeBilinear { .. } => {
            let image = Image::of(layout, shape(0)?)?;
            let size = positive(&integers(operand(1)?, "the new size")?, "the new size")?;
            let &[height, width] = size.as_slice() else {
                return Err(format!("the new size has {} numbers", size.len()));
            };
            if height > LONGEST_SIDE || width > LONGEST_SIDE {
                return Err(format!("an image of {height}x{width} is too large"));
            }
            one(Image { height, width, ..image }.shape())
        }
        Operator::Pad | Operator::PadV2 => {
            let around = paddings(shape(0)?, operand(1)?)?;
            let padded: Option<Vec<usize>> =
                shape(0)?.iter().zip(&around).map(|(n, [b, a])| n.checked_add(*b)?.checked_add(*a)).collect();
            one(padded.ok_or("padding overflows")?)
        }
        Operator::Reshape { shape: option } => {
            let count: usize = shape(0)?.iter().product();
            let asked = match operands.get(1).copied().flatten() {
                Some(shape) if shape.constant.is_some() => integers(shape, "the new shape")?,
                Some(_) => return Ok(None),
                None => match option {
                    Some(shape) => shape.iter().map(|&d| i64::from(d)).collect(),
                    None => return Ok(None),
                },
            };
            one(reshaped(count, &asked)?)
        }
        Operator::Squeeze { axes } => {
            let x = shape(0)?;
            let named = axes.iter().map(|&a| axis(i64::from(a), x.len())).collect::<Result<Vec<_>, _>>()?;
            if let Some(&a) = named.iter().find(|&&a| x[a] != 1) {
                return Err(format!("axis {a} of shape {x:?} is not 1"));
            }
            let gone = |i: usize| if named.is_empty() { x[i] == 1 } else { named.contains(&i) };
            one((0..x.len()).filter(|&i| !gone(i)).map(|i| x[i]).collect())
        }
        Operator::ExpandDims => {
            let x = shape(0)?;
            let &[at] = integers(operand(1)?, "the axis")?.as_slice() else {
                return Err("the axis is not one number".into());
            };
            let mut expanded = x.to_vec();
            expanded.insert(axis(at, x.len() + 1)?, 1);
            one(expanded)
        }
        Operator::Transpose => {
            let x = shape(0)?;
            one(permutation(x.len(), operand(1)?)?.iter().map(|&axis| x[axis]).collect())
        }
        Operator::StridedSlice { .. } => one(strided_slice(operator, operands)?.1),
        Operator::Slice => one(slice(operands)?.count),
        Operator::Split { .. } | Operator::SplitV { .. } => {
            let (input, axis, widths) = split(operator, operands)?;
            let part = |width: usize| {
                let mut part = input.to_vec();
                part[axis] = width;
                part
            };
            Ok(Some(widths.into_iter().map(part).collect()))
        }
        Operator::Pack { axis: at } => {
            let x = shape(0)?;
            for i in 1..operands.len() {
                if shape(i)? != x {
                    return Err(format!("operands of shapes {x:?} and {:?} cannot be packed", shape(i)?));
                }
            }
            let mut packed = x.to_vec();
            packed.insert(axis(i64::from(*at), x.len() + 1)?, operands.len());
            one(packed)
        }
        Operator::Unpack { axis: at } => {
            let x = shape(0)?;
            let at = axis(i64::from(*at), x.len())?;
            let mut part = x.to_vec();
            let count = part.remove(at);
            if count > MOST_PARTS {
                return Err(format!("an axis of length {count} cannot be unpacked"));
            }
            Ok(Some(vec![part; count]))
        }
        Operator::Concatenation { axis: at, .. } => {
            let first = shape(0)?;
            let at = axis(i64::from(*at), first.len())?;
            let mut joined = first.to_vec();
            for i in 1..operands.len() {
                let x = shape(i)?;
                let agrees = x.len() == first.len() && (0..x.len()).all(|a| a == at || x[a] == first[a]);
                if !agrees {
                    return Err(format!("shapes {first:?} and {x:?} cannot be joined along axis {at}"));
                }
                joined[at] = joined[at].checked_add(x[at]).ok_or("the joined axis overflows")?;
            }
            one(joined)
        }
        Operator::CallOnce { .. }
        | Operator::VarHandle { .. }
        | Operator::ReadVariable
        | Operator::AssignVariable
        | Operator::Other { .. } => Ok(None),
    }
}

fn weights_are_not(expected: &str, found: &[usize]) -> String {
    format!("weights of shape {found:?} are not {expected}")
}

/// The axes of a batch of images, whatever their order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    pub(crate) layout: Layout,
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Image {
    /// The axes that `shape` has in `layout`.
    pub(crate) fn of(layout: Layout, shape: &[usize]) -> Result<Self, String> {
        match (layout, shape) {
            (Layout::ChannelsLast, &[images, height, width, channels])
            | (Layout::ChannelsFirst, &[images, channels, height, width]) => {
                Ok(Self { layout, images, height, width, channels })
            }
            (Layout::ChannelsLast, _) => {
                Err(format!("an input of shape {shape:?} is not [images, height, width, channels]"))
            }
            (Layout::ChannelsFirst, _) => {
                Err(format!("an input of shape {shape:?} is not [images, channels, height, width]"))
            }
        }
    }

    /// The shape in the image's own layout.
    pub(crate) fn shape(self) -> Vec<usize> {
        let Self { layout, images, height, width, channels } = self;
        match layout {
            Layout::ChannelsLast => vec![images, height, width, channels],
            Layout::ChannelsFirst => vec![images, channels, height, width],
        }
    }

    /// The windows of a convolution or a pooling along the rows and the columns.
    pub(crate) fn windows(
        self,
        kernel: Pair,
        stride: Pair,
        dilation: Pair,
        padding: [Padding; 2],
    ) -> Result<[Window; 2], String> {
        let Self { height, width, .. } = self;
        let along = |i: usize, n: usize| {
            Window::new(n, kernel[i], stride[i], dilation[i], padding[i]).ok_or_else(|| {
                format!("a kernel of {kernel:?}, dilated by {dilation:?}, does not fit an input of {height}x{width}")
            })
        };
        Ok([along(0, height)?, along(1, width)?])
    }

    /// The shape of what windows give, with `channels` channels.
    fn through(self, [v, h]: [Window; 2], channels: usize) -> Vec<usize> {
        Self { height: v.output, width: h.output, channels, ..self }.shape()
    }
}

/// `[images, height, width, channels]`.
pub(crate) fn image(shape: &[usize]) -> Result<[usize; 4], String> {
    let Image { images, height, width, channels, .. } = Image::of(Layout::ChannelsLast, shape)?;
    Ok([images, height, width, channels])
}

/// The windows of a convolution along the rows and the columns of an image.
pub(crate) fn windows(
    input: &[usize],
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
    padding: [Padding; 2],
) -> Result<[Window; 2], String> {
    Image::of(Layout::ChannelsLast, input)?.windows(kernel, stride, dilation, padding)
}

/// The windows of a pooling; none may lie wholly on padding.
pub(crate) fn pool_windows(input: &[usize], pool: &Pool) -> Result<[Window; 2], String> {
    windows(input, pool.kernel, pool.stride, [1, 1], pool.padding)
}

/// How two operands meet.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Broadcast, String> {
    Broadcast::new(a, b).ok_or_else(|| format!("shapes {a:?} and {b:?} do not broadcast"))
}

/// Position of axis `axis` of `rank`, counted from the end if negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at)
        .ok()
        .filter(|&at| at < rank)
        .ok_or_else(|| format!("axis {axis} does not exist; the rank is {rank}"))
}

/// A constant vector of integers.
pub(crate) fn integers(operand: Operand, what: &str) -> Result<Vec<i64>, String> {
    match operand.constant {
        Some(Elements::I32(v)) => Ok(v.iter().map(|&x| i64::from(x)).collect()),
        Some(Elements::I64(v)) => Ok(v.clone()),
        Some(other) => Err(format!("{what} is {}, not int32 or int64", other.element_type())),
        None => Err(format!("{what} is computed at run time; only a constant is supported")),
    }
}

fn positive(numbers: &[i64], what: &str) -> Result<Vec<usize>, String> {
    let convert = |&n: &i64| usize::try_from(n).ok().filter(|&n| n > 0);
    numbers.iter().map(convert).collect::<Option<_>>().ok_or_else(|| format!("{what} {numbers:?} is not positive"))
}

/// Which axes MEAN reduces.
pub(crate) fn reduced_axes(input: &[usize], axes: Operand) -> Result<Vec<bool>, String> {
    let mut reduced = vec![false; input.len()];
    for a in integers(axes, "the list of axes")? {
        reduced[axis(a, input.len())?] = true;
    }
    Ok(reduced)
}

/// Padding before and after each axis.
pub(crate) fn paddings(input: &[usize], operand: Operand) -> Result<Vec<[usize; 2]>, String> {
    let numbers = integers(operand, "the padding")?;
    if numbers.len() != 2 * input.len() {
        return Err(format!("{} padding numbers for shape {input:?}", numbers.len()));
    }
    let (pairs, _) = numbers.as_chunks::<2>();
    let convert = |n: i64| usize::try_from(n).map_err(|_| format!("padding {n} is negative"));
    pairs.iter().map(|&[before, after]| Ok([convert(before)?, convert(after)?])).collect()
}

/// The axis of the input that each axis of the result shows.
pub(crate) fn permutation(rank: usize, operand: Operand) -> Result<Vec<usize>, String> {
    let numbers = integers(operand, "the permutation")?;
    let axes = numbers.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = vec![false; rank];
    axes.iter().for_each(|&a| seen[a] = true);
    if axes.len() != rank || seen.contains(&false) {
        return Err(format!("{numbers:?} is not a permutation of {rank} axes"));
    }
    Ok(axes)
}

pub(crate) fn reshaped(count: usize, asked: &[i64]) -> Result<Vec<usize>, String> {
    let fault = || format!("{count} elements do not fit shape {asked:?}");
    let known = asked.iter().filter(|&&d| d != -1).try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let known = known.ok_or_else(fault)?;
    let open = asked.iter().filter(|&&d| d == -1).count();
    let rest = match open {
        0 if known == count => 1,
        1 if known > 0 && count.is_multiple_of(known) => count / known,
        _ => return Err(fault()),
    };
    Ok(asked.iter().map(|&d| if d == -1 { rest } else { d as usize }).collect())
}

/// What STRIDED_SLICE takes, and the shape it gives (axes that are indexed, not sliced, vanish).
pub(crate) fn strided_slice(operator: &Operator, operands: &[Option<Operand>]) -> Result<(Slice, Vec<usize>), String> {
    let Operator::StridedSlice { begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask } = operator
    else {
        return Err("not a STRIDED_SLICE".into());
    };
    if *ellipsis_mask != 0 || *new_axis_mask != 0 {
        return Err("an ellipsis or a new axis is not supported".into());
    }
    let &[Some(input), Some(begin), Some(end), Some(step)] = operands else {
        return Err(format!("{} operands, not 4", operands.len()));
    };
    let rank = input.shape.len();
    let begin = integers(begin, "the begin")?;
    let end = integers(end, "the end")?;
    let step = integers(step, "the stride")?;
    if begin.len() != end.len() || begin.len() != step.len() || begin.len() > rank {
        return Err(format!("{} begins, {} ends, {} strides for rank {rank}", begin.len(), end.len(), step.len()));
    }
    let mut slice = Slice { start: vec![0; rank], step: vec![1; rank], count: input.shape.to_vec() };
    let mut shape = Vec::new();
    for (i, &n) in input.shape.iter().enumerate() {
        let Some(&by) = step.get(i) else {
            shape.push(n);
            continue;
        };
        let n = n as i64;
        let masked = |mask: &i32| i < 32 && mask >> i & 1 == 1;
        let (least, most) = if by > 0 { (0, n) } else { (-1, n - 1) };
        let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let start =
            if masked(begin_mask) { if by > 0 { 0 } else { n - 1 } } else { from_end(begin[i]).clamp(least, most) };
        if masked(shrink_axis_mask) {
            let at = from_end(begin[i]);
            if !(0..n).contains(&at) {
                return Err(format!("index {} lies outside axis {i} of length {n}", begin[i]));
            }
            (slice.start[i], slice.count[i]) = (at as usize, 1);
            continue;
        }
        let stop = match (masked(end_mask), by > 0) {
            (true, true) => n,
            (true, false) => -1,
            (false, _) => from_end(end[i]).clamp(least, most),
        };
        let count = match by {
            0 => return Err(format!("the stride of axis {i} is 0")),
            1.. => (stop - start).max(0).unsigned_abs().div_ceil(by.unsigned_abs()),
            _ => (start - stop).max(0).unsigned_abs().div_ceil(by.unsigned_abs()),
        };
        slice.start[i] = start.max(0) as usize;
        // A stride past the axis takes one element; cut it, so that offsets cannot overflow.
        slice.step[i] = by.clamp(-n, n) as isize;
        slice.count[i] = count as usize;
        shape.push(count as usize);
    }
    Ok((slice, shape))
}

/// What SLICE takes.
pub(crate) fn slice(operands: &[Option<Operand>]) -> Result<Slice, String> {
    let &[Some(input), Some(begin), Some(size)] = operands else {
        return Err(format!("{} operands, not 3", operands.len()));
    };
    let (begin, size) = (integers(begin, "the begin")?, integers(size, "the size")?);
    let rank = input.shape.len();
    if begin.len() != rank || size.len() != rank {
        return Err(format!("{} begins and {} sizes for rank {rank}", begin.len(), size.len()));
    }
    let mut slice = Slice { start: vec![0; rank], step: vec![1; rank], count: vec![0; rank] };
    for (i, &n) in input.shape.iter().enumerate() {
        let fault = || format!("begin {} and size {} lie outside axis {i} of length {n}", begin[i], size[i]);
        let start = usize::try_from(begin[i]).ok().filter(|&s| s <= n).ok_or_else(fault)?;
        let count = if size[i] == -1 { n - start } else { usize::try_from(size[i]).map_err(|_| fault())? };
        if count > n - start {
            return Err(fault());
        }
        (slice.start[i], slice.count[i]) = (start, count);
    }
    Ok(slice)
}

/// The input of a SPLIT or SPLIT_V, its axis, and the lengths of the parts.
pub(crate) fn split<'a>(
    operator: &Operator,
    operands: &[Option<Operand<'a>>],
) -> Result<(&'a [usize], usize, Vec<usize>), String> {
    let one = |operand: Operand| match integers(operand, "the axis")?.as_slice() {
        &[axis] => Ok(axis),
        _ => Err("the axis is not one number".to_string()),
    };
    match (operator, operands) {
        (Operator::Split { parts }, _) if *parts > MOST_PARTS => Err(format!("{parts} parts are too many")),
        (Operator::Split { parts }, &[Some(at), Some(input)]) => {
            let axis = axis(one(at)?, input.shape.len())?;
            let n = input.shape[axis];
            if *parts > n || !n.is_multiple_of(*parts) {
                return Err(format!("an axis of length {n} does not split into {parts} equal parts"));
            }
            Ok((input.shape, axis, vec![n / parts; *parts]))
        }
        (Operator::SplitV { parts }, &[Some(input), Some(sizes), Some(at)]) => {
            let axis = axis(one(at)?, input.shape.len())?;
            let n = input.shape[axis];
            let sizes = integers(sizes, "the sizes")?;
            let widths = reshaped_sum(n, &sizes).filter(|w| w.len() == *parts);
            let widths =
                widths.ok_or_else(|| format!("sizes {sizes:?} do not split an axis of length {n} into {parts}"))?;
            Ok((input.shape, axis, widths))
        }
        _ => Err(format!("{} operands", operands.len())),
    }
}

/// Sizes that add up to `n`, at most one of them −1 for "the rest".
fn reshaped_sum(n: usize, sizes: &[i64]) -> Option<Vec<usize>> {
    let known =
        sizes.iter().filter(|&&s| s != -1).try_fold(0usize, |sum, &s| sum.checked_add(usize::try_from(s).ok()?))?;
    let rest = n.checked_sub(known)?;
    match sizes.iter().filter(|&&s| s == -1).count() {
        0 if rest == 0 => {}
        1 => {}
        _ => return None,
    }
    Some(sizes.iter().map(|&s| if s == -1 { rest } else { s as usize }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(shape: &[usize]) -> Operand<'_> {
        Operand { shape, constant: None }
    }

    fn constant(elements: &Elements) -> Operand<'_> {
        Operand { shape: &[], constant: Some(elements) }
    }

    #[test]
    fn minus_one_stands_for_the_rest() {
        assert_eq!(reshaped(24, &[2, -1, 3]), Ok(vec![2, 4, 3]));
        assert!(reshaped(24, &[-1, -1]).is_err());
        assert!(reshaped(24, &[5, -1]).is_err());
        assert_eq!(reshaped_sum(7, &[2, -1, 1]), Some(vec![2, 4, 1]));
        assert_eq!(reshaped_sum(7, &[8]), None);
    }

    #[test]
    fn a_strided_slice_clamps_masks_and_shrinks() {
        let of = |begin: [i32; 2], end: [i32; 2], step: [i32; 2], masks: [i32; 3]| {
            let operator = Operator::StridedSlice {
                begin_mask: masks[0],
                end_mask: masks[1],
                ellipsis_mask: 0,
                new_axis_mask: 0,
                shrink_axis_mask: masks[2],
            };
            let numbers = [begin, end, step].map(|v| Elements::from(v.to_vec()));
            let [b, e, s] = [0, 1, 2].map(|i| Some(constant(&numbers[i])));
            strided_slice(&operator, &[Some(vector(&[4, 5])), b, e, s])
        };
        assert_eq!(of([0, -2], [9, 9], [3, 1], [0, 0, 0]).unwrap().1, [2, 2]);
        assert_eq!(of([-1, 0], [0, 0], [-1, 1], [0, 0b11, 0]).unwrap().1, [4, 5]);
        assert_eq!(of([1, 0], [2, 0], [1, 1], [0, 0b10, 0b01]).unwrap().1, [5]);
        assert!(of([7, 0], [8, 1], [1, 1], [0, 0, 0b01]).is_err());
        assert!(of([0, 0], [4, 5], [0, 1], [0, 0, 0]).is_err());
    }
}
