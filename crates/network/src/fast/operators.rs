//! Operators as closures over places in memory, each on the fastest path that gives the reference's bits.

use std::ops::Range;
use std::sync::Arc;

use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::fast::{Convolution, Depthwise, Image, ImageMut, Pairwise, Region, Scratch, quantize};
use tersor_kernels::int8::{self, Affine};

use super::{Call, Memory, Padded, Place, Preparation, constant_bytes};
use crate::graph::{Arithmetic, Network, Node, Tensor, TensorId};
use crate::operator::Operator;
use crate::reference::{self, Reference, affine, arithmetic};

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
        let special = match &self.node.operator {
            Operator::Conv2d { .. } => self.convolution(),
            Operator::DepthwiseConv2d { .. } => self.depthwise(),
            Operator::FullyConnected { .. } => self.matrix(),
            Operator::Add { .. } | Operator::Sub { .. } | Operator::Mul { .. } => self.pairwise(),
            Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => self.copy(),
            Operator::Relu
            | Operator::Relu6
            | Operator::ReluN1To1
            | Operator::LeakyRelu { .. }
            | Operator::HardSwish
            | Operator::Logistic
            | Operator::Tanh => self.table(),
            Operator::Quantize => self.table().or_else(|| self.quantize()),
            Operator::Dequantize => self.dequantize(),
            _ => None,
        };
        special.unwrap_or_else(|| self.by_reference())
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

    fn source(&self) -> Option<Range<usize>> {
        self.int8(self.padded.map(|p| p.source).or(self.input(0))?)
    }

    fn convolution(&self) -> Option<Call> {
        let (from, to) = (self.source()?, self.output()?);
        let around = self.padded.map(|p| p.around);
        let c = arithmetic::int8_convolution(&self.of_reference(), &self.node.operator, around).ok()?;
        self.packed_convolution(&c, from, to)
    }

    fn packed_convolution(&self, c: &int8::Convolution, from: Range<usize>, to: Range<usize>) -> Option<Call> {
        let fast = Convolution::new(c, self.how.isa)?;
        let call = move |input: &Image, output: &mut ImageMut, region: &Region, memory: &mut _| {
            fast.apply(input, output, region, memory);
        };
        Some(images(c, from, to, call))
    }

    fn depthwise(&self) -> Option<Call> {
        let (from, to) = (self.source()?, self.output()?);
        let around = self.padded.map(|p| p.around);
        let mut c = arithmetic::int8_convolution(&self.of_reference(), &self.node.operator, around).ok()?;
        if c.in_channels == 1 {
            // Of one channel, a depthwise convolution is a convolution; its weights only lie otherwise.
            let taps = c.weights.len() / c.out_channels;
            let turned = (0..c.weights.len()).map(|i| c.weights[i % taps * c.out_channels + i / taps]);
            c.weights = turned.collect();
            return self.packed_convolution(&c, from, to);
        }
        let fast = Depthwise::new(&c, self.how.isa)?;
        let call = move |input: &Image, output: &mut ImageMut, region: &Region, memory: &mut _| {
            fast.apply(input, output, region, memory);
        };
        Some(images(&c, from, to, call))
    }

    fn matrix(&self) -> Option<Call> {
        let Operator::FullyConnected { activation, .. } = self.node.operator else { return None };
        let (from, to) = (self.int8(self.input(0)?)?, self.output()?);
        let (c, weight_zero) = arithmetic::int8_matrix(&self.of_reference(), activation).ok()?;
        if weight_zero != 0 {
            return None;
        }
        self.packed_convolution(&c, from, to)
    }

    /// ADD, SUB and MUL of tensors of one shape, or where one is repeated whole along the outer axes of the other.
    fn pairwise(&self) -> Option<Call> {
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
        if !repeats(b, a) {
            let commutes = !matches!(self.node.operator, Operator::Sub { .. });
            if !commutes || !repeats(a, b) {
                return None;
            }
            (a, b) = (b, a);
        }
        let quantised = [affine(self.tensor(a)).ok()?, affine(self.tensor(b)).ok()?];
        let formula = arithmetic::int8_pair(&self.of_reference(), &self.node.operator, activation, quantised).ok()?;
        let fast = Pairwise::new(&formula, self.how.isa)?;
        let (from, to) = (self.int8(a)?, self.output()?);
        if let Some(constant) = self.reference.graphs[0].constants.get(&b) {
            let constant = constant_bytes(constant);
            return Some(Box::new(move |memory| {
                let (a, y) = pair(&mut memory.bytes, &from, &to);
                fast.apply(a, &constant, y);
                Ok(())
            }));
        }
        let other = self.int8(b)?;
        Some(Box::new(move |memory| {
            if from == other {
                let (a, y) = pair(&mut memory.bytes, &from, &to);
                fast.apply(a, a, y);
                return Ok(());
            }
            let places = memory.bytes.get_disjoint_mut([from.clone(), other.clone(), to.clone()]);
            let [a, b, y] = places.expect("places that live together lie apart");
            fast.apply(a, b, y);
            Ok(())
        }))
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
        let output = self.place(self.node.outputs[0])?;
        let mut answers = [Elements::zeros(output.element_type, 256)];
        kernel(&[&all], &mut answers).ok()?;
        let [answers] = answers;
        Some(answers)
    }

    fn table(&self) -> Option<Call> {
        let (from, to) = (self.int8(self.input(0)?)?, self.output()?);
        let table: [u8; 256] = constant_bytes(&self.answers()?).try_into().ok()?;
        Some(Box::new(move |memory| {
            let (x, y) = pair(&mut memory.bytes, &from, &to);
            x.iter().zip(y).for_each(|(&x, y)| *y = table[usize::from(x)]);
            Ok(())
        }))
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

/// Runs `kernel` on every image of a batch.
fn images(
    c: &int8::Convolution,
    from: Range<usize>,
    to: Range<usize>,
    kernel: impl Fn(&Image, &mut ImageMut, &Region, &mut Scratch) + Send + Sync + 'static,
) -> Call {
    let (v, h) = (c.vertical, c.horizontal);
    let [input, output] =
        [(v.input, h.input), (v.output, h.output)].map(|(rows, columns)| Region::whole(rows, columns));
    let (ins, outs) = (c.in_channels, c.out_channels);
    Box::new(move |memory| {
        let Memory { bytes, scratch, .. } = memory;
        let (x, y) = pair(bytes, &from, &to);
        let images = x.chunks_exact(v.input * h.input * ins).zip(y.chunks_exact_mut(v.output * h.output * outs));
        for (x, y) in images {
            let x = Image::new(input.clone(), v.input, ins, x);
            let mut y = ImageMut::new(output.clone(), v.output, outs, y);
            kernel(&x, &mut y, &output, scratch);
        }
        Ok(())
    })
}
