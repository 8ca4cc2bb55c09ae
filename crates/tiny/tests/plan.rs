//! Plans: executed in a trapped arena they give the same bits as the layers, on real and on random networks, and take
//! the bytes they promise.

use std::sync::Arc;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rayon::prelude::*;
use tersor_data::testing::{self, Failure, Trials};
use tersor_data::{Array, ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::{Padding, Window};
use tersor_network::operator::{Operator, Pool};
use tersor_network::reference::{Options, Reference};
use tersor_network::{Arithmetic, Graph, Layout, Network, Node, Quantization, Tensor, TensorId, TensorKind, tflite};
use tersor_tiny::inspect::inspect;
use tersor_tiny::plan::arena::Executor;
use tersor_tiny::plan::{self, InputMode, Patches, Plan, Search, fast};

type Result<T = ()> = std::result::Result<T, Failure>;

/// Network; most bytes of the layers, scratch included; most bytes of the streamed plan at ≤ 10 % extra work.
const PEAKS: [(&str, usize, usize); 6] = [
    // 5 % above the sheet's estimates (32,768 · 8,064 · 36,864 · 768 · 76,800 · 163,840).
    ("resnet8_cifar10_int8", 34_406, 22_192),
    ("dscnn_kws_int8", 8_467, 8_467),
    ("mobilenetv1_vww96_int8", 38_707, 18_432),
    ("autoencoder_ad_int8", 768, 768),
    ("mcunet_vww1_int8", 80_640, 32_000),
    ("mcunet_persondet_int8", 172_032, 39_360),
];

fn main() {
    let mut trials = Trials::new();
    for (name, layers, streamed) in PEAKS {
        let file = format!("tiny/{name}.tflite");
        trials = trials
            .needs(&[&file])
            .test(&format!("{name}_gives_the_same_bits_by_layers"), move || {
                let network = network(name)?;
                let plan = plan::layers(&network, 4)?;
                assert!(plan.peak_bytes <= layers, "{} bytes", plan.peak_bytes);
                assert!(plan.peak_bytes as u64 <= inspect(&network).lower_bound_bytes);
                same_bits(&network, plan)
            })
            .test(&format!("{name}_gives_the_same_bits_for_every_split"), move || every_split(&network(name)?))
            .test(&format!("{name}_gives_the_same_bits_in_parts"), move || {
                let network = network(name)?;
                for input in [InputMode::Streamed, InputMode::Resident] {
                    let (plan, front) = plan::search(&network, Search { input, ..Search::default() })?;
                    assert!(plan.extra_macs * 10 <= plan.macs);
                    assert!(!front.is_empty());
                    assert!(input == InputMode::Resident || plan.peak_bytes <= streamed, "{} bytes", plan.peak_bytes);
                    same_bits(&network, plan)?;
                }
                Ok(())
            });
    }
    trials
        .needs(&["tiny/resnet8_cifar10_int8.tflite", "tiny/dscnn_kws_int8.tflite"])
        .test("no_split_and_grid_beats_the_chosen_plan", brute_force)
        .test("a_saved_plan_is_the_plan", saved)
        .needs(&[])
        .test("200_random_networks_give_the_same_bits_in_every_part", random_networks)
        .test("a_wrong_plan_is_trapped", wrong_plans)
        .test("a_damaged_plan_is_refused_or_runs", damaged_plans)
        .test("mobilenet_v2_at_224_fits_an_eighth_of_its_layers", mobilenet_v2)
        .run()
}

fn network(name: &str) -> Result<Network> {
    Ok(tflite::read(testing::file(&format!("tiny/{name}.tflite"))?)?)
}

fn random(seed: u8) -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])
}

/// What the plan stores of each input: noise of every value.
fn noise(network: &Network, plan: &Plan, seed: u8) -> Vec<(TensorId, Array)> {
    let graph = network.main();
    let mut random = random(seed);
    let stored = |t: TensorId| {
        let quantized = tersor_tiny::input::quantized_input(network, t);
        quantized.filter(|q| plan.tensors.iter().any(|p| p.index == *q)).unwrap_or(t)
    };
    graph
        .inputs
        .iter()
        .map(|&t| {
            let t = stored(t);
            let values: Vec<i8> = (0..graph.tensors[t].len()).map(|_| random.next_u32() as i8).collect();
            (t, Array::new(graph.tensors[t].shape.clone(), values.into()).expect("noise fits"))
        })
        .collect()
}

