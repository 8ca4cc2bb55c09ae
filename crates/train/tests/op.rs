//! Our operations give what Burn's give, and the same gradients; in f64, where our kernels do not run, as well.

use burn::module::Module;
use burn::nn::conv::Conv1dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig1d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData, activation, module};
use tersor_kernels::attention::{Blocks, Mask};
use tersor_kernels::training::activation::Activation;
use tersor_train::nn::Fast;
use tersor_train::op::{self, Angles, Look};

fn random<const D: usize>(shape: [usize; D], dtype: DType) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::<D>::random(shape, Distribution::Uniform(-1.0, 1.0), &device).cast(dtype).detach().require_grad()
}

fn like<const D: usize>(y: &Tensor<D>) -> Tensor<D> {
    Tensor::<D>::random(y.shape(), Distribution::Uniform(-1.0, 1.0), &y.device().inner()).cast(y.dtype())
}

/// Compares y and the gradients of Σ y r in each input.
macro_rules! equal {
    ($tolerance:expr, [$($input:ident),+], $ours:expr, $burns:expr) => {{
        let (ours, burns) = ($ours, $burns);
        near(&ours, &burns, $tolerance, "outputs");
        let r = like(&ours);
        let (a, b) = ((ours * r.clone()).sum().backward(), (burns * r).sum().backward());
        $(near(&$input.grad(&a).unwrap(), &$input.grad(&b).unwrap(), $tolerance, stringify!($input));)+
    }};
}

fn near<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, tolerance: f64, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let values = |t: &Tensor<D>| t.to_data().convert_dtype(DType::F64).try_to_vec::<f64>().unwrap();
    let (a, b) = (values(a), values(b));
    let size = b.iter().fold(1.0_f64, |most, b| most.max(b.abs()));
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() <= tolerance * size, "{what}: {a} instead of {b}");
    }
}

const KINDS: [(DType, f64); 2] = [(DType::F32, 5e-6), (DType::F64, 1e-12)];

#[test]
fn activations_are_burns() {
    for (dtype, tolerance) in KINDS {
        let x = random([3, 5, 7], dtype);
        equal!(tolerance, [x], op::activation(Activation::Relu, x.clone()), activation::relu(x.clone()));
        equal!(tolerance, [x], op::activation(Activation::Gelu, x.clone()), activation::gelu(x.clone()));
        equal!(tolerance, [x], op::activation(Activation::Silu, x.clone()), activation::silu(x.clone()));
        equal!(tolerance, [x], op::activation(Activation::Sigmoid, x.clone()), activation::sigmoid(x.clone()));
        equal!(tolerance, [x], op::activation(Activation::Tanh, x.clone()), activation::tanh(x.clone()));
        // What is transposed does not lie in one piece.
        let y = random([4, 6], dtype);
        equal!(
            tolerance,
            [y],
            op::activation(Activation::Silu, y.clone().transpose()),
            activation::silu(y.clone().transpose())
        );
    }
}

#[test]
fn convolutions_are_burns() {
    let looks = [
        Look::default(),
        Look { stride: [2, 1], padding: [1, 2], ..Look::default() },
        Look { groups: 2, dilation: [2, 1], padding: [2, 0], ..Look::default() },
        Look { groups: 4, padding: [1, 1], stride: [1, 2], ..Look::default() },
    ];
    for (dtype, tolerance) in KINDS {
        for look in looks {
            let (x, w, b) =
                (random([2, 4, 9, 8], dtype), random([8, 4 / look.groups, 3, 3], dtype), random([8], dtype));
            let options = || ConvOptions::new(look.stride, look.padding, look.dilation, look.groups);
            let of = |b: Option<Tensor<1>>| op::convolution(x.clone(), w.clone(), b, look);
            let burns = |b: Option<Tensor<1>>| module::conv2d(x.clone(), w.clone(), b, options());
            equal!(tolerance, [x, w, b], of(Some(b.clone())), burns(Some(b.clone())));
            equal!(tolerance, [x, w], of(None), burns(None));
        }
    }
}

#[test]
fn pools_are_burns() {
    for (dtype, tolerance) in KINDS {
        for (stride, padding) in [([2, 2], [0, 0]), ([1, 2], [1, 0])] {
            let x = random([2, 3, 6, 8], dtype);
            let look = Look { stride, padding, ..Look::default() };
            let burns =
                module::max_pool2d(x.clone(), MaxPoolOptions::new([2, 2]).with_stride(stride).with_padding(padding));
            equal!(tolerance, [x], op::max_pool(x.clone(), [2, 2], look), burns);
            let burns =
                module::avg_pool2d(x.clone(), AvgPoolOptions::new([2, 2]).with_stride(stride).with_padding(padding));
            equal!(tolerance, [x], op::mean_pool(x.clone(), [2, 2], look), burns);
        }
    }
}

