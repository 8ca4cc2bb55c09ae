//! The reference engine against TensorFlow Lite Micro: every shared golden, intermediate, checksum and operator vector.
//!
//! Goldens: `../shared/data/tiny/SOURCES.md` says how they were obtained.

use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;
use tersor_data::testing::{Failure, Trials};
use tersor_data::{Array, ElementType, Elements, npz, shared};
use tersor_kernels::int8::{Activation, Multiplier, Rounding, saturating_rounding_doubling_high_mul};
use tersor_kernels::layout;
use tersor_network::operator::Operator;
use tersor_network::reference::{Options, Reference};
use tersor_network::{
    Arithmetic, Graph, Layout, Network, Node, Quantization, Tensor, TensorId, TensorKind, graph_file, tflite,
};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .needs(&["tiny/resnet8_cifar10_int8.tflite", "tiny/golden_resnet8.npz"])
        .test("resnet8_gives_150_golden_outputs", || {
            golden("resnet8_cifar10_int8", "golden_resnet8", "images_u8", &["out_i8"], minus_128)
        })
        .needs(&["tiny/dscnn_kws_int8.tflite", "tiny/kws_500.npz"])
        .test("dscnn_gives_500_golden_outputs", || golden("dscnn_kws_int8", "kws_500", "x_i8", &["out_i8"], as_it_is))
        .needs(&["tiny/mobilenetv1_vww96_int8.tflite", "tiny/golden_vww.npz"])
        .test("mobilenet_gives_9_golden_outputs", || {
            golden("mobilenetv1_vww96_int8", "golden_vww", "img96_u8", &["vww96_out_i8"], minus_128)
        })
        .needs(&["tiny/mcunet_vww1_int8.tflite", "tiny/golden_vww.npz"])
        .test("mcunet_vww1_gives_9_golden_outputs", || {
            golden("mcunet_vww1_int8", "golden_vww", "img80_u8", &["vww1_logits_f32"], minus_one_to_one)
        })
        .needs(&["tiny/autoencoder_ad_int8.tflite", "tiny/golden_ad.npz"])
        .test("autoencoder_gives_20_golden_outputs", || {
            golden("autoencoder_ad_int8", "golden_ad", "x_i8", &["out_i8"], as_it_is)
        })
        .needs(&["tiny/mcunet_persondet_int8.tflite", "tiny/golden_persondet.npz"])
        .test("persondet_gives_3_golden_heads", || {
            golden("mcunet_persondet_int8", "golden_persondet", "img_u8", &["out0", "out1", "out2"], minus_one_to_one)
        })
        .needs(&["tiny/resnet8_cifar10_int8.tflite", "tiny/golden_resnet8.npz", "tiny/intermediates_resnet8.npz"])
        .test("resnet8_gives_every_intermediate", || {
            intermediates("resnet8_cifar10_int8", "golden_resnet8", "images_u8", minus_128, "intermediates_resnet8")
        })
        .needs(&["tiny/dscnn_kws_int8.tflite", "tiny/kws_500.npz", "tiny/intermediates_kws.npz"])
        .test("dscnn_gives_every_intermediate", || {
            intermediates("dscnn_kws_int8", "kws_500", "x_i8", as_it_is, "intermediates_kws")
        })
        .needs(&["tiny/intermediate_crc.json", "tiny/golden_vww.npz", "tiny/golden_ad.npz"])
        .test("vww1_gives_every_checksum", || checksums("mcunet_vww1_int8", "golden_vww", "img80_u8", minus_one_to_one))
        .test("vww96_gives_every_checksum", || checksums("mobilenetv1_vww96_int8", "golden_vww", "img96_u8", minus_128))
        .test("autoencoder_gives_every_checksum", || checksums("autoencoder_ad_int8", "golden_ad", "x_i8", as_it_is))
        .needs(&["tiny/op_vectors.npz"])
        .test("all_85_operator_vectors_agree", operator_vectors)
        .test("fixed_point_vectors_agree", fixed_point_vectors)
        .needs(&[])
        .test("all_288_single_operator_models_agree_with_their_peers", single_operator_models)
        .needs(&["tiny/mcunet_5fps_int8.json", "tiny/imagenet50_128.npz", "tiny/imagenet50_128_ref.json"])
        .test("mcunet_5fps_gives_50_by_1000_golden_logits", || graph_file_golden("mcunet_5fps_int8", 29))
        .needs(&["tiny/mbv2_w035_int8.json", "tiny/imagenet50_128.npz", "tiny/imagenet50_128_ref.json"])
        .test("mbv2_w035_gives_50_by_1000_golden_logits", || graph_file_golden("mbv2_w035_int8", 25))
        .run()
}

