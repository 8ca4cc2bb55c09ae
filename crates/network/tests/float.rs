//! The engine for real numbers, held to the formulas in f64 on random networks.

use std::sync::Arc;

use proptest::prelude::*;
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::{Padding, Window};
use tersor_network::float::{Float, Kernel};
use tersor_network::operator::{Operator, Pool};
use tersor_network::shape::{self, Operand};
use tersor_network::{Arithmetic, Error, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind};

/// Small numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// In [-1, 1).
    fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Of which a random share is 0, in places that a pruning would choose.
    fn pruned(&mut self, count: usize) -> Vec<f32> {
        let density = self.one_of(&[1.0, 0.5, 0.1, 0.02, 0.0]);
        let block = self.one_of(&[1, 1, 4, 8]);
        let mut keep = false;
        let mut weights = self.numbers(count);
        for (i, w) in weights.iter_mut().enumerate() {
            if i % block == 0 {
                keep = self.number() < density * 2.0 - 1.0;
            }
            *w = if keep { *w } else { 0.0 };
        }
        weights
    }
}

/// A network that grows node by node.
struct Builder {
    graph: Graph,
}

impl Builder {
    fn new() -> Self {
        Self { graph: Graph::default() }
    }

    fn tensor(&mut self, shape: &[usize], kind: ElementType, constant: Option<Elements>) -> TensorId {
        let name = format!("t{}", self.graph.tensors.len());
        self.graph.tensors.push(Tensor {
            name,
            shape: shape.to_vec(),
            kind: TensorKind::Element(kind),
            quantization: None,
            constant: constant.map(Arc::new),
            variable: false,
        });
        self.graph.tensors.len() - 1
    }

    fn input(&mut self, shape: &[usize]) -> TensorId {
        let t = self.tensor(shape, ElementType::F32, None);
        self.graph.inputs.push(t);
        t
    }

    fn real(&mut self, shape: &[usize], numbers: Vec<f32>) -> TensorId {
        assert_eq!(shape.iter().product::<usize>(), numbers.len());
        self.tensor(shape, ElementType::F32, Some(numbers.into()))
    }

    fn whole(&mut self, numbers: &[i32]) -> TensorId {
        self.tensor(&[numbers.len()], ElementType::I32, Some(numbers.to_vec().into()))
    }

    fn shape(&self, t: TensorId) -> Vec<usize> {
        self.graph.tensors[t].shape.clone()
    }

    /// `None` if the operands do not fit; the graph is then as it was.
    fn all(&mut self, operator: Operator, inputs: &[TensorId]) -> Option<Vec<TensorId>> {
        let operand = |&t: &TensorId| {
            let tensor = &self.graph.tensors[t];
            Some(Operand { shape: &tensor.shape, constant: tensor.constant.as_deref() })
        };
        let operands: Vec<_> = inputs.iter().map(operand).collect();
        let shapes = shape::infer_in(Layout::ChannelsFirst, &operator, &operands).ok()??;
        let outputs: Vec<_> = shapes.iter().map(|shape| self.tensor(shape, ElementType::F32, None)).collect();
        let inputs = inputs.iter().copied().map(Some).collect();
        self.graph.nodes.push(Node { operator, inputs, outputs: outputs.clone() });
        Some(outputs)
    }

    fn add(&mut self, operator: Operator, inputs: &[TensorId]) -> Option<TensorId> {
        Some(self.all(operator, inputs)?[0])
    }

    fn network(self) -> Network {
        Network {
            name: "test".into(),
            description: String::new(),
            graphs: vec![self.graph],
            arithmetic: Arithmetic::default(),
            layout: Layout::ChannelsFirst,
        }
    }
}

fn normalization(b: &mut Builder, dice: &mut Dice, channels: usize, x: TensorId) -> Option<TensorId> {
    let [gamma, beta, mean] = [0, 1, 2].map(|_| b.real(&[channels], dice.numbers(channels)));
    let variance = (0..channels).map(|_| dice.number() + 1.5).collect();
    let variance = b.real(&[channels], variance);
    b.add(Operator::BatchNormalization { epsilon: 1e-3 }, &[x, gamma, beta, mean, variance])
}

fn activated(b: &mut Builder, dice: &mut Dice, x: TensorId) -> Option<TensorId> {
    match dice.below(9) {
        0 => b.add(Operator::Relu6, &[x]),
        1 => b.add(Operator::ReluN1To1, &[x]),
        2 => b.add(Operator::LeakyRelu { alpha: 0.1 }, &[x]),
        3 => b.add(Operator::HardSwish, &[x]),
        4 => b.add(Operator::Logistic, &[x]),
        5 => b.add(Operator::Tanh, &[x]),
        6 => {
            let channels = b.shape(x).get(1).copied().unwrap_or(1);
            let behind = b.shape(x).len().saturating_sub(2);
            let slopes = b.real(&[&[channels], &vec![1; behind][..]].concat(), dice.numbers(channels));
            b.add(Operator::Prelu, &[x, slopes])
        }
        _ => b.add(Operator::Relu, &[x]),
    }
}

fn padding(dice: &mut Dice) -> Padding {
    match dice.below(3) {
        0 => Padding::Same,
        1 => Padding::Valid,
        _ => Padding::Explicit { before: dice.below(3), after: dice.below(3) },
    }
}

