//! Firmware in Rust: that it computes what `run` computes, to the bit, on the host and on emulated processors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rayon::prelude::*;
use tersor_data::fetch::{self, Cache};
use tersor_data::testing::{Failure, Skip, Trials};
use tersor_data::{ElementType, npz, shared};
use tersor_network::{Network, tflite};
use tersor_tiny::emit::{Target, emit, verify};
use tersor_tiny::network;
use tersor_tiny::plan::{self, InputMode, Plan, Search};

type Result<T = ()> = std::result::Result<T, Failure>;

const NETWORKS: [&str; 6] = [
    "resnet8_cifar10_int8",
    "dscnn_kws_int8",
    "mobilenetv1_vww96_int8",
    "autoencoder_ad_int8",
    "mcunet_vww1_int8",
    "mcunet_persondet_int8",
];

fn main() {
    let mut trials = Trials::new();
    for name in NETWORKS {
        let file = format!("tiny/{name}.tflite");
        trials = trials.needs(&[&file]).test(&format!("{name}_in_rust_gives_the_same_bits"), move || {
            let network = shared_network(name)?;
            verified(&network, &plan::layers(&network, 4)?, name)
        });
    }
    trials
        .needs(&["tiny/mcunet_vww1_int8.tflite"])
        .test("vww1_in_rust_in_48_kb", || vww1_within(48 << 10, InputMode::Resident))
        .test("vww1_in_rust_in_32_kb", || vww1_within(32 << 10, InputMode::Resident))
        .test("vww1_in_rust_in_32_kb_streamed", || vww1_within(32 << 10, InputMode::Streamed))
        .needs(&[])
        .test("a_wake_word_in_rust_hears_the_same_stream", || {
            let network = wake_word("okay_nabu")?;
            verified(&network, &plan::layers(&network, 4)?, "okay_nabu")
        })
        .test("single_operators_in_rust_give_the_same_bits", single_operators)
        .run()
}

fn shared_network(name: &str) -> Result<Network> {
    let file = shared::file(&format!("tiny/{name}.tflite")).ok_or_else(|| format!("{name} is absent"))?;
    Ok(network::read(file)?)
}

/// The wake-word model `name`, downloaded if need be.
fn wake_word(name: &str) -> Result<Network> {
    let entry = name.replace('_', "-");
    match fetch::get(&entry, &Cache::new()?, &|_| ()) {
        Ok(path) => Ok(network::read(path)?),
        Err(e @ (tersor_data::Error::Download { .. } | tersor_data::Error::NoTool { .. })) => {
            Err(Skip(format!("{entry} could not be had: {e}")).into())
        }
        Err(e) => Err(e.into()),
    }
}

/// The plan that fits, with the image where it is held.
fn vww1_within(sram: u64, input: InputMode) -> Result {
    let network = shared_network("mcunet_vww1_int8")?;
    let (plan, _) = plan::search(&network, Search { input, sram: Some(sram), ..Search::default() })?;
    assert!(plan.peak_bytes as u64 <= sram);
    verified(&network, &plan, &format!("vww1-{sram}-{input:?}"))
}

/// Where a program is written: kept for whoever wants to look, if `TERSOR_TEST_EMIT` names a folder.
fn folder(temporary: &Path, name: &str) -> PathBuf {
    let kept = std::env::var_os("TERSOR_TEST_EMIT").map(|folder| PathBuf::from(folder).join(format!("rust-{name}")));
    kept.unwrap_or_else(|| temporary.into())
}

/// Everywhere with `TERSOR_TEST_ALL_PLACES=1`; else on the host and a Cortex-M4, where the small ones go everywhere.
fn places(network: &Network) -> &'static [&'static str] {
    let small = network.main().tensors.iter().map(|t| t.bytes()).sum::<u64>() < 300_000;
    if small || std::env::var_os("TERSOR_TEST_ALL_PLACES").is_some() { &verify::PLACES } else { &["host", "cortex-m4"] }
}

/// Written, compiled and run; skipped, and the reason named, if one of the places cannot be had.
fn verified(network: &Network, plan: &Plan, name: &str) -> Result {
    let emission = emit(network, plan, Target::Rust)?;
    let temporary = tempfile::tempdir()?;
    let folder = folder(temporary.path(), name);
    emission.write(&folder)?;
    let runs = verify::verify(&emission, &folder, places(network))?;
    let mut missing = Vec::new();
    for run in &runs {
        if std::env::var_os("TERSOR_TEST_SHOW").is_some() {
            println!("{name}: {run:?}");
        }
        if let Some(wrong) = &run.wrong {
            return Err(format!("{}: {wrong}", run.place).into());
        }
        missing.extend(run.missing.as_ref().map(|what| format!("{}: {what}", run.place)));
        if let Some(arena) = run.arena_bytes {
            assert_eq!(arena, plan.peak_bytes as u64, "{}", run.place);
        }
        if let (Some(code), Some(constants)) = (run.code_bytes, run.constant_bytes) {
            assert!(code + constants <= plan.flash_bytes + 24 * 1024, "{}: {code} + {constants}", run.place);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Skip(missing.join("; ")).into()) }
}