fn tiny(file: &str) -> Result<std::path::PathBuf> {
    Ok(shared::file(&format!("tiny/{file}")).ok_or_else(|| format!("tiny/{file} is absent"))?)
}

fn model(name: &str) -> Result<(Network, Reference)> {
    let network = tflite::read(tiny(&format!("{name}.tflite"))?)?;
    let engine = Reference::prepare(&network, Options::default())?;
    Ok((network, engine))
}

fn as_it_is(elements: &Elements) -> Elements {
    elements.clone()
}

fn minus_128(pixels: &Elements) -> Elements {
    pixels.as_u8().expect("pixels").iter().map(|&p| (i32::from(p) - 128) as i8).collect::<Vec<_>>().into()
}

fn minus_one_to_one(pixels: &Elements) -> Elements {
    pixels.as_u8().expect("pixels").iter().map(|&p| f32::from(p) / 127.5 - 1.0).collect::<Vec<_>>().into()
}

/// The samples of `inputs`, each in the shape of the network's input.
fn samples(network: &Network, inputs: &Elements) -> Vec<Array> {
    let shape = &network.main().tensors[network.main().inputs[0]].shape;
    let one: usize = shape.iter().product();
    assert_eq!(inputs.len() % one, 0, "inputs are whole samples");
    (0..inputs.len() / one)
        .map(|i| Array::new(shape.clone(), inputs.slice(i * one, (i + 1) * one)).expect("one sample"))
        .collect()
}

fn golden(model_name: &str, file: &str, input: &str, outputs: &[&str], convert: fn(&Elements) -> Elements) -> Result {
    let (network, engine) = model(model_name)?;
    let golden = npz::open(tiny(&format!("{file}.npz"))?)?;
    let samples = samples(&network, &convert(golden.read(input)?.elements()));
    let expected: Vec<Array> = outputs.iter().map(|o| golden.read(o)).collect::<std::result::Result<_, _>>()?;
    let input = network.main().inputs[0];
    samples.par_iter().enumerate().try_for_each(|(i, sample)| {
        let got = engine.run(&mut engine.state(), &[(input, sample)], |_, _| ())?;
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            let n = got.len();
            assert_eq!(expected.len(), n * samples.len());
            assert_eq!(*got.elements(), expected.elements().slice(i * n, (i + 1) * n), "sample {i}");
        }
        Ok(())
    })
}

/// Every tensor that the first golden input gives, by index.
fn every_tensor(
    name: &str,
    file: &str,
    input: &str,
    convert: fn(&Elements) -> Elements,
) -> Result<Vec<(TensorId, Array)>> {
    let (network, engine) = model(name)?;
    let golden = npz::open(tiny(&format!("{file}.npz"))?)?;
    let samples = samples(&network, &convert(golden.read(input)?.elements()));
    let mut seen = Vec::new();
    engine.run(&mut engine.state(), &[(network.main().inputs[0], &samples[0])], |t, a| seen.push((t, a.clone())))?;
    Ok(seen)
}

fn intermediates(name: &str, file: &str, input: &str, convert: fn(&Elements) -> Elements, expected: &str) -> Result {
    let seen = every_tensor(name, file, input, convert)?;
    let expected = npz::open(tiny(&format!("{expected}.npz"))?)?;
    let mut compared = 0;
    for (t, got) in &seen {
        if let Ok(expected) = expected.read(&format!("t{t}")) {
            assert_eq!(*got, expected, "tensor {t}");
            compared += 1;
        }
    }
    assert_eq!(compared, expected.names().len());
    Ok(())
}