fn convolved(b: &mut Builder, dice: &mut Dice, x: TensorId) -> Option<TensorId> {
    let &[_, channels, _, _] = b.shape(x).as_slice() else { return None };
    let divisors: Vec<_> = (1..=channels).filter(|d| channels.is_multiple_of(*d)).collect();
    let groups = match dice.below(3) {
        0 => channels,
        1 => 1,
        _ => dice.one_of(&divisors),
    };
    let out = groups * (1 + dice.below(if groups == 1 { 20 } else { 3 }));
    let [kh, kw] = dice.one_of(&[[1, 1], [1, 1], [3, 3], [2, 3], [5, 1], [1, 4]]);
    let shape = [out, channels / groups, kh, kw];
    let weights = b.real(&shape, dice.pruned(shape.iter().product()));
    let operator = Operator::Conv2d {
        stride: [1 + dice.below(3), 1 + dice.below(3)],
        dilation: [1 + dice.below(2), 1 + dice.below(2)],
        padding: [padding(dice), padding(dice)],
        activation: dice.one_of(&[Activation::None, Activation::None, Activation::Relu, Activation::ReluN1To1]),
    };
    let mut y = if dice.below(3) == 0 {
        b.add(operator, &[x, weights])?
    } else {
        let bias = b.real(&[out], dice.numbers(out));
        b.add(operator, &[x, weights, bias])?
    };
    if dice.below(2) == 0 {
        y = normalization(b, dice, out, y)?;
    }
    if dice.below(2) == 0 { activated(b, dice, y) } else { Some(y) }
}

fn multiplied(b: &mut Builder, dice: &mut Dice, x: TensorId) -> Option<TensorId> {
    let shape = b.shape(x);
    let (&last, rest) = shape.split_last()?;
    let rows: usize = rest.iter().product();
    // As they stand, or with the last two axes as the inputs.
    let inputs = if rest.len() > 1 && dice.below(3) > 0 { last * rest[rest.len() - 1] } else { last };
    if rows * last > 20_000 {
        return None;
    }
    let outputs = 1 + dice.below(70);
    let weights = b.real(&[outputs, inputs], dice.pruned(outputs * inputs));
    let bias = b.real(&[outputs], dice.numbers(outputs));
    let operator = Operator::FullyConnected {
        keep_num_dims: dice.below(2) == 0,
        activation: dice.one_of(&[Activation::None, Activation::Relu6]),
    };
    let y = b.add(operator, &[x, weights, bias])?;
    if b.shape(y).len() == 2 && dice.below(2) == 0 { normalization(b, dice, outputs, y) } else { Some(y) }
}

/// Another tensor that meets `x` somehow.
fn met(b: &mut Builder, dice: &mut Dice, x: TensorId, others: &[TensorId]) -> Option<TensorId> {
    let shape = b.shape(x);
    let same: Vec<_> = others.iter().copied().filter(|&t| b.shape(t) == shape).collect();
    let other = match dice.below(4) {
        0 | 1 => dice.one_of(&same),
        2 => b.real(&[], dice.numbers(1)),
        _ => {
            let repeated: Vec<usize> = shape.iter().map(|&n| if dice.below(2) == 0 { 1 } else { n }).collect();
            let from = dice.below(shape.len().max(1)).min(shape.len());
            let count = repeated[from..].iter().product();
            b.real(&repeated[from..], dice.numbers(count))
        }
    };
    let pair = if dice.below(2) == 0 { [x, other] } else { [other, x] };
    let activation = dice.one_of(&[Activation::None, Activation::Relu]);
    match dice.below(6) {
        0 => b.add(Operator::Sub { activation }, &pair),
        1 => b.add(Operator::Mul { activation }, &pair),
        2 => b.add(Operator::Maximum, &pair),
        3 => b.add(Operator::Minimum, &pair),
        _ => b.add(Operator::Add { activation }, &pair),
    }
}

