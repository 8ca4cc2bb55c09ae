//! Firmware: that every network becomes a program, and that the program computes what `run` computes, to the bit.

use rayon::prelude::*;
use tersor_data::fetch::{self, Cache};
use tersor_data::testing::{Failure, Skip, Trials};
use tersor_data::{ElementType, npz, shared};
use tersor_network::{Network, tflite};
use tersor_tiny::emit::firmware::{Constant, Firmware, Kind, Operand};
use tersor_tiny::emit::{Target, emit, verify};
use tersor_tiny::plan::{self, InputMode, Plan, Search};
use tersor_tiny::{inspect, network};

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
        trials = trials
            .needs(&[&file])
            .test(&format!("{name}_is_a_program_by_layers"), move || by_layers(&shared_network(name)?))
            .test(&format!("{name}_in_c_gives_the_same_bits"), move || {
                let network = shared_network(name)?;
                verified(&network, &plan::layers(&network, 4)?, &format!("c-{name}"), &verify::PLACES)
            });
        // Matrix products alone have no parts.
        if name != "autoencoder_ad_int8" {
            trials = trials.test(&format!("{name}_is_a_program_in_parts"), move || in_parts(&shared_network(name)?));
        }
    }
    trials
        .needs(&[])
        .test("a_wake_word_is_a_program_with_variables", || {
            let network = wake_word("okay_nabu")?;
            let firmware = by_plan(&network, &plan::layers(&network, 4)?)?;
            assert!(!firmware.variables.is_empty());
            Ok(())
        })
        .test("a_wake_word_in_c_hears_the_same_stream", || {
            let network = wake_word("okay_nabu")?;
            verified(&network, &plan::layers(&network, 4)?, "c-okay_nabu", &verify::PLACES)
        })
        .test("single_operators_in_c_give_the_same_bits", single_operators_in_c)
        .needs(&["tiny/mcunet_vww1_int8.tflite"])
        .test("vww1_in_c_in_48_kb", || vww1_within(48 << 10, InputMode::Resident))
        .test("vww1_in_c_in_32_kb", || vww1_within(32 << 10, InputMode::Resident))
        .test("vww1_in_c_in_32_kb_streamed", || vww1_within(32 << 10, InputMode::Streamed))
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

/// The firmware of a plan, whose numbers lie where they must.
fn by_plan(network: &Network, plan: &Plan) -> Result<Firmware> {
    let firmware = Firmware::new(network, plan)?;
    assert_eq!(firmware.arena_bytes, plan.peak_bytes);
    assert_eq!(firmware.calls.len(), plan.steps.len());
    let arena = firmware.arena_bytes;
    for call in &firmware.calls {
        let read = call.reads.iter().filter_map(|o| if let Operand::Arena(p) = o { Some(p) } else { None });
        for place in read.chain(&call.writes) {
            assert!(place.offset + place.bytes() <= arena);
        }
        for feed in &call.feeds {
            let pixel = firmware.inputs[feed.input].image[2];
            let bytes = (feed.rows[1] - feed.rows[0]) * (feed.columns[1] - feed.columns[0]) * pixel;
            assert!(feed.offset + bytes <= arena);
        }
        if let Kind::Convolution { filter, per_group } = &firmware.operators[call.operator].kind {
            let taps = filter.rows.kernel * filter.columns.kernel;
            assert_eq!(firmware.constants[filter.weights].bytes(), filter.out_channels * taps * per_group);
        }
    }
    // The data of the file, and what requantises: never more than the plan says, but for tables.
    let tables = firmware.constants.iter().filter(|c| matches!(c, Constant::U8(_) | Constant::U16(_)));
    let tables: usize = tables.map(Constant::bytes).sum();
    assert!((firmware.constant_bytes() - tables) as u64 <= plan.flash_bytes);
    Ok(firmware)
}

fn by_layers(network: &Network) -> Result {
    let plan = plan::layers(network, 4)?;
    let firmware = by_plan(network, &plan)?;
    assert_eq!(firmware.operators.len(), firmware.calls.len());
    assert!(firmware.inputs.iter().all(|input| input.resident.is_some()));
    let feeds: usize = firmware.calls.iter().map(|c| c.feeds.len()).sum();
    assert_eq!(feeds, network.main().inputs.len());
    // Of trained int8 networks, every sum is far from 32 bits.
    let inspection = inspect::inspect(network);
    assert!(inspection.runnable);
    Ok(())
}

fn in_parts(network: &Network) -> Result {
    for input in [InputMode::Streamed, InputMode::Resident] {
        for rows_only in [true, false] {
            let (plan, _) = plan::search(network, Search { input, rows_only, ..Search::default() })?;
            let firmware = by_plan(network, &plan)?;
            if std::env::var_os("TERSOR_TEST_SHOW").is_some() {
                let (calls, operators) = (firmware.calls.len(), firmware.operators.len());
                println!("{}: {input:?} {rows_only}: {calls} calls of {operators} operators", firmware.name);
            }
            // Every row of the input is fed once, but for patches, which overlap.
            let rows: usize = firmware.calls.iter().flat_map(|c| &c.feeds).map(|f| f.rows[1] - f.rows[0]).sum();
            assert!(rows >= firmware.inputs[0].image[0].min(1));
        }
    }
    Ok(())
}