#[test]
fn linear_is_burns() {
    for (dtype, tolerance) in KINDS {
        let (x, w, b) = (random([2, 3, 5], dtype), random([5, 4], dtype), random([4], dtype));
        let burns = |b| module::linear(x.clone(), w.clone(), b);
        equal!(tolerance, [x, w, b], op::linear(x.clone(), w.clone(), Some(b.clone())), burns(Some(b.clone())));
        equal!(tolerance, [x, w], op::linear(x.clone(), w.clone(), None), burns(None));
    }
}

#[test]
fn gelu_by_tanh_and_rms_norm_are_their_formulas_in_burn() {
    for (dtype, tolerance) in KINDS {
        let (x, gamma) = (random([3, 5, 7], dtype), random([7], dtype));
        let inside = (x.clone().powi_scalar(3) * 0.044_715 + x.clone()) * std::f64::consts::FRAC_2_PI.sqrt();
        let burns = x.clone() * 0.5 * (inside.tanh() + 1.0);
        equal!(tolerance, [x], op::activation(Activation::GeluTanh, x.clone()), burns);
        // A number that f32 and f64 share.
        let epsilon = 1.0 / 1024.0;
        let root = (x.clone().powi_scalar(2).mean_dim(2) + epsilon).sqrt();
        let burns = x.clone() / root * gamma.clone().unsqueeze();
        equal!(tolerance, [x, gamma], op::rms_norm(x.clone(), gamma.clone(), epsilon), burns);
    }
}

/// Compares what our kernels give in f32 with what Burn's operations give in f64, and the gradients of Σ y r.
fn equal_in_f64<const N: usize>(inputs: [Tensor<3>; N], what: &str, f: impl Fn([Tensor<3>; N]) -> Tensor<3>) {
    let leaves = |dtype| inputs.clone().map(|x| x.cast(dtype).detach().require_grad());
    let (narrow, wide) = (leaves(DType::F32), leaves(DType::F64));
    let (ours, burns) = (f(narrow.clone()), f(wide.clone()));
    near(&ours, &burns, 5e-6, what);
    let r = like(&ours);
    let (a, b) = ((ours * r.clone()).sum().backward(), (burns * r.cast(DType::F64)).sum().backward());
    for (narrow, wide) in narrow.iter().zip(&wide) {
        near(&narrow.grad(&a).unwrap(), &wide.grad(&b).unwrap(), 2e-5, what);
    }
}

#[test]
fn rotary_positions_are_those_of_burns_operations() {
    let angles: Vec<f64> = (0..5 * 3).map(|i| f64::from(i) * 0.7).collect();
    let angles = Angles::new(5, &angles).into();
    equal_in_f64([random([2, 5, 4 * 6], DType::F32)], "rotary", |[x]| op::rotary(x, &angles));
}

/// Every other block of 32, and none for the second block of queries.
#[derive(Debug)]
struct Sparse;