/// The plan, executed, gives the reference engine's outputs, and writes no byte beyond its peak but reaches it.
fn same_bits(network: &Network, plan: Plan) -> Result {
    let peak = plan.peak_bytes;
    let fed = noise(network, &plan, 7);
    let engine = Reference::prepare(network, Options::default())?;
    let feed: Vec<(TensorId, &Array)> = fed.iter().map(|(t, array)| (*t, array)).collect();
    // Outputs behind a DEQUANTIZE are stored quantised: compare what the plan stores.
    let stored: Vec<TensorId> = network.main().outputs.iter().map(|&t| stored_output(network, t)).collect();
    let mut expected = vec![Vec::new(); stored.len()];
    engine.run(&mut engine.state(), &feed, |t, array| {
        for (stored, expected) in stored.iter().zip(&mut expected) {
            if *stored == t {
                *expected = array.elements().to_le_bytes();
            }
        }
    })?;
    let executor = Executor::new(network, plan.clone())?;
    let mut arena = executor.arena();
    let inputs: Vec<&Array> = fed.iter().map(|(_, array)| array).collect();
    // Twice: a run must not depend on what an earlier one left behind.
    for _ in 0..2 {
        let got = executor.run(&mut arena, &inputs)?;
        assert_eq!(got, expected);
    }
    assert_eq!(arena.high_water, peak, "the plan's peak is what a run reaches");
    let executor = fast::Executor::new(network, plan, Options::default())?;
    for threads in [1, 2] {
        let mut arena = executor.arena(threads);
        for _ in 0..2 {
            assert_eq!(executor.run(&mut arena, &inputs)?, expected, "the fast engine on {threads} threads");
        }
    }
    Ok(())
}

/// The tensor whose bytes a plan keeps for an output.
fn stored_output(network: &Network, t: TensorId) -> TensorId {
    let graph = network.main();
    let writer = graph.nodes.iter().find(|n| n.outputs.contains(&t));
    match writer.map(|n| (&n.operator, n.inputs.first().copied().flatten())) {
        Some((Operator::Dequantize, Some(input))) => input,
        _ => t,
    }
}

