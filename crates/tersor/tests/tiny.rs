//! `tersor tiny` as a user calls it: what the verbs print, write and exit with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tersor_data::testing::{Failure, Trials};
use tersor_data::{Array, npy, npz, shared};

type Result<T = ()> = std::result::Result<T, Failure>;

const NEEDS: [&str; 4] = [
    "tiny/resnet8_cifar10_int8.tflite",
    "tiny/golden_resnet8.npz",
    "tiny/mcunet_persondet_int8.tflite",
    "tiny/person_det.jpg",
];

fn main() {
    Trials::new()
        .needs(&NEEDS)
        .test("inspect_gives_both_bounds_and_a_picture", inspect)
        .test("run_writes_outputs_and_dumps_that_verify_accepts", run_and_verify)
        .test("run_takes_pictures_and_labels", pictures)
        .test("a_plan_is_saved_run_and_sound", plan)
        .test("bench_measures_and_names_the_peers_that_are_not_there", bench)
        .test("emit_writes_a_program_and_says_what_it_takes", emit)
        .test("fit_says_yes_and_no_by_its_exit_code", fit)
        .test("bad_usage_exits_with_2_and_bad_files_with_1", refusals)
        .run()
}

fn tiny(file: &str) -> PathBuf {
    shared::file(&format!("tiny/{file}")).unwrap_or_default()
}

fn tersor(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_tersor")).arg("tiny").args(arguments.iter().map(|a| a.as_ref())).output()?)
}