fn checksums(name: &str, file: &str, input: &str, convert: fn(&Elements) -> Elements) -> Result {
    let seen = every_tensor(name, file, input, convert)?;
    let all: Value = serde_json::from_slice(&std::fs::read(tiny("intermediate_crc.json")?)?)?;
    let all = all.as_object().ok_or("no object")?;
    let (_, expected) = all.iter().find(|(key, _)| key.starts_with(name)).ok_or("no such model")?;
    let expected = expected.as_object().ok_or("no object")?;
    for (t, expected) in expected {
        let t: TensorId = t.parse()?;
        let (_, got) = seen.iter().find(|(seen, _)| *seen == t).ok_or_else(|| format!("tensor {t} was not seen"))?;
        let crc = crc32fast::hash(&got.elements().to_le_bytes());
        assert_eq!(Some(u64::from(crc)), expected["crc32"].as_u64(), "tensor {t}");
    }
    Ok(())
}

fn int8_tensor(name: &str, shape: &[usize], meaning: (f64, i64)) -> Tensor {
    Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        kind: TensorKind::Element(ElementType::I8),
        quantization: Some(Quantization::per_tensor(meaning.0, meaning.1)),
        constant: None,
        variable: false,
    }
}

/// A network of one operator, from the operator vectors' index.
fn one_operator(case: &Value, inputs: &[Array], output: &Array) -> Result<Network> {
    let number = |key: &str| case[key].as_f64();
    let list = |key: &str, i: usize| case[key].as_f64().or_else(|| case[key][i].as_f64());
    let none = Activation::None;
    // LOGISTIC and its kin fix the output's quantisation; the moving operators keep the input's.
    let (operator, fixed) = match case["op"].as_str().ok_or("no op")? {
        "MEAN" => (Operator::Mean { keep_dims: case["keep_dims"].as_bool().ok_or("no keep_dims")? }, None),
        "LOGISTIC" => (Operator::Logistic, Some((1.0 / 256.0, -128))),
        "TANH" => (Operator::Tanh, Some((1.0 / 128.0, 0))),
        "SOFTMAX" => (Operator::Softmax { beta: number("beta").ok_or("no beta")? as f32 }, Some((1.0 / 256.0, -128))),
        "QUANTIZE" => (Operator::Quantize, None),
        "LEAKY_RELU" => (Operator::LeakyRelu { alpha: number("alpha").ok_or("no alpha")? as f32 }, None),
        "HARD_SWISH" => (Operator::HardSwish, None),
        "ADD" => (Operator::Add { activation: none }, None),
        "SUB" => (Operator::Sub { activation: none }, None),
        "MUL" => (Operator::Mul { activation: none }, None),
        "RESIZE_NEAREST_NEIGHBOR" => (
            Operator::ResizeNearestNeighbor {
                align_corners: case["align_corners"].as_bool().ok_or("no align_corners")?,
                half_pixel_centers: case["half_pixel_centers"].as_bool().ok_or("no half_pixel_centers")?,
            },
            Some((1.0, 0)),
        ),
        other => return Err(format!("{other} is unknown").into()),
    };
    let meaning = |scale: Option<f64>, zero: Option<f64>| (scale.unwrap_or(1.0), zero.unwrap_or(0.0) as i64);
    let mut tensors: Vec<Tensor> = inputs
        .iter()
        .enumerate()
        .map(|(i, x)| int8_tensor("x", x.shape(), meaning(list("s_in", i), list("z_in", i))))
        .collect();
    let graph_inputs: Vec<TensorId> = (0..inputs.len()).collect();
    let mut node_inputs: Vec<Option<TensorId>> = graph_inputs.iter().copied().map(Some).collect();
    for key in ["axes", "out"] {
        if let Some(numbers) = case[key].as_array() {
            let numbers: Vec<i32> = numbers.iter().filter_map(Value::as_i64).map(|n| n as i32).collect();
            node_inputs.push(Some(tensors.len()));
            tensors.push(Tensor {
                kind: TensorKind::Element(ElementType::I32),
                quantization: None,
                shape: vec![numbers.len()],
                constant: Some(Arc::new(numbers.into())),
                ..int8_tensor(key, &[], (1.0, 0))
            });
        }
    }
    let y = fixed.unwrap_or_else(|| meaning(number("s_out"), number("z_out")));
    tensors.push(int8_tensor("y", output.shape(), y));
    let outputs = vec![tensors.len() - 1];
    let nodes = vec![Node { operator, inputs: node_inputs, outputs: outputs.clone() }];
    let graph = Graph { name: String::new(), tensors, nodes, inputs: graph_inputs, outputs };
    Ok(Network {
        name: case["key"].to_string(),
        description: String::new(),
        graphs: vec![graph],
        arithmetic: Arithmetic::FixedPoint,
        layout: Layout::ChannelsLast,
    })
}

