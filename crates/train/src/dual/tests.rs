//! Every rule, and three models of them, against central differences of first-order gradients in f64.

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Half the distance of the two points of a central difference. The cube root of f64's precision: cutting the series
/// and rounding then cost the same, about 1e-10 of the gradients.
const STEP: f64 = 5e-6;
/// Relative to the largest entry.
const BOUND: f64 = 1e-7;

/// Uniform in [-1, 1] but not within 0.01 of zero, so that no step crosses the kink of a ReLU at an input.
fn draw(rng: &mut ChaCha8Rng, shape: &[usize], kind: DType) -> Leaf {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count)
        .map(|_| {
            let size: f64 = rng.random_range(0.01..1.0);
            if rng.random() { size } else { -size }
        })
        .collect();
    let tensor = Tensor::<1>::from_data(TensorData::new(values, [count]), (&Device::flex(), kind));
    Leaf::shaped(tensor, shape)
}

fn numbers(leaf: &Leaf) -> Vec<f64> {
    leaf.values().try_into_vec_as::<f64>().unwrap()
}

/// The leaves a step along the direction.
fn moved(leaves: &[Leaf], direction: &[Option<Leaf>], step: f64) -> Vec<Leaf> {
    let there = |(leaf, v): (&Leaf, &Option<Leaf>)| match v {
        Some(v) => leaf.map(|values| values + v.values() * step),
        None => leaf.clone(),
    };
    leaves.iter().zip(direction).map(there).collect()
}

#[track_caller]
fn near(what: &str, found: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3, |scale: f64, e| scale.max(e.abs()));
    for (index, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= bound * scale, "{what}, entry {index}: {f}, expected {e} (largest {scale})");
    }
}

/// Holds the slope in this direction, and its gradients with respect to every leaf, to central differences.
#[track_caller]
fn check_along(loss: &impl Loss, leaves: &[Leaf], direction: &[Option<Leaf>]) {
    let exact = slope(loss, leaves, direction, ..);
    let ahead = gradient(loss, &moved(leaves, direction, STEP), ..);
    let behind = gradient(loss, &moved(leaves, direction, -STEP), ..);
    near("loss", &[exact.loss], &[gradient(loss, leaves, ..0).loss], 1e-12);
    near("slope", &[exact.slope], &[(ahead.loss - behind.loss) / (2.0 * STEP)], BOUND);
    for (index, found) in exact.gradients.iter().enumerate() {
        let (a, b) = (numbers(&ahead.gradients[index]), numbers(&behind.gradients[index]));
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - b) / (2.0 * STEP)).collect();
        near(&format!("gradient of leaf {index}"), &numbers(found), &difference, BOUND);
    }
}

/// Checks along every leaf alone and along all together, from three points.
#[track_caller]
fn check(loss: &impl Loss, shapes: &[&[usize]]) {
    for seed in 0..3 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let leaves: Vec<Leaf> = shapes.iter().map(|shape| draw(rng, shape, DType::F64)).collect();
        let all: Vec<Option<Leaf>> = shapes.iter().map(|shape| Some(draw(rng, shape, DType::F64))).collect();
        check_along(loss, &leaves, &all);
        for only in 0..leaves.len() {
            let mut direction = vec![None; leaves.len()];
            direction[only] = all[only].clone();
            check_along(loss, &leaves, &direction);
        }
    }
}

/// Any tensor made into a loss that is curved in all of its entries.
fn curved<A: Arithmetic, const D: usize>(x: A::Of<D>) -> A::Of<1> {
    let dims = A::dims(&x);
    let count = dims.iter().product::<usize>() as i64;
    let value = A::value(&x);
    let ramp = Tensor::<1, Int>::arange(0..count, &value.device()).float().cast(value.dtype());
    let ramp = A::constant((ramp.sin() + 0.3).reshape(dims));
    A::sum(x.clone() * ramp + x.clone() * x * 0.2)
}

/// A test that an operation's rule holds: `rule!(name, [shapes of leaves], |leaves| result of rank D)`.
macro_rules! rule {
    ($name:ident, [$($shape:expr),+], $rank:literal, |$A:ident, $leaves:ident| $body:expr) => {
        #[test]
        fn $name() {
            struct Operation;
            impl Loss for Operation {
                fn of<$A: Arithmetic>(&self, $leaves: &mut Leaves<$A>) -> $A::Of<1> {
                    curved::<$A, $rank>($body)
                }
            }
            check(&Operation, &[$(&$shape),+]);
        }
    };
}