/// The plan that fits, with the image where it is held.
fn vww1_within(sram: u64, input: InputMode) -> Result {
    let network = shared_network("mcunet_vww1_int8")?;
    let (plan, _) = plan::search(&network, Search { input, sram: Some(sram), ..Search::default() })?;
    assert!(plan.peak_bytes as u64 <= sram);
    verified(&network, &plan, &format!("c-vww1-{sram}-{input:?}"), &["host", "cortex-m4"])
}

/// Operators of which every case is tried, however many there are, with `TERSOR_TEST_ALL_OPERATORS=1`; else so many of each.
const CASES_OF_AN_OPERATOR: usize = 3;

/// Files of one operator each (see `bench/peers/tiny_goldens.py`): all in one program, on the host under sanitizers.
fn single_operators_in_c() -> Result {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../network/tests/golden/operators.npz"))?;
    let index = golden.read("index_json")?;
    let index: Vec<serde_json::Value> = serde_json::from_slice(index.elements().as_u8().ok_or("no bytes")?)?;
    let all = std::env::var_os("TERSOR_TEST_ALL_OPERATORS").is_some();
    let folder = tempfile::tempdir()?;
    let kept = std::env::var_os("TERSOR_TEST_EMIT").map(|f| std::path::PathBuf::from(f).join("c-operators"));
    let folder = kept.unwrap_or_else(|| folder.path().into());
    let mut tried = std::collections::BTreeMap::<String, usize>::new();
    let mut refused = Vec::new();
    let mut units = Vec::new();
    for case in &index {
        let (key, op) = (case["key"].as_str().ok_or("no key")?, case["op"].as_str().ok_or("no op")?);
        let model = golden.read(&format!("{key}_model"))?;
        let network = tflite::from_bytes(key, model.elements().as_u8().ok_or("the model is not bytes")?)?;
        let computes_floats = network.main().tensors.iter().any(|t| t.element_type() == Some(ElementType::F32));
        let count = tried.entry(op.to_string()).or_default();
        if computes_floats || (*count >= CASES_OF_AN_OPERATOR && !all) {
            continue;
        }
        let plan = match plan::layers(&network, 4) {
            Ok(plan) => plan,
            // A network of which the caller does everything is no program.
            Err(_) => continue,
        };
        match emit(&network, &plan, Target::C) {
            Ok(emission) => emission.write(&folder.join(key))?,
            Err(e) => {
                // Integers wider than 8 bits are refused, and named.
                if !e.to_string().contains("(QUANTIZE) computes int") {
                    refused.push(format!("{case}: {e}"));
                }
                continue;
            }
        }
        *count += 1;
        units.push(key.to_string());
    }
    // Each case is a unit of its own, under names of its own.
    let public = ["main", "model_run", "model_reset"].map(String::from).into_iter();
    let ports = (0..8).flat_map(|i| [format!("model_input{i}"), format!("model_output{i}")]);
    let public: Vec<String> = public.chain(ports).collect();
    let mut driver = String::from("#include <stdio.h>\n");
    for key in &units {
        let renamed = public.iter().map(|name| format!("#define {name} {name}_{key}\n"));
        let unit: String = renamed.collect();
        let unit = format!("{unit}#include \"{key}/model.c\"\n#include \"{key}/check.c\"\n");
        std::fs::write(folder.join(format!("{key}.c")), unit)?;
        driver += &format!("int main_{key}(void);\n");
    }
    driver += "int main(void)\n{\n    int wrong = 0;\n";
    for key in &units {
        driver += &format!("    if (main_{key}()) {{ wrong = 1; printf(\"^ {key}\\n\"); }}\n");
    }
    driver += "    return wrong;\n}\n";
    std::fs::write(folder.join("driver.c"), driver)?;
    let gcc = |arguments: &[&str]| -> Result {
        let output = std::process::Command::new("gcc").args(arguments).current_dir(&folder).output();
        let output = output.map_err(|e| Skip(format!("gcc: {e}")))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said.into()) }
    };
    let strict =
        ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined"];
    units.par_iter().try_for_each(|key| -> Result {
        let (from, to) = (format!("{key}.c"), format!("{key}.o"));
        gcc(&[&strict[..], &["-fno-sanitize-recover=undefined", "-I", key, "-c", &from, "-o", &to]].concat())
    })?;
    let objects: Vec<String> = units.iter().map(|key| format!("{key}.o")).collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let first = units.first().ok_or("no case was tried")?;
    let host = format!("{first}/host.c");
    gcc(&[&["-fsanitize=address,undefined", "driver.c", &host, "-o", "driver"], &objects[..]].concat())?;
    let output = std::process::Command::new(folder.join("driver")).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("ok") && !line.starts_with("ticks") && !line.starts_with("stack"))
        .collect();
    println!("{} single-operator programs of {} operators", units.len(), tried.values().filter(|&&n| n > 0).count());
    if !output.status.success() || !refused.is_empty() {
        return Err(format!("{}\n{}", wrong.join("\n"), refused.join("\n")).into());
    }
    Ok(())
}

/// Written, compiled and run at `places`; skipped, and the reason named, if one of them cannot be had.
fn verified(network: &Network, plan: &Plan, name: &str, places: &[&str]) -> Result {
    let emission = emit(network, plan, Target::C)?;
    // Kept for whoever wants to look: TERSOR_TEST_EMIT names a folder.
    let temporary = tempfile::tempdir()?;
    let kept = std::env::var_os("TERSOR_TEST_EMIT").map(|folder| std::path::PathBuf::from(folder).join(name));
    let folder = kept.unwrap_or_else(|| temporary.path().into());
    emission.write(&folder)?;
    let runs = verify::verify(&emission, &folder, places)?;
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
