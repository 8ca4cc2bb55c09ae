//! Gradient matching through duals, against gradients of gradients computed in numpy.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor, TensorData, activation};
use tersor_data::Elements;
use tersor_data::npz::{self, Npz};
use tersor_data::testing::{self, Failure, Trials};
use tersor_train::dual::{Arithmetic, Leaf, Leaves, Loss, gradient, slope};

type Result<T = ()> = std::result::Result<T, Failure>;

const GOLDEN: &str = "distributed/gradient_match.npz";
/// Relative to the largest entry.
const BOUND: f64 = 1e-10;

fn main() {
    Trials::new()
        .needs(&[GOLDEN])
        .test("first_gradients_are_numpys", || each_case(first_gradients))
        .test("squared_distance_of_gradients_is_matched", || each_case(squared_distance))
        .test("cosine_of_gradients_is_matched", || each_case(cosine))
        .test("weighted_absolute_distance_is_matched", || each_case(weighted_absolute))
        .test("three_steps_of_training_are_differentiated", || each_case(three_steps))
        .run()
}

/// Convolutions 5x5 with padding 2, each under the same activation, then a linear layer `[out, in]`.
struct Net {
    strides: Vec<usize>,
    tanh: bool,
}

impl Loss for Net {
    fn of<A: Arithmetic>(&self, leaves: &mut Leaves<A>) -> A::Of<1> {
        let (mut x, y) = (leaves.next::<4>(), leaves.next::<2>());
        for &stride in &self.strides {
            let options = ConvOptions::new([stride; 2], [2; 2], [1; 2], 1);
            x = A::conv2d(x, leaves.next(), Some(leaves.next()), &options);
            x = if self.tanh { A::tanh(x) } else { A::sigmoid(x) };
        }
        let [n, channels, height, width] = A::dims(&x);
        let features = A::reshape(x, [n, channels * height * width]);
        let weight = A::permute(leaves.next(), [1, 0]);
        A::cross_entropy(A::linear(features, weight, Some(leaves.next())), y)
    }
}

/// One case of the file.
struct Case {
    file: Npz,
    name: &'static str,
    net: Net,
}

impl Case {
    fn leaf(&self, key: &str) -> Result<Leaf> {
        let array = self.file.read(&format!("{}_{key}", self.name))?;
        let shape = array.shape().to_vec();
        Ok(leaf(numbers_of(array.into_elements())?, &shape))
    }

    fn number(&self, key: &str) -> Result<f64> {
        Ok(values(&self.leaf(key)?)[0])
    }

    /// `key0`, `key1`...: one for each parameter.
    fn all(&self, key: &str) -> Result<Vec<Leaf>> {
        (0..2 * self.net.strides.len() + 2).map(|index| self.leaf(&format!("{key}{index}"))).collect()
    }

    /// The dummy picture, the dummy label and the weights.
    fn leaves(&self) -> Result<Vec<Leaf>> {
        let label = Leaf::new(activation::softmax(self.leaf("u")?.tensor::<2>(), 1));
        Ok([vec![self.leaf("x")?, label], self.all("p")?].concat())
    }

    /// Holds an objective of the gradients and its gradients with respect to picture and logits to the file's.
    fn matches(&self, key: &str, objective: impl Fn(&[Leaf], &[Leaf]) -> (f64, Vec<Leaf>)) -> Result {
        let leaves = self.leaves()?;
        let found = gradient(&self.net, &leaves, 2..).gradients;
        let (value, v) = objective(&found, &self.all("target")?);
        let direction = [vec![None, None], v.into_iter().map(Some).collect()].concat();
        let second = slope(&self.net, &leaves, &direction, ..2);
        let (y, by_label) = (leaves[1].tensor::<2>(), second.gradients[1].tensor::<2>());
        let mean = (y.clone() * by_label.clone()).sum_dim(1);
        let by_logits = Leaf::new(y * (by_label - mean));

        near(key, &[value], &[self.number(key)?])?;
        near("picture", &values(&second.gradients[0]), &values(&self.leaf(&format!("{key}_gx"))?))?;
        near("logits", &values(&by_logits), &values(&self.leaf(&format!("{key}_gu"))?))
    }
}

