//! Operators as closures over places in memory, each on the fastest path that gives the reference's bits.

use std::ops::Range;
use std::sync::Arc;

use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::fast::{
    Convolution, Depthwise, Image, ImageMut, Pairwise, Pool, Pooling, channel_sums, quantize,
};
use tersor_kernels::int8::{self, Affine};
use tersor_kernels::layout;

use super::local::{Frame, Kernel, Local, Side};
use super::{Call, Memory, Padded, Place, Preparation, constant_bytes};
use crate::graph::{Arithmetic, Network, Node, Tensor, TensorId};
use crate::operator::{self, Operator};
use crate::reference::{self, Reference, affine, arithmetic};
use crate::shape;

/// A node, and what preparing it may ask.
pub(super) struct Site<'a> {
    pub reference: &'a Reference,
    pub network: &'a Network,
    pub node: &'a Node,
    pub at: usize,
    pub places: &'a [Option<Place>],
    pub padded: Option<Padded>,
    pub how: &'a Preparation,
}

/// The bytes of two places.
fn pair<'m>(memory: &'m mut [u8], from: &Range<usize>, to: &Range<usize>) -> (&'m [u8], &'m mut [u8]) {
    let [from, to] = memory.get_disjoint_mut([from.clone(), to.clone()]).expect("places that live together lie apart");
    (from, to)
}