/// A random int8 CNN: convolutions of every kind, residuals, pools, odd sizes.
struct Random {
    random: TestRng,
    graph: Graph,
}

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.random.next_u32() as usize % n
    }

    fn tensor(&mut self, shape: Vec<usize>, constant: Option<Elements>) -> TensorId {
        let kind = constant.as_ref().map_or(ElementType::I8, Elements::element_type);
        let zero = self.below(31) as i64 - 15;
        self.graph.tensors.push(Tensor {
            name: format!("t{}", self.graph.tensors.len()),
            shape,
            kind: TensorKind::Element(kind),
            quantization: Some(Quantization::per_tensor(0.05, if constant.is_some() { 0 } else { zero })),
            constant: constant.map(Arc::new),
            variable: false,
        });
        self.graph.tensors.len() - 1
    }

    fn node(&mut self, operator: Operator, inputs: Vec<TensorId>, shape: Vec<usize>) -> TensorId {
        let y = self.tensor(shape, None);
        self.graph.nodes.push(Node { operator, inputs: inputs.into_iter().map(Some).collect(), outputs: vec![y] });
        y
    }

    fn shape(&self, t: TensorId) -> [usize; 4] {
        self.graph.tensors[t].shape.as_slice().try_into().expect("an image")
    }

    /// A convolution of SAME padding.
    fn same(&mut self, x: TensorId, k: usize, s: usize, out: Option<usize>) -> TensorId {
        self.padded_convolution(x, k, s, 1, out, Padding::Same)
    }

    /// A convolution if its kernel fits; `out` channels, or depthwise.
    fn convolution(&mut self, x: TensorId, k: usize, s: usize, d: usize, out: Option<usize>) -> TensorId {
        let padding = if self.below(2) == 0 { Padding::Same } else { Padding::Valid };
        self.padded_convolution(x, k, s, d, out, padding)
    }

    fn padded_convolution(
        &mut self,
        x: TensorId,
        k: usize,
        s: usize,
        d: usize,
        out: Option<usize>,
        padding: Padding,
    ) -> TensorId {
        let [_, height, width, channels] = self.shape(x);
        let windows = Window::new(height, k, s, d, padding).zip(Window::new(width, k, s, d, padding));
        let Some((v, h)) = windows else { return x };
        let on_padding = |w: &Window| (0..w.output).any(|o| w.taps(o).is_empty());
        if on_padding(&v) || on_padding(&h) {
            return x;
        }
        let channels_out = out.unwrap_or(channels);
        let shape = if out.is_some() { vec![channels_out, k, k, channels] } else { vec![1, k, k, channels] };
        let count = shape.iter().product::<usize>();
        let weights: Vec<i8> = (0..count).map(|_| self.random.next_u32() as i8 / 16).collect();
        let bias: Vec<i32> = (0..channels_out).map(|_| self.random.next_u32() as i32 >> 22).collect();
        let w = self.tensor(shape, Some(weights.into()));
        let b = self.tensor(vec![channels_out], Some(bias.into()));
        let (stride, dilation, padding, activation) = ([s; 2], [d; 2], [padding; 2], Activation::None);
        let operator = match out {
            Some(_) => Operator::Conv2d { stride, dilation, padding, activation },
            None => Operator::DepthwiseConv2d { stride, dilation, padding, activation },
        };
        self.node(operator, vec![x, w, b], vec![1, v.output, h.output, channels_out])
    }

    /// A PAD, uneven on its four sides, and an unpadded convolution that can do it.
    fn padded(&mut self, x: TensorId, k: usize) -> TensorId {
        let [_, height, width, channels] = self.shape(x);
        let around: Vec<i32> = [0, 0, 0, 0].map(|_| self.below(k) as i32).to_vec();
        let size = |n: usize, i: usize| n + around[i] as usize + around[i + 1] as usize;
        let shape = vec![1, size(height, 0), size(width, 2), channels];
        if shape[1] < k || shape[2] < k {
            return x;
        }
        let paddings = [vec![0, 0], around, vec![0, 0]].concat();
        let paddings = self.tensor(vec![4, 2], Some(paddings.into()));
        let quantization = self.graph.tensors[x].quantization.clone();
        let y = self.node(Operator::Pad, vec![x, paddings], shape);
        self.graph.tensors[y].quantization = quantization;
        let out = 1 + self.below(5);
        self.padded_convolution(y, k, 1 + k % 2, 1, Some(out), Padding::Valid)
    }

    /// x + convolution(x), whose window meets the shortcut itself.
    fn residual(&mut self, x: TensorId, k: usize) -> TensorId {
        let shape = self.shape(x).to_vec();
        let y = self.padded_convolution(x, k, 1, 1, Some(shape[3]), Padding::Same);
        self.node(Operator::Add { activation: Activation::None }, vec![x, y], shape)
    }

    /// The same elements as another image.
    fn reshaped(&mut self, x: TensorId) -> TensorId {
        let [_, height, width, channels] = self.shape(x);
        let quantization = self.graph.tensors[x].quantization.clone();
        let shape = vec![1, width, height, channels];
        let option = Some(shape.iter().map(|&n| n as i32).collect());
        let y = self.node(Operator::Reshape { shape: option }, vec![x], shape);
        self.graph.tensors[y].quantization = quantization;
        y
    }

    fn pool(&mut self, x: TensorId) -> TensorId {
        let [_, height, width, channels] = self.shape(x);
        let k = 2 + self.below(2);
        let windows = Window::new(height, k, 2, 1, Padding::Same).zip(Window::new(width, k, 2, 1, Padding::Same));
        let Some((v, h)) = windows else { return x };
        let pool = Pool { kernel: [k; 2], stride: [2; 2], padding: [Padding::Same; 2], activation: Activation::None };
        let operator = if self.below(2) == 0 { Operator::AveragePool2d(pool) } else { Operator::MaxPool2d(pool) };
        let quantization = self.graph.tensors[x].quantization.clone();
        let y = self.node(operator, vec![x], vec![1, v.output, h.output, channels]);
        self.graph.tensors[y].quantization = quantization;
        y
    }

    fn network(seed: u8, index: usize) -> Network {
        let mut bytes = [seed; 32];
        bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
        let mut r = Self { random: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes), graph: Graph::default() };
        let (height, width, channels) = (5 + r.below(12), 5 + r.below(12), 1 + r.below(4));
        let input = r.tensor(vec![1, height, width, channels], None);
        r.graph.inputs = vec![input];
        let mut x = input;
        for _ in 0..2 + r.below(5) {
            let (k, s, d) = (1 + r.below(7), 1 + r.below(3), 1 + r.below(2));
            x = match r.below(9) {
                0 => r.convolution(x, k, s, d, None),
                1 => r.pool(x),
                2 | 3 => {
                    let out = 1 + r.below(6);
                    r.convolution(x, k, s, d, Some(out))
                }
                4 => r.padded(x, k),
                7 => r.residual(x, k),
                8 => r.reshaped(x),
                5 => r.node(Operator::HardSwish, vec![x], r.shape(x).to_vec()),
                _ => {
                    // An inverted residual: expand, depthwise, project, add.
                    let channels = r.shape(x)[3];
                    let wide = r.convolution(x, 1, 1, 1, Some(2 * channels));
                    let deep = r.convolution(wide, 3, 1, 1, None);
                    let thin = r.convolution(deep, 1, 1, 1, Some(channels));
                    if thin != x && r.shape(thin) == r.shape(x) {
                        let shape = r.shape(x).to_vec();
                        r.node(Operator::Add { activation: Activation::None }, vec![x, thin], shape)
                    } else {
                        thin
                    }
                }
            };
        }
        // A head that needs everything, or the image itself.
        if !index.is_multiple_of(3) || r.graph.nodes.is_empty() {
            let channels = r.shape(x)[3];
            let axes = r.tensor(vec![2], Some(vec![1i32, 2].into()));
            x = r.node(Operator::Mean { keep_dims: false }, vec![x, axes], vec![1, channels]);
        }
        r.graph.outputs = vec![x];
        Network {
            name: format!("random {index}"),
            description: String::new(),
            graphs: vec![r.graph],
            arithmetic: Arithmetic::FixedPoint,
            layout: Layout::ChannelsLast,
        }
    }
}

