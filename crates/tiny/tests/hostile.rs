//! Hostile files: truncated, flipped, huge. Each is read or refused within a second and 256 MiB; none panics.
//!
//! The coverage-guided twin of this gate is `fuzz/fuzz_targets/network.rs`.

use std::sync::Arc;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tersor_data::testing::{self, Counting, Failure, MOST_BYTES, Trials, within_limits};
use tersor_data::{Array, Elements, npz, shared};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;
use tersor_network::fast::{Fast, Preparation};
use tersor_network::operator::{Operator, Pool};
use tersor_network::reference::{Options, Reference};
use tersor_network::{
    Arithmetic, Error, Graph, Layout, Network, Node, Quantization, Tensor, TensorKind, graph_file, tflite,
};
use tersor_tiny::inspect::inspect;

type Result<T = ()> = std::result::Result<T, Failure>;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut trials = Trials::new();
    for model in shared::TINY_NETWORKS {
        let file = format!("tiny/{model}.tflite");
        trials = trials
            .needs(&[&file])
            .test(&format!("{model}_cut_at_200_places_is_refused"), move || truncated(model))
            .test(&format!("{model}_survives_1000_flipped_bytes"), move || flipped(model, 1000));
    }
    trials
        .needs(&[])
        .test("operator_models_survive_100000_flipped_bytes", || operator_models(100_000))
        .test("what_is_no_network_is_refused", no_network)
        .test("huge_shapes_are_refused_before_they_are_allocated", huge)
        .needs(&["tiny/mcunet_5fps_int8.json"])
        .test("a_graph_file_survives_flipped_bytes_in_both_parts", graph_files)
        .run()
}

fn bytes(model: &str) -> Result<Vec<u8>> {
    Ok(std::fs::read(testing::file(&format!("tiny/{model}.tflite"))?)?)
}

/// The same numbers on every run: a failure can be looked at again.
fn random(seed: u8) -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])
}

/// Everything that a user can do with a file short of long computing.
fn use_it(network: &Network, compute: bool) -> std::result::Result<(), Error> {
    let inspection = inspect(network);
    let _ = tersor_tiny::profile::svg(&inspection);
    let options = Options { memory: (MOST_BYTES / 4) as u64, steps: 20_000_000, ..Options::default() };
    let engine = Reference::prepare(network, options)?;
    if !compute {
        return Ok(());
    }
    let inputs: Vec<(usize, Array)> = engine
        .inputs()
        .filter_map(|(t, shape, kind)| {
            let zeros = Elements::zeros(kind?, shape.iter().product());
            Some((t, Array::new(shape.to_vec(), zeros)?))
        })
        .collect();
    let feed: Vec<(usize, &Array)> = inputs.iter().map(|(t, array)| (*t, array)).collect();
    let expected = engine.run(&mut engine.state(), &feed, |_, _| ());
    // The fast engine takes the same files and gives the same bits; floats are computed by the same kernels.
    if let Ok(fast) = Fast::prepare(network, &Preparation { options, ..Preparation::default() }) {
        let got = fast.run(&mut fast.session(), &feed, |_, _| ());
        assert_eq!(got.ok().map(bytes_of), expected.as_ref().ok().cloned().map(bytes_of), "{}", network.name);
    }
    expected.map(drop)
}

/// NaN differs from itself, its bytes do not.
fn bytes_of(arrays: Vec<Array>) -> Vec<Vec<u8>> {
    arrays.iter().map(|a| a.elements().to_le_bytes()).collect()
}

fn truncated(model: &str) -> Result {
    let whole = bytes(model)?;
    for i in 0..200 {
        let cut = whole.len() * i / 200;
        let read = within_limits(|| format!("{model} cut at {cut}"), || tflite::from_bytes(model, &whole[..cut]));
        assert!(matches!(read, Err(Error::Malformed { .. })), "{model} cut at {cut} was read");
    }
    Ok(())
}