fn moved(b: &mut Builder, dice: &mut Dice, x: TensorId) -> Option<TensorId> {
    let shape = b.shape(x);
    let rank = shape.len();
    match dice.below(7) {
        0 => {
            let around: Vec<i32> = (0..2 * rank).map(|_| dice.below(2) as i32).collect();
            let around = b.whole(&around);
            if dice.below(2) == 0 {
                return b.add(Operator::Pad, &[x, around]);
            }
            let value = b.real(&[1], dice.numbers(1));
            b.add(Operator::PadV2, &[x, around, value])
        }
        1 => {
            let mut axes: Vec<i32> = (0..rank as i32).collect();
            for i in 1..rank {
                axes.swap(i, dice.below(i + 1));
            }
            let axes = b.whole(&axes);
            b.add(Operator::Transpose, &[x, axes])
        }
        2 => {
            let begin: Vec<i32> = shape.iter().map(|&n| dice.below(n) as i32).collect();
            let size: Vec<i32> =
                shape.iter().zip(&begin).map(|(&n, &s)| 1 + dice.below(n - s as usize) as i32).collect();
            let (begin, size) = (b.whole(&begin), b.whole(&size));
            b.add(Operator::Slice, &[x, begin, size])
        }
        3 => {
            let (begin, end) = (b.whole(&vec![-1; rank]), b.whole(&vec![0; rank]));
            let step = b.whole(&(0..rank).map(|_| -1 - dice.below(2) as i32).collect::<Vec<_>>());
            let operator = Operator::StridedSlice {
                begin_mask: 0,
                end_mask: -1,
                ellipsis_mask: 0,
                new_axis_mask: 0,
                shrink_axis_mask: 0,
            };
            b.add(operator, &[x, begin, end, step])
        }
        4 => {
            let axis = dice.below(rank);
            let at = b.whole(&[axis as i32]);
            let parts = b.all(Operator::Split { parts: shape[axis] }, &[at, x])?;
            let kept: Vec<_> = (0..2).map(|_| dice.one_of(&parts)).collect();
            b.add(Operator::Concatenation { axis: axis as i32, activation: Activation::None }, &kept)
        }
        5 => {
            let axis = dice.below(rank) as i32;
            let parts = b.all(Operator::Unpack { axis }, &[x])?;
            b.add(Operator::Pack { axis: dice.below(rank) as i32 }, &parts)
        }
        _ => {
            let at = b.whole(&[dice.below(rank + 1) as i32]);
            let y = b.add(Operator::ExpandDims, &[x, at])?;
            let y = if dice.below(2) == 0 { activated(b, dice, y)? } else { y };
            let shape = shape.iter().map(|&n| n as i32).collect();
            b.add(Operator::Reshape { shape: Some(shape) }, &[y])
        }
    }
}

fn reduced(b: &mut Builder, dice: &mut Dice, x: TensorId) -> Option<TensorId> {
    let shape = b.shape(x);
    match dice.below(4) {
        0 => {
            let axes: Vec<i32> = (0..shape.len() as i32).filter(|_| dice.below(2) == 0).collect();
            let axes = b.whole(&axes);
            b.add(Operator::Mean { keep_dims: true }, &[x, axes])
        }
        1 => b.add(Operator::Softmax { beta: dice.one_of(&[1.0, 0.5]) }, &[x]),
        which => {
            let pool = Pool {
                kernel: [1 + dice.below(4), 1 + dice.below(4)],
                stride: [1 + dice.below(3), 1 + dice.below(3)],
                padding: [padding(dice), padding(dice)],
                activation: Activation::None,
            };
            let &[_, _, height, width] = shape.as_slice() else { return None };
            let inside = |n: usize, i: usize| {
                Window::new(n, pool.kernel[i], pool.stride[i], 1, pool.padding[i])
                    .is_some_and(|w| !w.taps(0).is_empty() && !w.taps(w.output - 1).is_empty())
            };
            if !inside(height, 0) || !inside(width, 1) {
                return None;
            }
            b.add(if which == 2 { Operator::MaxPool2d(pool) } else { Operator::AveragePool2d(pool) }, &[x])
        }
    }
}

/// A small random network, and what it is given.
fn random(seed: u64, nodes: usize) -> (Network, Vec<Vec<f32>>) {
    let (mut b, mut dice) = (Builder::new(), Dice(seed));
    let shape = [1 + dice.below(3), 1 + dice.below(8), 1 + dice.below(20), 1 + dice.below(20)];
    let mut x = b.input(&shape);
    let mut computed = vec![x];
    for _ in 0..nodes {
        let y = match dice.below(12) {
            0..4 => convolved(&mut b, &mut dice, x),
            4 | 5 => met(&mut b, &mut dice, x, &computed),
            6 => reduced(&mut b, &mut dice, x),
            7 => moved(&mut b, &mut dice, x),
            8 => multiplied(&mut b, &mut dice, x),
            9 => {
                let channels = b.shape(x).get(1).copied();
                channels.and_then(|channels| normalization(&mut b, &mut dice, channels, x))
            }
            10 => {
                let other = dice.one_of(&computed);
                b.add(Operator::Concatenation { axis: 1, activation: Activation::None }, &[x, other, x])
            }
            _ => activated(&mut b, &mut dice, x),
        };
        let Some(y) = y.filter(|&y| b.graph.tensors[y].len() < 30_000) else { continue };
        computed.push(y);
        // Mostly on from here; sometimes from something older, whose place must not have been taken.
        x = if dice.below(5) == 0 { dice.one_of(&computed) } else { y };
    }
    let last = *computed.last().unwrap();
    b.graph.outputs = vec![last, dice.one_of(&computed)];
    let given = b.graph.inputs.iter().map(|&t| dice.numbers(b.graph.tensors[t].len())).collect();
    (b.network(), given)
}

/// A number as the formula gives it, and the sum of the sizes of its terms: what rounding may do to it grows with them.
#[derive(Debug, Clone, Copy, Default)]
struct Number {
    value: f64,
    size: f64,
}

impl Number {
    fn new(value: f64) -> Self {
        Self { value, size: value.abs() }
    }

    fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, size: self.size + other.size }
    }

    fn times(self, other: Self) -> Self {
        Self { value: self.value * other.value, size: self.size * other.size }
    }

    /// Of a function of slope at most 2.
    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let value = f(self.value);
        Self { value, size: 2.0 * self.size + value.abs() }
    }

    fn larger(self, other: Self) -> Self {
        Self { value: self.value.max(other.value), size: self.size.max(other.size) }
    }

    fn within(self, activation: Activation) -> Self {
        let (least, most) = activation.bounds();
        Self { value: self.value.clamp(f64::from(least), f64::from(most)), ..self }
    }
}

/// A tensor of the formulas.
#[derive(Debug, Clone)]
struct Values {
    shape: Vec<usize>,
    numbers: Vec<Number>,
}

/// Every index of a shape, in order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let shape = shape.to_vec();
    (0..shape.iter().product()).map(move |mut at| {
        let mut index = vec![0; shape.len()];
        for (index, n) in index.iter_mut().zip(&shape).rev() {
            (*index, at) = (at % n, at / n);
        }
        index
    })
}

impl Values {
    fn of(shape: &[usize], f: impl FnMut(Vec<usize>) -> Number) -> Self {
        Self { shape: shape.to_vec(), numbers: indices(shape).map(f).collect() }
    }

    /// Axes aligned at the end, an axis of length 1 repeated.
    fn at(&self, index: &[usize]) -> Number {
        let index = &index[index.len() - self.shape.len()..];
        let flat = index.iter().zip(&self.shape).fold(0, |flat, (&i, &n)| flat * n + if n == 1 { 0 } else { i });
        self.numbers[flat]
    }
}

/// As the formulas read, in f64; the values of every tensor.
fn formulas(network: &Network, given: &[Vec<f32>]) -> Vec<Option<Values>> {
    let graph = network.main();
    let values = |t: &Tensor, numbers: &[f32]| Values {
        shape: t.shape.clone(),
        numbers: numbers.iter().map(|&x| Number::new(f64::from(x))).collect(),
    };
    let constant = |t: &Tensor| t.constant.as_deref().and_then(Elements::as_f32).map(|numbers| values(t, numbers));
    let mut all: Vec<Option<Values>> = graph.tensors.iter().map(constant).collect();
    for (&t, numbers) in graph.inputs.iter().zip(given) {
        all[t] = Some(values(&graph.tensors[t], numbers));
    }
    for node in &graph.nodes {
        for (part, &output) in node.outputs.iter().enumerate() {
            let shape = &graph.tensors[output].shape;
            let y = computed(graph, node, part, shape, &|i| all[node.inputs[i].unwrap()].as_ref().unwrap());
            all[output] = Some(y);
        }
    }
    all
}