fn each_case(test: impl Fn(&Case) -> Result) -> Result {
    for (name, tanh) in [("c0_sigmoid_N1", false), ("c1_sigmoid_N3", false), ("c2_tanh_N2", true)] {
        let file = npz::open(testing::file(GOLDEN)?)?;
        let strides = numbers_of(file.read(&format!("{name}_strides"))?.into_elements())?;
        let strides = strides.into_iter().map(|stride| stride as usize).collect();
        test(&Case { file, name, net: Net { strides, tanh } }).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn first_gradients(case: &Case) -> Result {
    let found = gradient(&case.net, &case.leaves()?, 2..);
    near("loss", &[found.loss], &[case.number("loss")?])?;
    for (index, (found, expected)) in found.gradients.iter().zip(case.all("g")?).enumerate() {
        near(&format!("parameter {index}"), &values(found), &values(&expected))?;
    }
    Ok(())
}

/// `Σ ‖G − G*‖²`.
fn squared_distance(case: &Case) -> Result {
    case.matches("l2", |found, target| {
        let apart = apart(found, target);
        (product(&apart, &apart), apart.iter().map(|a| a.map(|a| a * 2.0)).collect())
    })
}

/// `1 − ⟨G, G*⟩ / (‖G‖ ‖G*‖)`.
fn cosine(case: &Case) -> Result {
    case.matches("cos", |g, target| {
        let (inner, size, target_size) = (product(g, target), product(g, g).sqrt(), product(target, target).sqrt());
        let (along, against) = (inner / (size.powi(3) * target_size), 1.0 / (size * target_size));
        let v = g.iter().zip(target).map(|(g, t)| g.map(|g| g * along - t.values() * against));
        (1.0 - inner / (size * target_size), v.collect())
    })
}

/// `Σ ‖G − G*‖² + 0.1 w ‖G − G*‖₁`, with `w` falling from 1 over the parameters.
fn weighted_absolute(case: &Case) -> Result {
    case.matches("tag", |found, target| {
        let apart = apart(found, target);
        let weight = |index: usize| 0.1 * (apart.len() - index) as f64 / apart.len() as f64;
        let absolute = |(index, a): (usize, &Leaf)| weight(index) * a.values().abs().sum().into_scalar::<f64>();
        let value = product(&apart, &apart) + apart.iter().enumerate().map(absolute).sum::<f64>();
        let v = apart.iter().enumerate().map(|(index, a)| a.map(|a| a.clone() * 2.0 + a.sign() * weight(index)));
        (value, v.collect())
    })
}

/// What a client sends after three steps of SGD: `‖(W₀ − W₃) − Δ*‖²` by the pictures of every step.
///
/// Backwards through the steps with one dual pass each: `∇_{x_t} = η ∇ₓ⟨G_t, λ⟩`, `λ ← λ − η H_t λ`.
fn three_steps(case: &Case) -> Result {
    let eta = case.number("ms_eta")?;
    let (pictures, labels) = (case.leaf("ms_x")?, case.leaf("ms_y")?);
    let (pictures, labels) = (pictures.tensor::<5>(), labels.tensor::<3>());
    let batch = |t: usize| {
        let x = pictures.clone().narrow(0, t, 1).squeeze_dim::<4>(0);
        vec![Leaf::new(x), Leaf::new(labels.clone().narrow(0, t, 1).squeeze_dim::<2>(0))]
    };
    let mut weights = vec![case.all("p")?];
    for t in 0..3 {
        let step = gradient(&case.net, &[batch(t), weights[t].clone()].concat(), 2..).gradients;
        let next = weights[t].iter().zip(&step).map(|(w, g)| w.map(|w| w - g.values() * eta)).collect();
        weights.push(next);
    }
    let moved = apart(&weights[0], &weights[3]);
    for (index, (moved, expected)) in moved.iter().zip(case.all("ms_delta")?).enumerate() {
        near(&format!("displacement {index}"), &values(moved), &values(&expected))?;
    }
    let apart = apart(&moved, &case.all("ms_target")?);
    near("objective", &[product(&apart, &apart)], &[case.number("ms_f")?])?;

    let expected = case.leaf("ms_gx")?.tensor::<5>();
    let mut lambda: Vec<Leaf> = apart.iter().map(|a| a.map(|a| a * 2.0)).collect();
    for t in (0..3).rev() {
        let direction = [vec![None, None], lambda.iter().cloned().map(Some).collect()].concat();
        let second = slope(&case.net, &[batch(t), weights[t].clone()].concat(), &direction, ..).gradients;
        let by_picture = second[0].map(|g| g * eta);
        let wanted = Leaf::new(expected.clone().narrow(0, t, 1));
        near(&format!("picture of step {t}"), &values(&by_picture), &values(&wanted))?;
        lambda = lambda.iter().zip(&second[2..]).map(|(l, h)| l.map(|l| l - h.values() * eta)).collect();
    }
    Ok(())
}

fn apart(a: &[Leaf], b: &[Leaf]) -> Vec<Leaf> {
    a.iter().zip(b).map(|(a, b)| a.map(|a| a - b.values())).collect()
}

fn product(a: &[Leaf], b: &[Leaf]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a.values() * b.values()).sum().into_scalar::<f64>()).sum()
}

fn leaf(numbers: Vec<f64>, shape: &[usize]) -> Leaf {
    let count = numbers.len();
    let values = Tensor::<1>::from_data(TensorData::new(numbers, [count]), (&Device::flex(), DType::F64));
    Leaf::shaped(values, shape)
}

fn values(leaf: &Leaf) -> Vec<f64> {
    leaf.values().try_into_vec_as::<f64>().expect("values of Flex can be read")
}

fn numbers_of(elements: Elements) -> Result<Vec<f64>> {
    match elements {
        Elements::F64(numbers) => Ok(numbers),
        Elements::I64(numbers) => Ok(numbers.into_iter().map(|n| n as f64).collect()),
        other => Err(format!("{:?} instead of f64", other.element_type()).into()),
    }
}

fn near(what: &str, found: &[f64], expected: &[f64]) -> Result {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} numbers, expected {}", found.len(), expected.len()).into());
    }
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |scale, e| scale.max(e.abs()));
    let worst = found.iter().zip(expected).map(|(f, e)| (f - e).abs() / scale).fold(0.0, f64::max);
    if worst <= BOUND { Ok(()) } else { Err(format!("{what}: {worst:e} from numpy's, relative to the largest").into()) }
}
