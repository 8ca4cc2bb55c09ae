//! Operators on images: convolutions, pools, resizing.

use onnx_schema::NodeProto;
use tersor_kernels::int8::Activation;
use tersor_kernels::window::{Padding, Window};

use super::read::Reader;
use super::translate::{Attributes, Call};
use crate::graph::TensorId;
use crate::operator::{Operator, Pair, Pool};

/// Longest kernel, stride, dilation, padding, or side of an image that is resized.
const LONGEST: i64 = 1 << 16;

impl Attributes<'_> {
    /// Rows and columns; `None` if they are not two.
    fn pair(&self, name: &str, otherwise: Pair) -> Result<Option<Pair>, String> {
        let Some(numbers) = self.ints(name)? else { return Ok(Some(otherwise)) };
        let positive = |n: i64| {
            let n = usize::try_from(n).ok().filter(|_| (1..=LONGEST).contains(&n));
            n.ok_or_else(|| format!("{name} {numbers:?} lie outside 1..={LONGEST}"))
        };
        match numbers.as_slice() {
            &[rows, columns] => Ok(Some([positive(rows)?, positive(columns)?])),
            _ => Ok(None),
        }
    }
}

/// The stride, dilation and padding of a window over an image.
struct Windows {
    stride: Pair,
    dilation: Pair,
    padding: [Padding; 2],
}

impl Windows {
    /// `None` if they are not of two axes.
    fn of(attributes: &Attributes, image: &[usize], kernel: Pair) -> Result<Option<Self>, String> {
        let (Some(stride), Some(dilation)) =
            (attributes.pair("strides", [1; 2])?, attributes.pair("dilations", [1; 2])?)
        else {
            return Ok(None);
        };
        let padding = match attributes.string("auto_pad", "NOTSET")? {
            "VALID" => [Padding::Valid; 2],
            "SAME_UPPER" => [Padding::Same; 2],
            "SAME_LOWER" => [0, 1].map(|i| {
                let window = Window::new(image[i + 2], kernel[i], stride[i], dilation[i], Padding::Same);
                window.map_or(Padding::Same, |w| {
                    let covered = (w.output - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
                    let total = covered.saturating_sub(w.input);
                    explicit(total - total / 2, total / 2)
                })
            }),
            "NOTSET" | "" => {
                let pads = attributes.ints("pads")?.unwrap_or_else(|| vec![0; 4]);
                let &[top, left, bottom, right] = pads.as_slice() else { return Ok(None) };
                if pads.iter().any(|n| !(0..=LONGEST).contains(n)) {
                    return Err(format!("pads {pads:?} lie outside 0..={LONGEST}"));
                }
                [explicit(top as usize, bottom as usize), explicit(left as usize, right as usize)]
            }
            other => return Err(format!("auto_pad {other} is unknown")),
        };
        Ok(Some(Self { stride, dilation, padding }))
    }
}

fn explicit(before: usize, after: usize) -> Padding {
    if (before, after) == (0, 0) { Padding::Valid } else { Padding::Explicit { before, after } }
}

impl Reader {
    pub(super) fn convolution(
        &self,
        attributes: &Attributes,
        operands: &[Option<TensorId>],
    ) -> Result<Option<Call>, String> {
        let (&[Some(x), Some(w)] | &[Some(x), Some(w), _]) = operands else { return Ok(None) };
        let (&[_, channels, ..], &[outputs, per_group, height, width]) =
            (self.at(x).shape.as_slice(), self.at(w).shape.as_slice())
        else {
            return Ok(None);
        };
        if self.at(x).shape.len() != 4 {
            return Err(format!("an input of shape {:?} is no image for weights of 4 axes", self.at(x).shape));
        }
        let group = attributes.int("group", 1)?;
        if usize::try_from(group).ok().and_then(|g| g.checked_mul(per_group)) != Some(channels) {
            let shape = &self.at(w).shape;
            return Err(format!("{group} groups of weights {shape:?} do not fit {channels} input channels"));
        }
        if let Some(kernel) = attributes.ints("kernel_shape")?
            && kernel != [height as i64, width as i64]
        {
            return Err(format!("kernel_shape {kernel:?} is not that of weights {:?}", self.at(w).shape));
        }
        let bias = operands.get(2).copied().flatten();
        if let Some(b) = bias
            && self.at(b).shape != [outputs]
        {
            return Err(format!("a bias of shape {:?} is not one number for {outputs} outputs", self.at(b).shape));
        }
        let Some(Windows { stride, dilation, padding }) = Windows::of(attributes, &self.at(x).shape, [height, width])?
        else {
            return Ok(None);
        };
        let operator = Operator::Conv2d { stride, dilation, padding, activation: Activation::None };
        let operands = [Some(x), Some(w)].into_iter().chain(bias.map(Some)).collect();
        Ok(Some((operator, operands)))
    }

