//! Operators that move elements and compute nothing: any element type, the same quantisation on both sides.

use std::sync::Arc;

use tersor_data::Elements;
use tersor_kernels::int8::Activation;
use tersor_kernels::layout;

use super::{Kernel, Site, affine};
use crate::graph::{Tensor, TensorKind};
use crate::operator::Operator;
use crate::shape;

/// A rearrangement, for elements of any type.
trait Movement: Send + Sync + 'static {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]);
}

/// Hands typed slices to a movement; `operands` of the node are moved, all of one type.
fn moving(operands: std::ops::Range<usize>, movement: impl Movement) -> Kernel {
    Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| {
        let inputs = &inputs[operands.clone()];
        macro_rules! typed {
            ($($variant:ident)*) => {
                match inputs[0] {
                    $(Elements::$variant(_) => {
                        let from: Option<Vec<_>> =
                            inputs.iter().map(|e| if let Elements::$variant(v) = e { Some(v.as_slice()) } else { None }).collect();
                        let to: Option<Vec<_>> = outputs
                            .iter_mut()
                            .map(|e| if let Elements::$variant(v) = e { Some(v.as_mut_slice()) } else { None })
                            .collect();
                        let (Some(from), Some(mut to)) = (from, to) else { return Err("its tensors differ in type".into()) };
                        movement.apply(&from, &mut to);
                    })*
                }
            };
        }
        typed!(Bool I8 U8 I16 U16 I32 U32 I64 U64 F16 F32 F64);
        Ok(())
    })
}

/// The kernel of an operator that only moves elements; `None` for the others.
pub(super) fn kernel(site: &Site, operator: &Operator) -> Result<Option<Kernel>, String> {
    let operands = site.operands();
    Ok(Some(match operator {
        Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => {
            same_meaning(&[site.input(0)?], &[site.output(0)?])?;
            moving(0..1, Same)
        }
        Operator::Transpose => {
            same_meaning(&[site.input(0)?], &[site.output(0)?])?;
            let shape = site.input(0)?.shape.clone();
            let permutation = shape::permutation(shape.len(), site.operand(1)?)?;
            moving(0..1, Transpose { shape, permutation })
        }
        Operator::StridedSlice { .. } | Operator::Slice => {
            same_meaning(&[site.input(0)?], &[site.output(0)?])?;
            let slice = match operator {
                Operator::Slice => shape::slice(&operands)?,
                _ => shape::strided_slice(operator, &operands)?.0,
            };
            moving(0..1, Slice { shape: site.input(0)?.shape.clone(), slice })
        }
        Operator::Split { .. } | Operator::SplitV { .. } => {
            let at = usize::from(matches!(operator, Operator::Split { .. }));
            let outputs: Vec<&Tensor> =
                (0..site.node.outputs.len()).map(|i| site.output(i)).collect::<Result<_, _>>()?;
            same_meaning(&[site.input(at)?], &outputs)?;
            let (shape, axis, lengths) = shape::split(operator, &operands)?;
            let inner: usize = shape[axis + 1..].iter().product();
            moving(at..at + 1, Split { widths: lengths.iter().map(|n| n * inner).collect() })
        }
        Operator::Unpack { axis } => {
            let outputs: Vec<&Tensor> =
                (0..site.node.outputs.len()).map(|i| site.output(i)).collect::<Result<_, _>>()?;
            let input = site.input(0)?;
            same_meaning(&[input], &outputs)?;
            let axis = shape::axis(i64::from(*axis), input.shape.len())?;
            let inner: usize = input.shape[axis + 1..].iter().product();
            moving(0..1, Split { widths: vec![inner; outputs.len()] })
        }
        Operator::Pack { .. } | Operator::Concatenation { .. } => {
            let inputs: Vec<&Tensor> = (0..site.node.inputs.len()).map(|i| site.input(i)).collect::<Result<_, _>>()?;
            let output = site.output(0)?;
            same_meaning(&inputs, &[output])?;
            let widths = match operator {
                Operator::Concatenation { axis, activation } => {
                    if *activation != Activation::None {
                        return Err("a fused activation is not supported".into());
                    }
                    let axis = shape::axis(i64::from(*axis), output.shape.len())?;
                    inputs.iter().map(|t| t.shape[axis..].iter().product()).collect()
                }
                Operator::Pack { axis } => {
                    let axis = shape::axis(i64::from(*axis), output.shape.len())?;
                    inputs.iter().map(|t| t.shape[axis..].iter().product()).collect()
                }
                _ => Vec::new(),
            };
            moving(0..inputs.len(), Concatenation { widths })
        }
        Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers } => {
            let (input, output) = (site.input(0)?, site.output(0)?);
            same_meaning(&[input], &[output])?;
            let [_, height, width, channels] = shape::image(&input.shape)?;
            let [_, out_height, out_width, _] = shape::image(&output.shape)?;
            let sources = |from, to| layout::nearest_sources(from, to, *align_corners, *half_pixel_centers);
            let (rows, columns) = (sources(height, out_height), sources(width, out_width));
            moving(0..1, Resize { rows, columns, input: [height, width, channels] })
        }
        Operator::Pad | Operator::PadV2 => pad(site)?,
        _ => return Ok(None),
    }))
}