fn operator_vectors() -> Result {
    let vectors = npz::open(tiny("op_vectors.npz")?)?;
    let index = vectors.read("index_json")?;
    let index: Vec<Value> = serde_json::from_slice(index.elements().as_u8().ok_or("no bytes")?)?;
    assert_eq!(index.len(), 85);
    for case in &index {
        let key = case["key"].as_str().ok_or("no key")?;
        let count = case["n_in"].as_u64().ok_or("no n_in")?;
        let inputs: Vec<Array> =
            (0..count).map(|i| vectors.read(&format!("{key}_in{i}"))).collect::<std::result::Result<_, _>>()?;
        let expected = vectors.read(&format!("{key}_out"))?;
        let network = one_operator(case, &inputs, &expected)?;
        let engine = Reference::prepare(&network, Options::default())?;
        let feed: Vec<(TensorId, &Array)> = inputs.iter().enumerate().collect();
        let got = engine.run(&mut engine.state(), &feed, |_, _| ())?;
        assert_eq!(got[0], expected, "{case}");
    }
    Ok(())
}

/// Files of one operator each, made and computed by `bench/peers/tiny_goldens.py`: int8 by tflite-micro, to the bit; f32
/// by LiteRT, within 1e-5.
fn single_operator_models() -> Result {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/operators.npz"))?;
    let index = golden.read("index_json")?;
    let index: Vec<Value> = serde_json::from_slice(index.elements().as_u8().ok_or("no bytes")?)?;
    assert_eq!(index.len(), 288);
    let numbered = |key: &str, what: &str| -> Result<Vec<Array>> {
        let names = (0..).map(|i| format!("{key}_{what}{i}")).take_while(|name| golden.contains(name));
        Ok(names.map(|name| golden.read(&name)).collect::<std::result::Result<_, _>>()?)
    };
    let mut faults = Vec::new();
    for case in &index {
        let key = case["key"].as_str().ok_or("no key")?;
        let model = golden.read(&format!("{key}_model"))?;
        let model = model.elements().as_u8().ok_or("the model is not bytes")?;
        let network = tflite::from_bytes(key, model)?;
        let written = tflite::from_bytes(key, &tflite::to_bytes(&network)?)?;
        assert_eq!(written, network, "{key}: what is written is what was read");
        let engine = match Reference::prepare(&network, Options::default()) {
            Ok(engine) => engine,
            Err(e) => {
                faults.push(format!("{case}: {e}"));
                continue;
            }
        };
        let inputs = numbered(key, "in")?;
        let feed: Vec<(TensorId, &Array)> = network.main().inputs.iter().copied().zip(&inputs).collect();
        let got = engine.run(&mut engine.state(), &feed, |_, _| ())?;
        let expected = numbered(key, "out")?;
        assert_eq!(got.len(), expected.len(), "{case}");
        if !got.iter().zip(&expected).all(|(got, expected)| agree(got, expected)) {
            faults.push(format!("{case}: values differ"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

/// Equal, floats within 1e-5 of the larger of 1 and the value.
fn agree(got: &Array, expected: &Array) -> bool {
    match (got.elements(), expected.elements()) {
        (Elements::F32(a), Elements::F32(b)) => {
            got.shape() == expected.shape() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0))
        }
        _ => got == expected,
    }
}

fn fixed_point_vectors() -> Result {
    let vectors = npz::open(tiny("op_vectors.npz")?)?;
    let integers = |name: &str| -> Result<Vec<i64>> {
        Ok(vectors.read(name)?.elements().as_i64().ok_or_else(|| format!("{name} is not int64"))?.to_vec())
    };
    let (x, m, s) = (integers("arith_x")?, integers("arith_m")?, integers("arith_s")?);
    let (high, double, single) =
        (integers("arith_srdhm")?, integers("arith_mbqm_double")?, integers("arith_mbqm_single")?);
    for i in 0..x.len() {
        let (x, mantissa) = (x[i] as i32, m[i] as i32);
        let multiplier = Multiplier { mantissa, shift: s[i] as i32 };
        assert_eq!(i64::from(saturating_rounding_doubling_high_mul(x, mantissa)), high[i], "case {i}");
        assert_eq!(i64::from(multiplier.apply(x, Rounding::Double)), double[i], "case {i}");
        assert_eq!(i64::from(multiplier.apply(x, Rounding::Single)), single[i], "case {i}");
    }
    let real = vectors.read("qm_d")?;
    let real = real.elements().as_f64().ok_or("qm_d is not float64")?;
    let (m, s) = (integers("qm_m")?, integers("qm_s")?);
    for (i, &real) in real.iter().enumerate() {
        let expected = Multiplier { mantissa: m[i] as i32, shift: s[i] as i32 };
        assert_eq!(Multiplier::new(real), Some(expected), "{real}");
    }
    Ok(())
}

/// All logits of 50 photographs, and the checksum (NCHW) of every tensor of the first.
fn graph_file_golden(name: &str, top1: usize) -> Result {
    let network = graph_file::read(tiny(&format!("{name}.json"))?)?;
    let weights = std::fs::read(tiny(&format!("{name}.safetensors"))?)?;
    let alone = graph_file::from_bytes(&network.name, None, &weights)?;
    assert_eq!(alone, network, "the graph in the metadata is the graph in the JSON");

    let engine = Reference::prepare(&network, Options::default())?;
    let photographs = npz::open(tiny("imagenet50_128.npz")?)?;
    let inputs = samples(&network, &minus_128(photographs.read("images")?.elements()));
    let expected = photographs.read(&format!("logits_{name}"))?;
    let labels = photographs.read("labels")?;
    let labels = labels.elements().as_i32().ok_or("labels are not int32")?;
    let input = network.main().inputs[0];
    let hits: Vec<bool> = inputs
        .par_iter()
        .enumerate()
        .map(|(i, x)| -> Result<bool> {
            let got = engine.run(&mut engine.state(), &[(input, x)], |_, _| ())?;
            assert_eq!(*got[0].elements(), expected.elements().slice(i * 1000, (i + 1) * 1000), "photograph {i}");
            let logits = got[0].elements().as_i8().ok_or("logits are not int8")?;
            let best = (0..logits.len()).rev().max_by_key(|&c| logits[c]);
            Ok(best == usize::try_from(labels[i]).ok())
        })
        .collect::<Result<_>>()?;
    assert_eq!(hits.iter().filter(|&&hit| hit).count(), top1);

    let reference: Value = serde_json::from_slice(&std::fs::read(tiny("imagenet50_128_ref.json")?)?)?;
    let checksums = reference[name]["first_image_crc32"].as_object().ok_or("no checksums")?;
    let mut seen = 0;
    engine.run(&mut engine.state(), &[(input, &inputs[0])], |t, array| {
        let tensor = &network.main().tensors[t];
        let Some(expected) = checksums.get(&tensor.name) else { return };
        let nhwc = array.elements().as_i8().expect("int8");
        let mut nchw = nhwc.to_vec();
        if array.shape().len() == 4 {
            layout::transpose(array.shape(), &[0, 3, 1, 2], nhwc, &mut nchw);
        }
        let crc = crc32fast::hash(&Elements::from(nchw).to_le_bytes());
        assert_eq!(Some(u64::from(crc)), expected.as_u64(), "{}", tensor.name);
        seen += 1;
    })?;
    assert_eq!(seen, checksums.len());
    Ok(())
}
