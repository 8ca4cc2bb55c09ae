//! A network computed in f64, as the formulas read; it knows nothing of channels.

use tersor_data::Elements;
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Window;
use tersor_network::operator::{Operator, Pool};
use tersor_network::{Network, Tensor};

use super::networks::*;

#[derive(Clone)]
pub struct Value {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Value {
    pub fn of(tensor: &Tensor) -> Self {
        let data = match tensor.constant.as_deref() {
            Some(Elements::F32(values)) => values.iter().map(|&v| f64::from(v)).collect(),
            Some(Elements::I64(values)) => values.iter().map(|&v| v as f64).collect(),
            other => panic!("{other:?}"),
        };
        Self { shape: tensor.shape.clone(), data }
    }

    pub fn four(&self) -> [usize; 4] {
        self.shape.as_slice().try_into().unwrap()
    }

    pub fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        self.data.iter_mut().for_each(|x| *x = f(*x));
        self
    }

    /// The element that meets position `at` of `shape`.
    pub fn meeting(&self, shape: &[usize], mut at: usize) -> f64 {
        let (mut index, mut stride) = (0, 1);
        for (back, &n) in shape.iter().rev().enumerate() {
            let own = self.shape.len().checked_sub(back + 1).map_or(1, |axis| self.shape[axis]);
            index += if own == 1 { 0 } else { at % n * stride };
            stride *= own;
            at /= n;
        }
        self.data[index]
    }
}

pub fn bend(activation: Activation) -> impl Fn(f64) -> f64 {
    let (least, most) = activation.bounds();
    move |x| x.clamp(f64::from(least), f64::from(most))
}

/// What the network computes of `input`, checked against the shapes that it states.
pub fn run(network: &Network, input: &[f64]) -> Vec<Vec<f64>> {
    let graph = network.main();
    let mut values: Vec<Option<Value>> =
        graph.tensors.iter().map(|tensor| tensor.constant.is_some().then(|| Value::of(tensor))).collect();
    let first = &graph.tensors[graph.inputs[0]];
    assert_eq!(first.shape.iter().product::<usize>(), input.len());
    values[graph.inputs[0]] = Some(Value { shape: first.shape.clone(), data: input.to_vec() });
    for node in &graph.nodes {
        let operand = |at: usize| node.inputs.get(at).copied().flatten().map(|id| values[id].as_ref().unwrap());
        let stated = &graph.tensors[node.outputs[0]].shape;
        let result = compute(&node.operator, &operand, stated);
        assert_eq!((&result.shape, result.data.len()), (stated, stated.iter().product()), "{}", node.operator.name());
        values[node.outputs[0]] = Some(result);
    }
    graph.outputs.iter().map(|&output| values[output].as_ref().unwrap().data.clone()).collect()
}