    pub(super) fn pool(
        &mut self,
        attributes: &Attributes,
        x: TensorId,
        greatest: bool,
        output: &str,
    ) -> Result<bool, String> {
        let (Some(kernel), true) = (attributes.pair("kernel_shape", [0; 2])?, self.at(x).shape.len() == 4) else {
            return Ok(false);
        };
        if kernel == [0; 2] {
            return Err("it has no kernel_shape".into());
        }
        let Some(Windows { stride, dilation, mut padding }) = Windows::of(attributes, &self.at(x).shape, kernel)?
        else {
            return Ok(false);
        };
        let image = self.at(x).shape.clone();
        // Rounded up, the last window may lie beyond the padding; where nothing is rounded both are the same.
        let rounded = attributes.int("ceil_mode", 0)? != 0
            && (0..2).any(|i| match padding[i] {
                Padding::Same => false,
                Padding::Valid => !image[i + 2].saturating_sub(kernel[i]).is_multiple_of(stride[i]),
                Padding::Explicit { before, after } => {
                    !(image[i + 2] + before + after).saturating_sub(kernel[i]).is_multiple_of(stride[i])
                }
            });
        if rounded || dilation != [1; 2] || attributes.int("storage_order", 0)? != 0 {
            return Ok(false);
        }
        let mut x = x;
        if !greatest && attributes.int("count_include_pad", 0)? != 0 && padding != [Padding::Valid; 2] {
            let mut around = vec![0i64; 8];
            for i in 0..2 {
                let window = Window::new(image[i + 2], kernel[i], stride[i], 1, padding[i]);
                let Some(window) = window else { return Err(format!("a kernel of {kernel:?} does not fit {image:?}")) };
                let (before, after) = match padding[i] {
                    Padding::Explicit { before, after } => (before, after),
                    _ => {
                        let total = ((window.output - 1) * window.stride + window.kernel).saturating_sub(window.input);
                        (window.before, total - window.before)
                    }
                };
                (around[4 + 2 * i], around[5 + 2 * i]) = (before as i64, after as i64);
            }
            let around = self.constant(format!("{output}/paddings"), vec![4, 2], around.into());
            x = self.between(Operator::Pad, vec![Some(x), Some(around)], format!("{output}/padded"))?;
            padding = [Padding::Valid; 2];
        }
        let pool = Pool { kernel, stride, padding, activation: Activation::None };
        let operator = if greatest { Operator::MaxPool2d(pool) } else { Operator::AveragePool2d(pool) };
        self.emit(operator, vec![Some(x)], output).map(|_| true)
    }

    pub(super) fn resize(
        &mut self,
        node: &NodeProto,
        attributes: &Attributes,
        operands: &[Option<TensorId>],
        output: &str,
    ) -> Result<bool, String> {
        let operand = |i: usize| operands.get(i).copied().flatten();
        let Some(x) = operand(0) else { return Ok(false) };
        let &[images, channels, height, width] = self.at(x).shape.as_slice() else { return Ok(false) };
        let first = node.op_type() == "Upsample" || self.opset < 11;
        let usual = attributes.int("antialias", 0)? == 0
            && attributes.ints("axes")?.is_none()
            && attributes.string("keep_aspect_ratio_policy", "stretch")? == "stretch";
        let (scales, sizes) = if first { (operand(1), None) } else { (operand(2), operand(3)) };
        let size = match (sizes.and_then(|t| self.integers(t)), scales.and_then(|t| self.floats(t))) {
            (Some(sizes), _) => match sizes.as_slice() {
                &[n, c, h, w] if [n, c] == [images as i64, channels as i64] => Some([h, w]),
                _ => None,
            },
            (None, Some(&[1.0, 1.0, h, w])) => {
                let along = |n: usize, scale: f32| {
                    let length = n as f32 * scale;
                    (length.fract() == 0.0 && length < LONGEST as f32).then_some(length as i64)
                };
                along(height, h).zip(along(width, w)).map(|(h, w)| [h, w])
            }
            _ => None,
        };
        let (Some(size), true) = (size, usual) else { return Ok(false) };
        let whole = size[0] % (height.max(1) as i64) == 0 && size[1] % (width.max(1) as i64) == 0;
        let (usual_place, usual_rounding) =
            if first { ("asymmetric", "floor") } else { ("half_pixel", "round_prefer_floor") };
        let place = attributes.string("coordinate_transformation_mode", usual_place)?;
        let rounding = attributes.string("nearest_mode", usual_rounding)?;
        let options = match (attributes.string("mode", "nearest")?, place, rounding) {
            ("nearest", "asymmetric", "floor") => Some((true, false, false)),
            ("nearest", "half_pixel", "round_prefer_ceil") => Some((true, false, true)),
            // By a whole factor no place lies in the middle.
            ("nearest", "half_pixel", "round_prefer_floor") if whole => Some((true, false, true)),
            ("nearest", "align_corners", "round_prefer_ceil") => Some((true, true, false)),
            ("linear", "asymmetric", _) => Some((false, false, false)),
            ("linear", "half_pixel", _) => Some((false, false, true)),
            ("linear", "pytorch_half_pixel", _) if size.iter().all(|&n| n > 1) => Some((false, false, true)),
            ("linear", "align_corners", _) => Some((false, true, false)),
            _ => None,
        };
        let Some((nearest, align_corners, half_pixel_centers)) = options else { return Ok(false) };
        let size = self.constant(format!("{output}/size"), vec![2], size.to_vec().into());
        let operator = if nearest {
            Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers }
        } else {
            Operator::ResizeBilinear { align_corners, half_pixel_centers }
        };
        self.emit(operator, vec![Some(x), Some(size)], output).map(|_| true)
    }
}
