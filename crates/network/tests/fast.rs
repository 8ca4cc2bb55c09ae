//! The fast engine gives the reference's bits: every tensor of every shared network and single-operator file, on every
//! instruction set of this machine, on one thread or several, whether operators are done together or not.

use serde_json::Value;
use tersor_data::testing::{Failure, Trials};
use tersor_data::{Array, ElementType, Elements, npz, shared};
use tersor_kernels::int8::fast::Isa;
use tersor_network::fast::{Fast, Preparation};
use tersor_network::reference::{Options, Reference};
use tersor_network::{Network, TensorId, graph_file, tflite};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    let mut trials = Trials::new();
    for name in [
        "resnet8_cifar10_int8",
        "dscnn_kws_int8",
        "mobilenetv1_vww96_int8",
        "autoencoder_ad_int8",
        "mcunet_vww1_int8",
        "mcunet_persondet_int8",
    ] {
        trials =
            trials.needs(&[&format!("tiny/{name}.tflite")]).test(&format!("{name}_gives_every_tensor"), move || {
                every_tensor(&tflite::read(tiny(name, "tflite")?)?, 4)
            });
    }
    for name in ["mcunet_5fps_int8", "mbv2_w035_int8"] {
        trials = trials.needs(&[&format!("tiny/{name}.json")]).test(&format!("{name}_gives_every_tensor"), move || {
            every_tensor(&graph_file::read(tiny(name, "json")?)?, 1)
        });
    }
    trials
        .needs(&[])
        .test("single_operator_models_give_every_tensor", single_operator_models)
        .needs(&["tiny/resnet8_cifar10_int8.tflite"])
        .test("a_session_runs_again_on_what_it_was_given", runs_again)
        .test("what_is_not_given_is_named", not_given)
        .run()
}

fn tiny(name: &str, suffix: &str) -> Result<std::path::PathBuf> {
    Ok(shared::file(&format!("tiny/{name}.{suffix}")).ok_or("the network is absent")?)
}

/// Values that fill the type's range, extremes included.
fn values(kind: ElementType, count: usize, seed: u64) -> Elements {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    match kind {
        ElementType::I8 => Elements::I8((0..count).map(|_| (next() >> 9) as i8).collect()),
        ElementType::F32 => Elements::F32((0..count).map(|_| next() as f32 / 2f32.powi(30) - 1.0).collect()),
        other => Elements::zeros(other, count),
    }
}

fn inputs(network: &Network, seed: u64) -> Vec<(TensorId, Array)> {
    let main = network.main();
    let array = |&t: &TensorId| {
        let tensor = &main.tensors[t];
        let elements = values(tensor.element_type().expect("an array"), tensor.len(), seed + t as u64);
        (t, Array::new(tensor.shape.clone(), elements).expect("one value for each element"))
    };
    main.inputs.iter().map(array).collect()
}

fn same(network: &Network, inputs: &[(TensorId, Array)]) -> Result {
    let feed: Vec<(TensorId, &Array)> = inputs.iter().map(|(t, a)| (*t, a)).collect();
    let reference = Reference::prepare(network, Options::default())?;
    let mut expected = Vec::new();
    let outputs = reference.run(&mut reference.state(), &feed, |t, a| expected.push((t, a.clone())))?;
    for isa in Isa::available() {
        for keep_all in [false, true] {
            let fast = Fast::prepare(network, &Preparation { keep_all, isa, ..Preparation::default() })?;
            for threads in [1, 2, 5] {
                let mut seen = Vec::new();
                let got = fast.run(&mut fast.session_on(threads), &feed, |t, a| seen.push((t, a.clone())))?;
                assert_eq!(got, outputs, "{}: outputs on {isa}, {threads} threads", network.name);
                if keep_all {
                    assert_eq!(seen.len(), expected.len(), "{}", network.name);
                    for (seen, expected) in seen.iter().zip(&expected) {
                        assert!(
                            seen == expected,
                            "{}: tensor {} on {isa}, {threads} threads",
                            network.name,
                            expected.0
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

fn every_tensor(network: &Network, runs: u64) -> Result {
    (0..runs).try_for_each(|seed| same(network, &inputs(network, seed)))
}

fn single_operator_models() -> Result {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/operators.npz"))?;
    let index = golden.read("index_json")?;
    let index: Vec<Value> = serde_json::from_slice(index.elements().as_u8().ok_or("no bytes")?)?;
    for case in &index {
        let key = case["key"].as_str().ok_or("no key")?;
        let model = golden.read(&format!("{key}_model"))?;
        let network = tflite::from_bytes(key, model.elements().as_u8().ok_or("the model is not bytes")?)?;
        let fed: Vec<(TensorId, Array)> = network
            .main()
            .inputs
            .iter()
            .enumerate()
            .map(|(i, &t)| Ok((t, golden.read(&format!("{key}_in{i}"))?)))
            .collect::<Result<_>>()?;
        same(&network, &fed)?;
    }
    Ok(())
}

fn runs_again() -> Result {
    let network = tflite::read(tiny("resnet8_cifar10_int8", "tflite")?)?;
    let fast = Fast::prepare(&network, &Preparation::default())?;
    let fed = inputs(&network, 5);
    let mut session = fast.session();
    fast.write(&mut session, fed[0].0, &fed[0].1)?;
    fast.invoke(&mut session)?;
    let first = fast.read(&session, network.main().outputs[0])?;
    fast.invoke(&mut session)?;
    assert_eq!(fast.read(&session, network.main().outputs[0])?, first);
    Ok(())
}

fn not_given() -> Result {
    let network = tflite::read(tiny("resnet8_cifar10_int8", "tflite")?)?;
    let fast = Fast::prepare(&network, &Preparation::default())?;
    let error = fast.run(&mut fast.session(), &[], |_, _| ()).expect_err("nothing is given");
    assert!(error.to_string().contains("was not given"), "{error}");
    Ok(())
}