fn computed<'v>(graph: &Graph, node: &Node, part: usize, shape: &[usize], x: &dyn Fn(usize) -> &'v Values) -> Values {
    let whole = |i: usize| graph.tensors[node.inputs[i].unwrap()].constant.as_ref().unwrap().as_i32().unwrap().to_vec();
    let each = |f: &dyn Fn(Number) -> Number| Values::of(shape, |i| f(x(0).at(&i)));
    let both = |f: &dyn Fn(Number, Number) -> Number| Values::of(shape, |i| f(x(0).at(&i), x(1).at(&i)));
    let minus = |a: Number| Number { value: -a.value, ..a };
    let from_end = |axis: i32, rank: usize| if axis < 0 { (axis + rank as i32) as usize } else { axis as usize };
    let again = |v: &Values| Values { shape: shape.to_vec(), numbers: v.numbers.clone() };
    match &node.operator {
        Operator::Add { activation } => both(&|a, b| a.plus(b).within(*activation)),
        Operator::Sub { activation } => both(&|a, b| a.plus(minus(b)).within(*activation)),
        Operator::Mul { activation } => both(&|a, b| a.times(b).within(*activation)),
        Operator::Maximum => both(&Number::larger),
        Operator::Minimum => both(&|a, b| minus(minus(a).larger(minus(b)))),
        Operator::Prelu => both(&|a, slope| if a.value < 0.0 { a.times(slope) } else { a }),
        Operator::Relu => each(&|a| a.within(Activation::Relu)),
        Operator::Relu6 => each(&|a| a.within(Activation::Relu6)),
        Operator::ReluN1To1 => each(&|a| a.within(Activation::ReluN1To1)),
        Operator::LeakyRelu { alpha } => each(&|a| a.map(|a| if a < 0.0 { a * f64::from(*alpha) } else { a })),
        Operator::HardSwish => each(&|a| a.map(|a| a * (a + 3.0).clamp(0.0, 6.0) / 6.0)),
        Operator::Logistic => each(&|a| a.map(|a| 1.0 / (1.0 + (-a).exp()))),
        Operator::Tanh => each(&|a| a.map(f64::tanh)),
        Operator::BatchNormalization { epsilon } => Values::of(shape, |i| {
            let parameter = |p: usize| x(p).at(&[i[1]]);
            let deviation = (parameter(4).value + f64::from(*epsilon)).sqrt();
            let centred = x(0).at(&i).plus(minus(parameter(3)));
            centred.times(Number::new(1.0 / deviation)).times(parameter(1)).plus(parameter(2))
        }),
        Operator::Conv2d { stride, dilation, padding, activation } => {
            let (image, weights) = (x(0), x(1));
            let &[outputs, in_group, kh, kw] = weights.shape.as_slice() else { panic!("weights are OIHW") };
            let of_group = outputs / (image.shape[1] / in_group);
            let rows = Window::new(image.shape[2], kh, stride[0], dilation[0], padding[0]).unwrap();
            let columns = Window::new(image.shape[3], kw, stride[1], dilation[1], padding[1]).unwrap();
            Values::of(shape, |i| {
                let [n, o, oy, ox] = i[..] else { panic!("images are NCHW") };
                let mut sum = if node.inputs.len() > 2 { x(2).at(&[o]) } else { Number::default() };
                for c in 0..in_group {
                    for ky in rows.taps(oy) {
                        for kx in columns.taps(ox) {
                            let pixel =
                                [n, o / of_group * in_group + c, rows.position(oy, ky), columns.position(ox, kx)];
                            sum = sum.plus(image.at(&pixel).times(weights.at(&[o, c, ky, kx])));
                        }
                    }
                }
                sum.within(*activation)
            })
        }
        Operator::FullyConnected { activation, .. } => {
            let (&inputs, &outputs) = (&x(1).shape[1], &x(1).shape[0]);
            let product = |at: usize| {
                let (row, o) = (at / outputs, at % outputs);
                let terms = (0..inputs).map(|k| x(0).numbers[row * inputs + k].times(x(1).at(&[o, k])));
                terms.fold(x(2).at(&[o]), Number::plus).within(*activation)
            };
            Values { shape: shape.to_vec(), numbers: (0..shape.iter().product()).map(product).collect() }
        }
        Operator::MaxPool2d(pool) | Operator::AveragePool2d(pool) => {
            let image = x(0);
            let along =
                |i: usize| Window::new(image.shape[2 + i], pool.kernel[i], pool.stride[i], 1, pool.padding[i]).unwrap();
            let (rows, columns) = (along(0), along(1));
            Values::of(shape, |i| {
                let taps = rows.taps(i[2]).flat_map(|ky| columns.taps(i[3]).map(move |kx| (ky, kx)));
                let taps: Vec<_> = taps
                    .map(|(ky, kx)| image.at(&[i[0], i[1], rows.position(i[2], ky), columns.position(i[3], kx)]))
                    .collect();
                if matches!(node.operator, Operator::MaxPool2d(_)) {
                    taps.iter().copied().reduce(Number::larger).unwrap()
                } else {
                    let share = Number::new(1.0 / taps.len() as f64);
                    taps.iter().fold(Number::default(), |sum, &x| sum.plus(x)).times(share)
                }
            })
        }
        Operator::Mean { .. } => {
            let reduced: Vec<usize> = whole(1).iter().map(|&axis| from_end(axis, shape.len())).collect();
            let count: usize = reduced.iter().map(|&axis| x(0).shape[axis]).product();
            let mut y = Values::of(shape, |_| Number::default());
            for (mut index, &number) in indices(&x(0).shape).zip(&x(0).numbers) {
                reduced.iter().for_each(|&axis| index[axis] = 0);
                let flat = index.iter().zip(shape).fold(0, |flat, (i, n)| flat * n + i);
                y.numbers[flat] = y.numbers[flat].plus(number.times(Number::new(1.0 / count as f64)));
            }
            y
        }
        Operator::Softmax { beta } => {
            let width = *shape.last().unwrap();
            let mut numbers = Vec::new();
            for row in x(0).numbers.chunks(width) {
                let most = row.iter().map(|x| x.value).fold(f64::MIN, f64::max);
                let exponential = |x: &Number| ((x.value - most) * f64::from(*beta)).exp();
                let sum: f64 = row.iter().map(exponential).sum();
                let size = 1.0 + row.iter().map(|x| x.size).fold(0.0, f64::max) * 2.0;
                numbers.extend(row.iter().map(|x| {
                    let value = exponential(x) / sum;
                    Number { value, size: value * size }
                }));
            }
            Values { shape: shape.to_vec(), numbers }
        }
        Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::ExpandDims => again(x(0)),
        Operator::Concatenation { axis, .. } => {
            let axis = from_end(*axis, shape.len());
            Values::of(shape, |mut i| {
                let mut operand = 0;
                while i[axis] >= x(operand).shape[axis] {
                    i[axis] -= x(operand).shape[axis];
                    operand += 1;
                }
                x(operand).at(&i)
            })
        }
        Operator::Pad | Operator::PadV2 => {
            let around = whole(1);
            let value = if node.inputs.len() > 2 { x(2).at(&[0]) } else { Number::default() };
            Values::of(shape, |i| {
                let inside: Vec<i64> =
                    i.iter().enumerate().map(|(a, &i)| i as i64 - i64::from(around[2 * a])).collect();
                let fits = inside.iter().zip(&x(0).shape).all(|(&i, &n)| (0..n as i64).contains(&i));
                if fits { x(0).at(&inside.iter().map(|&i| i as usize).collect::<Vec<_>>()) } else { value }
            })
        }
        Operator::Transpose => {
            let axes = whole(1);
            Values::of(shape, |i| {
                let mut index = vec![0; i.len()];
                axes.iter().zip(&i).for_each(|(&axis, &i)| index[axis as usize] = i);
                x(0).at(&index)
            })
        }
        Operator::Slice => {
            let begin = whole(1);
            Values::of(shape, |i| x(0).at(&i.iter().zip(&begin).map(|(&i, &b)| i + b as usize).collect::<Vec<_>>()))
        }
        // From the last number backwards to the first.
        Operator::StridedSlice { .. } => {
            let step = whole(3);
            let from = |(a, &i): (usize, &usize)| (x(0).shape[a] as i64 - 1 + i as i64 * i64::from(step[a])) as usize;
            Values::of(shape, |i| x(0).at(&i.iter().enumerate().map(from).collect::<Vec<_>>()))
        }
        Operator::Split { parts } => {
            let axis = whole(0)[0] as usize;
            let width = x(1).shape[axis] / parts;
            Values::of(shape, |mut i| {
                i[axis] += part * width;
                x(1).at(&i)
            })
        }
        Operator::Unpack { axis } => Values::of(shape, |mut i| {
            i.insert(*axis as usize, part);
            x(0).at(&i)
        }),
        Operator::Pack { axis } => Values::of(shape, |mut i| {
            let operand = i.remove(*axis as usize);
            x(operand).at(&i)
        }),
        other => panic!("no formula for {}", other.name()),
    }
}