/// Cases of an operator that are tried; all of them with `TERSOR_TEST_ALL_OPERATORS=1`.
const CASES_OF_AN_OPERATOR: usize = 2;

/// Files of one operator each (see `bench/peers/tiny_goldens.py`): a crate each, and one program that checks them all, with
/// overflow checks.
fn single_operators() -> Result {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../network/tests/golden/operators.npz"))?;
    let index = golden.read("index_json")?;
    let index: Vec<serde_json::Value> = serde_json::from_slice(index.elements().as_u8().ok_or("no bytes")?)?;
    let all = std::env::var_os("TERSOR_TEST_ALL_OPERATORS").is_some();
    let temporary = tempfile::tempdir()?;
    let folder = folder(temporary.path(), "operators");
    let mut tried = BTreeMap::<String, usize>::new();
    let mut refused = Vec::new();
    let mut crates = Vec::new();
    for case in &index {
        let (key, op) = (case["key"].as_str().ok_or("no key")?, case["op"].as_str().ok_or("no op")?);
        let model = golden.read(&format!("{key}_model"))?;
        let network = tflite::from_bytes(key, model.elements().as_u8().ok_or("the model is not bytes")?)?;
        let computes_floats = network.main().tensors.iter().any(|t| t.element_type() == Some(ElementType::F32));
        let count = tried.entry(op.to_string()).or_default();
        if computes_floats || (*count >= CASES_OF_AN_OPERATOR && !all) {
            continue;
        }
        // A network of which the caller does everything is no program.
        let Ok(plan) = plan::layers(&network, 4) else { continue };
        match emit(&network, &plan, Target::Rust) {
            Ok(emission) => emission.write(&folder.join(key))?,
            // Integers wider than 8 bits are refused, and named.
            Err(e) => {
                if !e.to_string().contains("only int8 is supported") {
                    refused.push(format!("{case}: {e}"));
                }
                continue;
            }
        }
        *count += 1;
        let manifest = std::fs::read_to_string(folder.join(key).join("Cargo.toml"))?;
        let name = manifest.lines().find_map(|l| l.strip_prefix("name = \"")).ok_or("a crate has no name")?;
        crates.push((key.to_string(), name.trim_end_matches('"').to_string()));
    }
    let rustc = |arguments: &[&str]| -> Result {
        let checks = ["--edition", "2021", "-D", "warnings", "-C", "overflow-checks=on", "-C", "debug-assertions=on"];
        let output = Command::new("rustc").args(checks).args(arguments).current_dir(&folder).output();
        let output = output.map_err(|e| Skip(format!("rustc: {e}")))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said.into()) }
    };
    crates.par_iter().try_for_each(|(key, name)| {
        let source = format!("{key}/src/lib.rs");
        rustc(&["--crate-type=lib", "--crate-name", name, &source])
    })?;
    let mut driver = String::new();
    for (key, _) in &crates {
        driver += &format!("#[path = \"{key}/check/vector.rs\"]\nmod check_{key};\n");
    }
    driver += "fn main() {\n";
    for (key, name) in &crates {
        driver += &format!(
            "    let mut model = {name}::Model::new();\n    model.reset();\n    for (k, frame) in \
             check_{key}::FRAMES.iter().enumerate() {{\n        assert_eq!(check_{key}::run(&mut model, frame), \
             frame.outputs, \"{key}, frame {{k}}\");\n    }}\n"
        );
    }
    std::fs::write(folder.join("driver.rs"), driver + "}\n")?;
    let mut arguments = vec!["-L".to_string(), ".".into(), "driver.rs".into()];
    for (_, name) in &crates {
        arguments.extend(["--extern".into(), format!("{name}=lib{name}.rlib")]);
    }
    rustc(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let output = Command::new(folder.join("driver")).output()?;
    println!("{} single-operator crates of {} operators", crates.len(), tried.values().filter(|&&n| n > 0).count());
    if !output.status.success() || !refused.is_empty() {
        return Err(format!("{}\n{}", String::from_utf8_lossy(&output.stderr), refused.join("\n")).into());
    }
    Ok(())
}