/// The JSON that a command prints, which must succeed.
fn json(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Result<Value> {
    let output = tersor(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn emit() -> Result {
    let folder = tempfile::tempdir()?;
    let model = tiny("resnet8_cifar10_int8.tflite");
    for target in ["c", "rust"] {
        let out = folder.path().join(target);
        let emitted = json(&[&"emit", &model, &"--target", &target, &"-o", &out, &"--json"])?;
        assert_eq!(emitted["arena_bytes"], 32_768);
        assert_eq!(emitted["inputs"][0]["shape"], serde_json::json!([1, 32, 32, 3]));
        assert_eq!(emitted["runs"], serde_json::json!([]));
        for file in emitted["files"].as_array().ok_or("no files")? {
            assert!(out.join(file.as_str().ok_or("no name")?).is_file(), "{file}");
        }
    }
    // A plan that was saved, and one that is chosen for its size.
    let plan = folder.path().join("plan.json");
    json(&[&"plan", &model, &"--patches", &"rows", &"-o", &plan, &"--json"])?;
    let followed = json(&[&"emit", &model, &"--plan", &plan, &"-o", &folder.path().join("p"), &"--json"])?;
    let chosen = json(&[&"emit", &model, &"--sram", &"20K", &"-o", &folder.path().join("s"), &"--json"])?;
    for emitted in [followed, chosen] {
        assert!(emitted["arena_bytes"].as_u64() <= Some(20 << 10));
        assert!(emitted["calls"].as_u64() > emitted["operators"].as_u64());
    }
    let refused = tersor(&[&"emit", &model, &"--sram", &"4K", &"-o", &folder.path().join("x")])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(!folder.path().join("x").exists());
    // What somebody else wrote is not lost; what an earlier program left is replaced.
    let own = folder.path().join("own");
    std::fs::create_dir(&own)?;
    std::fs::write(own.join("Makefile"), "all:\n")?;
    let refused = tersor(&[&"emit", &model, &"-o", &own])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Makefile"));
    assert_eq!(std::fs::read_to_string(own.join("Makefile"))?, "all:\n");
    json(&[&"emit", &model, &"-o", &folder.path().join("c"), &"--json"])?;
    json(&[&"emit", &model, &"--target", &"rust", &"-o", &folder.path().join("rust"), &"--json"])?;
    // Without any tool, each is named, and nothing is called verified.
    let bare = Command::new(env!("CARGO_BIN_EXE_tersor"))
        .args(["tiny", "emit", "--verify", "--json", "-o"])
        .args([&folder.path().join("c"), &model])
        .env("PATH", folder.path())
        .output()?;
    assert_eq!(bare.status.code(), Some(1));
    let bare: Value = serde_json::from_slice(&bare.stdout)?;
    let missing = bare["runs"].as_array().ok_or("no runs")?.iter().map(|run| run["missing"].as_str());
    let missing: Vec<&str> = missing.collect::<Option<_>>().ok_or("something was found")?;
    assert!(missing[0].contains("gcc") && missing[1].contains("arm-none-eabi-gcc"), "{missing:?}");
    Ok(())
}

fn inspect() -> Result {
    let folder = tempfile::tempdir()?;
    let svg = folder.path().join("m.svg");
    let found = json(&[&"inspect", &tiny("resnet8_cifar10_int8.tflite"), &"--json", &"--svg", &svg])?;
    assert_eq!(found["bound_bytes"], 49_152);
    assert_eq!(found["lower_bound_bytes"], 49_152);
    assert_eq!(found["macs"], 12_501_632);
    assert_eq!(found["operators"].as_array().map(Vec::len), Some(16));
    assert_eq!(found["operators"][0]["operator"], "CONV_2D");
    assert_eq!(found["runnable"], true);
    assert!(std::fs::read_to_string(svg)?.starts_with("<svg"));
    Ok(())
}

fn run_and_verify() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let model = tiny("resnet8_cifar10_int8.tflite");
    let golden = npz::open(tiny("golden_resnet8.npz"))?;
    let pixels = golden.read("images_u8")?;
    let int8: Vec<i8> =
        pixels.elements().as_u8().ok_or("no bytes")?.iter().map(|&p| (i32::from(p) - 128) as i8).collect();
    let first = Array::new([2, 32, 32, 3], int8[..2 * 3072].to_vec().into()).ok_or("no array")?;
    npy::write(at("x.npy"), &first)?;
    let (out, dump) = (at("o.npy"), at("dump"));
    let report = json(&[&"run", &model, &"--input", &at("x.npy"), &"--out", &out, &"--dump", &dump, &"--json"])?;
    assert_eq!(report["samples"], 2);
    assert_eq!(report["top"].as_array().map(Vec::len), Some(2));
    let written = npy::read(&out)?;
    assert_eq!(written.shape(), [2, 10]);
    assert_eq!(*written.elements(), golden.read("out_i8")?.elements().slice(0, 20));

    // A dump verifies against itself; the goldens verify; a wrong golden fails, and says where.
    for golden in [dump.as_path(), &tiny("golden_resnet8.npz")] {
        let verdict = json(&[&"verify", &model, &"--golden", &golden, &"--json"])?;
        assert_eq!(verdict["first_difference"], Value::Null);
    }
    let mut wrong = written.elements().as_i8().ok_or("no int8")?.to_vec();
    wrong[13] = wrong[13].wrapping_sub(1);
    let wrong = Array::new([2, 10], wrong.into()).ok_or("no array")?;
    npz::write(at("wrong.npz"), &[("in0", &first), ("out0", &wrong)])?;
    let failed = tersor(&[&"verify", &model, &"--golden", &at("wrong.npz")])?;
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("[1, 3]"), "{failed:?}");
    Ok(())
}

fn pictures() -> Result {
    let folder = tempfile::tempdir()?;
    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "a\nb\nc\n")?;
    let out = folder.path().join("o.npz");
    let (model, photograph) = (tiny("mcunet_persondet_int8.tflite"), tiny("person_det.jpg"));
    let report = json(&[&"run", &model, &"-i", &photograph, &"-o", &out, &"--labels", &labels, &"--json"])?;
    assert_eq!(report["outputs"].as_array().map(Vec::len), Some(3));
    assert_eq!(npz::open(&out)?.names(), ["out0", "out1", "out2"]);
    Ok(())
}