fn holds(network: &Network, given: &[Vec<f32>], kernel: Kernel) -> Result<(), TestCaseError> {
    let engine = Float::prepare(network, kernel).unwrap();
    let inputs: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
    let mut session = engine.session();
    let outputs = engine.run(&mut session, &inputs).unwrap();
    let exact = formulas(network, given);
    let graph = network.main();
    for (&t, output) in graph.outputs.iter().zip(&outputs) {
        let exact = exact[t].as_ref().unwrap();
        prop_assert_eq!(output.len(), exact.numbers.len());
        for (i, (&y, exact)) in output.iter().zip(&exact.numbers).enumerate() {
            let error = (f64::from(y) - exact.value).abs();
            let name = &graph.tensors[t].name;
            // Below this, numbers lose their bits one by one.
            let least = 10.0 * f64::from(f32::MIN_POSITIVE);
            prop_assert!(
                error <= 1e-5 * exact.size + least,
                "{} {}[{}]: {} instead of {:?}",
                kernel,
                name,
                i,
                y,
                exact
            );
        }
    }
    prop_assert_eq!(&outputs, &engine.run(&mut session, &inputs).unwrap(), "a second run differs");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn random_networks_equal_the_formulas(seed in any::<u64>(), nodes in 1..12_usize) {
        let (network, given) = random(seed, nodes);
        for kernel in [Kernel::Dense, Kernel::Sparse, Kernel::Auto] {
            holds(&network, &given, kernel)?;
        }
    }
}

fn same(stride: usize, activation: Activation) -> Operator {
    Operator::Conv2d { stride: [stride; 2], dilation: [1, 1], padding: [Padding::Same; 2], activation }
}

/// Large enough for every kind of step to be worth threads.
fn large() -> (Network, Vec<Vec<f32>>) {
    let (mut b, mut dice) = (Builder::new(), Dice(7));
    let x = b.input(&[4, 8, 48, 48]);
    let weights = |b: &mut Builder, dice: &mut Dice, shape: &[usize], density: f32| {
        let count = shape.iter().product();
        let numbers = dice.numbers(count).into_iter();
        b.real(shape, numbers.map(|w| if dice.number() < 2.0 * density - 1.0 { w } else { 0.0 }).collect())
    };
    let w = weights(&mut b, &mut dice, &[24, 8, 3, 3], 1.0);
    let y = b.add(same(1, Activation::Relu), &[x, w]).unwrap();
    let w = weights(&mut b, &mut dice, &[24, 1, 3, 3], 1.0);
    let depthwise = b.add(same(1, Activation::Relu6), &[y, w]).unwrap();
    let w = weights(&mut b, &mut dice, &[24, 24, 1, 1], 0.1);
    let sparse = b.add(same(1, Activation::None), &[depthwise, w]).unwrap();
    let y = b.add(Operator::Add { activation: Activation::None }, &[sparse, y]).unwrap();
    let normal = normalization(&mut b, &mut dice, 24, y).unwrap();
    let y = b.add(Operator::Logistic, &[normal]).unwrap();
    let y = b.add(Operator::Mul { activation: Activation::None }, &[y, normal]).unwrap();
    let pool = |kernel, stride| Pool {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [Padding::Same; 2],
        activation: Activation::None,
    };
    let largest = b.add(Operator::MaxPool2d(pool(3, 2)), &[y]).unwrap();
    let mean = b.add(Operator::AveragePool2d(pool(2, 2)), &[y]).unwrap();
    let y = b.add(Operator::Concatenation { axis: 1, activation: Activation::None }, &[largest, mean]).unwrap();
    let w = weights(&mut b, &mut dice, &[16, 48, 3, 3], 0.2);
    let y = b.add(same(2, Activation::Relu), &[y, w]).unwrap();
    let axes = b.whole(&[0, 2, 3, 1]);
    let turned = b.add(Operator::Transpose, &[y, axes]).unwrap();
    let soft = b.add(Operator::Softmax { beta: 1.0 }, &[turned]).unwrap();
    let (w, bias) = (weights(&mut b, &mut dice, &[200, 16], 1.0), b.real(&[200], dice.numbers(200)));
    let operator = Operator::FullyConnected { keep_num_dims: true, activation: Activation::Relu };
    let wide = b.add(operator.clone(), &[soft, w, bias]).unwrap();
    let (w, bias) = (weights(&mut b, &mut dice, &[300, 2304], 0.08), b.real(&[300], dice.numbers(300)));
    let operator = Operator::FullyConnected { keep_num_dims: false, activation: Activation::None };
    let few = b.add(operator, &[y, w, bias]).unwrap();
    b.graph.outputs = vec![wide, few, mean];
    let given = vec![dice.numbers(4 * 8 * 48 * 48)];
    (b.network(), given)
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    let (network, given) = large();
    let inputs: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
    for kernel in [Kernel::Dense, Kernel::Sparse, Kernel::Auto] {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let run = || {
                let engine = Float::prepare(&network, kernel).unwrap();
                engine.run(&mut engine.session(), &inputs).unwrap()
            };
            let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            pool.install(run).into_iter().map(bits).collect::<Vec<_>>()
        };
        let alone = on(1);
        assert!(alone == on(2) && alone == on(7), "{kernel}");
        holds(&network, &given, kernel).unwrap();
    }
}