fn random_networks() -> Result {
    let split: usize = (0..200).into_par_iter().map(random_network).sum::<Result<usize>>()?;
    assert!(split > 5_000, "only {split} plans in parts were tried");
    Ok(())
}

/// Every split, every grid up to 8 x 8, and rows, each placed: none that is allowed takes less than the chosen plan.
fn brute_force() -> Result {
    for name in ["resnet8_cifar10_int8", "dscnn_kws_int8"] {
        let network = network(name)?;
        for input in [InputMode::Streamed, InputMode::Resident] {
            let (chosen, _) = plan::search(&network, Search { input, ..Search::default() })?;
            let grids = (1..=8).flat_map(|r| (1..=8).map(move |c| (r, c, false))).chain([(1, 1, true)]);
            for (rows, columns, streaming) in grids {
                for layer in 0..network.main().nodes.len() {
                    let patches = Patches { layer, rows, columns, streaming };
                    let Ok(plan) = plan::parts(&network, patches, input, 4) else { continue };
                    let allowed = plan.extra_macs * 10 <= plan.macs;
                    assert!(!allowed || plan.peak_bytes >= chosen.peak_bytes, "{name}, {patches:?}, {input:?}");
                }
            }
        }
    }
    Ok(())
}

fn saved() -> Result {
    let network = network("resnet8_cifar10_int8")?;
    let (plan, _) = plan::search(&network, Search { input: InputMode::Streamed, ..Search::default() })?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("plan.json");
    std::fs::write(&file, serde_json::to_vec(&plan)?)?;
    assert_eq!(Plan::read(&file)?, plan);
    std::fs::write(&file, b"{\"file\": 3}")?;
    assert!(Plan::read(&file).expect_err("no plan").to_string().contains("is no plan"));
    Ok(())
}