impl op::Pattern for Sparse {
    fn with<R>(&self, f: impl FnOnce(Mask<'_>) -> R) -> R {
        let blocks = [Blocks { query_block: 16, key_block: 32, offsets: &[0, 2, 2, 3], columns: &[0, 2, 1] }];
        f(Mask::Blocks(&blocks))
    }
}

#[test]
fn masked_attention_is_that_of_burns_operations() {
    let inputs = [[2, 40, 12], [2, 70, 12], [2, 70, 12]].map(|shape| random(shape, DType::F32));
    equal_in_f64(inputs.clone(), "dense", |tensors| op::masked_attention(tensors, 3, &op::Dense.into()));
    equal_in_f64(inputs, "blocks", |tensors| op::masked_attention(tensors, 3, &Sparse.into()));
}

#[test]
fn attention_to_what_is_not_finite_is_not_finite() {
    let [q, k, v] = [(); 3].map(|()| random([1, 4, 8], DType::F32));
    let output = op::masked_attention([q, k * f32::NAN, v], 2, &op::Dense.into());
    assert!(output.to_data().try_to_vec::<f32>().unwrap().iter().all(|number| number.is_nan()));
}

#[test]
fn softmax_is_burns() {
    for (dtype, tolerance) in KINDS {
        let x = random([3, 4, 9], dtype);
        equal!(tolerance, [x], op::softmax(x.clone()), activation::softmax(x.clone(), 2));
        equal!(tolerance, [x], op::log_softmax(x.clone()), activation::log_softmax(x.clone(), 2));
    }
}

#[test]
fn one_dimension_is_burns() {
    let device = Device::flex().autodiff();
    for (stride, dilation, groups, padding) in [
        (1, 1, 1, PaddingConfig1d::Same),
        (2, 1, 2, PaddingConfig1d::Explicit(2, 2)),
        (1, 2, 1, PaddingConfig1d::Valid),
        (1, 1, 4, PaddingConfig1d::Explicit(1, 2)),
    ] {
        let layer = Conv1dConfig::new(4, 8, 3)
            .with_stride(stride)
            .with_dilation(dilation)
            .with_groups(groups)
            .with_padding(padding)
            .init(&device);
        let (x, w) = (random([2, 4, 11], DType::F32), layer.weight.val());
        equal!(5e-6, [x, w], layer.fast(x.clone()), layer.forward(x.clone()));
    }
}

/// Also what it remembers.
#[test]
fn batch_norm_is_burns() {
    let device = Device::flex().autodiff();
    let (ours, burns) = (BatchNormConfig::new(5).init(&device), BatchNormConfig::new(5).init(&device));
    for _ in 0..3 {
        let x = random([3, 5, 4, 6], DType::F32);
        equal!(5e-6, [x], ours.fast(x.clone() * 3.0 + 1.0), burns.forward(x.clone() * 3.0 + 1.0));
    }
    let value = |layer: &BatchNorm| [layer.running_mean.value(), layer.running_var.value()];
    for (a, b) in value(&ours).iter().zip(&value(&burns)) {
        near(a, b, 5e-6, "what is remembered");
    }
    let x = random([3, 5, 4, 6], DType::F32).inner();
    near(&ours.valid().fast(x.clone()), &burns.valid().forward(x), 5e-6, "by what is remembered");
}

/// In f32 and in f64, where each falls to other code, the same numbers give the same.
#[test]
fn f32_and_f64_agree() {
    let wide = |x: &[usize]| -> (Vec<f64>, burn::tensor::Shape) {
        let count: usize = x.iter().product();
        (
            (0..count).map(|i| ((i * 7919 + 13) % 200) as f64 / 100.0 - 1.0).collect(),
            burn::tensor::Shape::from(x.to_vec()),
        )
    };
    fn tensor<const D: usize>((values, shape): (Vec<f64>, burn::tensor::Shape), dtype: DType) -> Tensor<D> {
        let data = TensorData::new(values, shape).convert_dtype(dtype);
        Tensor::<D>::from_data(data, (&Device::flex().autodiff(), dtype)).require_grad()
    }
    let run = |dtype: DType| -> Vec<Vec<f64>> {
        let mut found = Vec::new();
        let values = |t: TensorData| t.convert_dtype(DType::F64).try_to_vec::<f64>().unwrap();
        macro_rules! gradients {
            ($y:expr, $($x:ident),+) => {{
                let y = $y;
                let grads = (y.clone() * y.clone()).sum().backward();
                found.push(values(y.to_data()));
                $(found.push(values($x.grad(&grads).unwrap().to_data()));)+
            }};
        }
        let (x, gamma, beta) =
            (tensor::<3>(wide(&[2, 3, 8]), dtype), tensor(wide(&[8]), dtype), tensor(wide(&[8]), dtype));
        gradients!(op::layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-3), x, gamma, beta);
        let (x, gamma, beta) =
            (tensor(wide(&[2, 6, 3, 5]), dtype), tensor(wide(&[6]), dtype), tensor(wide(&[6]), dtype));
        gradients!(op::group_norm(x.clone(), 2, gamma.clone(), beta.clone(), 1e-3), x, gamma, beta);
        let passed = tensor::<4>(wide(&[2, 6, 3, 5]), dtype);
        let norm = |passed| op::group_norm_relu(x.clone(), 2, gamma.clone(), beta.clone(), 1e-3, passed);
        gradients!(norm(None), x, gamma, beta);
        gradients!(norm(Some(passed.clone())), x, gamma, beta, passed);
        let x = tensor(wide(&[4, 5]), dtype);
        gradients!(op::cross_entropy(x.clone(), &[0, 4, 2, 2]), x);
        for causal in [true, false] {
            let x = tensor(wide(&[2, 7, 18]), dtype);
            gradients!(op::attention(x.clone(), 2, causal), x);
        }
        let (x, w) = (tensor(wide(&[2, 5, 3]), dtype), tensor(wide(&[3, 16]), dtype));
        let (u, b) = (tensor(wide(&[4, 16]), dtype), tensor(wide(&[16]), dtype));
        gradients!(op::lstm(x.clone(), w.clone(), u.clone(), b.clone()), x, w, u, b);
        found
    };
    let (narrow, wide) = (run(DType::F32), run(DType::F64));
    assert_eq!(narrow.len(), wide.len());
    for (i, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
        assert_eq!(narrow.len(), wide.len());
        let size = wide.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        for (a, b) in narrow.iter().zip(wide) {
            assert!((a - b).abs() < 2e-5 * size, "{i}: {a} instead of {b}");
        }
    }
}