#[test]
fn a_layer_takes_in_what_follows_it_and_says_how_it_runs() {
    let (mut b, mut dice) = (Builder::new(), Dice(1));
    let x = b.input(&[1, 16, 8, 8]);
    let numbers = dice.numbers(32 * 16 * 9).into_iter().enumerate();
    let w = b.real(&[32, 16, 3, 3], numbers.map(|(i, w)| if i % 10 == 0 { w } else { 0.0 }).collect());
    let y = b.add(same(1, Activation::None), &[x, w]).unwrap();
    let y = normalization(&mut b, &mut dice, 32, y).unwrap();
    let y = b.add(Operator::Relu6, &[y]).unwrap();
    let y = b.add(Operator::Reshape { shape: Some(vec![1, -1]) }, &[y]).unwrap();
    b.graph.outputs = vec![y];
    let engine = Float::prepare(&b.network(), Kernel::Sparse).unwrap();
    let [step] = engine.steps() else { panic!("{:?}", engine.steps()) };
    assert_eq!((step.operator.as_str(), step.layer), ("CONV_2D + BATCH_NORMALIZATION + RELU6", Some(0)));
    let layer = &engine.layers()[0];
    assert_eq!((layer.shape.as_slice(), layer.nonzeros), (&[32, 16, 3, 3][..], 461));
    assert_eq!((layer.macs, layer.macs_kept), (64 * 32 * 16 * 9, 64 * 461));
    assert!(layer.why.starts_with("sparse, as asked: 10.0 % of weights"), "{}", layer.why);
    // Activations of one layer alone: input and output stay with the caller.
    assert!(engine.bytes() <= 32 * 64 * 4 + 64, "{}", engine.bytes());
    for kernel in [Kernel::Dense, Kernel::Sparse, Kernel::Auto] {
        assert_eq!(kernel.to_string().parse(), Ok(kernel));
    }
    assert!("fast".parse::<Kernel>().is_err());
}