/// One random network by layers and in every legal part; how many plans in parts there were.
fn random_network(index: usize) -> Result<usize> {
    let network = Random::network(11, index);
    let at = |what: String| move |e: Failure| -> Failure { format!("network {index}, {what}: {e}").into() };
    same_bits(&network, plan::layers(&network, 1)?).map_err(at("layers".into()))?;
    let mut split = 0;
    for layer in 0..network.main().nodes.len() {
        for (rows, columns, streaming) in grids() {
            let patches = Patches { layer, rows, columns, streaming };
            for input in [InputMode::Streamed, InputMode::Resident] {
                // Not every operator's output can be split; those that can are all tried.
                let Ok(plan) = plan::parts(&network, patches, input, 1) else { continue };
                split += 1;
                same_bits(&network, plan).map_err(at(format!("{patches:?}, {input:?}")))?;
            }
        }
    }
    Ok(split)
}

/// Every legal split in two grids and in rows; in 1..6 x 1..6 patches, which takes minutes, with
/// `TERSOR_TEST_ALL_SPLITS=1`.
fn every_split(network: &Network) -> Result {
    let all = std::env::var_os("TERSOR_TEST_ALL_SPLITS").is_some();
    let grids: Vec<(usize, usize, bool)> =
        if all { grids().collect() } else { vec![(2, 3, false), (6, 5, false), (1, 1, true)] };
    let splits = (0..network.main().nodes.len()).flat_map(|layer| grids.iter().map(move |&grid| (layer, grid)));
    splits.collect::<Vec<_>>().into_par_iter().try_for_each(|(layer, (rows, columns, streaming))| {
        let patches = Patches { layer, rows, columns, streaming };
        let input = if (rows + columns) % 2 == 0 { InputMode::Streamed } else { InputMode::Resident };
        let Ok(plan) = plan::parts(network, patches, input, 4) else { return Ok(()) };
        same_bits(network, plan).map_err(|e| format!("{patches:?}, {input:?}: {e}").into())
    })
}

/// 1..6 x 1..6 patches, and rows.
fn grids() -> impl Iterator<Item = (usize, usize, bool)> {
    (1..=6).flat_map(|r| (1..=6).map(move |c| (r, c, false))).chain([(1, 1, true)])
}