/// What is written in the place of its input is so only where nobody else reads that.
#[test]
fn what_others_hold_stays() {
    let (x, w) = (random([3, 4], DType::F32), random([4, 6], DType::F32));
    for kind in [Activation::Relu, Activation::Gelu] {
        let burns = |y| if kind == Activation::Relu { activation::relu(y) } else { activation::gelu(y) };
        // Moved: nobody else holds the product.
        equal!(5e-6, [x, w], op::activation(kind, x.clone().matmul(w.clone())), burns(x.clone().matmul(w.clone())));
        // Shared, with tensors and with a view of them.
        let twice = |f: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let y = x.clone().matmul(w.clone());
            f(y.clone().narrow(1, 2, 3)) + f(y.clone()).narrow(1, 0, 3) + y.narrow(1, 3, 3)
        };
        equal!(5e-6, [x, w], twice(&|y| op::activation(kind, y)), twice(&burns));
        let constant = x.clone().inner();
        let before = constant.to_data();
        let of_it = op::activation(kind, constant.clone());
        assert_eq!(constant.to_data(), before);
        near(&of_it, &burns(constant), 5e-6, "without a way back");
    }
    let (x, ones, zeros) =
        (random([2, 4, 3, 3], DType::F32), Tensor::ones([4], &x.device()), Tensor::zeros([4], &x.device()));
    let frozen = x.inner();
    let before = frozen.to_data();
    let y = op::group_norm_relu(frozen.clone(), 2, ones.inner(), zeros.inner(), 1e-5, Some(frozen.clone()));
    assert_eq!(frozen.to_data(), before);
    assert!(y.to_data() != before);
}

#[test]
fn constants_have_no_gradient() {
    let device = Device::flex();
    let x = Tensor::<4>::ones([1, 2, 4, 4], &device);
    let w = random([3, 2, 3, 3], DType::F32);
    let y = op::convolution(x.clone(), w.clone(), None, Look::default());
    let grads = y.sum().backward();
    near(&w.grad(&grads).unwrap(), &Tensor::full([3, 2, 3, 3], 4.0, &device), 1e-6, "weights");
    let plain = op::convolution(x, w.inner(), None, Look::default());
    assert!(!plain.is_autodiff());
}

/// Our steps against Burn's, and against themselves in f64.
#[test]
fn steps_are_burns() {
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{AdamConfig, AdamWConfig, Optimizer, SgdConfig};
    use tersor_train::op::step::{Adam, Sgd};

    fn trained<O: Optimizer>(optimizer: &O, dtype: DType) -> Tensor<2> {
        let ramp = |dtype| {
            Tensor::<1>::from_data(
                TensorData::new((0..15).map(|i| f64::from(i) / 7.0 - 1.0).collect(), [15]),
                (&Device::flex(), DType::F64),
            )
            .cast(dtype)
            .reshape([3, 5])
        };
        let (mut weights, mut state) = (ramp(dtype), None);
        for _ in 0..5 {
            let gradient = weights.clone() * 0.5 + ramp(dtype).powi_scalar(2) - 0.3;
            (weights, state) = optimizer.step(0.05, weights, gradient, state);
        }
        weights
    }
    for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-6)] {
        for nesterov in [false, true] {
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(nesterov);
            let burns = SgdConfig::new().with_momentum(Some(momentum)).build();
            let ours = Sgd { momentum: 0.9, nesterov, decay: 0.0 };
            near(&trained(&ours, dtype), &trained(&burns, dtype), tolerance, "SGD");
        }
        let burns = AdamConfig::new().with_epsilon(1e-8).build();
        near(&trained(&Adam::default(), dtype), &trained(&burns, dtype), tolerance, "Adam");
        let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).build();
        near(&trained(&Adam { decay: 0.1, ..Adam::default() }, dtype), &trained(&burns, dtype), tolerance, "AdamW");
    }
}