fn plan() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (model, photograph) = (tiny("mcunet_persondet_int8.tflite"), tiny("person_det.jpg"));
    let run = |plan: Option<&Path>, engine: &str, out: &Path| -> Result {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"run", &model, &"-i", &photograph, &"--engine", &engine, &"-o", &out];
        if let Some(plan) = &plan {
            arguments.extend([&"--plan" as &dyn AsRef<std::ffi::OsStr>, plan]);
        }
        let output = tersor(&arguments)?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(None, "reference", &at("whole.npz"))?;
    for (patches, input) in [("none", "resident"), ("auto", "streamed"), ("rows", "resident"), ("2x4@12", "streamed")] {
        let (file, svg) = (at("plan.json"), at("plan.svg"));
        let plan = json(&[
            &"plan",
            &model,
            &"--patches",
            &patches,
            &"--input",
            &input,
            &"--out",
            &file,
            &"--svg",
            &svg,
            &"--json",
        ])?;
        let peak = plan["peak_bytes"].as_u64().ok_or("no peak")?;
        let order = plan["order"].as_array().ok_or("no order")?.len() as u64;
        for piece in plan["tensors"].as_array().ok_or("no tensors")? {
            let field = |name: &str| piece[name].as_u64().ok_or_else(|| format!("no {name}"));
            assert!(field("offset")? + field("bytes")? <= peak);
            assert!(field("first")? <= field("last")? && field("last")? < order);
            assert!(piece["index"].is_u64() && piece["name"].is_string());
        }
        for scratch in plan["scratch"].as_array().ok_or("no scratch")? {
            assert!(scratch["offset"].as_u64() <= Some(peak) && scratch["op"].is_u64() && scratch["bytes"].is_u64());
        }
        for field in ["lower_bound_bytes", "flash_bytes", "macs", "extra_macs", "host_scratch_bytes"] {
            assert!(plan[field].is_u64(), "{field}");
        }
        assert_eq!(plan["patches"].is_null(), patches == "none");
        assert!(std::fs::read_to_string(&svg)?.starts_with("<svg"));
        for engine in ["fast", "reference"] {
            run(Some(&file), engine, &at("planned.npz"))?;
            let (whole, planned) = (npz::open(at("whole.npz"))?, npz::open(at("planned.npz"))?);
            for name in whole.names() {
                assert_eq!(whole.read(name)?, planned.read(name)?, "{patches} {input} {engine} {name}");
            }
        }
    }
    Ok(())
}

fn fit() -> Result {
    let model = tiny("resnet8_cifar10_int8.tflite");
    let fits = json(&[&"fit", &model, &"--sram", &"48K", &"--flash", &"512K", &"--json"])?;
    assert_eq!(fits["fits"], true);
    assert!(fits["plan"]["peak_bytes"].as_u64() <= Some(48 * 1024));
    let board = json(&[&"fit", &model, &"--board", &"nrf52840", &"--json"])?;
    assert!(board["estimated_seconds"].as_f64() > Some(0.0));
    let too_small = tersor(&[&"fit", &model, &"--sram", &"4K", &"--flash", &"512K"])?;
    assert_eq!(too_small.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&too_small.stderr).contains("does not fit"));
    Ok(())
}

fn refusals() -> Result {
    let model = tiny("resnet8_cifar10_int8.tflite");
    let code =
        |arguments: &[&dyn AsRef<std::ffi::OsStr>]| -> Result<Option<i32>> { Ok(tersor(arguments)?.status.code()) };
    assert_eq!(code(&[&"inspect"])?, Some(2));
    assert_eq!(code(&[&"plan", &model, &"--patches", &"4by4"])?, Some(2));
    assert_eq!(code(&[&"fit", &model])?, Some(2));
    assert_eq!(code(&[&"fit", &model, &"--board", &"toaster"])?, Some(2));
    assert_eq!(code(&[&"inspect", &"nowhere.tflite"])?, Some(1));
    assert_eq!(code(&[&"inspect", &tiny("person_det.jpg")])?, Some(1));
    assert_eq!(code(&[&"run", &model, &"-i", &model])?, Some(1));
    assert_eq!(code(&[&"plan", &model, &"--patches", &"2x2@15"])?, Some(1));
    // A plan of another network.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("other.json");
    json(&[&"plan", &tiny("mcunet_persondet_int8.tflite"), &"--patches", &"none", &"-o", &file, &"--json"])?;
    let pixels = Array::new([3072], vec![0i8; 3072].into()).ok_or("no array")?;
    npy::write(folder.path().join("x.npy"), &pixels)?;
    assert_eq!(code(&[&"run", &model, &"-i", &folder.path().join("x.npy"), &"--plan", &file])?, Some(1));
    Ok(())
}

fn bench() -> Result {
    let model = tiny("resnet8_cifar10_int8.tflite");
    let nowhere = ["--python", "/nowhere/python", "--peers", "/nowhere/peers"];
    let run = Command::new(env!("CARGO_BIN_EXE_tersor"))
        .args(["tiny", "bench", "--rounds", "1", "--milliseconds", "1", "--json"])
        .args(nowhere)
        .arg(model)
        .output()?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout)?;
    assert!(report["models"][0]["microseconds"].as_f64().is_some_and(|t| t > 0.0), "{report}");
    assert!(report["peak_gmacs"].as_f64().is_some_and(|peak| peak > 0.0), "{report}");
    let missing = report["missing"].as_array().ok_or("no list of what is missing")?;
    assert_eq!(missing.len(), 2, "{report}");
    Ok(())
}