/// Moving any piece by a few bytes makes some read invalid, or changes nothing; it never changes a value unseen.
fn wrong_plans() -> Result {
    let network = Random::network(11, 3);
    let right = plan::layers(&network, 1)?;
    let mut trapped = 0;
    for piece in 0..right.tensors.len() {
        for by in [1usize, 3, 16] {
            let mut wrong = right.clone();
            wrong.tensors[piece].offset = wrong.tensors[piece].offset.saturating_sub(by);
            let moved = wrong.tensors[piece].offset != right.tensors[piece].offset;
            match same_bits(&network, wrong) {
                Ok(()) => {}
                Err(e) if moved => {
                    assert!(e.to_string().contains("reads tensor"), "{e}");
                    trapped += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }
    assert!(trapped > 0, "no wrong plan was trapped");
    Ok(())
}

/// The numbers of a JSON value, in order.
fn numbers(value: &mut serde_json::Value) -> Vec<&mut serde_json::Value> {
    match value {
        serde_json::Value::Array(all) => all.iter_mut().flat_map(numbers).collect(),
        serde_json::Value::Object(all) => all.values_mut().flat_map(numbers).collect(),
        number if number.is_u64() => vec![number],
        _ => Vec::new(),
    }
}

/// Plans whose numbers were changed at random: an error or a run, with both engines, never a panic.
fn damaged_plans() -> Result {
    let mut random = random(17);
    let (mut refused, mut ran) = (0, 0);
    for index in 0..6 {
        let network = Random::network(11, index);
        let mut right = vec![plan::layers(&network, 1)?];
        let rows = Search { rows_only: true, input: InputMode::Streamed, ..Search::default() };
        right.extend(plan::search(&network, rows).map(|(plan, _)| plan));
        let grid = |layer| Patches { layer, rows: 2, columns: 2, streaming: false };
        right.extend((0..4).filter_map(|layer| plan::parts(&network, grid(layer), InputMode::Resident, 1).ok()));
        for right in right {
            let inputs = noise(&network, &right, 3);
            let inputs: Vec<&Array> = inputs.iter().map(|(_, array)| array).collect();
            let right = serde_json::to_value(&right)?;
            for _ in 0..300 {
                let mut wrong = right.clone();
                for _ in 0..=random.next_u32() % 3 {
                    let mut numbers = numbers(&mut wrong);
                    let at = random.next_u32() as usize % numbers.len();
                    let old = numbers[at].as_u64().unwrap_or(0);
                    let near = [old.wrapping_add(1), old.wrapping_sub(1), old.wrapping_mul(2), old.wrapping_add(100)];
                    let new = [&near[..], &[0, 1, u64::MAX]].concat();
                    *numbers[at] = new[random.next_u32() as usize % new.len()].into();
                }
                let Ok(wrong) = serde_json::from_value::<Plan>(wrong) else { continue };
                let watched = Executor::new(&network, wrong.clone()).and_then(|e| e.run(&mut e.arena(), &inputs));
                let fast = fast::Executor::new(&network, wrong, Options::default());
                match fast.and_then(|e| e.run(&mut e.arena(1), &inputs)) {
                    Ok(got) => {
                        ran += 1;
                        // What the watching arena lets pass is right.
                        if let Ok(watched) = watched {
                            assert_eq!(got, watched);
                        }
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 0 && ran > 0, "{refused} refused, {ran} ran");
    Ok(())
}

/// MobileNetV2-1.0 at 224x224, weights random, through a `.tflite` in memory: the paper's 1,404,928 bytes of layers, and
/// at most an eighth of them streamed with at most 10 % of extra work.
fn mobilenet_v2() -> Result {
    let mut r = Random { random: random(5), graph: Graph::default() };
    let mut x = r.tensor(vec![1, 224, 224, 3], None);
    r.graph.inputs = vec![x];
    x = r.same(x, 3, 2, Some(32));
    // Expansion, channels, repeats, stride: the paper's table 2.
    let blocks =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    for (expansion, channels, repeats, stride) in blocks {
        for i in 0..repeats {
            let shortcut = x;
            let inside = r.shape(x)[3] * expansion;
            if expansion > 1 {
                x = r.same(x, 1, 1, Some(inside));
            }
            x = r.same(x, 3, if i == 0 { stride } else { 1 }, None);
            x = r.same(x, 1, 1, Some(channels));
            if r.shape(shortcut) == r.shape(x) {
                let shape = r.shape(x).to_vec();
                x = r.node(Operator::Add { activation: Activation::None }, vec![shortcut, x], shape);
            }
        }
    }
    x = r.same(x, 1, 1, Some(1280));
    let axes = r.tensor(vec![2], Some(vec![1i32, 2].into()));
    let y = r.node(Operator::Mean { keep_dims: false }, vec![x, axes], vec![1, 1280]);
    r.graph.outputs = vec![y];
    let written = tflite::to_bytes(&Network {
        name: "mobilenet_v2".into(),
        description: String::new(),
        graphs: vec![r.graph],
        arithmetic: Arithmetic::FixedPoint,
        layout: Layout::ChannelsLast,
    })?;
    let network = tflite::from_bytes("mobilenet_v2", &written)?;
    let inspection = inspect(&network);
    assert_eq!(inspection.lower_bound_bytes, 1_404_928, "the layers are the paper's 1372 kB");
    let (plan, _) = plan::search(&network, Search { input: InputMode::Streamed, ..Search::default() })?;
    println!(
        "mobilenet_v2: {} bytes, {:?}, {} of {} MACs again",
        plan.peak_bytes, plan.patches, plan.extra_macs, plan.macs
    );
    assert!(plan.extra_macs * 10 <= plan.macs);
    assert!(plan.peak_bytes * 8 <= 1_404_928, "{} bytes", plan.peak_bytes);
    Ok(())
}