impl Site<'_> {
    /// The fastest path there is.
    pub fn call(&self) -> Call {
        // Who writes over its own operand does so on copies.
        if self.node.outputs.iter().any(|t| self.node.inputs.contains(&Some(*t))) {
            return self.by_reference();
        }
        if let Some(call) = self.local().and_then(|local| self.on_whole_images(local)) {
            return call;
        }
        let special = match &self.node.operator {
            Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => self.copy(),
            Operator::Quantize => self.quantize(),
            Operator::Dequantize => self.dequantize(),
            Operator::Mean { .. } => self.mean(),
            _ => None,
        };
        special.unwrap_or_else(|| self.by_reference())
    }

    /// The operator on images, if there is a fast kernel for it.
    pub fn local(&self) -> Option<Local> {
        match &self.node.operator {
            Operator::Conv2d { .. } => self.convolution(),
            Operator::DepthwiseConv2d { .. } => self.depthwise(),
            Operator::FullyConnected { .. } => self.matrix(),
            Operator::AveragePool2d(pool) => self.pool(pool, Pooling::Average),
            Operator::MaxPool2d(pool) => self.pool(pool, Pooling::Max),
            Operator::Add { .. } | Operator::Sub { .. } | Operator::Mul { .. } => self.pairwise(),
            Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers } => {
                self.resize(*align_corners, *half_pixel_centers)
            }
            Operator::Relu
            | Operator::Relu6
            | Operator::ReluN1To1
            | Operator::LeakyRelu { .. }
            | Operator::HardSwish
            | Operator::Logistic
            | Operator::Tanh
            | Operator::Quantize => self.table(),
            _ => None,
        }
    }

    /// Runs a local operator on every image of a batch, whole.
    fn on_whole_images(&self, local: Local) -> Option<Call> {
        let operands = self.operands();
        let from: Vec<Range<usize>> = operands.iter().map(|&t| self.int8(t)).collect::<Option<_>>()?;
        let to = self.output()?;
        let frames = local.operands().to_vec();
        let whole = local.output().whole();
        let images = to.len() / local.output().bytes();
        let fit = from.iter().zip(&frames).all(|(from, frame)| from.len() == frame.bytes() * images);
        if !fit || frames.len() > 2 {
            return None;
        }
        Some(Box::new(move |memory| {
            let Memory { bytes, workspaces, .. } = memory;
            let (before, rest) = bytes.split_at_mut(to.start);
            let (output, after) = rest.split_at_mut(to.len());
            for (i, output) in output.chunks_exact_mut(local.output().bytes()).enumerate() {
                let image = |operand: usize| {
                    let frame = frames[operand];
                    let start = from[operand].start + i * frame.bytes();
                    let bytes = if start < to.start { &before[start..] } else { &after[start - to.end..] };
                    Image::new(frame.whole(), frame.height, frame.channels, &bytes[..frame.bytes()])
                };
                let output = ImageMut::new(whole.clone(), local.output().height, local.output().channels, output);
                match frames.len() {
                    1 => local.apply(&[image(0)], output, &whole, workspaces)?,
                    _ => local.apply(&[image(0), image(1)], output, &whole, workspaces)?,
                }
            }
            Ok(())
        }))
    }

    /// Operands that are no constants, in order; what a fused PAD reads instead of its output.
    fn operands(&self) -> Vec<TensorId> {
        let constants = &self.reference.graphs[0].constants;
        let mut operands: Vec<TensorId> =
            self.node.inputs.iter().flatten().copied().filter(|t| !constants.contains_key(t)).collect();
        if let Some(padded) = self.padded {
            operands[0] = padded.source;
        }
        operands
    }

    fn tensor(&self, t: TensorId) -> &Tensor {
        &self.network.main().tensors[t]
    }

    fn input(&self, i: usize) -> Option<TensorId> {
        self.node.inputs.get(i).copied().flatten()
    }

    fn place(&self, t: TensorId) -> Option<&Place> {
        self.places[t].as_ref()
    }

    /// Where an int8 tensor lies.
    fn int8(&self, t: TensorId) -> Option<Range<usize>> {
        self.place(t).filter(|p| p.element_type == ElementType::I8).map(|p| p.bytes.clone())
    }

    fn output(&self) -> Option<Range<usize>> {
        self.int8(self.node.outputs[0])
    }

    fn of_reference(&self) -> reference::Site<'_> {
        reference::Site {
            network: self.network,
            graph: self.network.main(),
            node: self.node,
            constants: &self.reference.graphs[0].constants,
            options: self.how.options,
        }
    }

    /// The reference's own kernel, on copies.
    fn by_reference(&self) -> Call {
        enum Operand {
            Stored(Place),
            Constant(Arc<Elements>),
        }
        let constants = &self.reference.graphs[0].constants;
        let absent = || Arc::new(Elements::U8(Vec::new()));
        let operand = |t: Option<TensorId>| match t.and_then(|t| self.place(t)) {
            Some(place) => Operand::Stored(place.clone()),
            None => Operand::Constant(t.and_then(|t| constants.get(&t)).cloned().unwrap_or_else(absent)),
        };
        let operands: Vec<Operand> = self.node.inputs.iter().map(|&t| operand(t)).collect();
        let outputs: Vec<Option<Place>> = self.node.outputs.iter().map(|&t| self.place(t).cloned()).collect();
        let lengths: Vec<usize> = self.node.outputs.iter().map(|&t| self.tensor(t).len()).collect();
        let kernel = self.reference.kernel(self.at);
        Box::new(move |memory| {
            let read = |o: &Operand| match o {
                Operand::Stored(place) => place.elements(&memory.bytes),
                Operand::Constant(_) => None,
            };
            let copies: Vec<Option<Elements>> = operands.iter().map(read).collect();
            let operands: Vec<&Elements> = operands
                .iter()
                .zip(&copies)
                .map(|(o, copy)| match (o, copy) {
                    (Operand::Constant(c), _) => Ok(&**c),
                    (_, Some(copy)) => Ok(copy),
                    _ => Err("an operand is no array".to_string()),
                })
                .collect::<Result<_, _>>()?;
            let zeros = |(place, &n): (&Option<Place>, &usize)| {
                Elements::zeros(place.as_ref().map_or(ElementType::U8, |p| p.element_type), n)
            };
            let mut results: Vec<Elements> = outputs.iter().zip(&lengths).map(zeros).collect();
            kernel(&operands, &mut results)?;
            for (place, result) in outputs.iter().zip(&results) {
                if let Some(place) = place {
                    place.store(&mut memory.bytes, result);
                }
            }
            Ok(())
        })
    }

    fn convolution(&self) -> Option<Local> {
        let around = self.padded.map(|p| p.around);
        let c = arithmetic::int8_convolution(&self.of_reference(), &self.node.operator, around).ok()?;
        self.packed_convolution(&c)
    }

    fn packed_convolution(&self, c: &int8::Convolution) -> Option<Local> {
        Some(over_windows(c, Kernel::Convolution(Convolution::new(c, self.how.isa)?)))
    }

    fn depthwise(&self) -> Option<Local> {
        let around = self.padded.map(|p| p.around);
        let mut c = arithmetic::int8_convolution(&self.of_reference(), &self.node.operator, around).ok()?;
        if c.in_channels == 1 {
            // Of one channel, a depthwise convolution is a convolution; its weights only lie otherwise.
            let taps = c.weights.len() / c.out_channels;
            let turned = (0..c.weights.len()).map(|i| c.weights[i % taps * c.out_channels + i / taps]);
            c.weights = turned.collect();
            return self.packed_convolution(&c);
        }
        Some(over_windows(&c, Kernel::Depthwise(Depthwise::new(&c, self.how.isa)?)))
    }

    fn matrix(&self) -> Option<Local> {
        let Operator::FullyConnected { activation, .. } = self.node.operator else { return None };
        let (c, weight_zero) = arithmetic::int8_matrix(&self.of_reference(), activation).ok()?;
        if weight_zero != 0 {
            return None;
        }
        self.packed_convolution(&c)
    }

    fn pool(&self, pool: &operator::Pool, pooling: Pooling) -> Option<Local> {
        let (input, output) = (self.tensor(self.input(0)?), self.tensor(self.node.outputs[0]));
        if input.element_type()? != ElementType::I8 {
            return None;
        }
        let [v, h] = shape::pool_windows(&input.shape, pool).ok()?;
        let channels = shape::image(&input.shape).ok()?[3];
        let range = int8::Range::of(pool.activation, affine(output).ok()?);
        let kernel = Kernel::Pool(Pool::new(pooling, [v, h], channels, range, self.how.isa)?);
        Some(Local {
            kernel,
            operands: vec![Frame { height: v.input, width: h.input, channels }],
            output: Frame { height: v.output, width: h.output, channels },
            row_work: (h.output * channels * v.kernel * h.kernel) as u64,
        })
    }

    fn resize(&self, align_corners: bool, half_pixel_centers: bool) -> Option<Local> {
        let of_one_image = |t: TensorId| {
            let tensor = self.tensor(t);
            let [_, height, width, channels] = shape::image(&tensor.shape).ok()?;
            (tensor.element_type()? == ElementType::I8).then_some(Frame { height, width, channels })
        };
        let (x, y) = (of_one_image(self.input(0)?)?, of_one_image(self.node.outputs[0])?);
        let sources = |from, to| layout::nearest_sources(from, to, align_corners, half_pixel_centers);
        let kernel = Kernel::Resize([sources(x.height, y.height), sources(x.width, y.width)]);
        Some(Local { kernel, operands: vec![x], output: y, row_work: (y.width * y.channels) as u64 })
    }

    /// The image that an int8 tensor is; one pixel if it is none, or several.
    pub fn frame(&self, t: TensorId) -> Option<Frame> {
        let tensor = self.tensor(t);
        if tensor.element_type()? != ElementType::I8 {
            return None;
        }
        Some(match tensor.shape[..] {
            [1, height, width, channels] => Frame { height, width, channels },
            _ => Frame { height: 1, width: 1, channels: tensor.len() },
        })
    }

    /// ADD, SUB and MUL of tensors of one shape, or where one is repeated whole along the outer axes of the other.
    fn pairwise(&self) -> Option<Local> {
        let (Operator::Add { activation } | Operator::Sub { activation } | Operator::Mul { activation }) =
            self.node.operator
        else {
            return None;
        };
        let adds = matches!(self.node.operator, Operator::Add { .. });
        if adds && self.network.arithmetic == Arithmetic::Float {
            return None;
        }
        let (mut a, mut b) = (self.input(0)?, self.input(1)?);
        let repeats = |small: TensorId, large: TensorId| {
            let shape = &self.tensor(small).shape;
            let inner: Vec<usize> = shape.iter().copied().skip_while(|&n| n == 1).collect();
            self.tensor(large).shape.ends_with(&inner) && self.tensor(large).shape.len() >= shape.len()
        };
        let mut order = [0, 1];
        if !repeats(b, a) {
            let commutes = !matches!(self.node.operator, Operator::Sub { .. });
            if !commutes || !repeats(a, b) {
                return None;
            }
            (a, b) = (b, a);
            order = [1, 0];
        }
        let quantised = [affine(self.tensor(a)).ok()?, affine(self.tensor(b)).ok()?];
        let formula = arithmetic::int8_pair(&self.of_reference(), &self.node.operator, activation, quantised).ok()?;
        let fast = Pairwise::new(&formula, self.how.isa)?;
        let constants = &self.reference.graphs[0].constants;
        if constants.contains_key(&a) {
            return None;
        }
        let (large, small) = (self.frame(a)?, self.frame(b)?);
        let flat = |frame: Frame| Frame { height: 1, width: 1, channels: frame.bytes() };
        // What is not repeated in each pixel is repeated in the whole alone.
        let by_pixels = large == small || small.bytes() == large.channels || small.bytes() == 1;
        let large = if by_pixels { large } else { flat(large) };
        let (sides, operands) = match constants.get(&b) {
            Some(constant) => ([Side::Image(0), Side::Constant(constant_bytes(constant))], vec![large]),
            None => {
                let (second, small) =
                    if large == small { (Side::Image(order[1]), small) } else { (Side::Pixel(order[1]), flat(small)) };
                let operands = if order == [0, 1] { vec![large, small] } else { vec![small, large] };
                ([Side::Image(order[0]), second], operands)
            }
        };
        let row_work = (large.width * large.channels) as u64;
        Some(Local { kernel: Kernel::Pairwise(fast, sides), operands, output: large, row_work })
    }

    fn copy(&self) -> Option<Call> {
        let (from, to) = (self.place(self.input(0)?)?.bytes.clone(), self.place(self.node.outputs[0])?.bytes.clone());
        Some(Box::new(move |memory| {
            let (x, y) = pair(&mut memory.bytes, &from, &to);
            y.copy_from_slice(x);
            Ok(())
        }))
    }

    /// The reference's answers for all 256 int8 values: what maps single elements has no more.
    fn answers(&self) -> Option<Elements> {
        let kernel = self.reference.kernel(self.at);
        let all = Elements::I8((0..=255u8).map(|b| (b ^ 0x80) as i8).collect());
        let mut answers = [Elements::zeros(self.tensor(self.node.outputs[0]).element_type()?, 256)];
        kernel(&[&all], &mut answers).ok()?;
        let [answers] = answers;
        Some(answers)
    }

    fn table(&self) -> Option<Local> {
        let (x, y) = (self.frame(self.input(0)?)?, self.frame(self.node.outputs[0])?);
        let table: [u8; 256] = constant_bytes(&self.answers()?).try_into().ok()?;
        let row_work = (y.width * y.channels) as u64;
        Some(Local { kernel: Kernel::Table(Box::new(table)), operands: vec![x], output: y, row_work })
    }

    fn dequantize(&self) -> Option<Call> {
        let from = self.int8(self.input(0)?)?;
        let to = self.place(self.node.outputs[0]).filter(|p| p.element_type == ElementType::F32)?.bytes.clone();
        let answers = self.answers()?;
        let table: Vec<[u8; 4]> = answers.as_f32()?.iter().map(|x| x.to_le_bytes()).collect();
        Some(Box::new(move |memory| {
            let (x, y) = pair(&mut memory.bytes, &from, &to);
            x.iter().zip(y.chunks_exact_mut(4)).for_each(|(&x, y)| y.copy_from_slice(&table[usize::from(x)]));
            Ok(())
        }))
    }

    /// MEAN over the pixels of an image.
    fn mean(&self) -> Option<Call> {
        let (from, to) = (self.int8(self.input(0)?)?, self.output()?);
        let (channels, value) = arithmetic::int8_mean_of_pixels(&self.of_reference()).ok()??;
        if from.len() / channels > 1 << 23 {
            return None;
        }
        let isa = self.how.isa;
        Some(Box::new(move |memory| {
            let Memory { bytes, sums, .. } = memory;
            let (x, y) = pair(bytes, &from, &to);
            sums.resize(channels, 0);
            channel_sums(x, isa, sums);
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = value(i64::from(*sum)) as u8 ^ 0x80);
            Ok(())
        }))
    }

    /// f32 to int8.
    fn quantize(&self) -> Option<Call> {
        let from = self.place(self.input(0)?).filter(|p| p.element_type == ElementType::F32)?.bytes.clone();
        let to = self.output()?;
        let q: Affine = affine(self.tensor(self.node.outputs[0])).ok()?;
        let isa = self.how.isa;
        Some(Box::new(move |memory| {
            let Memory { bytes, numbers, .. } = memory;
            let (x, y) = pair(bytes, &from, &to);
            numbers.clear();
            numbers.extend(x.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)));
            let done = quantize(numbers, q, isa, y);
            done.map_err(|i| format!("element {i} of its input is not a number"))
        }))
    }
}

/// A kernel over the windows of `c`.
fn over_windows(c: &int8::Convolution, kernel: Kernel) -> Local {
    let (v, h) = (c.vertical, c.horizontal);
    Local {
        kernel,
        operands: vec![Frame { height: v.input, width: h.input, channels: c.in_channels }],
        output: Frame { height: v.output, width: h.output, channels: c.out_channels },
        row_work: (h.output * c.weights.len()) as u64,
    }
}