rule!(addition_broadcasts_tangents, [[2, 3, 4], [1, 3, 1]], 3, |A, l| l.next::<3>() + l.next::<3>());
rule!(subtraction_broadcasts_tangents, [[1, 3], [4, 1]], 2, |A, l| l.next::<2>() - l.next::<2>());
rule!(multiplication_broadcasts_tangents, [[2, 3, 4], [1, 3, 1]], 3, |A, l| l.next::<3>() * l.next::<3>());
rule!(linear_has_its_rule, [[2, 5, 3], [3, 4], [4]], 3, |A, l| A::linear(l.next::<3>(), l.next(), Some(l.next())));
rule!(matmul_has_its_rule, [[2, 3, 4], [2, 4, 5]], 3, |A, l| A::matmul(l.next::<3>(), l.next()));
rule!(conv1d_has_its_rule, [[2, 4, 9], [6, 2, 3], [6]], 3, |A, l| {
    A::conv1d(l.next(), l.next(), Some(l.next()), &ConvOptions::new([2], [1], [1], 2))
});
rule!(conv2d_has_its_rule, [[2, 3, 7, 6], [4, 3, 3, 3], [4]], 4, |A, l| {
    A::conv2d(l.next(), l.next(), Some(l.next()), &ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
});
rule!(strided_conv2d_without_bias_has_its_rule, [[2, 2, 8, 8], [3, 2, 5, 5]], 4, |A, l| {
    A::conv2d(l.next(), l.next(), None, &ConvOptions::new([2, 2], [2, 2], [1, 1], 1))
});
rule!(depthwise_conv2d_has_its_rule, [[2, 4, 6, 6], [4, 1, 3, 3], [4]], 4, |A, l| {
    A::conv2d(l.next(), l.next(), Some(l.next()), &ConvOptions::new([2, 1], [1, 1], [1, 1], 4))
});
rule!(dilated_conv2d_has_its_rule, [[1, 2, 9, 9], [2, 2, 3, 3]], 4, |A, l| {
    A::conv2d(l.next(), l.next(), None, &ConvOptions::new([1, 1], [2, 2], [2, 2], 1))
});
rule!(sigmoid_has_its_rule, [[3, 5]], 2, |A, l| A::sigmoid(l.next::<2>() * 3.0));
rule!(tanh_has_its_rule, [[3, 5]], 2, |A, l| A::tanh(l.next::<2>() * 2.0));
rule!(relu_has_its_rule, [[3, 5]], 2, |A, l| A::relu(l.next::<2>()));
rule!(gelu_has_its_rule, [[3, 5]], 2, |A, l| A::gelu(l.next::<2>() * 3.0));
rule!(silu_has_its_rule, [[3, 5]], 2, |A, l| A::silu(l.next::<2>() * 3.0));
rule!(avg_pool2d_has_its_rule, [[2, 3, 6, 6]], 4, |A, l| A::avg_pool2d(l.next(), &AvgPoolOptions::new([2, 3])));
rule!(max_pool2d_has_its_rule, [[2, 3, 6, 8]], 4, |A, l| A::max_pool2d(l.next(), &MaxPoolOptions::new([2, 2])));
rule!(padded_overlapping_max_pool2d_has_its_rule, [[2, 2, 7, 7]], 4, |A, l| {
    A::max_pool2d(l.next(), &MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
});
rule!(moving_numbers_moves_tangents, [[2, 3, 4]], 2, |A, l| {
    A::reshape(A::narrow(A::permute(l.next::<3>(), [2, 0, 1]), 0, 1, 2), [4, 3])
});
rule!(sums_and_means_have_their_rules, [[2, 3, 4]], 3, |A, l| {
    let x = l.next::<3>();
    A::sum_dim(x.clone() * x.clone(), 1) + A::mean_dim(x.clone(), 2) * A::reshape(A::mean(x.clone() * x), [1, 1, 1])
});
rule!(softmax_has_its_rule, [[3, 5]], 2, |A, l| A::softmax(l.next::<2>() * 2.0, 1));
rule!(softmax_over_an_inner_axis_has_its_rule, [[2, 3, 4]], 3, |A, l| A::softmax(l.next::<3>(), 1));
rule!(log_softmax_has_its_rule, [[3, 5]], 2, |A, l| A::log_softmax(l.next::<2>() * 2.0, 1));
rule!(cross_entropy_has_its_rule, [[3, 5], [3, 5]], 1, |A, l| A::cross_entropy(l.next(), l.next()));
rule!(batch_norm_has_its_rule, [[2, 3, 4], [3], [3]], 3, |A, l| {
    let x = l.next::<3>();
    let (device, kind) = (A::value(&x).device(), A::value(&x).dtype());
    let mean = Tensor::<1>::from_data(TensorData::from([0.1, -0.2, 0.3]), (&device, kind));
    let variance = Tensor::<1>::from_data(TensorData::from([0.5, 1.5, 0.7]), (&device, kind));
    A::batch_norm(x, l.next(), l.next(), mean, variance, 1e-5)
});
rule!(layer_norm_has_its_rule, [[2, 3, 6], [6], [6]], 3, |A, l| A::layer_norm(l.next(), l.next(), l.next(), 1e-5));
rule!(group_norm_has_its_rule, [[2, 6, 3, 3], [6], [6]], 4, |A, l| {
    A::group_norm(l.next(), l.next(), l.next(), 3, 1e-5)
});
rule!(attention_has_its_rule, [[2, 2, 4, 3], [2, 2, 5, 3], [2, 2, 5, 3]], 4, |A, l| {
    A::attention(l.next(), l.next(), l.next(), false)
});
rule!(causal_attention_has_its_rule, [[2, 2, 5, 3], [2, 2, 5, 3], [2, 2, 5, 3]], 4, |A, l| {
    A::attention(l.next(), l.next(), l.next(), true)
});
rule!(embedding_has_its_rule, [[5, 3]], 3, |A, l| {
    let table = l.next::<2>();
    let tokens = Tensor::<2, Int>::from_data([[0, 3, 3], [4, 0, 1]], &A::value(&table).device());
    A::embedding(table, tokens)
});

/// conv, group norm, SiLU, max pool; strided conv, ReLU, average pool; linear; cross entropy.
struct SmallCnn;

const SMALL_CNN: [&[usize]; 10] =
    [&[2, 3, 8, 8], &[2, 5], &[4, 3, 3, 3], &[4], &[4], &[4], &[6, 4, 3, 3], &[6], &[6, 5], &[5]];

impl Loss for SmallCnn {
    fn of<A: Arithmetic>(&self, l: &mut Leaves<A>) -> A::Of<1> {
        let (x, y) = (l.next(), l.next());
        let x = A::conv2d(x, l.next(), Some(l.next()), &ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        let x = A::silu(A::group_norm(x, l.next(), l.next(), 2, 1e-5));
        let x = A::max_pool2d(x, &MaxPoolOptions::new([2, 2]));
        let x = A::relu(A::conv2d(x, l.next(), Some(l.next()), &ConvOptions::new([1, 1], [1, 1], [1, 1], 1)));
        let x = A::avg_pool2d(x, &AvgPoolOptions::new([4, 4]));
        let x = A::reshape(x, [2, 6]);
        A::cross_entropy(A::linear(x, l.next(), Some(l.next())), y)
    }
}

/// linear, GELU, linear, tanh, linear, sigmoid, linear.
struct Mlp;

const MLP: [&[usize]; 9] = [&[3, 6], &[3, 4], &[6, 8], &[8], &[8, 7], &[7], &[7, 5], &[5, 4], &[4]];

impl Loss for Mlp {
    fn of<A: Arithmetic>(&self, l: &mut Leaves<A>) -> A::Of<1> {
        let (x, y) = (l.next::<2>(), l.next());
        let x = A::gelu(A::linear(x, l.next(), Some(l.next())));
        let x = A::tanh(A::linear(x, l.next(), Some(l.next())));
        let x = A::sigmoid(A::linear(x, l.next(), None));
        A::cross_entropy(A::linear(x, l.next(), Some(l.next())), y)
    }
}

/// A pre-norm block over free token vectors and learned positions, then a token's class at every position.
struct TransformerBlock;

const TRANSFORMER_BLOCK: [&[usize]; 15] = [
    &[2, 5, 8],
    &[10, 3],
    &[5, 8],
    &[8],
    &[8],
    &[8, 24],
    &[24],
    &[8, 8],
    &[8],
    &[8],
    &[8],
    &[8, 16],
    &[16],
    &[16, 8],
    &[8, 3],
];

impl Loss for TransformerBlock {
    fn of<A: Arithmetic>(&self, l: &mut Leaves<A>) -> A::Of<1> {
        let (x, y) = (l.next::<3>(), l.next());
        let positions = Tensor::<2, Int>::from_data([[0, 1, 2, 3, 4]], &A::value(&x).device());
        let x = x + A::embedding(l.next(), positions);
        let normed = A::layer_norm(x.clone(), l.next(), l.next(), 1e-5);
        let qkv = A::reshape(A::linear(normed, l.next(), Some(l.next())), [2, 5, 3, 2, 4]);
        let qkv = A::permute(qkv, [2, 0, 3, 1, 4]);
        let part = |index| A::reshape(A::narrow(qkv.clone(), 0, index, 1), [2, 2, 5, 4]);
        let mixed = A::attention(part(0), part(1), part(2), true);
        let mixed = A::reshape(A::permute(mixed, [0, 2, 1, 3]), [2, 5, 8]);
        let x = x + A::linear(mixed, l.next(), Some(l.next()));
        let normed = A::layer_norm(x.clone(), l.next(), l.next(), 1e-5);
        let hidden = A::gelu(A::linear(normed, l.next(), Some(l.next())));
        let x = x + A::linear(hidden, l.next(), None);
        A::cross_entropy(A::reshape(A::linear(x, l.next(), None), [10, 3]), y)
    }
}

#[test]
fn gradients_of_gradients_of_a_small_cnn_are_central_differences() {
    check(&SmallCnn, &SMALL_CNN);
}

#[test]
fn gradients_of_gradients_of_an_mlp_are_central_differences() {
    check(&Mlp, &MLP);
}

#[test]
fn gradients_of_gradients_of_a_transformer_block_are_central_differences() {
    check(&TransformerBlock, &TRANSFORMER_BLOCK);
}

/// As an attacker uses it: directions for the weights only, gradients of the inputs only.
#[test]
fn inputs_alone_get_the_same_gradients() {
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let leaves: Vec<Leaf> = SMALL_CNN.iter().map(|shape| draw(rng, shape, DType::F64)).collect();
    let mut direction = vec![None, None];
    direction.extend(SMALL_CNN[2..].iter().map(|shape| Some(draw(rng, shape, DType::F64))));
    let all = slope(&SmallCnn, &leaves, &direction, ..);
    let inputs = slope(&SmallCnn, &leaves, &direction, ..2);
    assert_eq!(inputs.gradients.len(), 2);
    for (some, all) in inputs.gradients.iter().zip(&all.gradients) {
        assert_eq!(some.shape(), all.shape());
        near("inputs alone", &numbers(some), &numbers(all), 1e-12);
    }
}

#[test]
fn the_slope_is_the_gradient_times_the_direction() {
    let rng = &mut ChaCha8Rng::seed_from_u64(8);
    let leaves: Vec<Leaf> = MLP.iter().map(|shape| draw(rng, shape, DType::F64)).collect();
    let direction: Vec<Option<Leaf>> = MLP.iter().map(|shape| Some(draw(rng, shape, DType::F64))).collect();
    let first = gradient(&Mlp, &leaves, ..);
    let products = first.gradients.iter().zip(direction.iter().flatten());
    let expected: f64 = products.map(|(g, v)| (g.values() * v.values()).sum().into_scalar::<f64>()).sum();
    near("slope", &[slope(&Mlp, &leaves, &direction, ..0).slope], &[expected], 1e-12);
}

#[test]
fn single_precision_agrees_with_double() {
    let rng = || ChaCha8Rng::seed_from_u64(9);
    let run = |kind: DType| {
        let rng = &mut rng();
        let leaves: Vec<Leaf> = TRANSFORMER_BLOCK.iter().map(|shape| draw(rng, shape, kind)).collect();
        let direction: Vec<_> = TRANSFORMER_BLOCK.iter().map(|shape| Some(draw(rng, shape, kind))).collect();
        slope(&TransformerBlock, &leaves, &direction, ..)
    };
    let (single, double) = (run(DType::F32), run(DType::F64));
    for (index, (s, d)) in single.gradients.iter().zip(&double.gradients).enumerate() {
        assert_eq!(s.values().dtype(), DType::F32);
        near(&format!("leaf {index}"), &numbers(s), &numbers(d), 1e-4);
    }
}

#[test]
fn without_a_direction_everything_is_zero() {
    let rng = &mut ChaCha8Rng::seed_from_u64(10);
    let leaves: Vec<Leaf> = MLP.iter().map(|shape| draw(rng, shape, DType::F64)).collect();
    let still = slope(&Mlp, &leaves, &vec![None; MLP.len()], ..);
    assert_eq!(still.slope, 0.0);
    assert!(still.gradients.iter().all(|g| numbers(g).iter().all(|&value| value == 0.0)));
}

#[test]
#[should_panic(expected = "more leaves than it was given")]
fn a_missing_leaf_is_named() {
    let rng = &mut ChaCha8Rng::seed_from_u64(11);
    let leaves: Vec<Leaf> = MLP[..4].iter().map(|shape| draw(rng, shape, DType::F64)).collect();
    gradient(&Mlp, &leaves, ..);
}

#[test]
#[should_panic(expected = "no tensor of rank 2")]
fn a_leaf_of_another_rank_is_named() {
    let rng = &mut ChaCha8Rng::seed_from_u64(12);
    let leaves = [draw(rng, &[3, 2, 3], DType::F64)];
    gradient(&Mlp, &leaves, ..);
}