pub fn compute<'v>(operator: &Operator, operand: &dyn Fn(usize) -> Option<&'v Value>, stated: &[usize]) -> Value {
    let x = operand(0).unwrap();
    let meet = |f: &dyn Fn(f64, f64) -> f64| {
        let other = operand(1).unwrap();
        let count = stated.iter().product();
        let data = (0..count).map(|at| f(x.meeting(stated, at), other.meeting(stated, at))).collect();
        Value { shape: stated.to_vec(), data }
    };
    match operator {
        Operator::Conv2d { stride, dilation, padding, activation } => {
            let ([images, channels, height, width], [out, per_group, kh, kw]) = (x.four(), operand(1).unwrap().four());
            let windows = [(height, kh), (width, kw)];
            let along = |i: usize| Window::new(windows[i].0, windows[i].1, stride[i], dilation[i], padding[i]).unwrap();
            let [v, h] = [along(0), along(1)];
            let mut data = Vec::new();
            for (n, o, r, c) in places([images, out, v.output, h.output]) {
                let first = o / (out / (channels / per_group)) * per_group;
                let mut sum = operand(2).map_or(0.0, |bias| bias.data[o]);
                for i in 0..per_group {
                    for a in v.taps(r) {
                        for b in h.taps(c) {
                            let (y, z) = (v.position(r, a), h.position(c, b));
                            sum += x.data[((n * channels + first + i) * height + y) * width + z]
                                * operand(1).unwrap().data[((o * per_group + i) * kh + a) * kw + b];
                        }
                    }
                }
                data.push(bend(*activation)(sum));
            }
            Value { shape: vec![images, out, v.output, h.output], data }
        }
        Operator::FullyConnected { activation, .. } => {
            let weights = operand(1).unwrap();
            let (out, inputs) = (weights.shape[0], weights.shape[1]);
            let product = |row: &[f64], o: usize| {
                let line = &weights.data[o * inputs..(o + 1) * inputs];
                let bias = operand(2).map_or(0.0, |bias| bias.data[o]);
                bend(*activation)(bias + row.iter().zip(line).map(|(x, w)| x * w).sum::<f64>())
            };
            let data: Vec<f64> =
                x.data.chunks(inputs).flat_map(|row| (0..out).map(|o| product(row, o)).collect::<Vec<_>>()).collect();
            Value { shape: vec![data.len() / out, out], data }
        }
        Operator::BatchNormalization { epsilon } => {
            let inner: usize = x.shape[2..].iter().product();
            let mut y = x.clone();
            for (at, value) in y.data.iter_mut().enumerate() {
                let c = at / inner % x.shape[1];
                let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| operand(i).unwrap().data[c]);
                *value = (*value - mean) / (variance + f64::from(*epsilon)).sqrt() * scale + shift;
            }
            y
        }
        Operator::MaxPool2d(pool) => pooled(x, pool, |taken| taken.iter().copied().fold(f64::MIN, f64::max)),
        Operator::AveragePool2d(pool) => pooled(x, pool, |taken| taken.iter().sum::<f64>() / taken.len() as f64),
        Operator::Mean { .. } => {
            let inner: usize = x.shape[2..].iter().product();
            let data = x.data.chunks(inner).map(|plane| plane.iter().sum::<f64>() / inner as f64).collect();
            Value { shape: stated.to_vec(), data }
        }
        Operator::Reshape { .. } | Operator::Squeeze { .. } => Value { shape: stated.to_vec(), data: x.data.clone() },
        Operator::Concatenation { axis, .. } => {
            let parts: Vec<&Value> = (0..).map_while(operand).collect();
            let axis = if *axis < 0 { *axis + x.shape.len() as i32 } else { *axis } as usize;
            let outer: usize = x.shape[..axis].iter().product();
            let mut data = Vec::new();
            for at in 0..outer {
                for part in &parts {
                    let inner = part.data.len() / outer;
                    data.extend(&part.data[at * inner..(at + 1) * inner]);
                }
            }
            Value { shape: stated.to_vec(), data }
        }
        Operator::Softmax { beta } => {
            let mut y = x.clone().map(|x| (x * f64::from(*beta)).exp());
            y.data.chunks_mut(*x.shape.last().unwrap()).for_each(|row| {
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|x| *x /= sum);
            });
            y
        }
        Operator::Add { activation } => meet(&|a, b| bend(*activation)(a + b)),
        Operator::Sub { activation } => meet(&|a, b| bend(*activation)(a - b)),
        Operator::Mul { activation } => meet(&|a, b| bend(*activation)(a * b)),
        Operator::Maximum => meet(&f64::max),
        Operator::Minimum => meet(&f64::min),
        Operator::Prelu => meet(&|x, slope| if x < 0.0 { slope * x } else { x }),
        Operator::Relu => x.clone().map(|x| x.max(0.0)),
        Operator::Relu6 => x.clone().map(|x| x.clamp(0.0, 6.0)),
        Operator::LeakyRelu { alpha } => x.clone().map(|x| if x < 0.0 { f64::from(*alpha) * x } else { x }),
        Operator::HardSwish => x.clone().map(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        Operator::Logistic => x.clone().map(|x| 1.0 / (1.0 + (-x).exp())),
        Operator::Tanh => x.clone().map(f64::tanh),
        other => panic!("{}", other.name()),
    }
}

pub fn places([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |at| (at / (b * c * d), at / (c * d) % b, at / d % c, at % d))
}

pub fn pooled(x: &Value, pool: &Pool, of: impl Fn(&[f64]) -> f64) -> Value {
    let [images, channels, height, width] = x.four();
    let size = [height, width];
    let along = |i: usize| Window::new(size[i], pool.kernel[i], pool.stride[i], 1, pool.padding[i]).unwrap();
    let [v, h] = [along(0), along(1)];
    let mut data = Vec::new();
    for (n, k, r, c) in places([images, channels, v.output, h.output]) {
        let start = (n * channels + k) * height;
        let taps = v.taps(r).flat_map(|a| h.taps(c).map(move |b| (a, b)));
        let taken: Vec<f64> =
            taps.map(|(a, b)| x.data[(start + v.position(r, a)) * width + h.position(c, b)]).collect();
        data.push(bend(pool.activation)(of(&taken)));
    }
    Value { shape: vec![images, channels, v.output, h.output], data }
}

/// Random pictures for the network.
pub fn pictures(network: &Network, seed: u64) -> Vec<f64> {
    let (mut draws, _) = Builder::new(&[1, 1], seed);
    let count = network.main().tensors[network.main().inputs[0]].len();
    (0..count).map(|_| f64::from(draws.draw())).collect()
}

/// The greatest difference between what two networks compute, relative to the largest number or 1.
pub fn difference(a: &Network, b: &Network, seed: u64) -> f64 {
    let (a, b) = (run(a, &pictures(a, seed)), run(b, &pictures(b, seed)));
    assert_eq!(a.iter().map(Vec::len).collect::<Vec<_>>(), b.iter().map(Vec::len).collect::<Vec<_>>());
    let scale = a.iter().flatten().fold(1.0f64, |most, x| most.max(x.abs()));
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale
}