/// Flips single bytes: half of them anywhere, half near the ends, where the tables are.
fn flipped(model: &str, times: usize) -> Result {
    let whole = bytes(model)?;
    let mut random = random(1);
    for i in 0..times {
        let near = (random.next_u32() % 6000) as usize;
        let at = match i % 4 {
            0 => near.min(whole.len() - 1),
            1 => whole.len() - 1 - near.min(whole.len() - 1),
            _ => random.next_u64() as usize % whole.len(),
        };
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (random.next_u32() % 8);
        within_limits(
            || format!("{model} with byte {at} flipped"),
            || {
                let read = tflite::from_bytes(model, &damaged);
                read.and_then(|network| use_it(&network, false)).map_or_else(named, |()| ());
            },
        );
    }
    Ok(())
}

/// An error names the file.
fn named(error: Error) {
    let text = error.to_string();
    assert!(text.contains(": "), "{text}");
}

/// Files of one operator each, whose options and shapes the flips hit often; what is still a network is computed.
fn operator_models(times: usize) -> Result {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../network/tests/golden/operators.npz"))?;
    let names: Vec<&String> = golden.names().iter().filter(|name| name.ends_with("_model")).collect();
    assert_eq!(names.len(), 288);
    let mut random = random(2);
    let mut computed = 0;
    for name in &names {
        let model = golden.read(name)?;
        let whole = model.elements().as_u8().ok_or("no bytes")?;
        for _ in 0..times.div_ceil(names.len()) {
            let mut damaged = whole.to_vec();
            for _ in 0..1 + u32::from(random.next_u32().is_multiple_of(4)) {
                let at = random.next_u64() as usize % damaged.len();
                damaged[at] =
                    if random.next_u32().is_multiple_of(2) { random.next_u32() as u8 } else { damaged[at] ^ 1 };
            }
            let run = || tflite::from_bytes(name, &damaged).and_then(|network| use_it(&network, true));
            computed += usize::from(within_limits(|| format!("{name}: {damaged:?}"), run).map_err(named).is_ok());
        }
    }
    assert!(computed > times / 20, "only {computed} of {times} were computed: the flips hit too hard to test anything");
    Ok(())
}

