//! Moving elements without computing: the operators that only rearrange.
//!
//! Every plan (`Broadcast`, `Slice`) is checked when it is built and then applied to slices of any element type.

/// Row-major strides of `shape`, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Visits every position of `shape` in row-major order, with the offsets `base[k] + Σ index·steps[k]` of `K` tensors.
pub fn each_offset<const K: usize>(
    shape: &[usize],
    base: [isize; K],
    steps: [&[isize]; K],
    mut f: impl FnMut([usize; K]),
) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0usize; shape.len()];
    let mut offsets = base;
    loop {
        f(offsets.map(|o| o as usize));
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            offsets.iter_mut().zip(steps).for_each(|(o, steps)| *o += steps[axis]);
            if index[axis] < shape[axis] {
                break;
            }
            offsets.iter_mut().zip(steps).for_each(|(o, steps)| *o -= steps[axis] * shape[axis] as isize);
            index[axis] = 0;
        }
    }
}

/// How two tensors meet element by element: axes aligned at the end, an axis of length 1 repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct Broadcast {
    shape: Vec<usize>,
    steps: [Vec<isize>; 2],
    plain: bool,
}

impl Broadcast {
    /// `None` if the shapes do not broadcast.
    pub fn new(a: &[usize], b: &[usize]) -> Option<Self> {
        let rank = a.len().max(b.len());
        let aligned = |s: &[usize]| [vec![1; rank - s.len()], s.to_vec()].concat();
        let (long_a, long_b) = (aligned(a), aligned(b));
        let shape = long_a
            .iter()
            .zip(&long_b)
            .map(|(&a, &b)| match (a, b) {
                (a, b) if a == b => Some(a),
                (1, n) | (n, 1) => Some(n),
                _ => None,
            })
            .collect::<Option<Vec<usize>>>()?;
        let steps = [&long_a, &long_b].map(|s| {
            let along = strides(s);
            s.iter().zip(along).map(|(&n, step)| if n == 1 { 0 } else { step as isize }).collect()
        });
        let plain = long_a == long_b;
        Some(Self { shape, steps, plain })
    }

    /// Shape of the result.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// `out[i] = f(a[i], b[i])` over the result's positions.
    pub fn apply<A, B, O>(&self, a: &[A], b: &[B], out: &mut [O], mut f: impl FnMut(&A, &B) -> O) {
        if self.plain {
            for ((a, b), out) in a.iter().zip(b).zip(out) {
                *out = f(a, b);
            }
            return;
        }
        let mut next = out.iter_mut();
        each_offset(&self.shape, [0, 0], [&self.steps[0], &self.steps[1]], |[i, j]| {
            if let Some(out) = next.next() {
                *out = f(&a[i], &b[j]);
            }
        });
    }
}

/// Transposes: axis `i` of the result is axis `permutation[i]` of the input.
///
/// `permutation` must be a permutation of the input's axes.
pub fn transpose<T: Copy>(shape: &[usize], permutation: &[usize], input: &[T], output: &mut [T]) {
    debug_assert_eq!(shape.len(), permutation.len());
    let along = strides(shape);
    let steps: Vec<isize> = permutation.iter().map(|&axis| along[axis] as isize).collect();
    let turned: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
    gather(&turned, 0, &steps, input, output);
}

/// A rectangular selection with a step along every axis, negative steps backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// First position along each axis.
    pub start: Vec<usize>,
    /// Step along each axis, not 0.
    pub step: Vec<isize>,
    /// How many positions along each axis.
    pub count: Vec<usize>,
}

impl Slice {
    /// Copies the selection out of `input` of shape `shape`; every selected position must exist.
    pub fn apply<T: Copy>(&self, shape: &[usize], input: &[T], output: &mut [T]) {
        let along = strides(shape);
        let base: usize = self.start.iter().zip(&along).map(|(&i, &stride)| i * stride).sum();
        let steps: Vec<isize> = self.step.iter().zip(&along).map(|(&step, &stride)| step * stride as isize).collect();
        gather(&self.count, base as isize, &steps, input, output);
    }
}

fn gather<T: Copy>(shape: &[usize], base: isize, steps: &[isize], input: &[T], output: &mut [T]) {
    let mut next = output.iter_mut();
    each_offset(shape, [base], [steps], |[i]| {
        if let Some(out) = next.next() {
            *out = input[i];
        }
    });
}

/// Surrounds `input` by `before` and `after` values along each axis; `output` holds the padding value already.
pub fn pad<T: Copy>(shape: &[usize], before: &[usize], after: &[usize], input: &[T], output: &mut [T]) {
    let padded: Vec<usize> = shape.iter().zip(before.iter().zip(after)).map(|(n, (b, a))| n + b + a).collect();
    let steps: Vec<isize> = strides(&padded).iter().map(|&s| s as isize).collect();
    let base: isize = before.iter().zip(&steps).map(|(&b, &s)| b as isize * s).sum();
    let mut next = input.iter();
    each_offset(shape, [base], [&steps], |[i]| {
        if let Some(&x) = next.next() {
            output[i] = x;
        }
    });
}

/// Joins tensors along one axis: each part gives `widths[i]` consecutive elements (its length along the axis times the
/// product of the axes behind) in turn.
pub fn concatenate<T: Copy>(parts: &[&[T]], widths: &[usize], output: &mut [T]) {
    let row: usize = widths.iter().sum();
    if row == 0 {
        return;
    }
    for (i, out) in output.chunks_mut(row).enumerate() {
        let mut at = 0;
        for (part, &width) in parts.iter().zip(widths) {
            out[at..at + width].copy_from_slice(&part[i * width..][..width]);
            at += width;
        }
    }
}