/// The reason for which a network is refused.
fn refusal(change: impl FnOnce(&mut Network)) -> String {
    let mut b = Builder::new();
    let x = b.input(&[2, 3, 8, 8]);
    let (w, bias) = (b.real(&[4, 3, 3, 3], vec![0.5; 108]), b.real(&[4], vec![0.0; 4]));
    let y = b.add(same(1, Activation::None), &[x, w, bias]).unwrap();
    let y = b.add(Operator::Relu, &[y]).unwrap();
    b.graph.outputs = vec![y];
    let mut network = b.network();
    change(&mut network);
    match Float::prepare(&network, Kernel::Auto) {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn graphs_that_are_none_are_refused() {
    let refused = |why: &str, change: fn(&mut Network)| {
        let reason = refusal(change);
        assert!(reason.contains(why), "{why}: {reason}");
    };
    assert_eq!(refusal(|_| ()), "accepted");
    refused("channels last", |n| n.layout = Layout::ChannelsLast);
    refused("operator 0 (ResizeTwice)", |n| {
        n.graphs[0].nodes[0].operator = Operator::Other { name: "ResizeTwice".into(), custom: false };
    });
    refused("(RESIZE_BILINEAR): ", |n| {
        n.graphs[0].nodes[1].operator = Operator::ResizeBilinear { align_corners: false, half_pixel_centers: false };
    });
    refused("operand 1 is missing", |n| n.graphs[0].nodes[0].inputs[1] = None);
    refused("before anything writes it", |n| n.graphs[0].nodes.swap(0, 1));
    refused("reads tensor 99", |n| n.graphs[0].nodes[0].inputs[0] = Some(99));
    refused("has a value", |n| n.graphs[0].nodes[1].outputs[0] = 0);
    refused("writes tensor 99", |n| n.graphs[0].nodes[1].outputs[0] = 99);
    refused("output tensor 99", |n| n.graphs[0].outputs = vec![99]);
    refused("input tensor 99", |n| n.graphs[0].inputs = vec![99]);
    refused("input t1 is a constant", |n| n.graphs[0].inputs.push(1));
    refused("float32", |n| n.graphs[0].tensors[0].kind = TensorKind::Element(ElementType::I8));
    refused("float32", |n| n.graphs[0].tensors[3].kind = TensorKind::Element(ElementType::F16));
    refused("shape", |n| n.graphs[0].tensors[3].shape = vec![2, 4, 8, 7]);
    refused("not some float32", |n| n.graphs[0].tensors[0].shape = vec![0, 3, 8, 8]);
    refused("does not hold what its shape", |n| n.graphs[0].tensors[1].shape = vec![4, 3, 3, 2]);
    refused("does not hold what its shape", |n| n.graphs[0].tensors[0].shape = vec![usize::MAX, 3, 8, 8]);
    refused("computed at run time", |n| {
        n.graphs[0].tensors[1].constant = None;
        n.graphs[0].inputs.push(1);
    });
    refused("biases for 4 outputs", |n| {
        n.graphs[0].tensors[2].constant = Some(Arc::new(vec![0.0f32; 3].into()));
        n.graphs[0].tensors[2].shape = vec![3];
    });
    refused("takes more than 4 GiB", |n| {
        let far = Padding::Explicit { before: 1 << 30, after: 1 << 30 };
        let graph = &mut n.graphs[0];
        graph.nodes[0].operator = Operator::Conv2d {
            stride: [1 << 29; 2],
            dilation: [1, 1],
            padding: [far; 2],
            activation: Activation::None,
        };
        for t in [3, 4] {
            graph.tensors[t].shape = vec![2, 4, 5, 5];
        }
    });
    refused("wholly on padding", |n| {
        let graph = &mut n.graphs[0];
        graph.nodes.remove(0);
        let padding = [Padding::Explicit { before: 4, after: 0 }; 2];
        let pool = Pool { kernel: [2, 2], stride: [2, 2], padding, activation: Activation::None };
        graph.nodes[0] = Node { operator: Operator::MaxPool2d(pool), inputs: vec![Some(0)], outputs: vec![4] };
        graph.tensors[4].shape = vec![2, 3, 6, 6];
    });
}

#[test]
fn a_window_at_one_place_may_have_any_stride() {
    let (mut b, mut dice) = (Builder::new(), Dice(5));
    let x = b.input(&[1, 2, 4, 4]);
    let w = b.real(&[3, 2, 3, 3], dice.numbers(54));
    let y = b.add(same(1 << 40, Activation::None), &[x, w]).unwrap();
    b.graph.outputs = vec![y];
    let given = vec![dice.numbers(32)];
    for kernel in [Kernel::Dense, Kernel::Sparse] {
        let network = Network { graphs: vec![b.graph.clone()], ..Builder::new().network() };
        holds(&network, &given, kernel).unwrap();
    }
}

#[test]
fn more_activations_than_the_limit_are_refused_before_they_are_allocated() {
    let mut b = Builder::new();
    let x = b.input(&[1 << 18, 1 << 12]);
    let y = b.add(Operator::Tanh, &[x]).unwrap();
    let z = b.add(Operator::Add { activation: Activation::None }, &[x, y]).unwrap();
    b.graph.outputs = vec![y, z];
    let network = b.network();
    match Float::prepare(&network, Kernel::Auto) {
        Err(Error::Memory { needed, limit, .. }) => assert_eq!((needed, limit), (8 << 30, 4 << 30)),
        other => panic!("{:?}", other.err()),
    }
    let mut small = Builder::new();
    let x = small.input(&[100]);
    let y = small.add(Operator::Tanh, &[x]).unwrap();
    small.graph.outputs = vec![y];
    let network = small.network();
    assert!(Float::prepare_within(&network, Kernel::Auto, 448).is_ok());
    assert!(matches!(Float::prepare_within(&network, Kernel::Auto, 447), Err(Error::Memory { .. })));
}

#[test]
fn a_run_says_what_does_not_fit() {
    let (network, given) = large();
    let engine = Float::prepare(&network, Kernel::Auto).unwrap();
    let mut session = engine.session();
    let says = |outcome: Result<Vec<Vec<f32>>, Error>, why: &str| {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    says(engine.run(&mut session, &[]), "0 inputs, not 1");
    says(engine.run(&mut session, &[&given[0][1..]]), "input t0 has 73727 numbers, not 73728");
    let outcome = engine.run_into(&mut session, &[&given[0]], &mut []);
    says(outcome.map(|()| Vec::new()), "0 outputs, not 3");
    let mut other = Float::prepare(&network.with_batch(1).unwrap(), Kernel::Auto).unwrap().session();
    says(engine.run(&mut other, &[&given[0]]), "another engine");
    let mut outputs = engine.run(&mut session, &[&given[0]]).unwrap();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let mut seconds = vec![0.0; engine.steps().len()];
    engine.run_timed(&mut session, &[&given[0]], &mut slices, &mut seconds).unwrap();
    assert!(seconds.iter().all(|s| s.is_finite()));
    assert!(engine.run_timed(&mut session, &[&given[0]], &mut slices, &mut []).is_err());
}