fn no_network() -> Result {
    let refused = |bytes: &[u8]| match tflite::from_bytes("x.tflite", bytes) {
        Err(e @ Error::Malformed { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    };
    for nothing in [&b""[..], b"TFL3", b"\0\0\0\0TFL3", &[0xff; 64], b"\x08\0\0\0TFL3\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        assert!(refused(nothing).starts_with("x.tflite: "));
    }
    assert!(refused(b"PK\x03\x04 this is a zip").contains("TFL3"));
    Ok(())
}

/// A network of one operator on an int8 image of the given shape.
fn one(operator: Operator, input: &[usize], constants: Vec<(Vec<usize>, Elements)>, output: &[usize]) -> Network {
    let tensor = |name: &str, shape: &[usize], constant: Option<Elements>| Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        kind: TensorKind::Element(constant.as_ref().map_or(tersor_data::ElementType::I8, Elements::element_type)),
        quantization: Some(Quantization::per_tensor(1.0, 0)),
        constant: constant.map(Arc::new),
        variable: false,
    };
    let mut tensors = vec![tensor("x", input, None)];
    tensors.extend(constants.into_iter().map(|(shape, elements)| tensor("c", &shape, Some(elements))));
    let inputs = (0..tensors.len()).map(Some).collect();
    tensors.push(tensor("y", output, None));
    let outputs = vec![tensors.len() - 1];
    let nodes = vec![Node { operator, inputs, outputs: outputs.clone() }];
    let graph = Graph { name: String::new(), tensors, nodes, inputs: vec![0], outputs };
    let (arithmetic, layout) = (Arithmetic::FixedPoint, Layout::ChannelsLast);
    Network { name: "huge".into(), description: String::new(), graphs: vec![graph], arithmetic, layout }
}

fn huge() -> Result {
    let square = |n: usize| [1, n, n, 1];
    let nearest = Operator::ResizeNearestNeighbor { align_corners: false, half_pixel_centers: false };
    let size = |n: i32| vec![(vec![2], Elements::from(vec![n, n]))];
    let pool = |n| Pool { kernel: [n; 2], stride: [1; 2], padding: [Padding::Same; 2], activation: Activation::None };
    let weights = vec![(vec![1, 200, 200, 1], Elements::from(vec![1i8; 40_000]))];
    let convolution = Operator::Conv2d {
        stride: [1; 2],
        dilation: [1; 2],
        padding: [Padding::Same; 2],
        activation: Activation::None,
    };
    let files = [
        one(nearest, &square(1), size(100_000), &square(100_000)),
        one(Operator::Relu, &square(100_000), Vec::new(), &square(100_000)),
        one(Operator::AveragePool2d(pool(9_000)), &square(9_000), Vec::new(), &square(9_000)),
        one(convolution, &square(9_000), weights, &square(9_000)),
    ];
    for network in files {
        let bytes = tflite::to_bytes(&network)?;
        let refused = within_limits(
            || network.graphs[0].nodes[0].operator.name().to_string(),
            || {
                tflite::from_bytes("huge", &bytes)
                    .and_then(|read| Reference::prepare(&read, Options::default()).map(drop))
            },
        );
        assert!(matches!(refused, Err(Error::Memory { .. } | Error::Work { .. })), "{refused:?}");
    }
    // Small files that ask for much while they are prepared or inspected.
    let list = |numbers: Vec<i32>| (vec![numbers.len()], Elements::from(numbers));
    let half = Operator::ResizeBilinear { align_corners: false, half_pixel_centers: false };
    let mean = Operator::Mean { keep_dims: true };
    let reshape = Operator::Reshape { shape: None };
    let designed = [
        one(half, &[1, 1, 1, 1], vec![list(vec![1 << 30, 1])], &[1, 1 << 30, 1, 1]),
        one(Operator::Split { parts: i32::MAX as usize }, &[1], vec![list(vec![1, 2])], &[1]),
        one(reshape, &[8], Vec::new(), &[4]),
        one(Operator::AveragePool2d(pool(3)), &[1, 1 << 30, 1, 1], Vec::new(), &[1, 1 << 30, 1, 1]),
        one(mean, &[0, 4, 4, 1], vec![list(vec![1, 2])], &[0, 1, 1, 1]),
        one(Operator::Softmax { beta: 1e30 }, &[0], Vec::new(), &[0]),
    ];
    for network in designed {
        let name = network.graphs[0].nodes[0].operator.name().to_string();
        within_limits(
            || name.clone(),
            || {
                assert!(
                    !inspect(&network).runnable || Reference::prepare(&network, Options::default()).is_err(),
                    "{name}"
                );
            },
        );
    }
    // A shape whose product does not even fit a count of bytes.
    let endless = one(Operator::Relu, &[1 << 30, 1 << 30, 1 << 30], Vec::new(), &[1]);
    let refused = tflite::from_bytes("huge", &tflite::to_bytes(&endless)?);
    assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
    Ok(())
}

fn graph_files() -> Result {
    let read = |suffix: &str| -> Result<Vec<u8>> {
        Ok(std::fs::read(testing::file(&format!("tiny/mcunet_5fps_int8.{suffix}"))?)?)
    };
    let (json, weights) = (read("json")?, read("safetensors")?);
    let mut random = random(3);
    for i in 0..600 {
        let (mut json, mut weights) = (json.clone(), weights.clone());
        if i % 2 == 0 {
            let at = random.next_u64() as usize % json.len();
            json[at] = random.next_u32() as u8;
        } else {
            let at = random.next_u64() as usize % 20_000;
            weights[at] = random.next_u32() as u8;
        }
        within_limits(
            || format!("graph file {i}"),
            || {
                let read = graph_file::from_bytes("g", Some(&json), &weights);
                read.and_then(|network| use_it(&network, false)).map_or_else(named, |()| ());
            },
        );
    }
    for cut in 0..50 {
        assert!(graph_file::from_bytes("g", Some(&json), &weights[..weights.len() * cut / 50]).is_err());
        assert!(graph_file::from_bytes("g", Some(&json[..json.len() * cut / 50]), &weights).is_err());
    }
    Ok(())
}