/// Part of a tensor along one axis, the inverse of [`concatenate`]: elements `from..from + width` of every `row`.
pub fn part<T: Copy>(row: usize, from: usize, width: usize, input: &[T], output: &mut [T]) {
    if width == 0 {
        return;
    }
    for (row, out) in input.chunks(row).zip(output.chunks_mut(width)) {
        out.copy_from_slice(&row[from..from + width]);
    }
}

/// Where RESIZE_NEAREST_NEIGHBOR reads for each of `output` positions along an axis of length `input`.
///
/// src = clamp(⌊(i + off)·scale⌋, 0, in − 1) in f32; scale = in/out, with `align_corners` (in − 1)/(out − 1) and rounded
/// half away; off = ½ with `half_pixel_centers`.
pub fn nearest_sources(input: usize, output: usize, align_corners: bool, half_pixel_centers: bool) -> Vec<usize> {
    let scale = if align_corners && output > 1 {
        (input - 1) as f32 / (output - 1) as f32
    } else {
        input as f32 / output as f32
    };
    let offset = if half_pixel_centers { 0.5 } else { 0.0 };
    (0..output)
        .map(|i| {
            let at = (i as f32 + offset) * scale;
            let at = if align_corners { at.round() } else { at.floor() };
            (at.max(0.0) as usize).min(input - 1)
        })
        .collect()
}

/// Copies pixels of `channels` values from `rows` × `columns` of an input that is `width` wide.
pub fn pick_pixels<T: Copy>(
    rows: &[usize],
    columns: &[usize],
    width: usize,
    channels: usize,
    input: &[T],
    output: &mut [T],
) {
    let from = rows.iter().flat_map(|row| columns.iter().map(move |column| (row * width + column) * channels));
    for (at, out) in from.zip(output.chunks_mut(channels)) {
        out.copy_from_slice(&input[at..][..channels]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(shape: &[usize]) -> Vec<usize> {
        (0..shape.iter().product()).collect()
    }

    proptest! {
        #[test]
        fn transposing_back_gives_the_input(
            shape in prop::collection::vec(1usize..5, 1..5),
            seed in prop::collection::vec(any::<u32>(), 5),
        ) {
            let mut permutation: Vec<usize> = (0..shape.len()).collect();
            permutation.sort_by_key(|&axis| seed[axis]);
            let mut inverse = vec![0; shape.len()];
            permutation.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
            let turned: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
            let input = numbers(&shape);
            let (mut there, mut back) = (input.clone(), input.clone());
            transpose(&shape, &permutation, &input, &mut there);
            transpose(&turned, &inverse, &there, &mut back);
            prop_assert_eq!(back, input);
        }

        #[test]
        fn cutting_the_padding_off_gives_the_input(
            shape in prop::collection::vec(1usize..4, 1..4),
            before in prop::collection::vec(0usize..3, 4),
            after in prop::collection::vec(0usize..3, 4),
        ) {
            let rank = shape.len();
            let (before, after) = (&before[..rank], &after[..rank]);
            let padded: Vec<usize> = (0..rank).map(|i| shape[i] + before[i] + after[i]).collect();
            let input = numbers(&shape);
            let mut wide = vec![usize::MAX; padded.iter().product()];
            pad(&shape, before, after, &input, &mut wide);
            prop_assert_eq!(wide.iter().filter(|&&x| x == usize::MAX).count(), wide.len() - input.len());
            let mut back = vec![0; input.len()];
            Slice { start: before.to_vec(), step: vec![1; rank], count: shape }.apply(&padded, &wide, &mut back);
            prop_assert_eq!(back, input);
        }

        #[test]
        fn parts_of_what_was_joined_are_the_parts(rows in 1usize..5, widths in prop::collection::vec(0usize..5, 1..4)) {
            let row: usize = widths.iter().sum();
            let parts: Vec<Vec<usize>> = widths.iter().enumerate().map(|(i, w)| vec![i; rows * w]).collect();
            let mut joined = vec![0; rows * row];
            concatenate(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), &widths, &mut joined);
            let mut at = 0;
            for (&width, expected) in widths.iter().zip(&parts) {
                let mut out = vec![0; rows * width];
                part(row.max(1), at, width, &joined, &mut out);
                prop_assert_eq!(&out, expected);
                at += width;
            }
        }
    }

    #[test]
    fn broadcasting_repeats_axes_of_length_one() {
        let b = Broadcast::new(&[2, 1, 3], &[4, 1]).unwrap();
        assert_eq!(b.shape(), [2, 4, 3]);
        let mut out = vec![(0, 0); 24];
        b.apply(&[0, 1, 2, 3, 4, 5], &[0, 1, 2, 3], &mut out, |&a, &b| (a, b));
        assert_eq!(out[3 * 4 + 3 + 2], (5, 1));
        assert_eq!(Broadcast::new(&[2], &[3]), None);
    }

    #[test]
    fn a_negative_step_walks_backwards() {
        let mut out = [0; 2];
        Slice { start: vec![4], step: vec![-2], count: vec![2] }.apply(&[5], &[10, 11, 12, 13, 14], &mut out);
        assert_eq!(out, [14, 12]);
    }
}