/// PAD fills with the value that means 0, PADV2 with its third operand.
fn pad(site: &Site) -> Result<Kernel, String> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    same_meaning(&[input], &[output])?;
    let paddings = shape::paddings(&input.shape, site.operand(1)?)?;
    let value = match site.node.operator {
        Operator::PadV2 => {
            same_meaning(&[site.input(2)?], &[output])?;
            site.constant(2).filter(|c| c.len() == 1).ok_or("the padding value is not one constant")?.clone()
        }
        _ => match (&output.kind, &output.quantization) {
            (TensorKind::Element(t), Some(_)) => {
                let zero_point = affine(output)?.zero_point;
                // 8-bit values of either sign: the low byte.
                Elements::from_le_bytes(*t, &zero_point.to_le_bytes()[..t.bytes().min(4)])
                    .filter(|v| v.len() == 1)
                    .ok_or_else(|| format!("padding of {t} is not supported"))?
            }
            (TensorKind::Element(t), None) => Elements::zeros(*t, 1),
            (kind, _) => return Err(format!("padding of {kind} is not supported")),
        },
    };
    let [before, after] = [0, 1].map(|side| paddings.iter().map(|p| p[side]).collect());
    let place = moving(0..1, Pad { shape: input.shape.clone(), before, after });
    Ok(Arc::new(move |inputs: &[&Elements], outputs: &mut [Elements]| {
        fill(&mut outputs[0], &value)?;
        place(inputs, outputs)
    }))
}

/// Sets every element to the one of `value`.
fn fill(elements: &mut Elements, value: &Elements) -> Result<(), String> {
    macro_rules! typed {
        ($($variant:ident)*) => {
            match (elements, value) {
                $((Elements::$variant(to), Elements::$variant(value)) => to.fill(value[0]),)*
                (to, value) => return Err(format!("{} cannot be filled with {}", to.element_type(), value.element_type())),
            }
        };
    }
    typed!(Bool I8 U8 I16 U16 I32 U32 I64 U64 F16 F32 F64);
    Ok(())
}

/// Moved elements keep their meaning only if both sides are quantised alike.
fn same_meaning(inputs: &[&Tensor], outputs: &[&Tensor]) -> Result<(), String> {
    let first = inputs.first().ok_or("it has no operands")?;
    for other in inputs.iter().chain(outputs) {
        if other.kind != first.kind {
            return Err(format!("{} holds {}, {} holds {}", first.name, first.kind, other.name, other.kind));
        }
        let meaning = |t: &Tensor| t.quantization.as_ref().map(|q| (q.scale.clone(), q.zero_point.clone()));
        let (a, b) = (meaning(first), meaning(other));
        if a.is_some() && b.is_some() && a != b {
            return Err(format!("{} and {} are quantised differently", first.name, other.name));
        }
    }
    match first.kind {
        TensorKind::Element(_) => Ok(()),
        kind => Err(format!("elements of type {kind} cannot be moved")),
    }
}

struct Same;

impl Movement for Same {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        outputs[0].copy_from_slice(inputs[0]);
    }
}

struct Transpose {
    shape: Vec<usize>,
    permutation: Vec<usize>,
}

impl Movement for Transpose {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        layout::transpose(&self.shape, &self.permutation, inputs[0], outputs[0]);
    }
}

struct Slice {
    shape: Vec<usize>,
    slice: layout::Slice,
}

impl Movement for Slice {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        self.slice.apply(&self.shape, inputs[0], outputs[0]);
    }
}

struct Split {
    /// Consecutive elements that each part takes in turn.
    widths: Vec<usize>,
}

impl Movement for Split {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        let row = self.widths.iter().sum();
        let mut from = 0;
        for (output, &width) in outputs.iter_mut().zip(&self.widths) {
            layout::part(row, from, width, inputs[0], output);
            from += width;
        }
    }
}

struct Concatenation {
    /// Consecutive elements that each part gives in turn.
    widths: Vec<usize>,
}

impl Movement for Concatenation {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        layout::concatenate(inputs, &self.widths, outputs[0]);
    }
}

struct Resize {
    rows: Vec<usize>,
    columns: Vec<usize>,
    /// Height, width, channels.
    input: [usize; 3],
}

impl Movement for Resize {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        let [height, width, channels] = self.input;
        let images = inputs[0].chunks(height * width * channels);
        for (from, to) in images.zip(outputs[0].chunks_mut(self.rows.len() * self.columns.len() * channels)) {
            layout::pick_pixels(&self.rows, &self.columns, width, channels, from, to);
        }
    }
}

struct Pad {
    shape: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Movement for Pad {
    fn apply<T: Copy>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        layout::pad(&self.shape, &self.before, &self.after, inputs[0], outputs[0]);
    }
}
